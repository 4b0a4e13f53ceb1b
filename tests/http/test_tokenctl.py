"""tokenctl: every command, as text and as JSON, and its exit statuses."""

import json
import os
import pwd
import re
import stat
import struct
import subprocess

import fastcgi
import pytest
from client import ISSUED, Client
from service import BUILD, IS_ROOT, ROOT, TOKENCTL, WORKER, WORKER_USER, Store

DONE, FAILED, USAGE = 0, 1, 2
USER_FIELDS = """id name group role status tokens created_time quota used_quota unlimited_quota request_count
                 rpm_limit tpm_limit max_tokens""".split()

# LMDB 0.9's file format.
PAGE_SIZE, PAGE_HEADER_LEN, BRANCH_PAGE, LEAF_PAGE = 4096, 16, 0x01, 0x02


@pytest.fixture(scope="module")
def store(engine):
    """A store with a worker on it: tokenctl must be safe beside one."""
    with Store() as made:
        _, made.socket = made.start_worker()
        yield made


@pytest.fixture
def client(store):
    return Client(fastcgi.transport(store.socket), store.add_user())


@pytest.fixture
def fresh():
    """A place for a store that does not exist yet."""
    empty = Store()
    yield empty
    empty.close()


def assert_failed(done, word=""):
    assert (done.returncode, done.stdout) == (FAILED, "")
    assert len(done.stderr.splitlines()) == 1 and word in done.stderr, done


def text(store, *arguments):
    done = store.run_ctl(*arguments)
    assert (done.returncode, done.stderr) == (DONE, ""), done
    return done.stdout


# ---- init ----


def mode(path):
    return stat.S_IMODE(os.stat(path).st_mode)


@pytest.mark.lmdb
def test_init(fresh):
    done = fresh.run_ctl("init")
    assert (done.returncode, done.stderr) == (DONE, "")
    secret, folder = fresh.dir / "secret", fresh.dir / "store"
    assert mode(secret) == 0o600 and secret.stat().st_size == 32
    assert mode(folder) == 0o700
    assert [path.name for path in folder.iterdir() if mode(path) & 0o077] == []


@pytest.mark.lmdb
def test_init_gives_them_to_the_workers_user(fresh):
    """To TOKEN_USER where root runs it; otherwise that is who runs it."""
    fresh.ctl("init")
    folder = fresh.dir / "store"
    for path in (fresh.dir / "secret", folder, *folder.iterdir()):
        assert path.owner() == WORKER_USER


@pytest.mark.lmdb
def test_init_gives_them_to_another_user(fresh):
    """root itself, or a normal user, who is the only one that he can name."""
    name = pwd.getpwuid(os.geteuid()).pw_name
    fresh.ctl("init", TOKEN_USER=name)
    assert (fresh.dir / "store").owner() == (fresh.dir / "secret").owner() == name


def test_init_for_a_user_who_does_not_exist(fresh):
    """Only root has something to give, and so a reason to look for the user."""
    done = fresh.run_ctl("init", TOKEN_USER="nobody-of-that-name")
    if IS_ROOT:
        assert_failed(done)
    made = [path.exists() for path in (fresh.dir / "store", fresh.dir / "secret")]
    assert made == [not IS_ROOT] * 2


@pytest.mark.lmdb
def test_init_makes_missing_parents(fresh):
    places = {
        "TOKEN_STORE": str(fresh.dir / "a/b/store"),
        "TOKEN_SECRET": str(fresh.dir / "c/d/secret"),
    }
    assert fresh.run_ctl("init", **places).returncode == DONE
    assert mode(fresh.dir / "a/b/store") == 0o700
    assert (fresh.dir / "c/d/secret").stat().st_size == 32
    assert fresh.run_ctl("check", **places).returncode == DONE


@pytest.mark.lmdb
@pytest.mark.parametrize("mask", ["000", "077"])
def test_init_with_another_umask(fresh, mask):
    """The same modes, and folders that let the workers through."""
    places = {
        "TOKEN_STORE": str(fresh.dir / "a/store"),
        "TOKEN_SECRET": str(fresh.dir / "b/secret"),
    }
    done = subprocess.run(
        ["sh", "-c", f"umask {mask}; exec {TOKENCTL} init"],
        env={**fresh.environment, **places},
        timeout=60,
    )
    assert done.returncode == DONE
    modes = [mode(fresh.dir / place) for place in ("a", "b", "a/store", "b/secret")]
    assert modes == [0o755, 0o755, 0o700, 0o600]


