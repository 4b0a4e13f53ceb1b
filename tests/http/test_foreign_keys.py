"""Keys and users that other systems made: keys without a checksum, access tokens of any form, users
without one, long names."""

import hashlib
import json
import random

import pytest
from client import ISSUED, Client, User, key_checksum
from engines import ENGINES
from service import Site, wait_until
from test_transfer import make_key, on, other, rows, write

OURS = "sk-" + "0" * 42 + key_checksum("sk-" + "0" * 48)
MISTYPED = OURS[:-1] + ("1" if OURS[-1] == "0" else "0")
ABSENT = "sk-nobodys_key_1234"
SHORT, NEW_API, LONGEST = "short_key_123456", "K" + "aZ09" * 11 + "xyz", "_" * 64 + "x" * 64
KEYS = [SHORT, NEW_API, LONGEST]
ODD = ["", "x", "15_characters_x", 'with "quotes" \\ and\ttab', "schlüssel " + "€" * 70, "y" * 255]
ACCESS_TOKEN = "a/+b=c0123456789/+ABCDEFGHIJKL=="
LONG_NAME = "long " * 50
ISSUED.update({*KEYS, *ODD[3:], ACCESS_TOKEN})


def made_user(number, access_token=None, **fields):
    row = {"kind": "user", "id": number, "name": f"peer-{number}", "group": "default", "status": 1, "created_time": 1,
           "role": 1, "quota": 0, "unlimited_quota": True, "deleted_used_quota": 0, "request_count": 0, **fields}
    if access_token:
        row["access_hash"] = hashlib.blake2b(access_token.encode(), digest_size=32).hexdigest()
    return row


def made_token(number, user, key, **fields):
    return {"kind": "token", "id": number, "user_id": user, "name": f"t{number}", "status": 1, "remain_quota": 100,
            "used_quota": 3, "unlimited_quota": False, "model_limits_enabled": False, "model_limits": "",
            "allow_ips": "", "group": "default", "expired_time": -1, "created_time": 1, "accessed_time": 1,
            "key": "sk-" + key, **fields}


HEAD = {"format": 1, "keys": "clear"}
LINES = [
    HEAD,
    made_user(1001, ACCESS_TOKEN, role=100, quota=7000, unlimited_quota=False, deleted_used_quota=8, request_count=9),
    *(made_token(2001 + i, 1001, key) for i, key in enumerate(KEYS)),
    made_token(2010, 1001, make_key(random.Random(1))[3:], name=LONG_NAME),
    *(made_token(2020 + i, 1001, key, status=2) for i, key in enumerate(ODD)),
    made_user(1002, role=10),
]


@pytest.fixture(scope="module")
def peer(engine):
    """A pool at work whose store gets what another system had; what it says before is in .before."""
    with Site() as site:
        client, gateway = site.http(), site.gateway()
        site.before = {key: (client.verify(key).verdict, client.usage(key).refusal,
                             gateway.consume(key=key, amount=0).refusal, gateway.reserve(key=key, amount=0).refusal,
                             site.run_ctl("token", "find", key).stderr)
                       for key in (*KEYS, ABSENT, MISTYPED)}
        site.ctl("import", write(site, LINES))
        wait_until(lambda: client.verify(SHORT).status == 204, "each worker has seen it")
        yield site
        site.check()


@pytest.fixture
def alice(peer):
    return peer.http(User(1001, "peer-1001", "default", ACCESS_TOKEN))


def test_before(peer):
    refused = (401, "malformed")
    for key, said in peer.before.items():
        assert said == (refused, (401, "unknown"), refused, refused,
                        "tokenctl: not a valid key: wrong format or checksum\n"), key


