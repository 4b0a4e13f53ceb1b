"""docs/hosts.md: the API under other web servers, with the lines of that page."""

import contextlib
import http.client
import os
import re
import socket
import subprocess

import client
import pytest
from client import ISSUED, Client, Gateway, key_checksum
from service import IS_ROOT, ROOT, WORKER_USER, Store, free_port, wait_until

TORTURE = os.environ.get("TORTURE") == "1"
GUARDED = "(token/(verify|consume|reserve|settle|cancel|find)|user(/(search|manage|[0-9]+))?|log)"
GUARDED_PATHS = [
    *(f"token/{name}" for name in ("verify", "consume", "reserve", "settle", "cancel", "find")),
    "user/", "user/search", "user/manage", "user/1", "log/",
]
MODULES = "/usr/lib/apache2/modules"
UNKNOWN_KEY = "sk-" + "0" * 42 + key_checksum("sk-" + "0" * 48)


def blocks(heading):
    """The code blocks below a heading of docs/hosts.md."""
    page = (ROOT / "docs/hosts.md").read_text()
    section = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", page, re.M | re.S).group(1)
    return re.findall(r"^```\w+\n(.*?)^```\n", section, re.M | re.S)


class Host(Store):
    """A store, and a web server with two ports: a public one, and one with all routes."""

    heading = None
    needs_pool = False
    get_with_a_body = 200
    chunked_len_max = 10_000_000
    keeps_connections = True

    def set_up(self):
        super().set_up()
        self.port, self.internal_port = free_port(), free_port()
        self.socket = self.start_worker("token.sock")[1] if self.needs_pool else None
        (self.dir / "tmp").mkdir()
        if IS_ROOT:
            subprocess.run(["chown", "-R", WORKER_USER, self.dir / "tmp"], check=True)
        (self.dir / "server.conf").write_text(self.configuration())
        with (self.dir / "server.log").open("wb") as log:
            for command in self.commands():
                # A session of its own: Apache ends its process group.
                self.workers.append(subprocess.Popen(
                    list(map(str, command)), cwd=self.dir, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                    env={**self.environment, "HOME": str(self.dir / "tmp")}, start_new_session=True))
        for port in (self.port, self.internal_port):
            wait_until(lambda port=port: self.answers(port), "the server answers")

    def answers(self, port):
        assert self.workers[-1].poll() is None, (self.dir / "server.log").read_text()
        with contextlib.suppress(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port)).close()
            return True

    def own(self, text):
        """Lines of the page with the paths of this installation."""
        text = text.replace("/usr/local/lib/token/token.fcgi", str(self.program))
        text = text.replace("/usr/local/lib/token", str(self.dir))
        return text.replace("/run/token/token.sock", str(self.socket))

    def public(self):
        return self.own("".join(blocks(self.heading)))

    def internal(self):
        """Without the lines for public servers."""
        text, count = re.subn(rf"^<LocationMatch [^\n]*{re.escape(GUARDED)}.*?</LocationMatch>\n|"
                              rf"^[^\n]*({re.escape(GUARDED)}|token_internal)[^\n]*\n", "",
                              self.public(), flags=re.M | re.S)
        assert count > 0
        return text

    def settings(self):
        return {name: value for name, value in self.environment.items()
                if name.startswith("TOKEN_") or "SAN_OPT" in name}


class Apache(Host):
    modules = "mpm_event alias authz_core env"
    settings_line = "SetEnv"
    more = ""

    def configuration(self):
        def virtual_host(port, lines):
            return f"Listen 127.0.0.1:{port}\n<VirtualHost 127.0.0.1:{port}>\n{lines}</VirtualHost>\n"

        return "\n".join([
            *(f"LoadModule {name}_module {MODULES}/mod_{name}.so" for name in self.modules.split()),
            f"ServerRoot {self.dir}", "ServerName localhost", f"DefaultRuntimeDir {self.dir}/tmp",
            f"PidFile {self.dir}/apache.pid", f"ErrorLog {self.dir}/apache.log",
            *([f"User {WORKER_USER}", f"Group {WORKER_USER}"] if IS_ROOT else []),
            "<Directory />", "AllowOverride None", "Require all denied", "</Directory>",
            *(f"{self.settings_line} {name} {value}" for name, value in self.settings().items()),
            self.more, virtual_host(self.port, self.public()),
            virtual_host(self.internal_port, self.internal()),
        ])

    def commands(self):
        return [["/usr/sbin/apache2", "-D", "FOREGROUND", "-f", self.dir / "server.conf"]]


