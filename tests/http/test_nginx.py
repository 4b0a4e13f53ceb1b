"""nginx.conf.example: its two servers, and its pieces in another site."""

import contextlib
import http.client
import json
import re
import select
import socket
import struct
import threading

import client
import fastcgi
import pytest
from client import ISSUED, Client
from service import ROOT, WITHOUT_LIMITS, Site, free_port, wait_until

ORIGIN = "https://console.example.org"

# Bytes of a key that nobody has; the fixtures search the logs for it when they end.
LEAKED_KEY = "sk-" + "Zz" * 24
ISSUED.add(LEAKED_KEY)

ONE_PROCESS = ("^worker_processes auto", "worker_processes 1")
WITHOUT_EXEMPTION = (r"127\.0\.0\.0/8  1;", "")


def cors(origin):
    return (r'^( *map "" \$token_cors_origin \{\n *default ).*', rf'\g<1>"{origin}";')


def piece(name, start):
    """The lines of a marked piece of an example."""
    text = (ROOT / name).read_text()
    number = start.split("]")[0] + "]"
    return re.search(
        rf"^ *# -+ {re.escape(start)}.*\n((?s:.*?))^ *# -+ end of {re.escape(number)}.*\n",
        text, re.MULTILINE,
    ).group(1)


def error_log(site):
    return (site.dir / "nginx.log").read_text()


def ask(port, method, target, body=None, headers=None):
    return client.transport(port)(method, target, headers or {}, body)


def failure(reply):
    """Status and code of a failure."""
    answer = reply.json
    assert list(answer) == ["success", "message", "code"] and answer["success"] is False, reply
    assert reply.headers["content-type"] == "application/json; charset=utf-8"
    assert reply.headers["cache-control"] == "no-store"
    return reply.status, answer["code"]


# ---- public and internal server ----


GUARDED = ["verify", "consume", "reserve", "settle", "cancel", "find"]


@pytest.mark.parametrize("name", GUARDED)
@pytest.mark.parametrize(
    "form", ["{}", "{}/", "{}//", "{}?a=b", "{}/?a", "%2F{}", "./{}", "x/../{}", "api/token/{}"]
)
def test_guarded_routes_are_not_public(site, gateway, user, name, form):
    """Also for this machine, with every credential, and with headers of a proxy."""
    key = user.make()["key"]
    for headers in (
        {"X-Gateway-Token": gateway.secret, "Authorization": f"Bearer {key}"},
        {"X-Gateway-Token": gateway.secret, "X-Forwarded-For": "127.0.0.1", "X-Real-IP": "127.0.0.1"},
    ):
        for method in ("GET", "POST", "OPTIONS"):
            body = json.dumps({"key": key, "amount": 0}).encode() if method == "POST" else None
            reply = ask(site.port, method, "/api/token/" + form.format(name), body, headers)
            assert failure(reply) == (404, "not_found")
            assert "x-token-id" not in reply.headers


@pytest.mark.parametrize("first", GUARDED[:1])
def test_encoded_letters(site, first):
    encoded = "".join(f"%{ord(letter):02x}" for letter in first)
    assert failure(ask(site.port, "GET", f"/api/token/{encoded}")) == (404, "not_found")


@pytest.mark.parametrize(
    "path", ["/metrics", "/healthz", "/metrics/", "/healthz/", "/api/user/", "/api/user/1", "/api/log/",
             "/api/user", "/api/log", "/api/user/search", "/api/user/search/", "/api/user/manage", "/api/user/manage/",
             "/api/user/1/", "/api/user/selfish", "/api/user/modelsx", "/api/user/models/1", "/api/log/selfx",
             "/api/user/self/../1", "/api/user/self%2F..%2F1", "/api/log/self/../", "//api//user//1",
             "/api/token/../user/1", "/_token/logged/api/user/1", "/_token/logged/api/token/", "/_token/quiet/api/token/verify", "/_token/error"]
)
def test_other_paths_are_not_public(site, path):
    assert failure(ask(site.port, "GET", path)) == (404, "not_found")


def test_internal_server_has_all_routes(site, gateway, user):
    token = user.make(unlimited_quota=False, remain_quota=5)
    bearer = {"Authorization": f"Bearer {token['key']}"}
    assert ask(site.internal_port, "GET", "/api/token/verify", None, bearer).status == 204
    body = json.dumps({"key": token["key"], "amount": 2}).encode()
    secret = {"X-Gateway-Token": gateway.secret}
    assert ask(site.internal_port, "POST", "/api/token/consume", body, secret).status == 200
    inside = Client(client.transport(site.internal_port), user.user)
    assert inside.get(token["id"]).data["remain_quota"] == 3
    assert inside.usage(token["key"]).json["data"]["total_available"] == 3
    assert inside.search("?token=" + token["key"]).data["total"] == 1


