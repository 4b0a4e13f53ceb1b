/* Users, and gateways: programs that spend, of which there are few. */

#include <sodium.h>

#include "store/lmdb/engine.h"

/* ---- the index of users, by access token and by name ---- */

/* The key of an entry: a letter, and the beginning of the access token's hash, or the name without
 * the case of its ASCII letters. The value is the user's id. */
enum { ACCESS_KEY_LEN = 1 + 16 };
struct index_key {
    unsigned char at[1 + STORE_USER_NAME_LEN_MAX];
    size_t len;
};

static struct span access_key(const unsigned char *access_hash, struct index_key *key)
{
    key->at[0] = 'a';
    memcpy(key->at + 1, access_hash, ACCESS_KEY_LEN - 1);
    return span_of_bytes(key->at, ACCESS_KEY_LEN);
}

static struct span name_key(struct span name, struct index_key *key)
{
    key->at[0] = 'n';
    for (size_t i = 0; i < name.len; i++)
        key->at[1 + i] = (unsigned char)(name.at[i] >= 'A' && name.at[i] <= 'Z' ? name.at[i] | 0x20
                                                                                : name.at[i]);
    return span_of_bytes(key->at, 1 + name.len);
}

static enum store_error get_indexed(struct txn *txn, struct span key, int64_t *user_id)
{
    struct span value;
    enum store_error error = db_get(txn, DB_USER_INDEX, key, &value);
    if (error != STORE_OK)
        return error == STORE_NOT_FOUND ? STORE_NO_USER : error;
    if (!checksum_take(checksum_context_of(CHECKSUM_USER_INDEX, key), &value) || value.len != 8)
        return db_corrupt(txn);
    *user_id = get_little64((const unsigned char *)value.at);
    return STORE_OK;
}

static void put_indexed(struct txn *txn, struct span key, int64_t user_id)
{
    unsigned char value[8 + CHECKSUM_LEN];
    put_little64(value, user_id);
    checksum_put(checksum_context_of(CHECKSUM_USER_INDEX, key), value, 8);
    db_put(txn, DB_USER_INDEX, key, span_of_bytes(value, sizeof(value)), MDB_NOOVERWRITE);
}

enum store_error lookup_user_id(struct txn *txn, struct span name, int64_t *user_id)
{
    struct index_key key;
    return name.len > STORE_USER_NAME_LEN_MAX ? STORE_NO_USER
                                              : get_indexed(txn, name_key(name, &key), user_id);
}

enum store_error
lookup_user_by_access(struct txn *txn,
                      const unsigned char access_hash[static SEAL_CREDENTIAL_HASH_LEN],
                      int64_t *user_id, struct record_user *user)
{
    struct index_key key;
    enum store_error error = get_indexed(txn, access_key(access_hash, &key), user_id);
    if (error == STORE_OK)
        error = lookup_user(txn, *user_id, user);
    if (error == STORE_OK &&
        sodium_memcmp(access_hash, user->access_hash, sizeof(user->access_hash)) != 0)
        error = STORE_NO_USER;
    return error;
}

void index_user(struct txn *txn, int64_t user_id, const struct record_user *user)
{
    struct index_key key;
    put_indexed(txn, access_key(user->access_hash, &key), user_id);
    put_indexed(txn, name_key(user->name, &key), user_id);
}

static void unindex_user(struct txn *txn, const struct record_user *user)
{
    struct index_key key;
    if (db_delete(txn, DB_USER_INDEX, access_key(user->access_hash, &key)) == STORE_NOT_FOUND ||
        db_delete(txn, DB_USER_INDEX, name_key(user->name, &key)) == STORE_NOT_FOUND)
        db_corrupt(txn);
}

/* ---- users ---- */

enum store_error
lmdb_user_authenticate(struct store_reader *reader,
                       const unsigned char access_hash[static SEAL_CREDENTIAL_HASH_LEN],
                       int64_t *user_id)
{
    struct record_user user;
    struct txn *txn = read_begin(reader);
    enum store_error error = lookup_user_by_access(txn, access_hash, user_id, &user);
    read_end(txn);
    if (error == STORE_NO_USER)
        return STORE_DENIED;
    return error == STORE_OK && user.disabled ? STORE_USER_DISABLED : error;
}

enum store_error lmdb_user_find(struct store_reader *reader, struct span name, int64_t *user_id)
{
    struct txn *txn = read_begin(reader);
    enum store_error error = lookup_user_id(txn, name, user_id);
    read_end(txn);
    return error;
}

