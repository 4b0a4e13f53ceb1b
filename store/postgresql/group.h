#ifndef STORE_POSTGRESQL_GROUP_H
#define STORE_POSTGRESQL_GROUP_H

#include "base/text.h"
#include "store/postgresql/engine.h"

/* A group of writes in one transaction. The rows that they need are fetched and locked first, by
 * all of them together; then they are applied to these in memory, and what has changed is sent with
 * COMMIT. */

/* A row of a table, or that there is none. */
struct group_row {
    enum pg_table table;
    bool wanted, locks;     /* to be fetched; with its lock */
    bool reserves;          /* of a key: what is kept of the user's reservations is needed too */
    bool remembered;        /* of a key: as an earlier group has found it */
    bool stored, exists;    /* in the database; in memory */
    bool used, changed;     /* in memory: of the columns that uses change; of the others */
    struct group_row *next; /* of group.tokens */
    struct pg_row row;
};

/* Rows of integers for one statement: an array of each column, in the binary format. A statement
 * for each row would be most of the cost of a spend. */
enum { GROUP_ARRAYS = 12 };
struct group_batch {
    struct buffer arrays[GROUP_ARRAYS];
};

struct group {
    struct store_txn txn; /* first: a pointer to it is one to this */
    struct pg_connection *connection;
    struct store_write *writes;
    void *rows;                                  /* a tree (tsearch), in the order of locks */
    struct group_result *results, **results_end; /* of statements that were sent */
    /* READ_USERS, LOCK_USERS, LOCK_TOKENS, READ_GRANTS, USE_USERS, USE_TOKENS */
    struct group_batch users, user_locks, token_locks, grants, user_uses, token_uses;
    struct group_row *tokens; /* a list of those that were fetched */
    bool imports;             /* rows of another store */
    bool looks_up;            /* PG_LOOK_UPS (schema.h): a round trip more */
    bool wants_groups;        /* all groups, and what the users were granted */
    bool updates; /* tokens: what reservations need may be another than the database has */
    struct {
        int64_t lowest_writer, now_s, now_ns; /* the database's time */
        int64_t secret_generation, imports, groups_checked;
    } meta;
    size_t ids_needed[STORE_IDS_COUNT];
    int64_t raised[STORE_IDS_COUNT]; /* of an import: ids to come are these or greater */
    struct group_kept *kept;         /* what rows point into */
    struct group_row none;           /* what group_find returns where there is none */
};

/* Fetches what the writes need, within a transaction that it begins. *attempt is the one that has
 * committed the group: this one, unless an earlier one did. */
void group_fetch(struct group *group, struct span id, int64_t *attempt);

/* The same for rows that are imported, in a transaction of several groups. */
void group_fetch_rows(struct group *group, const struct store_row *rows, size_t count);

/* Takes the result of a statement that was sent alone: rows of a table. */
void group_take(struct group *group, enum pg_table table);

/* Sends a change; all that have been made in memory. */
void group_send(struct group *group, enum pg_statement statement,
                const struct pg_parameters *parameters);
void group_send_changes(struct group *group);

/* copy.c: has all rows in memory that are wanted, by a statement for each table. Stores the rows
 * that are new, by a COPY for each. */
void group_look_up(struct group *group);
void group_copy(struct group *group);

/* Takes all results; the last one, or NULL. */
const PGresult *group_sync(struct group *group);

/* Frees what a group holds, but its writes. */
void group_clear(struct group *group);

/* The row of a key; one that does not exist where there is none, or the group did not need it. */
struct group_row *group_find(struct store_txn *txn, enum pg_table table, const struct pg_row *key);

/* Has a row fetched. NULL, with the transaction's error set, where there is no memory. */
struct group_row *group_need(struct group *group, enum pg_table table, const struct pg_row *key,
                             bool locks);

/* Stores a row, or deletes one by its key. */
void group_put(struct store_txn *txn, enum pg_table table, const struct pg_row *from);
void group_delete(struct store_txn *txn, enum pg_table table, const struct pg_row *key);

/* A row by a hash, which is shorter in some tables; by a user's name, which was checked. */
static inline struct pg_row group_hashed(const unsigned char *hash, size_t len)
{
    struct pg_row row = {.id = 0};
    memcpy(row.hash, hash, len);
    return row;
}

static inline struct pg_row group_named(struct span name,
                                        char folded[static STORE_USER_NAME_LEN_MAX])
{
    text_fold(name, folded);
    return (struct pg_row){.name = {folded, name.len}};
}

/* need.c: has the rows fetched that a write needs, or whose key or reservation was found. */
void group_need_write(struct group *group, const struct store_write *write);
void group_need_row(struct group *group, const struct store_row *row);
void group_need_found(struct group *group, const struct group_row *found);

/* rows.c: what the kinds of writes do with rows. */
extern const struct store_rows group_rows;

/* rows_accounts.c: members of it. */
#define GROUP_ROWS(FUNCTION)                                                                       \
    FUNCTION(groups_checked)                                                                       \
    FUNCTION(check_groups)                                                                         \
    FUNCTION(get_group)                                                                            \
    FUNCTION(put_group)                                                                            \
    FUNCTION(delete_group)                                                                         \
    FUNCTION(has_grant)                                                                            \
    FUNCTION(put_grant)                                                                            \
    FUNCTION(put_model)                                                                            \
    FUNCTION(add_usage)                                                                            \
    FUNCTION(fold_usage)                                                                           \
    FUNCTION(delete_usage)                                                                         \
    FUNCTION(add_audit)                                                                            \
    FUNCTION(import_audit)
#define GROUP_ROWS_DECLARATION(name)                                                               \
    __typeof__(*((struct store_rows *)NULL)->name) group_rows_##name;
GROUP_ROWS(GROUP_ROWS_DECLARATION)

#endif
