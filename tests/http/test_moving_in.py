"""tokenctl import --from: users and tokens of New API and One API, whose customers notice nothing."""

import json
import random
import subprocess

import pytest
from client import ISSUED, Client, User
from peers import PRINTS, Peer
from service import TOKENCTL, Site, Store
from test_transfer import kill_within, other, start

LETTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
KILLS = 6
PAST, FUTURE = 1600000000, 2**33


@pytest.fixture
def store(engine):
    with Store() as made:
        yield made


def draw_text(length, letters=LETTERS):
    text = "".join(random.choices(letters, k=length))
    ISSUED.add(text)
    return text


class World:
    """A peer with something of each kind."""

    def __init__(self, name):
        self.peer = peer = Peer(name)
        self.access = {id: draw_text(28, LETTERS + "/+=") + "/+=A" for id in (1, 2, 3, 6, 7)}
        self.user(1, "root", role=100, quota=10**12, request_count=77)
        self.user(2, "alice", group="vip", quota=500000, used_quota=1000)
        self.user(3, "Alice", quota=-5, used_quota=3, role=10)
        self.user(5, "12345", role=7)
        self.user(6, "off", status=2, group="")
        self.keys = {}
        # Keys of each form that works.
        for id, length, values in [
            (11, 48, {"used_quota": 250, "remain_quota": 100, "unlimited_quota": 0}),
            (12, 32, {"used_quota": 350, "status": 4, "remain_quota": -20, "unlimited_quota": 0}),
            (13, 16, {"status": 3, "expired_time": PAST}),
            (14, 128, {"expired_time": -7}),
            (15, 48, {"status": 2}),
            (16, 48, {"status": 9, "expired_time": FUTURE}),
            (17, 48, {"name": "n" * 40, "remain_quota": -20}),
            (18, 48, {"used_quota": None, "remain_quota": None, "accessed_time": None}),
        ]:
            self.token(id, 2, draw_text(length), **values)
        self.token(19, 2, "my_custom_key_of_" + draw_text(10))
        self.token(20, 2, "with-minus-" + draw_text(20))
        self.token(21, 2, draw_text(15))
        self.token(30, 3, draw_text(48), used_quota=5)
        self.token(31, 6, draw_text(48))
        self.token(90, 77, draw_text(48))
        self.lists()
        # What is deleted.
        if name == "new-api":
            self.user(7, "gone", deleted_at="2025-01-02 03:04:05.6+00:00")
            self.token(92, 2, draw_text(48), deleted_at="2025-01-02 03:04:05.6+00:00", used_quota=9)
        else:
            self.user(7, "gone", status=3)
        self.token(91, 7, draw_text(48))

    def user(self, id, name, **values):
        self.peer.user(id, name, access_token=self.access.get(id), email="x@example.com" if id < 3 else "", **values)

    def token(self, id, user_id, key, **values):
        ISSUED.add(key)
        self.keys[id] = key
        return self.peer.token(id, user_id, key, **values)

    def lists(self):
        """Restrictions: what of them is here, and whether the token is disabled."""
        self.expected = {}
        addresses, models = ("\n", ",") if self.peer.name == "new-api" else (",", ",")
        mapped = [
            (["10.0.0.0/8", " ::1"], "10.0.0.0/8,::1", False),
            (["10.0.0.0/8", "nowhere", "300.1.1.1"], "10.0.0.0/8", False),
            (["nowhere"], None, True),
            ([], "", False),
        ]
        for id, (entries, kept, disabled) in enumerate(mapped, 40):
            column = "allow_ips" if self.peer.name == "new-api" else "subnet"
            self.token(id, 2, draw_text(48), **{column: addresses.join(entries)})
            self.expected[id] = {"allow_ips": kept, "status": 2 if disabled else 1}
        for id, (entries, kept, disabled) in enumerate([
            (["gpt-4", "claude-3"], "gpt-4,claude-3", False),
            (["gpt-4-gizmo-*", "gpt-*"], "gpt-4-gizmo-*", False),
            (["gpt-*"], "", True),
        ], 50):
            values = ({"model_limits_enabled": 1, "model_limits": models.join(entries)}
                      if self.peer.name == "new-api" else {"models": models.join(entries)})
            self.token(id, 2, draw_text(48), **values)
            self.expected[id] = {"model_limits": kept, "model_limits_enabled": True, "status": 2 if disabled else 1}
        if self.peer.name == "one-api":
            return
        for id, values, expected in [
            (60, {"allow_ips": None}, {"allow_ips": "", "status": 1}),
            (61, {"allow_ips": " \n\n"}, {"allow_ips": "", "status": 1}),
            (62, {"allow_ips": "1.2.3.4,5.6.7.8"}, {"status": 2}),
            (63, {"allow_ips": "1.2.3.4,\n"}, {"allow_ips": "1.2.3.4", "status": 1}),
            (64, {"group": "auto", "cross_group_retry": 1}, {"group": "auto", "status": 1}),
            (65, {"group": "auto", "auto_groups": '["a","b"]'}, {"group": "auto", "status": 2}),
            (66, {"group": "vip", "auto_groups": '["a","b"]'}, {"group": "vip", "status": 1}),
            (67, {"group": "g" * 65}, {"group": "vip", "status": 2}),
            (70, {"group": ""}, {"group": "vip", "status": 1}),
            (71, {"group": None}, {"group": "vip", "status": 1}),
            (68, {"model_limits": "gpt-4"}, {"model_limits": "gpt-4", "model_limits_enabled": False, "status": 1}),
            (69, {"model_limits_enabled": 1, "model_limits": ""},
             {"model_limits": "", "model_limits_enabled": True, "status": 1}),
        ]:
            self.token(id, 2, draw_text(48), **values)
            self.expected[id] = expected

    def client(self, send, id):
        return Client(send, User(id, "", "", self.access[id]))


