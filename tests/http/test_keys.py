"""Keys: shown or masked, and in full on the routes for it."""

import fastcgi
import pytest
from client import Client
from service import Store


def masked(key):
    return key[:7] + "**********" + key[-4:]


# ---- POST /:id/key, POST /batch/keys ----


@pytest.fixture
def client(send, user):
    return Client(send, user.user)


def test_key(user, client):
    token = user.make()
    assert client.show_key(token["id"]).data == {"key": token["key"]}
    reply = client.request("POST", f"/api/token/{token['id']}/key", b"{not looked at")
    assert reply.data == {"key": token["key"]}


def test_key_of_unknown_token(other_user, client):
    """Another user's token is answered as unknown."""
    other = other_user.make()["id"]
    replies = [client.show_key(token_id) for token_id in (other, 2**40, 0, 2**70)]
    assert {reply.body for reply in replies} == {replies[0].body}
    assert replies[0].failure == (404, "Token does not exist")


def test_keys(user, other_user, client):
    tokens = user.make_many(5)
    ids = [token["id"] for token in tokens]
    others = [other_user.make()["id"], 2**40, 0, -1, 2**63 - 1]
    asked = [ids[3], *others, ids[0], ids[3], ids[1]]
    expected = {str(tokens[n]["id"]): tokens[n]["key"] for n in (3, 0, 1)}
    reply = client.show_keys({"ids": asked})
    assert reply.data == {"keys": expected}
    assert list(reply.data["keys"]) == list(expected)
    assert reply.body.count(str(ids[3]).encode() + b'":') == 1
    assert client.show_keys({"ids": others}).data == {"keys": {}}


def test_most_keys(user, client):
    tokens = user.make_many(101)
    ids = [token["id"] for token in tokens]
    data = client.show_keys({"ids": ids[:100]}).data
    assert data == {"keys": {str(token["id"]): token["key"] for token in tokens[:100]}}
    assert client.show_keys({"ids": ids}).failure == (400, "Invalid parameters")


@pytest.mark.parametrize(
    "body",
    [b"{}", b'{"ids":[]}', b'{"ids":null}', b'{"ids":1}', b'{"ids":["1"]}', b'{"ids":[1.5]}',
     b'{"ids":[null]}', b'{"ids":{"1":1}}', b'{"ids":[9223372036854775808]}'],
)
def test_bad_ids(client, body):
    assert client.show_keys(body).failure == (400, "Invalid parameters")


def test_bad_body(client):
    for body in (b"", b"{", b"[]", b'{"ids":[1],"ids":[1]}'):
        status, message = client.show_keys(body).failure
        assert status == 400 and message.startswith("Invalid parameters: ")


@pytest.mark.parametrize("target", ["/api/token/1/key", "/api/token/batch/keys"])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
def test_other_methods(client, target, method):
    """Browsers would cache a key in the answer to a GET."""
    reply = client.request(method, target)
    assert reply.status == 405 and reply.headers["allow"] == "POST, OPTIONS"


@pytest.mark.parametrize(
    "target",
    ["/api/token/1/keys", "/api/token/x/key", "/api/token/key",
     "/api/token//key", "/api/token/-1/key", "/api/token/1/2/key"],
)
def test_other_paths(client, target):
    assert client.request("POST", target).failure == (404, "Not found")


def test_key_needs_its_owner(site, user, other_user):
    token = user.make()
    headers = {"Authorization": f"Bearer {token['key']}"}
    assert user.request("POST", f"/api/token/{token['id']}/key", None, headers).status == 401
    assert user.show_key(token["id"]).status == 200


# ---- masked ----


@pytest.fixture(scope="module", params=["fastcgi", "cgi"])
def masking(request, engine):
    """A client of a service with TOKEN_KEYS=masked."""
    with Store(TOKEN_KEYS="masked") as store:
        _, path = store.start_worker()
        send = fastcgi.transport(path) if request.param == "fastcgi" else store.cgi
        yield Client(send, store.add_user())
        store.check()


def test_created_keys_are_shown(masking):
    token = masking.make(name="one")
    assert masking.show_key(token["id"]).data == {"key": token["key"]}
    several = masking.create([{"name": "two"}, {"name": "three"}]).data
    expected = {str(token["id"]): token["key"] for token in several}
    assert masking.show_keys({"ids": [token["id"] for token in several]}).data["keys"] == expected
    assert all(len(token["key"]) == 51 for token in (token, *several))


def test_other_answers_are_masked(masking):
    token = masking.make(name="other")
    shown = {**token, "key": masked(token["key"])}
    assert masking.get(token["id"]).data == shown
    assert masking.list().data["items"][0] == shown
    assert masking.list("?sort=id").data["items"][0] == shown
    assert masking.search("?keyword=other").data["items"][0] == shown
    assert masking.search(f"?token={token['key']}").data["items"] == [shown]
    assert masking.update({"id": token["id"], "remain_quota": 4}).data["key"] == shown["key"]
    assert masking.update({"id": token["id"], "status": 2}, "?status_only=1").data["key"] == (
        shown["key"]
    )
    for target in (f"/api/token/{token['id']}", "/api/token/", "/api/token/search"):
        assert token["key"][8:40].encode() not in masking.request("GET", target).body


def test_rotated_key_is_shown(masking):
    token = masking.make()
    rotated = masking.rotate(token["id"]).data
    assert len(rotated["key"]) == 51 and rotated["key"] != token["key"]
    assert masking.show_key(token["id"]).data == {"key": rotated["key"]}
    assert masking.get(token["id"]).data["key"] == masked(rotated["key"])


def test_masked_object_sent_back(masking):
    """Clients send complete objects back: the masked key does not become the key."""
    token = masking.make(name="sent back")
    shown = masking.get(token["id"]).data
    assert masking.update({**shown, "name": "changed"}).data == {**shown, "name": "changed"}
    assert masking.show_key(token["id"]).data == {"key": token["key"]}


def test_replayed_create_shows_the_key_again(masking):
    """The replay exists for the case that this answer was lost."""
    headers = {"Idempotency-Key": "masked"}
    replies = [
        masking.request("POST", "/api/token/", {"name": "again"}, headers) for _ in range(2)
    ]
    assert replies[0].body == replies[1].body
    assert len(replies[0].data["key"]) == 51


def test_shown_is_the_default(user):
    token = user.make()
    assert user.get(token["id"]).data["key"] == token["key"]
    assert user.list().data["items"][0]["key"] == token["key"]


@pytest.mark.parametrize("value", ["shown", ""])
def test_shown(value):
    with Store(TOKEN_KEYS=value) as store:
        client = Client(store.cgi, store.add_user())
        token = client.make()
        assert client.get(token["id"]).data == token


@pytest.mark.parametrize("value", ["mask", "MASKED", "1", "masked "])
def test_malformed_setting(value):
    with Store() as store:
        done = store.run_ctl("stat", TOKEN_KEYS=value)
        assert done.returncode == 1 and "TOKEN_KEYS" in done.stderr
        assert len(done.stderr.splitlines()) == 1
