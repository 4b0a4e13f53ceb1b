"""PUT /api/token/: full, partial and status-only updates."""

import re
import time

import pytest

NOT_THERE = (404, "Token does not exist")
EXPIRED_REFUSAL = (
    409,
    "The token has expired and cannot be enabled. Please update the token expiration time "
    "first, or set it to never expire",
)
EXHAUSTED_REFUSAL = (
    409,
    "The token quota is exhausted and cannot be enabled. Please update the remaining quota "
    "first, or set it to unlimited",
)

INT64_MAX = 2**63 - 1
ENABLED, DISABLED, EXPIRED, EXHAUSTED = 1, 2, 3, 4
STATUS_ONLY = "?status_only=true"


def changed(token, **fields):
    return {**token, **fields}


@pytest.fixture
def token(user):
    """An enabled token with a value in every field."""
    return user.make(
        name="before",
        remain_quota=7,
        unlimited_quota=False,
        model_limits_enabled=True,
        model_limits=["a", "b"],
        allow_ips="1.2.3.4",
        group="g",
        expired_time=4102444800,
    )


# ---- what clients of the family send by habit ----


def test_habits(user, token):
    change = {"id": token["id"], "unlimited_quota": True, "remain_quota": -1, "group": ""}
    after = user.update(change).data
    assert (after["remain_quota"], after["unlimited_quota"]) == (0, True)
    assert after["group"] == user.user.group
    assert user.update({"id": token["id"], "expired_time": 0}).data["status"] == EXPIRED
    refusal = user.update({"id": token["id"], "unlimited_quota": False, "remain_quota": -1})
    assert refusal.status == 400
    created = user.make(remain_quota=-1, expired_time=0, group="")
    assert created["expired_time"] == -1 and created["group"] == user.user.group


# ---- fields ----

CHANGES = [
    ("name", "after", "after"),
    ("name", "", ""),
    ("name", "字" * 30, "字" * 30),
    ("remain_quota", 8, 8),
    ("remain_quota", INT64_MAX, INT64_MAX),
    ("unlimited_quota", True, True),
    ("model_limits_enabled", False, False),
    ("model_limits", ["c", " d "], "c,d"),
    ("model_limits", "c, d", "c,d"),
    ("model_limits", [], ""),
    ("model_limits", "", ""),
    ("allow_ips", "::1 10.0.0.0/8", "::1,10.0.0.0/8"),
    ("allow_ips", "", ""),
    ("group", "vip", "vip"),
    ("expired_time", -1, -1),
    ("expired_time", INT64_MAX, INT64_MAX),
]


@pytest.mark.parametrize("field, given, kept", CHANGES)
def test_one_field_only(user, token, field, given, kept):
    expected = changed(token, **{field: kept})
    assert user.update({"id": token["id"], field: given}).data == expected
    assert user.get(token["id"]).data == expected


def test_all_fields_at_once(user, token):
    fields = {
        "name": "after",
        "remain_quota": 9,
        "unlimited_quota": True,
        "model_limits_enabled": False,
        "model_limits": "c",
        "allow_ips": "::1",
        "group": "vip",
        "expired_time": -1,
        "status": DISABLED,
    }
    expected = changed(token, **fields)
    assert user.update({"id": token["id"], **fields}).data == expected
    assert user.list().data["items"] == [expected]


def test_nothing_but_the_id_changes_nothing(user, token):
    assert user.update({"id": token["id"]}).data == token


def test_null_keeps_the_value(user, token):
    body = dict.fromkeys([*token, "unknown"])
    assert user.update({**body, "id": token["id"]}).data == token


def test_other_tokens_do_not_change(user):
    first, second, third = user.make_many(3)
    user.update({"id": second["id"], "name": "other"})
    assert user.list().data["items"] == [third, changed(second, name="other"), first]


def test_growing_and_shrinking(user):
    """The record no longer fits into its old space."""
    tokens = user.make_many(20)
    for length in (8000, 0, 4000, 8192, 10):
        for token in tokens[::3]:
            token["model_limits"] = "m" * length
            token["model_limits_enabled"] = token["model_limits_enabled"] or length > 0
            assert user.update({"id": token["id"], "model_limits": "m" * length}).data == token
    assert user.list().data["items"] == tokens[::-1]


