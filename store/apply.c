/* Writes: the way of each to its kind. */

#include "store/txn.h"

enum store_error store_apply_purge(struct store_txn *txn, struct store_write *write)
{
    return txn->rows->purge(txn, write);
}

enum store_error store_apply_forget(struct store_txn *txn, struct store_write *write)
{
    struct record_user user;
    enum store_error error = store_get_user(txn, write->user_id, &user);
    return error == STORE_OK ? txn->rows->forget(txn, write) : error;
}

#define APPLY_FUNCTION(constant, name) store_apply_##name,

enum store_error store_apply(struct store_txn *txn, struct store_write *write)
{
    static store_apply_kind *const kinds[] = {STORE_WRITES(APPLY_FUNCTION)};
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
