/* Writes of a user's tokens. */

#include <stdlib.h>

#include "store/lmdb/engine.h"

/* The user whose tokens are to be written. STORE_NO_USER, STORE_USER_DISABLED. */
static enum store_error get_owner(struct txn *txn, const struct store_write *write,
                                  struct record_user *user)
{
    enum store_error error = lookup_user(txn, write->user_id, user);
    if (error == STORE_OK && user->disabled && !write->by_administrator)
        return STORE_USER_DISABLED;
    return error;
}

/* ---- records and the index of keys ---- */

enum store_error token_put(struct txn *txn, const struct token *token,
                           const struct record_keys *keys)
{
    unsigned char record[RECORD_TOKEN_LEN_MAX];
    size_t len = record_encode_token(token, keys, record);
    return db_put(txn, DB_TOKENS, TOKEN_ID_KEY(token->user_id, token->id),
                  span_of_bytes(record, len), 0);
}

static enum store_error put_key(struct txn *txn, const unsigned char hash[static SEAL_HASH_LEN],
                                const struct record_key *entry)
{
    unsigned char record[RECORD_KEY_LEN_MAX];
    size_t len = record_encode_key(hash, entry, record);
    return db_put(txn, DB_TOKEN_BY_KEY, span_of_bytes(hash, SEAL_HASH_LEN),
                  span_of_bytes(record, len), entry->until_unix_s == 0 ? MDB_NOOVERWRITE : 0);
}

/* An entry that must be there. */
static void delete_key(struct txn *txn, const unsigned char hash[static SEAL_HASH_LEN])
{
    if (db_delete(txn, DB_TOKEN_BY_KEY, span_of_bytes(hash, SEAL_HASH_LEN)) == STORE_NOT_FOUND)
        db_corrupt(txn);
}

/* Decodes the token again from a copy of its record, which outlives the transaction; nothing is
 * changed yet: STORE_UNAVAILABLE where there is no memory. */
static enum store_error copy_for_caller(struct txn *txn, struct token *token,
                                        struct record_keys *keys, char **text)
{
    char *copy = realloc(*text, RECORD_TOKEN_LEN_MAX);
    if (!copy)
        return STORE_UNAVAILABLE;
    *text = copy;
    size_t len = record_encode_token(token, keys, (unsigned char *)copy);
    return record_decode_token((struct span){copy, len}, token, keys) ? STORE_OK : db_corrupt(txn);
}

/* ---- create ---- */

static void put_new_token(struct txn *txn, const struct token *token)
{
    const struct seal *seal = txn->store->base.seal;
    unsigned char hash[SEAL_HASH_LEN];
    struct record_keys keys = {.has_old = false};
    seal_key(seal, token->user_id, token->id, token->key, keys.sealed);
    token_put(txn, token, &keys);
    ids_append(txn, DB_IDS_BY_USER, token->user_id, token->id);
    seal_hash_key(seal, token->key, hash);
    put_key(txn, hash, &(struct record_key){.user_id = token->user_id, .token_id = token->id});
}

static enum store_error check_limit(struct txn *txn, const struct store_write *write)
{
    uint64_t held, max = write->create.max_per_user;
    if (max == 0)
        return STORE_OK;
    enum store_error error = ids_count(txn, DB_IDS_BY_USER, write->user_id, &held);
    if (error != STORE_OK)
        return error;
    return held < max && write->create.count <= max - held ? STORE_OK : STORE_LIMIT;
}

enum store_error write_create(struct txn *txn, struct store_write *write)
{
    struct record_user user;
    int64_t id;
    enum store_error error = get_owner(txn, write, &user);
    if (error == STORE_OK)
        error = check_limit(txn, write);
    if (error != STORE_OK)
        return error;
    /* The user's record moves when its page is changed: keep the group. */
    struct span group = {write->create.user_group, user.group.len};
    memcpy(write->create.user_group, user.group.at, user.group.len);
    error = meta_get(txn, META_NEXT_TOKEN_ID, &id);
    for (size_t i = 0; error == STORE_OK && i < write->create.count; i++) {
        struct token *token = &write->create.tokens[i];
        token->id = id + (int64_t)i;
        token->user_id = write->user_id;
        token->created_unix_s = token->accessed_unix_s = write->now_unix_s;
        if (!token->group.at)
            token->group = group;
    }
    if (error == STORE_OK)
        error = idempotency_store(txn, write); /* may refuse: before the first change */
    if (error == STORE_OK)
        error = meta_take_ids(txn, META_NEXT_TOKEN_ID, (int64_t)write->create.count, &id);
    for (size_t i = 0; error == STORE_OK && i < write->create.count; i++) {
        put_new_token(txn, &write->create.tokens[i]);
        error = txn->error;
    }
    return error;
}

/* ---- update and rotate ---- */

/* The user's own token with its key. STORE_NOT_FOUND. */
static enum store_error get_own_token(struct txn *txn, const struct store_write *write,
                                      int64_t token_id, struct token *token,
                                      struct record_keys *keys)
{
    struct record_user user;
    enum store_error error = get_owner(txn, write, &user);
    if (error == STORE_OK)
        error = lookup_token(txn, write->user_id, token_id, token, keys);
    if (error == STORE_OK &&
        !unseal_key(txn->store->base.seal, write->user_id, token_id, keys->sealed, token->key))
        return db_corrupt(txn);
    return error;
}