def test_administrators_have_the_internal_server(site):
    administrator = site.http(site.add_user(role="admin"))
    for path in ("/api/user/", "/api/user/search?keyword=a", f"/api/user/{administrator.user.id}", "/api/log/"):
        assert failure(ask(site.port, "GET", path, None, administrator.credentials)) == (404, "not_found")
        assert ask(site.internal_port, "GET", path, None, administrator.credentials).status == 200


@pytest.mark.parametrize("path", ["/api/user/self", "/api/user/self/", "/api/user/self/groups", "/api/user/models",
                                  "/api/user/models/", "/api/log/self", "/api/log/self/"])
def test_users_ask_about_themselves(site, user, path):
    for port in (site.port, site.internal_port):
        assert ask(port, "GET", path, None, user.credentials).json["success"] is True


@pytest.mark.parametrize("path", ["/", "/verify", "/3", "/search", "/x/verify", "/_token/error"])
def test_internal_server_has_no_other_paths(site, user, path):
    reply = ask(site.internal_port, "GET", path, None, user.credentials)
    assert failure(reply) == (404, "not_found")


# ---- limits ----


def many(port, count, headers=()):
    """The answers to GET requests on one connection; its items are merged into the headers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    replies = []
    for number in range(count):
        sent = {name: value.format(number) for name, value in dict(headers).items()}
        connection.request("GET", "/api/token/", headers=sent)
        replies.append(client.read_reply(connection))
    connection.close()
    return replies


@pytest.fixture(scope="module")
def limited():
    """nginx without a pool, with its limits, and with an origin for its own answers."""
    with Site(pool=False, nginx_changes=[cors(ORIGIN), WITHOUT_EXEMPTION]) as site:
        yield site


def test_requests_of_this_machine_are_limited(limited):
    """Behind a proxy on this machine, without set_real_ip_from, they are everybody's."""
    refused = [reply for reply in many(limited.port, 200) if reply.status == 429]
    assert refused and {failure(reply) for reply in refused} == {(429, "too_many_requests")}
    for name, value in [("retry-after", "1"), ("access-control-allow-origin", ORIGIN), ("vary", "Origin")]:
        assert {reply.headers.get(name) for reply in refused} == {value}
    # The internal server has no limit.
    assert {reply.status for reply in many(limited.internal_port, 200)} == {503}


def test_limits_count_the_address_of_real_ip():
    changes = [WITHOUT_EXEMPTION, (r"# (set_real_ip_from 127\.0\.0\.1;)", r"\1"),
               (r"# (real_ip_header X-Forwarded-For;)", r"\1")]
    with Site(pool=False, nginx_changes=changes) as site:
        replies = many(site.port, 200, {"X-Forwarded-For": "203.0.113.{}"})
        assert {reply.status for reply in replies} == {503}
        replies = many(site.port, 200, {"X-Forwarded-For": "203.0.113.255"})
        assert {reply.status for reply in replies} == {503, 429}


def test_open_requests_of_one_address_are_limited():
    """Requests whose body does not arrive."""
    patient = (r"^( *client_body_timeout) .*", r"\1 60s;")
    with Site(pool=False, nginx_changes=[WITHOUT_EXEMPTION, patient]) as site:
        head = b"POST /api/token/ HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n"
        with contextlib.ExitStack() as held:
            requests = []
            for _ in range(101):
                one = held.enter_context(socket.create_connection(("127.0.0.1", site.port), 60))
                one.sendall(head)
                requests.append(one)
            (refused,), _, _ = select.select(requests, [], [], 60)
            assert refused.recv(100).split()[1] == b"429"


def test_half_sent_headers_of_many_clients():
    """More than 4,096 for each process, which the first version's example allowed."""
    with Site(pool=False, nginx_changes=[ONE_PROCESS]) as site:
        with contextlib.ExitStack() as held:
            for _ in range(4200):
                one = held.enter_context(socket.socket())
                one.connect(("127.0.0.1", site.port))
                one.sendall(b"GET /api/token/ HTTP/1.1\r\nHo")
            assert ask(site.port, "GET", "/api/token/").status == 503


