/* Verification of a store, by LMDB's API: each record, each index in both directions, the counters,
 * the list of free pages. A cycle in damaged pages would repeat keys: it ends where they are no
 * longer in order. */

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/text.h"
#include "store/lmdb/engine.h"
#include "store/lmdb/ids.h"
#include "store/lmdb/lookup.h"
#include "store/lmdb/write.h"

/* Items of one size, as many as there are. */
struct items {
    char *at;
    size_t count, size;
};

/* The units that a reservation has taken. */
struct reserved {
    int64_t user_id, token_id, amount;
};

struct check {
    struct txn *txn;
    store_report *report;
    void *context;
    uint64_t *found;
    int64_t next_user_id, next_token_id, next_gateway_id, next_reservation_id;
    uint64_t token_count, key_count;
    struct items token_ids;  /* int64_t, of all users: an id must not be there twice */
    struct items reserved;   /* struct reserved */
    struct items free_pages; /* int64_t */
};

/* Reports a problem of one entry: "token 7: its key can't be unsealed". */
__attribute__((format(printf, 4, 5))) static void report(struct check *check, const char *kind,
                                                         int64_t id, const char *format, ...)
{
    char line[256];
    int len = snprintf(line, sizeof(line), "%s %" PRId64 ": ", kind, id);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line + len, sizeof(line) - (size_t)len, format, arguments);
    va_end(arguments);
    ++*check->found;
    check->report(check->context, line);
}

/* Reports a problem of a database as such. */
static void report_database(struct check *check, const char *name, const char *problem)
{
    char line[256];
    snprintf(line, sizeof(line), "%s: %s", name, problem);
    ++*check->found;
    check->report(check->context, line);
}

/* Appends an item; without memory the check fails. */
static void add_item(struct check *check, struct items *items, const void *item, size_t item_len)
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

typedef void visit_entry(struct check *check, struct span key, struct span value);

static MDB_val val_of(struct span span)
{
    return (MDB_val){span.len, (void *)(uintptr_t)span.at};
}

static bool are_in_order(const struct check *check, MDB_dbi dbi, struct span before_key,
                         struct span before_value, struct span key, struct span value)
{
    MDB_val a = val_of(before_key), b = val_of(key);
    MDB_val x = val_of(before_value), y = val_of(value);
    int order = mdb_cmp(check->txn->mdb, dbi, &a, &b);
    /* Equal keys: a database with MDB_DUPSORT, whose values are in order. */
    return order < 0 || (order == 0 && x.mv_size == y.mv_size &&
                         dbi == check->txn->store->dbis[DB_IDS_BY_USER] &&
                         mdb_dcmp(check->txn->mdb, dbi, &x, &y) < 0);
}

/* Visits each entry of a database; name is for reports. */
static void each_entry(struct check *check, MDB_dbi dbi, const char *name, visit_entry *visit)
{
    struct span key = {NULL, 0}, value = {NULL, 0};
    MDB_cursor *cursor;
    if (check->txn->error != STORE_OK ||
        db_result(check->txn, mdb_cursor_open(check->txn->mdb, dbi, &cursor)) != STORE_OK)
        return;
    for (;;) {
        struct span before_key = key, before_value = value;
        if (db_cursor_get(check->txn, cursor, &key, &value, MDB_NEXT) != STORE_OK)
            break;
        if (before_key.at && !are_in_order(check, dbi, before_key, before_value, key, value)) {
            report_database(check, name, "its entries are not in order");
            break;
        }
        visit(check, key, value);
    }
    mdb_cursor_close(cursor);
}

/* An id that is a key; 0, which no counter gives out, where it is none. */
static int64_t id_of(struct span key)
{
    return key.len == ID_KEY_LEN ? get_big64((const unsigned char *)key.at) : 0;
}

static void check_counter(struct check *check, const char *kind, int64_t id, int64_t next)
{
    if (id < 1 || id >= next)
        report(check, kind, id, "is not below the next id %" PRId64, next);
}

/* ---- users and gateways ---- */

