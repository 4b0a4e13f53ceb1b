"""Idempotency-Key: a create or a rotation that is sent again is done once."""

import threading

import fastcgi
import pytest
from client import Client
from service import Store

MALFORMED = (400, "Invalid parameters: Idempotency-Key must be 1 to 255 visible characters")
OTHER_REQUEST = (
    409,
    "This Idempotency-Key or transaction_id has been used with another request",
)


@pytest.fixture
def client(send, user):
    return Client(send, user.user)


def create(client, body, key):
    return client.request("POST", "/api/token/", body, {"Idempotency-Key": key})


def total(client):
    return client.list().data["total"]


def test_replay(user, client):
    first = create(client, {"name": "once"}, "k")
    assert first.data["name"] == "once"
    for _ in range(3):
        again = create(client, {"name": "once"}, "k")
        assert again == first  # headers and all
    assert user.list().data["items"] == [first.data]


def test_array(user, client):
    body = [{"name": "a"}, {"name": "b"}, {"name": "c"}]
    first = create(client, body, "k")
    assert create(client, body, "k").body == first.body
    assert total(user) == 3


def test_bound(site, user, client):
    """1 MiB of answers; what is above is refused and not done, replays are not."""
    body = [{"name": str(n), "model_limits": "m" * 8000} for n in range(60)]
    first, second = create(client, body, "a"), create(client, body, "b")
    assert (first.status, second.status) == (200, 200)
    refused = create(client, body, "c")
    assert (refused.status, refused.json["code"]) == (429, "remembered")
    assert 86000 < int(refused.headers["retry-after"]) <= 86400
    assert create(client, body, "a").body == first.body
    assert create(client, {"name": "small"}, "d").status == 200  # there is room for it
    assert total(user) == 121
    (purged,) = site.ctl("idempotency", "purge", user.user.name)
    assert purged == {"id": user.user.id, "purged": 3}
    assert create(client, body, "c").status == 200
    assert total(user) == 181


def test_answer_above_the_bound(user, client):
    ips = ",".join(f"2001:db8:1234:5678:1234:5678:1234:{n:x}" for n in range(0x1000, 0x1034))
    body = [{"model_limits": "m" * 8150, "allow_ips": ips} for _ in range(100)]
    refused = create(client, body, "k")
    message = "Invalid parameters: Idempotency-Key can't be used for an answer above 1 MiB"
    assert refused.failure == (400, message)
    assert total(user) == 0


def test_large_answer(user, client):
    body = [{"name": str(n), "model_limits": "m" * 8000} for n in range(100)]
    first = create(client, body, "large")
    assert len(first.body) > 800_000
    assert create(client, body, "large").body == first.body
    assert total(user) == 100


@pytest.mark.parametrize(
    "body", [b'{"name":"other"}', b'{"name":"once" }', b"{}", b'[{"name":"once"}]']
)
def test_another_body(user, client, body):
    """Byte for byte."""
    first = create(client, b'{"name":"once"}', "k")
    assert create(client, body, "k").failure == OTHER_REQUEST
    assert create(client, b'{"name":"once"}', "k").body == first.body
    assert total(user) == 1


def test_another_key(user, client):
    for number, key in enumerate(("k", "K", "k1", "kk", "k" * 255)):
        create(client, {}, key).data
        assert total(user) == number + 1


def test_without_a_key_nothing_is_replayed(user, client):
    client.create({}).data, client.create({}).data
    assert total(user) == 2


def test_another_user(user, other_user, client):
    first = create(client, {}, "k")
    other = create(other_user, {}, "k")
    assert other.data["id"] != first.data["id"]
    assert total(user) == total(other_user) == 1


def test_routes_are_separate(user, client):
    first = create(client, b"{}", "k")
    token = first.data
    headers = {"Idempotency-Key": "k"}
    rotated = client.request("POST", f"/api/token/{token['id']}/rotate", b"{}", headers)
    assert rotated.data["key"] != token["key"]
    again = client.request("POST", f"/api/token/{token['id']}/rotate", b"{}", headers)
    assert again.body == rotated.body
    assert create(client, b"{}", "k").body == first.body


