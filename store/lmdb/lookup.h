#ifndef STORE_LMDB_LOOKUP_H
#define STORE_LMDB_LOOKUP_H

#include "store/lmdb/database.h"
#include "store/lmdb/record.h"

/* Look-ups that reads and writes share. Spans of what they find lie in LMDB's pages and are valid
 * until the transaction's next change or its end. */

/* The first record from an id on, of a database by ids; *id becomes its key. STORE_NOT_FOUND. */
enum store_error lookup_from(struct txn *txn, enum database database, int64_t *id,
                             struct span *record);

/* A user's record, also of one that is being deleted; and a user that is not. STORE_NO_USER. */
enum store_error lookup_user_record(struct txn *txn, int64_t user_id, struct record_user *user);
enum store_error lookup_user(struct txn *txn, int64_t user_id, struct record_user *user);

/* A token's record; its key stays sealed. STORE_NOT_FOUND. */
enum store_error lookup_token(struct txn *txn, int64_t user_id, int64_t token_id,
                              struct token *token, struct record_keys *keys);

/* The token and the owner of a key that is valid at now_unix_s. STORE_NOT_FOUND where no token has
 * it or its owner is deleted. */
enum store_error lookup_by_key(struct txn *txn, const char key[static TOKEN_KEY_LEN],
                               int64_t now_unix_s, struct token *token, struct record_keys *keys,
                               struct record_user *owner);

/* Unseals the token's key and shows the token to visit. */
enum store_error visit_token(struct txn *txn, struct token *token, const struct record_keys *keys,
                             store_visit_token *visit, void *context);

/* Moves a cursor over DB_TOKENS (MDB_SET_KEY and MDB_SET_RANGE search for token's ids) and reads
 * the token there. STORE_NOT_FOUND where the user has no more. */
enum store_error next_token(struct txn *txn, MDB_cursor *cursor, MDB_cursor_op step,
                            struct token *token, struct record_keys *keys);

#endif
