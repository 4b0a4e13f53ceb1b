#include "store/postgresql/schema.h"

#include <limits.h>

#include "base/bytes.h"
#include "base/text.h"

#define COLUMN(name, type, member, len_max)                                                        \
    {                                                                                              \
        name, PG_##type, offsetof(struct pg_row, member), sizeof(((struct pg_row *)NULL)->member), \
            len_max                                                                                \
    }
#define INT(name, member)   COLUMN(name, BIGINT, member, 0)
#define BOOL(name, member)  COLUMN(name, BOOLEAN, member, 0)
#define BYTES(name, member) COLUMN(name, BYTES, member, 0)
#define HASH(name)                                                                                 \
    {                                                                                              \
        name, PG_BYTES, offsetof(struct pg_row, hash), SEAL_HASH_LEN, 0                            \
    }
#define TEXT(name, member, len_max) COLUMN(name, TEXT, member, len_max)

/* The key first, then what uses change. */
/* clang-format off */
static const struct pg_column
user_columns[] = {
    INT("user_id", user_id), INT("token_count", count),
    TEXT("name", user.name, STORE_USER_NAME_LEN_MAX),
    TEXT("group_name", user.group, TOKEN_GROUP_LEN_MAX), BOOL("disabled", user.disabled),
    BOOL("deleted", user.deleted), INT("created_unix_s", user.created_unix_s),
    BYTES("access_hash", user.access_hash)},
token_columns[] = {
    INT("user_id", user_id), INT("id", id), INT("remain_quota", token.remain_quota),
    INT("used_quota", token.used_quota), INT("accessed_unix_s", token.accessed_unix_s),
    TEXT("name", token.name, 4 * TOKEN_NAME_CHARACTERS_MAX),
    TEXT("group_name", token.group, TOKEN_GROUP_LEN_MAX),
    TEXT("model_limits", token.model_limits, TOKEN_MODEL_LIMITS_LEN_MAX),
    TEXT("allow_ips", token.allow_ips, TOKEN_ALLOW_IPS_LEN_MAX),
    INT("status", token.status), BOOL("unlimited_quota", token.unlimited_quota),
    BOOL("model_limits_enabled", token.model_limits_enabled),
    INT("expired_unix_s", token.expired_unix_s), INT("created_unix_s", token.created_unix_s),
    BYTES("sealed_key", keys.sealed), HASH("key_hash"), BOOL("has_old_key", keys.has_old),
    BYTES("old_key_hash", keys.old_hash), INT("old_key_until_unix_s", keys.old_until_unix_s)},
reservation_columns[] = {
    INT("user_id", user_id), INT("id", id), INT("token_id", reservation.token_id),
    INT("gateway_id", reservation.gateway_id), INT("reserved", reservation.units.reserved),
    BOOL("from_remain", reservation.units.from_remain), INT("amount", reservation.units.amount),
    INT("shortfall", reservation.units.shortfall), INT("created_s", reservation.created_s),
    INT("due_s", reservation.due_s), BOOL("ended", reservation.ended),
    INT("remain_quota", reservation.remain_quota),
    BOOL("unlimited_quota", reservation.unlimited_quota),
    TEXT("group_name", reservation.group, TOKEN_GROUP_LEN_MAX)},
answer_columns[] = {
    BYTES("hash", hash), INT("user_id", answer.user_id), INT("created_s", answer.created_s),
    BYTES("request_hash", answer.request_hash), COLUMN("sealed", BLOB, answer.sealed, INT_MAX)},
key_columns[] = {HASH("hash"), INT("user_id", user_id), INT("token_id", token_id)},
access_columns[] = {HASH("hash"), INT("user_id", user_id)},
found_columns[] = {INT("id", id), INT("user_id", user_id), INT("token_id", token_id)},
name_columns[] = {TEXT("name", name, STORE_USER_NAME_LEN_MAX), INT("user_id", user_id)},
gateway_columns[] = {
    INT("id", id), TEXT("name", gateway.name, STORE_GATEWAY_NAME_LEN_MAX),
    INT("created_unix_s", gateway.created_unix_s), BYTES("secret_hash", gateway.secret_hash)},
kept_columns[] = {
    INT("user_id", user_id), INT("count", kept.count), INT("len", kept.len),
    INT("oldest_s", kept.oldest_s), INT("all", count)},
places_columns[] = {
    INT("user_id", user_id), INT("count", places.count), INT("ended_count", places.ended_count),
    INT("due_s", places.due_s)};