static void check_user(struct check *check, struct span key, struct span value)
{
    int64_t id = id_of(key);
    struct record_user user;
    if (!record_decode_user(id, value, &user))
        report(check, "user", id, "its record can't be read");
    else if (!text_is_utf8(user.name) || !text_is_utf8(user.group))
        report(check, "user", id, "its name or group is not UTF-8");
    check_counter(check, "user", id, check->next_user_id);
}

static void check_gateway(struct check *check, struct span key, struct span value)
{
    int64_t id = id_of(key);
    struct record_gateway gateway;
    if (!record_decode_gateway(id, value, &gateway))
        report(check, "gateway", id, "its record can't be read");
    check_counter(check, "gateway", id, check->next_gateway_id);
}

/* ---- tokens, and from each to the indexes ---- */

static void check_fields(struct check *check, const struct token *token)
{
    struct token_patch patch = {.fields = ~0U, .value = *token};
    struct validation_error error;
    if (!token_patch_check(&patch, &error))
        report(check, "token", token->id, "%.*s %s", (int)error.field.len, error.field.at,
               error.text);
    if (!text_is_utf8(token->name) || !text_is_utf8(token->group) ||
        !text_is_utf8(token->model_limits) || !text_is_utf8(token->allow_ips))
        report(check, "token", token->id, "a text is not UTF-8");
}

static void check_key(struct check *check, const struct token *token,
                      const unsigned char hash[static SEAL_HASH_LEN], int64_t until_unix_s)
{
    struct span record, key = {(const char *)hash, SEAL_HASH_LEN};
    struct record_key entry;
    check->key_count++;
    enum store_error error = db_get(check->txn, DB_TOKEN_BY_KEY, key, &record);
    if (error == STORE_NOT_FOUND ||
        (error == STORE_OK &&
         (!record_decode_key(hash, record, &entry) || entry.token_id != token->id ||
          entry.user_id != token->user_id || entry.until_unix_s != until_unix_s)))
        report(check, "token", token->id, "is not found by its %s",
               until_unix_s ? "old key" : "key");
}

static void check_indexes(struct check *check, const struct token *token,
                          const struct record_keys *keys)
{
    unsigned char hash[SEAL_HASH_LEN];
    if (ids_check(check->txn, token->user_id, token->id) == STORE_NOT_FOUND)
        report(check, "token", token->id, "is not in its user's index");
    seal_hash_key(check->txn->store->base.seal, token->key, hash);
    check_key(check, token, hash, 0);
    if (keys->has_old)
        check_key(check, token, keys->old_hash, keys->old_until_unix_s);
}

static void check_token(struct check *check, struct span key, struct span value)
{
    struct record_keys keys;
    struct span owner;
    check->token_count++;
    if (key.len != TOKEN_KEY_ID_LEN) {
        report_database(check, "tokens", "a key of another length");
        return;
    }
    const unsigned char *ids = (const unsigned char *)key.at;
    struct token token = {.user_id = get_big64(ids), .id = get_big64(ids + 8)};
    check_counter(check, "token", token.id, check->next_token_id);
    add_item(check, &check->token_ids, &token.id, sizeof(token.id));
    if (db_get(check->txn, DB_USERS, ID_KEY(token.user_id), &owner) == STORE_NOT_FOUND)
        report(check, "token", token.id, "its user %" PRId64 " does not exist", token.user_id);
    if (!record_decode_token(value, &token, &keys)) {
        report(check, "token", token.id, "its record can't be read");
        return;
    }
    check_fields(check, &token);
    if (!unseal_key(check->txn->store->base.seal, token.user_id, token.id, keys.sealed,
                    token.key)) {
        report(check, "token", token.id, "its key can't be unsealed");
        return;
    }
    if (!token_key_is_well_formed((struct span){token.key, sizeof(token.key)}))
        report(check, "token", token.id, "its key is not well formed");
    check_indexes(check, &token, &keys);
    explicit_bzero(token.key, sizeof(token.key));
}

static int compare_ids(const void *left, const void *right)
{
    const int64_t *a = left, *b = right;
    return (*a > *b) - (*a < *b);
}

