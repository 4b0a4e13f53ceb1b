"""Strict JSON: RFC 8259 is the rule, and what it does not allow is refused."""

import json
from random import Random

import pytest

# The routes that read a body. Each would succeed with the fields of VALID.
ROUTES = [("POST", "/api/token/"), ("PUT", "/api/token/"), ("POST", "/api/token/batch")]

NOT_JSON = [
    b"",
    b" ",
    b"\n\t ",
    b"{",
    b"}",
    b"[",
    b"]",
    b"{]",
    b"[}",
    b"{}{}",
    b"{} {}",
    b"{}x",
    b"{},",
    b"{}\x00",
    b"{}\x00{}",
    b"\x00{}",
    b"{}\xff",
    b"{}]",
    b"x{}",
    b"{,}",
    b'{"a"}',
    b'{"a":}',
    b'{"a":1,}',
    b'{,"a":1}',
    b'{"a":1 "b":2}',
    b'{"a" 1}',
    b'{"a"::1}',
    b"{a:1}",
    b"{1:1}",
    b"{'a':1}",
    b'{"a":\'b\'}',
    b'{"a":1',
    b'{"a":"b}',
    b'{"a":[1,]}',
    b'{"a":[,1]}',
    b'{"a":[1 2]}',
    b'{"a":[1,,2]}',
    b"{/**/}",
    b"{//\n}",
    b"#\n{}",
    b'{"a":1}//',
    # words
    b'{"a":NaN}',
    b'{"a":nan}',
    b'{"a":Infinity}',
    b'{"a":-Infinity}',
    b'{"a":inf}',
    b'{"a":True}',
    b'{"a":FALSE}',
    b'{"a":Null}',
    b'{"a":nul}',
    b'{"a":nulll}',
    b'{"a":truefalse}',
    b'{"a":undefined}',
    b'{"a":x}',
    # numbers
    b'{"a":01}',
    b'{"a":00}',
    b'{"a":-01}',
    b'{"a":1.}',
    b'{"a":.5}',
    b'{"a":-.5}',
    b'{"a":+1}',
    b'{"a":-}',
    b'{"a":--1}',
    b'{"a":1e}',
    b'{"a":1e+}',
    b'{"a":1.e1}',
    b'{"a":1.5.5}',
    b'{"a":0x10}',
    b'{"a":0b1}',
    b'{"a":1_000}',
    b'{"a":1 000}',
    b'{"a":1a}',
    b'{"a":1e5e5}',
    # strings
    b'{"a":"\n"}',
    b'{"a":"\t"}',
    b'{"a":"\x00"}',
    b'{"a":"\x01"}',
    b'{"a":"\x1f"}',
    b'{"a\n":1}',
    b'{"a":"\\x41"}',
    b'{"a":"\\a"}',
    b'{"a":"\\0"}',
    b'{"a":"\\\'"}',
    b'{"a":"\\',
    b'{"a":"\\u"}',
    b'{"a":"\\u12"}',
    b'{"a":"\\u123"}',
    b'{"a":"\\u123g"}',
    b'{"a":"\\U0041"}',
    b'{"a":"\\u+123"}',
    b'{"a":"\\u 123"}',
    # surrogates
    b'{"a":"\\ud800"}',
    b'{"a":"\\udc00"}',
    b'{"a":"\\ud800x"}',
    b'{"a":"\\ud800\\n"}',
    b'{"a":"\\ud800\\u0041"}',
    b'{"a":"\\ud800\\ud800"}',
    b'{"a":"\\udc00\\ud800"}',
    b'{"a":"\\ud83d\\"}',
    b'{"\\ud800":1}',
    # UTF-8
    b'{"a":"\x80"}',
    b'{"a":"\xbf"}',
    b'{"a":"\xc3"}',
    b'{"a":"\xc3(\xa9"}',
    b'{"a":"\xc0\xaf"}',
    b'{"a":"\xc1\x81"}',
    b'{"a":"\xe0\x80\xaf"}',
    b'{"a":"\xe0\x9f\xbf"}',
    b'{"a":"\xe4\xbd"}',
    b'{"a":"\xed\xa0\x80"}',
    b'{"a":"\xed\xbf\xbf"}',
    b'{"a":"\xed\xa0\xbd\xed\xb4\x91"}',
    b'{"a":"\xf0\x80\x80\xaf"}',
    b'{"a":"\xf0\x8f\xbf\xbf"}',
    b'{"a":"\xf0\x9f\x94"}',
    b'{"a":"\xf4\x90\x80\x80"}',
    b'{"a":"\xf5\x80\x80\x80"}',
    b'{"a":"\xf8\x88\x80\x80\x80"}',
    b'{"a":"\xfe"}',
    b'{"a":"\xff"}',
    b'{"\xff":1}',
    b'{"a":"caf\xe9"}',  # Latin-1
    '{"a":1}'.encode("utf-16"),
    '{"a":1}'.encode("utf-16-le"),
    '{"a":1}'.encode("utf-32"),
    # NUL
    b'{"a":"\\u0000"}',
    b'{"a":["b\\u0000c"]}',
    b'{"\\u0000":1}',
    b'{"name\\u0000x":1}',
    b'{"a":{"b\\u0000":1}}',
    # the same name twice in an object, however it is written
    b'{"a":1,"a":2,"a":"x"}',
    b'{"name":"a","name":"a"}',
    b'{"name":"a","n\\u0061me":"b"}',
    b'{"name":"a","name":null}',
    b'{"":1,"":2}',
    b'{"x":[{"a":null,"b":1,"a":null}]}',
    # what RFC 8259 allows at the outermost level, and the API does not
    b"1",
    b'"a"',
    b"true",
    b"null",
    # a byte order mark, but not at the beginning, or not UTF-8's
    b"\xef\xbb\xbf",
    b" \xef\xbb\xbf{}",
    b"\xef\xbb\xbf\xef\xbb\xbf{}",
    b"{\xef\xbb\xbf}",
    b"\xff\xfe{\x00}\x00",
]


