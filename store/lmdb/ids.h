#pragma once

#include "store/lmdb/database.h"

/* The indexes DB_IDS_BY_USER (tokens), DB_RESERVATIONS_BY_USER and DB_AUDIT_BY_USER: a user's ids
 * in order, with their number in O(1), and steps over a page of about 500 ids at a time. The only
 * place that uses LMDB's operations on pages of MDB_DUPFIXED values. */

/* The number of the user's ids; 0 if there are none. */
enum store_error ids_count(struct store_txn *txn, enum database index, int64_t user_id,
                           uint64_t *count);

/* The same, and the id that has rank greater ones before it; STORE_NOT_FOUND if there are not so
 * many. Costs a step for each 500 ids from the nearer end. */
enum store_error ids_find(struct store_txn *txn, enum database index, int64_t user_id,
                          uint64_t rank, uint64_t *count, int64_t *id);

/* The user's greatest id below another: *id. STORE_NOT_FOUND. */
enum store_error ids_before(struct store_txn *txn, enum database index, int64_t user_id,
                            int64_t *id);

/* Whether the id is there: STORE_OK or STORE_NOT_FOUND. */
enum store_error ids_check(struct store_txn *txn, enum database index, int64_t user_id, int64_t id);

/* Adds an id, which may be there. */
enum store_error ids_put(struct store_txn *txn, enum database index, int64_t user_id, int64_t id);

/* Adds an id that is greater than all of the user's. */
enum store_error ids_append(struct store_txn *txn, enum database index, int64_t user_id,
                            int64_t id);

/* STORE_NOT_FOUND if the id is not there. */
enum store_error ids_delete(struct store_txn *txn, enum database index, int64_t user_id,
                            int64_t id);
