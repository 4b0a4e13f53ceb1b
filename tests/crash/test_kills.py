"""kill -9 at random moments, of workers, of the complete pool, of tokenctl, under load: no
acknowledged write is lost, no lock and no reader slot stays behind, and the service recovers."""

import os
import random
import signal
import subprocess
import threading
import time

import fastcgi
import pytest
from client import ISSUED, Client
from service import TOKENCTL, Site, wait_until

TORTURE = os.environ.get("TORTURE") == "1"
POOL_KILLS, WORKER_KILLS, CTL_KILLS = (200, 4700, 5000) if TORTURE else (15, 120, 150)
CLIENTS, GRANTED = 6, 10**9


@pytest.fixture
def site():
    with Site(TOKEN_MAX_PER_USER="0") as site:
        site.gateway = site.ctl("gateway", "add", "gateway")[0]["secret"]
        ISSUED.add(site.gateway)
        yield site


class Spender:
    """A client that creates, renames, spends, rotates and deletes, and records its answers. A
    request without an answer may have been done: its token then has one of two states."""

    def __init__(self, site, number):
        self.site = site
        user = site.add_user()
        site.ctl("user", "set", user.id, "--quota", GRANTED)
        self.client = Client(fastcgi.transport(site.socket), user, checked=False)
        self.chance = random.Random(number)
        self.possible = {}  # id -> possible states; None: deleted
        self.answers = self.unanswered = self.created_unanswered = 0
        self.errors, self.ended = [], False
        self.thread = threading.Thread(target=self.run)

    def ask(self, method, path, body=None, headers=None):
        """The reply, or None for a closed connection or 503."""
        try:
            reply = self.client.request(method, "/api/token" + path, body, headers)
        except (OSError, AssertionError) as error:
            if isinstance(error, AssertionError) and "closed" not in str(error):
                raise
            reply = None
        if reply is None or reply.status == 503:
            self.unanswered += 1
            time.sleep(0.01)
            return None
        self.answers += 1
        return reply

    def change(self, token_id, after, *request):
        """One change of a token whose state is known."""
        (before,) = self.possible[token_id]
        self.possible[token_id] = [before, after]
        reply = self.ask(*request)
        if reply is not None:
            assert reply.status == 200, reply
            self.possible[token_id] = [after]
        return reply

    def step(self):
        certain = [i for i, states in self.possible.items() if len(states) == 1 and states[0]]
        kind = self.chance.random()
        if kind < 0.4 or not certain:
            count = self.chance.choice([1, 1, 3])
            body = [{"name": "new", "remain_quota": 1000, "rpm_limit": 10**6} for _ in range(count)]
            reply = self.ask("POST", "/", body)
            if reply is None:
                self.created_unanswered += count
                return
            for token in reply.data:
                assert token["id"] not in self.possible, "an id was given out twice"
                self.possible[token["id"]] = [("new", 1000, 0, token["key"])]
            return
        token_id = self.chance.choice(certain)
        name, remain, used, key = self.possible[token_id][0]
        if kind < 0.6:
            after = (f"name {self.chance.randrange(10**6)}", remain, used, key)
            body = {"id": token_id, "name": after[0]}
            self.change(token_id, after, "PUT", "/", body)
        elif kind < 0.8 and remain >= 10:
            self.change(
                token_id, (name, remain - 10, used + 10, key), "POST", "/consume",
                {"key": key, "amount": 10}, {"X-Gateway-Token": self.site.gateway},
            )
        elif kind < 0.9:
            self.change(token_id, None, "DELETE", f"/{token_id}")

    def run(self):
        try:
            while not self.ended:
                self.step()
        except BaseException as error:
            self.errors.append(error)

    def compare(self):
        found, page = {}, 1
        while items := self.client.list(f"?p={page}&size=100").data["items"]:
            for token in items:
                found[token["id"]] = (
                    token["name"], token["remain_quota"], token["used_quota"], token["key"]
                )
            page += 1
        for token_id, states in self.possible.items():
            assert found.get(token_id) in states, (token_id, found.get(token_id), states)
        (user,) = self.site.ctl("user", "show", self.client.user.id)
        assert user["quota"] + user["used_quota"] == GRANTED
        unknown = set(found) - set(self.possible)
        assert len(unknown) <= self.created_unanswered


