"""/verify: the check of a key for nginx's auth_request."""

import hashlib
import os
import signal
import subprocess
import time

import contract
import fastcgi
import pytest
from client import Client, key_checksum
from service import Site, Store, clock_s, wait_until

UNKNOWN_KEY = "sk-" + "0" * 42 + key_checksum("sk-" + "0" * 48)
MAX = 2**63 - 1


@pytest.fixture(params=["fastcgi", "cgi"])
def ask(request, site):
    """Asks with a key over the socket, with the variables that nginx would set."""

    def fastcgi_ask(variables, body):
        with fastcgi.Connection(site.socket) as connection:
            connection.send(fastcgi.request(variables, body))
            return connection.read_reply()

    def cgi_ask(variables, body):
        done = site.run_cgi(variables, body)
        assert (done.returncode, done.stderr) == (0, b""), done
        return fastcgi.parse_cgi(done.stdout)

    def asked(key=None, body=b"", method="GET", **variables):
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        made = {**fastcgi.environment(method, "/api/token/verify", headers), **variables}
        made = {name: value for name, value in made.items() if value is not None}
        reply = (fastcgi_ask if request.param == "fastcgi" else cgi_ask)(made, body)
        contract.check(method, "/api/token/verify", reply)
        return reply

    return asked


def quotas(user, token):
    now = user.get(token["id"]).data
    return now["remain_quota"], now["used_quota"]


# ---- valid keys ----


def test_valid_key(user, ask):
    token = user.make(unlimited_quota=False, remain_quota=70)
    reply = ask(token["key"])
    assert reply.status == 204 and reply.body == b""
    assert reply.headers == {
        "cache-control": "no-store",
        "x-token-id": str(token["id"]),
        "x-token-user": str(token["user_id"]),
        "x-token-group": token["group"],
        "x-token-remain": "70",
    }


def test_unlimited(user, ask):
    token = user.make(remain_quota=3)
    assert ask(token["key"]).verdict == (204, "unlimited")
    assert ask(token["key"], TOKEN_COST="5").verdict == (204, "unlimited")
    assert quotas(user, token) == (3, 5)


@pytest.mark.parametrize("scheme", ["Bearer ", "bearer ", "BEARER  ", " Bearer ", ""])
def test_schemes(user, ask, scheme):
    key = user.make()["key"]
    assert ask(HTTP_AUTHORIZATION=scheme + key).status == 204


def test_x_api_key(user, ask):
    key = user.make()["key"]
    assert ask(HTTP_X_API_KEY=key).status == 204
    assert ask(HTTP_X_API_KEY=UNKNOWN_KEY).verdict == (401, "unknown")
    assert ask(HTTP_AUTHORIZATION="", HTTP_X_API_KEY=key).status == 204
    assert ask(HTTP_AUTHORIZATION="Basic dTpw", HTTP_X_API_KEY=key).status == 204


@pytest.mark.parametrize("before", ["sk-", "", "sk-sk-"])
def test_forms_of_a_key(site, user, gateway, ask, before):
    token = user.make(name="forms")
    key = before + token["key"][3:]
    assert ask(key).status == 204
    assert ask(HTTP_X_API_KEY=key).status == 204
    assert gateway.consume(key=key, amount=1).status == 200
    assert gateway.reserve(key=key, amount=1).status == 200
    assert user.usage(key).json["data"]["name"] == "forms"
    for text in (key, key[:20], key + "%25", "%25" + key[:30] + "%25"):
        assert [found["id"] for found in user.search(f"?token={text}").data["items"]] == [
            token["id"]
        ], text
    assert ask("sk-sk-sk-" + key[-48:]).verdict == (401, "malformed")


