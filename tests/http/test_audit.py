"""Audit records: one for each change, exactly if it is there, and nothing secret in them."""

import json
import os
import subprocess

import fastcgi
import pytest
from client import ISSUED, Client
from service import TOKENCTL, Store, wait_until


@pytest.fixture
def client(store):
    return Client(fastcgi.transport(store.socket), store.add_user())


def audit(store, *arguments):
    """Oldest first."""
    return store.ctl("audit", *arguments)[::-1]


def of(store, client):
    """What the user has done: action, token and changes."""
    return [
        (row["action"], row["token_id"], row["changes"])
        for row in audit(store, "--user", client.user.name)
        if row["actor"] == {"kind": "user", "id": client.user.id}
    ]


def test_tokens(store, client):
    token = client.make(name="first", remain_quota=5)
    client.update({"id": token["id"], "name": "second", "group": "default", "remain_quota": 5})
    client.update({"id": token["id"], "name": "second"})  # no change
    assert client.update({"id": token["id"], "add_quota": -9}).status == 409
    client.update({"id": token["id"], "status": 2}, "?status_only=true")
    client.rotate(token["id"])
    client.delete(token["id"])
    client.delete(token["id"])
    number = token["id"]
    created = {"name": [None, "first"], "remain_quota": [None, 5], "unlimited_quota": [None, True],
               "group": [None, "default"]}
    assert of(store, client) == [
        ("token.create", number, created),
        ("token.update", number, {"name": ["first", "second"]}),
        ("token.status", number, {"status": [1, 2]}),
        ("token.rotate", number, {}),
        ("token.delete", number, {"name": ["second", None]}),
    ]


def test_lists_are_one_record(store, client):
    ids = [token["id"] for token in client.make_many(3)]
    client.set_status({"ids": ids, "status": 2})
    client.set_status({"ids": ids, "status": 2})  # no change
    client.set_status({"ids": ids[:1], "status": 1})
    client.batch({"ids": [*ids, 10**9]})
    client.batch({"ids": ids})
    assert of(store, client) == [
        ("token.create", 0, {"ids": [None, ids]}),
        ("token.status", 0, {"ids": [None, ids], "status": [1, 2]}),
        ("token.status", ids[0], {"status": [2, 1]}),
        ("token.delete", 0, {"ids": [ids, None]}),
    ]


def test_long_lists(store, client):
    ids = [token["id"] for token in client.make_many(150)]
    client.batch({"ids": ids})
    changes = of(store, client)[-1][2]
    assert changes == {"ids": [ids[:100], None], "count": [150, None]}


def test_long_values_are_cut(store, client):
    token = client.make(model_limits="ä" * 3000)
    client.update({"id": token["id"], "name": '"\\/', "model_limits": "b" * 8000})
    before, after = of(store, client)[-1][2]["model_limits"]
    assert before == "ä" * 128 and after == "b" * 256
    assert of(store, client)[-1][2]["name"] == ["", '"\\/']


def test_idempotency(store, client):
    for _ in range(3):
        client.request("POST", "/api/token/", {"name": "once"}, {"Idempotency-Key": "one"})
    assert [row[0] for row in of(store, client)] == ["token.create"]


def test_spends_make_none(store, client):
    token = client.make(remain_quota=50, unlimited_quota=False)
    assert client.verify(token["key"]).status == 204
    assert [row[0] for row in of(store, client)] == ["token.create"]


def test_who_and_from_where(store, client):
    variables = {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "/api/token",
        "PATH_INFO": "/",
        "HTTP_AUTHORIZATION": f"Bearer {client.user.access_token}",
        "REMOTE_ADDR": "192.0.2.7",
    }
    for request_id in ("abc-123", "has blank", "x" * 65, "x" * 64):
        store.run_cgi({**variables, "REQUEST_ID": request_id}, b"{}")
    rows = audit(store, "--user", client.user.id, "--action", "token.create")
    assert [row["request_id"] for row in rows] == ["abc-123", "", "", "x" * 64]
    assert {row["address"] for row in rows} == {"192.0.2.7"}
    assert all(row["actor"] == {"kind": "user", "id": client.user.id} for row in rows)


def test_shown_keys(store, client):
    tokens = client.make_many(3)
    ids = [token["id"] for token in tokens]
    client.show_key(ids[0])
    client.show_keys({"ids": [ids[1], ids[1], 10**9, ids[2], ids[1]]})
    assert client.show_key(10**9).status == 404

    def reveals():
        return [row[1] for row in of(store, client) if row[0] == "token.reveal"]

    wait_until(lambda: len(reveals()) == 3, "the records of three keys")
    assert sorted(reveals()) == ids
    store.run_cgi({
        "REQUEST_METHOD": "POST", "SCRIPT_NAME": "/api/token", "PATH_INFO": f"/{ids[0]}/key",
        "HTTP_AUTHORIZATION": f"Bearer {client.user.access_token}", "REMOTE_ADDR": "192.0.2.7",
    })
    assert sorted(reveals()) == [ids[0], *ids]
    assert all(row["time"] > 10**9 for row in audit(store))


