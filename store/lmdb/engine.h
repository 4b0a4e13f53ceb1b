#pragma once

#include "store/lmdb/ids.h"
#include "store/lmdb/record.h"

/* ---- the functions of struct store_engine, by file ---- */

/* environment.c */
store_engine_create lmdb_create;
store_engine_open lmdb_open;
__typeof__(store_close) lmdb_close;
__typeof__(store_maintain) lmdb_maintain;
__typeof__(store_reader_open) lmdb_reader_open;
__typeof__(store_reader_close) lmdb_reader_close;

/* commit.c */
__typeof__(store_commit) lmdb_commit;

/* accounts.c */
store_find_by_hash lmdb_user_authenticate, lmdb_gateway_authenticate;
__typeof__(store_user_find) lmdb_user_find;
__typeof__(store_user_next) lmdb_user_next;
__typeof__(store_gateway_next) lmdb_gateway_next;

/* read.c */
__typeof__(store_token_get) lmdb_token_get;
__typeof__(store_token_page) lmdb_token_page;
__typeof__(store_token_find) lmdb_token_find;

/* search.c */
__typeof__(store_token_search) lmdb_token_search;

/* stat.c, check.c */
__typeof__(store_stat) lmdb_stat;
__typeof__(store_check) lmdb_check;

/* ---- opening ---- */

enum { SCHEMA_VERSION_OLDEST = 3, SCHEMA_VERSION = 4 };

/* upgrade.c: brings a store of an older version up to SCHEMA_VERSION, in a write transaction that
 * has opened all databases, after a copy of the data file beside it, data.mdb.VERSION. If it
 * fails, or older programs use the store, the transaction has an error; one line in reason. */
void upgrade_store(struct txn *txn, const char *folder, char reason[static STORE_REASON_SIZE]);

/* upgrade.c: waits up to half a second for older programs to end. Before the transaction: writers
 * of an older program that goes on must not wait for it. */
void upgrade_wait(const struct lmdb_store *store);

/* stat.c: the readers of all processes but one. */
uint64_t count_readers(const struct lmdb_store *store, pid_t left_out);

/* ---- look-ups ---- */

/* Look-ups that reads and writes share. Spans of what they find lie in LMDB's pages and are valid
 * until the transaction's next change or its end. */

/* The first record from an id on, of a database by ids; *id becomes its key. STORE_NOT_FOUND. */
enum store_error lookup_from(struct txn *txn, enum database database, int64_t *id,
                             struct span *record);

/* A user's record, also of one that is being deleted; and a user that is not. STORE_NO_USER. */
enum store_error lookup_user_record(struct txn *txn, int64_t user_id, struct record_user *user);
enum store_error lookup_user(struct txn *txn, int64_t user_id, struct record_user *user);

/* The user of a name, or of the hash of an access token. STORE_NO_USER. */
enum store_error lookup_user_id(struct txn *txn, struct span name, int64_t *user_id);
enum store_error
lookup_user_by_access(struct txn *txn,
                      const unsigned char access_hash[static SEAL_CREDENTIAL_HASH_LEN],
                      int64_t *user_id, struct record_user *user);

/* A token's record; its key stays sealed. STORE_NOT_FOUND. */
enum store_error lookup_token(struct txn *txn, int64_t user_id, int64_t token_id,
                              struct token *token, struct record_keys *keys);

/* The token and the owner of a key that is valid at now_unix_s. STORE_NOT_FOUND if no token has
 * it or its owner is deleted. */
enum store_error lookup_by_key(struct txn *txn, const char key[static TOKEN_KEY_LEN],
                               int64_t now_unix_s, struct token *token, struct record_keys *keys,
                               struct record_user *owner);

/* Unseals the token's key and shows the token to visit. */
enum store_error visit_token(struct txn *txn, struct token *token, const struct record_keys *keys,
                             store_visit_token *visit, void *context);

/* The same from a token's ids on; visit may be NULL. STORE_NOT_FOUND. */
enum store_error visit_by_id(struct txn *txn, int64_t user_id, int64_t token_id,
                             store_visit_token *visit, void *context);

/* Moves a cursor over DB_TOKENS (MDB_SET_KEY and MDB_SET_RANGE search for token's ids) and reads
 * the token there. STORE_NOT_FOUND if the user has no more. */
enum store_error next_token(struct txn *txn, MDB_cursor *cursor, MDB_cursor_op step,
                            struct token *token, struct record_keys *keys);

/* ---- writes ---- */

/* The kinds of struct store_write, in a transaction that a write shares with others (commit.c).
 * Each checks everything before its first change: a refusal leaves nothing in the transaction,
 * which goes on; a failure is also the transaction's, and ends it. Returns the write's error. */

typedef enum store_error apply_write(struct txn *txn, struct store_write *write);

/* tokens.c */
apply_write write_create, write_update, write_rotate, write_set_status, write_delete;

/* Stores a token's record, a new one or in place of the one before. */
enum store_error token_put(struct txn *txn, const struct token *token,
                           const struct record_keys *keys);

/* Deletes one token with its index entries. STORE_NOT_FOUND. */
enum store_error delete_token(struct txn *txn, int64_t user_id, int64_t token_id);

/* spend.c */
apply_write write_spend, write_settle, write_access;

/* accounts.c */
enum store_error user_put(struct txn *txn, int64_t user_id, const struct record_user *user);
/* Enters a user into the index; it is not there. */
void index_user(struct txn *txn, int64_t user_id, const struct record_user *user);
apply_write write_user_add, write_user_change, write_user_delete;
apply_write write_gateway_add, write_gateway_delete;

/* idempotency.c: looks for the answer of an earlier write with the same key; sets
 * idempotency.replayed and the answer, or returns STORE_IDEMPOTENCY_MISMATCH. */
apply_write idempotency_find;

/* Renders the answer of a write that is done, or will be without a further refusal, and stores it,
 * once. STORE_REMEMBERED, STORE_ANSWER_TOO_LARGE. */
apply_write idempotency_store;

apply_write write_forget;

/* Verifies a record: *intact whether its answer can be unsealed and is in the index.
 * STORE_UNAVAILABLE. */
enum store_error idempotency_check(struct txn *txn, struct span key, struct span value,
                                   bool *intact);

/* Take over the records of schema version 3. */
void idempotency_upgrade(struct txn *txn);
void reservations_upgrade(struct txn *txn);

/* Purge some expired records, at most max; *more whether others are left. */
enum store_error idempotency_purge(struct txn *txn, uint64_t max, bool *more);
enum store_error reservations_purge(struct txn *txn, uint64_t max, bool *more);