def test_headers_of_a_key(user, ask):
    key = user.make()["key"]
    sent = {
        "HTTP_AUTHORIZATION": "Bearer ",
        "HTTP_X_API_KEY": "",
        "HTTP_API_KEY": "",
        "HTTP_X_GOOG_API_KEY": "",
        "HTTP_SEC_WEBSOCKET_PROTOCOL": "realtime, openai-insecure-api-key.",
    }
    for name, before in sent.items():  # the first that holds a key counts
        names = list(sent)
        later = {n: sent[n] + UNKNOWN_KEY for n in names[names.index(name) + 1 :]}
        assert ask(**{name: before + key}, **later).status == 204
        assert ask(**{name: before + UNKNOWN_KEY}).verdict == (401, "unknown")
    assert ask(HTTP_SEC_WEBSOCKET_PROTOCOL=f"openai-insecure-api-key.{key} , a").status == 204
    assert ask(HTTP_SEC_WEBSOCKET_PROTOCOL="realtime").verdict == (401, "missing")


def test_authorization_comes_first(user, ask):
    key = user.make()["key"]
    assert ask(key, HTTP_X_API_KEY=UNKNOWN_KEY).status == 204
    assert ask(UNKNOWN_KEY, HTTP_X_API_KEY=key).verdict == (401, "unknown")


def test_through_nginx(user):
    token = user.make(unlimited_quota=False, remain_quota=1)
    for method in ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
        assert user.verify(token["key"], method).verdict == (204, "1")
    assert user.verify("sk-x").verdict == (401, "malformed")
    assert user.verify("", Authorization=None).verdict == (401, "missing")


def test_group_that_is_not_ascii(user):
    token = user.make(group="组 é")
    reply = user.verify(token["key"])
    assert reply.headers["x-token-group"].encode("latin-1").decode() == "组 é"


# ---- refusals; nothing is spent ----

REFUSALS = [
    # fields of the token, variables, verdict
    ({"expired_time": 1}, {}, (401, "expired")),
    ({"unlimited_quota": False}, {}, (401, "exhausted")),
    ({"unlimited_quota": False}, {"TOKEN_COST": "0"}, (401, "exhausted")),
    ({"unlimited_quota": False}, {"TOKEN_COST": "1"}, (401, "exhausted")),
    ({"unlimited_quota": False, "remain_quota": 5}, {"TOKEN_COST": "6"}, (401, "exhausted")),
    ({"unlimited_quota": False, "remain_quota": 5}, {"TOKEN_COST": str(MAX)}, (401, "exhausted")),
    ({"allow_ips": "10.0.0.0/8"}, {"REMOTE_ADDR": "11.0.0.1"}, (403, "address")),
    ({"allow_ips": "10.0.0.0/8"}, {"REMOTE_ADDR": "::1"}, (403, "address")),
    ({"allow_ips": "10.0.0.0/8"}, {"REMOTE_ADDR": ""}, (403, "address")),
    ({"allow_ips": "10.0.0.0/8"}, {"REMOTE_ADDR": None}, (403, "address")),
    ({"allow_ips": "0.0.0.0/0,::/0"}, {"REMOTE_ADDR": "unix:"}, (403, "address")),
    ({"allow_ips": "10.0.0.0/8"}, {"HTTP_X_FORWARDED_FOR": "10.0.0.1"}, (403, "address")),
    ({"model_limits_enabled": True, "model_limits": "a,b"}, {"TOKEN_MODEL": "c"}, (403, "model")),
    ({"model_limits_enabled": True, "model_limits": "a,b"}, {"TOKEN_MODEL": "a,b"}, (403, "model")),
    ({"model_limits_enabled": True, "model_limits": "a,b"}, {"TOKEN_MODEL": ""}, (403, "model")),
    ({"model_limits_enabled": True, "model_limits": "a,b"}, {}, (403, "model")),
    ({"model_limits_enabled": True, "model_limits": "a"}, {"HTTP_X_MODEL": "a"}, (403, "model")),
    ({"model_limits_enabled": True}, {"TOKEN_MODEL": "a"}, (403, "model")),
]


@pytest.mark.parametrize("fields, variables, verdict", REFUSALS)
def test_refused(user, ask, fields, variables, verdict):
    token = user.make(**fields)
    before = quotas(user, token)
    assert ask(token["key"], **variables).verdict == verdict
    assert quotas(user, token) == before


