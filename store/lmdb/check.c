/* Verification of a whole store. */

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "store/lmdb/engine.h"
#include "store/lmdb/file.h"
#include "store/lmdb/ids.h"
#include "store/lmdb/lookup.h"
#include "store/lmdb/idempotency.h"
#include "base/text.h"

/* What a reservation has taken of a token's used_quota. */
struct reserved {
    int64_t user_id, token_id, amount;
};

struct check {
    struct store_reader *reader;
    const struct store *store;
    MDB_txn *txn;
    store_report *report;
    void *context;
    uint64_t found;
    int64_t next_user_id, next_token_id, next_gateway_id, next_reservation_id;
    uint64_t token_count, old_key_count;
    int64_t *token_ids; /* of all users, to see whether one is there twice */
    size_t token_id_count, token_id_size;
    struct reserved *reserved; /* what reservations have taken */
    size_t reserved_count, reserved_size;
};

__attribute__((format(printf, 2, 3))) static void found(struct check *check, const char *format,
                                                        ...)
{
    char line[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof(line), format, arguments);
    va_end(arguments);
    check->found++;
    check->report(check->context, line);
}

/* Room for one more item at the end of an array; NULL where there is no memory. array is the
 * address of the pointer to it. */
static void *add_item(void *array, size_t *count, size_t *size, size_t item_size)
{
    char *items;
    memcpy(&items, array, sizeof(items));
    if (*count == *size) {
        size_t more = *size ? *size * 2 : 1024;
        items = reallocarray(items, more, item_size);
        if (!items)
            return NULL;
        memcpy(array, &items, sizeof(items));
        *size = more;
    }
    return items + (*count)++ * item_size;
}

/* Calls visit for each entry of a database. */
typedef int visit_entry(struct check *check, const MDB_val *key, const MDB_val *value);

