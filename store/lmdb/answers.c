/* DB_ANSWERS maps the hash of the idempotency key to the user, the store's time, the hash of the
 * request and the sealed answer (it may hold a token's key). DB_ANSWERS_BY_USER maps user, time and
 * that hash to the answer's length: what is kept for a user, and what expires first. */

#include "store/lmdb/answers.h"

#include "store/lmdb/clock.h"

enum {
    AT_TIME = 8, /* behind the user */
    AT_REQUEST = AT_TIME + 8,
    AT_ANSWER = AT_REQUEST + STORE_HASH_LEN,
    INDEX_AT_HASH = 16,
    INDEX_KEY_LEN = INDEX_AT_HASH + STORE_HASH_LEN
};

static struct span hash_key(const void *hash)
{
    return span_of_bytes(hash, STORE_HASH_LEN);
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

static bool decode(struct span value, struct record_answer *answer)
{
    const unsigned char *bytes = (const unsigned char *)value.at;
    if (value.len < AT_ANSWER + SEAL_OVERHEAD_LEN)
        return false;
    answer->user_id = get_little64(bytes);
    answer->created_s = get_little64(bytes + AT_TIME);
    memcpy(answer->request_hash, bytes + AT_REQUEST, STORE_HASH_LEN);
    answer->sealed = span_from(value, AT_ANSWER);
    return true;
}

/* ---- rows ---- */

enum store_error answers_get(struct store_txn *txn,
                             const unsigned char key_hash[static STORE_HASH_LEN],
                             struct record_answer *answer)
{
    struct span value;
    enum store_error error = db_get(txn, DB_ANSWERS, hash_key(key_hash), &value);
    return error == STORE_OK && !decode(value, answer) ? db_corrupt(txn) : error;
}

static void put_indexed(struct store_txn *txn, int64_t user_id, int64_t time_s, const void *hash,
                        size_t answer_len)
{
    unsigned char index_key[INDEX_KEY_LEN], len[8];
    put_little64(len, (int64_t)answer_len);
    db_put(txn, DB_ANSWERS_BY_USER, make_index_key(user_id, time_s, hash, index_key),
           span_of_bytes(len, sizeof(len)), MDB_NOOVERWRITE);
}

void answers_put(struct store_txn *txn, const unsigned char key_hash[static STORE_HASH_LEN],
                 const struct record_answer *answer)
{
    unsigned char *value =
        db_reserve(txn, DB_ANSWERS, hash_key(key_hash), AT_ANSWER + answer->sealed.len);
    if (!value)
        return;
    put_little64(value, answer->user_id);
    put_little64(value + AT_TIME, answer->created_s);
    memcpy(value + AT_REQUEST, answer->request_hash, STORE_HASH_LEN);
    memcpy(value + AT_ANSWER, answer->sealed.at, answer->sealed.len);
    put_indexed(txn, answer->user_id, answer->created_s, key_hash,
                answer->sealed.len - SEAL_OVERHEAD_LEN);
}

/* Deletes a record and its entry in the index, which the key is of. If one of them is missing,
 * purges go on nevertheless: check reports it. */
static void delete_record(struct store_txn *txn, struct span index_key)
{
    db_delete(txn, DB_ANSWERS, hash_key(index_key.at + INDEX_AT_HASH));
    db_delete(txn, DB_ANSWERS_BY_USER, index_key);
}

void answers_delete(struct store_txn *txn, const unsigned char key_hash[static STORE_HASH_LEN],
                    const struct record_answer *answer)
{
    unsigned char bytes[INDEX_KEY_LEN];
    delete_record(txn, make_index_key(answer->user_id, answer->created_s, key_hash, bytes));
}

void answers_get_kept(struct store_txn *txn, int64_t user_id, struct store_kept *kept)
{
    unsigned char first[INDEX_KEY_LEN];
    struct span value = {NULL, 0},
                key = make_index_key(user_id, clock_now(txn) - STORE_IDEMPOTENCY_S + 1, no_hash,
                                     first);
    MDB_cursor *cursor = db_cursor_open(txn, DB_ANSWERS_BY_USER);
    if (!cursor)
        return;
    for (MDB_cursor_op op = MDB_SET_RANGE; db_cursor_get(txn, cursor, &key, &value, op) == STORE_OK;
         op = MDB_NEXT) {
        if (key.len != INDEX_KEY_LEN || value.len != 8) {
            db_corrupt(txn);
            break;
        }
        if (memcmp(key.at, first, 8) != 0)
            break;
        if (kept->count++ == 0)
            kept->oldest_s = get_big64((const unsigned char *)key.at + 8);
        kept->len += (uint64_t)get_little64((const unsigned char *)value.at);
    }
    mdb_cursor_close(cursor);
}

/* ---- purging ---- */

/* Purges records from a user on: that user's all, or else expired ones; looks at max in all.
 * Returns whether others are left; *user_id is then where to go on. */
static bool purge_from(struct store_txn *txn, int64_t *user_id, bool all, size_t max,
                       uint64_t *count)
{
    int64_t now_s = clock_now(txn);
    for (size_t i = 0; i < max; i++) {
        unsigned char bytes[INDEX_KEY_LEN];
        struct span value = {NULL, 0}, key = make_index_key(*user_id, 0, no_hash, bytes);
        enum store_error error = db_seek(txn, DB_ANSWERS_BY_USER, &key, &value, MDB_SET_RANGE);
        if (error == STORE_OK && key.len != INDEX_KEY_LEN)
            error = db_corrupt(txn);
        if (error != STORE_OK)
            return false;
        memcpy(bytes, key.at, INDEX_KEY_LEN); /* it moves when it is deleted */
        int64_t found_id = get_big64(bytes);
        bool expired = now_s - get_big64(bytes + 8) >= STORE_IDEMPOTENCY_S;
        if (all && found_id != *user_id)
            return false;
        *user_id = found_id;
        if (all || expired) {
            delete_record(txn, span_of_bytes(bytes, INDEX_KEY_LEN));
            ++*count;
        } else {
            ++*user_id;
        }
    }
    return true;
}

bool answers_purge(struct store_txn *txn, size_t max)
{
    uint64_t count = 0;
    int64_t *user_id = &lmdb_of(txn)->store->purged_user_id;
    bool more = purge_from(txn, user_id, false, max, &count);
    if (!more)
        *user_id = 0;
    return more;
}

enum store_error answers_forget(struct store_txn *txn, struct store_write *write)
{
    int64_t user_id = write->user_id;
    write->step.count = 0;
    write->step.more = purge_from(txn, &user_id, true, write->step.max, &write->step.count);
    return txn->error;
}

/* ---- checking ---- */

enum store_error answers_check(struct store_txn *txn, struct span key, struct span value,
                               bool *intact)
{
    struct store_idempotency unsealed = {.answer = NULL};
    struct record_answer answer;
    unsigned char bytes[INDEX_KEY_LEN];
    struct span len;
    *intact = false;
    if (key.len != STORE_HASH_LEN || !decode(value, &answer))
        return STORE_OK;
    enum store_error error =
        store_unseal_answer(txn->seal, (const unsigned char *)key.at, &answer, &unsealed);
    store_idempotency_clear(&unsealed);
    if (error != STORE_OK)
        return error == STORE_CORRUPT ? STORE_OK : error;
    error = db_get(txn, DB_ANSWERS_BY_USER,
                   make_index_key(answer.user_id, answer.created_s, key.at, bytes), &len);
    *intact = error == STORE_OK && len.len == 8 &&
              get_little64((const unsigned char *)len.at) == (int64_t)unsealed.answer_len;
    return STORE_OK;
}

/* ---- from schema version 3: the key was the day and the hash, and no user was stored ---- */

void answers_upgrade(struct store_txn *txn)
{
    enum { DAY_LEN = 8, VALUE_LEN_MIN = AT_ANSWER - AT_TIME + SEAL_OVERHEAD_LEN };
    MDB_dbi dbi;
    MDB_cursor *cursor;
    struct span key = {NULL, 0}, value = {NULL, 0}, there;
    MDB_txn *mdb = lmdb_of(txn)->mdb;
    if (txn->error != STORE_OK || db_result(txn, mdb_dbi_open(mdb, "repeats", 0, &dbi)) ||
        db_result(txn, mdb_cursor_open(mdb, dbi, &cursor)))
        return;
    /* The newest first: an expired one may have the same hash. */
    while (db_cursor_get(txn, cursor, &key, &value, MDB_PREV) == STORE_OK) {
        const char *hash = key.at + DAY_LEN;
        if (key.len != DAY_LEN + STORE_HASH_LEN || value.len < VALUE_LEN_MIN)
            db_corrupt(txn);
        else if (db_get(txn, DB_ANSWERS, hash_key(hash), &there) == STORE_NOT_FOUND) {
            unsigned char *new_value =
                db_reserve(txn, DB_ANSWERS, hash_key(hash), AT_TIME + value.len);
            if (!new_value)
                break;
            memset(new_value, 0, AT_TIME);
            memcpy(new_value + AT_TIME, value.at, value.len);
            put_indexed(txn, 0, get_little64((const unsigned char *)value.at), hash,
                        value.len - VALUE_LEN_MIN);
        }
    }
    mdb_cursor_close(cursor);
    if (txn->error == STORE_OK)
        db_result(txn, mdb_drop(mdb, dbi, 1));
}
