"""examples/: the gateways, before a real pool and a made-up upstream, to the unit; the migration."""

import contextlib
import http.client
import json
import socket
import sqlite3
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from client import ISSUED, Client, User
from peers import Peer
from service import BUILD, CLEAN_ENVIRONMENT, ROOT, Site, Store, free_port, wait_until

EXAMPLES = ROOT / "examples"
COMMANDS = {"python": ["/usr/bin/python3", EXAMPLES / "gateway.py"], "node": ["node", EXAMPLES / "gateway.mjs"]}
UPSTREAM_KEY = "upstream-key-of-the-site"
USE = {"prompt_tokens": 10, "completion_tokens": 20}
COST = 113  # (10 * 1,250 + 20 * 5,000) / 1,000, rounded up
QUOTA = 1_000_000
HELLO = {"model": "gpt-4o", "max_tokens": 100, "messages": [{"role": "user", "content": "Hello"}]}


def estimate(request):
    return -(-(len(json.dumps(request)) // 3 * 1250 + request["max_tokens"] * 5000) // 1000)


class Server(ThreadingHTTPServer):
    """Records requests. answer(handler, body) answers them."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, answer):
        self.answer, self.requests = answer, []
        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever).start()

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}/"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests.append((self.path, dict(self.headers), json.loads(body)))
        self.server.answer(self, body)

    def reply(self, status, body, **headers):
        self.send_response(status)
        for name, value in {"Content-Length": len(body), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def hang_up(self):
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, *_):
        pass


def complete(handler, _):
    handler.reply(200, json.dumps({"choices": [{"message": {"content": "Hi"}}], "usage": USE}).encode())


def event(**fields):
    return b"data: " + json.dumps(fields).encode() + b"\n\n"


def words(count):
    return [event(choices=[{"delta": {"content": f"word{i}"}}], usage=None) for i in range(count)]


LAST = [event(choices=[], usage=USE), b"data: [DONE]\n\n"]


def stream(*chunks, complete=True):
    """An answer in chunks; a callable is called in its place."""

    def answer(handler, _):
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for chunk in chunks:
            if callable(chunk):
                chunk()
            else:
                handler.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
        handler.wfile.write(b"0\r\n\r\n") if complete else handler.hang_up()

    return answer


class Internal(Server):
    """Between a gateway and the internal server. faults: for a route what happens to its next requests, a letter
    each: d, the answer is lost; b, it is a proxy's 502 instead; l, the request is lost; u, 503."""

    def __init__(self, port):
        self.port, self.faults = port, {}
        super().__init__(self.forward)

    def forward(self, handler, body):
        route = handler.path.rpartition("/")[2]
        fault, self.faults[route] = self.faults.get(route, "")[:1], self.faults.get(route, "")[1:]
        if fault == "u":
            handler.reply(503, b'{"success":false,"message":"","code":"unavailable"}', Retry_After=1)
            return
        if fault != "l":
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
            connection.request("POST", handler.path, body, {"X-Gateway-Token": handler.headers["X-Gateway-Token"]})
            reply = connection.getresponse()
            answer = reply.read()
            connection.close()
        if fault == "b":
            handler.reply(502, b"<html>Bad Gateway</html>")
            return
        if fault:
            handler.hang_up()
            return
        names = [name for name in reply.headers if "limit" in name.lower() or name == "Retry-After"]
        handler.reply(reply.status, answer, **{name: reply.headers[name] for name in names})

    def routes(self):
        return [path.rpartition("/")[2] for path, _, _ in self.requests]


class Gateway:
    """One of the examples, running."""

    def __init__(self, language, internal, upstream, secret, folder):
        self.port, self.log = free_port(), folder / "gateway.txt"
        self.language, self.internal, self.upstream = language, internal, upstream
        environment = {**CLEAN_ENVIRONMENT, "INTERNAL": internal.url + "api/token/", "UPSTREAM": upstream.url + "chat",
                       "GATEWAY_SECRET": secret, "UPSTREAM_KEY": UPSTREAM_KEY, "PORT": str(self.port)}
        with self.log.open("w") as log:
            self.process = subprocess.Popen(COMMANDS[language], env=environment, stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log)

    def __enter__(self):
        def answers():
            assert self.process.poll() is None, self.log.read_text()
            with contextlib.suppress(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", self.port)).close()
                return True

        wait_until(answers, "the gateway answers")
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(timeout=60)
        text = self.log.read_text()
        assert "Traceback" not in text and not [secret for secret in {*ISSUED, UPSTREAM_KEY} if secret in text], text

    def open(self, key, request=HELLO, path="/v1/chat/completions"):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        body = request if isinstance(request, bytes) else json.dumps(request).encode()
        connection.request("POST", path, body, {"Authorization": f"Bearer {key}"} if key else {})
        return connection

    def ask(self, key, request=HELLO, path="/v1/chat/completions"):
        """The answer's status, headers and body."""
        with contextlib.closing(self.open(key, request, path)) as connection:
            reply = connection.getresponse()
            return reply.status, reply.headers, reply.read()

    def code(self, *arguments):
        """The status and code of a failure."""
        status, _, body = self.ask(*arguments)
        return status, json.loads(body)["error"]["code"]


@pytest.fixture(scope="module")
def site(engine):
    """Where groups are checked."""
    with Site() as running:
        running.ctl("group", "add", "vip", "--ratio", "1.1", "--public")
        yield running


@pytest.fixture(scope="module", params=list(COMMANDS))
def running(request, site, tmp_path_factory):
    with Internal(site.internal_port) as internal, Server(complete) as upstream:
        folder = tmp_path_factory.mktemp(request.param)
        with Gateway(request.param, internal, upstream, site.add_gateway(), folder) as started:
            yield started


@pytest.fixture
def gateway(running):
    """As if it was new: the threads of the test before have ended, as it has seen their last request."""
    running.internal.requests.clear()
    running.upstream.requests.clear()
    running.internal.faults.clear()
    running.upstream.answer = complete
    return running


class Token:
    def __init__(self, owner, **fields):
        made = owner.make(**{"unlimited_quota": False, "remain_quota": QUOTA, **fields})
        self.owner, self.id, self.key, self.quota = owner, made["id"], made["key"], made["remain_quota"]

    def used(self):
        """What is gone from its quota."""
        token = self.owner.get(self.id).data
        assert token["remain_quota"] + token["used_quota"] == self.quota
        return token["used_quota"]


@pytest.fixture
def token(user):
    return Token(user)


def test_settles_at_the_use(gateway, token):
    status, headers, body = gateway.ask(token.key)
    assert (status, headers["Content-Type"]) == (200, "application/json")
    assert json.loads(body)["choices"][0]["message"]["content"] == "Hi"
    assert gateway.internal.routes() == ["reserve", "settle"] and token.used() == COST
    (_, headers, request), = gateway.upstream.requests
    assert headers["Authorization"] == f"Bearer {UPSTREAM_KEY}" and request == HELLO
    (_, _, reserved), (_, _, settled) = gateway.internal.requests
    assert (reserved["ip"], reserved["model"], reserved["amount"]) == ("127.0.0.1", "gpt-4o", estimate(HELLO))
    assert settled["amount"] == COST


def test_ratio_of_the_group(gateway, user):
    """Exact: as floating-point numbers 10,000 times 1.1 is more than 11,000."""
    gateway.upstream.answer = lambda handler, _: handler.reply(
        200, json.dumps({"usage": {"prompt_tokens": 8000, "completion_tokens": 0}}).encode())
    token = Token(user, group="vip")
    assert gateway.ask(token.key)[0] == 200 and token.used() == 11_000


@pytest.mark.parametrize("fields, request_, expected", [
    ({"model_limits": ["gpt-4"]}, {}, (403, "model")),
    ({"model_limits": ["gpt-4o"], "allow_ips": "192.0.2.1"}, {}, (403, "address")),
    ({"remain_quota": 100}, {}, (401, "exhausted")),
    ({}, {"model": "no-such-model"}, (400, "invalid")),
    ({}, {"max_tokens": "many"}, (400, "invalid")),
], ids=["model", "address", "exhausted", "no model", "no number"])
def test_refused(gateway, user, fields, request_, expected):
    token = Token(user, **fields)
    assert gateway.code(token.key, {**HELLO, **request_}) == expected
    assert token.used() == 0 and gateway.upstream.requests == []


def test_keys_that_are_none(gateway, token):
    assert gateway.code(None) == (401, "missing") and gateway.code("sk-no-key") == (401, "malformed")
    assert gateway.code(token.key, b"[]") == gateway.code(token.key, b"{") == (400, "invalid")
    assert gateway.code(token.key, HELLO, "/v1/models") == (400, "invalid")
    assert token.used() == 0 and gateway.upstream.requests == []


def test_limit(gateway, user):
    token = Token(user, rpm_limit=1)
    assert gateway.ask(token.key)[0] == 200
    status, headers, body = gateway.ask(token.key)
    assert (status, json.loads(body)["error"]["code"]) == (429, "rate") and int(headers["Retry-After"]) > 0
    assert token.used() == COST


def test_balance(gateway, site):
    poor = site.add_user()
    token = Token(site.http(poor))
    site.ctl("user", "set", poor.id, "--quota", 10)
    assert gateway.code(token.key) == (402, "balance")


def test_wrong_secret(gateway, token, tmp_path):
    """The client is not told that its key is wrong."""
    with Gateway(gateway.language, gateway.internal, gateway.upstream, "no-secret", tmp_path) as other:
        assert other.code(token.key) == (500, "gateway")


@pytest.mark.parametrize("answer, expected", [
    (lambda handler, _: handler.reply(500, b"oh"), 502),
    (lambda handler, _: handler.reply(401, b"wrong key"), 502),
    (lambda handler, _: handler.reply(400, b"no such parameter"), 400),
    (lambda handler, _: handler.reply(429, b"slower", Retry_After=7), 429),
    (lambda handler, _: handler.reply(200, b"no JSON"), 502),
    (lambda handler, _: handler.reply(200, b"{}"), 502),
    (lambda handler, _: handler.hang_up(), 502),
    (stream(b'{"choices":[', complete=False), 502),
], ids=["500", "401", "400", "429", "no JSON", "no use", "no answer", "half an answer"])
def test_upstream_fails(gateway, token, answer, expected):
    gateway.upstream.answer = answer
    status, headers, body = gateway.ask(token.key)
    assert (status, json.loads(body)["error"]["code"]) == (expected, "upstream")
    assert headers["Retry-After"] == ("7" if expected == 429 else None)
    assert gateway.internal.routes() == ["reserve", "cancel"] and token.used() == 0


@pytest.mark.parametrize("faults, expected", [
    ({"reserve": "d", "settle": "d"}, COST),
    ({"reserve": "lu", "settle": "ul"}, COST),
    ({"reserve": "b", "settle": "bd"}, COST),
    ({"reserve": "d", "cancel": "db"}, 0),
], ids=["answers", "requests", "proxy", "cancel"])
def test_lost(gateway, token, faults, expected):
    """What is sent again is done once."""
    gateway.internal.faults.update(faults)
    if not expected:
        gateway.upstream.answer = lambda handler, _: handler.hang_up()
    assert gateway.ask(token.key)[0] == (200 if expected else 502)
    assert token.used() == expected and len(gateway.internal.requests) == 2 + sum(map(len, faults.values()))


@pytest.mark.parametrize("faults", ["ddd", "uuu", "lll", "bbb"])
def test_reserve_without_an_answer(gateway, token, faults):
    gateway.internal.faults["reserve"] = faults
    status, headers, _ = gateway.ask(token.key)
    assert (status, headers["Retry-After"]) == (503, "5") and gateway.upstream.requests == []
    wait_until(lambda: gateway.internal.routes() == ["reserve"] * 4 + ["cancel"] and token.used() == 0, "it is given back")


def test_settle_without_an_answer(gateway, token):
    gateway.internal.faults["settle"] = "lll"
    assert gateway.ask(token.key)[0] == 200
    assert token.used() == estimate(HELLO) and f"settled at {COST}: shortfall unknown" in gateway.log.read_text()


def test_shortfall(gateway, user):
    token = Token(user, remain_quota=estimate(HELLO))
    used = {"prompt_tokens": 0, "completion_tokens": 1000}
    gateway.upstream.answer = lambda handler, _: handler.reply(200, json.dumps({"usage": used}).encode())
    assert gateway.ask(token.key)[0] == 200 and token.used() == token.quota
    assert f"settled at 5000: shortfall {5000 - token.quota}\n" in gateway.log.read_text()
    assert gateway.code(token.key) == (401, "exhausted")


STREAMED = {**HELLO, "stream": True}


@pytest.mark.parametrize("asks", [False, True])
def test_stream(gateway, token, asks):
    """Events reach the client as they come; that with the use does if the client wants it."""
    request = {**STREAMED, "stream_options": {"include_usage": True}} if asks else STREAMED
    arrived = threading.Event()
    chunks = words(3)
    gateway.upstream.answer = stream(chunks[0], lambda: arrived.wait(60), *chunks[1:], *LAST)
    with contextlib.closing(gateway.open(token.key, request)) as connection:
        reply = connection.getresponse()
        assert (reply.status, reply.headers["Content-Type"]) == (200, "text/event-stream")
        assert reply.readline() == chunks[0].splitlines()[0] + b"\n"
        arrived.set()
        lines = [line for line in reply.read().split(b"\n") if line]
    expected = [*chunks[1:], *(LAST if asks else LAST[1:])]
    assert lines == [line.strip() for line in expected] and token.used() == COST
    assert gateway.upstream.requests[0][2]["stream_options"] == {"include_usage": True}


@pytest.mark.parametrize("count", [0, 3])
def test_stream_breaks_off(gateway, token, count):
    gateway.upstream.answer = stream(*words(count), complete=False)
    status, _, body = gateway.ask(token.key, STREAMED)
    assert (status, body.count(b"word")) == (200 if count else 502, count)
    prompt_tokens = len(json.dumps(STREAMED)) // 3
    assert token.used() == (-(-(prompt_tokens * 1250 + count * 5000) // 1000) if count else 0)


def test_stream_without_its_use(gateway, token):
    """What came is paid for, by its events, if the last one does not tell all."""
    gateway.upstream.answer = stream(*words(3), event(choices=[], usage={"prompt_tokens": 10}))
    assert gateway.ask(token.key, STREAMED)[0] == 200
    assert gateway.internal.routes() == ["reserve", "settle"] and token.used() == -(-(10 * 1250 + 4 * 5000) // 1000)


@pytest.mark.parametrize("request_", [HELLO, STREAMED], ids=["whole", "stream"])
def test_client_hangs_up(gateway, token, request_):
    """The upstream has worked: its use is paid."""
    gone, chunks = threading.Event(), words(100)

    def answer_later(handler, body):
        gone.wait(60)
        complete(handler, body)

    is_stream = request_ is STREAMED
    gateway.upstream.answer = stream(chunks[0], lambda: gone.wait(60), *chunks, *LAST) if is_stream else answer_later
    connection = gateway.open(token.key, request_)
    if is_stream:
        assert connection.getresponse().readline().startswith(b"data:")
    wait_until(lambda: gateway.upstream.requests, "the upstream is asked")
    connection.close()
    gone.set()
    wait_until(lambda: gateway.internal.routes() == ["reserve", "settle"] and token.used() == COST, "it is settled")


def test_many_at_once(gateway, token):
    """Of 40 requests each fourth fails, and answers of token.fcgi get lost."""
    count = iter(range(1000))
    gateway.upstream.answer = lambda handler, body: (
        handler.hang_up() if next(count) % 4 == 0 else complete(handler, body))
    gateway.internal.faults.update(reserve="dlud", settle="uddl", cancel="du")
    with ThreadPoolExecutor(8) as pool:
        statuses = [status for status, _, _ in pool.map(gateway.ask, [token.key] * 40)]
    assert statuses.count(200) == 30 and statuses.count(502) == 10
    assert token.used() == 30 * COST


# ---- moving in ----


def migrate(store, *arguments, programs=BUILD):
    temporary = store.dir / "temporary"
    temporary.mkdir(exist_ok=True)
    temporary.chmod(0o1777)  # the store's owner writes there too
    environment = {**store.environment, "PATH": f"{programs}:{store.environment['PATH']}", "TMPDIR": str(temporary)}
    done = subprocess.run([EXAMPLES / "migrate-from-new-api.sh", *arguments], env=environment, timeout=60,
                          capture_output=True, text=True)
    assert list(temporary.iterdir()) == []  # no keys are left
    return done


def test_migration_from_new_api():
    key, access_token = "k" * 48, "Ab/+" * 7 + "cd=="
    ISSUED.update([key, access_token])
    peer = Peer("new-api")
    peer.user(7, "alice", access_token=access_token, group="vip", used_quota=250, quota=1000)
    peer.token(12, 7, key, unlimited_quota=False, remain_quota=100, used_quota=250)
    with Site() as site:
        path = site.dir / "one-api.db"
        with contextlib.closing(sqlite3.connect(path)) as database:
            peer.database.commit()
            peer.database.backup(database)
        done = migrate(site, path, "--dry-run")
        assert done.returncode == 0 and "tokens 1" in done.stdout and site.ctl("user", "list") == []
        site.spawn("stop")
        done = migrate(site, path)
        assert done.returncode == 0, done
        site.spawn("start")
        alice = Client(site.send, User(7, "alice", "vip", access_token))
        (token,) = alice.list().data["items"]
        assert (token["id"], token["remain_quota"], token["used_quota"]) == (12, 100, 250)
        assert site.gateway().consume(key=key, amount=60).data["remain_quota"] == 40
        site.check()


def test_migration_of_half_a_database():
    """Users without their tokens are not moved."""
    with Store() as store:
        path = store.dir / "one-api.db"
        with contextlib.closing(sqlite3.connect(path)) as database, database:
            database.execute("CREATE TABLE users (id integer, username text)")
            database.execute("INSERT INTO users VALUES (1, 'alice')")
        done = migrate(store, path)
        assert done.returncode != 0 and "tokens" in done.stderr
        assert store.ctl("user", "list") == []


def test_migration_that_is_interrupted():
    with Store() as store:
        (store.dir / "sqlite3").write_text("#!/bin/sh\nkill -TERM $PPID\n")
        (store.dir / "sqlite3").chmod(0o755)
        assert migrate(store, "one-api.db", programs=store.dir).returncode != 0
