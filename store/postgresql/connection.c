#include "store/postgresql/connection.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/bytes.h"

int64_t pg_clock_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000) + now.tv_nsec / 1000000;
}

/* ---- failures ---- */

enum store_error pg_fail(struct pg_connection *connection, enum store_error error)
{
    if (connection->error == STORE_OK)
        connection->error = error;
    return error;
}

static void keep_message(struct pg_connection *connection, const char *message)
{
    size_t len = strcspn(message, "\n");
    snprintf(connection->message, sizeof(connection->message), "%.*s", (int)len, message);
    connection->sqlstate[0] = '\0';
}

void pg_disconnect(struct pg_connection *connection)
{
    PQfinish(connection->pg);
    connection->pg = NULL;
}

/* The connection can't be used any more: it is broken, or an answer did not come in time. */
static bool lose(struct pg_connection *connection)
{
    if (connection->error == STORE_OK && connection->pg)
        keep_message(connection, PQerrorMessage(connection->pg));
    pg_fail(connection, STORE_UNAVAILABLE);
    connection->lost = true;
    pg_disconnect(connection);
    return false;
}

static void fail_by_sqlstate(struct pg_connection *connection, const PGresult *result)
{
    static const struct {
        const char *begins;
        enum store_error error;
        bool repeat, lost;
    } states[] = {
        {"40001", STORE_UNAVAILABLE, true, false}, /* serialization_failure */
        {"40P01", STORE_UNAVAILABLE, true, false}, /* deadlock_detected */
        {"23505", STORE_UNAVAILABLE, true, false}, /* unique_violation: another was faster */
        {"53100", STORE_FULL, false, false},       /* disk_full */
        {"XX001", STORE_CORRUPT, false, false},    /* data_corrupted */
        {"XX002", STORE_CORRUPT, false, false},    /* index_corrupted */
        {"25006", STORE_UNAVAILABLE, false, true}, /* read only: it has become a standby */
        {"57P", STORE_UNAVAILABLE, false, true},   /* the server stops, or has not started */
        {"08", STORE_UNAVAILABLE, false, true},    /* connection_exception */
        {"", STORE_UNAVAILABLE, false, false},
    };
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    state = state ? state : "08"; /* made by libpq itself */
    const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    size_t i = 0;
    while (strncmp(state, states[i].begins, strlen(states[i].begins)) != 0)
        i++;
    keep_message(connection, message ? message : "");
    snprintf(connection->sqlstate, sizeof(connection->sqlstate), "%s", state);
    connection->repeat |= states[i].repeat;
    pg_fail(connection, states[i].error);
    if (states[i].lost)
        lose(connection);
}

/* ---- waiting ---- */

/* Waits for the socket. False at the deadline. */
static bool wait_socket(const struct pg_connection *connection, short events, short *ready)
{
    struct pollfd poller = {.fd = PQsocket(connection->pg), .events = events};
    int64_t left_ms;
    int count;
    do {
        left_ms = connection->deadline_ms - pg_clock_ms();
        count = poll(&poller, 1, left_ms > 0 ? (int)left_ms : 0);
    } while (count < 0 && errno == EINTR);
    *ready = poller.revents;
    return count > 0;
}

/* Waits until a result is there. False with the connection lost. */
static bool wait_result(struct pg_connection *connection)
{
    while (PQisBusy(connection->pg)) {
        int unsent = PQflush(connection->pg);
        short ready;
        if (unsent < 0 || !wait_socket(connection, unsent ? POLLIN | POLLOUT : POLLIN, &ready) ||
            ((ready & ~POLLOUT) && !PQconsumeInput(connection->pg)))
            return lose(connection);
    }
    return true;
}

/* ---- statements ---- */

static void add(struct pg_parameters *parameters, const void *bytes, size_t len)
{
    parameters->values[parameters->count] = bytes;
    parameters->lengths[parameters->count++] = (int)len;
}

struct pg_parameters *pg_int(struct pg_parameters *parameters, int64_t value)
{
    unsigned char *number = parameters->numbers[parameters->count];
    put_big64(number, value);
    add(parameters, number, 8);
    return parameters;
}

struct pg_parameters *pg_bool(struct pg_parameters *parameters, bool value)
{
    add(parameters, value ? "\1" : "\0", 1);
    return parameters;
}

struct pg_parameters *pg_bytes(struct pg_parameters *parameters, const void *bytes, size_t len)
{
    add(parameters, bytes, len);
    return parameters;
}

struct pg_parameters *pg_text(struct pg_parameters *parameters, struct span text)
{
    add(parameters, text.at ? text.at : "", text.len);
    return parameters;
}

struct pg_parameters *pg_null(struct pg_parameters *parameters)
{
    add(parameters, NULL, 0);
    return parameters;
}

