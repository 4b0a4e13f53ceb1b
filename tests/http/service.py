"""Private installations of the service, for tests: a store, workers and an nginx."""

import atexit
import contextlib
import functools
import grp
import json
import os
import pwd
import random
import re
import shlex
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import client
import fastcgi
import records
from client import ISSUED, Client, Gateway, User

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / os.environ.get("BUILD", "build")
TOKENCTL = BUILD / "tokenctl"
WORKER = BUILD / "token.fcgi"

IS_ROOT = os.geteuid() == 0
ACCOUNTS = {entry.pw_name for entry in pwd.getpwall()}
ROOTS_WORKER_USER = "token" if "token" in ACCOUNTS else "www-data"  # after a make install
WORKER_USER = ROOTS_WORKER_USER if IS_ROOT else pwd.getpwuid(os.geteuid()).pw_name

SANITIZER_REPORT = re.compile(
    r"ERROR: AddressSanitizer|LeakSanitizer|WARNING: ThreadSanitizer|runtime error:"
)

# A change of the examples for nginx: requests of the tests are not limited.
WITHOUT_LIMITS = (
    r"^    geo \$token_is_own_address \{\n",
    "    geo $token_is_own_address {\n        127.0.0.0/8  1;\n",
)

# Routes that nginx.conf.example has on the internal server only.
INTERNAL_PATH = re.compile(r"/(verify|consume|reserve|settle|cancel|find)(\?|\Z)"
                           r"|\A(/api/(user/(search|manage|[0-9]+|)|log/)|/healthz|/metrics)(\?|\Z)")

# Settings of the surrounding `make test` or shell must not reach the programs.
CLEAN_ENVIRONMENT = {
    name: value
    for name, value in os.environ.items()
    if not name.startswith(("TOKEN_", "MAKE", "MFLAGS")) and name not in ("BUILD", "PORT")
}


def clock_s():
    """Seconds of C's time(), which may be a tick behind time.time()."""
    CLOCK_REALTIME_COARSE = 5
    return int(time.clock_gettime(CLOCK_REALTIME_COARSE))


def zones():
    """Two time zones: the second has a later day, and neither has a midnight soon."""
    hour = time.gmtime().tm_hour
    return f"Etc/GMT+{11 if hour == 11 else 12}", f"Etc/GMT-{12 if hour == 9 else 14}"


def wait_until(condition, what, timeout=30):
    """Polls until condition() is true; the time-out only ends a test that hangs."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        time.sleep(0.01)
    return value


# Below those that the kernel gives to clients; each of xdist's processes (gw0, gw1, ...) has its own.
OF_PROCESS = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % 16
PORTS = iter(random.sample(range(10_000 + OF_PROCESS, 30_000, 16), 1250))


def free_port():
    """Another one each time: the server starts later, and other tests run at the same time."""
    for port in PORTS:
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError("no port is left")


def running(program):
    """The ids of the processes that run this program file as FastCGI workers. spawn.sh also
    runs it as CGI, to check whether it starts."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if os.readlink(entry / "exe") == str(program):
                    if os.readlink(entry / "fd/0").startswith("socket:"):
                        found.add(int(entry.name))
    return found


@functools.cache
def postgresql_server():
    """For all stores of the session: each has a database of its own."""
    sys.path.append(str(ROOT / "tests/postgresql"))
    import server

    folder = server.make_folder()
    os.chown(folder, server.USER.pw_uid, server.USER.pw_gid)
    atexit.register(shutil.rmtree, folder)
    started = server.Server(folder / "http").start(max_connections="200")
    atexit.register(started.stop)
    started.location = functools.partial(server.location, started.folder)
    return started


