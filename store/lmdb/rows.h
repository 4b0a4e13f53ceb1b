#pragma once

#include "store/txn.h"

/* rows.c: what the kinds of writes do with rows. */
extern const struct store_rows lmdb_rows;

/* rows_accounts.c */
bool groups_checked(struct store_txn *txn);
void groups_check(struct store_txn *txn, bool checked);
enum store_error groups_get(struct store_txn *txn, struct span name, struct record_group *group);
void groups_put(struct store_txn *txn, struct span name, const struct record_group *group);
enum store_error groups_delete(struct store_txn *txn, struct span name);
bool grants_has(struct store_txn *txn, int64_t user_id, struct span group);
void grants_put(struct store_txn *txn, int64_t user_id, struct span group, bool granted);
void models_put(struct store_txn *txn, struct span name, bool listed);
void usage_add(struct store_txn *txn, int64_t user_id, int64_t token_id, int64_t day, int64_t units,
               int64_t requests);
void usage_fold(struct store_txn *txn, int64_t user_id, int64_t token_id, int64_t day);
void usage_delete(struct store_txn *txn, int64_t user_id, int64_t token_id);

/* The key of a reservation in the index by token. */
#define OPEN_KEY(id, reservation) THREE_IDS_KEY((reservation)->token_id, (reservation)->due_s, id)

/* Enters a reservation that has not ended in the index by token. */
void reservation_index_open(struct store_txn *txn, int64_t id,
                            const struct record_reservation *reservation);

/* Stores the counters of ids that were taken: before the transaction ends. */
void rows_store_ids(struct store_txn *txn);