static const int all_binary[PG_PARAMETERS_MAX] = {1, 1, 1, 1, 1, 1, 1, 1, 1,
                                                  1, 1, 1, 1, 1, 1, 1, 1, 1};

#define STATEMENT_NAME(constant, sql) #constant,
#define STATEMENT_SQL(constant, sql)  sql,
static const char *const statement_names[] = {STATEMENTS(STATEMENT_NAME)};
static const char *const statement_sqls[] = {STATEMENTS(STATEMENT_SQL)};

void pg_send(struct pg_connection *connection, enum statement statement,
             const struct pg_parameters *parameters)
{
    if (connection->error == STORE_OK &&
        !PQsendQueryPrepared(connection->pg, statement_names[statement], parameters->count,
                             parameters->values, parameters->lengths, all_binary, 1))
        lose(connection);
}

void pg_send_text(struct pg_connection *connection, const char *sql,
                  const struct pg_parameters *parameters)
{
    if (connection->error == STORE_OK &&
        !PQsendQueryParams(connection->pg, sql, parameters->count, NULL, parameters->values,
                           parameters->lengths, all_binary, 1))
        lose(connection);
}

void pg_sync(struct pg_connection *connection)
{
    if (connection->error == STORE_OK && !PQpipelineSync(connection->pg))
        lose(connection);
}

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
    lose(connection);
    return NULL;
}

PGresult *pg_result(struct pg_connection *connection)
{
    PGresult *result = connection->error == STORE_OK ? take_result(connection) : NULL;
    if (!result)
        return NULL;
    ExecStatusType status = PQresultStatus(result);
    if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK || status == PGRES_SINGLE_TUPLE)
        return result;
    fail_by_sqlstate(connection, result);
    PQclear(result);
    return NULL;
}

/* libpq takes the mode for the statement whose results come next. */
void pg_stream(struct pg_connection *connection)
{
    if (connection->error == STORE_OK)
        PQsetSingleRowMode(connection->pg);
}

void pg_finish(struct pg_connection *connection)
{
    ExecStatusType status = PGRES_EMPTY_QUERY;
    while (connection->pg && status != PGRES_PIPELINE_SYNC) {
        PGresult *result = take_result(connection);
        status = PQresultStatus(result);
        PQclear(result);
    }
}

PGresult *pg_query(struct pg_connection *connection, enum statement statement,
                   const struct pg_parameters *parameters)
{
    pg_send(connection, statement, parameters);
    pg_sync(connection);
    PGresult *result = pg_result(connection);
    pg_finish(connection);
    return result;
}

/* ---- connecting ---- */

static void note_warning(void *context, const PGresult *notice)
{
    struct pg_connection *connection = context;
    const char *severity = PQresultErrorField(notice, PG_DIAG_SEVERITY_NONLOCALIZED);
    connection->warned |= severity && strcmp(severity, "WARNING") == 0;
}

enum { LIST_LEN_MAX = 1024 };

/* Writes a list of comma-separated items from another one on: "b,c,a". */
static void rotate(const char *list, unsigned rotation, char out[static LIST_LEN_MAX])
{
    unsigned count = 1;
    const char *first = list;
    for (const char *at = list; (at = strchr(at, ',')); at++)
        count++;
    for (unsigned i = rotation % count; i > 0; i--)
        first = strchr(first, ',') + 1;
    bool rotated = first > list;
    snprintf(out, LIST_LEN_MAX, "%s%s%.*s", first, rotated ? "," : "",
             rotated ? (int)(first - list) - 1 : 0, list);
}

/* libpq tries the hosts in their order: from another one on, where the first did not answer or is
 * an old primary that has come back. */
static PGconn *start_connection(const struct pg_store *store)
{
    enum { OPTIONS_MAX = 64, LISTS_MAX = 3 };
    static const char *const ours[][2] = {{"client_encoding", "UTF8"},
                                          {"fallback_application_name", "token"},
                                          {"target_session_attrs", "read-write"},
                                          {"gssencmode", "disable"}};
    enum { OURS = sizeof(ours) / sizeof(ours[0]) };
    const char *names[OPTIONS_MAX + OURS + 1], *values[OPTIONS_MAX + OURS + 1];
    char lists[LISTS_MAX][LIST_LEN_MAX];
    size_t count = 0, lists_count = 0;
    for (; count < OURS; count++) {
        names[count] = ours[count][0];
        values[count] = ours[count][1];
    }
    for (const PQconninfoOption *option = store->options; option->keyword; option++) {
        if (!option->val || count == OPTIONS_MAX + OURS)
            continue;
        names[count] = option->keyword;
        values[count] = option->val;
        if ((strncmp(option->keyword, "host", 4) == 0 || strcmp(option->keyword, "port") == 0) &&
            strlen(option->val) < LIST_LEN_MAX) {
            rotate(option->val, atomic_load(&store->rotation), lists[lists_count]);
            values[count] = lists[lists_count++];
        }
        count++;
    }
    names[count] = NULL;
    return PQconnectStartParams(names, values, 0);
}

