"""GET /api/log/self and /api/log/: audit records."""

import pytest
from client import ISSUED, Client

FIELDS = ["id", "time", "action", "actor", "user_id", "token_id", "address", "request_id", "changes"]


def log(user, query=""):
    return user.request("GET", "/api/log/self" + query)


@pytest.fixture(scope="module")
def admin(site):
    return Client(site.send, site.add_user(role="admin"))


def actions(reply):
    return [record["action"] for record in reply.data["items"]]


def test_a_record(user):
    token = user.make(name="made")
    user.update({"id": token["id"], "name": "changed"})
    changed, made = log(user, "?size=2").data["items"]
    assert list(changed) == FIELDS and made["id"] < changed["id"] and made["time"] <= changed["time"]
    assert changed["action"] == "token.update" and changed["changes"] == {"name": ["made", "changed"]}
    assert (changed["user_id"], changed["token_id"]) == (user.user.id, token["id"])
    assert changed["actor"] == {"kind": "user", "id": user.user.id}
    assert changed["address"] == "127.0.0.1" and len(changed["request_id"]) == 32
    assert changed["request_id"] != made["request_id"]


def test_what_an_administrator_did(site, admin, user):
    token = user.make(name="of user")
    admin.update({"id": token["id"], "status": 2}, f"?user_id={user.user.id}&status_only=1")
    admin.request("PUT", "/api/user/", {"id": user.user.id, "quota": 9})
    by_admin = [record for record in log(user).data["items"] if record["actor"]["kind"] == "admin"]
    assert [record["action"] for record in by_admin] == ["user.update", "token.status"]
    assert {record["actor"]["id"] for record in by_admin} == {admin.user.id}
    assert by_admin[0]["changes"] == {"quota": [0, 9], "unlimited_quota": [True, False]}
    assert log(user).data["items"][-1]["actor"] == {"kind": "tokenctl", "id": 0}


def test_nothing_secret(site, admin, user):
    token = user.make(name="secret")
    user.show_key(token["id"])
    user.rotate(token["id"])
    user.search_by_body({"token": token["key"]})
    admin.request("POST", "/api/user/manage", {"id": user.user.id, "action": "rotate"})
    text = admin.request("GET", f"/api/log/?user_id={user.user.id}&size=100").body.decode()
    assert "token.rotate" in text and "user.rotate" in text
    for secret in ISSUED:
        assert secret not in text and secret.removeprefix("sk-") not in text


def test_pages(user):
    for token in user.make_many(3):
        user.delete(token["id"])
    everything = log(user, "?size=100").data
    assert everything["next"] is None
    found, query = [], "?size=2"
    while query:
        page = log(user, query).data
        assert len(page["items"]) == 2 or page["next"] is None
        found += page["items"]
        query = page["next"] and f"?size=2&before={page['next']}"
    assert found == everything["items"]
    assert len({record["id"] for record in found}) == len(found)


def test_filters(user):
    one, two = user.make(), user.make()
    user.update({"id": one["id"], "name": "x"})
    user.delete(two["id"])
    assert actions(log(user, f"?token_id={one['id']}")) == ["token.update", "token.create"]
    assert actions(log(user, "?action=token.delete")) == ["token.delete"]
    assert actions(log(user, "?action=token.*&size=2")) == ["token.delete", "token.update"]
    assert actions(log(user, "?action=user.*")) == ["user.create"]
    assert actions(log(user, "?action=token")) == []
    assert len(actions(log(user, "?action=&token_id=&before=&size="))) == 5


@pytest.mark.parametrize("query", ["token_id=x", "token_id=0", "before=x", "before=-1", "before=99999999999999999999"])
def test_bad_parameters(user, query):
    reply = log(user, "?" + query)
    assert (reply.status, reply.json["code"]) == (400, "invalid")
    assert query.split("=")[0] in reply.message


def test_of_oneself_only(user, other_user):
    token = other_user.make()
    assert actions(log(user, f"?token_id={token['id']}")) == []
    assert {record["user_id"] for record in log(user, f"?user_id={other_user.user.id}").data["items"]} == {user.user.id}


def test_log_of_all(site, admin, user, other_user):
    def ask(query):
        return admin.request("GET", "/api/log/" + query).data["items"]

    one, two = user.make(), other_user.make()
    admin.update({"id": one["id"], "name": "x"}, f"?user_id={user.user.id}")
    assert [record["user_id"] for record in ask("?size=3")] == [user.user.id, other_user.user.id, user.user.id]
    assert [record["action"] for record in ask(f"?user_id={other_user.user.id}")] == ["token.create", "user.create"]
    assert [record["action"] for record in ask(f"?actor=user:{user.user.id}")] == ["token.create"]
    assert ask(f"?actor=admin&user_id={user.user.id}")[0]["changes"] == {"name": ["", "x"]}
    assert {record["actor"]["id"] for record in ask(f"?actor={admin.user.id}")} == {admin.user.id}
    assert {record["actor"]["kind"] for record in ask("?actor=tokenctl")} == {"tokenctl"}
    assert ask(f"?token_id={two['id']}&user_id={user.user.id}") == []
    assert ask("?user_id=1099511627776") == []
    for query in ("actor=me", "actor=user:x", "user_id=x"):
        assert admin.request("GET", "/api/log/?" + query).status == 400
    page = admin.request("GET", "/api/log/?size=1").data
    assert ask(f"?size=1&before={page['next']}") == ask("?size=2")[1:]


def test_a_deleted_user_s_records_stay(admin, user):
    user.make()
    admin.request("DELETE", f"/api/user/{user.user.id}")
    found = admin.request("GET", f"/api/log/?user_id={user.user.id}")
    assert actions(found) == ["user.delete", "token.create", "user.create"]
