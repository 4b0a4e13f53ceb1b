"""/consume, /reserve, /settle and /cancel: spending by a gateway."""

import json
import time

import fastcgi
import pytest
from client import Client, Gateway, key_checksum

UNKNOWN_KEY = "sk-" + "0" * 42 + key_checksum("sk-" + "0" * 48)
MAX = 2**63 - 1
NO_RESERVATION = (404, "Reservation does not exist")
OTHER_REQUEST = (
    409,
    "This Idempotency-Key or transaction_id has been used with another request",
)


@pytest.fixture(scope="session")
def secret(site):
    return site.add_gateway("spender")


@pytest.fixture
def spender(send, secret):
    """A gateway over each transport."""
    return Gateway(send, secret)


@pytest.fixture(params=["consume", "reserve"])
def take(request, spender):
    return getattr(spender, request.param)


def quotas(user, token):
    now = user.get(token["id"]).data
    return now["remain_quota"], now["used_quota"]


def finite(user, quota, **fields):
    return user.make(unlimited_quota=False, remain_quota=quota, **fields)


def sum_is_kept(user, token, total):
    remain, used = quotas(user, token)
    assert remain + used == total
    return used


# ---- /consume ----


def test_consume(user, spender):
    token = finite(user, 100)
    reply = spender.consume(key=token["key"], amount=30)
    assert list(reply.data.items()) == [
        ("token_id", token["id"]),
        ("user_id", token["user_id"]),
        ("group", token["group"]),
        ("remain_quota", 70),
        ("unlimited_quota", False),
    ]
    assert quotas(user, token) == (70, 30)
    assert spender.consume(key=token["key"], amount=0).data["remain_quota"] == 70
    assert spender.consume(key=token["key"], amount=70).data["remain_quota"] == 0
    assert spender.consume(key=token["key"], amount=0).refusal == (401, "exhausted")
    assert quotas(user, token) == (0, 100)


def test_unlimited(user, take):
    token = user.make(remain_quota=7)
    data = take(key=token["key"], amount=30).data
    assert (data["remain_quota"], data["unlimited_quota"]) == (7, True)
    assert quotas(user, token) == (7, 30)


def test_unknown_fields_and_null(user, take):
    token = finite(user, 10)
    body = {"key": token["key"], "amount": 3, "ip": None, "model": None, "transaction_id": None}
    assert take(**body, ttl_seconds=None, more=[1]).data["remain_quota"] == 7


def test_greatest_numbers(user, take):
    token = finite(user, MAX)
    assert take(key=token["key"], amount=MAX).data["remain_quota"] == 0
    user.update({"id": token["id"], "unlimited_quota": True})
    assert take(key=token["key"], amount=1).refusal == (401, "exhausted")
    assert quotas(user, token) == (0, MAX)


# ---- refusals ----

REFUSALS = [
    ({"expired_time": 1}, {}, (401, "expired")),
    ({"unlimited_quota": False}, {}, (401, "exhausted")),
    ({"unlimited_quota": False, "remain_quota": 4}, {}, (401, "exhausted")),
    ({"unlimited_quota": False}, {"amount": 0}, (401, "exhausted")),
    ({"allow_ips": "10.0.0.0/8"}, {"ip": "11.0.0.1"}, (403, "address")),
    ({"allow_ips": "10.0.0.0/8"}, {"ip": ""}, (403, "address")),
    ({"allow_ips": "10.0.0.0/8"}, {"ip": "what"}, (403, "address")),
    ({"allow_ips": "127.0.0.1"}, {}, (403, "address")),  # the gateway's own address is not a client's
    ({"model_limits_enabled": True, "model_limits": "a"}, {"model": "b"}, (403, "model")),
    ({"model_limits_enabled": True, "model_limits": "a"}, {"model": ""}, (403, "model")),
    ({"model_limits_enabled": True, "model_limits": "a"}, {}, (403, "model")),
]


