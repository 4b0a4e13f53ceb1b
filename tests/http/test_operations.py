"""docs/operations.md: its procedures do what it says, run as they are printed; its list of messages is
that of the programs."""

import os
import re
import shutil
import subprocess
import threading
import time

import pytest
import records
from client import ISSUED, Client, Gateway, User
from engines import ENGINES
from peer_databases import PeerDatabase
from service import BUILD, ROOT, Site, postgresql_server

PAGE = (ROOT / "docs/operations.md").read_text()
LOST_IDS = 1_000_000


def blocks(heading, kind="sh"):
    """The code blocks below a heading of the second level, or the page's own."""
    section = re.search(rf"^##? {re.escape(heading)}\n(.*?)(?=^## |\Z)", PAGE, re.M | re.S).group(1)
    found = re.findall(rf"^```{kind}\n(.*?)^```\n", section, re.M | re.S)
    assert found, heading
    return found


class Machine(Site):
    """An installation with its settings in token.conf, where nginx is before a pool."""

    def __init__(self):
        super().__init__(TOKEN_MAX_PER_USER="0")
        self.conf = self.dir / "token.conf"
        own = {name: value for name, value in self.environment.items()
               if name.startswith("TOKEN_") and name != "TOKEN_CONF"}
        self.set(**own)
        self.environment = {name: value for name, value in self.environment.items() if name not in own}
        self.environment["PATH"] = f"{BUILD}:{self.environment['PATH']}"
        (self.dir / "sbin").mkdir()
        self.run("Operations")

    def set(self, **settings):
        kept = [line for line in self.conf.read_text().splitlines() if line.split("=")[0] not in settings]
        self.conf.write_text("\n".join([*kept, *(f"{name}={value}" for name, value in settings.items()), ""]))

    def location(self):
        return re.search("^TOKEN_STORE=(.*)", self.conf.read_text(), re.M)[1]

    def own(self, text):
        """Lines of the page with the paths of this installation."""
        for path, own in (("/usr/local/lib/token/", f"{self.dir}/"), ("/usr/local/sbin/", f"{self.dir}/sbin/"),
                          ("/usr/local/bin/", f"{BUILD}/"), ("/etc/token/", f"{self.dir}/"),
                          ("/var/lib/token", str(self.dir)), ("/backup", f"{self.dir}/backup")):
            text = re.sub(rf"(?<![\w/]){path}", own, text)
        return text

    def run(self, heading, first=0, last=None, change=lambda text: text):
        """Runs blocks of a procedure, in order; what they print."""
        return self.shell(change("".join(blocks(heading)[first:last])))

    def shell(self, text):
        """Through a file: a pool may keep it open."""
        script = self.own(text)
        with (self.dir / "script.txt").open("w+") as output:
            done = subprocess.run(["sh", "-euc", script], cwd=self.dir, env=self.environment, timeout=300,
                                  stdin=subprocess.DEVNULL, stdout=output, stderr=output)
            output.seek(0)
            printed = output.read()
        assert done.returncode == 0, f"{script}\n{printed}"
        return printed

    def backups(self):
        return sorted(path.name for path in (self.dir / "backup").iterdir())


class NewMachine(Machine):
    """Without a store, a secret and a pool."""

    def set_up(self):
        self.start_nginx()


@pytest.fixture
def machine():
    with Machine() as made:
        yield made


@pytest.fixture
def alice(machine):
    return machine.http(machine.add_user("alice"))


class Load:
    """Creates tokens as fast as they are answered, while it is entered."""

    def __init__(self, client):
        self.client, self.made, self.failed = client, [], []
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self):
        while not self.ended.is_set():
            reply = self.client.create({"name": "load"})
            (self.made if reply.status == 200 else self.failed).append(reply)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()


def of(client, machine):
    """The same user or gateway on another machine."""
    return type(client)(machine.send, client.secret if isinstance(client, Gateway) else client.user)


# ---- backup and restore ----


def age(path, days):
    path.write_bytes(b"old")
    os.utime(path, times=(time.time() - days * 86400,) * 2)