/* Reports what is there twice. */
static void check_twice(struct check *check, struct items *items, const char *what)
{
    if (items->count > 0)
        qsort(items->at, items->count, sizeof(int64_t), compare_ids);
    const int64_t *ids = (const int64_t *)(const void *)items->at;
    for (size_t i = 1; i < items->count; i++)
        if (ids[i] == ids[i - 1])
            report(check, what, ids[i], "exists twice");
}

/* ---- from the indexes to the tokens ---- */

static void check_leads_to_token(struct check *check, const char *index, int64_t user_id,
                                 int64_t token_id)
{
    struct span record;
    if (db_get(check->txn, DB_TOKENS, TOKEN_ID_KEY(user_id, token_id), &record) == STORE_NOT_FOUND)
        report(check, "token", token_id, "does not exist for user %" PRId64 ", but %s leads to it",
               user_id, index);
}

static void check_id_entry(struct check *check, struct span key, struct span value)
{
    int64_t id;
    if (key.len != ID_KEY_LEN || value.len != sizeof(id)) {
        report_database(check, "ids_by_user", "an entry of another length");
        return;
    }
    memcpy(&id, value.at, sizeof(id));
    check_leads_to_token(check, "ids_by_user", id_of(key), id);
}

static void check_key_entry(struct check *check, struct span key, struct span value)
{
    struct record_key entry;
    if (key.len != SEAL_HASH_LEN ||
        !record_decode_key((const unsigned char *)key.at, value, &entry))
        report_database(check, "token_by_key", "an entry that can't be read");
    else
        check_leads_to_token(check, "token_by_key", entry.user_id, entry.token_id);
}

/* ---- reservations and idempotency records ---- */

static void check_reservation(struct check *check, struct span key, struct span value)
{
    int64_t id = id_of(key);
    struct record_reservation record;
    check_counter(check, "reservation", id, check->next_reservation_id);
    if (!record_decode_reservation(id, value, &record)) {
        report(check, "reservation", id, "its record can't be read");
        return;
    }
    const struct token_reservation *units = &record.units;
    if (units->reserved < 0 || units->amount < 0 || units->shortfall < 0)
        report(check, "reservation", id, "has an amount below 0");
    struct reserved reserved = {record.user_id, record.token_id,
                                record.ended ? units->amount : units->reserved};
    add_item(check, &check->reserved, &reserved, sizeof(reserved));
}

static int compare_reserved(const void *left, const void *right)
{
    const struct reserved *a = left, *b = right;
    if (a->user_id != b->user_id)
        return a->user_id < b->user_id ? -1 : 1;
    return compare_ids(&a->token_id, &b->token_id);
}

/* What the reservations of a token have taken is part of what it has used. */
static void check_reserved(struct check *check)
{
    const struct reserved *reserved = (const struct reserved *)(const void *)check->reserved.at;
    size_t count = check->reserved.count;
    if (count > 0)
        qsort(check->reserved.at, count, sizeof(*reserved), compare_reserved);
    for (size_t i = 0, next; i < count; i = next) {
        struct token token;
        struct record_keys keys;
        int64_t sum = 0;
        bool overflow = false;
        for (next = i; next < count && compare_reserved(&reserved[i], &reserved[next]) == 0; next++)
            overflow |= __builtin_add_overflow(sum, reserved[next].amount, &sum);
        struct span record;
        token.user_id = reserved[i].user_id;
        token.id = reserved[i].token_id;
        if (db_get(check->txn, DB_TOKENS, TOKEN_ID_KEY(token.user_id, token.id), &record) ==
                STORE_OK &&
            record_decode_token(record, &token, &keys) && (overflow || sum > token.used_quota))
            report(check, "token", token.id, "its reservations took more than it has used");
    }
}

