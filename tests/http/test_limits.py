"""Limits, refills, balances and usage by day, as keys, gateways and users see them."""

import datetime
import re
import threading
import time

import fastcgi
import pytest
from client import Client
from service import Site, zones
from test_exact import Pool, Spender, run_all

pytestmark = pytest.mark.threads

NAMES = ("ratelimit-policy", "ratelimit", "x-ratelimit-limit-requests", "x-ratelimit-remaining-requests",
         "x-ratelimit-reset-requests", "x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens",
         "x-ratelimit-reset-tokens")


def verify(site, key, cost=None):
    headers = {"Authorization": f"Bearer {key}"}
    variables = fastcgi.environment("GET", "/api/token/verify", headers)
    with fastcgi.Connection(site.socket) as connection:
        connection.send(fastcgi.request({**variables, **({"TOKEN_COST": str(cost)} if cost else {})}))
        return connection.read_reply()


def limits(reply):
    return {name: value for name, value in reply.headers.items() if name in NAMES}


def account(user):
    return user.request("GET", "/api/user/self").data


# ---- rates ----


def test_no_limits(site, user, gateway):
    key = user.make()["key"]
    assert limits(verify(site, key)) == {} and limits(gateway.consume(key=key, amount=1)) == {}


def test_requests_a_minute(site, user):
    """A free /verify counts too; a refused one does not."""
    key = user.make(rpm_limit=2)["key"]
    first = verify(site, key)
    assert first.status == 204 and first.headers["ratelimit-policy"] == '"rpm";q=2;w=60'
    assert first.headers["ratelimit"] == '"rpm";r=1;t=30'
    assert first.headers["x-ratelimit-limit-requests"] == "2"
    assert first.headers["x-ratelimit-remaining-requests"] == "1"
    assert first.headers["x-ratelimit-reset-requests"] == "30s"
    assert "x-ratelimit-limit-tokens" not in first.headers and "retry-after" not in first.headers
    second = verify(site, key, cost=5)
    assert second.status == 204 and second.headers["x-ratelimit-remaining-requests"] == "0"
    for _ in range(3):
        refused = verify(site, key)
        assert refused.verdict == (403, "rate") and 1 <= int(refused.headers["retry-after"]) <= 30
        assert re.fullmatch("1m0s|[345][0-9]s", refused.headers["x-ratelimit-reset-requests"])
    assert account(user)["request_count"] == 2


def test_units_a_minute(site, user, gateway):
    """An amount above the limit passes on a full bucket, into debt; a free use always."""
    key = user.make(tpm_limit=600)["key"]
    assert verify(site, key).headers["ratelimit"] == '"tpm";r=600;t=0'
    assert gateway.consume(key=key, amount=900).status == 200
    reply = gateway.consume(key=key, amount=1)
    assert reply.refusal == (429, "rate") and 1 <= int(reply.headers["retry-after"]) <= 31
    assert reply.headers["ratelimit-policy"] == '"tpm";q=600;w=60'
    assert re.fullmatch('"tpm";r=0;t=[6-9][0-9]', reply.headers["ratelimit"])
    assert re.fullmatch("1m[0-9]+s", reply.headers["x-ratelimit-reset-tokens"])
    assert verify(site, key).status == 204


def test_limits_of_the_owner(site, user, gateway):
    """Over all tokens; headers tell the one with less left."""
    admin = Client(fastcgi.transport(site.socket), site.add_user(role="root"))
    one, other = user.make(rpm_limit=60)["key"], user.make(tpm_limit=50)["key"]
    admin.request("PUT", "/api/user/", {"id": user.user.id, "rpm_limit": 3, "tpm_limit": 100}).data
    assert verify(site, one, cost=40).headers["ratelimit"] == '"rpm";r=2;t=20, "tpm";r=60;t=24'
    reply = verify(site, other)
    assert reply.status == 204 and reply.headers["x-ratelimit-limit-tokens"] == "50"
    assert gateway.consume(key=one, amount=70).refusal == (429, "rate")
    assert gateway.consume(key=one, amount=1).status == 200
    assert verify(site, other).verdict == (403, "rate")
    admin.request("PUT", "/api/user/", {"id": user.user.id, "rpm_limit": 0}).data
    assert "x-ratelimit-limit-requests" not in verify(site, other).headers


def test_estimates_are_corrected(site, user, gateway):
    key = user.make(tpm_limit=1000)["key"]
    kept = gateway.reserve(key=key, amount=1000).data["reservation"]
    assert gateway.consume(key=key, amount=900).refusal == (429, "rate")
    gateway.settle(reservation=kept, amount=50).data
    assert gateway.consume(key=key, amount=900).status == 200
    again = user.make(tpm_limit=1000)["key"]
    kept = gateway.reserve(key=again, amount=1000).data["reservation"]
    gateway.cancel(reservation=kept).data
    assert gateway.reserve(key=again, amount=1000).status == 200