@pytest.mark.parametrize("fields, body, refusal", REFUSALS)
def test_refused(user, take, fields, body, refusal):
    token = user.make(**fields)
    before = quotas(user, token)
    reply = take(**{"key": token["key"], "amount": 5, **body})
    assert reply.refusal == refusal
    assert (reply.status == 401) is ("www-authenticate" in reply.headers)
    assert quotas(user, token) == before


def test_allowed(user, take):
    token = finite(
        user, 10, allow_ips="10.0.0.0/8,::1", model_limits_enabled=True, model_limits="a,b"
    )
    for ip in ("10.1.2.3", "::ffff:10.1.2.3", "0:0::1"):
        take(key=token["key"], amount=1, ip=ip, model="b").data
    assert quotas(user, token) == (7, 3)


@pytest.mark.parametrize(
    "key, reason",
    [
        (None, "missing"),
        ("", "missing"),
        ("x", "malformed"),
        ("sk-" + "0" * 48, "malformed"),
        (UNKNOWN_KEY, "unknown"),
    ],
)
def test_malformed_keys(take, key, reason):
    assert take(key=key, amount=1).refusal == (401, reason)


def test_disabled(site, user, take):
    token = finite(user, 10)
    user.update({"id": token["id"], "status": 2})
    assert take(key=token["key"], amount=1).refusal == (401, "disabled")
    user.update({"id": token["id"], "status": 1})
    site.ctl("user", "disable", user.user.id)
    assert take(key=token["key"], amount=1).refusal == (403, "user")
    site.ctl("user", "enable", user.user.id)
    assert quotas(user, token) == (10, 0)
    site.ctl("user", "delete", user.user.id)
    assert take(key=token["key"], amount=1).refusal == (401, "unknown")


BAD_BODIES = [
    (b"", "body"),
    (b"{", "body"),
    (b"[]", "body"),
    (b'"x"', "body"),
    (b"{}", "amount"),
    (b'{"amount":null}', "amount"),
    (b'{"amount":-1}', "amount"),
    (b'{"amount":"1"}', "amount"),
    (b'{"amount":1.5}', "amount"),
    (b'{"amount":true}', "amount"),
    (b'{"amount":9223372036854775808}', "amount"),
    (b'{"amount":1,"key":1}', "key"),
    (b'{"amount":1,"key":["sk-"]}', "key"),
    (b'{"amount":1,"ip":1}', "ip"),
    (b'{"amount":1,"model":{}}', "model"),
    (b'{"amount":1,"transaction_id":7}', "transaction_id"),
    (b'{"amount":1,"transaction_id":""}', "transaction_id"),
    (b'{"amount":1,"transaction_id":"' + b"x" * 256 + b'"}', "transaction_id"),
]


@pytest.mark.parametrize("route", ["consume", "reserve"])
@pytest.mark.parametrize("body, field", BAD_BODIES)
def test_bad_bodies(spender, route, body, field):
    status, message = spender.request("POST", f"/api/token/{route}", body).failure
    assert status == 400 and message.startswith(f"Invalid parameters: {field}"), message


@pytest.mark.parametrize("ttl", [0, -1, 3601, "60", 1.5, 2**63])
def test_bad_ttl(user, spender, ttl):
    token = finite(user, 10)
    body = json.dumps({"key": token["key"], "amount": 1, "ttl_seconds": ttl}).encode()
    status, message = spender.request("POST", "/api/token/reserve", body).failure
    assert status == 400 and message.startswith("Invalid parameters: ttl_seconds"), message
    assert quotas(user, token) == (10, 0)


def test_body_too_large(spender):
    body = b'{"amount":1}'.ljust((1 << 20) + 1)
    for route in ("consume", "reserve", "settle", "cancel"):
        reply = spender.request("POST", f"/api/token/{route}", body)
        assert reply.failure == (413, "Request body is too large")


# ---- authentication of the gateway ----

