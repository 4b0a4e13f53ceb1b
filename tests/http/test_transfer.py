"""tokenctl export and import: all rows, out of a store and into one, or none of them."""

import contextlib
import json
import os
import random
import signal
import subprocess
import time
import zlib
from pathlib import Path

import fastcgi
import pytest
from client import ISSUED, Client, Gateway
from engines import ENGINES
from service import TOKENCTL, Store, postgresql_server

DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
KILLS = 10


@pytest.fixture
def store(engine):
    with Store() as made:
        yield made


@pytest.fixture
def target(store):
    """Settings of a store that does not exist yet, with the same secret."""
    return other(store, "target")


def other(store, name, engine=None):
    if (engine or store.ENGINE) == "lmdb":
        return {"TOKEN_STORE": str(store.dir / name)}
    database = f"{store.dir.name}_{name}"
    postgresql_server().query(f"CREATE DATABASE {database}")
    return {"TOKEN_STORE": postgresql_server().location(database=database)}


def assert_nothing(store, settings):
    """No store was made."""
    done = store.run_ctl("stat", "--json", **settings)
    assert done.returncode == 1 and "there is no store" in done.stderr, done
    assert not list(store.dir.glob("*.new"))


def with_another_secret(store):
    """Settings of an empty store."""
    settings = {**other(store, "foreign"), "TOKEN_SECRET": str(store.dir / "foreign-secret")}
    store.ctl("init", **settings)
    return settings


def on(store, settings, client):
    """The client on another store."""

    def send(method, target, headers, body):
        before = store.environment
        store.environment = store.with_settings(settings)
        try:
            return store.cgi(method, target, headers, body)
        finally:
            store.environment = before

    return type(client)(send, client.secret if isinstance(client, Gateway) else client.user)


def rows(store, *arguments, **settings):
    done = store.run_ctl("export", *arguments, **settings)
    assert (done.returncode, done.stderr) == (0, ""), done
    return [json.loads(line) for line in done.stdout.splitlines()]


TIMES = {"requests_full_ns", "units_full_ns"}


def steady(rows):
    """Without times of the stores' own, which two clocks round, and what the import has added."""
    return [{name: value for name, value in row.items()
             if name not in TIMES | ({"due_time", "created_time"} if row.get("kind") == "reservation" else set())}
            for row in rows if row.get("action") != "import" and "end" not in row]


def write(store, rows, name="lines"):
    """A file of them, the last line as it has to be."""
    path = store.dir / name
    rows = [row for row in rows if "end" not in row]
    rows.append({"end": True, "lines": len(rows)})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def refused(store, file, **settings):
    """The lines about what is wrong."""
    done = store.run_ctl("import", file, **settings)
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1, done
    assert "nothing is imported" in done.stderr
    return done.stdout.replace("problem ", "").splitlines() or [done.stderr]


class World:
    """A store with something of each kind."""

    def __init__(self, store):
        self.alice = Client(store.cgi, store.add_user("alice", "vip"))
        self.bob = Client(store.cgi, store.add_user("bob"))
        self.gateway = Gateway(store.cgi, store.add_gateway())
        store.ctl("user", "disable", "bob")
        store.ctl("user", "enable", "bob")
        self.tokens = self.alice.make_many(3)
        self.limited = self.bob.make(
            name='ünï "quoted" \\', unlimited_quota=False, remain_quota=100, model_limits_enabled=True,
            model_limits="gpt-4,claude-*", allow_ips="10.0.0.0/8,::1", expired_time=2**40)
        self.exhausted = self.bob.make(unlimited_quota=False, remain_quota=0)
        self.disabled = self.bob.make()
        self.bob.update({"id": self.disabled["id"], "status": 2}, "?status_only=true")
        self.old_key = self.tokens[0]["key"]
        self.new_key = self.alice.rotate(self.tokens[0]["id"], {"grace_seconds": 3600}).data["key"]
        self.spent = self.alice.make(unlimited_quota=False, remain_quota=100)
        ids = [self.gateway.reserve(key=self.spent["key"], amount=10, ttl=3600).data["reservation"]
               for _ in range(2)]
        self.gateway.settle(reservation=ids[1], amount=3)
        self.reservation = ids[0]
        carl = store.add_user("carl")
        store.ctl("user", "disable", carl.id)
        store.ctl("user", "delete", store.add_user("gone").id)