def test_other_routes_ignore_it(user, client):
    token = user.make()
    headers = {"Idempotency-Key": "not visible"}
    for name in ("a", "b"):
        changed = client.request("PUT", "/api/token/", {"id": token["id"], "name": name}, headers)
        assert changed.data["name"] == name
    assert client.request("GET", "/api/token/", None, headers).status == 200
    assert client.request("POST", "/api/token/batch", {"ids": [5]}, headers).status == 200


@pytest.mark.parametrize("key", ["", " ", "a b", "a\tb", "k" * 256, "\x7f", "\x01", "é", "字".encode().decode("latin-1")])
def test_malformed(user, client, key):
    assert create(client, {}, key).failure == MALFORMED
    token = user.make()
    assert client.rotate(token["id"], None, {"Idempotency-Key": key}).failure == MALFORMED
    assert user.list().data["items"] == [token]


@pytest.mark.parametrize("key", ["!", "~", '"', "a,b", "{}", "%00", "7d4e2a52-0d8a-4b5c-9d2f"])
def test_well_formed(user, client, key):
    first = create(client, {}, key)
    assert create(client, {}, key).body == first.body
    assert total(user) == 1


def test_failures_are_not_stored(user, client):
    assert create(client, {"name": "x" * 31}, "k").status == 400
    assert create(client, {"name": "x"}, "k").data["name"] == "x"
    headers = {"Idempotency-Key": "r"}
    assert client.rotate(2**40, None, headers).status == 404


def test_token_limit_is_not_stored():
    with Store(TOKEN_MAX_PER_USER="1") as store:
        client = Client(store.cgi, store.add_user())
        token = client.make()
        assert create(client, {}, "k").failure == (409, "Maximum number of tokens reached (1)")
        client.delete(token["id"])
        first = create(client, {}, "k")
        assert create(client, {}, "k").body == first.body  # which is no new one
        assert create(client, {}, "other").status == 409


def test_answer_does_not_change(user, client):
    """The first answer, although the token has changed since."""
    first = create(client, {"name": "once"}, "k")
    user.update({"id": first.data["id"], "name": "changed"})
    assert create(client, {"name": "once"}, "k").body == first.body
    user.delete(first.data["id"])
    assert create(client, {"name": "once"}, "k").body == first.body
    assert total(user) == 0


def test_credentials_come_first(site, user, client):
    create(client, {}, "k").data
    headers = {"Idempotency-Key": "k", "Authorization": "Bearer wrong"}
    assert client.request("POST", "/api/token/", {}, headers).status == 401
    site.ctl("user", "disable", user.user.id)
    assert create(client, {}, "k").status == 403


def test_over_processes(site, user):
    over_cgi = Client(site.cgi, user.user)
    first = create(over_cgi, {"name": "cgi"}, "k")
    assert create(user, {"name": "cgi"}, "k").json == first.json
    second = create(user, {"name": "pool"}, "l")
    assert create(over_cgi, {"name": "pool"}, "l").json == second.json
    assert total(user) == 2


@pytest.mark.threads
def test_at_once():
    """Many copies of a request at the same time, over two workers: one is done."""
    with Store() as store:
        user = store.add_user()
        sockets = [store.start_worker(f"{name}.sock")[1] for name in ("a", "b")]
        client = Client(fastcgi.transport(sockets[0]), user)
        for turn in range(15):
            barrier, replies = threading.Barrier(12), []

            def send(number):
                sender = Client(fastcgi.transport(sockets[number % 2]), user)
                barrier.wait()
                replies.append(create(sender, {"name": f"turn {turn}"}, f"k{turn}"))

            threads = [threading.Thread(target=send, args=(number,)) for number in range(12)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert len(replies) == 12 and len({reply.body for reply in replies}) == 1
            assert replies[0].status == 200
            assert total(client) == turn + 1
        store.check()


def test_browsers_may_send_it():
    with Store(TOKEN_CORS_ORIGIN="*") as store:
        reply = Client(store.cgi).request("OPTIONS", "/api/token/")
        allowed = reply.headers["access-control-allow-headers"].lower().split(", ")
        assert "idempotency-key" in allowed