def write(store, text, name="rows"):
    path = store.dir / name
    path.write_text(text)
    return path


def run(store, text, *arguments, source="new-api", **settings):
    """The import of a text: exit status, objects, standard error."""
    done = store.run_ctl("--json", "import", "--from", source, write(store, text), *arguments, **settings)
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def bring_in(store, text, *arguments, **settings):
    """Notes, and the counts by name."""
    status, objects, error = run(store, text, *arguments, **settings)
    assert (status, error) == (0, ""), (status, objects, error)
    counts = {}
    for row in objects:
        if "left_out" in row:
            counts[row["left_out"]] = row["values"]
        elif "note" not in row:
            counts.update(row)
    return [row["note"] for row in objects if "note" in row], counts


def problems(store, text, *arguments, **settings):
    status, objects, error = run(store, text, *arguments, **settings)
    assert status == 1 and "nothing is imported" in error, (status, objects, error)
    return [row["problem"] for row in objects if "problem" in row]


def count_rows(store):
    (stat,) = store.ctl("stat")
    return stat["users"], stat["tokens"]


def about(notes, row):
    return [note.split(f"{row}: ", 1)[1] for note in notes if f" {row}: " in note]


@pytest.fixture(params=["new-api", "one-api"])
def world(request):
    return World(request.param)


