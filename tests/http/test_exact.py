"""No unit is spent twice or lost, and no token is created twice. Also across kills."""

import contextlib
import random
import signal
import socket
import threading
import time

import fastcgi
import pytest
from client import Client
from service import Site, Store

pytestmark = pytest.mark.threads

THREADS = 12
WORKERS = 3


class NoAnswer(Exception):
    """The connection broke before the answer: the request may have been done."""


class Pool(Store):
    """Workers that share a socket, as a pool's do, and that can be killed."""

    def __enter__(self):
        super().__enter__()
        self.path = self.dir / "pool.sock"
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(self.path))
        listener.listen(1024)
        self.path.chmod(0o666)
        self.listeners.append(listener)
        self.alive = [self.start_worker_on(listener) for _ in range(WORKERS)]
        self.owner = Client(fastcgi.transport(self.path), self.add_user(), checked=False)
        self.secret = self.add_gateway()
        return self

    def kill_one(self, chance):
        index = chance.randrange(WORKERS)
        self.alive[index].send_signal(signal.SIGKILL)
        self.alive[index].wait(timeout=60)
        self.alive[index] = self.start_worker_on(self.listeners[0])

    def kill_all(self):
        for worker in self.alive:
            worker.send_signal(signal.SIGKILL)
        for worker in self.alive:
            worker.wait(timeout=60)
        self.alive = [self.start_worker_on(self.listeners[0]) for _ in range(WORKERS)]

    @contextlib.contextmanager
    def killing(self):
        """Kills workers at intervals; yields the list of times."""
        stop, kills, chance = threading.Event(), [], random.Random(7)

        def run():
            while not stop.wait(chance.uniform(0.02, 0.2)) and len(kills) < 100:
                self.kill_one(chance)
                kills.append(time.monotonic())

        killer = threading.Thread(target=run)
        killer.start()
        try:
            yield kills
        finally:
            stop.set()
            killer.join()

    def make(self, quota):
        return self.owner.make(unlimited_quota=False, remain_quota=quota)

    def quotas(self, token):
        now = self.owner.get(token["id"]).data
        return now["remain_quota"], now["used_quota"]


class Spender:
    """One client with a kept connection, and its answers."""

    def __init__(self, pool, key, seed, retries=False):
        self.pool = pool
        self.key = key
        self.chance = random.Random(seed)
        self.retries = retries  # sends requests without an answer again, with a transaction_id
        self.connection = None
        self.accepted = 0  # units of accepted requests
        self.unsure = []  # units of requests without an answer
        self.unanswered = 0
        self.exhausted = False
        self.number = 0
        self.seed = seed

    def ask(self, variables, body=b""):
        try:
            if self.connection is None:
                self.connection = fastcgi.Connection(self.pool.path)
            self.connection.send(fastcgi.request(variables, body, keep=True))
            return self.connection.read_reply()
        except (ConnectionError, AssertionError) as broken:
            self.connection = None
            self.unanswered += 1
            raise NoAnswer from broken

    def post(self, route, **body):
        """A request of a gateway, retried if that is safe."""
        sent = b"{" + b",".join(b'"%s":%s' % (n.encode(), v.encode()) for n, v in body.items()) + b"}"
        headers = {"X-Gateway-Token": self.pool.secret}
        variables = fastcgi.environment("POST", f"/api/token/{route}", headers, sent)
        while True:
            try:
                return self.ask(variables, sent)
            except NoAnswer:
                if not self.retries and (route == "consume" or route == "reserve"):
                    raise

    def taking(self, amount):
        body = {"key": f'"{self.key}"', "amount": str(amount)}
        if self.retries:
            self.number += 1
            body["transaction_id"] = f'"{self.seed}-{self.number}"'
        return body

    def verify(self, amount):
        headers = {"Authorization": f"Bearer {self.key}"}
        variables = fastcgi.environment("GET", "/api/token/verify", headers)
        return self.ask({**variables, "TOKEN_COST": str(amount)}), amount

    def consume(self, amount):
        return self.post("consume", **self.taking(amount)), amount

    def reserve(self, amount):
        """Reserves, then settles or cancels; the final amount counts."""
        reply = self.post("reserve", **self.taking(amount))
        if reply.status != 200:
            return reply, amount
        number = str(reply.data["reservation"])
        end = self.chance.randrange(4)
        if end == 0:
            ended = self.post("cancel", reservation=number)
            assert ended.data["amount"] == 0
        elif end == 1:
            ended = self.post("settle", reservation=number, amount=str(amount))
            assert ended.data["amount"] == amount
        else:
            wanted = self.chance.randrange(2 * amount + 1)
            ended = self.post("settle", reservation=number, amount=str(wanted))
            assert ended.data["amount"] + ended.data["shortfall"] == wanted
        if self.chance.randrange(4) == 0:  # a replay changes nothing
            assert self.post("cancel", reservation=number).body == ended.body
        return ended, ended.data["amount"]

    def once(self, amount):
        ways = [self.consume, self.reserve] if self.retries else [
            self.verify, self.consume, self.reserve
        ]
        try:
            reply, taken = self.chance.choice(ways)(amount)
        except NoAnswer:
            self.unsure.append(amount)
            return
        if reply.status in (200, 204):
            self.accepted += taken
        else:
            assert reply.status == 401, reply
            why = reply.headers.get("x-token-reason") or reply.json["code"]
            assert why == "exhausted", reply
            self.exhausted = amount == 1

    def run(self):
        """Until no unit is left."""
        while not self.exhausted:
            self.once(self.chance.choice([1, 1, 2, 3, 7]))


