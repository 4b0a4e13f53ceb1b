/* What the writes of a user's tokens do in a transaction. */

#include "store/lmdb/tokens.h"

#include <errno.h>
#include <stdlib.h>

#include "store/lmdb/ids.h"
#include "store/lmdb/lookup.h"

/* Looks the user up and sets the write's error where it may not write. */
static int get_writing_user(struct writer *writer, struct store_write *write,
                            struct record_user *user)
{
    int rc = writer_get_user(writer, write->user_id, user);
    if (rc == MDB_NOTFOUND) {
        write->error = STORE_NO_USER;
        return MDB_SUCCESS;
    }
    if (rc == MDB_SUCCESS && user->disabled && !write->by_administrator)
        write->error = STORE_USER_DISABLED;
    return rc;
}

/* ---- token_by_key ---- */

static int put_key(struct writer *writer, const unsigned char hash[static SEAL_HASH_LEN],
                   const struct lookup_key *entry, unsigned flags)
{
    unsigned char bytes[LOOKUP_KEY_LEN_MAX], hash_bytes[SEAL_HASH_LEN];
    memcpy(hash_bytes, hash, sizeof(hash_bytes));
    MDB_val key = {sizeof(hash_bytes), hash_bytes},
            value = {lookup_encode_key(hash, entry, bytes), bytes};
    return mdb_put(writer->txn, writer->store->token_by_key, &key, &value, flags);
}

static int delete_key(struct writer *writer, const unsigned char hash[static SEAL_HASH_LEN])
{
    unsigned char hash_bytes[SEAL_HASH_LEN];
    memcpy(hash_bytes, hash, sizeof(hash_bytes));
    MDB_val key = {sizeof(hash_bytes), hash_bytes};
    return mdb_del(writer->txn, writer->store->token_by_key, &key, NULL);
}

/* ---- records ---- */

int tokens_get(struct writer *writer, int64_t user_id, int64_t token_id, struct token *token,
               struct record_keys *keys)
{
    return lookup_token(writer->txn, writer->store, user_id, token_id, token, keys);
}

int tokens_put(struct writer *writer, const struct token *token, const struct record_keys *keys,
               size_t *record_len)
{
    unsigned char id_key[TOKEN_ID_KEY_LEN];
    MDB_val key = engine_token_key(id_key, token->user_id, token->id);
    *record_len = record_encode_token(token, keys, writer->record);
    MDB_val record = {*record_len, writer->record};
    return mdb_put(writer->txn, writer->store->tokens, &key, &record, 0);
}

/* Stores the changed token and decodes it for the caller from a copy of its record,
 * which outlives the transaction. */
static int put_for_caller(struct writer *writer, struct store_write *write,
                          const struct record_keys *keys, struct token *token, char **text)
{
    struct record_keys same;
    size_t record_len = record_encode_token(token, keys, writer->record);
    char *copy = realloc(*text, record_len);
    if (!copy) { /* nothing is changed yet: only this write fails */
        write->error = STORE_UNAVAILABLE;
        return MDB_SUCCESS;
    }
    *text = memcpy(copy, writer->record, record_len);
    if (!record_decode_token((struct span){copy, record_len}, token, &same))
        return MDB_CORRUPTED;
    return tokens_put(writer, token, keys, &record_len);
}

/* ---- create ---- */

static int put_new_token(struct writer *writer, const struct token *token)
{
    const struct store *store = writer->store;
    unsigned char hash[SEAL_HASH_LEN];
    struct record_keys keys = {.has_old = false};
    size_t record_len;
    seal_key(store->secret, token->user_id, token->id, token->key, keys.sealed);
    int rc = tokens_put(writer, token, &keys, &record_len);
    if (rc == MDB_SUCCESS)
        rc = ids_append(writer->txn, store->ids_by_user, token->user_id, token->id);
    if (rc != MDB_SUCCESS)
        return rc;
    seal_hash_key(store->secret, token->key, hash);
    return put_key(writer, hash,
                   &(struct lookup_key){.user_id = token->user_id, .token_id = token->id},
                   MDB_NOOVERWRITE);
}

