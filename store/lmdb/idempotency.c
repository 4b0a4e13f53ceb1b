/* Idempotency records. DB_ANSWERS maps the hash of the idempotency key to the user, the store's
 * time, the hash of the request and the sealed answer (it may hold a token's key).
 * DB_ANSWERS_BY_USER maps user, time and that hash to the answer's length: what is kept for a user,
 * and what expires first. */

#include <errno.h>
#include <stdlib.h>

#include <sodium.h>

#include "store/lmdb/clock.h"
#include "store/lmdb/engine.h"

enum {
    AT_USER = 0,
    AT_TIME = 8,
    AT_REQUEST = AT_TIME + 8,
    AT_ANSWER = AT_REQUEST + STORE_HASH_LEN,
    INDEX_AT_HASH = 16,
    INDEX_KEY_LEN = INDEX_AT_HASH + STORE_HASH_LEN,
    /* All that is stored beside an answer is sealed with it: a flipped bit in the time would have
     * the write done twice. */
    BINDING_LEN = 8 + STORE_HASH_LEN + AT_ANSWER - AT_TIME
};

static struct span hash_key(const unsigned char hash[static STORE_HASH_LEN])
{
    return span_of_bytes(hash, STORE_HASH_LEN);
}

static struct span make_binding(struct span key, const unsigned char *value,
                                unsigned char bytes[static BINDING_LEN])
{
    /* As in schema version 3, where the day was a part of the key; the user was not stored. */
    enum { DAY_S = 24 * 3600 };
    uint64_t user = (uint64_t)get_little64(value + AT_USER) * UINT64_C(0x9E3779B97F4A7C15);
    put_big64(bytes, (int64_t)((uint64_t)(get_little64(value + AT_TIME) / DAY_S) ^ user));
    memcpy(bytes + 8, key.at, STORE_HASH_LEN);
    memcpy(bytes + 8 + STORE_HASH_LEN, value + AT_TIME, AT_ANSWER - AT_TIME);
    return span_of_bytes(bytes, BINDING_LEN);
}

static const unsigned char no_hash[STORE_HASH_LEN]; /* before all others */

static struct span make_index_key(int64_t user_id, int64_t time_s, const void *hash,
                                  unsigned char bytes[static INDEX_KEY_LEN])
{
    put_big64(bytes, user_id);
    put_big64(bytes + 8, time_s);
    memcpy(bytes + INDEX_AT_HASH, hash, STORE_HASH_LEN);
    return span_of_bytes(bytes, INDEX_KEY_LEN);
}

/* ---- finding ---- */

/* The answer of a record. STORE_CORRUPT, STORE_UNAVAILABLE. */
static enum store_error unseal_answer(struct txn *txn, struct span key, struct span value,
                                      struct store_idempotency *out)
{
    unsigned char binding[BINDING_LEN];
    store_idempotency_clear(out);
    if (key.len != STORE_HASH_LEN || value.len < AT_ANSWER + SEAL_OVERHEAD_LEN)
        return STORE_CORRUPT;
    struct span sealed = span_from(value, AT_ANSWER);
    out->answer_len = sealed.len - SEAL_OVERHEAD_LEN;
    out->answer = malloc(out->answer_len + 1);
    if (!out->answer)
        return STORE_UNAVAILABLE;
    bool intact = unseal_text(txn->store->base.seal,
                              make_binding(key, (const unsigned char *)value.at, binding), sealed,
                              out->answer);
    return intact ? STORE_OK : STORE_CORRUPT;
}

/* Deletes a record and its entry in the index, which the key is of. If one of them is missing,
 * purges go on nevertheless: check reports it. */
static void delete_record(struct txn *txn, const unsigned char index_key[static INDEX_KEY_LEN])
{
    db_delete(txn, DB_ANSWERS, hash_key(index_key + INDEX_AT_HASH));
    db_delete(txn, DB_ANSWERS_BY_USER, span_of_bytes(index_key, INDEX_KEY_LEN));
}

enum store_error idempotency_find(struct txn *txn, struct store_write *write)
{
    struct store_idempotency *idempotency = &write->idempotency;
    struct span value, key = hash_key(idempotency->key_hash);
    unsigned char index_key[INDEX_KEY_LEN];
    int64_t now_s = clock_now(txn);
    idempotency->replayed = idempotency->stored = false;
    enum store_error error = db_get(txn, DB_ANSWERS, key, &value);
    if (error == STORE_OK)
        error = unseal_answer(txn, key, value, idempotency);
    if (error != STORE_OK)
        return error == STORE_NOT_FOUND ? STORE_OK
               : error == STORE_CORRUPT ? db_corrupt(txn)
                                        : error;
    const unsigned char *bytes = (const unsigned char *)value.at;
    int64_t time_s = get_little64(bytes + AT_TIME);
    if (now_s - time_s >= STORE_IDEMPOTENCY_S) {
        make_index_key(get_little64(bytes + AT_USER), time_s, key.at, index_key);
        delete_record(txn, index_key);
        return txn->error;
    }
    idempotency->replayed =
        sodium_memcmp(bytes + AT_REQUEST, idempotency->request_hash, STORE_HASH_LEN) == 0;
    return idempotency->replayed ? STORE_OK : STORE_IDEMPOTENCY_MISMATCH;
}

