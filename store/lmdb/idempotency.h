#ifndef STORE_LMDB_IDEMPOTENCY_H
#define STORE_LMDB_IDEMPOTENCY_H

#include "store/lmdb/writer.h"

/* Writes that may come twice: see struct store_idempotency. Results are LMDB's. */

/* Looks for the answer that the write got before; sets idempotency.replayed and the answer,
 * or the write's error where the key was used with another request. */
int idempotency_find(struct writer *writer, struct store_write *write);

/* Renders the answer of a write that is done, and remembers it in its transaction. */
int idempotency_remember(struct writer *writer, struct store_write *write);

/* Drops some answers that are too old to be given again; *more tells whether not all. */
int idempotency_purge(struct writer *writer, int64_t now_unix_s, bool *more);

/* Whether an entry of the database is whole, its answer unsealed. */
int idempotency_check(const struct store *store, const MDB_val *key, const MDB_val *value,
                      bool *whole);

#endif
