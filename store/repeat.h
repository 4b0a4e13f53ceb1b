#ifndef STORE_REPEAT_H
#define STORE_REPEAT_H

#include "store/writer.h"

/* Writes that may come twice: see struct store_repeat. Results are LMDB's. */

/* Looks for the answer that the write got before; sets repeat.repeated and the answer,
 * or the write's error where the key was used with another request. */
int repeat_find(struct writer *writer, struct store_write *write);

/* Renders the answer of a write that is done, and remembers it in its transaction. */
int repeat_remember(struct writer *writer, struct store_write *write);

/* Drops some answers that are too old to be given again; *more tells whether not all. */
int repeat_sweep(struct writer *writer, int64_t now_unix_s, bool *more);

/* Whether an entry of the database is whole, its answer unsealed. */
int repeat_check(const struct store *store, const MDB_val *key, const MDB_val *value, bool *whole);

#endif
