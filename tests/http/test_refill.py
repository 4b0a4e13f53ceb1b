"""Limits and refill of a token as fields, and refills as they are shown: the local day is moved by TOKEN_TIMEZONE."""

import json

import fastcgi
import pytest
from client import Client, Gateway
from service import Store, zones

INT64_MAX = 2**63 - 1
DEFAULTS = {"rpm_limit": 0, "tpm_limit": 0, "max_parallel_requests": 0, "refill_amount": 0, "refill_interval": "none",
            "refill_day": 1}
GREATEST = {"rpm_limit": 10**6, "tpm_limit": 10**15, "max_parallel_requests": 1000, "refill_amount": INT64_MAX,
            "refill_interval": "month", "refill_day": 31}


def made(client, **fields):
    return client.create(fields).data


def limits_of(token):
    return {name: token[name] for name in DEFAULTS}


# ---- fields ----


def test_defaults(user):
    token = made(user, name="x")
    assert limits_of(token) == DEFAULTS and list(token)[-6:] == list(DEFAULTS)
    own = {"id": 0, "key": "", "created_time": 0, "accessed_time": 0}
    assert user.create({"name": "x", **dict.fromkeys(DEFAULTS)}).data | own == token | own


def test_create_and_get(user):
    token = user.create({"name": "x", "remain_quota": 5, **GREATEST}).data
    assert limits_of(token) == GREATEST and token["remain_quota"] == 5
    assert user.get(token["id"]).data == token
    assert user.list().data["items"] == [token]


@pytest.mark.parametrize("name", DEFAULTS)
def test_update(user, name):
    token = user.create({"name": "x", "remain_quota": 5}).data
    changed = {**token, name: GREATEST[name]}
    assert user.update({"id": token["id"], name: GREATEST[name]}).data == changed
    assert user.update({"id": token["id"], name: None}).data == changed
    assert user.update(changed).data == changed
    assert user.update({"id": token["id"], **GREATEST}).data == {**token, **GREATEST}
    assert user.update({"id": token["id"], **DEFAULTS}).data == token
    assert user.get(token["id"]).data == token


@pytest.mark.parametrize(
    "name, value, message",
    [
        ("rpm_limit", -1, "must be 0 to 1000000"),
        ("rpm_limit", 1000001, "must be 0 to 1000000"),
        ("rpm_limit", "60", "must be an integer"),
        ("rpm_limit", 1.5, "must be an integer"),
        ("tpm_limit", -1, "must be 0 to 1000000000000000"),
        ("tpm_limit", 10**15 + 1, "must be 0 to 1000000000000000"),
        ("tpm_limit", True, "must be an integer"),
        ("max_parallel_requests", -1, "must be 0 to 1000"),
        ("max_parallel_requests", 1001, "must be 0 to 1000"),
        ("max_parallel_requests", [], "must be an integer"),
        ("refill_amount", -1, "must be 0 or more"),
        ("refill_amount", 2**63, "is a number out of range"),
        ("refill_amount", "1", "must be an integer"),
        ("refill_interval", "", "must be none, day, week or month"),
        ("refill_interval", "Day", "must be none, day, week or month"),
        ("refill_interval", "year", "must be none, day, week or month"),
        ("refill_interval", 1, "must be a string"),
        ("refill_interval", False, "must be a string"),
        ("refill_day", 0, "must be 1 to 31"),
        ("refill_day", 32, "must be 1 to 31"),
        ("refill_day", "1", "must be an integer"),
    ],
)
def test_refused(user, name, value, message):
    token = made(user, name="x")
    for reply in (user.create({"name": "y", name: value}), user.update({"id": token["id"], name: value})):
        assert reply.status == 400 and reply.json["message"].endswith(f"{name} {message}")
    assert user.list().data["items"] == [token]


@pytest.mark.parametrize(
    "sent, left",
    [
        ({}, 0),
        ({"refill_amount": 7}, 7),
        ({"refill_amount": 7, "refill_interval": "day"}, 7),
        ({"refill_amount": 7, "refill_interval": "month", "refill_day": 31}, 7),
        ({"refill_amount": 7, "refill_interval": "day", "remain_quota": 3}, 3),
        ({"refill_amount": 7, "refill_interval": "day", "remain_quota": 0}, 0),
        ({"refill_amount": 7, "remain_quota": None}, 7),
    ],
)
def test_quota_of_a_create(user, sent, left):
    assert user.create(sent).data["remain_quota"] == left
    assert [token["remain_quota"] for token in user.create([sent, sent]).data] == [left, left]