def test_backup_by_a_timer(machine, alice):
    age(machine.dir / "backup/store-2026-01-01", 20)
    age(machine.dir / "backup/store-2026-01-02", 3)
    with Load(alice) as load:
        fresh = machine.run("Backup by a timer").split()
    assert load.made and not load.failed
    today = f"store-{time.strftime('%F')}"
    assert machine.backups() == ["store-2026-01-02", today]
    assert fresh == [str(machine.dir / "backup" / today)]
    assert (machine.dir / "backup" / today).stat().st_mode & 0o777 == 0o600


@pytest.mark.lmdb
def test_backup_that_fails(machine, alice):
    """Deletes nothing, and says so to cron and systemd."""
    machine.run("Backup by a timer")
    age(machine.dir / "backup/store-2026-01-01", 20)
    before = machine.backups()
    alice.make(name="damaged-token")
    machine.damage_token("damaged-token")
    done = subprocess.run([machine.dir / "sbin/token-backup"], env=machine.environment, timeout=60,
                          capture_output=True, text=True)
    assert done.returncode != 0 and "tokenctl:" in done.stderr and machine.backups() == before


def test_timers():
    """Both start the script that the page has made."""
    (script,) = re.findall(r"^cat >(\S+)", blocks("Backup by a timer")[0], re.M)
    service, timer = blocks("Backup by a timer", "ini")
    assert f"\nExecStart={script}\n" in service and "\nOnCalendar=*-*-* 03:15\n" in timer
    (cron,) = blocks("Backup by a timer", "cron")
    assert re.fullmatch(rf"\d+ \d+ \* \* \* root {script}\n", cron)


@pytest.mark.lmdb
def test_restore_drill(machine, alice):
    alice.make_many(3)
    machine.run("Backup by a timer")
    with Load(alice) as load:
        printed = machine.run("Restore drill")
    assert load.made and not load.failed and len(machine.pids()) == 2
    assert "ok true\n" in printed
    (drilled, running) = re.findall(r"^users (\d+)\ntokens (\d+)$", printed, re.M)
    assert drilled == ("1", "3") and running[0] == "1"


@pytest.mark.lmdb
def test_restore(machine, alice):
    token = alice.make(unlimited_quota=False, remain_quota=10)
    machine.run("Backup by a timer")
    lost = alice.make()
    machine.gateway().consume(key=token["key"], amount=4)
    assert "ok true" in machine.run("Restore")
    assert alice.list().data["items"] == [token]
    assert alice.verify(token["key"]).status == 204 and alice.verify(lost["key"]).status == 401
    assert alice.make()["id"] > LOST_IDS
    assert (machine.dir / "store.before/data.mdb").exists()


@pytest.mark.lmdb
def test_files_put_back(machine, alice):
    token = alice.make()
    machine.run("Files put back by cp")
    assert alice.verify(token["key"]).status == 204
    assert alice.make()["id"] == token["id"] + 1 + LOST_IDS
    machine.check()


@pytest.mark.lmdb
def test_ids_repeat_after_cp(machine, alice):
    """As the page warns."""
    data, copy = machine.dir / "store/data.mdb", machine.dir / "copy"
    machine.spawn("stop")
    subprocess.run(["cp", "-p", data, copy], check=True)
    machine.spawn("start")
    lost = alice.make()
    machine.spawn("stop")
    subprocess.run(["cp", "-p", copy, data], check=True)
    machine.spawn("start")
    assert alice.make()["id"] == lost["id"]
    machine.check()


# ---- moves ----


def keep(machine, client):
    """What a move must not change, and a check of it on the machine moved to."""
    gateway = machine.gateway()
    token, other = client.make(unlimited_quota=False, remain_quota=100), client.make()
    gateway.verify(other["key"])
    reservation = gateway.reserve(key=token["key"], amount=10, ttl=3600).data["reservation"]
    before = client.list().data

    def compare(target):
        moved = of(client, target)
        assert moved.list().data == before
        assert moved.verify(other["key"]).status == 204
        assert of(gateway, target).settle(reservation=reservation, amount=4).data["remain_quota"] == 96
        assert moved.make()["id"] == other["id"] + 1
        target.check()

    return compare


