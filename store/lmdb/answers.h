#pragma once

#include "store/lmdb/database.h"

/* Answers that are kept by idempotency key, as rows (store/txn.h). */

enum store_error answers_get(struct store_txn *txn,
                             const unsigned char key_hash[static STORE_HASH_LEN],
                             struct record_answer *answer);
void answers_put(struct store_txn *txn, const unsigned char key_hash[static STORE_HASH_LEN],
                 const struct record_answer *answer);
void answers_delete(struct store_txn *txn, const unsigned char key_hash[static STORE_HASH_LEN],
                    const struct record_answer *answer);
void answers_get_kept(struct store_txn *txn, int64_t user_id, struct store_kept *kept);
enum store_error answers_forget(struct store_txn *txn, struct store_write *write);

/* Purges expired ones, looks at max; returns whether others are left. */
bool answers_purge(struct store_txn *txn, size_t max);

/* Verifies a record: *intact whether it can be unsealed and is in the index. STORE_UNAVAILABLE. */
enum store_error answers_check(struct store_txn *txn, struct span key, struct span value,
                               bool *intact);

/* Takes over the records of schema version 3. */
void answers_upgrade(struct store_txn *txn);
