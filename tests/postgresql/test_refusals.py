"""What the server refuses: conflicts of transactions, space, connections."""

import errno
import os
import signal
import time

import pytest
import shim

from server import BUILD, ROOT, USER, Database, Server, counts, run_program


def inject(database, sqlstate, times, event="UPDATE ON tokens"):
    """It fails the next times."""
    database.query(
        "CREATE SEQUENCE injected; CREATE FUNCTION inject() RETURNS trigger LANGUAGE plpgsql"
        f" SECURITY DEFINER AS 'BEGIN IF nextval(''injected'') <= {times} THEN"
        f" RAISE EXCEPTION USING ERRCODE = ''{sqlstate}''; END IF; RETURN coalesce(NEW, OLD); END';"
        f"CREATE TRIGGER inject BEFORE {event} FOR EACH ROW EXECUTE FUNCTION inject()"
    )


@pytest.mark.parametrize("sqlstate", ["40P01", "40001"])
def test_a_conflict_is_tried_again(database, sqlstate):
    inject(database, sqlstate, 3)
    assert database.load.spend_once(5) == (5, 0, 0)
    assert database.used() == 5


def test_conflicts_without_end(database):
    inject(database, "40P01", 1_000_000)
    assert database.load.spend_once(3) == (0, 0, 3)
    assert database.used() == 0
    database.query("DROP TRIGGER inject ON tokens")
    assert database.load.spend_once(3) == (3, 0, 0)
    assert database.used() == 3


def test_a_conflict_is_not_counted(database):
    counts(database.load.spender("spend-keys", database.load.key, 5, 5))
    inject(database, "40P01", 2, "DELETE ON idempotency")
    os.chown(database.load.secret, USER.pw_uid, USER.pw_gid)
    done = run_program("env", f"TOKEN_STORE={database.location}",
                       f"TOKEN_SECRET={database.load.secret}", f"TOKEN_USER={USER.pw_name}",
                       BUILD / "tokenctl", "idempotency", "purge", "alice")
    assert done.endswith("purged 5\n")


def test_check_joins_tables(database):
    """It does not look through one table for each row of another."""
    statements = (ROOT / "store/postgresql/statements.sql").read_text()
    sql = statements.split("-- CHECK_TABLES\n")[1].split(";")[0]
    assert "SubPlan" not in database.query(f"EXPLAIN {sql}")


class FullDisk(shim.Faults):
    def __init__(self, folder):
        self.dir = folder
        self.prepare_faults()


def test_full_disk(folder):
    """The file of a table can't grow: nothing is done, and all is well once there is space."""
    disk = FullDisk(folder)
    server = Server(folder / "server")
    server.environment = disk.preload
    server.start()
    try:
        database = Database(server, folder)
        (folder / "store").mkdir()
        path = database.query("SELECT pg_relation_filepath('tokens')")
        (folder / "store/data.mdb").symlink_to(server.data / path)  # what the library looks at
        disk.arm(shim.WRITE, errno.ENOSPC, 1, for_ever=True)
        created, full = counts(database.load.spender("create-up-to", 1000, 100))
        assert full == 100
        assert disk.disarm() > 0
        assert "No space left on device" in server.log()
        there = database.query("SELECT count(*), max(token_count) FROM tokens, users")
        assert there == f"{3 + created}|{3 + created}"
        assert counts(database.load.spender("create-up-to", 1000, 100)) == (997 - created, 0)
    finally:
        server.kill()


def test_no_connection_is_free(database):
    """The answer of a server whose max_connections are reached; here for one database."""
    process = database.load.start(1_000_000)
    wait_for(lambda: database.used() > 0)
    database.query(f"ALTER DATABASE {database.name} CONNECTION LIMIT 0")
    database.server.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                          f" WHERE usename = '{database.name}'")
    wait_for(lambda: f'too many connections for database "{database.name}"' in database.server.log())
    before = database.used()
    database.query(f"ALTER DATABASE {database.name} CONNECTION LIMIT -1")
    wait_for(lambda: database.used() > before)
    process.send_signal(signal.SIGTERM)
    acknowledged, unknown, failed, gap_ms = counts(process)
    assert acknowledged <= database.used() <= acknowledged + unknown


def wait_for(condition):
    while not condition():
        time.sleep(0.05)