static void complete_token(struct writer *writer, struct store_write *write, struct token *token,
                           struct span user_group)
{
    token->id = writer->next_token_id++;
    token->user_id = write->user_id;
    token->created_unix_s = write->now_unix_s;
    token->accessed_unix_s = write->now_unix_s;
    if (!token->group.at)
        token->group = user_group;
}

/* Sets the write's error where the user has too many tokens: not before it is certain, as a refusal
 * asks for more than what goes on. */
static int check_limit(struct writer *writer, struct store_write *write)
{
    const struct store *store = writer->store;
    MDB_cursor *ids_by_user = writer->ids_by_user;
    uint64_t held, max = write->create.max_per_user;
    int rc = lookup_count_ids(store, ids_by_user, write->user_id, &writer->whole, &held);
    if (rc != MDB_SUCCESS || (held < max && write->create.count <= max - held))
        return rc;
    write->error = STORE_LIMIT;
    return held > 0 ? lookup_check_owner(store, ids_by_user, write->user_id, &writer->whole)
                    : MDB_SUCCESS;
}

int tokens_create(struct writer *writer, struct store_write *write)
{
    struct record_user user;
    int rc = get_writing_user(writer, write, &user);
    if (rc == MDB_SUCCESS && write->error == STORE_OK && write->create.max_per_user > 0)
        rc = check_limit(writer, write);
    if (rc != MDB_SUCCESS || write->error != STORE_OK)
        return rc;
    if (writer->next_token_id == 0)
        rc = engine_meta_get(writer->txn, writer->store->meta, META_NEXT_TOKEN_ID,
                             &writer->next_token_id);
    if (rc == MDB_SUCCESS && writer->next_token_id > INT64_MAX - (int64_t)write->create.count)
        rc = ENOSPC;

    /* The record moves when the transaction changes its page: keep the group. */
    struct span group = {write->create.user_group, user.group.len};
    memcpy(write->create.user_group, user.group.at, user.group.len);
    for (size_t i = 0; rc == MDB_SUCCESS && i < write->create.count; i++) {
        complete_token(writer, write, &write->create.tokens[i], group);
        rc = put_new_token(writer, &write->create.tokens[i]);
    }
    return rc;
}

/* ---- update and rotate ---- */

/* The user's own token; the write's error is set where it is not there. */
static int get_own_token(struct writer *writer, struct store_write *write, int64_t token_id,
                         struct token *token, struct record_keys *keys)
{
    struct record_user user;
    int rc = get_writing_user(writer, write, &user);
    if (rc != MDB_SUCCESS || write->error != STORE_OK)
        return rc;
    rc = tokens_get(writer, write->user_id, token_id, token, keys);
    if (rc == MDB_NOTFOUND) {
        write->error = STORE_NOT_FOUND;
        return MDB_SUCCESS;
    }
    bool unsealed = rc != MDB_SUCCESS || unseal_key(writer->store->secret, write->user_id, token_id,
                                                    keys->sealed, token->key);
    return unsealed ? rc : MDB_CORRUPTED;
}

static enum store_error patch_token(struct store_write *write, struct token *token)
{
    switch (token_patch_apply(&write->update.patch, write->now_unix_s, token)) {
    case TOKEN_OK:
        return STORE_OK;
    case TOKEN_ENABLE_EXPIRED:
        return STORE_ENABLE_EXPIRED;
    case TOKEN_ENABLE_EXHAUSTED:
        return STORE_ENABLE_EXHAUSTED;
    default: /* it returns no other */
        return STORE_CORRUPT;
    }
}

int tokens_update(struct writer *writer, struct store_write *write)
{
    struct token *token = &write->update.token;
    struct record_keys keys;
    int rc = get_own_token(writer, write, write->update.token_id, token, &keys);
    if (rc != MDB_SUCCESS || write->error != STORE_OK)
        return rc;
    write->error = patch_token(write, token);
    if (write->error != STORE_OK)
        return MDB_SUCCESS;
    return put_for_caller(writer, write, &keys, token, &write->update.text);
}

