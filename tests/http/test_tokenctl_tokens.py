"""tokenctl gateway … and token …, and what deleting a user ends."""

import json
import subprocess

import fastcgi
import pytest
from client import Client, Gateway, key_checksum
from service import TOKENCTL, Store

DONE, FAILED, USAGE = 0, 1, 2
UNKNOWN_KEY = "sk-" + "0" * 42 + key_checksum("sk-" + "0" * 48)
FIELDS = [
    "id",
    "user_id",
    "name",
    "status",
    "remain_quota",
    "used_quota",
    "unlimited_quota",
    "model_limits_enabled",
    "model_limits",
    "allow_ips",
    "group",
    "expired_time",
    "created_time",
    "accessed_time",
    "rpm_limit",
    "tpm_limit",
    "max_parallel_requests",
    "refill_amount",
    "refill_interval",
    "refill_day",
]


@pytest.fixture(scope="module")
def store(engine):
    with Store() as made:
        _, made.socket = made.start_worker()
        yield made
        made.check()


@pytest.fixture
def client(store):
    return Client(fastcgi.transport(store.socket), store.add_user())


def assert_failed(done, word=""):
    assert (done.returncode, done.stdout) == (FAILED, "")
    assert len(done.stderr.splitlines()) == 1 and word in done.stderr, done


def text(store, *arguments, **settings):
    done = store.run_ctl(*arguments, **settings)
    assert (done.returncode, done.stderr) == (DONE, ""), done
    return done.stdout


def shown(token):
    """A token as tokenctl prints it: all but the key."""
    return {name: token[name] for name in FIELDS}


# ---- gateways ----


def test_gateway_add(store, client):
    (added,) = store.ctl("gateway", "add", "gw")
    assert list(added) == ["id", "name", "secret"]
    assert added["name"] == "gw" and len(added["secret"]) >= 32 and added["secret"].isalnum()
    gateway = Gateway(fastcgi.transport(store.socket), added["secret"])
    assert gateway.consume(key=client.make()["key"], amount=1).status == 200
    assert added["secret"] not in text(store, "gateway", "list")


def test_gateway_add_as_text(store):
    lines = text(store, "gateway", "add", "plain").splitlines()
    assert [line.split()[0] for line in lines] == ["id", "name", "secret"]


def test_gateway_list(store):
    ids = [store.ctl("gateway", "add", f"listed {n}")[0]["id"] for n in range(3)]
    rows = {row["id"]: row for row in store.ctl("gateway", "list")}
    for n, number in enumerate(ids):
        assert list(rows[number]) == ["id", "name", "created_time"]
        assert rows[number]["name"] == f"listed {n}"
    assert list(rows) == sorted(rows)
    lines = text(store, "gateway", "list").splitlines()
    assert len(lines) == len(rows) + 1 and "listed 2" in lines[-1]


def test_gateway_delete(store, client):
    (added,) = store.ctl("gateway", "add", "gone")
    gateway = Gateway(fastcgi.transport(store.socket), added["secret"])
    key = client.make()["key"]
    assert gateway.consume(key=key, amount=1).status == 200
    assert store.ctl("gateway", "delete", added["id"]) == [{"id": added["id"], "deleted": True}]
    assert gateway.consume(key=key, amount=1).status == 401
    assert added["id"] not in {row["id"] for row in store.ctl("gateway", "list")}
    assert_failed(
        store.run_ctl("gateway", "delete", added["id"]), f"no such gateway: {added['id']}"
    )
    (again,) = store.ctl("gateway", "add", "gone")
    assert again["id"] > added["id"]


@pytest.mark.parametrize("name", ["", "x" * 65, "a\nb", b"\xff"])
def test_gateway_names(store, name):
    done = subprocess.run(
        [TOKENCTL, "gateway", "add", name],
        env=store.environment, capture_output=True, text=True, timeout=60,
    )
    assert_failed(done, "name")


def test_longest_gateway_name(store):
    assert store.ctl("gateway", "add", "x" * 64)[0]["name"] == "x" * 64


# ---- tokens ----


def test_token_list(store, client):
    tokens = [
        client.make(name="first", unlimited_quota=False, remain_quota=7),
        client.make(name="second", expired_time=1),
        client.make(name="third", group="vip", model_limits="a,b", allow_ips="::1"),
    ]
    rows = store.ctl("token", "list", client.user.id)
    assert rows == [shown(token) for token in reversed(tokens)]
    assert [list(row) for row in rows] == [FIELDS] * 3
    output = text(store, "token", "list", client.user.id)
    lines = output.splitlines()
    assert lines[0].split() == ["id", "status", "remain_quota", "used_quota", "name"]
    assert [line.split()[-1] for line in lines[1:]] == ["third", "second", "first"]
    assert not [token for token in tokens if token["key"][3:] in output]


