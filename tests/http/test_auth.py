"""Authentication: Authorization; New-Api-User, where it is sent, must be that user."""

import os
import random
import statistics
import string
import time

import fastcgi
import pytest
from service import Store

TORTURE = os.environ.get("TORTURE") == "1"
MISSING_AUTHORIZATION = "Authorization header is missing"
WRONG_USER = "New-Api-User header is wrong"
DENIED = "Authorization or New-Api-User is wrong"

# One request for each route that asks for credentials.
ROUTES = [
    ("GET", "/api/token/", None),
    ("POST", "/api/token/", {"name": "x"}),
    ("PUT", "/api/token/", {"id": 1, "name": "x"}),
    ("PUT", "/api/token/?status_only=true", {"id": 1, "status": 2}),
    ("GET", "/api/token/1", None),
    ("DELETE", "/api/token/1", None),
    ("POST", "/api/token/batch", {"ids": [1]}),
    ("GET", "/api/token/search", None),
    ("GET", "/api/token/?sort=name", None),
    ("POST", "/api/token/1/key", None),
    ("POST", "/api/token/1/rotate", {}),
    ("POST", "/api/token/batch/keys", {"ids": [1]}),
]


def refusal(reply):
    """The message of a 401. Its headers are checked by contract.py."""
    assert reply.status == 401 and reply.headers["www-authenticate"] == "Bearer"
    return reply.message


@pytest.mark.parametrize("method, target, body", ROUTES)
def test_each_route_requires_credentials(anonymous, method, target, body):
    reply = anonymous.request(method, target, body)
    assert refusal(reply).startswith(MISSING_AUTHORIZATION)


@pytest.mark.parametrize("method, target, body", ROUTES)
def test_each_route_refuses_a_wrong_access_token(user, method, target, body):
    reply = user.request(method, target, body, {"Authorization": "Bearer " + "x" * 48})
    assert refusal(reply).startswith(DENIED)


def test_refused_writes_do_nothing(user):
    token = user.make()
    wrong = {"Authorization": "Bearer wrong"}
    for method, target, body in [
        ("POST", "/api/token/", {}),
        ("PUT", "/api/token/", {"id": token["id"], "name": "x"}),
        ("DELETE", f"/api/token/{token['id']}", None),
        ("POST", "/api/token/batch", {"ids": [token["id"]]}),
    ]:
        assert user.request(method, target, body, wrong).status == 401
    assert user.list().data["items"] == [token]


@pytest.mark.parametrize(
    "form",
    ["Bearer {}", "bearer {}", "BEARER {}", "bEARER {}", "Bearer  {}", "Bearer   {}", "{}"],
)
def test_forms_of_authorization(user, form):
    headers = {"Authorization": form.format(user.user.access_token)}
    assert user.request("GET", "/api/token/", headers=headers).status == 200


@pytest.mark.parametrize(
    "form",
    ["Basic {}", "Token {}", "Bearer{}", "Bearer {}x", "Bearer x{}", "Bearer {} x", "{}x", "x {}"],
)
def test_malformed_authorization(user, form):
    headers = {"Authorization": form.format(user.user.access_token)}
    message = refusal(user.request("GET", "/api/token/", headers=headers))
    assert message.startswith("Authorization ") and "Bearer" in message


def test_letter_case_of_the_access_token_counts(user):
    swapped = user.user.access_token.swapcase()
    assert swapped != user.user.access_token
    headers = {"Authorization": f"Bearer {swapped}"}
    assert refusal(user.request("GET", "/api/token/", headers=headers)).startswith(DENIED)


@pytest.mark.parametrize("length", [0, 1, 47])
def test_beginning_of_the_access_token_is_not_enough(user, length):
    headers = {"Authorization": f"Bearer {user.user.access_token[:length]}"}
    message = refusal(user.request("GET", "/api/token/", headers=headers))
    assert message.startswith("Authorization ")


def test_missing_authorization(user):
    message = refusal(user.request("GET", "/api/token/", headers={"Authorization": None}))
    assert message.startswith(MISSING_AUTHORIZATION)
    assert "Authorization: Bearer" in message  # how to send it


@pytest.mark.parametrize("method, target, body", ROUTES)
def test_without_new_api_user(user, method, target, body):
    user.make()
    reply = user.request(method, target, body, {"New-Api-User": None})
    assert reply.status in (200, 404)  # of tokens that are another user's


@pytest.mark.parametrize("value", [None, "", " "])
def test_the_access_token_names_the_user(user, other_user, value):
    """Also where the header is empty; the write is the user's own."""
    headers = {"New-Api-User": value}
    token = user.request("POST", "/api/token/", {"name": "n"}, headers).data
    assert token["user_id"] == user.user.id
    assert user.request("GET", "/api/token/", headers=headers).data["total"] == 1
    assert other_user.list().data["total"] == 0


