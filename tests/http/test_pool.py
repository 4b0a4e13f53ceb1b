"""spawn.sh and the pool: its commands, reload, and the death of workers under load."""

import contextlib
import fcntl
import grp
import os
import random
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import fastcgi
import pytest
import records
from client import Client
from fastcgi import Connection
from service import IS_ROOT, WORKER_USER, Site, Store, free_port, wait_until

NOT_REACHED = (503, "Service is temporarily unavailable")


@pytest.fixture(scope="module")
def pool():
    """A site of this module's own, whose pool comes and goes."""
    with Site(TOKEN_MAX_PER_USER="0") as running:
        yield running


@pytest.fixture
def client(pool):
    """Of a fresh user, through nginx; with the pool running."""
    pool.spawn("start")
    wait_until(lambda: len(pool.pids()) == 2, "there are two workers")
    return pool.http(pool.add_user())


@pytest.fixture(scope="module")
def stopped():
    """A site whose pool is not started."""
    with Site(pool=False, workers=1) as site:
        yield site


def pid_file(pool):
    return pool.dir / "token.pid"


# ---- commands ----


def test_start_twice_starts_nothing_twice(pool, client):
    before = pool.pids(), pid_file(pool).read_text()
    pool.spawn("start")
    assert (pool.pids(), pid_file(pool).read_text()) == before
    assert client.list().status == 200


def test_workers_run_as_their_user(pool, client):
    assert {Path(f"/proc/{pid}").owner() for pid in pool.pids()} == {WORKER_USER}


def test_workers_run_as_the_stores_owner():
    """Without TOKEN_USER, of which another shell may know nothing."""
    with Site(pool=False, workers=1, TOKEN_USER="daemon") as site:
        site.spawn("start", TOKEN_USER=None)
        assert {Path(f"/proc/{pid}").owner() for pid in site.pids()} == {"daemon"}
        assert site.http(site.add_user()).list().status == 200


def test_only_nginx_reaches_the_socket(pool, client):
    status = os.stat(pool.socket)
    assert stat.S_ISSOCK(status.st_mode) and stat.S_IMODE(status.st_mode) == 0o660
    if IS_ROOT:
        assert grp.getgrgid(status.st_gid).gr_name == "www-data"


def test_settings(stopped):
    settings = {
        "TOKEN_SOCKET": str(stopped.dir / "other.sock"),
        "TOKEN_SOCKET_MODE": "0600",
        "TOKEN_WORKERS": "3",
        "TOKEN_PIDFILE": str(stopped.dir / "elsewhere.pid"),
    }
    stopped.spawn("start", **settings)
    try:
        wait_until(lambda: len(stopped.pids()) == 3, "there are three workers")
        assert stat.S_IMODE(os.stat(settings["TOKEN_SOCKET"]).st_mode) == 0o600
        assert Path(settings["TOKEN_PIDFILE"]).read_text().strip().isdigit()
        assert stopped.run_spawn("status", **settings)[0] == 0
        assert stopped.run_spawn("status")[0] != 0  # that is another pool
    finally:
        stopped.spawn("stop", **settings)
    assert not stopped.pids()


def test_stop_and_start(pool, client):
    """nginx answers 503 meanwhile, in the envelope, and needs no restart."""
    token = client.make()
    assert pool.run_spawn("status")[0] == 0
    pool.spawn("stop")
    assert not pool.pids()
    assert not pool.socket.exists() and not pid_file(pool).exists()
    assert pool.run_spawn("status")[0] != 0
    pool.spawn("stop")  # twice is no error
    for reply in (client.list(), client.create({})):
        assert reply.failure == NOT_REACHED
        assert int(reply.headers["retry-after"]) > 0
    pool.spawn("restart")  # from nothing
    assert pool.run_spawn("status")[0] == 0
    assert client.list().data["items"] == [token]


REAPS_NOBODY = """
import ctypes, subprocess, sys
PR_SET_CHILD_SUBREAPER = 36
assert ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
for action in ("start", "stop"):
    subprocess.run([sys.argv[1], action], check=True)
"""


def test_stop_below_one_who_reaps_nobody(stopped):
    """As the first process of a container may be: a zombie has stopped."""
    done = subprocess.run(
        [sys.executable, "-c", REAPS_NOBODY, stopped.spawn_sh],
        env=stopped.environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, ""), done
    assert done.stdout.endswith("stopped\n")


