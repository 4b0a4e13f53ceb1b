/* Writes of a user's tokens. */

#include <stdlib.h>

#include "base/calendar.h"
#include "store/audit.h"
#include "token/refill.h"

/* The user whose tokens are to be written. STORE_NO_USER, STORE_USER_DISABLED, STORE_FORBIDDEN. */
static enum store_error get_owner(struct store_txn *txn, struct store_write *write,
                                  struct record_user *user)
{
    enum store_error error = store_get_user(txn, write->user_id, user);
    if (error == STORE_OK)
        error = store_check_actor(txn, write, write->user_id, user->role, user->role);
    if (error != STORE_OK)
        return error;
    /* The user's row moves when others are changed. */
    memcpy(write->owner_group, user->group.at, user->group.len);
    user->group.at = write->owner_group;
    return user->disabled && !write->by_administrator ? STORE_USER_DISABLED : STORE_OK;
}

/* ---- groups ---- */

/* A token with the group that is shown: its own or, if that is empty, its owner's. */
static void show_group(struct token *token, const struct record_user *owner)
{
    if (token->group.len == 0)
        token->group = owner->group;
}

/* Stores a token that shows its group: its owner's is stored empty, and follows it. */
static void put_token(struct store_txn *txn, const struct token *shown,
                      const struct record_user *owner, const struct record_keys *keys, bool is_new)
{
    struct token token;
    memcpy(&token, shown, offsetof(struct token, key));
    token.key[0] = '\0'; /* it is in keys, sealed */
    token.group_is_old = false;
    if (span_equal(token.group, owner->group))
        token.group = SPAN("");
    (is_new ? txn->rows->add_token : txn->rows->put_token)(txn, &token, keys);
}

