#include "store/postgresql/schema.h"

#include <limits.h>

#include "base/bytes.h"
#include "base/text.h"

#define COLUMN(is_int, is_use, member, len_max)                                                    \
    {is_int, is_use, offsetof(struct pg_row, member), sizeof(((struct pg_row *)NULL)->member),     \
     len_max},
#define INT(member) COLUMN(1, 0, member, 0)

/* clang-format off */
static const struct pg_column
user_columns[] = {PG_USERS_COLUMNS(COLUMN)},
token_columns[] = {PG_TOKENS_COLUMNS(COLUMN)},
reservation_columns[] = {PG_RESERVATIONS_COLUMNS(COLUMN)},
answer_columns[] = {PG_IDEMPOTENCY_COLUMNS(COLUMN)},
key_columns[] = {PG_KEYS_COLUMNS(COLUMN)},
name_columns[] = {PG_USER_NAMES_COLUMNS(COLUMN)},
access_columns[] = {PG_ACCESS_HASHES_COLUMNS(COLUMN)},
gateway_columns[] = {PG_GATEWAYS_COLUMNS(COLUMN)},
group_columns[] = {PG_GROUPS_COLUMNS(COLUMN)},
grant_columns[] = {PG_GRANTS_COLUMNS(COLUMN)},
model_columns[] = {PG_MODELS_COLUMNS(COLUMN)},
usage_columns[] = {PG_USAGE_COLUMNS(COLUMN)},
audit_columns[] = {PG_AUDIT_COLUMNS(COLUMN)},
found_columns[] = {INT(id) INT(user_id) INT(token_id)},
kept_columns[] = {INT(user_id) INT(kept.count) INT(kept.len) INT(kept.oldest_s) INT(count)},
places_columns[] = {INT(user_id) INT(places.count) INT(places.ended_count) INT(places.due_s)},
open_columns[] = {INT(user_id) INT(token_id) INT(count) INT(due_s)};

#define COLUMNS(list, keys) list, keys, sizeof(list) / sizeof((list)[0])
const struct pg_columns pg_columns[PG_TABLES] = {
    [PG_OLD_KEYS] = {COLUMNS(key_columns, 1), .read = PG_READ_KEY},
    [PG_KEYS] = {COLUMNS(key_columns, 1), .read = PG_READ_KEY, .insert = PG_INSERT_KEY,
                 .delete = PG_DELETE_KEY},
    [PG_FOUND] = {COLUMNS(found_columns, 1), .read = PG_READ_FOUND},
    [PG_USERS] = {COLUMNS(user_columns, 1), PG_READ_USER, PG_LOCK_USER, PG_INSERT_USER, PG_USE_USER,
                  PG_UPDATE_USER, PG_DELETE_USER},
    [PG_TOKENS] = {COLUMNS(token_columns, 2), .lock = PG_LOCK_TOKEN, .insert = PG_INSERT_TOKEN,
                   .use = PG_USE_TOKEN, .update = PG_UPDATE_TOKEN, .delete = PG_DELETE_TOKEN},
    [PG_RESERVATIONS] = {COLUMNS(reservation_columns, 2), .lock = PG_LOCK_RESERVATION,
                         .insert = PG_INSERT_RESERVATION, .update = PG_UPDATE_RESERVATION},
    [PG_IDEMPOTENCY] = {COLUMNS(answer_columns, 1), .lock = PG_LOCK_ANSWER,
                        .insert = PG_INSERT_ANSWER, .update = PG_UPDATE_ANSWER,
                        .delete = PG_DELETE_ANSWER},
    [PG_NAMES] = {COLUMNS(name_columns, 1), .read = PG_READ_NAME, .lock = PG_LOCK_NAME,
                  .insert = PG_INSERT_NAME, .update = PG_UPDATE_NAME, .delete = PG_DELETE_NAME},
    [PG_ACCESS] = {COLUMNS(access_columns, 1), .read = PG_READ_ACCESS,
                   .insert = PG_INSERT_ACCESS, .update = PG_UPDATE_ACCESS,
                   .delete = PG_DELETE_ACCESS},
    [PG_GATEWAYS] = {COLUMNS(gateway_columns, 1), .lock = PG_LOCK_GATEWAY,
                     .insert = PG_INSERT_GATEWAY, .delete = PG_DELETE_GATEWAY},
    [PG_GROUPS] = {COLUMNS(group_columns, 1), .insert = PG_PUT_GROUP, .delete = PG_DELETE_GROUP},
    [PG_GRANTS] = {COLUMNS(grant_columns, 2), .insert = PG_PUT_GRANT, .delete = PG_DELETE_GRANT},
    [PG_MODELS] = {COLUMNS(model_columns, 1), .insert = PG_PUT_MODEL, .delete = PG_DELETE_MODEL},
    [PG_USAGE] = {COLUMNS(usage_columns, 3), .insert = PG_ADD_USAGE},
    [PG_AUDIT] = {COLUMNS(audit_columns, 2), .insert = PG_IMPORT_AUDIT},
    [PG_KEPT] = {COLUMNS(kept_columns, 1), .read = PG_READ_KEPT},
    [PG_PLACES] = {COLUMNS(places_columns, 1), .read = PG_READ_PLACES},
    [PG_OPEN] = {COLUMNS(open_columns, 2), .read = PG_READ_OPEN}};
