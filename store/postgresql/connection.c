/* Connections, and statements on them in libpq's pipeline mode. Deadlines are the engine's own
 * (poll): libpq has none for what is done step by step. */

#include "store/postgresql/engine.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>

#include "base/clock.h"

/* ---- failures ---- */

void pg_disconnect(struct pg_connection *connection)
{
    PQfinish(connection->pg);
    connection->pg = NULL;
    connection->copies = false;
}

static void keep_trouble(const struct pg_connection *connection)
{
    struct pg_store *store = connection->store;
    pthread_mutex_lock(&store->state_lock);
    memcpy(store->trouble, connection->message, sizeof(store->trouble));
    pthread_mutex_unlock(&store->state_lock);
}

enum store_error pg_fail(struct pg_connection *connection, enum store_error error,
                         const char *message)
{
    if (connection->error == STORE_OK) {
        connection->error = error;
        snprintf(connection->message, sizeof(connection->message), "%.*s",
                 (int)strcspn(message, "\n"), message);
        if (error == STORE_BROKEN) {
            keep_trouble(connection);
            atomic_store(&connection->store->base.broken, true);
        }
    }
    return error;
}

bool pg_lose(struct pg_connection *connection)
{
    const char *message = PQerrorMessage(connection->pg);
    /* One that is complete has a newline; while libpq connects, it has no reason yet. */
    pg_fail(connection, STORE_UNAVAILABLE, strchr(message, '\n') ? message : "no answer in time");
    connection->lost = true;
    pg_disconnect(connection);
    return false;
}

static void fail_by_sqlstate(struct pg_connection *connection, const PGresult *result)
{
    enum action { NONE, REPEAT, LOSE, MISS };
    static const struct {
        const char *begin;
        enum store_error error;
        enum action action;
    } states[] = {
        {"40001", STORE_UNAVAILABLE, REPEAT}, /* serialization_failure */
        {"40P01", STORE_UNAVAILABLE, REPEAT}, /* deadlock_detected */
        {"23505", STORE_UNAVAILABLE, REPEAT}, /* unique_violation: another was faster */
        {"53100", STORE_FULL, NONE},          /* disk_full */
        {"XX001", STORE_CORRUPT, NONE},       /* data_corrupted */
        {"XX002", STORE_CORRUPT, NONE},       /* index_corrupted */
        {"42P01", STORE_UNAVAILABLE, MISS},   /* undefined_table */
        {"42703", STORE_BROKEN, NONE},        /* undefined_column: it was changed by hand */
        {"0A000", STORE_UNAVAILABLE, LOSE},   /* the columns of a prepared statement have changed */
        {"25006", STORE_UNAVAILABLE, LOSE},   /* read only: it has become a standby */
        {"57P", STORE_UNAVAILABLE, LOSE},     /* the server stops, or has not started */
        {"08", STORE_UNAVAILABLE, LOSE},      /* connection_exception */
        {"", STORE_UNAVAILABLE, NONE},
    };
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    size_t i = 0;
    state = state ? state : "08"; /* made by libpq itself */
    while (strncmp(state, states[i].begin, strlen(states[i].begin)) != 0)
        i++;
    connection->repeat |= states[i].action == REPEAT;
    connection->misses_store |= states[i].action == MISS;
    pg_fail(connection, states[i].error, message ? message : "");
    if (states[i].action >= LOSE)
        pg_lose(connection);
}

/* ---- waiting ---- */

static bool wait_socket(const struct pg_connection *connection, short events, int64_t deadline_ms)
{
    struct pollfd poller = {.fd = PQsocket(connection->pg), .events = events};
    int count;
    do {
        int64_t left_ms = deadline_ms - clock_ms();
        count = poll(&poller, 1, left_ms > 0 ? (int)left_ms : 0);
    } while (count < 0 && errno == EINTR);
    return count > 0;
}