@pytest.mark.parametrize(
    "value",
    ["abc", "1x", "x1", "1.0", "1e0", "0x1", "1,2", "1 2", "--1", "-", "null", "9" * 30, "\xe9"],
)
def test_malformed_user(user, value):
    message = refusal(user.request("GET", "/api/token/", headers={"New-Api-User": value}))
    assert message.startswith(WRONG_USER)
    assert "New-Api-User:" in message


def test_empty_authorization(user):
    message = refusal(user.request("GET", "/api/token/", headers={"Authorization": ""}))
    assert message.startswith("Authorization header is ")


def test_same_answer_whether_or_not_a_user_exists(user, other_user):
    """Another user's id, an unknown id and a wrong access token get the same bytes."""
    ids = [str(other_user.user.id), "999999999", "9223372036854775807", str(user.user.id), None]
    tokens = [user.user.access_token] * 3 + ["x" * 48] * 2
    answers = {
        user.request(
            "GET", "/api/token/", headers={"Authorization": f"Bearer {token}", "New-Api-User": id_}
        ).body
        for id_, token in zip(ids, tokens)
    }
    assert len(answers) == 1


@pytest.mark.parametrize("id_", ["0", "-1", "999999999"])
def test_unknown_user(user, id_):
    assert user.request("GET", "/api/token/", headers={"New-Api-User": id_}).status == 401


def test_credentials_come_before_the_body(anonymous):
    assert anonymous.create(b"{not json").status == 401
    assert anonymous.list("?p=x").status == 401


def test_no_credentials_for_options(anonymous):
    assert anonymous.request("OPTIONS", "/api/token/").status == 204


@pytest.mark.parametrize("method, target, body", ROUTES)
def test_disabled_user(site, user, method, target, body):
    site.ctl("user", "disable", user.user.id)
    assert user.request(method, target, body).failure == (403, "User is disabled")


def test_enabled_again(site, user):
    token = user.make()
    site.ctl("user", "disable", user.user.id)
    assert user.list().status == 403
    site.ctl("user", "enable", user.user.id)
    assert user.list().data["items"] == [token]


def test_disabled_user_with_a_wrong_access_token(site, user):
    """Only the right access token reveals that the user is disabled."""
    wrong = {"Authorization": "Bearer " + "x" * 48}
    before = user.request("GET", "/api/token/", headers=wrong)
    site.ctl("user", "disable", user.user.id)
    after = user.request("GET", "/api/token/", headers=wrong)
    assert (after.status, after.body) == (401, before.body)


def test_disabled_user_with_another_id(site, user, other_user):
    """The mismatch comes first."""
    site.ctl("user", "disable", user.user.id)
    for id_ in (str(other_user.user.id), "999999999"):
        assert user.request("GET", "/api/token/", headers={"New-Api-User": id_}).status == 401


def test_own_tokens_only(user, other_user):
    """Every route, with another user's token."""
    token = user.make()
    token_id = token["id"]
    assert other_user.get(token_id).status == 404
    assert other_user.update({"id": token_id, "name": "x"}).status == 404
    assert other_user.update({"id": token_id, "status": 2}, "?status_only=1").status == 404
    assert other_user.delete(token_id).status == 404
    assert other_user.batch({"ids": [token_id]}).data == 0
    assert other_user.list().data["items"] == []
    assert user.list().data["items"] == [token]


def test_medians_of_refusals():
    """Not by time either: in turns, an access token that is wrong in its last character, one with
    New-Api-User of its owner, of nobody, and random ones."""
    rounds = 20_000
    with Store(TOKEN_THREADS="1") as store:
        user = store.add_user()
        _, path = store.start_worker()
        last = "A" if user.access_token[-1] != "A" else "B"
        near = user.access_token[:-1] + last
        medians = {}
        with fastcgi.Connection(path) as connection:
            def ask(name, access_token, user_id=None):
                headers = {"Authorization": f"Bearer {access_token}"}
                if user_id:
                    headers["New-Api-User"] = str(user_id)
                sent = fastcgi.request(fastcgi.environment("GET", "/api/token/1", headers), keep=True)
                began = time.perf_counter_ns()
                connection.send(sent)
                reply = connection.read_reply()
                medians.setdefault(name, []).append(time.perf_counter_ns() - began)
                assert reply.status == 401

            for _ in range(rounds):
                other = "".join(random.choices(string.ascii_letters, k=48))
                kinds = [("random", other), ("near", near), ("random, user", other, user.id),
                         ("near, user", near, user.id), ("random, nobody", other, user.id + 1)]
                for kind in random.sample(kinds, len(kinds)):
                    ask(*kind)
        medians = {name: statistics.median(times) for name, times in medians.items()}
        print(medians)
        assert medians["near"] == pytest.approx(medians["random"], rel=0.02)
        for name in ("near, user", "random, nobody"):
            assert medians[name] == pytest.approx(medians["random, user"], rel=0.02)


# Of durations: outside CI only.
test_medians_of_refusals.__test__ = TORTURE
