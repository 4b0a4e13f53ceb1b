"""Faults below the service: a full disk, too few descriptors, a removed socket, missing pages,
flipped bits, a store of another version. Each has a clear answer, none damages the store."""

import contextlib
import json
import os
import subprocess
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fastcgi
import pytest
import records
from client import Client
from service import BUILD, Site, Store, wait_until

TORTURE = os.environ.get("TORTURE") == "1"
FULL = "store full: no space on the disk, or TOKEN_MAP_SIZE reached"
NOT_REACHED = (503, "Service is temporarily unavailable")
FLIP = BUILD / "faults/flip"
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # no disk has to sync it
FLIP_PROCESSES = 2
# Each is read by a process of its own; under a sanitizer such a process is slow to make.
FLIPS = 5000 if TORTURE else 300 if BUILD.name == "build" else 30


# ---- a disk that is full ----


@contextlib.contextmanager
def small_disk(folder, size):
    """A tmpfs: its path, and a function that changes its size. Without the right to mount, it is
    mounted in a user name space and reached by /proc."""
    folder.mkdir()
    options = f"size={size},mode=755"
    if subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder]).returncode == 0:
        try:
            yield folder, lambda size: subprocess.run(
                ["mount", "-o", f"remount,size={size}", folder], check=True
            )
        finally:
            subprocess.run(["umount", folder], check=True)
        return
    script = 'mount -t tmpfs -o "$2" tmpfs "$1" && echo mounted && while read -r size; do\n'
    script += 'mount -o "remount,size=$size" "$1" && echo done; done'
    keeper = subprocess.Popen(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh", folder, options],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )

    def resize(size):
        print(size, file=keeper.stdin, flush=True)
        assert keeper.stdout.readline() == "done\n"

    try:
        assert keeper.stdout.readline() == "mounted\n", "no small file system can be mounted here"
        yield f"/proc/{keeper.pid}/root{folder}", resize
    finally:
        keeper.stdin.close()
        keeper.wait()


def test_a_disk_that_is_full(tmp_path_factory):
    """Writes get 503, reads go on; with space again the same worker does both."""
    folder = tmp_path_factory.mktemp("disk")
    for parent in (folder, *folder.parents[:3]):
        parent.chmod(0o755)
    with small_disk(folder / "small", "1m") as (disk, resize):
        with Store(TOKEN_STORE=f"{disk}/store", TOKEN_MAX_PER_USER="0") as store:
            worker, path = store.start_worker()
            client = Client(fastcgi.transport(path), store.add_user())
            created = []
            assert client.health() == (200, "")
            for size in ("2m", "4m", "64m"):
                for _ in range(1000):
                    reply = client.create({"model_limits": "m" * 3000})
                    if reply.status != 200:
                        break
                    created.append(reply.data["id"])
                for _ in range(3):
                    assert reply.failure == NOT_REACHED and int(reply.headers["retry-after"]) > 0
                    assert client.list().data["total"] == len(created)
                    assert client.get(created[-1]).data["id"] == created[-1]
                    assert client.health() == (503, FULL)
                    reply = client.create([{"model_limits": "m" * 8000}] * 100)
                store.check()
                resize(size)
                wait_until(lambda: client.health() == (200, ""), "there is room, before a write")
                created.append(client.create({"model_limits": "m" * 3000}).data["id"])
                assert client.list().data["total"] == len(created)
            assert worker.poll() is None
            store.check()


# ---- descriptors ----


def test_too_few_descriptors_to_serve():
    with Store() as store:
        user = store.add_user()
        worker, path = store.start_worker(prefix=["prlimit", "--nofile=11"])
        assert worker.wait(timeout=30) == 1
        (line,) = store.log.read_text().splitlines()
        assert "RLIMIT_NOFILE" in line and " 11," in line and "64" in line
        store.start_worker_on(store.listeners[-1], prefix=["prlimit", "--nofile=11:64"])
        assert Client(fastcgi.transport(path), user).list().status == 200


# ---- the socket's file is gone ----


def test_socket_removed():
    """status reports it, restart creates it again; the store is unchanged."""
    with Site(workers=1) as site:
        client = site.http(site.add_user())
        token = client.make()
        site.socket.unlink()
        status, output = site.run_spawn("status")
        assert status != 0 and str(site.socket) in output
        with pytest.raises(FileNotFoundError):  # nginx has connections that still serve
            site.direct(client.user).list()
        site.spawn("restart")
        assert site.run_spawn("status")[0] == 0
        assert client.list().data["items"] == [token]
        site.check()


# ---- a data file that is incomplete, or of another version ----

COMMANDS = [
    ["check"], ["stat"], ["user", "add", "another"], ["user", "list"], ["user", "show", "1"],
    ["user", "rotate", "1"], ["user", "disable", "1"], ["user", "enable", "1"],
    ["user", "delete", "1"], ["gateway", "add", "g"], ["gateway", "list"],
    ["gateway", "delete", "1"], ["token", "list", "1"], ["token", "show", "1"],
    ["token", "disable", "1"], ["token", "find", "sk-" + "0" * 48],
]


def assert_refused(store, commands, *texts):
    """By tokenctl, by a worker and by plain CGI, with one line that contains the texts."""
    for command in commands:
        done = store.run_ctl(*command)
        assert (done.returncode, done.stdout) == (1, ""), (command, done)
        (line,) = done.stderr.splitlines()
        assert all(text in line for text in texts), line
    length = len(store.log.read_text())
    worker, _ = store.start_worker(name=f"s{len(store.workers)}")
    assert worker.wait(timeout=30) == 1
    (line,) = store.log.read_text()[length:].splitlines()
    assert all(text in line for text in texts), line
    done = store.run_cgi(fastcgi.environment("OPTIONS", "/api/token/"))
    assert done.returncode == 1 and all(text in done.stderr.decode() for text in texts)
    assert fastcgi.parse_cgi(done.stdout).failure == NOT_REACHED


@pytest.fixture
def filled():
    """A store with tokens of one user, and its data file's bytes."""
    with Store(TOKEN_MAX_PER_USER="0") as store:
        store.add_gateway()
        client = Client(store.cgi, store.add_user())
        client.create([{"name": str(n), "model_limits": "m" * (n * 50)} for n in range(100)])
        store.data = store.dir / "store/data.mdb"
        store.intact = store.data.read_bytes()
        store.client = client
        yield store


def put(store, data):
    with store.data.open("r+b") as file:
        file.truncate(0)
        file.write(data)


def test_data_file_cut_short(filled):
    """Without its first two pages it is refused; beyond them check ends with a failure."""
    size = len(filled.intact)
    for length in (0, 1, 4096, 8191):
        put(filled, filled.intact[:length])
        assert_refused(filled, COMMANDS if length == 0 else COMMANDS[:3], str(filled.data))
        assert filled.data.stat().st_size == length
    for length in (8192, 8193, 3 * 4096, size // 2, size // 2 // 4096 * 4096):
        put(filled, filled.intact[:length])
        assert filled.run_ctl("check").returncode != 0
        assert filled.data.stat().st_size == length
    put(filled, filled.intact)
    filled.check()
    assert filled.client.list().data["total"] == 100


def test_data_file_cut_short_while_it_is_mapped():
    """The client gets 503, the worker logs it and ends, no other starts; with the file restored the
    service goes on."""
    with Site(workers=1) as site:
        client = site.http(site.add_user())
        client.create([{"name": str(n), "model_limits": "m" * (n * 50)} for n in range(100)])
        data, log = site.dir / "store/data.mdb", site.dir / "pool.log"
        intact = data.read_bytes()
        os.truncate(data, 2 * 4096)
        assert client.list("?size=100").failure == NOT_REACHED
        wait_until(lambda: f"{data}: a page can't be read" in log.read_text(), "the worker says so")
        assert site.run_ctl("check").returncode != 0
        data.write_bytes(intact)
        wait_until(lambda: client.list("?size=100").status == 200, "another worker serves")
        assert client.list("?size=100").data["total"] == 100
        site.check()


def test_data_file_cut_at_its_end(filled):
    """A failure of check, or as it was where only pages were cut off that nothing is stored in."""
    size, outcomes = len(filled.intact), set()
    for cut in [1, 511, *range(512, 40 * 4096, 512 if TORTURE else 2560)]:
        if cut > size - 8192:
            break
        put(filled, filled.intact[: size - cut])
        intact = filled.run_ctl("check").returncode == 0
        outcomes.add(intact)
        assert not intact or filled.client.list("?size=100").data["total"] == 100
    assert False in outcomes
    put(filled, filled.intact)
    filled.check()


def test_store_of_a_newer_version(filled):
    version = records.SCHEMA_VERSION
    own, newer = (b"schema" + records.meta_value(b"schema", n) for n in (version, 99))
    assert own in filled.intact
    put(filled, filled.intact.replace(own, newer))
    folder = str(filled.dir / "store")
    assert_refused(filled, COMMANDS, folder, "another version", "version 99", f"version {version}")
    put(filled, filled.intact)
    filled.check()
    assert filled.client.list().data["total"] == 100


# ---- flipped bits ----


def flip(folder, seed):
    folder.mkdir()
    command = [FLIP, folder, str(seed), str(FLIPS)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    assert done.returncode == 0, done.stdout
    return json.loads(done.stdout.splitlines()[-1])


def test_flipped_bits():
    """A report: how many flips end how. flip.c has the promises: a flip in a record or an entry of
    the index of keys is found by the check and never read as a wrong answer; the check ends."""
    seeds = range(1, FLIP_PROCESSES + 1)
    with (
        tempfile.TemporaryDirectory(dir=MEMORY) as folder,
        ThreadPoolExecutor(FLIP_PROCESSES) as threads,
    ):
        reports = list(threads.map(lambda seed: flip(Path(folder) / str(seed), seed), seeds))
    for kind in ("value", "anywhere"):
        for what in ("check", "reads"):
            total = sum((Counter(report[kind][what]) for report in reports), Counter())
            print(kind, what, dict(total))
            singles = total.total() - FLIP_PROCESSES * FLIPS  # of each record of meta and users
            assert singles > 0 if kind == "value" else singles == 0
            assert total["found" if what == "check" else "error"] > 0
    print("read wrong and not found by the check", sum(report["unnoticed"] for report in reports))


# It has one thread, and tells how a reader died by its exit status.
test_flipped_bits.__test__ = BUILD.name != "tsan"
