/* Users. */

#include <errno.h>

#include <sodium.h>

#include "base/bytes.h"
#include "store/lmdb/ids.h"
#include "store/lmdb/lookup.h"
#include "store/lmdb/tokens.h"
#include "base/random.h"

_Static_assert(RECORD_ACCESS_HASH_LEN == crypto_generichash_BYTES, "hash");

static void hash_access_token(struct span access_token,
                              unsigned char hash[static RECORD_ACCESS_HASH_LEN])
{
    crypto_generichash(hash, RECORD_ACCESS_HASH_LEN, (const unsigned char *)access_token.at,
                       access_token.len, NULL, 0);
}

/* ---- reading ---- */

enum store_error store_user_authenticate(struct store_reader *reader, int64_t user_id,
                                         struct span access_token)
{
    /* Hashed and compared also where there is no such user: as long for each. */
    unsigned char hash[RECORD_ACCESS_HASH_LEN];
    struct record_user user = {.disabled = false};
    hash_access_token(access_token, hash);
    int rc = engine_begin_read(reader);
    if (rc != MDB_SUCCESS)
        return engine_error(reader->store, rc);
    rc = lookup_user(reader->txn, reader->store, user_id, &user);
    engine_end_read(reader);
    if (rc != MDB_SUCCESS && rc != MDB_NOTFOUND)
        return engine_error(reader->store, rc);
    bool matches = sodium_memcmp(hash, user.access_hash, sizeof(hash)) == 0;
    if (rc == MDB_NOTFOUND || !matches)
        return STORE_DENIED;
    return user.disabled ? STORE_USER_DISABLED : STORE_OK;
}

static int fill_user(struct store_reader *reader, int64_t user_id, const struct record_user *from,
                     struct store_user *user)
{
    *user = (struct store_user){
        .id = user_id, .disabled = from->disabled, .created_unix_s = from->created_unix_s};
    memcpy(user->name, from->name.at, from->name.len);
    memcpy(user->group, from->group.at, from->group.len);
    int rc = lookup_count_tokens(reader, user_id, &user->token_count);
    if (rc == MDB_SUCCESS && user->token_count > 0)
        rc = lookup_check_owner(reader->store, reader->ids_by_user, user_id, &reader->whole);
    return rc;
}

static enum store_error user_error(struct store *store, int rc)
{
    return rc == MDB_NOTFOUND ? STORE_NO_USER : engine_error(store, rc);
}

enum store_error store_user_get(struct store_reader *reader, int64_t user_id,
                                struct store_user *user)
{
    struct record_user record;
    int rc = engine_begin_read(reader);
    if (rc != MDB_SUCCESS)
        return engine_error(reader->store, rc);
    rc = lookup_user(reader->txn, reader->store, user_id, &record);
    if (rc == MDB_SUCCESS)
        rc = fill_user(reader, user_id, &record, user);
    engine_end_read(reader);
    return user_error(reader->store, rc);
}

enum store_error store_user_next(struct store_reader *reader, int64_t after_id,
                                 struct store_user *user)
{
    if (after_id == INT64_MAX)
        return STORE_NO_USER;
    unsigned char key_bytes[ID_KEY_LEN];
    MDB_val key = engine_id_key(key_bytes, after_id + 1), value;
    struct record_user record;
    int rc = engine_begin_read(reader);
    if (rc != MDB_SUCCESS)
        return engine_error(reader->store, rc);
    rc = mdb_cursor_renew(reader->txn, reader->users);
    if (rc == MDB_SUCCESS)
        rc = lookup_from(reader->store, reader->users, CHECKSUM_USER, &key, &value);
    while (rc == MDB_SUCCESS) {
        if (key.mv_size != ID_KEY_LEN ||
            !engine_leaf_is_whole(reader->store, &key, &reader->whole) ||
            !record_decode_user(get_big64(key.mv_data), engine_span(&value), &record)) {
            rc = MDB_CORRUPTED;
        } else if (!record.deleted) {
            rc = fill_user(reader, get_big64(key.mv_data), &record, user);
            break;
        } else {
            rc = mdb_cursor_get(reader->users, &key, &value, MDB_NEXT);
        }
    }
    engine_end_read(reader);
    return user_error(reader->store, rc);
}

/* ---- writing ---- */

static int put_user(struct writer *writer, int64_t user_id, const struct record_user *user,
                    unsigned flags)
{
    unsigned char key_bytes[ID_KEY_LEN], bytes[RECORD_USER_LEN_MAX];
    MDB_val key = engine_id_key(key_bytes, user_id);
    MDB_val record = {record_encode_user(user_id, user, bytes), bytes};
    return mdb_put(writer->txn, writer->store->users, &key, &record, flags);
}

struct addition {
    struct record_user record;
    int64_t user_id;
};

static int add_user(struct writer *writer, void *context)
{
    struct addition *addition = context;
    const struct store *store = writer->store;
    int rc = engine_meta_take(writer->txn, store->meta, META_NEXT_USER_ID, &addition->user_id);
    if (rc == MDB_SUCCESS)
        rc = put_user(writer, addition->user_id, &addition->record, MDB_NOOVERWRITE);
    return rc;
}