def short(value):
    return repr(value[:40])


@pytest.mark.parametrize("body", NOT_JSON, ids=short)
def test_refused_on_every_route(refused, body):
    for method, target in ROUTES:
        status, message = refused.request(method, target, body).failure
        assert status == 400
        assert message.startswith("Invalid parameters")


def wrap(inner, depth):
    """inner in so many arrays and objects in all, an object with a field "x" outermost."""
    return b'{"x":' + b"[" * (depth - 1) + inner + b"]" * (depth - 1) + b"}"


def deep_objects(inner, depth):
    return b'{"x":' * depth + inner + b"}" * depth


@pytest.mark.parametrize("nest", [wrap, deep_objects])
@pytest.mark.parametrize("inner", [b"1", b'"a"', b"null"])
def test_32_levels(user, nest, inner):
    assert user.create(nest(inner, 32)).status == 200


@pytest.mark.parametrize("nest", [wrap, deep_objects])
@pytest.mark.parametrize("depth", [33, 34, 100, 1000, 100_000])
def test_deeper_than_32_levels(refused, nest, depth):
    status, message = refused.create(nest(b"1", depth)).failure
    assert status == 400
    assert message.startswith("Invalid parameters: ")


@pytest.mark.parametrize("opening", [b"[", b"{", b'{"x":', b"[[", b'[{"x":'])
def test_opened_very_often_and_never_closed(refused, opening):
    body = opening * (1_000_000 // len(opening))
    for method, target in ROUTES:
        assert refused.request(method, target, body).status == 400


def test_depth_counts_nesting_not_brackets(user):
    body = b'{"x":[' + b",".join([b"[[]]"] * 10_000) + b"]}"
    assert user.create(body).status == 200


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b" \t\r\n{ \t\r\n} \t\r\n",
        b'{"a":null,"b":true,"c":false,"d":{},"e":[]}',
        b'{"a":[0,-1,1.5,-1.5,1e2,1E2,1e+2,1e-2,1.5e10,0.0,-0.0,0e0,-0]}',
        b'{"a":1e308,"b":-1.7976931348623157e308,"c":1e-400,"d":4.9e-324}',
        b'{"a":9223372036854775807,"b":-9223372036854775808}',
        b'{"a":"\\"\\\\\\/\\b\\f\\n\\r\\t\\u0001"}',
        b'{"a":"\x7f"}',
        b'{"":1," ":2}',
        b'{"a":"\\ud83d\\ude00\\uD83D\\uDE00\\udbff\\udfff"}',
        '{"a":"é字🔑\ud7ff\ue000\uffff\U0010ffff\x80"}'.encode(),
        b'{"\xc3\xa9":1}',
        b'{"a":{"a":[{"a":1},{"a":1}]},"A":1,"a ":1}',
        b"\xef\xbb\xbf{}",
        b'{"a":0.' + b"1" * 1000 + b"}",
    ],
    ids=short,
)
def test_allowed(user, body):
    assert user.create(body).status == 200


