"""GET /search, and the list with filters, compared with a plain search of all tokens."""

from urllib.parse import urlencode

import fastcgi
import pytest
from client import Client

SORTS = [
    "id",
    "name",
    "created_time",
    "expired_time",
    "accessed_time",
    "remain_quota",
    "used_quota",
]

NAMES = ["Prod", "prod-a", "production", "my prod", "test", "Test 2", "", "100%", "ä", "Ä", "a_b"]


@pytest.fixture(scope="module")
def owner(site):
    """A user with 55 tokens of all kinds, some of them used."""
    made = site.http(site.add_user())
    gateway = site.gateway()
    for number in range(55):
        token = made.make(
            name=NAMES[number % len(NAMES)],
            group=["vip", "default"][number % 2],
            expired_time=[-1, 1, 4102444800, 4102444801, -1][number % 5],
            unlimited_quota=number % 3 == 0,
            remain_quota=[0, 5, 2**63 - 1, 5][number % 4],
        )
        if number % 4 == 1:
            gateway.consume(key=token["key"], amount=number % 5)
        if number % 7 == 6:
            made.update({"id": token["id"], "status": 2}, "?status_only=1")
    site.http(site.add_user()).make_many(5, name="prod")  # another user's
    return made


@pytest.fixture(scope="module")
def tokens(owner):
    return owner.list("?size=100").data["items"]


@pytest.fixture
def client(send, owner):
    return Client(send, owner.user)


def rank(sort):
    def ranked(token):
        value = token[sort]
        if sort == "expired_time" and value == -1:
            value = 2**63
        if sort == "name":
            value = value.encode()
        return value, token["id"]

    return ranked


def ordered(tokens, sort="id", order="desc"):
    return sorted(tokens, key=rank(sort), reverse=order == "desc")


def found(reply):
    data = reply.data
    assert data["total"] >= len(data["items"])
    return data["items"]


def test_without_parameters_it_is_the_list(client, tokens):
    assert found(client.search("?size=100")) == tokens
    assert client.search().data == client.list().data


# ---- keyword ----


@pytest.mark.parametrize(
    "keyword, names",
    [
        ("prod", ["Prod", "prod-a", "production", "my prod"]),
        ("PROD", ["Prod", "prod-a", "production", "my prod"]),
        ("rod", ["Prod", "prod-a", "production", "my prod"]),
        ("prod%25", ["Prod", "prod-a", "production"]),
        ("%25prod", ["Prod", "my prod"]),
        ("%25prod%25", ["Prod", "prod-a", "production", "my prod"]),
        ("p%25a", ["prod-a"]),
        ("p%25%25n", ["production"]),
        ("t%25t", ["test"]),
        ("t%25t%25", ["test", "Test 2"]),
        ("%25", NAMES),
        ("%25%25", NAMES),
        ("", NAMES),
        ("%C3%A4", ["ä"]),
        ("%C3%84", ["Ä"]),
        ("_", ["a_b"]),
        ("a_", ["a_b"]),
        ("+2", ["Test 2"]),
        ("%202", ["Test 2"]),
        ("00%25", []),
        ("%2500%25", ["100%"]),
        ("nothing", []),
        ("%00", []),
        ("*", []),
        (".", []),
    ],
)
def test_keyword(client, tokens, keyword, names):
    expected = [token for token in tokens if token["name"] in names]
    assert found(client.search(f"?keyword={keyword}&size=100")) == expected
    # The list does not have it.
    assert client.list(f"?keyword={keyword}&size=100").data["total"] == len(tokens)


# ---- token ----


def test_token(client, tokens):
    token = tokens[20]
    key = token["key"]
    for text in (key, key[3:], key[:20], key[3:20], key[:-1]):
        assert found(client.search(f"?token={text}")) == [token]
    for text in (key + "x", key[:10] + "." + key[11:], key[5:], key.swapcase(), key[:-1] + "!"):
        assert found(client.search(f"?token={text}")) == []


def test_token_prefixes(client, tokens):
    for text in ("sk-", "", *"0aZ", "sk-a", "sk-Z"):
        expected = [
            token
            for token in tokens
            if token["key"].startswith(text) or token["key"][3:].startswith(text)
        ]
        assert found(client.search(f"?token={text}&size=100")) == expected


