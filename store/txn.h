#ifndef STORE_TXN_H
#define STORE_TXN_H

#include "store/row.h"

/* Writes, in the transaction of an engine: what each kind of struct store_write does is decided
 * here, on rows that the engine fetches and stores. */

struct store_txn {
    const struct store_rows *rows;
    const struct seal *seal;
    enum store_error error; /* the first failure; it ends the transaction */
};

enum store_ids { STORE_IDS_USER, STORE_IDS_TOKEN, STORE_IDS_GATEWAY, STORE_IDS_RESERVATION };
enum { STORE_IDS_COUNT = STORE_IDS_RESERVATION + 1 };

/* What is kept for a user, of answers that have not expired. */
struct store_kept {
    uint64_t count, len;
    int64_t oldest_s; /* the store's time */
};

/* The reservations that are kept for a user. Of the oldest, some thousand: how many have ended or
 * are due, and when the first of the others is. */
struct store_places {
    uint64_t count, ended_count;
    int64_t due_s; /* the store's time */
};

struct record_answer {
    int64_t user_id, created_s; /* the store's time */
    unsigned char request_hash[STORE_HASH_LEN];
    struct span sealed;
};

/* What an engine does for writes. get_X and find_X return STORE_NOT_FOUND where there is no such
 * row, or a failure; the spans of what they get are valid until the transaction's next change. The
 * functions without a result keep their failure in the transaction. put_X stores a row, a new one
 * or in place of the one before. */
struct store_rows {
    int64_t (*now_s)(struct store_txn *txn); /* the store's time */
    enum store_error (*take_id)(struct store_txn *txn, enum store_ids kind, int64_t *id);

    /* Users; get_user also finds those that are being deleted. find_user: by name. */
    enum store_error (*get_user)(struct store_txn *txn, int64_t id, struct record_user *user);
    void (*put_user)(struct store_txn *txn, int64_t id, const struct record_user *user);
    void (*delete_user)(struct store_txn *txn, int64_t id);
    enum store_error (*find_user)(struct store_txn *txn, struct span name, int64_t *id);
    void (*index_user)(struct store_txn *txn, int64_t id, const struct record_user *user);
    void (*unindex_user)(struct store_txn *txn, const struct record_user *user);

    /* Tokens, without their keys' entries. first_token: one that the user has. */
    enum store_error (*get_token)(struct store_txn *txn, int64_t user_id, int64_t token_id,
                                  struct token *token, struct record_keys *keys);
    void (*put_token)(struct store_txn *txn, const struct token *token,
                      const struct record_keys *keys);
    void (*add_token)(struct store_txn *txn, const struct token *token,
                      const struct record_keys *keys);
    void (*delete_token)(struct store_txn *txn, int64_t user_id, int64_t token_id);
    enum store_error (*first_token)(struct store_txn *txn, int64_t user_id, int64_t *token_id);
    uint64_t (*count_tokens)(struct store_txn *txn, int64_t user_id);

    enum store_error (*get_key)(struct store_txn *txn,
                                const unsigned char hash[static SEAL_HASH_LEN],
                                struct record_key *entry);
    void (*put_key)(struct store_txn *txn, const unsigned char hash[static SEAL_HASH_LEN],
                    const struct record_key *entry);
    void (*delete_key)(struct store_txn *txn, const unsigned char hash[static SEAL_HASH_LEN]);

    enum store_error (*get_reservation)(struct store_txn *txn, int64_t id,
                                        struct record_reservation *reservation);
    void (*put_reservation)(struct store_txn *txn, int64_t id,
                            const struct record_reservation *reservation);
    /* drop_reservation: the oldest one that has ended or is due. */
    void (*get_places)(struct store_txn *txn, int64_t user_id, struct store_places *places);
    void (*drop_reservation)(struct store_txn *txn, int64_t user_id);

    void (*add_gateway)(struct store_txn *txn, int64_t id, const struct record_gateway *gateway);
    enum store_error (*delete_gateway)(struct store_txn *txn, int64_t id);

    /* Answers of writes with an idempotency key, by its hash; an expired one is not found.
     * get_kept: of a user. */
    enum store_error (*get_answer)(struct store_txn *txn,
                                   const unsigned char key_hash[static STORE_HASH_LEN],
                                   struct record_answer *answer);
    void (*put_answer)(struct store_txn *txn, const unsigned char key_hash[static STORE_HASH_LEN],
                       const struct record_answer *answer);
    void (*get_kept)(struct store_txn *txn, int64_t user_id, struct store_kept *kept);

    enum store_error (*purge)(struct store_txn *txn, struct store_write *write);
    enum store_error (*forget)(struct store_txn *txn, struct store_write *write);
};

/* Does the write, or finds the answer that it got before, and returns its error. It checks
 * everything before its first change: a refusal leaves nothing in the transaction, which goes on; a
 * failure is also the transaction's. */
enum store_error store_apply(struct store_txn *txn, struct store_write *write);

/* Keeps the first failure of a transaction. Returns error. */
enum store_error store_txn_fail(struct store_txn *txn, enum store_error error);

/* A user that exists and is not being deleted. STORE_NO_USER. */
enum store_error store_get_user(struct store_txn *txn, int64_t id, struct record_user *user);

/* ---- the kinds, by file ---- */

typedef enum store_error store_apply_kind(struct store_txn *txn, struct store_write *write);

/* apply_tokens.c */
store_apply_kind store_apply_create, store_apply_update, store_apply_rotate, store_apply_set_status,
    store_apply_delete;
/* Deletes one token with its keys' entries. STORE_NOT_FOUND. */
enum store_error store_delete_token(struct store_txn *txn, int64_t user_id, int64_t token_id);

/* apply_spend.c */
store_apply_kind store_apply_spend, store_apply_settle, store_apply_access;

/* apply_accounts.c */
store_apply_kind store_apply_user_add, store_apply_user_change, store_apply_user_delete,
    store_apply_gateway_add, store_apply_gateway_delete;

/* apply_answers.c: idempotency. store_find_answer sets idempotency.replayed and the answer, or
 * returns STORE_IDEMPOTENCY_MISMATCH. store_keep_answer renders the answer of a write that is done,
 * or will be without a further refusal, and stores it, once: STORE_REMEMBERED,
 * STORE_ANSWER_TOO_LARGE. */
store_apply_kind store_find_answer, store_keep_answer;

/* Whether an answer can be unsealed; out may be NULL. STORE_CORRUPT, STORE_UNAVAILABLE. */
enum store_error store_unseal_answer(const struct seal *seal,
                                     const unsigned char key_hash[static STORE_HASH_LEN],
                                     const struct record_answer *answer,
                                     struct store_idempotency *out);

#endif