ROUTES = ["consume", "reserve", "settle", "cancel"]


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("sent", [None, "", " ", "wrong", "longer"])
def test_without_the_secret(user, send, secret, route, sent):
    """Checked before the body."""
    sent = secret + "x" if sent == "longer" else sent
    headers = {"X-Gateway-Token": sent}
    for body in (b"{", {"key": user.make()["key"], "amount": 1, "reservation": 1}):
        reply = Gateway(send, secret).request("POST", f"/api/token/{route}", body, headers)
        assert reply.status == 401 and reply.message.startswith("X-Gateway-Token header"), reply
        assert reply.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("route", ROUTES)
def test_user_credentials_are_refused(user, send, route):
    client = Client(send, user.user)
    headers = {"X-Gateway-Token": user.user.access_token}
    body = {"key": user.make()["key"], "amount": 1, "reservation": 1}
    for sent in ({}, headers):
        assert client.request("POST", f"/api/token/{route}", body, sent).status == 401


def test_gateway_secret_is_refused_on_user_routes(spender, secret):
    headers = {"Authorization": f"Bearer {secret}", "New-Api-User": "1"}
    assert spender.request("GET", "/api/token/", headers=headers).status == 401


def test_each_character_of_the_secret_matters(site, secret):
    with fastcgi.Connection(site.socket) as connection:
        for at in range(len(secret)):
            other = "a" if secret[at] != "a" else "b"
            headers = {"X-Gateway-Token": secret[:at] + other + secret[at + 1 :]}
            assert connection.ask("POST", "/api/token/consume", headers, b"{}").status == 401


def test_deleted_gateway(site, user, send):
    (added,) = site.ctl("gateway", "add", "to be deleted")
    gateway, key = Gateway(send, added["secret"]), user.make()["key"]
    assert gateway.consume(key=key, amount=1).status == 200
    site.ctl("gateway", "delete", added["id"])
    assert gateway.consume(key=key, amount=1).status == 401


def test_secrets_are_not_in_the_store(site, secret):
    assert secret.encode() not in site.data()


def test_http_status_200(site, user, secret):
    """The setting is for users' routes: a refusal must not look like permission."""
    token = user.make(allow_ips="::1")
    other = user.make(expired_time=1)

    def ask(route, body):
        headers = {"X-Gateway-Token": secret}
        sent = json.dumps(body).encode()
        variables = fastcgi.environment("POST", f"/api/token/{route}", headers, sent)
        done = site.run_cgi(variables, sent, TOKEN_HTTP_STATUS="200")
        return fastcgi.parse_cgi(done.stdout)

    assert ask("consume", {"key": token["key"], "amount": 1}).refusal == (403, "address")
    assert ask("consume", {"key": other["key"], "amount": 1}).refusal == (401, "expired")
    assert ask("cancel", {"reservation": 2**40}).failure == NO_RESERVATION


# ---- reservations ----


def test_reserve(user, spender):
    token = finite(user, 100)
    reply = spender.reserve(key=token["key"], amount=30)
    assert list(reply.data.items()) == [
        ("token_id", token["id"]),
        ("user_id", token["user_id"]),
        ("group", token["group"]),
        ("remain_quota", 70),
        ("unlimited_quota", False),
        ("reservation", reply.data["reservation"]),
        ("amount", 30),
    ]
    assert quotas(user, token) == (70, 30)  # it counts as used


@pytest.mark.parametrize(
    "settled, remain, amount, shortfall",
    [
        (30, 70, 30, 0),
        (10, 90, 10, 0),
        (0, 100, 0, 0),
        (50, 50, 50, 0),
        (100, 0, 100, 0),
        (130, 0, 100, 30),
        (MAX, 0, 100, MAX - 100),
    ],
)
def test_settle(user, spender, settled, remain, amount, shortfall):
    token = finite(user, 100)
    reserved = spender.reserve(key=token["key"], amount=30).data
    reply = spender.settle(reservation=reserved["reservation"], amount=settled)
    assert list(reply.data.items()) == [
        ("token_id", token["id"]),
        ("user_id", token["user_id"]),
        ("group", token["group"]),
        ("remain_quota", remain),
        ("unlimited_quota", False),
        ("reservation", reserved["reservation"]),
        ("amount", amount),
        ("shortfall", shortfall),
    ]
    assert sum_is_kept(user, token, 100) == amount