@pytest.mark.parametrize("key", KEYS)
def test_every_form(peer, alice, key):
    gateway = peer.gateway()
    for sent in (key, "sk-" + key, "sk-sk-" + key):
        assert alice.verify(sent).status == 204
        for name in ("Authorization", "X-Api-Key", "Api-Key", "X-Goog-Api-Key"):
            assert alice.verify("", **{"Authorization": None, name: sent}).status == 204, name
        protocol = "realtime, openai-insecure-api-key." + sent
        assert alice.verify("", Authorization=None, **{"Sec-WebSocket-Protocol": protocol}).status == 204
        assert alice.usage(sent).status == 200
        assert gateway.consume(key=sent, amount=1).data["user_id"] == 1001
        (found,) = peer.ctl("token", "find", sent)
        assert found["id"] == 2001 + KEYS.index(key)
        assert [token["id"] for token in alice.search(f"?token={sent}").data["items"]] == [found["id"]]
    reservation = gateway.reserve(key=key, amount=5).data["reservation"]
    assert gateway.settle(reservation=reservation, amount=2).data["amount"] == 2
    assert alice.verify("sk-sk-sk-" + key).verdict == (401, "malformed")


def test_refusals(peer, alice):
    gateway = peer.gateway()
    for key in (ABSENT, MISTYPED, OURS, SHORT[:-1] + "X"):
        assert alice.verify(key).verdict == (401, "unknown"), key
        assert gateway.consume(key=key, amount=1).refusal == (401, "unknown"), key
        assert "nobody has this key" in peer.run_ctl("token", "find", key).stderr
    for key in (ABSENT + "-", "x" * 15, "x" * 129, "sk-sk-" + ABSENT, *ODD[1:3]):
        assert alice.verify(key).verdict == (401, "malformed"), key
        assert gateway.consume(key=key, amount=1).refusal == (401, "malformed"), key


def test_shown(alice):
    for number, key in (*enumerate(KEYS, 2001), *enumerate(ODD, 2020)):
        assert alice.get(number).data["key"] == "sk-" + key
        assert alice.show_key(number).data == {"key": "sk-" + key}
    assert alice.show_keys({"ids": [2001, 2025]}).data["keys"] == {"2001": "sk-" + SHORT, "2025": "sk-" + ODD[5]}


def test_masked(peer, alice):
    masked = on(peer, {"TOKEN_KEYS": "masked"}, Client(peer.cgi, alice.user))
    shown = [masked.get(number).data["key"] for number in (2001, 2002, 2020, 2021, 2024)]
    assert shown == ["sk-sh**********56", "sk-KaZ0**********9xyz", "sk-**********", "sk-x**********x",
                     "sk-schl**********€€€€"]
    assert masked.show_key(2001).data == {"key": "sk-" + SHORT}


def test_what_opens_nothing(alice):
    """Also if its owner enables it."""
    assert alice.get(2021).data["status"] == 2
    assert alice.update({"id": 2022, "status": 1}).data["status"] == 1
    assert alice.verify(ODD[2]).verdict == (401, "malformed")


def test_rotated(peer, alice):
    (second,) = [row for row in rows(peer, "--clear-keys") if row.get("id") == 2003]
    assert second["key"] == "sk-" + LONGEST
    key = alice.rotate(2003, {"grace_seconds": 3600}).data["key"]
    assert key[45:] == key_checksum(key)
    assert alice.verify(key).status == alice.verify(LONGEST).status == 204
    moved = other(peer, "graced")
    lines = rows(peer)
    peer.ctl("import", write(peer, [row for row in lines if row.get("id", 2003) in (2003, 1001)]), **moved)
    assert on(peer, moved, Client(peer.cgi)).verify(LONGEST).status == 204
    alice.rotate(2003)
    assert alice.verify(key).verdict == alice.verify(LONGEST).verdict == (401, "unknown")
    assert alice.delete(2003).status == 200


def test_long_name(alice):
    token = alice.get(2010).data
    assert token["name"] == LONG_NAME
    assert alice.update(token).data["name"] == LONG_NAME
    assert alice.update({"id": 2010, "remain_quota": 55}).data["name"] == LONG_NAME
    for name in (LONG_NAME + "x", LONG_NAME[:-1], "x" * 31):
        assert alice.update({"id": 2010, "name": name}).failure == (400, "Token name is too long")
    assert alice.update({"id": 2010, "name": "x" * 30}).data["name"] == "x" * 30
    assert alice.update({"id": 2010, "name": LONG_NAME}).failure == (400, "Token name is too long")


