"""POST /:id/rotate: another key on the same token."""

import json
import time

import pytest
from client import Client, key_checksum


@pytest.fixture
def client(send, user):
    return Client(send, user.user)


def verdict(client, key):
    return client.verify(key).verdict


def test_rotate(user, client):
    token = user.make(name="to rotate", remain_quota=7, group="vip", allow_ips="127.0.0.1")
    rotated = client.rotate(token["id"]).data
    assert rotated == {**token, "key": rotated["key"]}
    assert rotated["key"] != token["key"]
    assert rotated["key"][45:] == key_checksum(rotated["key"])
    assert user.get(token["id"]).data == rotated
    assert verdict(client, token["key"]) == (401, "unknown")
    assert verdict(client, rotated["key"]) == (204, "unlimited")


def test_used_and_remaining_quota_stay(user, gateway, client):
    token = user.make(unlimited_quota=False, remain_quota=100)
    gateway.consume(key=token["key"], amount=30).data
    rotated = client.rotate(token["id"]).data
    assert (rotated["remain_quota"], rotated["used_quota"]) == (70, 30)


@pytest.mark.parametrize("body", [None, b"", b"{}", b'{"grace_seconds":0}', b'{"grace_seconds":null}'])
def test_no_grace(user, client, body):
    token = user.make()
    assert client.rotate(token["id"], body).status == 200
    assert verdict(client, token["key"]) == (401, "unknown")


@pytest.mark.parametrize("grace", [60, 2592000])
def test_grace(user, gateway, client, grace):
    """Both keys belong to the same token."""
    token = user.make(unlimited_quota=False, remain_quota=100)
    rotated = client.rotate(token["id"], {"grace_seconds": grace}).data
    for key in (token["key"], rotated["key"]):
        assert gateway.consume(key=key, amount=10).data["token_id"] == token["id"]
        assert verdict(client, key)[0] == 204
        assert client.usage(key).json["data"]["total_granted"] == 100
    assert user.get(token["id"]).data["remain_quota"] == 80
    assert user.get(token["id"]).data["key"] == rotated["key"]
    assert user.search(f"?token={rotated['key']}").data["total"] == 1


def test_rotating_again_ends_an_earlier_grace(user, client):
    token = user.make()
    keys = [token["key"]]
    for grace in (3600, 3600, 3600):
        keys.append(client.rotate(token["id"], {"grace_seconds": grace}).data["key"])
        good = [key for key in keys if verdict(client, key)[0] == 204]
        assert good == keys[-2:]
    client.rotate(token["id"])
    assert [key for key in keys if verdict(client, key)[0] == 204] == []


def test_grace_ends(user, client):
    token = user.make()
    rotated = client.rotate(token["id"], {"grace_seconds": 1}).data
    time.sleep(2.1)
    assert verdict(client, token["key"]) == (401, "unknown")
    assert verdict(client, rotated["key"])[0] == 204
    again = client.rotate(token["id"], {"grace_seconds": 60}).data
    assert verdict(client, rotated["key"])[0] == verdict(client, again["key"])[0] == 204


def test_old_key_is_refused_like_the_token(site, user, client):
    token = user.make()
    client.rotate(token["id"], {"grace_seconds": 60})
    user.update({"id": token["id"], "status": 2})
    assert verdict(client, token["key"]) == (401, "disabled")
    site.ctl("user", "disable", user.user.id)
    assert verdict(client, token["key"]) == (403, "user")


def test_deleted_token_ends_both(user, client):
    token = user.make()
    rotated = client.rotate(token["id"], {"grace_seconds": 60}).data
    user.delete(token["id"])
    for key in (token["key"], rotated["key"]):
        assert verdict(client, key) == (401, "unknown")


def test_update_and_use_keep_the_grace(user, gateway, client):
    token = user.make()
    client.rotate(token["id"], {"grace_seconds": 60})
    user.update({"id": token["id"], "name": "x" * 30, "model_limits": "m" * 8000,
                 "model_limits_enabled": False})
    gateway.consume(key=token["key"], amount=1).data
    assert verdict(client, token["key"])[0] == 204


@pytest.mark.parametrize("kind", ["disabled", "expired", "exhausted"])
def test_token_of_any_status(user, client, kind):
    token = user.make(expired_time=1 if kind == "expired" else -1,
                      unlimited_quota=kind != "exhausted")
    if kind == "disabled":
        user.update({"id": token["id"], "status": 2})
    rotated = client.rotate(token["id"]).data
    assert rotated["status"] == {"disabled": 2, "expired": 3, "exhausted": 4}[kind]
    assert verdict(client, rotated["key"]) == (401, kind)


def test_unknown_token(user, other_user, client):
    other = other_user.make()
    for token_id in (other["id"], 2**40, 0, 2**70):
        assert client.rotate(token_id).failure == (404, "Token does not exist")
    assert other_user.get(other["id"]).data == other


@pytest.mark.parametrize(
    "grace, field",
    [(-1, "grace_seconds"), (2592001, "grace_seconds"), ("60", "grace_seconds"),
     (1.5, "grace_seconds"), (True, "grace_seconds"), (2**63, "grace_seconds")],
)
def test_bad_grace(user, client, grace, field):
    token = user.make()
    status, message = client.rotate(token["id"], {"grace_seconds": grace}).failure
    assert status == 400 and message.startswith(f"Invalid parameters: {field}"), message
    assert user.get(token["id"]).data == token


@pytest.mark.parametrize("body", [b"{", b"[]", b"1", b'{"grace_seconds":1,}', b"\xff"])
def test_bad_body(user, client, body):
    token = user.make()
    status, message = client.rotate(token["id"], body).failure
    assert status == 400 and message.startswith("Invalid parameters: body"), message
    assert user.get(token["id"]).data == token


def test_methods(client):
    reply = client.request("GET", "/api/token/1/rotate")
    assert reply.status == 405 and reply.headers["allow"] == "POST, OPTIONS"
    assert client.request("POST", "/api/token/1/rotate/").status == 404


def test_idempotency_key(user, client):
    token = user.make()
    headers = {"Idempotency-Key": f"rotate {token['id']}".replace(" ", "-")}
    first = client.rotate(token["id"], {"grace_seconds": 5}, headers)
    for _ in range(2):
        assert client.rotate(token["id"], {"grace_seconds": 5}, headers).body == first.body
    assert user.get(token["id"]).data["key"] == first.data["key"]
    assert client.rotate(token["id"], {"grace_seconds": 6}, headers).status == 409
    other = user.make()
    rotated = client.rotate(other["id"], {"grace_seconds": 5}, headers).data
    assert rotated["id"] == other["id"]  # another path is another request


def test_many_rotations(site, user):
    """The index of keys has exactly the valid keys."""
    tokens = user.make_many(10)
    for turn in range(60):
        user.rotate(tokens[turn % 10]["id"], {"grace_seconds": turn % 3})
    site.check()


def test_keys_are_not_in_the_store(site, user):
    token = user.make()
    rotated = user.rotate(token["id"], {"grace_seconds": 60}, {"Idempotency-Key": "sealed"}).data
    data = site.data()
    for key in (token["key"], rotated["key"]):
        assert key[3:].encode() not in data and key[3:20].encode() not in data
    assert json.dumps(rotated["name"]).encode() not in data or rotated["name"] == ""
