#pragma once

#include "store/lmdb/database.h"
#include "store/lmdb/record.h"

/* Verification of a store: check.c, and what check_use.c and check_accounts.c visit for it. */

/* Items of one size, as many as there are. */
struct items {
    char *at;
    size_t count, size;
};

struct check {
    struct store_txn *txn;
    store_report *report;
    void *context;
    uint64_t found;                /* problems */
    int64_t next[STORE_IDS_COUNT]; /* ids that no entry has yet */
    int64_t foreign_keys;          /* 0: the store has none */
    uint64_t user_entries, token_count, key_count, answer_count, reservation_count, open_count;
    uint64_t audit_count; /* of those that are about a user */
    int64_t last_audit_id;
    struct items token_ids;     /* int64_t, of all users: an id must not be there twice */
    struct items reserved;      /* struct reserved */
    struct items owners;        /* struct owner, by id */
    size_t owner;               /* of the token that is checked, or before it */
    struct record_usage summed; /* the sum of the days before, of its user and token */
    struct items free_pages;    /* int64_t */
};

/* Reports a problem, in one line: "token 7: its key can't be unsealed". */
__attribute__((format(printf, 2, 3))) void check_report(struct check *check, const char *format,
                                                        ...);

/* Appends an item; without memory the check fails. */
void check_add_item(struct check *check, struct items *items, const void *item, size_t item_len);

/* Verifies an id of a kind against the next one. */
void check_counter(struct check *check, enum store_ids kind, int64_t id);

/* An id that is a key; 0, which no counter gives out, where it is none. */
static inline int64_t check_id_of(struct span key)
{
    return key.len == ID_KEY_LEN ? get_big64((const unsigned char *)key.at) : 0;
}

/* Visit an entry of a database. */
typedef void check_entry(struct check *check, struct span key, struct span value);

/* check_use.c: reservations, and what tokens and users have used. The first two are for each user
 * and token, in the order of their ids; the ends come after the passes. */
void check_user_use(struct check *check, int64_t id, const struct record_user *user);
void check_token_use(struct check *check, const struct token *token);
void check_users_end(struct check *check);
check_entry check_reservation, check_usage;
void check_reservations_end(struct check *check);
void check_usage_end(struct check *check);

/* check_accounts.c */
check_entry check_group, check_grant, check_model, check_audit, check_recent;