def test_both_limits(site, user):
    key = user.make(rpm_limit=60, tpm_limit=100)["key"]
    reply = verify(site, key, cost=40)
    assert reply.headers["ratelimit-policy"] == '"rpm";q=60;w=60, "tpm";q=100;w=60'
    assert reply.headers["ratelimit"] == '"rpm";r=59;t=1, "tpm";r=60;t=24'


def test_what_a_later_check_refuses_takes_no_rate(site, user, gateway):
    key = user.make(rpm_limit=1, unlimited_quota=False, remain_quota=5)["key"]
    for _ in range(3):
        reply = gateway.consume(key=key, amount=6)
        assert reply.refusal == (401, "exhausted")
        assert reply.headers["x-ratelimit-remaining-requests"] == "1"
    assert gateway.consume(key=key, amount=5).status == 200
    assert gateway.consume(key=key, amount=1).refusal == (429, "rate")  # before exhausted


@pytest.mark.parametrize("fields, rate, amount", [
    ({"rpm_limit": 240}, 240, 0), ({"rpm_limit": 60, "tpm_limit": 9000}, 60, 1), ({"tpm_limit": 600}, 200, 3),
])
def test_no_more_than_the_rate_passes(fields, rate, amount):
    """Many clients over several workers, that ask for more: the burst passes, and what refills."""
    with Pool() as pool:
        key = pool.owner.make(**fields)["key"]
        passed = []

        class Asker(Spender):
            def run(self):
                refused = 0
                while refused < 20:
                    way = self.consume if amount and self.chance.random() < 0.5 else self.verify
                    reply, _ = way(amount)
                    passed.append(reply.status in (200, 204))
                    refused += not passed[-1]

        begun = time.monotonic()
        run_all([Asker(pool, key, seed) for seed in range(12)])
        seconds = time.monotonic() - begun
        assert rate <= sum(passed) <= rate + rate * seconds / 60 + 1
        pool.check()


# ---- parallel reservations ----


def test_parallel(user, gateway):
    key = user.make(max_parallel_requests=2)["key"]
    kept = [gateway.reserve(key=key, amount=1, ttl_seconds=ttl).data["reservation"] for ttl in (30, 60)]
    reply = gateway.reserve(key=key, amount=1)
    assert reply.refusal == (429, "parallel") and 1 <= int(reply.headers["retry-after"]) <= 30
    assert gateway.consume(key=key, amount=1).status == 200
    gateway.cancel(reservation=kept[0]).data
    assert gateway.reserve(key=key, amount=1).status == 200
    assert gateway.reserve(key=key, amount=1).refusal == (429, "parallel")
    gateway.settle(reservation=kept[1], amount=3).data
    assert gateway.reserve(key=key, amount=1).status == 200


def test_parallel_limits_are_raced():
    """Never more are open than may be, and each place is used again."""
    with Pool() as pool:
        token = pool.owner.make(max_parallel_requests=3)
        held, most, lock = [0, 0], [0], threading.Lock()

        class Reserver(Spender):
            def run(self):
                for _ in range(40):
                    reply = self.post("reserve", key=f'"{self.key}"', amount="1")
                    if reply.status != 200:
                        assert reply.refusal == (429, "parallel")
                        continue
                    with lock:
                        held[:] = held[0] + 1, held[1] + 1
                        most[0] = max(most[0], held[0])
                    with lock:
                        held[0] -= 1
                    self.post("settle", reservation=str(reply.data["reservation"]), amount="1")

        run_all([Reserver(pool, token["key"], seed) for seed in range(12)])
        assert 1 <= most[0] <= 3 < held[1]
        assert pool.quotas(token)[1] == held[1]
        pool.check()


# ---- balances ----


@pytest.fixture
def poor(site, user):
    """Sets the user's balance."""
    return lambda quota: site.ctl("user", "set", user.user.id, "--quota", quota)


def test_balance(site, user, gateway, poor):
    one, other = user.make_many(2)
    poor(10)
    assert gateway.consume(key=one["key"], amount=7).status == 200
    assert gateway.consume(key=other["key"], amount=4).refusal == (403, "balance")
    assert verify(site, other["key"], cost=4).verdict == (403, "balance")
    assert verify(site, other["key"], cost=3).status == 204
    for refused in (verify(site, one["key"]), verify(site, one["key"], cost=1)):
        assert refused.verdict == (403, "balance")
    assert gateway.reserve(key=one["key"], amount=0).refusal == (403, "balance")
    now = account(user)
    assert (now["quota"], now["used_quota"], now["request_count"]) == (0, 10, 2)


