/* Group commit. */

#include "store/lmdb/engine.h"

static enum store_error purge(struct txn *txn, struct store_write *write)
{
    bool more_reservations = false, more_records = false;
    enum store_error error = reservations_purge(txn, PURGED_MAX, &more_reservations);
    if (error == STORE_OK)
        error = idempotency_purge(txn, PURGED_MAX, &more_records);
    write->purge.more = more_reservations || more_records;
    return error;
}

static enum store_error apply_kind(struct txn *txn, struct store_write *write)
{
    static enum store_error (*const kinds[])(struct txn *, struct store_write *) = {
        [STORE_CREATE] = write_create,
        [STORE_UPDATE] = write_update,
        [STORE_SET_STATUS] = write_set_status,
        [STORE_DELETE] = write_delete,
        [STORE_ROTATE] = write_rotate,
        [STORE_SPEND] = write_spend,
        [STORE_SETTLE] = write_settle,
        [STORE_ACCESS] = write_access,
        [STORE_PURGE] = purge,
        [STORE_FORGET] = write_forget,
        [STORE_USER_ADD] = write_user_add,
        [STORE_USER_CHANGE] = write_user_change,
        [STORE_USER_DELETE] = write_user_delete,
        [STORE_GATEWAY_ADD] = write_gateway_add,
        [STORE_GATEWAY_DELETE] = write_gateway_delete,
    };
    return kinds[write->kind](txn, write);
}

/* Does the write, or finds the answer that it got before. */
static enum store_error apply(struct txn *txn, struct store_write *write)
{
    if (!write->idempotency.wanted)
        return apply_kind(txn, write);
    enum store_error error = idempotency_find(txn, write);
    if (error != STORE_OK || write->idempotency.replayed)
        return error;
    error = apply_kind(txn, write);
    bool refused = write->kind == STORE_SPEND && write->spend.refusal != TOKEN_GOOD;
    return error == STORE_OK && !refused ? idempotency_store(txn, write) : error;
}

/* Takes the writes only in the transaction: while this process waited for it, more of them came
 * together, and while these are applied still more. All share one commit. */
static enum store_error apply_all(struct txn *txn, store_take_writes *take, void *context,
                                  struct store_write **writes)
{
    for (struct store_write **at = writes;; at = &(*at)->next) {
        if (!*at)
            *at = take(context);
        if (!*at)
            return STORE_OK;
        (*at)->error = apply(txn, *at);
        if (store_is_failure((*at)->error))
            return (*at)->error;
    }
}

/* A write that fails ends the transaction. So that it takes no other with it, each is then done in
 * a transaction of its own. */
static enum store_error commit_one_by_one(struct store *store, struct store_write *writes)
{
    enum store_error first = STORE_OK;
    for (struct store_write *write = writes, *next; write; write = next) {
        next = write->next;
        enum store_error error = store_write(store, write);
        write->next = next;
        if (first == STORE_OK && store_is_failure(error))
            first = error;
    }
    return first;
}

enum store_error lmdb_commit(struct store *store, store_take_writes *take, void *context)
{
    struct txn txn;
    struct store_write *writes = NULL;
    enum store_error error = write_begin((struct lmdb_store *)store, &txn);
    if (error == STORE_OK) {
        error = apply_all(&txn, take, context, &writes);
        if (store_is_failure(error) && txn.error == STORE_OK)
            txn.error = error;
        error = write_end(&txn);
    } else {
        writes = take(context);
    }
    if (error != STORE_OK && error != STORE_BROKEN && writes && writes->next)
        return commit_one_by_one(store, writes);
    if (error != STORE_OK)
        for (struct store_write *write = writes; write; write = write->next)
            write->error = error;
    return error;
}
