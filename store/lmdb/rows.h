#pragma once

#include "store/txn.h"

/* rows.c: what the kinds of writes do with rows. */
extern const struct store_rows lmdb_rows;

/* Stores the counters of ids that were taken: before the transaction ends. */
void rows_store_ids(struct store_txn *txn);
