/* Writes: the way of each to its kind. */

#include "store/txn.h"

static enum store_error purge(struct store_txn *txn, struct store_write *write)
{
    return txn->rows->purge(txn, write);
}

static enum store_error forget(struct store_txn *txn, struct store_write *write)
{
    struct record_user user;
    enum store_error error = store_get_user(txn, write->user_id, &user);
    return error == STORE_OK ? txn->rows->forget(txn, write) : error;
}

enum store_error store_apply(struct store_txn *txn, struct store_write *write)
{
    static store_apply_kind *const kinds[] = {
        [STORE_CREATE] = store_apply_create,
        [STORE_UPDATE] = store_apply_update,
        [STORE_SET_STATUS] = store_apply_set_status,
        [STORE_DELETE] = store_apply_delete,
        [STORE_ROTATE] = store_apply_rotate,
        [STORE_SPEND] = store_apply_spend,
        [STORE_SETTLE] = store_apply_settle,
        [STORE_ACCESS] = store_apply_access,
        [STORE_PURGE] = purge,
        [STORE_FORGET] = forget,
        [STORE_USER_ADD] = store_apply_user_add,
        [STORE_USER_CHANGE] = store_apply_user_change,
        [STORE_USER_DELETE] = store_apply_user_delete,
        [STORE_GATEWAY_ADD] = store_apply_gateway_add,
        [STORE_GATEWAY_DELETE] = store_apply_gateway_delete,
    };
    int64_t ids[STORE_IDS_COUNT];
    enum store_error error = store_find_answer(txn, write);
    if (error != STORE_OK || write->idempotency.replayed)
        return error;
    if (txn->rows->take_room && !txn->rows->take_room(txn, write))
        return STORE_FULL;
    memcpy(ids, txn->ids, sizeof(ids));
    error = kinds[write->kind](txn, write);
    bool refused = write->kind == STORE_SPEND && write->spend.refusal != TOKEN_GOOD;
    if (error == STORE_OK && !refused)
        error = store_keep_answer(txn, write);
    if (error != STORE_OK)
        memcpy(txn->ids, ids, sizeof(ids));
    return error == STORE_OK ? txn->error : error;
}
