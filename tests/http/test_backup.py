"""tokenctl backup and restore: what they make, what they refuse, and that a kill at any moment leaves
no half of it."""

import os
import pty
import random
import resource
import signal
import stat
import subprocess
import threading
import time

import fastcgi
import pytest
from client import Client
from service import IS_ROOT, TOKENCTL, WORKER_USER, Store

LOST_IDS = 1_000_000
KILLS = 12


@pytest.fixture
def store():
    with Store() as made:
        yield made


@pytest.fixture(scope="module")
def large(engine):
    """About 20 MB: a backup and a restore take a while. Nothing changes it."""
    with Store(TOKEN_MAX_PER_USER="0") as made:
        client = Client(fastcgi.transport(made.start_worker()[1]), made.add_user())
        models = ",".join(f"model-{number}" for number in range(600))
        for _ in range(30):
            client.make_many(100, model_limits_enabled=True, model_limits=models)
        made.backup = made.dir / "whole"
        made.ctl("backup", made.backup)
        yield made


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def assert_failed(done, word):
    assert (done.returncode, done.stdout) == (1, ""), done
    assert len(done.stderr.splitlines()) == 1 and word in done.stderr, done


def restored(store, file, name="restored"):
    """Settings with which programs work on the store that is made of the file."""
    settings = {"TOKEN_STORE": str(store.dir / name)}
    store.ctl("restore", file, **settings)
    assert store.ctl("check", **settings) == [{"ok": True}]
    return settings


def names(store):
    return {path.name for path in store.dir.iterdir() if path.suffix in (".part", ".new")}


def test_all_of_it_comes_back(store):
    _, socket = store.start_worker()
    client = Client(fastcgi.transport(socket), store.add_user("alice", "vip"))
    store.add_gateway()
    tokens = client.make_many(3)
    file = store.dir / "backup"
    assert store.ctl("backup", file) == [{"file": str(file), "bytes": file.stat().st_size}]
    assert mode(file) == 0o600 and file.stat().st_uid == os.geteuid()
    settings = restored(store, file)
    folder = store.dir / "restored"
    assert mode(folder) == 0o700 and folder.owner() == WORKER_USER
    assert [(mode(path), path.owner()) for path in folder.iterdir()] == [(0o600, WORKER_USER)] * 2
    assert names(store) == set()
    for command in (("user", "list"), ("gateway", "list"), ("token", "list", "alice")):
        assert store.ctl(*command, **settings) == store.ctl(*command)
    _, socket = store.start_worker("restored.sock", **settings)
    restored_client = Client(fastcgi.transport(socket), client.user)
    assert restored_client.list().data == client.list().data
    assert restored_client.verify(tokens[0]["key"]).status == 204


def test_ids_that_may_have_been_given_out_since(store):
    client = Client(store.cgi, store.add_user())
    token = client.make()
    store.ctl("backup", store.dir / "backup")
    settings = restored(store, store.dir / "backup")
    (user,) = store.ctl("user", "add", "later", **settings)
    assert user["id"] == client.user.id + 1 + LOST_IDS
    store.environment.update(settings)
    assert Client(store.cgi, client.user).make()["id"] == token["id"] + 1 + LOST_IDS


def test_while_workers_write(store):
    """What was acknowledged before a backup began is in it, and it is one moment's."""
    _, socket = store.start_worker()
    client = Client(fastcgi.transport(socket), store.add_user())
    acknowledged, ended = [], threading.Event()

    def write():
        while not ended.is_set():
            acknowledged.append(client.make()["id"])

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in range(5):
            before = len(acknowledged)
            store.ctl("backup", store.dir / "backup")
            settings = restored(store, store.dir / "backup", f"restored{number}")
            ids = {token["id"] for token in store.ctl("token", "list", client.user.id, **settings)}
            assert set(acknowledged[:before]) <= ids
    finally:
        ended.set()
        writer.join()


# ---- backup ----


def test_where_the_stores_owner_has_no_access(store):
    """The file is the caller's business. A normal user is the owner."""
    folder = store.dir / "private"
    folder.mkdir(mode=0o700)
    store.ctl("backup", folder / "backup")
    assert (folder / "backup").stat().st_uid == os.geteuid()
    restored(store, folder / "backup")