def test_start_on_the_socket_of_another_pool(pool, client):
    """Neither takes the socket over nor says that it has started."""
    before = pool.pids()
    other = {"TOKEN_PIDFILE": str(pool.dir / "b.pid"), "TOKEN_LOG": str(pool.dir / "b.log")}
    for stale in (False, True):
        for action in ("start", "restart"):
            if stale:
                Path(other["TOKEN_PIDFILE"]).write_text("999999999\n")
            status, output = pool.run_spawn(action, **other)
            assert status == 1 and "in use by another pool" in output and "started" not in output
    status, output = pool.run_spawn("status", **other)
    assert status == 1 and output == (f"spawn.sh: a pool answers on {pool.socket} that is not in {other['TOKEN_PIDFILE']}: "
                                      "systemd's, or another spawn.sh's\n")
    pool.spawn("stop", **other)
    assert pool.pids() == before and client.list().status == 200
    assert pool.run_spawn("status")[0] == 0


def run_as_nobody(pool, action, cwd=None, **settings):
    return subprocess.run(
        [pool.spawn_sh, action],
        cwd=cwd,
        env={**pool.environment, **settings},
        capture_output=True,
        text=True,
        timeout=60,
        user="nobody",
        group="nogroup",
        extra_groups=[],
    )


def test_who_may_not_ask_is_told_so(pool, client):
    closed = pool.dir / "closed"
    closed.mkdir(mode=0o700)
    for settings in ({}, {"TOKEN_SOCKET": str(closed / "x.sock")}):
        done = run_as_nobody(pool, "status", cwd=closed, **settings)  # as from root's home
        assert done.returncode == 4 and re.fullmatch("spawn.sh: no permission to ask: .*\n", done.stderr)
    conf = closed / "token.conf"
    conf.touch(mode=0o600)
    closed.chmod(0o711)
    assert run_as_nobody(pool, "status", TOKEN_CONF=str(conf)).returncode == 4
    done = run_as_nobody(pool, "stop")
    assert done.returncode == 1 and "cannot stop pid" in done.stderr and "killing" not in done.stderr
    assert client.list().status == 200


def test_group_that_cannot_be_set(pool):
    """By another than root, who is not in it. The pool is not started: nginx could not connect."""
    folder = pool.dir / "nobody"
    folder.mkdir()
    shutil.chown(folder, "nobody")
    names = {"TOKEN_SOCKET": "n.sock", "TOKEN_STORE": "store", "TOKEN_SECRET": "secret", "TOKEN_LOG": "n.log"}
    done = run_as_nobody(pool, "start", **{name: str(folder / file) for name, file in names.items()})
    assert done.returncode == 1 and "TOKEN_SOCKET_GROUP" in done.stderr and "www-data" in done.stderr


def test_restart(pool, client):
    before = pool.pids()
    token = client.make()
    pool.spawn("restart")
    assert not before & pool.pids()
    assert client.list().data["items"] == [token]


def test_restart_with_wrong_settings_keeps_the_pool(pool, client):
    wait_until(lambda: len(pool.pids()) == 2, "there are two workers")
    before = pool.pids()
    for settings, word in (({"TOKEN_MAX_PER_USER": "many"}, "TOKEN_MAX_PER_USER"), ({"TOKEN_WORKERS": "0"}, "TOKEN_WORKERS")):
        status, output = pool.run_spawn("restart", **settings)
        assert status != 0 and word in output
        assert pool.pids() == before
        assert client.list().status == 200


def test_worker_that_dies_is_started_again(pool, client):
    for number in (signal.SIGKILL, signal.SIGABRT, signal.SIGTERM):
        victim = min(pool.pids())
        os.kill(victim, number)
        wait_until(lambda: victim not in pool.pids(), "the worker has ended")
        wait_until(lambda: len(pool.pids()) == 2, "there are two workers again")
        assert client.list().status == 200


def test_stale_files_are_no_obstacle(pool, client):
    """What a machine that lost its power leaves: a socket, and a pid that is not ours."""
    pool.spawn("stop")
    with subprocess.Popen(["sleep", "600"]) as bystander:
        for content in ("", "\n", "999999999\n", "-1\n", "garbage\n", f"{bystander.pid}\n"):
            with socket.socket(socket.AF_UNIX) as left:
                left.bind(str(pool.socket))
            pid_file(pool).write_text(content)
            assert pool.run_spawn("status")[0] != 0
            pool.spawn("stop")
            pool.socket.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(str(pool.socket))
        pid_file(pool).write_text(f"{bystander.pid}\n")
        pool.spawn("start")
        assert client.list().status == 200
        assert bystander.poll() is None
        bystander.kill()


def test_holder_that_was_killed(pool, client):
    """No worker outlives it for long, and the next start does not mind."""
    token = client.make()
    old = pool.pids()
    os.kill(int(pid_file(pool).read_text()), signal.SIGKILL)
    pool.spawn("start")
    assert client.list().data["items"] == [token]
    wait_until(lambda: not old & pool.pids(), "the old workers have ended")
    wait_until(lambda: len(pool.pids()) == 2, "there are two workers")