def test_what_a_client_cannot_set_is_ignored(user, token):
    body = {
        "id": token["id"],
        "user_id": 1,
        "key": "sk-mine",
        "used_quota": 5,
        "created_time": 1,
        "accessed_time": 1,
        "unknown": "x",
    }
    assert user.update(body).data == token


def test_path_without_slash(user, token):
    reply = user.request("PUT", "/api/token", {"id": token["id"], "name": "after"})
    assert reply.data == changed(token, name="after")


@pytest.mark.parametrize(
    "fields",
    [
        {"unlimited_quota": True},
        {"unlimited_quota": True, "expired_time": 1},
        {"unlimited_quota": False, "remain_quota": 0},
        {"model_limits": "a,b", "allow_ips": "1.2.3.4,::1", "remain_quota": INT64_MAX},
    ],
    ids=str,
)
@pytest.mark.parametrize("disabled", [False, True])
def test_token_sent_back_changes_nothing(user, fields, disabled):
    token = user.create({"name": "whole", **fields}).data
    if disabled:
        token = user.update({"id": token["id"], "status": DISABLED}).data
    assert user.update(token).data == token


@pytest.mark.parametrize(
    "field, value",
    [
        ("name", 1),
        ("name", "a\nb"),
        ("group", []),
        ("group", "g" * 65),
        ("remain_quota", "1"),
        ("remain_quota", -1),
        ("expired_time", True),
        ("expired_time", -2),
        ("unlimited_quota", 1),
        ("model_limits_enabled", "true"),
        ("model_limits", 1),
        ("model_limits", "m" * 8193),
        ("allow_ips", ["1.2.3.4"]),
        ("allow_ips", "nowhere"),
        ("status", "1"),
        ("status", True),
        ("status", []),
    ],
)
def test_wrong_field_is_named_and_nothing_changes(user, token, field, value):
    body = {"id": token["id"], "name": "after", "remain_quota": 99, field: value}
    status, message = user.update(body).failure
    assert status == 400
    assert re.match(rf"Invalid parameters: {field}\b", message)
    assert user.get(token["id"]).data == token


@pytest.mark.parametrize(
    "field, number",
    [
        ("remain_quota", "9223372036854775808"),
        ("remain_quota", "1.0"),
        ("expired_time", "-9223372036854775809"),
        ("status", "9223372036854775808"),
        ("status", "1.0"),
        ("used_quota", "9223372036854775808"),
    ],
)
def test_wrong_number_is_named(user, token, field, number):
    body = f'{{"id":{token["id"]},"{field}":{number}}}'.encode()
    status, message = user.update(body).failure
    assert status == 400
    assert message.startswith(f"Invalid parameters: {field} ")
    assert user.get(token["id"]).data == token


def test_name_too_long(user, token):
    reply = user.update({"id": token["id"], "name": "字" * 31})
    assert reply.failure == (400, "Token name is too long")
    assert user.get(token["id"]).data == token


@pytest.mark.parametrize("body", [b"[]", b"[{}]", b"null", b"1", b'"a"', b"", b"{"])
@pytest.mark.parametrize("query", ["", STATUS_ONLY])
def test_body_is_not_an_object(refused, body, query):
    status, message = refused.update(body, query).failure
    assert status == 400
    assert message.startswith("Invalid parameters: ")


# ---- a quota that is spent meanwhile ----


@pytest.fixture
def spent(user, gateway):
    """A token of 100 as its owner has read it, and a function that spends of it."""
    token = user.make(unlimited_quota=False, remain_quota=100)

    def spend(amount):
        assert gateway.consume(key=token["key"], amount=amount).status == 200

    return token, spend


def quota(reply):
    return reply.data["remain_quota"], reply.data["used_quota"]


def test_token_sent_back_gives_no_units_back(user, spent):
    token, spend = spent
    spend(90)
    after = user.update({**token, "name": "renamed"})
    assert quota(after) == (10, 90) and after.data["name"] == "renamed"
    assert quota(user.update({**token, "remain_quota": 150})) == (60, 90)
    spend(50)
    assert quota(user.update({**token, "remain_quota": 120, "status": 0})) == (0, 140)
    spent_all = user.update({**token, "status": 1})  # as it was read: it would enable
    assert spent_all.failure == EXHAUSTED_REFUSAL


