"""Settings: what they change, and that a wrong one is an error that names it."""

import os
import re
import shutil
from datetime import datetime, timedelta, timezone

import fastcgi
import pytest
from client import Client, Gateway
from service import IS_ROOT, WORKER_USER, Store


@pytest.fixture(scope="module")
def store():
    with Store() as made:
        yield made


@pytest.fixture
def start(store):
    """Starts a worker with settings; returns a client of a fresh user."""

    def started(**settings):
        _, path = store.start_worker(f"{len(store.workers)}.sock", **settings)
        return Client(fastcgi.transport(path), store.add_user())

    return started


# ---- errors ----

WRONG = [
    ("TOKEN_UNKNOWN", "1"),
    ("TOKEN_STORES", "/tmp"),
    ("TOKEN_store", "/tmp"),
    ("TOKEN_", "1"),
    ("TOKEN_MAX_PER_USER", "-1"),
    ("TOKEN_MAX_PER_USER", "many"),
    ("TOKEN_MAX_PER_USER", "1.5"),
    ("TOKEN_MAX_PER_USER", "10x"),
    ("TOKEN_MAX_PER_USER", "+1"),
    ("TOKEN_MAX_PER_USER", " 1"),
    ("TOKEN_MAX_PER_USER", "99999999999999999999"),
    ("TOKEN_NAME_MAX", "0"),
    ("TOKEN_NAME_MAX", "256"),
    ("TOKEN_QUOTA_PER_UNIT", "0"),
    ("TOKEN_QUOTA_PER_UNIT", "-1"),
    ("TOKEN_QUOTA_PER_UNIT", "9223372036854775808"),
    ("TOKEN_TIMEZONE", "Europe/Nowhere"),
    ("TOKEN_TIMEZONE", "Europe"),
    ("TOKEN_TIMEZONE", "zone.tab"),
    ("TOKEN_TIMEZONE", "CET-1CEST"),
    ("TOKEN_TIMEZONE", "/usr/share/zoneinfo/Europe/Berlin"),
    ("TOKEN_TIMEZONE", "../zoneinfo/Europe/Berlin"),
    ("TOKEN_AUDIT_DAYS", "-1"),
    ("TOKEN_AUDIT_DAYS", "36501"),
    ("TOKEN_SYSTEM_NAME", "x" * 256),
    ("TOKEN_SYSTEM_NAME", "a\x01b"),
    ("TOKEN_HTTP_STATUS", "201"),
    ("TOKEN_HTTP_STATUS", "yes"),
    ("TOKEN_HTTP_STATUS", "0"),
    ("TOKEN_CORS_ORIGIN", "example.org"),
    ("TOKEN_CORS_ORIGIN", "https://example.org/path"),
    ("TOKEN_CORS_ORIGIN", "https://example.org\r\nX-Evil: 1"),
    ("TOKEN_CORS_ORIGIN", "https://a.example https://b.example"),
    ("TOKEN_THREADS", "0"),
    ("TOKEN_THREADS", "-1"),
    ("TOKEN_THREADS", "two"),
    ("TOKEN_THREADS", "1000000"),
    ("TOKEN_MAP_SIZE", "64"),
    ("TOKEN_MAP_SIZE", "64GB"),
    ("TOKEN_MAP_SIZE", "65T"),
    ("TOKEN_MAP_SIZE", "-64G"),
    ("TOKEN_WORKERS", "0"),
    ("TOKEN_WORKERS", "two"),
    ("TOKEN_SANDBOX", "no"),
]


def only_line(text):
    lines = text.splitlines()
    assert len(lines) == 1, text
    return lines[0]


def refusal(store, **settings):
    """What a worker that does not start says on stderr, after the time and its pid."""
    length = store.log.stat().st_size
    worker, path = store.start_worker(f"{len(store.workers)}.sock", **settings)
    assert worker.wait(timeout=60) not in (0, None)
    line = only_line(store.log.read_text()[length:])
    head = re.match(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ) token\.fcgi\[(\d+)\]: ", line)
    assert int(head[2]) == worker.pid
    logged = datetime.fromisoformat(head[1].replace("Z", "+00:00"))
    assert abs(logged - datetime.now(timezone.utc)) < timedelta(minutes=10)
    return line[head.end() :]


@pytest.mark.parametrize("name, value", WRONG)
def test_wrong_setting_stops_a_worker(store, name, value):
    assert name in refusal(store, **{name: value})


