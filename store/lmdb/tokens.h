#ifndef STORE_LMDB_TOKENS_H
#define STORE_LMDB_TOKENS_H

#include "store/lmdb/database.h"
#include "store/lmdb/record.h"

/* Stores a token's record, a new one or in place of the one before. */
enum store_error token_put(struct txn *txn, const struct token *token,
                           const struct record_keys *keys);

#endif
