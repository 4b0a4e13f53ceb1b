#ifndef STORE_LMDB_WRITE_H
#define STORE_LMDB_WRITE_H

#include "store/lmdb/database.h"
#include "store/lmdb/record.h"

/* The kinds of struct store_write, in a transaction that a write shares with others (commit.c).
 * Each checks everything before its first change: a refusal leaves nothing in the transaction,
 * which goes on; a failure is also the transaction's, and ends it. Returns the write's error. */

/* tokens.c */
enum store_error write_create(struct txn *txn, struct store_write *write);
enum store_error write_update(struct txn *txn, struct store_write *write);
enum store_error write_rotate(struct txn *txn, struct store_write *write);
enum store_error write_delete(struct txn *txn, struct store_write *write);

/* Stores a token's record, a new one or in place of the one before. */
enum store_error token_put(struct txn *txn, const struct token *token,
                           const struct record_keys *keys);

/* Deletes one token with its index entries. STORE_NOT_FOUND. */
enum store_error delete_token(struct txn *txn, int64_t user_id, int64_t token_id);

/* spend.c */
enum store_error write_spend(struct txn *txn, struct store_write *write);
enum store_error write_settle(struct txn *txn, struct store_write *write);
enum store_error write_access(struct txn *txn, struct store_write *write);

/* accounts.c */
enum store_error write_user_add(struct txn *txn, struct store_write *write);
enum store_error write_user_change(struct txn *txn, struct store_write *write);
enum store_error write_user_delete(struct txn *txn, struct store_write *write);
enum store_error write_gateway_add(struct txn *txn, struct store_write *write);
enum store_error write_gateway_delete(struct txn *txn, struct store_write *write);

/* idempotency.c: looks for the answer of an earlier write with the same key; sets
 * idempotency.replayed and the answer, or returns STORE_IDEMPOTENCY_MISMATCH. */
enum store_error idempotency_find(struct txn *txn, struct store_write *write);

/* Renders the answer of a write that is done and stores it. */
enum store_error idempotency_store(struct txn *txn, struct store_write *write);

/* Verifies a record: *intact whether its answer can be unsealed. STORE_UNAVAILABLE. */
enum store_error idempotency_check(struct txn *txn, struct span key, struct span value,
                                   bool *intact);

/* Purges some expired records; *more whether others are left. */
enum store_error idempotency_purge(struct txn *txn, int64_t now_unix_s, bool *more);
enum store_error reservations_purge(struct txn *txn, int64_t now_unix_s, bool *more);
enum { PURGED_MAX = 1000 }; /* in one transaction: others wait for it */

#endif