# ---- errors that nginx answers itself ----


def raw(site, request):
    with socket.create_connection(("127.0.0.1", site.port), timeout=60) as connection:
        connection.sendall(request)
        response = http.client.HTTPResponse(connection)
        response.begin()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return client.Reply(response.status, headers, response.read())


RAW = [
    (b"GET /api/token/%00 HTTP/1.1\r\nHost: x\r\n\r\n", 400, "invalid"),
    (b"TRACE /api/token/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 405, "method"),
    (b"POST /api/token/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 9999999\r\n\r\n",
     413, "too_large"),
    (b"GET /api/token/?" + b"x" * 40_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414, "uri_too_long"),
    (b"GET /api/token/ HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 40_000 + b"\r\n\r\n",
     431, "headers_too_large"),
    (b"GET /api/token/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 503, "unavailable"),
]


@pytest.fixture(scope="module", params=["", ORIGIN, "*"])
def down(request):
    """nginx without a pool, with an origin for its own answers."""
    with Site(pool=False, nginx_changes=[cors(request.param)]) as site:
        site.origin = request.param
        yield site


@pytest.mark.parametrize("bytes_, status, code", RAW, ids=[code for _, _, code in RAW])
def test_codes_and_cors_headers(down, bytes_, status, code):
    reply = raw(down, bytes_)
    assert failure(reply) == (status, code)
    assert reply.headers.get("access-control-allow-origin", "") == down.origin
    assert reply.headers.get("vary") == ("Origin" if down.origin == ORIGIN else None)
    assert ("allow" in reply.headers) is (status == 405)
    assert ("retry-after" in reply.headers) is (status == 503)


def test_outcome_not_known():
    """A worker got the request and closed the connection: perhaps it is done."""
    with Site(pool=False) as site, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(site.socket))
        site.socket.chmod(0o666)
        listener.listen()
        connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=60)
        connection.request("POST", "/api/token/", b"{}")
        peer, _ = listener.accept()
        peer.recv(10)
        peer.close()
        assert failure(client.read_reply(connection)) == (503, "unknown")
        connection.close()
        site.socket.unlink()


class DyingWorker(threading.Thread):
    """Answers the first request of each connection, and closes it when it has read the second."""

    def __init__(self, path):
        super().__init__(daemon=True)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        path.chmod(0o666)
        self.listener.listen()
        self.requests = 0
        self.start()

    def run(self):
        with contextlib.suppress(OSError):  # the listener is closed
            while True:
                with contextlib.closing(self.listener.accept()[0]) as peer:
                    self.read(peer)
                    # nginx 1.26 keeps no connection after an answer without a body.
                    answer = fastcgi.stream(fastcgi.STDOUT, b"Status: 200\r\n\r\n{}")
                    peer.sendall(answer + fastcgi.record(fastcgi.END_REQUEST, bytes(8)))
                    self.read(peer)

    def read(self, peer):
        records = peer.makefile("rb")
        while header := records.read(8):
            length, padding = struct.unpack(">4xHBx", header)
            records.read(length + padding)
            if header[1] == fastcgi.STDIN and length == 0:
                self.requests += 1
                return

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
@pytest.mark.parametrize("target", ["/api/token/", f"/api/token/?key={LEAKED_KEY}"])
@pytest.mark.parametrize("which", ["port", "internal_port"])
def test_lost_writes_are_not_repeated(method, target, which):
    """On a kept connection that ends: a PUT may hold an add_quota."""
    with Site(pool=False, nginx_changes=[ONE_PROCESS]) as site:
        worker = DyingWorker(site.socket)
        assert ask(getattr(site, which), "GET", "/api/token/").status == 200
        assert failure(ask(getattr(site, which), method, target)) == (503, "unknown")
        assert worker.requests == 2
        worker.close()
        site.socket.unlink()


# ---- keys in URLs ----


@pytest.mark.parametrize("which", ["port", "internal_port"])
@pytest.mark.parametrize(
    "target", ["search?token={}", "search/?token={}", "?token={}", "{}", "search?token=sk-{}", "1?a=b&key={}"]
)
def test_keys_in_urls_are_not_logged(down, which, target):
    """While the pool is down, and with a body that is too large."""
    for text in (LEAKED_KEY, LEAKED_KEY[3:]):
        for method, body in (("GET", None), ("POST", b" " * (3 << 20))):
            reply = ask(getattr(down, which), method, "/api/token/" + target.format(text), body)
            assert reply.status == (413 if body else 503)
    for log in down.dir.glob("*.log"):
        assert LEAKED_KEY[3:] not in log.read_text(), log