def test_remain_quota_as_of_a_used_quota(user, gateway, spent):
    token, spend = spent
    set_to = {"id": token["id"], "remain_quota": 100}
    reserved = gateway.reserve(key=token["key"], amount=40).data["reservation"]
    gateway.cancel(reservation=reserved)
    assert quota(user.update({**set_to, "used_quota": 40})) == (140, 0)  # in both directions
    spend(20)
    assert quota(user.update(set_to)) == (100, 20)  # alone: whatever was spent
    assert quota(user.update({**set_to, "used_quota": None})) == (100, 20)
    assert quota(user.update({"id": token["id"], "used_quota": 5, "name": "x"})) == (100, 20)
    assert quota(user.update({"id": token["id"], "used_quota": "x"})) == (100, 20)
    most = {"id": token["id"], "remain_quota": INT64_MAX}
    assert user.update({**most, "used_quota": 21}).failure == (
        400,
        "Invalid parameters: remain_quota would be out of range",
    )
    assert quota(user.update({**most, "used_quota": 20})) == (INT64_MAX, 20)
    unlimited = user.update({"id": token["id"], "unlimited_quota": True, "remain_quota": 0}).data
    spend(20)
    assert quota(user.update({**unlimited, "remain_quota": 7})) == (7, 40)
    assert quota(user.update({**unlimited, "remain_quota": 7, "unlimited_quota": False})) == (7, 40)


@pytest.mark.parametrize("value", ["5", -1, 1.0, True, [], {}, 2**63])
def test_wrong_used_quota_beside_remain_quota(user, token, value):
    body = {"id": token["id"], "remain_quota": 5, "used_quota": value}
    status, message = user.update(body).failure
    assert status == 400 and message.startswith("Invalid parameters: used_quota ")
    assert user.get(token["id"]).data == token


def test_add_quota(user, spent):
    token, spend = spent
    spend(30)
    add = {"id": token["id"]}
    assert quota(user.update({**add, "add_quota": 50, "name": "x"})) == (120, 30)
    assert quota(user.update({**add, "add_quota": -20, "used_quota": 0})) == (100, 30)
    assert quota(user.update({**add, "add_quota": None, "remain_quota": None})) == (100, 30)
    assert quota(user.update({**add, "add_quota": 9, "status": 2}, STATUS_ONLY)) == (100, 30)
    too_low = user.update({**add, "add_quota": -101, "name": "y"})
    assert too_low.refusal == (409, "quota_too_low")
    assert too_low.message == "The token has less quota left than that"
    assert user.update({**add, "add_quota": -(2**63)}).refusal == (409, "quota_too_low")
    assert user.update({**add, "add_quota": INT64_MAX - 99}).refusal == (400, "invalid")
    after = user.get(token["id"])
    assert quota(after) == (100, 30) and after.data["name"] == "x"
    assert quota(user.update({**add, "add_quota": -100})) == (0, 30)
    assert user.update({**add, "status": 1}).failure == EXHAUSTED_REFUSAL
    assert quota(user.update({**add, "add_quota": 5, "status": 1})) == (5, 30)
    assert user.make(add_quota="ignored", remain_quota=3)["remain_quota"] == 3


@pytest.mark.parametrize("fields", [{"add_quota": v} for v in ("5", 1.5, True, [], 2**63)] + [
    {"add_quota": 0, "remain_quota": 5},
    {"add_quota": 1, "remain_quota": 5, "used_quota": 0},
])
def test_wrong_add_quota(user, token, fields):
    status, message = user.update({"id": token["id"], **fields}).failure
    assert status == 400 and message.startswith("Invalid parameters: add_quota ")
    assert user.get(token["id"]).data == token


# ---- the id ----


@pytest.mark.parametrize("query", ["", STATUS_ONLY])
@pytest.mark.parametrize("token_id", [0, -1, 2**40, INT64_MAX, -(2**63)])
def test_unknown_id(refused, token_id, query):
    assert refused.update({"id": token_id, "status": 1}, query).failure == NOT_THERE