def test_by_the_owner_himself(store):
    folder = store.dir / "owner"
    folder.mkdir()
    os.chown(folder, *(store.dir / "secret").stat()[4:6])
    for command in ("backup", "restore"):
        settings = {"TOKEN_STORE": str(folder / "restored")} if command == "restore" else {}
        subprocess.run([TOKENCTL, command, folder / "backup"], check=True, timeout=60,
                       env=store.with_settings(settings), **store.as_worker_user())
    assert (folder / "backup").owner() == WORKER_USER
    assert store.ctl("check", TOKEN_STORE=str(folder / "restored")) == [{"ok": True}]


def test_takes_the_place_of_the_one_before(store):
    file = store.dir / "backup"
    file.write_bytes(b"yesterday's")
    file.chmod(0o644)
    (store.dir / "backup.part").write_bytes(b"x" * 100_000)  # of a run that was killed
    store.ctl("backup", file)
    assert mode(file) == 0o600 and names(store) == set()
    restored(store, file)


def test_of_a_damaged_store(store):
    client = Client(store.cgi, store.add_user())
    client.make(name="damaged-token")
    store.damage_token("damaged-token")
    file = store.dir / "backup"
    file.write_bytes(b"yesterday's")
    done = store.run_ctl("backup", file)
    assert done.returncode == 1 and "token 1: its record can't be read" in done.stdout, done
    assert done.stderr == "tokenctl: the copy has problems, listed on standard output\n"
    assert file.read_bytes() == b"yesterday's" and names(store) == set()


def test_without_room_for_it(large):
    done = subprocess.run(
        [TOKENCTL, "backup", large.dir / "no-room"],
        env=large.environment, capture_output=True, text=True, timeout=60,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000)),
    )
    assert_failed(done, "no-room: File too large")
    assert names(large) == set() and not (large.dir / "no-room").exists()


@pytest.mark.parametrize(
    "place, word",
    [("store/backup", "backup: is in the store's folder"), ("store/data.mdb", "store's folder"), ("folder", "folder: exists and is no regular file"),
     ("fifo", "no regular file"), ("link", "no regular file"), ("planted", "planted.part: Too many levels"), ("away/backup", "No such file")],
)
def test_backup_refuses(store, place, word):
    (store.dir / "folder").mkdir()
    os.mkfifo(store.dir / "fifo")
    (store.dir / "precious").write_bytes(b"precious")
    (store.dir / "link").symlink_to("precious")
    (store.dir / "planted.part").symlink_to("precious")
    data = store.data()
    assert_failed(store.run_ctl("backup", store.dir / place), word)
    assert (store.dir / "precious").read_bytes() == b"precious" and store.data() == data


# ---- restore ----


@pytest.fixture
def backup(store):
    store.add_user("alice")
    store.ctl("backup", store.dir / "backup")
    return store.dir / "backup"


@pytest.mark.parametrize("holder", ["user", "gateway"])
def test_never_overwrites(store, backup, holder):
    settings = {"TOKEN_STORE": str(store.dir / "other"), "TOKEN_SECRET": str(store.dir / "other-secret")}
    store.ctl("init", **settings)
    store.ctl(holder, "add", "somebody", **settings)
    before = store.ctl(holder, "list", **settings)
    assert_failed(store.run_ctl("restore", backup, **settings), "never overwritten")
    assert_failed(store.run_ctl("restore", backup), "never overwritten")
    assert store.ctl(holder, "list", **settings) == before and names(store) == set()


def test_into_an_empty_store(store):
    user = store.add_user("alice")
    store.ctl("backup", store.dir / "backup")
    store.ctl("user", "delete", "alice")
    store.ctl("restore", store.dir / "backup")
    assert names(store) == set()
    store.check()
    assert Client(store.cgi, user).make()["id"] > LOST_IDS


@pytest.mark.parametrize("place", ["new/folders/store", "empty"])
def test_makes_the_store(store, backup, place):
    (store.dir / "empty").mkdir()
    os.chown(store.dir / "empty", *(store.dir / "secret").stat()[4:6])
    restored(store, backup, place)
    assert (store.dir / place).owner() == WORKER_USER