class ApacheCgid(Apache):
    heading = "Apache, CGI"
    modules = Apache.modules + " cgid"
    more = "ScriptSock cgid.sock"


class ApacheCgi(ApacheCgid):
    modules = ApacheCgid.modules.replace("mpm_event", "mpm_prefork").replace("cgid", "cgi")
    more = ""


class ApacheHtaccess(ApacheCgid):
    """Without AuthConfig."""

    modules = ApacheCgid.modules + " setenvif"

    def public(self):
        (self.dir / ".htaccess").write_text("".join(blocks("Apache, .htaccess")))
        return super().public().replace("CGIPassAuth On", "AllowOverride FileInfo")


class ApacheFcgid(Apache):
    heading = "Apache, mod_fcgid"
    modules = Apache.modules + " fcgid"
    settings_line = "FcgidInitialEnv"
    more = "FcgidIPCDir tmp\nFcgidProcessTableFile tmp/fcgid_shm\nFcgidMinProcessesPerClass 0\nFcgidMaxProcesses 4"


class ApacheProxy(Apache):
    heading = "Apache, mod_proxy_fcgi"
    modules = Apache.modules + " proxy proxy_fcgi"
    needs_pool = True


class Lighttpd(Host):
    heading = "lighttpd, FastCGI"
    needs_pool = True
    get_with_a_body = 400  # lighttpd refuses it

    def configuration(self):
        account = f'server.username = "{WORKER_USER}"\nserver.groupname = "{WORKER_USER}"\n' if IS_ROOT else ""
        return (
            f'server.port = {self.port}\nserver.bind = "127.0.0.1"\n{account}'
            f'server.document-root = "{self.dir}/tmp"\nserver.upload-dirs = ( "{self.dir}/tmp" )\n'
            f'server.modules = ()\n'
            f'$SERVER["socket"] == "127.0.0.1:{self.internal_port}" {{ }}\n'
        ) + self.public().replace(
            f'$HTTP["url"] =~ "^/api/{GUARDED}',
            f'$SERVER["socket"] == "127.0.0.1:{self.port}" {{ $HTTP["url"] =~ "^/api/{GUARDED}',
        ).replace('url.access-deny = ( "" ) }', 'url.access-deny = ( "" ) } }')

    def commands(self):
        return [["/usr/sbin/lighttpd", "-D", "-f", self.dir / "server.conf"]]


class LighttpdCgi(Lighttpd):
    heading = "lighttpd, CGI"
    needs_pool = False

    def configuration(self):
        variables = ", ".join(f'"{name}" => "{value}"' for name, value in self.settings().items())
        return super().configuration() + (
            f'server.modules += ( "mod_setenv" )\nsetenv.add-environment = ( {variables} )\n')


class Caddy(Host):
    heading = "Caddy"
    needs_pool = True

    def configuration(self):
        return (
            "{\nadmin off\nauto_https off\n}\n"
            f"http://127.0.0.1:{self.port} {{\n{self.public()}}}\n"
            f"http://127.0.0.1:{self.internal_port} {{\n{self.internal()}}}\n"
        )

    def commands(self):
        return [["/usr/bin/caddy", "run", "--adapter", "caddyfile", "--config", self.dir / "server.conf"]]


class HAProxy(Host):
    heading = "HAProxy"
    needs_pool = True
    chunked_len_max = 10_000  # HAProxy refuses more

    def configuration(self):
        backend, public = map(self.own, blocks(self.heading))
        internal = self.internal().removeprefix(backend)
        times = "timeout connect 5s\n    timeout client 30s\n    timeout server 30s"
        return (
            f"defaults\n    mode http\n    {times}\n{backend}\n"
            f"frontend public\n    bind 127.0.0.1:{self.port}\n{public}\n"
            f"frontend internal\n    bind 127.0.0.1:{self.internal_port}\n{internal}\n"
        )

    def commands(self):
        return [["/usr/sbin/haproxy", "-db", "-f", self.dir / "server.conf"]]