def test_encoded_keys_and_referers_are_not_logged(down):
    encoded = "".join(f"%{ord(letter):02X}" for letter in LEAKED_KEY)
    for target, headers in [
        (f"search?token={encoded}", {}), (encoded, {}), ("search", {"Referer": f"http://x/?token={LEAKED_KEY}"}),
    ]:
        assert ask(down.port, "GET", "/api/token/" + target, None, headers).status == 503
    for log in down.dir.glob("*.log"):
        assert LEAKED_KEY not in log.read_text() and encoded not in log.read_text(), log


def test_other_errors_are_logged(down):
    ask(down.port, "GET", "/api/token/4711?p=1")
    assert "GET /api/token/4711?p=1 " in error_log(down)


# ---- in another site ----


STOCK = """
user {user};
worker_processes auto;
pid nginx.pid;
daemon off;
error_log nginx.log;
events {{ worker_connections 768; }}
http {{
    {temp_paths}
    sendfile on;
    tcp_nopush on;
    types_hash_max_size 2048;
    include /etc/nginx/mime.types;
    default_type application/octet-stream;
    access_log {dir}/site.log;
    gzip on;
    gzip_types *;
    gzip_proxied any;
    fastcgi_buffering off;
    fastcgi_intercept_errors on;
    proxy_intercept_errors on;
    recursive_error_pages on;
    {http}
    server {{
        listen 127.0.0.1:{port} default_server;
        root {dir}/html;
        index index.html;
        server_name _;
        client_max_body_size 100;
        expires 30d;
        error_page 400 401 403 404 405 409 413 429 /404.html;
        error_page 500 502 503 504 =200 /50x.html;
        location = /404.html {{ internal; return 200 "page of the site"; }}
        location = /50x.html {{ internal; return 200 "page of the site"; }}
        location ^~ /api/ {{ return 200 "the site's own API"; }}
        location ~ token {{ return 200 "the site's regular expression"; }}
        {server}
        location / {{ try_files $uri $uri/ =404; }}
    }}
}}
"""


class OtherSite(Site):
    """Debian's nginx.conf and default site, with pieces of the example."""

    prefix = ""
    with_server = True

    def nginx_configuration(self):
        def own(text):
            text = re.sub(r"access_log [^ ]*", f"access_log {self.dir}/access.log", text)
            text = re.sub(r"alias .*", "alias console/;", text)
            text = text.replace("unix:/run/token/token.sock", f"unix:{self.socket}")
            text = re.sub(*WITHOUT_LIMITS, text, flags=re.MULTILINE)
            return text.replace("127.0.0.1:8081", f"127.0.0.1:{self.internal_port}")

        (self.dir / "html").mkdir()
        (self.dir / "html/index.html").write_text("start page")
        server = own(piece("nginx.conf.example", "[2] server block"))
        server = re.sub(r"((?:location (?:=|\^~)|return 308) )/(api/|console)", rf"\1{self.prefix}/\2", server)
        kinds = ("client_body", "fastcgi", "proxy", "scgi", "uwsgi")
        return STOCK.format(
            user="www-data", dir=self.dir, port=self.port,
            temp_paths="".join(f"{kind}_temp_path tmp/{kind};" for kind in kinds),
            http=own(piece("nginx.conf.example", "[1] http block")),
            server=server if self.with_server else "",
        )

    def send(self, method, target, headers, body):
        return super().send(method, self.prefix + target, headers, body)


class PrefixedSite(OtherSite):
    prefix = "/gateway"


class SiteWithoutTheApi(OtherSite):
    with_server = False


@pytest.fixture(scope="module")
def other_site():
    with OtherSite() as running:
        yield running


def test_the_api_in_another_site(other_site):
    user = other_site.http(other_site.add_user())
    token = user.make(name="n" * 30)  # over 100 bytes: not the site's limit
    assert user.get(token["id"]).data == token
    assert user.usage(token["key"]).json["code"] is True
    assert user.list().data["total"] == 1
    assert user.request("GET", "/api/token").data["total"] == 1


