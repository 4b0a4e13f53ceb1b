"""What users ask about themselves: /api/user/self…, /api/user/models."""

from dataclasses import replace

import pytest
from client import Client

FIELDS = """id username display_name group role status quota used_quota unlimited_quota request_count token_count
            token_limit""".split()


def ask(user, name=""):
    return user.request("GET", "/api/user/self" + name)


@pytest.mark.parametrize("slash", ["", "/"])
def test_self(client, slash):
    if client.user is None:
        return  # a client of keys
    user = ask(client, slash).data
    assert list(user) == FIELDS
    assert user == {
        "id": client.user.id, "username": client.user.name, "display_name": client.user.name, "group": "default",
        "role": 1, "status": 1, "quota": 0, "used_quota": 0, "unlimited_quota": True, "request_count": 0,
        "token_count": 0, "token_limit": 1000}


def test_what_was_used(site, user, gateway):
    site.ctl("user", "set", user.user.id, "--quota", 1000)
    tokens = user.make_many(2)
    for token in tokens:
        assert gateway.consume(key=token["key"], amount=100).status == 200
    user.delete(tokens[0]["id"])
    seen = ask(user).data
    assert (seen["quota"], seen["used_quota"], seen["unlimited_quota"]) == (800, 200, False)
    assert (seen["request_count"], seen["token_count"]) == (2, 1)


def test_usage_of_all_tokens(user, gateway):
    tokens = user.make_many(2)
    for amount, token in ((3, tokens[0]), (4, tokens[1]), (0, tokens[1])):
        gateway.consume(key=token["key"], amount=amount)
    user.delete(tokens[0]["id"])
    days = ask(user, "/usage?days=2").data["days"]
    assert [(day["units"], day["requests"]) for day in days] == [(0, 0), (7, 3)]
    assert len(ask(user, "/usage").data["days"]) == 30
    assert ask(user, "/usage?days=0").status == 400


def test_rotate(site, user):
    data = user.request("POST", "/api/user/self/rotate").data
    assert list(data) == ["access_token"] and data["access_token"] != user.user.access_token
    assert ask(user).status == 401
    again = site.http(replace(user.user, access_token=data["access_token"]))
    assert ask(again).data["id"] == user.user.id
    last = again.request("POST", "/api/user/self/rotate/", b"not read").data["access_token"]
    assert ask(again).status == 401
    assert ask(site.http(replace(user.user, access_token=last))).status == 200


def test_a_disabled_user_can_t_rotate(site, user):
    site.ctl("user", "disable", user.user.id)
    assert user.request("POST", "/api/user/self/rotate").status == 403
    site.ctl("user", "enable", user.user.id)
    assert ask(user).status == 200


def test_groups(engine):
    from service import Site

    with Site(workers=1) as site:
        user, other = site.http(site.add_user(group="vip")), site.http(site.add_user())
        assert ask(user, "/groups").data == {"vip": {"desc": "", "ratio": 1}}
        site.ctl("group", "add", "vip", "--ratio", "0.8", "--description", "gold", "--yes")
        site.ctl("group", "add", "open", "--public", "--ratio", "1.25", "--yes")
        site.ctl("group", "add", "granted", "--ratio", "2", "--yes")
        site.ctl("group", "grant", "granted", user.user.id)
        assert ask(user, "/groups").data == {
            "granted": {"desc": "", "ratio": 2}, "open": {"desc": "", "ratio": 1.25}, "vip": {"desc": "gold", "ratio": 0.8}}
        assert ask(other, "/groups").data == {"default": {"desc": "", "ratio": 1}, "open": {"desc": "", "ratio": 1.25}}
        assert user.make(group="granted")["group"] == "granted"
        reply = other.create([{}, {"group": "granted"}])
        assert (reply.status, reply.json["code"]) == (400, "group")
        assert reply.message == "Invalid parameters: [1].group granted is not available to you"
        assert other.list().data["total"] == 0


def test_models(engine):
    from service import Site

    with Site(workers=1) as site:
        user = site.http(site.add_user())
        assert user.request("GET", "/api/user/models").data == []
        for name in ("gpt-4", 'a "quoted" one', "claude"):
            site.ctl("model", "add", name)
        assert user.request("GET", "/api/user/models/").data == ['a "quoted" one', "claude", "gpt-4"]


def test_failures_answer_200_by_setting(site, user):
    """A user's own routes."""
    client = Client(lambda *sent: site.cgi(*sent, TOKEN_HTTP_STATUS="200"), user.user, checked=False)
    reply = client.request("GET", "/api/log/self?before=a-b")
    assert (reply.status, reply.json["code"]) == (200, "invalid")
