"""Authentication: Authorization; New-Api-User, where it is sent, must be that user."""

import pytest

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