def test_over_tcp(pool):
    port = free_port()
    settings = {
        "TOKEN_SOCKET": f"127.0.0.1:{port}",
        "TOKEN_PIDFILE": str(pool.dir / "tcp.pid"),
        "TOKEN_WORKERS": "1",
    }
    pool.spawn("start", **settings)
    try:
        client = Client(fastcgi.transport(("127.0.0.1", port)), pool.add_user())
        assert client.make(name="by TCP")["name"] == "by TCP"
        assert pool.run_spawn("status", **settings)[0] == 0
        pool.spawn("reload", **settings)
        assert client.list().data["total"] == 1
    finally:
        pool.spawn("stop", **settings)
    assert pool.run_spawn("status", **settings)[0] != 0


@pytest.mark.parametrize(
    "arguments, fault",
    [([], "missing"), (["nothing"], "nothing"), (["--nothing"], "--nothing"), (["start", "stop"], "too many")],
)
def test_wrong_usage(pool, arguments, fault):
    done = run_arguments(pool, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    first, second = done.stderr.splitlines()
    assert fault in first and second.startswith("usage: ")


def run_arguments(pool, *arguments):
    return subprocess.run(
        [pool.spawn_sh, *arguments], env=pool.environment, capture_output=True, text=True, timeout=60
    )


def test_information(pool):
    number = run_arguments(pool, "--version").stdout
    assert number == pool.run_ctl("--version").stdout.replace("tokenctl", "spawn.sh")
    for option in ("--help", "-h"):
        done = run_arguments(pool, option)
        assert (done.returncode, done.stderr) == (0, "") and done.stdout.startswith("usage: ")
        assert "TOKEN_SOCKET" in done.stdout


# ---- in the foreground ----


@contextlib.contextmanager
def foreground(site, **settings):
    """spawn.sh run, whose log is its standard error."""
    site.wrap_program(site.environment)
    log = site.dir / "run.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            [site.spawn_sh, "run"],
            env=site.with_settings({"TOKEN_LOG": None, **settings}),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        wait_until(lambda: "started, pid" in log.read_text() or process.poll() is not None, "it has started")
        yield process, log
    finally:
        process.terminate()
        process.wait(timeout=60)
        log.unlink()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_run_stays_in_the_foreground(stopped, number):
    """Signals are passed on: a reload, and the end."""
    with foreground(stopped) as (process, log):
        client = stopped.http(stopped.add_user())
        assert client.list().status == 200 and process.poll() is None
        before = stopped.pids()
        process.send_signal(signal.SIGHUP)
        wait_until(lambda: "reloaded" in log.read_text(), "it is reloaded")
        wait_until(lambda: len(stopped.pids()) == 1 and not before & stopped.pids(), "others serve")
        assert client.list().status == 200 and process.poll() is None
        assert stopped.run_spawn("status")[0] == 0 and stopped.run_spawn("start")[0] == 0
        process.send_signal(number)
        assert process.wait(timeout=60) == 0
        assert not stopped.pids() and not stopped.socket.exists()
        assert not (stopped.dir / "token.log").exists()


def test_run_ends_with_its_pool(stopped):
    """A supervisor then starts another; one that is killed leaves no pool."""
    with foreground(stopped) as (process, log):
        os.kill(int(pid_file(stopped).read_text()), signal.SIGKILL)
        assert process.wait(timeout=60) == 1 and "the pool has ended" in log.read_text()
        wait_until(lambda: not stopped.pids(), "the workers have ended")
    with foreground(stopped) as (process, log):
        process.kill()
        wait_until(lambda: not stopped.pids(), "the workers have ended")


def test_run_of_a_wrong_setting(stopped):
    with foreground(stopped, TOKEN_KEYS="wrong") as (process, log):
        assert process.wait(timeout=60) == 1 and "TOKEN_KEYS" in log.read_text()
    assert not stopped.pids()


def test_run_takes_over_a_running_pool(stopped):
    stopped.spawn("start")
    before = stopped.pids()
    log = stopped.dir / "run.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            [stopped.spawn_sh, "run"], env=stopped.environment, stdin=subprocess.DEVNULL, stdout=output
        )
    wait_until(lambda: "already running" in log.read_text(), "it has found the pool")
    assert stopped.pids() == before
    process.terminate()
    assert process.wait(timeout=60) == 0
    assert not stopped.pids()
    log.unlink()


# ---- what reaches the workers, and what the workers' user can do to root ----


