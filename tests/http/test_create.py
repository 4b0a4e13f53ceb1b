"""POST /api/token/: one token, or an array of them."""

import re
import time

import pytest
from client import key_checksum
from service import clock_s, wait_until

INT64_MAX = 2**63 - 1
INT64_MIN = -(2**63)
ENABLED, DISABLED, EXPIRED, EXHAUSTED = 1, 2, 3, 4

# Unicode's category Cc: C0, DEL, C1.
CONTROL_CHARACTERS = [*map(chr, range(1, 0x20)), *map(chr, range(0x7F, 0xA0))]


def test_nothing_is_required(user):
    token = user.create({}).data
    expected = {
        "user_id": user.user.id,
        "name": "",
        "status": EXHAUSTED,
        "remain_quota": 0,
        "used_quota": 0,
        "unlimited_quota": False,
        "model_limits_enabled": False,
        "model_limits": "",
        "allow_ips": "",
        "group": user.user.group,
        "expired_time": -1,
    }
    assert {name: token[name] for name in expected} == expected


LIMITED = {"model_limits_enabled": True, "model_limits": "a,b"}


@pytest.mark.parametrize(
    "sent, kept",
    [
        ({"model_limits": ["a", "b"]}, LIMITED),
        ({"model_limits": " a , b"}, LIMITED),
        ({"models": "a,b"}, LIMITED),
        ({"models": ["a", "b"], "model_limits": None}, LIMITED),
        ({"models": "a,b", "model_limits": "a, b"}, LIMITED),
        ({"model_limits": "a,b", "model_limits_enabled": False}, {"model_limits_enabled": False}),
        ({"model_limits": []}, {"model_limits_enabled": False}),
        ({"models": ""}, {"model_limits_enabled": False}),
        ({"subnet": "10.0.0.0/8 ::1"}, {"allow_ips": "10.0.0.0/8,::1"}),
        ({"subnet": "", "allow_ips": ""}, {"allow_ips": ""}),
    ],
)
def test_no_restriction_is_lost(user, sent, kept):
    token = user.make(**sent)
    assert {name: token[name] for name in kept} == kept
    before = user.make(**LIMITED)
    after = user.update({"id": before["id"], **sent}).data
    if sent == {"model_limits": []}:  # the flag stays: nothing is allowed
        kept = {"model_limits_enabled": True, "model_limits": ""}
    assert {name: after[name] for name in kept} == kept


@pytest.mark.parametrize(
    "sent, field",
    [
        ({"allow_ips": " , "}, "allow_ips"),
        ({"allow_ips": "\n"}, "allow_ips"),
        ({"subnet": ","}, "subnet"),
        ({"subnet": "10.0.0.0/99"}, "subnet"),
        ({"subnet": "10.0.0.0/8", "allow_ips": ""}, "subnet"),
        ({"models": "a", "model_limits": "b"}, "models"),
        ({"models": "", "model_limits": "b"}, "models"),
        ({"models": 1}, "models"),
    ],
)
def test_restriction_that_is_unclear(user, refused, sent, field):
    status, message = refused.create(sent).failure
    assert status == 400 and message.startswith(f"Invalid parameters: {field} ")
    status, message = user.update({"id": user.make()["id"], **sent}).failure
    assert status == 400 and message.startswith(f"Invalid parameters: {field} ")


def test_created_time_is_now(user):
    before = clock_s()
    token = user.make()
    assert before <= token["created_time"] <= int(time.time())
    assert before <= token["accessed_time"] <= int(time.time())


def test_ids_rise(user, other_user):
    ids = [client.make()["id"] for client in (user, other_user, user, user, other_user)]
    assert ids == sorted(set(ids)) and ids[0] > 0


def test_every_field(user):
    fields = {
        "name": "My API Token",
        "remain_quota": 1000000,
        "unlimited_quota": False,
        "model_limits_enabled": True,
        "model_limits": "gpt-3.5-turbo,gpt-4",
        "allow_ips": "192.168.1.1,10.0.0.1",
        "group": "vip",
        "expired_time": 4102444800,
    }
    token = user.create(fields).data
    assert {name: token[name] for name in fields} == fields
    assert user.get(token["id"]).data == token


