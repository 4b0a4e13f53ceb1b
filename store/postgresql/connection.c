/* Statements on a connection, in libpq's pipeline mode. */

#include "store/postgresql/engine.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>

#include "base/clock.h"

/* ---- failures ---- */

enum store_error pg_fail(struct pg_connection *connection, enum store_error error,
                         const char *message)
{
    if (connection->error == STORE_OK) {
        connection->error = error;
        if (error == STORE_BROKEN)
            atomic_store(&connection->store->base.broken, true);
        snprintf(connection->message, sizeof(connection->message), "%.*s",
                 (int)strcspn(message, "\n"), message);
    }
    return error;
}

bool pg_lose(struct pg_connection *connection)
{
    const char *message = PQerrorMessage(connection->pg);
    pg_fail(connection, STORE_UNAVAILABLE, *message ? message : "no answer in time");
    connection->lost = true;
    pg_disconnect(connection);
    return false;
}

static void fail_by_sqlstate(struct pg_connection *connection, const PGresult *result)
{
    enum action { NONE, REPEAT, LOSE };
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
        {"42P01", STORE_BROKEN, NONE},        /* undefined_table */
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
    if (states[i].error == STORE_BROKEN)
        message = "there is no store; run tokenctl init";
    pg_fail(connection, states[i].error, message ? message : "");
    if (states[i].action == LOSE)
        pg_lose(connection);
}

/* ---- waiting ---- */

bool pg_wait_socket(const struct pg_connection *connection, short events, int64_t deadline_ms)
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
            !pg_wait_socket(connection, unsent ? POLLIN | POLLOUT : POLLIN,
                            connection->deadline_ms) ||
            !PQconsumeInput(connection->pg))
            return pg_lose(connection);
    }
    return true;
}

/* ---- statements ---- */

static const int all_binary[PG_PARAMETERS_MAX] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
                                                  1, 1, 1, 1, 1, 1, 1, 1, 1, 1};

/* Statements are prepared under their numbers. */
void pg_send(struct pg_connection *connection, enum pg_statement statement,
             const struct pg_parameters *parameters)
{
    char name[12];
    snprintf(name, sizeof(name), "%d", statement);
    if (connection->error == STORE_OK &&
        !PQsendQueryPrepared(connection->pg, name, parameters->count, parameters->values,
                             parameters->lengths, all_binary, 1))
        pg_lose(connection);
}

void pg_send_text(struct pg_connection *connection, const char *sql,
                  const struct pg_parameters *parameters)
{
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
        status == PGRES_SINGLE_TUPLE)
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
    while (connection->busy && connection->pg && status != PGRES_PIPELINE_SYNC) {
        PGresult *result = take_result(connection);
        status = PQresultStatus(result);
        PQclear(result);
    }
    connection->busy = false;
}