def test_token_list_of_many(store, client):
    """More than are read at once."""
    tokens = client.make_many(1000)
    rows = store.ctl("token", "list", client.user.id)
    assert [row["id"] for row in rows] == [token["id"] for token in reversed(tokens)]


def test_token_list_of_nobody(store, client):
    assert store.ctl("token", "list", client.user.id) == []
    assert_failed(store.run_ctl("token", "list", 99999), "no such user: 99999")


def test_token_show(store, client):
    token = client.make(name="shown", remain_quota=2**63 - 1)
    assert store.ctl("token", "show", token["id"]) == [shown(token)]
    output = text(store, "token", "show", token["id"])
    assert [line.split()[0] for line in output.splitlines()] == FIELDS
    assert token["key"][3:] not in output
    assert_failed(store.run_ctl("token", "show", 99999), "no such token: 99999")


def test_token_disable(store, client):
    token = client.make()
    assert client.verify(token["key"]).status == 204
    assert store.ctl("token", "disable", token["id"]) == [{"id": token["id"], "disabled": True}]
    assert client.verify(token["key"]).verdict == (401, "disabled")
    assert client.get(token["id"]).data == {**token, "status": 2}
    assert store.ctl("token", "disable", token["id"])  # twice is no error
    assert_failed(store.run_ctl("token", "disable", 99999), "no such token: 99999")
    assert client.update({"id": token["id"], "status": 1}).data["status"] == 1


def test_token_disable_of_a_disabled_user(store, client):
    """An administrator's command: the user's state does not matter."""
    token = client.make()
    store.ctl("user", "disable", client.user.id)
    assert store.ctl("token", "disable", token["id"]) == [{"id": token["id"], "disabled": True}]
    store.ctl("user", "enable", client.user.id)
    assert client.get(token["id"]).data["status"] == 2


def test_token_enable(store, client):
    token = client.make()
    store.ctl("token", "disable", token["id"])
    for _ in range(2):  # twice is no error
        assert store.ctl("token", "enable", token["id"]) == [{"id": token["id"], "enabled": True}]
        assert client.verify(token["key"]).status == 204
    expired = client.make(expired_time=1)
    assert_failed(store.run_ctl("token", "enable", expired["id"]), "expired")
    assert_failed(store.run_ctl("token", "enable", 99999), "no such token: 99999")


def test_token_set_expires(store, client):
    token = client.make()
    for time, verdict in ((1, (401, "expired")), (-1, (204, None))):
        assert store.ctl("token", "set", token["id"], "--expires", time) == [
            {"id": token["id"], "set": True}
        ]
        assert client.get(token["id"]).data["expired_time"] == time
        reply = client.verify(token["key"])
        assert reply.status == 204 if verdict[1] is None else reply.verdict == verdict
    assert_failed(store.run_ctl("token", "set", token["id"], "--expires=-2"), "expiry")
    assert_failed(store.run_ctl("token", "set", 99999, "--expires=1"), "no such token: 99999")


def test_token_set_adds_quota(store, client):
    token = client.make(unlimited_quota=False, remain_quota=10)
    for more, left in ((5, 15), (-15, 0), (2**63 - 1, 2**63 - 1)):
        store.ctl("token", "set", token["id"], "--add-quota", more)
        after = client.get(token["id"]).data
        assert after == {**token, "remain_quota": left, "status": 1 if left else 4}
    assert_failed(store.run_ctl("token", "set", token["id"], "--add-quota=1"), "range")
    store.ctl("token", "set", token["id"], f"--add-quota=-{2**63 - 8}", "--expires=1")
    after = client.get(token["id"]).data
    assert (after["remain_quota"], after["expired_time"]) == (7, 1)
    assert_failed(store.run_ctl("token", "set", token["id"], "--add-quota=-8"), "less quota")


def test_token_delete(store, client):
    token, kept = client.make(), client.make()
    assert store.ctl("token", "delete", token["id"]) == [{"id": token["id"], "deleted": True}]
    assert client.verify(token["key"]).verdict == (401, "unknown")
    assert client.get(token["id"]).status == 404
    assert client.verify(kept["key"]).status == 204
    assert_failed(store.run_ctl("token", "delete", token["id"]))


def test_token_find(store, client):
    token = client.make(name="leaked")
    for key in (token["key"], token["key"][3:], "sk-" + token["key"]):
        assert store.ctl("token", "find", key) == [shown(token)]
    output = text(store, "token", "find", token["key"])
    assert "leaked" in output and token["key"] not in output and token["key"][3:] not in output


