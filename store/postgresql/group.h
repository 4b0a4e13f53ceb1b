#ifndef STORE_POSTGRESQL_GROUP_H
#define STORE_POSTGRESQL_GROUP_H

#include "base/bytes.h"
#include "store/postgresql/engine.h"
#include "store/txn.h"

/* A group of writes in one transaction: what they need is fetched and locked first, by all of them
 * together; then they are applied to that in memory, and what has changed is sent with COMMIT. */

/* The rows that are kept by their keys, in the order of their locks. */
enum set {
    SET_USERS,
    SET_TOKENS,
    SET_RESERVATIONS,
    SET_ANSWERS,
    SET_NAMES,
    SET_GATEWAYS,
    SET_KEPT,   /* by user: what is kept of answers */
    SET_PLACES, /* by user: what is kept of reservations */
    SET_KEYS,   /* by hash: whose the key is; not locked */
    SET_FOUND,  /* by reservation: whose it is; not locked */
    SET_COUNT
};

enum { ROW_KEY_LEN = STORE_USER_NAME_LEN_MAX };

/* A row, or that there is none. The key is big-endian ids, a hash or a text, then zeros. */
struct group_row {
    unsigned char key[ROW_KEY_LEN];
    bool exists;
    bool locked;  /* users: to be changed */
    bool is_new;  /* since it was fetched; of answers: the text is the row's own */
    bool changed; /* the same, users and tokens */
    bool all;     /* tokens: more than a use changes; of keys: places are needed */
    union {
        struct {
            struct record_user user;
            int64_t token_count;
            char name[STORE_USER_NAME_LEN_MAX], group[TOKEN_GROUP_LEN_MAX]; /* once changed */
        };
        struct {
            struct token token;
            struct pg_keys keys;
        };
        struct {
            int64_t user_id, token_id; /* of a key, a reservation, a name */
        };
        struct record_reservation reservation;
        struct record_answer answer;
        struct store_places places;
        struct {
            struct store_kept kept;
            uint64_t answer_count; /* with those that have expired */
        };
    };
};

struct group_set {
    struct group_row *rows;
    size_t count, size;
    size_t sorted; /* so many, in order and each once; new ones come after them */
};

struct group {
    struct store_txn txn; /* first: a pointer to it is one to this */
    struct pg_connection *connection;
    struct store_write *writes;
    struct group_set sets[SET_COUNT];
    int64_t now_s; /* the database's time */
    size_t ids_needed[STORE_IDS_COUNT];
    bool purge;
    int64_t oldest_answer_s, oldest_due_s; /* where purge; 0: none */
    PGresult **results;                    /* what rows point into */
    size_t result_count, result_size;
    size_t sent; /* changes whose results are to come */
};

/* Fetches what the writes need, within a transaction that it begins. *attempt is the one that has
 * committed the group: this one, unless an earlier one did. */
void group_fetch(struct group *group, const unsigned char *id, size_t id_len, int64_t *attempt);

/* Sends the changes of users and tokens. */
void group_send_changes(struct group *group);

/* Frees what a group holds, but its writes. */
void group_clear(struct group *group);

/* Ids as a row's key: one of 8 bytes, or two. */
struct group_ids {
    unsigned char at[16];
};

static inline struct group_ids group_ids(int64_t first, int64_t second)
{
    struct group_ids key;
    put_big64(key.at, first);
    put_big64(key.at + 8, second);
    return key;
}

/* need.c: has the rows fetched that a write needs, a user (to be changed: locked), tokens. */
void group_need(struct group *group, const struct store_write *write);
void group_need_user(struct group *group, int64_t id, bool locked);
void group_need_tokens(struct group *group, int64_t user_id, const int64_t *ids, size_t count);

/* The row of a key in a set: NULL where the group did not need it. */
struct group_row *group_find(struct group *group, enum set set, const void *key, size_t len);
struct group_row *group_find_id(struct group *group, enum set set, int64_t id);
struct group_row *group_find_token(struct group *group, int64_t user_id, int64_t token_id);
struct group_row *group_find_reservation(struct group *group, int64_t user_id, int64_t id);

/* Adds a row of a key, which a set may have already until it is sorted. */
struct group_row *group_append(struct group *group, enum set set, const void *key, size_t len);

/* The same as group_find, or a new one, which does not exist yet; NULL, with the transaction's
 * error set, where there is no memory. */
struct group_row *group_add(struct group *group, enum set set, const void *key, size_t len);
struct group_row *group_add_id(struct group *group, enum set set, int64_t id);
struct group_row *group_add_token(struct group *group, int64_t user_id, int64_t token_id);

/* Sends a change. */
void group_send(struct group *group, enum statement statement,
                const struct pg_parameters *parameters);

/* group_rows.c: what the kinds of writes do with rows. */
extern const struct store_rows group_rows;

#endif
