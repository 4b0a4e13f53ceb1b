"""nginx-protect.conf.example: an upstream behind auth_request, with the example unchanged."""

import http.client
import http.server
import json
import re
import socket
import threading

import pytest
import test_nginx
from client import ISSUED, Client, key_checksum, read_reply
from service import WITHOUT_LIMITS, Site, free_port

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
        if self.headers.get("Upgrade"):
            self.upgrade()
            return
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.requests.append((self.command, self.path, headers, body))
        status = int(headers.get("x-answer-with", 200))
        reply = json.dumps({"upstream": True, "got": len(body)}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(reply)))
        if "x-limit" in headers:
            self.send_header("x-ratelimit-limit-requests", headers["x-limit"])
        if "x-location" in headers:
            self.send_header("Location", headers["x-location"])
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply)

    def upgrade(self):
        """Answers 101, then sends each byte back twice."""
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.requests.append((self.command, self.path, headers, b""))
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.end_headers()
        while byte := self.rfile.read(1):
            self.wfile.write(byte * 2)
        self.close_connection = True

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_OPTIONS = answer

    def log_message(self, *_):
        pass


class ProtectedSite(Site):
    """A pool, an nginx with the example, and the protected upstream."""

    def __init__(self, upstream_port, **settings):
        super().__init__(**settings)
        self.upstream_port = upstream_port

    def nginx_configuration(self):
        return self.changed_example("nginx-protect.conf.example", [
            (r"listen 127\.0\.0\.1:8080", f"listen 127.0.0.1:{self.port}"),
            (r"server 127\.0\.0\.1:3000", f"server 127.0.0.1:{self.upstream_port}"),
            WITHOUT_LIMITS,
            *self.nginx_changes,
        ])

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


KEY_HEADERS = ["Authorization", "X_Api_Key", "Api_Key", "X_Goog_Api_Key", "Sec_WebSocket_Protocol"]


@pytest.mark.parametrize("names", [*([name] for name in KEY_HEADERS), KEY_HEADERS])
def test_the_upstream_does_not_see_the_key(guarded, upstream, user, names):
    """In whichever header it comes."""
    key = user.make()["key"]
    forms = {"Authorization": bearer(key), "Sec_WebSocket_Protocol": "a, openai-insecure-api-key." + key}
    assert guarded.ask("POST", body=b"{}", **{name: forms.get(name, key) for name in names}).status == 200
    ((_, path, headers, body),) = upstream.take()
    assert not {"authorization", "x-api-key", "api-key", "x-goog-api-key"} & set(headers)
    assert headers.get("sec-websocket-protocol") == ("a" if "Sec_WebSocket_Protocol" in names else None)
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


@pytest.mark.parametrize("name", ["subscription", "usage?start_date=2026-11-01"])
def test_billing_is_answered_by_the_pool(guarded, upstream, user, name):
    """For nothing, and without the upstream; in whichever header the key comes."""
    token = user.make(unlimited_quota=False, remain_quota=1)
    path = "/v1/dashboard/billing/" + name
    for sent in ({"Authorization": bearer(token["key"])}, {"X_Api_Key": token["key"]}):
        assert guarded.ask(path=path, **sent).json["object"] in ("billing_subscription", "list")
    assert guarded.ask("POST", path=path, body=b"x", Authorization=bearer(token["key"])).status == 405
    assert guarded.ask(path=path).json["code"] == "missing"
    assert upstream.take() == [] and remaining(user, token) == 1


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
    forged = {f"X-Token-{name}": "999999" for name in ("Id", "User", "Group", "Group-Ratio", "Remain", "Reason")}
    forged = {name.replace("-", "_"): value for name, value in forged.items()}
    sent = {**forged, "Token_Cost": "0", "X_Token_Cost": "0"}
    assert guarded.ask(Authorization=bearer(token["key"]), **sent).status == 200
    ((_, _, headers, _),) = upstream.take()
    assert headers["x-token-id"] == str(token["id"])
    assert headers["x-token-user"] == str(user.user.id)
    assert headers["x-token-group"] == token["group"]
    assert headers["x-token-remain"] == "4"
    assert "x-token-reason" not in headers and "x-token-group-ratio" not in headers


def test_answers_of_the_upstream_are_not_changed(guarded, upstream, user):
    """Also its own 401 and 500; the cost is not given back."""
    token = user.make(unlimited_quota=False, remain_quota=10)
    for status in (201, 400, 401, 403, 404, 500, 502, 503):
        reply = guarded.ask(Authorization=bearer(token["key"]), X_Answer_With=str(status))
        assert (reply.status, reply.json["upstream"]) == (status, True)
    assert remaining(user, token) == 2