def test_paths_with_and_without_slash(user):
    assert user.request("POST", "/api/token", {"name": "a"}).data["name"] == "a"
    assert user.request("POST", "/api/token/", {"name": "b"}).data["name"] == "b"
    assert user.list().data["total"] == 2


@pytest.mark.parametrize(
    "content_type", [None, "application/x-www-form-urlencoded", "text/plain", "image/png", "x"]
)
def test_content_type_does_not_matter(user, content_type):
    headers = {"Content-Type": content_type}
    assert user.request("POST", "/api/token/", {"name": "a"}, headers).data["name"] == "a"


# ---- the key ----


def test_key_has_its_form_and_checksum(user):
    for token in user.make_many(100):
        assert re.fullmatch("sk-[0-9A-Za-z]{48}", token["key"])
        assert token["key"][45:] == key_checksum(token["key"])


def test_keys_are_random(user):
    keys = [token["key"] for token in user.make_many(100)]
    assert len(set(keys)) == 100
    for position in range(3, 45):
        # 62 equally likely characters: 100 draws give fewer than 25 once in 10^20 tries
        assert len({key[position] for key in keys}) >= 25


# ---- texts ----


@pytest.mark.parametrize(
    "name",
    [
        "",
        "a" * 30,
        "é" * 30,
        "字" * 30,
        "🔑" * 30,
        "e\u0301" * 15,  # two code points each
        " padded ",
        'quote " backslash \\ slash /',
        "</script>&<!--",
        "\u2028\u2029\ufeff\u00a0\u00ad\ufffd\uffff",
        "%00%n",
        "null",
    ],
)
def test_name_is_answered(user, name):
    token = user.make(name=name)
    assert token["name"] == name
    assert user.get(token["id"]).data["name"] == name


@pytest.mark.parametrize(
    "name", ["a" * 31, "é" * 31, "字" * 31, "🔑" * 31, "e\u0301" * 15 + "e", "a" * 100_000]
)
def test_name_too_long(refused, name):
    assert refused.create({"name": name}).failure == (400, "Token name is too long")


def test_name_too_long_in_array(refused):
    reply = refused.create([{"name": "a"}, {"name": "b" * 31}, {}])
    assert reply.failure == (400, "Token name is too long: [1].name")


@pytest.mark.parametrize("field", ["name", "group", "model_limits"])
def test_control_character(refused, field):
    for character in CONTROL_CHARACTERS:
        status, message = refused.create({field: f"a{character}b"}).failure
        assert status == 400
        assert message.startswith(f"Invalid parameters: {field} "), repr(character)


def test_control_character_in_a_model_of_an_array(refused):
    status, message = refused.create({"model_limits": ["good", "b\nad"]}).failure
    assert status == 400
    assert message.startswith("Invalid parameters: model_limits")


def test_group(user):
    assert user.make(group="g" * 64)["group"] == "g" * 64
    assert user.make(group="字" * 21)["group"] == "字" * 21  # 63 bytes


@pytest.mark.parametrize("group", ["g" * 65, "字" * 22])
def test_group_too_long(refused, group):
    status, message = refused.create({"group": group}).failure
    assert status == 400
    assert message.startswith("Invalid parameters: group ")


def test_group_is_the_users_own_by_default(site):
    vip = site.http(site.add_user(group="vip"))
    assert vip.make()["group"] == "vip"
    assert vip.make(group="other")["group"] == "other"
    assert [token["group"] for token in vip.make_many(2)] == ["vip", "vip"]


# ---- lists ----


