"""/api/user/…, /api/token/find: what administrators do."""

import itertools

import pytest
from client import Client, User

FIELDS = """id username display_name group role status quota used_quota unlimited_quota request_count token_count
            token_limit created_time rpm_limit tpm_limit max_tokens""".split()
FORBIDDEN = (403, "forbidden")
numbers = itertools.count(1)


def code(reply):
    return reply.status, reply.json["code"]


class Administrator(Client):
    def users(self, query=""):
        return self.request("GET", "/api/user/" + query)

    def find_users(self, query):
        return self.request("GET", "/api/user/search" + query)

    def read(self, user_id):
        return self.request("GET", f"/api/user/{user_id}")

    def add(self, **body):
        return self.request("POST", "/api/user/", body)

    def change(self, user_id, **body):
        return self.request("PUT", "/api/user/", {"id": user_id, **body})

    def manage(self, user_id, action):
        return self.request("POST", "/api/user/manage", {"id": user_id, "action": action})

    def remove(self, user_id):
        return self.request("DELETE", f"/api/user/{user_id}")

    def find(self, key):
        return self.request("POST", "/api/token/find", {"key": key})


@pytest.fixture(scope="module")
def admin(site):
    return Administrator(site.send, site.add_user(role="admin"))


@pytest.fixture(scope="module")
def root(site):
    return Administrator(site.send, site.add_user(role="root"))


@pytest.fixture
def added(site, admin):
    """A client of a user that an administrator has added."""
    name = f"added-{next(numbers)}-{site.ENGINE}"
    data = admin.add(username=name).data
    return site.http(User(data["id"], name, "default", data["access_token"]))


# ---- reading ----


def test_a_user(site, admin, added):
    user = admin.read(added.user.id).data
    assert list(user) == FIELDS
    assert {**user, "created_time": 0} == {
        "id": added.user.id, "username": added.user.name, "display_name": added.user.name, "group": "default", "role": 1,
        "status": 1, "quota": 0, "used_quota": 0, "unlimited_quota": True, "request_count": 0, "token_count": 0,
        "token_limit": 1000, "created_time": 0, "rpm_limit": 0, "tpm_limit": 0, "max_tokens": 0}
    assert admin.find_users(f"?keyword={added.user.name}").data["items"] == [user]


def test_pages(site, admin):
    total = admin.users("?size=1").data["total"]
    ids = [site.add_user().id for _ in range(3)]
    page = admin.users("?p=1&size=2").data
    assert (page["total"], page["page"], page["page_size"]) == (total + 3, 1, 2)
    assert [user["id"] for user in page["items"]] == ids[:0:-1]
    assert admin.users("?p=2&size=2").data["items"][0]["id"] == ids[0]
    assert admin.users("?p=undefined&page_size=1000").data["page_size"] == 100
    assert admin.users("?p=9999").data["items"] == []


def test_search(site, admin):
    mark = f"needle{next(numbers)}{site.ENGINE}"
    gold, other = site.add_user(f"Gold {mark}", "gold"), site.add_user(f"other {mark}")

    def found(query):
        return [user["id"] for user in admin.find_users(query).data["items"]]

    assert found(f"?keyword={mark.upper()}") == [other.id, gold.id]
    assert found(f"?keyword={mark}&group=gold") == [gold.id]
    assert found(f"?keyword=gold%25{mark}") == [gold.id]
    assert found(f"?keyword={mark}%25") == []
    assert found(f"?keyword={gold.id}&group=gold") == [gold.id]
    assert admin.find_users(f"?keyword={mark}&size=1&p=2").data == {
        "items": [admin.read(gold.id).data], "total": 2, "page": 2, "page_size": 1}


# ---- adding ----


def test_added_user_has_an_access_token(added):
    assert added.list().data["total"] == 0
    assert added.request("GET", "/api/user/self").data["username"] == added.user.name


@pytest.mark.parametrize("body, quota, unlimited", [
    ({"quota": 7}, 7, False), ({"quota": 7, "unlimited_quota": True}, 7, True), ({"unlimited_quota": False}, 0, False),
    ({"quota": None}, 0, True), ({"quota": 2**63 - 1}, 2**63 - 1, False),
])
def test_quota_of_a_new_user(site, admin, body, quota, unlimited):
    user = admin.read(admin.add(username=f"quota{next(numbers)}{site.ENGINE}", **body).data["id"]).data
    assert (user["quota"], user["unlimited_quota"]) == (quota, unlimited)