@pytest.mark.parametrize("name, value", WRONG)
def test_wrong_setting_stops_tokenctl(store, name, value):
    done = store.run_ctl("user", "list", **{name: value})
    assert (done.returncode, done.stdout) == (1, "")
    assert name in only_line(done.stderr)


@pytest.mark.parametrize("name", ["TOKEN_MAX_PER_USER", "TOKEN_HTTP_STATUS", "TOKEN_CORS_ORIGIN"])
def test_empty_is_as_good_as_unset(start, name):
    assert start(**{name: ""}).list().data["total"] == 0


@pytest.fixture
def conf(store):
    """Writes a token.conf of this test's own; returns its path."""
    path = store.dir / f"conf{len(store.workers)}"

    def written(text, mode=0o644):
        path.write_text(text)
        path.chmod(mode)
        return str(path)

    return written


def test_settings_of_the_file(store, start, conf):
    """Comments, blank lines, spawn.sh's names; the environment goes before, empty counts as unset."""
    path = conf("# limits\n\n \t\nTOKEN_MAX_PER_USER=2\nTOKEN_WORKERS=3\nTOKEN_LOG=/x y\nTOKEN_TEST_X=1\nTOKEN_KEYS=masked")
    user = start(TOKEN_CONF=path, TOKEN_MAX_PER_USER="")
    token = user.make_many(2)[0]
    assert user.create({}).failure == (409, "Maximum number of tokens reached (2)")
    assert "*" in user.get(token["id"]).data["key"]
    assert start(TOKEN_CONF=path, TOKEN_MAX_PER_USER="3").make_many(3)
    assert store.run_ctl("user", "list", TOKEN_CONF=path).returncode == 0


WRONG_LINES = [
    "TOKEN_MAX_PER_USER=many",
    "TOKEN_UNKNOWN=1",
    "TOKEN_STORE",
    "PATH=/bin",
    "export TOKEN_KEYS=masked",
    " TOKEN_KEYS=masked",
    "TOKEN_KEYS =masked",
    "TOKEN_KEYS= masked",
    "TOKEN_KEYS=masked ",
    "TOKEN_KEYS=masked\r",
    'TOKEN_KEYS="masked"',
    "TOKEN_KEYS='masked'",
    "TOKEN_LOG=$HOME/log",
    "TOKEN_LOG=/a\\b",
    "# a comment that goes on \\",
    "TOKEN_CONF=/x",
    "TOKEN_COST=1",
    "TOKEN_MODEL=x",
    "TOKEN_MODEL_CHECK=1",
    "TOKEN_STORE=postgresql://u:p@h/d",
]


@pytest.mark.parametrize("line", WRONG_LINES)
def test_wrong_line_is_named(store, conf, line):
    path = conf(f"# first\n{line}\nTOKEN_MAX_PER_USER=1\n")
    assert f"{path}:2: " in refusal(store, TOKEN_CONF=path)
    done = store.run_ctl("user", "list", TOKEN_CONF=path)
    assert done.returncode == 1 and f"{path}:2: " in only_line(done.stderr)


def test_file_that_is_not_to_be_trusted(store, conf):
    for mode in (0o664, 0o646):
        path = conf("TOKEN_KEYS=masked\n", mode)
        assert path in refusal(store, TOKEN_CONF=path)
    path = conf("TOKEN_KEYS=masked\n")
    if IS_ROOT:
        shutil.chown(path, "nobody")
        assert path in refusal(store, TOKEN_CONF=path)
    assert "/nonexistent" in refusal(store, TOKEN_CONF="/nonexistent")
    assert str(store.dir) in refusal(store, TOKEN_CONF=str(store.dir))


def test_spawn_shs_own_settings_are_no_error(start):
    own = {
        "TOKEN_SOCKET": "/run/x.sock",
        "TOKEN_SOCKET_MODE": "0660",
        "TOKEN_SOCKET_GROUP": "www-data",
        "TOKEN_WORKERS": "3",
        "TOKEN_PIDFILE": "/run/x.pid",
        "TOKEN_BIN": "/x",
    }
    assert start(**own).list().data["total"] == 0


# ---- the secret and the store ----