def test_redirects_of_the_upstream_are_not_changed(guarded, user):
    to = "http://token_protected/v1/x"
    reply = guarded.ask(Authorization=bearer(user.make()["key"]), X_Answer_With="302", X_Location=to)
    assert (reply.status, reply.headers["location"]) == (302, to)


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


# ---- preflights, models, upgrades, odd paths ----


PREFLIGHT = {"Origin": "https://app.example", "Access_Control_Request_Method": "POST"}


def test_preflights_reach_the_upstream_unpaid(guarded, upstream, user):
    token = user.make(unlimited_quota=False, remain_quota=5)
    for sent in ({}, {"Authorization": bearer(token["key"])}, {"Authorization": "Bearer nonsense"}):
        for path in ("/v1/chat", "/v1/images/new", "/v1/models", f"/v1/chat?key={token['key']}"):
            reply = guarded.ask("OPTIONS", path, X_Token_Id="7", **PREFLIGHT, **sent)
            assert reply.status == 200
            ((method, seen, headers, _),) = upstream.take()
            assert (method, seen) == ("OPTIONS", path)
            assert headers["access-control-request-method"] == "POST"
            assert "authorization" not in headers and "x-token-id" not in headers
    assert remaining(user, token) == 5


@pytest.mark.parametrize(
    "method, headers",
    [("OPTIONS", {}), ("OPTIONS", {"Origin": "https://app.example"}), ("GET", PREFLIGHT), ("POST", PREFLIGHT),
     ("OPTIONS", {"Access_Control_Request_Method": "POST"}),
     ("OPTIONS", {**PREFLIGHT, "Access_Control_Request_Method": ""}),
     ("OPTIONS", {"Origin": "|x", "Access_Control_Request_Method": ""}),
     ("OPTIONS", {**PREFLIGHT, "Content_Length": "2"}), ("OPTIONS", {**PREFLIGHT, "Transfer_Encoding": "chunked"}),
     ("OPTIONS", {**PREFLIGHT, "X_HTTP_Method_Override": "POST"}), ("OPTIONS", {**PREFLIGHT, "X_HTTP_Method": "POST"}),
     ("OPTIONS", {**PREFLIGHT, "X_Method_Override": "POST"})],
)
def test_other_requests_are_no_preflights(guarded, upstream, user, method, headers):
    assert_refused(guarded.ask(method, **headers), 401, "missing")
    assert upstream.take() == []


def test_models_cost_nothing(guarded, upstream, user):
    token = user.make(unlimited_quota=False, remain_quota=5)
    assert guarded.ask(path="/v1/models", Authorization=bearer(token["key"])).status == 200
    assert remaining(user, token) == 5
    assert upstream.take()[0][1] == "/v1/models"
    assert_refused(guarded.ask(path="/v1/models"), 401, "missing")
    assert_refused(guarded.ask("POST", "/v1/models", Authorization=bearer(token["key"])), 403, "cost")
    other = {"X_Original_URL": "/v1/chat", "X_Rewrite_URL": "/v1/chat"}
    assert guarded.ask(path="/v1/models", Authorization=bearer(token["key"]), **other).status == 200
    assert not {"x-original-url", "x-rewrite-url"} & set(upstream.take()[0][2])
    assert guarded.ask(path="/v1/models/a", Authorization=bearer(token["key"])).status == 200
    assert remaining(user, token) == 4


def test_models_of_a_token_with_model_limits(guarded, upstream, user):
    """It may list the models without naming one, and the upstream is told which it may use."""
    token = user.make(model_limits=["gpt-4", "claude-*"])
    sent = {"Authorization": bearer(token["key"]), "X_Token_Models": "all"}
    assert guarded.ask(path="/v1/models", **sent).status == 200
    assert upstream.take()[0][2]["x-token-models"] == "gpt-4,claude-*"
    assert guarded.ask(path="/v1/models", TOKEN_MODEL_CHECK="on", **sent).status == 200
    for headers in ({}, {"Token_Model_Check": "off"}, {"X_Token_Model_Check": "off"}):
        assert_refused(guarded.ask(**headers, **sent), 403, "model")
    assert guarded.ask(X_Model="claude-1", **sent).status == 200
    user.update({"id": token["id"], "model_limits_enabled": False})
    upstream.take()
    assert guarded.ask(path="/v1/models", **sent).status == 200
    assert "x-token-models" not in upstream.take()[0][2]


