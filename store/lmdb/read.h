#ifndef STORE_LMDB_READ_H
#define STORE_LMDB_READ_H

#include "store/lmdb/database.h"
#include "store/lmdb/record.h"

/* Unseals the token's key and shows the token to visit. */
enum store_error visit_token(struct txn *txn, struct token *token, const struct record_keys *keys,
                             store_visit_token *visit, void *context);

/* Moves a cursor over DB_TOKENS (MDB_SET_KEY and MDB_SET_RANGE search for token's ids) and reads
 * the token there. STORE_NOT_FOUND where the user has no more. */
enum store_error next_token(struct txn *txn, MDB_cursor *cursor, MDB_cursor_op step,
                            struct token *token, struct record_keys *keys);

#endif
