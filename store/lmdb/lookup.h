#ifndef STORE_LMDB_LOOKUP_H
#define STORE_LMDB_LOOKUP_H

#include "store/lmdb/database.h"
#include "store/lmdb/record.h"

/* Look-ups that reads and writes share. Spans of what they find lie in LMDB's pages and are valid
 * until the transaction's next change or its end. */

/* The first record from an id on, of a database by ids; *id becomes its key. STORE_NOT_FOUND. */
enum store_error lookup_from(struct txn *txn, enum database database, int64_t *id,
                             struct span *record);

/* A user that is not deleted. STORE_NO_USER. */
enum store_error lookup_user(struct txn *txn, int64_t user_id, struct record_user *user);

/* A token's record; its key stays sealed. STORE_NOT_FOUND. */
enum store_error lookup_token(struct txn *txn, int64_t user_id, int64_t token_id,
                              struct token *token, struct record_keys *keys);

/* The token and the owner of a key that is valid at now_unix_s. STORE_NOT_FOUND where no token has
 * it or its owner is deleted. */
enum store_error lookup_by_key(struct txn *txn, const char key[static TOKEN_KEY_LEN],
                               int64_t now_unix_s, struct token *token, struct record_keys *keys,
                               struct record_user *owner);

/* Checks a use, from the look-up of the key on; *refusal is the result where STORE_OK is
 * returned. */
enum store_error lookup_check_use(struct txn *txn, const char key[static TOKEN_KEY_LEN],
                                  const struct token_use *use, int64_t now_unix_s,
                                  struct token *token, struct record_keys *keys,
                                  enum token_refusal *refusal);

#endif