def upgrade(guarded, protocols, key):
    """Sends a WebSocket's handshake and three bytes; returns what the upstream answers."""
    lines = ["GET /v1/realtime HTTP/1.1", "Host: x", "Connection: keep-alive, Upgrade",
             "Upgrade: WebSocket", "Sec-WebSocket-Version: 13"]
    lines += [f"Authorization: Bearer {key}"] if key else []
    lines += [f"Sec-WebSocket-Protocol: {protocols}"] if protocols else []
    with socket.create_connection(("127.0.0.1", guarded.port), timeout=60) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        with connection.makefile("rb") as file:
            head = []
            while (line := file.readline().rstrip()):
                head.append(line)
            if b"101" not in head[0]:
                return head[0], b""
            connection.sendall(b"abc")
            return head[0], file.read(6)


SECRET = "openai-insecure-api-key." + UNKNOWN_KEY


@pytest.mark.parametrize(
    "protocols, seen",
    [(None, None), ("realtime, v1", "realtime, v1"), (SECRET, None), (f"realtime, {SECRET}", "realtime"),
     (f"{SECRET}, realtime", "realtime"), (f"a,{SECRET} , b", "a, b"), (f"a,\t{SECRET.upper()},b", "a,b"),
     (f"{SECRET}, {SECRET}", None), (f"a, {SECRET}, b, {SECRET}", None)],
)
def test_upgrade(guarded, upstream, user, protocols, seen):
    """The upstream talks with the client, and does not see the key in the subprotocols."""
    token = user.make(unlimited_quota=False, remain_quota=2)
    status, answer = upgrade(guarded, protocols, token["key"])
    assert b"101" in status and answer == b"aabbcc"
    ((_, _, headers, _),) = upstream.take()
    assert headers["upgrade"] == "websocket" and headers["connection"] == "upgrade"
    assert headers.get("sec-websocket-protocol") == seen
    assert UNKNOWN_KEY.lower() not in str(headers).lower()
    assert remaining(user, token) == 1


def test_upgrade_with_the_key_as_a_subprotocol(guarded, upstream, user):
    key = user.make()["key"]
    status, answer = upgrade(guarded, f"realtime, openai-insecure-api-key.{key}, v1", None)
    assert b"101" in status and answer == b"aabbcc"
    assert upstream.take()[0][2]["sec-websocket-protocol"] == "realtime, v1"


def test_refused_upgrade(guarded, upstream, user):
    status, _ = upgrade(guarded, None, UNKNOWN_KEY)
    assert b"401" in status and upstream.take() == []


def test_other_upgrades_are_not_passed(guarded, upstream, user):
    key = user.make()["key"]
    sent = {"Upgrade": "h2c", "Connection": "Upgrade", "HTTP2_Settings": "AAMAAABk"}
    assert guarded.ask(Authorization=bearer(key), **sent).status == 200
    assert "upgrade" not in upstream.take()[0][2]


@pytest.mark.parametrize(
    "path",
    ["/v1/images;/../chat", "/v1/chat;x=y", "/v1/chat%3bx", "/v1/chat%3Bx", "/v1/images\\..\\chat",
     "/v1/a%5cb", "/v1/%252e%252e/images/new", "/v1/x%252fy", "/v1/..;/images/new", "/v1/x%25252e", "/v1/im%2561ges/new",
     "/v1/%c0%ae%C0%AE/images/new", f"/v1/{UNKNOWN_KEY};x"],
)
def test_odd_paths(guarded, upstream, user, path):
    token = user.make(unlimited_quota=False, remain_quota=5)
    for method, headers in (("GET", {}), ("OPTIONS", PREFLIGHT)):
        reply = guarded.ask(method, path, Authorization=bearer(token["key"]), **headers)
        assert_refused(reply, 400, "invalid")
    assert upstream.take() == [] and remaining(user, token) == 5


def test_semicolon_in_the_query(guarded, upstream, user):
    key = user.make()["key"]
    assert guarded.ask(path="/v1/chat?a;b=\\%5c", Authorization=bearer(key)).status == 200


# ---- internal locations ----