@pytest.fixture
def secret(store):
    """A copy of the secret, to be spoilt."""
    path = store.dir / f"secret{len(store.workers)}"
    shutil.copy(store.environment["TOKEN_SECRET"], path)
    original = os.stat(store.environment["TOKEN_SECRET"])
    os.chown(path, original.st_uid, original.st_gid)
    path.chmod(0o600)
    return path


def test_copied_secret_serves(start, secret):
    assert start(TOKEN_SECRET=str(secret)).list().data["total"] == 0


@pytest.mark.parametrize("mode", [0o604, 0o444, 0o644, 0o660, 0o666, 0o602, 0o620])
def test_secret_that_others_may_use(store, secret, mode):
    secret.chmod(mode)
    assert str(secret) in refusal(store, TOKEN_SECRET=str(secret))


@pytest.mark.parametrize("mode", [0o440, 0o640])
def test_secret_of_the_workers_group(store, start, secret, mode):
    secret.chmod(mode)
    if IS_ROOT:  # as a secret that is mounted
        shutil.chown(secret, "root", WORKER_USER)
    assert start(TOKEN_SECRET=str(secret)).list().data["total"] == 0
    assert store.run_ctl("stat", TOKEN_SECRET=str(secret)).returncode == 0
    if IS_ROOT:
        shutil.chown(secret, WORKER_USER, "nogroup")
        assert str(secret) in refusal(store, TOKEN_SECRET=str(secret))
        assert store.run_ctl("stat", TOKEN_SECRET=str(secret)).returncode == 1


@pytest.mark.parametrize("length", [0, 1, 31, 33, 64])
def test_secret_of_a_wrong_length(store, secret, length):
    secret.write_bytes(bytes(range(length)))
    assert str(secret) in refusal(store, TOKEN_SECRET=str(secret))


def test_secret_of_another_store(store, secret):
    secret.write_bytes(bytes(32))
    line = refusal(store, TOKEN_SECRET=str(secret))
    assert "secret" in line.lower()
    done = store.run_ctl("check", TOKEN_SECRET=str(secret))
    assert (done.returncode, done.stdout) == (1, "")
    assert "secret" in only_line(done.stderr).lower()


def test_secret_that_is_not_there(store):
    path = str(store.dir / "nothing")
    assert path in refusal(store, TOKEN_SECRET=path)


def test_secret_that_is_no_file(store):
    path = store.dir / "folder"
    path.mkdir(mode=0o700, exist_ok=True)
    assert str(path) in refusal(store, TOKEN_SECRET=str(path))


def test_store_that_is_not_there(store):
    path = store.dir / "nothing"
    assert str(path) in refusal(store, TOKEN_STORE=str(path))
    assert not path.exists()


def test_store_that_is_no_store(store):
    path = store.dir / "empty"
    path.mkdir(exist_ok=True)
    path.chmod(0o777)
    assert str(path) in refusal(store, TOKEN_STORE=str(path))


def test_tokenctl_says_the_same_of_a_missing_store(store):
    path = str(store.dir / "nothing")
    done = store.run_ctl("user", "list", TOKEN_STORE=path)
    assert (done.returncode, done.stdout) == (1, "")
    assert path in only_line(done.stderr)


def test_cgi_answers_503_and_says_why(store):
    """A web server that starts it for a request gets an answer all the same."""
    variables = fastcgi.environment("GET", "/api/token/", {"Authorization": "x"})
    done = store.run_cgi(variables, TOKEN_MAX_PER_USER="many")
    reply = fastcgi.parse_cgi(done.stdout)
    assert reply.failure == (503, "Service is temporarily unavailable")
    assert int(reply.headers["retry-after"]) > 0
    assert int(reply.headers["content-length"]) == len(reply.body)
    assert "TOKEN_MAX_PER_USER" in only_line(done.stderr.decode())


# ---- what they change ----


def test_most_tokens_a_user_may_have(start):
    user = start(TOKEN_MAX_PER_USER="3")
    full = (409, "Maximum number of tokens reached (3)")
    first, *_ = user.make_many(2)
    assert user.create([{}, {}]).failure == full
    assert user.list().data["total"] == 2
    user.make()
    assert user.create({}).failure == full
    user.delete(first["id"])
    user.make()
    assert user.create({}).failure == full


def test_no_limit(start):
    user = start(TOKEN_MAX_PER_USER="0")
    user.make_many(1100)
    assert user.list().data["total"] == 1100