def tree(pool):
    """The holder and all below it."""
    found = [int(pid_file(pool).read_text())]
    for pid in found:
        found += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
    return found


def test_only_what_the_caller_meant_to_hand_on(pool, client):
    """Neither descriptors nor variables of the shell that happened to start the pool."""
    with (pool.dir / "left-open").open("w") as file:
        low, high = (fcntl.fcntl(file, fcntl.F_DUPFD, at_least) for at_least in (7, 40))
        done = subprocess.run(
            [pool.spawn_sh, "restart"],
            env={**pool.environment, "SECRET_OF_THE_SHELL": "1", "LC_TIME": "C", "TOKEN_KEYS": "shown"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            timeout=60,
            pass_fds=(low, high),
        )
        os.close(low)
        os.close(high)
    assert done.returncode == 0
    wait_until(lambda: len(pool.pids()) == 2, "there are two workers")
    pids = tree(pool)
    assert len(pids) == 4
    for pid in pids:
        open_files = [os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir()]
        assert not any("left-open" in name for name in open_files)
        variables = Path(f"/proc/{pid}/environ").read_text().split("\0")[:-1]
        # A shell exports its folder.
        names = {variable.partition("=")[0] for variable in variables if variable != "PWD=/"}
        assert {"PATH", "TOKEN_KEYS", "LC_TIME"} <= names
        allowed = re.compile("TOKEN_.*|PATH|LANG|LANGUAGE|LC_.*")
        assert [name for name in names if not allowed.fullmatch(name)] == [], pid


@pytest.mark.parametrize("name", ["token.pid", "token.log", "token.reload"])
def test_links_in_a_folder_of_the_workers_user(stopped, name):
    """Root follows none that this user has planted."""
    if not IS_ROOT:
        return
    folder = stopped.dir / "run"
    folder.mkdir()
    victim, missing = stopped.dir / "victim", stopped.dir / "missing"
    settings = {"TOKEN_SOCKET": str(folder / "token.sock"), "TOKEN_LOG": str(folder / "token.log")}
    try:
        for target in (victim, missing):
            victim.write_text("intact")
            victim.chmod(0o600)
            (folder / name).symlink_to(target)
            shutil.chown(folder, WORKER_USER)
            for action in ("start", "reload", "restart", "stop"):
                stopped.run_spawn(action, **settings)
            status = victim.stat()
            assert (victim.read_text(), status.st_uid, status.st_mode & 0o777) == ("intact", 0, 0o600)
            assert not missing.exists()
            (folder / name).unlink(missing_ok=True)
        for action in ("start", "reload"):
            stopped.spawn(action, **settings)
        socket_status = os.stat(folder / "token.sock")
        assert grp.getgrgid(socket_status.st_gid).gr_name == "www-data"
        assert {path.owner() for path in folder.iterdir()} == {WORKER_USER}
    finally:
        stopped.spawn("stop", **settings)
        shutil.rmtree(folder)


def test_fifos_in_a_folder_of_the_workers_user(stopped):
    """No command waits for what nobody writes or reads."""
    folder = stopped.dir / "run"
    folder.mkdir()
    settings = {"TOKEN_SOCKET": str(folder / "token.sock"), "TOKEN_LOG": str(folder / "token.log")}
    shutil.chown(folder, WORKER_USER)
    try:
        stopped.spawn("start", **settings)
        for name in ("token.log", "token.reload"):
            (folder / name).unlink(missing_ok=True)
            os.mkfifo(folder / name)
            for action in ("start", "reload", "status"):
                status, output = stopped.run_spawn(action, **settings)
                assert status == 0 or str(folder / name) in output
            (folder / name).unlink()
    finally:
        stopped.spawn("stop", **settings)
    os.mkfifo(folder / "token.pid")
    assert stopped.run_spawn("status", **settings)[0] == 3
    assert stopped.run_spawn("start", **settings)[0] == 1
    shutil.rmtree(folder)


@pytest.mark.skipif(not IS_ROOT, reason="only root gives files away")
def test_files_that_are_no_log_and_no_counters(stopped):
    """Root gives the workers' user no device that is the log, and no file that TOKEN_SHARED names by mistake."""
    folder, null, other = stopped.dir / "run", stopped.dir / "null", stopped.dir / "other"
    folder.mkdir()
    shutil.chown(folder, WORKER_USER)
    os.mknod(null, 0o666 | stat.S_IFCHR, os.stat("/dev/null").st_rdev)
    null.chmod(0o666)
    other.write_text("intact")
    other.chmod(0o600)
    settings = {"TOKEN_SOCKET": str(folder / "token.sock"), "TOKEN_LOG": str(null), "TOKEN_SHARED": str(other)}
    try:
        for action in ("start", "reload"):
            stopped.spawn(action, **settings)
    finally:
        stopped.spawn("stop", **settings)
        shutil.rmtree(folder)
    assert (null.stat().st_uid, other.stat().st_uid, other.read_text()) == (0, 0, "intact")


# ---- what keeps it from starting ----

CANNOT = [
    ({"TOKEN_UNKNOWN": "1"}, "TOKEN_UNKNOWN"),
    ({"TOKEN_MAX_PER_USER": "many"}, "TOKEN_MAX_PER_USER"),
    ({"TOKEN_STORE": "/nonexistent/store"}, "/nonexistent/store"),
    ({"TOKEN_SECRET": "/nonexistent/secret"}, "/nonexistent/secret"),
    ({"TOKEN_BIN": "/nonexistent/token.fcgi"}, "/nonexistent/token.fcgi"),
    ({"TOKEN_BIN": "/bin/false"}, ""),
    ({"TOKEN_WORKERS": "0"}, "TOKEN_WORKERS"),
    ({"TOKEN_WORKERS": "two"}, "TOKEN_WORKERS"),
    ({"TOKEN_SOCKET": "/tmp/" + "x" * 200}, "107"),
    ({"TOKEN_SOCKET": "0.0.0.0:9000"}, "TOKEN_SOCKET"),
    ({"TOKEN_SOCKET": "192.0.2.1:9000"}, "TOKEN_SOCKET"),
    ({"TOKEN_SOCKET": "127.0.0.1:99999"}, "TOKEN_SOCKET"),
    ({"TOKEN_SOCKET": "127.0.0.1:"}, "TOKEN_SOCKET"),
    ({"TOKEN_SOCKET": "127.0.0.1"}, "HOST:PORT"),
    ({"TOKEN_SOCKET": "localhost"}, "HOST:PORT"),
    ({"TOKEN_SOCKET_GROUP": "no-group-of-that-name"}, "TOKEN_SOCKET_GROUP"),
    ({"TOKEN_SOCKET_MODE": "rw"}, "TOKEN_SOCKET_MODE"),
    ({"TOKEN_USER": "nobody-of-that-name"}, "TOKEN_USER"),
]


@pytest.mark.parametrize("settings, word", CANNOT, ids=str)
def test_start_that_fails_says_why(stopped, settings, word):
    status, output = stopped.run_spawn("start", **settings)
    assert status != 0
    assert output.strip() and word in output
    assert not stopped.pids()
    assert stopped.run_spawn("status")[0] != 0


def test_start_after_one_that_failed(stopped):
    stopped.run_spawn("start", TOKEN_MAX_PER_USER="many")
    stopped.spawn("start")
    assert stopped.http(stopped.add_user()).list().status == 200
    stopped.spawn("stop")


# ---- what keeps it from going on ----


def parent(pid):
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"^PPid:\s*(\d+)", status, re.MULTILINE).group(1))