class Load:
    def __init__(self, site):
        self.spenders = [Spender(site, number) for number in range(CLIENTS)]

    def __enter__(self):
        for spender in self.spenders:
            spender.thread.start()
        return self

    def __exit__(self, *_):
        for spender in self.spenders:
            spender.ended = True
        for spender in self.spenders:
            spender.thread.join()
        assert [error for spender in self.spenders for error in spender.errors] == []

    def answers(self):
        return sum(spender.answers for spender in self.spenders)

    def goes_on(self, count=CLIENTS):
        """The pool answers (again)."""
        wanted = self.answers() + count
        wait_until(lambda: self.answers() >= wanted or self.has_failed(), "answers come again")

    def has_failed(self):
        return any(spender.errors for spender in self.spenders)

    def compare(self):
        for spender in self.spenders:
            spender.compare()


def is_whole(site, load):
    """At the end: every answer holds, and no lock and no reader slot of a dead process is left."""
    wait_until(lambda: len(site.pids()) == 2, "there are two workers")
    assert site.http(site.add_user()).make()["id"] > 0  # the writer's lock is free
    load.compare()
    site.check()
    # A worker has a slot for its loop and one for its searches; tokenctl stat has one itself.
    # Opening a store frees those of the dead.
    wait_until(lambda: site.ctl("stat")[0]["readers"] <= 2 * 2 + 1, "no slot is left behind")
    print(f"{load.answers()} answers, {sum(s.unanswered for s in load.spenders)} requests without")


def test_killed_workers(site):
    chance = random.Random(1)
    killed = 0
    with Load(site) as load:
        while killed < WORKER_KILLS:
            time.sleep(chance.random() * 0.02)
            for pid in site.pids():
                if chance.random() < 0.6:
                    os.kill(pid, signal.SIGKILL)
                    killed += 1
            load.goes_on()
    is_whole(site, load)


def test_one_worker_killed_as_soon_as_it_starts(site):
    """More than a hundred times in a row, and never the other one: multiwatch always starts another."""
    spared, killed = min(site.pids()), set()
    while len(killed) < 130:
        wait_until(lambda: set(site.pids()) - killed - {spared}, "there is a new worker")
        for pid in set(site.pids()) - killed - {spared}:
            os.kill(pid, signal.SIGKILL)  # still there: no other process ends it
            killed.add(pid)
    wait_until(lambda: len(site.pids()) == 2, "there are two workers")
    assert site.http(site.add_user()).make()["id"] > 0
    site.check()


def test_killed_pool(site):
    """Holder, multiwatch and workers at once, as the kernel does when memory is short."""
    chance = random.Random(2)
    with Load(site) as load:
        for _ in range(POOL_KILLS):
            load.goes_on()
            time.sleep(chance.random() * 0.02)
            holder = int((site.dir / "token.pid").read_text())
            os.killpg(holder, signal.SIGKILL)
            for pid in site.pids():
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            site.spawn("start")
    is_whole(site, load)


def test_killed_tokenctl(site):
    """In the middle of its writes, while workers write."""
    chance = random.Random(3)
    acknowledged, lost, attempts = [], 0, 0
    with Load(site) as load:
        took = 0.02
        while lost < CTL_KILLS:
            attempts += 1
            name = f"admin{attempts}"
            begun = time.monotonic()
            process = subprocess.Popen(
                [TOKENCTL, "--json", "user", "add", name], env=site.environment,
                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            )
            time.sleep(chance.random() * took)
            process.kill()
            output, _ = process.communicate()
            if process.returncode == 0:
                acknowledged.append(name)
                took = min(took, time.monotonic() - begun)
            else:
                lost += 1
                took *= 1.02
            if attempts % 10 == 0:
                load.goes_on()
    users = {user["name"] for user in site.ctl("user", "list")}
    assert set(acknowledged) <= users
    print(f"{attempts} runs: {len(acknowledged)} done, {lost} killed")
    is_whole(site, load)


def test_killed_delete_of_a_user_goes_on(site):
    """A delete takes several commits. After a kill in between, the user is deleted for all, the
    store is intact, and another call completes the delete."""
    chance = random.Random(4)
    killed = 0
    for _ in range(200 if TORTURE else 12):
        user = site.add_user()
        client = Client(fastcgi.transport(site.socket), user, checked=False)
        for _ in range(12):
            client.create([{"name": "t"}] * 100)
        process = subprocess.Popen(
            [TOKENCTL, "user", "delete", str(user.id)], env=site.environment,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        time.sleep(chance.random() * 0.03)
        process.kill()
        killed += process.wait() != 0
        site.check()
        if client.list().status == 401:
            assert client.create({}).status == 401
        else:
            assert client.list("?size=1").data["total"] == 1200
            site.ctl("user", "delete", user.id)
        site.run_ctl("user", "delete", user.id)
        assert client.list().status == 401
    assert killed > 0
    site.check()
