"""The document that the API implements: each of its examples, word for word.

Its requests are quoted unchanged, including the stray quotation marks
(`model_limits":`). The ids are the document's own: the store is made so that the user
has a token 123, and tokens 1 to 5. In the document's answers ids, keys and times are
placeholders; everything else is compared.
"""

import json
import re

import pytest
from service import Site

LIST = """
const response = await fetch('https://api.4allapi.com/api/token/?p=1&size=20', {
method: 'GET',
headers: {
'Content-Type': 'application/json',
'Authorization': 'Bearer your_user_token',
'New-Api-User': 'your_user_id'
}
});
const data = await response.json();
"""

LIST_ANSWER = """
{
"success": true,
"message": "",
"data": {
"items": [
{
"id": 1,
"name": "API Token",
"key": "<YOUR_API_KEY>",
"status": 1,
"remain_quota": 1000000,
"unlimited_quota": false,
"expired_time": 1640995200,
"created_time": 1640908800,
"accessed_time": 1640995000
}
],
"total": 5,
"page": 1,
"page_size": 20
}
}
"""

LIST_FAILURE = """
{
"success": false,
"message": "Failed to retrieve token list"
}
"""

GET = """
const response = await fetch('https://api.4allapi.com/api/token/123', {
method: 'GET',
headers: {
'Content-Type': 'application/json',
'Authorization': 'Bearer your_user_token',
'New-Api-User': 'your_user_id'
}
});
const data = await response.json();
"""

GET_ANSWER = """
{
"success": true,
"message": "",
"data": {
"id": 123,
"name": "API Token",
"key": "sk-your-token-placeholder",
"status": 1,
"remain_quota": 1000000,
"unlimited_quota": false,
"model_limits_enabled": true,
"model_limits": "gpt-3.5-turbo,gpt-4",
"allow_ips": "192.168.1.1,10.0.0.1",
"group": "default",
"expired_time": 1640995200,
"created_time": 1640908800,
"accessed_time": 1640995000
}
}
"""

NOT_THERE = """
{
"success": false,
"message": "Token does not exist"
}
"""

CREATE = """
const response = await fetch('https://api.4allapi.com/api/token/', {
method: 'POST',
headers: {
'Content-Type': 'application/json',
'Authorization': 'Bearer your_user_token',
'New-Api-User': 'your_user_id'
},
body: JSON.stringify({
name: "My API Token",
expired_time: 1640995200,
remain_quota: 1000000,
unlimited_quota: false,
model_limits_enabled: true,
model_limits": ["gpt-3.5-turbo", "gpt-4"],
allow_ips": "192.168.1.1,10.0.0.1",
group": "default"
})
});
const data = await response.json();
"""

DONE = """
{
"success": true,
"message": ""
}
"""

CREATE_FAILURE = """
{
"success": false,
"message": "Token name is too long"
}
"""

UPDATE = """
const response = await fetch('https://api.4allapi.com/api/token/', {
method: 'PUT',
headers: {
'Content-Type': 'application/json',
'Authorization': 'Bearer your_user_token',
'New-Api-User': 'your_user_id'
},
body: JSON.stringify({
id: 123,
name: "Updated Token",
expired_time: 1640995200,
remain_quota: 2000000,
unlimited_quota: false,
model_limits_enabled: true,
model_limits": ["gpt-3.5-turbo", "gpt-4"],
allow_ips": "192.168.1.1",
group": "vip"
})
});
const data = await response.json();
"""

UPDATE_STATUS = """
const response = await fetch('https://api.4allapi.com/api/token/?status_only=true', {
method: 'PUT',
headers: {
'Content-Type': 'application/json',
'Authorization': 'Bearer your_user_token',
'New-Api-User': 'your_user_id'
},
body: JSON.stringify({
id: 123,
status": 1
})
});
const data = await response.json();
"""

UPDATE_ANSWER = """
{
"success": true,
"message": "",
"data": {
"id": 123,
"name": "Updated Token",
"status": 1
}
}
"""

UPDATE_FAILURE = """
{
"success": false,
"message": "The token has expired and cannot be enabled. Please update the token expiration time first, or set it to never expire"
}
"""  # noqa: E501

DELETE = """
const response = await fetch('https://api.4allapi.com/api/token/123', {
method: 'DELETE',
headers: {
'Content-Type': 'application/json',
'Authorization': 'Bearer your_user_token',
'New-Api-User': 'your_user_id'
}
});
const data = await response.json();
"""

BATCH = """
const response = await fetch('https://api.4allapi.com/api/token/batch', {
method: 'POST',
headers: {
'Content-Type': 'application/json',
'Authorization': 'Bearer your_user_token',
'New-Api-User': 'your_user_id'
},
body: JSON.stringify({
ids": [1, 2, 3, 4, 5]
})
});
const data = await response.json();
"""

BATCH_ANSWER = """
{
"success": true,
"message": "",
"data": 5
}
"""

BATCH_FAILURE = """
{
"success": false,
"message": "Invalid parameters"
}
"""

PLACEHOLDERS = {"key", "created_time", "accessed_time"}


def fetch(user, script, change=None):
    """Sends a fetch() of the document; change edits the body's object first."""
    method = re.search(r"method: '(\w+)'", script)[1]
    target = re.search(r"fetch\('https://api\.4allapi\.com([^']*)'", script)[1]
    headers = dict(re.findall(r"^'([\w-]+)': '(.*?)'", script, re.MULTILINE))
    assert set(headers) == {"Content-Type", "Authorization", "New-Api-User"}
    headers["Authorization"] = headers["Authorization"].replace(
        "your_user_token", user.user.access_token
    )
    headers["New-Api-User"] = str(user.user.id)
    body = stringify(script)
    if change:
        body = json.dumps({**json.loads(body), **change}).encode()
    return user.request(method, target, body, headers)