/* ---- storing ---- */

/* Whether another answer may be kept for the user: STORE_REMEMBERED, STORE_ANSWER_TOO_LARGE. */
static enum store_error check_bounds(struct txn *txn, struct store_idempotency *idempotency,
                                     size_t answer_len)
{
    unsigned char first[INDEX_KEY_LEN];
    size_t count = 0, len = answer_len;
    int64_t now_s = clock_now(txn), oldest_s = now_s;
    /* Of those that have not expired. */
    struct span value = {NULL, 0},
                key = make_index_key(idempotency->user_id, now_s - STORE_IDEMPOTENCY_S + 1, no_hash,
                                     first);
    if (answer_len > STORE_ANSWERS_LEN_MAX)
        return STORE_ANSWER_TOO_LARGE;
    MDB_cursor *cursor = db_cursor_open(txn, DB_ANSWERS_BY_USER);
    if (!cursor)
        return txn->error;
    for (MDB_cursor_op op = MDB_SET_RANGE; db_cursor_get(txn, cursor, &key, &value, op) == STORE_OK;
         op = MDB_NEXT) {
        if (key.len != INDEX_KEY_LEN || value.len != 8)
            db_corrupt(txn);
        else if (memcmp(key.at, first, 8) != 0)
            break;
        else if (count++ == 0)
            oldest_s = get_big64((const unsigned char *)key.at + 8);
        len += value.len == 8 ? (size_t)get_little64((const unsigned char *)value.at) : 0;
    }
    mdb_cursor_close(cursor);
    idempotency->retry_after_s = oldest_s + STORE_IDEMPOTENCY_S - now_s;
    if (txn->error == STORE_OK && (count >= STORE_ANSWERS_MAX || len > STORE_ANSWERS_LEN_MAX))
        return STORE_REMEMBERED;
    return txn->error;
}

static enum store_error put_answer(struct txn *txn, const struct store_idempotency *idempotency,
                                   struct span answer)
{
    unsigned char key[STORE_HASH_LEN], index_key[INDEX_KEY_LEN], binding[BINDING_LEN], len[8];
    memcpy(key, idempotency->key_hash, sizeof(key));
    MDB_val key_val = {sizeof(key), key};
    MDB_val value = {AT_ANSWER + answer.len + SEAL_OVERHEAD_LEN, NULL};
    int64_t now_s = clock_now(txn);
    if (txn->error != STORE_OK ||
        db_result(txn, mdb_put(txn->mdb, txn->store->dbis[DB_ANSWERS], &key_val, &value,
                               MDB_RESERVE)) != STORE_OK)
        return txn->error;
    unsigned char *bytes = value.mv_data;
    put_little64(bytes + AT_USER, idempotency->user_id);
    put_little64(bytes + AT_TIME, now_s);
    memcpy(bytes + AT_REQUEST, idempotency->request_hash, STORE_HASH_LEN);
    seal_text(txn->store->base.seal, make_binding(hash_key(key), bytes, binding), answer,
              bytes + AT_ANSWER);
    put_little64(len, (int64_t)answer.len);
    return db_put(txn, DB_ANSWERS_BY_USER,
                  make_index_key(idempotency->user_id, now_s, key, index_key),
                  span_of_bytes(len, sizeof(len)), MDB_NOOVERWRITE);
}

enum store_error idempotency_store(struct txn *txn, struct store_write *write)
{
    struct store_idempotency *idempotency = &write->idempotency;
    enum store_error error = STORE_OK;
    if (!idempotency->wanted || idempotency->stored)
        return STORE_OK;
    struct span answer = idempotency->render(write);
    if (!answer.at)
        return db_result(txn, ENOMEM);
    if (idempotency->user_id != 0)
        error = check_bounds(txn, idempotency, answer.len);
    if (error == STORE_OK)
        error = put_answer(txn, idempotency, answer);
    idempotency->stored = error == STORE_OK;
    return error;
}

/* ---- purging ---- */

/* Purges records from a user on: that user's all, or else expired ones; looks at max in all.
 * Returns whether that was the end; else *user_id is where to go on. */
