/* Readers, and what they read of tokens. */

#include <stdlib.h>

#include "base/bytes.h"
#include "store/lmdb/engine.h"
#include "store/lmdb/ids.h"
#include "store/lmdb/lookup.h"

enum store_error store_free_dead_readers(struct store *store)
{
    int dead;
    return engine_error(store, mdb_reader_check(store->env, &dead));
}

/* A transaction of reads of its own takes a reader slot; those of dead processes are freed for it
 * where there is none. */
static int begin_new_read(struct store *store, MDB_txn **txn)
{
    int dead, rc = mdb_txn_begin(store->env, NULL, MDB_RDONLY, txn);
    if (rc == MDB_READERS_FULL && mdb_reader_check(store->env, &dead) == MDB_SUCCESS)
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
        rc = begin_new_read(store, &reader->txn);
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
    if (rc == MDB_SUCCESS)
        rc = mdb_cursor_open(reader->txn, store->gateways, &reader->gateways);
    if (reader->txn)
        mdb_txn_reset(reader->txn);
    pthread_rwlock_unlock(&store->map_lock);
    if (rc == MDB_SUCCESS)
        *out = reader;
    else
        store_reader_close(reader);
    return engine_error(store, rc);
}

void store_fresh_key(struct store_reader *reader, char key[static TOKEN_KEY_LEN])
{
    if (!reader->fresh_keys)
        reader->fresh_keys = key_pool_new(reader->store->secret);
    if (reader->fresh_keys)
        key_pool_take(reader->fresh_keys, key);
    else
        token_key_generate(key); /* as good, and costs the index more */
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
    if (reader->gateways)
        mdb_cursor_close(reader->gateways);
    if (reader->txn)
        mdb_txn_abort(reader->txn);
    key_pool_free(reader->fresh_keys);
    free(reader);
}

/* Decodes and unseals the record and shows it to visit. */
static enum store_error visit_record(const struct store_reader *reader, int64_t user_id,
                                     int64_t token_id, const MDB_val *record,
                                     store_visit_token *visit, void *context)
{
    struct token token = {.id = token_id, .user_id = user_id};
    struct record_keys keys;
    if (!record_decode_token(engine_span(record), &token, &keys) ||
        !unseal_key(reader->store->secret, user_id, token_id, keys.sealed, token.key))
        return STORE_CORRUPT;
    visit(context, &token);
    explicit_bzero(token.key, sizeof(token.key));
    return STORE_OK;
}

/* The same for a token that has been looked up. */
static enum store_error visit_token(const struct store_reader *reader, struct token *token,
                                    const struct record_keys *keys, store_visit_token *visit,
                                    void *context)
{
    if (!unseal_key(reader->store->secret, token->user_id, token->id, keys->sealed, token->key))
        return STORE_CORRUPT;
    visit(context, token);
    explicit_bzero(token->key, sizeof(token->key));
    return STORE_OK;
}

enum store_error store_token_get(struct store_reader *reader, int64_t user_id, int64_t token_id,
                                 store_visit_token *visit, void *context)
{
    struct token token;
    struct record_keys keys;
    int rc = engine_begin_read(reader);
    if (rc != MDB_SUCCESS)
        return engine_error(reader->store, rc);
    rc = lookup_token(reader->txn, reader->store, user_id, token_id, &token, &keys);
    enum store_error error = engine_error(reader->store, rc);
    if (error == STORE_OK)
        error = visit_token(reader, &token, &keys, visit, context);
    engine_end_read(reader);
    return error;
}

enum store_error store_token_check_use(struct store_reader *reader,
                                       const char key[static TOKEN_KEY_LEN],
                                       const struct token_use *use, int64_t now_unix_s,
                                       enum token_refusal *refusal, struct store_use_answer *answer)
{
    struct token token;
    struct record_keys keys;
    int rc = engine_begin_read(reader);
    if (rc != MDB_SUCCESS)
        return engine_error(reader->store, rc);
    rc = lookup_check_use(reader->txn, reader->store, key, use, now_unix_s, &token, &keys, refusal);
    if (rc == MDB_SUCCESS && *refusal == TOKEN_GOOD)
        lookup_fill_answer(&token, answer);
    engine_end_read(reader);
    return engine_error(reader->store, rc);
}

