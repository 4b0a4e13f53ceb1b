#!/usr/bin/python3
"""make bench: the service beside what it is compared with, behind one nginx.

    ceiling           libfcgi with parked connections and a fixed reply (parked_libfcgi.c)
    plain peer        libfcgi with 64 threads that block in FCGX_Accept_r (blocking_peer.c)
    one commit each   the service without group commit (one_commit.c)
    before            another build of the service, in BENCH_BEFORE
    LMDB              what the rows of the other engine, PostgreSQL (postgresql.py), are beside

Contestants of a load are measured in turns, one worker with one event loop each, in several rounds; a
figure is the median of the ratios within a round. Prints a table and writes it to bench/results.md
(--quick and --loads: below BUILD). Exit status 1 after any error, time-out or answer of 400 and above.
"""

import argparse
import datetime
import http.client
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import postgresql

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
BUILD = (ROOT / os.environ.get("BUILD", "build")).resolve()
FIRST_PORT = 18400
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
# Programs end with this one, even when it is killed.
TIED = ["setpriv", "--pdeathsig", "TERM"]
POSTGRESQL_THREADS = os.environ.get("BENCH_POSTGRESQL_THREADS", "8")  # event loops that wait for it
CREATED = {"name": "bench-000001", "remain_quota": 500000, "model_limits_enabled": True,
           "model_limits": "gpt-4o,claude-3-5-sonnet", "allow_ips": "203.0.113.7"}  # as load.lua has it
BEGIN = time.monotonic()


def progress(*words):
    print(f"{time.monotonic() - BEGIN:6.1f} s ", *words, file=sys.stderr, flush=True)


# ---- processes ------------------------------------------------------------------------------


def cpu_s(pids):
    """Processor time of processes, user and system."""
    fields = [Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split() for pid in pids]
    return sum(int(field[11]) + int(field[12]) for field in fields) / CLOCK_TICKS