def test_settles_take_what_both_have(user, gateway, poor):
    token = user.make(unlimited_quota=False, remain_quota=100)
    poor(20)
    kept = [gateway.reserve(key=token["key"], amount=5).data["reservation"] for _ in range(3)]
    more = gateway.settle(reservation=kept[0], amount=50).data
    assert (more["amount"], more["shortfall"], more["remain_quota"]) == (10, 40, 80)
    assert gateway.cancel(reservation=kept[1]).data["remain_quota"] == 85
    assert gateway.settle(reservation=kept[2], amount=0).data["remain_quota"] == 90
    now = account(user)
    assert (now["quota"], now["used_quota"], now["request_count"]) == (10, 10, 2)


def test_only_what_was_taken_goes_back(user, gateway, poor):
    """From an owner without a limit nothing was taken."""
    token = user.make()
    kept = gateway.reserve(key=token["key"], amount=5).data["reservation"]
    poor(20)
    gateway.cancel(reservation=kept).data
    now = account(user)
    assert (now["quota"], now["used_quota"], now["request_count"]) == (20, 0, 0)


def test_a_reservation_outlives_its_token(site, user, gateway, poor):
    token = user.make()
    poor(100)
    kept = [gateway.reserve(key=token["key"], amount=10).data["reservation"] for _ in range(3)]
    user.delete(token["id"])
    assert account(user)["used_quota"] == 30
    assert gateway.settle(reservation=kept[0], amount=4).data["amount"] == 4
    assert gateway.cancel(reservation=kept[1]).data["amount"] == 0
    ended = gateway.settle(reservation=kept[2], amount=500).data
    assert (ended["amount"], ended["shortfall"]) == (96, 404)
    now = account(user)
    assert (now["quota"], now["used_quota"], now["request_count"]) == (0, 100, 2)
    site.check()


def test_a_balance_is_raced():
    """Over several tokens of one user, by all ways at once: all of it is spent, and no more."""
    quota = 3000
    with Pool() as pool:
        tokens = pool.owner.make_many(4)
        pool.ctl("user", "set", pool.owner.user.id, "--quota", quota)
        spenders = [Poor(pool, tokens[seed % 4]["key"], seed) for seed in range(12)]
        run_all(spenders)
        for spender in spenders[:1]:  # what cancelled reservations have left
            spender.exhausted = False
            spender.run()
        user = account(pool.owner)
        assert (user["quota"], user["used_quota"]) == (0, quota)
        assert sum(spender.accepted for spender in spenders) == quota
        assert sum(pool.quotas(token)[1] for token in tokens) == quota
        pool.check()


class Poor(Spender):
    """Until nothing is left of the owner's balance."""

    def once(self, amount):
        reply, taken = self.chance.choice([self.verify, self.consume, self.reserve])(amount)
        if reply.status in (200, 204):
            self.accepted += taken
        else:
            why = reply.headers.get("x-token-reason") or reply.json["code"]
            assert (reply.status, why) == (403, "balance")
            self.exhausted = amount == 1


# ---- refills ----


def test_refills_are_raced():
    """The workers' day changes: the refill passes, once."""
    before, after = zones()
    with Pool(TOKEN_TIMEZONE=before) as pool:
        token = pool.owner.make(unlimited_quota=False, remain_quota=3, refill_amount=500, refill_interval="day")
        spender = Spender(pool, token["key"], 1)
        assert [spender.consume(1)[0].status for _ in range(4)] == [200] * 3 + [401]
        pool.environment["TOKEN_TIMEZONE"] = after
        pool.kill_all()
        assert pool.quotas(token) == (500, 3)  # before anything is written
        usage = Client(fastcgi.transport(pool.path)).usage(token["key"]).json["data"]
        assert usage["total_available"] == 500
        spenders = [Spender(pool, token["key"], seed) for seed in range(12)]
        run_all(spenders)
        for one in spenders[:1]:
            one.exhausted = False
            one.run()
        assert pool.quotas(token) == (0, 503)
        assert sum(one.accepted for one in spenders) == 500
        pool.check()