/* Waits until a result is there. False with the connection lost. */
static bool wait_result(struct pg_connection *connection)
{
    while (PQisBusy(connection->pg)) {
        int unsent = PQflush(connection->pg);
        if (unsent < 0 ||
            !wait_socket(connection, unsent ? POLLIN | POLLOUT : POLLIN, connection->deadline_ms) ||
            !PQconsumeInput(connection->pg))
            return pg_lose(connection);
    }
    return true;
}

/* ---- results ---- */

/* A result, whatever it is; NULL where the connection is lost. */
static PGresult *take_result(struct pg_connection *connection)
{
    /* After each statement's results comes a NULL. */
    for (int i = 0; i < 2; i++) {
        if (!wait_result(connection))
            return NULL;
        PGresult *result = PQgetResult(connection->pg);
        if (result)
            return result;
    }
    pg_lose(connection);
    return NULL;
}

PGresult *pg_result(struct pg_connection *connection)
{
    PGresult *result = connection->error == STORE_OK ? take_result(connection) : NULL;
    ExecStatusType status = PQresultStatus(result);
    if (!result || status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK ||
        status == PGRES_SINGLE_TUPLE || status == PGRES_COPY_IN)
        return result;
    fail_by_sqlstate(connection, result);
    PQclear(result);
    return NULL;
}

/* Takes the result of a COPY, with which the server is busy perhaps. */
static void finish_copy(struct pg_connection *connection)
{
    PGresult *result;
    connection->copies = false;
    PQclear(pg_result(connection));
    while (connection->pg && wait_result(connection) && (result = PQgetResult(connection->pg)))
        PQclear(result);
    if (connection->pg && !PQenterPipelineMode(connection->pg))
        pg_lose(connection);
}

/* libpq has no COPY in a pipeline. */
void pg_copy(struct pg_connection *connection, const char *sql, struct span rows)
{
    int unsent = 0;
    if (connection->copies)
        finish_copy(connection);
    if (connection->error == STORE_OK &&
        (!PQexitPipelineMode(connection->pg) || !PQsendQuery(connection->pg, sql)))
        pg_lose(connection);
    PQclear(pg_result(connection));
    if (connection->error != STORE_OK)
        return;
    connection->copies = true;
    if (PQputCopyData(connection->pg, rows.at, (int)rows.len) != 1 ||
        PQputCopyEnd(connection->pg, NULL) != 1)
        pg_lose(connection);
    while (connection->pg && (unsent = PQflush(connection->pg)) > 0 &&
           wait_socket(connection, POLLOUT, connection->deadline_ms))
        ;
    if (unsent != 0)
        pg_lose(connection);
}

/* ---- statements ---- */

static const int all_binary[] = {[0 ... PG_PARAMETERS_MAX - 1] = 1};

/* Statements are prepared under their numbers. */
void pg_send(struct pg_connection *connection, enum pg_statement statement,
             const struct pg_parameters *parameters)
{
    char name[12];
    snprintf(name, sizeof(name), "%d", statement);
    if (connection->copies)
        finish_copy(connection);
    if (connection->error == STORE_OK &&
        !PQsendQueryPrepared(connection->pg, name, parameters->count, parameters->values,
                             parameters->lengths, all_binary, 1))
        pg_lose(connection);
}

void pg_send_text(struct pg_connection *connection, const char *sql,
                  const struct pg_parameters *parameters)
{
    if (connection->copies)
        finish_copy(connection);
    if (connection->error == STORE_OK &&
        !PQsendQueryParams(connection->pg, sql, parameters->count, NULL, parameters->values,
                           parameters->lengths, all_binary, 1))
        pg_lose(connection);
}

void pg_sync(struct pg_connection *connection)
{
    connection->busy = connection->pg != NULL;
    if (connection->pg && !PQpipelineSync(connection->pg))
        pg_lose(connection);
}

/* libpq takes the mode for the statement whose results come next. */
void pg_stream(struct pg_connection *connection)
{
    if (connection->error == STORE_OK && !PQsetSingleRowMode(connection->pg))
        pg_lose(connection);
}