@pytest.mark.parametrize("scheme", ["Bearer ", "bearer ", "BEARER  ", ""])
@pytest.mark.parametrize("user_id", [None, "1001"])
def test_access_token(alice, scheme, user_id):
    sent = {"Authorization": scheme + ACCESS_TOKEN, "New-Api-User": user_id}
    assert alice.request("GET", "/api/token/2001", None, sent).status == 200
    sent["Authorization"] = sent["Authorization"][:-1]
    assert alice.request("GET", "/api/token/2001", None, sent).status == 401


def test_without_access_token(peer):
    assert [user["role"] for user in peer.ctl("user", "list")][-2:] == [100, 10]
    (user,) = peer.ctl("user", "show", "peer-1002")
    assert (user["id"], user["role"]) == (1002, 10)
    peer.ctl("user", "set", "peer-1002", "--group", "vip")
    peer.ctl("user", "disable", "1002")
    peer.ctl("user", "enable", "1002")
    assert "access_hash" not in next(row for row in rows(peer) if row.get("id") == 1002)
    for _ in range(2):
        (made,) = peer.ctl("user", "rotate", "1002")
        client = peer.http(User(1002, "peer-1002", "vip", made["access_token"]))
        assert client.make()["group"] == "vip"
    peer.check()
    peer.ctl("import", write(peer, [HEAD, made_user(1003)]))
    peer.ctl("user", "delete", "1003")


@pytest.mark.parametrize("keys", ["sealed", "clear"])
@pytest.mark.parametrize("engine_of_target", ENGINES)
def test_moved(peer, keys, engine_of_target):
    clear = ["--clear-keys"] if keys == "clear" else []
    there = other(peer, f"{keys}{engine_of_target}", engine_of_target)
    if clear:
        there["TOKEN_SECRET"] = str(peer.dir / f"secret-{engine_of_target}")
        peer.ctl("init", **there)
    exported = rows(peer, *clear)
    assert exported[1]["foreign_keys"] is True
    alice = next(row for row in exported if row.get("id") == 1001)
    expected = made_user(1001, ACCESS_TOKEN, role=100, unlimited_quota=False)
    for changed_by_uses in ("quota", "request_count", "deleted_used_quota"):
        del expected[changed_by_uses]
    assert expected.items() <= alice.items()
    peer.ctl("import", write(peer, exported), **there)
    again = rows(peer, *clear, **there)
    if clear:  # the import leaves a record
        told, told_again = ([row for row in lines[2:-1] if row.get("action") != "import"] for lines in (exported, again))
        assert told_again == told
    client = on(peer, there, Client(peer.cgi, User(1001, "", "", ACCESS_TOKEN)))
    assert client.verify(SHORT).status == 204
    assert client.verify(ABSENT).verdict == (401, "unknown")
    assert client.get(2023).data["key"] == "sk-" + ODD[3]
    assert peer.ctl("check", **there) == [{"ok": True}]


BAD = [
    ({"key": "sk-" + "x" * 256, "status": 2}, "key must be sk- and up to 255 bytes"),
    ({"key": SHORT}, "key must be sk- and up to 255 bytes"),
    ({"key": "sk-" + NEW_API}, "another token has this key"),
]


@pytest.mark.parametrize("fields, problem", BAD)
def test_refused(peer, fields, problem):
    lines = [HEAD, made_user(1100, "nobodys"), {**made_token(2100, 1100, ""), **fields}]
    done = peer.run_ctl("import", write(peer, lines))
    assert done.returncode == 1 and "line 3: " in done.stdout and problem in done.stdout, done


def test_no_foreign_keys(engine):
    """A store into which only our own keys came still refuses others without a look-up."""
    with Site(pool=False) as site:
        site.ctl("import", write(site, [HEAD, made_user(1, "one"), made_token(1, 1, OURS[3:])]))
        client = Client(site.cgi)
        assert client.verify(OURS).status == 204
        assert client.verify(ABSENT).verdict == (401, "malformed")
        assert json.loads(site.run_ctl("export").stdout.splitlines()[1])["foreign_keys"] is False