@pytest.mark.parametrize("query", ["", STATUS_ONLY])
@pytest.mark.parametrize(
    "body",
    [
        b'{"status":1}',
        b'{"id":null,"status":1}',
        b'{"id":"1","status":1}',
        b'{"id":true,"status":1}',
        b'{"id":[1],"status":1}',
        b'{"id":1.0,"status":1}',
        b'{"id":1e0,"status":1}',
        b'{"id":9223372036854775808,"status":1}',
        b'{"id":-9223372036854775809,"status":1}',
    ],
)
def test_id_missing_or_malformed(refused, body, query):
    status, message = refused.update(body, query).failure
    assert status == 400
    assert message.startswith("Invalid parameters: id ")


@pytest.mark.parametrize("query", ["", STATUS_ONLY])
def test_other_users_token_is_unknown(user, other_user, token, query):
    theirs = other_user.update({"id": token["id"], "status": 2, "name": "x"}, query)
    never = other_user.update({"id": 2**40, "status": 2, "name": "x"}, query)
    assert theirs.failure == NOT_THERE
    assert theirs.body == never.body
    assert user.get(token["id"]).data == token


def test_deleted_stays_deleted(user, token):
    user.delete(token["id"])
    assert user.update({"id": token["id"], "name": "x"}).failure == NOT_THERE
    assert user.list().data["total"] == 0


# ---- status ----


def test_disable_and_enable(user, token):
    for status in (DISABLED, DISABLED, ENABLED, ENABLED):
        expected = changed(token, status=status)
        assert user.update({"id": token["id"], "status": status}).data == expected
        assert user.get(token["id"]).data == expected


@pytest.mark.parametrize("status", [EXPIRED, EXHAUSTED, 0, 5, -1, 2**32 + 1])
def test_derived_status_sent_back_is_ignored(user, token, status):
    body = {"id": token["id"], "status": status, "name": "after"}
    assert user.update(body).data == changed(token, name="after")
    user.update({"id": token["id"], "status": DISABLED})
    assert user.update(body).data["status"] == DISABLED


@pytest.mark.parametrize(
    "fields, status",
    [
        ({"expired_time": 1}, EXPIRED),
        ({"expired_time": 0}, EXPIRED),
        ({"remain_quota": 0}, EXHAUSTED),
        ({"remain_quota": 0, "unlimited_quota": True}, ENABLED),
        ({"remain_quota": 0, "expired_time": 1}, EXPIRED),
    ],
    ids=str,
)
def test_status_follows_expiry_and_quota(user, token, fields, status):
    """Also if status 1 is sent: the token is enabled already."""
    for sent in ({}, {"status": ENABLED}):
        back = {"expired_time": -1, "remain_quota": 7, "unlimited_quota": False}
        assert user.update({"id": token["id"], **back}).data["status"] == ENABLED
        assert user.update({"id": token["id"], **fields, **sent}).data["status"] == status
        assert user.get(token["id"]).data["status"] == status


@pytest.mark.parametrize(
    "made, back",
    [
        ({"expired_time": 1}, {"expired_time": -1}),
        ({"expired_time": 1}, {"expired_time": 4102444800}),
        ({"unlimited_quota": False}, {"unlimited_quota": True}),
        ({"unlimited_quota": False}, {"remain_quota": 1}),
    ],
    ids=str,
)
@pytest.mark.parametrize("sent", [{}, {"status": ENABLED}, {"status": EXPIRED}], ids=str)
def test_extending_makes_a_token_usable_again(user, made, back, sent):
    token = user.make(**made)
    assert token["status"] in (EXPIRED, EXHAUSTED)
    assert user.update({"id": token["id"], **back, **sent}).data["status"] == ENABLED
    assert user.get(token["id"]).data["status"] == ENABLED


def test_disabled_takes_precedence(user, token):
    user.update({"id": token["id"], "status": DISABLED})
    for fields in ({"expired_time": 1}, {"remain_quota": 0}, {"expired_time": -1}):
        assert user.update({"id": token["id"], **fields}).data["status"] == DISABLED


