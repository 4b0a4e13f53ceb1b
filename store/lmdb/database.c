#include "store/lmdb/database.h"

#include <errno.h>

static enum store_error translate(int rc)
{
    switch (rc) {
    case MDB_SUCCESS:
        return STORE_OK;
    case MDB_NOTFOUND:
        return STORE_NOT_FOUND;
    case MDB_MAP_FULL:
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return STORE_FULL;
    case ENOMEM:
    case EAGAIN:
    case MDB_READERS_FULL:
    case MDB_TXN_FULL:
        return STORE_UNAVAILABLE;
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_BAD_VALSIZE:
    case MDB_INCOMPATIBLE:
    case MDB_KEYEXIST:
    case MDB_CURSOR_FULL: /* a tree too deep: pages that point in a circle */
        return STORE_CORRUPT;
    default: /* MDB_PANIC and EIO; MDB_MAP_RESIZED: another process has a greater map */
        return STORE_BROKEN;
    }
}

enum store_error db_result(struct store_txn *txn, int rc)
{
    enum store_error error = translate(rc);
    if (error == STORE_BROKEN)
        atomic_store(&lmdb_of(txn)->store->base.broken, true);
    return store_is_failure(error) ? store_txn_fail(txn, error) : error;
}

enum store_error db_corrupt(struct store_txn *txn)
{
    return db_result(txn, MDB_CORRUPTED);
}

enum store_error db_expect(struct store_txn *txn, enum store_error error)
{
    return error == STORE_NOT_FOUND ? db_corrupt(txn) : error;
}

static struct span to_span(const MDB_val *val)
{
    return (struct span){val->mv_data, val->mv_size};
}

enum store_error db_get(struct store_txn *txn, enum database database, struct span key,
                        struct span *value)
{
    if (txn->error != STORE_OK)
        return txn->error;
    MDB_val key_val = db_val(key), value_val;
    int rc = mdb_get(lmdb_of(txn)->mdb, lmdb_of(txn)->store->dbis[database], &key_val, &value_val);
    if (rc == MDB_SUCCESS)
        *value = to_span(&value_val);
    return db_result(txn, rc);
}

enum store_error db_put(struct store_txn *txn, enum database database, struct span key,
                        struct span value, unsigned flags)
{
    if (txn->error != STORE_OK)
        return txn->error;
    MDB_val key_val = db_val(key), value_val = db_val(value);
    return db_result(txn, mdb_put(lmdb_of(txn)->mdb, lmdb_of(txn)->store->dbis[database], &key_val,
                                  &value_val, flags));
}

unsigned char *db_reserve(struct store_txn *txn, enum database database, struct span key,
                          size_t len)
{
    MDB_val key_val = db_val(key), value_val = {len, NULL};
    if (txn->error == STORE_OK)
        db_result(txn, mdb_put(lmdb_of(txn)->mdb, lmdb_of(txn)->store->dbis[database], &key_val,
                               &value_val, MDB_RESERVE));
    return txn->error == STORE_OK ? value_val.mv_data : NULL;
}

enum store_error db_delete(struct store_txn *txn, enum database database, struct span key)
{
    if (txn->error != STORE_OK)
        return txn->error;
    MDB_val key_val = db_val(key);
    return db_result(
        txn, mdb_del(lmdb_of(txn)->mdb, lmdb_of(txn)->store->dbis[database], &key_val, NULL));
}

void db_delete_all(struct store_txn *txn, enum database database, struct span prefix)
{
    unsigned char found[DB_KEY_LEN_MAX];
    struct span key = prefix, value = {NULL, 0};
    while (db_seek(txn, database, &key, &value, MDB_SET_RANGE) == STORE_OK &&
           key.len <= sizeof(found) && span_starts_with(key, prefix)) {
        memcpy(found, key.at, key.len); /* it moves when it is deleted */
        db_delete(txn, database, span_of_bytes(found, key.len));
        key = prefix;
    }
}

uint64_t db_count(struct store_txn *txn, enum database database)
{
    MDB_stat stat = {.ms_entries = 0};
    if (txn->error == STORE_OK)
        db_result(txn, mdb_stat(lmdb_of(txn)->mdb, lmdb_of(txn)->store->dbis[database], &stat));
    return stat.ms_entries;
}

MDB_cursor *db_cursor_open(struct store_txn *txn, enum database database)
{
    MDB_cursor *cursor = NULL;
    if (txn->error == STORE_OK)
        db_result(txn,
                  mdb_cursor_open(lmdb_of(txn)->mdb, lmdb_of(txn)->store->dbis[database], &cursor));
    return cursor;
}

enum store_error db_cursor_get(struct store_txn *txn, MDB_cursor *cursor, struct span *key,
                               struct span *value, MDB_cursor_op op)
{
    if (txn->error != STORE_OK)
        return txn->error;
    MDB_val key_val = db_val(*key), value_val = db_val(*value);
    enum store_error error = db_result(txn, mdb_cursor_get(cursor, &key_val, &value_val, op));
    if (error == STORE_OK) {
        *key = to_span(&key_val);
        *value = to_span(&value_val);
    }
    return error;
}

enum store_error db_seek(struct store_txn *txn, enum database database, struct span *key,
                         struct span *value, MDB_cursor_op op)
{
    MDB_cursor *cursor = db_cursor_open(txn, database);
    if (!cursor)
        return txn->error;
    enum store_error error = db_cursor_get(txn, cursor, key, value, op);
    mdb_cursor_close(cursor);
    return error;
}

/* ---- meta ---- */

const char *const meta_counters[STORE_IDS_COUNT] = {META_NEXT_USER_ID, META_NEXT_TOKEN_ID,
                                                    META_NEXT_GATEWAY_ID, META_NEXT_RESERVATION_ID};

static struct checksum_context meta_context(const char *name)
{
    return checksum_context_of(CHECKSUM_META, span_of(name));
}

enum store_error meta_get_bytes(struct store_txn *txn, const char *name, unsigned char *bytes,
                                size_t len)
{
    struct span value;
    enum store_error error = db_expect(txn, db_get(txn, DB_META, span_of(name), &value));
    if (error == STORE_OK && (!checksum_take(meta_context(name), &value) || value.len != len))
        return db_corrupt(txn);
    if (error == STORE_OK)
        memcpy(bytes, value.at, len);
    return error;
}

enum store_error meta_put_bytes(struct store_txn *txn, const char *name, const unsigned char *bytes,
                                size_t len)
{
    unsigned char value[META_LEN_MAX + CHECKSUM_LEN];
    memcpy(value, bytes, len);
    size_t value_len = checksum_put(meta_context(name), value, len);
    return db_put(txn, DB_META, span_of(name), span_of_bytes(value, value_len), 0);
}

enum store_error meta_get(struct store_txn *txn, const char *name, int64_t *value)
{
    unsigned char bytes[8];
    enum store_error error = meta_get_bytes(txn, name, bytes, sizeof(bytes));
    if (error == STORE_OK)
        *value = get_little64(bytes);
    return error;
}

enum store_error meta_put(struct store_txn *txn, const char *name, int64_t value)
{
    unsigned char bytes[8];
    put_little64(bytes, value);
    return meta_put_bytes(txn, name, bytes, sizeof(bytes));
}
