#ifndef STORE_POSTGRESQL_ENGINE_H
#define STORE_POSTGRESQL_ENGINE_H

#include <netdb.h>
#include <pthread.h>

#include "store/engine.h"
#include "store/postgresql/schema.h"

/* ---- connections ---- */

enum { PG_DEADLINE_MS = 5000, PG_HOSTS_MAX = 16, PG_FIGURES = 3 };

struct pg_connection {
    struct pg_store *store;
    int statement_count;    /* the first so many are prepared; 0: nothing, and no store is needed */
    PGconn *pg;             /* NULL: not connected */
    bool busy;              /* results up to a sync are to come */
    int64_t deadline_ms;    /* of the operation, by clock_ms */
    enum store_error error; /* the operation's first failure: what follows does nothing */
    bool lost;              /* the failure was the connection's */
    bool repeat;            /* the failure was a conflict with others: worth another attempt */
    bool misses_store;      /* the failure was that a table is missing */
    bool copies;            /* a COPY's result is to come */
    bool warned;            /* a WARNING has come */
    bool distributes;       /* the server has Citus */
    char message[256];      /* of the last failure, without its end; never a password */
};

/* A socket's folder or, the name resolved, an address: names can't be resolved in the sandbox. */
struct pg_host {
    char host[256], address[NI_MAXHOST], port[8];
};

/* Ids that were taken off a sequence; the first ones are given out. */
struct pg_ids {
    int64_t *at;
    size_t count, taken;
};

/* A cache of look-ups by a hash. It may be out of date: the row that it leads to says whether it
 * still has the hash. */
enum { PG_KNOWN = 1024 };

struct pg_known {
    unsigned char hash[SEAL_HASH_LEN];
    int64_t user_id, token_id;
};

/* The place of a hash, if it is known. */
static inline struct pg_known *pg_known(struct pg_known known[static PG_KNOWN],
                                        const unsigned char hash[static SEAL_HASH_LEN])
{
    return &known[(hash[0] << 8 | hash[1]) % PG_KNOWN];
}

struct pg_store {
    struct store base; /* first: a pointer to it is one to this */
    PQconninfoOption *options;
    struct pg_host hosts[PG_HOSTS_MAX];
    unsigned host_count;
    atomic_uint host;             /* the one that was in use last */
    atomic_llong timeline;        /* the highest that was seen */
    atomic_llong probe_ms;        /* above 0: away; until then no connection is tried */
    atomic_llong foreign_keys_ms; /* until then there are none, by clock_ms; -1: there are some */
    atomic_llong trusted_ms;      /* when the rotation's generation was read last, by clock_ms */
    pthread_mutex_t state_lock, write_lock;
    /* By state_lock: */
    bool verified;     /* the seal has the store's cipher */
    char trouble[256]; /* why it is away or broken, the last time that it was */
    /* In the table of workers; see rotation.c. */
    unsigned char worker_id[16];
    char machine[256];
    bool is_worker;
    int64_t announced_ms, announced_generation; /* of a rotation that this process announces */
    /* By write_lock: */
    struct pg_connection writer;
    struct pg_ids ids[STORE_IDS_COUNT]; /* refused writes leave no gaps */
    bool groups_checked; /* as an earlier group has read it: another has to know it before it reads
                          */
    int64_t ids_imports; /* how many imports there were when they were taken, and 1; 0: none were */
    bool is_new;         /* made in the writer's transaction, which is not committed yet */
    struct pg_known known[PG_KNOWN];
};

/* Begins an operation; connects where there is no connection. */
void pg_begin(struct pg_connection *connection, int64_t deadline_ms);

/* Prepares the session and its statements, and verifies the store. False with a failure. */
bool pg_prepare(struct pg_connection *connection);

/* Closes the connection; the next operation opens another. */
void pg_disconnect(struct pg_connection *connection);

/* libpq's results and SQLSTATEs are translated in connection.c and nowhere else. */

/* Keeps the first failure, and why. Returns error. */
enum store_error pg_fail(struct pg_connection *connection, enum store_error error,
                         const char *message);

/* The connection can't be used any more. Returns false. */
bool pg_lose(struct pg_connection *connection);