def test_cancel(user, spender):
    token = finite(user, 100)
    reserved = spender.reserve(key=token["key"], amount=30).data
    data = spender.cancel(reservation=reserved["reservation"]).data
    assert (data["remain_quota"], data["amount"], data["shortfall"]) == (100, 0, 0)
    assert quotas(user, token) == (100, 0)


@pytest.mark.parametrize("ttl", [1, 3600])
def test_ttl_at_its_limits(user, spender, ttl):
    token = finite(user, 10)
    assert spender.reserve(key=token["key"], amount=1, ttl_seconds=ttl).data["amount"] == 1


def test_each_ends_once(user, spender):
    """A later settle or cancel gets the first answer again and changes nothing."""
    for first, answer in (
        (lambda number: spender.settle(reservation=number, amount=12), 12),
        (lambda number: spender.cancel(reservation=number), 0),
    ):
        token = finite(user, 100)
        number = spender.reserve(key=token["key"], amount=30).data["reservation"]
        ended = first(number)
        assert ended.data["amount"] == answer
        assert spender.consume(key=token["key"], amount=5).status == 200
        assert first(number).body == ended.body
        assert spender.settle(reservation=number, amount=99).body == ended.body
        assert spender.cancel(reservation=number).body == ended.body
        assert sum_is_kept(user, token, 100) == answer + 5


def test_unlimited_reservation(user, spender):
    token = user.make(remain_quota=3)
    number = spender.reserve(key=token["key"], amount=30).data["reservation"]
    assert quotas(user, token) == (3, 30)
    data = spender.settle(reservation=number, amount=50).data
    assert (data["unlimited_quota"], data["shortfall"]) == (True, 0)
    assert quotas(user, token) == (3, 50)
    number = spender.reserve(key=token["key"], amount=30).data["reservation"]
    spender.cancel(reservation=number).data
    assert quotas(user, token) == (3, 50)


def test_settled_after_its_time(user, spender):
    """At its amount, finally."""
    token = finite(user, 100)
    numbers = [
        spender.reserve(key=token["key"], amount=amount, ttl_seconds=1).data["reservation"]
        for amount in (10, 20, 30)
    ]
    time.sleep(2.1)
    late = spender.cancel(reservation=numbers[0])
    assert (late.data["amount"], late.data["remain_quota"]) == (10, 40)
    assert spender.settle(reservation=numbers[1], amount=25).data["amount"] == 20
    assert spender.settle(reservation=numbers[2], amount=5).data["amount"] == 30
    assert spender.settle(reservation=numbers[0], amount=1).body == late.body
    assert quotas(user, token) == (40, 60)


def test_reservation_of_another_gateway(site, user, send, spender):
    other = Gateway(send, site.add_gateway("other"))
    token = finite(user, 10)
    number = spender.reserve(key=token["key"], amount=4).data["reservation"]
    assert other.settle(reservation=number, amount=0).failure == NO_RESERVATION
    assert other.cancel(reservation=number).failure == NO_RESERVATION
    assert quotas(user, token) == (6, 4)
    assert spender.cancel(reservation=number).data["remain_quota"] == 10
    assert other.cancel(reservation=number).failure == NO_RESERVATION


@pytest.mark.parametrize("number", [1 << 40, -1, MAX, -(2**63)])
def test_unknown_reservation(spender, number):
    assert spender.settle(reservation=number, amount=0).failure == NO_RESERVATION
    assert spender.cancel(reservation=number).failure == NO_RESERVATION


