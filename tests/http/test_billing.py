"""GET /v1/dashboard/billing/…: a key's quota in money, for chat clients."""

import fastcgi
import pytest
from client import Client
from service import Store

MAX = 2**63 - 1


def subscription(limit, until=0):
    return {
        "object": "billing_subscription",
        "has_payment_method": True,
        "soft_limit_usd": limit,
        "hard_limit_usd": limit,
        "system_hard_limit_usd": limit,
        "access_until": until,
    }


@pytest.mark.parametrize("granted, spent", [(0, 0), (500_000, 0), (1_234_567, 1), (7, 3), (10**15 + 1, 10**15)])
def test_amounts(user, gateway, client, granted, spent):
    token = user.make(unlimited_quota=False, remain_quota=granted, expired_time=4102444800)
    gateway.consume(key=token["key"], amount=spent)
    assert client.billing("subscription", token["key"]).json == subscription(granted / 500_000, 4102444800)
    assert client.billing("usage", token["key"]).json == {"object": "list", "total_usage": 100 * spent / 500_000}


def test_the_order_of_members(user, client):
    key = user.make()["key"]
    assert list(client.billing("subscription", key).json) == list(subscription(0))


def test_unlimited(user, gateway, client):
    token = user.make()
    gateway.consume(key=token["key"], amount=5)
    assert client.billing("subscription", token["key"]).json == subscription(100_000_000)
    assert client.billing("usage", token["key"]).json["total_usage"] == 0.001


def test_greatest_numbers(user, gateway, client):
    token = user.make(unlimited_quota=False, remain_quota=MAX)
    gateway.consume(key=token["key"], amount=MAX).data
    user.update({"id": token["id"], "remain_quota": MAX})
    assert client.billing("subscription", token["key"]).json == subscription(2 * MAX / 500_000)
    assert client.billing("usage", token["key"]).json["total_usage"] == 100 * MAX / 500_000


def test_quota_per_unit():
    with Store() as store:
        _, path = store.start_worker(TOKEN_QUOTA_PER_UNIT="3")
        user = Client(fastcgi.transport(path), store.add_user())
        key = user.make(unlimited_quota=False, remain_quota=1)["key"]
        assert user.billing("subscription", key).json == subscription(1 / 3)


def test_expired_and_exhausted_keys_are_answered(user, client):
    key = user.make(expired_time=5, unlimited_quota=False)["key"]
    assert client.billing("subscription", key).json == subscription(0, 5)


@pytest.mark.parametrize("name", ["subscription", "usage"])
def test_refusals(site, user, client, name):
    token = user.make(allow_ips="10.0.0.0/8")
    assert client.billing(name, token["key"]).refusal == (403, "address")
    assert client.billing(name, "sk-x").refusal == (401, "unknown")
    assert client.billing(name, "").refusal == (401, "missing")
    user.update({"id": token["id"], "status": 2})
    assert client.billing(name, token["key"]).refusal == (401, "disabled")


@pytest.mark.parametrize("target", ["subscription/", "usage/", "usage?start_date=2026-11-01&end_date=2026-11-26"])
def test_other_forms_of_the_path(user, target):
    assert user.billing(target, user.make()["key"]).status == 200


@pytest.mark.parametrize("target", ["", "/", "/nothing", "/usage/x", "/verify", "/api/token/verify"])
def test_other_paths(user, client, target):
    assert client.request("GET", "/v1/dashboard/billing" + target).failure == (404, "Not found")
