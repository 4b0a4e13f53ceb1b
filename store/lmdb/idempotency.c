/* The database "repeats": idempotency records. The key is the day and the hash of the idempotency
 * key, the value the time, the hash of the request and the sealed answer (it may hold a token's
 * key). With the day in front, expired records lie together and need no index. */

#include <errno.h>
#include <stdlib.h>

#include <sodium.h>

#include "base/bytes.h"
#include "store/lmdb/engine.h"

enum {
    DAY_S = 24 * 3600,
    RECORD_KEY_LEN = 8 + STORE_HASH_LEN,
    AT_TIME = 0,
    AT_REQUEST = 8,
    AT_ANSWER = AT_REQUEST + STORE_HASH_LEN,
    /* All that is stored beside an answer is sealed with it: a flipped bit in the time would have
     * the write done twice. */
    BINDING_LEN = RECORD_KEY_LEN + AT_ANSWER
};

static struct span make_key(const struct store_idempotency *idempotency, int64_t unix_s,
                            unsigned char bytes[static RECORD_KEY_LEN])
{
    put_big64(bytes, unix_s / DAY_S);
    memcpy(bytes + 8, idempotency->key_hash, STORE_HASH_LEN);
    return (struct span){(const char *)bytes, RECORD_KEY_LEN};
}

static struct span make_binding(const void *key, const void *value,
                                unsigned char bytes[static BINDING_LEN])
{
    memcpy(bytes, key, RECORD_KEY_LEN);
    memcpy(bytes + RECORD_KEY_LEN, value, AT_ANSWER);
    return (struct span){(const char *)bytes, BINDING_LEN};
}

/* The answer of a record. STORE_CORRUPT, STORE_UNAVAILABLE. */
static enum store_error unseal_answer(struct txn *txn, struct span key, struct span value,
                                      struct store_idempotency *out)
{
    unsigned char binding[BINDING_LEN];
    store_idempotency_clear(out);
    if (key.len != RECORD_KEY_LEN || value.len < AT_ANSWER + SEAL_OVERHEAD_LEN)
        return STORE_CORRUPT;
    struct span sealed = span_from(value, AT_ANSWER);
    out->answer_len = sealed.len - SEAL_OVERHEAD_LEN;
    out->answer = malloc(out->answer_len + 1);
    if (!out->answer)
        return STORE_UNAVAILABLE;
    bool intact = unseal_text(txn->store->base.seal, make_binding(key.at, value.at, binding),
                              sealed, out->answer);
    return intact ? STORE_OK : STORE_CORRUPT;
}

/* Takes the answer of a record, if that is of this request and has not expired. */
static enum store_error try_record(struct txn *txn, struct store_write *write, struct span key,
                                   struct span value)
{
    struct store_idempotency *idempotency = &write->idempotency;
    enum store_error error = unseal_answer(txn, key, value, idempotency);
    if (error != STORE_OK)
        return error == STORE_CORRUPT ? db_corrupt(txn) : error;
    const unsigned char *bytes = (const unsigned char *)value.at;
    if (write->now_unix_s - get_little64(bytes + AT_TIME) >= STORE_IDEMPOTENCY_S)
        return STORE_OK;
    idempotency->replayed =
        sodium_memcmp(bytes + AT_REQUEST, idempotency->request_hash, STORE_HASH_LEN) == 0;
    return idempotency->replayed ? STORE_OK : STORE_IDEMPOTENCY_MISMATCH;
}

/* A record of today, of yesterday if it has not expired, or of tomorrow, which may have begun while
 * this request waited. */
enum store_error idempotency_find(struct txn *txn, struct store_write *write)
{
    write->idempotency.replayed = false;
    for (int64_t days = -1; days < 2 && !write->idempotency.replayed; days++) {
        unsigned char key_bytes[RECORD_KEY_LEN];
        struct span value,
            key = make_key(&write->idempotency, write->now_unix_s - days * DAY_S, key_bytes);
        enum store_error error = db_get(txn, DB_IDEMPOTENCY, key, &value);
        if (error == STORE_OK)
            error = try_record(txn, write, key, value);
        if (error != STORE_OK && error != STORE_NOT_FOUND)
            return error;
    }
    return STORE_OK;
}

enum store_error idempotency_store(struct txn *txn, struct store_write *write)
{
    unsigned char key_bytes[RECORD_KEY_LEN], binding[BINDING_LEN];
    struct span key = make_key(&write->idempotency, write->now_unix_s, key_bytes);
    struct span answer = write->idempotency.render(write);
    if (!answer.at)
        return db_result(txn, ENOMEM); /* the write is done already: the transaction has to go */
    MDB_val key_val = {key.len, key_bytes};
    MDB_val value = {AT_ANSWER + answer.len + SEAL_OVERHEAD_LEN, NULL};
    int rc = mdb_put(txn->mdb, txn->store->dbis[DB_IDEMPOTENCY], &key_val, &value, MDB_RESERVE);
    if (db_result(txn, rc) != STORE_OK)
        return txn->error;
    unsigned char *bytes = value.mv_data;
    put_little64(bytes + AT_TIME, write->now_unix_s);
    memcpy(bytes + AT_REQUEST, write->idempotency.request_hash, STORE_HASH_LEN);
    seal_text(txn->store->base.seal, make_binding(key_bytes, bytes, binding), answer,
              bytes + AT_ANSWER);
    return STORE_OK;
}

enum store_error idempotency_purge(struct txn *txn, int64_t now_unix_s, bool *more)
{
    int purged = 0;
    struct span key = {NULL, 0}, value = {NULL, 0};
    MDB_cursor *cursor = db_cursor_open(txn, DB_IDEMPOTENCY);
    if (!cursor)
        return txn->error;
    for (; purged < PURGED_MAX; purged++) {
        enum store_error error = db_cursor_get(txn, cursor, &key, &value, MDB_FIRST);
        if (error == STORE_OK && key.len != RECORD_KEY_LEN)
            error = db_corrupt(txn);
        if (error != STORE_OK || get_big64((const unsigned char *)key.at) >= now_unix_s / DAY_S - 1)
            break;
        db_result(txn, mdb_cursor_del(cursor, 0));
    }
    mdb_cursor_close(cursor);
    *more = purged == PURGED_MAX;
    return txn->error;
}

enum store_error idempotency_check(struct txn *txn, struct span key, struct span value,
                                   bool *intact)
{
    struct store_idempotency record = {.answer = NULL};
    enum store_error error = unseal_answer(txn, key, value, &record);
    store_idempotency_clear(&record);
    *intact = error == STORE_OK;
    return error == STORE_UNAVAILABLE ? error : STORE_OK;
}
