"""GET /metrics and the file that workers count in: exact over processes, whatever becomes of them."""

import concurrent.futures
import contextlib
import os
import re
import signal
import socket
import struct

import client
import fastcgi
import pytest
import yaml
from client import ISSUED, Client, Gateway, key_checksum
from prometheus_client.parser import text_string_to_metric_families
from service import IS_ROOT, ROOT, Site, Store, wait_until

LABELS = {
    "token_http_requests": {"route", "method", "code"},
    "token_http_request_duration_seconds": {"route"},
    "token_verifications": {"result"},
    "token_quota_spent_units": {"operation"},
    "token_quota_returned_units": set(),
    "token_commits": set(),
    "token_commit_writes": set(),
    "token_commit_duration_seconds": set(),
    "token_commit_failures": set(),
    "token_searches": set(),
    "token_replays": set(),
    "token_store_map_bytes": set(),
    "token_store_used_bytes": set(),
    "token_store_file_bytes": set(),
    "token_store_readers": set(),
    "token_users": set(),
    "token_tokens": set(),
    "token_workers": set(),
    "token_connections": set(),
    "token_build_info": {"version", "engine"},
}
UNKNOWN_KEY = "sk-" + "0" * 42 + key_checksum("sk-" + "0" * 48)
LARGE = [{"model_limits": "m" * 8000}] * 10


def text_of(store, path=None):
    reply = fastcgi.transport(path or store.socket)("GET", "/metrics", {}, None)
    assert reply.status == 200 and reply.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return reply.body.decode()


class Metrics(dict):
    """The values of one scrape, by sample names with their labels in their order: name{value,value}."""

    def __init__(self, store, path=None):
        super().__init__()
        self.families = list(text_string_to_metric_families(text_of(store, path)))
        for family in self.families:
            for sample in family.samples:
                name = sample.name + (f"{{{','.join(sample.labels.values())}}}" if sample.labels else "")
                assert name not in self
                self[name] = sample.value

    def __missing__(self, name):
        return 0

    def sum(self, name):
        return sum(value for key, value in self.items() if key.split("{")[0] == name)

    def since(self, before):
        """What has changed, but for scrapes, gauges and durations."""
        changed = {name: value - before[name] for name, value in self.items() if value != before[name]}
        return {name: value for name, value in changed.items()
                if "/metrics" not in name and "_seconds" not in name and "_store_" not in name
                and not re.match("token_(connections|workers|users|tokens|build)", name)}


@pytest.fixture
def http(site):
    """A client past nginx: a connection, and perhaps a worker, for each request."""
    return site.direct(site.add_user())


@pytest.fixture(scope="session")
def gateway(site):
    return Gateway(fastcgi.transport(site.socket), site.add_gateway("metrics"))


# ---- the text ----


def test_names(site):
    metrics = Metrics(site)
    assert {family.name: family.documentation != "" for family in metrics.families} == dict.fromkeys(LABELS, True)
    for family in metrics.families:
        kind = ("histogram" if family.name.endswith("_seconds") else
                "gauge" if family.name in list(LABELS)[11:] else "counter")
        assert family.type == kind
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == LABELS[family.name]
    engine = "lmdb" if site.ENGINE == "lmdb" else "postgresql"
    version = re.search(r"VERSION = (.*)", (ROOT / "Makefile").read_text())[1]
    assert metrics[f"token_build_info{{{version},{engine}}}"] == 1


def test_internal_server_only(site):
    for path in ("/metrics", "/metrics/", "/api/token/metrics", "/api/user/self/metrics", "/api/status/metrics"):
        assert client.transport(site.port)("GET", path, {}, None).status == 404
    send = client.transport(site.internal_port)
    assert send("GET", "/metrics", {}, None).body.startswith(b"# HELP token_")
    assert send("HEAD", "/metrics", {}, None).body == b""
    assert send("POST", "/metrics", {}, None).status == 405
    for path in ("/metrics/", "/metrics/x", "/metricsx"):
        assert send("GET", path, {}, None).status == 404


def test_no_secret_and_nobody(site, http, gateway):
    """Whatever was asked, no label names a user, a token or a key."""
    token = http.make(name="name-of-a-token")
    http.get(token["id"])
    http.verify(token["key"])
    gateway.consume(key=token["key"], amount=1)
    http.request("GET", f"/api/token/{token['key']}", headers={"X": token["key"]})
    text = text_of(site)
    assert not [secret for secret in (*ISSUED, http.user.name, token["key"][3:]) if secret in text]
    for family in Metrics(site).families:
        for sample in family.samples:
            assert all(re.fullmatch(r"[a-z/:A-Z0-9.+]*", value) for value in sample.labels.values())
            assert not re.search(r"/[0-9]", sample.labels.get("route", ""))


