/* The schema: making it, and upgrading an older one, by the statements of schema.sql. */

#include <inttypes.h>
#include <stdio.h>

#include "base/clock.h"
#include "store/postgresql/engine.h"

/* An upgrade reads all tokens and writes all users: minutes where there are very many. */
enum { SCHEMA_MS = 60000, UPGRADE_MS = 3600000 };

/* Runs what was sent. Returns the last result's number, or 0. */
static int64_t run(struct pg_connection *connection, size_t statement_count)
{
    int64_t number = 0;
    pg_sync(connection);
    for (; statement_count > 0; statement_count--) {
        PGresult *result = pg_result(connection);
        number = result ? pg_next_int(&(struct pg_values){.result = result}) : 0;
        PQclear(result);
    }
    pg_finish(connection);
    return number;
}

/* Sends what the versions above that one have brought. Returns how many statements. */
static size_t send_versions(struct pg_connection *connection, int64_t above)
{
#define VERSION_STATEMENT(version, sql) {version, sql},
    static const struct {
        int64_t version;
        const char *sql;
    } statements[] = {PG_SCHEMA_SQL(VERSION_STATEMENT)};
    size_t count = sizeof(statements) / sizeof(statements[0]), first = 0;
    while (first < count && statements[first].version <= above)
        first++;
    for (size_t i = first; i < count; i++)
        pg_send_text(connection, statements[i].sql, PG_PARAMETERS);
    return count - first;
}

bool pg_make_schema(struct pg_connection *connection)
{
    const struct seal *seal = connection->store->base.seal;
    struct pg_parameters *meta = PG_PARAMETERS;
    pg_int(pg_int(meta, PG_SCHEMA_VERSION), seal_get_cipher(seal));
    pg_span(meta, (struct span){(const char *)seal_check_value(seal), SEAL_CHECK_LEN});
    connection->deadline_ms = clock_ms() + SCHEMA_MS;
    pg_send_text(connection, "SET client_min_messages = warning", PG_PARAMETERS);
    run(connection, 1);
    if (connection->error != STORE_OK)
        return false;
    /* What is sent until a sync is one transaction. */
    size_t count = send_versions(connection, 0);
    pg_send_text(connection, "INSERT INTO meta VALUES ($1, $1, $2, $3)", meta);
    connection->warned = false;
    run(connection, count + 1);
    if (connection->warned)
        pg_fail(connection, STORE_UNKNOWN, "the wait for a standby was cancelled");
    return connection->lost || connection->warned;
}

bool pg_upgrade_schema(struct pg_connection *connection, int64_t version)
{
    /* One of several that try it does it, the others find it done. Groups of writes begin with a
     * row of commits: while the table is locked none holds anything that the changes wait for; an
     * import has no such row, but locks users. Others wait behind these, hence the short time-out.
     */
    static const char *const locks[] = {
        "BEGIN", "SET LOCAL lock_timeout = '2s'", "LOCK TABLE commits IN SHARE ROW EXCLUSIVE MODE",
        "LOCK TABLE users IN EXCLUSIVE MODE", "SELECT schema_version FROM meta FOR UPDATE"};
    char why[sizeof(connection->message)];
    if (version >= PG_SCHEMA_VERSION)
        return true;
    connection->deadline_ms = clock_ms() + UPGRADE_MS;
    for (size_t i = 0; i < sizeof(locks) / sizeof(locks[0]); i++)
        pg_send_text(connection, locks[i], PG_PARAMETERS);
    size_t count = send_versions(connection, run(connection, sizeof(locks) / sizeof(locks[0])));
    pg_send_text(connection, "UPDATE meta SET schema_version = $1",
                 pg_int(PG_PARAMETERS, PG_SCHEMA_VERSION));
    pg_send_text(connection, "COMMIT", PG_PARAMETERS);
    run(connection, count + 2);
    connection->deadline_ms = clock_ms() + PG_DEADLINE_MS;
    connection->warned = false; /* about a standby: its lack is met by the next commit */
    if (connection->error == STORE_OK)
        return true;
    memcpy(why, connection->message, sizeof(why));
    snprintf(connection->message, sizeof(connection->message),
             "upgrade of its schema from version %" PRId64 " to %d: %s", version, PG_SCHEMA_VERSION,
             why);
    return false;
}

enum store_error pg_check_writer(struct pg_connection *connection, int64_t lowest_writer)
{
    char message[sizeof(connection->message)];
    if (lowest_writer <= PG_SCHEMA_VERSION)
        return STORE_OK;
    snprintf(message, sizeof(message),
             "was upgraded: it takes programs of schema version %" PRId64
             " or later, this one is of version %d",
             lowest_writer, PG_SCHEMA_VERSION);
    return pg_fail(connection, STORE_BROKEN, message);
}
