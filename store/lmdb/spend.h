#ifndef STORE_LMDB_SPEND_H
#define STORE_LMDB_SPEND_H

#include "store/lmdb/writer.h"

/* What the kinds of struct store_write that use tokens do in a transaction; as in
 * store/tokens.h. */
int spend_take(struct writer *writer, struct store_write *write);
int spend_settle(struct writer *writer, struct store_write *write);
int spend_note_access(struct writer *writer, struct store_write *write);

/* Drops some reservations that are no longer answered for; *more tells whether not all. */
int reservations_purge(struct writer *writer, int64_t now_unix_s, bool *more);

#endif
