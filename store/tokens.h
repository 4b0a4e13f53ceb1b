#ifndef STORE_TOKENS_H
#define STORE_TOKENS_H

#include "store/writer.h"

/* What the kinds of struct store_write do in a transaction. A refusal is put into
 * the write's error; the result is LMDB's, as in store/writer.h. */
int tokens_create(struct writer *writer, struct store_write *write);
int tokens_update(struct writer *writer, struct store_write *write);
int tokens_delete(struct writer *writer, struct store_write *write);

/* Deletes one token with its index entries. MDB_NOTFOUND where there is none. */
int tokens_delete_one(struct writer *writer, int64_t user_id, int64_t token_id);

#endif
