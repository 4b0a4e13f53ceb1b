#pragma once

#include "store/lmdb/database.h"

#define LMDB_FUNCTION(name, type) type lmdb_##name;
STORE_ENGINE(LMDB_FUNCTION)
__typeof__(store_copy_out) lmdb_copy_out;
store_engine_copy_in lmdb_copy_in;
__typeof__(store_export) lmdb_export;
__typeof__(store_import) lmdb_import;

/* read.c: a user as it is shown. Returns the transaction's error. */
enum store_error fill_user(struct store_txn *txn, int64_t user_id, const struct record_user *from,
                           struct store_user *user);

/* environment.c: makes an empty store in an empty folder. */
bool fill_folder(const struct store_options *options, struct seal *seal, unsigned owner_uid,
                 unsigned owner_gid, char reason[static STORE_REASON_SIZE]);

enum { SCHEMA_VERSION_OLDEST = 3, SCHEMA_VERSION = 6 };

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