def test_tokenctl(site):
    done = site.run_ctl("metrics")
    assert done.returncode == 0 and done.stderr == ""
    assert {family.name for family in text_string_to_metric_families(done.stdout)} == set(LABELS)
    (printed,) = site.ctl("metrics")
    assert printed["metrics"].startswith("# HELP token_http_requests_total ")
    done = site.run_ctl("metrics", TOKEN_SOCKET=f"{site.dir}/none.sock")
    assert done.returncode == 1 and "the pool does not answer" in done.stderr


def test_plain_cgi_counts_nothing(site):
    before = Metrics(site)
    user = site.add_user()
    assert Client(site.cgi, user).list().status == 200
    reply = site.cgi("GET", "/metrics", {}, None)
    families = {family.name: family.samples for family in text_string_to_metric_families(reply.body.decode())}
    assert set(families) == set(LABELS)
    assert families["token_users"][0].value == before["token_users"] + 1
    assert families["token_workers"][0].value == 0
    assert Metrics(site).since(before) == {}


# ---- what is counted ----


@pytest.mark.threads
def test_requests(site, http):
    token = http.make()
    before = Metrics(site)
    for _ in range(20):
        assert http.get(token["id"]).status == 200
    for _ in range(3):
        assert http.get(token["id"] + 1_000_000).status == 404
    assert http.request("HEAD", f"/api/token/{token['id']}").status == 200
    assert http.request("POST", "/api/token/nothing", {}).status == 404
    assert http.request("DELETE", "/api/token/search").status == 405
    assert http.request("PROPFIND", "/api/token/").status == 405
    assert site.direct().list().status == 401
    assert http.create({"name": ""}).status == 200
    assert http.create({"name": 5}).status == 400
    after = Metrics(site)
    assert after.since(before) == {
        "token_http_requests_total{/api/token/:id,GET,200}": 20,
        "token_http_requests_total{/api/token/:id,GET,404}": 3,
        "token_http_requests_total{/api/token/:id,HEAD,200}": 1,
        "token_http_requests_total{other,POST,404}": 1,
        "token_http_requests_total{other,DELETE,405}": 1,
        "token_http_requests_total{other,other,405}": 1,
        "token_http_requests_total{/api/token/,GET,401}": 1,
        "token_http_requests_total{/api/token/,POST,200}": 1,
        "token_http_requests_total{/api/token/,POST,400}": 1,
        "token_commits_total": 1,
        "token_commit_writes_total": 1,
    }
    name = "token_http_request_duration_seconds"
    for route, count in (("/api/token/:id", 24), ("/api/token/", 3), ("other", 3)):
        assert after[f"{name}_count{{{route}}}"] - before[f"{name}_count{{{route}}}"] == count
        assert after[f"{name}_bucket{{{route},+Inf}}"] == after[f"{name}_count{{{route}}}"]
        assert 0 < after[f"{name}_sum{{{route}}}"] - before[f"{name}_sum{{{route}}}"] < 60


def test_http_status_200():
    """The status that was sent counts."""
    with Site(workers=1, TOKEN_HTTP_STATUS="200") as site:
        user = Client(fastcgi.transport(site.socket), site.add_user(), checked=False)
        assert user.get(9).status == 200
        assert Metrics(site)["token_http_requests_total{/api/token/:id,GET,200}"] == 1


