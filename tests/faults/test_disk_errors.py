"""Writes and syncs that fail: waiting requests get 503, no refused write is there, no acknowledged
write is lost, and the service goes on when the cause is gone."""

import errno
import os
import threading

import fastcgi
import pytest
from client import Client
from service import Site, wait_until
from shim import AHEAD, SYNC, WRITE, FaultyStore, Faults

TORTURE = os.environ.get("TORTURE") == "1"
FULL = "The last commit failed: store full: no space on the disk, or TOKEN_MAP_SIZE reached"
NOT_REACHED = (503, "Service is temporarily unavailable")
BROKEN = ": store failed (I/O error), or it was replaced, removed or upgraded: worker exiting\n"
WRITERS = 8
ERRORS = [errno.EIO, errno.ENOSPC, errno.EDQUOT]


def names_of(client):
    """All of the user's tokens: name -> token."""
    tokens, page = {}, 1
    while True:
        items = client.list(f"?size=100&p={page}").data["items"]
        if not items:
            return tokens
        tokens |= {token["name"]: token for token in items}
        page += 1


class Writers:
    """Clients that each create a token at the same time, and their answers."""

    def __init__(self, path, user, count=WRITERS):
        self.path, self.user, self.count = path, user, count
        self.acknowledged, self.refused, self.unknown, self.round = {}, set(), set(), 0
        self.errors = []

    def create(self, name):
        try:
            reply = Client(fastcgi.transport(self.path), self.user).create(
                {"name": name, "model_limits": "m" * 900}
            )
            if reply.status == 200:
                self.acknowledged[name] = reply.data
                return
            assert reply.status == 503 and int(reply.headers["retry-after"]) > 0
            if reply.json["code"] == "unknown":  # an error of the commit itself
                self.unknown.add(name)
            else:
                assert reply.failure == NOT_REACHED
                self.refused.add(name)
        except BaseException as error:
            self.errors.append(error)

    def run(self):
        """The number of requests that failed."""
        self.round += 1
        before = len(self.refused) + len(self.unknown)
        threads = [
            threading.Thread(target=self.create, args=(f"{self.round}-{number}",))
            for number in range(self.count)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert self.errors == []
        return len(self.refused) + len(self.unknown) - before


@pytest.fixture
def faulty():
    with FaultyStore(TOKEN_MAX_PER_USER="0") as store:
        yield store


def refuse_each_call(store, writers, kind, error, client):
    """Fails the first call of a commit, then the second, until a commit has no more of them.

    Every write but the one that says where the trees begin leaves the worker as it was, unless
    the error is EIO, after which nothing is known of the disk."""
    nth = 1
    while True:
        ended = len(store.statuses)
        store.arm(kind, error, nth)
        refused = writers.run()
        failed = store.disarm()
        if not failed:
            assert refused == 0
            return nth - 1
        assert failed >= 1, nth
        # Writes that shared a commit which failed are done one by one: all of them may succeed.
        assert refused > 0 or (error != errno.EIO and writers.count > 1), nth
        if error == errno.EIO:
            wait_until(lambda: len(store.statuses) == ended + 1, "the worker has ended")
        else:
            # The last write of a commit: LMDB then refuses to go on, and says so at the next one.
            wait_until(lambda: client.create({}).status == 200, "the service goes on")
            assert len(store.statuses) <= ended + 1
        names = names_of(client)
        assert not writers.refused & set(names), nth
        assert {name: names[name] for name in writers.acknowledged} == writers.acknowledged
        if writers.unknown:
            wait_until(lambda: len(store.statuses) > ended, "the worker has ended after it")
        writers.unknown.clear()
        nth += 1


@pytest.mark.parametrize("error", ERRORS, ids=errno.errorcode.get)
@pytest.mark.parametrize("kind", [WRITE, SYNC], ids=["write", "sync"])
def test_each_write_and_sync_of_a_commit(faulty, kind, error):
    user = faulty.add_user()
    client = Client(fastcgi.transport(faulty.path), user)
    # The commits of one client are alike, so that each of their calls fails once; many clients share one.
    least = {WRITE: 2, SYNC: 1}[kind]
    for count in (1, WRITERS):
        writers = Writers(faulty.path, user, count)
        writers.round = 1000 * count
        assert refuse_each_call(faulty, writers, kind, error, client) >= least
    assert writers.run() == 0
    faulty.check()
    assert faulty.log.read_text().count(BROKEN) == len(faulty.statuses)
    assert set(faulty.statuses) <= {1}
    if error == errno.EIO:
        assert faulty.statuses


@pytest.mark.parametrize("error", ERRORS, ids=errno.errorcode.get)
def test_a_file_that_can_not_be_ahead_of_its_use(faulty, error):
    """What makes it longer beforehand finds no room: writes that need some are refused, a delete is
    done, and all go on once there is room."""
    user = faulty.add_user()
    client = Client(fastcgi.transport(faulty.path), user)
    writers = Writers(faulty.path, user)
    assert writers.run() == 0
    faulty.arm(AHEAD, error, 1, for_ever=True)
    for _ in range(20):
        writers.run()
    assert writers.refused
    _, token = writers.acknowledged.popitem()
    assert client.delete(token["id"]).status == 200
    assert faulty.disarm() >= 20
    assert names_of(client) == writers.acknowledged
    assert writers.run() == 0
    assert faulty.statuses == [] and BROKEN not in faulty.log.read_text()
    faulty.check()


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EDQUOT], ids=errno.errorcode.get)
def test_a_disk_that_stays_full_for_a_while(faulty, error):
    """Reads go on; when there is space again, so do writes, by the same worker."""
    user = faulty.add_user()
    client = Client(fastcgi.transport(faulty.path), user)
    writers = Writers(faulty.path, user)
    assert writers.run() == 0
    pid = faulty.worker.pid
    faulty.arm(WRITE, error, 1, for_ever=True)
    for _ in range(5):
        assert writers.run() == WRITERS
        assert names_of(client) == writers.acknowledged
        # There is space on the disk, as where a quota is used up: only a commit tells.
        assert client.health() == (503, FULL)
    assert faulty.disarm() >= 5
    wait_until(lambda: client.health() == (200, ""), "a commit works, before a client writes")
    assert writers.run() == 0
    assert names_of(client) == writers.acknowledged
    assert faulty.worker.pid == pid and faulty.worker.poll() is None
    assert BROKEN not in faulty.log.read_text()
    faulty.check()


