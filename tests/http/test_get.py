"""GET /api/token/:id"""

import pytest

NOT_THERE = (404, "Token does not exist")


def test_own_token(user):
    token = user.make(name="one", group="vip", allow_ips="10.0.0.0/8")
    assert user.get(token["id"]).data == token


def test_own_token_among_many(user):
    for token in user.make_many(30):
        assert user.get(token["id"]).data == token


def same_bytes(one, other):
    """Whether two answers are equal except for the Date header."""
    drop = lambda headers: {name: value for name, value in headers.items() if name != "date"}
    return (one.status, one.body, drop(one.headers)) == (
        other.status,
        other.body,
        drop(other.headers),
    )


def test_other_users_token_is_unknown(user, other_user):
    theirs = other_user.get(user.make()["id"])
    never = other_user.get(2**40)
    assert never.failure == NOT_THERE
    assert same_bytes(theirs, never)


def test_deleted_token_is_unknown(user):
    token = user.make()
    user.delete(token["id"])
    assert same_bytes(user.get(token["id"]), user.get(2**40))


@pytest.mark.parametrize(
    "token_id",
    ["0", "00", "9223372036854775807", "9223372036854775808", "18446744073709551616", "9" * 100],
)
def test_unknown_id(refused, token_id):
    assert refused.get(token_id).failure == NOT_THERE


def test_id_is_not_taken_modulo_a_power_of_two(user):
    token_id = user.make()["id"]
    assert user.get(token_id + 2**32).failure == NOT_THERE
    assert user.get(token_id + 2**64).failure == NOT_THERE


@pytest.mark.parametrize(
    "path", ["abc", "1/2", "-1", "+1", "1.0", "0x1", "1a", "1%20", "%C3%A9"]
)
def test_unknown_path(refused, path):
    assert refused.get(path).failure == (404, "Not found")


def test_query_is_ignored(user):
    token = user.make()
    assert user.get(f"{token['id']}?p=x&size=y").data == token