def test_verifications(site, http, gateway):
    def ask(key=None, **variables):
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        made = {**fastcgi.environment("GET", "/api/token/verify", headers), **variables}
        with fastcgi.Connection(site.socket) as connection:
            connection.send(fastcgi.request(made))
            return connection.read_reply()

    disabled, expired = http.make(), http.make()
    http.set_status({"ids": [disabled["id"]], "status": 2})
    http.update({"id": expired["id"], "expired_time": 1})
    good, empty = http.make(), http.make(unlimited_quota=False, remain_quota=0)
    at_home = http.make(allow_ips="192.0.2.1")
    modelled = http.make(model_limits_enabled=True, model_limits="a")
    limited = http.make(rpm_limit=1)
    owner = site.add_user()
    owned = site.direct(owner).make()
    poor = site.add_user()
    pauper = site.direct(poor).make()
    site.ctl("user", "set", poor.id, "--quota", 5)
    site.ctl("user", "disable", owner.id)
    before = Metrics(site)
    expected = {
        "ok": [ask(good["key"]), ask(good["key"], TOKEN_COST="3"), ask(limited["key"])],
        "missing": [ask()],
        "malformed": [ask("sk-x")],
        "unknown": [ask(UNKNOWN_KEY), ask(UNKNOWN_KEY, TOKEN_COST="3")],
        "user": [ask(owned["key"])],
        "disabled": [ask(disabled["key"])],
        "expired": [ask(expired["key"])],
        "address": [ask(at_home["key"])],
        "model": [ask(modelled["key"], TOKEN_MODEL="b")],
        "rate": [ask(limited["key"])],
        "exhausted": [ask(empty["key"])],
        "balance": [ask(pauper["key"], TOKEN_COST="6")],
        "cost": [ask(good["key"], TOKEN_COST="x")],
    }
    for reason, replies in expected.items():
        for reply in replies:
            assert reply.headers.get("x-token-reason", "ok") == reason
    changed = Metrics(site).since(before)
    assert {name: value for name, value in changed.items() if "verifications" in name} == {
        f"token_verifications_total{{{reason}}}": len(replies) for reason, replies in expected.items()
    }
    assert changed["token_quota_spent_units_total{verify}"] == 3


@pytest.mark.threads
def test_units(site, http, gateway):
    """What was spent, less what was given back, is what the token has used."""
    token = http.make(unlimited_quota=False, remain_quota=1000)
    key = token["key"]
    before = Metrics(site)
    assert gateway.consume(key=key, amount=30).status == 200
    assert gateway.consume(key=key, amount=2000).refusal == (401, "exhausted")
    assert gateway.consume(key=UNKNOWN_KEY, amount=9).status == 401
    assert gateway.consume(key=key, amount=-1).status == 400
    less, more, gone, open_still = (gateway.reserve(key=key, amount=100).data["reservation"] for _ in range(4))
    for _ in range(2):  # a second time it has ended
        assert gateway.settle(reservation=less, amount=40).data["amount"] == 40
        assert gateway.settle(reservation=more, amount=107).data["amount"] == 107
        assert gateway.cancel(reservation=gone).data["amount"] == 0
    assert gateway.settle(reservation=open_still + 1000, amount=1).status == 404
    changed = Metrics(site).since(before)
    assert {name: value for name, value in changed.items() if "quota" in name} == {
        "token_quota_spent_units_total{consume}": 30,
        "token_quota_spent_units_total{reserve}": 400,
        "token_quota_spent_units_total{settle}": 7,
        "token_quota_returned_units_total": 160,
    }
    assert http.get(token["id"]).data["used_quota"] == 437 - 160


def test_replays(site, http, gateway):
    token = http.make()
    before = Metrics(site)
    for _ in range(3):
        assert gateway.consume(key=token["key"], amount=5, transaction_id=f"t{token['id']}").status == 200
    assert gateway.consume(key=token["key"], amount=6, transaction_id=f"t{token['id']}").status == 409
    for _ in range(2):
        assert http.request("POST", "/api/token/", {"name": "a"}, {"Idempotency-Key": "k"}).status == 200
    changed = Metrics(site).since(before)
    assert changed["token_replays_total"] == 3
    assert changed["token_quota_spent_units_total{consume}"] == 5


def test_searches(site, http):
    http.make_many(3)
    before = Metrics(site)
    for query in ("?keyword=1", "?status=1", ""):
        assert http.search(query).status == 200
    assert http.list("?sort=name").status == http.list().status == 200
    assert http.search("?sort=x").status == 400
    assert Metrics(site).since(before)["token_searches_total"] == 4


def test_figures(site, http):
    before = Metrics(site)
    tokens = http.make_many(7)
    http.delete(tokens[0]["id"])
    site.add_user()
    after = Metrics(site)
    assert after["token_tokens"] - before["token_tokens"] == 6
    assert after["token_users"] - before["token_users"] == 1
    stat = {name: value for (figure,) in [site.ctl("stat")] for name, value in figure.items()}
    assert (after["token_users"], after["token_tokens"]) == (stat["users"], stat["tokens"])
    assert after["token_store_file_bytes"] > 0
    if site.ENGINE == "lmdb":
        assert after["token_store_map_bytes"] == stat["map_bytes"] > after["token_store_used_bytes"] > 0
        assert after["token_store_readers"] >= 1