def test_lowered_limit_takes_nothing_away(store, start):
    user = start(TOKEN_MAX_PER_USER="0")
    token = user.make_many(5)[0]
    _, path = store.start_worker(f"{len(store.workers)}.sock", TOKEN_MAX_PER_USER="3")
    lower = Client(fastcgi.transport(path), user.user)
    assert lower.create({}).failure == (409, "Maximum number of tokens reached (3)")
    assert lower.list().data["total"] == 5
    assert lower.update({"id": token["id"], "name": "x"}).data["name"] == "x"
    assert lower.delete(token["id"]).status == 200


def test_threads(start):
    user = start(TOKEN_THREADS="4")
    user.make_many(100)
    for _ in range(20):
        assert user.list().data["total"] == 100


def test_map_size():
    """What does not fit is 503 and not there; reads go on, and a larger size makes room."""
    with Store() as store:
        user = store.add_user()
        small, large = (
            Client(fastcgi.transport(store.start_worker(f"{size}.sock", TOKEN_MAP_SIZE=size)[1]), user)
            for size in ("2M", "64M")
        )
        created = []
        while (reply := small.create({"model_limits": "m" * 8000})).status == 200:
            created.append(reply.data["id"])
        assert reply.status == 503 and int(reply.headers["retry-after"]) > 0
        assert 50 < len(created) < 256
        assert small.list().data["total"] == len(created)
        assert large.create({"model_limits": "m" * 8000}).status == 200
        store.check()


def test_name_max(start):
    longest, shortest = start(TOKEN_NAME_MAX="255"), start(TOKEN_NAME_MAX="1")
    shortest.user = longest.user
    token = longest.make(name="\U0001f600" * 255)
    too_long = (400, "Token name is too long")
    assert longest.create({"name": "字" * 256}).failure == too_long
    assert longest.update({"id": token["id"], "name": "字" * 256}).failure == too_long
    # It is not a new one, and may come back with other changes.
    assert shortest.update({**token, "group": "g"}).data == {**token, "group": "g"}
    assert shortest.update({"id": token["id"], "name": "ab", "group": "h"}).failure == too_long
    assert shortest.get(token["id"]).data["group"] == "g"
    assert shortest.update({"id": token["id"], "name": "字"}).data["name"] == "字"
    assert shortest.create([{"name": "a"}, {"name": "ab"}]).message == too_long[1] + ": [1].name"


FAILURES = [
    ("GET", "/api/token/?order=x", None, "Invalid parameters: order must be asc or desc"),
    ("GET", "/api/token/1000000", None, "Token does not exist"),
    ("POST", "/api/token/", {"name": "x" * 31}, "Token name is too long"),
    ("POST", "/api/token/", [{}] * 2, "Maximum number of tokens reached (1)"),
    ("POST", "/api/token/", b" " * (1 << 20) + b"{}", "Request body is too large"),
    ("POST", "/api/token/batch", {"ids": []}, "Invalid parameters"),
    ("DELETE", "/api/token/1000000", None, "Token does not exist"),
]


def test_status_200_for_failures(store, start):
    user = start(TOKEN_HTTP_STATUS="200", TOKEN_MAX_PER_USER="1")
    user.checked = False  # openapi.yaml has the other statuses
    for method, target, body, message in FAILURES:
        reply = user.request(method, target, body)
        assert reply.failure == (200, message)
    token = user.create({"expired_time": 1}).data
    reply = user.update({"id": token["id"], "status": 1})
    assert reply.status == 200 and reply.message.startswith("The token has expired")
    store.ctl("user", "disable", user.user.id)
    assert user.list().failure == (200, "User is disabled")


def test_what_no_route_handles_stays(start):
    """A web server that asks for leave takes any 2xx for one: a wrong path must not be 200."""
    user = start(TOKEN_HTTP_STATUS="200")
    assert user.request("GET", "/api/token/nothing").failure == (404, "Not found")
    assert user.request("GET", "/api/token/Verify").failure == (404, "Not found")
    assert user.request("PATCH", "/api/token/").failure == (405, "Method not allowed")