enum store_error store_user_add(struct store *store, int64_t now_unix_s, struct store_user *user,
                                char access_token[static STORE_ACCESS_TOKEN_LEN])
{
    struct addition addition = {.record = {.name = span_of(user->name),
                                           .group = span_of(user->group),
                                           .created_unix_s = now_unix_s}};
    random_base62(access_token, STORE_ACCESS_TOKEN_LEN);
    hash_access_token((struct span){access_token, STORE_ACCESS_TOKEN_LEN},
                      addition.record.access_hash);
    enum store_error error = writer_run(store, add_user, &addition);
    user->id = addition.user_id;
    user->created_unix_s = now_unix_s;
    user->disabled = false;
    user->token_count = 0;
    return error;
}

/* A change of one member of a user's record. */
struct change {
    int64_t user_id;
    const unsigned char *access_hash; /* NULL: stays */
    const bool *disabled;             /* NULL: stays */
};

static int change_user(struct writer *writer, void *context)
{
    const struct change *change = context;
    struct record_user user;
    int rc = writer_get_user(writer, change->user_id, &user);
    if (rc != MDB_SUCCESS)
        return rc;
    if (change->access_hash)
        memcpy(user.access_hash, change->access_hash, sizeof(user.access_hash));
    if (change->disabled)
        user.disabled = *change->disabled;
    return put_user(writer, change->user_id, &user, 0);
}

static enum store_error run_change(struct store *store, struct change change)
{
    enum store_error error = writer_run(store, change_user, &change);
    return error == STORE_NOT_FOUND ? STORE_NO_USER : error;
}

enum store_error store_user_rotate(struct store *store, int64_t user_id,
                                   char access_token[static STORE_ACCESS_TOKEN_LEN])
{
    unsigned char hash[RECORD_ACCESS_HASH_LEN];
    random_base62(access_token, STORE_ACCESS_TOKEN_LEN);
    hash_access_token((struct span){access_token, STORE_ACCESS_TOKEN_LEN}, hash);
    return run_change(store, (struct change){.user_id = user_id, .access_hash = hash});
}

enum store_error store_user_set_disabled(struct store *store, int64_t user_id, bool disabled)
{
    return run_change(store, (struct change){.user_id = user_id, .disabled = &disabled});
}

/* ---- deleting ---- */

enum { DELETED_TOKENS_PER_COMMIT = 10000 }; /* others write in between */

struct deletion {
    int64_t user_id;
    bool done;
};

/* Deletes some of the tokens, and the record once there are none. */
static int delete_some(struct writer *writer, void *context)
{
    struct deletion *deletion = context;
    const struct store *store = writer->store;
    uint64_t count;
    int rc =
        lookup_count_ids(store, writer->ids_by_user, deletion->user_id, &writer->whole, &count);
    if (rc == MDB_SUCCESS && count > 0)
        rc = lookup_check_owner(store, writer->ids_by_user, deletion->user_id, &writer->whole);
    uint64_t some = count < DELETED_TOKENS_PER_COMMIT ? count : DELETED_TOKENS_PER_COMMIT;
    for (uint64_t left = count; rc == MDB_SUCCESS && left > count - some; left--) {
        int64_t id;
        rc = ids_at_ranks(writer->ids_by_user, deletion->user_id, left, 0, 1, &id, &id);
        if (rc == MDB_SUCCESS)
            rc = tokens_delete_one(writer, deletion->user_id, id);
        if (rc == MDB_NOTFOUND)
            rc = MDB_CORRUPTED;
    }
    deletion->done = some == count;
    if (rc != MDB_SUCCESS || !deletion->done)
        return rc;
    unsigned char key_bytes[ID_KEY_LEN];
    MDB_val key = engine_id_key(key_bytes, deletion->user_id);
    return mdb_del(writer->txn, store->users, &key, NULL);
}

/* Whether the user exists, if only to be deleted on. */
static int mark_deleted(struct writer *writer, void *context)
{
    int64_t *user_id = context;
    unsigned char key_bytes[ID_KEY_LEN];
    MDB_val key = engine_id_key(key_bytes, *user_id), record;
    struct record_user user;
    int rc =
        lookup_get(writer->store, writer->txn, writer->store->users, CHECKSUM_USER, &key, &record);
    if (rc != MDB_SUCCESS)
        return rc;
    if (!record_decode_user(*user_id, engine_span(&record), &user))
        return MDB_CORRUPTED;
    user.deleted = true;
    return put_user(writer, *user_id, &user, 0);
}

enum store_error store_user_delete(struct store *store, int64_t user_id)
{
    struct deletion deletion = {.user_id = user_id};
    enum store_error error = writer_run(store, mark_deleted, &user_id);
    while (error == STORE_OK && !deletion.done)
        error = writer_run(store, delete_some, &deletion);
    return error == STORE_NOT_FOUND ? STORE_NO_USER : error;
}
