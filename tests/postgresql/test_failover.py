"""A synchronous pair: what a commit that waits, a promotion and an old primary come to."""

import os
import signal
import subprocess
import threading
import time

import pytest
from service import Site

from server import BUILD, TORTURE, USER, Database, Load, Server, counts, location, used

ROUNDS = 20 if TORTURE else 1


class Pair:
    def __init__(self, folder, synchronous=True):
        self.primary = Server(folder / "a").start()
        self.location = location(folder / "a", folder / "b")
        self.load = Load(folder, self.location)
        self.standby = Server(folder / "b", self.primary).start()
        if synchronous:
            self.primary.set("synchronous_standby_names", "standby")

    def promote(self):
        """The primary is gone at once; a script makes the standby the primary."""
        self.primary.kill()
        self.standby.promote()

    def stop(self):
        self.primary.kill()
        self.standby.kill()


@pytest.fixture
def pair(folder):
    pair = Pair(folder)
    yield pair
    pair.stop()


@pytest.fixture
def lonely(folder):
    """A primary whose synchronous standby is missing."""
    server = Server(folder / "a").start()
    load = Load(folder, location(server.folder))
    server.set("synchronous_standby_names", "standby")
    yield load, server
    server.kill()


# ---- commits that wait ----


def test_no_standby(lonely):
    """COMMIT waits for ever: the outcome is unknown within the deadline, nothing is acknowledged."""
    load, server = lonely
    assert load.spend_once(3) == (0, 3, 0)
    assert used(server) <= 3


def cancel_waits(load, server):
    """The outcome of a group of three, whose waits for a standby are cancelled."""
    process = load.start(1, size=3)
    while process.poll() is None:
        server.query(
            "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
        )
        time.sleep(0.2)
    return counts(process)[:3]


@pytest.mark.parametrize("level", ["notice", "error"])
def test_cancelled_wait(lonely, level):
    """The server says that it is committed, with a warning: here only. The role may ask for none."""
    load, server = lonely
    server.set("client_min_messages", level)
    assert cancel_waits(load, server) == (0, 3, 0)
    assert "WARNING:  canceling wait for synchronous replication" in server.log()


