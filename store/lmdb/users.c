/* Users. */

#include <sodium.h>

#include "store/lmdb/engine.h"
#include "store/lmdb/ids.h"
#include "store/lmdb/lookup.h"
#include "store/lmdb/write.h"

/* ---- reading ---- */

enum store_error
lmdb_user_authenticate(struct store_reader *reader, int64_t user_id,
                       const unsigned char access_hash[static SEAL_CREDENTIAL_HASH_LEN])
{
    /* Compared also where there is no such user: it takes the same time. */
    struct record_user user = {.disabled = false};
    struct txn *txn = read_begin(reader);
    enum store_error error = lookup_user(txn, user_id, &user);
    read_end(txn);
    bool matches = sodium_memcmp(access_hash, user.access_hash, sizeof(user.access_hash)) == 0;
    if (error == STORE_NO_USER || (error == STORE_OK && !matches))
        return STORE_DENIED;
    return error == STORE_OK && user.disabled ? STORE_USER_DISABLED : error;
}

static enum store_error fill_user(struct txn *txn, int64_t user_id, const struct record_user *from,
                                  struct store_user *user)
{
    *user = (struct store_user){
        .id = user_id, .disabled = from->disabled, .created_unix_s = from->created_unix_s};
    memcpy(user->name, from->name.at, from->name.len);
    memcpy(user->group, from->group.at, from->group.len);
    return ids_count(txn, user_id, &user->token_count);
}

enum store_error lmdb_user_next(struct store_reader *reader, int64_t after_id,
                                struct store_user *user)
{
    int64_t id = after_id;
    struct span bytes;
    struct record_user record = {.deleted = true};
    struct txn *txn = read_begin(reader);
    enum store_error error = txn->error;
    while (error == STORE_OK && record.deleted) {
        id++;
        error = lookup_from(txn, DB_USERS, &id, &bytes);
        if (error == STORE_OK && !record_decode_user(id, bytes, &record))
            error = db_corrupt(txn);
    }
    if (error == STORE_OK)
        error = fill_user(txn, id, &record, user);
    read_end(txn);
    return error == STORE_NOT_FOUND ? STORE_NO_USER : error;
}

/* ---- writing ---- */

static enum store_error put_user(struct txn *txn, int64_t user_id, const struct record_user *user)
{
    unsigned char record[RECORD_USER_LEN_MAX];
    size_t len = record_encode_user(user_id, user, record);
    return db_put(txn, DB_USERS, ID_KEY(user_id), span_of_bytes(record, len), 0);
}

enum store_error write_user_add(struct txn *txn, struct store_write *write)
{
    struct store_user *user = write->user_add.user;
    struct record_user record = {.name = span_of(user->name),
                                 .group = span_of(user->group),
                                 .created_unix_s = write->now_unix_s};
    memcpy(record.access_hash, write->user_add.access_hash, sizeof(record.access_hash));
    enum store_error error = meta_take_ids(txn, META_NEXT_USER_ID, 1, &user->id);
    return error == STORE_OK ? put_user(txn, user->id, &record) : error;
}

enum store_error write_user_change(struct txn *txn, struct store_write *write)
{
    struct record_user user;
    enum store_error error = lookup_user(txn, write->user_id, &user);
    if (error != STORE_OK)
        return error;
    if (write->user_change.access_hash)
        memcpy(user.access_hash, write->user_change.access_hash, sizeof(user.access_hash));
    if (write->user_change.disabled)
        user.disabled = *write->user_change.disabled;
    return put_user(txn, write->user_id, &user);
}

enum store_error write_user_delete(struct txn *txn, struct store_write *write)
{
    enum { TOKENS_MAX = 1000 }; /* in one transaction: others wait for it */
    struct record_user user;
    uint64_t left = 0;
    int64_t id;
    enum store_error error = lookup_user_record(txn, write->user_id, &user);
    user.deleted = true;
    if (error == STORE_OK)
        error = put_user(txn, write->user_id, &user);
    for (int i = 0; error == STORE_OK && i < TOKENS_MAX; i++) {
        error = ids_find(txn, write->user_id, 0, &left, &id);
        if (error == STORE_OK && delete_token(txn, write->user_id, id) == STORE_NOT_FOUND)
            error = db_corrupt(txn);
    }
    write->user_delete.more = error == STORE_OK;
    if (error != STORE_NOT_FOUND) /* no more tokens */
        return error == STORE_OK ? txn->error : error;
    return db_delete(txn, DB_USERS, ID_KEY(write->user_id));
}