@pytest.mark.postgresql
def test_figures_that_take_long():
    """They are not read again by each scrape, for a time."""
    with Site(workers=1) as site:
        with concurrent.futures.ThreadPoolExecutor() as pool:
            locked = pool.submit(site.sql, "LOCK TABLE users; SELECT pg_sleep(0.7)")
            held = "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted"
            wait_until(lambda: site.sql(held) != "0", "the table is locked")
            assert Metrics(site)["token_users"] == 0
            locked.result()
        site.add_user()
        assert Metrics(site)["token_users"] == 0
        site.spawn("restart")
        assert Metrics(site)["token_users"] == 1


@pytest.mark.lmdb
@pytest.mark.threads
def test_failures():
    with Site(workers=2, TOKEN_MAP_SIZE="2M") as site:
        user = site.direct(site.add_user())
        done = 0
        while user.create(LARGE).status == 200:
            done += 1
        metrics = Metrics(site)
        assert (metrics["token_commits_total"], metrics["token_commit_writes_total"]) == (done, done)
        assert metrics["token_commit_failures_total"] == 1
        assert metrics["token_commit_duration_seconds_count"] == done + 1
        assert metrics["token_http_requests_total{/api/token/,POST,503}"] == 1


# ---- over processes ----


@pytest.mark.threads
def test_exact_over_workers_and_their_death():
    """Many clients, while workers are killed, replaced and restarted: what was answered is counted, and
    only what was not may be missing."""
    with Site(workers=3) as site:
        user = site.add_user()
        gateway = Gateway(fastcgi.transport(site.socket), site.add_gateway())
        key = site.direct(user).make()["key"]

        def spend(_):
            return gateway.consume(key=key, amount=1).status == 200

        def count():
            metrics = Metrics(site)
            assert metrics["token_http_requests_total{/api/token/consume,POST,200}"] == done
            assert metrics["token_quota_spent_units_total{consume}"] == done
            assert metrics["token_commit_writes_total"] == done + 1
            assert 0 < metrics["token_commits_total"] <= done + 1
            assert metrics["token_commit_duration_seconds_count"] == metrics["token_commits_total"]
            return metrics

        done = 0
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            for _ in range(3):
                assert all(pool.map(spend, range(100)))
                done += 100
                assert count()["token_workers"] == 3
                pids = site.pids()
                site.kill(min(pids))
                wait_until(lambda: len(site.pids() - pids) == 1 and Metrics(site)["token_workers"] == 3,
                           "another worker counts")
            for action in ("reload", "restart"):
                site.spawn(action)
                assert all(pool.map(spend, range(50)))
                done += 50
                count()
        wait_until(lambda: Metrics(site)["token_workers"] == 3, "the workers of before have ended")


def test_connections(site):
    before = Metrics(site)["token_connections"]
    with contextlib.ExitStack() as stack:
        for _ in range(5):
            connection = stack.enter_context(fastcgi.Connection(site.socket))
            connection.send(fastcgi.request(fastcgi.environment("GET", "/api/status"), keep=True))
            connection.read_reply()
        wait_until(lambda: Metrics(site)["token_connections"] - before == 5, "the connections count")
    wait_until(lambda: Metrics(site)["token_connections"] == before, "they do no longer")


def test_two_pools():
    with Site(workers=1) as one, Site(workers=2) as other:
        for site in (one, other, other):
            assert site.direct(site.add_user()).list().status == 200
        name = "token_http_requests_total{/api/token/,GET,200}"
        assert [(Metrics(site)[name], Metrics(site)["token_workers"]) for site in (one, other)] == [(1, 1), (2, 2)]


# ---- the file ----


@pytest.fixture(scope="module")
def store(engine):
    with Store() as store:
        (store.dir / "shared").mkdir()
        (store.dir / "shared").chmod(0o777)
        yield store


@pytest.fixture
def shared(store, request):
    return store.dir / "shared" / re.sub(r"\W", "_", request.node.name)


def own(path):
    if IS_ROOT:
        os.chown(path, *(os.stat(path.parents[1] / "secret").st_uid, -1))