def test_what_new_api_s_front_ends_send(admin, site):
    name = f"front{next(numbers)}{site.ENGINE}"
    data = admin.add(username=name, display_name="x", password="secret-password", email="e", group="vip", role=1).data
    user = admin.read(data["id"]).data
    assert (user["display_name"], user["group"], user["role"]) == (name, "vip", 1)


BAD = [
    ({"username": ""}, "username"), ({"username": "x" * 65}, "username"), ({"username": "a\nb"}, "username"),
    ({"username": "123"}, "username"), ({"username": 7}, "username"), ({"group": ""}, "group"),
    ({"group": "g" * 65}, "group"), ({"role": 2}, "role"), ({"role": "admin"}, "role"), ({"quota": -1}, "quota"),
    ({"quota": 2**63}, "quota"), ({"quota": 1.5}, "quota"), ({"unlimited_quota": 1}, "unlimited_quota"),
    ({"rpm_limit": 1000001}, "rpm_limit"), ({"tpm_limit": 10**15 + 1}, "tpm_limit"), ({"max_tokens": -1}, "max_tokens"),
]


@pytest.mark.parametrize("body, field", BAD)
def test_bad_values(admin, added, body, field):
    before = admin.read(added.user.id).data
    for reply in (admin.add(**{"username": "never-added", **body}), admin.change(added.user.id, **body)):
        assert code(reply) == (400, "invalid") and f" {field} " in reply.message
    assert admin.read(added.user.id).data == before
    assert admin.find_users("?keyword=never-added").data["total"] == 0


def test_username_is_required_and_unique(admin, added):
    assert admin.add(group="x").failure == (400, "Invalid parameters: username is required")
    assert code(admin.add(username=added.user.name.upper())) == (409, "name_taken")


def test_only_root_adds_administrators(site, admin, root):
    name = f"boss{next(numbers)}{site.ENGINE}"
    assert code(admin.add(username=name, role=10)) == FORBIDDEN
    for who in (admin, root):
        assert code(who.add(username=name, role=100)) == FORBIDDEN
    data = root.add(username=name, role=10).data
    assert root.read(data["id"]).data["role"] == 10
    assert Administrator(site.send, User(data["id"], name, "default", data["access_token"])).users().status == 200


# ---- changing ----


@pytest.mark.parametrize("name, value", [
    ("group", "vip"), ("rpm_limit", 60), ("tpm_limit", 10**15), ("max_tokens", 3), ("unlimited_quota", False),
])
def test_one_field(admin, added, name, value):
    before = admin.read(added.user.id).data
    changed = admin.change(added.user.id, **{name: value}).data
    expected = {**before, name: value}
    if name == "max_tokens":
        expected["token_limit"] = value
    assert changed == expected == admin.read(added.user.id).data


def test_name(admin, added, site):
    name = f"renamed{next(numbers)}{site.ENGINE}"
    assert admin.change(added.user.id, username=name).data["username"] == name
    assert code(admin.change(admin.user.id, username=name)) == (409, "name_taken")
    assert admin.change(added.user.id, username=name.upper()).data["username"] == name.upper()


def test_quota(admin, added):
    assert admin.change(added.user.id, quota=10).data["unlimited_quota"] is False
    assert admin.change(added.user.id, add_quota=5).data["quota"] == 15
    assert code(admin.change(added.user.id, add_quota=-16)) == (409, "quota_too_low")
    assert admin.change(added.user.id, add_quota=2**63 - 1).failure == (
        400, "Invalid parameters: quota would be out of range")
    assert code(admin.change(added.user.id, add_quota=1, quota=1)) == (400, "invalid")
    assert admin.change(added.user.id, add_quota=-15, unlimited_quota=True).data["quota"] == 0
    assert admin.change(added.user.id, add_quota=3).data["unlimited_quota"] is True
    assert admin.change(added.user.id, quota=3, unlimited_quota=True).data["unlimited_quota"] is True


def test_whole_objects_come_back(admin, added):
    user = admin.read(added.user.id).data
    assert admin.request("PUT", "/api/user/", user).data == user


def test_a_change_needs_a_user(admin):
    assert admin.request("PUT", "/api/user/", {"group": "x"}).failure == (400, "Invalid parameters: id is required")
    for reply in (admin.change(2**40, group="x"), admin.read(2**40), admin.remove(2**40), admin.manage(2**40, "enable"),
                  admin.change(-1, group="x")):
        assert reply.failure == (404, "User does not exist")