def test_gateways_and_keys_keep_their_statuses(store, start):
    """A gateway that goes by the status must not take a refusal for permission."""
    user = start(TOKEN_HTTP_STATUS="200")
    key = user.make(unlimited_quota=False, remain_quota=1, allow_ips="10.0.0.1")["key"]
    gateway = Gateway(user.send, store.add_gateway("status"))
    use = {"key": key, "amount": 2}
    assert gateway.consume(**use, ip="10.0.0.2").refusal == (403, "address")
    assert gateway.reserve(**use, ip="10.0.0.2").refusal == (403, "address")
    assert gateway.consume(**use, ip="10.0.0.1").refusal == (401, "exhausted")
    assert gateway.consume(key=key, amount=-1).status == 400
    assert gateway.settle(reservation=2**60, amount=1).status == 404
    assert gateway.cancel(reservation="x").status == 400
    spare = user.make()["key"]
    assert gateway.reserve(key=spare, amount=1, transaction_id="a").status == 200
    assert gateway.reserve(key=spare, amount=2, transaction_id="a").status == 409
    assert gateway.consume(key="k" * (1 << 20)).status == 413
    assert user.verify("sk-x").status == 401 and user.verify(key).status == 403
    assert user.usage("sk-x").status == 401 and user.usage(key).status == 403
    assert user.request("POST", "/api/usage/token/").status == 405


def test_401_stays(start):
    user = start(TOKEN_HTTP_STATUS="200")
    for headers in ({"Authorization": None}, {"New-Api-User": "x"}, {"Authorization": "wrong"}):
        reply = user.request("GET", "/api/token/", headers=headers)
        assert reply.status == 401 and reply.headers["www-authenticate"] == "Bearer"


def test_success_is_as_ever_with_status_200(start):
    user = start(TOKEN_HTTP_STATUS="200")
    assert user.make(name="a")["name"] == "a"
    reply = user.request("OPTIONS", "/api/token/")
    assert (reply.status, reply.body) == (204, b"")


ORIGIN = "https://console.example.org:8443"


@pytest.mark.parametrize("setting", [ORIGIN, "*"])
def test_cors(start, setting):
    user = start(TOKEN_CORS_ORIGIN=setting)
    for origin in (ORIGIN, "https://elsewhere.example"):
        headers = {"Origin": origin}
        replies = [
            user.request("GET", "/api/token/", headers=headers),
            user.request("POST", "/api/token/", {}, headers),
            user.request("POST", "/api/token/", b"{", headers),
            user.request("GET", "/api/token/nothing", headers=headers),
            user.request("GET", "/api/token/", headers={**headers, "Authorization": None}),
            user.request("OPTIONS", "/api/token/", headers=headers),
        ]
        assert [reply.status for reply in replies] == [200, 200, 400, 404, 401, 204]
        for reply in replies:
            # Never the asker's: a browser lets the configured origin read, and no other.
            if origin == ORIGIN or "access-control-allow-origin" in reply.headers:
                assert reply.headers["access-control-allow-origin"] == setting
            assert "access-control-allow-credentials" not in reply.headers
            if setting != "*":
                assert "Origin" in reply.headers["vary"].split(", ")


@pytest.mark.parametrize(
    "path, methods",
    [
        ("/api/token/", {"GET", "POST", "PUT"}),
        ("/api/token/1", {"GET", "DELETE"}),
        ("/api/token/batch", {"POST"}),
        ("/api/token/nothing", {"OPTIONS"}),
        ("/api/usage/token/", {"GET"}),
        ("/api/status", {"GET"}),
        ("/v1/dashboard/billing/usage", {"GET"}),
    ],
)
def test_preflight(start, path, methods):
    user = start(TOKEN_CORS_ORIGIN=ORIGIN)
    reply = user.request(
        "OPTIONS",
        path,
        headers={
            "Authorization": None,
            "New-Api-User": None,
            "Origin": ORIGIN,
            "Access-Control-Request-Method": "PUT",
            "Access-Control-Request-Headers": "authorization,cache-control, x-requested-with,,a b",
        },
    )
    assert reply.status == 204
    assert set(reply.headers["vary"].split(", ")) == {"Origin", "Access-Control-Request-Headers"}
    assert reply.headers["access-control-allow-origin"] == ORIGIN
    assert methods <= set(reply.headers["access-control-allow-methods"].split(", "))
    allowed = reply.headers["access-control-allow-headers"].lower().split(", ")
    assert {"authorization", "cache-control", "x-requested-with", "new-api-user"} <= set(allowed)
    assert all(re.fullmatch("[a-z-]+", name) for name in allowed)