def test_token_find_from_stdin(store, client):
    """Others can see a process's arguments."""
    token = client.make()
    for line in (token["key"], token["key"] + "\n", token["key"] + "\r\nmore\n"):
        done = subprocess.run(
            [TOKENCTL, "--json", "token", "find", "-"],
            env=store.environment, input=line, capture_output=True, text=True, timeout=60,
        )
        assert done.returncode == DONE and json.loads(done.stdout) == shown(token)


def test_token_find_of_nobody(store, client):
    token = client.make()
    client.delete(token["id"])
    for key in (UNKNOWN_KEY, token["key"]):
        assert_failed(store.run_ctl("token", "find", key), "nobody")
    for key in ("x", "", token["key"][:-1], "sk-sk-" + token["key"], "sk-" + "0" * 48):
        done = store.run_ctl("token", "find", key)
        assert_failed(done)
        assert not key or key not in done.stderr or len(key) == 1


def test_token_find_after_a_rotation(store, client):
    token = client.make()
    rotated = client.rotate(token["id"], {"grace_seconds": 60}).data
    for key in (token["key"], rotated["key"]):
        assert store.ctl("token", "find", key)[0]["id"] == token["id"]
    client.rotate(token["id"])
    for key in (token["key"], rotated["key"]):
        assert_failed(store.run_ctl("token", "find", key), "nobody")


def test_token_find_of_a_disabled_user(store, client):
    """It is somebody's still."""
    token = client.make()
    store.ctl("user", "disable", client.user.id)
    assert store.ctl("token", "find", token["key"])[0]["user_id"] == client.user.id


@pytest.mark.parametrize(
    "arguments",
    [
        ("token",),
        ("token", "list"),
        ("token", "show"),
        ("token", "disable"),
        ("token", "find"),
        ("token", "show", "x"),
        ("token", "disable", "x"),
        ("token", "show", "1", "2"),
        ("token", "delete"),
        ("token", "delete", "x"),
        ("token", "enable"),
        ("token", "set", "x", "--expires", "1"),
        ("token", "set", "1"),
        ("token", "set", "1", "--expires"),
        ("token", "set", "1", "--expires=soon"),
        ("token", "set", "1", "--add-quota=much"),
        ("token", "set", "1", "--add-quota", "9223372036854775808"),
        ("token", "show", "1", "--expires", "1"),
        ("token", "show", "1", "--add-quota", "1"),
        ("gateway",),
        ("gateway", "add"),
        ("gateway", "add", "a", "b"),
        ("gateway", "delete"),
        ("gateway", "delete", "x"),
        ("gateway", "list", "1"),
        ("gateway", "show", "1"),
        ("gateway", "add", "a", "--group", "g"),
    ],
)
def test_wrong_usage(store, arguments):
    done = store.run_ctl(*arguments)
    assert done.returncode == USAGE and done.stdout == ""


# ---- user delete ends the user's tokens ----


def test_user_delete_ends_its_tokens(store, client):
    """At once, for every route, and with what hangs on them."""
    (added,) = store.ctl("gateway", "add", "billing")
    gateway = Gateway(fastcgi.transport(store.socket), added["secret"])
    tokens = client.make_many(300, unlimited_quota=False, remain_quota=100)
    old = tokens[0]["key"]
    new = client.rotate(tokens[0]["id"], {"grace_seconds": 3600}).data["key"]
    reserved = gateway.reserve(key=tokens[1]["key"], amount=10).data["reservation"]
    store.ctl("user", "delete", client.user.id)
    for key in (old, new, tokens[1]["key"], tokens[299]["key"]):
        assert client.verify(key).verdict == (401, "unknown")
        assert gateway.consume(key=key, amount=1).refusal == (401, "unknown")
        assert client.usage(key).refusal == (401, "unknown")
        assert_failed(store.run_ctl("token", "find", key), "nobody")
    assert gateway.settle(reservation=reserved, amount=1).status == 404
    assert_failed(store.run_ctl("token", "show", tokens[5]["id"]))
    assert_failed(store.run_ctl("token", "list", client.user.id))
    store.check()


# ---- check and stat ----


@pytest.mark.lmdb
def test_check_finds_a_reservation_that_was_not_used():
    """Units that were lost: what a reservation took is part of used_quota."""
    with Store() as store:
        worker, path = store.start_worker()
        client = Client(fastcgi.transport(path), store.add_user())
        gateway = Gateway(fastcgi.transport(path), store.add_gateway())
        token = client.make(name="has reserved", unlimited_quota=False, remain_quota=100)
        gateway.reserve(key=token["key"], amount=40).data
        worker.terminate()
        worker.wait(timeout=60)
        store.check()
        store.change_record("has reserved", 10, (39).to_bytes(8, "little"))  # used_quota
        done = store.run_ctl("check")
        assert done.returncode == FAILED
        assert f"token {token['id']}:" in done.stdout + done.stderr
