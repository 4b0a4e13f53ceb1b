/* Verification of a store, by LMDB's API: each record, each index in both directions, the counters,
 * the list of free pages. A cycle in damaged pages would repeat keys: it ends where they are no
 * longer in order. */

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/text.h"
#include "store/lmdb/answers.h"
#include "store/lmdb/check.h"
#include "store/lmdb/clock.h"
#include "store/lmdb/engine.h"
#include "store/lmdb/ids.h"
#include "store/lmdb/lookup.h"
#include "store/lmdb/rotation.h"

void check_report(struct check *check, const char *format, ...)
{
    char line[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof(line), format, arguments);
    va_end(arguments);
    ++check->found;
    check->report(check->context, line);
}

void check_add_item(struct check *check, struct items *items, const void *item, size_t item_len)
{
    if (items->count == items->size) {
        size_t size = items->size ? items->size * 2 : 1024;
        char *at = reallocarray(items->at, size, item_len);
        if (!at) {
            db_result(check->txn, ENOMEM);
            return;
        }
        items->at = at;
        items->size = size;
    }
    memcpy(items->at + items->count++ * item_len, item, item_len);
}

/* ---- entries ---- */

/* Whether an entry comes after the one before it. */
static bool is_after(const struct check *check, enum database database, struct span key[2],
                     struct span value[2])
{
    MDB_dbi dbi = lmdb_of(check->txn)->store->dbis[database];
    MDB_val keys[] = {db_val(key[0]), db_val(key[1])};
    MDB_val values[] = {db_val(value[0]), db_val(value[1])};
    int order = mdb_cmp(lmdb_of(check->txn)->mdb, dbi, &keys[0], &keys[1]);
    /* Equal keys: a database with MDB_DUPSORT, whose values are in order. */
    return order < 0 || (order == 0 && database == DB_IDS_BY_USER && value[0].len == value[1].len &&
                         mdb_dcmp(lmdb_of(check->txn)->mdb, dbi, &values[0], &values[1]) < 0);
}

/* Visits each entry of a database; name is for reports. */
static void each_entry(struct check *check, enum database database, const char *name,
                       check_entry *visit)
{
    struct span key[2] = {{NULL, 0}, {NULL, 0}}, value[2] = {{NULL, 0}, {NULL, 0}};
    MDB_cursor *cursor = db_cursor_open(check->txn, database);
    while (cursor && db_cursor_get(check->txn, cursor, &key[1], &value[1], MDB_NEXT) == STORE_OK) {
        if (key[0].at && !is_after(check, database, key, value)) {
            check_report(check, "%s: its entries are not in order", name);
            break;
        }
        visit(check, key[1], value[1]);
        key[0] = key[1];
        value[0] = value[1];
    }
    if (cursor)
        mdb_cursor_close(cursor);
}

/* By enum store_ids. */
static const char *const kinds[STORE_IDS_COUNT] = {"user", "token", "gateway", "reservation"};

void check_counter(struct check *check, enum store_ids kind, int64_t id)
{
    if (id < 1 || id >= check->next[kind])
        check_report(check, "%s %" PRId64 ": is not below the next id %" PRId64, kinds[kind], id,
                     check->next[kind]);
}

/* ---- users and gateways ---- */

static void check_user_index(struct check *check, int64_t id, const struct record_user *user)
{
    struct store_txn *txn = check->txn;
    struct record_user found;
    int64_t by_access = 0, by_name = 0;
    bool has_access = record_user_has_access(user);
    check->user_entries += has_access ? 2 : 1;
    if (has_access && lookup_access(txn, user->access_hash, &by_access, &found) == STORE_CORRUPT)
        txn->error = STORE_OK; /* reported here */
    if (lookup_name(txn, user->name, &by_name) == STORE_CORRUPT)
        txn->error = STORE_OK;
    if (has_access && by_access != id)
        check_report(check, "user %" PRId64 ": is not found by its access token", id);
    else if (by_name != id)
        check_report(check, "user %" PRId64 ": is not found by its name", id);
}

