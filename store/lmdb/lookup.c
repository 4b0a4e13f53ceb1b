#include "store/lmdb/lookup.h"

#include <sodium.h>

#include "base/text.h"

enum store_error lookup_from(struct store_txn *txn, enum database database, int64_t *id,
                             struct span *record)
{
    struct span key = ID_KEY(*id);
    *record = (struct span){NULL, 0};
    enum store_error error = db_seek(txn, database, &key, record, MDB_SET_RANGE);
    if (error != STORE_OK)
        return error;
    if (key.len != ID_KEY_LEN)
        return db_corrupt(txn);
    *id = get_big64((const unsigned char *)key.at);
    return STORE_OK;
}

void entry_put(struct store_txn *txn, enum database database, struct span key)
{
    unsigned char record[CHECKSUM_LEN];
    size_t len = record_encode_entry(key, record);
    db_put(txn, database, key, span_of_bytes(record, len), 0);
}

/* ---- users ---- */

enum store_error lookup_user(struct store_txn *txn, int64_t user_id, struct record_user *user)
{
    struct span record;
    enum store_error error = db_get(txn, DB_USERS, ID_KEY(user_id), &record);
    return error == STORE_OK && !record_decode_user(user_id, record, user) ? db_corrupt(txn)
                                                                           : error;
}

void user_put(struct store_txn *txn, int64_t user_id, const struct record_user *user)
{
    unsigned char record[RECORD_USER_LEN_MAX];
    size_t len = record_encode_user(user_id, user, record);
    db_put(txn, DB_USERS, ID_KEY(user_id), span_of_bytes(record, len), 0);
}

/* ---- the index of users, by access token and by name ---- */

/* The key of an entry: a letter, and the beginning of the access token's hash, or the name without
 * the case of its ASCII letters. The value is the user's id. */
enum { ACCESS_KEY_LEN = 1 + 16 };
struct index_key {
    unsigned char at[1 + STORE_USER_NAME_LEN_MAX];
};

static struct span access_key(const unsigned char *access_hash, struct index_key *key)
{
    key->at[0] = 'a';
    memcpy(key->at + 1, access_hash, ACCESS_KEY_LEN - 1);
    return span_of_bytes(key->at, ACCESS_KEY_LEN);
}

static struct span name_key(struct span name, struct index_key *key)
{
    key->at[0] = 'n';
    text_fold(name, (char *)key->at + 1);
    return span_of_bytes(key->at, 1 + name.len);
}

static enum store_error get_indexed(struct store_txn *txn, struct span key, int64_t *user_id)
{
    struct span value;
    enum store_error error = db_get(txn, DB_USER_INDEX, key, &value);
    if (error != STORE_OK)
        return error;
    if (!checksum_take(checksum_context_of(CHECKSUM_USER_INDEX, key), &value) || value.len != 8)
        return db_corrupt(txn);
    *user_id = get_little64((const unsigned char *)value.at);
    return STORE_OK;
}

static void put_indexed(struct store_txn *txn, struct span key, int64_t user_id)
{
    unsigned char value[8 + CHECKSUM_LEN];
    put_little64(value, user_id);
    checksum_put(checksum_context_of(CHECKSUM_USER_INDEX, key), value, 8);
    db_put(txn, DB_USER_INDEX, key, span_of_bytes(value, sizeof(value)), MDB_NOOVERWRITE);
}

enum store_error lookup_name(struct store_txn *txn, struct span name, int64_t *user_id)
{
    struct index_key key;
    return name.len > STORE_USER_NAME_LEN_MAX ? STORE_NOT_FOUND
                                              : get_indexed(txn, name_key(name, &key), user_id);
}

enum store_error lookup_access(struct store_txn *txn,
                               const unsigned char access_hash[static SEAL_CREDENTIAL_HASH_LEN],
                               int64_t *user_id, struct record_user *user)
{
    struct index_key key;
    enum store_error error = get_indexed(txn, access_key(access_hash, &key), user_id);
    if (error == STORE_OK)
        error = lookup_user(txn, *user_id, user);
    if (error == STORE_OK && (user->deleted || sodium_memcmp(access_hash, user->access_hash,
                                                             sizeof(user->access_hash)) != 0))
        error = STORE_NOT_FOUND;
    return error;
}