class UWSGI(Host):
    heading = "uWSGI"
    chunked_len_max = 0
    keeps_connections = False

    def configuration(self):
        """Two instances: each option is of a whole instance."""
        (self.dir / "internal.conf").write_text(self.instance(self.internal_port, self.internal()))
        return self.instance(self.port, self.public())

    def instance(self, port, lines):
        variables = "".join(f"env = {name}={value}\n" for name, value in self.settings().items())
        account = f"uid = {WORKER_USER}\ngid = {WORKER_USER}\n" if IS_ROOT else ""
        return f"[uwsgi]\nhttp-socket = 127.0.0.1:{port}\nthreads = 4\n{account}{variables}{lines}"

    def commands(self):
        return [["/usr/bin/uwsgi-core", "--ini", self.dir / name] for name in ("internal.conf", "server.conf")]


class Fcgiwrap(Host):
    heading = "fcgiwrap behind nginx"

    def own(self, text):
        return super().own(text).replace("/run/fcgiwrap.socket", f"{self.dir}/tmp/wrap.sock")

    def configuration(self):
        def server(port, lines):
            return f"server {{ listen 127.0.0.1:{port};\n{lines}}}\n"

        kinds = ("client_body", "fastcgi", "proxy", "scgi", "uwsgi")
        return (
            f"pid {self.dir}/nginx.pid; daemon off; error_log {self.dir}/nginx.log;\n"
            + (f"user {WORKER_USER};\n" if IS_ROOT else "")
            + "events { }\nhttp { access_log off;\n"
            + "".join(f"{kind}_temp_path {self.dir}/tmp/{kind};\n" for kind in kinds)
            + server(self.port, self.public()) + server(self.internal_port, self.internal()) + "}\n"
        )

    def commands(self):
        wrap = ["/usr/sbin/fcgiwrap", "-c", "4", "-s", f"unix:{self.dir}/tmp/wrap.sock"]
        if IS_ROOT:
            wrap = ["/usr/sbin/runuser", "-u", WORKER_USER, "--", *wrap]
        return [["/usr/bin/env", *(f"{name}={value}" for name, value in self.settings().items()), *wrap],
                ["/usr/sbin/nginx", "-p", self.dir, "-c", self.dir / "server.conf", "-e", self.dir / "nginx.log"]]


HOSTS = [ApacheCgid, ApacheFcgid, Lighttpd, Caddy]
if TORTURE:
    HOSTS += [ApacheCgi, ApacheHtaccess, ApacheProxy, LighttpdCgi, HAProxy, UWSGI, Fcgiwrap]


@pytest.fixture(scope="module", params=HOSTS, ids=lambda kind: kind.__name__)
def host(request):
    with request.param() as running:
        running.send = client.transport(running.port)
        running.ask_inside = client.transport(running.internal_port)
        running.gateway = Gateway(running.ask_inside, running.add_gateway())
        running.administrator = Client(running.send, running.add_user(role="admin"))
        yield running
        running.check()


@pytest.fixture
def user(host):
    return Client(host.send, host.add_user())


def chunks(size):
    """A body in pieces: without a Content-Length."""
    while size > 0:
        yield b" " * min(size, 50_000)
        size -= 50_000


def test_a_token_s_life(user):
    token = user.make(name="first")
    assert user.get(token["id"]).data == token
    changed = user.update({"id": token["id"], "name": "changed"}).data
    assert changed == {**token, "name": "changed"}
    assert user.update({"id": token["id"], "status": 2}, "?status_only=true").data["status"] == 2
    assert user.search("?keyword=chang").data["total"] == 1
    assert user.delete(f"{token['id']}/").json == {"success": True, "message": ""}
    assert user.get(token["id"]).status == 404
    assert user.list("?p=1&size=5").data["total"] == 0
    assert user.request("GET", "/api/token").data["total"] == 0


