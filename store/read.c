/* Readers, and what they read of tokens. */

#include <stdlib.h>

#include "store/bytes.h"
#include "store/engine.h"
#include "store/ids.h"
#include "store/record.h"

enum store_error store_free_dead_readers(struct store *store)
{
    int dead;
    return engine_error(store, mdb_reader_check(store->env, &dead));
}

static int begin_first(struct store *store, MDB_txn **txn)
{
    int rc = mdb_txn_begin(store->env, NULL, MDB_RDONLY, txn);
    if (rc == MDB_READERS_FULL && store_free_dead_readers(store) == STORE_OK)
        rc = mdb_txn_begin(store->env, NULL, MDB_RDONLY, txn);
    return rc;
}

enum store_error store_reader_open(struct store *store, struct store_reader **out)
{
    *out = NULL;
    struct store_reader *reader = calloc(1, sizeof(*reader));
    if (!reader)
        return STORE_UNAVAILABLE;
    reader->store = store;
    int rc;
    for (;;) {
        pthread_rwlock_rdlock(&store->map_lock);
        rc = begin_first(store, &reader->txn);
        if (rc != MDB_MAP_RESIZED)
            break;
        pthread_rwlock_unlock(&store->map_lock);
        if (engine_adopt_map(store) != MDB_SUCCESS) {
            free(reader);
            return STORE_BROKEN;
        }
    }
    if (rc == MDB_SUCCESS)
        rc = mdb_cursor_open(reader->txn, store->tokens, &reader->tokens);
    if (rc == MDB_SUCCESS)
        rc = mdb_cursor_open(reader->txn, store->ids_by_user, &reader->ids_by_user);
    if (rc == MDB_SUCCESS)
        rc = mdb_cursor_open(reader->txn, store->users, &reader->users);
    if (reader->txn)
        mdb_txn_reset(reader->txn);
    pthread_rwlock_unlock(&store->map_lock);
    if (rc == MDB_SUCCESS)
        *out = reader;
    else
        store_reader_close(reader);
    return engine_error(store, rc);
}

void store_reader_close(struct store_reader *reader)
{
    if (!reader)
        return;
    /* LMDB does not close a read-only transaction's cursors with it. */
    if (reader->tokens)
        mdb_cursor_close(reader->tokens);
    if (reader->ids_by_user)
        mdb_cursor_close(reader->ids_by_user);
    if (reader->users)
        mdb_cursor_close(reader->users);
    if (reader->txn)
        mdb_txn_abort(reader->txn);
    free(reader);
}

/* Decodes and unseals the record and shows it to visit. */
static enum store_error visit_record(const struct store_reader *reader, int64_t user_id,
                                     int64_t token_id, const MDB_val *record,
                                     store_visit_token *visit, void *context)
{
    struct token token = {.id = token_id, .user_id = user_id};
    const unsigned char *sealed;
    if (!record_decode_token(engine_span(record), &token, &sealed) ||
        !secret_unseal(reader->store->secret, user_id, token_id, sealed, token.key))
        return STORE_CORRUPT;
    visit(context, &token);
    return STORE_OK;
}

enum store_error store_token_get(struct store_reader *reader, int64_t user_id, int64_t token_id,
                                 store_visit_token *visit, void *context)
{
    int rc = engine_begin_read(reader);
    if (rc != MDB_SUCCESS)
        return engine_error(reader->store, rc);
    unsigned char key_bytes[TOKEN_ID_KEY_LEN];
    MDB_val key = engine_token_key(key_bytes, user_id, token_id), record;
    rc = mdb_get(reader->txn, reader->store->tokens, &key, &record);
    enum store_error error = engine_error(reader->store, rc);
    if (error == STORE_OK)
        error = visit_record(reader, user_id, token_id, &record, visit, context);
    engine_end_read(reader);
    return error;
}

/* Visits limit tokens from the given id on, downwards. They lie side by side: one
 * search, then a step each. */
static enum store_error visit_down_from(struct store_reader *reader, int64_t user_id,
                                        int64_t token_id, uint64_t limit, store_visit_token *visit,
                                        void *context)
{
    unsigned char key_bytes[TOKEN_ID_KEY_LEN];
    MDB_val key = engine_token_key(key_bytes, user_id, token_id), record;
    int rc = mdb_cursor_get(reader->tokens, &key, &record, MDB_SET_KEY);
    while (rc == MDB_SUCCESS) {
        const unsigned char *id_bytes = key.mv_data;
        if (key.mv_size != TOKEN_ID_KEY_LEN || get_big64(id_bytes) != user_id)
            break; /* the index has more ids than there are records */
        enum store_error error =
            visit_record(reader, user_id, get_big64(id_bytes + 8), &record, visit, context);
        if (error != STORE_OK || --limit == 0)
            return error;
        rc = mdb_cursor_get(reader->tokens, &key, &record, MDB_PREV);
    }
    return rc == MDB_SUCCESS || rc == MDB_NOTFOUND ? STORE_CORRUPT
                                                   : engine_error(reader->store, rc);
}

static enum store_error visit_page(struct store_reader *reader, int64_t user_id, uint64_t offset,
                                   uint64_t limit, uint64_t *total, store_visit_token *visit,
                                   void *context)
{
    int rc = mdb_cursor_renew(reader->txn, reader->ids_by_user);
    if (rc == MDB_SUCCESS)
        rc = mdb_cursor_renew(reader->txn, reader->tokens);
    if (rc == MDB_SUCCESS)
        rc = ids_count(reader->ids_by_user, user_id, total);
    if (rc != MDB_SUCCESS)
        return engine_error(reader->store, rc);
    if (offset >= *total || limit == 0)
        return STORE_OK;
    if (limit > *total - offset)
        limit = *total - offset;
    int64_t first_id;
    rc = ids_at_rank(reader->ids_by_user, user_id, *total, offset, &first_id);
    if (rc != MDB_SUCCESS)
        return rc == MDB_NOTFOUND ? STORE_CORRUPT : engine_error(reader->store, rc);
    return visit_down_from(reader, user_id, first_id, limit, visit, context);
}

enum store_error store_token_page(struct store_reader *reader, int64_t user_id, uint64_t offset,
                                  uint64_t limit, uint64_t *total, store_visit_token *visit,
                                  void *context)
{
    *total = 0;
    int rc = engine_begin_read(reader);
    if (rc != MDB_SUCCESS)
        return engine_error(reader->store, rc);
    enum store_error error = visit_page(reader, user_id, offset, limit, total, visit, context);
    engine_end_read(reader);
    return error;
}