@pytest.mark.parametrize("tool", PRINTS)
def test_what_comes_in(store, world, tool):
    notes, counts = bring_in(store, PRINTS[tool](world.peer), source=world.peer.name)
    is_new_api = world.peer.name == "new-api"
    tokens = {token["id"]: token for token in world.client(store.cgi, 2).list("?size=100").data["items"]}
    assert set(tokens) == {id for id in world.keys if id not in (30, 31, 90, 91, 92)}
    assert (counts["users"], counts["tokens"]) == (5, len(tokens) + 2)
    assert (counts["deleted_users"], counts["deleted_tokens"]) == (1, int(is_new_api))
    assert (counts["tokens_without_user"], counts["users.password"], counts["users.email"]) == (2, 5, 2)
    assert counts["negative_quotas"] == 3 and counts["rows_of_other_tables"] == 0
    assert "users.github_id" not in counts
    statuses = {11: 1, 12: 4, 13: 3, 14: 3, 15: 2, 16: 2, 17: 1, 18: 1, 19: 1, 20: 2, 21: 2}
    assert {id: tokens[id]["status"] for id in statuses} == statuses
    assert [tokens[id]["remain_quota"] for id in (11, 12, 17, 18)] == [100, 0, 0, 0]
    assert [tokens[id]["used_quota"] for id in (11, 12, 17, 18)] == [250, 350, 0, 0]
    assert [tokens[id]["expired_time"] for id in (11, 13, 14, 16)] == [-1, PAST, 0, FUTURE]
    assert tokens[17]["name"] == "n" * 40 and tokens[11]["created_time"] == 1700000000
    assert (tokens[11]["accessed_time"], tokens[18]["accessed_time"]) == (1700000001, 0)
    for id, expected in world.expected.items():
        kept = {name: value for name, value in expected.items() if value is not None}
        assert {name: tokens[id][name] for name in kept} == kept, id
        assert any("is disabled" in note for note in about(notes, f"token {id}")) == (expected["status"] == 2), id
    assert about(notes, "token 41") == ["some of its addresses are invalid and are dropped"]
    for id in (20, 21):
        assert about(notes, f"token {id}") == ["is disabled: its key is not 16 to 128 of 0-9, A-Z, a-z and _"]
    for id in (90, 91):
        assert about(notes, f"token {id}") == ["is left out: its user is missing or deleted"]
    negative = "a quota is negative and becomes 0"
    for id, expected in [(12, [negative]), (14, ["expired_time is below -1 and becomes 0: it is expired"]),
                         (16, ["is disabled: its status is not known"]), (17, [negative])]:
        assert about(notes, f"token {id}") == expected
    for id in (11, 13, 15, 18, 19, 40, 50):
        assert about(notes, f"token {id}") == []
    assert_users(store, notes)
    store.check()
    assert not [key for key in [*world.keys.values(), *world.access.values()] if key in "".join(notes)]


def assert_users(store, notes):
    users = {user["id"]: user for user in store.ctl("user", "list")}
    assert {id: user["name"] for id, user in users.items()} == {
        1: "root", 2: "alice", 3: "Alice-3", 5: "12345-5", 6: "off"}
    assert [users[id]["group"] for id in (1, 2, 6)] == ["default", "vip", "default"]
    assert {id for id, user in users.items() if user["status"] == 2} == {6}
    exported = [json.loads(line) for line in store.run_ctl("export").stdout.splitlines()]
    rows = {row["id"]: row for row in exported if row.get("kind") == "user"}
    assert {id: row["role"] for id, row in rows.items()} == {1: 100, 2: 1, 3: 10, 5: 1, 6: 1}
    assert {id: row["quota"] for id, row in rows.items()} == {1: 10**12, 2: 500000, 3: 0, 5: 0, 6: 0}
    assert not any(row["unlimited_quota"] for row in rows.values())
    assert (rows[1]["request_count"], rows[2]["deleted_used_quota"], rows[3]["deleted_used_quota"]) == (77, 400, 0)
    assert "access_hash" not in rows[5]
    renamed = "-ID is appended to the name, which is a number or another user's but for letter case"
    assert about(notes, "user 3") == [renamed, "a quota is negative and becomes 0", "used_quota is less than that of the tokens, which counts"]
    assert about(notes, "user 5") == [renamed, "the role is not known and becomes 1"]
    assert not about(notes, "user 2")


