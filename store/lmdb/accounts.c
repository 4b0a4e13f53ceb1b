/* Users, and gateways: programs that spend, of which there are few. */

#include <sodium.h>

#include "store/lmdb/engine.h"

/* ---- users ---- */

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

/* ---- gateways ---- */

/* The first gateway from an id on. STORE_NOT_FOUND. */
static enum store_error get_from(struct txn *txn, int64_t *id, struct record_gateway *gateway)
{
    struct span record;
    enum store_error error = lookup_from(txn, DB_GATEWAYS, id, &record);
    if (error == STORE_OK && !record_decode_gateway(*id, record, gateway))
        return db_corrupt(txn);
    return error;
}

enum store_error
lmdb_gateway_authenticate(struct store_reader *reader,
                          const unsigned char secret_hash[static SEAL_CREDENTIAL_HASH_LEN],
                          int64_t *gateway_id)
{
    struct record_gateway gateway;
    struct txn *txn = read_begin(reader);
    enum store_error error;
    *gateway_id = 0;
    /* Compared with each of them: it takes the same time for every secret. */
    for (int64_t id = 1; (error = get_from(txn, &id, &gateway)) == STORE_OK; id++)
        if (sodium_memcmp(secret_hash, gateway.secret_hash, sizeof(gateway.secret_hash)) == 0)
            *gateway_id = id;
    read_end(txn);
    if (store_is_failure(error))
        return error;
    return *gateway_id ? STORE_OK : STORE_DENIED;
}

enum store_error lmdb_gateway_next(struct store_reader *reader, int64_t after_id,
                                   struct store_gateway *gateway)
{
    struct record_gateway record;
    int64_t id = after_id + 1;
    struct txn *txn = read_begin(reader);
    enum store_error error = get_from(txn, &id, &record);
    if (error == STORE_OK) {
        *gateway = (struct store_gateway){.id = id, .created_unix_s = record.created_unix_s};
        memcpy(gateway->name, record.name.at, record.name.len);
    }
    read_end(txn);
    return error;
}

enum store_error write_gateway_add(struct txn *txn, struct store_write *write)
{
    struct store_gateway *gateway = write->gateway_add.gateway;
    struct record_gateway record = {.name = span_of(gateway->name),
                                    .created_unix_s = write->now_unix_s};
    unsigned char bytes[RECORD_GATEWAY_LEN_MAX];
    memcpy(record.secret_hash, write->gateway_add.secret_hash, sizeof(record.secret_hash));
    enum store_error error = meta_take_ids(txn, META_NEXT_GATEWAY_ID, 1, &gateway->id);
    if (error != STORE_OK)
        return error;
    size_t len = record_encode_gateway(gateway->id, &record, bytes);
    return db_put(txn, DB_GATEWAYS, ID_KEY(gateway->id), span_of_bytes(bytes, len),
                  MDB_NOOVERWRITE);
}

enum store_error write_gateway_delete(struct txn *txn, struct store_write *write)
{
    return db_delete(txn, DB_GATEWAYS, ID_KEY(write->gateway_delete.gateway_id));
}
