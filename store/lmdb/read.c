/* Reading: the look-ups that reads and writes share, and users' tokens. */

#include "store/lmdb/engine.h"

/* ---- look-ups ---- */

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

/* ---- tokens ---- */

enum store_error visit_token(struct txn *txn, struct token *token, const struct record_keys *keys,
                             store_visit_token *visit, void *context)
{
    if (!unseal_key(txn->store->base.seal, token->user_id, token->id, keys->sealed, token->key))
        return db_corrupt(txn);
    visit(context, token);
    explicit_bzero(token->key, sizeof(token->key));
    return STORE_OK;
}

enum store_error visit_by_id(struct txn *txn, int64_t user_id, int64_t token_id,
                             store_visit_token *visit, void *context)
{
    struct token token;
    struct record_keys keys;
    enum store_error error = lookup_token(txn, user_id, token_id, &token, &keys);
    return error == STORE_OK && visit ? visit_token(txn, &token, &keys, visit, context) : error;
}

enum store_error lmdb_token_get(struct store_reader *reader, int64_t user_id, int64_t token_id,
                                store_visit_token *visit, void *context)
{
    struct txn *txn = read_begin(reader);
    enum store_error error = visit_by_id(txn, user_id, token_id, visit, context);
    read_end(txn);
    return error;
}

enum store_error lmdb_token_find(struct store_reader *reader, const char key[static TOKEN_KEY_LEN],
                                 int64_t now_unix_s, bool *owner_disabled, store_visit_token *visit,
                                 void *context)
{
    struct token token;
    struct record_keys keys;
    struct record_user owner = {.disabled = false};
    struct txn *txn = read_begin(reader);
    enum store_error error = lookup_by_key(txn, key, now_unix_s, &token, &keys, &owner);
    if (error == STORE_OK) {
        *owner_disabled = owner.disabled;
        visit(context, &token);
    }
    read_end(txn);
    return error;
}

enum store_error next_token(struct txn *txn, MDB_cursor *cursor, MDB_cursor_op step,
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

/* The tokens of a page lie side by side: one search, then a step each. */
static enum store_error visit_page(struct txn *txn, int64_t user_id, int64_t newest, uint64_t count,
                                   store_visit_token *visit, void *context)
{
    struct token token = {.user_id = user_id, .id = newest};
    struct record_keys keys;
    MDB_cursor *cursor = db_cursor_open(txn, DB_TOKENS);
    if (!cursor)
        return txn->error;
    enum store_error error = next_token(txn, cursor, MDB_SET_KEY, &token, &keys);
    while (error == STORE_OK) {
        error = visit_token(txn, &token, &keys, visit, context);
        if (error != STORE_OK || --count == 0)
            break;
        error = next_token(txn, cursor, MDB_PREV, &token, &keys);
    }
    mdb_cursor_close(cursor);
    return error == STORE_NOT_FOUND ? db_corrupt(txn) : error; /* the index has more ids */
}

enum store_error lmdb_token_page(struct store_reader *reader, int64_t user_id, uint64_t offset,
                                 uint64_t limit, uint64_t *total, store_visit_token *visit,
                                 void *context)
{
    int64_t newest;
    struct txn *txn = read_begin(reader);
    enum store_error error = ids_find(txn, DB_IDS_BY_USER, user_id, offset, total, &newest);
    if (error == STORE_OK && limit > 0) {
        uint64_t left = *total - offset;
        error = visit_page(txn, user_id, newest, limit < left ? limit : left, visit, context);
    }
    read_end(txn);
    return error == STORE_NOT_FOUND ? STORE_OK : error;
}
