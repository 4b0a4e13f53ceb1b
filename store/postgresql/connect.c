/* Connecting. Deadlines are the engine's own (poll): libpq has none for connections that are made
 * step by step. */

#include <poll.h>
#include <stdio.h>

#include <sodium.h>

#include "base/clock.h"
#include "store/postgresql/engine.h"

void pg_disconnect(struct pg_connection *connection)
{
    PQfinish(connection->pg);
    connection->pg = NULL;
}

static void note_warning(void *context, const PGresult *notice)
{
    struct pg_connection *connection = context;
    const char *severity = PQresultErrorField(notice, PG_DIAG_SEVERITY_NONLOCALIZED);
    connection->warned |= severity && strcmp(severity, "WARNING") == 0;
}

static bool wait_connected(const struct pg_connection *connection, int64_t deadline_ms)
{
    PostgresPollingStatusType status = PGRES_POLLING_WRITING;
    if (PQstatus(connection->pg) == CONNECTION_BAD)
        return false;
    while (status == PGRES_POLLING_READING || status == PGRES_POLLING_WRITING) {
        short events = status == PGRES_POLLING_READING ? POLLIN : POLLOUT;
        if (!pg_wait_socket(connection, events, deadline_ms))
            return false;
        status = PQconnectPoll(connection->pg);
    }
    return status == PGRES_POLLING_OK;
}

/* Refuses a server that is on a lower timeline than another that was seen: an old primary. Servers
 * that only speak PostgreSQL's protocol need not have timelines. */
static bool check_timeline(struct pg_connection *connection)
{
    static const char sql[] =
        "SELECT ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::bigint";
    atomic_llong *highest = &connection->store->timeline;
    pg_send_text(connection, sql, PG_PARAMETERS);
    pg_sync(connection);
    PGresult *result = pg_result(connection);
    long long timeline = result ? pg_next_int(&(struct pg_values){.result = result}) : 0;
    PQclear(result);
    pg_finish(connection);
    if (connection->lost)
        return false;
    connection->error = STORE_OK;
    long long seen = atomic_load(highest);
    while (timeline > seen && !atomic_compare_exchange_weak(highest, &seen, timeline))
        ;
    if (timeline > 0 && timeline < seen)
        pg_fail(connection, STORE_UNAVAILABLE, "an old primary: another has a higher timeline");
    return connection->error == STORE_OK;
}

/* Whether the store is of this version and was made with this secret. */
static void check_meta(struct pg_connection *connection, const PGresult *result)
{
    struct pg_store *store = connection->store;
    struct pg_values values = {.result = result};
    if (PQntuples(result) != 1) {
        pg_fail(connection, STORE_BROKEN, "damaged: its table meta has not one row");
        return;
    }
    int64_t lowest_writer = pg_next_int(&values), cipher = pg_next_int(&values);
    struct span check = pg_next_span(&values);
    if (lowest_writer > PG_SCHEMA_VERSION)
        pg_fail(connection, STORE_BROKEN, "a newer version of this program uses it");
    else if (check.len != SEAL_CHECK_LEN ||
             sodium_memcmp(check.at, seal_check_value(store->base.seal), SEAL_CHECK_LEN) != 0)
        pg_fail(connection, STORE_BROKEN, "was made with another secret than TOKEN_SECRET's");
    pthread_mutex_lock(&store->verify_lock);
    if (connection->error == STORE_OK && !store->verified &&
        !seal_use_cipher(store->base.seal, (enum seal_cipher)cipher))
        pg_fail(connection, STORE_BROKEN,
                "its keys are sealed with a cipher that this CPU does not support");
    store->verified |= connection->error == STORE_OK;
    pthread_mutex_unlock(&store->verify_lock);
}

/* Statements are prepared under their numbers. */
static bool prepare(struct pg_connection *connection)
{
    static const char read_meta[] = "SELECT lowest_writer, cipher, secret_check FROM meta";
#define STATEMENT_SQL(name, sql) sql,
    static const char *const statements[] = {PG_STATEMENTS_SQL(STATEMENT_SQL)};
    char name[12];
    pg_send_text(connection, read_meta, PG_PARAMETERS);
    for (int i = 0; i < connection->statement_count && connection->error == STORE_OK; i++) {
        snprintf(name, sizeof(name), "%d", i);
        if (!PQsendPrepare(connection->pg, name, statements[i], 0, NULL))
            pg_lose(connection);
    }
    pg_sync(connection);
    PGresult *result = pg_result(connection);
    if (result)
        check_meta(connection, result);
    PQclear(result);
    for (int i = 0; i < connection->statement_count; i++)
        PQclear(pg_result(connection));
    pg_finish(connection);
    return connection->error == STORE_OK;
}

static bool connect_to(struct pg_connection *connection, const struct pg_host *host)
{
    enum { CONNECT_MS = 2500 }; /* then another one is tried */
    int64_t deadline_ms = clock_ms() + CONNECT_MS;
    if (deadline_ms > connection->deadline_ms)
        deadline_ms = connection->deadline_ms;
    connection->error = STORE_OK;
    connection->pg = pg_start(connection->store, host);
    if (!wait_connected(connection, deadline_ms))
        return pg_lose(connection);
    PQsetNoticeReceiver(connection->pg, note_warning, connection);
    if (PQsetnonblocking(connection->pg, 1) != 0 || !PQenterPipelineMode(connection->pg))
        return pg_lose(connection);
    if (check_timeline(connection) && (connection->statement_count == 0 || prepare(connection)))
        return true;
    return pg_lose(connection);
}

/* While the database is away one connection a second is tried, by one thread; the others fail at
 * once. */
static void connect_any(struct pg_connection *connection)
{
    enum { PROBE_INTERVAL_MS = 1000 };
    struct pg_store *store = connection->store;
    long long probe_ms = atomic_load(&store->probe_ms), now_ms = clock_ms();
    if (probe_ms > 0 &&
        (now_ms < probe_ms || !atomic_compare_exchange_strong(&store->probe_ms, &probe_ms,
                                                              now_ms + PROBE_INTERVAL_MS))) {
        pg_fail(connection, STORE_UNAVAILABLE, "the database is away");
        return;
    }
    for (unsigned i = 0; i < store->host_count; i++) {
        unsigned first = atomic_load(&store->host);
        if (connect_to(connection, &store->hosts[first])) {
            atomic_store(&store->probe_ms, 0);
            return;
        }
        connection->lost = false; /* another attempt now would be no better */
        if (connection->error == STORE_BROKEN)
            return;
        atomic_compare_exchange_strong(&store->host, &first, (first + 1) % store->host_count);
    }
    atomic_store(&store->probe_ms, clock_ms() + PROBE_INTERVAL_MS);
}

void pg_begin(struct pg_connection *connection, int64_t deadline_ms)
{
    connection->deadline_ms = deadline_ms;
    connection->error = STORE_OK;
    connection->lost = connection->repeat = connection->warned = false;
    if (!connection->pg)
        connect_any(connection);
}
