"""GET /api/token/: pages of the user's own tokens, newest first."""

import pytest

# The order in which an answer shows a token's fields.
FIELDS = (
    "id user_id name key status remain_quota used_quota unlimited_quota model_limits_enabled "
    "model_limits allow_ips group expired_time created_time accessed_time rpm_limit tpm_limit "
    "max_parallel_requests refill_amount refill_interval refill_day"
).split()

INT64_MAX = 2**63 - 1
INT64_MIN = -(2**63)


def ids(tokens):
    return [token["id"] for token in tokens]


def test_user_without_tokens(user):
    assert user.list().data == {"items": [], "total": 0, "page": 1, "page_size": 20}


def test_fields_and_their_order(user):
    user.make(name="one")
    reply = user.list()
    assert list(reply.json) == ["success", "message", "data"]
    assert list(reply.data) == ["items", "total", "page", "page_size"]
    assert list(reply.data["items"][0]) == FIELDS


def test_items_are_as_created(user):
    token = user.make(name="one", model_limits=["a", "b"], remain_quota=INT64_MAX)
    assert user.list().data["items"] == [token]


def test_newest_first(user):
    tokens = user.make_many(5)
    assert ids(user.list().data["items"]) == ids(tokens)[::-1]


def test_twenty_by_default(user):
    tokens = user.make_many(21)
    page = user.list().data
    assert (page["total"], page["page"], page["page_size"]) == (21, 1, 20)
    assert ids(page["items"]) == ids(tokens)[:0:-1]


@pytest.mark.parametrize("size", [1, 2, 7, 22, 23, 24, 100])
def test_pages_together_are_the_complete_list(user, size):
    tokens = user.make_many(23)
    found = []
    for number in range(1, 23 // size + 2):
        page = user.list(f"?p={number}&size={size}").data
        assert (page["total"], page["page"], page["page_size"]) == (23, number, size)
        assert len(page["items"]) <= size
        found += page["items"]
    assert ids(found) == ids(tokens)[::-1]


@pytest.mark.parametrize("size", [3, 37, 100])
def test_every_page_of_a_thousand(user, size):
    """A thousand ids fill several pages of the store."""
    expected = ids(user.make_many(1000))[::-1]
    for start in range(0, 1000, size):
        page = user.list(f"?p={start // size + 1}&size={size}").data
        assert ids(page["items"]) == expected[start : start + size]
        assert page["total"] == 1000


def test_page_past_the_end(user):
    user.make_many(3)
    page = user.list("?p=2&size=3").data
    assert page == {"items": [], "total": 3, "page": 2, "page_size": 3}


def test_page_of_100(user):
    tokens = user.make_many(101)
    assert ids(user.list("?size=100").data["items"]) == ids(tokens)[:0:-1]
    assert ids(user.list("?size=100&p=2").data["items"]) == ids(tokens)[:1]


def test_list_follows_creates_and_deletes(user):
    tokens = user.make_many(4)
    user.delete(tokens[2]["id"])
    newest = user.make(name="newest")
    page = user.list().data
    assert ids(page["items"]) == ids([newest, tokens[3], tokens[1], tokens[0]])
    assert page["total"] == 4


@pytest.mark.parametrize(
    "query, page, size",
    [
        ("", 1, 20),
        ("?p=2", 2, 20),
        ("?p=1", 1, 20),
        ("?p=0", 1, 20),
        ("?p=-5", 1, 20),
        (f"?p={INT64_MIN}", 1, 20),
        (f"?p={INT64_MAX}", INT64_MAX, 20),
        (f"?p={INT64_MAX}&size=100", INT64_MAX, 100),
        (f"?p={2**62}&size=4", 2**62, 4),  # times the size, this is 0 modulo 2^64
        ("?size=1", 1, 1),
        ("?size=100", 1, 100),
        ("?size=101", 1, 100),
        (f"?size={INT64_MAX}", 1, 100),
        ("?size=0", 1, 20),
        ("?size=-1", 1, 20),
        (f"?size={INT64_MIN}", 1, 20),
        ("?page_size=7", 1, 7),
        ("?ps=7", 1, 7),
        ("?ps=101", 1, 100),
        ("?page_size=0", 1, 20),
        ("?p=2&size=2", 2, 2),
        ("?size=2&p=2", 2, 2),
        ("?p=%32&size=%33", 2, 3),
        ("?%70=2", 2, 20),
        ("?p=2&p=3", 2, 20),
        ("?p=2&p=x", 2, 20),
        ("?unknown=x&keyword=%FF&q", 1, 20),
        ("?", 1, 20),
        ("?&&", 1, 20),
        ("?P=2&SIZE=2", 1, 20),
        ("?p=&size=", 1, 20),
        ("?p=undefined&size=undefined", 1, 20),
        ("?p=1.5&size=NaN&ps=7", 1, 7),
    ],
)
def test_page_and_size(refused, query, page, size):
    expected = {"items": [], "total": 0, "page": page, "page_size": size}
    assert refused.list(query).data == expected


@pytest.mark.parametrize(
    "value",
    [
        "",
        "abc",
        "1x",
        "x1",
        "1.0",
        "1e1",
        "0x1",
        "--1",
        "-",
        "+1",  # + is a space
        "%2B1",
        "%201",
        "1%20",
        "1,0",
        "1%00",
        "%EF%BC%91",  # a full-width 1
        str(INT64_MAX + 1),
        str(INT64_MIN - 1),
        "1" * 100,
        "null",
        "NaN",
    ],
)
@pytest.mark.parametrize("name", ["p", "size", "page_size", "ps"])
def test_no_number_is_the_default(refused, name, value):
    page = refused.list(f"?{name}={value}").data
    assert (page["page"], page["page_size"]) == (1, 20)


def test_collection_without_slash_is_the_same(user):
    user.make_many(3)
    with_slash = user.request("GET", "/api/token/?p=1&size=2")
    without = user.request("GET", "/api/token?p=1&size=2")
    assert without.json == with_slash.json


def test_other_users_tokens_are_not_listed(user, other_user):
    mine, theirs = [], []
    for _ in range(3):  # in turn, so that their ids alternate
        mine.append(user.make())
        theirs.append(other_user.make())
    assert ids(user.list().data["items"]) == ids(mine)[::-1]
    assert ids(other_user.list().data["items"]) == ids(theirs)[::-1]


def test_largest_page_is_complete(user):
    """100 tokens with lists of the maximum length: more than nginx's buffers hold."""
    models = ",".join(f"model-{number:06}" for number in range(630))
    tokens = user.make_many(10, model_limits=models, allow_ips="1.2.3.4," * 1000)
    for _ in range(9):
        tokens += user.make_many(10, model_limits=models, allow_ips="1.2.3.4," * 1000)
    reply = user.list("?size=100")
    assert len(reply.body) > 1_500_000
    assert reply.data["items"] == tokens[::-1]
