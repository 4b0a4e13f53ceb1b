/* Writes of users and gateways. */

#include "store/audit.h"

enum store_error store_check_actor(struct store_txn *txn, const struct store_write *write,
                                   int64_t user_id, enum user_role before, enum user_role after)
{
    struct record_user actor;
    if (write->actor.kind != STORE_ACTOR_ADMIN)
        return STORE_OK;
    enum store_error error = store_get_user(txn, write->actor.id, &actor);
    if (store_is_failure(error))
        return error;
    bool is_allowed =
        write->actor.id == user_id ? before == after : actor.role > before && actor.role > after;
    return error == STORE_OK && !actor.disabled && actor.role >= USER_ROLE_ADMIN && is_allowed
               ? STORE_OK
               : STORE_FORBIDDEN;
}

/* STORE_NAME_TAKEN where another user has the name. */
static enum store_error check_name(struct store_txn *txn, struct span name, int64_t user_id)
{
    int64_t id = 0;
    enum store_error error = txn->rows->find_user(txn, name, &id);
    if (error == STORE_OK && id != user_id)
        return STORE_NAME_TAKEN;
    return error == STORE_NOT_FOUND ? STORE_OK : error;
}

enum store_error store_apply_user_add(struct store_txn *txn, struct store_write *write)
{
    struct store_user *user = write->user_add.user;
    struct record_user record = {.name = span_of(user->name),
                                 .group = span_of(user->group),
                                 .role = user->role,
                                 .created_unix_s = write->now_unix_s,
                                 .account = {.unlimited_quota = user->account.unlimited_quota,
                                             .quota = user->account.quota,
                                             .rpm_limit = user->account.rpm_limit,
                                             .tpm_limit = user->account.tpm_limit,
                                             .max_tokens = user->account.max_tokens}};
    memcpy(record.access_hash, write->user_add.access_hash, sizeof(record.access_hash));
    struct buffer changes = {0};
    enum store_error error = store_check_actor(txn, write, 0, record.role, record.role);
    if (error == STORE_OK)
        error = check_name(txn, record.name, 0);
    if (error == STORE_OK)
        error = txn->rows->take_id(txn, STORE_IDS_USER, &user->id);
    if (error != STORE_OK)
        return error;
    txn->rows->put_user(txn, user->id, &record);
    txn->rows->index_user(txn, user->id, &record);
    audit_append_user(&changes, NULL, &record);
    audit_record(txn, write, "user.create", user->id, 0, &changes);
    return txn->error;
}

/* Refuses a quota that would be out of range. */
static enum store_error change_account(const struct store_user_patch *patch,
                                       struct token_account *account)
{
    const struct token_account *value = &patch->value.account;
    int64_t quota = patch->fields & STORE_USER_QUOTA ? value->quota : account->quota;
    if (__builtin_add_overflow(quota, patch->add_quota, &quota))
        return STORE_QUOTA_TOO_HIGH;
    if (quota < 0)
        return STORE_QUOTA_TOO_LOW;
    account->quota = quota;
    if (patch->fields & STORE_USER_UNLIMITED)
        account->unlimited_quota = value->unlimited_quota;
    else if (patch->fields & STORE_USER_QUOTA)
        account->unlimited_quota = false;
    if (patch->fields & STORE_USER_RPM_LIMIT)
        account->rpm_limit = value->rpm_limit;
    if (patch->fields & STORE_USER_TPM_LIMIT)
        account->tpm_limit = value->tpm_limit;
    if (patch->fields & STORE_USER_MAX_TOKENS)
        account->max_tokens = value->max_tokens;
    return STORE_OK;
}

/* The new texts are the patch's. */
static void change_rest(const struct store_user_patch *patch, struct record_user *user)
{
    if (patch->fields & STORE_USER_NAME)
        user->name = span_of(patch->value.name);
    if (patch->fields & STORE_USER_GROUP)
        user->group = span_of(patch->value.group);
    if (patch->fields & STORE_USER_ROLE)
        user->role = patch->value.role;
    if (patch->fields & STORE_USER_STATUS)
        user->disabled = patch->value.disabled;
}

/* Whether the actor may make the change: STORE_FORBIDDEN. An administrator gives nobody else a
 * credential but as root. */
static enum store_error check_rights(struct store_txn *txn, const struct store_write *write,
                                     const struct record_user *user)
{
    static const unsigned char none[SEAL_CREDENTIAL_HASH_LEN];
    const struct store_user_patch *patch = &write->user_change.patch;
    const unsigned char *hash = write->user_change.access_hash;
    struct record_user actor;
    enum store_error error =
        store_check_actor(txn, write, write->user_id, user->role,
                          patch->fields & STORE_USER_ROLE ? patch->value.role : user->role);
    if (error != STORE_OK || write->actor.kind != STORE_ACTOR_ADMIN || !hash ||
        memcmp(hash, none, sizeof(none)) == 0)
        return error;
    error = store_get_user(txn, write->actor.id, &actor);
    return error == STORE_OK && actor.role < USER_ROLE_ROOT ? STORE_FORBIDDEN : error;
}