def test_keyword_and_token(client, tokens):
    """Tokens match both."""
    prod = next(token for token in tokens if token["name"] == "Prod")
    assert found(client.search(f"?keyword=prod&token={prod['key']}")) == [prod]
    assert found(client.search(f"?keyword=test&token={prod['key']}")) == []


def test_other_users_key(client, site):
    other = site.http(site.add_user()).make(name="prod")
    assert client.search(f"?token={other['key']}").data["total"] == 0


# ---- filters and orders, of the list and of the search ----


@pytest.fixture(params=["list", "search"])
def ask(request, client):
    return getattr(client, request.param)


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("order", ["asc", "desc"])
def test_sort(ask, tokens, sort, order):
    expected = ordered(tokens, sort, order)
    assert found(ask(f"?sort={sort}&order={order}&size=100")) == expected
    pages = [found(ask(f"?sort={sort}&order={order}&size=9&p={p}")) for p in range(1, 9)]
    assert [token for page in pages for token in page] == expected


def test_default_order_is_newest_first(ask, tokens):
    assert found(ask("?sort=name&size=100")) == ordered(tokens, "name", "desc")
    assert found(ask("?order=asc&size=100")) == ordered(tokens, "id", "asc")


@pytest.mark.parametrize("status", [1, 2, 3, 4])
def test_status(ask, tokens, status):
    """By the status that answers show."""
    expected = [token for token in tokens if token["status"] == status]
    assert expected and len(expected) < len(tokens)
    assert found(ask(f"?status={status}&size=100")) == expected


@pytest.mark.parametrize("group", ["vip", "default", "VIP", "nobody%27s"])
def test_group(ask, tokens, group):
    expected = [token for token in tokens if token["group"] == group]
    assert found(ask(f"?group={group}&size=100")) == expected


def test_all_at_once(client, tokens):
    expected = [
        token
        for token in tokens
        if "prod" in token["name"].lower() and token["group"] == "vip" and token["status"] == 1
    ]
    query = "?keyword=prod&group=vip&status=1&sort=remain_quota&order=asc"
    assert expected
    assert found(client.search(query + "&size=100")) == ordered(expected, "remain_quota", "asc")
    data = client.search(query + "&size=2&p=2").data
    assert (data["total"], data["page"], data["page_size"]) == (len(expected), 2, 2)
    assert data["items"] == ordered(expected, "remain_quota", "asc")[2:4]


def test_empty_parameters_are_ignored(ask, tokens):
    assert found(ask("?status=&group=&sort=&order=&keyword=&token=&size=100")) == tokens


@pytest.mark.parametrize(
    "query, name",
    [
        ("status=0", "status"),
        ("status=5", "status"),
        ("status=-1", "status"),
        ("status=x", "status"),
        ("status=1.0", "status"),
        ("status=9223372036854775809", "status"),
        ("sort=key", "sort"),
        ("sort=ID", "sort"),
        ("sort=name,id", "sort"),
        ("sort=-id", "sort"),
        ("order=up", "order"),
        ("order=DESC", "order"),
    ],
)
def test_wrong_parameters(ask, query, name):
    status, message = ask(f"?{query}").failure
    assert status == 400 and message.startswith(f"Invalid parameters: {name} must be"), message


@pytest.mark.parametrize("page, size", [(0, 20), (-3, 20), (1, 0), (1, -1), (1, 1000), (99, 20), ("x", "undefined")])
def test_pages(client, tokens, page, size):
    """As in the list."""
    shown = client.search(f"?p={page}&size={size}&sort=id").data
    plain = client.list(f"?p={page}&size={size}").data
    assert shown == plain


@pytest.mark.parametrize("name", ["size", "page_size", "ps"])
def test_names_of_the_size(client, tokens, name):
    assert found(client.search(f"?{name}=3&keyword=prod%25")) == [
        token for token in tokens if token["name"].lower().startswith("prod")
    ][:3]


def test_greatest_page(client):
    data = client.search("?p=9223372036854775807&size=100&sort=name").data
    assert data["items"] == [] and data["page"] == 2**63 - 1


@pytest.mark.parametrize("text", ["%", "%2", "%zz", "x" * 3000, "%00", "%ff", "&&&", "=", "%25" * 900])
def test_odd_texts(client, text):
    """Any text is a valid search."""
    for name in ("keyword", "token", "group"):
        assert client.search(f"?{name}={text}").status == 200


