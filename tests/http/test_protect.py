"""nginx-protect.conf.example: an upstream behind auth_request, with the example unchanged."""

import http.client
import http.server
import json
import re
import threading

import pytest
from client import ISSUED, Client, key_checksum, read_reply
from service import IS_ROOT, ROOT, Site, free_port

UNKNOWN_KEY = "sk-" + "0" * 42 + key_checksum("sk-" + "0" * 48)


class Upstream(http.server.ThreadingHTTPServer):
    """The protected upstream: records each request and answers with the requested status."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self):
        self.requests = []
        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever).start()

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()

    def take(self):
        requests, self.requests = self.requests, []
        return requests


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.requests.append((self.command, self.path, headers, body))
        status = int(headers.get("x-answer-with", 200))
        reply = json.dumps({"upstream": True, "got": len(body)}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(reply)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply)

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_OPTIONS = answer

    def log_message(self, *_):
        pass


class ProtectedSite(Site):
    """A pool, an nginx with the example, and the protected upstream."""

    def __init__(self, upstream_port, **settings):
        super().__init__(**settings)
        self.upstream_port = upstream_port

    def nginx_configuration(self):
        replacements = [
            (r"^user .*", "user www-data;" if IS_ROOT else ""),
            (r"^pid .*", "pid nginx.pid;\ndaemon off;"),
            (r"^error_log .*", "error_log nginx.log;"),
            (r"^http \{", "http {" + "".join(
                f"\n    {kind}_temp_path tmp/{kind};"
                for kind in ("client_body", "fastcgi", "proxy", "scgi", "uwsgi")
            )),
            (r"unix:[^;]*", f"unix:{self.socket}"),
            (r"listen 127\.0\.0\.1:8080", f"listen 127.0.0.1:{self.port}"),
            (r"access_log [^ ]*", f"access_log {self.dir}/access.log"),
            (r"server 127\.0\.0\.1:3000", f"server 127.0.0.1:{self.upstream_port}"),
            *self.nginx_changes,
        ]
        text = (ROOT / "nginx-protect.conf.example").read_text()
        for pattern, replacement in replacements:
            text, count = re.subn(pattern, replacement, text, flags=re.MULTILINE)
            assert count == 1, f"{pattern} is {count} times in nginx-protect.conf.example"
        return text

    def ask(self, method="GET", path="/v1/chat", body=None, **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, headers)
            return read_reply(connection)
        finally:
            connection.close()


def bearer(key):
    return f"Bearer {key}"


@pytest.fixture(scope="module")
def upstream():
    with Upstream() as running:
        yield running


@pytest.fixture(scope="module")
def guarded(upstream):
    with ProtectedSite(upstream.server_address[1]) as running:
        yield running
        running.check()


@pytest.fixture
def user(guarded, upstream):
    """Past this nginx, which has no /api/token."""
    upstream.take()
    return guarded.direct(guarded.add_user())


def remaining(user, token):
    return user.get(token["id"]).data["remain_quota"]


def assert_refused(reply, status, code):
    assert reply.status == status, reply
    assert reply.headers["content-type"].startswith("application/json")
    assert reply.headers["cache-control"] == "no-store"
    answer = reply.json
    assert answer["success"] is False and answer["message"] and answer["code"] == code, answer


# ---- accepted requests ----


def test_accepted(guarded, upstream, user):
    token = user.make(name="good", unlimited_quota=False, remain_quota=10, group="vip")
    reply = guarded.ask(Authorization=bearer(token["key"]), X_Model="gpt-4")
    assert (reply.status, reply.json) == (200, {"upstream": True, "got": 0})
    ((method, path, headers, _),) = upstream.take()
    assert (method, path) == ("GET", "/v1/chat")
    assert headers["x-token-id"] == str(token["id"])
    assert headers["x-token-user"] == str(user.user.id)
    assert headers["x-token-group"] == "vip"
    assert headers["x-token-remain"] == "9"
    assert headers["x-model"] == "gpt-4"
    assert remaining(user, token) == 9


@pytest.mark.parametrize("header", ["Authorization", "X-Api-Key", "both"])
def test_the_upstream_does_not_see_the_key(guarded, upstream, user, header):
    key = user.make()["key"]
    sent = {"Authorization": bearer(key), "X_Api_Key": key}
    if header != "both":
        sent = {header.replace("-", "_"): sent[header.replace("-", "_")]}
    assert guarded.ask("POST", body=b"{}", **sent).status == 200
    ((_, path, headers, body),) = upstream.take()
    assert "authorization" not in headers and "x-api-key" not in headers
    for text in (path, body.decode(), *headers, *headers.values()):
        assert key not in text and key[3:] not in text


def test_quota_decreases_by_accepted_requests(guarded, upstream, user):
    """To the last unit, many at once: each request is either charged and accepted, or neither."""
    token = user.make(unlimited_quota=False, remain_quota=50)
    statuses = []

    def work():
        for _ in range(10):
            statuses.append(guarded.ask("POST", body=b"x", Authorization=bearer(token["key"])).status)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200] * 50 + [401] * 30
    requests = upstream.take()
    assert len(requests) == 50
    remains = sorted(int(headers["x-token-remain"]) for _, _, headers, _ in requests)
    assert remains == list(range(50))
    now = user.get(token["id"]).data
    assert (now["remain_quota"], now["used_quota"]) == (0, 50)


def test_another_cost_for_a_path_below(guarded, upstream, user):
    token = user.make(unlimited_quota=False, remain_quota=11)
    sent = {"Authorization": bearer(token["key"])}
    assert guarded.ask(path="/v1/images/new", **sent).status == 200
    assert remaining(user, token) == 6
    assert guarded.ask(path="/v1/images/new", **sent).status == 200
    assert_refused(guarded.ask(path="/v1/images/new", **sent), 401, "exhausted")
    assert guarded.ask(path="/v1/chat", **sent).status == 200
    assert remaining(user, token) == 0
    assert [path for _, path, _, _ in upstream.take()] == ["/v1/images/new"] * 2 + ["/v1/chat"]


def test_path_is_normalized(guarded, upstream, user):
    """The upstream gets the path whose cost was charged."""
    token = user.make(unlimited_quota=False, remain_quota=100)
    sent = {"Authorization": bearer(token["key"])}
    left = 100
    for path, cost in (
        ("/v1/chat/../images/new", 5),
        ("/v1/%69mages/new", 5),
        ("/v1//images/new", 5),
        ("/v1/images/%2e%2e/chat", 1),
        ("/v1/images/../chat", 1),
    ):
        assert guarded.ask(path=path, **sent).status == 200
        left -= cost
        assert remaining(user, token) == left
        ((_, seen, _, _),) = upstream.take()
        assert seen == ("/v1/images/new" if cost == 5 else "/v1/chat"), path


@pytest.mark.parametrize("size", [0, 1, 5000, 2 << 20, 9 << 20])
def test_bodies_reach_the_upstream(guarded, upstream, user, size):
    token = user.make(unlimited_quota=False, remain_quota=3)
    body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    for method in ("POST", "PUT"):
        reply = guarded.ask(method, "/v1/a?b=c", body, Authorization=bearer(token["key"]))
        assert reply.status == 200 and reply.json["got"] == size
        ((seen_method, path, _, seen_body),) = upstream.take()
        assert (seen_method, path, seen_body) == (method, "/v1/a?b=c", body)
    assert remaining(user, token) == 1


def test_chunked_body(guarded, upstream, user):
    key = user.make()["key"]
    parts = iter([b"one ", b"two ", b"three"])
    assert guarded.ask("POST", body=parts, Authorization=bearer(key)).status == 200
    ((_, _, _, body),) = upstream.take()
    assert body == b"one two three"


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"])
def test_methods(guarded, upstream, user, method):
    token = user.make(unlimited_quota=False, remain_quota=5)
    assert guarded.ask(method, Authorization=bearer(token["key"])).status == 200
    assert remaining(user, token) == 4
    assert upstream.take()[0][0] == method


def test_many_on_one_connection(guarded, upstream, user):
    tokens = [user.make(unlimited_quota=False, remain_quota=50) for _ in range(3)]
    connection = http.client.HTTPConnection("127.0.0.1", guarded.port, timeout=60)
    for turn in range(60):
        body = b"b" * (turn * 100) if turn % 2 else None
        headers = {"Authorization": bearer(tokens[turn % 3]["key"])}
        connection.request("POST" if body else "GET", "/v1/x", body, headers)
        assert read_reply(connection).status == 200
    connection.close()
    assert [remaining(user, token) for token in tokens] == [30] * 3
    seen = [headers["x-token-id"] for _, _, headers, _ in upstream.take()]
    assert seen == [str(tokens[turn % 3]["id"]) for turn in range(60)]


def test_forged_headers(guarded, upstream, user):
    token = user.make(unlimited_quota=False, remain_quota=5)
    forged = {f"X-Token-{name}": "999999" for name in ("Id", "User", "Group", "Remain", "Reason")}
    forged = {name.replace("-", "_"): value for name, value in forged.items()}
    sent = {**forged, "Token_Cost": "0", "X_Token_Cost": "0"}
    assert guarded.ask(Authorization=bearer(token["key"]), **sent).status == 200
    ((_, _, headers, _),) = upstream.take()
    assert headers["x-token-id"] == str(token["id"])
    assert headers["x-token-user"] == str(user.user.id)
    assert headers["x-token-group"] == token["group"]
    assert headers["x-token-remain"] == "4"
    assert "x-token-reason" not in headers


def test_answers_of_the_upstream_are_not_changed(guarded, upstream, user):
    """Also its own 401 and 500; the cost is not given back."""
    token = user.make(unlimited_quota=False, remain_quota=10)
    for status in (201, 400, 401, 403, 404, 500, 502, 503):
        reply = guarded.ask(Authorization=bearer(token["key"]), X_Answer_With=str(status))
        assert (reply.status, reply.json["upstream"]) == (status, True)
    assert remaining(user, token) == 2


# ---- refused requests ----


REFUSED = [
    ({"expired_time": 1}, {}, (401, "expired")),
    ({"unlimited_quota": False}, {}, (401, "exhausted")),
    ({"allow_ips": "203.0.113.0/24"}, {}, (403, "address")),
    ({"allow_ips": "203.0.113.0/24"}, {"X_Forwarded_For": "203.0.113.1"}, (403, "address")),
    ({"model_limits_enabled": True, "model_limits": "a"}, {"X_Model": "b"}, (403, "model")),
    ({"model_limits_enabled": True, "model_limits": "a"}, {}, (403, "model")),
]


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("fields, headers, refusal", REFUSED)
def test_refused(guarded, upstream, user, method, fields, headers, refusal):
    token = user.make(**fields)
    body = b"x" * 100_000 if method == "POST" else None
    reply = guarded.ask(method, body=body, Authorization=bearer(token["key"]), **headers)
    assert_refused(reply, *refusal)
    assert (reply.status == 401) is (reply.headers.get("www-authenticate") == "Bearer")
    assert upstream.take() == []
    assert user.get(token["id"]).data == token


@pytest.mark.parametrize(
    "headers, code",
    [
        ({}, "missing"),
        ({"Authorization": "Basic dTpw"}, "missing"),
        ({"Authorization": "Bearer sk-x"}, "malformed"),
        ({"X_Api_Key": "sk-x"}, "malformed"),
        ({"Authorization": bearer(UNKNOWN_KEY)}, "unknown"),
    ],
)
def test_malformed_keys(guarded, upstream, headers, code):
    upstream.take()
    assert_refused(guarded.ask(**headers), 401, code)
    assert upstream.take() == []


def test_disabled(guarded, upstream, user):
    token = user.make()
    user.update({"id": token["id"], "status": 2})
    assert_refused(guarded.ask(Authorization=bearer(token["key"])), 401, "disabled")
    user.update({"id": token["id"], "status": 1})
    guarded.ctl("user", "disable", user.user.id)
    assert_refused(guarded.ask(Authorization=bearer(token["key"])), 403, "user")
    assert upstream.take() == []


def test_allowed_address_and_model(guarded, upstream, user):
    token = user.make(allow_ips="127.0.0.0/8", model_limits_enabled=True, model_limits="a,b")
    assert guarded.ask(Authorization=bearer(token["key"]), X_Model="b").status == 200
    assert upstream.take()[0][2]["x-token-remain"] == "unlimited"


# ---- internal locations ----


@pytest.mark.parametrize(
    "path",
    ["/_token_verify", "/_token_refused", "/_token_error", "/_token_verify/", "/%5ftoken_verify",
     "/v1/../_token_verify", "/verify", "/api/token/verify", "/", "/v1"],
)
def test_internal_locations(guarded, upstream, user, path):
    key = user.make()["key"]
    for method in ("GET", "POST"):
        reply = guarded.ask(method, path, Authorization=bearer(key))
        assert reply.status == (301 if path == "/v1" else 404), reply
        assert "x-token-id" not in reply.headers
    assert upstream.take() == []


def test_clients_do_not_see_headers_of_the_pool(guarded, user):
    reply = guarded.ask(Authorization=bearer(user.make()["key"]))
    assert not [name for name in reply.headers if name.startswith("x-token")]


def test_keys_are_not_logged(guarded, user):
    """The fixture searches every log for the issued keys when it ends."""
    token = user.make()
    assert token["key"] in ISSUED
    assert guarded.ask(path=f"/v1/x?key={token['key']}", Authorization=bearer(token["key"])).status == 200


# ---- pool or upstream down ----


def test_pool_is_down(upstream):
    """Every request is refused, in JSON and with Retry-After."""
    upstream.take()
    with ProtectedSite(upstream.server_address[1], pool=False) as site:
        reply = site.ask(Authorization=bearer(UNKNOWN_KEY))
        assert reply.status == 503 and int(reply.headers["retry-after"]) >= 1
        assert reply.json == {
            "success": False, "message": "Service is temporarily unavailable"
        }
    assert upstream.take() == []


def test_upstream_is_down():
    with ProtectedSite(free_port(), workers=1) as site:
        user = site.direct(site.add_user())
        token = user.make()
        reply = site.ask(Authorization=bearer(token["key"]))
        assert reply.status == 502 and reply.json["success"] is False


def test_location_without_a_cost(upstream):
    """A forgotten cost refuses every request; it does not make requests free."""
    upstream.take()
    change = (r"^            set \$token_cost 1;\n", "")
    with ProtectedSite(upstream.server_address[1], workers=1, nginx_changes=[change]) as site:
        user = Client(site.cgi, site.add_user())
        token = user.make(unlimited_quota=False, remain_quota=5)
        assert_refused(site.ask(Authorization=bearer(token["key"])), 403, "cost")
        assert remaining(user, token) == 5
    assert upstream.take() == []


def test_worker_is_killed_meanwhile(guarded, upstream, user):
    """An accepted request is charged. A refused one is charged only if a kill lost the pool's
    answer."""
    token = user.make(unlimited_quota=False, remain_quota=1000)
    statuses = []
    for turn in range(200):
        if turn % 40 == 20:
            guarded.kill(min(guarded.pids()))
        statuses.append(guarded.ask(Authorization=bearer(token["key"])).status)
    accepted = statuses.count(200)
    assert set(statuses) <= {200, 503} and accepted >= 100
    assert len(upstream.take()) == accepted
    used = 1000 - remaining(user, token)
    assert accepted <= used <= accepted + statuses.count(503)
