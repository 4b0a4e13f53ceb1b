#!/usr/bin/python3
"""make bench: the service beside the ceiling and the plain peer, behind one nginx.

All contestants run at once and are measured in turns, in several rounds; what counts are the
ratios within a round. Prints a table, and writes bench/results.md and bench/plots/*.svg (with
--quick below BUILD). Ends with 1 after any error, time-out or answer that is not 2xx.
docs/performance.md says what the figures mean.
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
import struct
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import plot

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
BUILD = (ROOT / os.environ.get("BUILD", "build")).resolve()
PROGRAMS = BUILD / "bench"
FIRST_PORT = 18400
CORES = os.cpu_count() or 1
# A pool, as processes and loops: one of each, of the ceiling too. It shares its commits among all
# clients, and leaves the other core to nginx and wrk. "by pool" shows others.
PROCESSES, LOOPS = 1, 1
OTHER_POOLS = [pool for pool in ((1, CORES), (2, 1), (3, 1), (4, 1)) if pool != (PROCESSES, LOOPS)]
# What is started ends with this program, even if that is killed.
TIED = ["setpriv", "--pdeathsig", "TERM"]


BEGIN = time.monotonic()


def say(*words):
    print(f"{time.monotonic() - BEGIN:6.1f} s ", *words, file=sys.stderr, flush=True)


# ---- what is started ------------------------------------------------------------------------


class Pool:
    """spawn-fcgi and multiwatch with some processes of one contestant, on a Unix socket."""

    def __init__(self, bench, name, command, store=None, processes=PROCESSES, loops=LOOPS, kept=True,
                 cost=False):
        self.bench, self.name, self.command, self.store = bench, name, command, store
        self.processes, self.loops, self.kept = processes, loops, kept
        self.cost = cost  # ?cost= of a request is its TOKEN_COST, which a site would set itself
        self.socket = bench.run / f"{name}.sock"
        self.port = FIRST_PORT + len(bench.pools)
        self.process = None
        bench.pools[name] = self

    def environment(self):
        clean = {k: v for k, v in os.environ.items() if not k.startswith("TOKEN_")}
        if self.store:
            clean.update(TOKEN_STORE=str(self.store.path), TOKEN_SECRET=str(self.store.secret),
                         TOKEN_MAX_PER_USER="0", TOKEN_THREADS=str(self.loops))
        return clean

    def start(self):
        command = ["spawn-fcgi", "-n", "-b", "4096", "-M", "0600", "-s", str(self.socket), "--",
                   shutil.which("multiwatch"), "-s", "TERM", "-f", str(self.processes), "--", *map(str, self.command)]
        self.process = self.bench.start(TIED + command, env=self.environment())
        for _ in range(100):
            if self.socket.exists() and len(self.workers()) == self.processes:
                return
            time.sleep(0.05)
        raise SystemExit(f"{self.name} did not start, see {self.bench.log}")

    def workers(self):
        pid = self.process.pid
        try:
            return [int(child) for child in
                    Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        except FileNotFoundError:
            return []


class Store:
    """A store that bench/load has filled."""

    def __init__(self, bench, name, users, tokens, passes=4, keys=False):
        self.path, self.secret = bench.work / name, bench.work / f"{name}.secret"
        self.users = bench.work / f"{name}.users"
        self.keys = bench.work / f"{name}.users.keys"  # where load.lua looks for them
        say(f"filling {name}: {users:,} users, {tokens:,} tokens")
        out = subprocess.run(
            [PROGRAMS / "load", "-u", str(users), "-t", str(tokens), "-p", str(passes),
             "-c", str(max(2000, tokens // 500)), "-o", self.users,
             *(["-k", self.keys] if keys else []), self.path, self.secret],
            check=True, stdout=subprocess.PIPE, timeout=3600).stdout
        self.info = json.loads(out)
        self.id, self.access = self.info["id"], self.info["access_token"]

    def stat(self):
        return json.loads(subprocess.run(
            [BUILD / "tokenctl", "--json", "stat"], check=True, stdout=subprocess.PIPE, timeout=60,
            env={**os.environ, "TOKEN_STORE": str(self.path), "TOKEN_SECRET": str(self.secret)},
        ).stdout)


class Bench:
    def __init__(self, options):
        self.options = options
        self.pools, self.processes, self.errors = {}, [], []
        scratch = Path(os.environ.get("TMPDIR") or PROGRAMS / "tmp")
        scratch.mkdir(parents=True, exist_ok=True)
        self.work = Path(tempfile.mkdtemp(prefix="bn", dir=scratch))  # a disk: commits must sync
        self.run = Path(tempfile.mkdtemp(prefix="bn", dir="/tmp"))  # sockets: a short path
        self.log = self.work / "log"

    def start(self, command, **more):
        with open(self.log, "ab") as log:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                       **more)
        self.processes.append(process)
        return process

    def stop(self):
        say("stopping")
        workers = [pid for pool in self.pools.values() if pool.process for pid in pool.workers()]
        for process in self.processes:
            if process.poll() is None:
                process.terminate()
        for process in self.processes:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                for pid in workers:
                    if Path(f"/proc/{pid}").exists():
                        os.kill(pid, signal.SIGKILL)
        if self.errors and self.log.exists():
            say(self.log.read_text(errors="replace")[-2000:])
        shutil.rmtree(self.work, ignore_errors=True)
        shutil.rmtree(self.run, ignore_errors=True)
        say("stopped")

    # One nginx for all: nginx.conf.example, with an upstream and a server a contestant.
    def nginx_conf(self):
        text = (ROOT / "nginx.conf.example").read_text()
        upstream = re.search(r"    upstream token \{.*?\n    \}\n", text, re.S).group()
        server = re.search(r"    server \{.*?\n    \}\n", text, re.S).group()
        upstreams, servers = [], []
        for pool in self.pools.values():
            one, other = upstream, server
            if not pool.kept:  # a kept connection would hold one of its threads
                one = re.sub(r"\n +keepalive[^;]*;", "", one)
                other = other.replace("fastcgi_keep_conn on;", "")
            one = re.sub(r"unix:[^;]*", f"unix:{pool.socket}", one)
            upstreams.append(one.replace("upstream token", f"upstream token_{pool.name}"))
            other = other.replace("127.0.0.1:8080", f"127.0.0.1:{pool.port}")
            if pool.cost:
                other = other.replace("fastcgi_keep_conn on;",
                                      "fastcgi_keep_conn on;\nfastcgi_param TOKEN_COST $arg_cost;")
            other = re.sub(r"access_log \S+", f"access_log {self.work}/access.log", other)
            servers.append(other.replace("fastcgi_pass token;", f"fastcgi_pass token_{pool.name};"))
        text = text.replace(upstream, "".join(upstreams)).replace(server, "".join(servers))
        text = re.sub(r"^user .*", "user root;" if os.getuid() == 0 else "", text, flags=re.M)
        text = re.sub(r"^pid .*", f"pid {self.run}/nginx.pid;", text, flags=re.M)
        text = re.sub(r"^error_log .*", f"error_log {self.log};", text, flags=re.M)
        places = "".join(f"\n    {kind}_temp_path {self.work}/{kind};" for kind in
                         ("client_body", "fastcgi", "proxy", "scgi", "uwsgi"))
        return text.replace("\nhttp {", "\nhttp {" + places)

    def start_nginx(self):
        conf = self.work / "nginx.conf"
        conf.write_text(self.nginx_conf())
        path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
        command = [shutil.which("nginx", path=path), "-p", f"{self.work}/", "-c", conf,
                   "-e", self.log, "-g", "daemon off;"]
        nginx = self.start(TIED + command)
        for _ in range(100):
            try:
                socket.create_connection(("127.0.0.1", FIRST_PORT), 1).close()
                if nginx.poll() is None:
                    return
            except OSError:
                pass
            time.sleep(0.05)
        raise SystemExit("nginx did not start:\n" + self.log.read_text(errors="replace")[-2000:])

    # One request through nginx; the answer's body.
    def ask(self, pool, method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", pool.port, timeout=60)
        headers = {"Authorization": f"Bearer {pool.store.access}", "Content-Type": "application/json",
                   "New-Api-User": str(pool.store.id)}
        connection.request(method, "/api/token/" + path, body, headers)
        response = connection.getresponse()
        answer = response.read()
        connection.close()
        if response.status != 200:
            raise SystemExit(f"{method} {path}: {response.status} {answer[:200]!r}")
        return answer

    def wrk(self, pool, store, kind, clients, seconds, query="", status="", wait=None):
        info = store.info
        command = ["wrk", "-t", str(min(clients, 2)), "-c", str(clients), "-d", f"{seconds}s",
                   "-s", HERE / "load.lua", f"http://127.0.0.1:{pool.port}/", "--", kind,
                   store.users, *(str(info[key]) for key in
                                  ("users", "passes", "chunk", "stride", "first_id")), query, status]
        process = subprocess.Popen(TIED + list(map(str, command)), stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, text=True)
        self.processes.append(process)
        if wait:
            wait(process)
        out, _ = process.communicate(timeout=seconds + 60)
        self.processes.remove(process)
        found = re.search(r"^RESULT (.*)$", out, re.M)
        if not found:
            raise SystemExit(f"wrk on {pool.name}:\n{out}")
        result = json.loads(found.group(1))
        result["rate"] = result["requests"] / result["seconds"]
        wrong = {key: result[key] for key in ("connect", "read", "write", "status", "timeout")
                 if result[key]}
        if wrong or result["requests"] == 0:
            self.errors.append(f"{pool.name}, {kind}, {clients} clients: {wrong or 'no answer'}")
            say("ERROR:", self.errors[-1])
        return result


# ---- a FastCGI request without nginx --------------------------------------------------------


def record(kind, content):
    padding = -len(content) % 8
    return struct.pack(">BBHHBx", 1, kind, 1, len(content), padding) + content + bytes(padding)


def fastcgi_request(path_info, **variables):
    length = lambda text: struct.pack(">I", len(text) | 0x80000000)
    pairs = {"REQUEST_METHOD": "GET", "SCRIPT_NAME": "/api/token", "PATH_INFO": path_info,
             **variables}
    params = b"".join(length(k) + length(v) + k.encode() + v.encode() for k, v in pairs.items())
    return (record(1, struct.pack(">HB5x", 1, 0)) + record(4, params) + record(4, b"") +
            record(5, b""))


def get_request(store):
    return fastcgi_request(f"/{store.info['first_id']}", HTTP_NEW_API_USER=str(store.id),
                           HTTP_AUTHORIZATION=f"Bearer {store.access}")


def verify_answer(pool, key, wanted, **variables):
    """What a worker answers, byte for byte."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(pool.socket))
        client.sendall(fastcgi_request("/verify", HTTP_AUTHORIZATION=f"Bearer {key}",
                                       REMOTE_ADDR="127.0.0.1", **variables))
        read, answer = client.makefile("rb").read(), b""
    while read:
        _, kind, _, length, padding = struct.unpack(">BBHHBx", read[:8])
        answer += read[8:8 + length] if kind == 6 else b""
        read = read[8 + length + padding:]
    if not answer.startswith(b"Status: %d " % wanted):
        raise SystemExit(f"verify: {answer[:200]!r} instead of {wanted}")
    return answer.decode()


