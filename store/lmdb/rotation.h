#pragma once

#include "store/lmdb/database.h"

/* Read and store the state of the secret's rotation; rotation_generation is 0 after a failure,
 * which the transaction has. rotation_start stores that of a new store, or of one of an older
 * version. */
enum store_error rotation_get(struct store_txn *txn, struct seal_rotation *rotation);
int64_t rotation_generation(struct store_txn *txn);
void rotation_put(struct store_txn *txn, const struct seal_rotation *rotation);
void rotation_start(struct store_txn *txn);

/* Selects the secrets by the stored state (store_follow), with write_lock held. STORE_BROKEN if one
 * is missing. */
enum store_error rotation_follow(struct store_txn *txn);