UNUSABLE = [
    ({"expired_time": 1}, EXPIRED_REFUSAL),
    ({"unlimited_quota": False}, EXHAUSTED_REFUSAL),
    ({"unlimited_quota": False, "expired_time": 1}, EXPIRED_REFUSAL),
]


@pytest.mark.parametrize("query", ["", STATUS_ONLY])
@pytest.mark.parametrize("disabled", [False, True])
@pytest.mark.parametrize("made, refusal", UNUSABLE, ids=str)
def test_enabling_is_refused(user, made, refusal, disabled, query):
    token = user.make(name="before", **made)
    if disabled:
        token = user.update({"id": token["id"], "status": DISABLED}, query).data
    body = {"id": token["id"], "status": ENABLED, "name": "after", "group": "g"}
    assert user.update(body, query).failure == refusal
    assert user.get(token["id"]).data == token


def test_disabling_an_expired_token(user):
    token = user.make(expired_time=1)
    assert user.update({"id": token["id"], "status": DISABLED}).data["status"] == DISABLED


def test_extending_only_one_of_two(user):
    """Expired and exhausted: enabling needs both extended."""
    token = user.make(unlimited_quota=False, expired_time=1)
    more = {"id": token["id"], "status": ENABLED}
    assert user.update({**more, "expired_time": -1}).failure == EXHAUSTED_REFUSAL
    assert user.update({**more, "remain_quota": 1}).failure == EXPIRED_REFUSAL
    both = {**more, "expired_time": -1, "remain_quota": 1}
    assert user.update(both).data["status"] == ENABLED


def test_enabling_after_disabling_and_expiring_at_once(user, token):
    user.update({"id": token["id"], "status": DISABLED})
    body = {"id": token["id"], "status": ENABLED, "expired_time": int(time.time()) - 1}
    assert user.update(body).failure == EXPIRED_REFUSAL
    assert user.get(token["id"]).data["expired_time"] == token["expired_time"]


# ---- status only ----


@pytest.mark.parametrize("value", ["true", "1", "yes", "TRUE", "2", "x", "%20", "%30%30", "null"])
def test_status_only_when_the_parameter_is_true(user, token, value):
    body = {"id": token["id"], "status": DISABLED, "name": "after"}
    reply = user.update(body, f"?status_only={value}")
    assert reply.data == changed(token, status=DISABLED)


@pytest.mark.parametrize(
    "query",
    ["", "?status_only=", "?status_only=0", "?status_only=false", "?status_only", "?other=true"],
)
def test_full_update_otherwise(user, token, query):
    body = {"id": token["id"], "status": DISABLED, "name": "after"}
    assert user.update(body, query).data == changed(token, status=DISABLED, name="after")


def test_first_of_a_repeated_parameter_counts(user, token):
    body = {"id": token["id"], "status": DISABLED, "name": "after"}
    reply = user.update(body, "?status_only=1&status_only=0")
    assert reply.data == changed(token, status=DISABLED)


def test_status_only_ignores_other_fields(user, token):
    body = {
        "id": token["id"],
        "status": DISABLED,
        "name": 1,
        "group": ["x"],
        "remain_quota": "much",
        "unlimited_quota": 1,
        "model_limits": {},
        "allow_ips": "nowhere",
        "expired_time": -7,
    }
    assert user.update(body, STATUS_ONLY).data == changed(token, status=DISABLED)
    body["status"] = ENABLED
    assert user.update(body, STATUS_ONLY).data == token


@pytest.mark.parametrize(
    "status", ["0", "3", "4", "5", "-1", "null", '"1"', "true", "[]", "1.0", "9223372036854775808"]
)
def test_status_only_with_another_status(user, token, status):
    body = f'{{"id":{token["id"]},"status":{status}}}'.encode()
    code, message = user.update(body, STATUS_ONLY).failure
    assert code == 400
    assert message.startswith("Invalid parameters: status ")
    assert user.get(token["id"]).data == token


def test_status_only_without_a_status(user, token):
    status, message = user.update({"id": token["id"], "name": "after"}, STATUS_ONLY).failure
    assert status == 400
    assert message.startswith("Invalid parameters: status ")
