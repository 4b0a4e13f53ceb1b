/* Reading, but for searches (search.c). */

#include <sodium.h>

#include "store/lmdb/clock.h"
#include "store/lmdb/engine.h"
#include "store/lmdb/ids.h"
#include "store/lmdb/lookup.h"

/* ---- users ---- */

enum store_error
lmdb_user_authenticate(struct store_reader *reader,
                       const unsigned char access_hash[static SEAL_CREDENTIAL_HASH_LEN],
                       int64_t *user_id)
{
    struct record_user user;
    struct store_txn *txn = read_begin(reader);
    enum store_error error = lookup_access(txn, access_hash, user_id, &user);
    read_end(txn);
    if (error == STORE_NOT_FOUND)
        return STORE_DENIED;
    return error == STORE_OK && user.disabled ? STORE_USER_DISABLED : error;
}

enum store_error lmdb_user_find(struct store_reader *reader, struct span name, int64_t *user_id)
{
    struct store_txn *txn = read_begin(reader);
    enum store_error error = lookup_name(txn, name, user_id);
    read_end(txn);
    return error == STORE_NOT_FOUND ? STORE_NO_USER : error;
}

enum store_error fill_user(struct store_txn *txn, int64_t user_id, const struct record_user *from,
                           struct store_user *user)
{
    *user = (struct store_user){.id = user_id,
                                .role = from->role,
                                .disabled = from->disabled,
                                .created_unix_s = from->created_unix_s,
                                .account = from->account};
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
    struct store_txn *txn = read_begin(reader);
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

/* ---- gateways: programs that spend, of which there are few ---- */

/* The first gateway from an id on. STORE_NOT_FOUND. */
static enum store_error get_from(struct store_txn *txn, int64_t *id, struct record_gateway *gateway)
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
    struct store_txn *txn = read_begin(reader);
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
    struct store_txn *txn = read_begin(reader);
    enum store_error error = get_from(txn, &id, &record);
    if (error == STORE_OK) {
        *gateway = (struct store_gateway){.id = id, .created_unix_s = record.created_unix_s};
        memcpy(gateway->name, record.name.at, record.name.len);
    }
    read_end(txn);
    return error;
}

/* ---- tokens ---- */

enum store_error lmdb_token_get(struct store_reader *reader, int64_t user_id, int64_t token_id,
                                store_visit_token *visit, void *context)
{
    struct store_txn *txn = read_begin(reader);
    enum store_error error = visit_by_id(txn, user_id, token_id, visit, context);
    read_end(txn);
    return error;
}

enum store_error lmdb_token_find(struct store_reader *reader, const char *key, int64_t now_unix_s,
                                 store_visit_use *visit, void *context)
{
    struct token token;
    struct record_keys keys;
    struct record_user owner = {.disabled = false};
    struct store_txn *txn = read_begin(reader);
    enum store_error error = store_get_by_key(txn, key, now_unix_s, &token, &keys, &owner);
    if (error == STORE_OK) {
        const struct token_account *account = &owner.account;
        bool has_rate = token.rpm_limit > 0 || token.tpm_limit > 0 || account->rpm_limit > 0 ||
                        account->tpm_limit > 0;
        struct store_use_view view = {
            .token = &token,
            .owner_disabled = owner.disabled,
            .account = account,
            .right = store_find_right(txn, token.user_id, &owner, token.group),
            .now_ns = has_rate ? clock_read_ns(txn) : 0,
        };
        token.key[0] = '\0';
        if (token.group.len == 0)
            token.group = owner.group;
        error = txn->error;
        if (error == STORE_OK)
            visit(context, &view);
    }
    read_end(txn);
    return error;
}

enum store_error lmdb_has_foreign_keys(struct store_reader *reader, bool *has)
{
    int64_t value = 0;
    struct store_txn *txn = read_begin(reader);
    enum store_error error = meta_get(txn, META_FOREIGN_KEYS, &value);
    read_end(txn);
    *has = value != 0;
    return error;
}

/* The tokens of a page lie side by side: one search, then a step each. */
static enum store_error visit_page(struct store_txn *txn, int64_t user_id, int64_t newest,
                                   uint64_t count, store_visit_token *visit, void *context)
{
    struct token token = {.user_id = user_id, .id = newest};
    struct record_keys keys;
    MDB_cursor *cursor = db_cursor_open(txn, DB_TOKENS);
    if (!cursor)
        return txn->error;
    enum store_error error = next_token(txn, cursor, MDB_SET_KEY, &token, &keys);
    while (error == STORE_OK) {
        error = visit_token(txn, &token, &keys, visit, context);
        if (error != STORE_OK || --count == 0)
            break;
        error = next_token(txn, cursor, MDB_PREV, &token, &keys);
    }
    mdb_cursor_close(cursor);
    return db_expect(txn, error); /* the index has more ids */
}

enum store_error lmdb_token_page(struct store_reader *reader, int64_t user_id, uint64_t offset,
                                 uint64_t limit, uint64_t *total, store_visit_token *visit,
                                 void *context)
{
    int64_t newest;
    struct store_txn *txn = read_begin(reader);
    enum store_error error = ids_find(txn, DB_IDS_BY_USER, user_id, offset, total, &newest);
    if (error == STORE_OK && limit > 0) {
        uint64_t left = *total - offset;
        error = visit_page(txn, user_id, newest, limit < left ? limit : left, visit, context);
    }
    read_end(txn);
    return error == STORE_NOT_FOUND ? STORE_OK : error;
}