/* The old key's entry stays, with an end, while it is in its grace. */
static int replace_key(struct writer *writer, struct store_write *write, struct token *token,
                       struct record_keys *keys)
{
    const struct store *store = writer->store;
    unsigned char old_hash[SEAL_HASH_LEN], new_hash[SEAL_HASH_LEN];
    struct lookup_key entry = {.user_id = token->user_id, .token_id = token->id};
    seal_hash_key(store->secret, token->key, old_hash);
    seal_hash_key(store->secret, write->rotate.key, new_hash);
    int rc = keys->has_old ? delete_key(writer, keys->old_hash) : MDB_SUCCESS;
    keys->has_old = write->rotate.grace_s > 0;
    if (keys->has_old) {
        memcpy(keys->old_hash, old_hash, sizeof(old_hash));
        keys->old_until_unix_s = write->now_unix_s + write->rotate.grace_s;
        entry.until_unix_s = keys->old_until_unix_s;
    }
    if (rc == MDB_SUCCESS)
        rc = keys->has_old ? put_key(writer, old_hash, &entry, 0) : delete_key(writer, old_hash);
    entry.until_unix_s = 0;
    if (rc == MDB_SUCCESS)
        rc = put_key(writer, new_hash, &entry, MDB_NOOVERWRITE);
    memcpy(token->key, write->rotate.key, sizeof(token->key));
    seal_key(store->secret, token->user_id, token->id, token->key, keys->sealed);
    return rc == MDB_NOTFOUND ? MDB_CORRUPTED : rc;
}

int tokens_rotate(struct writer *writer, struct store_write *write)
{
    struct token *token = &write->rotate.token;
    struct record_keys keys;
    int rc = get_own_token(writer, write, write->rotate.token_id, token, &keys);
    if (rc != MDB_SUCCESS || write->error != STORE_OK)
        return rc;
    /* What may be refused for want of memory comes first. */
    char *room = realloc(write->rotate.text, RECORD_TOKEN_LEN_MAX);
    if (!room) {
        write->error = STORE_UNAVAILABLE;
        return MDB_SUCCESS;
    }
    write->rotate.text = room;
    /* The texts lie in the record, which moves when other pages are changed. */
    size_t record_len = record_encode_token(token, &keys, (unsigned char *)room);
    if (!record_decode_token((struct span){room, record_len}, token, &keys))
        return MDB_CORRUPTED;
    rc = replace_key(writer, write, token, &keys);
    return rc == MDB_SUCCESS ? tokens_put(writer, token, &keys, &record_len) : rc;
}

/* ---- delete ---- */

int tokens_delete_one(struct writer *writer, int64_t user_id, int64_t token_id)
{
    const struct store *store = writer->store;
    unsigned char id_key[TOKEN_ID_KEY_LEN], hash[SEAL_HASH_LEN];
    MDB_val key = engine_token_key(id_key, user_id, token_id);
    struct token token;
    struct record_keys keys;
    int rc = tokens_get(writer, user_id, token_id, &token, &keys);
    if (rc != MDB_SUCCESS)
        return rc;
    if (!unseal_key(store->secret, user_id, token_id, keys.sealed, token.key))
        return MDB_CORRUPTED;
    seal_hash_key(store->secret, token.key, hash);
    explicit_bzero(token.key, sizeof(token.key));
    rc = delete_key(writer, hash);
    if (rc == MDB_SUCCESS && keys.has_old)
        rc = delete_key(writer, keys.old_hash);
    if (rc == MDB_SUCCESS)
        rc = ids_delete(writer->txn, store->ids_by_user, user_id, token_id);
    if (rc == MDB_SUCCESS)
        rc = mdb_del(writer->txn, store->tokens, &key, NULL);
    return rc == MDB_NOTFOUND ? MDB_CORRUPTED : rc;
}

int tokens_delete(struct writer *writer, struct store_write *write)
{
    struct record_user user;
    int rc = get_writing_user(writer, write, &user);
    if (rc != MDB_SUCCESS || write->error != STORE_OK)
        return rc;
    write->delete.deleted_count = 0;
    for (size_t i = 0; i < write->delete.id_count; i++) {
        rc = tokens_delete_one(writer, write->user_id, write->delete.ids[i]);
        if (rc == MDB_SUCCESS)
            write->delete.deleted_count++;
        else if (rc != MDB_NOTFOUND)
            return rc;
    }
    return MDB_SUCCESS;
}