@pytest.mark.parametrize(
    "given, kept",
    [
        ([], ""),
        (["a"], "a"),
        (["gpt-3.5-turbo", "gpt-4"], "gpt-3.5-turbo,gpt-4"),
        ([" a ", "b"], "a,b"),
        (["", "a", "  ", "b", ""], "a,b"),
        (["a,b", "c"], "a,b,c"),
        ([" a , ,b "], "a,b"),
        (["a b"], "a b"),
        (["模型", "é"], "模型,é"),
        ("", ""),
        ("a", "a"),
        ("a,b", "a,b"),
        (" a , b ", "a,b"),
        (",,a,,b,,", "a,b"),
        (" ", ""),
        (",", ""),
        ("b,a,b", "b,a,b"),
    ],
)
def test_model_limits(user, given, kept):
    token = user.make(model_limits=given)
    assert token["model_limits"] == kept
    assert user.get(token["id"]).data["model_limits"] == kept


@pytest.mark.parametrize("models", [["m" * 99] * 81 + ["m" * 92], "m" * 8192])
def test_model_limits_as_long_as_allowed(user, models):
    assert len(user.make(model_limits=models)["model_limits"]) == 8192


@pytest.mark.parametrize("models", [["m" * 99] * 81 + ["m" * 93], "m" * 8193, ["m"] * 5000])
def test_model_limits_too_long(refused, models):
    status, message = refused.create({"model_limits": models}).failure
    assert status == 400
    assert message.startswith("Invalid parameters: model_limits ")


@pytest.mark.parametrize(
    "given, kept",
    [
        ("", ""),
        ("192.168.1.1", "192.168.1.1"),
        ("192.168.1.1,10.0.0.1", "192.168.1.1,10.0.0.1"),
        ("192.168.1.1, 10.0.0.1", "192.168.1.1,10.0.0.1"),
        ("192.168.1.1 10.0.0.1", "192.168.1.1,10.0.0.1"),
        ("192.168.1.1\n10.0.0.1\n", "192.168.1.1,10.0.0.1"),
        (" ,\n1.2.3.4 , \n ,5.6.7.8, ", "1.2.3.4,5.6.7.8"),
        ("0.0.0.0/0,255.255.255.255/32", "0.0.0.0/0,255.255.255.255/32"),
        ("10.1.2.3/8", "10.1.2.3/8"),
        ("::1,2001:db8::/32,::/0", "::1,2001:db8::/32,::/0"),
        ("2001:DB8:0:0:0:0:0:1/128", "2001:DB8:0:0:0:0:0:1/128"),
        ("::ffff:1.2.3.4", "::ffff:1.2.3.4"),
    ],
)
def test_allow_ips(user, given, kept):
    token = user.make(allow_ips=given)
    assert token["allow_ips"] == kept
    assert user.get(token["id"]).data["allow_ips"] == kept


@pytest.mark.parametrize(
    "value",
    [
        "abc",
        "localhost",
        "1.2.3",
        "1.2.3.4.5",
        "1.2.3.256",
        "1.2.3.-4",
        "1.2.3.4/33",
        "1.2.3.4/-1",
        "1.2.3.4/",
        "1.2.3.4/8/8",
        "1.2.3.4/a",
        "1.2.3.4/255.0.0.0",
        "/8",
        "1.2.3.4:80",
        "::1/129",
        ":::1",
        "1:2:3:4:5:6:7",
        "[::1]",
        "fe80::1%eth0",
        "1.2.3.4;5.6.7.8",
        "1.2.3.4,bad",
        "１.2.3.4",
    ],
)
def test_malformed_address(refused, value):
    status, message = refused.create({"allow_ips": value}).failure
    assert status == 400
    assert message.startswith("Invalid parameters: allow_ips ")


def test_allow_ips_length(user, refused):
    longest = "1.2.3.4," * 1023 + "10.2.3.4"
    assert user.make(allow_ips=longest)["allow_ips"] == longest and len(longest) == 8192
    status, message = refused.create({"allow_ips": longest + "0"}).failure
    assert status == 400 and message.startswith("Invalid parameters: allow_ips ")


# ---- numbers ----


@pytest.mark.parametrize("quota", [0, 1, 2**31, 2**32, 2**53 + 1, INT64_MAX - 1, INT64_MAX])
def test_quota_is_exact(user, quota):
    token = user.make(remain_quota=quota)
    assert token["remain_quota"] == quota
    assert user.list().data["items"][0]["remain_quota"] == quota