def children(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def private_dirty_mib(pid):
    """Without the data file's pages, which are the file's and not the worker's."""
    kib, in_data = 0, False
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            in_data = line.endswith("/data.mdb")
        elif line.startswith("Private_Dirty:") and not in_data:
            kib += int(line.split()[1])
    return kib / 1024


class Store:
    """A store that a build's own bench/load has filled."""

    def __init__(self, bench, name, build, tokens, location=None, threads=1, options=()):
        self.build, self.location = build, str(location or bench.work / name)
        self.secret = bench.work / f"{name}.secret"
        self.users, self.keys = bench.work / f"{name}.users", bench.work / f"{name}.users.keys"
        progress(f"filling {name}: {tokens:,} tokens")
        command = [build / "bench/load", "-u", max(1, tokens // 100), "-t", tokens, "-c",
                   max(2000, tokens // 500), *options, "-o", self.users, "-k", self.keys, self.location, self.secret]
        out = subprocess.run(list(map(str, command)), check=True, stdout=subprocess.PIPE, timeout=3600).stdout
        self.info = json.loads(out)
        self.environment = {name: value for name, value in os.environ.items()
                            if not name.startswith("TOKEN_")}
        self.environment.update(TOKEN_STORE=self.location, TOKEN_SECRET=str(self.secret),
                                TOKEN_MAX_PER_USER="0", TOKEN_THREADS=str(threads))

    def bytes_a_token(self):
        out = subprocess.run([self.build / "tokenctl", "--json", "stat"], check=True, env=self.environment,
                             stdout=subprocess.PIPE, timeout=60).stdout
        stat = json.loads(out)
        return stat["map_used_bytes"] / stat["tokens"]


class Contestant:
    """One process that serves a Unix socket, and a port of nginx in front of it."""

    def __init__(self, bench, name, command, store=None, kept=True):
        self.name, self.command, self.store, self.kept = name, command, store, kept
        self.socket = bench.run / f"{len(bench.contestants)}.sock"
        self.port = FIRST_PORT + len(bench.contestants)
        self.pid = None
        bench.contestants.append(self)

    def start(self, bench):
        command = ["spawn-fcgi", "-n", "-b", "4096", "-M", "0600", "-s", str(self.socket), "--",
                   *map(str, self.command)]
        process = bench.start(TIED + command, env=self.store.environment if self.store else None)
        self.pid = process.pid
        while not self.socket.exists():
            if process.poll() is not None:
                raise SystemExit(f"{self.name} did not start:\n{bench.log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.01)


class Bench:
    def __init__(self, options):
        self.options = options
        self.contestants, self.processes, self.errors = [], [], []
        scratch = Path(os.environ.get("TMPDIR") or BUILD / "bench/tmp")
        scratch.mkdir(parents=True, exist_ok=True)
        self.work = Path(tempfile.mkdtemp(prefix="bn", dir=scratch))  # on a disk: commits must sync
        self.run = Path(tempfile.mkdtemp(prefix="bn", dir="/tmp"))  # sockets need a short path
        self.log = self.work / "log"
        self.nginx = self.postgresql = None

    def start(self, command, **more):
        with open(self.log, "ab") as log:
            process = subprocess.Popen(command, stdin=more.pop("stdin", subprocess.DEVNULL),
                                       stdout=log, stderr=log, **more)
        self.processes.append(process)
        return process

    def stop(self):
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
        if self.postgresql:
            self.postgresql.stop()
        shutil.rmtree(self.work, ignore_errors=True)
        shutil.rmtree(self.run, ignore_errors=True)

    def nginx_conf(self):
        """nginx.conf.example, with an upstream and an internal server for each contestant: it has
        all routes and no limits."""
        text = (ROOT / "nginx.conf.example").read_text()
        upstream = re.search(r"    upstream token \{.*?\n    \}\n", text, re.S).group()
        server, public = re.findall(r"    server \{.*?\n    \}\n", text, re.S)
        upstreams, servers = "", ""
        for number, contestant in enumerate(self.contestants):
            one = re.sub(r"unix:[^;]*", f"unix:{contestant.socket}", upstream)
            if not contestant.kept:  # a kept connection would hold one of its threads
                one = re.sub(r"\n +keepalive[^;]*;", "", one)
            upstreams += one.replace("upstream token", f"upstream token_{number}")
            one = server.replace("127.0.0.1:8081", f"127.0.0.1:{contestant.port}")
            one = one.replace("fastcgi_pass token;", f"fastcgi_pass token_{number};")
            # A site sets the cost itself; here the query does.
            keep = "fastcgi_keep_conn on; " if contestant.kept else ""
            one = one.replace("fastcgi_keep_conn on;", f"{keep}fastcgi_param TOKEN_COST $arg_cost;")
            servers += re.sub(r"access_log \S+", f"access_log {self.work}/access.log", one)
        text = text.replace(upstream, upstreams).replace(server, servers).replace(public, "")
        text = re.sub(r"^user .*", "user root;" if os.getuid() == 0 else "", text, flags=re.M)
        text = re.sub(r"^pid .*", f"pid {self.run}/nginx.pid;", text, flags=re.M)
        text = re.sub(r"^error_log .*", f"error_log {self.log};", text, flags=re.M)
        folders = "".join(f"\n    {kind}_temp_path {self.work}/{kind};" for kind in
                          ("client_body", "fastcgi", "proxy", "scgi", "uwsgi"))
        return text.replace("\nhttp {", "\nhttp {" + folders)

    def start_nginx(self):
        conf = self.work / "nginx.conf"
        conf.write_text(self.nginx_conf())
        program = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
        self.nginx = self.start(TIED + [program, "-p", f"{self.work}/", "-c", conf, "-e", self.log,
                                        "-g", "daemon off;"])
        for _ in range(200):
            with socket.socket() as client:
                if client.connect_ex(("127.0.0.1", FIRST_PORT)) == 0 and self.nginx.poll() is None:
                    return
            time.sleep(0.05)
        raise SystemExit("nginx did not start:\n" + self.log.read_text(errors="replace")[-2000:])

    def answer_length(self, contestant, method, path, body=None):
        info = contestant.store.info
        connection = http.client.HTTPConnection("127.0.0.1", contestant.port, timeout=60)
        connection.request(method, f"/api/token/{path}", body, {
            "Authorization": f"Bearer {info['access_token']}", "New-Api-User": str(info["id"]),
            "Content-Type": "application/json"})
        response = connection.getresponse()
        answer = response.read()
        connection.close()
        if response.status != 200:
            raise SystemExit(f"{method} {path}: {response.status} {answer[:200]!r}")
        return len(answer)

    def measure(self, contestant, store, kind, clients, query):
        """One turn: requests a second, latency, and processor time a request."""
        numbers = [store.info[key] for key in ("passes", "chunk", "stride", "first_id")]
        command = TIED + ["wrk", "-t", min(clients, 2), "-c", clients, "-d", f"{self.options.seconds}s",
                          "-s", HERE / "load.lua", f"http://127.0.0.1:{contestant.port}/", "--", kind,
                          store.users, *numbers, query]
        nginx = children(self.nginx.pid)
        cpu = lambda: (cpu_s([contestant.pid]), cpu_s(nginx), self.postgresql.cpu_s() if self.postgresql else 0)
        before = cpu()
        out = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                             text=True, timeout=self.options.seconds + 60, check=False).stdout
        used_s = [end - begin for begin, end in zip(before, cpu())]
        found = re.search(r"^RESULT (.*)$", out, re.M)
        if not found:
            raise SystemExit(f"wrk, {kind}, {contestant.name}:\n{out}")
        result = json.loads(found.group(1))
        wrong = {key: result[key] for key in ("connect", "read", "write", "status", "timeout") if result[key]}
        if wrong or not result["requests"]:
            self.errors.append(f"{contestant.name}, {kind}, {clients} clients: {wrong or 'no answer'}")
            progress("ERROR:", self.errors[-1])
        worker_us, nginx_us, server_us = (used * 1e6 / max(1, result["requests"]) for used in used_s)
        return {"rate": result["requests"] / result["seconds"], "p99": result["p99_us"] / 1000,
                "cpu": worker_us, "cpu_both": worker_us + nginx_us, "server": server_us}

    def start_ms(self, store):
        """From the start of a worker to its first answer, with the start of cgi-fcgi that asks."""
        path = str(self.run / "start.sock")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
            listener.listen(16)
            begin = time.monotonic()
            worker = self.start([BUILD / "token.fcgi"], stdin=listener, env=store.environment)
            asked = subprocess.run(
                ["cgi-fcgi", "-bind", "-connect", path], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                timeout=20, check=False, env={
                    "PATH": os.environ["PATH"], "REQUEST_METHOD": "GET", "SCRIPT_NAME": "/api/token",
                    "PATH_INFO": f"/{store.info['first_id']}", "HTTP_NEW_API_USER": str(store.info["id"]),
                    "HTTP_AUTHORIZATION": f"Bearer {store.info['access_token']}"})
            took_ms = (time.monotonic() - begin) * 1000
        if not asked.stdout.startswith(b"Status: 200"):
            self.errors.append(f"start: {asked.stdout[:200]!r}")
        os.unlink(path)
        worker.terminate()
        worker.wait(20)
        return took_ms


# ---- loads and figures ------------------------------------------------------------------------


class Load:
    """The same requests to several contestants: label -> (contestant, the store whose ids they name)."""

    def __init__(self, title, kind, clients, contestants, query=""):
        self.title = f"{title}, {clients} client{'s' if clients > 1 else ''}"
        self.kind, self.clients, self.query = kind, clients, query
        self.contestants = {label: pair for label, pair in contestants.items() if pair[0]}
        self.turns = {label: [] for label in self.contestants}

    def run(self, bench, number):
        labels = list(self.contestants)
        for label in labels[number % len(labels):] + labels[:number % len(labels)]:
            self.turns[label].append(self.measure(bench, *self.contestants[label]))

    def measure(self, bench, contestant, store):
        return bench.measure(contestant, store, self.kind, self.clients, self.query)

    def median(self, label, key):
        return statistics.median(turn[key] for turn in self.turns[label])

    def ratios(self, label, base, key):
        return [turn[key] / other[key] if other[key] else 1.0
                for turn, other in zip(self.turns[label], self.turns[base])]


class DirectLoad(Load):
    """Loads of direct.c: label -> ((kind, threads), store)."""

    def __init__(self, title, contestants):
        super().__init__("", "", 0, contestants)
        self.title = title

    def measure(self, bench, contestant, store):
        return bench.postgresql.measure_direct(BUILD, store, *contestant, bench.options.seconds)


def make_postgresql(bench, stores):
    """The other engine's stores and contestants, as LMDB's; none without PostgreSQL."""
    why_not = postgresql.why_not(BUILD)
    if why_not:
        progress("the rows of PostgreSQL are left out:", why_not)
        return None, None
    bench.postgresql = postgresql.PostgreSQL(bench)
    for name in ("pg_read", "pg_write"):
        stores[name] = Store(bench, name, BUILD, 10000, bench.postgresql.create(name), POSTGRESQL_THREADS)
    return (Contestant(bench, name, [BUILD / "token.fcgi"], stores[name]) for name in ("pg_read", "pg_write"))


def make_loads(bench):
    """Starts everything. Returns the loads by name, and the stores of the service."""
    worker, before = BUILD / "token.fcgi", bench.options.before
    programs = BUILD / "bench"
    stores = {name: Store(bench, name, BUILD, 10000) for name in ("read", "write", "alone")}
    stores["large"] = Store(bench, "large", BUILD, bench.options.tokens)
    stores["limited"] = Store(bench, "limited", BUILD, 10000, options=["-l"])
    read, write = (Contestant(bench, f"service, {name}", [worker], stores[name]) for name in ("read", "write"))
    large, limited = (Contestant(bench, f"service, {name}", [worker], stores[name]) for name in ("large", "limited"))
    alone = Contestant(bench, "one commit each", [programs / "one_commit"], stores["alone"])
    pg_read, pg_write = make_postgresql(bench, stores)
    old_read = old_write = None
    if before:
        for name in ("before-read", "before-write"):
            stores[name] = Store(bench, name, before, 10000)
        old_read, old_write = (Contestant(bench, name, [before / "token.fcgi"], stores[name])
                               for name in ("before-read", "before-write"))
    fixed = {(program, kind): Contestant(bench, f"{program}, {kind}", [], kept=program == "parked_libfcgi")
             for program, kind in (("parked_libfcgi", "get"), ("parked_libfcgi", "list"),
                                   ("parked_libfcgi", "verify"), ("blocking_peer", "get"),
                                   ("blocking_peer", "list"))}
    for contestant in (read, write, large, limited, alone, pg_read, pg_write, old_read, old_write):
        if contestant:
            contestant.start(bench)
    bench.start_nginx()
    first = stores["read"].info["first_id"] + 1
    lengths = {"get": bench.answer_length(read, "GET", str(first)), "verify": 0,
               "list": bench.answer_length(read, "GET", "?p=1&size=20")}
    bench.answer_length(write, "POST", "", json.dumps(CREATED))
    for (program, kind), contestant in fixed.items():
        contestant.command = [programs / program, lengths[kind]]
        contestant.start(bench)

    def reads(title, kind, clients=64, query=""):
        found = {"service": (read, stores["read"]), "before": (old_read, stores.get("before-read")),
                 "ceiling": (fixed["parked_libfcgi", kind], stores["read"]),
                 "plain peer": (fixed.get(("blocking_peer", kind)) if clients == 64 else None, stores["read"])}
        return Load(title, kind, clients, found, query)

    def writes(title, kind, clients, query=""):
        return Load(title, kind, clients, {
            "service": (write, stores["write"]), "before": (old_write, stores.get("before-write")),
            "one commit each": (alone, stores["alone"])}, query)

    def engines(title, kind, query="", contestants=(pg_read, read), names=("pg_read", "read")):
        pairs = zip(contestants, map(stores.get, names))
        return Load(f"{title} over PostgreSQL", kind, 64, dict(zip(("PostgreSQL", "LMDB"), pairs)), query)

    writing = {"contestants": (pg_write, write), "names": ("pg_write", "write")}
    loads = {
        "get": reads("GET", "get"), "list": reads("list of 20", "list", query="?p=1&size=20"),
        "verify": reads("verify", "verify"), "get 256": reads("GET", "get", 256),
        "create": writes("create", "create", 64), "create 1": writes("create", "create", 1),
        "spend": writes("spend", "verify", 64, "?cost=1"),
        "limit": Load("verify with a limit", "verify", 64, {
            "limited": (limited, stores["limited"]), "without": (read, stores["read"])}),
        "balance": Load("spend with a balance and a limit", "verify", 64, {
            "limited": (limited, stores["limited"]), "without": (write, stores["write"])}, "?cost=1"),
        "size": Load("random GET", "random", 64, {
            f"{store.info['tokens']:,}": (contestant, store)
            for contestant, store in ((read, stores["read"]), (large, stores["large"]))}),
    }
    if bench.postgresql:
        loads |= {
            "pg get": engines("GET", "get"), "pg list": engines("list of 20", "list", "?p=1&size=20"),
            "pg verify": engines("verify", "verify"), "pg create": engines("create", "create", **writing),
            "pg spend": engines("spend", "verify", "?cost=1", **writing),
            "pg direct get": DirectLoad("GET by the engine alone, 8 connections", {
                "engine": (("get", 8), stores["pg_read"]),
                "SELECTs": (("get-plain", 8), stores["pg_read"])}),
            "pg direct spend": DirectLoad("spend by the engine alone, groups of 64", {
                "engine": (("spend", 1), stores["pg_write"]),
                "one commit each, 32 connections": (("spend-plain", 32), stores["pg_write"])}),
        }
    return loads, stores


# Load, base, what is compared, at least or at most. Without a limit: for information.
COMPARED = [
    ("get", "ceiling", "rate", ">=", 0.90), ("get", "plain peer", "rate", ">=", 1.5),
    ("get", "before", "rate", None, None), ("get", "before", "cpu", "<=", 1.2),
    ("get", "before", "cpu_both", "<=", 1.05),
    ("list", "ceiling", "rate", ">=", 0.75), ("list", "before", "rate", None, None),
    ("list", "before", "cpu", "<=", 1.2),
    ("list", "before", "cpu_both", "<=", 1.05),
    ("verify", "ceiling", "rate", None, None), ("verify", "before", "rate", None, None),
    ("verify", "before", "cpu", "<=", 1.2), ("verify", "before", "cpu_both", "<=", 1.05),
    ("create", "before", "rate", ">=", 0.97), ("create", "one commit each", "rate", ">=", 8),
    ("create 1", "one commit each", "rate", ">=", 0.95), ("spend", "before", "rate", ">=", 0.97),
    ("limit", "without", "rate", None, None), ("balance", "without", "rate", None, None),
    ("get 256", "ceiling", "p99", "<=", 2),
    ("pg get", "LMDB", "rate", None, None), ("pg list", "LMDB", "rate", None, None),
    ("pg verify", "LMDB", "rate", None, None), ("pg create", "LMDB", "rate", None, None),
    ("pg spend", "LMDB", "rate", ">=", 0.4), ("pg direct get", "SELECTs", "rate", ">=", 0.8),
    ("pg direct spend", "one commit each, 32 connections", "rate", ">=", 3),
]
UNITS = {"rate": "requests/s", "p99": "p99, ms", "cpu": "worker CPU, µs", "cpu_both": "nginx and worker CPU, µs"}


def number(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def line(name, values, figure, spread, relation, limit, unit="", cpu=("", "")):
    met = "" if limit is None else "yes" if (figure >= limit if relation == ">=" else figure <= limit) else "no"
    wanted = "" if limit is None else f"{'≥' if relation == '>=' else '≤'} {limit:g}"
    return (name, *values, f"{figure:.2f}{unit}" if figure < 100 else f"{figure:.0f}{unit}", spread, wanted, met, *cpu)


def compare(load, label, base, key, relation, limit):
    ratios = load.ratios(label, base, key)
    cpu = [load.median(label, part) for part in ("cpu", "server")] if key == "rate" else []
    return line(f"{load.title}, {UNITS[key]} / {base}",
                (number(load.median(label, key)), number(load.median(base, key))),
                statistics.median(ratios), f"{min(ratios):.2f} – {max(ratios):.2f}", relation, limit,
                cpu=[f"{us:.1f}" if us >= 0.1 else "" for us in cpu] or ("", ""))


def figures(loads, tokens, once):
    for name, base, key, relation, limit in COMPARED:
        if name in loads and base in loads[name].contestants:
            yield compare(loads[name], next(iter(loads[name].contestants)), base, key, relation, limit)
    if "size" in loads:
        small, large = loads["size"].contestants
        yield compare(loads["size"], large, small, "rate", ">=", 0.85)
    yield line(f"bytes a token, {tokens:,} tokens", ("", ""), once["bytes"], "", "<=", 450)
    yield line("Private_Dirty of a worker, at most", ("", ""), once["memory"], "", "<=", 6, " MiB")
    yield line(f"start to first answer, {tokens:,} tokens", ("", ""), once["start"], "", "<=", 50, " ms")


def markdown(header, lines):
    widths = [max(len(str(row[i])) for row in [header, *lines]) for i in range(len(header))]
    form = lambda row: "| " + " | ".join(str(cell).ljust(w) for cell, w in zip(row, widths)) + " |"
    return "\n".join([form(header), "|" + "|".join("-" * (w + 2) for w in widths) + "|", *map(form, lines)])


def output(*command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else "unknown"


def describe(options):
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    commit = lambda folder: output("git", "-C", str(folder), "describe", "--always", "--dirty")
    libraries = output("pkg-config", "--print-provides", "fcgi", "json-c", "libsodium", "lmdb").replace("\n", ", ")
    return [f"{datetime.datetime.now():%Y-%m-%d %H:%M}, commit {commit(ROOT)}" +
            (f"; before: {commit(options.before)}" if options.before else ""),
            f"{os.cpu_count()} cores ({cpu.group(1) if cpu else 'unknown'}), Linux {os.uname().release}, "
            f"{output('stat', '-f', '-c', '%T', str(BUILD))}, load average {os.getloadavg()[0]:.1f}",
            f"nginx {output('dpkg-query', '-W', '-f', '${Version}', 'nginx')}, {libraries}",
            f"{options.rounds} rounds of {options.seconds} s; medians of the ratios within a round, with "
            "the least and the greatest; one worker with one event loop each, over PostgreSQL with "
            f"{POSTGRESQL_THREADS}"]


# ---- main ---------------------------------------------------------------------------------------


def run(bench):
    options = bench.options
    loads, stores = make_loads(bench)
    loads = {name: load for name, load in loads.items() if not options.loads or name in options.loads}
    once = {"bytes": stores["large"].bytes_a_token(), "memory": 0}
    once["start"] = statistics.median(bench.start_ms(stores["large"]) for _ in range(5))
    services = [contestant.pid for contestant in bench.contestants if contestant.name.startswith("service")]
    for round_number in range(options.rounds):
        for name, load in loads.items():
            progress(f"round {round_number + 1} of {options.rounds}: {name}")
            load.run(bench, round_number)
            once["memory"] = max([once["memory"], *map(private_dirty_mib, services)])
    table = markdown(("figure", "service", "other", "ratio", "spread", "wanted", "met",
                      "worker CPU, µs", "server CPU, µs"), list(figures(loads, options.tokens, once)))
    folder = BUILD / "bench" if options.quick or options.loads else HERE
    (folder / "results.md").write_text("\n\n".join([
        "# Results of make bench", "\n".join(f"- {text}" for text in describe(options)), table,
        "Errors: " + ("; ".join(bench.errors) or "none"), ""]))
    print(table, f"\n{folder / 'results.md'}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--tokens", type=int, default=10000000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--before", type=lambda folder: Path(folder).resolve() / "build" if folder else None)
    parser.add_argument("--loads", type=lambda text: text.split(",") if text else None)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    if options.quick:
        options.tokens, options.rounds, options.seconds = 20000, 1, 1
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    bench = Bench(options)
    try:
        run(bench)
    finally:
        bench.stop()
    for error in bench.errors:
        progress("ERROR:", error)
    return 1 if bench.errors else 0


if __name__ == "__main__":
    sys.exit(main())