@pytest.mark.parametrize("supervisor_too", [False, True], ids=["workers", "multiwatch"])
def test_store_that_was_away(pool, client, supervisor_too):
    """As a disk that is mounted late: the pool waits, and serves when the store is back, those
    too who asked meanwhile."""
    token = client.make()
    store, away = pool.dir / "store", pool.dir / "away"
    log = Path(pool.environment["TOKEN_LOG"])
    log_seen = log.stat().st_size
    old = pool.pids()
    supervisor = parent(min(old))
    store.rename(away)
    try:
        if supervisor_too:
            os.kill(supervisor, signal.SIGKILL)
        for pid in old:
            with contextlib.suppress(ProcessLookupError):  # those of no supervisor end
                os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not pool.pids(), "no worker is left")
        time.sleep(2)  # for several tries, each of which fails
        status, output = pool.run_spawn("status")
        assert status != 0 and str(store) in output and "0 of" in output
        waiting = Connection(pool.socket, timeout=15)
        waiting.send(fastcgi.request(fastcgi.environment("OPTIONS", "/api/token/")))
    finally:
        away.rename(store)
    assert waiting.read_reply().status == 204
    waiting.close()
    wait_until(lambda: len(pool.pids()) == 2, "there are two workers again", timeout=15)
    assert client.list().data["items"] == [token]
    said = log.read_text()[log_seen:].splitlines()
    # Once for each that waits, and a start for each that was killed.
    assert 1 <= len([line for line in said if str(store) in line]) <= 2
    assert len([line for line in said if "died" in line]) <= 2 * len(old)
    status, output = pool.run_spawn("status")
    assert status == 0 and "2 of 2 workers" in output


# ---- under load ----


