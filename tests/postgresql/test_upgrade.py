"""Schemas of other versions than the program's."""

import os
import subprocess
import threading

import pytest

from server import BUILD, ROOT, USER, counts

SCHEMAS = [(ROOT / f"tests/postgresql/schema_{version}.sql").read_text() for version in (1, 2)]
COLUMNS = (
    "SELECT table_name, string_agg(column_name, ',' ORDER BY ordinal_position)"
    " FROM information_schema.columns WHERE table_schema = 'public'"
    " AND table_name IN (SELECT relname FROM pg_class WHERE relkind = 'r') GROUP BY 1 ORDER BY 1"
)
SCHEMA = (
    "SELECT relname, relkind, reloptions, attname, attnum, atttypid, attcollation, attnotnull,"
    " pg_get_expr(adbin, adrelid), pg_get_indexdef(attrelid)"
    " FROM pg_class c JOIN pg_attribute ON attrelid = c.oid LEFT JOIN pg_attrdef d"
    " ON adrelid = attrelid AND adnum = attnum"
    " WHERE relnamespace = 'public'::regnamespace AND attnum > 0 ORDER BY relname, attnum"
)
VERSION = "SELECT schema_version FROM meta"


def read_rows(database, columns):
    return {table: database.query(f"SELECT {names} FROM {table} ORDER BY 1, 2").splitlines()
            for table, names in columns.items()}


def units(database):
    """Earlier versions have no other sums."""
    return int(database.query("SELECT sum(used_quota) FROM tokens"))


def table_columns(database):
    return dict(line.split("|") for line in database.query(COLUMNS).splitlines())


@pytest.fixture(params=range(1, len(SCHEMAS) + 1))
def old(request, database):
    """A database with the rows of a load, in tables as an earlier version made them."""
    database.version = request.param
    counts(database.load.spender("spend-keys", database.load.key, 5, 5))
    database.query("INSERT INTO gateways VALUES (nextval('gateway_ids'), 'g', 1, '\\x00');"
                   "INSERT INTO workers VALUES ('\\x01', 'machine', 1, '1.0.0', 1, '', '2026-01-01');"
                   "INSERT INTO reservations SELECT user_id, 7 + id, id, 1, 2, false, 0, 0, 1, 2, true, 3,"
                   " true, 'vip' FROM tokens")
    database.new_schema = database.query(SCHEMA)
    database.query("ALTER SCHEMA public RENAME TO made;"
                   f"CREATE SCHEMA public AUTHORIZATION {database.name};"
                   f"SET ROLE {database.name}; {''.join(SCHEMAS[: request.param])}")
    database.columns = table_columns(database)
    for table, names in database.columns.items():
        database.query(f"INSERT INTO {table} SELECT {names} FROM made.{table}")
    for ids in ("user_ids", "token_ids", "gateway_ids", "reservation_ids"):
        database.query(f"SELECT setval('{ids}', last_value, is_called) FROM made.{ids}")
    database.query(f"UPDATE meta SET schema_version = {request.param}, lowest_writer = {request.param};"
                   "DROP SCHEMA made CASCADE")
    return database