void pg_finish(struct pg_connection *connection)
{
    ExecStatusType status = PGRES_EMPTY_QUERY;
    while (connection->busy && connection->pg && status != PGRES_PIPELINE_SYNC) {
        PGresult *result = take_result(connection);
        status = PQresultStatus(result);
        PQclear(result);
    }
    connection->busy = false;
}

/* ---- connecting ---- */

static PGconn *start(const struct pg_store *store, const struct pg_host *host)
{
    enum { OPTIONS_MAX = 64 };
    const char *const ours[][2] = {{"host", host->host},
                                   {"hostaddr", host->address},
                                   {"port", host->port},
                                   {"client_encoding", "UTF8"},
                                   {"fallback_application_name", "token"},
                                   {"gssencmode", "disable"},
                                   {"target_session_attrs", "read-write"},
                                   {NULL, NULL}};
    const char *names[OPTIONS_MAX + 8], *values[OPTIONS_MAX + 8];
    size_t count = 0;
    for (const PQconninfoOption *option = store->options; option->keyword; option++) {
        names[count] = option->keyword;
        values[count] = option->val;
        count += option->val && count < OPTIONS_MAX;
    }
    for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++, count++) {
        names[count] = ours[i][0];
        values[count] = ours[i][1];
    }
    return PQconnectStartParams(names, values, 0);
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
        if (!wait_socket(connection, events, deadline_ms))
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

/* Whether the store is of this version and was made with this secret. The rotation is followed by
 * the writer alone: its secrets must not change within a group, and what another connection has
 * read may be older. */
static void check_meta(struct pg_connection *connection, const PGresult *result, int64_t begun_ms)
{
    struct pg_store *store = connection->store;
    struct pg_values values = {.result = result};
    int64_t lowest_writer = pg_next_int(&values), cipher = pg_next_int(&values);
    connection->distributes = pg_next_int(&values) > 0;
    struct seal_rotation rotation;
    pg_next_rotation(&values, &rotation);
    bool writes = pg_check_writer(connection, lowest_writer) == STORE_OK;
    pthread_mutex_lock(&store->state_lock);
    bool follows = connection == &store->writer || atomic_load(&store->base.generation) == 0;
    const char *wrong = writes && follows ? store_follow(&store->base, &rotation) : NULL;
    if (writes && !wrong && !store->verified &&
        !seal_use_cipher(store->base.seal, (enum seal_cipher)cipher))
        wrong = "its keys are sealed with a cipher that this CPU does not support";
    store->verified |= writes && !wrong;
    if (writes && !wrong && rotation.generation == atomic_load(&store->base.generation))
        atomic_store(&store->trusted_ms, begun_ms);
    pthread_mutex_unlock(&store->state_lock);
    if (wrong)
        pg_fail(connection, STORE_BROKEN, wrong);
}

/* Whatever the role's settings are: the warning of a cancelled wait for a standby is sent; a
 * writer whose machine is gone leaves no locks, and no statement that waits for one. Returns the
 * schema's version. */
static int64_t set_session(struct pg_connection *connection)
{
    static const char sql[] = "SELECT set_config('client_min_messages', 'warning', false), "
                              "set_config('idle_in_transaction_session_timeout', $1, false), "
                              "set_config('lock_timeout', $1, false)";
    bool writes = connection->statement_count == PG_STATEMENTS;
    pg_send_text(connection, sql, pg_span(PG_PARAMETERS, writes ? SPAN("5s") : SPAN("0")));
    pg_send_text(connection, "SELECT schema_version FROM meta", PG_PARAMETERS);
    pg_sync(connection);
    PQclear(pg_result(connection));
    PGresult *result = pg_result(connection);
    int64_t version = result ? pg_next_int(&(struct pg_values){.result = result}) : 0;
    if (result && PQntuples(result) != 1)
        pg_fail(connection, STORE_BROKEN, "damaged: its table meta has not one row");
    PQclear(result);
    pg_finish(connection);
    return version;
}