@pytest.mark.parametrize("name", ["new-api", "one-api"])
def test_customers_notice_nothing(engine, name):
    """Through nginx and a pool."""
    world = World(name)
    with Site(pool=False) as site:
        bring_in(site, world.peer.print_sqlite(), source=name)
        site.spawn("start")
        for id, expected in [(11, 204), (14, 401), (15, 401), (17, 204), (19, 204), (20, 401), (21, 401), (31, 403)]:
            for key in (world.keys[id], "sk-" + world.keys[id]):
                assert site.http().verify(key).status == expected, id
        alice = world.client(site.http().send, 2)
        assert alice.get(11).data["id"] == 11
        assert alice.show_key(19).data["key"] == "sk-" + world.keys[19]
        assert alice.request("GET", "/api/token/", headers={"New-Api-User": "3"}).status == 401
        assert world.client(site.http().send, 6).list().status == 403
        assert alice.usage(world.keys[11]).json["data"]["total_used"] == 250
        gateway = site.gateway()
        assert gateway.consume(key=world.keys[11], amount=60).data["remain_quota"] == 40
        made = alice.rotate(19).data
        assert len(made["key"]) == 51 and site.http().verify(world.keys[19]).status == 401
        assert alice.make()["id"] > max(world.keys)
        assert alice.update({"id": 17, "name": "n" * 40, "status": 1}).data["name"] == "n" * 40
        assert alice.update({"id": 17, "name": "n" * 39}).status == 400
        site.check()


def test_forms_of_input(store):
    """Arrays and objects one after another, on one line or many."""
    peer = Peer("new-api")
    peer.user(1, 'a "quoted" {name} \\')
    peer.token(1, 1, draw_text(48), name="[{]}\\\"")
    user, token = peer.rows("users")[0], peer.rows("tokens")[0]
    for text in [json.dumps([token, user]), json.dumps([user]) + json.dumps([token]), json.dumps([token], indent=4)
                 + json.dumps([]) + json.dumps(user), json.dumps(user) + json.dumps(token), "\n\n \r\n" + json.dumps(
                     [token, user], indent=1).replace("\n", "\r\n")]:
        assert bring_in(store, text, "--dry-run")[1]["tokens"] == 1, text
    piped = subprocess.run([TOKENCTL, "import", "--from", "new-api", "-"], env=store.environment, timeout=60,
                           input=text.encode(), capture_output=True)
    assert (piped.returncode, piped.stderr) == (0, b"")
    assert count_rows(store) == (1, 1)
    assert store.ctl("user", "list")[0]["name"] == user["username"]


BAD_INPUT = [
    ("", None),
    ("[]", None),
    ("id|username\n1|root\n", "line 1: is no row"),
    ('[{"id":1},]', "line 1: is no row"),
    ('[{"id":1}', "it ends within an array"),
    ('[{"id":1}\n', "it ends within an array"),
    ('{"id":1', "it ends within a row"),
    ('{"id":1}}', "line 1: is no row"),
    ('{"id":1 "x":2}', "line 1: body is not valid JSON"),
    ('\n{"id":1,"id":2}', "line 2: body has the same name twice"),
    ('{"a":"' + "x" * 1100000 + '"}', "a row is above 1 MiB"),
]


@pytest.mark.parametrize("text, problem", BAD_INPUT, ids=range(len(BAD_INPUT)))
def test_input_that_is_none(store, text, problem):
    if problem is None:
        assert bring_in(store, text)[1]["users"] == 0
        return
    status, objects, error = run(store, text)
    assert status == 1 and problem in json.dumps(objects) + error, (objects, error)
    assert count_rows(store) == (0, 0)


def test_rows_of_other_tables(store):
    """Vouchers have keys and users, channels keys, logs names of users."""
    others = [{"id": 1, "user_id": 1, "key": "x" * 32, "quota": 5, "redeemed_time": 0},
              {"id": 1, "type": 1, "key": "sk-upstream", "name": "channel"},
              {"id": 1, "user_id": 1, "username": "root", "quota": 3}]
    peer = Peer("one-api")
    peer.user(1, "root")
    _, counts = bring_in(store, json.dumps(others) + peer.print_sqlite(), source="one-api")
    assert (counts["rows_of_other_tables"], counts["users"], counts["tokens"]) == (3, 1, 0)


