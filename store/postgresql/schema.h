#ifndef STORE_POSTGRESQL_SCHEMA_H
#define STORE_POSTGRESQL_SCHEMA_H

#include <libpq-fe.h>

#include "base/buffer.h"
#include "sql.h" /* made of the .sql files here */
#include "store/txn.h"

/* The database: its version and tables (schema.sql), its statements (statements.sql), and how rows
 * are sent and received, by their columns. All values are sent in binary. */

enum { PG_TOKEN_NAME_LEN_MAX = 4 * TOKEN_NAME_CHARACTERS_MAX };

#define PG_STATEMENT(name, sql) PG_##name,
enum pg_statement { PG_STATEMENTS_SQL(PG_STATEMENT) PG_STATEMENTS };

/* In the order in which a group locks their rows. Those before PG_LOOK_UPS are looked up in a round
 * trip before the others. What a row is found by, where the name does not say it:
 *   KEYS          the hash of a token's key: whose it is; OLD_KEYS: the one with the secret before
 *   FOUND         a reservation's id: whose it is; a query, not a table
 *   IDEMPOTENCY   the hash of an idempotency key
 *   NAMES         a user's name in lower case
 *   ACCESS        the first PG_LOOK_UP_LEN bytes of the hash of an access token
 *   KEPT, PLACES  a user's id: struct store_kept, store_places; queries, not tables
 *   OPEN          a token: its open reservations; a query, not a table */
/* clang-format off */
enum pg_table {
    PG_OLD_KEYS, PG_KEYS, PG_FOUND, PG_LOOK_UPS,
    PG_USERS = PG_LOOK_UPS, PG_TOKENS, PG_RESERVATIONS, PG_IDEMPOTENCY, PG_NAMES, PG_ACCESS,
    PG_GATEWAYS, PG_GROUPS, PG_GRANTS, PG_MODELS, PG_USAGE, PG_AUDIT, PG_KEPT, PG_PLACES, PG_OPEN,
    PG_TABLES
};
/* clang-format on */

/* A row of any table. */
struct pg_row {
    int64_t user_id, id, token_id;
    /* USERS: of the user's tokens; KEPT: of all answers, also expired ones; OPEN */
    int64_t count;
    union {
        unsigned char hash[STORE_HASH_LEN], short_hash[SEAL_HASH_LEN];
    };
    union {
        struct {
            struct span name; /* NAMES, GROUPS, GRANTS, MODELS */
            struct record_group group;
        };
        struct record_user user;
        struct {
            struct token token; /* with ids of its own */
            struct record_keys keys;
        };
        struct record_reservation reservation;
        struct record_answer answer;
        struct record_gateway gateway;
        struct {
            int64_t day, units, requests;
        } usage;
        struct store_audit audit; /* with ids of its own */
        struct store_kept kept;
        struct store_places places;
        int64_t due_s; /* OPEN: of the first */
    };
};

#define PG_ROW(...) (&(struct pg_row){__VA_ARGS__})

/* By so much of the hash of an access token its user is looked up; all of it is compared then, in
 * constant time. */
enum { PG_LOOK_UP_LEN = SEAL_HASH_LEN };

struct pg_column {
    bool is_int;         /* of 64 bits, or an enum */
    bool is_use;         /* uses change it; it is of 64 bits then */
    size_t offset, size; /* of the member of struct pg_row */
    size_t len_max;      /* of a span; else 0 */
};

struct pg_columns {
    const struct pg_column *columns;
    size_t key_count, count; /* of columns: those of the key, all */
    /* 0 (READ_KEY) where a table needs none. use sets the columns that uses change, update all. */
    enum pg_statement read, lock, insert, use, update, delete;
};

extern const struct pg_columns pg_columns[PG_TABLES];

/* ---- parameters of statements ---- */

enum { PG_PARAMETERS_MAX = 34 };

/* In their order. Bytes and texts are not copied. */
struct pg_parameters {
    int count;
    const char *values[PG_PARAMETERS_MAX];
    int lengths[PG_PARAMETERS_MAX];
    unsigned char numbers[PG_PARAMETERS_MAX][8];
};

#define PG_PARAMETERS (&(struct pg_parameters){.count = 0})
struct pg_parameters *pg_int(struct pg_parameters *parameters, int64_t value);
/* Bytes or a text; NULL where they are absent. */
struct pg_parameters *pg_span(struct pg_parameters *parameters, struct span bytes);
/* The first columns of a row; those of its key and those that uses change. */
struct pg_parameters *pg_bind(struct pg_parameters *parameters, enum pg_table table, size_t count,
                              const struct pg_row *row);
struct pg_parameters *pg_bind_use(struct pg_parameters *parameters, enum pg_table table,
                                  const struct pg_row *row);

/* Whether a text can be a parameter: PostgreSQL takes no other. No row has such a text. */
bool pg_is_text(struct span text);

/* ---- rows ---- */

/* The values of a row of a result, in their order. Spans point into the result. */
struct pg_values {
    const PGresult *result;
    int row, column;
};

int64_t pg_next_int(struct pg_values *values); /* 0 where it is none */
struct span pg_next_span(struct pg_values *values);

/* Takes a row of a table. False where it can't be one. */
bool pg_next_row(struct pg_values *values, enum pg_table table, struct pg_row *row);

/* Orders rows by a column; copies it. */
int pg_compare(const struct pg_column *column, const struct pg_row *a, const struct pg_row *b);

static inline bool pg_is_span(const struct pg_column *column)
{
    return column->len_max > 0;
}

#endif