static int each_entry(struct check *check, MDB_dbi database, visit_entry *visit)
{
    MDB_cursor *cursor;
    int rc = mdb_cursor_open(check->txn, database, &cursor);
    if (rc != MDB_SUCCESS)
        return rc;
    MDB_val key, value;
    while ((rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == MDB_SUCCESS) {
        rc = visit(check, &key, &value);
        if (rc != MDB_SUCCESS)
            break;
    }
    mdb_cursor_close(cursor);
    return rc == MDB_NOTFOUND ? MDB_SUCCESS : rc;
}

/* ---- users ---- */

static int check_user(struct check *check, const MDB_val *key, const MDB_val *value)
{
    if (key->mv_size != ID_KEY_LEN) {
        found(check, "users: a key of %zu bytes", key->mv_size);
        return MDB_SUCCESS;
    }
    int64_t user_id = get_big64(key->mv_data);
    struct record_user user;
    if (!record_decode_user(user_id, engine_span(value), &user))
        found(check, "user %" PRId64 ": its record can't be read", user_id);
    else if (!text_is_utf8(user.name) || !text_is_utf8(user.group))
        found(check, "user %" PRId64 ": its name or group is not UTF-8", user_id);
    if (user_id < 1 || user_id >= check->next_user_id)
        found(check, "user %" PRId64 ": is not below the next user id %" PRId64, user_id,
              check->next_user_id);
    return MDB_SUCCESS;
}

/* ---- tokens, and from each to the indexes ---- */

static bool user_exists(struct check *check, int64_t user_id)
{
    unsigned char bytes[ID_KEY_LEN];
    MDB_val key = engine_id_key(bytes, user_id), value;
    return mdb_get(check->txn, check->store->users, &key, &value) == MDB_SUCCESS;
}

static void check_fields(struct check *check, const struct token *token)
{
    struct token_patch patch = {.fields = ~0U, .value = *token};
    struct validation_error error;
    if (!token_patch_check(&patch, &error))
        found(check, "token %" PRId64 ": %s %s", token->id, error.field.at, error.text);
    if (!text_is_utf8(token->name) || !text_is_utf8(token->group) ||
        !text_is_utf8(token->model_limits) || !text_is_utf8(token->allow_ips))
        found(check, "token %" PRId64 ": a text is not UTF-8", token->id);
}

static int check_id(struct check *check, const struct token *token)
{
    if (token->id < 1 || token->id >= check->next_token_id)
        found(check, "token %" PRId64 ": is not below the next token id %" PRId64, token->id,
              check->next_token_id);
    int64_t *id =
        add_item(&check->token_ids, &check->token_id_count, &check->token_id_size, sizeof(*id));
    if (!id)
        return ENOMEM;
    *id = token->id;
    return MDB_SUCCESS;
}

static int compare_ids(const void *left, const void *right)
{
    const int64_t *a = left, *b = right;
    return (*a > *b) - (*a < *b);
}

static void check_ids_twice(struct check *check)
{
    if (check->token_id_count > 0)
        qsort(check->token_ids, check->token_id_count, sizeof(*check->token_ids), compare_ids);
    for (size_t i = 1; i < check->token_id_count; i++)
        if (check->token_ids[i] == check->token_ids[i - 1])
            found(check, "token %" PRId64 ": exists twice", check->token_ids[i]);
}

static int check_key(struct check *check, const struct token *token,
                     const unsigned char hash[static SEAL_HASH_LEN], int64_t until_unix_s)
{
    unsigned char bytes[SEAL_HASH_LEN];
    memcpy(bytes, hash, sizeof(bytes));
    struct lookup_key entry;
    MDB_val key = {sizeof(bytes), bytes}, value;
    int rc = mdb_get(check->txn, check->store->token_by_key, &key, &value);
    if (rc != MDB_SUCCESS && rc != MDB_NOTFOUND)
        return rc;
    if (rc == MDB_NOTFOUND || !lookup_decode_key(hash, &value, &entry) ||
        entry.token_id != token->id || entry.user_id != token->user_id ||
        entry.until_unix_s != until_unix_s)
        found(check, "token %" PRId64 ": is not found by its %s", token->id,
              until_unix_s ? "old key" : "key");
    return MDB_SUCCESS;
}

static int check_index_entries(struct check *check, const struct token *token,
                               const struct record_keys *keys)
{
    unsigned char user_key[ID_KEY_LEN], hash[SEAL_HASH_LEN];
    int64_t id = token->id;
    MDB_val key = engine_id_key(user_key, token->user_id), value = {sizeof(id), &id};
    int rc = mdb_cursor_get(check->reader->ids_by_user, &key, &value, MDB_GET_BOTH);
    if (rc == MDB_NOTFOUND)
        found(check, "token %" PRId64 ": is not in its user's index", token->id);
    else if (rc != MDB_SUCCESS)
        return rc;
    seal_hash_key(check->store->secret, token->key, hash);
    rc = check_key(check, token, hash, 0);
    if (rc != MDB_SUCCESS || !keys->has_old)
        return rc;
    check->old_key_count++;
    return check_key(check, token, keys->old_hash, keys->old_until_unix_s);
}

static int check_token(struct check *check, const MDB_val *key, const MDB_val *value)
{
    check->token_count++;
    if (key->mv_size != TOKEN_ID_KEY_LEN) {
        found(check, "tokens: a key of %zu bytes", key->mv_size);
        return MDB_SUCCESS;
    }
    const unsigned char *bytes = key->mv_data;
    struct token token = {.user_id = get_big64(bytes), .id = get_big64(bytes + 8)};
    struct record_keys keys;
    int rc = check_id(check, &token);
    if (rc != MDB_SUCCESS)
        return rc;
    if (!user_exists(check, token.user_id))
        found(check, "token %" PRId64 ": its user %" PRId64 " does not exist", token.id,
              token.user_id);
    if (!record_decode_token(engine_span(value), &token, &keys)) {
        found(check, "token %" PRId64 ": its record can't be read", token.id);
        return MDB_SUCCESS;
    }
    check_fields(check, &token);
    if (!unseal_key(check->store->secret, token.user_id, token.id, keys.sealed, token.key)) {
        found(check, "token %" PRId64 ": its key can't be unsealed", token.id);
        return MDB_SUCCESS;
    }
    if (!token_key_is_well_formed((struct span){token.key, sizeof(token.key)}))
        found(check, "token %" PRId64 ": its key is not well formed", token.id);
    rc = check_index_entries(check, &token, &keys);
    explicit_bzero(token.key, sizeof(token.key));
    return rc;
}

/* ---- from the indexes to the tokens ---- */

static int check_id_entry(struct check *check, const MDB_val *key, const MDB_val *value)
{
    int64_t id;
    if (key->mv_size != ID_KEY_LEN || value->mv_size != sizeof(id)) {
        found(check, "ids_by_user: an entry of %zu and %zu bytes", key->mv_size, value->mv_size);
        return MDB_SUCCESS;
    }
    memcpy(&id, value->mv_data, sizeof(id));
    int64_t user_id = get_big64(key->mv_data);
    unsigned char bytes[TOKEN_ID_KEY_LEN];
    MDB_val token_key = engine_token_key(bytes, user_id, id), record;
    int rc = mdb_get(check->txn, check->store->tokens, &token_key, &record);
    if (rc == MDB_NOTFOUND)
        found(check, "ids_by_user: user %" PRId64 " has no token %" PRId64, user_id, id);
    return rc == MDB_NOTFOUND ? MDB_SUCCESS : rc;
}

static int check_key_entry(struct check *check, const MDB_val *key, const MDB_val *value)
{
    struct lookup_key entry;
    if (key->mv_size != SEAL_HASH_LEN || !lookup_decode_key(key->mv_data, value, &entry)) {
        found(check, "token_by_key: an entry of %zu and %zu bytes that can't be read", key->mv_size,
              value->mv_size);
        return MDB_SUCCESS;
    }
    unsigned char bytes[TOKEN_ID_KEY_LEN];
    MDB_val token_key = engine_token_key(bytes, entry.user_id, entry.token_id), record;
    int rc = mdb_get(check->txn, check->store->tokens, &token_key, &record);
    if (rc == MDB_NOTFOUND)
        found(check, "token_by_key: leads to token %" PRId64 ", which is not there",
              entry.token_id);
    return rc == MDB_NOTFOUND ? MDB_SUCCESS : rc;
}

/* ---- gateways, reservations, repeats ---- */

static int check_gateway(struct check *check, const MDB_val *key, const MDB_val *value)
{
    struct record_gateway gateway;
    int64_t id = key->mv_size == ID_KEY_LEN ? get_big64(key->mv_data) : 0;
    if (!record_decode_gateway(id, engine_span(value), &gateway))
        found(check, "gateway %" PRId64 ": its record can't be read", id);
    if (id < 1 || id >= check->next_gateway_id)
        found(check, "gateway %" PRId64 ": is not below the next gateway id %" PRId64, id,
              check->next_gateway_id);
    return MDB_SUCCESS;
}

static int note_reserved(struct check *check, const struct record_reservation *reservation)
{
    struct reserved *reserved = add_item(&check->reserved, &check->reserved_count,
                                         &check->reserved_size, sizeof(*reserved));
    if (!reserved)
        return ENOMEM;
    *reserved = (struct reserved){reservation->user_id, reservation->token_id,
                                  reservation->ended ? reservation->amount : reservation->reserved};
    return MDB_SUCCESS;
}

static int check_reservation(struct check *check, const MDB_val *key, const MDB_val *value)
{
    struct record_reservation reservation;
    int64_t id = key->mv_size == ID_KEY_LEN ? get_big64(key->mv_data) : 0;
    if (id < 1 || id >= check->next_reservation_id)
        found(check, "reservation %" PRId64 ": is not below the next reservation id %" PRId64, id,
              check->next_reservation_id);
    if (!record_decode_reservation(id, engine_span(value), &reservation)) {
        found(check, "reservation %" PRId64 ": its record can't be read", id);
        return MDB_SUCCESS;
    }
    if (reservation.reserved < 0 || reservation.amount < 0 || reservation.shortfall < 0)
        found(check, "reservation %" PRId64 ": has an amount below 0", id);
    return note_reserved(check, &reservation);
}

static int compare_reserved(const void *left, const void *right)
{
    const struct reserved *a = left, *b = right;
    if (a->user_id != b->user_id)
        return a->user_id < b->user_id ? -1 : 1;
    return (a->token_id > b->token_id) - (a->token_id < b->token_id);
}

/* What reservations have taken is part of what their tokens have used. */
static int check_reserved(struct check *check)
{
    if (check->reserved_count > 0)
        qsort(check->reserved, check->reserved_count, sizeof(*check->reserved), compare_reserved);
    for (size_t i = 0, next; i < check->reserved_count; i = next) {
        const struct reserved *first = &check->reserved[i];
        int64_t sum = 0;
        bool overflow = false;
        for (next = i;
             next < check->reserved_count && compare_reserved(first, &check->reserved[next]) == 0;
             next++)
            overflow |= __builtin_add_overflow(sum, check->reserved[next].amount, &sum);
        struct token token;
        struct record_keys keys;
        int rc =
            lookup_token(check->txn, check->store, first->user_id, first->token_id, &token, &keys);
        if (rc == MDB_SUCCESS && (overflow || sum > token.used_quota))
            found(check, "token %" PRId64 ": its reservations took more than it has used",
                  token.id);
        else if (rc != MDB_SUCCESS && rc != MDB_NOTFOUND && rc != MDB_CORRUPTED)
            return rc;
    }
    return MDB_SUCCESS;
}

static int check_repeat_entry(struct check *check, const MDB_val *key, const MDB_val *value)
{
    bool opens;
    int rc = idempotency_check(check->store, key, value, &opens);
    if (rc == MDB_SUCCESS && !opens)
        found(check, "repeats: an answer that can't be unsealed");
    return rc;
}

/* Each token was found in each index: with as many entries there are no others. */
static int check_count(struct check *check, MDB_dbi database, const char *name, uint64_t expected)
{
    MDB_stat stat;
    int rc = mdb_stat(check->txn, database, &stat);
    if (rc == MDB_SUCCESS && stat.ms_entries != expected)
        found(check, "%s: %zu entries instead of %" PRIu64, name, stat.ms_entries, expected);
    return rc;
}

static int read_counters(struct check *check)
{
    const struct {
        const char *name;
        int64_t *next;
    } counters[] = {{META_NEXT_USER_ID, &check->next_user_id},
                    {META_NEXT_TOKEN_ID, &check->next_token_id},
                    {META_NEXT_GATEWAY_ID, &check->next_gateway_id},
                    {META_NEXT_RESERVATION_ID, &check->next_reservation_id}};
    for (size_t i = 0; i < sizeof(counters) / sizeof(counters[0]); i++) {
        int rc =
            engine_meta_get(check->txn, check->store->meta, counters[i].name, counters[i].next);
        if (rc == MDB_CORRUPTED || (rc == MDB_SUCCESS && *counters[i].next < 1)) {
            found(check, "meta: the counter %s can't be read", counters[i].name);
            *counters[i].next = INT64_MAX; /* nothing more is said about it */
        } else if (rc != MDB_SUCCESS) {
            return rc;
        }
    }
    return MDB_SUCCESS;
}

static int check_records(struct check *check)
{
    const struct store *store = check->store;
    const struct {
        MDB_dbi database;
        visit_entry *visit;
    } passes[] = {{store->users, check_user},           {store->tokens, check_token},
                  {store->ids_by_user, check_id_entry}, {store->token_by_key, check_key_entry},
                  {store->gateways, check_gateway},     {store->reservations, check_reservation},
                  {store->repeats, check_repeat_entry}};
    int rc = read_counters(check);
    if (rc == MDB_SUCCESS)
        rc = mdb_cursor_renew(check->txn, check->reader->ids_by_user);
    for (size_t i = 0; rc == MDB_SUCCESS && i < sizeof(passes) / sizeof(passes[0]); i++)
        rc = each_entry(check, passes[i].database, passes[i].visit);
    if (rc == MDB_SUCCESS)
        rc = check_count(check, store->tokens, "tokens", check->token_count);
    if (rc == MDB_SUCCESS)
        rc = check_count(check, store->ids_by_user, "ids_by_user", check->token_count);
    if (rc == MDB_SUCCESS)
        rc = check_count(check, store->token_by_key, "token_by_key",
                         check->token_count + check->old_key_count);
    check_ids_twice(check);
    return rc == MDB_SUCCESS ? check_reserved(check) : rc;
}

static void report_page(void *context, const char *line)
{
    found(context, "%s", line);
}

/* One snapshot. Damaged pages are only reported: to go by them LMDB would have to trust them. */
static int check_snapshot(struct check *check)
{
    int rc = engine_begin_read(check->reader);
    if (rc != MDB_SUCCESS)
        return rc;
    check->txn = check->reader->txn;
    rc = file_check_pages(check->store->env, check->txn, report_page, check);
    if (rc == MDB_SUCCESS && check->found == 0)
        rc = check_records(check);
    engine_end_read(check->reader);
    return rc;
}

enum store_error store_check(struct store_reader *reader, store_report *report, void *context,
                             uint64_t *found_count)
{
    struct check check = {
        .reader = reader, .store = reader->store, .report = report, .context = context};
    int rc = EAGAIN; /* others may commit before the snapshot is found in the file */
    for (int attempt = 0; rc == EAGAIN && attempt < 100; attempt++)
        rc = check_snapshot(&check);
    free(check.token_ids);
    free(check.reserved);
    *found_count = check.found;
    return rc == MDB_NOTFOUND ? STORE_CORRUPT : engine_error(reader->store, rc);
}