class Store:
    """A store and its secret in a folder of their own, and the programs that use them.

    settings are environment variables for every program; None removes one.
    """

    ENGINE = "lmdb"  # conftest.py sets the one of the test that runs

    def __init__(self, **settings):
        # The name is short because a Unix socket's path has at most 107 bytes.
        self.dir = Path(tempfile.mkdtemp(prefix="tk", dir="/tmp"))
        self.dir.chmod(0o755)  # root runs the workers as another user
        self.log = self.dir / "worker.log"
        self.log.touch()
        (self.dir / "token.conf").touch(mode=0o644)  # not this machine's
        # Copies: the workers' user may not be able to enter this checkout.
        self.program = self.dir / "token.fcgi"
        shutil.copy(WORKER, self.program)
        self.environment = {
            **CLEAN_ENVIRONMENT,
            "TOKEN_STORE": self.make_location(),
            "TOKEN_SECRET": str(self.dir / "secret"),
            "TOKEN_CONF": str(self.dir / "token.conf"),
        }
        self.environment = self.with_settings(settings)
        self.workers = []
        self.listeners = []
        self.user_count = 0

    def make_location(self):
        if self.ENGINE == "lmdb":
            return str(self.dir / "store")
        postgresql_server().query(f"CREATE DATABASE {self.dir.name}")
        return postgresql_server().location(database=self.dir.name)

    def sql(self, text):
        return postgresql_server().query(text, self.dir.name)

    def __enter__(self):
        try:
            self.set_up()
        except BaseException:
            self.close()
            raise
        return self

    def set_up(self):
        self.ctl("init")

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Ends the workers, checks their log and removes the folder."""
        try:
            for worker in self.workers:
                if worker.poll() is None:
                    worker.terminate()
                worker.wait(timeout=60)
            self.check_logs()
        finally:
            for worker in self.workers:
                worker.kill()
            for listener in self.listeners:
                listener.close()
            shutil.rmtree(self.dir)

    def check_logs(self):
        for log in self.dir.glob("*.log"):
            text = log.read_text("utf-8", "replace")
            report = SANITIZER_REPORT.search(text)
            assert not report, f"{log.name}:\n{text[report.start() :][:20000]}"
            assert not [secret for secret in ISSUED if secret in text], f"a secret in {log.name}"

    def with_settings(self, settings):
        changed = {**self.environment, **settings}
        return {name: value for name, value in changed.items() if value is not None}

    # ---- tokenctl ----

    def run_ctl(self, *arguments, **settings):
        """Runs tokenctl; returns its exit status and what it printed."""
        return subprocess.run(
            [TOKENCTL, *map(str, arguments)],
            env=self.with_settings(settings),
            capture_output=True,
            text=True,
            timeout=120,
        )

    def ctl(self, *arguments, **settings):
        """Runs tokenctl --json; returns its objects."""
        done = self.run_ctl("--json", *arguments, **settings)
        assert done.returncode == 0, done
        return [json.loads(line) for line in done.stdout.splitlines()]

    def add_user(self, name=None, group=None, role=None):
        self.user_count += 1
        name = name or f"user{self.user_count}"
        options = (("--group", group), ("--role", role))
        (added,) = self.ctl("user", "add", name, *(word for option in options if option[1] for word in option))
        ISSUED.add(added["access_token"])
        return User(**added)

    def add_gateway(self, name="gateway"):
        """Its secret."""
        (added,) = self.ctl("gateway", "add", name)
        ISSUED.add(added["secret"])
        return added["secret"]

    def check(self):
        done = self.run_ctl("check")
        assert done.returncode == 0, done

    def data(self):
        """All that the engine has on disk."""
        if self.ENGINE == "lmdb":
            return (self.dir / "store/data.mdb").read_bytes()
        self.sql("CHECKPOINT")
        files = (path for path in postgresql_server().data.rglob("*") if path.is_file())
        return b"".join(path.read_bytes() for path in files)

    def tokens(self):
        """What changes if a token changes."""
        return self.data() if self.ENGINE == "lmdb" else self.sql("SELECT xmin, * FROM tokens ORDER BY id").encode()

    def damage_token(self, name):
        """Changes a byte of a token's record on disk, in the sealed key before its name."""
        if self.ENGINE == "postgresql":
            self.sql("UPDATE tokens SET sealed_key = set_byte(sealed_key, 20,"
                     f" get_byte(sealed_key, 20) # 1) WHERE name = '{name}'")
            return
        with (self.dir / "store/data.mdb").open("r+b") as file:
            data = file.read()
            offsets = [found.start() - 20 for found in re.finditer(name.encode(), data)]
            assert offsets
            for offset in offsets:
                file.seek(offset)
                file.write(bytes([data[offset] ^ 1]))

    def change_record(self, name, offset, value):
        """Changes bytes of a token's record on disk, found by the token's name, and adjusts its
        checksum."""
        with (self.dir / "store/data.mdb").open("r+b") as file:
            data = file.read()
            changed = 0
            places = ((found.start(), shift) for found in re.finditer(name.encode(), data) for shift in records.SHIFTS)
            for place, shift in places:
                start = place - records.AT_TEXTS - shift
                record = bytearray(data[start : start + 20000])
                if records.shift_of(record) != shift:
                    continue
                ids = struct.unpack(">qq", data[start - 16 : start])  # its key lies before it
                if offset > 0 and not record.startswith(records.seal_token(record, *ids)):
                    continue  # the name in an audit record; damage may hit that too
                record[offset : offset + len(value)] = value
                file.seek(start)
                file.write(records.seal_token(record, *ids))
                changed += 1
            assert changed

    def damage_version(self, name):
        self.change_record(name, 0, b"\xff")

    def set_accessed(self, name, unix_s):
        if self.ENGINE == "postgresql":
            self.sql(f"UPDATE tokens SET accessed_unix_s = {unix_s} WHERE name = '{name}'")
            return
        self.change_record(name, 34, unix_s.to_bytes(8, "little"))

    # ---- the worker ----

    def as_worker_user(self):
        """Arguments for subprocess: the workers' user, if it is another one."""
        if not IS_ROOT:
            return {}
        return {"user": WORKER_USER, "group": WORKER_USER, "extra_groups": []}

    def start_worker(self, name="direct.sock", prefix=(), **settings):
        """One worker on a listening socket, as spawn-fcgi would start it: (process, path)."""
        path = self.dir / name
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        listener.listen(1024)
        path.chmod(0o666)
        self.listeners.append(listener)
        return self.start_worker_on(listener, prefix, **settings), path

    def start_worker_on(self, listener, prefix=(), **settings):
        """prefix: a command that runs the worker, with its arguments."""
        with self.log.open("ab") as log:
            worker = subprocess.Popen(
                [*prefix, self.program],
                stdin=listener,
                stdout=subprocess.DEVNULL,
                stderr=log,
                env=self.with_settings(settings),
                **self.as_worker_user(),
            )
        self.workers.append(worker)
        return worker

    def run_cgi(self, variables, body=b"", **settings):
        """Runs the worker as plain CGI does: stdin is a pipe; the variables are those of the
        request and the settings."""
        settings = self.with_settings(settings)
        kept = {n: v for n, v in settings.items() if n.startswith("TOKEN_") or "SAN_OPT" in n}
        return subprocess.run(
            [self.program],
            env={**kept, **variables},
            input=body,
            capture_output=True,
            timeout=60,
            **self.as_worker_user(),
        )

    def cgi(self, method, target, headers, body, **settings):
        """A transport for Client: each request is a run of the worker as plain CGI."""
        body = body or b""
        done = self.run_cgi(fastcgi.environment(method, target, headers, body), body, **settings)
        assert (done.returncode, done.stderr) == (0, b""), done
        return fastcgi.parse_cgi(done.stdout)