def run_all(spenders):
    failures = []

    def run(spender):
        try:
            spender.run()
        except BaseException as failure:  # an exception in a thread would get lost
            failures.append(failure)

    threads = [threading.Thread(target=run, args=(spender,)) for spender in spenders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def spend_the_rest(pool, token, spender):
    """The last cancelled reservations may have left some units."""
    spender.exhausted = False
    while not spender.exhausted:
        spender.once(1)
    assert pool.quotas(token)[0] == 0


# ---- spending ----


def test_to_the_last_unit():
    """Over all routes at once: the units of accepted requests equal the units spent."""
    quota = 6000
    with Pool() as pool:
        token = pool.make(quota)
        spenders = [Spender(pool, token["key"], seed) for seed in range(THREADS)]
        run_all(spenders)
        remain, used = pool.quotas(token)
        assert remain + used == quota
        assert sum(spender.accepted for spender in spenders) == used
        spend_the_rest(pool, token, spenders[0])
        assert sum(spender.accepted for spender in spenders) == quota
        assert all(spender.unanswered == 0 for spender in spenders)
        pool.check()


def test_unlimited_token():
    """Its quota does not end, and used_quota counts every unit."""
    with Pool() as pool:
        token = pool.owner.make(remain_quota=77)
        spenders = [Spender(pool, token["key"], seed) for seed in range(THREADS)]
        for spender in spenders:
            spender.run = lambda spender=spender: [spender.once(3) for _ in range(100)]
        run_all(spenders)
        used = sum(spender.accepted for spender in spenders)
        assert pool.quotas(token) == (77, used) and used > 0
        pool.check()


def test_last_units_are_spent_once():
    """One request per client for one unit each, and fewer units than clients."""
    with Pool() as pool:
        for units in (1, 2, THREADS - 1):
            token = pool.make(units)
            barrier, statuses = threading.Barrier(THREADS), []

            def ask(number):
                spender = Spender(pool, token["key"], number)
                spender.ask(fastcgi.environment("OPTIONS", "/api/token/"))  # connects
                barrier.wait()
                way = (spender.verify, spender.consume)[number % 2]
                statuses.append(way(1)[0].status in (200, 204))

            threads = [threading.Thread(target=ask, args=(n,)) for n in range(THREADS)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert sorted(statuses) == [False] * (THREADS - units) + [True] * units
            assert pool.quotas(token) == (0, units)


def test_over_kills():
    """Every accepted request was charged. Units charged beyond that are at most those of the
    requests that a kill left without an answer."""
    quota = 12000
    with Pool() as pool:
        token = pool.make(quota)
        spenders = [Spender(pool, token["key"], seed) for seed in range(THREADS)]
        with pool.killing() as kills:
            run_all(spenders)
        assert kills
        remain, used = pool.quotas(token)
        accepted = sum(spender.accepted for spender in spenders)
        unsure = sum(sum(spender.unsure) for spender in spenders)
        assert remain + used == quota
        assert accepted <= used <= accepted + unsure
        pool.check()


def test_single_units_over_kills():
    """The same by the number of requests, of one unit each."""
    with Pool() as pool:
        token = pool.make(4000)
        spenders = [Spender(pool, token["key"], seed) for seed in range(THREADS)]
        for spender in spenders:
            spender.chance.choice = lambda ways, spender=spender: (
                ways[spender.chance.randrange(2)] if callable(ways[0]) else 1
            )
        with pool.killing() as kills:
            run_all(spenders)
        assert kills
        remain, used = pool.quotas(token)
        accepted = sum(spender.accepted for spender in spenders)
        unanswered = sum(len(spender.unsure) for spender in spenders)
        assert remain == 0 and used == 4000
        assert accepted <= used <= accepted + unanswered
        pool.check()


def test_replays_over_kills():
    """With a transaction_id, and retries until there is an answer, the sum is exact."""
    quota = 12000
    with Pool() as pool:
        token = pool.make(quota)
        spenders = [Spender(pool, token["key"], seed, retries=True) for seed in range(THREADS)]
        with pool.killing() as kills:
            run_all(spenders)
        assert kills
        remain, used = pool.quotas(token)
        assert remain + used == quota
        assert sum(spender.accepted for spender in spenders) == used
        spend_the_rest(pool, token, spenders[0])
        assert sum(spender.accepted for spender in spenders) == quota
        assert not [spender for spender in spenders if spender.unsure]
        pool.check()


def test_all_workers_killed_at_once():
    """As in a power cut: every answered write is there afterwards."""
    with Pool() as pool:
        token = pool.make(100_000)
        before = 0
        for turn in range(8):
            spenders = [Spender(pool, token["key"], 100 * turn + n) for n in range(4)]
            for spender in spenders:
                spender.run = lambda spender=spender: [
                    spender.once(2) for _ in range(200) if not spender.unanswered
                ]
            killer = threading.Timer(0.03 + 0.01 * turn, pool.kill_all)
            killer.start()
            run_all(spenders)
            killer.join()
            remain, used = pool.quotas(token)
            accepted = sum(spender.accepted for spender in spenders)
            unsure = sum(sum(spender.unsure) for spender in spenders)
            assert remain + used == 100_000
            assert accepted <= used - before <= accepted + unsure
            before = used
        pool.check()


# ---- creates ----


def until_answered(send):
    """nginx answers 503 for a killed worker; the request is sent again, as a client would."""
    while True:
        try:
            reply = send()
        except OSError:
            continue
        if reply.status != 503:
            return reply


def test_a_thousand_creates_over_kills():
    """Each is sent three times, in any order and across kills: a thousand tokens."""
    count = 1000
    with Site(workers=WORKERS, TOKEN_MAX_PER_USER="0") as site:
        user = site.http(site.add_user(), checked=False)
        jobs = [number for number in range(count) for _ in range(3)]
        random.Random(8).shuffle(jobs)
        replies = {number: [] for number in range(count)}
        lock, failures, stop, kills = threading.Lock(), [], threading.Event(), []

        def work():
            try:
                while True:
                    with lock:
                        if not jobs:
                            return
                        number = jobs.pop()
                    headers = {"Idempotency-Key": f"create-{number}"}
                    body = {"name": f"number {number}"}
                    reply = until_answered(
                        lambda: user.request("POST", "/api/token/", body, headers)
                    )
                    with lock:
                        replies[number].append(reply.data)
            except BaseException as failure:
                failures.append(failure)

        def kill():
            chance = random.Random(9)
            while not stop.wait(chance.uniform(0.1, 0.4)) and len(kills) < 60:
                pids = sorted(site.pids())
                if pids:
                    with contextlib.suppress(ProcessLookupError):
                        site.kill(chance.choice(pids))
                        kills.append(1)

        threads = [threading.Thread(target=work) for _ in range(THREADS)]
        killer = threading.Thread(target=kill)
        for thread in (*threads, killer):
            thread.start()
        for thread in threads:
            thread.join()
        stop.set()
        killer.join()
        if failures:
            raise failures[0]
        assert kills
        tokens = {}
        for number, answers in replies.items():
            assert len(answers) == 3 and answers[0] == answers[1] == answers[2]
            assert answers[0]["name"] == f"number {number}"
            tokens[answers[0]["id"]] = answers[0]
        assert len(tokens) == count
        pages = [
            until_answered(lambda: user.list(f"?size=100&p={p}")).data for p in range(1, 12)
        ]
        listed = {token["id"]: token for page in pages for token in page["items"]}
        assert pages[0]["total"] == count and listed == tokens
        site.check()