@pytest.mark.parametrize(
    "file, word",
    [("cut", "pages are damaged; restore another backup"), ("cut-late", ""), ("nothing", "No such file"),
     ("empty", "cut short"), ("noise", "")],
)
def test_restore_refuses_a_file(store, large, file, word):
    whole = large.backup.read_bytes()
    for name, bytes_ in (("cut", whole[:20_000]), ("cut-late", whole[: -len(whole) // 3]), ("empty", b""),
                         ("noise", random.Random(7).randbytes(100_000))):
        (store.dir / name).write_bytes(bytes_)
    settings = {"TOKEN_SECRET": str(large.dir / "secret"), "TOKEN_STORE": str(store.dir / "made"),
                # LMDB dies on a page that is not there: AddressSanitizer has nothing to say about it.
                "ASAN_OPTIONS": "handle_sigbus=0:handle_segv=0:handle_abort=0"}
    done = store.run_ctl("restore", store.dir / file, **settings)
    assert done.returncode == 1 and word in done.stderr and len(done.stderr.splitlines()) == 1, done
    assert names(store) == set() and not (store.dir / "made").exists()


def test_restore_refuses_another_secret(store, backup):
    (store.dir / "secret").write_bytes(os.urandom(32))
    assert_failed(store.run_ctl("restore", backup, TOKEN_STORE=str(store.dir / "made")), "another secret")


def test_restore_refuses_a_link(store, backup):
    (store.dir / "target").mkdir()
    (store.dir / "link").symlink_to("target")
    assert_failed(store.run_ctl("restore", backup, TOKEN_STORE=str(store.dir / "link")), "link")
    assert list((store.dir / "target").iterdir()) == []


test_by_the_owner_himself.__test__ = IS_ROOT  # else all tests run so


# ---- interrupted ----


def start(store, *arguments, **settings):
    return subprocess.Popen([TOKENCTL, *arguments], env=store.with_settings(settings), text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def seconds_of(run):
    began = time.monotonic()
    assert run().wait() == 0
    return time.monotonic() - began


def test_killed_backups(large):
    """The name has the whole of a backup or none; the next one is made in any case."""
    file = large.dir / "killed"
    length = seconds_of(lambda: start(large, "backup", file))
    file.unlink()
    draw = random.Random(1)
    absent = 0
    for _ in range(KILLS):
        process = start(large, "backup", file)
        time.sleep(draw.uniform(0, length))
        process.kill()
        process.communicate()
        absent += not file.exists()
        if file.exists():
            assert file.stat().st_size == large.backup.stat().st_size
            file.unlink()
    assert absent > 0
    large.ctl("backup", file)
    assert names(large) == set() and file.stat().st_size == large.backup.stat().st_size


def test_killed_restores(large):
    """The store is whole or not there; the next run makes it, or says that there is one."""
    settings = {"TOKEN_STORE": str(large.dir / "killed-store")}
    length = seconds_of(lambda: start(large, "restore", large.backup, **settings))
    folder = large.dir / "killed-store"
    folder.rename(large.dir / "whole-store")
    draw = random.Random(2)
    absent = 0
    for number in range(KILLS):
        process = start(large, "restore", large.backup, **settings)
        time.sleep(draw.uniform(0, length))
        process.kill()
        process.communicate()
        absent += not folder.exists()
        if folder.exists():
            large.ctl("check", **settings)
            folder.rename(large.dir / f"done{number}")
    assert absent > 0
    large.ctl("restore", large.backup, **settings)
    large.ctl("check", **settings)
    assert names(large) == set()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("command", ["backup", "restore"])
def test_interrupted(large, command, number):
    """One line, nothing left."""
    settings = {"TOKEN_STORE": str(large.dir / "interrupted-store")} if command == "restore" else {}
    file = large.dir / "interrupted" if command == "backup" else large.backup
    made = large.dir / ("interrupted" if command == "backup" else "interrupted-store")
    beside = made.with_name(made.name + (".part" if command == "backup" else ".new"))
    process = start(large, command, file, **settings)
    while not beside.exists() and process.poll() is None:
        pass
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (1, "") and err.endswith("interrupted\n"), err
    assert len(err.splitlines()) == 1
    assert not made.exists() and names(large) == set()


# ---- progress ----


def on_a_terminal(large, *arguments):
    """What it prints there."""
    master, slave = pty.openpty()
    done = subprocess.run([TOKENCTL, *arguments], env=large.environment, stdout=subprocess.DEVNULL,
                          stderr=slave, timeout=60)
    os.close(slave)
    assert done.returncode == 0
    text = b""
    try:
        while part := os.read(master, 4096):
            text += part
    except OSError:  # EIO: the end
        pass
    os.close(master)
    return text


def test_progress_only_on_a_terminal(large):
    file = large.dir / "progress"
    assert b"MB, " in on_a_terminal(large, "backup", file)
    assert on_a_terminal(large, "backup", file, "--quiet") == b""
    assert large.run_ctl("backup", file).stderr == ""