def test_move_to_another_machine(machine, alice):
    compare = keep(machine, alice)
    with NewMachine() as target:
        machine.run("Move to another machine", 0, 1)
        for name in ("backup/rows", "secret"):
            subprocess.run(["cp", "-p", machine.dir / name, target.dir / name], check=True)
        assert "ok true" in target.run("Move to another machine", 1)
        compare(target)


def test_move_to_the_other_engine(machine, alice):
    compare = keep(machine, alice)
    machine.ENGINE = "lmdb" if machine.ENGINE == "postgresql" else ENGINES[-1]
    location = str(machine.dir / "elsewhere") if machine.ENGINE == "lmdb" else machine.make_location()
    printed = "postgresql://token@db1,db2/token"
    machine.run("Move to the other engine", 0, 1, lambda text: text.replace(printed, f"'{location}'"))
    machine.set(TOKEN_STORE=location)
    assert "ok true" in machine.run("Move to the other engine", 1)
    compare(machine)


# ---- moving in ----

DUMPS = {("sqlite", "new-api"): 0, ("postgresql", "new-api"): 1, ("mysql", "new-api"): 2,
         ("sqlite", "one-api"): 0, ("postgresql", "one-api"): 1, ("mysql", "one-api"): 3}


@pytest.mark.lmdb
@pytest.mark.parametrize("database, name", DUMPS)
def test_move_in(machine, database, name):
    peer = PeerDatabase(machine.dir, database, name)
    keys = {11: "k" * 48, 12: "q" * 48, 13: "short_old_key_16", 14: "r" * 48}
    access_token = "Ab/+" * 7 + "cd=="
    ISSUED.update(keys.values(), [access_token])
    is_new = name == "new-api"
    try:
        peer.user(1, "root", role=100)
        peer.user(7, "alice", access_token=access_token, group="vip", used_quota=250)
        peer.token(11, 7, keys[11])
        peer.token(12, 7, keys[12], unlimited_quota=False, remain_quota=100, used_quota=250)
        peer.token(13, 1, keys[13])
        limits = ({"model_limits_enabled": True, "model_limits": "gpt-4o", "allow_ips": "127.0.0.0/8\n::1"} if is_new
                  else {"models": "gpt-4o", "subnet": "127.0.0.0/8,::1"})
        peer.token(14, 7, keys[14], **limits)
        if is_new:
            peer.token(15, 7, "d" * 48, deleted_at="2025-01-02 03:04:05")
        move_in(machine, peer, DUMPS[database, name])
    finally:
        peer.stop()
    alice = Client(machine.send, User(7, "alice", "vip", access_token))
    tokens = {token["id"]: token for token in alice.list().data["items"]}
    assert set(tokens) == {11, 12, 14} and tokens[12]["name"] == "Schlüssel 12"
    assert (tokens[12]["remain_quota"], tokens[12]["used_quota"]) == (100, 250)
    assert (tokens[14]["model_limits"], tokens[14]["allow_ips"]) == ("gpt-4o", "127.0.0.0/8,::1")
    assert alice.request("GET", "/api/token/11", headers={"New-Api-User": "7"}).status == 200
    for key in keys.values():
        assert alice.usage(key).status == 200
    assert machine.gateway().consume(key=keys[12], amount=60).data["remain_quota"] == 40
    assert alice.make()["id"] > 14
    assert {user["id"]: user["name"] for user in machine.ctl("user", "list")} == {1: "root", 7: "alice"}


def move_in(machine, peer, dump):
    """The page's steps: dump, rehearse, switch, by which the dump is gone."""
    heading = "Migrate from New API or One API"
    machine.environment.update(peer.environment)

    def change(text):
        return text.replace("/data/", f"{machine.dir}/").replace("--from new-api", f"--from {peer.name}")

    for first in (dump, 4):
        machine.run(heading, first, first + 1, change)
    assert machine.ctl("stat")[0]["users"] == 0
    machine.run(heading, dump, dump + 1, change)
    assert (machine.dir / "backup/rows").stat().st_mode & 0o777 == 0o600
    printed = machine.run(heading, 5, None, change)
    assert "ok true\n" in printed and "\nusers 2\ntokens 4\n" in printed and machine.backups() == []


