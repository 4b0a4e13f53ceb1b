"""Groups: tokenctl group …, what tokens may be given, and what works."""

import fastcgi
import pytest
from client import Client

DONE, FAILED = 0, 1


@pytest.fixture
def client(store):
    return Client(fastcgi.transport(store.socket), store.add_user())


def refuse(store, word, *arguments):
    done = store.run_ctl(*arguments)
    assert (done.returncode, done.stdout) == (FAILED, ""), done
    assert word in done.stderr and len(done.stderr.splitlines()) == 1, done


def group(client, token):
    return client.get(token["id"]).data["group"]


def test_any_name_before_the_first(client):
    assert client.make(group="anything")["group"] == "anything"
    assert client.make()["group"] == "default"


FIRST = {"name": "default", "public": False, "ratio": 1, "description": ""}


def test_commands(store):
    assert store.ctl("group", "list") == [FIRST]
    (added,) = store.ctl("group", "add", "vip", "--ratio", "0.8", "--description", "fast")
    assert added == {"stopped_tokens": 0, "name": "vip", "public": False, "ratio": 0.8, "description": "fast"}
    listed = {row["name"]: row for row in store.ctl("group", "list")}
    assert set(listed) == {"default", "vip"} and listed["vip"]["ratio"] == 0.8 and listed["default"]["ratio"] == 1
    store.ctl("group", "set", "vip", "--public")
    (vip,) = [row for row in store.ctl("group", "list") if row["name"] == "vip"]
    assert vip == {"name": "vip", "public": True, "ratio": 0.8, "description": "fast"}
    refuse(store, "there is a group", "group", "add", "vip")
    refuse(store, "no such group", "group", "set", "other", "--public")
    refuse(store, "no such group", "group", "delete", "other")
    refuse(store, "a ratio is", "group", "set", "vip", "--ratio", "-1")
    store.ctl("group", "delete", "vip")
    assert [row["name"] for row in store.ctl("group", "list")] == ["default"]


def test_what_tokens_may_be_given(store, client):
    store.ctl("group", "add", "gold", "--public")
    store.ctl("group", "add", "vip")
    assert client.make(group="gold")["group"] == "gold"
    reply = client.create({"unlimited_quota": True, "group": "vip"})
    assert (reply.status, reply.json["code"]) == (400, "group")
    assert reply.json["message"] == "Invalid parameters: group vip is not available to you"
    reply = client.create([{"name": "a"}, {"group": "nobody's"}])
    assert reply.status == 400 and "[1].group nobody's" in reply.json["message"]
    assert client.list().data["total"] == 1
    store.ctl("group", "grant", "vip", client.user.id)
    token = client.make(group="vip")
    assert client.update({"id": token["id"], "group": "other"}).json["code"] == "group"
    assert client.verify(token["key"]).status == 204


def test_a_group_that_is_taken_away(store, client):
    store.ctl("group", "add", "vip")
    store.ctl("group", "grant", "vip", client.user.name)
    token = client.make(group="vip")
    refuse(store, "1 tokens would stop", "group", "revoke", "vip", client.user.name)
    assert client.verify(token["key"]).status == 204
    (revoked,) = store.ctl("group", "revoke", "vip", client.user.name, "--yes")
    assert revoked == {"stopped_tokens": 1, "name": "vip", "revoked": True}
    assert client.verify(token["key"]).verdict == (403, "group")
    # Its present value is never an error: front ends send whole objects.
    renamed = client.update({**client.get(token["id"]).data, "name": "renamed"})
    assert renamed.data["name"] == "renamed" and renamed.data["group"] == "vip"
    assert client.update({"id": token["id"], "group": ""}).data["group"] == "default"
    assert client.verify(token["key"]).status == 204
    assert client.update({"id": token["id"], "group": "vip"}).json["code"] == "group"


def test_followers(store, client):
    """A token without a group, or with its owner's, has the owner's present group."""
    tokens = [client.make(), client.make(group=""), client.make(group="default")]
    other = client.make(group="other")
    assert [group(client, token) for token in tokens] == ["default"] * 3
    store.ctl("user", "set", client.user.id, "--group", "pro")
    assert [group(client, token) for token in tokens] == ["pro"] * 3 and group(client, other) == "other"
    assert client.list("?group=pro").data["total"] == 3 and client.list("?group=default").data["total"] == 0
    assert client.update({"id": other["id"], "group": "pro"}).data["group"] == "pro"
    store.ctl("user", "set", client.user.id, "--group", "free")
    assert client.list("?group=free").data["total"] == 4