@pytest.mark.parametrize("time_", [-1, 1, 1640995200, 2**31, 2**53 + 1, INT64_MAX])
def test_expiry_is_exact(user, time_):
    token = user.make(expired_time=time_)
    assert token["expired_time"] == time_
    assert user.get(token["id"]).data["expired_time"] == time_


@pytest.mark.parametrize(
    "field, number",
    [
        ("remain_quota", -1),
        ("remain_quota", INT64_MIN),
        ("expired_time", -2),
        ("expired_time", INT64_MIN),
    ],
)
def test_negative_number(refused, field, number):
    status, message = refused.create({field: number}).failure
    assert status == 400
    assert message.startswith(f"Invalid parameters: {field} ")


@pytest.mark.parametrize(
    "number",
    ["9223372036854775808", "-9223372036854775809", "18446744073709551616", "1" * 400],
    ids=lambda number: number[:20],
)
@pytest.mark.parametrize("field", ["remain_quota", "expired_time", "used_quota", "id"])
def test_number_out_of_range_is_never_clamped(refused, field, number):
    status, message = refused.create(f'{{"{field}":{number}}}'.encode()).failure
    assert status == 400
    assert message.startswith(f"Invalid parameters: {field} ")


@pytest.mark.parametrize("number", ["1.0", "1e2", "0.5", "1E0", "-0.0", "1e400", "-1e400"])
@pytest.mark.parametrize("field", ["remain_quota", "expired_time"])
def test_fraction_or_exponent_is_no_integer(refused, field, number):
    status, message = refused.create(f'{{"{field}":{number}}}'.encode()).failure
    assert status == 400
    assert message.startswith(f"Invalid parameters: {field} ")


# ---- types ----

WRONG = {
    "name": [1, 1.5, True, [], ["a"], {}],
    "group": [1, False, [], {}],
    "remain_quota": ["1", "", True, False, [], [1], {}],
    "expired_time": ["1", "-1", True, [], {}],
    "unlimited_quota": [0, 1, "true", "", [], {}],
    "model_limits_enabled": [0, 1, "false", [], {}],
    "model_limits": [1, True, {}, {"gpt-4": True}, [1], ["a", None], [["a"]], [{}]],
    "allow_ips": [1, True, ["1.2.3.4"], [], {}],
}


@pytest.mark.parametrize("field", WRONG)
def test_wrong_type_is_named(refused, field):
    for value in WRONG[field]:
        status, message = refused.create({field: value}).failure
        assert status == 400
        assert re.match(rf"Invalid parameters: {field}\b", message), value


def test_null_is_absent(user):
    names = [*WRONG, "id", "status", "unknown"]
    token = user.create(dict.fromkeys(names)).data
    default = user.create({}).data
    for name in WRONG:
        assert token[name] == default[name]


def test_what_a_client_cannot_set_is_ignored(user):
    before = clock_s()
    token = user.make(
        id=2**40,
        user_id=user.user.id + 1,
        key="sk-mine",
        status=DISABLED,
        used_quota=5,
        created_time=1,
        accessed_time=1,
        unknown={"a": [1, None]},
    )
    assert token["id"] != 2**40
    assert token["user_id"] == user.user.id
    assert token["key"] != "sk-mine"
    assert token["status"] == ENABLED
    assert token["used_quota"] == 0
    assert token["created_time"] >= before and token["accessed_time"] >= before


@pytest.mark.parametrize("field", ["id", "user_id", "key", "status", "used_quota", "created_time"])
@pytest.mark.parametrize("value", ["x", -1, 1.5, True, [], {"a": 1}], ids=str)
def test_ignored_field_of_any_type(user, field, value):
    assert user.make(**{field: value})["status"] == ENABLED


def test_token_sent_back_creates_another(user):
    token = user.make(name="one", model_limits=["a", "b"], allow_ips="1.2.3.4 ::1", group="g")
    copy = user.create(token).data
    assert copy["id"] != token["id"] and copy["key"] != token["key"]
    differing = {"id", "key", "created_time", "accessed_time"}
    assert {n: v for n, v in copy.items() if n not in differing} == {
        n: v for n, v in token.items() if n not in differing
    }