# ---- the secret ----


def assert_rotated(machine, alice, token, secret):
    """Only the new secret opens the store; the old one opens the backup from before."""
    assert alice.verify(token["key"]).status == 204 and alice.show_key(token["id"]).data["key"] == token["key"]
    assert (machine.dir / "secret").read_bytes() != secret and not (machine.dir / "secret.new").exists()
    before = {"TOKEN_SECRET": str(machine.dir / "secret.before")}
    assert (machine.dir / "secret.before").read_bytes() == secret
    assert "another secret" in machine.run_ctl("stat", **before).stderr
    elsewhere = str(machine.dir / "restored") if machine.ENGINE == "lmdb" else make_database("restored")
    machine.ctl("restore", machine.dir / "backup/store-before-rotation", TOKEN_STORE=elsewhere, **before)
    assert machine.ctl("check", TOKEN_STORE=elsewhere, **before) == [{"ok": True}]


def make_database(name):
    postgresql_server().query(f"DROP DATABASE IF EXISTS {name}")
    postgresql_server().query(f"CREATE DATABASE {name}")
    return postgresql_server().location(database=name)


def test_change_the_secret(machine, alice):
    token, secret = alice.make(), (machine.dir / "secret").read_bytes()
    with Load(alice) as load:
        assert "ok true" in machine.run("Change the secret", 0, 1)
    assert load.made and not load.failed
    assert {made.data["id"] for made in load.made} < {row["id"] for row in machine.ctl("token", "list", "alice")}
    assert_rotated(machine, alice, token, secret)


@pytest.mark.postgresql
def test_change_the_secret_of_several_machines(machine, alice):
    token, secret = alice.make(), (machine.dir / "secret").read_bytes()
    with NewMachine() as second:
        shutil.copy2(machine.dir / "secret", second.dir)
        shutil.chown(second.dir / "secret", (machine.dir / "secret").owner())
        second.set(TOKEN_STORE=machine.location())
        second.spawn("start")
        machine.run("Change the secret", 1, 2)
        made = machine.dir / "secret.new"
        assert (made.owner(), made.stat().st_size) == ((machine.dir / "secret").owner(), 32)
        shutil.copy2(made, second.dir)
        shutil.chown(second.dir / "secret.new", made.owner())
        with Load(of(alice, second)) as load:
            machine.run("Change the secret", 0, 1)
            second.run("Change the secret", 2, 3)
        assert load.made and not load.failed
        second.spawn("restart")
        assert of(alice, second).verify(token["key"]).status == 204
        assert (second.dir / "secret").read_bytes() == (machine.dir / "secret").read_bytes()
    assert_rotated(machine, alice, token, secret)


# ---- upgrades ----


@pytest.mark.lmdb
def test_upgrade_and_back(machine):
    """A store without users is as the version before left it, but for the number."""
    machine.spawn("stop")
    data, version = machine.dir / "store/data.mdb", records.SCHEMA_VERSION
    new, old = (b"schema" + records.meta_value(b"schema", n) for n in (version, version - 1))
    before = data.read_bytes().replace(new, old)
    data.write_bytes(before)
    machine.spawn("start")
    machine.add_user("later")
    machine.run("Upgrade, and go back", 0, 1)
    assert machine.backups() == ["store-before-upgrade"]
    machine.run("Upgrade, and go back", 1)
    assert data.read_bytes() == before
    assert sorted(path.name for path in data.parent.iterdir()) == ["data.mdb", "lock.mdb"]
    machine.spawn("start")  # there are no older programs here: these upgrade it again
    assert machine.ctl("user", "list") == []


@pytest.mark.lmdb
@pytest.mark.parametrize("heading", ["Disk full", "Damaged store"])
def test_looks(machine, heading):
    """Commands that only look."""
    machine.run(heading)
    assert len(machine.pids()) == 2


# ---- the reference ----