/* STORE_GROUP where a token may not be given the group. */
static enum store_error check_group(struct store_txn *txn, int64_t user_id,
                                    const struct record_user *owner, struct span group)
{
    struct store_group_right right = store_find_right(txn, user_id, owner, group);
    return txn->error != STORE_OK ? txn->error : right.allowed ? STORE_OK : STORE_GROUP;
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

static void add_token(struct store_txn *txn, const struct token *token,
                      const struct record_user *owner)
{
    unsigned char hash[SEAL_HASH_LEN], sealed[SEAL_KEY_LEN_MAX];
    struct record_keys keys = {.has_old = false};
    keys.sealed = seal_key(txn->seal, token->user_id, token->id, token->key, sealed);
    put_token(txn, token, owner, &keys, true);
    seal_hash_key(txn->seal, token->key, hash);
    txn->rows->put_key(txn, hash,
                       &(struct record_key){.user_id = token->user_id, .token_id = token->id});
}

static enum store_error check_limit(struct store_txn *txn, struct store_write *write,
                                    const struct record_user *owner)
{
    uint64_t held, max = write->create.max_per_user;
    if (owner->account.max_tokens > 0)
        max = (uint64_t)owner->account.max_tokens;
    write->create.limit = max;
    if (max == 0)
        return STORE_OK;
    held = txn->rows->count_tokens(txn, write->user_id);
    if (txn->error != STORE_OK)
        return txn->error;
    return held < max && write->create.count <= max - held ? STORE_OK : STORE_LIMIT;
}

/* Fills in what the store knows of the tokens: ids, owner, times, groups. */
static enum store_error complete_tokens(struct store_txn *txn, struct store_write *write,
                                        const struct record_user *owner)
{
    enum store_error error = STORE_OK;
    size_t i = 0;
    for (; error == STORE_OK && i < write->create.count; i++) {
        struct token *token = &write->create.tokens[i];
        error = txn->rows->take_id(txn, STORE_IDS_TOKEN, &token->id);
        token->user_id = write->user_id;
        token->created_unix_s = token->accessed_unix_s = write->now_unix_s;
        if (token->group.at == write->owner_group) /* the transaction is repeated */
            token->group = SPAN("");
        show_group(token, owner);
        if (error == STORE_OK)
            error = check_group(txn, write->user_id, owner, token->group);
    }
    write->create.refused = i - 1;
    return error;
}

static void audit_create(struct store_txn *txn, const struct store_write *write)
{
    const struct token *tokens = write->create.tokens;
    struct audit_ids ids = {.count = 0};
    struct buffer changes = {0};
    bool is_one = write->create.count == 1;
    for (size_t i = 0; i < write->create.count; i++)
        audit_add_id(&ids, tokens[i].id);
    if (is_one)
        audit_append_token(&changes, NULL, &tokens[0]);
    else
        audit_append_ids(&changes, &ids, true);
    audit_record(txn, write, "token.create", write->user_id, is_one ? tokens[0].id : 0, &changes);
}

enum store_error store_apply_create(struct store_txn *txn, struct store_write *write)
{
    struct record_user user;
    enum store_error error = get_owner(txn, write, &user);
    if (error == STORE_OK)
        error = check_limit(txn, write, &user);
    if (error == STORE_OK)
        error = complete_tokens(txn, write, &user);
    if (error == STORE_OK)
        error = store_keep_answer(txn, write); /* may refuse: before the first change */
    for (size_t i = 0; error == STORE_OK && i < write->create.count; i++) {
        add_token(txn, &write->create.tokens[i], &user);
        error = txn->error;
    }
    if (error == STORE_OK)
        audit_create(txn, write);
    return error == STORE_OK ? txn->error : error;
}

/* ---- update and rotate ---- */

/* The user's own token, as it is shown, with its key, and the secret that that is sealed with.
 * STORE_NOT_FOUND. */
static enum store_error get_own_token(struct store_txn *txn, struct store_write *write,
                                      int64_t token_id, struct record_user *owner,
                                      struct token *token, struct record_keys *keys,
                                      const struct seal_secret **secret)
{
    enum store_error error = get_owner(txn, write, owner);
    if (error == STORE_OK)
        error = txn->rows->get_token(txn, write->user_id, token_id, token, keys);
    if (error != STORE_OK)
        return error;
    show_group(token, owner);
    *secret = unseal_key(txn->seal, write->user_id, token_id, keys->sealed, token->key);
    return *secret ? STORE_OK : store_txn_fail(txn, STORE_CORRUPT);
}

/* Applies the patch to a token that shows its group. One that it has already is never refused. */
static enum store_error apply_patch(struct store_txn *txn, const struct store_write *write,
                                    const struct record_user *owner, int64_t now_unix_s,
                                    struct token *token)
{
    struct token_patch patch = write->update.patch;
    if (patch.fields & TOKEN_FIELD_GROUP) {
        show_group(&patch.value, owner);
        enum store_error error = span_equal(patch.value.group, token->group)
                                     ? STORE_OK
                                     : check_group(txn, write->user_id, owner, patch.value.group);
        if (error != STORE_OK)
            return error;
    }
    enum token_error refused =
        token_patch_apply(&patch, now_unix_s, calendar_day(now_unix_s), token);
    return refused == TOKEN_OK ? STORE_OK : STORE_ENABLE_EXPIRED + (refused - TOKEN_ENABLE_EXPIRED);
}

enum store_error store_apply_update(struct store_txn *txn, struct store_write *write)
{
    struct token *token = &write->token, before;
    struct record_user owner;
    struct record_keys keys;
    struct buffer changes = {0};
    const struct seal_secret *secret;
    int64_t id = write->update.token_id, now_unix_s = txn->rows->wall_s(txn, write);
    enum store_error error = get_own_token(txn, write, id, &owner, token, &keys, &secret);
    if (error != STORE_OK)
        return error;
    token_refill(token, calendar_day(now_unix_s));
    memcpy(&before, token, offsetof(struct token, key));
    error = apply_patch(txn, write, &owner, now_unix_s, token);
    if (error != STORE_OK)
        return error;
    audit_append_token(&changes, &before, token);
    error = copy_for_caller(token, &write->text);
    if (error == STORE_OK)
        put_token(txn, token, &owner, &keys, false);
    else
        store_txn_fail(txn, error);
    bool is_status = write->update.patch.fields == TOKEN_FIELD_STATUS;
    audit_record_changed(txn, write, is_status ? "token.status" : "token.update", write->user_id,
                         id, &changes);
    return txn->error;
}

struct replaced_key {
    const struct seal_secret *secret; /* that it is hashed with */
    char key[TOKEN_KEY_SIZE];
};

/* Stores the token with its new key. The old key's entry stays, with an end, while it is in its
 * grace. */
static void replace_key(struct store_txn *txn, const struct store_write *write,
                        const struct record_user *owner, const struct replaced_key *old,
                        struct record_keys *keys)
{
    const struct token *token = &write->token;
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
    put_token(txn, token, owner, keys, false);
    audit_record(txn, write, "token.rotate", token->user_id, token->id, &(struct buffer){0});
}

enum store_error store_apply_rotate(struct store_txn *txn, struct store_write *write)
{
    struct token *token = &write->token;
    struct record_user owner;
    struct record_keys keys;
    struct replaced_key old;
    enum store_error error =
        get_own_token(txn, write, write->rotate.token_id, &owner, token, &keys, &old.secret);
    if (error == STORE_OK)
        error = copy_for_caller(token, &write->text);
    if (error != STORE_OK)
        return error;
    memcpy(old.key, token->key, sizeof(old.key));
    memcpy(token->key, write->rotate.key, sizeof(write->rotate.key));
    error = store_keep_answer(txn, write); /* may refuse: before the first change */
    if (error == STORE_OK)
        replace_key(txn, write, &owner, &old, &keys);
    explicit_bzero(old.key, sizeof(old.key));
    return error == STORE_OK ? txn->error : error;
}

/* ---- status ---- */

static enum store_error set_status(struct store_txn *txn, struct store_write *write,
                                   int64_t token_id, struct audit_ids *changed)
{
    const struct token_patch patch = {.fields = TOKEN_FIELD_STATUS,
                                      .value.status = write->set_status.status};
    struct token token;
    struct record_keys keys;
    int64_t now_unix_s = txn->rows->wall_s(txn, write);
    enum store_error error = txn->rows->get_token(txn, write->user_id, token_id, &token, &keys);
    if (error != STORE_OK)
        return error == STORE_NOT_FOUND ? STORE_OK : error;
    bool changes = token.status != write->set_status.status;
    if (token_patch_apply(&patch, now_unix_s, calendar_day(now_unix_s), &token) != TOKEN_OK) {
        write->set_status.refused[write->set_status.refused_count++] = token_id;
        return STORE_OK;
    }
    write->set_status.set_count++;
    txn->rows->put_token(txn, &token, &keys);
    if (changes)
        audit_add_id(changed, token_id);
    return txn->error;
}

static void audit_status(struct store_txn *txn, const struct store_write *write,
                         const struct audit_ids *changed)
{
    enum token_status status = write->set_status.status,
                      other = status == TOKEN_ENABLED ? TOKEN_DISABLED : TOKEN_ENABLED;
    struct buffer changes = {0};
    if (changed->count == 0)
        return;
    if (changed->count > 1)
        audit_append_ids(&changes, changed, true);
    audit_append(&changes, "status", audit_int(other), audit_int(status));
    audit_record(txn, write, "token.status", write->user_id,
                 changed->count == 1 ? changed->listed[0] : 0, &changes);
}

enum store_error store_apply_set_status(struct store_txn *txn, struct store_write *write)
{
    struct record_user user;
    struct audit_ids changed = {.count = 0};
    int64_t *ids = write->set_status.ids;
    size_t count = write->set_status.id_count;
    enum store_error error = get_owner(txn, write, &user);
    write->set_status.set_count = write->set_status.refused_count = 0;
    qsort(ids, count, sizeof(ids[0]), store_compare_ids);
    for (size_t i = 0; error == STORE_OK && i < count; i++)
        if (i == 0 || ids[i] != ids[i - 1])
            error = set_status(txn, write, ids[i], &changed);
    if (error == STORE_OK)
        audit_status(txn, write, &changed);
    return error == STORE_OK ? txn->error : error;
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

enum store_error store_delete_token(struct store_txn *txn, int64_t user_id, int64_t token_id,
                                    struct buffer *changes)
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
    if (changes)
        audit_append(changes, "name", audit_text(token.name),
                     (struct audit_value){.kind = AUDIT_NONE});
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
    struct audit_ids deleted = {.count = 0};
    struct buffer changes = {0};
    size_t count = write->delete.id_count;
    enum store_error error = get_owner(txn, write, &user);
    for (size_t i = 0; error == STORE_OK && i < count; i++) {
        int64_t id = write->delete.ids[i];
        error = store_delete_token(txn, write->user_id, id, count == 1 ? &changes : NULL);
        if (error == STORE_OK)
            audit_add_id(&deleted, id);
        else if (error == STORE_NOT_FOUND)
            error = STORE_OK;
    }
    write->delete.deleted_count = deleted.count;
    if (deleted.count > 1)
        audit_append_ids(&changes, &deleted, false);
    if (error == STORE_OK && deleted.count > 0)
        audit_record(txn, write, "token.delete", write->user_id,
                     deleted.count == 1 ? deleted.listed[0] : 0, &changes);
    buffer_free(&changes); /* of a failure */
    return error == STORE_OK ? txn->error : error;
}
