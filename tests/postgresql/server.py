"""PostgreSQL servers of a test's own: an ordinary user's processes, on Unix sockets only."""

import atexit
import functools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / os.environ.get("BUILD", "build")
SPENDER = BUILD / "postgresql/spender"
TORTURE = "TORTURE" in os.environ


def find_programs():
    """The folder of the newest server's programs: Debian's are not in PATH."""
    found = list(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if found:
        return max(found, key=lambda path: int(path.parts[-3])).parent
    told = subprocess.run(["pg_config", "--bindir"], capture_output=True, text=True)
    return Path(told.stdout.strip())


def find_user():
    """Who the servers run as: never root, whom they refuse."""
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid())
    names = {user.pw_name for user in pwd.getpwall()}
    return pwd.getpwnam("postgres" if "postgres" in names else "nobody")


PROGRAMS = find_programs()
USER = find_user()
AS_USER = {"user": USER.pw_uid, "group": USER.pw_gid, "extra_groups": []} if os.geteuid() == 0 else {}


def run(program, *arguments):
    return run_program(PROGRAMS / program, *arguments)


def run_program(*arguments):
    done = subprocess.run(
        [*map(str, arguments)],
        capture_output=True, text=True, timeout=60, cwd="/", **AS_USER,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@functools.cache
def make_template():
    """A new database cluster, to be copied: initdb takes seconds."""
    folder = make_folder()
    os.chown(folder, USER.pw_uid, USER.pw_gid)
    atexit.register(shutil.rmtree, folder)
    run("initdb", "-D", folder / "data", "-U", "postgres", "-A", "trust", "-E", "UTF8",
        "--locale=C", "-N", "--wal-segsize=1")
    return folder


class Server:
    SETTINGS = {
        "listen_addresses": "", "fsync": "off", "shared_buffers": "16MB", "max_connections": "30",
        "wal_level": "replica", "autovacuum": "off", "log_min_messages": "warning",
        "wal_retrieve_retry_interval": "500ms",  # a promotion may wait for it
    }

    def __init__(self, folder, primary=None):
        self.folder = Path(folder)
        self.data = self.folder / "data"
        self.process = None
        self.environment = {}  # beside the tests' own
        self.folder.mkdir()
        os.chown(self.folder, USER.pw_uid, USER.pw_gid)
        if primary:
            run("pg_basebackup", "-D", self.data, "-d",
                f"host={primary.folder} user=postgres application_name=standby", "-R", "-c", "fast")
        else:
            run_program("cp", "-a", make_template() / "data", self.data)

    def start(self, **settings):
        options = {**self.SETTINGS, "unix_socket_directories": self.folder, **settings}
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(
                [PROGRAMS / "postgres", "-D", self.data,
                 *(f"--{name}={value}" for name, value in options.items())],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/",
                env={**os.environ, **self.environment}, **AS_USER,
            )
        end = time.monotonic() + 30
        while subprocess.run([PROGRAMS / "pg_isready", "-q", "-h", self.folder]).returncode != 0:
            assert self.process.poll() is None and time.monotonic() < end, self.log()
            time.sleep(0.05)
        return self

    def children(self):
        path = f"/proc/{self.process.pid}/task/{self.process.pid}/children"
        return [int(pid) for pid in Path(path).read_text().split()]

    def signal(self, number):
        """To all processes of the server."""
        for pid in [self.process.pid, *self.children()]:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass

    def kill(self):
        if self.process and self.process.poll() is None:
            self.signal(signal.SIGKILL)
        if self.process:
            self.process.wait()

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(30)

    def set(self, name, value):
        self.query(f"ALTER SYSTEM SET {name} = '{value}'")
        self.query("SELECT pg_reload_conf()")

    def promote(self):
        run("pg_ctl", "promote", "-D", self.data, "-w")

    def query(self, sql, database="postgres"):
        done = subprocess.run(
            [PROGRAMS / "psql", "-qAtX", "-h", self.folder, "-U", "postgres", "-c", sql, database],
            capture_output=True, text=True, timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def log(self):
        return (self.folder / "log").read_text(errors="replace")


def location(*folders, database="postgres"):
    return f"postgresql://postgres@/{database}?host={','.join(map(str, folders))}"


# Of a store of the load (spender.c): what its user was given, and what the user's and the first token's balances,
# counters and usage by day come to: all the same number, but for reads of other tokens.
GRANTED = 10**12
SUMS = f"""
SELECT {GRANTED} - quota, used_quota, (SELECT sum(t.used_quota) FROM tokens t WHERE t.user_id = u.user_id),
    dated_units, (SELECT sum(t.dated_units) FROM tokens t WHERE t.user_id = u.user_id), request_count,
    (SELECT {GRANTED} - t.remain_quota + sum(o.used_quota) - t.used_quota
        FROM tokens t JOIN tokens o USING (user_id) WHERE t.user_id = u.user_id AND t.refill_period > 0
        GROUP BY t.remain_quota, t.used_quota)
FROM users u WHERE name = 'alice'"""


class Session:
    """A session of psql, which can hold locks."""

    def __init__(self, server, database):
        self.process = subprocess.Popen(
            [PROGRAMS / "psql", "-qAtX", "-h", server.folder, "-U", "postgres", database],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )

    def run(self, sql):
        print(f"{sql};\n\\echo done", file=self.process.stdin, flush=True)
        while self.process.stdout.readline() != "done\n":
            assert self.process.poll() is None

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.process.stdin.close()
        self.process.wait()


class Load:
    """A store with three tokens, and programs that write to it."""

    def __init__(self, folder, uri):
        self.secret = Path(folder) / "secret"
        self.uri = uri
        self.keys = self.spender("create").communicate()[0].split()
        self.key = self.keys[0]

    def spender(self, *arguments, uri=None):
        return subprocess.Popen(
            [SPENDER, uri or self.uri, self.secret, *map(str, arguments)],
            stdout=subprocess.PIPE, text=True,
        )

    def start(self, ms, size=16, uri=None):
        return self.spender("spend", self.key, ms, size, uri=uri)

    def spend_once(self, size=1):
        """Units acknowledged, of unknown outcome, failed, of one group."""
        return counts(self.start(1, size))[:3]


class Database:
    """A database in the server, with the store of a load."""

    def __init__(self, server, folder):
        self.server = server
        self.name = f"test{folder.name}"
        server.query(f"CREATE ROLE {self.name} LOGIN")
        server.query(f"CREATE DATABASE {self.name} OWNER {self.name}")
        self.location = self.locate(server.folder)
        self.load = Load(folder, self.location)

    def locate(self, folder):
        """As an ordinary role."""
        return location(folder, database=self.name).replace("postgres@", f"{self.name}@")

    def query(self, sql):
        return self.server.query(sql, self.name)

    def used(self):
        return used(self.server, self.name)

    def session(self):
        return Session(self.server, self.name)

    def has_backend(self, condition):
        return self.query("SELECT count(*) FROM pg_stat_activity"
                          f" WHERE datname = '{self.name}' AND {condition}") != "0"

    def wait_for_lock(self):
        """Until a transaction waits for another one's."""
        while not self.has_backend("wait_event_type = 'Lock'"):
            time.sleep(0.02)


def counts(process):
    """The numbers that the program prints; of spends: units acknowledged, of unknown outcome, failed,
    and the longest gap in milliseconds."""
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 0
    return tuple(map(int, output.split()))


def used(server, database="postgres"):
    """Units of the tokens of a load's store, as which all other sums agree."""
    sums = set(server.query(SUMS, database).split("|")) - {""}
    assert len(sums) == 1, sums
    return int(sums.pop())


def make_folder():
    """For servers: in the build folder, where their user can get there by a path that is short
    enough for a socket's; else in /tmp."""
    parent = BUILD / "servers"
    parent.mkdir(exist_ok=True)
    reached = subprocess.run(["test", "-x", parent], **AS_USER).returncode == 0
    if not reached or len(str(parent)) > 60:
        parent = "/tmp"
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir=parent))
    folder.chmod(0o755)
    return folder
