"""Stores that earlier versions have made (tests/stores): the present programs upgrade them, and go on."""

import json
import lzma
import shutil

import fastcgi
import pytest
from client import Client, Gateway, User
from engines import ENGINES
from service import IS_ROOT, ROOT, WORKER_USER, Store

STORES = ROOT / "tests/stores"
SCHEMAS = [ROOT / f"tests/postgresql/schema_{version}.sql" for version in (1, 2)]


class OldStore(Store):
    def __init__(self, name):
        self.name = name
        self.ENGINE = "postgresql" if name.startswith("schema") else "lmdb"
        super().__init__()
        self.known = json.loads((STORES / f"{name}.json").read_text())

    def set_up(self):
        secret = self.dir / "secret"
        secret.touch(mode=0o600)
        secret.write_bytes(bytes.fromhex(self.known["secret"]))
        if self.ENGINE == "lmdb":
            (self.dir / "store").mkdir(mode=0o700)
            data = lzma.decompress((STORES / f"{self.name}.mdb.xz").read_bytes())
            (self.dir / "store/data.mdb").write_bytes(data)
        else:
            for path in (*SCHEMAS, STORES / f"{self.name}.sql"):
                self.sql(path.read_text())
        if IS_ROOT:
            for path in (secret, *self.dir.glob("store"), *self.dir.glob("store/*")):
                shutil.chown(path, WORKER_USER, WORKER_USER)
        _, path = self.start_worker()
        self.send = fastcgi.transport(path)
        self.gateway = Gateway(self.send, self.known["gateway"])
        self.alice, self.bob = self.client("alice"), self.client("bob")
        self.tokens = {token["name"]: token for items in self.known["tokens"].values() for token in items}

    def client(self, name):
        return Client(self.send, User(**self.known["users"][name]))

    def key(self, name):
        return self.known["keys"][name]

    def now(self, client, name):
        return client.get(self.tokens[name]["id"]).data

    def user(self, name):
        (user,) = self.ctl("user", "show", name)
        return user


@pytest.fixture(params=["703cfdb", "6919f3e", "schema_2"] if "postgresql" in ENGINES else ["703cfdb", "6919f3e"])
def old(request):
    with OldStore(request.param) as store:
        yield store


def same(now, before):
    """Fields that there were are as they were."""
    return {name: now[name] for name in before} == before


def test_everything_is_as_before(old):
    for name, tokens in old.known["tokens"].items():
        items = old.client(name).list("?size=100").data["items"]
        assert len(items) == len(tokens) and all(map(same, items, tokens))
        assert all(map(same, (old.client(name).get(token["id"]).data for token in tokens), tokens))
    assert old.alice.list("?group=vip").data["total"] == len(old.known["tokens"]["alice"]) - 1
    assert old.alice.search("?keyword=of%20d&token=" + old.key("of default")).data["total"] == 1
    carl = old.client("carl").list()
    assert carl.status == 403
    users = {user["name"]: user for user in old.ctl("user", "list")}
    assert list(users) == list(old.known["users"])
    used = {name: sum(token["used_quota"] for token in tokens) for name, tokens in old.known["tokens"].items()}
    used |= {"dora": 30} if "dora" in used else {}  # ten of them by tokens that did not come in
    assert {name: users[name]["used_quota"] for name in used} == used
    old.check()


def test_keys(old):
    """Each passes or is refused as before, the one before the rotation in its grace too."""

    def verify(key, **parameters):
        return old.alice.verify(key, **parameters).verdict

    assert verify(old.key("plain")) == (204, "unlimited")
    assert verify(old.key("rotated")) == verify(old.known["old_key"]) == (204, "100")
    assert verify(old.key("of vip")) == (204, "unlimited")
    assert verify(old.key("limited")) == (403, "address")
    assert [verify(old.key(name)) for name in ("off", "expired", "exhausted", "dropped")] == [
        (401, "disabled"), (401, "expired"), (401, "exhausted"), (401, "unknown")]
    assert old.alice.usage(old.key("spent")).json["data"]["total_used"] == 20
    used = old.gateway.consume(key=old.key("limited"), amount=1, ip="10.1.1.1", model="gpt-4").data
    assert used["remain_quota"] == 99
    old.alice.rotate(old.tokens["rotated"]["id"])
    assert verify(old.key("rotated")) == verify(old.known["old_key"]) == (401, "unknown")
    old.check()


def test_spending_goes_on(old):
    before = old.now(old.alice, "spent")
    assert (before["remain_quota"], before["used_quota"]) == (80, 20)
    settle, cancel = old.gateway.settle, old.gateway.cancel
    assert settle(reservation=old.known["open"], amount=4).data["remain_quota"] == 86
    assert settle(reservation=old.known["open"], amount=9).data["amount"] == 4
    assert settle(reservation=old.known["settled"], amount=9).data["amount"] == 3
    assert cancel(reservation=old.known["cancelled"]).data["amount"] == 0
    again, answer = old.known["consume"]
    assert same(old.gateway.consume(**again).data, answer)
    reserved = old.gateway.reserve(key=old.key("spent"), amount=6).data
    assert reserved["remain_quota"] == 80 and reserved["reservation"] not in old.known.values()
    after = old.now(old.alice, "spent")
    assert (after["remain_quota"], after["used_quota"]) == (80, 20)
    old.check()
    assert cancel(reservation=reserved["reservation"]).data["remain_quota"] == 86
    old.check()


@pytest.mark.parametrize("amount", [0, 2, 8])
def test_reservation_of_a_token_deleted_before(old, amount):
    """What it took was forgotten with the token: no sum goes wrong by its end."""
    assert old.gateway.settle(reservation=old.known["of_dropped"], amount=amount).status == 200
    old.check()


def test_changes(old):
    body, answer = old.known["create"]
    replays = Client(old.send, old.alice.user, checked=False)  # the answer has that version's fields
    assert replays.request("POST", "/api/token/", body, {"Idempotency-Key": "once"}).data == answer
    new = old.alice.make(name="new")
    assert new["id"] > max(token["id"] for token in old.tokens.values()) and new["group"] == "vip"
    assert old.alice.update({**old.tokens["plain"], "name": "renamed"}).data["name"] == "renamed"
    old.ctl("user", "rotate", "bob")
    old.ctl("user", "enable", "carl")
    assert old.client("carl").list().data["total"] == 1
    assert old.ctl("user", "add", "next")[0]["id"] > old.known["users"]["carl"]["id"]
    old.ctl("user", "delete", "alice")
    assert old.bob.verify(old.key("plain")).verdict == (401, "unknown")
    old.check()