enum store_error store_token_find(struct store_reader *reader, const char key[static TOKEN_KEY_LEN],
                                  int64_t now_unix_s, bool *owner_disabled,
                                  store_visit_token *visit, void *context)
{
    struct token token;
    struct record_keys keys;
    struct record_user owner;
    int rc = engine_begin_read(reader);
    if (rc != MDB_SUCCESS)
        return engine_error(reader->store, rc);
    rc = lookup_by_key(reader->txn, reader->store, key, now_unix_s, &token, &keys, &owner);
    enum store_error error = engine_error(reader->store, rc);
    if (error == STORE_OK && owner_disabled)
        *owner_disabled = owner.disabled;
    if (error == STORE_OK)
        error = visit_token(reader, &token, &keys, visit, context);
    engine_end_read(reader);
    return error;
}

enum store_error store_token_owner(struct store_reader *reader, int64_t token_id, int64_t *user_id)
{
    int rc = engine_begin_read(reader);
    if (rc != MDB_SUCCESS)
        return engine_error(reader->store, rc);
    MDB_val key, value;
    rc = mdb_cursor_renew(reader->txn, reader->users);
    while (rc == MDB_SUCCESS &&
           (rc = mdb_cursor_get(reader->users, &key, &value, MDB_NEXT)) == MDB_SUCCESS) {
        struct token token;
        struct record_keys keys;
        if (key.mv_size != ID_KEY_LEN ||
            !engine_leaf_is_whole(reader->store, &key, &reader->whole)) {
            rc = MDB_CORRUPTED;
            break;
        }
        *user_id = get_big64(key.mv_data);
        int found = lookup_token(reader->txn, reader->store, *user_id, token_id, &token, &keys);
        if (found != MDB_NOTFOUND) {
            rc = found;
            break;
        }
    }
    engine_end_read(reader);
    return engine_error(reader->store, rc);
}

/* Visits limit tokens from the newest id on, downwards. They lie side by side: one search, then a
 * step each. The last of them has to be the oldest id, or a damaged page has hidden some. */
static enum store_error visit_down_from(struct store_reader *reader, int64_t user_id,
                                        int64_t newest, int64_t oldest, uint64_t limit,
                                        store_visit_token *visit, void *context)
{
    unsigned char key_bytes[TOKEN_ID_KEY_LEN];
    MDB_val key = engine_token_key(key_bytes, user_id, newest), record;
    int rc = mdb_cursor_get(reader->tokens, &key, &record, MDB_SET_KEY);
    while (rc == MDB_SUCCESS) {
        const unsigned char *id_bytes = key.mv_data;
        if (key.mv_size != TOKEN_ID_KEY_LEN || get_big64(id_bytes) != user_id)
            break; /* the index has more ids than there are records */
        int64_t id = get_big64(id_bytes + 8);
        if (id > newest || (limit == 1) != (id == oldest) ||
            !engine_leaf_is_whole(reader->store, &key, &reader->whole))
            break; /* nor is a record shown twice, or in another's place */
        newest = id - 1;
        enum store_error error = visit_record(reader, user_id, id, &record, visit, context);
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
    struct store *store = reader->store;
    MDB_cursor *ids_by_user = reader->ids_by_user;
    int rc = mdb_cursor_renew(reader->txn, reader->tokens);
    if (rc == MDB_SUCCESS)
        rc = lookup_count_tokens(reader, user_id, total);
    if (rc != MDB_SUCCESS || *total == 0)
        return engine_error(store, rc);
    if (offset >= *total || limit == 0)
        return engine_error(store, lookup_check_owner(store, ids_by_user, user_id, &reader->whole));
    rc = lookup_check_ids(store, ids_by_user, &reader->whole);
    if (rc != MDB_SUCCESS)
        return engine_error(store, rc);
    if (limit > *total - offset)
        limit = *total - offset;
    int64_t newest, oldest;
    rc = ids_at_ranks(ids_by_user, user_id, *total, offset, limit, &newest, &oldest);
    if (rc != MDB_SUCCESS)
        return rc == MDB_NOTFOUND ? STORE_CORRUPT : engine_error(store, rc);
    return visit_down_from(reader, user_id, newest, oldest, limit, visit, context);
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