enum store_error write_update(struct txn *txn, struct store_write *write)
{
    struct token *token = &write->token;
    struct record_keys keys;
    enum store_error error = get_own_token(txn, write, write->update.token_id, token, &keys);
    if (error != STORE_OK)
        return error;
    enum token_error refused = token_patch_apply(&write->update.patch, write->now_unix_s, token);
    if (refused != TOKEN_OK)
        return STORE_ENABLE_EXPIRED + (refused - TOKEN_ENABLE_EXPIRED);
    error = copy_for_caller(txn, token, &keys, &write->text);
    return error == STORE_OK ? token_put(txn, token, &keys) : error;
}

/* The old key's entry stays, with an end, while it is in its grace. */
static void replace_key(struct txn *txn, const struct store_write *write, const struct token *token,
                        const unsigned char old_hash[static SEAL_HASH_LEN],
                        struct record_keys *keys)
{
    const struct seal *seal = txn->store->base.seal;
    unsigned char new_hash[SEAL_HASH_LEN];
    struct record_key entry = {.user_id = token->user_id, .token_id = token->id};
    seal_hash_key(seal, token->key, new_hash);
    if (keys->has_old)
        delete_key(txn, keys->old_hash);
    keys->has_old = write->rotate.grace_s > 0;
    if (keys->has_old) {
        memcpy(keys->old_hash, old_hash, SEAL_HASH_LEN);
        keys->old_until_unix_s = write->now_unix_s + write->rotate.grace_s;
        entry.until_unix_s = keys->old_until_unix_s;
        put_key(txn, old_hash, &entry);
    } else {
        delete_key(txn, old_hash);
    }
    entry.until_unix_s = 0;
    put_key(txn, new_hash, &entry);
    seal_key(seal, token->user_id, token->id, token->key, keys->sealed);
}

enum store_error write_rotate(struct txn *txn, struct store_write *write)
{
    struct token *token = &write->token;
    struct record_keys keys;
    unsigned char old_hash[SEAL_HASH_LEN];
    enum store_error error = get_own_token(txn, write, write->rotate.token_id, token, &keys);
    /* The token's texts lie in its record, which moves when the index is changed. */
    if (error == STORE_OK)
        error = copy_for_caller(txn, token, &keys, &write->text);
    if (error != STORE_OK)
        return error;
    seal_hash_key(txn->store->base.seal, token->key, old_hash);
    memcpy(token->key, write->rotate.key, sizeof(token->key));
    error = idempotency_store(txn, write); /* may refuse: before the first change */
    if (error != STORE_OK)
        return error;
    replace_key(txn, write, token, old_hash, &keys);
    return token_put(txn, token, &keys);
}

/* ---- status ---- */

static enum store_error set_status(struct txn *txn, struct store_write *write, int64_t token_id)
{
    const struct token_patch patch = {.fields = TOKEN_FIELD_STATUS,
                                      .value.status = write->set_status.status};
    struct token token;
    struct record_keys keys;
    enum store_error error = lookup_token(txn, write->user_id, token_id, &token, &keys);
    if (error != STORE_OK)
        return error == STORE_NOT_FOUND ? STORE_OK : error;
    if (token_patch_apply(&patch, write->now_unix_s, &token) != TOKEN_OK) {
        write->set_status.refused[write->set_status.refused_count++] = token_id;
        return STORE_OK;
    }
    write->set_status.set_count++;
    return token_put(txn, &token, &keys);
}

enum store_error write_set_status(struct txn *txn, struct store_write *write)
{
    struct record_user user;
    int64_t *ids = write->set_status.ids;
    size_t count = write->set_status.id_count;
    enum store_error error = get_owner(txn, write, &user);
    write->set_status.set_count = write->set_status.refused_count = 0;
    qsort(ids, count, sizeof(ids[0]), ids_compare);
    for (size_t i = 0; error == STORE_OK && i < count; i++)
        if (i == 0 || ids[i] != ids[i - 1])
            error = set_status(txn, write, ids[i]);
    return error;
}

/* ---- delete ---- */

enum store_error delete_token(struct txn *txn, int64_t user_id, int64_t token_id)
{
    const struct seal *seal = txn->store->base.seal;
    unsigned char hash[SEAL_HASH_LEN];
    struct token token;
    struct record_keys keys;
    enum store_error error = lookup_token(txn, user_id, token_id, &token, &keys);
    if (error != STORE_OK)
        return error;
    if (!unseal_key(seal, user_id, token_id, keys.sealed, token.key))
        return db_corrupt(txn);
    seal_hash_key(seal, token.key, hash);
    explicit_bzero(token.key, sizeof(token.key));
    delete_key(txn, hash);
    if (keys.has_old)
        delete_key(txn, keys.old_hash);
    if (ids_delete(txn, DB_IDS_BY_USER, user_id, token_id) == STORE_NOT_FOUND)
        db_corrupt(txn);
    return db_delete(txn, DB_TOKENS, TOKEN_ID_KEY(user_id, token_id));
}

enum store_error write_delete(struct txn *txn, struct store_write *write)
{
    struct record_user user;
    enum store_error error = get_owner(txn, write, &user);
    write->delete.deleted_count = 0;
    for (size_t i = 0; error == STORE_OK && i < write->delete.id_count; i++) {
        error = delete_token(txn, write->user_id, write->delete.ids[i]);
        if (error == STORE_OK)
            write->delete.deleted_count++;
        else if (error == STORE_NOT_FOUND)
            error = STORE_OK;
    }
    return error;
}
