"""POST /api/token/batch, which deletes several tokens at once, and /batch/status."""

import pytest

INVALID = (400, "Invalid parameters")


def ids(tokens):
    return [token["id"] for token in tokens]


def test_deletes_only_these(user):
    tokens = user.make_many(6)
    reply = user.batch({"ids": ids(tokens)[1:4]})
    assert reply.json == {"success": True, "message": "", "data": 3}
    assert user.list().data["items"] == [tokens[5], tokens[4], tokens[0]]


def test_each_once(user):
    first, second = user.make_many(2)
    assert user.batch({"ids": [first["id"]] * 3 + [second["id"]]}).data == 2
    assert user.batch({"ids": [first["id"]]}).data == 0


def test_ids_of_other_users_are_not_counted(user, other_user):
    mine, theirs = user.make(), other_user.make()
    wanted = [theirs["id"], mine["id"], 2**40, 0, -1, 2**63 - 1, -(2**63)]
    assert user.batch({"ids": wanted}).data == 1
    assert other_user.get(theirs["id"]).data == theirs


def test_none_of_them(user):
    assert user.batch({"ids": [2**40]}).data == 0


def test_a_thousand(user):
    tokens = user.make_many(1000)
    assert user.batch({"ids": ids(tokens)}).data == 1000
    assert user.list().data["total"] == 0


def test_a_thousand_and_one(user):
    tokens = user.make_many(2)
    assert user.batch({"ids": ids(tokens) + [2**40] * 999}).failure == INVALID
    assert user.list().data["total"] == 2


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"ids": None},
        {"ids": []},
        {"ids": {}},
        {"ids": {"0": 1}},
        {"ids": 1},
        {"ids": "1"},
        {"ids": True},
        {"id": [1]},
        {"IDS": [1]},
        {"ids": ["1"]},
        {"ids": [None]},
        {"ids": [True]},
        {"ids": [[1]]},
        {"ids": [{"id": 1}]},
        b'{"ids":[1.0]}',
        b'{"ids":[1e2]}',
        b'{"ids":[1.5]}',
        b'{"ids":[1,2,"3"]}',
    ],
    ids=str,
)
def test_malformed_ids(refused, body):
    assert refused.batch(body).failure == INVALID


def test_one_bad_id_refuses_all(user):
    tokens = user.make_many(2)
    assert user.batch({"ids": ids(tokens) + ["3"]}).failure == INVALID
    assert user.list().data["total"] == 2


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"[1,2]",
        b"1",
        b"null",
        b'"ids"',
        b'{"ids":[1]',
        b'{"ids":[1]}x',
        b'{"ids":[01]}',
        b'{"ids":[1,]}',
        b'{"ids":[9223372036854775808]}',
        b'{"ids":[-9223372036854775809]}',
        b'{"ids":[1],"ids":[2]}',
    ],
)
def test_malformed_body(refused, body):
    status, message = refused.batch(body).failure
    assert status == 400
    assert message.startswith("Invalid parameters")


def test_unknown_fields_are_ignored(user):
    token = user.make()
    body = b'{"ids":[%d],"all":true,"id":"x","other":1e999}' % token["id"]
    assert user.batch(body).data == 1


@pytest.mark.parametrize("status", ["disabled", "expired", "exhausted"])
def test_any_status(user, status):
    token = {
        "disabled": lambda: user.update({"id": user.make()["id"], "status": 2}).data,
        "expired": lambda: user.make(expired_time=1),
        "exhausted": lambda: user.make(unlimited_quota=False),
    }[status]()
    assert user.batch({"ids": [token["id"]]}).data == 1


# ---- /batch/status ----


def statuses(user):
    """From the oldest token on."""
    return [token["status"] for token in user.list("?size=100&sort=id&order=asc").data["items"]]


def test_status_of_many(user, other_user):
    plain, expired, exhausted, spare = (
        user.make(**fields)["id"]
        for fields in ({}, {"expired_time": 1}, {"unlimited_quota": False}, {})
    )
    theirs = other_user.make()["id"]
    wanted = [exhausted, plain, theirs, expired, plain, exhausted, 2**40, -1, 0]
    off = user.set_status({"ids": wanted, "status": 2})
    assert off.json == {"success": True, "message": "", "data": 3, "refused": []}
    assert off.body == b'{"success":true,"message":"","data":3,"refused":[]}'
    assert statuses(user) == [2, 2, 2, 1] and statuses(other_user) == [1]
    on = user.set_status({"ids": [*wanted, spare], "status": 1, "unknown": "x"})
    assert on.json == {"success": True, "message": "", "data": 2, "refused": [expired, exhausted]}
    assert statuses(user) == [1, 2, 2, 1]
    assert user.set_status({"ids": [theirs], "status": 1}).json["data"] == 0


def test_status_of_a_thousand(user):
    """All of them refused: the longest answer."""
    made = [token["id"] for token in user.make_many(1000, expired_time=1)]
    answer = user.set_status({"ids": made[::-1], "status": 1}).json
    assert (answer["data"], answer["refused"]) == (0, made)
    assert user.set_status({"ids": made, "status": 2}).json["data"] == 1000
    assert user.set_status({"ids": [*made, 1], "status": 2}).refusal == (400, "ids")


@pytest.mark.parametrize("status", [None, 0, 3, 4, -1, "1", 1.0, True, [], 2**63, 2**32 + 1])
def test_wrong_status_of_many(user, status):
    token = user.make()
    reply = user.set_status({"ids": [token["id"]], "status": status})
    assert reply.failure == (400, "Invalid parameters: status must be 1 (enabled) or 2 (disabled)")
    assert user.get(token["id"]).data == token


@pytest.mark.parametrize("body", [{"status": 1}, {"status": 1, "ids": []}, {"status": 1, "ids": [1.0]}])
def test_wrong_ids_of_a_status(refused, body):
    assert refused.set_status(body).refusal == (400, "ids")