GOOD = [
    ({"expired_time": -1}, {}),
    ({"expired_time": 4102444800}, {}),
    ({"allow_ips": "10.0.0.0/8"}, {"REMOTE_ADDR": "10.1.2.3"}),
    ({"allow_ips": "10.0.0.0/8"}, {"REMOTE_ADDR": "::ffff:10.1.2.3"}),
    ({"allow_ips": "2001:db8::/32"}, {"REMOTE_ADDR": "2001:db8::1"}),
    ({"allow_ips": ""}, {"REMOTE_ADDR": None}),
    ({"model_limits_enabled": True, "model_limits": "a,b"}, {"TOKEN_MODEL": "b"}),
    ({"model_limits_enabled": False, "model_limits": "a,b"}, {"TOKEN_MODEL": "c"}),
    ({"model_limits_enabled": False, "model_limits": "a,b"}, {}),
]


@pytest.mark.parametrize("fields, variables", GOOD)
def test_not_refused(user, ask, fields, variables):
    assert ask(user.make(**fields)["key"], **variables).status == 204


LIMITED = {"model_limits_enabled": True, "model_limits": "a,b*"}


def test_location_without_a_model(user, ask):
    """TOKEN_MODEL_CHECK=off: of no model, whatever the limits are."""
    key = user.make(**LIMITED, remain_quota=9, unlimited_quota=False)["key"]
    assert ask(key, TOKEN_MODEL_CHECK="off").verdict == (204, "9")
    assert ask(key, TOKEN_MODEL_CHECK="off", TOKEN_COST="2").verdict == (204, "7")
    for value in ("on", "", "Off", "off ", None):
        assert ask(key, TOKEN_MODEL_CHECK=value).verdict == (403, "model")
    assert ask(key, HTTP_TOKEN_MODEL_CHECK="off").verdict == (403, "model")


@pytest.mark.parametrize("cost", ["0", "1"])
def test_models_are_told(user, ask, cost):
    """For a list of models that is cut to what the key may use."""

    def told(**fields):
        key = user.make(**fields)["key"]
        reply = ask(key, TOKEN_MODEL_CHECK="off", TOKEN_MODEL="a", TOKEN_COST=cost)
        assert reply.status == 204
        return reply.headers.get("x-token-models")

    assert told(**LIMITED) == "a,b*"
    assert told(model_limits_enabled=True) == ""
    assert told(model_limits_enabled=False, model_limits="a") is None
    assert told(model_limits="a" * 2048) == "a" * 2048
    assert told(model_limits="a" * 2049) is None


KEYS = [
    (None, "missing"),
    ("", "missing"),
    ("x", "malformed"),
    ("sk-", "malformed"),
    ("sk-" + "0" * 48, "malformed"),
    (UNKNOWN_KEY[:-1], "malformed"),
    (UNKNOWN_KEY + "0", "malformed"),
    ("SK" + UNKNOWN_KEY[2:], "malformed"),
    (UNKNOWN_KEY, "unknown"),
]


@pytest.mark.parametrize("key, reason", KEYS)
def test_malformed_keys(ask, key, reason):
    reply = ask(key)
    assert reply.verdict == (401, reason)
    assert reply.headers["www-authenticate"] == "Bearer"


def test_each_changed_character_is_malformed(user, site):
    """A typing error is never looked up and never accepted."""
    key = user.make()["key"]
    with fastcgi.Connection(site.socket) as connection:
        for at in range(3, len(key)):
            other = "a" if key[at] != "a" else "b"
            wrong = key[:at] + other + key[at + 1 :]
            reply = connection.ask("GET", "/api/token/verify", {"Authorization": wrong})
            assert reply.verdict == (401, "malformed"), wrong


def test_disabled_token(user, ask):
    token = user.make(remain_quota=5)
    user.update({"id": token["id"], "status": 2})
    assert ask(token["key"]).verdict == (401, "disabled")
    user.update({"id": token["id"], "status": 1})
    assert ask(token["key"]).status == 204