class Load:
    """Threads that call step() again and again until the block ends.

    What step returns is in results, what it raised in errors.
    """

    def __init__(self, threads, step):
        self.results, self.errors = [], []
        self.step, self.ended = step, False
        self.threads = [threading.Thread(target=self.run, args=(n,)) for n in range(threads)]

    def run(self, number):
        while not self.ended:
            try:
                self.results.append(self.step(number))
            except Exception as error:  # to be looked at by the test
                self.errors.append(error)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.ended = True
        for thread in self.threads:
            thread.join()

    def goes_on(self):
        """Waits until every thread has had the time for another result."""
        wanted = len(self.results) + 4 * len(self.threads)
        wait_until(lambda: len(self.results) + len(self.errors) >= wanted, "the load goes on")


def ids_of(client):
    """The ids of all of a user's tokens, page by page."""
    found, page = [], 1
    while items := client.list(f"?p={page}&size=100").data["items"]:
        found += [token["id"] for token in items]
        page += 1
    return found


@pytest.mark.threads
def test_reload_drops_no_request(pool, client):
    """Creates and lists at all times, through three reloads: every one is answered."""
    clients = [pool.http(pool.add_user(), checked=False) for _ in range(8)]

    def step(number):
        if number % 2:
            return number, clients[number].list("?size=1").data["total"]
        return number, clients[number].create({}).data["id"]

    retired = set()
    with Load(8, step) as load:
        for _ in range(3):
            load.goes_on()
            retired |= pool.pids()
            pool.spawn("reload")
            wait_until(lambda: len(pool.pids() - retired) == 2, "there are two new workers")
            load.goes_on()
    assert load.errors == []
    for number in range(0, 8, 2):
        created = [result for who, result in load.results if who == number]
        assert ids_of(clients[number]) == created[::-1]
    wait_until(lambda: not retired & pool.pids(), "the old workers have ended")
    pool.check()


def test_restart_from_another_shell_changes_nothing(stopped):
    """The settings are in the file: spawn.sh's and the workers'."""
    conf = Path(stopped.environment["TOKEN_CONF"])
    bare = {"TOKEN_WORKERS": None, "TOKEN_LOG": None}
    user = stopped.add_user()
    conf.write_text(f"TOKEN_WORKERS=3\nTOKEN_KEYS=masked\nTOKEN_LOG={stopped.dir}/conf.log\n")
    stopped.spawn("start", **bare)
    try:
        wait_until(lambda: len(stopped.pids()) == 3, "there are three workers")
        client = stopped.http(user)
        token = client.make()
        for action in ("restart", "reload"):
            stopped.spawn(action, **bare)
            assert "*" in client.get(token["id"]).data["key"]
        assert (stopped.dir / "conf.log").exists()
        before = stopped.pids()
        for wrong in ("TOKEN_KEYS='masked'\n", "TOKEN_WORKERS=0\n"):
            conf.write_text(wrong)
            for action in ("restart", "reload"):
                status, output = stopped.run_spawn(action, **bare)
                assert status != 0 and (wrong[:10] in output or str(conf) in output)
                assert client.list().status == 200
        conf.write_text("TOKEN_WORKERS=1\n")
        stopped.spawn("reload", **bare)
        wait_until(lambda: len(stopped.pids()) == 1, "there is one worker")
        assert not before & stopped.pids()
        assert client.get(token["id"]).data["key"].startswith("sk-")
    finally:
        conf.write_text("")
        stopped.spawn("stop", **bare)
    conf.chmod(0o666)
    try:
        status, output = stopped.run_spawn("start")
        assert status != 0 and str(conf) in output
    finally:
        conf.chmod(0o644)


def log_of(pool):
    return Path(pool.environment["TOKEN_LOG"])


def test_log_is_opened_again(pool, client):
    """After a renaming, by reload and by SIGHUP to the holder."""
    log, old = log_of(pool), log_of(pool).with_suffix(".1.log")
    log.rename(old)
    before = old.read_text()
    status, output = pool.run_spawn("reload")
    assert status == 0 and output.startswith("reloaded") and len(output.splitlines()) == 1
    assert "reloaded" in log.read_text() and "reloaded" not in old.read_text()[len(before) :]
    assert log.stat().st_mode & 0o007 == 0
    log.unlink()
    os.kill(int(pid_file(pool).read_text()), signal.SIGHUP)
    wait_until(lambda: log.exists() and "reloaded" in log.read_text(), "the log is there again")
    assert client.list().status == 200


def test_reload_serves_kept_connections(pool, client):
    """A connection from before, as nginx keeps some: no answer is missing on it."""
    with Connection(pool.socket) as connection:
        assert connection.ask("OPTIONS", "/api/token/").status == 204
        pool.spawn("reload")
        for _ in range(10):
            assert connection.ask("OPTIONS", "/api/token/").status == 204
    assert client.list().status == 200


