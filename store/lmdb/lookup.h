#pragma once

#include "store/lmdb/database.h"
#include "store/lmdb/record.h"

/* Records that several files read or write. Spans of what is found lie in LMDB's pages and are
 * valid until the transaction's next change or its end. */

/* The first record from an id on, of a database by ids; *id becomes its key. STORE_NOT_FOUND. */
enum store_error lookup_from(struct store_txn *txn, enum database database, int64_t *id,
                             struct span *record);

/* Puts an entry whose key says all. */
void entry_put(struct store_txn *txn, enum database database, struct span key);

/* A user, also one that is being deleted. STORE_NOT_FOUND. */
enum store_error lookup_user(struct store_txn *txn, int64_t user_id, struct record_user *user);
void user_put(struct store_txn *txn, int64_t user_id, const struct record_user *user);

/* The index of users: by name, and by access token, whose users are not being deleted.
 * STORE_NOT_FOUND. */
enum store_error lookup_name(struct store_txn *txn, struct span name, int64_t *user_id);
enum store_error lookup_access(struct store_txn *txn,
                               const unsigned char access_hash[static SEAL_CREDENTIAL_HASH_LEN],
                               int64_t *user_id, struct record_user *user);
/* Enters a user, who is not there; removes one, who is. By name, and by access token if it has one.
 */
void user_index(struct store_txn *txn, int64_t user_id, const struct record_user *user);
void user_unindex(struct store_txn *txn, const struct record_user *user);

/* A token's record; its key stays sealed. STORE_NOT_FOUND. */
enum store_error lookup_token(struct store_txn *txn, int64_t user_id, int64_t token_id,
                              struct token *token, struct record_keys *keys);

/* An entry of "token_by_key". STORE_NOT_FOUND. */
enum store_error lookup_key(struct store_txn *txn, const unsigned char hash[static SEAL_HASH_LEN],
                            struct record_key *entry);

/* Moves a cursor over DB_TOKENS (MDB_SET_KEY and MDB_SET_RANGE search for token's ids) and reads
 * the token there. STORE_NOT_FOUND if the user has no more. */
enum store_error next_token(struct store_txn *txn, MDB_cursor *cursor, MDB_cursor_op step,
                            struct token *token, struct record_keys *keys);

/* The group of a user, which tokens without a group of their own are shown with; empty if there is
 * no such user, or where it can't be read (txn->error). In a transaction of reads. */
struct span find_owner_group(struct store_txn *txn, int64_t user_id);

/* Unseals the token's key and shows the token to visit. */
enum store_error visit_token(struct store_txn *txn, struct token *token,
                             const struct record_keys *keys, store_visit_token *visit,
                             void *context);

/* The same from a token's ids on; visit may be NULL. STORE_NOT_FOUND. */
enum store_error visit_by_id(struct store_txn *txn, int64_t user_id, int64_t token_id,
                             store_visit_token *visit, void *context);
