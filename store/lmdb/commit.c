/* Group commit. */

#include "store/lmdb/engine.h"

static enum store_error write_purge(struct txn *txn, struct store_write *write)
{
    size_t max = write->step.max;
    bool more_reservations = false, more_records = false;
    enum store_error error = reservations_purge(txn, max, &more_reservations);
    if (error == STORE_OK)
        error = idempotency_purge(txn, max, &more_records);
    write->step.more = more_reservations || more_records;
    return error;
}

static size_t texts_len(const struct token *token)
{
    return token->name.len + token->group.len + token->model_limits.len + token->allow_ips.len;
}

/* An upper estimate of the bytes by which a write grows the store. */
static size_t count_growth(const struct store_write *write)
{
    enum { RECORD = 512, LONG_RECORD = 32 * 1024, PAGE = 4096 };
    size_t len = 0;
    if (write->kind == STORE_CREATE)
        for (size_t i = 0; i < write->create.count; i++)
            len += RECORD + texts_len(&write->create.tokens[i]);
    else if (write->kind == STORE_UPDATE)
        len = texts_len(&write->update.patch.value); /* the others are absent */
    else if (write->kind == STORE_USER_ADD || write->kind == STORE_GATEWAY_ADD ||
             (write->kind == STORE_SPEND && write->spend.ttl_s > 0))
        len = RECORD;
    else if (write->kind == STORE_ROTATE)
        len = write->idempotency.wanted ? LONG_RECORD : RECORD;
    if (write->idempotency.wanted)
        len += len + RECORD; /* the answer */
    return len > 0 ? len + len / 2 + PAGE : 0;
}

#define WRITE_FUNCTION(constant, name) write_##name,

static enum store_error apply_kind(struct txn *txn, struct store_write *write)
{
    static apply_write *const kinds[] = {STORE_WRITES(WRITE_FUNCTION)};
    return kinds[write->kind](txn, write);
}

/* Does the write, or finds the answer that it got before. */
static enum store_error apply(struct txn *txn, struct store_write *write)
{
    enum store_error error = STORE_OK;
    if (write->idempotency.wanted)
        error = idempotency_find(txn, write);
    if (error != STORE_OK || (write->idempotency.wanted && write->idempotency.replayed))
        return error;
    size_t growth = count_growth(write);
    if (growth > 0 && !txn_take_room(txn, growth))
        return STORE_FULL;
    error = apply_kind(txn, write);
    bool refused = write->kind == STORE_SPEND && write->spend.refusal != TOKEN_GOOD;
    return error == STORE_OK && !refused ? idempotency_store(txn, write) : error;
}

/* Takes writes only once the transaction has begun: more queue up meanwhile. All share one
 * commit. */
static void apply_all(struct txn *txn, store_take_writes *take, void *context,
                      struct store_write **writes)
{
    for (struct store_write **at = writes;; at = &(*at)->next) {
        if (!*at)
            *at = take(context);
        if (!*at)
            return;
        (*at)->error = apply(txn, *at);
        if (txn->error != STORE_OK)
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
    struct txn txn;
    struct store_write *writes = NULL;
    enum store_error error = write_begin((struct lmdb_store *)store, &txn);
    if (error == STORE_OK) {
        apply_all(&txn, take, context, &writes);
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
