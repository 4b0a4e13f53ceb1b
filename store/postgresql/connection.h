#ifndef STORE_POSTGRESQL_CONNECTION_H
#define STORE_POSTGRESQL_CONNECTION_H

#include <pthread.h>

#include <libpq-fe.h>

#include "store/engine.h"
#include "store/txn.h"
#include "store/postgresql/statements.h"

/* Connections, and statements on them in libpq's pipeline mode. libpq's results and SQLSTATEs are
 * translated here and nowhere else. */

enum { PG_DEADLINE_MS = 5000, PG_PARAMETERS_MAX = 18 };

struct pg_store;

struct pg_connection {
    struct pg_store *store;
    PGconn *pg;             /* NULL: not connected */
    int64_t deadline_ms;    /* of the operation, by pg_clock_ms */
    enum store_error error; /* the operation's first failure: what follows does nothing */
    bool lost;              /* the failure was the connection's */
    bool repeat;            /* the failure was a conflict with others: worth another attempt */
    bool warned;            /* a WARNING has come */
    char sqlstate[6];       /* of the last failure; empty where it was the connection's */
    char message[256];      /* the same, without its end; never a password */
};

/* Ids that were taken off a sequence and are not given out yet. */
struct pg_ids {
    int64_t *at;
    size_t count;
};

struct pg_store {
    struct store base; /* first: a pointer to it is one to this */
    PQconninfoOption *options;
    bool options_kept;                  /* by the first attempt to connect */
    atomic_llong timeline;              /* the highest that was seen */
    atomic_llong probe_ms;              /* above 0: away; until then no connection is tried */
    atomic_uint rotation;               /* how far the list of hosts is rotated */
    pthread_mutex_t write_lock;         /* one group at a time */
    struct pg_connection writer;        /* by write_lock */
    struct pg_ids ids[STORE_IDS_COUNT]; /* likewise: refused writes leave no gaps */
};

struct pg_reader {
    struct store_reader base; /* first */
    struct pg_connection connection;
};

int64_t pg_clock_ms(void);

/* Begins an operation: connects where there is no connection. */
void pg_begin(struct pg_connection *connection, int64_t deadline_ms);

/* Connects, with statements prepared or without. False with the connection's error set. */
bool pg_connect(struct pg_connection *connection, bool prepare);

/* Prepares the statements. False with the connection's error set. */
bool pg_prepare(struct pg_connection *connection);

/* options.c. Replaces the names of hosts by their addresses. Returns why that fails, or NULL. */
const char *pg_options_resolve(PQconninfoOption *options);

/* Keeps what the first connection is made with, from the environment and the user's files too,
 * and sets the store's files. */
void pg_options_keep(struct pg_store *store, PGconn *connection);

/* Closes the connection; the next operation opens another. */
void pg_disconnect(struct pg_connection *connection);

/* Keeps the first failure. Returns error. */
enum store_error pg_fail(struct pg_connection *connection, enum store_error error);

/* ---- statements ---- */

/* Parameters, in their order; bytes and texts are not copied. */
struct pg_parameters {
    int count;
    const char *values[PG_PARAMETERS_MAX];
    int lengths[PG_PARAMETERS_MAX];
    unsigned char numbers[PG_PARAMETERS_MAX][8];
};

struct pg_parameters *pg_int(struct pg_parameters *parameters, int64_t value);
struct pg_parameters *pg_bool(struct pg_parameters *parameters, bool value);
struct pg_parameters *pg_bytes(struct pg_parameters *parameters, const void *bytes, size_t len);
struct pg_parameters *pg_text(struct pg_parameters *parameters, struct span text);
struct pg_parameters *pg_null(struct pg_parameters *parameters);
#define PG_PARAMETERS (&(struct pg_parameters){.count = 0})

/* Queues a prepared statement, or one by its text; pg_sync ends what is sent together. */
void pg_send(struct pg_connection *connection, enum statement statement,
             const struct pg_parameters *parameters);
void pg_send_text(struct pg_connection *connection, const char *sql,
                  const struct pg_parameters *parameters);
void pg_sync(struct pg_connection *connection);

/* The next statement's result, or, after pg_stream, its next row; waits until the deadline. The
 * caller clears it. NULL after a failure. */
PGresult *pg_result(struct pg_connection *connection);
void pg_stream(struct pg_connection *connection);

/* Takes the results that are left, so that the next statements can be sent. */
void pg_finish(struct pg_connection *connection);

/* One statement on its own. */
PGresult *pg_query(struct pg_connection *connection, enum statement statement,
                   const struct pg_parameters *parameters);

/* ---- rows of results ---- */

/* A row's columns, in their order. Spans point into the result. */
struct pg_row {
    const PGresult *result;
    int row, column;
    bool bad; /* a column was not what its function reads */
};

int64_t pg_next_int(struct pg_row *row); /* 0 where it is NULL */
bool pg_next_bool(struct pg_row *row);
struct span pg_next_text(struct pg_row *row); /* absent where it is NULL */
/* Whether it is not NULL. */
bool pg_next_bytes(struct pg_row *row, void *bytes, size_t len);

#endif
