"""DELETE /api/token/:id"""

import pytest

NOT_THERE = (404, "Token does not exist")


def test_answer(user):
    reply = user.delete(user.make()["id"])
    assert (reply.status, reply.json) == (200, {"success": True, "message": ""})


def test_only_this_token_is_deleted(user):
    first, second, third = user.make_many(3)
    user.delete(second["id"])
    assert user.get(second["id"]).failure == NOT_THERE
    assert user.list().data["items"] == [third, first]


def test_twice(user):
    token = user.make()
    assert user.delete(token["id"]).status == 200
    assert user.delete(token["id"]).failure == NOT_THERE


@pytest.mark.parametrize("token_id", ["0", "9223372036854775807", "9223372036854775808"])
def test_unknown_id(refused, token_id):
    assert refused.delete(token_id).failure == NOT_THERE


def test_other_users_token_stays(user, other_user):
    token = user.make()
    theirs, never = other_user.delete(token["id"]), other_user.delete(2**40)
    assert theirs.failure == NOT_THERE
    assert theirs.body == never.body
    assert user.get(token["id"]).data == token


def test_id_is_never_reused(user):
    last = user.make()["id"]
    user.delete(last)
    assert user.make()["id"] > last


@pytest.mark.parametrize("status", ["disabled", "expired", "exhausted"])
def test_any_status(user, status):
    token = {
        "disabled": lambda: user.update({"id": user.make()["id"], "status": 2}).data,
        "expired": lambda: user.make(expired_time=1),
        "exhausted": lambda: user.make(unlimited_quota=False),
    }[status]()
    assert user.delete(token["id"]).status == 200
    assert user.list().data["total"] == 0


def test_without_an_id(user):
    token = user.make()
    assert user.delete("").status == 405
    assert user.get(token["id"]).status == 200