static void check_idempotency(struct check *check, struct span key, struct span value)
{
    bool intact;
    enum store_error error = idempotency_check(check->txn, key, value, &intact);
    if (error != STORE_OK)
        db_result(check->txn, ENOMEM);
    else if (!intact)
        report_database(check, "repeats", "an answer that can't be unsealed");
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
        db_result(check->txn, mdb_env_info(check->txn->store->env, &info)) != STORE_OK) {
        report_database(check, "free list", "an entry is damaged");
        return;
    }
    memcpy(&txn_id, key.at, sizeof(txn_id));
    if (txn_id > mdb_txn_id(check->txn->mdb))
        report_database(check, "free list", "an entry of a transaction to come");
    for (int64_t i = 1; i <= get_little64(bytes); i++) {
        int64_t page = get_little64(bytes + i * 8);
        if (page < 2 || (uint64_t)page > info.me_last_pgno)
            report(check, "free page", page, "does not exist");
        add_item(check, &check->free_pages, &page, sizeof(page));
    }
}

/* ---- all of it ---- */

static void read_counters(struct check *check)
{
    const struct {
        const char *name;
        int64_t *next;
    } counters[] = {{META_NEXT_USER_ID, &check->next_user_id},
                    {META_NEXT_TOKEN_ID, &check->next_token_id},
                    {META_NEXT_GATEWAY_ID, &check->next_gateway_id},
                    {META_NEXT_RESERVATION_ID, &check->next_reservation_id}};
    for (size_t i = 0; i < sizeof(counters) / sizeof(counters[0]); i++) {
        enum store_error error = meta_get(check->txn, counters[i].name, counters[i].next);
        if (error == STORE_CORRUPT || (error == STORE_OK && *counters[i].next < 1)) {
            report_database(check, counters[i].name, "the counter can't be read");
            *counters[i].next = INT64_MAX; /* nothing more is reported about it */
            check->txn->error = STORE_OK;
        }
    }
}

/* Each token was found in each index: with as many entries there are no others. */
static void check_count(struct check *check, enum database database, const char *name,
                        uint64_t expected)
{
    char problem[64];
    MDB_stat stat;
    if (check->txn->error != STORE_OK ||
        db_result(check->txn, mdb_stat(check->txn->mdb, check->txn->store->dbis[database],
                                       &stat)) != STORE_OK ||
        stat.ms_entries == expected)
        return;
    snprintf(problem, sizeof(problem), "%zu entries instead of %" PRIu64, stat.ms_entries,
             expected);
    report_database(check, name, problem);
}

static void check_all(struct check *check)
{
    enum { FREE_LIST = 0 };
    static const struct {
        enum database database;
        const char *name;
        visit_entry *visit;
    } passes[] = {{DB_USERS, "users", check_user},
                  {DB_TOKENS, "tokens", check_token},
                  {DB_IDS_BY_USER, "ids_by_user", check_id_entry},
                  {DB_TOKEN_BY_KEY, "token_by_key", check_key_entry},
                  {DB_GATEWAYS, "gateways", check_gateway},
                  {DB_RESERVATIONS, "reservations", check_reservation},
                  {DB_IDEMPOTENCY, "repeats", check_idempotency}};
    read_counters(check);
    for (size_t i = 0; i < sizeof(passes) / sizeof(passes[0]); i++)
        each_entry(check, check->txn->store->dbis[passes[i].database], passes[i].name,
                   passes[i].visit);
    each_entry(check, FREE_LIST, "free list", check_free_entry);
    check_count(check, DB_TOKENS, "tokens", check->token_count);
    check_count(check, DB_IDS_BY_USER, "ids_by_user", check->token_count);
    check_count(check, DB_TOKEN_BY_KEY, "token_by_key", check->key_count);
    check_twice(check, &check->token_ids, "token");
    check_twice(check, &check->free_pages, "free page");
    check_reserved(check);
}

enum store_error lmdb_check(struct store_reader *reader, store_report *report_line, void *context,
                            uint64_t *found)
{
    struct txn *txn = read_begin(reader);
    struct check check = {.txn = txn, .report = report_line, .context = context, .found = found};
    if (txn->error == STORE_OK)
        check_all(&check);
    enum store_error error = txn->error;
    read_end(txn);
    free(check.token_ids.at);
    free(check.reserved.at);
    free(check.free_pages.at);
    return error;
}
