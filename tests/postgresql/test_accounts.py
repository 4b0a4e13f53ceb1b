"""Balances, groups, usage by day and audit records in the database."""

import json

import pytest

from server import counts
from test_upgrade import start_tokenctl, tokenctl

USES = "spend-keys", 40, 8

FAULTS = {
    "UPDATE users SET used_quota = used_quota + 1": "user 1: its used_quota is not the sum of its tokens'",
    "UPDATE users SET deleted_used_quota = 1": "user 1: its used_quota is not the sum of its tokens'",
    "UPDATE users SET used_quota = -1": "user 1: a quota or count of it is below 0",
    "UPDATE users SET usage_units = 0": "user 1: its usage by day is not the sum of the days",
    "UPDATE tokens SET dated_units = 0 WHERE used_quota > 0":
        "token 1: its usage by day is not the sum of the days",
    "UPDATE users SET usage_requests = -1": "user 1: its usage does not agree with what it has used",
    "UPDATE tokens SET usage_day = -1": "token 1: its usage does not agree with what it has used",
    "UPDATE tokens SET dated_units = used_quota + 1; INSERT INTO usage SELECT user_id, id, 1, 1, 0 FROM tokens":
        "token 1: its usage does not agree with what it has used",
    "INSERT INTO grants VALUES (1, 'none')": "user 1: was granted a group that does not exist",
    "INSERT INTO usage VALUES (1, 2, 20000, 1, 1)": "token 2: its usage by day is not the sum of the days",
    "INSERT INTO usage VALUES (1, 0, 0, 1, 1)": "user 1: its usage by day is not the sum of the days",
    "INSERT INTO usage VALUES (9, 0, 20000, 1, 1)": "user 9: does not exist, but has usage",
    "INSERT INTO usage VALUES (1, 9, 20000, 1, 1)": "token 9: does not exist, but has usage",
    "INSERT INTO grants VALUES (9, 'vip')": "user 9: does not exist, but was granted a group",
    "INSERT INTO groups VALUES ('vip', '', true, -1)":
        "groups 1: without a name, or with a ratio below 0",
    "INSERT INTO audit VALUES (9, 1, 1, 'user.create', 4, 0, '', '', 0, '')":
        "user 9: is above the last id, but has audit records",
}


@pytest.fixture
def used(database):
    """A database whose store was spent from."""
    command, count, size = USES
    counts(database.load.spender(command, database.load.key, count, size))
    return database


def test_check(used):
    """It finds each fault, and no other."""
    used.query("CREATE TABLE kept_users AS SELECT * FROM users; CREATE TABLE kept_tokens AS SELECT * FROM tokens")
    assert "ok true" in tokenctl(used, "check").stdout
    for sql, problem in FAULTS.items():
        used.query(sql)
        done = tokenctl(used, "check")
        assert problem in done.stdout + done.stderr, sql
        used.query("TRUNCATE users, tokens, usage, grants, groups, audit;"
                   "INSERT INTO users SELECT * FROM kept_users; INSERT INTO tokens SELECT * FROM kept_tokens")
    assert "ok true" in tokenctl(used, "check").stdout


def test_purge_of_audit_records(used):
    """Of a user with more than 100,000 the oldest go, and no other's."""
    used.query("INSERT INTO audit SELECT u, 1000000 * u + i, 1, 'token.update', 1, 1, '', '', 1, ''"
               " FROM generate_series(0, 2) u, generate_series(1, CASE u WHEN 2 THEN 10 ELSE 100010 END) i")
    used.load.spender("purge").communicate()
    assert used.query("SELECT user_id, count(*), min(id) FROM audit GROUP BY 1 ORDER BY 1") == (
        "0|100010|1\n1|100000|1000011\n2|10|2000001")


def test_follow(database):
    """Nothing is left out, in whichever order transactions are committed."""

    def sql(number):
        return ("INSERT INTO audit SELECT 1, id, extract(epoch FROM now()), 'test.late', 4, 0, '', '', 0, '{}'"
                f" FROM generate_series({number}000, {number}999) id")

    process = start_tokenctl(database, "--json", "audit", "--follow", "--since", "0", "--action", "test.late")
    with database.session() as session:
        try:
            session.run("BEGIN; " + sql(1))
            database.query(sql(2))
            printed = [json.loads(process.stdout.readline())["id"] for _ in range(1000)]
            session.run("COMMIT")
            database.query(sql(3))
            printed += [json.loads(process.stdout.readline())["id"] for _ in range(2000)]
        finally:
            process.kill()
            process.wait()
    assert printed[:1000] == [*range(2000, 3000)] and sorted(printed) == [*range(1000, 4000)]


def test_uses_write_to_no_index(used):
    """Spends change the rows of tokens and users in their pages."""
    used.query("SELECT pg_stat_reset()")
    counts(used.load.start(300, 8))
    updates = used.query("SELECT bool_and(n_tup_upd > 0 AND n_tup_upd = n_tup_hot_upd), count(*)"
                         " FROM pg_stat_user_tables WHERE relname IN ('users', 'tokens')")
    assert updates == "t|2"