def test_tokenctl(store):
    def ctl(*arguments):
        return store.ctl(*arguments)

    (user,) = ctl("user", "add", "bob", "--quota", "10")
    ISSUED.add(user["access_token"])
    number = user["id"]
    ctl("user", "set", "bob", "--quota", "+5")
    ctl("user", "set", "bob", "--group", "default")  # no change
    ctl("user", "disable", "bob")
    ctl("user", "disable", "bob")  # no change
    ctl("user", "enable", "bob")
    ISSUED.add(ctl("user", "rotate", "bob")[0]["access_token"])
    ctl("group", "add", "vip", "--ratio", "0.5")
    ctl("group", "set", "vip", "--ratio", "0.5")  # no change
    ctl("group", "set", "vip", "--public")
    ctl("group", "grant", "vip", "bob")
    ctl("group", "grant", "vip", "bob")  # no change
    ctl("group", "revoke", "vip", "bob")
    ctl("group", "delete", "vip")
    ctl("group", "off")
    ctl("model", "add", "m")
    ctl("model", "delete", "m")
    (gateway,) = ctl("gateway", "add", "gw")
    ISSUED.add(gateway["secret"])
    ctl("gateway", "delete", gateway["id"])
    ctl("user", "delete", number)
    rows = audit(store)
    assert all(row["actor"] == {"kind": "tokenctl", "id": 0} and row["time"] > 10**9 for row in rows)
    created = {"username": [None, "bob"], "group": [None, "default"], "role": [None, 1], "quota": [None, 10],
               "unlimited_quota": [None, False]}
    assert [(row["action"], row["user_id"], row["changes"]) for row in rows] == [
        ("user.create", number, created),
        ("user.update", number, {"quota": [10, 15]}),
        ("user.disable", number, {"status": [1, 2]}),
        ("user.enable", number, {"status": [2, 1]}),
        ("user.rotate", number, {}),
        ("group.create", 0, {"name": [None, "vip"], "ratio": [None, 0.5], "checked": [False, True]}),
        ("group.update", 0, {"name": ["vip", "vip"], "public": [False, True]}),
        ("group.grant", number, {"name": [None, "vip"]}),
        ("group.revoke", number, {"name": ["vip", None]}),
        ("group.delete", 0, {"name": ["vip", None]}),
        ("group.off", 0, {"checked": [True, False]}),
        ("model.create", 0, {"name": [None, "m"]}),
        ("model.delete", 0, {"name": ["m", None]}),
        ("gateway.create", 0, {"id": [None, gateway["id"]], "name": [None, "gw"]}),
        ("gateway.delete", 0, {"id": [gateway["id"], None]}),
        ("user.delete", number, {"username": ["bob", None]}),
    ]
    assert [row["action"] for row in audit(store, "--action", "group.*", "--user", number)] == \
        ["group.grant", "group.revoke"]
    assert audit(store, "--since", str(rows[-1]["time"] + 1000)) == []


def test_nothing_secret(store, client):
    token = client.make(name="n")
    client.show_key(token["id"])
    client.rotate(token["id"], {"grace_seconds": 60})
    ISSUED.add(store.ctl("user", "rotate", client.user.id)[0]["access_token"])
    wait_until(lambda: "token.reveal" in store.run_ctl("audit").stdout, "the record of a key")
    printed = store.run_ctl("audit").stdout + store.run_ctl("--json", "audit").stdout
    secrets = [*ISSUED, *(key[3:] for key in ISSUED), client.user.access_token]
    assert len(printed) > 500 and not [secret for secret in secrets if secret in printed]


def test_off(engine):
    with Store(TOKEN_AUDIT_DAYS="0") as store:
        store.add_user()
        assert audit(store) == []


def test_follow(store):
    store.add_user("before")
    process = subprocess.Popen(
        [TOKENCTL, "--json", "audit", "--follow", "--since", "0", "--action", "user.*"],
        env={**os.environ, **store.environment}, stdout=subprocess.PIPE, text=True,
    )
    try:
        assert json.loads(process.stdout.readline())["changes"]["username"] == [None, "before"]
        store.add_user("after")
        assert json.loads(process.stdout.readline())["changes"]["username"] == [None, "after"]
    finally:
        process.kill()
        process.wait()
