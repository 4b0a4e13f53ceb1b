#include "store/lmdb/lookup.h"

#include "base/bytes.h"

enum store_error lookup_from(struct txn *txn, enum database database, int64_t *id,
                             struct span *record)
{
    unsigned char key_bytes[ID_KEY_LEN];
    struct span key = db_id_key(key_bytes, *id);
    MDB_cursor *cursor = db_cursor_open(txn, database);
    *record = (struct span){NULL, 0};
    if (!cursor)
        return txn->error;
    enum store_error error = db_cursor_get(txn, cursor, &key, record, MDB_SET_RANGE);
    mdb_cursor_close(cursor);
    if (error != STORE_OK)
        return error;
    if (key.len != ID_KEY_LEN)
        return db_corrupt(txn);
    *id = get_big64((const unsigned char *)key.at);
    return STORE_OK;
}

enum store_error lookup_user(struct txn *txn, int64_t user_id, struct record_user *user)
{
    unsigned char key_bytes[ID_KEY_LEN];
    struct span record;
    enum store_error error = db_get(txn, DB_USERS, db_id_key(key_bytes, user_id), &record);
    if (error == STORE_OK && !record_decode_user(user_id, record, user))
        return db_corrupt(txn);
    bool gone = error == STORE_NOT_FOUND || (error == STORE_OK && user->deleted);
    return gone ? STORE_NO_USER : error;
}

enum store_error lookup_token(struct txn *txn, int64_t user_id, int64_t token_id,
                              struct token *token, struct record_keys *keys)
{
    unsigned char key_bytes[TOKEN_KEY_ID_LEN];
    struct span record;
    enum store_error error =
        db_get(txn, DB_TOKENS, db_token_key(key_bytes, user_id, token_id), &record);
    token->user_id = user_id;
    token->id = token_id;
    if (error == STORE_OK && !record_decode_token(record, token, keys))
        return db_corrupt(txn);
    return error;
}

enum store_error lookup_by_key(struct txn *txn, const char key[static TOKEN_KEY_LEN],
                               int64_t now_unix_s, struct token *token, struct record_keys *keys,
                               struct record_user *owner)
{
    unsigned char hash[SEAL_HASH_LEN];
    struct record_key entry;
    struct span record;
    seal_hash_key(txn->store->base.seal, key, hash);
    enum store_error error =
        db_get(txn, DB_TOKEN_BY_KEY, (struct span){(const char *)hash, sizeof(hash)}, &record);
    if (error != STORE_OK)
        return error;
    if (!record_decode_key(hash, record, &entry))
        return db_corrupt(txn);
    if (entry.until_unix_s != 0 && entry.until_unix_s <= now_unix_s)
        return STORE_NOT_FOUND;
    error = lookup_user(txn, entry.user_id, owner);
    if (error != STORE_OK)
        return error == STORE_NO_USER ? STORE_NOT_FOUND : error;
    error = lookup_token(txn, entry.user_id, entry.token_id, token, keys);
    return error == STORE_NOT_FOUND ? db_corrupt(txn) : error;
}

enum store_error lookup_check_use(struct txn *txn, const char key[static TOKEN_KEY_LEN],
                                  const struct token_use *use, int64_t now_unix_s,
                                  struct token *token, struct record_keys *keys,
                                  enum token_refusal *refusal)
{
    struct record_user owner;
    enum store_error error = lookup_by_key(txn, key, now_unix_s, token, keys, &owner);
    if (error == STORE_NOT_FOUND)
        *refusal = TOKEN_REFUSED_UNKNOWN;
    else if (error == STORE_OK)
        *refusal = owner.disabled ? TOKEN_REFUSED_USER : token_use_check(token, use, now_unix_s);
    return error == STORE_NOT_FOUND ? STORE_OK : error;
}