def test_deleted_token(user, ask):
    token = user.make()
    user.delete(token["id"])
    assert ask(token["key"]).verdict == (401, "unknown")


def test_owner(site, user, ask):
    token = user.make(unlimited_quota=False, remain_quota=9)
    site.ctl("user", "disable", user.user.id)
    assert ask(token["key"], TOKEN_COST="1").verdict == (403, "user")
    site.ctl("user", "enable", user.user.id)
    assert ask(token["key"], TOKEN_COST="1").verdict == (204, "8")
    site.ctl("user", "delete", user.user.id)
    assert ask(token["key"], TOKEN_COST="1").verdict == (401, "unknown")


def test_order_of_the_checks(site, user, ask):
    """Every check fails at first; one after the other is corrected."""
    token = user.make(
        expired_time=1,
        unlimited_quota=False,
        remain_quota=1,
        allow_ips="10.0.0.1",
        model_limits_enabled=True,
        model_limits="a",
    )
    variables = {"REMOTE_ADDR": "10.0.0.2", "TOKEN_MODEL": "b", "TOKEN_COST": "2"}
    user.update({"id": token["id"], "status": 2})
    site.ctl("user", "disable", user.user.id)

    def reason():
        return ask(token["key"], **variables).headers["x-token-reason"]

    assert reason() == "user"
    site.ctl("user", "enable", user.user.id)
    assert reason() == "disabled"
    user.update({"id": token["id"], "status": 1, "expired_time": 4102444800})
    user.update({"id": token["id"], "expired_time": 1})
    assert reason() == "expired"
    user.update({"id": token["id"], "expired_time": -1})
    assert reason() == "address"
    variables["REMOTE_ADDR"] = "10.0.0.1"
    assert reason() == "model"
    variables["TOKEN_MODEL"] = "a"
    assert reason() == "exhausted"
    variables["TOKEN_COST"] = "1"
    assert ask(token["key"], **variables).verdict == (204, "0")


# ---- costs ----


def test_cost_is_charged(user, ask):
    token = user.make(unlimited_quota=False, remain_quota=10)
    assert ask(token["key"], TOKEN_COST="3").verdict == (204, "7")
    assert ask(token["key"], TOKEN_COST="0").verdict == (204, "7")
    assert ask(token["key"], TOKEN_COST="").verdict == (204, "7")
    assert ask(token["key"]).verdict == (204, "7")
    assert ask(token["key"], TOKEN_COST="8").verdict == (401, "exhausted")
    assert ask(token["key"], TOKEN_COST="7").verdict == (204, "0")
    assert ask(token["key"], TOKEN_COST="0").verdict == (401, "exhausted")
    assert quotas(user, token) == (0, 10)
    assert user.get(token["id"]).data["status"] == 4


def test_greatest_numbers(user, ask):
    token = user.make(unlimited_quota=False, remain_quota=MAX)
    assert ask(token["key"], TOKEN_COST=str(MAX)).verdict == (204, "0")
    assert quotas(user, token) == (0, MAX)
    user.update({"id": token["id"], "unlimited_quota": True})
    assert ask(token["key"], TOKEN_COST="1").verdict == (401, "exhausted")
    assert quotas(user, token) == (0, MAX)


@pytest.mark.parametrize(
    "cost", ["-1", "x", "1.5", "1e3", "0x5", "+5", "5 5", "9223372036854775808", "-", " "]
)
def test_malformed_cost(user, ask, cost):
    """A configuration error of the site: every request is refused."""
    token = user.make(unlimited_quota=False, remain_quota=10)
    assert ask(token["key"], TOKEN_COST=cost).verdict == (403, "cost")
    assert quotas(user, token) == (10, 0)


def test_cost_comes_from_the_server_only(user, ask):
    token = user.make(unlimited_quota=False, remain_quota=10)
    asked = {"HTTP_TOKEN_COST": "4", "HTTP_X_TOKEN_COST": "4", "QUERY_STRING": "TOKEN_COST=4"}
    assert ask(token["key"], **asked).verdict == (204, "10")


# ---- choice of the route ----