static enum store_error fill_user(struct txn *txn, int64_t user_id, const struct record_user *from,
                                  struct store_user *user)
{
    *user = (struct store_user){
        .id = user_id, .disabled = from->disabled, .created_unix_s = from->created_unix_s};
    memcpy(user->name, from->name.at, from->name.len);
    memcpy(user->group, from->group.at, from->group.len);
    return ids_count(txn, DB_IDS_BY_USER, user_id, &user->token_count);
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

enum store_error user_put(struct txn *txn, int64_t user_id, const struct record_user *user)
{
    unsigned char record[RECORD_USER_LEN_MAX];
    size_t len = record_encode_user(user_id, user, record);
    return db_put(txn, DB_USERS, ID_KEY(user_id), span_of_bytes(record, len), 0);
}

/* Decodes the user again from a copy of its record, as that moves when others are changed. */
static enum store_error copy_user(struct txn *txn, int64_t user_id, struct record_user *user,
                                  unsigned char copy[static RECORD_USER_LEN_MAX])
{
    size_t len = record_encode_user(user_id, user, copy);
    return record_decode_user(user_id, span_of_bytes(copy, len), user) ? STORE_OK : db_corrupt(txn);
}

/* STORE_NAME_TAKEN where another user has the name. */
static enum store_error check_name(struct txn *txn, struct span name, int64_t user_id)
{
    int64_t id = 0;
    enum store_error error = lookup_user_id(txn, name, &id);
    if (error == STORE_OK && id != user_id)
        return STORE_NAME_TAKEN;
    return error == STORE_NO_USER ? STORE_OK : error;
}

enum store_error write_user_add(struct txn *txn, struct store_write *write)
{
    struct store_user *user = write->user_add.user;
    struct record_user record = {.name = span_of(user->name),
                                 .group = span_of(user->group),
                                 .created_unix_s = write->now_unix_s};
    memcpy(record.access_hash, write->user_add.access_hash, sizeof(record.access_hash));
    enum store_error error = check_name(txn, record.name, 0);
    if (error == STORE_OK)
        error = meta_take_ids(txn, META_NEXT_USER_ID, 1, &user->id);
    if (error != STORE_OK)
        return error;
    index_user(txn, user->id, &record);
    return user_put(txn, user->id, &record);
}

enum store_error write_user_change(struct txn *txn, struct store_write *write)
{
    unsigned char copy[RECORD_USER_LEN_MAX];
    struct record_user user;
    enum store_error error = lookup_user(txn, write->user_id, &user);
    if (error == STORE_OK && write->user_change.name.at)
        error = check_name(txn, write->user_change.name, write->user_id);
    if (error == STORE_OK)
        error = copy_user(txn, write->user_id, &user, copy);
    if (error != STORE_OK)
        return error;
    unindex_user(txn, &user);
    if (write->user_change.access_hash)
        memcpy(user.access_hash, write->user_change.access_hash, sizeof(user.access_hash));
    if (write->user_change.disabled)
        user.disabled = *write->user_change.disabled;
    if (write->user_change.name.at)
        user.name = write->user_change.name;
    if (write->user_change.group.at)
        user.group = write->user_change.group;
    index_user(txn, write->user_id, &user);
    return user_put(txn, write->user_id, &user);
}

/* Its name is free from now on. */
static enum store_error mark_deleted(struct txn *txn, int64_t user_id)
{
    unsigned char copy[RECORD_USER_LEN_MAX];
    struct record_user user;
    enum store_error error = lookup_user_record(txn, user_id, &user);
    if (error != STORE_OK || user.deleted)
        return error;
    error = copy_user(txn, user_id, &user, copy);
    if (error != STORE_OK)
        return error;
    unindex_user(txn, &user);
    user.deleted = true;
    return user_put(txn, user_id, &user);
}

enum store_error write_user_delete(struct txn *txn, struct store_write *write)
{
    uint64_t left = 0;
    int64_t id;
    enum store_error error = mark_deleted(txn, write->user_id);
    for (size_t i = 0; error == STORE_OK && i < write->step.max; i++) {
        error = ids_find(txn, DB_IDS_BY_USER, write->user_id, 0, &left, &id);
        if (error == STORE_OK && delete_token(txn, write->user_id, id) == STORE_NOT_FOUND)
            error = db_corrupt(txn);
    }
    write->step.more = error == STORE_OK;
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