static void check_user(struct check *check, struct span key, struct span value)
{
    int64_t id = check_id_of(key);
    struct record_user user;
    if (!record_decode_user(id, value, &user))
        check_report(check, "user %" PRId64 ": its record can't be read", id);
    else if (!text_is_utf8(user.name) || !text_is_utf8(user.group))
        check_report(check, "user %" PRId64 ": its name or group is not UTF-8", id);
    else if (record_user_problem(&user))
        check_report(check, "user %" PRId64 ": %s", id, record_user_problem(&user));
    else if (!user.deleted) {
        check_user_index(check, id, &user);
        check_user_use(check, id, &user);
    }
    check_counter(check, STORE_IDS_USER, id);
}

static void check_gateway(struct check *check, struct span key, struct span value)
{
    int64_t id = check_id_of(key);
    struct record_gateway gateway;
    if (!record_decode_gateway(id, value, &gateway))
        check_report(check, "gateway %" PRId64 ": its record can't be read", id);
    check_counter(check, STORE_IDS_GATEWAY, id);
}

/* ---- tokens, and from each to the indexes ---- */

static void check_fields(struct check *check, const struct token *token)
{
    struct token_patch patch = {.fields = ~0U, .value = *token};
    struct validation_error error;
    if (!token_patch_check(&patch, &error))
        check_report(check, "token %" PRId64 ": %.*s %s", token->id, (int)error.field.len,
                     error.field.at, error.text);
    bool is_utf8 = true;
    for (size_t i = 0; i < TOKEN_FIELD_COUNT; i++)
        if (token_field_is_text(&token_field_rules[i]))
            is_utf8 &= text_is_utf8(token_field_text(&token_field_rules[i], token));
    if (!is_utf8)
        check_report(check, "token %" PRId64 ": a text is not UTF-8", token->id);
}

static void check_key(struct check *check, const struct token *token,
                      const unsigned char hash[static SEAL_HASH_LEN], int64_t until_unix_s)
{
    struct span record;
    struct record_key entry;
    check->key_count++;
    enum store_error error =
        db_get(check->txn, DB_TOKEN_BY_KEY, span_of_bytes(hash, SEAL_HASH_LEN), &record);
    if (error == STORE_NOT_FOUND ||
        (error == STORE_OK &&
         (!record_decode_key(hash, record, &entry) || entry.token_id != token->id ||
          entry.user_id != token->user_id || entry.until_unix_s != until_unix_s)))
        check_report(check, "token %" PRId64 ": is not found by its %s", token->id,
                     until_unix_s ? "old key" : "key");
}

/* All of a token is under one secret. */
static void check_indexes(struct check *check, const struct token *token,
                          const struct record_keys *keys, const struct seal_secret *secret)
{
    unsigned char hash[SEAL_HASH_LEN];
    char old_key[TOKEN_KEY_SIZE];
    if (ids_check(check->txn, DB_IDS_BY_USER, token->user_id, token->id) == STORE_NOT_FOUND)
        check_report(check, "token %" PRId64 ": is not in its user's index", token->id);
    seal_hash_key_with(secret, token->key, hash);
    check_key(check, token, hash, 0);
    if (keys->has_old)
        check_key(check, token, keys->old_hash, keys->old_until_unix_s);
    if (keys->old_sealed.len > 0 && unseal_key(check->txn->seal, token->user_id, token->id,
                                               keys->old_sealed, old_key) != secret)
        check_report(check, "token %" PRId64 ": its old key can't be unsealed", token->id);
    explicit_bzero(old_key, sizeof(old_key));
}

static void check_token(struct check *check, struct span key, struct span value)
{
    struct record_keys keys;
    struct span owner;
    check->token_count++;
    if (key.len != TOKEN_KEY_ID_LEN) {
        check_report(check, "tokens: a key of another length");
        return;
    }
    const unsigned char *ids = (const unsigned char *)key.at;
    struct token token = {.user_id = get_big64(ids), .id = get_big64(ids + 8)};
    check_counter(check, STORE_IDS_TOKEN, token.id);
    check_add_item(check, &check->token_ids, &token.id, sizeof(token.id));
    if (db_get(check->txn, DB_USERS, ID_KEY(token.user_id), &owner) == STORE_NOT_FOUND)
        check_report(check, "token %" PRId64 ": its user %" PRId64 " does not exist", token.id,
                     token.user_id);
    if (!record_decode_token(value, &token, &keys)) {
        check_report(check, "token %" PRId64 ": its record can't be read", token.id);
        return;
    }
    check_fields(check, &token);
    check_token_use(check, &token);
    const struct seal_secret *secret =
        unseal_key(check->txn->seal, token.user_id, token.id, keys.sealed, token.key);
    if (!secret) {
        check_report(check, "token %" PRId64 ": its key can't be unsealed", token.id);
        return;
    }
    if (!check->foreign_keys && token_key_form(span_of(token.key)) != TOKEN_KEY_OWN)
        check_report(check, "token %" PRId64 ": its key is not well formed", token.id);
    check_indexes(check, &token, &keys, secret);
    explicit_bzero(token.key, strlen(token.key));
}

