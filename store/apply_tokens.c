/* Writes of a user's tokens. */

#include <stdlib.h>

#include "base/calendar.h"
#include "store/txn.h"

/* The user whose tokens are to be written. STORE_NO_USER, STORE_USER_DISABLED. */
static enum store_error get_owner(struct store_txn *txn, const struct store_write *write,
                                  struct record_user *user)
{
    enum store_error error = store_get_user(txn, write->user_id, user);
    if (error == STORE_OK && user->disabled && !write->by_administrator)
        return STORE_USER_DISABLED;
    return error;
}

/* Copies the token's texts into memory that outlives the transaction. Nothing is changed yet:
 * STORE_UNAVAILABLE where there is none. */
static enum store_error copy_for_caller(struct token *token, char **text)
{
    char *at = malloc(token_texts_len(token) + 1);
    if (!at)
        return STORE_UNAVAILABLE;
    free(*text);
    *text = at;
    for (size_t i = 0; i < TOKEN_FIELD_COUNT; i++) {
        const struct token_field_rule *rule = &token_field_rules[i];
        if (!token_field_is_text(rule))
            continue;
        struct span field = token_field_text(rule, token);
        struct span copy = {at, field.len};
        at = mempcpy(at, field.at ? field.at : "", field.len);
        memcpy((char *)token + rule->offset, &copy, sizeof(copy));
    }
    return STORE_OK;
}

/* ---- create ---- */

static void add_token(struct store_txn *txn, const struct token *token)
{
    unsigned char hash[SEAL_HASH_LEN], sealed[SEAL_KEY_LEN_MAX];
    struct record_keys keys = {.has_old = false};
    keys.sealed = seal_key(txn->seal, token->user_id, token->id, token->key, sealed);
    txn->rows->add_token(txn, token, &keys);
    seal_hash_key(txn->seal, token->key, hash);
    txn->rows->put_key(txn, hash,
                       &(struct record_key){.user_id = token->user_id, .token_id = token->id});
}

static enum store_error check_limit(struct store_txn *txn, const struct store_write *write)
{
    uint64_t held, max = write->create.max_per_user;
    if (max == 0)
        return STORE_OK;
    held = txn->rows->count_tokens(txn, write->user_id);
    if (txn->error != STORE_OK)
        return txn->error;
    return held < max && write->create.count <= max - held ? STORE_OK : STORE_LIMIT;
}

enum store_error store_apply_create(struct store_txn *txn, struct store_write *write)
{
    struct record_user user;
    enum store_error error = get_owner(txn, write, &user);
    if (error == STORE_OK)
        error = check_limit(txn, write);
    if (error != STORE_OK)
        return error;
    /* The user's row moves when others are changed: keep the group. */
    struct span group = {write->create.user_group, user.group.len};
    memcpy(write->create.user_group, user.group.at, user.group.len);
    for (size_t i = 0; error == STORE_OK && i < write->create.count; i++) {
        struct token *token = &write->create.tokens[i];
        error = txn->rows->take_id(txn, STORE_IDS_TOKEN, &token->id);
        token->user_id = write->user_id;
        token->created_unix_s = token->accessed_unix_s = write->now_unix_s;
        if (!token->group.at || token->group.at == group.at)
            token->group = group;
    }
    if (error == STORE_OK)
        error = store_keep_answer(txn, write); /* may refuse: before the first change */
    for (size_t i = 0; error == STORE_OK && i < write->create.count; i++) {
        add_token(txn, &write->create.tokens[i]);
        error = txn->error;
    }
    return error;
}

/* ---- update and rotate ---- */

/* The user's own token with its key, and the secret that it is sealed with. STORE_NOT_FOUND. */
static enum store_error get_own_token(struct store_txn *txn, const struct store_write *write,
                                      int64_t token_id, struct token *token,
                                      struct record_keys *keys, const struct seal_secret **secret)
{
    struct record_user user;
    enum store_error error = get_owner(txn, write, &user);
    if (error == STORE_OK)
        error = txn->rows->get_token(txn, write->user_id, token_id, token, keys);
    if (error != STORE_OK)
        return error;
    *secret = unseal_key(txn->seal, write->user_id, token_id, keys->sealed, token->key);
    return *secret ? STORE_OK : store_txn_fail(txn, STORE_CORRUPT);
}

enum store_error store_apply_update(struct store_txn *txn, struct store_write *write)
{
    struct token *token = &write->token;
    struct record_keys keys;
    const struct seal_secret *secret;
    enum store_error error =
        get_own_token(txn, write, write->update.token_id, token, &keys, &secret);
    if (error != STORE_OK)
        return error;
    enum token_error refused = token_patch_apply(&write->update.patch, write->now_unix_s,
                                                 calendar_day(write->now_unix_s), token);
    if (refused != TOKEN_OK)
        return STORE_ENABLE_EXPIRED + (refused - TOKEN_ENABLE_EXPIRED);
    error = copy_for_caller(token, &write->text);
    if (error == STORE_OK)
        txn->rows->put_token(txn, token, &keys);
    return error == STORE_OK ? txn->error : store_txn_fail(txn, error);
}

struct replaced_key {
    const struct seal_secret *secret; /* that it is hashed with */
    char key[TOKEN_KEY_SIZE];
};

/* Stores the token with its new key. The old key's entry stays, with an end, while it is in its
 * grace. */
