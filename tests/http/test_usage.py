"""GET /api/usage/token/: the quota of a key, for its holder."""

import pytest
from client import Client, key_checksum
from service import Store

UNKNOWN_KEY = "sk-" + "0" * 42 + key_checksum("sk-" + "0" * 48)
MAX = 2**63 - 1


def test_form(user, gateway, client):
    token = user.make(
        name='my "key"',
        unlimited_quota=False,
        remain_quota=1000,
        model_limits_enabled=True,
        model_limits=["gpt-4", "gpt-3.5-turbo"],
        expired_time=4102444800,
    )
    gateway.consume(key=token["key"], amount=250, model="gpt-4").data
    reply = client.usage(token["key"])
    assert reply.status == 200
    assert list(reply.json) == ["code", "message", "data"]
    assert (reply.json["code"], reply.json["message"]) == (True, "ok")
    assert list(reply.json["data"].items()) == [
        ("object", "token_usage"),
        ("name", 'my "key"'),
        ("total_granted", 1000),
        ("total_used", 250),
        ("total_available", 750),
        ("unlimited_quota", False),
        ("model_limits", {"gpt-4": True, "gpt-3.5-turbo": True}),
        ("model_limits_enabled", True),
        ("expires_at", 4102444800),
    ]


def test_defaults(user, client):
    data = client.usage(user.make()["key"]).json["data"]
    assert data == {
        "object": "token_usage",
        "name": "",
        "total_granted": 0,
        "total_used": 0,
        "total_available": 0,
        "unlimited_quota": True,
        "model_limits": {},
        "model_limits_enabled": False,
        "expires_at": 0,
    }


def test_greatest_numbers(user, gateway, client):
    """The sum is exact, also beyond int64."""
    token = user.make(unlimited_quota=False, remain_quota=MAX)
    gateway.consume(key=token["key"], amount=MAX).data
    user.update({"id": token["id"], "remain_quota": MAX})
    data = client.usage(token["key"]).json["data"]
    assert (data["total_used"], data["total_available"]) == (MAX, MAX)
    assert data["total_granted"] == 2 * MAX


def test_models_that_have_to_be_escaped(user, client):
    token = user.make(model_limits='a"b,\\,字')
    assert client.usage(token["key"]).json["data"]["model_limits"] == {
        'a"b': True, "\\": True, "字": True
    }


def test_expired_and_exhausted_keys_are_answered(user, client):
    token = user.make(expired_time=5, unlimited_quota=False)
    data = client.usage(token["key"]).json["data"]
    assert (data["expires_at"], data["total_available"]) == (5, 0)


def test_model_limits_are_not_checked(user, client):
    token = user.make(model_limits="m", model_limits_enabled=True)
    assert client.usage(token["key"]).status == 200


def test_disabled(site, user, client):
    token = user.make()
    user.update({"id": token["id"], "status": 2})
    assert client.usage(token["key"]).refusal == (401, "disabled")
    user.update({"id": token["id"], "status": 1})
    assert client.usage(token["key"]).status == 200
    site.ctl("user", "disable", user.user.id)
    assert client.usage(token["key"]).refusal == (401, "disabled")
    site.ctl("user", "delete", user.user.id)
    assert client.usage(token["key"]).refusal == (401, "unknown")


def test_address(user, client):
    key = user.make(allow_ips="10.0.0.0/8")["key"]
    assert client.usage(key).refusal == (403, "address")
    key = user.make(allow_ips="10.0.0.0/8,127.0.0.1", expired_time=1)["key"]
    assert client.usage(key).status == 200


@pytest.mark.parametrize("key", ["x", "sk-" + "0" * 48, UNKNOWN_KEY, UNKNOWN_KEY[3:]])
def test_unknown(client, key):
    assert client.usage(key).refusal == (401, "unknown")


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic dTpw"])
def test_missing(client, header):
    reply = client.request(
        "GET", "/api/usage/token/", None, {"Authorization": header, "New-Api-User": None}
    )
    assert reply.refusal == (401, "missing")
    assert reply.headers["www-authenticate"] == "Bearer"


def test_access_token_is_not_a_key(user, client):
    reply = client.request("GET", "/api/usage/token/", None, user.credentials)
    assert reply.refusal == (401, "unknown")


def test_it_changes_nothing(user, client):
    token = user.make(unlimited_quota=False, remain_quota=5)
    assert client.usage(token["key"]).status == 200
    assert user.get(token["id"]).data == token


@pytest.mark.parametrize("path", ["/api/usage/token", "/api/usage/token/"])
def test_paths(user, client, path):
    headers = {"Authorization": f"Bearer {user.make()['key']}", "New-Api-User": None}
    assert client.request("GET", path, None, headers).status == 200
    assert client.request("GET", path + "?key=x", None, headers).status == 200


@pytest.mark.parametrize("path", ["/api/usage/token/1", "/api/usage/token/search",
                                  "/api/usage/token/verify", "/api/usage/token/1/key"])
def test_other_paths(user, client, path):
    headers = {"Authorization": f"Bearer {user.make()['key']}", "New-Api-User": None}
    assert client.request("GET", path, None, headers).failure == (404, "Not found")


def test_methods(client):
    reply = client.request("OPTIONS", "/api/usage/token/")
    assert (reply.status, reply.headers["allow"]) == (204, "GET, HEAD, OPTIONS")
    reply = client.request("POST", "/api/usage/token/", {})
    assert (reply.status, reply.headers["allow"]) == (405, "GET, HEAD, OPTIONS")


def test_the_roots_are_separate(user, client):
    """A key gives access to no route of a user, and neither root has the other's routes."""
    key = user.make()["key"]
    headers = {"Authorization": f"Bearer {key}", "New-Api-User": str(user.user.id)}
    assert client.request("GET", "/api/token/", None, headers).status == 401
    assert client.request("GET", "/api/usage/token/", None, headers).status == 200


def test_cors():
    with Store(TOKEN_CORS_ORIGIN="https://console.example.org") as store:
        client = Client(store.cgi, store.add_user())
        reply = client.usage(client.make()["key"])
        assert reply.headers["access-control-allow-origin"] == "https://console.example.org"
