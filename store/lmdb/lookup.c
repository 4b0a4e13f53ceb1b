#include "store/lmdb/lookup.h"

enum store_error lookup_from(struct txn *txn, enum database database, int64_t *id,
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

enum store_error lookup_user_record(struct txn *txn, int64_t user_id, struct record_user *user)
{
    struct span record;
    enum store_error error = db_get(txn, DB_USERS, ID_KEY(user_id), &record);
    if (error == STORE_OK && !record_decode_user(user_id, record, user))
        return db_corrupt(txn);
    return error == STORE_NOT_FOUND ? STORE_NO_USER : error;
}

enum store_error lookup_user(struct txn *txn, int64_t user_id, struct record_user *user)
{
    enum store_error error = lookup_user_record(txn, user_id, user);
    return error == STORE_OK && user->deleted ? STORE_NO_USER : error;
}

enum store_error lookup_token(struct txn *txn, int64_t user_id, int64_t token_id,
                              struct token *token, struct record_keys *keys)
{
    struct span record;
    enum store_error error = db_get(txn, DB_TOKENS, TOKEN_ID_KEY(user_id, token_id), &record);
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
        db_get(txn, DB_TOKEN_BY_KEY, span_of_bytes(hash, sizeof(hash)), &record);
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