/* Statements are prepared under their numbers. */
bool pg_prepare(struct pg_connection *connection)
{
    static const char read_meta[] =
        "SELECT lowest_writer, cipher, (SELECT count(*) FROM pg_extension WHERE extname = 'citus'),"
        " secret_generation, secret_phase, secret_check, next_secret_check FROM meta";
#define STATEMENT_SQL(name, sql) sql,
    static const char *const statements[] = {PG_STATEMENTS_SQL(STATEMENT_SQL)};
    char name[12];
    int64_t begun_ms = clock_ms(), version = set_session(connection);
    if (connection->error != STORE_OK || !pg_upgrade_schema(connection, version))
        return false;
    pg_send_text(connection, read_meta, PG_PARAMETERS);
    for (int i = 0; i < connection->statement_count && connection->error == STORE_OK; i++) {
        snprintf(name, sizeof(name), "%d", i);
        if (!PQsendPrepare(connection->pg, name, statements[i], 0, NULL))
            pg_lose(connection);
    }
    pg_sync(connection);
    PGresult *result = pg_result(connection);
    if (result)
        check_meta(connection, result, begun_ms);
    PQclear(result);
    for (int i = 0; i < connection->statement_count; i++)
        PQclear(pg_result(connection));
    pg_finish(connection);
    return connection->error == STORE_OK;
}

static bool connect_to(struct pg_connection *connection, const struct pg_host *host,
                       int64_t deadline_ms)
{
    connection->error = STORE_OK;
    connection->lost = connection->misses_store = false;
    connection->pg = start(connection->store, host);
    if (!wait_connected(connection, deadline_ms))
        return pg_lose(connection);
    PQsetNoticeReceiver(connection->pg, note_warning, connection);
    if (PQsetnonblocking(connection->pg, 1) != 0 || !PQenterPipelineMode(connection->pg))
        return pg_lose(connection);
    if (check_timeline(connection) && (connection->statement_count == 0 || pg_prepare(connection)))
        return true;
    return pg_lose(connection);
}

/* Tries all hosts, from the one that was in use last on. One without the store may be a new machine
 * in the place of another: the store is missing only where each host says so. */
static bool connect_any(struct pg_connection *connection)
{
    enum { CONNECT_MS = 2500 }; /* the longest for a host, if others are left */
    struct pg_store *store = connection->store;
    unsigned count = store->host_count, first = atomic_load(&store->host), missing = 0;
    for (unsigned i = 0; i < count; i++) {
        int64_t now_ms = clock_ms(), left_ms = (connection->deadline_ms - now_ms) / (count - i);
        int64_t deadline_ms = now_ms + (left_ms < CONNECT_MS ? left_ms : CONNECT_MS);
        if (connect_to(connection, &store->hosts[(first + i) % count], deadline_ms)) {
            atomic_store(&store->host, (first + i) % count);
            return true;
        }
        if (connection->error == STORE_BROKEN)
            break;
        missing += connection->misses_store;
    }
    connection->lost = false; /* another attempt now would be no better */
    if (missing > 0 && connection->error != STORE_BROKEN) {
        connection->error = STORE_OK;
        pg_fail(connection, missing == count ? STORE_BROKEN : STORE_UNAVAILABLE,
                STORE_MISSING "; restore it, or run tokenctl init");
    }
    return false;
}

/* While the database is away one thread a second tries to connect; the others fail at once. */
static void probe(struct pg_connection *connection)
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
    if (connect_any(connection)) {
        atomic_store(&store->probe_ms, 0);
    } else {
        keep_trouble(connection);
        atomic_store(&store->probe_ms, clock_ms() + PROBE_INTERVAL_MS);
    }
}

void pg_begin(struct pg_connection *connection, int64_t deadline_ms)
{
    connection->deadline_ms = deadline_ms;
    connection->error = STORE_OK;
    connection->lost = connection->repeat = connection->warned = false;
    if (!connection->pg)
        probe(connection);
}