@pytest.mark.parametrize("function", ["pg_cancel_backend", "pg_terminate_backend"])
def test_init_without_a_standby(folder, function):
    """The tables are here only: it says so, and keeps the secret, which they need."""
    server = Server(folder / "a").start()
    try:
        server.set("synchronous_standby_names", "standby")
        server.set("client_min_messages", "error")
        os.chown(folder, USER.pw_uid, USER.pw_gid)

        def tokenctl(*arguments):
            return subprocess.Popen(
                [BUILD / "tokenctl", *arguments], text=True, stderr=subprocess.PIPE,
                env={"TOKEN_STORE": location(server.folder), "TOKEN_SECRET": str(folder / "new"),
                     "TOKEN_USER": USER.pw_name})

        init = tokenctl("init")
        while init.poll() is None:
            server.query(f"SELECT {function}(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
            time.sleep(0.1)
        assert init.returncode == 1
        assert f"if tokenctl check finds no store, remove {folder}/new" in init.stderr.read()
        check = tokenctl("check")
        assert check.wait(20) == 0, check.stderr.read()
        again = tokenctl("init")
        assert again.wait(20) == 1 and f"{folder}/new: " in again.stderr.read()
    finally:
        server.kill()


def test_repeat_that_is_refused(lonely):
    """The first attempt was committed, here, the next is refused: the outcome stays unknown, and the
    group is not done under another id."""
    load, server = lonely
    server.query(
        "SET synchronous_commit = local;"
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN RAISE EXCEPTION USING ERRCODE = ''53200''; END';"
        "CREATE CONSTRAINT TRIGGER refuse AFTER UPDATE ON commits INITIALLY DEFERRED"
        " FOR EACH ROW EXECUTE FUNCTION refuse()"
    )
    assert cancel_waits(load, server) == (0, 3, 0)
    assert used(server) == 3


def test_no_standby_through_the_web_server(folder):
    """Reads go on; creates are answered, by 503, and done when the standby is no longer asked for."""
    server = Server(folder / "a").start()
    try:
        with Site(TOKEN_STORE=location(server.folder)) as site:
            user = site.http(site.add_user())
            server.set("synchronous_standby_names", "standby")
            reply = user.request("POST", "/api/token/", {"unlimited_quota": True},
                                 {"Idempotency-Key": "a"})
            assert reply.status == 503 and "retry-after" in reply.headers
            assert user.list().status == 200
            server.set("synchronous_standby_names", "")
            while user.request("POST", "/api/token/", {"unlimited_quota": True},
                               {"Idempotency-Key": "a"}).status != 200:
                time.sleep(0.1)
            assert user.list().data["total"] == 1
    finally:
        server.kill()


# ---- the primary is lost ----


def test_ids_of_a_crash(folder):
    """A group took ids off a sequence, of which the server knows nothing after a crash."""
    server = Server(folder / "a").start(wal_writer_delay="10s")
    try:
        database = Database(server, folder)
        server.query("CHECKPOINT")
        with database.session() as session:
            session.run("BEGIN; SELECT * FROM tokens FOR UPDATE")
            create = database.load.spender("create-and-spend", database.load.key, 200)
            database.wait_for_lock()
            server.kill()
        server.start()
        create.wait()
        assert database.query("SELECT count(*), max(id) > (SELECT last_value FROM token_ids)"
                              " FROM tokens") == "203|f"
    finally:
        server.kill()


class Requests(threading.Thread):
    """Requests one after the other, each with an idempotency key and repeated until it is done."""

    MOST = 900  # answers that are kept for a user

    def __init__(self, name, send):
        super().__init__(daemon=True)
        self.prefix, self.send = name, send
        self.done = []  # what was acknowledged
        self.gap_s = 0
        self.stopped = False

    def run(self):
        last = time.monotonic()
        while not self.stopped and len(self.done) < self.MOST:
            reply = self.send({"Idempotency-Key": f"{self.prefix}-{len(self.done)}"})
            if reply.status == 200:
                self.done.append(reply.data)
                self.gap_s, last = max(self.gap_s, time.monotonic() - last), time.monotonic()
            else:
                assert reply.status in (502, 503, 504), reply
                time.sleep(0.02)

    def wait(self, count):
        end = len(self.done) + count
        while len(self.done) < end:
            assert self.is_alive()
            time.sleep(0.01)


def create_requests(site, name):
    user = site.http(site.add_user(), checked=False)
    return Requests(name, lambda headers: user.request("POST", "/api/token/",
                                                       {"unlimited_quota": True}, headers))


def spend_requests(gateway, key, name):
    return Requests(name, lambda headers: gateway.request(
        "POST", "/api/token/consume", {"key": key, "amount": 1}, headers))


@pytest.mark.parametrize("number", range(ROUNDS))
def test_promotion_under_load_through_the_web_server(folder, number, record_property):
    pair = Pair(folder)
    try:
        pair.primary.query("DROP SCHEMA public CASCADE; CREATE SCHEMA public")  # the load's store
        with Site(TOKEN_STORE=pair.location) as site:
            key = site.http(site.add_user()).make()["key"]
            gateway = site.gateway(checked=False)
            creates = [create_requests(site, f"create{i}") for i in range(2)]
            spends = [spend_requests(gateway, key, f"spend{i}") for i in range(2)]
            for requests in creates + spends:
                requests.start()
            for requests in creates + spends:
                requests.wait(20)
            pair.promote()
            for requests in creates + spends:
                requests.wait(20)
            for requests in creates + spends:
                requests.stopped = True
                requests.join()
            record_property("gap_s", max(requests.gap_s for requests in creates + spends))
            created = [token["id"] for requests in creates for token in requests.done]
            stored = pair.standby.query("SELECT id FROM tokens WHERE used_quota = 0").split()
            assert sorted(created) == sorted(map(int, stored))
            units = pair.standby.query("SELECT used_quota FROM tokens WHERE used_quota > 0")
            assert int(units) == sum(len(requests.done) for requests in spends)
            site.check()
    finally:
        pair.stop()


def test_promotion_under_load(pair):
    """Groups of one process: what is acknowledged is there, and not more than what is unknown
    beside it."""
    process = pair.load.start(1_000_000)
    time.sleep(0.7)
    pair.promote()
    before = used(pair.standby)
    while used(pair.standby) == before:
        time.sleep(0.05)
    process.terminate()
    acknowledged, unknown, failed, gap_ms = counts(process)
    assert acknowledged > 0
    assert acknowledged <= used(pair.standby) <= acknowledged + unknown


def test_control_asynchronous_standby_loses(folder):
    pair = Pair(folder, synchronous=False)
    try:
        for sender in pair.primary.query("SELECT pid FROM pg_stat_replication").split():
            os.kill(int(sender), signal.SIGSTOP)  # nothing is sent any more
        acknowledged, unknown, failed, gap_ms = counts(pair.load.start(500))
        pair.promote()
        assert used(pair.standby) < acknowledged
    finally:
        pair.stop()


def test_old_primary_is_refused(pair):
    """It is alone, and would take writes; the hosts name it first."""
    process = pair.load.start(1_000_000)
    time.sleep(0.5)
    pair.promote()
    moved = used(pair.standby)
    while used(pair.standby) == moved:  # the load has seen the new timeline
        time.sleep(0.05)
    pair.primary.start(synchronous_standby_names="")
    before = used(pair.primary)
    pair.standby.kill()
    time.sleep(4)  # some attempts to connect
    process.terminate()
    acknowledged, unknown, failed, gap_ms = counts(process)
    assert failed + unknown > 0
    assert used(pair.primary) == before