/* clang-format on */

/* Numbers that stand in statements.sql. */
_Static_assert(STORE_IDEMPOTENCY_S == 86400 && STORE_RESERVATIONS_MAX == 10000 &&
                   SEAL_OVERHEAD_LEN == 28 && STORE_AUDIT_PER_USER_MAX == 100000,
               "statements.sql has other ones");

/* The table with the most columns: an insert has a parameter for each. */
_Static_assert(sizeof(token_columns) / sizeof(token_columns[0]) <= PG_PARAMETERS_MAX, "too many");

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

static void bind_column(struct pg_parameters *parameters, const struct pg_column *column,
                        const struct pg_row *row)
{
    const void *value = (const char *)row + column->offset;
    const struct span *text = value;
    if (column->is_int) /* or an enum */
        pg_int(parameters, column->size == 8 ? *(const int64_t *)value : *(const int *)value);
    else if (pg_is_span(column))
        pg_span(parameters, text->at ? *text : SPAN(""));
    else
        pg_span(parameters, (struct span){value, column->size});
}

struct pg_parameters *pg_bind(struct pg_parameters *parameters, enum pg_table table, size_t count,
                              const struct pg_row *row)
{
    for (size_t i = 0; i < count; i++)
        bind_column(parameters, &pg_columns[table].columns[i], row);
    return parameters;
}

struct pg_parameters *pg_bind_use(struct pg_parameters *parameters, enum pg_table table,
                                  const struct pg_row *row)
{
    const struct pg_columns *columns = &pg_columns[table];
    for (size_t i = 0; i < columns->count; i++)
        if (i < columns->key_count || columns->columns[i].is_use)
            bind_column(parameters, &columns->columns[i], row);
    return parameters;
}

int pg_compare(const struct pg_column *column, const struct pg_row *a, const struct pg_row *b)
{
    const void *left = (const char *)a + column->offset, *right = (const char *)b + column->offset;
    const struct span *x = left, *y = right;
    if (column->is_int && column->size == 8)
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
    return value.len == 8 ? get_big64((const unsigned char *)value.at) : 0;
}

bool pg_next_row(struct pg_values *values, enum pg_table table, struct pg_row *row)
{
    for (size_t i = 0; i < pg_columns[table].count; i++) {
        const struct pg_column *column = &pg_columns[table].columns[i];
        struct span text = pg_next_span(values);
        void *value = (char *)row + column->offset;
        size_t len = column->is_int ? 8 : column->size;
        if (!text.at || (pg_is_span(column) ? text.len > column->len_max : text.len != len))
            return false;
        if (pg_is_span(column))
            *(struct span *)value = text;
        else if (!column->is_int)
            memcpy(value, text.at, len);
        else if (column->size == 8)
            *(int64_t *)value = get_big64((const unsigned char *)text.at);
        else
            *(int *)value = (int)get_big64((const unsigned char *)text.at);
    }
    if (table == PG_TOKENS) {
        row->token.user_id = row->user_id;
        row->token.id = row->id;
    } else if (table == PG_AUDIT) {
        row->audit.user_id = row->user_id;
        row->audit.id = row->id;
        row->audit.token_id = row->token_id;
    }
    return true;
}
