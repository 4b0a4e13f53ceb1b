#ifndef STORE_LMDB_TRANSACTION_H
#define STORE_LMDB_TRANSACTION_H

#include "store/lmdb/database.h"

/* Begins a transaction of reads, on the reader's snapshot of now. Never NULL: where it could not be
 * begun, its error says why, and operations in it return that. The caller ends it in any case. */
struct txn *read_begin(struct store_reader *reader);
void read_end(struct txn *txn);

/* Begins the transaction of writes; waits for the writers before. Returns its error; after STORE_OK
 * the caller ends it, in the same thread. */
enum store_error write_begin(struct lmdb_store *store, struct txn *txn);

/* Commits it durably or, where the transaction has an error, aborts it. Returns the error. */
enum store_error write_end(struct txn *txn);

#endif