def test_max_tokens_is_the_limit(admin, added):
    admin.change(added.user.id, max_tokens=2)
    added.make_many(2)
    assert added.create({}).failure == (409, "Maximum number of tokens reached (2)")
    user = admin.read(added.user.id).data
    assert (user["token_count"], user["token_limit"]) == (2, 2)


# ---- rights ----


def test_roles_above(site, admin, root):
    peer, boss = site.add_user(role="admin"), site.add_user(role="root")
    for who, whom in ((admin, peer), (admin, boss), (admin, root.user), (root, boss)):
        for reply in (who.read(whom.id), who.change(whom.id, group="x"), who.remove(whom.id),
                      *(who.manage(whom.id, action) for action in (
                          "enable", "disable", "delete", "promote", "demote", "rotate"))):
            assert code(reply) == FORBIDDEN
    assert root.read(peer.id).data["group"] == "default"


def test_roles_are_root_s(admin, root, added):
    user_id = added.user.id
    for reply in (admin.manage(user_id, "promote"), admin.change(user_id, role=10), root.change(user_id, role=100)):
        assert code(reply) == FORBIDDEN
    assert root.manage(user_id, "promote").data["role"] == 10
    assert root.manage(user_id, "promote").data["role"] == 10
    assert code(admin.manage(user_id, "demote")) == FORBIDDEN
    assert root.manage(user_id, "demote").data["role"] == 1
    assert root.change(user_id, role=10).data["role"] == 10
    assert root.change(user_id, role=1).data["role"] == 1


def test_nobody_changes_the_own_role(admin, root):
    for who, role, action in ((admin, 10, "demote"), (root, 100, "promote")):
        assert code(who.manage(who.user.id, action)) == FORBIDDEN
        assert code(who.change(who.user.id, role=1)) == FORBIDDEN
        assert who.change(who.user.id, role=role, group="own").data["group"] == "own"


def test_a_demoted_administrator_has_no_rights(site, root, added):
    root.manage(added.user.id, "promote")
    promoted = Administrator(site.send, added.user)
    assert promoted.users().status == 200
    root.manage(added.user.id, "demote")
    assert code(promoted.users()) == FORBIDDEN


# ---- manage, delete ----


def test_disable_and_enable(admin, added):
    assert admin.manage(added.user.id, "disable").data["status"] == 2
    assert code(added.list()) == (403, "user_disabled")
    assert admin.manage(added.user.id, "enable").data["status"] == 1
    assert added.list().status == 200
    assert code(admin.manage(added.user.id, "promotion")) == (400, "invalid")


def test_rotate(site, admin, root, added):
    assert admin.manage(added.user.id, "rotate").json == {"success": True, "message": ""}
    assert added.list().status == 401
    data = root.manage(added.user.id, "rotate").data
    assert list(data) == ["access_token"]
    again = User(added.user.id, added.user.name, "default", data["access_token"])
    assert site.http(again).list().status == 200
    assert added.list().status == 401


@pytest.mark.parametrize("by_manage", [False, True])
def test_delete(admin, added, by_manage):
    """Also a user with more tokens than one commit deletes."""
    admin.change(added.user.id, max_tokens=2500)
    for _ in range(11):
        added.make_many(100)
    key = added.make()["key"]
    reply = admin.manage(added.user.id, "delete") if by_manage else admin.remove(added.user.id)
    assert reply.json == {"success": True, "message": ""}
    assert added.list().status == 401
    assert added.verify(key).verdict == (401, "unknown")
    assert admin.read(added.user.id).status == 404
    assert admin.remove(added.user.id).status == 404
    assert admin.add(username=added.user.name).status == 200


# ---- a user's tokens ----


def test_tokens_of_a_user(admin, added):
    query = f"?user_id={added.user.id}"
    made = added.make_many(3)
    masked = [{**token, "key": token["key"][:7] + "*" * 10 + token["key"][-4:]} for token in made]
    assert admin.list(query).data["items"] == masked[::-1]
    assert admin.list(query + "&sort=name&order=asc").data["items"] == masked
    assert admin.search(query + "&keyword=2").data["items"] == masked[1:2]
    assert admin.request("POST", "/api/token/search" + query, {"keyword": "3"}).data["items"] == masked[2:]
    assert admin.request("GET", f"/api/token/{made[0]['id']}{query}").data == masked[0]
    changed = admin.update({"id": made[0]["id"], "name": "by admin", "remain_quota": 5}, query).data
    assert changed == {**masked[0], "name": "by admin", "remain_quota": 5}
    assert admin.update({"id": made[0]["id"], "add_quota": 2}, query).data["remain_quota"] == 7
    assert admin.update({"id": made[0]["id"], "status": 2}, query + "&status_only=1").data["status"] == 2
    ids = [token["id"] for token in made]
    assert admin.request("POST", "/api/token/batch/status" + query, {"ids": ids, "status": 2}).data == 3
    assert len(admin.request("GET", f"/api/token/{ids[0]}/usage{query}&days=3").data["days"]) == 3
    assert admin.request("DELETE", f"/api/token/{ids[0]}{query}").status == 200
    assert admin.request("POST", "/api/token/batch" + query, {"ids": ids}).data == 2
    assert added.list().data["total"] == 0