static void audit_change(struct store_txn *txn, const struct store_write *write,
                         const struct record_user *before, const struct record_user *after)
{
    struct buffer changes = {0};
    bool is_status = write->user_change.patch.fields == STORE_USER_STATUS;
    audit_append_user(&changes, before, after);
    if (write->user_change.access_hash)
        audit_record(txn, write, "user.rotate", write->user_id, 0, &changes);
    else
        audit_record_changed(txn, write,
                             !is_status        ? "user.update"
                             : after->disabled ? "user.disable"
                                               : "user.enable",
                             write->user_id, 0, &changes);
}

enum store_error store_apply_user_change(struct store_txn *txn, struct store_write *write)
{
    const struct store_user_patch *patch = &write->user_change.patch;
    struct record_user user, before;
    struct store_user_texts texts;
    enum store_error error = store_get_user(txn, write->user_id, &user);
    if (error == STORE_OK)
        error = check_rights(txn, write, &user);
    if (error == STORE_OK && patch->fields & STORE_USER_NAME)
        error = check_name(txn, span_of(patch->value.name), write->user_id);
    before = user;
    if (error == STORE_OK)
        error = change_account(patch, &user.account);
    if (error != STORE_OK)
        return error;
    store_keep_texts(&before, &texts);
    user.name = before.name;
    user.group = before.group;
    change_rest(patch, &user);
    if (write->user_change.access_hash)
        memcpy(user.access_hash, write->user_change.access_hash, sizeof(user.access_hash));
    if (!span_equal(user.group, before.group))
        txn->rows->follow_owner(txn, write->user_id, before.group);
    txn->rows->unindex_user(txn, &before);
    txn->rows->index_user(txn, write->user_id, &user);
    txn->rows->put_user(txn, write->user_id, &user);
    audit_change(txn, write, &before, &user);
    return txn->error;
}

/* Its name is free from now on. */
static enum store_error mark_deleted(struct store_txn *txn, const struct store_write *write)
{
    int64_t user_id = write->user_id;
    struct record_user user;
    struct store_user_texts texts;
    struct buffer changes = {0};
    enum store_error error = txn->rows->get_user(txn, user_id, &user);
    if (error == STORE_NOT_FOUND)
        return STORE_NO_USER;
    if (error == STORE_OK && !user.deleted)
        error = store_check_actor(txn, write, user_id, user.role, user.role);
    if (error != STORE_OK || user.deleted)
        return error;
    store_keep_texts(&user, &texts);
    txn->rows->unindex_user(txn, &user);
    user.deleted = true;
    txn->rows->put_user(txn, user_id, &user);
    audit_append(&changes, "username", audit_text(user.name),
                 (struct audit_value){.kind = AUDIT_NONE});
    audit_record(txn, write, "user.delete", user_id, 0, &changes);
    return txn->error;
}

enum store_error store_apply_user_delete(struct store_txn *txn, struct store_write *write)
{
    int64_t id;
    enum store_error error = mark_deleted(txn, write);
    for (size_t i = 0; error == STORE_OK && i < write->step.max; i++) {
        error = txn->rows->first_token(txn, write->user_id, &id);
        if (error == STORE_OK && store_delete_token(txn, write->user_id, id, NULL) != STORE_OK)
            return store_txn_fail(txn, STORE_CORRUPT);
    }
    if (error != STORE_OK && error != STORE_NOT_FOUND)
        return error;
    write->step.more = txn->rows->count_tokens(txn, write->user_id) > 0;
    if (!write->step.more)
        txn->rows->delete_user(txn, write->user_id);
    return txn->error;
}

enum store_error store_apply_gateway_add(struct store_txn *txn, struct store_write *write)
{
    struct store_gateway *gateway = write->gateway_add.gateway;
    struct record_gateway record = {.name = span_of(gateway->name),
                                    .created_unix_s = write->now_unix_s};
    memcpy(record.secret_hash, write->gateway_add.secret_hash, sizeof(record.secret_hash));
    struct buffer changes = {0};
    const struct audit_value none = {.kind = AUDIT_NONE};
    enum store_error error = txn->rows->take_id(txn, STORE_IDS_GATEWAY, &gateway->id);
    if (error != STORE_OK)
        return error;
    txn->rows->add_gateway(txn, gateway->id, &record);
    audit_append(&changes, "id", none, audit_int(gateway->id));
    audit_append(&changes, "name", none, audit_text(record.name));
    audit_record(txn, write, "gateway.create", 0, 0, &changes);
    return txn->error;
}

enum store_error store_apply_gateway_delete(struct store_txn *txn, struct store_write *write)
{
    struct buffer changes = {0};
    int64_t id = write->gateway_delete.gateway_id;
    enum store_error error = txn->rows->delete_gateway(txn, id);
    if (error != STORE_OK)
        return error;
    audit_append(&changes, "id", audit_int(id), (struct audit_value){.kind = AUDIT_NONE});
    audit_record(txn, write, "gateway.delete", 0, 0, &changes);
    return txn->error;
}
