"""A synchronous pair: what a commit that waits, a promotion and an old primary come to."""

import os
import time

import pytest

from server import TORTURE, Load, Server, counts, location, used

ROUNDS = 5 if TORTURE else 1


@pytest.fixture
def lonely(folder):
    """A load on a primary whose synchronous standby is missing."""
    server = Server(folder / "a").start()
    load = Load(folder, location(server.folder))
    server.set("synchronous_standby_names", "standby")
    yield load, server
    server.kill()


class Pair:
    def __init__(self, folder, synchronous):
        self.primary = Server(folder / "a").start()
        self.load = Load(folder, location(folder / "a", folder / "b"))
        self.standby = Server(folder / "b", self.primary).start()
        if synchronous:
            self.primary.set("synchronous_standby_names", "standby")

    def stop(self):
        self.primary.kill()
        self.standby.kill()


@pytest.fixture
def pair(folder):
    pair = Pair(folder, True)
    yield pair
    pair.stop()


def test_no_standby(lonely):
    """COMMIT waits for ever: the outcome is unknown within the deadline, nothing is acknowledged."""
    load, server = lonely
    began = time.monotonic()
    acknowledged, unknown, failed, gap_ms = counts(load.start(1, size=3))
    assert (acknowledged, unknown, failed) == (0, 3, 0)
    assert time.monotonic() - began < 8


def test_cancelled_wait(lonely):
    """The server says that it is committed, with a warning: here only."""
    load, server = lonely
    process = load.start(1, size=3)
    while process.poll() is None:
        server.query(
            "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
        )
        time.sleep(0.2)
    acknowledged, unknown, failed, gap_ms = counts(process)
    assert (acknowledged, unknown, failed) == (0, 3, 0)
    assert "WARNING:  canceling wait for synchronous replication" in server.log()


def promote_under_load(pair):
    process = pair.load.start(1_000_000)
    time.sleep(0.7)
    pair.primary.kill()
    pair.standby.promote()
    time.sleep(1.5)
    process.terminate()
    return counts(process)


@pytest.mark.parametrize("number", range(ROUNDS))
def test_promotion(pair, number):
    acknowledged, unknown, failed, gap_ms = promote_under_load(pair)
    assert acknowledged > 0
    assert acknowledged <= used(pair.standby) <= acknowledged + unknown
    assert gap_ms < 3000


def test_control_asynchronous_standby_loses(folder):
    pair = Pair(folder, False)
    try:
        pair.standby.query("SELECT pg_wal_replay_pause()")
        for sender in pair.primary.query("SELECT pid FROM pg_stat_replication").split():
            os.kill(int(sender), 19)  # SIGSTOP: nothing is sent any more
        process = pair.load.start(500)
        acknowledged, unknown, failed, gap_ms = counts(process)
        pair.primary.kill()
        pair.standby.promote()
        assert used(pair.standby) < acknowledged
    finally:
        pair.stop()


def test_old_primary_is_refused(pair):
    """It is alone, and would take writes; the hosts name it first."""
    process = pair.load.start(1_000_000)
    time.sleep(0.5)
    pair.primary.kill()
    pair.standby.promote()
    time.sleep(1)
    pair.primary.start(synchronous_standby_names="")
    before = used(pair.primary)
    pair.standby.signal(19)  # SIGSTOP: the new one does not answer
    time.sleep(0.5)
    for pid in pair.standby.children():
        os.kill(pid, 9)  # its connections are gone
    time.sleep(7)
    process.terminate()
    acknowledged, unknown, failed, gap_ms = counts(process)
    assert failed + unknown > 0
    assert used(pair.primary) == before