def test_used_quota_is_ignored_with_a_refill(site, user):
    """Else it tells for which used_quota the remain_quota is meant."""
    gateway = site.gateway()
    token = made(user, remain_quota=100)
    assert gateway.consume(key=token["key"], amount=10).status == 200
    assert user.update(token).data["remain_quota"] == 90
    started = user.update({**token, "refill_interval": "day"}).data
    assert (started["remain_quota"], started["used_quota"]) == (100, 10)
    assert gateway.consume(key=token["key"], amount=10).status == 200
    assert user.update(started).data["remain_quota"] == 100
    assert user.update({**started, "refill_interval": "none"}).data["remain_quota"] == 100


# ---- refills ----


@pytest.fixture(scope="module")
def store(engine):
    with Store() as store:
        store.zones = zones()
        _, store.early = store.start_worker("early", TOKEN_TIMEZONE=store.zones[0])
        _, store.late = store.start_worker("late", TOKEN_TIMEZONE=store.zones[1])
        yield store
        store.check()


@pytest.fixture
def clients(store):
    """Of one user, of the worker on the early day and of that on the late one."""
    user = store.add_user()
    return Client(fastcgi.transport(store.early), user), Client(fastcgi.transport(store.late), user)


def gateway_of(store, path):
    return Gateway(fastcgi.transport(path), store.add_gateway())


def shown(client, token):
    """Its remain_quota, status and used_quota as a get and a list say it."""
    got = client.get(token["id"]).data
    assert [other for other in client.list().data["items"] if other["id"] == token["id"]] == [got]
    return got["remain_quota"], got["status"], got["used_quota"]


def test_next_day(store, clients):
    early, late = clients
    token = made(early, remain_quota=0, refill_amount=50, refill_interval="day")
    other = made(early, remain_quota=3)
    assert shown(early, token) == (0, 4, 0)
    assert shown(late, token) == (50, 1, 0)
    assert shown(early, token) == (0, 4, 0)  # a look stores nothing
    # ctl shows it by its own setting
    for zone, left in zip(store.zones, (0, 50)):
        done = store.run_ctl("--json", "token", "show", str(token["id"]), TOKEN_TIMEZONE=zone)
        assert json.loads(done.stdout)["remain_quota"] == left
    # a write stores it, and that period does not go back
    assert late.update({"id": token["id"], "add_quota": -20}).data["remain_quota"] == 30
    assert shown(early, token) == shown(late, token) == (30, 1, 0)
    assert early.update({"id": token["id"], "remain_quota": 0}).data["status"] == 4
    assert shown(late, token) == (0, 4, 0)
    assert shown(late, other) == (3, 1, 0)


def test_a_change_acts_from_the_next_start(clients):
    early, late = clients
    token = made(late, remain_quota=7)
    late.update({"id": token["id"], "refill_amount": 50, "refill_interval": "day"})
    assert shown(late, token) == shown(early, token) == (7, 1, 0)
    token = made(early, remain_quota=7, refill_amount=50, refill_interval="day")
    # due with the amount that was; then without
    assert late.update({"id": token["id"], "refill_amount": 60}).data["remain_quota"] == 50
    token = made(early, remain_quota=7, refill_amount=50, refill_interval="day")
    assert early.update({"id": token["id"], "refill_interval": "none"}).data["remain_quota"] == 7
    assert shown(late, token) == (7, 1, 0)


def test_enabled_by_a_refill(clients):
    """A disabled token without quota, of which the next period has begun."""
    early, late = clients
    token = made(early, remain_quota=0, refill_amount=50, refill_interval="day")
    assert early.update({"id": token["id"], "status": 2}).status == 200
    assert early.update({"id": token["id"], "status": 1}).status == 409
    assert late.update({"id": token["id"], "status": 1}).data["status"] == 1
    assert shown(early, token) == (50, 1, 0)


def test_spends_of_the_next_day(store, clients):
    early, _ = clients
    token = made(early, remain_quota=0, refill_amount=50, refill_interval="day")
    assert gateway_of(store, store.early).consume(key=token["key"], amount=20).status == 401
    gateway = gateway_of(store, store.late)
    assert gateway.consume(key=token["key"], amount=20).data["remain_quota"] == 30
    assert gateway.consume(key=token["key"], amount=40).status == 401
    assert shown(early, token) == (30, 1, 20)