@pytest.mark.parametrize("length", [None, 0])
def test_head(user, length):
    sent = {} if length is None else {"Content-Length": "0"}
    reply = user.request("HEAD", "/api/token/", None, sent)
    assert (reply.status, reply.body) == (200, b"")


def test_options(host):
    reply = host.send("OPTIONS", "/api/token/batch", {}, None)
    assert (reply.status, reply.headers["allow"]) == (204, "POST, OPTIONS")


@pytest.mark.parametrize("chunked", [False, True])
def test_bodies(host, user, chunked):
    names = []
    for method, path, body, status in [
        ("POST", "/api/token/", b'{"name":"small"}', 200),
        ("POST", "/api/token/", b'{"name":"large"}'.ljust(1 << 20), 200),
        ("POST", "/api/token/", b"{}".ljust(3 << 19), 413),
        ("POST", "/api/token/", b'{"name":', 400),
        ("PUT", "/api/token/", b'{"id":1234567}', 404),
    ]:
        if chunked and len(body) > host.chunked_len_max:
            continue
        names += re.findall("small|large", body.decode())
        sent = (part for part in (body[:5], body[5:])) if chunked else body
        reply = host.send(method, path, user.credentials, sent)
        assert reply.status == status and reply.json["success"] is (status == 200), reply
    assert [token["name"] for token in user.list().data["items"]] == names[::-1]


@pytest.mark.parametrize(
    "method, path, changes, status",
    [
        ("PATCH", "/api/token/", {}, 405),
        ("POST", "/api/token/none", {}, 404),
        ("POST", "/api/token/", {"Authorization": "Bearer x"}, 401),
        ("POST", "/api/token/", {"Authorization": None}, 401),
        ("DELETE", "/api/token/1234567", {}, 404),
    ],
)
def test_bodies_that_nobody_wants(user, method, path, changes, status):
    """The complete answer comes all the same."""
    reply = user.request(method, path, b"x" * 300_000, changes)
    assert reply.status == status
    if status == 401:
        assert reply.headers["www-authenticate"] == "Bearer"


def test_body_of_a_get(host, user):
    reply = host.send("GET", "/api/token/", user.credentials, b"x" * 300_000)
    assert reply.status == host.get_with_a_body


def test_no_body(user):
    assert user.create(b"").status == 400


def test_idempotency_key(user):
    sent = {"Idempotency-Key": "order-7"}
    first, second = (user.request("POST", "/api/token/", {"name": "once"}, sent) for _ in range(2))
    assert first.data == second.data and user.list().data["total"] == 1


def test_large_answer(user):
    tokens = user.make_many(100, model_limits="m" * 2000)
    assert user.list("?size=100").data["items"] == tokens[::-1]


@pytest.mark.parametrize("path", ["/api/usage/token", "/api/usage/token/"])
def test_usage(host, user, path):
    key = user.make(name="used")["key"]
    reply = host.send("GET", path, {"Authorization": f"Bearer {key}"}, None)
    assert reply.json["data"]["name"] == "used"


def test_billing(host, user):
    key = user.make()["key"]
    reply = host.send("GET", "/v1/dashboard/billing/usage", {"Authorization": f"Bearer {key}"}, None)
    assert reply.json == {"object": "list", "total_usage": 0}


def test_status(host):
    assert host.send("GET", "/api/status", {}, None).json["data"]["engine"] == "lmdb"


def test_verify(host, user):
    token = user.make()
    for method, body in (("GET", None), ("POST", None), ("POST", b"x" * 300_000)):
        reply = host.ask_inside(method, "/api/token/verify", {"X-Api-Key": token["key"]}, body)
        assert (reply.status, reply.headers["x-token-id"]) == (204, str(token["id"]))
    reply = host.ask_inside("GET", "/api/token/verify", {"Authorization": f"Bearer {UNKNOWN_KEY}"}, None)
    assert (reply.status, reply.headers["x-token-reason"]) == (401, "unknown")