def test_init_twice(store):
    before = (store.dir / "secret").read_bytes()
    assert_failed(store.run_ctl("init"))
    assert (store.dir / "secret").read_bytes() == before
    store.check()


@pytest.mark.lmdb
@pytest.mark.parametrize("existing", ["secret", "store"])
def test_init_where_one_of_them_exists(fresh, existing):
    path = fresh.dir / existing
    path.mkdir() if existing == "store" else path.write_bytes(b"precious")
    assert_failed(fresh.run_ctl("init"), str(path))
    other = fresh.dir / ("secret" if existing == "store" else "store")
    assert not other.exists()
    if existing == "secret":
        assert path.read_bytes() == b"precious"


@pytest.mark.lmdb
def test_init_where_it_cannot(fresh):
    (fresh.dir / "file").touch()
    place = str(fresh.dir / "file/store")
    assert_failed(fresh.run_ctl("init", TOKEN_STORE=place), place)
    assert not (fresh.dir / "secret").exists()


def test_secrets_are_random(fresh, store):
    fresh.ctl("init")
    secret = (fresh.dir / "secret").read_bytes()
    assert secret != (store.dir / "secret").read_bytes() and len(set(secret)) > 10


# ---- users ----


def test_add_as_json(store):
    done = store.run_ctl("--json", "user", "add", "alice", "--group", "vip")
    added = json.loads(done.stdout)
    assert list(added) == ["id", "name", "group", "access_token"]
    assert (added["name"], added["group"]) == ("alice", "vip")
    assert len(added["access_token"]) >= 32
    assert done.stdout.count("\n") == 1


def test_add_as_text(store):
    printed = text(store, "user", "add", "bob")
    (bob,) = [user for user in store.ctl("user", "list") if user["name"] == "bob"]
    assert str(bob["id"]) in printed.split()
    token = max(printed.split(), key=len)
    client = Client(fastcgi.transport(store.socket))
    headers = {"Authorization": f"Bearer {token}", "New-Api-User": str(bob["id"])}
    assert client.request("GET", "/api/token/", headers=headers).status == 200


@pytest.mark.parametrize(
    "arguments",
    [
        ["--json", "user", "add", "carol", "--group", "g"],
        ["user", "--json", "add", "carol", "--group", "g"],
        ["user", "add", "--json", "carol", "--group", "g"],
        ["user", "add", "carol", "--json", "--group", "g"],
        ["user", "add", "carol", "--group", "g", "--json"],
        ["user", "add", "--group", "g", "carol", "--json"],
        ["user", "add", "carol", "--group=g", "--json"],
        ["--group=g", "--json", "user", "add", "carol"],
        ["--json", "user", "add", "--group=x", "--group", "g", "carol"],
    ],
    ids=" ".join,
)
def test_order_of_options(store, arguments):
    added = json.loads(text(store, *arguments))
    assert (added["name"], added["group"]) == ("carol", "g")
    store.ctl("user", "delete", "carol")


def test_default_group(store):
    assert store.add_user("dave").group == "default"


def test_ids_rise_and_are_never_used_again(store):
    first, second = store.add_user(), store.add_user()
    store.ctl("user", "delete", second.id)
    assert first.id < second.id < store.add_user().id


def test_names_are_unique(store):
    """Letter case of ASCII aside; a name is free again once its user is deleted."""
    user = store.add_user("twin")
    for name in ("twin", "TWIN"):
        assert_failed(store.run_ctl("user", "add", name), "another user has this name")
    store.ctl("user", "delete", user.id)
    assert store.add_user("Twin").id > user.id


def test_set(store, client):
    user = store.add_user("before")
    assert store.ctl("user", "set", "before", "--name", "after") == [{"id": user.id, "set": True}]
    (shown,) = store.ctl("user", "show", "AFTER")
    assert (shown["id"], shown["name"], shown["group"]) == (user.id, "after", "default")
    store.ctl("user", "set", user.id, "--group=g")
    (shown,) = store.ctl("user", "show", user.id)
    assert (shown["name"], shown["group"]) == ("after", "g")
    store.ctl("user", "set", user.id, "--name", "After", "--group", "default")  # its own name
    assert_failed(store.run_ctl("user", "show", "before"), "no such user: before")
    taken = ["user", "set", user.id, "--name", client.user.name]
    assert_failed(store.run_ctl(*taken), "another user has this name")
    for option in ("--name=", "--name=a\nb", "--name=" + "n" * 65, "--group="):
        assert_failed(store.run_ctl("user", "set", user.id, option))
    assert store.run_ctl("user", "set", user.id).returncode == USAGE
    assert store.ctl("user", "show", user.id)[0]["name"] == "After"