@pytest.mark.parametrize(
    "body, field",
    [
        (b"{", "body"),
        (b'{"amount":1}', "reservation"),
        (b'{"reservation":null,"amount":1}', "reservation"),
        (b'{"reservation":"1","amount":1}', "reservation"),
        (b'{"reservation":1.5,"amount":1}', "reservation"),
        (b'{"reservation":9223372036854775808,"amount":1}', "reservation"),
    ],
)
def test_bad_ends(spender, body, field):
    for route in ("settle", "cancel"):
        status, message = spender.request("POST", f"/api/token/{route}", body).failure
        assert status == 400 and message.startswith(f"Invalid parameters: {field}"), message


@pytest.mark.parametrize("amount", [None, -1, "1", 1.5, 2**63, True])
def test_settle_needs_an_amount(user, spender, amount):
    token = finite(user, 10)
    number = spender.reserve(key=token["key"], amount=4).data["reservation"]
    status, message = spender.settle(reservation=number, amount=amount).failure
    assert status == 400 and message.startswith("Invalid parameters: amount"), message
    assert spender.settle(reservation=number, amount=1).data["amount"] == 1


def test_token_that_is_refused_since(site, user, spender):
    """A reservation is settled, whatever the token's status is now."""
    token = finite(user, 100)
    numbers = [
        spender.reserve(key=token["key"], amount=10).data["reservation"] for _ in range(4)
    ]
    user.update({"id": token["id"], "status": 2})
    assert spender.settle(reservation=numbers[0], amount=15).data["amount"] == 15
    user.update({"id": token["id"], "expired_time": 1})
    assert spender.settle(reservation=numbers[1], amount=5).data["amount"] == 5
    user.rotate(token["id"])
    assert spender.cancel(reservation=numbers[2]).data["amount"] == 0
    site.ctl("user", "disable", user.user.id)
    assert spender.settle(reservation=numbers[3], amount=11).data["amount"] == 11
    site.ctl("user", "enable", user.user.id)
    assert quotas(user, token) == (69, 31)


def test_token_that_is_deleted_since(user, spender):
    token = finite(user, 100)
    ended, open_one = (
        spender.reserve(key=token["key"], amount=10).data["reservation"] for _ in range(2)
    )
    first = spender.settle(reservation=ended, amount=5)
    user.delete(token["id"])
    second = spender.settle(reservation=open_one, amount=5)
    assert (second.data["remain_quota"], second.data["amount"]) == (0, 5)
    assert spender.cancel(reservation=open_one).body == second.body
    assert spender.settle(reservation=ended, amount=5).body == first.body


def test_user_who_is_deleted_since(site, user, spender):
    token = finite(user, 100)
    ended, open_one = (
        spender.reserve(key=token["key"], amount=10).data["reservation"] for _ in range(2)
    )
    assert spender.settle(reservation=ended, amount=5).status == 200
    site.ctl("user", "delete", user.user.id)
    for number in (ended, open_one):
        assert spender.cancel(reservation=number).failure == (404, "Reservation does not exist")


def test_reservation_ids_grow_with_time(user, spender):
    """Also after a backup was put back: a million a second since 2026."""
    token = finite(user, 100)
    least = int(time.time() - 1767225600) << 20
    first, second = (
        spender.reserve(key=token["key"], amount=1).data["reservation"] for _ in range(2)
    )
    assert least <= first < second


def test_quota_that_is_set_since(user, spender):
    """The owner's value holds; the settle adds only its difference."""
    token = finite(user, 100)
    number = spender.reserve(key=token["key"], amount=30).data["reservation"]
    user.update({"id": token["id"], "remain_quota": 5})
    data = spender.settle(reservation=number, amount=40).data
    assert (data["remain_quota"], data["amount"], data["shortfall"]) == (0, 35, 5)
    assert quotas(user, token) == (0, 35)


