#include "store/lmdb/writer.h"

#include <stdlib.h>

#include "store/lmdb/lookup.h"

static int begin(struct writer *writer)
{
    int rc = engine_begin_write(writer->store, &writer->txn);
    if (rc != MDB_SUCCESS)
        return rc;
    writer->next_token_id = 0;
    writer->whole = (struct engine_whole){.leaf = NULL};
    rc = mdb_cursor_open(writer->txn, writer->store->ids_by_user, &writer->ids_by_user);
    if (rc != MDB_SUCCESS)
        engine_abort_write(writer->store, writer->txn);
    return rc;
}

static int commit(struct writer *writer)
{
    int rc = MDB_SUCCESS;
    if (writer->next_token_id != 0)
        rc = engine_meta_put(writer->txn, writer->store->meta, META_NEXT_TOKEN_ID,
                             writer->next_token_id);
    if (rc == MDB_SUCCESS)
        return engine_commit_write(writer->store, writer->txn); /* frees the cursor too */
    engine_abort_write(writer->store, writer->txn);
    return rc;
}

static int try_once(struct writer *writer, writer_work *work, void *context)
{
    int rc = begin(writer);
    if (rc != MDB_SUCCESS)
        return rc;
    rc = work(writer, context);
    if (rc == MDB_SUCCESS)
        return commit(writer);
    engine_abort_write(writer->store, writer->txn);
    return rc;
}

enum store_error writer_run(struct store *store, writer_work *work, void *context)
{
    struct writer *writer = malloc(sizeof(*writer));
    if (!writer)
        return STORE_UNAVAILABLE;
    writer->store = store;
    int rc;
    enum store_error error = STORE_OK;
    while ((rc = try_once(writer, work, context)) == MDB_MAP_FULL && error == STORE_OK)
        error = engine_grow(store);
    free(writer);
    return error == STORE_OK ? engine_error(store, rc) : error;
}

int writer_get_user(struct writer *writer, int64_t user_id, struct record_user *user)
{
    return lookup_user(writer->txn, writer->store, user_id, user);
}