def test_reference_has_each_command():
    """And each option: docs/reference.md is no other than tokenctl --help."""
    usage = subprocess.run([BUILD / "tokenctl", "--help"], capture_output=True, text=True, timeout=60).stdout
    commands = re.findall(r"^  ([a-z]+) ?([a-z]*)(.*)$", re.sub(r"\n {6}\[", " [", usage), re.M)
    section = re.search(r"^## tokenctl\n(.*?)^- ", (ROOT / "docs/reference.md").read_text(), re.M | re.S)[1]
    lines = re.sub(r"\n {5,}", " ", section)
    for noun, verb, rest in commands:
        found = [line for line in lines.splitlines() if re.search(rf"(tokenctl|\|) {noun}\b.*\b{verb}\b", line)]
        assert found, (noun, verb)
        missing = [option for option in re.findall(r"--[a-z-]+", rest) if option not in "".join(found)]
        assert not missing, (noun, verb, missing)
    assert len(commands) > 20


# ---- messages ----

STRING_OR_COMMENT = re.compile(r"""("(?:[^"\\]|\\.)*")|'(?:[^'\\]|\\.)+'|/\*.*?\*/""", re.S)
TEXT = re.compile(r'"(?:[^"\\]|\\.)*"(?:\s*(?:PRI[du]64|"(?:[^"\\]|\\.)*"))*')
PARTS = re.compile(r'"((?:[^"\\]|\\.)*)"|(PRI[du]64)')
NOT_MESSAGES = re.compile(
    r"^\} commands\[\] = \{.*?^\};|^#define COUNTERS\(.*?\n\n|^#include[^\n]*|_Static_assert\(.*?;\n", re.M | re.S
)
OTHERS = re.compile(r'SELECT |tokenctl: …|[^a-z]*usage: |[^%]*%-|[{,]\\"|\\n--json: ')


def entries():
    """Each line of the page's blocks of messages; a line that goes on is indented."""
    blocks = re.findall(r"^```messages\n(.*?)^```\n", PAGE, re.M | re.S)
    assert blocks
    return re.sub(r"\n +", " ", "".join(blocks)).splitlines()


def is_message(text):
    return re.search(r"[a-z]{2}\S* +\S*[a-z]", text) and not OTHERS.match(text)


def template(text):
    """Of printf: what varies is an ellipsis."""
    return re.sub(r"%(\.\*|\.\d+|l*|z)?([sduc]|PRI[du]64)", "…", text)


def of_programs():
    """All texts in the files that write messages; the parts of one are joined."""
    for folder in ("fcgi", "store", "seal", "settings", "sandbox", "counters", "ctl", "base"):
        for path in sorted((ROOT / folder).rglob("*.[ch]")):
            code = NOT_MESSAGES.sub("", STRING_OR_COMMENT.sub(lambda found: found[1] or " ", path.read_text()))
            for text in TEXT.findall(code):
                text = "".join(literal + number for literal, number in PARTS.findall(text))
                yield path.name, template(text.replace("\\\\", "\\"))


def of_spawn_sh():
    code = (ROOT / "spawn.sh").read_text()
    for text in re.findall(r'\b(?:die|note|fail|give_up|refuse_usage) "((?:[^"\\]|\\.)*)"', code):
        text = re.sub(r"\$\((?:\([^)]*\)\)|see_log\))|\$\([^()]*\)|\$\{[^}]*\}|\$[a-z_A-Z0-9]+", "…", text)
        yield "spawn.sh", text.replace("\\\\", "\\").replace("\\$", "$")


def test_lists_each_message():
    listed = "\n".join(entries())
    missing = [f"{name}: {text}" for name, text in (*of_programs(), *of_spawn_sh())
               if is_message(text) and not re.search(re.escape(text.strip()).replace("…", ".*"), listed)]
    assert not missing, "docs/operations.md lacks:\n" + "\n".join(missing)


def test_lists_no_other_message():
    """Each line consists of texts of the programs, also short ones that stand in others."""
    parts = {part.strip() for _, text in (*of_programs(), *of_spawn_sh()) for part in text.split("…")}
    known = "|".join(re.escape(part) for part in sorted(parts, key=len, reverse=True) if len(part) > 1)
    others = [entry for entry in entries() if not re.fullmatch(rf"(?:{known}|[\s…:;,.'()])*", entry)]
    assert not others, "no program says:\n" + "\n".join(others)
