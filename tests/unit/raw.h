#pragma once

/* A store's databases without the store: to plant damage, as no operation of it would. */

#include "tests/unit/temporary.h"

#include <lmdb.h>

#include "base/bytes.h"
#include "store/lmdb/checksum.h"
#include "store/lmdb/database.h"
#include "store/lmdb/record.h"

struct raw {
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi meta, users, user_index, tokens, ids_by_user, token_by_key, gateways, reservations,
        reservations_by_token, answers, groups, grants, usage, audit, audit_by_user, recent;
};

/* The store must not be open. */
static inline void raw_open(struct raw *raw, const struct temporary *temporary)
{
    assert_null(temporary->store);
    assert_ptr_equal(temporary->options.location, temporary->store_path.path); /* LMDB's */
    assert_int_equal(mdb_env_create(&raw->env), 0);
    assert_int_equal(mdb_env_set_maxdbs(raw->env, 24), 0);
    assert_int_equal(mdb_env_open(raw->env, temporary->options.location, 0, 0600), 0);
    assert_int_equal(mdb_txn_begin(raw->env, NULL, 0, &raw->txn), 0);
    const struct {
        const char *name;
        MDB_dbi *dbi;
    } databases[] = {
        {"meta", &raw->meta},
        {"users", &raw->users},
        {"user_index", &raw->user_index},
        {"tokens", &raw->tokens},
        {"ids_by_user", &raw->ids_by_user},
        {"token_by_key", &raw->token_by_key},
        {"gateways", &raw->gateways},
        {"reservations", &raw->reservations},
        {"reservations_by_token", &raw->reservations_by_token},
        {"answers", &raw->answers},
        {"groups", &raw->groups},
        {"grants", &raw->grants},
        {"usage", &raw->usage},
        {"audit", &raw->audit},
        {"audit_by_user", &raw->audit_by_user},
        {NULL, &raw->recent},
    };
    for (size_t i = 0; i < COUNT_OF(databases); i++)
        require(mdb_dbi_open(raw->txn, databases[i].name, 0, databases[i].dbi) == 0, "%s",
                databases[i].name ? databases[i].name : "-");
}

static inline void raw_commit(struct raw *raw)
{
    assert_int_equal(mdb_txn_commit(raw->txn), 0);
    mdb_env_close(raw->env);
}

/* A key or value of its own, changed as one likes and put back. */
struct raw_bytes {
    unsigned char at[20000];
    size_t len;
};

static inline struct raw_bytes raw_bytes(const void *at, size_t len)
{
    struct raw_bytes bytes = {.len = len};
    assert_true(len <= sizeof(bytes.at));
    memcpy(bytes.at, at, len);
    return bytes;
}

static inline struct raw_bytes raw_text(const char *text)
{
    return raw_bytes(text, strlen(text));
}

static inline struct raw_bytes raw_user_key(int64_t user_id)
{
    unsigned char at[8];
    put_big64(at, user_id);
    return raw_bytes(at, sizeof(at));
}

static inline struct raw_bytes raw_token_key(int64_t user_id, int64_t token_id)
{
    unsigned char at[16];
    put_big64(at, user_id);
    put_big64(at + 8, token_id);
    return raw_bytes(at, sizeof(at));
}

static inline struct raw_bytes raw_little64(int64_t number)
{
    unsigned char at[8];
    put_little64(at, number);
    return raw_bytes(at, sizeof(at));
}

/* A value of "meta", with the checksum that is right for it under this name. */
static inline struct raw_bytes raw_meta(const char *name, int64_t number)
{
    struct raw_bytes value = raw_little64(number);
    value.len =
        checksum_put(checksum_context_of(CHECKSUM_META, span_of(name)), value.at, value.len);
    return value;
}

/* Puts an entry whose key says all. */
static inline void raw_put_entry(struct raw *raw, MDB_dbi dbi, struct raw_bytes key)
{
    struct raw_bytes value;
    value.len = record_encode_entry((struct span){(char *)key.at, key.len}, value.at);
    MDB_val key_val = {key.len, key.at}, value_val = {value.len, value.at};
    assert_int_equal(mdb_put(raw->txn, dbi, &key_val, &value_val, 0), 0);
}

static inline struct raw_bytes raw_three_ids_key(int64_t a, int64_t b, int64_t c)
{
    unsigned char at[24];
    put_big64(at, a);
    put_big64(at + 8, b);
    put_big64(at + 16, c);
    return raw_bytes(at, sizeof(at));
}

/* Gives a record that was changed the checksum that is right for it under this key. */
static inline void raw_seal(struct raw_bytes *record, enum checksum_kind kind, int64_t a, int64_t b)
{
    struct checksum_context context = {kind, a, b};
    record->len = checksum_put(context, record->at, record->len - CHECKSUM_LEN);
}

static inline struct raw_bytes raw_get(struct raw *raw, MDB_dbi dbi, struct raw_bytes key)
{
    MDB_val key_val = {key.len, key.at}, value;
    assert_int_equal(mdb_get(raw->txn, dbi, &key_val, &value), 0);
    return raw_bytes(value.mv_data, value.mv_size);
}

static inline void raw_put(struct raw *raw, MDB_dbi dbi, struct raw_bytes key,
                           struct raw_bytes value)
{
    MDB_val key_val = {key.len, key.at}, value_val = {value.len, value.at};
    assert_int_equal(mdb_put(raw->txn, dbi, &key_val, &value_val, 0), 0);
}

/* value may be NULL, but not where a key has several. */
static inline void raw_delete(struct raw *raw, MDB_dbi dbi, struct raw_bytes key,
                              struct raw_bytes *value)
{
    MDB_val key_val = {key.len, key.at}, value_val = {0, NULL};
    if (value)
        value_val = (MDB_val){value->len, value->at};
    assert_int_equal(mdb_del(raw->txn, dbi, &key_val, value ? &value_val : NULL), 0);
}

/* The n-th entry of a database, counted from 0. */
static inline void raw_entry(struct raw *raw, MDB_dbi dbi, size_t n, struct raw_bytes *key,
                             struct raw_bytes *value)
{
    MDB_cursor *cursor;
    MDB_val key_val, value_val;
    assert_int_equal(mdb_cursor_open(raw->txn, dbi, &cursor), 0);
    assert_int_equal(mdb_cursor_get(cursor, &key_val, &value_val, MDB_FIRST), 0);
    for (; n > 0; n--)
        assert_int_equal(mdb_cursor_get(cursor, &key_val, &value_val, MDB_NEXT), 0);
    *key = raw_bytes(key_val.mv_data, key_val.mv_size);
    *value = raw_bytes(value_val.mv_data, value_val.mv_size);
    mdb_cursor_close(cursor);
}