class Worker:
    count = 0

    def __init__(self, store, shared):
        Worker.count += 1
        self.store = store
        self.logged = store.log.stat().st_size
        settings = {} if shared is None else {"TOKEN_SHARED": str(shared)}
        self.process, self.path = store.start_worker(f"w{Worker.count}.sock", **settings)

    def ask(self):
        """How many times it was asked before."""
        return Metrics(self.store, self.path)["token_http_requests_total{/metrics,GET,200}"]

    def log(self):
        return self.store.log.read_text()[self.logged:]

    def end(self):
        self.process.terminate()
        assert self.process.wait(timeout=60) == 0


def test_file(store, shared):
    """Made for its owner alone, and kept."""
    worker = Worker(store, shared)
    assert [worker.ask() for _ in range(3)] == [0, 1, 2]
    status = shared.stat()
    assert status.st_mode & 0o777 == 0o600
    assert "TOKEN_SHARED" not in worker.log()
    worker.end()
    other = Worker(store, shared)
    assert other.ask() == 3
    other.end()
    assert shared.stat().st_ino == status.st_ino


def test_beside_the_socket(store):
    worker = Worker(store, None)
    folder = store.dir / "shared/beside"
    folder.mkdir()
    folder.chmod(0o777)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(folder / "s.sock"))
    listener.listen()
    (folder / "s.sock").chmod(0o666)
    process = store.start_worker_on(listener)
    Metrics(store, folder / "s.sock")
    assert (folder / "metrics").stat().st_size > 0
    process.terminate()
    process.wait(timeout=60)
    listener.close()
    worker.end()