def test_refused_rows(store):
    """Each with its line, kind, id and reason; nothing comes in."""
    peer = Peer("new-api")
    peer.user(1, "root")
    peer.token(1, 1, draw_text(48))
    user, token = peer.rows("users")[0], peer.rows("tokens")[0]
    lines = [
        user,
        {**user, "username": "again"},
        {**user, "id": 2, "username": "second", "quota": "5"},
        {**user, "id": 0},
        token,
        {**token, "id": 2},
        {**token, "id": 3, "key": draw_text(48), "unlimited_quota": 2},
        {**token, "id": 4, "key": draw_text(48), "remain_quota": 2**63},
        {**token, "id": 5, "key": "k" * 256},
        {name: value for name, value in {**token, "id": 6}.items() if name != "expired_time"},
        {**token, "key": draw_text(48)},
    ]
    found = problems(store, "".join(json.dumps(row) + "\n" for row in lines))
    assert sorted(found) == sorted([
        "line 2: user 1: is there twice",
        "line 3: user 2: quota must be an integer",
        "line 4: user 0: id is out of range",
        "line 6: token 2: another token has this key",
        "line 7: token 3: unlimited_quota must be true or false, or 1 or 0",
        "line 8: token 4: remain_quota is a number out of range",
        "line 9: token 5: key must be at most 255 bytes",
        "line 10: token 6: expired_time is required",
        "line 11: token 1: is there twice",
    ])
    assert count_rows(store) == (0, 0)


def test_twice(store, world):
    """A second import refuses each row; nothing changes."""
    text = world.peer.print_psql()
    _, counts = bring_in(store, text, source=world.peer.name)
    before = store.run_ctl("export").stdout
    found = problems(store, text, source=world.peer.name)
    assert sum("a user with this id exists" in line for line in found) == counts["users"]
    assert sum("another token has this key" in line for line in found) == counts["tokens"]
    assert all(" user " in line or " token " in line for line in found)
    assert store.run_ctl("export").stdout == before


def test_dry_run(store, world):
    """The same report, and nothing changes."""
    text = world.peer.print_mysql()
    dry = run(store, text, "--dry-run", source=world.peer.name)
    assert count_rows(store) == (0, 0)
    status, objects, error = run(store, text, source=world.peer.name)
    assert dry[0] == status == 0
    assert [{**row, "dry_run": None} for row in dry[1]] == [{**row, "dry_run": None} for row in objects]


def test_names(store):
    """Also those that are the same, or a number, only after they are cut."""
    names = {"BOB": "BOB", "bob": "bob-2", "Bob-2": "Bob-2-3", "bob-3": "bob-3", "9": "9-5", "x" * 70: "x" * 64,
             "tab\tname": "tab name", "ü" * 40: "ü" * 32, "": "user-9", "x" * 69 + "y": "x" * 43 + "-10",
             "Tab name": "Tab name-11", "1" * 64 + "x": "1" * 43 + "-12", "user": "user"}
    peer = Peer("new-api")
    for id, name in enumerate(names, 1):
        peer.user(id, name)
    notes, _ = bring_in(store, peer.print_sqlite())
    assert [user["name"] for user in store.ctl("user", "list")] == list(names.values())
    changed = {id for id, (name, kept) in enumerate(names.items(), 1) if name != kept}
    assert {note.split(": ")[1] for note in notes} == {f"user {id}" for id in changed}
    store.check()


