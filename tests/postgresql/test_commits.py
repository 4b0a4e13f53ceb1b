"""Units are spent once, tokens are created up to the limit, and requests with one idempotency key are
done once, whatever breaks around COMMIT and whoever else writes."""

import signal
import time

import pytest

from proxy import Proxy
from server import TORTURE, counts

CUTS = 500 if TORTURE else 60


def spend_while_cut(database, folder, cuts):
    proxy = Proxy(folder / "proxy", database.server.folder)
    process = database.load.start(1_000_000, uri=database.locate(proxy.folder))
    while process.poll() is None and database.used() == 0:
        time.sleep(0.01)
    proxy.cut(cuts, process)
    process.send_signal(signal.SIGTERM)
    return counts(process)


def test_cut_connections(database, folder):
    acknowledged, unknown, failed, gap_ms = spend_while_cut(database, folder, CUTS)
    assert acknowledged > unknown
    assert acknowledged <= database.used() <= acknowledged + unknown


def test_control_without_ids_units_are_spent_twice(database, folder):
    """Each attempt under an id of its own."""
    database.query(
        "CREATE FUNCTION another_id() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN NEW.id = uuid_send(gen_random_uuid()); RETURN NEW; END';"
        "CREATE TRIGGER another_id BEFORE INSERT ON commits FOR EACH ROW EXECUTE FUNCTION another_id()"
    )

    def are_spent_twice():
        before = database.used()
        acknowledged, unknown, failed, gap_ms = spend_while_cut(database, folder, 60)
        return database.used() - before > acknowledged + unknown

    assert any(are_spent_twice() for _ in range(10))  # a slow machine may have no commit under way at any cut


@pytest.mark.threads
def test_three_processes_on_one_token(database):
    processes = [database.load.start(800) for _ in range(3)]
    totals = [counts(process) for process in processes]
    assert all(acknowledged > 0 for acknowledged, *_ in totals)
    assert all((unknown, failed) == (0, 0) for _, unknown, failed, _ in totals)
    assert database.used() == sum(acknowledged for acknowledged, *_ in totals)


def test_three_processes_up_to_the_limit(database):
    """Creates of one user, until each process is refused."""
    processes = [database.load.spender("create-up-to", 200, 7) for _ in range(3)]
    created = [counts(process)[0] for process in processes]
    assert sum(created) == 200 - 3  # the store had three
    assert database.query("SELECT count(*), max(token_count) FROM tokens, users") == "200|200"


def test_three_processes_with_the_same_idempotency_keys(database):
    """Each spends a unit for each of the keys, of a token of its own: no lock but the answer's keeps
    them from doing it twice."""
    processes = [database.load.spender("spend-keys", key, 400, 8) for key in database.load.keys]
    totals = [counts(process) for process in processes]
    assert [done + replayed for done, replayed in totals] == [400] * 3
    assert sum(done for done, replayed in totals) == database.used() == 400


def test_purging_spares_an_answer_that_is_renewed(database):
    """An expired answer that another transaction replaces while the purge waits for it."""
    counts(database.load.spender("spend-keys", database.load.key, 1, 1))
    database.query("UPDATE idempotency SET created_s = created_s - 86400")
    with database.session() as session:
        session.run("BEGIN; UPDATE idempotency SET created_s = created_s + 86400")
        purge = database.load.spender("purge")
        database.wait_for_lock()
        session.run("COMMIT")
        assert purge.wait() == 0
    assert database.query("SELECT count(*) FROM idempotency") == "1"


def test_a_process_that_hangs_does_not_stop_the_others(database):
    """As one whose machine is gone: its connection stays, with a transaction that is open."""
    hanging = database.load.start(1_000_000)
    while True:
        hanging.send_signal(signal.SIGSTOP)
        time.sleep(0.05)  # what the server does for it comes to its end
        if database.has_backend("state = 'idle in transaction'"):
            break
        hanging.send_signal(signal.SIGCONT)
    try:
        while database.load.spend_once() != (1, 0, 0):
            pass
    finally:
        hanging.send_signal(signal.SIGTERM)
        hanging.send_signal(signal.SIGCONT)
    acknowledged, unknown, failed, gap_ms = counts(hanging)
    assert acknowledged + 1 <= database.used() <= acknowledged + unknown + 1