@pytest.mark.parametrize("name", ["a" * 64, "字" * 21, "with blank", '"quoted"', "-", "ünï"])
def test_name_comes_back(store, name):
    user = store.add_user(name)
    (shown,) = store.ctl("user", "show", user.id)
    assert user.name == shown["name"] == name
    assert name in text(store, "user", "show", user.id)


@pytest.mark.parametrize(
    "arguments",
    [
        [""],
        ["a" * 65],
        ["字" * 22],
        ["a\nb"],
        ["a\x7fb"],
        ["a\x1b[31mb"],
        [b"\xff\xfe"],
        ["a", "--group", "g" * 65],
        ["a", "--group", "g\n"],
        ["a", "--group="],
        ["a", "--group=" + "g" * 65],
    ],
    ids=str,
)
def test_name_or_group_that_will_not_do(store, arguments):
    count = len(store.ctl("user", "list"))
    done = subprocess.run(
        [TOKENCTL, "user", "add", *arguments],
        env=store.environment,
        capture_output=True,
        timeout=60,
    )
    assert done.returncode in (FAILED, USAGE) and done.stdout == b""
    assert done.stderr
    assert len(store.ctl("user", "list")) == count


def test_list_and_show(store, client):
    client.make_many(3)
    (shown,) = store.ctl("user", "show", client.user.id)
    assert list(shown) == USER_FIELDS
    assert shown["id"] == client.user.id and shown["name"] == client.user.name
    assert (shown["group"], shown["role"], shown["status"], shown["tokens"]) == ("default", 1, 1, 3)
    assert shown in store.ctl("user", "list")
    for printed in (text(store, "user", "show", client.user.id), text(store, "user", "list")):
        assert client.user.name in printed
        assert client.user.access_token not in printed


def test_list_is_in_the_order_of_ids(store):
    for _ in range(3):
        store.add_user()
    ids = [user["id"] for user in store.ctl("user", "list")]
    assert ids == sorted(ids)


def test_list_of_nobody(fresh):
    fresh.ctl("init")
    assert fresh.ctl("user", "list") == []
    figures = fresh.ctl("stat")[0]
    assert figures["users"] == 0
    fresh.check()


def test_list_of_many(fresh):
    fresh.ctl("init")
    users = [fresh.add_user(f"n{number}") for number in range(60)]
    assert [user["name"] for user in fresh.ctl("user", "list")] == [user.name for user in users]


def headers(user_id, access_token):
    return {"Authorization": f"Bearer {access_token}", "New-Api-User": str(user_id)}


@pytest.mark.parametrize("as_json", [True, False])
def test_rotate(store, client, as_json):
    token = client.make()
    if as_json:
        (rotated,) = store.ctl("user", "rotate", client.user.id)
        assert list(rotated) == ["id", "access_token"]
        assert rotated["id"] == client.user.id
        new = rotated["access_token"]
    else:
        new = max(text(store, "user", "rotate", client.user.id).split(), key=len)
    assert new != client.user.access_token
    assert client.list().status == 401
    reply = client.request("GET", "/api/token/", headers=headers(client.user.id, new))
    assert reply.data["items"] == [token]


@pytest.mark.parametrize("as_json", [True, False])
def test_disable_and_enable(store, client, as_json):
    run = store.ctl if as_json else lambda *arguments: text(store, *arguments)
    for _ in range(2):  # twice is no error
        run("user", "disable", client.user.id)
        assert client.list().failure == (403, "User is disabled")
        assert store.ctl("user", "show", client.user.id)[0]["status"] == 2
    for _ in range(2):
        run("user", "enable", client.user.id)
        assert client.list().status == 200
        assert store.ctl("user", "show", client.user.id)[0]["status"] == 1


def test_delete(store, client):
    tokens = client.make_many(250)
    other = Client(client.send, store.add_user())
    kept = other.make()
    store.ctl("user", "delete", client.user.id)
    assert client.list().status == 401
    assert client.get(tokens[0]["id"]).status == 401
    assert_failed(store.run_ctl("user", "show", client.user.id))
    assert client.user.id not in [user["id"] for user in store.ctl("user", "list")]
    assert other.list().data["items"] == [kept]
    store.check()


def test_delete_as_text(store, client):
    client.make()
    text(store, "user", "delete", client.user.id)
    assert client.list().status == 401