def test_nothing_is_opened(store):
    """What is not NULL in deleted_at is deleted there; a status that is not computed any more is told."""
    peer = Peer("new-api")
    peer.user(1, "root")
    peer.user(2, "gone", deleted_at="")
    for id, deleted_at in enumerate(["", 0, "0000-00-00 00:00:00", "null"], 1):
        peer.token(id, 1, draw_text(48), deleted_at=deleted_at)
    peer.token(5, 0, draw_text(48))
    peer.token(6, None, draw_text(48))
    peer.token(7, -1, draw_text(48))
    for id, values in enumerate([
        {"status": 3}, {"status": 3, "expired_time": FUTURE}, {"status": 4},
        {"status": 4, "unlimited_quota": 0, "remain_quota": 1},
        {"status": 3, "expired_time": PAST}, {"status": 4, "unlimited_quota": 0}, {"status": 2}], 11):
        peer.token(id, 1, draw_text(48), **values)
    notes, counts = bring_in(store, peer.print_sqlite())
    assert [counts[name] for name in ("users", "tokens", "deleted_users", "deleted_tokens", "tokens_without_user")] == [
        1, 7, 1, 4, 3]
    for id in (5, 6, 7):
        assert about(notes, f"token {id}") == ["is left out: its user is missing or deleted"]
    told = {id for id in range(11, 18) if any("is enabled: its status was" in note for note in about(notes, f"token {id}"))}
    assert told == {11, 12, 13, 14} and len(notes) == 7


def test_sum_beyond_64_bits(store):
    peer = Peer("new-api")
    peer.user(1, "root")
    for id in (1, 2):
        peer.token(id, 1, draw_text(48), used_quota=2**62)
    assert problems(store, peer.print_sqlite()) == ["line 1: user 1: its tokens' used_quota is beyond 64 bits"]


def test_beside_others(store):
    """Into a store with users: what exists is refused, the rest comes in."""
    taken = store.add_user("taken")
    peer = Peer("new-api")
    peer.user(taken.id + 1, "TAKEN", access_token=taken.access_token)
    assert problems(store, peer.print_sqlite()) == ["line 1: user 2: another user has this name"]
    peer.database.execute("UPDATE users SET username = 'other'")
    assert problems(store, peer.print_sqlite()) == ["line 1: user 2: another user has this access token"]
    peer.database.execute("UPDATE users SET access_token = NULL")
    peer.token(1, 2, draw_text(48))
    assert bring_in(store, peer.print_sqlite())[1]["tokens"] == 1
    assert [user["name"] for user in store.ctl("user", "list")] == ["taken", "other"]
    (rotated,) = store.ctl("user", "rotate", "other")
    client = Client(store.cgi, User(2, "other", "", rotated["access_token"]))
    assert [token["id"] for token in client.list().data["items"]] == [1]
    store.check()


def test_temporary_file(store):
    """It has no name; without one nothing comes in."""
    peer = Peer("new-api")
    peer.user(1, "root")
    folder = store.dir / "tmp"
    status, _, error = run(store, peer.print_sqlite(), TMPDIR=str(folder))
    assert status == 1 and "a temporary file in TMPDIR or /var/tmp: No such file" in error
    assert count_rows(store) == (0, 0)
    folder.mkdir()
    folder.chmod(0o777)
    bring_in(store, peer.print_sqlite(), TMPDIR=str(folder))
    assert list(folder.iterdir()) == [] and count_rows(store) == (1, 0)


def test_usage(store):
    for arguments in (("--from",), ("--from", "oneapi", "x"), ("--from", "new-api")):
        assert store.run_ctl("import", *arguments).returncode == 2


def make_many(users, tokens):
    peer = Peer("new-api")
    for id in range(users, 0, -1):
        peer.user(id, f"user-{id}")
    for id in range(tokens, 0, -1):
        peer.token(id, id % users + 1, draw_text(48))
    return peer.print_psql()


def test_killed(store):
    """All of it is there, or nothing; the next run makes it."""
    file = write(store, make_many(20, 5000))
    length = None
    for number in range(KILLS):
        settings = other(store, f"killed{number}")
        length = kill_within(start(store, "import", "--from", "new-api", file, **settings), length)
        done = store.run_ctl("stat", "--json", **settings)
        count = json.loads(done.stdout)["tokens"] if done.returncode == 0 else 0
        assert count in (0, 5000)
        if count == 0:
            store.ctl("import", "--from", "new-api", file, **settings)
        store.ctl("check", **settings)
