"""GET /api/status: the site, for everybody."""

import fastcgi
import pytest
from client import Client
from service import Store


def ask(client, target="/api/status"):
    return client.request("GET", target)


def test_defaults(site, anonymous):
    reply = ask(anonymous)
    assert list(reply.data.items())[1:] == [
        ("system_name", "token"),
        ("quota_per_unit", 500_000),
        ("keys", "shown"),
        ("name_max", 30),
        ("token_limit", 1000),
        ("engine", site.ENGINE),
    ]
    assert site.run_ctl("--version").stdout == f"tokenctl {reply.data['version']}\n"


def test_settings():
    named = {"TOKEN_SYSTEM_NAME": 'The "site" 字', "TOKEN_QUOTA_PER_UNIT": "1000", "TOKEN_KEYS": "masked"}
    with Store() as store:
        _, path = store.start_worker(**named, TOKEN_NAME_MAX="64", TOKEN_MAX_PER_USER="0", TOKEN_HTTP_STATUS="200")
        client = Client(fastcgi.transport(path))
        data = ask(client).data
        del data["version"], data["engine"]
        assert data == {
            "system_name": 'The "site" 字',
            "quota_per_unit": 1000,
            "keys": "masked",
            "name_max": 64,
            "token_limit": 0,
        }


@pytest.mark.parametrize("headers", [{"Authorization": "Bearer wrong"}, {"New-Api-User": "x"}])
def test_credentials_are_not_looked_at(anonymous, headers):
    assert anonymous.request("GET", "/api/status", headers=headers).status == 200


def test_other_methods_and_paths(anonymous):
    assert ask(anonymous, "/api/status/").data["system_name"] == "token"
    assert ask(anonymous, "/api/status/x").status == 404
    reply = anonymous.request("POST", "/api/status", {})
    assert (reply.status, reply.headers["allow"]) == (405, "GET, HEAD, OPTIONS")
    assert anonymous.request("HEAD", "/api/status").body == b""