def test_deleted_users_tokens_are_gone(store, client):
    before = store.ctl("stat")[0]["tokens"]
    client.make_many(120)
    assert store.ctl("stat")[0]["tokens"] == before + 120
    store.ctl("user", "delete", client.user.id)
    assert store.ctl("stat")[0]["tokens"] == before


@pytest.mark.parametrize("command", ["show", "rotate", "disable", "enable", "delete"])
@pytest.mark.parametrize(
    "user_id",
    ["999999999", "0", "9223372036854775807", "9223372036854775808", "1x", "", "nobody of that name"],
)
def test_no_such_user(store, command, user_id):
    assert_failed(store.run_ctl("user", command, user_id), f"no such user: {user_id}")


def test_name_in_place_of_an_id(store):
    user = store.add_user("named only once")
    client = Client(fastcgi.transport(store.socket), user)
    token = client.make()
    assert store.ctl("user", "show", user.name)[0]["id"] == user.id
    assert store.ctl("token", "list", user.name)[0]["id"] == token["id"]
    assert store.ctl("user", "disable", user.name) == [{"id": user.id, "disabled": True}]
    assert client.list().failure == (403, "User is disabled")
    store.ctl("user", "enable", user.name)
    (rotated,) = store.ctl("user", "rotate", user.name)
    ISSUED.add(rotated["access_token"])
    assert client.list().status == 401
    store.ctl("user", "delete", user.name)
    assert_failed(store.run_ctl("user", "show", user.id))
    assert_failed(store.run_ctl("user", "show", user.name), "no such user: named only once")


def test_name_is_no_number(store):
    """A number is an id."""
    assert_failed(store.run_ctl("user", "add", "987654321"), "not a number")
    user = store.add_user("9876543x")
    assert_failed(store.run_ctl("user", "set", user.id, "--name", "0"), "not a number")
    assert_failed(store.run_ctl("user", "delete", "987654321"))
    assert store.ctl("user", "show", "9876543X")[0]["id"] == user.id


# ---- check and stat ----


def test_check_of_what_is_in_order(store, client):
    client.make_many(30)
    for arguments in (["check"], ["check", "--json"]):
        done = store.run_ctl(*arguments)
        assert (done.returncode, done.stderr) == (DONE, "")


def test_check_finds_a_damaged_token(fresh):
    fresh.ctl("init")
    _, path = fresh.start_worker()
    client = Client(fastcgi.transport(path), fresh.add_user())
    client.make_many(5)
    damaged = client.make(name="to be damaged")
    fresh.check()
    fresh.damage_token("to be damaged")
    done = fresh.run_ctl("check")
    assert done.returncode == FAILED
    assert len(done.stdout.splitlines()) >= 1
    assert str(damaged["id"]) in done.stdout + done.stderr
    done = fresh.run_ctl("check", "--json")
    assert done.returncode == FAILED
    assert all(isinstance(json.loads(line), dict) for line in done.stdout.splitlines())


