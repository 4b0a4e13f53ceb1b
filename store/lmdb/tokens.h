#ifndef STORE_LMDB_TOKENS_H
#define STORE_LMDB_TOKENS_H

#include "store/lmdb/writer.h"

/* What the kinds of struct store_write on a user's tokens do in a transaction. A refusal is
 * put into the write's error; the result is LMDB's, as in store/writer.h. */
int tokens_create(struct writer *writer, struct store_write *write);
int tokens_update(struct writer *writer, struct store_write *write);
int tokens_delete(struct writer *writer, struct store_write *write);
int tokens_rotate(struct writer *writer, struct store_write *write);

/* Deletes one token with its index entries. MDB_NOTFOUND where there is none. */
int tokens_delete_one(struct writer *writer, int64_t user_id, int64_t token_id);

/* Reads and replaces a token's record; MDB_NOTFOUND. The key is not unsealed, and the
 * texts lie in the record: they are valid until the transaction's next change. */
int tokens_get(struct writer *writer, int64_t user_id, int64_t token_id, struct token *token,
               struct record_keys *keys);
int tokens_put(struct writer *writer, const struct token *token, const struct record_keys *keys,
               size_t *record_len);

#endif