def start_ms(bench, store, cold):
    """From the start of a worker to its first answer."""
    path = bench.run / "start.sock"
    path.unlink(missing_ok=True)
    if cold:
        with open(store.path / "data.mdb", "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    pool = Pool.environment(argparse.Namespace(store=store, loops=LOOPS))
    with socket.socket(socket.AF_UNIX) as listening, socket.socket(socket.AF_UNIX) as client:
        listening.bind(str(path))
        listening.listen(16)
        client.settimeout(10)
        begin = time.monotonic()
        worker = subprocess.Popen([BUILD / "token.fcgi"], stdin=listening, env=pool)
        bench.processes.append(worker)
        client.connect(str(path))
        client.sendall(get_request(store))
        answer = client.recv(65536)
        took_ms = (time.monotonic() - begin) * 1000
        if b"Status: 200" not in answer:
            bench.errors.append(f"start: {answer[:200]!r}")
    worker.terminate()
    worker.wait(20)
    bench.processes.remove(worker)
    return took_ms


# ---- memory ----------------------------------------------------------------------------------


def private_dirty_kib(pid):
    """Private_Dirty of all mappings but the data file: where only one process maps that, its pages count
    too from a commit's write to its sync. They are the file's and not the worker's."""
    kib, in_data = 0, False
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            in_data = line.endswith("/data.mdb")
        elif line.startswith("Private_Dirty:") and not in_data:
            kib += int(line.split()[1])
    return kib


def soak(bench, pool, seconds):
    samples = []

    def watch(process):
        end = time.monotonic() + seconds
        while time.monotonic() < end and process.poll() is None:
            time.sleep(max(0.5, seconds / 300))
            samples.append(max(private_dirty_kib(pid) for pid in pool.workers()))

    result = bench.wrk(pool, pool.store, "mixed", 64, seconds, wait=watch)
    quarter = max(1, len(samples) // 4)
    return {"seconds": seconds, "requests": result["requests"], "max_kib": max(samples),
            "first_kib": statistics.median(samples[:quarter]),
            "last_kib": statistics.median(samples[-quarter:])}


# ---- the rounds -------------------------------------------------------------------------------


class Row:
    """Contestants that are measured next to each other, with the same requests."""

    def __init__(self, name, clients, kind, contestants, base=None, query="", status=""):
        self.name, self.clients, self.kind, self.query = name, clients, kind, query
        self.status = status  # that each answer must have; empty: any below 400
        self.contestants = contestants  # label -> (pool, store[, query])
        self.base = base  # the label that ratios are to
        self.results = {label: [] for label in contestants}

    def measure(self, bench, round_number, seconds):
        labels = list(self.contestants)
        turn = round_number % len(labels)
        for label in labels[turn:] + labels[:turn]:
            self.results[label].append(self.measure_one(bench, label, seconds))

    def measure_one(self, bench, label, seconds):
        pool, store, *query = self.contestants[label]
        return bench.wrk(pool, store, self.kind, self.clients, seconds,
                         query[0] if query else self.query, self.status)

    def values(self, label, key="rate"):
        return [result[key] for result in self.results[label]]

    def median(self, label, key="rate"):
        return statistics.median(self.values(label, key))

    def ratios(self, label, base=None, key="rate"):
        return [a / b for a, b in zip(self.values(label, key), self.values(base or self.base, key))]

    def ratio(self, label, base=None, key="rate"):
        return statistics.median(self.ratios(label, base, key))


class Searches:
    """Clients that search all tokens of the store's user, one search after the other each, for
    what is not there. They go on as long as the block does."""

    def __init__(self, bench, pool, clients):
        self.bench, self.pool = bench, pool
        self.took_ms, self.ended = [], False
        self.threads = [threading.Thread(target=self.run, daemon=True) for _ in range(clients)]

    def search(self):
        begin = time.monotonic()
        answer = json.loads(self.bench.ask(self.pool, "GET", "search?keyword=not-there"))
        self.took_ms.append((time.monotonic() - begin) * 1000)
        if answer["data"]["total"] != 0:
            raise SystemExit(f"a search found {answer['data']['total']} tokens")

    def run(self):
        try:
            while not self.ended:
                self.search()
        except (SystemExit, OSError) as error:
            self.bench.errors.append(f"search: {error}")

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.ended = True
        for thread in self.threads:
            thread.join()


class SizeRow(Row):
    """Random GETs over stores of some sizes. A worker's first look at a page of its map is a page
    fault, so that the stores are warmed up first, each for longer the larger it is."""

    TOKENS_A_SECOND = 1500000

    def warm_up(self, bench):
        self.first_second = {}
        for label, (pool, store) in self.contestants.items():
            self.first_second[label] = super().measure_one(bench, label, 1)["rate"]
            super().measure_one(bench, label, 1 + store.info["tokens"] // self.TOKENS_A_SECOND)

    def text(self):
        return ("Random GETs in the first second of a worker, before it has seen its map: " + ", ".join(
            f"{rate:,.0f}/s of {label} tokens" for label, rate in self.first_second.items()) + ".")


class SearchedRow(Row):
    """The same requests to the same pool, with and without SEARCHING clients beside them."""

    SEARCHING = 2

    def __init__(self, name, clients, kind, pool, store):
        super().__init__(name, clients, kind, {
            "alone": (pool, store), "while searched": (pool, store)}, "alone")
        self.pool, self.alone_ms, self.beside_ms, self.dirty_kib = pool, [], [], []
        self.ended_within = 0  # the rounds

    def search_alone(self, bench):
        """Not while the others are measured: to look through a worker's map takes milliseconds."""
        with Searches(bench, self.pool, self.SEARCHING):
            for _ in range(3):
                time.sleep(0.05)
                self.dirty_kib.append(max(private_dirty_kib(pid) for pid in self.pool.workers()))
        searches = Searches(bench, self.pool, 0)
        searches.search()
        self.alone_ms += searches.took_ms

    def measure_one(self, bench, label, seconds):
        if label == "alone":
            self.search_alone(bench)
            return super().measure_one(bench, label, seconds)
        with Searches(bench, self.pool, self.SEARCHING) as searches:
            result = super().measure_one(bench, label, seconds)
            self.ended_within += len(searches.took_ms)
        self.beside_ms += searches.took_ms
        return result

    def check(self, bench):
        if self.ended_within == 0:
            bench.errors.append("no search ended within a round: nothing was measured beside one")

    def text(self):
        return (f"One search of all tokens takes {statistics.median(self.alone_ms):,.0f} ms; beside "
                f"{self.clients} clients who GET, {self.SEARCHING} at a time, "
                f"{statistics.median(self.beside_ms):,.0f} ms (median of {len(self.beside_ms)}, "
                f"of which {self.ended_within} ended within the rounds; {max(self.beside_ms):,.0f} at most). Private_Dirty of a worker that searches: "
                f"{max(self.dirty_kib) / 1024:.2f} MiB.")


def contestants(bench):
    """The stores, the pools that use them, and nginx; the ceilings as long as real answers."""
    options = bench.options
    small_users = 10 if options.quick else 100
    stores = {name: Store(bench, name, small_users, small_users * 100)
              for name in ("small", "mixed", "post", "alone")}
    stores["use"] = Store(bench, "use", small_users, small_users * 100, keys=True)
    deep_tokens = 10000 if options.quick else 1000000
    stores["deep"] = Store(bench, "deep", 1, deep_tokens, passes=1)
    sizes, size = [], small_users * 1000
    while size < options.tokens:
        sizes.append(size)
        size *= 10
    sizes.append(options.tokens)
    for size in sizes:
        stores[f"t{size}"] = Store(bench, f"t{size}", max(1, size // 100), size)
    worker = [BUILD / "token.fcgi"]
    for name in ("small", "mixed", "post", "deep", *(f"t{size}" for size in sizes)):
        Pool(bench, name, worker, stores[name])
    Pool(bench, "alone", [PROGRAMS / "one_commit"], stores["alone"])
    Pool(bench, "use", worker, stores["use"], cost=True)
    for processes, loops in OTHER_POOLS[:2] if options.quick else OTHER_POOLS:
        for name in ("small", "post"):
            Pool(bench, f"{name}_{processes}x{loops}", worker, stores[name], processes, loops)
    for pool in list(bench.pools.values()):
        pool.start()
    names = ("get", "list", "put", "post", "mixed")
    for name in names:
        Pool(bench, f"ceiling_{name}", [])
    for name in ("verify", "malformed"):
        Pool(bench, f"ceiling_{name}", [], cost=True)
    for name in ("get", "list", "post"):
        Pool(bench, f"peer_{name}", [], kept=False)
    Pool(bench, "libfcgi_get", [])
    bench.start_nginx()

    pools = bench.pools
    one = stores["small"].info["first_id"] + 1
    answers = {
        "get": bench.ask(pools["small"], "GET", str(one)),
        "list": bench.ask(pools["small"], "GET", "?p=1&size=20"),
        "put": bench.ask(pools["post"], "PUT", "?status_only=true",
                         json.dumps({"id": one, "status": 2})),
        "post": bench.ask(pools["post"], "POST", "", json.dumps(
            {"name": "bench-000001", "remain_quota": 500000, "model_limits_enabled": True,
             "model_limits": "gpt-4o,claude-3-5-sonnet", "allow_ips": "203.0.113.7"})),
    }
    lengths = {name: len(answer) for name, answer in answers.items()}
    for name in names:
        wanted = [lengths[name]] if name != "mixed" else [lengths[n] for n in ("get", "list", "post")]
        pools[f"ceiling_{name}"].command = [PROGRAMS / "ceiling", *wanted]
    for name in ("get", "list", "post"):
        pools[f"peer_{name}"].command = [PROGRAMS / "blocking_peer", lengths[name]]
    key = stores["use"].keys.read_text().split()[0]
    verified = verify_answer(pools["use"], key, 204)
    if verify_answer(pools["use"], key, 204, TOKEN_COST="1") != verified:
        raise SystemExit("verify answers something else where there is a cost")
    pools["ceiling_verify"].command = [PROGRAMS / "ceiling", "-a", verified]
    pools["ceiling_malformed"].command = [PROGRAMS / "ceiling", "-a", verify_answer(
        pools["use"], key[:-1] + "!", 401)]
    pools["libfcgi_get"].command = [PROGRAMS / "parked_libfcgi", lengths["get"]]
    for pool in pools.values():
        if not pool.process:
            pool.start()
    return stores, sizes, lengths


def rows_of(bench, stores, sizes):
    quick, pools = bench.options.quick, bench.pools
    small, post, mixed, deep, use = (stores[name] for name in
                                     ("small", "post", "mixed", "deep", "use"))

    def beside(name, store, kind, peer=False, libfcgi=False, alone=False):
        found = {"ceiling": (pools[f"ceiling_{kind}"], store), "service": (pools[name], store)}
        if peer:
            found["plain peer"] = (pools[f"peer_{kind}"], store)
        if libfcgi:
            found["libfcgi"] = (pools["libfcgi_get"], store)
        if alone:
            found["one commit each"] = (pools["alone"], stores["alone"])
        return found

    rows = {}
    for clients in [64] if quick else [1, 16, 32, 64, 256]:
        rows[f"get {clients}"] = Row("GET one token", clients, "get", beside(
            "small", small, "get", peer=clients == 64, libfcgi=clients == 64), "ceiling")
    rows["list"] = Row("list of 20", 64, "list", beside("small", small, "list", peer=True),
                       "ceiling", "?p=1&size=20")
    total = deep.info["tokens"]
    pages = {"page 1": 1, "last page": total // 20}
    if not quick:
        pages.update({f"page {part} %": total // 20 * part // 100 for part in (1, 10, 50, 90)})
    rows["deep"] = Row(f"page of {total:,}", 64, "list", {
        label: (pools["deep"], deep, f"?p={page}&size=20") for label, page in pages.items()},
        "page 1")
    rows["searched"] = SearchedRow(f"GET of {total:,}", 64, "random", pools["deep"], deep)
    rows["put"] = Row("PUT status", 64, "put", beside("post", post, "put"), "ceiling")
    for clients in [64] if quick else [1, 16, 64, 256]:
        rows[f"post {clients}"] = Row("POST create", clients, "post", beside(
            "post", post, "post", peer=clients == 64, alone=True), "ceiling")
    rows["verify"] = Row("verify", 64, "verify", beside("use", use, "verify"), "ceiling")
    rows["spend"] = Row("verify with a cost", 64, "verify", beside("use", use, "verify"),
                        "ceiling", "?cost=1")
    rows["malformed"] = Row("verify, malformed key", 64, "malformed",
                            beside("use", use, "malformed"), "ceiling", status="401")
    rows["mixed"] = Row("80 % get, 15 % list, 5 % write", 64, "mixed",
                        beside("mixed", mixed, "mixed"), "ceiling")
    labels = {f"{store.info['tokens']:,}": (pools[name], store) for name, store in
              [("small", small)] + [(f"t{size}", stores[f"t{size}"]) for size in sizes]}
    rows["size"] = SizeRow("random GET over tokens", 64, "random", labels, next(iter(labels)))
    for kind, title, store in (("get", "GET", small), ("list", "list", small), ("post", "POST", post)):
        labels = {f"{pool.processes} × {pool.loops}": (pool, store) for pool in
                  sorted(pools.values(), key=lambda pool: pool.processes) if pool.store is store}
        for clients in [64] if quick else [16, 64, 256] if kind == "get" else [64]:
            rows[f"{kind} by pool {clients}"] = Row(f"{title} by pool", clients, kind, labels,
                                                    f"{PROCESSES} × {LOOPS}",
                                                    "?p=1&size=20" if kind == "list" else "")
    return rows


# ---- what is written ---------------------------------------------------------------------------


def figures(rows, sizes, once):
    """The figures that are wanted: name, what was measured, at least or at most, met or not."""
    def ratio(row, label, base=None, key="rate"):
        values = rows[row].ratios(label, base, key)
        return statistics.median(values), f"{min(values):.2f} – {max(values):.2f}"

    found = []

    def add(name, value, spread, wanted, at_least=True, unit=""):
        met = value >= wanted if at_least else value <= wanted
        found.append((name, f"{value:.2f}{unit}" if value < 100 else f"{value:.0f}{unit}", spread,
                      f"{'≥' if at_least else '≤'} {wanted:g}{unit}", "yes" if met else "no"))

    add("GET one token / ceiling", *ratio("get 64", "service"), 0.90)
    add("GET one token / plain peer", *ratio("get 64", "service", "plain peer"), 1.5)
    add("list of 20 / ceiling", *ratio("list", "service"), 0.80)
    add("POST create, 64 clients / ceiling", *ratio("post 64", "service"), 0.50)
    add("POST create, 64 clients / one commit each",
        *ratio("post 64", "service", "one commit each"), 8)
    add("verify / ceiling", *ratio("verify", "service"), 0.95)
    add("verify with a cost, 64 clients / ceiling", *ratio("spend", "service"), 0.50)
    add("verify, malformed key / ceiling", *ratio("malformed", "service"), 0.95)
    if "get 256" in rows:
        add("GET p99 at 256 connections / ceiling's",
            *ratio("get 256", "service", key="p99_us"), 2, False)
    add(f"GET p99 while {rows['deep'].name.split()[-1]} tokens are searched / without",
        *ratio("searched", "while searched", key="p99_us"), 2, False)
    add("GET p50, the same", *ratio("searched", "while searched", key="p50_us"), 2, False)
    last = rows["size"]
    add(f"GET at {sizes[-1]:,} tokens / at {next(iter(last.contestants))}",
        *ratio("size", f"{sizes[-1]:,}"), 0.85)
    add("last page / page 1", *ratio("deep", "last page"), 0.5)
    add("bytes in the store a token", once["bytes_a_token"], "", 450, False)
    add("Private_Dirty of a worker", once["soak"]["max_kib"] / 1024,
        f"{once['soak']['first_kib'] / 1024:.2f} → {once['soak']['last_kib'] / 1024:.2f}", 6, False,
        " MiB")
    add(f"start to first answer, {sizes[-1]:,} tokens", once["start_ms"],
        f"cold {once['start_cold_ms']:.0f}", 50, False, " ms")
    return found


def markdown(header, lines):
    widths = [max(len(str(line[i])) for line in [header, *lines]) for i in range(len(header))]
    form = lambda line: "| " + " | ".join(str(cell).ljust(w) for cell, w in zip(line, widths)) + " |"
    return "\n".join([form(header), "|" + "|".join("-" * (w + 2) for w in widths) + "|",
                      *map(form, lines)])


def row_lines(rows):
    for row in rows.values():
        for label in row.contestants:
            rates = row.values(label)
            ratio = "" if label == row.base else f"{row.ratio(label):.2f}"
            times = " / ".join(f"{row.median(label, key) / 1000:.1f}" for key in
                               ("p50_us", "p99_us", "p999_us"))
            yield (row.name, row.clients, label, f"{row.median(label):,.0f}",
                   f"{min(rates):,.0f} – {max(rates):,.0f}", ratio, times)


def first_line(*command):
    out = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                         check=False).stdout
    return out.splitlines()[0] if out else ""


def machine():
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    packages = ("nginx", "wrk", "liblmdb0", "libsodium23", "libfcgi0ldbl")
    versions = [first_line("dpkg-query", "-W", "-f", "${Package} ${Version}\n", p) for p in packages]
    memory = int(re.search(r"MemTotal: +(\d+)", Path("/proc/meminfo").read_text()).group(1))
    return [f"{datetime.datetime.now():%Y-%m-%d %H:%M}, "
            f"commit {first_line('git', '-C', str(ROOT), 'describe', '--always', '--dirty')}",
            f"{CORES} cores ({cpu.group(1) if cpu else 'unknown'}), {memory / 2**20:.0f} GiB, "
            f"Linux {os.uname().release}, "
            f"{first_line('stat', '-f', '-c', '%T', str(PROGRAMS))}, load average "
            f"{os.getloadavg()[0]:.1f}",
            ", ".join(versions)]


def report(bench, rows, sizes, lengths, stores, once):
    options = bench.options
    folder = PROGRAMS / "quick" if options.quick else HERE
    (folder / "plots").mkdir(parents=True, exist_ok=True)
    table = markdown(("figure", "measured", "spread", "wanted", "met"),
                     figures(rows, sizes, once))
    runs = markdown(("row", "clients", "who", "requests/s", "spread", "ratio",
                     "p50 / p99 / p99.9 ms"), list(row_lines(rows)))
    loads = markdown(("store", "users", "tokens", "tokens/minute", "bytes a token"), [
        (name, f"{store.info['users']:,}", f"{store.info['tokens']:,}",
         f"{store.info['tokens_per_minute']:,.0f}", f"{once['bytes'][name]:.0f}")
        for name, store in stores.items()])
    soaked = once["soak"]
    text = "\n\n".join([
        "# Results of make bench", "\n".join(f"- {line}" for line in machine()) +
        f"\n- {options.rounds} rounds of {options.seconds} s a contestant in turns; medians, "
        "spread from least to greatest; ratios are medians of the ratios within a round"
        f"\n- bytes of the answers' bodies: {lengths}",
        "## Figures", table, "## Rows", runs,
        "## Stores, as bench/load filled them", loads,
        rows["size"].text(), rows["searched"].text(),
        f"Soak: {soaked['seconds']} s of the mixed load, {soaked['requests']:,} requests.",
        "Errors: " + ("none" if not bench.errors else "; ".join(bench.errors)), ""])
    (folder / "results.md").write_text(text)
    plots(folder / "plots", rows)
    print(table, runs, rows["searched"].text(), sep="\n\n")
    print(f"\n{folder / 'results.md'}, {folder / 'plots'}")


def plots(folder, rows):
    def number(label):
        return int(label.replace(",", ""))

    size, deep = rows["size"], rows["deep"]
    plot.write(folder / "tokens.svg", "GET of random tokens", "tokens in the store", "requests/s", {
        "service": [(number(label), size.median(label)) for label in size.contestants]}, True)
    plot.write(folder / "depth.svg", deep.name, "page", "requests/s", {"service": sorted(
        (int(query[2][len("?p="):].split("&")[0]), deep.median(label))
        for label, query in deep.contestants.items())})
    gets, posts = ([row for row in rows.values() if row.name == name]
                   for name in ("GET one token", "POST create"))
    for file, title, found in (("clients.svg", "GET one token", gets),
                               ("create.svg", "POST create", posts)):
        plot.write(folder / file, title, "clients", "requests/s", {
            label: [(row.clients, row.median(label)) for row in found]
            for label in ("ceiling", "service", "one commit each") if label in found[0].contestants
        }, True)
    plot.write(folder / "processes.svg", "GET, list and POST", "processes", "requests/s", {
        f"{row.name.split()[0]}, {row.clients} clients":
            [(pool.processes, row.median(label)) for label, (pool, _) in row.contestants.items()
             if pool.loops == 1]
        for row in rows.values() if row.name.endswith("by pool")})


# ---- main ---------------------------------------------------------------------------------------


def measure(bench):
    options = bench.options
    stores, sizes, lengths = contestants(bench)
    once = {"bytes": {}}
    for name, store in stores.items():
        stat = store.stat()
        once["bytes"][name] = stat["map_used_bytes"] / stat["tokens"]
    largest = f"t{sizes[-1]}"
    once["bytes_a_token"] = once["bytes"][largest]
    rows = rows_of(bench, stores, sizes)
    rows["size"].warm_up(bench)
    for number in range(options.rounds):
        for row in rows.values():
            say(f"round {number + 1} of {options.rounds}: {row.name}, {row.clients} clients")
            row.measure(bench, number, options.seconds)
    rows["searched"].check(bench)
    tries = 2 if options.quick else 7
    once["start_ms"] = statistics.median(start_ms(bench, stores[largest], False)
                                         for _ in range(tries))
    once["start_cold_ms"] = statistics.median(start_ms(bench, stores[largest], True)
                                              for _ in range(tries))
    say(f"soak: {options.soak} s")
    once["soak"] = soak(bench, bench.pools["mixed"], options.soak)
    report(bench, rows, sizes, lengths, stores, once)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=10000000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--soak", type=int, default=120)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    if options.quick:
        options.tokens, options.rounds, options.seconds, options.soak = 10000, 1, 1, 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    bench = Bench(options)
    try:
        measure(bench)
    except SystemExit as end:
        bench.errors.append(str(end))
        raise
    finally:
        bench.stop()
    for error in bench.errors:
        say("ERROR:", error)
    return 1 if bench.errors else 0


if __name__ == "__main__":
    sys.exit(main())