def cut(pages):
    """LMDB reads beyond the end of the file."""
    return pages[: len(pages) // 2 // PAGE_SIZE * PAGE_SIZE]


def node_offsets(pages, begin):
    (lower,) = struct.unpack_from("<H", pages, begin + 12)
    return struct.unpack_from(f"<{(lower - PAGE_HEADER_LEN) // 2}H", pages, begin + PAGE_HEADER_LEN)


def change_pages(pages, kind, change):
    """Calls change(bytearray, offset of a node) for the nodes of each page of that kind which has
    many."""
    damaged = bytearray(pages)
    for begin in range(2 * PAGE_SIZE, len(pages), PAGE_SIZE):
        if pages[begin + 10] == kind and len(node_offsets(pages, begin)) >= 5:
            for offset in node_offsets(pages, begin):
                change(damaged, begin + offset)
    return bytes(damaged)


def huge_records(pages):
    """LMDB gives out a record that ends beyond the file."""
    return change_pages(
        pages, LEAF_PAGE, lambda damaged, node: struct.pack_into("<HH", damaged, node, 0xFFFF, 0xFFF)
    )


def lost_children(pages):
    """LMDB notices that there is no such page."""
    return change_pages(
        pages, BRANCH_PAGE, lambda damaged, node: struct.pack_into("<H", damaged, node, 0xFFFF)
    )


# A sanitizer ends a process in its own way.
SANITIZED = BUILD.name in ("asan", "tsan")


@pytest.mark.lmdb
@pytest.mark.parametrize(
    "damage, ends",
    [(lost_children, False)] + ([] if SANITIZED else [(cut, True), (huge_records, True)]),
)
def test_check_of_damaged_pages(fresh, damage, ends):
    """check ends with a verdict, also where LMDB does not survive what it reads."""
    fresh.ctl("init")
    worker, path = fresh.start_worker()
    client = Client(fastcgi.transport(path), fresh.add_user())
    for _ in range(10):
        client.make_many(100)
    worker.terminate()
    worker.wait(timeout=60)
    data = fresh.dir / "store/data.mdb"
    pages = data.read_bytes()
    fresh.check()
    data.write_bytes(damage(pages))
    for option in ([], ["--json"]):
        done = fresh.run_ctl("check", *option)
        assert done.returncode == FAILED
        verdict = done.stderr.splitlines()[-1]
        if ends:
            assert re.fullmatch(
                r"tokenctl: (check ended by signal \d+: the store's pages are damaged; |"
                + re.escape(f"{data}: a page can't be read (failing disk, or the file was truncated): ")
                + ")restore a backup",
                verdict,
            )
        else:
            assert verdict.startswith("tokenctl: ") and "signal" not in verdict
    data.write_bytes(pages)
    fresh.check()


@pytest.mark.lmdb
@pytest.mark.parametrize("command", [["user", "list"], ["token", "list", "1"], ["stat"], ["check"]])
def test_file_cut_short(fresh, command):
    """Every command that meets a missing page says so, in a line that names the file."""
    fresh.ctl("init")
    worker, path = fresh.start_worker()
    client = Client(fastcgi.transport(path), fresh.add_user())
    client.make_many(100)
    worker.terminate()
    worker.wait(timeout=60)
    data = fresh.dir / "store/data.mdb"
    os.truncate(data, 2 * PAGE_SIZE)
    done = fresh.run_ctl(*command)
    assert (done.returncode, done.stdout) == (FAILED, "")
    assert done.stderr.startswith(f"tokenctl: {data}: a page can't be read"), done
    assert len(done.stderr.splitlines()) == 1


test_file_cut_short.__test__ = not SANITIZED



def test_stat(store, client):
    before = store.ctl("stat")[0]
    client.make_many(7)
    (found,) = store.ctl("stat")
    lmdbs = ["map_bytes", "map_used_bytes", "readers", "disk_free_bytes"]
    assert list(found) == ["users", "tokens", "bytes", *(lmdbs if store.ENGINE == "lmdb" else [])]
    assert found["tokens"] == before["tokens"] + 7
    assert found["users"] == before["users"] == len(store.ctl("user", "list"))
    assert found["bytes"] > 0
    if store.ENGINE == "lmdb":
        assert 0 < found["map_used_bytes"] <= found["map_bytes"]
        assert found["readers"] >= 0 and found["disk_free_bytes"] > 0
    printed = text(store, "stat")
    for name in found:
        assert name in printed


# ---- planted files ----


@pytest.mark.lmdb
@pytest.mark.parametrize("name", ["lock.mdb", "data.mdb"])
@pytest.mark.parametrize("kind", ["link", "dangling link", "hard link", "FIFO"])
def test_planted_file(fresh, name, kind):
    """Root's tokenctl must neither write into what a link names, nor wait for a FIFO."""
    fresh.ctl("init")
    planted, target = fresh.dir / "store" / name, fresh.dir / "target"
    planted.unlink()
    if kind != "dangling link":
        target.write_bytes(b"precious")
    if kind == "FIFO":
        os.mkfifo(planted)
    elif kind == "hard link":
        planted.hardlink_to(target)
    else:
        planted.symlink_to(target)
    assert_failed(fresh.run_ctl("user", "list"), str(planted))
    assert target.exists() == (kind != "dangling link")
    assert not target.exists() or target.read_bytes() == b"precious"


def test_folder_is_a_link(fresh):
    """Root follows none; another caller has only what is his own."""
    fresh.ctl("init")
    link = fresh.dir / "link"
    link.symlink_to(fresh.dir / "store")
    done = fresh.run_ctl("user", "list", TOKEN_STORE=str(link))
    assert_failed(done, str(link)) if IS_ROOT else fresh.check()


@pytest.mark.lmdb
def test_lock_file_of_another_account(fresh):
    """Such as mdb_stat leaves it, run by root."""
    fresh.ctl("init")
    os.chown(fresh.dir / "store/lock.mdb", 0, 0)
    assert_failed(fresh.run_ctl("stat"), f"{fresh.dir}/store/lock.mdb: belongs to another account")


test_lock_file_of_another_account.__test__ = IS_ROOT


@pytest.mark.lmdb
def test_lock_file_is_made_by_the_owner(fresh):
    fresh.ctl("init")
    (fresh.dir / "store/lock.mdb").unlink()
    fresh.check()
    assert (fresh.dir / "store/lock.mdb").owner() == WORKER_USER


# ---- wrong usage ----


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nothing"],
        ["user"],
        ["user", "nothing"],
        ["user", "add"],
        ["user", "add", "a", "b"],
        ["user", "add", "a", "--group"],
        ["user", "add", "a", "--groups=g"],
        ["user", "add", "a", "--grou=g"],
        ["user", "add", "a", "--json=yes"],
        ["user", "list", "--group=g"],
        ["user", "add", "a", "--nothing"],
        ["user", "list", "1"],
        ["user", "show"],
        ["user", "show", "1", "2"],
        ["user", "rotate"],
        ["user", "disable"],
        ["user", "enable"],
        ["user", "delete"],
        ["init", "x"],
        ["check", "x"],
        ["stat", "x"],
        ["--nothing"],
        ["--json"],
    ],
    ids=" ".join,
)
def test_wrong_usage(store, arguments):
    done = store.run_ctl(*arguments)
    assert (done.returncode, done.stdout) == (USAGE, "")
    assert done.stderr