@pytest.fixture
def world(store):
    return World(store)


def assert_same(store, world, settings):
    """The moved store does what the first one did."""
    alice, gateway = on(store, settings, world.alice), on(store, settings, world.gateway)
    assert alice.list().data == world.alice.list().data
    assert on(store, settings, world.bob).list().data == world.bob.list().data
    for command in (("user", "list"), ("gateway", "list")):
        assert store.ctl(*command, **settings) == store.ctl(*command)
    assert alice.verify(world.new_key).status == 204
    assert gateway.settle(reservation=world.reservation, amount=4).data["amount"] == 4
    (user,) = store.ctl("user", "add", "next", **settings)
    assert user["id"] == 5
    assert alice.make()["id"] == world.spent["id"] + 1
    assert store.ctl("check", **settings) == [{"ok": True}]


def test_moved(store, world, target):
    file = store.dir / "export"
    (made,) = store.ctl("export", file)
    assert made == {"file": str(file), "bytes": file.stat().st_size} and file.stat().st_mode & 0o777 == 0o600
    assert not [secret for secret in ISSUED if secret in file.read_text()]
    (counts,) = store.ctl("import", file, **target)
    expected = {"gateways": 1, "users": 3, "tokens": 7, "reservations": 1, "old_keys_left_out": 0}
    assert {name: counts[name] for name in expected} == expected
    assert on(store, target, world.alice).verify(world.old_key).status == 204
    assert_same(store, world, target)


def test_moved_in_clear_to_another_secret(store, world):
    settings = with_another_secret(store)
    file = store.dir / "export"
    store.ctl("export", file)
    assert "--clear-keys" in refused(store, file, **settings)[0]
    store.ctl("export", "--clear-keys", file)
    assert world.new_key in file.read_text()
    (counts,) = store.ctl("import", file, **settings)
    assert counts["tokens"] == 7 and counts["old_keys_left_out"] == 0
    assert on(store, settings, world.alice).verify(world.old_key).status == 204
    assert_same(store, world, settings)


def test_to_the_other_engine(store, world):
    """How a site moves to PostgreSQL, or back."""
    settings = other(store, "elsewhere", "lmdb" if store.ENGINE == "postgresql" else ENGINES[-1])
    store.ctl("export", store.dir / "export")
    store.ctl("import", store.dir / "export", **settings)
    assert on(store, settings, world.alice).verify(world.old_key).status == 204
    assert_same(store, world, settings)
    world.gateway = on(store, settings, world.gateway)
    assert world.gateway.reserve(key=world.spent["key"], amount=1, ttl=60).data["remain_quota"] == 92
    store.ctl("check", **settings)