class FaultySite(Faults, Site):
    def set_up(self):
        super(Site, self).set_up()
        self.prepare_faults()
        self.spawn("start", **self.preload)
        self.start_nginx()


def test_each_worker_knows_that_the_last_commit_failed():
    """Also those that have not written; and it is one line in the log."""
    with FaultySite(workers=3) as site:
        client = site.http(site.add_user())
        site.arm(WRITE, errno.EDQUOT, 1, for_ever=True)
        assert [client.create({}).status for _ in range(20)] == [503] * 20
        assert [client.health() for _ in range(20)] == [(503, FULL)] * 20
        wait_until(lambda: "writes failed: " in (site.dir / "pool.log").read_text(), "it is logged")
        assert site.disarm() > 0
        wait_until(lambda: client.health() == (200, ""), "a commit works, before a client writes")
        assert [client.health() for _ in range(20)] == [(200, "")] * 20
        assert (site.dir / "pool.log").read_text().count("writes failed: ") == 1


def test_a_pool_outlives_io_errors():
    """multiwatch starts another worker for each that ends; clients see only the 503."""
    with FaultySite(workers=2) as site:
        wait_until(lambda: len(site.pids()) == 2, "there are two workers")
        user = site.add_user()
        client = site.http(user)
        known = {}
        for number in range(6 if TORTURE else 3):
            before = site.pids()
            site.arm(SYNC if number % 2 else WRITE, errno.EIO, 1)
            reply = client.create({"name": f"lost {number}"})
            assert site.disarm() == 1
            assert (reply.status, reply.json["code"]) == (503, "unknown")
            assert int(reply.headers["retry-after"]) > 0
            wait_until(lambda: len(site.pids() - before) == 1, "another worker is there")
            wait_until(lambda: len(site.pids()) == 2, "there are two workers")
            token = client.make(name=f"kept {number}")
            known[token["name"]] = token
            assert names_of(client) == known
        log = (site.dir / "pool.log").read_text()
        assert log.count(BROKEN) == number + 1
        site.check()