class Site(Store):
    """A store with a pool of workers, started by spawn.sh, and an nginx before it.

    nginx_changes: more (pattern, replacement) pairs for nginx.conf.example.
    """

    def __init__(self, workers=2, pool=True, nginx_changes=(), **settings):
        super().__init__(**settings)
        self.has_pool = pool
        self.nginx_changes = nginx_changes
        self.socket = self.dir / "token.sock"
        self.spawn_sh = self.dir / "spawn.sh"
        shutil.copy(ROOT / "spawn.sh", self.spawn_sh)
        self.environment = {
            **self.environment,
            "TOKEN_SOCKET": str(self.socket),
            "TOKEN_WORKERS": str(workers),
            "TOKEN_BIN": str(self.program),
            "TOKEN_LOG": str(self.dir / "pool.log"),
        }
        if not IS_ROOT:
            self.environment["TOKEN_SOCKET_GROUP"] = grp.getgrgid(os.getegid()).gr_name
        self.nginx = None

    def set_up(self):
        super().set_up()
        if self.has_pool:
            self.spawn("start")
        self.start_nginx()

    def close(self):
        if self.nginx:
            self.nginx.send_signal(signal.SIGQUIT)
            self.nginx.wait(timeout=60)
        try:
            self.spawn("stop")
            wait_until(lambda: not self.pids(), "the pool has ended")
        finally:
            super().close()

    def run_spawn(self, action, **settings):
        """Runs spawn.sh; output goes through a file, because a pool may keep it open."""
        self.wrap_program(self.with_settings(settings))
        with (self.dir / "spawn.txt").open("w+") as output:
            done = subprocess.run(
                [self.spawn_sh, action],
                env=self.with_settings(settings),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                timeout=120,
            )
            output.seek(0)
            return done.returncode, output.read()

    def wrap_program(self, environment):
        """Variables for the workers that are no settings, and sanitizers' options: spawn.sh does not
        hand them on."""
        own = {
            name: value
            for name, value in environment.items()
            if not name.startswith("TOKEN_")
            and ("SAN_OPTIONS" in name or CLEAN_ENVIRONMENT.get(name) != value)
        }
        if not own:
            return
        wrapper = self.dir / "worker"
        exports = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in own.items())
        # Under the wrapper's name, by which spawn.sh knows its workers.
        wrapper.write_text(f'#!/bin/bash\n{exports}exec -a "$0" {self.program}\n')
        wrapper.chmod(0o755)
        self.environment["TOKEN_BIN"] = str(wrapper)

    def spawn(self, action, **settings):
        status, output = self.run_spawn(action, **settings)
        assert status == 0, f"spawn.sh {action}: exit status {status}\n{output}"

    def pids(self):
        """The workers of the pool."""
        return running(self.program)

    def kill(self, pid):
        """Kills a worker of the pool; the supervisor then replaces it."""
        os.kill(pid, signal.SIGKILL)

    def start_nginx(self):
        self.port, self.internal_port = free_port(), free_port()
        configuration = self.dir / "nginx.conf"
        configuration.write_text(self.nginx_configuration())
        (self.dir / "tmp").mkdir()
        shutil.copytree(BUILD / "console", self.dir / "console")
        self.nginx = subprocess.Popen(
            ["/usr/sbin/nginx", "-p", self.dir, "-c", configuration, "-e", self.dir / "nginx.log"],
            stdin=subprocess.DEVNULL,
        )

        def answers():
            assert self.nginx.poll() is None, (self.dir / "nginx.log").read_text()
            with contextlib.suppress(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", self.port)).close()
                return True

        wait_until(answers, "nginx answers")

    def nginx_configuration(self):
        """The example with this site's paths, as dev/run.sh makes it. All clients of the tests
        have the address 127.0.0.1."""
        return self.changed_example("nginx.conf.example", [
            (r"listen 127\.0\.0\.1:8080", f"listen 127.0.0.1:{self.port}"),
            (r"listen 127\.0\.0\.1:8081", f"listen 127.0.0.1:{self.internal_port}"),
            WITHOUT_LIMITS,
            *self.nginx_changes,
        ])

    def changed_example(self, name, changes):
        """An example file with the paths of this site, and (pattern, replacement) pairs."""
        kinds = ("client_body", "fastcgi", "proxy", "scgi", "uwsgi")
        temp_paths = "".join(f"\n    {kind}_temp_path tmp/{kind};" for kind in kinds)
        once = [
            (r"^user .*", "user www-data;" if IS_ROOT else ""),
            (r"^pid .*", "pid nginx.pid;\ndaemon off;"),
            (r"^error_log .*", "error_log nginx.log;"),
            (r"^http \{", f"http {{{temp_paths}"),
            (r"unix:/run/token/token\.sock", f"unix:{self.socket}"),
            *changes,
        ]
        text = (ROOT / name).read_text()
        text = re.sub(r"alias .*", "alias console/;", text)
        text = re.sub(r"access_log [^ ]*", f"access_log {self.dir}/access.log", text)
        for pattern, replacement in once:
            text, count = re.subn(pattern, replacement, text, flags=re.MULTILINE)
            assert count == 1, f"{pattern} is {count} times in {name}"
        return text

    def send(self, method, target, headers, body):
        """A transport for Client: to the server of nginx that has the route."""
        port = self.internal_port if INTERNAL_PATH.search(target) else self.port
        return client.transport(port)(method, target, headers, body)

    def http(self, user=None, checked=True):
        return Client(self.send, user, checked)

    def gateway(self, checked=True):
        """A client of a new gateway."""
        return Gateway(self.send, self.add_gateway(), checked)

    def direct(self, user=None):
        """Past nginx, over the pool's socket."""
        return Client(fastcgi.transport(self.socket), user)