ORIGINAL = {
    "REQUEST_URI": "/v1/chat/completions?a=b",
    "QUERY_STRING": "a=b",
    "SCRIPT_NAME": "/v1/chat/completions",
    "SCRIPT_FILENAME": "/v1/chat/completions",
}


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "OPTIONS", "HEAD", "BREW", ""])
@pytest.mark.parametrize(
    "variables",
    [
        {"DOCUMENT_URI": "/verify", "PATH_INFO": None},
        {"DOCUMENT_URI": "/api/token/verify", "PATH_INFO": None},
        {"DOCUMENT_URI": "/api/token/verify", "PATH_INFO": "/5"},
        {"DOCUMENT_URI": "/api/token/verify", "PATH_INFO": ""},
        {"DOCUMENT_URI": "/_internal", "PATH_INFO": "/verify"},
        {"DOCUMENT_URI": None, "PATH_INFO": "/verify"},
        {"DOCUMENT_URI": None, "PATH_INFO": "/api/token/verify"},
    ],
)
def test_chosen_for_any_original_request(user, ask, method, variables):
    token = user.make(unlimited_quota=False, remain_quota=5)
    reply = ask(token["key"], method=method, TOKEN_COST="2", **{**ORIGINAL, **variables})
    assert reply.verdict == (204, "3")


@pytest.mark.parametrize("uri", ["/verify/", "/verifyx", "/x/verify", "/api/tokenverify"])
def test_another_document_uri_does_not_choose_it(site, user, send, uri):
    """The request is a list, for which a key is not an access token."""
    key = user.make()["key"]
    variables = fastcgi.environment("GET", "/api/token/", {"Authorization": f"Bearer {key}"})
    variables["DOCUMENT_URI"] = uri
    with fastcgi.Connection(site.socket) as connection:
        connection.send(fastcgi.request(variables))
        assert connection.read_reply().status == 401


@pytest.mark.parametrize("length", ["5", "1048576", "1048577", "99999999999", "-1", "x", ""])
def test_body_that_is_not_sent(user, ask, length):
    """CONTENT_LENGTH is the original request's; the body is not forwarded."""
    key = user.make()["key"]
    assert ask(key, method="POST", CONTENT_LENGTH=length).status == 204


@pytest.mark.parametrize("body", [b"x", b"{", b"\xff" * 100, b" " * (3 << 20)])
def test_body_that_is_sent(user, ask, body):
    key = user.make()["key"]
    assert ask(key, body, method="POST", CONTENT_LENGTH=str(len(body))).status == 204


def test_cgi_does_not_wait_for_a_body(site, user):
    """The pipe is open and empty."""
    headers = {"Authorization": f"Bearer {user.make()['key']}"}
    variables = fastcgi.environment("POST", "/api/token/verify", headers)
    reader, writer = os.pipe()
    with subprocess.Popen(
        [site.program],
        stdin=reader,
        stdout=subprocess.PIPE,
        env={**site.environment, **variables, "CONTENT_LENGTH": "100"},
        **site.as_worker_user(),
    ) as worker:
        os.close(reader)
        output = worker.stdout.read()
        os.close(writer)
    assert fastcgi.parse_cgi(output).status == 204


def test_connection_is_kept(site, user):
    """All kinds of answers on one kept connection, in order."""
    tokens = user.make_many(5, unlimited_quota=False, remain_quota=100)
    with fastcgi.Connection(site.socket) as connection:
        for turn in range(30):
            token = tokens[turn % 5]
            headers = {"Authorization": f"Bearer {token['key']}"}
            variables = fastcgi.environment("GET", "/api/token/verify", headers)
            variables["TOKEN_COST"] = str(turn % 3)
            connection.send(fastcgi.request(variables, keep=True))
            assert connection.read_reply().headers["x-token-id"] == str(token["id"])
            assert connection.ask("OPTIONS", "/api/token/").status == 204
    used = sum(quotas(user, token)[1] for token in tokens)
    assert used == sum(turn % 3 for turn in range(30))


# ---- settings and failures ----


