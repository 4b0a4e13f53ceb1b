#ifndef STORE_LMDB_LOOKUP_H
#define STORE_LMDB_LOOKUP_H

#include "store/lmdb/engine.h"
#include "store/lmdb/record.h"

/* Look-ups that reads and writes share. Results are LMDB's; what they find lies in the
 * store's pages and is valid until the transaction's next change or its end. */

/* LMDB's pages have no checksums, and in a damaged one a search goes astray. So where a key was not
 * found, the pages that lead to its place are looked at, and both its neighbours there: one has to
 * be after the key, the other before it, and check has to find each whole. MDB_NOTFOUND then; else
 * MDB_CORRUPTED, or what check returned. */
typedef int lookup_check(const void *context, const MDB_val *key, const MDB_val *value);
int lookup_absent(const struct store *store, MDB_txn *txn, MDB_dbi dbi, const MDB_val *key,
                  lookup_check *check, const void *context);

/* mdb_get, from a database whose values end with a checksum of that kind; and lookup_absent. */
int lookup_get(const struct store *store, MDB_txn *txn, MDB_dbi dbi, enum checksum_kind kind,
               MDB_val *key, MDB_val *value);

/* MDB_SET_RANGE, in such a database; MDB_CORRUPTED where a damaged page on the way may hide an
 * entry before the one that was found, or all of them. */
int lookup_from(const struct store *store, MDB_cursor *cursor, enum checksum_kind kind,
                MDB_val *key, MDB_val *value);

/* How many tokens the user has, by the index; MDB_CORRUPTED where the leaf is damaged that says so,
 * or where it says none and there are some. Leaves the cursor on the oldest id. What is told of
 * more than a leaf holds, and the user's id itself, have no checksum: */
int lookup_count_ids(const struct store *store, MDB_cursor *ids_by_user, int64_t user_id,
                     struct engine_whole *whole, uint64_t *count);

/* The same by a reader in a transaction, and its own cursor. */
int lookup_count_tokens(struct store_reader *reader, int64_t user_id, uint64_t *count);

/* Where there are some: whether there are as many, in pages that are whole, or MDB_CORRUPTED. */
int lookup_check_ids(const struct store *store, MDB_cursor *ids_by_user,
                     struct engine_whole *whole);

/* That, and whether the oldest is a token of the user's. For one who goes by the count alone; who
 * reads the tokens sees it there. */
int lookup_check_owner(const struct store *store, MDB_cursor *ids_by_user, int64_t user_id,
                       struct engine_whole *whole);

/* A user that has not been deleted; MDB_NOTFOUND. */
int lookup_user(MDB_txn *txn, const struct store *store, int64_t user_id, struct record_user *user);

/* A token's record, the key not unsealed; MDB_NOTFOUND. */
int lookup_token(MDB_txn *txn, const struct store *store, int64_t user_id, int64_t token_id,
                 struct token *token, struct record_keys *keys);

/* A value in "token_by_key". */
struct lookup_key {
    int64_t user_id, token_id;
    int64_t until_unix_s; /* 0: the token's present key; else an old one, good until then */
};

enum { LOOKUP_KEY_LEN = 16 + CHECKSUM_LEN, LOOKUP_KEY_LEN_MAX = 24 + CHECKSUM_LEN };

/* hash is the key that it is stored under, which its checksum is bound to. */
size_t lookup_encode_key(const unsigned char hash[static SEAL_HASH_LEN],
                         const struct lookup_key *entry,
                         unsigned char bytes[static LOOKUP_KEY_LEN_MAX]);
bool lookup_decode_key(const unsigned char hash[static SEAL_HASH_LEN], const MDB_val *value,
                       struct lookup_key *entry);

/* The token and the owner of a key that holds at now_unix_s; MDB_NOTFOUND where nobody has it, or
 * its owner is deleted. */
int lookup_by_key(MDB_txn *txn, const struct store *store, const char key[static TOKEN_KEY_LEN],
                  int64_t now_unix_s, struct token *token, struct record_keys *keys,
                  struct record_user *owner);

/* The checks of a use, in their order, from the key on; *refusal says what came of them. */
int lookup_check_use(MDB_txn *txn, const struct store *store, const char key[static TOKEN_KEY_LEN],
                     const struct token_use *use, int64_t now_unix_s, struct token *token,
                     struct record_keys *keys, enum token_refusal *refusal);

/* What is told of a token that was used. */
void lookup_fill_answer(const struct token *token, struct store_use_answer *answer);

#endif