def test_no_folder(store):
    """A TCP socket has none: each worker counts alone."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        logged = store.log.stat().st_size
        process = store.start_worker_on(listener)
        metrics = Metrics(store, listener.getsockname())
        assert metrics["token_workers"] == 1
        assert "TOKEN_SHARED is not set" in store.log.read_text()[logged:]
        process.terminate()
        process.wait(timeout=60)


def damaged(shared, kind):
    """The bytes of a file that a worker has made, changed."""
    data = bytearray(shared.read_bytes())
    if kind == "empty":
        return b""
    if kind == "short":
        return bytes(data[:100])
    if kind == "unfinished":
        return bytes(data[:16])
    if kind == "zeros":
        return bytes(len(data))
    if kind == "long":
        return bytes(data) + b"x"
    if kind == "other layout":
        data[8] ^= 1
        return bytes(data)
    if kind == "random cells":
        return bytes(data[:16]) + os.urandom(len(data) - 16)
    raise AssertionError(kind)


@pytest.mark.parametrize("kind", ["empty", "short", "long", "unfinished", "zeros", "other layout"])
def test_damaged(store, shared, kind):
    """A file that is no longer as it was is made anew; a worker of before counts on in its own."""
    before = Worker(store, shared)
    before.ask()
    changed = damaged(shared, kind)
    shared.unlink()
    shared.write_bytes(changed)
    shared.chmod(0o600)
    own(shared)
    worker = Worker(store, shared)
    assert [worker.ask(), worker.ask()] == [0, 1]
    assert "TOKEN_SHARED" not in worker.log()
    assert before.ask() == 1
    for one in (worker, before):
        one.end()


def test_random_cells(store, shared):
    """Whatever the values are, the worker serves."""
    before = Worker(store, shared)
    before.ask()
    before.end()
    shared.write_bytes(damaged(shared, "random cells"))
    worker = Worker(store, shared)
    assert len(Metrics(store, worker.path).families) == len(LABELS)
    assert fastcgi.transport(worker.path)("GET", "/healthz", {}, None).status in (200, 503)
    worker.end()


def make_foreign(shared, kind):
    if kind == "text":
        shared.write_text("precious")
    elif kind == "symlink":
        shared.with_suffix(".target").write_text("precious")
        shared.symlink_to(shared.with_suffix(".target"))
    elif kind == "hard link":
        shared.with_suffix(".target").write_text("")
        own(shared.with_suffix(".target"))
        shared.hardlink_to(shared.with_suffix(".target"))
    elif kind == "fifo":
        os.mkfifo(shared)
    elif kind == "folder":
        shared.mkdir()
    elif kind == "writable":
        shared.touch()
        shared.chmod(0o666)
    if kind in ("text", "fifo", "writable"):
        own(shared)


@pytest.mark.parametrize("kind, why", [
    ("text", "is no file of counters"),
    ("symlink", "Too many levels of symbolic links"),
    ("hard link", "is not a regular file"),
    ("fifo", "is not a regular file"),
    ("folder", "Is a directory"),
    ("writable", "others can write to it"),
    ("no folder", "No such file or directory"),
])
def test_foreign(store, shared, kind, why):
    """What is no file of counters is left alone: the worker says so once, and counts for itself."""
    make_foreign(shared, kind)
    path = shared / "none" if kind == "no folder" else shared
    worker = Worker(store, path)
    assert [worker.ask(), worker.ask()] == [0, 1]
    lines = [line for line in worker.log().splitlines() if "TOKEN_SHARED" in line]
    assert len(lines) == 1 and why in lines[0] and lines[0].endswith(": counting for this worker alone")
    worker.end()
    if kind == "text":
        assert shared.read_text() == "precious"
    if kind == "symlink":
        assert shared.is_symlink() and shared.with_suffix(".target").read_text() == "precious"


@pytest.mark.skipif(not IS_ROOT, reason="only root can give a file away")
def test_anothers(store, shared):
    shared.touch()
    os.chown(shared, 12345, -1)
    shared.chmod(0o666)
    worker = Worker(store, shared)
    worker.ask()
    assert "belongs to another user" in worker.log()
    worker.end()


@pytest.mark.parametrize("size", [0, 4096])
@pytest.mark.threads
def test_truncated(store, shared, size):
    """A file that is cut off under a worker costs the counts, not the worker."""
    worker = Worker(store, shared)
    assert [worker.ask(), worker.ask()] == [0, 1]
    os.truncate(shared, size)
    assert [worker.ask() for _ in range(3)][1:] == [1, 2]
    assert worker.process.poll() is None
    assert "was truncated or can't be read: going on without it" in worker.log()
    worker.end()
    other = Worker(store, shared)
    assert other.ask() == 0
    other.end()


def test_removed(store, shared):
    """The worker goes on in the file that has no name, the next one makes another."""
    worker = Worker(store, shared)
    worker.ask()
    shared.unlink()
    assert worker.ask() == 1
    other = Worker(store, shared)
    assert other.ask() == 0
    for one in (worker, other):
        one.end()


def test_roots_folder_and_another_layout():
    """spawn.sh makes the file where workers may not: they empty one of another version."""
    with Site(workers=2) as site:
        shared = site.dir / "metrics"
        name = "token_http_requests_total{/api/token/,GET,200}"

        def set_layout(layout):
            with shared.open("r+b") as file:
                file.seek(8)
                file.write(layout)

        assert shared.stat().st_mode & 0o777 == 0o600
        inode = shared.stat().st_ino
        layout = shared.read_bytes()[8:16]
        user = site.direct(site.add_user())
        assert user.list().status == 200
        set_layout(struct.pack("<Q", 1))
        assert user.list().status == 200
        assert Metrics(site)[name] == 0  # those of before count no more
        set_layout(layout)
        assert Metrics(site)[name] == 1
        set_layout(struct.pack("<Q", 1))
        site.spawn("reload")
        assert Metrics(site)[name] == 0
        assert Metrics(site)["token_workers"] == 2
        assert (shared.stat().st_ino == inode) is IS_ROOT
        assert "TOKEN_SHARED" not in (site.dir / "pool.log").read_text()


# ---- alerts ----


def test_alert_rules(site):
    """Prometheus' rules in a form that it reads, on metrics that there are."""
    rules = yaml.safe_load((ROOT / "examples/token.rules.yml").read_text())
    (group,) = rules["groups"]
    names = {sample.name for family in Metrics(site).families for sample in family.samples}
    names |= {f"{name}{suffix}" for name in LABELS for suffix in ("", "_total", "_bucket", "_count", "_sum")
              if name.endswith("_seconds") or suffix in ("", "_total")}
    assert len(group["rules"]) == len({rule["alert"] for rule in group["rules"]}) == 4
    for rule in group["rules"]:
        assert set(rule) == {"alert", "expr", "for", "labels", "annotations"}
        assert set(rule["annotations"]) == {"summary", "description"}
        used = set(re.findall(r"\btoken_\w+", rule["expr"]))
        assert used and used <= names
        assert rule["expr"].count("(") == rule["expr"].count(")")
    (job,) = re.findall(r"job_name: (\w+)", (ROOT / "docs/operations.md").read_text())
    assert f'up{{job="{job}"}} == 0' in group["rules"][0]["expr"]  # one machine of several, too