def test_http_status_200_has_no_effect(site, user):
    """With 200, nginx would accept every request."""
    token = user.make(unlimited_quota=False, allow_ips="::1")
    for key, verdict in ((None, (401, "missing")), (token["key"], (403, "address"))):
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        variables = fastcgi.environment("GET", "/api/token/verify", headers)
        done = site.run_cgi(variables, TOKEN_HTTP_STATUS="200")
        assert fastcgi.parse_cgi(done.stdout).verdict == verdict


@pytest.mark.lmdb
def test_damaged_record_refuses():
    with Store() as store:
        _, path = store.start_worker()
        user = Client(fastcgi.transport(path), store.add_user())
        key = user.make(name="to be damaged")["key"]
        assert user.verify(key).status == 204
        store.damage_version("to be damaged")
        reply = user.verify(key)
        assert reply.status == 503 and "retry-after" in reply.headers


# ---- accessed_time ----

LONG_AGO = 1_000_000_000


def test_accessed_time_cgi(site, user):
    """A CGI process writes it at once."""
    client = Client(site.cgi, user.user)
    token = user.make(name="used by cgi")
    site.set_accessed("used by cgi", LONG_AGO)
    assert user.get(token["id"]).data["accessed_time"] == LONG_AGO
    started = clock_s()
    assert client.verify(token["key"]).status == 204
    assert started <= user.get(token["id"]).data["accessed_time"] <= time.time()


def test_refused_use_does_not_count(site, user):
    client = Client(site.cgi, user.user)
    token = user.make(name="refused by cgi", unlimited_quota=False)
    site.set_accessed("refused by cgi", LONG_AGO)
    assert client.verify(token["key"]).status == 401
    assert user.get(token["id"]).data["accessed_time"] == LONG_AGO


@pytest.mark.threads
def test_accessed_time_with_a_cost(site, user):
    """A spend writes the record anyway."""
    token = user.make(name="used and paid")
    site.set_accessed("used and paid", LONG_AGO)
    started = clock_s()
    variables = fastcgi.environment(
        "GET", "/api/token/verify", {"Authorization": f"Bearer {token['key']}"}
    )
    with fastcgi.Connection(site.socket) as connection:
        connection.send(fastcgi.request({**variables, "TOKEN_COST": "1"}))
        assert connection.read_reply().status == 204
    assert started <= user.get(token["id"]).data["accessed_time"] <= time.time()


@pytest.mark.threads
@pytest.mark.parametrize("stop", ["SIGTERM", "SIGUSR1"])
def test_accessed_time_is_written_before_the_end(stop):
    """Kept in memory and written when a worker exits; not a write per request."""
    with Store() as store:
        worker, path = store.start_worker()
        user = Client(fastcgi.transport(path), store.add_user())
        tokens = [user.make(name=f"used number {n}") for n in range(20)]
        for n in range(20):
            store.set_accessed(f"used number {n}", LONG_AGO)
        before = hashlib.sha256(store.tokens()).digest()
        started = clock_s()
        for _ in range(10):
            for token in tokens[:10]:
                assert user.verify(token["key"]).status == 204
        assert hashlib.sha256(store.tokens()).digest() == before
        worker.send_signal(getattr(signal, stop))
        assert worker.wait(timeout=60) == 0
        store.start_worker_on(store.listeners[0])
        for n, token in enumerate(tokens):
            accessed = user.get(token["id"]).data["accessed_time"]
            if n < 10:
                assert started <= accessed <= time.time()
            else:
                assert accessed == LONG_AGO
        store.check()


@pytest.mark.threads
def test_accessed_time_is_written_in_the_background():
    """Within a minute, by a running worker."""
    with Site(workers=1) as site:
        user = site.http(site.add_user())
        token = user.make(name="used in a pool")
        site.set_accessed("used in a pool", LONG_AGO)
        started = clock_s()
        assert user.verify(token["key"]).status == 204
        wait_until(
            lambda: user.get(token["id"]).data["accessed_time"] >= started,
            "accessed_time has followed",
            timeout=60,
        )
