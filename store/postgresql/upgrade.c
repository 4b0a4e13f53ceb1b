/* The schema: making it, and upgrading an older one, by the statements of schema.sql. */

#include <inttypes.h>
#include <stdio.h>

#include "base/clock.h"
#include "store/postgresql/engine.h"

enum { SCHEMA_MS = 60000 };

/* Sends what the versions above that one have brought, and another statement; takes all results. */
static void send_versions(struct pg_connection *connection, int64_t above, const char *last,
                          const struct pg_parameters *parameters)
{
#define VERSION_STATEMENT(version, sql) {version, sql},
    static const struct {
        int64_t version;
        const char *sql;
    } statements[] = {PG_SCHEMA_SQL(VERSION_STATEMENT)};
    int count = 1;
    for (size_t i = 0; i < sizeof(statements) / sizeof(statements[0]); i++) {
        if (statements[i].version <= above)
            continue;
        pg_send_text(connection, statements[i].sql, PG_PARAMETERS);
        count++;
    }
    pg_send_text(connection, last, parameters);
    pg_sync(connection);
    for (; count > 0; count--)
        PQclear(pg_result(connection));
    pg_finish(connection);
}

/* What is sent until a sync is one transaction. */
void pg_make_schema(struct pg_connection *connection)
{
    const struct seal *seal = connection->store->base.seal;
    struct pg_parameters *meta = PG_PARAMETERS;
    pg_int(pg_int(meta, PG_SCHEMA_VERSION), seal_get_cipher(seal));
    pg_span(meta, (struct span){(const char *)seal_check_value(seal), SEAL_CHECK_LEN});
    connection->deadline_ms = clock_ms() + SCHEMA_MS;
    send_versions(connection, 0, "INSERT INTO meta VALUES ($1, $1, $2, $3)", meta);
}

/* One of several that try it does it, the others find it done. Groups of writes begin with a row of
 * commits: while the table is locked none holds anything that the changes wait for. Others wait
 * behind these, hence the short time-out. */
static const char *const locks[] = {
    "BEGIN",
    "SET LOCAL lock_timeout = '2s'",
    "LOCK TABLE commits IN SHARE ROW EXCLUSIVE MODE",
    "SELECT schema_version FROM meta FOR UPDATE",
};

static int64_t lock_schema(struct pg_connection *connection)
{
    int64_t version = 0;
    size_t count = sizeof(locks) / sizeof(locks[0]);
    for (size_t i = 0; i < count; i++)
        pg_send_text(connection, locks[i], PG_PARAMETERS);
    pg_sync(connection);
    for (size_t i = 0; i < count; i++) {
        PGresult *result = pg_result(connection);
        if (result && PQntuples(result) == 1)
            version = pg_next_int(&(struct pg_values){.result = result});
        PQclear(result);
    }
    pg_finish(connection);
    return version;
}

bool pg_upgrade_schema(struct pg_connection *connection, int64_t version)
{
    static const char update[] = "UPDATE meta SET schema_version = $1";
    char why[sizeof(connection->message)];
    if (version >= PG_SCHEMA_VERSION)
        return true;
    connection->deadline_ms = clock_ms() + SCHEMA_MS;
    int64_t locked = lock_schema(connection);
    if (locked < PG_SCHEMA_VERSION)
        send_versions(connection, locked, update, pg_int(PG_PARAMETERS, PG_SCHEMA_VERSION));
    pg_send_text(connection, "COMMIT", PG_PARAMETERS);
    pg_sync(connection);
    PQclear(pg_result(connection));
    pg_finish(connection);
    connection->warned = false; /* about a standby: its lack is met by the next commit */
    if (connection->error == STORE_OK)
        return true;
    memcpy(why, connection->message, sizeof(why));
    snprintf(connection->message, sizeof(connection->message),
             "upgrade of its schema from version %" PRId64 " to %d: %.200s", version,
             PG_SCHEMA_VERSION, why);
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
