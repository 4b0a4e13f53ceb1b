/* The writes of store.h: one, or many in one commit. */

#include <stdlib.h>

#include "store/tokens.h"

static int apply(struct writer *writer, struct store_write *write)
{
    switch (write->kind) {
    case STORE_CREATE:
        return tokens_create(writer, write);
    case STORE_UPDATE:
        return tokens_update(writer, write);
    case STORE_DELETE:
        return tokens_delete(writer, write);
    }
    return MDB_PANIC;
}

struct batch {
    store_take_writes *take; /* NULL once taken */
    void *context;
    struct store_write *writes;
};

/* Takes the writes only now: while this process waited for the transaction, more of
 * them came together, and all share one commit. */
static int apply_batch(struct writer *writer, void *context)
{
    struct batch *batch = context;
    if (batch->take) {
        batch->writes = batch->take(batch->context);
        batch->take = NULL;
    }
    for (struct store_write *write = batch->writes; write; write = write->next) {
        write->error = STORE_OK;
        int rc = apply(writer, write);
        if (rc != MDB_SUCCESS)
            return rc;
    }
    return MDB_SUCCESS;
}

enum store_error store_commit(struct store *store, store_take_writes *take, void *context)
{
    struct batch batch = {take, context, NULL};
    enum store_error error = writer_run(store, apply_batch, &batch);
    if (batch.take) /* not even begun */
        batch.writes = take(context);
    if (error != STORE_OK)
        for (struct store_write *write = batch.writes; write; write = write->next)
            write->error = error;
    return error;
}

static struct store_write *take_one(void *context)
{
    return context;
}

enum store_error store_write(struct store *store, struct store_write *write)
{
    write->next = NULL;
    store_commit(store, take_one, write);
    return write->error;
}

void store_write_free(struct store_write *write)
{
    if (write->kind == STORE_UPDATE) {
        free(write->update.text);
        write->update.text = NULL;
    }
}