#define COLUMNS(list, keys, uses) list, keys, (keys) + (uses), sizeof(list) / sizeof((list)[0])
const struct pg_columns pg_columns[PG_TABLES] = {
    [PG_KEYS] = {COLUMNS(key_columns, 1, 0), .read = PG_READ_KEY, .insert = PG_INSERT_KEY,
                 .delete = PG_DELETE_KEY},
    [PG_FOUND] = {COLUMNS(found_columns, 1, 0), .read = PG_READ_FOUND},
    [PG_USERS] = {COLUMNS(user_columns, 1, 1), PG_READ_USER, PG_LOCK_USER, PG_INSERT_USER,
                  PG_USE_USER, PG_UPDATE_USER, PG_DELETE_USER},
    [PG_TOKENS] = {COLUMNS(token_columns, 2, 3), PG_READ_TOKEN, PG_LOCK_TOKEN, PG_INSERT_TOKEN,
                   PG_USE_TOKEN, PG_UPDATE_TOKEN, PG_DELETE_TOKEN},
    [PG_RESERVATIONS] = {COLUMNS(reservation_columns, 2, 0), .lock = PG_LOCK_RESERVATION,
                         .insert = PG_INSERT_RESERVATION, .update = PG_UPDATE_RESERVATION},
    [PG_IDEMPOTENCY] = {COLUMNS(answer_columns, 1, 0), .lock = PG_LOCK_ANSWER,
                        .insert = PG_INSERT_ANSWER, .update = PG_UPDATE_ANSWER,
                        .delete = PG_DELETE_ANSWER},
    [PG_NAMES] = {COLUMNS(name_columns, 1, 0), .read = PG_READ_NAME, .lock = PG_LOCK_NAME,
                  .insert = PG_INSERT_NAME, .update = PG_UPDATE_NAME, .delete = PG_DELETE_NAME},
    [PG_ACCESS] = {COLUMNS(access_columns, 1, 0), .read = PG_READ_ACCESS,
                   .insert = PG_INSERT_ACCESS, .update = PG_UPDATE_ACCESS,
                   .delete = PG_DELETE_ACCESS},
    [PG_GATEWAYS] = {COLUMNS(gateway_columns, 1, 0), .lock = PG_LOCK_GATEWAY,
                     .insert = PG_INSERT_GATEWAY, .delete = PG_DELETE_GATEWAY},
    [PG_KEPT] = {COLUMNS(kept_columns, 1, 0), .read = PG_READ_KEPT},
    [PG_PLACES] = {COLUMNS(places_columns, 1, 0), .read = PG_READ_PLACES}};
/* clang-format on */

/* ---- parameters ---- */

struct pg_parameters *pg_span(struct pg_parameters *parameters, struct span bytes)
{
    parameters->values[parameters->count] = bytes.at;
    parameters->lengths[parameters->count++] = (int)bytes.len;
    return parameters;
}

struct pg_parameters *pg_int(struct pg_parameters *parameters, int64_t value)
{
    unsigned char *number = parameters->numbers[parameters->count];
    put_big64(number, value);
    return pg_span(parameters, (struct span){(const char *)number, 8});
}

bool pg_is_text(struct span text)
{
    return text_is_utf8(text) && (text.len == 0 || !memchr(text.at, '\0', text.len));
}

/* ---- rows ---- */

struct pg_parameters *pg_bind(struct pg_parameters *parameters, enum pg_table table, size_t count,
                              const struct pg_row *row)
{
    for (size_t i = 0; i < count; i++) {
        const struct pg_column *column = &pg_columns[table].columns[i];
        const void *value = (const char *)row + column->offset;
        const struct span *text = value;
        if (column->type == PG_BIGINT) /* or an enum */
            pg_int(parameters, column->size == 8 ? *(const int64_t *)value : *(const int *)value);
        else if (pg_is_span(column))
            pg_span(parameters, text->at ? *text : SPAN(""));
        else
            pg_span(parameters, (struct span){value, column->size});
    }
    return parameters;
}

int pg_compare(const struct pg_column *column, const struct pg_row *a, const struct pg_row *b)
{
    const void *left = (const char *)a + column->offset, *right = (const char *)b + column->offset;
    const struct span *x = left, *y = right;
    if (column->type == PG_BIGINT && column->size == 8)
        return (*(const int64_t *)left > *(const int64_t *)right) -
               (*(const int64_t *)left < *(const int64_t *)right);
    if (!pg_is_span(column))
        return memcmp(left, right, column->size);
    size_t len = x->len < y->len ? x->len : y->len;
    int order = len > 0 ? memcmp(x->at, y->at, len) : 0;
    return order ? order : (x->len > y->len) - (x->len < y->len);
}

struct span pg_next_span(struct pg_values *values)
{
    int column = values->column++;
    if (PQgetisnull(values->result, values->row, column))
        return (struct span){NULL, 0};
    return (struct span){PQgetvalue(values->result, values->row, column),
                         (size_t)PQgetlength(values->result, values->row, column)};
}

int64_t pg_next_int(struct pg_values *values)
{
    struct span value = pg_next_span(values);
    if (value.len == 8)
        return get_big64((const unsigned char *)value.at);
    values->bad |= value.at != NULL;
    return 0;
}

bool pg_next_row(struct pg_values *values, enum pg_table table, struct pg_row *row)
{
    for (size_t i = 0; i < pg_columns[table].count; i++) {
        const struct pg_column *column = &pg_columns[table].columns[i];
        void *value = (char *)row + column->offset;
        struct span text;
        if (column->type == PG_BIGINT) {
            int64_t number = pg_next_int(values);
            if (column->size == 8)
                *(int64_t *)value = number;
            else
                *(int *)value = (int)number;
            continue;
        }
        text = pg_next_span(values);
        if (pg_is_span(column))
            *(struct span *)value = text;
        else if (text.len == column->size)
            memcpy(value, text.at, text.len);
        else
            values->bad = true;
        values->bad |= !text.at || text.len > (column->len_max ? column->len_max : column->size);
    }
    if (table == PG_TOKENS) {
        row->token.user_id = row->user_id;
        row->token.id = row->id;
    }
    return !values->bad;
}
