/* Groups, what users were granted of them, and the models that are listed. */

#include "store/audit.h"

/* The group that exists from the start. */
static const struct span default_name = SPAN("default");

struct store_group_right store_find_right(struct store_txn *txn, int64_t user_id,
                                          const struct record_user *user, struct span group)
{
    struct record_group found = {.ratio_millionths = STORE_RATIO_ONE};
    if (!txn->rows->groups_checked(txn))
        return (struct store_group_right){.allowed = true};
    bool is_own = group.len == 0 || span_equal(group, user->group);
    enum store_error error = txn->rows->get_group(txn, is_own ? user->group : group, &found);
    return (struct store_group_right){
        .checked = true,
        .allowed = is_own || (error == STORE_OK &&
                              (found.is_public || txn->rows->has_grant(txn, user_id, group))),
        .ratio_millionths = found.ratio_millionths,
    };
}

/* Appends whose name it is. */
static void append_name(struct buffer *changes, struct span name, bool is_before, bool is_after)
{
    const struct audit_value none = {.kind = AUDIT_NONE};
    audit_append(changes, "name", is_before ? audit_text(name) : none,
                 is_after ? audit_text(name) : none);
}

/* Has groups checked from now on. */
static void begin_checks(struct store_txn *txn, struct buffer *changes)
{
    struct record_group found;
    const struct record_group none = {.description = SPAN(""), .ratio_millionths = STORE_RATIO_ONE};
    if (txn->rows->groups_checked(txn))
        return;
    txn->rows->check_groups(txn, true);
    audit_append(changes, "checked", audit_bool(false), audit_bool(true));
    if (txn->rows->get_group(txn, default_name, &found) == STORE_NOT_FOUND)
        txn->rows->put_group(txn, default_name, &none);
}

enum store_error store_apply_group_put(struct store_txn *txn, struct store_write *write)
{
    const struct store_group *group = write->group_put.group;
    struct span name = span_of(group->name);
    struct record_group found, record = {.description = span_of(group->description),
                                         .is_public = group->is_public,
                                         .ratio_millionths = group->ratio_millionths};
    struct buffer changes = {0};
    enum store_error error = txn->rows->get_group(txn, name, &found);
    bool is_new = error == STORE_NOT_FOUND;
    if (error != STORE_OK && !is_new)
        return error;
    append_name(&changes, name, !is_new, true);
    size_t name_len = changes.len;
    audit_append_group(&changes, is_new ? NULL : &found, &record);
    if (write->group_put.begins_checks)
        begin_checks(txn, &changes);
    txn->rows->put_group(txn, name, &record);
    if (is_new || changes.len > name_len)
        audit_record(txn, write, is_new ? "group.create" : "group.update", 0, 0, &changes);
    buffer_free(&changes);
    return txn->error;
}

enum store_error store_apply_group_delete(struct store_txn *txn, struct store_write *write)
{
    struct buffer changes = {0};
    enum store_error error = txn->rows->delete_group(txn, write->group_delete);
    if (error != STORE_OK)
        return error == STORE_NOT_FOUND ? STORE_NO_GROUP : error;
    append_name(&changes, write->group_delete, true, false);
    audit_record(txn, write, "group.delete", 0, 0, &changes);
    return txn->error;
}

enum store_error store_apply_groups_check(struct store_txn *txn, struct store_write *write)
{
    bool before = txn->rows->groups_checked(txn), after = write->groups_check;
    struct buffer changes = {0};
    if (before == after)
        return txn->error;
    txn->rows->check_groups(txn, after);
    audit_append(&changes, "checked", audit_bool(before), audit_bool(after));
    audit_record(txn, write, after ? "group.on" : "group.off", 0, 0, &changes);
    return txn->error;
}

enum store_error store_apply_grant(struct store_txn *txn, struct store_write *write)
{
    struct span name = write->grant.group;
    bool granted = write->grant.granted;
    struct record_user user;
    struct record_group group;
    struct buffer changes = {0};
    enum store_error error = store_get_user(txn, write->user_id, &user);
    if (error == STORE_OK)
        error = txn->rows->get_group(txn, name, &group);
    if (error != STORE_OK)
        return error == STORE_NOT_FOUND ? STORE_NO_GROUP : error;
    if (txn->rows->has_grant(txn, write->user_id, name) == granted)
        return txn->error;
    txn->rows->put_grant(txn, write->user_id, name, granted);
    append_name(&changes, name, !granted, granted);
    audit_record(txn, write, granted ? "group.grant" : "group.revoke", write->user_id, 0, &changes);
    return txn->error;
}

enum store_error store_apply_model_put(struct store_txn *txn, struct store_write *write)
{
    struct buffer changes = {0};
    bool listed = write->model_put.listed;
    txn->rows->put_model(txn, write->model_put.name, listed);
    append_name(&changes, write->model_put.name, !listed, listed);
    audit_record(txn, write, listed ? "model.create" : "model.delete", 0, 0, &changes);
    return txn->error;
}