def test_the_first_group_and_off(store, client):
    stays, stops = client.make(), client.make(group="other")
    refuse(store, "1 tokens would stop", "group", "add", "vip")
    assert store.ctl("group", "list") == [FIRST]
    assert store.ctl("group", "add", "vip", "--yes")[0]["stopped_tokens"] == 1
    assert client.verify(stays["key"]).status == 204
    assert client.verify(stops["key"]).verdict == (403, "group")
    store.ctl("group", "off")
    assert client.verify(stops["key"]).status == 204
    assert client.make(group="any")["group"] == "any"


def test_only_add_has_groups_checked(store, client):
    """default exists from the start; what is set while groups are not checked stops nothing."""
    token = client.make(group="other")
    assert store.ctl("group", "set", "default", "--ratio", "2")[0]["stopped_tokens"] == 0
    assert client.verify(token["key"]).status == 204
    refuse(store, "1 tokens would stop", "group", "add", "default")
    store.ctl("group", "add", "default", "--yes")
    assert store.ctl("group", "list") == [{**FIRST, "ratio": 2}]
    assert client.verify(token["key"]).verdict == (403, "group")
    refuse(store, "there is a group", "group", "add", "default")
    store.ctl("group", "off")
    store.ctl("group", "set", "default", "--description", "all")
    assert client.verify(token["key"]).status == 204


def test_deleting_and_other_users(store, client):
    store.ctl("group", "add", "vip", "--public")
    token = client.make(group="vip")
    refuse(store, "1 tokens would stop", "group", "set", "vip", "--private")
    refuse(store, "1 tokens would stop", "group", "delete", "vip")
    store.ctl("user", "set", client.user.id, "--group", "vip")  # now it is the owner's own
    assert store.ctl("group", "delete", "vip")[0]["stopped_tokens"] == 0
    assert client.verify(token["key"]).status == 204
    refuse(store, "1 tokens would stop", "user", "set", client.user.id, "--group", "default")
    store.ctl("user", "set", client.user.id, "--group", "default", "--yes")
    assert client.verify(token["key"]).verdict == (403, "group")
    refuse(store, "no such group", "group", "grant", "vip", client.user.id)


def test_tokens_of_a_user_are_limited(store, client):
    store.ctl("user", "set", client.user.id, "--max-tokens", "2")
    client.make_many(2)
    reply = client.create({})
    assert reply.status == 409 and reply.json["message"] == "Maximum number of tokens reached (2)"


def test_balance_and_role_by_tokenctl(store):
    (user,) = store.ctl("user", "add", "rich", "--quota", "100", "--role", "admin")

    def shown():
        (row,) = store.ctl("user", "show", "rich")
        return row["quota"], row["unlimited_quota"], row["role"]

    assert shown() == (100, False, 10)
    store.ctl("user", "set", "rich", "--quota", "+5")
    store.ctl("user", "set", "rich", "--quota=-15", "--role", "1")
    assert shown() == (90, False, 1)
    refuse(store, "less quota", "user", "set", "rich", "--add-quota=-91")
    refuse(store, "out of range", "user", "set", "rich", "--add-quota", str(2**63 - 1))
    refuse(store, "a quota is", "user", "set", "rich", "--quota", "many")
    refuse(store, "a role is", "user", "set", "rich", "--role", "5")
    store.ctl("user", "set", "rich", "--quota", "unlimited")
    assert shown() == (90, True, 1)


def test_models(store):
    assert store.ctl("model", "list") == []
    store.ctl("model", "add", "gpt-4")
    store.ctl("model", "add", "claude")
    assert [row["name"] for row in store.ctl("model", "list")] == ["claude", "gpt-4"]
    store.ctl("model", "delete", "gpt-4")
    refuse(store, "no such model", "model", "delete", "gpt-4")
    assert [row["name"] for row in store.ctl("model", "list")] == ["claude"]