static bool wait_connected(struct pg_connection *connection)
{
    PostgresPollingStatusType status = PGRES_POLLING_WRITING;
    if (!connection->pg || PQstatus(connection->pg) == CONNECTION_BAD)
        return false;
    while (status == PGRES_POLLING_READING || status == PGRES_POLLING_WRITING) {
        short ready, events = status == PGRES_POLLING_READING ? POLLIN : POLLOUT;
        if (!wait_socket(connection, events, &ready))
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
    pg_send_text(connection, sql, PG_PARAMETERS);
    pg_sync(connection);
    PGresult *result = pg_result(connection);
    struct pg_row row = {.result = result};
    long long timeline = result ? pg_next_int(&row) : 0;
    PQclear(result);
    pg_finish(connection);
    if (connection->lost)
        return false;
    connection->error = STORE_OK;
    long long highest = atomic_load(&connection->store->timeline);
    while (timeline > highest &&
           !atomic_compare_exchange_weak(&connection->store->timeline, &highest, timeline))
        ;
    if (timeline == 0 || timeline >= highest)
        return true;
    keep_message(connection, "this server is an old primary: another one has a higher timeline");
    pg_fail(connection, STORE_UNAVAILABLE);
    return false;
}

bool pg_prepare(struct pg_connection *connection)
{
    for (size_t i = 0; i < STATEMENT_COUNT && connection->error == STORE_OK; i++)
        if (!PQsendPrepare(connection->pg, statement_names[i], statement_sqls[i], 0, NULL))
            lose(connection);
    pg_sync(connection);
    for (size_t i = 0; i < STATEMENT_COUNT; i++)
        PQclear(pg_result(connection));
    pg_finish(connection);
    return connection->error == STORE_OK;
}

static bool connect_once(struct pg_connection *connection, bool prepare)
{
    connection->pg = start_connection(connection->store);
    pg_options_keep(connection->store, connection->pg);
    if (!wait_connected(connection))
        return lose(connection);
    PQsetNoticeReceiver(connection->pg, note_warning, connection);
    if (PQsetnonblocking(connection->pg, 1) != 0 || !PQenterPipelineMode(connection->pg))
        return lose(connection);
    return check_timeline(connection) && (!prepare || pg_prepare(connection));
}

/* While the database is away one connection a second is tried, by one thread; the others fail at
 * once. */
bool pg_connect(struct pg_connection *connection, bool prepare)
{
    enum { PROBE_INTERVAL_MS = 1000 };
    struct pg_store *store = connection->store;
    long long probe_ms = atomic_load(&store->probe_ms), now_ms = pg_clock_ms();
    if (probe_ms > 0 &&
        (now_ms < probe_ms || !atomic_compare_exchange_strong(&store->probe_ms, &probe_ms,
                                                              now_ms + PROBE_INTERVAL_MS))) {
        keep_message(connection, "the database is away");
        pg_fail(connection, STORE_UNAVAILABLE);
        return false;
    }
    if (connect_once(connection, prepare)) {
        atomic_store(&store->probe_ms, 0);
        return true;
    }
    lose(connection);
    connection->lost = false; /* another attempt now would be no better */
    atomic_fetch_add(&store->rotation, 1);
    atomic_store(&store->probe_ms, pg_clock_ms() + PROBE_INTERVAL_MS);
    return false;
}

void pg_begin(struct pg_connection *connection, int64_t deadline_ms)
{
    connection->deadline_ms = deadline_ms;
    connection->error = STORE_OK;
    connection->lost = connection->repeat = connection->warned = false;
    if (!connection->pg)
        pg_connect(connection, true);
}

/* ---- rows of results ---- */

/* The next column's value: absent where it is NULL. */
static struct span next_value(struct pg_row *row)
{
    int column = row->column++;
    if (PQgetisnull(row->result, row->row, column))
        return (struct span){NULL, 0};
    return (struct span){PQgetvalue(row->result, row->row, column),
                         (size_t)PQgetlength(row->result, row->row, column)};
}

int64_t pg_next_int(struct pg_row *row)
{
    struct span value = next_value(row);
    if (value.len == 8)
        return get_big64((const unsigned char *)value.at);
    row->bad |= value.at != NULL;
    return 0;
}

bool pg_next_bool(struct pg_row *row)
{
    struct span value = next_value(row);
    row->bad |= value.len != 1;
    return value.len == 1 && value.at[0] != 0;
}

struct span pg_next_text(struct pg_row *row)
{
    return next_value(row);
}

bool pg_next_bytes(struct pg_row *row, void *bytes, size_t len)
{
    struct span value = next_value(row);
    row->bad |= value.at && value.len != len;
    if (value.at && value.len == len)
        memcpy(bytes, value.at, len);
    return value.at != NULL;
}
