/* The rows of groups, grants, models and usage. */

#include "base/number.h"
#include "store/lmdb/lookup.h"
#include "store/lmdb/rows.h"

/* ---- groups and grants ---- */

/* A key of LMDB is never empty. */
enum store_error groups_get(struct store_txn *txn, struct span name, struct record_group *group)
{
    struct span record;
    enum store_error error =
        name.len == 0 ? STORE_NOT_FOUND : db_get(txn, DB_GROUPS, name, &record);
    return error == STORE_OK && !record_decode_group(name, record, group) ? db_corrupt(txn) : error;
}

bool groups_checked(struct store_txn *txn)
{
    int64_t checked;
    return db_count(txn, DB_GROUPS) > 0 && meta_get(txn, META_GROUPS, &checked) == STORE_OK &&
           checked != 0;
}

void groups_check(struct store_txn *txn, bool checked)
{
    meta_put(txn, META_GROUPS, checked);
}

void groups_put(struct store_txn *txn, struct span name, const struct record_group *group)
{
    unsigned char record[RECORD_GROUP_LEN_MAX];
    size_t len = record_encode_group(name, group, record);
    db_put(txn, DB_GROUPS, name, span_of_bytes(record, len), 0);
}

struct grant_key {
    unsigned char at[ID_KEY_LEN + TOKEN_GROUP_LEN_MAX];
};

static struct span make_grant_key(int64_t user_id, struct span group, struct grant_key *key)
{
    put_big64(key->at, user_id);
    memcpy(key->at + ID_KEY_LEN, group.at, group.len);
    return span_of_bytes(key->at, ID_KEY_LEN + group.len);
}

/* Looks at all grants: they are by user. */
enum store_error groups_delete(struct store_txn *txn, struct span name)
{
    unsigned char last[sizeof(struct grant_key) + 1];
    struct span key = ID_KEY(0), value = {NULL, 0};
    enum store_error error = name.len == 0 ? STORE_NOT_FOUND : db_delete(txn, DB_GROUPS, name);
    while (error == STORE_OK && db_seek(txn, DB_GRANTS, &key, &value, MDB_SET_RANGE) == STORE_OK) {
        if (key.len < ID_KEY_LEN || key.len >= sizeof(last))
            return db_corrupt(txn);
        memcpy(last, key.at, key.len); /* it moves when it is deleted */
        key = span_of_bytes(last, key.len);
        if (span_equal(span_from(key, ID_KEY_LEN), name))
            db_delete(txn, DB_GRANTS, key);
        last[key.len++] = '\0'; /* the next key */
    }
    return store_is_failure(txn->error) ? txn->error : error;
}

bool grants_has(struct store_txn *txn, int64_t user_id, struct span group)
{
    struct grant_key bytes;
    struct span value, key = make_grant_key(user_id, group, &bytes);
    if (db_get(txn, DB_GRANTS, key, &value) != STORE_OK)
        return false;
    return record_decode_entry(key, value) || db_corrupt(txn) == STORE_OK;
}

/* Puts an entry, or deletes it, where it is there. */
static void set_entry(struct store_txn *txn, enum database database, struct span key, bool is_there)
{
    if (is_there)
        entry_put(txn, database, key);
    else
        db_delete(txn, database, key);
}

void grants_put(struct store_txn *txn, int64_t user_id, struct span group, bool granted)
{
    struct grant_key key;
    set_entry(txn, DB_GRANTS, make_grant_key(user_id, group, &key), granted);
}

void models_put(struct store_txn *txn, struct span name, bool listed)
{
    set_entry(txn, DB_MODELS, name, listed);
}

/* ---- usage ---- */

static struct record_usage get_usage(struct store_txn *txn, struct span key)
{
    struct record_usage usage = {.units = 0};
    struct span record;
    if (db_get(txn, DB_USAGE, key, &record) == STORE_OK &&
        !record_decode_usage(key, record, &usage))
        db_corrupt(txn);
    return usage;
}

/* Only a new day makes the store larger. */
void usage_add(struct store_txn *txn, int64_t user_id, int64_t token_id, int64_t day, int64_t units,
               int64_t requests)
{
    enum { GROWTH = 256 };
    unsigned char record[RECORD_USAGE_LEN];
    struct span key = THREE_IDS_KEY(user_id, token_id, day);
    struct record_usage usage = get_usage(txn, key);
    if (usage.day == 0 && day != 0 && txn->error == STORE_OK && !txn_take_room(txn, GROWTH))
        store_txn_fail(txn, STORE_FULL);
    usage.units = number_add(usage.units, units);
    usage.requests = number_add(usage.requests, requests);
    size_t len = record_encode_usage(key, &usage, record);
    db_put(txn, DB_USAGE, key, span_of_bytes(record, len), 0);
}

void usage_fold(struct store_txn *txn, int64_t user_id, int64_t token_id, int64_t day)
{
    for (;;) {
        struct span value = {NULL, 0}, key = THREE_IDS_KEY(user_id, token_id, 1);
        struct record_usage usage = {.units = 0};
        if (db_seek(txn, DB_USAGE, &key, &value, MDB_SET_RANGE) != STORE_OK)
            return;
        if (!record_decode_usage(key, value, &usage))
            db_corrupt(txn);
        else if (usage.user_id != user_id || usage.token_id != token_id || usage.day >= day)
            return;
        db_delete(txn, DB_USAGE, THREE_IDS_KEY(user_id, token_id, usage.day));
        usage_add(txn, user_id, token_id, 0, usage.units, usage.requests);
    }
}

void usage_delete(struct store_txn *txn, int64_t user_id, int64_t token_id)
{
    db_delete_all(txn, DB_USAGE, TOKEN_ID_KEY(user_id, token_id));
}