def test_a_reservation_of_the_period_before():
    """It gives back to used_quota and the balance only; its units stay in its day."""
    before, after = zones()
    with Pool(TOKEN_TIMEZONE=before) as pool:
        pool.ctl("user", "set", pool.owner.user.id, "--quota", 1000)
        token = pool.owner.make(unlimited_quota=False, remain_quota=30, refill_amount=50, refill_interval="day")
        spender = Spender(pool, token["key"], 1)
        kept = [spender.post("reserve", **spender.taking(10)).data["reservation"] for _ in range(2)]
        then = days_of(pool.owner, token, 1)
        pool.environment["TOKEN_TIMEZONE"] = after
        pool.kill_all()
        spender = Spender(pool, token["key"], 2)
        assert spender.consume(5)[0].status == 200
        assert spender.post("settle", reservation=str(kept[0]), amount="4").data["remain_quota"] == 45
        assert spender.post("cancel", reservation=str(kept[1])).data["remain_quota"] == 45
        assert pool.quotas(token) == (45, 9)
        user = account(pool.owner)
        assert (user["quota"], user["used_quota"], user["request_count"]) == (991, 9, 2)
        now = days_of(pool.owner, token, 5)
        assert [day for day in now if day[1:] != (0, 0)] == [(then[0][0], 4, 1), (now[-1][0], 5, 1)]
        pool.check()


# ---- usage by day ----


def days_of(user, token, count):
    asked = user.request("GET", f"/api/token/{token['id']}/usage?days={count}")
    return [(day["date"], day["units"], day["requests"]) for day in asked.data["days"]]


def test_days(site, user, gateway):
    token = user.make()
    gateway.consume(key=token["key"], amount=5).data
    verify(site, token["key"])  # free, without a limit: no request
    kept = [gateway.reserve(key=token["key"], amount=10).data["reservation"] for _ in range(2)]
    gateway.settle(reservation=kept[0], amount=3).data
    gateway.cancel(reservation=kept[1]).data
    days = days_of(user, token, 400)
    dates = [datetime.date.fromisoformat(date) for date, _, _ in days]
    assert len(days) == 400 and [units for _, units, _ in days[-2:]] in ([0, 8], [8, 0])
    assert sum(requests for _, _, requests in days) == 2
    assert {later - earlier for earlier, later in zip(dates, dates[1:])} == {datetime.timedelta(1)}
    plain = user.request("GET", f"/api/token/{token['id']}/usage").data["days"]
    assert [(day["date"], day["units"], day["requests"]) for day in plain] == days[-30:]
    sent = {"Authorization": f"Bearer {token['key']}", "New-Api-User": None}
    assert user.request("GET", "/api/usage/token/days", None, sent).data["days"] == plain
    assert days_of(user, token, 1) == days[-1:]


@pytest.mark.parametrize("days", ["0", "401", "-1", "x", "1.5", "30 ", "9" * 30])
def test_days_that_are_none(user, days):
    token = user.make()
    for path in (f"/api/token/{token['id']}/usage", "/api/usage/token/days"):
        sent = {} if "usage/" not in path else {"Authorization": f"Bearer {token['key']}", "New-Api-User": None}
        reply = user.request("GET", f"{path}?days={days.replace(' ', '+')}", None, sent)
        assert reply.failure == (400, "Invalid parameters: days must be 1 to 400")


def test_days_of_others(user, other_user):
    token = user.make()
    for token_id in (token["id"], 2**40):
        reply = other_user.request("GET", f"/api/token/{token_id}/usage")
        assert reply.failure == (404, "Token does not exist")


# ---- groups ----


@pytest.fixture(scope="module")
def with_groups(engine):
    with Site(workers=2) as site:
        yield site


def test_groups(with_groups):
    """As long as none are defined each name is good, and no ratio is told."""
    site = with_groups
    user, gateway = site.http(site.add_user(group="default")), site.gateway()
    own, other = user.make(), user.make(group="vip")
    assert "x-token-group-ratio" not in verify(site, other["key"]).headers
    assert "group_ratio" not in gateway.consume(key=other["key"], amount=1).data
    site.ctl("group", "add", "vip", "--public", "--ratio", "0.8", "--yes")
    assert verify(site, own["key"]).headers["x-token-group-ratio"] == "1"
    reply = verify(site, other["key"])
    assert (reply.headers["x-token-group"], reply.headers["x-token-group-ratio"]) == ("vip", "0.8")
    assert gateway.consume(key=other["key"], amount=1).data["group_ratio"] == 0.8
    kept = gateway.reserve(key=other["key"], amount=1).data
    assert kept["group_ratio"] == 0.8
    assert gateway.settle(reservation=kept["reservation"], amount=1).data["group_ratio"] == 0.8
    site.ctl("group", "delete", "vip", "--yes")
    assert verify(site, other["key"]).verdict == (403, "group")
    assert gateway.consume(key=other["key"], amount=1).refusal == (403, "group")
    assert verify(site, own["key"]).status == 204
    site.ctl("group", "off")
    assert verify(site, other["key"]).status == 204