void user_index(struct store_txn *txn, int64_t user_id, const struct record_user *user)
{
    struct index_key key;
    if (record_user_has_access(user))
        put_indexed(txn, access_key(user->access_hash, &key), user_id);
    put_indexed(txn, name_key(user->name, &key), user_id);
}

void user_unindex(struct store_txn *txn, const struct record_user *user)
{
    struct index_key key;
    if (record_user_has_access(user))
        db_expect(txn, db_delete(txn, DB_USER_INDEX, access_key(user->access_hash, &key)));
    db_expect(txn, db_delete(txn, DB_USER_INDEX, name_key(user->name, &key)));
}

/* ---- tokens ---- */

enum store_error lookup_token(struct store_txn *txn, int64_t user_id, int64_t token_id,
                              struct token *token, struct record_keys *keys)
{
    struct span record;
    enum store_error error = db_get(txn, DB_TOKENS, TOKEN_ID_KEY(user_id, token_id), &record);
    token->user_id = user_id;
    token->id = token_id;
    return error == STORE_OK && !record_decode_token(record, token, keys) ? db_corrupt(txn) : error;
}

enum store_error lookup_key(struct store_txn *txn, const unsigned char hash[static SEAL_HASH_LEN],
                            struct record_key *entry)
{
    struct span record;
    enum store_error error =
        db_get(txn, DB_TOKEN_BY_KEY, span_of_bytes(hash, SEAL_HASH_LEN), &record);
    return error == STORE_OK && !record_decode_key(hash, record, entry) ? db_corrupt(txn) : error;
}

enum store_error next_token(struct store_txn *txn, MDB_cursor *cursor, MDB_cursor_op step,
                            struct token *token, struct record_keys *keys)
{
    struct span key = TOKEN_ID_KEY(token->user_id, token->id), record = {NULL, 0};
    enum store_error error = db_cursor_get(txn, cursor, &key, &record, step);
    if (error != STORE_OK)
        return error;
    const unsigned char *ids = (const unsigned char *)key.at;
    if (key.len != TOKEN_KEY_ID_LEN)
        return db_corrupt(txn);
    if (get_big64(ids) != token->user_id)
        return STORE_NOT_FOUND;
    token->id = get_big64(ids + 8);
    return record_decode_token(record, token, keys) ? STORE_OK : db_corrupt(txn);
}

struct span find_owner_group(struct store_txn *txn, int64_t user_id)
{
    struct lmdb_txn *lmdb = lmdb_of(txn);
    struct record_user user;
    if (lmdb->owner_id != user_id)
        lmdb->owner_group = lookup_user(txn, user_id, &user) == STORE_OK ? user.group : SPAN("");
    lmdb->owner_id = user_id;
    return lmdb->owner_group;
}

enum store_error visit_token(struct store_txn *txn, struct token *token,
                             const struct record_keys *keys, store_visit_token *visit,
                             void *context)
{
    if (!unseal_key(txn->seal, token->user_id, token->id, keys->sealed, token->key))
        return db_corrupt(txn);
    if (token->group.len == 0)
        token->group = find_owner_group(txn, token->user_id);
    if (txn->error ==
        STORE_OK) /* no token is shown without the group of an owner that can't be read */
        visit(context, token);
    explicit_bzero(token->key, TOKEN_KEY_PREFIX_LEN + keys->sealed.len - SEAL_OVERHEAD_LEN);
    return txn->error;
}

enum store_error visit_by_id(struct store_txn *txn, int64_t user_id, int64_t token_id,
                             store_visit_token *visit, void *context)
{
    struct token token;
    struct record_keys keys;
    enum store_error error = lookup_token(txn, user_id, token_id, &token, &keys);
    return error == STORE_OK && visit ? visit_token(txn, &token, &keys, visit, context) : error;
}