def start_tokenctl(database, *arguments):
    os.chown(database.load.secret, USER.pw_uid, USER.pw_gid)
    return subprocess.Popen(
        [BUILD / "tokenctl", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={"TOKEN_STORE": database.location, "TOKEN_SECRET": str(database.load.secret),
             "TOKEN_USER": USER.pw_name},
    )


def tokenctl(database, *arguments):
    process = start_tokenctl(database, *arguments)
    output = process.communicate(timeout=60)
    return subprocess.CompletedProcess(process.args, process.returncode, *output)


def test_upgrade(old):
    """By the first program that comes; nothing is lost, and it is as a new one would be."""
    before = read_rows(old, old.columns)
    assert all(before.values())
    done = tokenctl(old, "user", "list")
    assert "alice" in done.stdout, done.stderr
    after = read_rows(old, old.columns)
    versions = before.pop("meta"), after.pop("meta")
    assert after == before
    assert versions[0][0].startswith(2 * f"{old.version}|") and not versions[1][0].startswith(f"{old.version}|")
    assert old.query(SCHEMA) == old.new_schema
    assert old.query("SELECT used_quota, dated_units FROM users") == f"{units(old)}|0"
    assert old.query("SELECT bool_and(group_is_old) FROM tokens") == "t"
    assert old.load.spend_once(3) == (3, 0, 0)
    assert "ok true" in tokenctl(old, "check").stdout


def test_changes_only_add(old):
    """Rows that programs of that version write have all that is needed."""
    tokenctl(old, "user", "list")
    columns = table_columns(old)
    for table, names in old.columns.items():
        assert columns[table].startswith(names)
        if table not in ("meta", "commits"):
            old.query(f"CREATE TEMP TABLE kept AS SELECT {names} FROM {table};"
                      f"DELETE FROM {table}; INSERT INTO {table} SELECT * FROM kept")


class OldProgram(threading.Thread):
    """Spends units as version 1 did, one a transaction, and counts those that are committed."""

    SPEND = (
        "BEGIN; INSERT INTO commits (id, attempt) VALUES (uuid_send(gen_random_uuid()), 1);"
        "SELECT lowest_writer FROM meta;"
        "SELECT * FROM tokens ORDER BY id LIMIT 1 FOR UPDATE;"
        "UPDATE tokens SET used_quota = used_quota + 1 WHERE id = (SELECT min(id) FROM tokens);"
        "COMMIT"
    )

    def __init__(self, database):
        super().__init__()
        self.database = database
        self.stopped = False
        self.count = 0

    def run(self):
        with self.database.session() as session:
            while not self.stopped:
                session.run(self.SPEND)
                self.count += 1


def test_racing_upgrades(old):
    """Of several programs at once, while one of the old version writes: each unit is there."""
    program = OldProgram(old)
    before = units(old)
    program.start()
    loads = [old.load.start(500) for _ in range(6)]
    results = [counts(load) for load in loads]
    program.stopped = True
    program.join()
    assert all(result[0] > 0 and result[1] == result[2] == 0 for result in results), results
    assert units(old) == before + program.count + sum(result[0] for result in results)
    assert old.query(SCHEMA) == old.new_schema


def test_upgrade_beside_an_import(old):
    """What an import of the old version brings meanwhile is in the sums: it has no row of commits."""
    with old.session() as session:
        session.run("BEGIN; LOCK TABLE users IN EXCLUSIVE MODE; UPDATE tokens SET used_quota = used_quota + 3")
        upgrade = threading.Thread(target=tokenctl, args=(old, "user", "list"))
        upgrade.start()
        old.wait_for_lock()
        session.run("COMMIT")
        upgrade.join()
    assert "ok true" in tokenctl(old, "check").stdout
    assert old.query("SELECT used_quota FROM users") == str(units(old))


def test_upgrade_that_is_not_allowed(old):
    """Of another role's tables. It says so, and nothing is changed."""
    old.query(f"REASSIGN OWNED BY {old.name} TO postgres; GRANT ALL ON SCHEMA public TO {old.name};"
              f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {old.name};"
              f"GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {old.name}")
    done = tokenctl(old, "user", "list")
    assert done.returncode == 1
    assert f"TOKEN_STORE: upgrade of its schema from version {old.version} to " in done.stderr
    assert ": must be owner of table " in done.stderr
    assert old.query(VERSION) == str(old.version)


def test_newer_schema(database):
    """It may be used as long as it takes programs of this version."""
    database.query("UPDATE meta SET schema_version = 99")
    assert database.load.spend_once(2) == (2, 0, 0)
    load = database.load.start(1_000_000)
    while database.used() == 2:
        pass
    database.query("UPDATE meta SET lowest_writer = 98")
    done = tokenctl(database, "user", "list")
    assert done.returncode == 1
    assert "it takes programs of schema version 98 or later, this one is of version " in done.stderr
    load.terminate()
    assert counts(load)[2] > 0
    assert database.query(VERSION) == "99"
