"""systemd/: the units, and what they start, without systemd as the first process. The service is started here
as systemd does it: by token.service's ExecStart=, as its user, on an open socket (sd_listen_fds(3))."""

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import fastcgi
import pytest
from client import Client
from fastcgi import Connection
from service import BUILD, IS_ROOT, ROOT, WORKER_USER, Site, wait_until
from test_pool import Load

UNITS = ("token.service", "token.socket")


def install(root, prefix="/usr"):
    """What is built, without building. Not into "/": that adds the account."""
    subprocess.run(["make", "-s", "-o", "all", "install", f"BUILD={BUILD}", f"DESTDIR={root}", f"PREFIX={prefix}",
                    f"SYSCONFDIR={prefix}/etc"], cwd=ROOT, check=True, capture_output=True, timeout=60)
    return Path(f"{root}{prefix}/lib/systemd/system")


class Service(Site):
    """token.service and nginx, without the unit's limits. The socket stays open when the service ends."""

    def __init__(self, **settings):
        super().__init__(pool=False, **settings)
        self.unit = (install(self.dir) / "token.service").read_text()
        self.spawn_sh = self.dir / "usr/lib/token/spawn.sh"
        self.program = self.dir / "usr/lib/token/token.fcgi"
        run = self.dir / "run"
        run.mkdir()
        if IS_ROOT:
            shutil.chown(run, WORKER_USER)
        self.socket = run / "token.sock"
        own = " ".join(re.findall("^Environment=(.*)", self.unit, re.M)).replace("/run/token", str(run))
        self.environment = self.with_settings(
            {"TOKEN_SOCKET": str(self.socket), "TOKEN_BIN": None, "TOKEN_LOG": None}
        )
        self.unit_environment = dict(pair.split("=", 1) for pair in own.split())
        self.pid_file = Path(self.unit_environment["TOKEN_PIDFILE"])
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(self.socket))
        self.listener.listen(4096)
        self.socket.chmod(0o666)
        self.listeners.append(self.listener)

    def command(self, name):
        (line,) = re.findall(f"^{name}=(.*)", self.unit, re.M)
        program, *arguments = shlex.split(line)
        return [f"{self.dir}{program}", *arguments]

    def start(self, count=1, **variables):
        """LISTEN_PID is the pid of what is started."""
        passes = f'export LISTEN_PID=$$ LISTEN_FDS={count} && exec "$@" 3<&{self.listener.fileno()}'
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                ["/bin/bash", "-c", passes, "bash", *self.command("ExecStart")],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=[self.listener.fileno()],
                env=self.with_settings({**self.unit_environment, **variables}), start_new_session=True,
                **self.as_worker_user(),
            )
        self.workers.append(self.process)

    def stop(self):
        """systemd signals all processes of the service."""
        os.killpg(self.process.pid, signal.SIGTERM)
        assert self.process.wait(timeout=60) == 0
        wait_until(lambda: not self.pids(), "the workers have ended")

    def is_up(self, count=2):
        wait_until(lambda: len(self.pids()) == count, f"there are {count} workers")

    def reload(self):
        return subprocess.run(
            self.command("ExecReload"), env=self.with_settings(self.unit_environment), capture_output=True, text=True,
            timeout=60, **self.as_worker_user(),
        )


@pytest.fixture(scope="module")
def service():
    with Service(TOKEN_MAX_PER_USER="0") as made:
        made.start()
        made.is_up()
        yield made
        made.stop()


@pytest.fixture(scope="module")
def units(tmp_path_factory):
    """Installed where their programs are found."""
    folder = tmp_path_factory.mktemp("units")
    return install("/", folder)


# ---- the files ----


def test_units_are_well_formed(units):
    files = [units / name for name in UNITS]
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", *files], capture_output=True, text=True, timeout=60)
    said = [line for line in done.stderr.splitlines() if "token" in line]
    assert (done.returncode, said) == (0, []), done
    defaults = dict(re.findall(r"^#(TOKEN_SOCKET\w*)=(.*)", (ROOT / "token.conf.example").read_text(), re.M))
    unit = dict(re.findall(r"^(\w+)=(.*)", files[1].read_text(), re.M))
    assert [unit[name] for name in ("ListenStream", "SocketMode", "SocketGroup")] == list(defaults.values())


