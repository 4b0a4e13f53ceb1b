#pragma once

#include "store/lmdb/database.h"

/* ---- the functions of struct store_engine, by file ---- */

/* environment.c */
store_engine_create lmdb_create;
store_engine_open lmdb_open;
__typeof__(store_close) lmdb_close;
__typeof__(store_maintain) lmdb_maintain;
__typeof__(store_reader_open) lmdb_reader_open;
__typeof__(store_reader_close) lmdb_reader_close;

/* commit.c */
__typeof__(store_commit) lmdb_commit;

/* read.c */
store_find_by_hash lmdb_user_authenticate, lmdb_gateway_authenticate;
__typeof__(store_user_find) lmdb_user_find;
__typeof__(store_user_next) lmdb_user_next;
__typeof__(store_gateway_next) lmdb_gateway_next;
__typeof__(store_token_get) lmdb_token_get;
__typeof__(store_token_page) lmdb_token_page;
__typeof__(store_token_find) lmdb_token_find;

/* search.c */
__typeof__(store_token_search) lmdb_token_search;

/* stat.c, check.c */
__typeof__(store_stat) lmdb_stat;
__typeof__(store_check) lmdb_check;

/* ---- opening ---- */

enum { SCHEMA_VERSION_OLDEST = 3, SCHEMA_VERSION = 4 };

/* upgrade.c: brings a store of an older version up to SCHEMA_VERSION, in a write transaction that
 * has opened all databases, after a copy of the data file beside it, data.mdb.VERSION. If it
 * fails, or older programs use the store, the transaction has an error; one line in reason. */
void upgrade_store(struct store_txn *txn, const char *folder,
                   char reason[static STORE_REASON_SIZE]);

/* upgrade.c: waits up to half a second for older programs to end. Before the transaction: writers
 * of an older program that goes on must not wait for it. */
void upgrade_wait(const struct lmdb_store *store);

/* stat.c: the readers of all processes but one. */
uint64_t count_readers(const struct lmdb_store *store, pid_t left_out);