def test_reload_makes_a_change_of_the_file_effective(pool, client):
    """Other than a change of where things are, for which there is restart."""
    conf = Path(pool.environment["TOKEN_CONF"])
    before = conf.read_text()

    def is_named(name):
        return client.request("GET", "/api/status").data["system_name"] == name

    conf.write_text(f"{before}TOKEN_SYSTEM_NAME=another\n")
    try:
        pool.spawn("reload")
        wait_until(lambda: is_named("another"), "the new workers answer")
    finally:
        conf.write_text(before)
        pool.spawn("reload")
    wait_until(lambda: is_named("token"), "newer workers answer")


def test_reload_that_cannot_start_workers_keeps_the_old(pool, client):
    secret = Path(pool.environment["TOKEN_SECRET"])
    wait_until(lambda: len(pool.pids()) == 2, "there are two workers")
    before = pool.pids()
    secret.chmod(0o644)
    try:
        status, output = pool.run_spawn("reload")
        assert status != 0 and str(secret) in output
        assert pool.pids() == before
        assert client.list().status == 200
    finally:
        secret.chmod(0o600)
    pool.spawn("reload")
    assert client.list().status == 200


def test_reload_that_fails_says_why_each_time(pool, client):
    secret = Path(pool.environment["TOKEN_SECRET"])
    secret.chmod(0o644)
    try:
        for _ in range(2):
            status, output = pool.run_spawn("reload")
            assert status != 0 and str(secret) in output
    finally:
        secret.chmod(0o600)


def test_reload_of_nothing(stopped):
    assert stopped.run_spawn("reload")[0] != 0


@pytest.mark.threads
def test_killed_workers_lose_no_acknowledged_write(pool, client):
    """kill -9, ten times, while tokens are created, changed and deleted."""
    clients = [pool.http(pool.add_user(), checked=False) for _ in range(6)]
    chance = random.Random(1)
    # Acknowledged and asked for, by user: a request without an answer may have been done.
    created = [[] for _ in clients]
    renamed = [{} for _ in clients]
    deleted = [set() for _ in clients]
    attempts = [0] * len(clients)

    def step(number):
        me = clients[number]
        attempts[number] += 1
        reply = me.create({"name": "before"})
        if reply.status != 200:
            assert reply.failure == NOT_REACHED
            return
        token_id = reply.data["id"]
        created[number].append(token_id)
        if token_id % 3 == 0:
            name = f"after {attempts[number]}"
            if me.update({"id": token_id, "name": name}).status == 200:
                renamed[number][token_id] = name
        elif token_id % 3 == 1:
            deleted[number].add(token_id)  # whether or not the answer comes
            me.delete(token_id)

    with Load(6, step) as load:
        for _ in range(10):
            load.goes_on()
            workers = wait_until(pool.pids, "there is a worker")
            with contextlib.suppress(ProcessLookupError):
                os.kill(chance.choice(sorted(workers)), signal.SIGKILL)
    wait_until(lambda: len(pool.pids()) == 2, "there are two workers again")
    assert load.errors == []
    for number, me in enumerate(clients):
        found = ids_of(me)
        assert len(found) == len(set(found)) == me.list("?size=1").data["total"]
        assert set(created[number]) - deleted[number] <= set(found)
        assert len(found) <= attempts[number]
        for token_id, name in renamed[number].items():
            assert me.get(token_id).data["name"] == name
    assert sum(map(len, created)) > 100
    pool.check()


# ---- two workers at once ----