def test_the_console_in_another_site(other_site):
    page = ask(other_site.port, "GET", "/console/")
    script = ask(other_site.port, "GET", "/console/token-status.js", None, {"Accept-Encoding": "gzip"})
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert script.headers["content-type"] == "text/javascript; charset=utf-8"
    for reply in (page, script):
        assert (reply.status, reply.headers["cache-control"]) == (200, "no-cache")
        assert "expires" not in reply.headers
        assert reply.headers["content-security-policy"].startswith("default-src 'none';")
    assert ask(other_site.port, "GET", "/console").headers["location"] == "/console/"
    assert failure(ask(other_site.port, "GET", "/console/nothing")) == (404, "not_found")
    assert failure(ask(other_site.port, "POST", "/console/app.js")) == (405, "method")


def test_answers_are_neither_compressed_nor_cached(other_site):
    user = other_site.http(other_site.add_user())
    user.make_many(20)
    for target in ("/api/token/", "/api/token/999999999"):
        reply = user.request("GET", target, None, {"Accept-Encoding": "gzip"})
        assert "content-encoding" not in reply.headers and "expires" not in reply.headers
        assert reply.headers["cache-control"] == "no-store"


def test_failures_are_not_replaced_by_pages_of_the_site(other_site):
    user = other_site.http(other_site.add_user())
    anonymous = other_site.http()
    assert user.get(2**40).status == 404
    assert user.request("PATCH", "/api/token/").status == 405
    assert anonymous.list().status == 401
    assert anonymous.usage(LEAKED_KEY).status == 401
    assert user.create(b"{").status == 400
    assert user.create(b" " * (2 << 20)).status == 413
    assert failure(user.create(b" " * (3 << 20))) == (413, "too_large")
    assert failure(ask(other_site.port, "GET", "/api/token/verify")) == (404, "not_found")


@pytest.mark.parametrize(
    "path, status, text",
    [("/", 200, "start page"), ("/nothing", 404, "page of the site"), ("/api/x", 200, "the site's own API"),
     ("/api/tokens", 200, "the site's own API"), ("/api/usage/tokenx", 200, "the site's own API"),
     ("/token.php", 200, "the site's regular expression"), ("/metrics", 404, "page of the site")],
)
def test_the_site_is_not_changed(other_site, path, status, text):
    reply = ask(other_site.port, "GET", path)
    assert (reply.status, reply.body.decode()) == (status, text)
    assert "access-control-allow-origin" not in reply.headers


def test_logs_of_another_site(other_site):
    user = other_site.http(other_site.add_user())
    user.search("?token=" + user.make()["key"])
    ask(other_site.port, "GET", "/api/token/cancel")
    ask(other_site.port, "GET", "/the-site")
    log, site_log = other_site.dir / "access.log", other_site.dir / "site.log"
    # Each of nginx's two processes writes when it is done with a request.
    wait_until(lambda: '"GET /api/token/search" 200' in log.read_text(), "the log has the search")
    wait_until(lambda: '/api/token/cancel" 404' in log.read_text(), "the log has the refusal")
    wait_until(lambda: "/the-site" in site_log.read_text(), "the site's log has its request")
    assert "/api/token/" not in site_log.read_text() and "?token" not in log.read_text()


def test_pool_is_down_in_another_site():
    with OtherSite(pool=False) as site:
        for path in ("/api/token/", "/api/usage/token/", "/api/token/search?token=" + LEAKED_KEY):
            reply = ask(site.port, "GET", path)
            assert failure(reply) == (503, "unavailable")
            assert reply.headers["retry-after"] == "5"


def test_path_prefix():
    """Each root works below it, and none is taken for another."""
    with PrefixedSite(workers=1) as site:
        user = site.http(site.add_user())
        token = user.make(name="below")
        assert user.get(token["id"]).data == token
        assert user.request("GET", "/api/token").data["total"] == 1
        for slash in ("", "/"):
            reply = user.request("GET", "/api/usage/token" + slash, None,
                                 {"Authorization": f"Bearer {token['key']}", "New-Api-User": None})
            assert reply.json["data"]["name"] == "below"
        assert failure(ask(site.port, "GET", "/gateway/api/token/verify/")) == (404, "not_found")
        assert "app.js" in ask(site.port, "GET", "/gateway/console/").body.decode()
        assert ask(site.port, "GET", "/gateway/console").headers["location"] == "/gateway/console/"
        assert ask(site.port, "GET", "/api/token/").body == b"the site's own API"


def test_the_http_piece_alone():
    """Every variable is known without the other piece."""
    with SiteWithoutTheApi(pool=False) as site:
        assert ask(site.port, "GET", "/").status == 200
        assert ask(site.port, "GET", "/api/token/").body == b"the site's own API"