/* Reports what is there twice. */
static void check_twice(struct check *check, struct items *items, const char *what)
{
    if (items->count > 0)
        qsort(items->at, items->count, sizeof(int64_t), store_compare_ids);
    const int64_t *ids = (const int64_t *)(const void *)items->at;
    for (size_t i = 1; i < items->count; i++)
        if (ids[i] == ids[i - 1])
            check_report(check, "%s %" PRId64 ": exists twice", what, ids[i]);
}

/* ---- from the indexes to the tokens ---- */

static void check_leads_to_token(struct check *check, const char *index, int64_t user_id,
                                 int64_t token_id)
{
    struct span record;
    if (db_get(check->txn, DB_TOKENS, TOKEN_ID_KEY(user_id, token_id), &record) == STORE_NOT_FOUND)
        check_report(check,
                     "token %" PRId64 ": does not exist for user %" PRId64 ", but %s leads to it",
                     token_id, user_id, index);
}

static void check_id_entry(struct check *check, struct span key, struct span value)
{
    int64_t id;
    if (key.len != ID_KEY_LEN || value.len != sizeof(id)) {
        check_report(check, "ids_by_user: an entry of another length");
        return;
    }
    memcpy(&id, value.at, sizeof(id));
    check_leads_to_token(check, "ids_by_user", check_id_of(key), id);
}

static void check_key_entry(struct check *check, struct span key, struct span value)
{
    struct record_key entry;
    if (key.len != SEAL_HASH_LEN ||
        !record_decode_key((const unsigned char *)key.at, value, &entry))
        check_report(check, "token_by_key: an entry that can't be read");
    else
        check_leads_to_token(check, "token_by_key", entry.user_id, entry.token_id);
}

/* ---- idempotency records ---- */

static void check_idempotency(struct check *check, struct span key, struct span value)
{
    bool intact;
    check->answer_count++;
    enum store_error error = answers_check(check->txn, key, value, &intact);
    if (error != STORE_OK)
        db_result(check->txn, ENOMEM);
    else if (!intact)
        check_report(check, "answers: one that can't be unsealed or is not in its index");
}

/* ---- the list of free pages: LMDB's database 0 ---- */

/* An entry: under a transaction's number, the count of pages that it has freed and their numbers.
 */
static void check_free_entry(struct check *check, struct span key, struct span value)
{
    const unsigned char *bytes = (const unsigned char *)value.at;
    MDB_envinfo info;
    uint64_t txn_id;
    if (key.len != sizeof(txn_id) || value.len < 8 ||
        (uint64_t)get_little64(bytes) > value.len / 8 - 1 ||
        db_result(check->txn, mdb_env_info(lmdb_of(check->txn)->store->env, &info)) != STORE_OK) {
        check_report(check, "free list: an entry is damaged");
        return;
    }
    memcpy(&txn_id, key.at, sizeof(txn_id));
    if (txn_id > mdb_txn_id(lmdb_of(check->txn)->mdb))
        check_report(check, "free list: an entry of a transaction to come");
    for (int64_t i = 1; i <= get_little64(bytes); i++) {
        int64_t page = get_little64(bytes + i * 8);
        if (page < 2 || (uint64_t)page > info.me_last_pgno)
            check_report(check, "free page %" PRId64 ": does not exist", page);
        check_add_item(check, &check->free_pages, &page, sizeof(page));
    }
}

/* ---- all of it ---- */

/* What has just been read of meta. The check goes on. */
static void report_meta(struct check *check, const char *name)
{
    if (check->txn->error != STORE_CORRUPT)
        return;
    check_report(check, "%s: can't be read", name);
    check->txn->error = STORE_OK;
}