@pytest.mark.parametrize(
    "body, name",
    [
        (b'\xef\xbb\xbf{"name":"b"}', "b"),
        (b'{"name":null}', ""),
        (b'{"n\\u0061me":"b"}', "b"),
        (b'{"name":"\\u0062"}', "b"),
        (b'{"name":"\\u00E9\\u00e9"}', "éé"),
        (b'{"name":"\\ud83d\\udd11"}', "🔑"),
        (b'{"name":"\\ud836\\udc00\\uD877\\uDFFF"}', "\U0001d800\U0002dfff"),
        (b'{"name":"\\udbff\\udfff\\ud800\\udc00"}', "\U0010ffff\U00010000"),
        (b'{"name":"a\\/b"}', "a/b"),
        (b'{"name":"a","Name":"b","NAME":"c","name ":"d"}', "a"),
        (b'{"x":{"name":"no"},"name":"b","y":[{"name":"no"}]}', "b"),
    ],
)
def test_meaning(user, body, name):
    assert user.create(body).data["name"] == name


def random_name(random):
    """Up to 30 characters of all planes, none a control character or a surrogate."""
    planes = [(0x20, 0x7E), (0xA0, 0xFF), (0x2010, 0xD7FF), (0xE000, 0xFFFD), (0x10000, 0x10FFFF)]
    return "".join(chr(random.randint(*random.choice(planes))) for _ in range(random.randint(1, 30)))


def written(random, text):
    """A text as JSON: each character as it is, or escaped in one of its forms."""
    parts = []
    for character in text:
        units = character.encode("utf-16-be").hex()
        escape = "".join(f"\\u{units[i:i + 4]}" for i in range(0, len(units), 4))
        plain = json.dumps(character, ensure_ascii=False)[1:-1]
        upper = escape.upper().replace("\\U", "\\u")
        parts.append(random.choice([plain, plain, escape, upper]))
    return '"' + "".join(parts) + '"'


def test_means_what_python_reads(user):
    random = Random(8259)
    for _ in range(10):
        names = [random_name(random) for _ in range(100)]
        body = "[" + ",".join(f'{{"name":{written(random, name)}}}' for name in names) + "]"
        assert [element["name"] for element in json.loads(body)] == names
        created = user.create(body.encode()).data
        assert [token["name"] for token in created] == names
        user.batch({"ids": [token["id"] for token in created]})


OUT_OF_RANGE = [
    "1e999",
    "-1e999",
    "1e309",
    "9223372036854775808",
    "-9223372036854775809",
    "18446744073709551616",
    "1" + "0" * 400,
    "-1" + "0" * 400,
    "1" + "0" * 400 + ".0",
]


@pytest.mark.parametrize("number", OUT_OF_RANGE, ids=lambda number: number[:20])
def test_number_out_of_range(user, refused, number):
    """Refused in a known field, which is named; ignored in others, as they are."""
    for body, field in (
        (f'{{"remain_quota":{number}}}', "remain_quota"),
        (f'[{{}},{{"expired_time":{number}}}]', "[1].expired_time"),
        (f'{{"used_quota":{number}}}', "used_quota"),
    ):
        failure = (400, f"Invalid parameters: {field} is a number out of range")
        assert refused.create(body.encode()).failure == failure
    body = f'{{"quota":{number},"x":[{{"remain_quota":{number}}}],"name":"n"}}'
    assert user.create(body.encode()).data["name"] == "n"


def test_escapes_in_answers(user):
    """What must be escaped is, and what comes back is what went in."""
    name = '"\\/<>&\u2028🔑é'
    token = user.make(name=name, group=name)
    body = user.get(token["id"]).body
    assert json.loads(body)["data"]["name"] == name
    assert not [byte for byte in body if byte < 0x20]


# ---- the number of values: more would hold an event loop, for up to 0.4 s ----

TOO_MANY = (400, "Invalid parameters: body has too many values")


@pytest.mark.parametrize("value", [b"1.7e308", b"0", b"{}", b"[[]]", b'""', b'{"a":1}'])
def test_body_full_of_values(refused, value):
    count = ((1 << 20) - 20) // (len(value) + 1)
    assert refused.create(b'{"z":[%s]}' % b",".join([value] * count)).failure == TOO_MANY


@pytest.mark.parametrize(
    "value, cost", [(b"7", 1), (b"1.5", 4), (b"[]", 4), (b'"a"', 1), (b'{"a":1}', 9)]
)
def test_greatest_number_of_values(user, value, cost):
    """Objects, arrays, names and numbers that are no integers count as 4."""
    count = (131072 - 4 - 4 - 4) // cost
    assert user.create(b'{"z":[%s]}' % b",".join([value] * count)).status == 200
    assert user.create(b'{"z":[%s]}' % b",".join([value] * (count + 1))).failure == TOO_MANY