static void replace_key(struct store_txn *txn, const struct store_write *write,
                        const struct token *token, const struct replaced_key *old,
                        struct record_keys *keys)
{
    unsigned char hash[SEAL_HASH_LEN], sealed[SEAL_KEY_LEN_MAX], old_sealed[SEAL_KEY_LEN_MAX];
    struct record_key entry = {.user_id = token->user_id, .token_id = token->id};
    if (keys->has_old)
        txn->rows->delete_key(txn, keys->old_hash);
    keys->has_old = write->rotate.grace_s > 0;
    keys->old_sealed = SPAN("");
    seal_hash_key_with(old->secret, old->key, hash);
    if (!keys->has_old || old->secret != seal_current(txn->seal))
        txn->rows->delete_key(txn, hash);
    if (keys->has_old) {
        seal_hash_key(txn->seal, old->key, keys->old_hash);
        keys->old_sealed = seal_key(txn->seal, token->user_id, token->id, old->key, old_sealed);
        keys->old_until_unix_s = write->now_unix_s + write->rotate.grace_s;
        entry.until_unix_s = keys->old_until_unix_s;
        txn->rows->put_key(txn, keys->old_hash, &entry);
    }
    entry.until_unix_s = 0;
    seal_hash_key(txn->seal, token->key, hash);
    txn->rows->put_key(txn, hash, &entry);
    keys->sealed = seal_key(txn->seal, token->user_id, token->id, token->key, sealed);
    txn->rows->put_token(txn, token, keys);
}

enum store_error store_apply_rotate(struct store_txn *txn, struct store_write *write)
{
    struct token *token = &write->token;
    struct record_keys keys;
    struct replaced_key old;
    enum store_error error =
        get_own_token(txn, write, write->rotate.token_id, token, &keys, &old.secret);
    if (error == STORE_OK)
        error = copy_for_caller(token, &write->text);
    if (error != STORE_OK)
        return error;
    memcpy(old.key, token->key, sizeof(old.key));
    memcpy(token->key, write->rotate.key, sizeof(write->rotate.key));
    error = store_keep_answer(txn, write); /* may refuse: before the first change */
    if (error == STORE_OK)
        replace_key(txn, write, token, &old, &keys);
    explicit_bzero(old.key, sizeof(old.key));
    return error == STORE_OK ? txn->error : error;
}

/* ---- status ---- */

static enum store_error set_status(struct store_txn *txn, struct store_write *write,
                                   int64_t token_id)
{
    const struct token_patch patch = {.fields = TOKEN_FIELD_STATUS,
                                      .value.status = write->set_status.status};
    struct token token;
    struct record_keys keys;
    enum store_error error = txn->rows->get_token(txn, write->user_id, token_id, &token, &keys);
    if (error != STORE_OK)
        return error == STORE_NOT_FOUND ? STORE_OK : error;
    if (token_patch_apply(&patch, write->now_unix_s, calendar_day(write->now_unix_s), &token) !=
        TOKEN_OK) {
        write->set_status.refused[write->set_status.refused_count++] = token_id;
        return STORE_OK;
    }
    write->set_status.set_count++;
    txn->rows->put_token(txn, &token, &keys);
    return txn->error;
}

enum store_error store_apply_set_status(struct store_txn *txn, struct store_write *write)
{
    struct record_user user;
    int64_t *ids = write->set_status.ids;
    size_t count = write->set_status.id_count;
    enum store_error error = get_owner(txn, write, &user);
    write->set_status.set_count = write->set_status.refused_count = 0;
    qsort(ids, count, sizeof(ids[0]), store_compare_ids);
    for (size_t i = 0; error == STORE_OK && i < count; i++)
        if (i == 0 || ids[i] != ids[i - 1])
            error = set_status(txn, write, ids[i]);
    return error;
}

/* ---- delete ---- */

/* What it has used stays in the owner's sums. */
static void keep_used_quota(struct store_txn *txn, int64_t user_id, int64_t used_quota)
{
    struct record_user owner;
    struct store_user_texts texts;
    if (used_quota == 0)
        return;
    if (store_txn_fail(txn, txn->rows->get_user(txn, user_id, &owner)) != STORE_OK)
        return;
    store_keep_texts(&owner, &texts);
    owner.account.deleted_used_quota += used_quota;
    txn->rows->put_user(txn, user_id, &owner);
}

enum store_error store_delete_token(struct store_txn *txn, int64_t user_id, int64_t token_id)
{
    unsigned char hash[SEAL_HASH_LEN];
    struct token token;
    struct record_keys keys;
    enum store_error error = txn->rows->get_token(txn, user_id, token_id, &token, &keys);
    if (error != STORE_OK)
        return error;
    const struct seal_secret *secret =
        unseal_key(txn->seal, user_id, token_id, keys.sealed, token.key);
    if (!secret)
        return store_txn_fail(txn, STORE_CORRUPT);
    seal_hash_key_with(secret, token.key, hash);
    explicit_bzero(token.key, strlen(token.key));
    txn->rows->delete_key(txn, hash);
    if (keys.has_old)
        txn->rows->delete_key(txn, keys.old_hash);
    txn->rows->delete_token(txn, user_id, token_id);
    txn->rows->delete_usage(txn, user_id, token_id);
    keep_used_quota(txn, user_id, token.used_quota);
    return txn->error;
}

enum store_error store_apply_delete(struct store_txn *txn, struct store_write *write)
{
    struct record_user user;
    enum store_error error = get_owner(txn, write, &user);
    write->delete.deleted_count = 0;
    for (size_t i = 0; error == STORE_OK && i < write->delete.id_count; i++) {
        error = store_delete_token(txn, write->user_id, write->delete.ids[i]);
        if (error == STORE_OK)
            write->delete.deleted_count++;
        else if (error == STORE_NOT_FOUND)
            error = STORE_OK;
    }
    return error;
}