static void read_meta(struct check *check)
{
    struct seal_rotation rotation;
    int64_t groups_checked;
    meta_get(check->txn, META_GROUPS, &groups_checked);
    report_meta(check, META_GROUPS);
    meta_get(check->txn, META_FOREIGN_KEYS, &check->foreign_keys);
    report_meta(check, META_FOREIGN_KEYS);
    rotation_get(check->txn, &rotation);
    report_meta(check, META_ROTATION);
    clock_read(check->txn);
    report_meta(check, META_TIME);
}

static void read_counters(struct check *check)
{
    for (size_t i = 0; i < STORE_IDS_COUNT; i++) {
        enum store_error error = meta_get(check->txn, meta_counters[i], &check->next[i]);
        if (error == STORE_CORRUPT || (error == STORE_OK && check->next[i] < 1)) {
            check_report(check, "%s: the counter can't be read", meta_counters[i]);
            check->next[i] = INT64_MAX; /* nothing more is reported about it */
            check->txn->error = STORE_OK;
        }
    }
}

/* Each record was found in each of its indexes: with as many entries they have no others. */
static void check_counts(struct check *check)
{
    const struct {
        enum database database;
        const char *name;
        uint64_t expected;
    } counts[] = {{DB_USER_INDEX, "user_index", check->user_entries},
                  {DB_TOKENS, "tokens", check->token_count},
                  {DB_IDS_BY_USER, "ids_by_user", check->token_count},
                  {DB_TOKEN_BY_KEY, "token_by_key", check->key_count},
                  {DB_ANSWERS_BY_USER, "answers_by_user", check->answer_count},
                  {DB_RESERVATIONS_BY_USER, "reservations_by_user", check->reservation_count},
                  {DB_RESERVATIONS_BY_TOKEN, "reservations_by_token", check->open_count},
                  {DB_AUDIT_BY_USER, "audit_by_user", check->audit_count}};
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        uint64_t count = db_count(check->txn, counts[i].database);
        if (check->txn->error == STORE_OK && count != counts[i].expected)
            check_report(check, "%s: %" PRIu64 " entries instead of %" PRIu64, counts[i].name,
                         count, counts[i].expected);
    }
}

static void check_all(struct check *check)
{
    static const struct {
        enum database database;
        const char *name;
        check_entry *visit;
    } passes[] = {{DB_USERS, "users", check_user},
                  {DB_TOKENS, "tokens", check_token},
                  {DB_IDS_BY_USER, "ids_by_user", check_id_entry},
                  {DB_TOKEN_BY_KEY, "token_by_key", check_key_entry},
                  {DB_GATEWAYS, "gateways", check_gateway},
                  {DB_RESERVATIONS, "reservations", check_reservation},
                  {DB_ANSWERS, "answers", check_idempotency},
                  {DB_GROUPS, "groups", check_group},
                  {DB_GRANTS, "grants", check_grant},
                  {DB_MODELS, "models", check_model},
                  {DB_USAGE, "usage", check_usage},
                  {DB_AUDIT, "audit", check_audit},
                  {DB_AUDIT_RECENT, "databases", check_recent},
                  {DB_FREE_LIST, "free list", check_free_entry}};
    read_counters(check);
    read_meta(check);
    for (size_t i = 0; i < sizeof(passes) / sizeof(passes[0]); i++)
        each_entry(check, passes[i].database, passes[i].name, passes[i].visit);
    check_counts(check);
    check_twice(check, &check->token_ids, "token");
    check_twice(check, &check->free_pages, "free page");
    check_users_end(check);
    check_usage_end(check);
    check_reservations_end(check);
}

enum store_error lmdb_check(struct store_reader *reader, store_report *report_line, void *context,
                            uint64_t *found)
{
    struct store_txn *txn = read_begin(reader);
    struct check check = {.txn = txn, .report = report_line, .context = context};
    if (txn->error == STORE_OK)
        check_all(&check);
    enum store_error error = txn->error;
    read_end(txn);
    *found = check.found;
    free(check.token_ids.at);
    free(check.reserved.at);
    free(check.owners.at);
    free(check.free_pages.at);
    return error;
}