static bool purge_from(struct txn *txn, int64_t *user_id, bool all, uint64_t max, uint64_t *count)
{
    int64_t now_s = clock_now(txn);
    for (uint64_t i = 0; i < max; i++) {
        unsigned char bytes[INDEX_KEY_LEN];
        struct span value = {NULL, 0}, key = make_index_key(*user_id, 0, no_hash, bytes);
        enum store_error error = db_seek(txn, DB_ANSWERS_BY_USER, &key, &value, MDB_SET_RANGE);
        if (error == STORE_OK && key.len != INDEX_KEY_LEN)
            error = db_corrupt(txn);
        if (error != STORE_OK)
            return true;
        memcpy(bytes, key.at, INDEX_KEY_LEN); /* it moves when it is deleted */
        int64_t found_id = get_big64(bytes);
        bool expired = now_s - get_big64(bytes + 8) >= STORE_IDEMPOTENCY_S;
        if (all && found_id != *user_id)
            return true;
        *user_id = found_id;
        if (all || expired) {
            delete_record(txn, bytes);
            ++*count;
        } else {
            ++*user_id;
        }
    }
    return false;
}

enum store_error idempotency_purge(struct txn *txn, uint64_t max, bool *more)
{
    uint64_t count = 0;
    int64_t *user_id = &txn->store->purged_user_id;
    *more = !purge_from(txn, user_id, false, max, &count);
    if (!*more)
        *user_id = 0;
    return txn->error;
}

enum store_error write_forget(struct txn *txn, struct store_write *write)
{
    struct record_user user;
    int64_t user_id = write->user_id;
    enum store_error error = lookup_user(txn, user_id, &user);
    if (error != STORE_OK)
        return error;
    write->step.more = !purge_from(txn, &user_id, true, write->step.max, &write->step.count);
    return txn->error;
}

/* ---- checking ---- */

enum store_error idempotency_check(struct txn *txn, struct span key, struct span value,
                                   bool *intact)
{
    struct store_idempotency record = {.answer = NULL};
    unsigned char index_key[INDEX_KEY_LEN];
    struct span len;
    enum store_error error = unseal_answer(txn, key, value, &record);
    store_idempotency_clear(&record);
    *intact = error == STORE_OK;
    if (!*intact)
        return error == STORE_UNAVAILABLE ? error : STORE_OK;
    const unsigned char *bytes = (const unsigned char *)value.at;
    make_index_key(get_little64(bytes + AT_USER), get_little64(bytes + AT_TIME), key.at, index_key);
    error = db_get(txn, DB_ANSWERS_BY_USER, span_of_bytes(index_key, INDEX_KEY_LEN), &len);
    *intact = error == STORE_OK && len.len == 8 &&
              get_little64((const unsigned char *)len.at) == (int64_t)record.answer_len;
    return STORE_OK;
}

/* ---- from schema version 3: the key was the day and the hash, and no user was stored ---- */

void idempotency_upgrade(struct txn *txn)
{
    enum { DAY_LEN = 8, VALUE_LEN_MIN = AT_ANSWER - AT_TIME + SEAL_OVERHEAD_LEN };
    MDB_dbi dbi;
    MDB_cursor *cursor;
    struct span key = {NULL, 0}, value = {NULL, 0};
    if (txn->error != STORE_OK || db_result(txn, mdb_dbi_open(txn->mdb, "repeats", 0, &dbi)) ||
        db_result(txn, mdb_cursor_open(txn->mdb, dbi, &cursor)))
        return;
    /* The newest first: an expired one may have the same hash. */
    while (db_cursor_get(txn, cursor, &key, &value, MDB_PREV) == STORE_OK) {
        unsigned char index_key[INDEX_KEY_LEN], len[8];
        struct span there;
        if (key.len != DAY_LEN + STORE_HASH_LEN || value.len < VALUE_LEN_MIN) {
            db_corrupt(txn);
            break;
        }
        make_index_key(0, get_little64((const unsigned char *)value.at), key.at + DAY_LEN,
                       index_key);
        MDB_val new_key = {STORE_HASH_LEN, index_key + INDEX_AT_HASH},
                new_value = {AT_TIME + value.len, NULL};
        if (db_get(txn, DB_ANSWERS, hash_key(new_key.mv_data), &there) == STORE_OK)
            continue;
        if (db_result(txn, mdb_put(txn->mdb, txn->store->dbis[DB_ANSWERS], &new_key, &new_value,
                                   MDB_RESERVE)) != STORE_OK)
            break;
        memset(new_value.mv_data, 0, AT_TIME);
        memcpy((char *)new_value.mv_data + AT_TIME, value.at, value.len);
        put_little64(len, (int64_t)(value.len - VALUE_LEN_MIN));
        db_put(txn, DB_ANSWERS_BY_USER, span_of_bytes(index_key, INDEX_KEY_LEN),
               span_of_bytes(len, sizeof(len)), MDB_NOOVERWRITE);
    }
    mdb_cursor_close(cursor);
    if (txn->error == STORE_OK)
        db_result(txn, mdb_drop(txn->mdb, dbi, 1));
}