def test_by_pipe(store, world, target):
    exported = subprocess.run([TOKENCTL, "export"], env=store.environment, capture_output=True, timeout=60)
    done = subprocess.run([TOKENCTL, "import", "-"], env=store.with_settings(target), timeout=60,
                          input=exported.stdout, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
    assert_same(store, world, target)


def test_twice_the_same(store, world, target):
    store.ctl("import", write(store, rows(store)), **target)
    once, twice = rows(store, "--clear-keys"), rows(store, "--clear-keys", **target)
    assert steady(once) == steady(twice)


def test_accounts(store, target):
    """Balances, limits, groups, grants, models, usage and audit records; the old store goes on as the new one."""
    ann, bea = store.add_user("ann"), store.add_user("bea", "vip")
    store.ctl("user", "set", ann.id, "--quota", "1000")
    client, gateway = Client(store.cgi, ann), Gateway(store.cgi, store.add_gateway())
    follower = client.make(name="follower", rpm_limit=600, tpm_limit=10**6, max_parallel_requests=2)
    finite = client.make(name="finite", unlimited_quota=False, refill_amount=70, refill_interval="day")
    gone = client.make(name="gone")
    for token, amount in (follower, 5), (finite, 7), (gone, 11):
        assert gateway.consume(key=token["key"], amount=amount).status == 200
    client.delete(gone["id"])
    reserved = gateway.reserve(key=follower["key"], amount=20, ttl_seconds=3600).data["reservation"]
    store.ctl("group", "add", "vip", "--ratio", "0.8", "--description", "for \"some\"", "--yes")
    store.ctl("group", "add", "gold")
    store.ctl("group", "grant", "gold", "ann")
    store.ctl("model", "add", "gpt-4")
    gold = client.make(name="gold", group="gold")
    store.ctl("import", write(store, rows(store)), **target)
    assert steady(rows(store, "--clear-keys")) == steady(rows(store, "--clear-keys", **target))
    for command in ("user", "group", "model"):
        assert store.ctl(command, "list", **target) == store.ctl(command, "list")
    (shown,) = store.ctl("user", "show", "ann", **target)
    assert (shown["quota"], shown["used_quota"], shown["unlimited_quota"]) == (957, 43, False)
    store.ctl("check", **target)
    moved, moved_gateway = on(store, target, client), on(store, target, gateway)
    assert [token["group"] for token in moved.list().data["items"]] == ["gold", "default", "default"]
    assert moved.request("GET", f"/api/token/{finite['id']}/usage?days=2").data["days"][1]["units"] == 7
    assert moved_gateway.settle(reservation=reserved, amount=1).status == 200
    assert moved_gateway.consume(key=gold["key"], amount=1).status == 200
    store.ctl("group", "revoke", "gold", "ann", "--yes", **target)
    assert moved_gateway.consume(key=gold["key"], amount=1).refusal == (403, "group")
    (shown,) = store.ctl("user", "show", "ann", **target)
    assert (shown["quota"], shown["used_quota"]) == (975, 25)
    store.ctl("check", **target)


def test_export_of_an_earlier_version(store, target):
    """Without the members and kinds that came later; a token of its owner's group follows it."""
    ann = store.add_user("ann", "vip")
    client = Client(store.cgi, ann)
    client.make(name="a")
    client.make(name="b", group="other")
    new = {"rpm_limit", "tpm_limit", "max_parallel_requests", "refill_amount", "refill_interval", "refill_day",
           "groups_checked"}
    old = [{name: value for name, value in row.items() if name not in new} for row in rows(store)
           if row.get("kind") not in ("audit", "group")]
    for row in old:
        if row.get("kind") == "token":
            row.update(group=row["group"] or "vip", used_quota=3)
    store.ctl("import", write(store, old), **target)
    store.ctl("user", "set", "ann", "--group", "default", **target)
    assert [token["group"] for token in on(store, target, client).list().data["items"]] == ["other", "default"]
    (shown,) = store.ctl("user", "show", "ann", **target)
    assert shown["used_quota"] == 6
    store.ctl("check", **target)


def test_into_a_store_with_users(store, world):
    settings = with_another_secret(store)
    (dora,) = store.ctl("user", "add", "dora", **settings)
    exported = rows(store, "--clear-keys")
    users = [row for row in exported if row.get("kind") == "user"]
    assert dora["id"] == users[0]["id"]
    assert refused(store, write(store, exported), **settings) == ["line 4: user 1: a user with this id exists"]
    moved = [row for row in exported if row.get("kind") != "reservation"]
    for row in moved:
        if row.get("kind") in ("user", "token"):
            row["id" if row["kind"] == "user" else "user_id"] += 100
    store.ctl("import", write(store, moved), **settings)
    names = [user["name"] for user in store.ctl("user", "list", **settings)]
    assert names == ["dora", "alice", "bob", "carl"]
    store.ctl("check", **settings)
    assert on(store, settings, world.alice).verify(world.new_key).status == 204


def test_refuses_what_exists(store, world):
    """By each of what must be unique; nothing changes."""
    before = rows(store)
    exported = rows(store, "--clear-keys")
    problems = refused(store, write(store, exported))
    kinds = {row.get("kind"): (number, row) for number, row in enumerate(exported, 1)}
    for kind in ("gateway", "user", "reservation"):
        number, row = kinds[kind]
        assert f"line {number}: {kind} {row['id']}: a {kind} with this id exists" in problems
    unique = ("gateway", "user", "token", "reservation")
    assert len(problems) == sum(row.get("kind") in unique for row in exported)
    header, user = exported[0], next(row for row in exported if row.get("kind") == "user")
    token = next(row for row in exported if row.get("kind") == "token" and "old_key_hash" not in row)
    fresh = {**user, "id": 1000, "name": "fresh", "access_hash": "ab" * 32}
    for changed, problem in [
        ([{**fresh, "name": "ALICE"}], "line 2: user 1000: another user has this name"),
        ([{**fresh, "access_hash": user["access_hash"]}], "line 2: user 1000: another user has this access token"),
        ([fresh, {**token, "user_id": 1000, "id": 1000}], "line 3: token 1000: another token has this key"),
        ([fresh, {**token, "user_id": 1000, "key": make_key(random.Random(5))}],
         f"line 3: token {token['id']}: another token has this id, in the store"),
    ]:
        assert refused(store, write(store, [header, *changed])) == [problem]
    assert steady(rows(store)) == steady(before)
    store.check()


def make_key(draw):
    text = "".join(draw.choices(DIGITS, k=42))
    check, number = "", zlib.crc32(text.encode())
    for _ in range(6):
        check, number = DIGITS[number % 62] + check, number // 62
    return f"sk-{text}{check}"


def make_rows(users, tokens, first=1):
    """Of users with so many tokens each."""
    draw = random.Random(users)
    yield {"format": 1, "keys": "clear"}
    for user in range(first, first + users):
        yield {"kind": "user", "id": user, "name": f"user-{user}", "group": "default", "status": 1,
               "created_time": 1, "access_hash": f"{draw.getrandbits(256):064x}", "role": 1, "quota": 0,
               "unlimited_quota": True, "deleted_used_quota": 0, "request_count": 0}
        for token in range(tokens):
            yield {"kind": "token", "id": user * tokens + token + 1, "user_id": user, "name": "token", "status": 1,
                   "remain_quota": 5, "used_quota": 3, "unlimited_quota": False, "model_limits_enabled": False,
                   "model_limits": "", "allow_ips": "", "group": "", "expired_time": -1, "created_time": 1,
                   "accessed_time": 1, "key": make_key(draw)}


CHANGES = [
    (2, {"kind": "credential"}, "line 2: kind is not known to this version"),
    (2, {"kind": None}, "line 2: kind is required"),
    (2, {"id": 0}, "line 2: id is out of range"),
    (2, {"id": "1"}, "line 2: id must be an integer"),
    (2, {"name": "12"}, "line 2: name is a number: ids are"),
    (2, {"name": ""}, "line 2: name must be 1 to 64 bytes without control characters"),
    (2, {"group": "x" * 65}, "line 2: group must be 1 to 64 bytes without control characters"),
    (2, {"status": 3}, "line 2: status is out of range"),
    (2, {"access_hash": "ab" * 31}, "line 2: access_hash must be hexadecimal digits, as many as it is long"),
    (2, {"access_hash": "00" * 32}, "line 2: access_hash is of no access token"),
    (2, {"role": 11}, "line 2: role must be 1, 10 or 100"),
    (2, {"role": None}, "line 2: role is required"),
    (2, {"quota": -1}, "line 2: quota is out of range"),
    (2, {"unlimited_quota": 1}, "line 2: unlimited_quota must be true or false"),
    (2, {"request_count": 2**63}, "line 2: request_count is a number out of range"),
    (2, {"access_hash": "xy" * 32}, "line 2: access_hash must be hexadecimal digits, as many as it is long"),
    (3, {"key": "sk-" + "x" * 256}, "line 3: key must be sk- and up to 255 bytes"),
    (3, {"remain_quota": -1}, "line 3: remain_quota must be 0 or more"),
    (3, {"used_quota": None}, "line 3: used_quota is required"),
    (3, {"model_limits": 5}, "line 3: model_limits must be an array of strings, or a string with commas"),
    (3, {"allow_ips": "nowhere"}, "line 3: allow_ips must be IP addresses or CIDR blocks, separated by commas"),
    (3, {"name": "x" * 256}, "line 3: name is too long"),
    (3, {"user_id": 9}, "line 3: token 4: has a user who is in no line before it"),
    (4, {"id": 1}, "line 4: token 1: must stand in the order of ids"),
    (4, {"id": 999}, "line 5: token 6: must stand in the order of ids"),
    (5, {"old_key_hash": "ab"}, "line 5: old_key_hash must be hexadecimal digits, as many as it is long"),
]


@pytest.mark.parametrize("line, change, problem", CHANGES)
def test_names_a_bad_line(store, target, line, change, problem):
    made = list(make_rows(1, 3))
    made[line - 1].update(change)
    assert problem in refused(store, write(store, made), **target)
    assert_nothing(store, target)


@pytest.mark.parametrize("change, problem", [
    ({"changes": "}no"}, "changes must be a JSON object, as a text"),
    ({"changes": '{"a":[1,2]},{}'}, "changes must be a JSON object, as a text"),
    ({"changes": '[1]'}, "changes must be a JSON object, as a text"),
    ({"id": 2**54 + 1}, "id is out of range"),
])
def test_names_a_bad_audit_record(store, target, change, problem):
    """What would spoil answers, or leave no ids for records to come."""
    store.add_user("ann")
    made = rows(store)
    number = next(number for number, row in enumerate(made, 1) if row.get("kind") == "audit")
    made[number - 1].update(change)
    assert refused(store, write(store, made), **target) == [f"line {number}: {problem}"]
    made[number - 1].update(changes="", id=2**54)
    store.ctl("import", write(store, made), **target)
    store.ctl("user", "add", "next", **target)
    assert store.ctl("audit", **target)[0]["action"] == "user.create"
    store.ctl("check", **target)


def test_names_each_bad_line(store, target):
    made = list(make_rows(2, 300))
    for line in (10, 200, 500):
        made[line - 1]["key"] = "nothing"
    made[599 - 1]["key"] = made[20 - 1]["key"]
    made[600 - 1]["id"] = 601
    wrong = "key must be sk- and up to 255 bytes"
    assert sorted(refused(store, write(store, made), **target)) == sorted([
        f"line 10: {wrong}", f"line 200: {wrong}", f"line 500: {wrong}",
        "line 599: token 896: another token has this key", "line 600: token 601: must stand in the order of ids"])


def test_all_users_first(store, target):
    """Another order than that of an export: all tokens by their ids."""
    made = list(make_rows(3, 4))
    users = [row for row in made if row.get("kind") == "user"]
    tokens = [row for row in made if row.get("kind") == "token"]
    tokens.sort(key=lambda row: row["id"] % 4)
    for number, token in enumerate(tokens, 1):
        token["id"] = number
    store.ctl("import", write(store, [made[0], *users, *tokens]), **target)
    store.ctl("check", **target)
    for user in users:
        ids = [token["id"] for token in store.ctl("token", "list", user["id"], **target)]
        assert sorted(ids) == [token["id"] for token in tokens if token["user_id"] == user["id"]]


def test_tokens_of_a_refused_user(store):
    """They are checked, wherever they stand, and go to nobody else."""
    user = store.add_user("alice")
    Client(store.cgi, user).make_many(2)
    made = list(make_rows(2, 3, first=user.id))
    users, tokens = [made[1], made[5]], [*made[6:9], *made[2:5]]
    tokens[2]["key"] = tokens[1]["key"]
    assert refused(store, write(store, [made[0], *users, *tokens])) == [
        f"line 2: user {user.id}: a user with this id exists", f"line 6: token {tokens[2]['id']}: another token has this key"]
    assert len(store.ctl("token", "list", "alice")) == 2
    store.check()


@pytest.mark.parametrize("is_full", [False, True])
def test_dry_run(store, target, is_full):
    """All checks, and what would be done; nothing is."""
    if is_full:
        target["TOKEN_SECRET"] = str(store.dir / "target-secret")
        store.ctl("init", **target)
        store.ctl("user", "add", "somebody", **target)
    else:
        store.ctl("user", "list")  # the secret is there
    made = list(make_rows(2, 3, first=5))
    counts = {"gateways": 0, "users": 2, "tokens": 6, "reservations": 0, "groups": 0, "grants": 0, "models": 0,
              "usage": 0, "audit": 0, "old_keys_left_out": 0}
    file = write(store, made)
    assert store.ctl("import", file, "--dry-run", **target) == [{**counts, "dry_run": True}]
    if is_full:
        assert store.ctl("stat", **target)[0]["users"] == 1
    else:
        assert_nothing(store, target)
    made[3]["id"] = made[2]["id"]
    done = store.run_ctl("import", write(store, made, "bad"), "--dry-run", **target)
    assert done.returncode == 1 and "must stand in the order of ids" in done.stdout
    assert store.ctl("import", file, **target) == [counts]


def test_tokens_of_a_bad_user(store, target):
    """Only their own faults are named."""
    made = list(make_rows(2, 3))
    made[1]["status"] = 7
    made[3]["key"] = "nothing"
    problems = refused(store, write(store, made), **target)
    assert [problem.split(":")[0] for problem in problems] == ["line 2", "line 4"]


def test_an_id_of_two_users(store, target):
    made = list(make_rows(2, 2))
    made[5]["id"], made[6]["id"] = 4, 5
    made[3]["id"] = 4
    assert refused(store, write(store, made), **target) == ["line 6: token 4: another token has this id, in a line before"]


@pytest.mark.parametrize(
    "damage, problem",
    [
        (lambda text: "", "the first line is not that of an export"),
        (lambda text: "\x00" * 5000, "the first line is not that of an export"),
        (lambda text: "x" * 2_000_000, "a line is too long"),
        (lambda text: text.replace('"format": 1', '"format": 2'), "the first line is not that of an export"),
        (lambda text: text[: text.index('{"end"')], "its last line is missing: the file is cut short"),
        (lambda text: text[: len(text) // 2], "is not valid JSON"),
        (lambda text: text.replace('"lines": 5', '"lines": 6'), "line 6: lines is not the number of lines before it"),
        (lambda text: text + text.splitlines()[1] + "\n", "line 7: stands behind the last line"),
        (lambda text: text.replace("\n", "\n\n", 1), "line 2: body is empty"),
        (lambda text: text.replace('{"kind": "user"', '{"kind": "user", "kind": "user"'), "same name twice"),
        (lambda text: text.replace('"keys": "clear"', '"keys": "sealed"'), "--clear-keys"),
    ],
)
def test_refuses_a_file(store, target, damage, problem):
    file = write(store, make_rows(1, 3))
    file.write_text(damage(file.read_text()))
    done = store.run_ctl("import", file, **target)
    assert done.returncode == 1 and problem in done.stdout + done.stderr, done
    assert_nothing(store, target)


def test_last_line_without_its_end(store, target):
    file = write(store, make_rows(1, 3))
    file.write_text(file.read_text().rstrip("\n"))
    assert store.ctl("import", file, **target)[0]["tokens"] == 3


def test_a_sealed_key_that_was_changed(store, world, target):
    made = rows(store)
    number = next(number for number, row in enumerate(made, 1) if row.get("kind") == "token")
    made[number - 1]["sealed_key"] = made[number]["sealed_key"]
    assert refused(store, write(store, made), **target) == [f"line {number}: sealed_key can't be unsealed"]


def test_a_reservation_of_nobody(store, world, target):
    made = rows(store)
    number = next(number for number, row in enumerate(made, 1) if row.get("kind") == "reservation")
    made[number - 1]["user_id"] = 77
    assert refused(store, write(store, made), **target) == [
        f"line {number}: reservation {world.reservation}: has a user who is in no line before it"]


def test_ids_that_a_worker_may_have_taken(store):
    """Whatever ids it has taken off a sequence for writes that were refused, an import may use them."""
    _, socket = store.start_worker(TOKEN_MAX_PER_USER="2")
    client = Client(fastcgi.transport(socket), store.add_user())
    assert not client.create([{"name": "token"}] * 3).json["success"]
    made = list(make_rows(1, 6, first=7))
    for number, token in enumerate(made[2:], 1):
        token["id"] = number
    store.ctl("import", write(store, made))
    assert [client.make()["id"] for _ in range(2)] == [7, 8]
    store.check()


def test_a_pipe_that_stalls_does_not_keep_the_writers(store):
    user = store.add_user()
    process = subprocess.Popen([TOKENCTL, "import", "-"], env=store.environment, stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        process.stdin.write('{"format":1,"keys":"clear"}\n')
        process.stdin.flush()
        assert process.wait(timeout=60) == 1
        assert "stalls" in process.stderr.read()
    finally:
        process.kill()
        process.communicate()
    Client(store.cgi, user).make()


@pytest.mark.parametrize("arguments", [("import", "x", "--clear-keys"), ("import",), ("export", "a", "b")])
def test_usage(store, arguments):
    assert store.run_ctl(*arguments).returncode == 2


def test_too_many_at_once_beside_others(store, target):
    """Into an empty store they may be."""
    file = write(store, make_rows(11, 10_000, first=50))
    store.add_user("somebody")
    problems = refused(store, file)
    assert len(problems) == 10_000 and "split the file by users" in problems[0]
    assert store.ctl("stat")[0]["tokens"] == 0
    assert store.ctl("import", file, **target)[0]["tokens"] == 110_000
    store.ctl("check", **target)


# ---- interrupted ----


@pytest.mark.lmdb
def test_two_at_once(store, target):
    """The second takes nothing away from the first."""
    file = write(store, make_rows(1, 3))
    first = subprocess.Popen([TOKENCTL, "import", "-"], env=store.with_settings(target), stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        while not (store.dir / "target.new" / "data.mdb").exists() and first.poll() is None:
            time.sleep(0.01)
        done = store.run_ctl("import", file, **target)
        assert done.returncode == 1 and "another import or restore" in done.stderr, done
        out, err = first.communicate(file.read_bytes(), timeout=60)
        assert first.returncode == 0, err
    finally:
        first.kill()
        first.wait()
    store.ctl("check", **target)


def start(store, *arguments, **settings):
    return subprocess.Popen([TOKENCTL, *arguments], env=store.with_settings(settings),
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def kill_within(process, length_s, draw=random):
    """Kills it at a random moment of the seconds that it takes; None: lets it end. Returns those."""
    began = time.monotonic()
    if length_s is not None:
        time.sleep(draw.uniform(0, length_s))
        process.kill()
    process.communicate()
    return length_s or time.monotonic() - began


@pytest.mark.parametrize("is_full", [False, True])
def test_killed_imports(store, is_full):
    """All of it is there, or nothing; the next run makes it, or says that it is there."""
    file = write(store, make_rows(4, 5000, first=50))
    draw = random.Random(4)
    length, counts = None, set()
    for number in range(KILLS):
        settings = other(store, f"killed{number}")
        if is_full:
            settings["TOKEN_SECRET"] = str(store.dir / f"secret{number}")
            store.ctl("init", **settings)
            store.ctl("user", "add", "somebody", **settings)
        length = kill_within(start(store, "import", file, **settings), length, draw)
        done = store.run_ctl("stat", "--json", **settings)
        assert done.returncode == 0 or (not is_full and "there is no store" in done.stderr)
        count = json.loads(done.stdout)["tokens"] if done.returncode == 0 else 0
        counts.add(count)
        if count == 0:
            store.ctl("import", file, **settings)
        store.ctl("check", **settings)
    assert counts == {0, 20_000}


@pytest.mark.parametrize("of_child", [False, True])
def test_killed_exports(store, of_child):
    """The name has all of an export or none; a second run makes it."""
    file = store.dir / "lines"
    store.ctl("import", write(store, make_rows(4, 5000, first=50)))
    file.unlink()
    draw = random.Random(8)
    length, found = None, set()
    for _ in range(KILLS):
        process = start(store, "export", file)
        began = time.monotonic()
        if length is not None:
            time.sleep(draw.uniform(0, length))
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            for pid in children if of_child else [process.pid]:
                with contextlib.suppress(ProcessLookupError):  # it has ended meanwhile
                    os.kill(int(pid), signal.SIGKILL)
        _, err = process.communicate()
        length = length or time.monotonic() - began
        found.add(file.exists())
        if file.exists():
            assert len(file.read_text().splitlines()) == 20_008
            file.unlink()
        elif of_child:
            assert process.returncode == 1 and b"ended by signal 9" in err
            assert not file.with_suffix(".part").exists()
    assert found == {False, True}
    store.ctl("export", file)
    assert not file.with_suffix(".part").exists()


@pytest.mark.lmdb
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted(store, target, number):
    file = write(store, make_rows(4, 5000))
    process = start(store, "import", file, **target)
    while not (store.dir / "target.new").exists() and process.poll() is None:
        pass
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1 and err.endswith(b"interrupted\n"), err
    assert not (store.dir / "target").exists() and not (store.dir / "target.new").exists()
