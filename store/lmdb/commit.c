/* Group commit. */

#include "store/lmdb/clock.h"
#include "store/lmdb/engine.h"
#include "store/lmdb/rotation.h"
#include "store/lmdb/rows.h"

/* Takes writes only once the transaction has begun: more queue up meanwhile. All share one
 * commit. */
static void apply_all(struct lmdb_txn *txn, store_take_writes *take, void *context,
                      struct store_write **writes)
{
    for (struct store_write **at = writes;; at = &(*at)->next) {
        if (!*at)
            *at = take(context);
        if (!*at)
            return;
        txn->now_unix_s = (*at)->now_unix_s;
        (*at)->error = store_apply(&txn->base, *at);
        if (txn->base.error != STORE_OK)
            return;
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
    struct lmdb_txn txn;
    struct store_write *writes = NULL;
    enum store_error error = write_begin((struct lmdb_store *)store, &txn);
    if (error == STORE_OK) {
        txn.base.rows = &lmdb_rows;
        if (rotation_follow(&txn.base) == STORE_OK)
            apply_all(&txn, take, context, &writes);
        else
            writes = take(context);
        rows_store_ids(&txn.base);
        error = write_end(&txn);
    } else {
        writes = take(context);
    }
    if (error != STORE_OK && error != STORE_BROKEN && error != STORE_UNKNOWN && writes &&
        writes->next)
        return commit_one_by_one(store, writes);
    if (error != STORE_OK)
        for (struct store_write *write = writes; write; write = write->next)
            write->error = error;
    return error;
}

/* Of the store's time, so that LMDB writes and syncs. */
enum store_error lmdb_probe(struct store *store)
{
    struct lmdb_txn txn;
    if (write_begin((struct lmdb_store *)store, &txn) != STORE_OK)
        return txn.base.error;
    if (!txn_take_room(&txn.base, room_of_next(txn.store)))
        store_txn_fail(&txn.base, STORE_FULL);
    clock_save(&txn.base);
    return write_end(&txn);
}