def test_help(store):
    """What is asked for is no mistake: it goes to standard output."""
    done = store.run_ctl("--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert "  user rotate" in done.stdout and "TOKEN_STORE" in done.stdout


@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_of_one_command(store, option):
    done = store.run_ctl("user", "rotate", option)
    assert (done.returncode, done.stderr) == (0, "")
    assert "  user rotate" in done.stdout and "  user add" not in done.stdout
    done = store.run_ctl(option, "user")
    assert "  user add" in done.stdout and "  gateway add" not in done.stdout
    assert store.run_ctl("nothing", option).returncode == USAGE


def test_version(store):
    """One number: the API's, in openapi.yaml, too."""
    number = re.search(r"^  version: (\S+)$", (ROOT / "openapi.yaml").read_text(), re.M).group(1)
    for program in (TOKENCTL, WORKER):
        done = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stdout, done.stderr) == (0, f"{program.name} {number}\n", "")
    for option in ("--nothing", "version"):
        done = subprocess.run([WORKER, option], capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stdout) == (2, "") and option in done.stderr.splitlines()[0]
    done = subprocess.run([WORKER, "-h"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and done.stdout.startswith("usage: ")
    done = subprocess.run([WORKER, "--help"], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "") and "usage: token.fcgi" in done.stdout


@pytest.mark.parametrize(
    "arguments, fault",
    [
        (["nothing"], "unknown command: nothing"),
        (["user", "nothing"], "unknown command: nothing"),
        ([], "the command is incomplete"),
        (["user"], "the command is incomplete"),
        (["user", "add"], "an argument is missing"),
        (["check", "x"], "too many arguments"),
        (["gateway", "delete", "x"], "an id is a decimal number"),
        (["user", "list", "--group=g"], "not an option of this command: --group"),
        (["user", "add", "a", "--name=b"], "not an option of this command: --name"),
        (["token", "set", "1", "--expires=tomorrow"], "--expires: 'tomorrow' is not a decimal number"),
        (["token", "set", "1"], "nothing to set: give [--add-quota N] [--expires T] "),
        (["user", "set", "a"], "nothing to set: give [--name N] [--group G] "),
        (["user", "add", "a", "--group"], "an option lacks its value: --group"),
        (["stat", "--colour"], "unknown option: --colour"),
        (["stat", "--json=1"], "an option takes no value: --json=1"),
    ],
)
def test_usage_error_says_what_was_wrong(store, arguments, fault):
    lines = store.run_ctl(*arguments).stderr.splitlines()
    assert lines[0].startswith(f"tokenctl: {fault}") and lines[1].startswith("usage: ")


def test_name_that_looks_like_an_option(store):
    (added,) = store.ctl("user", "add", "--", "--group")
    assert added["name"] == "--group"
    ISSUED.add(added["access_token"])


def test_no_output_is_lost_silently(store):
    """A full disk behind stdout is a failure: what was printed once is gone for ever."""
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [TOKENCTL, "user", "list"],
            env=store.environment,
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=60,
        )
    assert done.returncode == FAILED and done.stderr