@pytest.mark.threads
def test_two_workers_write_at_once():
    """Each has its own socket here, so that both surely take part."""
    with Store() as store:
        user = store.add_user()
        paths = [
            store.start_worker(f"{name}.sock", TOKEN_MAX_PER_USER="0")[1] for name in ("a", "b")
        ]
        found, errors = [], []

        def write(path):
            try:
                client = Client(fastcgi.transport(path), user, checked=False)
                for _ in range(50):
                    found.append(client.create({}).data["id"])
                    found.extend(token["id"] for token in client.create([{}, {}]).data)
            except Exception as error:
                errors.append(error)

        threads = [threading.Thread(target=write, args=(paths[n % 2],)) for n in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        assert len(found) == len(set(found)) == 6 * 50 * 3
        for path in paths:  # either sees what the other wrote
            client = Client(fastcgi.transport(path), user)
            assert ids_of(client) == sorted(found, reverse=True)
        store.check()


@pytest.mark.threads
def test_two_workers_and_one_last_place():
    """The limit holds over processes: of many creates at once, just as many as fit."""
    with Store() as store:
        user = store.add_user()
        paths = [
            store.start_worker(f"{name}.sock", TOKEN_MAX_PER_USER="10")[1] for name in ("a", "b")
        ]
        clients = [Client(fastcgi.transport(path), user) for path in paths]
        statuses = []

        def write(client):
            for _ in range(10):
                statuses.append(client.create({}).status)

        threads = [threading.Thread(target=write, args=(clients[n % 2],)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(statuses) == [200] * 10 + [409] * 30
        assert clients[0].list().data["total"] == 10
        store.check()


@pytest.mark.threads
def test_one_delete_of_many_succeeds():
    """The same token, deleted over two workers at once: one 200, and 404 for the rest."""
    with Store() as store:
        user = store.add_user()
        clients = [
            Client(fastcgi.transport(store.start_worker(f"{name}.sock")[1]), user)
            for name in ("a", "b")
        ]
        for _ in range(20):
            token_id = clients[0].make()["id"]
            barrier, statuses = threading.Barrier(4), []

            def delete(client):
                barrier.wait()
                statuses.append(client.delete(token_id).status)

            threads = [threading.Thread(target=delete, args=(clients[n % 2],)) for n in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert sorted(statuses) == [200, 404, 404, 404]
        store.check()


def test_store_grows_over_processes():
    """Each worker sees what the other has added to the file."""
    with Store() as store:
        user = store.add_user()
        clients = []
        for name in ("a", "b"):
            _, path = store.start_worker(f"{name}.sock", TOKEN_MAX_PER_USER="0")
            clients.append(Client(fastcgi.transport(path), user))
        (before,) = store.ctl("stat")
        large = {"model_limits": "m" * 8192, "allow_ips": "1.2.3.4," * 1000}
        created = []
        for turn in range(24):
            created += [token["id"] for token in clients[turn % 2].create([large] * 50).data]
            for client in clients:
                page = client.list("?size=1").data
                assert page["total"] == len(created)
                assert page["items"][0]["id"] == created[-1]
        (after,) = store.ctl("stat")
        assert after["map_used_bytes"] > before["map_used_bytes"] + 1000 * 8192
        assert ids_of(clients[0]) == created[::-1]
        store.check()


# ---- a disk that is full ----


def test_disk_that_is_full():
    """Writes get 503, reads go on, and nothing that was acknowledged is lost.

    A limit on the size of files stands for the disk's end. The worker may go on or end
    with an error, for the supervisor to start another.
    """
    with Store() as store:
        user = store.add_user()
        limit = (store.dir / "store/data.mdb").stat().st_size + 100_000
        worker, path = store.start_worker(
            prefix=["env", "--ignore-signal=XFSZ", "prlimit", f"--fsize={limit}:"]
        )
        client = Client(fastcgi.transport(path), user)
        created = []
        for _ in range(1000):
            reply = client.create({"model_limits": "m" * 3000})
            if reply.status != 200:
                break
            created.append(reply.data["id"])
        assert reply.failure == NOT_REACHED and int(reply.headers["retry-after"]) > 0

        store.start_worker_on(store.listeners[-1])
        assert ids_of(client) == created[::-1]
        worker.terminate()
        worker.wait(timeout=60)
        created.append(client.create({"model_limits": "m" * 3000}).data["id"])
        assert ids_of(client) == created[::-1]
        store.check()


def test_restart_of_a_new_version():
    """Whose first process upgrades the store, when no older one is left. A reload says so."""
    with Site(workers=1) as site:
        data = site.dir / "store/data.mdb"
        content = data.read_bytes()
        version = records.SCHEMA_VERSION
        new, old = (b"schema" + records.meta_value(b"schema", n) for n in (version, version - 1))
        assert new in content
        with data.open("r+b") as file:
            for found in re.finditer(re.escape(new), content):
                file.seek(found.start())
                file.write(old)
        before = site.pids()
        status, output = site.run_spawn("reload")
        assert status == 1 and "needs a restart" in output
        assert site.pids() == before and not (site.dir / f"store/data.mdb.{version - 1}").exists()
        site.spawn("restart")
        assert (site.dir / f"store/data.mdb.{version - 1}").exists()
        assert site.http(site.add_user()).list().status == 200
        site.check()


# They need another account, or read files of workers under /proc, which are root's.
for needs_root in (
    test_workers_run_as_the_stores_owner,
    test_who_may_not_ask_is_told_so,
    test_group_that_cannot_be_set,
    test_only_what_the_caller_meant_to_hand_on,
):
    needs_root.__test__ = IS_ROOT