/* Queues a prepared statement, or one by its text; pg_sync ends what is sent together. */
void pg_send(struct pg_connection *connection, enum pg_statement statement,
             const struct pg_parameters *parameters);
void pg_send_text(struct pg_connection *connection, const char *sql,
                  const struct pg_parameters *parameters);
void pg_sync(struct pg_connection *connection);

/* The next statement's result, or, after pg_stream, its next row; waits until the deadline. The
 * caller clears it. NULL after a failure. */
PGresult *pg_result(struct pg_connection *connection);
void pg_stream(struct pg_connection *connection);

/* Stores rows by a COPY: they are in its binary format. Between operations of the pipeline. The
 * next statement waits for its end, and has its failure. */
void pg_copy(struct pg_connection *connection, const char *sql, struct span rows);

/* Takes the results that are left, so that the next statements can be sent. */
void pg_finish(struct pg_connection *connection);

/* ---- upgrade.c: the schema ---- */

/* Makes it, in a database that has none of its tables. The connection has the error. Returns
 * whether it was perhaps made all the same. */
bool pg_make_schema(struct pg_connection *connection);

/* Has a schema of an older version become PG_SCHEMA_VERSION's, unless another process is faster.
 * False with the connection's error, in the middle of a transaction perhaps. */
bool pg_upgrade_schema(struct pg_connection *connection, int64_t version);

/* STORE_BROKEN if this program is of a version that may not write any more. */
enum store_error pg_check_writer(struct pg_connection *connection, int64_t lowest_writer);

/* ---- readers ---- */

struct pg_reader {
    struct store_reader base; /* first */
    struct pg_connection connection;
    PGresult *result; /* the row at hand */
    int64_t wait_ms;  /* the longest that a statement takes; 0: as others */
    struct pg_known known[PG_KNOWN];
    uint64_t figures[PG_FIGURES]; /* of postgresql_stat, good until then, by clock_ms */
    int64_t figures_until_ms;
};

/* Reads by one statement; once more on a new connection where the old one was lost. *values is the
 * first row, then by pg_next each of the others; a row is gone with the next one. STORE_NOT_FOUND:
 * there is none. Rows that are not wanted need not be taken. */
enum store_error pg_read(struct store_reader *base, enum pg_statement statement,
                         const struct pg_parameters *parameters, struct pg_values *values);
enum store_error pg_next(struct store_reader *base, struct pg_values *values);

/* Shows the token in a row behind its owner's group to visit, with its key. visit may be NULL. */
enum store_error pg_visit_token(struct store_reader *reader, struct pg_values *values,
                                store_visit_token *visit, void *context);

/* A user as callers see it. */
void pg_fill_user(const struct pg_row *row, struct store_user *user);

/* As a parameter of LIMIT and OFFSET. */
static inline int64_t pg_clamp(uint64_t value)
{
    return value < INT64_MAX ? (int64_t)value : INT64_MAX;
}

/* rotation.c: takes the state of the secret's rotation from the next four values of a row. */
void pg_next_rotation(struct pg_values *values, struct seal_rotation *rotation);

/* Confirms that a key which a look-up did not find is unknown: STORE_NOT_FOUND if the rotation is
 * still at the generation of that look-up, else STORE_UNAVAILABLE, as the key may be there under
 * another secret. */
enum store_error pg_confirm_unknown(struct store_reader *reader, int64_t generation);

/* Deletes the process's row in the table of workers, if it has one. */
void pg_end_worker(struct pg_store *store);

/* Whether a token has the key of a hash.
 *   until_unix_s   out: 0 of its present key; of an old one the end of its grace */
bool pg_has_key(const struct pg_row *row, const unsigned char hash[static SEAL_HASH_LEN],
                int64_t *until_unix_s);

/* ---- the functions of struct store_engine ---- */

__typeof__(store_export) postgresql_export;
__typeof__(store_import) postgresql_import;
__typeof__(store_find_trouble) postgresql_find_trouble;
#define PG_FUNCTION(name, type) type postgresql_##name;
STORE_ENGINE(PG_FUNCTION)

#endif