def test_exposure(units):
    """At most 2.0 of 10: systemd-analyze counts in tenths."""
    done = subprocess.run(["systemd-analyze", "security", "--offline=true", "--threshold=20", units / UNITS[0]],
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "Overall exposure level" in done.stdout, done.stdout[-300:] + done.stderr


def system_calls(names):
    """The names in systemd's sets, which begin with @."""
    found = set()
    for name in names:
        if name.startswith("@"):
            done = subprocess.run(["systemd-analyze", "syscall-filter", name], capture_output=True, text=True, check=True)
            found |= system_calls(re.findall(r"^    (@?\w[\w-]*)", done.stdout, re.M))
        else:
            found.add(name)
    return found


def test_filter_allows_what_a_worker_calls(units):
    """Its own filter is the list. Those that load it come on top."""
    allowed = set()
    for line in re.findall("^SystemCallFilter=(.*)", (units / UNITS[0]).read_text(), re.M):
        names = system_calls(line.removeprefix("~").split())
        allowed = allowed - names if line.startswith("~") else allowed | names
    calls = set(re.findall(r"SCMP_SYS\((\w+)\)", (ROOT / "sandbox/filter.c").read_text()))
    calls |= set(re.findall(r"SYS_(\w+)", "".join((ROOT / f"sandbox/{name}.c").read_text() for name in ("sandbox", "files"))))
    assert {"capset", "landlock_add_rule", "accept4"} <= calls
    assert (calls | {"seccomp", "prctl", "prlimit64", "execve", "clone"}) - allowed == set()


def test_account_and_folder(units, tmp_path):
    """Of systemd-sysusers and systemd-tmpfiles."""
    (tmp_path / "etc").mkdir()
    library = units.parents[1]
    root = f"--root={tmp_path}"
    subprocess.run(["systemd-sysusers", root, library / "sysusers.d/token.conf"], check=True, timeout=60)
    account = (tmp_path / "etc/passwd").read_text().split(":")
    assert account[0] == "token" and account[5:] == ["/nonexistent", "/usr/sbin/nologin\n"]
    if not IS_ROOT:
        return
    subprocess.run(["systemd-tmpfiles", root, "--create", library / "tmpfiles.d/token.conf"], check=True, timeout=60)
    status = (tmp_path / "run/token").stat()
    assert (status.st_uid, status.st_mode & 0o777) == (int(account[2]), 0o755)


def test_log_is_rotated(tmp_path):
    """Of a pool without systemd."""
    with Site(workers=1) as site:
        log = Path(site.environment["TOKEN_LOG"])
        text = (ROOT / "systemd/logrotate.conf").read_text()
        text = text.replace("/run/token/token.log", str(log)).replace("/usr/local/lib/token/spawn.sh", str(site.spawn_sh))
        text = text.replace("/run/token/token.pid", str(site.dir / "token.pid"))
        text = text.replace("token token", f"{WORKER_USER} {WORKER_USER}" if IS_ROOT else "")
        (tmp_path / "conf").write_text(text)
        (tmp_path / "conf").chmod(0o644)

        def rotate():
            done = subprocess.run(["/usr/sbin/logrotate", "-f", "-s", tmp_path / "state", tmp_path / "conf"],
                                  env=site.environment, capture_output=True, text=True, timeout=60)
            assert (done.returncode, done.stderr) == (0, "")

        old = log.read_text()
        rotate()
        assert Path(f"{log}.1").read_text().startswith(old) and "reloaded" in log.read_text()
        site.spawn("stop")
        old = log.read_text()
        rotate()
        assert Path(f"{log}.1").read_text() == old and log.read_text() == ""
        log.write_text("again\n")
        (tmp_path / "conf").write_text(text.replace(str(site.spawn_sh), "/nonexistent"))
        rotate()
        assert Path(f"{log}.1").read_text() == "again\n"
        for path in log.parent.glob(f"{log.name}.*"):
            path.unlink()


# ---- the service ----


@pytest.mark.parametrize("what", ["worker", "service"])
def test_socket_activation(what):
    """The first connection starts it, and is answered."""
    with Service(workers=1) as site:
        command = [site.program] if what == "worker" else site.command("ExecStart")
        settings = site.with_settings(site.unit_environment)
        path = site.dir / "run/first.sock"
        passed = [word for name in settings if name.startswith("TOKEN_") for word in ("-E", name)]
        with site.log.open("ab") as log:
            site.workers.append(subprocess.Popen(
                ["systemd-socket-activate", *passed, "-l", path, *command], env=settings, stdout=log, stderr=log,
                start_new_session=True, **site.as_worker_user()))
        wait_until(path.exists, "the socket is there")
        client = Client(fastcgi.transport(path), site.add_user())
        assert client.create({}).status == 200
        site.workers[-1].terminate()
        site.workers[-1].wait(timeout=60)
        wait_until(lambda: not site.pids(), "the workers have ended")


def test_ready(service):
    """Told by sd_notify's protocol once the store is open; no worker gets the address."""
    path = service.dir / "run/notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
        supervisor.bind(str(path))
        path.chmod(0o666)
        supervisor.settimeout(60)
        service.stop()
        service.start(NOTIFY_SOCKET=str(path))
        said = b""
        while b"READY=1" not in said.splitlines():
            said, fds, _, _ = socket.recv_fds(supervisor, 4096, 8)
            for fd in fds:  # a barrier
                os.close(fd)
    service.is_up()
    for pid in service.pids():
        assert "NOTIFY_SOCKET" not in Path(f"/proc/{pid}/environ").read_text()
    assert "Type=notify\n" in service.unit and "NotifyAccess=all\n" in service.unit


def test_reload_drops_no_request(service):
    clients = [service.http(service.add_user(), checked=False) for _ in range(4)]
    retired = service.pids()

    def step(number):
        return clients[number].list("?size=1").status if number % 2 else clients[number].create({}).status

    with Load(4, step) as load:
        load.goes_on()
        done = service.reload()
        load.goes_on()
    assert (done.returncode, load.errors, set(load.results)) == (0, [], {200}), done
    wait_until(lambda: len(service.pids() - retired) == 2 and not service.pids() & retired, "others serve")


def test_reload_that_fails_keeps_the_old(service):
    """systemctl says so, as ExecReload= fails."""
    conf, before = Path(service.environment["TOKEN_CONF"]), service.pids()
    conf.write_text("TOKEN_KEYS=wrong\n")
    try:
        done = service.reload()
        assert done.returncode == 1 and "TOKEN_KEYS" in done.stderr and service.pids() == before
    finally:
        conf.write_text("")


def test_workers_are_started_again(service):
    client = service.http(service.add_user())
    for _ in range(3):
        before = service.pids()
        for pid in before:
            service.kill(pid)
        wait_until(lambda: len(service.pids() - before) == 2, "there are two others")
    assert client.list().status == 200 and service.process.poll() is None


def test_restart_lets_requests_wait(service):
    """In the queue of the socket, which systemd keeps, as it keeps the folder with what was counted."""
    client = service.http(service.add_user())
    counters = service.dir / "run/metrics"
    counted = counters.stat().st_ino
    for number in (signal.SIGTERM, signal.SIGKILL):
        if number == signal.SIGTERM:
            service.stop()
        else:
            service.process.kill()
            wait_until(lambda: not service.pids(), "the workers have ended")
        with Connection(service.socket, timeout=60) as waiting:
            waiting.send(fastcgi.request(fastcgi.environment("OPTIONS", "/api/token/")))
            service.start()
            assert waiting.read_reply().status == 204
    service.is_up()
    assert client.list().status == 200 and counters.stat().st_ino == counted
    assert "RuntimeDirectory=token\nRuntimeDirectoryPreserve=yes\n" in service.unit


def test_restart_leaves_kept_connections_to_nginx(service):
    """systemd sends RestartKillSignal= to all processes. A connection closed by a worker might get a request just then."""
    (name,) = re.findall("^RestartKillSignal=(.*)", service.unit, re.M)
    with Connection(service.socket, timeout=60) as kept:
        assert kept.ask("OPTIONS", "/api/token/").status == 204
        os.killpg(service.process.pid, signal.Signals[name])
        wait_until(lambda: len(service.pids()) == 1, "the worker without a connection has ended")
        assert kept.ask("OPTIONS", "/api/token/").status == 204
    assert service.process.wait(timeout=60) == 0
    service.start()
    service.is_up()


def test_spawn_sh_leaves_the_service_alone(service):
    """It is no pool of its own."""
    before = service.pids()
    assert service.run_spawn("stop")[1] == "not running\n"
    for action in ("start", "restart"):
        status, output = service.run_spawn(action)
        assert status == 1 and "is in use by another pool" in output
    status, output = service.run_spawn("status")
    assert status == 1 and f"a pool answers on {service.socket} that is not in " in output and "systemd's" in output
    assert service.pids() == before and service.socket.exists()


@pytest.mark.parametrize("count, settings, said", [
    (2, {}, "LISTEN_FDS: 2 sockets were passed instead of one"),
    (1, {"TOKEN_SECRET": "/nonexistent"}, "/nonexistent: No such file"),
    (1, {"TOKEN_KEYS": "wrong"}, "TOKEN_KEYS must be"),
    (1, {"TOKEN_USER": "daemon"}, "TOKEN_USER: only root can start workers as daemon"),
])
def test_start_that_fails(service, count, settings, said):
    """Ends, and systemd tries again."""
    service.stop()
    service.start(count, **settings)
    assert service.process.wait(timeout=60) == 1 and said in service.log.read_text()
    service.start()
    service.is_up()
