/* The writes of store.h: one, or many in one commit. */

#include <stdlib.h>
#include <string.h>

#include "store/lmdb/idempotency.h"
#include "store/lmdb/spend.h"
#include "store/lmdb/tokens.h"

static int sweep(struct writer *writer, struct store_write *write)
{
    bool more_reservations, more_repeats;
    int rc = reservations_purge(writer, write->now_unix_s, &more_reservations);
    if (rc == MDB_SUCCESS)
        rc = idempotency_purge(writer, write->now_unix_s, &more_repeats);
    if (rc == MDB_SUCCESS)
        write->purge.more = more_reservations || more_repeats;
    return rc;
}

static int apply(struct writer *writer, struct store_write *write)
{
    switch (write->kind) {
    case STORE_CREATE:
        return tokens_create(writer, write);
    case STORE_UPDATE:
        return tokens_update(writer, write);
    case STORE_DELETE:
        return tokens_delete(writer, write);
    case STORE_ROTATE:
        return tokens_rotate(writer, write);
    case STORE_SPEND:
        return spend_take(writer, write);
    case STORE_SETTLE:
        return spend_settle(writer, write);
    case STORE_ACCESS:
        return spend_note_access(writer, write);
    case STORE_PURGE:
        return sweep(writer, write);
    }
    return MDB_PANIC;
}

/* Does the write, or finds the answer that it got before. */
static int apply_once(struct writer *writer, struct store_write *write)
{
    if (!write->idempotency.wanted)
        return apply(writer, write);
    int rc = idempotency_find(writer, write);
    if (rc != MDB_SUCCESS || write->idempotency.replayed || write->error != STORE_OK)
        return rc;
    rc = apply(writer, write);
    bool refused = write->error != STORE_OK ||
                   (write->kind == STORE_SPEND && write->spend.refusal != TOKEN_GOOD);
    return rc == MDB_SUCCESS && !refused ? idempotency_remember(writer, write) : rc;
}

struct batch {
    store_take_writes *take; /* may be NULL */
    void *context;
    struct store_write *writes;
};

/* Takes the writes only now: while this process waited for the transaction, more of them came
 * together, and while these are done still more; all share one commit. */
static int apply_batch(struct writer *writer, void *context)
{
    struct batch *batch = context;
    for (struct store_write **at = &batch->writes;; at = &(*at)->next) {
        if (!*at && batch->take)
            *at = batch->take(batch->context);
        if (!*at)
            return MDB_SUCCESS;
        (*at)->error = STORE_OK;
        int rc = apply_once(writer, *at);
        if (rc != MDB_SUCCESS)
            return rc;
    }
}

/* A write that meets a damaged record ends the transaction that it is in. So that it
 * takes no others with it, each is then done in one of its own. */
static void apply_one_by_one(struct store *store, struct store_write *writes)
{
    for (struct store_write *write = writes, *next; write; write = next) {
        next = write->next;
        write->next = NULL;
        struct batch batch = {NULL, NULL, write};
        enum store_error error = writer_run(store, apply_batch, &batch);
        if (error != STORE_OK)
            write->error = error;
        write->next = next;
    }
}

static enum store_error commit(struct store *store, struct batch *batch)
{
    enum store_error error = writer_run(store, apply_batch, batch);
    if (error != STORE_OK && batch->take && !batch->writes) /* not even begun */
        batch->writes = batch->take(batch->context);
    if (error == STORE_CORRUPT && batch->writes && batch->writes->next)
        apply_one_by_one(store, batch->writes);
    else if (error != STORE_OK)
        for (struct store_write *write = batch->writes; write; write = write->next)
            write->error = error;
    return error;
}

enum store_error store_commit(struct store *store, store_take_writes *take, void *context)
{
    struct batch batch = {take, context, NULL};
    return commit(store, &batch);
}

enum store_error store_write_all(struct store *store, struct store_write *list)
{
    struct batch batch = {NULL, NULL, list};
    return commit(store, &batch);
}

enum store_error store_write(struct store *store, struct store_write *write)
{
    write->next = NULL;
    store_write_all(store, write);
    return write->error;
}

void store_write_free(struct store_write *write)
{
    if (write->kind == STORE_UPDATE)
        free(write->update.text);
    else if (write->kind == STORE_ROTATE)
        free(write->rotate.text);
    if (write->idempotency.answer)
        explicit_bzero(write->idempotency.answer, write->idempotency.answer_len);
    free(write->idempotency.answer);
}