@pytest.mark.parametrize(
    "path",
    ["/_token_verify", "/_token_refused", "/_token_error", "/_token_verify/", "/%5ftoken_verify",
     "/v1/../_token_verify", "/_token_forbidden", "/v1/_token_quiet/v1/chat",
     "/v1/_token_refused/v1/x", "/verify", "/api/token/verify", "/", "/v1"],
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


# ---- limits and balances ----

LIMITS = ("ratelimit", "ratelimit-policy", "x-ratelimit-limit-requests", "x-ratelimit-remaining-requests",
          "x-ratelimit-reset-requests", "x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens",
          "x-ratelimit-reset-tokens")


def test_clients_see_what_is_left(guarded, upstream, user):
    """On answers of the upstream, and on refusals: 429, with Retry-After."""
    key = user.make(rpm_limit=2, tpm_limit=100)["key"]
    for left in (1, 0):
        reply = guarded.ask("POST", body=b"x", Authorization=bearer(key))
        assert reply.status == 200 and set(LIMITS) <= set(reply.headers)
        assert reply.headers["ratelimit-policy"] == '"rpm";q=2;w=60, "tpm";q=100;w=60'
        assert reply.headers["ratelimit"].startswith(f'"rpm";r={left};t=')
        assert reply.headers["x-ratelimit-remaining-requests"] == str(left)
    refused = guarded.ask(Authorization=bearer(key))
    assert_refused(refused, 429, "rate")
    assert 1 <= int(refused.headers["retry-after"]) <= 30
    assert set(LIMITS) <= set(refused.headers) and refused.headers["x-ratelimit-limit-requests"] == "2"
    assert len(upstream.take()) == 2


def test_clients_without_limits_see_none(guarded, user):
    reply = guarded.ask(Authorization=bearer(user.make()["key"]))
    assert reply.status == 200 and not set(LIMITS) & set(reply.headers)


def test_limits_beside_exhaustion(guarded, user):
    key = user.make(rpm_limit=5, unlimited_quota=False, remain_quota=0)["key"]
    reply = guarded.ask(Authorization=bearer(key))
    assert_refused(reply, 401, "exhausted")
    assert reply.headers["x-ratelimit-remaining-requests"] == "5" and "retry-after" not in reply.headers


def test_limits_of_the_upstream_are_hidden(guarded, user):
    """They are about the site's account there."""
    sent = {"Authorization": bearer(user.make(rpm_limit=2)["key"]), "X_Limit": "1"}
    reply = guarded.ask(**sent)
    assert reply.headers["x-ratelimit-limit-requests"] == "2"


def test_balance(guarded, upstream, user):
    """402: the owner has nothing left."""
    key = user.make()["key"]
    guarded.ctl("user", "set", user.user.id, "--quota", 1)
    assert guarded.ask(Authorization=bearer(key)).status == 200
    assert_refused(guarded.ask(Authorization=bearer(key)), 402, "balance")
    assert len(upstream.take()) == 1


def test_group_ratio(guarded, upstream, user):
    guarded.ctl("group", "add", "dear", "--ratio", "1.5", "--public", "--yes")
    sent = {"Authorization": bearer(user.make(group="dear")["key"]), "X-Token-Group-Ratio": "0"}
    assert guarded.ask(**sent).status == 200
    guarded.ctl("group", "off")
    headers = upstream.take()[0][2]
    assert (headers["x-token-group"], headers["x-token-group-ratio"]) == ("dear", "1.5")


# ---- pool or upstream down ----


@pytest.fixture(scope="module")
def without_a_pool(upstream):
    changes = [test_nginx.cors(test_nginx.ORIGIN)]
    with ProtectedSite(upstream.server_address[1], pool=False, nginx_changes=changes) as running:
        yield running


@pytest.fixture(scope="module")
def without_an_upstream():
    with ProtectedSite(free_port(), workers=1) as running:
        yield running


def test_pool_is_down(without_a_pool, upstream):
    """Every request is refused, in JSON and with Retry-After."""
    upstream.take()
    reply = without_a_pool.ask(Authorization=bearer(UNKNOWN_KEY))
    assert_refused(reply, 503, "unavailable")
    assert reply.json["message"] == "Service is temporarily unavailable"
    assert int(reply.headers["retry-after"]) >= 1
    assert upstream.take() == []


@pytest.mark.parametrize(
    "path, length, status", [("/v1/x", "0", 503), ("/v1/x;y", "0", 400), ("/v1/x", str(11 << 20), 413)])
def test_errors_of_nginx_have_cors_headers(without_a_pool, path, length, status):
    reply = without_a_pool.ask("POST", path, Content_Length=length)
    assert reply.status == status
    assert reply.headers["access-control-allow-origin"] == test_nginx.ORIGIN
    assert reply.headers["vary"] == "Origin"


def test_upstream_is_down(without_an_upstream):
    site = without_an_upstream
    key = site.direct(site.add_user()).make()["key"]
    assert_refused(site.ask(Authorization=bearer(key)), 502, "upstream")


@pytest.mark.parametrize("down, status", [("without_an_upstream", 502), ("without_a_pool", 503)])
def test_keys_are_not_in_the_error_log(request, down, status):
    """Nor where the body is too large."""
    site = request.getfixturevalue(down)
    key = Client(site.cgi, site.add_user()).make()["key"]
    sent = {"Authorization": bearer(key)}
    for path in (f"/v1/hello?key={key}", f"/v1/images/x?key={key[3:]}", f"/v1/models?k={key}", f"/v1/{key}"):
        assert site.ask(path=path, **sent).status == status
        assert site.ask("POST", path, Content_Length=str(11 << 20), **sent).status == 413
    site.ask(path="/v1/plain?a=b", **sent)
    logs = "".join(log.read_text() for log in site.dir.glob("*.log"))
    assert key[3:] not in logs and "GET /v1/plain?a=b " in logs


def test_lost_answers_of_verify(upstream):
    """The pool is not asked a second time: the cost is perhaps taken already."""
    upstream.take()
    changes = [test_nginx.ONE_PROCESS]
    with ProtectedSite(upstream.server_address[1], pool=False, nginx_changes=changes) as site:
        worker = test_nginx.DyingWorker(site.socket)
        assert site.ask(Authorization=bearer(UNKNOWN_KEY)).status == 200
        assert_refused(site.ask(Authorization=bearer(UNKNOWN_KEY)), 503, "unavailable")
        assert worker.requests == 2 and len(upstream.take()) == 1
        worker.close()
        site.socket.unlink()


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


# ---- in another site ----


def pieces(*starts):
    return "".join(test_nginx.piece("nginx-protect.conf.example", start) for start in starts)


class OtherSite(ProtectedSite):
    """Debian's nginx.conf and default site, with pieces of the example."""

    http_pieces = ("[1] http block", "[2] http block")
    server_pieces = ("[3] server block", "[4] server block")
    own_http = ""

    def nginx_configuration(self):
        def own(text):
            text = re.sub(r"access_log [^ ]*", f"access_log {self.dir}/access.log", text)
            text = text.replace("unix:/run/token/token.sock", f"unix:{self.socket}")
            text = text.replace("127.0.0.1:3000", f"127.0.0.1:{self.upstream_port}")
            return text.replace("127.0.0.1:8081", f"127.0.0.1:{self.internal_port}")

        (self.dir / "html").mkdir()
        kinds = ("client_body", "fastcgi", "proxy", "scgi", "uwsgi")
        return test_nginx.STOCK.format(
            user="www-data", dir=self.dir, port=self.port,
            temp_paths="".join(f"{kind}_temp_path tmp/{kind};" for kind in kinds),
            http=own(self.own_http + pieces(*self.http_pieces)),
            server="merge_slashes off; satisfy any; allow 127.0.0.1; deny all;" + own(pieces(*self.server_pieces)),
        )


class OtherSiteWithBoth(OtherSite):
    http_pieces = ("[2] http block",)
    own_http = test_nginx.piece("nginx.conf.example", "[1] http block")


class OtherSiteUnprotected(OtherSite):
    server_pieces = ()


@pytest.mark.parametrize("kind", [OtherSite, OtherSiteWithBoth])
def test_another_site(upstream, kind):
    """Its error pages, interceptions and regular expressions change nothing."""
    upstream.take()
    with kind(upstream.server_address[1], workers=1) as site:
        user = Client(site.cgi, site.add_user())
        token = user.make(unlimited_quota=False, remain_quota=2)
        sent = {"Authorization": bearer(token["key"])}
        assert site.ask(path="/v1/token", X_Answer_With="502", **sent).json["upstream"] is True
        assert site.ask(path="/v1/token", X_Answer_With="404", **sent).json["upstream"] is True
        assert_refused(site.ask(path="/v1//images/token", **sent), 400, "invalid")
        assert_refused(site.ask(**sent), 401, "exhausted")
        assert_refused(site.ask(), 401, "missing")
        assert len(upstream.take()) == 2
        assert site.ask(path="/nothing").body == b"page of the site"


def test_pool_is_down_in_another_site(upstream):
    """Its page for 502, with status 200, opens nothing."""
    upstream.take()
    with OtherSite(upstream.server_address[1], pool=False) as site:
        assert_refused(site.ask(Authorization=bearer(UNKNOWN_KEY)), 503, "unavailable")
    assert upstream.take() == []


@pytest.mark.parametrize("kind", [OtherSiteUnprotected])
def test_without_protected_paths(upstream, kind):
    """The pieces in the http block need no others."""
    with kind(upstream.server_address[1], pool=False) as site:
        assert site.ask(path="/v1/x").body == b"page of the site"
