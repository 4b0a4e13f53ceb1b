"""Each route with each kind of caller. The routes are those of api/route.c."""

import re
from pathlib import Path

import client
import pytest
from client import Client

ROOTS = {"TOKEN": "/api/token", "USAGE": "/api/usage/token", "STATUS": "/api/status", "USERS": "/api/user",
         "LOG": "/api/log", "BILLING": "/v1/dashboard/billing", "HEALTH": "/healthz", "METRICS": "/metrics"}
TABLE = re.findall(r'\{ROUTE_(\w+), "(\S+)", "(\S*)", ROUTE_(\w+), \w+, \w+\}',
                   (Path(__file__).parents[2] / "api/route.c").read_text())
ROUTES = [(method.replace("*", "GET"), ROOTS[root] + path, caller, root) for root, method, path, caller in TABLE]
EACH = pytest.mark.parametrize("method, path, kind, root", ROUTES, ids=[" ".join(route[:2]) for route in ROUTES])
CALLERS = ("nobody", "user", "disabled", "other", "admin", "root", "gateway", "key")

UNAUTHORIZED, FORBIDDEN, DISABLED = (401, "unauthorized"), (403, "forbidden"), (403, "user_disabled")


@pytest.fixture(scope="module")
def people(site):
    """Clients by the kind of caller; of the user, a token."""
    users = {name: site.add_user(role=name if name in ("admin", "root") else None)
             for name in ("user", "disabled", "other", "admin", "root", "subject", "peer")}
    found = {name: Client(client.transport(site.internal_port), user) for name, user in users.items()}
    found["nobody"] = Client(client.transport(site.internal_port))
    found["gateway"] = client.Gateway(client.transport(site.internal_port), site.add_gateway("rights"))
    found["key"] = Client(client.transport(site.internal_port))
    found["token"] = found["user"].make(name="of user")
    found["subject"].token = found["subject"].make(name="of subject")
    site.ctl("user", "disable", users["disabled"].id)
    return found


def body_of(method, path, token_id, user_id):
    """One that does no harm to what the other tests need."""
    if method not in ("POST", "PUT"):
        return None
    ids = [token_id]
    return {"/api/token/batch": {"ids": [2**40]}, "/api/token/batch/status": {"ids": ids, "status": 1},
            "/api/token/batch/keys": {"ids": ids}, "/api/token/:id/rotate": {"grace_seconds": 3600}, "/api/user/manage": {"id": user_id, "action": "enable"},
            "/api/user/": {"id": user_id}}.get(path, {"id": token_id})


def ask(people, caller, method, path, query="", of="token"):
    token_id = people["token"]["id"] if of == "token" else people[of].token["id"]
    user_id = people["user" if of == "token" else of].user.id
    target = path.replace(":id", str(user_id if path.startswith("/api/user") else token_id))
    if method == "DELETE":
        target = path.replace(":id", str(2**40))
    body = body_of(method, path, token_id, user_id)
    headers = {"Authorization": f"Bearer {people['token']['key']}"} if caller == "key" else {}
    return people[caller].request(method, target + query, body, headers)


def code(reply):
    return reply.status, reply.json.get("code")


def is_let_in(reply):
    return reply.status in (200, 204, 400, 404, 409) or code(reply) in ((401, "missing"), (401, "malformed"))


@EACH
@pytest.mark.parametrize("caller", CALLERS)
def test_each_route_with_each_caller(people, method, path, kind, root, caller):
    if path == "/api/user/self/rotate" and caller in ("user", "other", "admin", "root"):
        return  # the clients would lose their access tokens; test_self.py
    reply = ask(people, caller, method, path)
    is_user = caller in ("user", "other", "admin", "root")
    if kind == "ANYONE":
        assert reply.status == 200
    elif kind == "GATEWAY":
        assert is_let_in(reply) if caller == "gateway" else code(reply) == UNAUTHORIZED
    elif kind == "KEY":
        assert reply.status in (200, 204) if caller == "key" else reply.status == 401
    elif caller == "disabled":
        assert code(reply) == DISABLED
    elif not is_user:
        assert code(reply) == UNAUTHORIZED
    elif kind == "ADMIN" and caller not in ("admin", "root"):
        assert code(reply) == FORBIDDEN
    else:
        assert is_let_in(reply), reply
        assert ":id" not in path or kind == "ADMIN" or caller == "user" or reply.status == 404
    assert kind == "KEY" or people["token"]["key"].encode() not in reply.body or caller == "user"


OF_TOKENS = [row for row in ROUTES if row[3] == "TOKEN" and row[2] in ("USER", "OWNER")]


@pytest.mark.parametrize("method, path, kind, root", OF_TOKENS, ids=[" ".join(row[:2]) for row in OF_TOKENS])
def test_user_id_of_each_route(people, method, path, kind, root):
    """Another's user_id: for administrators, of users of lower roles, and never for keys."""

    def answer(caller, user_id):
        return ask(people, caller, method, path, f"?user_id={user_id}", of="subject")

    subject = people["subject"].user.id
    key = people["subject"].token["key"].encode()
    for caller in ("admin", "root"):
        reply = answer(caller, subject)
        assert is_let_in(reply) if kind == "USER" else code(reply) == FORBIDDEN
        assert key not in reply.body
        for nobody in (0, 2**40, 2**70):
            assert code(answer(caller, nobody)) == ((404, "not_found") if kind == "USER" else FORBIDDEN)
    assert code(answer("disabled", subject)) == DISABLED
    assert code(answer("nobody", subject)) == UNAUTHORIZED
    for caller in ("user", "other"):
        for user_id in (subject, 2**40, 2**70, people["root"].user.id):
            assert code(answer(caller, user_id)) == FORBIDDEN
    assert code(answer("admin", people["root"].user.id)) == FORBIDDEN
    assert code(answer("user", "x")) == (400, "invalid")
    own = ask(people, "subject", method, path, f"?user_id={subject}", of="subject")
    assert is_let_in(own)


def test_a_user_s_token_is_seen_by_an_administrator(people):
    subject, token = people["subject"], people["subject"].make(name="seen")
    seen = people["admin"].request("GET", f"/api/token/{token['id']}?user_id={subject.user.id}").data
    assert seen == {**subject.get(token["id"]).data, "key": token["key"][:7] + "*" * 10 + token["key"][-4:]}
    assert people["admin"].request("GET", f"/api/token/{token['id']}").status == 404
