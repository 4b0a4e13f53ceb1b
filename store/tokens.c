/* What the writes of tokens do in a transaction. */

#include <errno.h>
#include <stdlib.h>

#include "store/ids.h"
#include "store/tokens.h"

/* Looks the user up and sets the write's error where it may not write. */
static int get_writing_user(struct writer *writer, struct store_write *write,
                            struct record_user *user)
{
    int rc = writer_get_user(writer, write->user_id, user);
    if (rc == MDB_NOTFOUND) {
        write->error = STORE_NO_USER;
        return MDB_SUCCESS;
    }
    if (rc == MDB_SUCCESS && user->disabled)
        write->error = STORE_USER_DISABLED;
    return rc;
}

/* ---- create ---- */

static int put_token(struct writer *writer, const struct token *token)
{
    const struct store *store = writer->store;
    unsigned char id_key[TOKEN_ID_KEY_LEN], hash[SECRET_HASH_LEN], sealed[SECRET_SEALED_LEN];
    MDB_val key = engine_token_key(id_key, token->user_id, token->id);
    secret_seal(store->secret, token->user_id, token->id, token->key, sealed);
    MDB_val record = {record_encode_token(token, sealed, writer->record), writer->record};
    int rc = mdb_put(writer->txn, store->tokens, &key, &record, MDB_NOOVERWRITE);
    if (rc == MDB_SUCCESS)
        rc = ids_append(writer->txn, store->ids_by_user, token->user_id, token->id);
    if (rc != MDB_SUCCESS)
        return rc;
    secret_hash_key(store->secret, token->key, hash);
    MDB_val hash_key = {sizeof(hash), hash}, id_value = {sizeof(id_key), id_key};
    return mdb_put(writer->txn, store->token_by_key, &hash_key, &id_value, MDB_NOOVERWRITE);
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

int tokens_create(struct writer *writer, struct store_write *write)
{
    struct record_user user;
    uint64_t held;
    int rc = get_writing_user(writer, write, &user);
    if (rc != MDB_SUCCESS || write->error != STORE_OK)
        return rc;
    rc = ids_count(writer->ids_by_user, write->user_id, &held);
    if (rc != MDB_SUCCESS)
        return rc;
    uint64_t max = write->create.max_per_user;
    if (max > 0 && (held >= max || write->create.count > max - held)) {
        write->error = STORE_LIMIT;
        return MDB_SUCCESS;
    }
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
        rc = put_token(writer, &write->create.tokens[i]);
    }
    return rc;
}

/* ---- update ---- */

/* Decodes the token of the update from its record, which is copied to the write's
 * text: what it returns outlives the transaction. */
static int decode_for_caller(struct writer *writer, struct store_write *write, size_t record_len)
{
    char *text = realloc(write->update.text, record_len);
    if (!text)
        return ENOMEM;
    memcpy(text, writer->record, record_len);
    write->update.text = text;
    const unsigned char *sealed;
    return record_decode_token((struct span){text, record_len}, &write->update.token, &sealed)
               ? MDB_SUCCESS
               : MDB_CORRUPTED;
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
    const struct store *store = writer->store;
    struct record_user user;
    int rc = get_writing_user(writer, write, &user);
    if (rc != MDB_SUCCESS || write->error != STORE_OK)
        return rc;

    int64_t user_id = write->user_id, token_id = write->update.token_id;
    unsigned char id_key[TOKEN_ID_KEY_LEN];
    MDB_val key = engine_token_key(id_key, user_id, token_id), record;
    rc = mdb_get(writer->txn, store->tokens, &key, &record);
    if (rc == MDB_NOTFOUND) {
        write->error = STORE_NOT_FOUND;
        return MDB_SUCCESS;
    }
    struct token *token = &write->update.token;
    *token = (struct token){.id = token_id, .user_id = user_id};
    const unsigned char *sealed;
    if (rc == MDB_SUCCESS && (!record_decode_token(engine_span(&record), token, &sealed) ||
                              !secret_unseal(store->secret, user_id, token_id, sealed, token->key)))
        rc = MDB_CORRUPTED;
    if (rc != MDB_SUCCESS)
        return rc;
    write->error = patch_token(write, token);
    if (write->error != STORE_OK)
        return MDB_SUCCESS;

    size_t record_len = record_encode_token(token, sealed, writer->record);
    rc = decode_for_caller(writer, write, record_len);
    if (rc == ENOMEM)
        write->error = STORE_UNAVAILABLE; /* nothing is changed yet: only this one fails */
    if (rc != MDB_SUCCESS)
        return rc == ENOMEM ? MDB_SUCCESS : rc;
    record = (MDB_val){record_len, writer->record};
    return mdb_put(writer->txn, store->tokens, &key, &record, 0);
}

/* ---- delete ---- */

int tokens_delete_one(struct writer *writer, int64_t user_id, int64_t token_id)
{
    const struct store *store = writer->store;
    unsigned char id_key[TOKEN_ID_KEY_LEN], hash[SECRET_HASH_LEN];
    MDB_val key = engine_token_key(id_key, user_id, token_id), record;
    int rc = mdb_get(writer->txn, store->tokens, &key, &record);
    if (rc != MDB_SUCCESS)
        return rc;
    struct token token;
    const unsigned char *sealed;
    if (!record_decode_token(engine_span(&record), &token, &sealed) ||
        !secret_unseal(store->secret, user_id, token_id, sealed, token.key))
        return MDB_CORRUPTED;
    secret_hash_key(store->secret, token.key, hash);
    MDB_val hash_key = {sizeof(hash), hash};
    rc = mdb_del(writer->txn, store->token_by_key, &hash_key, NULL);
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