def test_gateway(host, user):
    key = user.make(unlimited_quota=False, remain_quota=5)["key"]
    assert host.gateway.consume(key=key, amount=2).data["remain_quota"] == 3
    reservation = host.gateway.reserve(key=key, amount=3).data["reservation"]
    assert host.gateway.cancel(reservation=reservation).data["remain_quota"] == 3


@pytest.mark.parametrize("path", GUARDED_PATHS)
def test_guarded_routes_are_not_public(host, user, path):
    root, name = path.split("/")
    sent = {**host.administrator.credentials, "X-Gateway-Token": host.gateway.secret, "X-Api-Key": user.make()["key"]}
    encoded = "%" + name[:1].encode().hex() + name[1:] if name else f"../%{root[:1].encode().hex()}{root[1:]}/"
    for form in ("{}", "{}/", "{}//", "/{}", "./{}", "x/../{}", "%2e/{}", "{}?a", encoded, f"../{root}/{{}}",
                 f"api/{root}/{{}}", f"x/api/{root}/{{}}", "../usage/token/{}", f"../usage/token/api/{root}/{{}}"):
        if not name and form in ("../usage/token/{}",):
            continue  # users'
        for method in ("GET", "POST"):
            address = f"/api/{root}/" + form.format(name)
            try:
                reply = host.send(method, address, sent, b"{}" if method == "POST" else None)
            except ConnectionResetError:  # uWSGI refuses, and leaves the body unread
                reply = host.send(method, address, sent, None)
            assert reply.status in (400, 403, 404), (form, reply)
            assert "x-token-id" not in reply.headers


def is_not_served(reply):
    """Caddy answers 200 without a body, HAProxy 503, where no block is for a path."""
    is_without_backend = reply.status == 503 and b"No server is available" in reply.body
    return reply.status in (400, 403, 404) or reply.body == b"" or is_without_backend


@pytest.mark.parametrize("path", ["/API/TOKEN/api/token/verify", "/Api/Token/Verify", "/API/STATUS/api/token/verify"])
def test_letter_case(host, user, path):
    reply = host.send("GET", path, {"X-Api-Key": user.make()["key"]}, None)
    assert is_not_served(reply)
    assert "x-token-id" not in reply.headers


@pytest.mark.parametrize("name", ["healthz", "metrics"])
def test_no_block_serves_monitors(host, name):
    for path in (f"/{name}", f"/{name}/", f"//{name}", f"/api/token/{name}", f"/api/status/{name}",
                 f"/api/status/../../{name}", f"/x/{name}", f"/API/TOKEN/{name}", f"/api/tokens/{name}"):
        reply = host.send("GET", path, {}, None)
        assert is_not_served(reply), path


def test_users_and_administrators(host, user):
    ask = Client(host.send, user.user)
    for path in ("/api/user/self", "/api/user/self/", "/api/user/self/groups", "/api/user/models", "/api/log/self"):
        assert ask.request("GET", path).status == 200
    inside = Client(host.ask_inside, host.administrator.user)
    assert inside.request("GET", f"/api/user/{user.user.id}").data["username"] == user.user.name
    assert inside.request("GET", "/api/log/?size=1").data["items"] is not None
    assert inside.request("GET", "/api/user/?size=1").data["total"] > 1


@pytest.mark.parametrize("path", ["/api/tokens", "/api/usage/tokenx", "/api/statusx", "/v1/dashboard", "/api/", "/"])
def test_other_paths_are_not_the_api(host, user, path):
    assert b"data" not in host.send("GET", path, user.credentials, None).body


def test_kept_connection(host, user):
    """Requests with and without a body, refused or not, on one connection."""
    connection = http.client.HTTPConnection("127.0.0.1", host.port, timeout=60)
    for number in range(5):
        for method, body, status in [
            ("GET", None, 200), ("POST", b'{"name":"kept"}', 200), ("PATCH", b"x" * 50_000, 405), ("PUT", b"{", 400),
        ]:
            connection.request(method, "/api/token/", body, user.credentials)
            assert client.read_reply(connection).status == status
            if not host.keeps_connections:
                connection.close()
    connection.close()
    assert user.list().data["total"] == 5