def test_tokens_of_a_disabled_user(admin, added):
    token = added.make()
    admin.manage(added.user.id, "disable")
    query = f"?user_id={added.user.id}"
    assert admin.update({"id": token["id"], "status": 2}, query).data["status"] == 2
    assert admin.request("DELETE", f"/api/token/{token['id']}{query}").status == 200


@pytest.mark.parametrize("token", ["{key}", "{start}", "%25", "s"])
def test_no_search_for_another_s_key(admin, added, token):
    key = added.make()["key"]
    text = token.format(key=key, start=key[:8])
    query = f"?user_id={added.user.id}"
    assert code(admin.search(f"{query}&token={text}")) == FORBIDDEN
    assert code(admin.request("POST", "/api/token/search" + query, {"token": text})) == FORBIDDEN
    assert admin.search(f"{query}&token=").data["total"] == 1
    assert added.search(f"?user_id={added.user.id}&token={text}").status == 200


def test_own_user_id_changes_nothing(admin):
    query = f"?user_id={admin.user.id}"
    token = admin.request("POST", "/api/token/" + query, {"name": "own"}).data
    assert admin.list(query).data["items"][0] == token
    assert admin.request("POST", f"/api/token/{token['id']}/key{query}").data == {"key": token["key"]}
    assert admin.request("POST", f"/api/token/{token['id']}/rotate{query}", {}).data["key"] != token["key"]


def test_the_body_s_user_id_is_ignored(admin, added):
    token = admin.make()
    assert admin.update({"id": token["id"], "user_id": added.user.id, "name": "x"}).data["user_id"] == admin.user.id


# ---- whose key ----


def test_find(admin, added):
    token = added.make(name="lost", expired_time=1)
    expected = {"user_id": added.user.id, "token_id": token["id"], "name": "lost", "status": 3}
    for key in (token["key"], token["key"][3:], "sk-" + token["key"]):
        assert admin.find(key).data == expected
    for key in ("sk-x", "", token["key"][:-1], "sk-" + "0" * 48):
        assert admin.find(key).failure == (404, "Token does not exist")
    assert admin.find(None).failure == (400, "Invalid parameters: key is required")
    assert admin.find(7).failure == (400, "Invalid parameters: key must be a string")


# ---- statuses, slashes ----


def test_statuses_stay(site, admin, added):
    """TOKEN_HTTP_STATUS=200 is for a user's own routes only."""
    def ask(method, target, user, body=None):
        send = Client(lambda *sent: site.cgi(*sent, TOKEN_HTTP_STATUS="200"), user, checked=False)
        return send.request(method, target, body)

    assert ask("GET", "/api/token/99999999", added.user).status == 200
    assert ask("GET", "/api/user/", added.user).status == 403
    assert ask("POST", "/api/token/find", added.user, {}).status == 403
    assert ask("GET", f"/api/token/?user_id={admin.user.id}", added.user).status == 403
    assert ask("GET", f"/api/token/?user_id={2**40}", admin.user).status == 404
    assert ask("GET", f"/api/token/99999999?user_id={added.user.id}", admin.user).status == 404
    assert ask("POST", "/api/user/", admin.user, {}).status == 400
    assert ask("POST", "/api/user/", admin.user, {"username": added.user.name}).status == 409


@pytest.mark.parametrize("path", ["/api/user", "/api/user//", "/api/user/search/", "/api/user/manage/", "/api/log",
                                  "/api/user/1/", "/api/token/find/", "/api/user/1/x", "/api/user/-1", "/api/user/x"])
def test_administrators_paths_are_exact(site, admin, path):
    reply = site.cgi("GET", path, admin.credentials, None)
    assert code(reply) == (404, "not_found")