# ---- status ----


@pytest.mark.parametrize(
    "fields, status",
    [
        ({"unlimited_quota": True}, ENABLED),
        ({"unlimited_quota": False, "remain_quota": 1}, ENABLED),
        ({"unlimited_quota": True, "remain_quota": 0}, ENABLED),
        ({"unlimited_quota": False, "remain_quota": 0}, EXHAUSTED),
        ({"unlimited_quota": True, "expired_time": 1640995200}, EXPIRED),
        ({"unlimited_quota": True, "expired_time": 0}, ENABLED),
        ({"unlimited_quota": True, "expired_time": 4102444800}, ENABLED),
        ({"unlimited_quota": True, "expired_time": -1}, ENABLED),
        ({"unlimited_quota": True, "expired_time": INT64_MAX}, ENABLED),
        ({"unlimited_quota": False, "remain_quota": 0, "expired_time": 1}, EXPIRED),
    ],
    ids=str,
)
def test_status(user, fields, status):
    token = user.create(fields).data
    assert token["status"] == status
    assert user.get(token["id"]).data["status"] == status
    assert user.list().data["items"][0]["status"] == status


def test_expires_at_its_time(user):
    token = user.make(expired_time=int(time.time()) + 2)
    assert token["status"] == ENABLED
    wait_until(lambda: user.get(token["id"]).data["status"] == EXPIRED, "it has expired")
    assert time.time() >= token["expired_time"]
    assert user.list().data["items"][0]["status"] == EXPIRED


# ---- arrays ----


def test_array_of_one_answers_an_array(user):
    (token,) = user.create([{"name": "only"}]).data
    assert user.list().data["items"] == [token]


def test_array_of_100_in_the_order_given(user):
    tokens = user.create([{"name": f"n{number}"} for number in range(100)]).data
    assert [token["name"] for token in tokens] == [f"n{number}" for number in range(100)]
    ids = [token["id"] for token in tokens]
    assert ids == sorted(set(ids))
    assert user.list("?size=100").data["items"] == tokens[::-1]


@pytest.mark.parametrize("body", [[], [{}] * 101, [{}] * 1000])
def test_array_of_a_wrong_length(refused, body):
    status, message = refused.create(body).failure
    assert status == 400
    assert message.startswith("Invalid parameters: ")


@pytest.mark.parametrize("element", [None, 1, "a", True, [], [{}]])
def test_element_is_not_an_object(refused, element):
    status, message = refused.create([{}, {}, element]).failure
    assert status == 400
    assert message.startswith("Invalid parameters: [2]")


@pytest.mark.parametrize("position", [0, 1, 99])
def test_all_or_nothing(refused, position):
    body = [{"name": "good"} for _ in range(100)]
    body[position] = {"remain_quota": -1}
    message = f"Invalid parameters: [{position}].remain_quota must be 0 or more"
    assert refused.create(body).failure == (400, message)
    assert refused.list().data["total"] == 0


def test_first_failing_element_is_named(refused):
    body = [{}, {"unlimited_quota": 1}, {"name": 1}]
    status, message = refused.create(body).failure
    assert status == 400
    assert message.startswith("Invalid parameters: [1].unlimited_quota ")


@pytest.mark.parametrize("body", [b"null", b"1", b'"a"', b"true", b"false", b"1.5"])
def test_neither_object_nor_array(refused, body):
    status, message = refused.create(body).failure
    assert status == 400
    assert message.startswith("Invalid parameters: ")


# ---- the token limit ----


def test_a_thousand_and_no_more(user):
    full = (409, "Maximum number of tokens reached (1000)")
    tokens = user.make_many(999)
    assert user.create([{}, {}]).failure == full
    assert user.list().data["total"] == 999
    tokens.append(user.make())
    assert user.create({}).failure == full
    assert user.create([{}]).failure == full
    assert user.list().data["total"] == 1000
    user.delete(tokens[500]["id"])
    user.make()
    assert user.create({}).failure == full


def test_limit_is_per_user(user, other_user):
    user.make_many(1000)
    assert other_user.create({}).status == 200