def test_exhausted_token_is_usable_again(user, spender):
    token = finite(user, 10)
    number = spender.reserve(key=token["key"], amount=10).data["reservation"]
    assert spender.consume(key=token["key"], amount=1).refusal == (401, "exhausted")
    spender.settle(reservation=number, amount=9).data
    assert spender.consume(key=token["key"], amount=1).data["remain_quota"] == 0


# ---- transaction_id ----


def test_transaction_id(user, take):
    token = finite(user, 100)
    body = {"key": token["key"], "amount": 10, "transaction_id": f"t{token['id']}"}
    first = take(**body)
    assert first.data["remain_quota"] == 90
    for _ in range(3):
        assert take(**body).body == first.body
    assert quotas(user, token) == (90, 10)


def test_same_transaction_id_with_another_request(user, take):
    token = finite(user, 100)
    body = {"key": token["key"], "amount": 10, "transaction_id": f"t{token['id']}"}
    first = take(**body)
    assert take(**{**body, "amount": 11}).failure == OTHER_REQUEST
    assert take(**body, ip="::1").failure == OTHER_REQUEST
    assert take(**body).body == first.body
    assert quotas(user, token) == (90, 10)


def test_routes_and_gateways_are_separate(site, user, send, spender):
    other = Gateway(send, site.add_gateway("other"))
    token = finite(user, 100)
    body = {"key": token["key"], "amount": 10, "transaction_id": f"t{token['id']}"}
    for taking in (spender.consume, spender.reserve, other.consume, other.reserve):
        assert taking(**body).status == 200
    assert quotas(user, token) == (60, 40)


def test_refusals_are_not_stored(user, take):
    token = finite(user, 5)
    body = {"key": token["key"], "amount": 10, "transaction_id": f"t{token['id']}"}
    assert take(**body).refusal == (401, "exhausted")
    user.update({"id": token["id"], "remain_quota": 20})
    first = take(**body)
    assert first.data["remain_quota"] == 10
    assert take(**body).body == first.body


def test_replay_with_a_key_that_is_refused_now(user, take):
    """The amount was spent before; the replay gets the first answer."""
    token = finite(user, 10)
    body = {"key": token["key"], "amount": 10, "transaction_id": f"t{token['id']}"}
    first = take(**body)
    user.delete(token["id"])
    assert take(**body).body == first.body


def test_transaction_id_of_any_bytes(user, take):
    token = finite(user, 1000)
    unique = str(token["id"])
    numbers = ["", "x", "x" * (255 - len(unique)), " ", "字", "\x01", "a\x01b", "a\x01c", '"', "\n"]
    for number in [unique + number for number in numbers]:
        body = {"key": token["key"], "amount": 1, "transaction_id": number}
        first = take(**body)
        assert first.status == 200 and take(**body).body == first.body
    assert quotas(user, token) == (1000 - len(numbers), len(numbers))


def test_reservation_made_again_is_the_same(user, spender):
    token = finite(user, 100)
    body = {"key": token["key"], "amount": 10, "transaction_id": f"t{token['id']}"}
    number = spender.reserve(**body).data["reservation"]
    spender.settle(reservation=number, amount=3).data
    assert spender.reserve(**body).data["reservation"] == number
    assert quotas(user, token) == (97, 3)


def test_across_a_restart(site, user, secret):
    """A replay is recognized by a later process."""
    token = finite(user, 100)
    body = {"key": token["key"], "amount": 10, "transaction_id": f"t{token['id']}"}
    over_cgi, over_pool = Gateway(site.cgi, secret), Gateway(fastcgi.transport(site.socket), secret)
    first = over_cgi.reserve(**body)
    assert over_pool.reserve(**body).body == first.body
    settled = over_pool.settle(reservation=first.data["reservation"], amount=1)
    assert over_cgi.settle(reservation=first.data["reservation"], amount=7).body == settled.body
    assert quotas(user, token) == (99, 1)


def test_check_is_clean(site):
    site.check()