def stringify(script):
    """The JSON.stringify of the object in script; None if there is none."""
    found = re.search(r"JSON\.stringify\((\{.*?\})\)", script, re.DOTALL)
    if not found:
        return None
    quoted = re.sub(r'^(\w+)"?:', r'"\1":', found[1], flags=re.MULTILINE)
    return json.dumps(json.loads(quoted), separators=(",", ":")).encode()


def answers_as(reply, document):
    """Whether an answer has everything that the document shows, except placeholders. A failure's
    code came later."""
    shown, given = json.loads(document), reply.json
    given.pop("code", None)
    if not isinstance(shown.get("data"), dict):
        return given == shown
    return holds(given, shown)


def holds(given, shown):
    if isinstance(shown, dict):
        return all(
            name in given and (name in PLACEHOLDERS or holds(given[name], value))
            for name, value in shown.items()
        )
    if isinstance(shown, list):
        return len(given) == len(shown) and all(map(holds, given, shown))
    return given == shown and type(given) is type(shown)


@pytest.fixture(scope="module")
def document_site(engine):
    with Site(workers=1) as running:
        yield running


@pytest.fixture(scope="module")
def user(document_site):
    """A user with the tokens 1 to 123 of a fresh store."""
    client = document_site.http(document_site.add_user("document", "default"))
    tokens = client.make_many(123)
    assert [token["id"] for token in tokens] == list(range(1, 124))
    return client


def reset(user, **fields):
    """Sets token 123 to the values in the document's answers, with another expiry.

    The expiry in the document has passed; the token would read as expired.
    """
    before = {
        "id": 123,
        "name": "API Token",
        "remain_quota": 1000000,
        "unlimited_quota": False,
        "model_limits_enabled": True,
        "model_limits": "gpt-3.5-turbo,gpt-4",
        "allow_ips": "192.168.1.1,10.0.0.1",
        "group": "default",
        "expired_time": -1,
        "status": 1,
    }
    return user.update({**before, **fields}).data


def test_get(user):
    reset(user)
    reply = fetch(user, GET)
    assert answers_as(reply, GET_ANSWER.replace("1640995200", "-1"))


def test_get_expired_token(user):
    """The document's answer, except the status that follows from its expiry."""
    reset(user)
    user.update({"id": 123, "expired_time": 1640995200})
    assert answers_as(fetch(user, GET), GET_ANSWER.replace('"status": 1', '"status": 3'))


def test_create(user):
    """Its expiry has passed; it must succeed. The document shows no data."""
    reply = fetch(user, CREATE)
    given = reply.json
    token = given.pop("data")
    assert reply.status == 200 and given == json.loads(DONE)
    sent = json.loads(stringify(CREATE))
    assert sent["expired_time"] == 1640995200
    assert holds(token, {**sent, "model_limits": "gpt-3.5-turbo,gpt-4"})
    assert token["status"] == 3
    user.delete(token["id"])


def test_create_fails(user):
    reply = fetch(user, CREATE, {"name": "My API Token that has a long name"})
    assert reply.status == 400 and answers_as(reply, CREATE_FAILURE)


def test_update(user):
    reset(user)
    reply = fetch(user, UPDATE)
    assert reply.status == 200
    assert answers_as(reply, UPDATE_ANSWER.replace('"status": 1', '"status": 3'))
    sent = json.loads(stringify(UPDATE))
    assert holds(reply.data, {**sent, "model_limits": "gpt-3.5-turbo,gpt-4"})


def test_update_to_never_expire(user):
    reset(user)
    reply = fetch(user, UPDATE, {"expired_time": -1})
    assert reply.status == 200 and answers_as(reply, UPDATE_ANSWER)


def test_update_status(user):
    reset(user, name="Updated Token", status=2)
    reply = fetch(user, UPDATE_STATUS)
    assert reply.status == 200 and answers_as(reply, UPDATE_ANSWER)


def test_update_status_fails(user):
    reset(user)
    user.update({"id": 123, "expired_time": 1640995200})
    reply = fetch(user, UPDATE_STATUS)
    assert reply.status == 409 and answers_as(reply, UPDATE_FAILURE)


def test_batch_fails(user):
    reply = fetch(user, BATCH, {"ids": []})
    assert reply.status == 400 and answers_as(reply, BATCH_FAILURE)


def test_list_batch_and_delete():
    """In a store of its own, because the requests delete its tokens."""
    with Site(workers=1) as fresh:
        user = fresh.http(fresh.add_user("document", "default"))
        user.make_many(123)
        user.batch({"ids": list(range(6, 123))})

        reply = fetch(user, DELETE)
        assert reply.status == 200 and answers_as(reply, DONE)
        for script in (GET, DELETE):
            reply = fetch(user, script)
            assert reply.status == 404 and answers_as(reply, NOT_THERE)

        user.update({"id": 1, "name": "API Token", "remain_quota": 1000000})
        user.update({"id": 1, "unlimited_quota": False})
        shown = json.loads(LIST_ANSWER)
        (item,) = shown["data"].pop("items")
        item["expired_time"] = -1
        reply = fetch(user, LIST)
        given = reply.json
        oldest = given["data"].pop("items")[-1]
        assert reply.status == 200 and given == shown
        assert holds(oldest, item)

        reply = fetch(user, BATCH)
        assert reply.status == 200 and answers_as(reply, BATCH_ANSWER)


def test_list_fails(document_site):
    """A damaged record on disk makes its tokens unreadable."""
    user = document_site.http(document_site.add_user())
    user.make(name="to be damaged")
    document_site.damage_token("to be damaged")
    reply = fetch(user, LIST)
    assert reply.status == 500 and answers_as(reply, LIST_FAILURE)
