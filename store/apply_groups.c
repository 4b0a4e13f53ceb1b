/* Groups, what users were granted of them, and the models that are listed. */

#include "store/txn.h"

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

enum store_error store_apply_group_put(struct store_txn *txn, struct store_write *write)
{
    const struct store_group *group = write->group_put;
    struct record_group found, record = {.description = span_of(group->description),
                                         .is_public = group->is_public,
                                         .ratio_millionths = group->ratio_millionths};
    if (!txn->rows->groups_checked(txn)) {
        txn->rows->check_groups(txn, true);
        if (txn->rows->get_group(txn, default_name, &found) == STORE_NOT_FOUND)
            txn->rows->put_group(txn, default_name,
                                 &(struct record_group){.description = SPAN(""),
                                                        .ratio_millionths = STORE_RATIO_ONE});
    }
    txn->rows->put_group(txn, span_of(group->name), &record);
    return txn->error;
}

enum store_error store_apply_group_delete(struct store_txn *txn, struct store_write *write)
{
    enum store_error error = txn->rows->delete_group(txn, write->group_delete);
    return error == STORE_NOT_FOUND ? STORE_NO_GROUP : error;
}

enum store_error store_apply_groups_check(struct store_txn *txn, struct store_write *write)
{
    txn->rows->check_groups(txn, write->groups_check);
    return txn->error;
}

enum store_error store_apply_grant(struct store_txn *txn, struct store_write *write)
{
    struct record_user user;
    struct record_group group;
    enum store_error error = store_get_user(txn, write->user_id, &user);
    if (error != STORE_OK)
        return error;
    error = txn->rows->get_group(txn, write->grant.group, &group);
    if (error == STORE_OK)
        txn->rows->put_grant(txn, write->user_id, write->grant.group, write->grant.granted);
    return error == STORE_NOT_FOUND ? STORE_NO_GROUP : txn->error;
}

enum store_error store_apply_model_put(struct store_txn *txn, struct store_write *write)
{
    txn->rows->put_model(txn, write->model_put.name, write->model_put.listed);
    return txn->error;
}