# ---- POST: the parameters in the body, as URLs are logged ----


def test_body_finds_what_the_query_finds(client, tokens):
    key = tokens[7]["key"]
    for parameters in [
        {},
        {"keyword": "prod%", "size": 3, "p": 2},
        {"keyword": "ä", "token": "sk-%"},
        {"token": key},
        {"token": "%sk-sk-" + key[3:20] + "%", "unknown": [1, -(2**70)]},
        {"status": 2, "group": "vip", "sort": "name", "order": "asc"},
        {"order": "remain_quota", "page_size": 7},
        {"p": 2**63 - 1, "size": -(2**63), "status": None},
        {"keyword": "", "token": "", "group": "", "sort": "", "order": "", "p": 0, "ps": 1000},
        {"keyword": "x" * 1024},
    ]:
        query = urlencode({name: value for name, value in parameters.items() if value is not None})
        assert client.search_by_body(parameters).data == client.search("?" + query).data
    assert found(client.search_by_body({"token": key})) == [tokens[7]]
    assert client.request("POST", "/api/token/search/?p=3", {}).data["page"] == 1


@pytest.mark.parametrize(
    "parameters, wrong",
    [
        ({"keyword": 1}, "keyword must be a string"),
        ({"token": ["sk-"]}, "token must be a string"),
        ({"group": True}, "group must be a string"),
        ({"p": "1"}, "p must be an integer"),
        ({"size": 1.0}, "size must be an integer"),
        ({"p": 2**63}, "p is a number out of range"),
        ({"status": "1"}, "status must be an integer"),
        ({"status": 0}, "status must be 1, 2, 3 or 4"),
        ({"sort": "key"}, "sort must be id, name, "),
        ({"order": "up"}, "order must be asc or desc"),
        ({"keyword": "%" * 1025}, "keyword must be at most 1024 characters"),
        ([], "body must be a JSON object"),
        (b"", "body is empty"),
        (b"{", "body is not valid JSON"),
    ],
)
def test_wrong_body(client, parameters, wrong):
    status, message = client.search_by_body(parameters).failure
    assert status == 400 and message.startswith(f"Invalid parameters: {wrong}"), message


def test_new_and_changed_tokens_are_found_immediately(user):
    token = user.make(name="first name")
    assert found(user.search("?keyword=first")) == [token]
    changed = user.update({"id": token["id"], "name": "second name"}).data
    assert found(user.search("?keyword=first")) == []
    assert found(user.search("?keyword=second")) == [changed]
    user.delete(token["id"])
    assert found(user.search("?keyword=second")) == []


# ---- more tokens than the loop searches: the search thread ----

MANY = 600  # more than SHORT_COUNT_MAX of api/search.c


@pytest.fixture(scope="module")
def crowd(site):
    """A user with many tokens, and the tokens, newest first."""
    client = site.http(site.add_user())
    made = client.make_many(MANY // 2, group="vip") + client.make_many(MANY // 2)
    return client, made[::-1]


@pytest.mark.threads
def test_many(send, crowd):
    client, made = Client(send, crowd[0].user), crowd[1]
    data = client.search("?size=100&p=3").data
    assert (data["total"], data["items"]) == (MANY, made[200:300])
    data = client.search("?keyword=29%25&group=vip&sort=name&order=asc").data
    expected = [token for token in made if token["group"] == "vip" and token["name"][:2] == "29"]
    assert (data["total"], data["items"]) == (11, ordered(expected, "name", "asc"))
    assert found(client.search(f"?token={made[MANY - 1]['key']}")) == [made[MANY - 1]]
    assert found(client.search("?keyword=nothing")) == []
    assert client.search_by_body({"keyword": "29%", "group": "vip"}).data["total"] == 11


@pytest.mark.threads
def test_client_that_leaves(site, crowd):
    """The client disconnects during a search; the worker goes on for other clients."""
    client, made = crowd
    workers = site.pids()
    for _ in range(20):
        with fastcgi.Connection(site.socket) as connection:
            variables = fastcgi.environment(
                "GET", "/api/token/search?sort=name", client.credentials
            )
            connection.send(fastcgi.request(variables, keep=True))
    assert found(client.search("?size=100")) == made[:100]
    assert site.pids() == workers
