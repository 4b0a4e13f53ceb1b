#pragma once

#include "store/lmdb/database.h"

/* The state of the rotation of the secret. rotation_start: of a store that had none. */
enum store_error rotation_get(struct store_txn *txn, struct seal_rotation *rotation);
int64_t rotation_generation(struct store_txn *txn);
void rotation_put(struct store_txn *txn, const struct seal_rotation *rotation);
void rotation_start(struct store_txn *txn);

/* Uses the secrets as the store does, in a transaction of the process's only writer. STORE_BROKEN
 * if one is missing. */
enum store_error rotation_follow(struct store_txn *txn);
