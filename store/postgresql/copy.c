/* Many rows of an import at once: a statement for each would be most of its cost. */

#include <search.h>

#include "base/bytes.h"
#include "store/postgresql/group.h"

/* Of those tables that have rows of an import: how rows are found by an array of their keys, whose
 * elements have the type oid (catalog pg_type), and how they are stored. */
static const struct {
    const char *find;
    int oid;
    const char *copy;
} tables[PG_TABLES] = {
    [PG_KEYS] = {"SELECT * FROM keys WHERE hash = ANY($1)", 17, PG_KEYS_COPY},
    [PG_FOUND] = {"SELECT id, user_id, token_id FROM reservations WHERE id = ANY($1)", 20, NULL},
    [PG_USERS] = {"SELECT * FROM users WHERE user_id = ANY($1)", 20, PG_USERS_COPY},
    [PG_TOKENS] = {NULL, 0, PG_TOKENS_COPY},
    [PG_RESERVATIONS] = {NULL, 0, PG_RESERVATIONS_COPY},
    [PG_NAMES] = {"SELECT * FROM user_names WHERE name = ANY($1)", 25, PG_USER_NAMES_COPY},
    [PG_ACCESS] = {"SELECT * FROM access_hashes WHERE hash = ANY($1)", 17, PG_ACCESS_HASHES_COPY},
    [PG_GATEWAYS] = {"SELECT * FROM gateways WHERE id = ANY($1)", 20, PG_GATEWAYS_COPY}};

/* What is collected for each table. */
struct batch {
    struct group *group;
    struct buffer bytes[PG_TABLES];
    int counts[PG_TABLES];
};

static void append_big(struct buffer *out, int64_t number, size_t len)
{
    unsigned char bytes[8];
    put_big64(bytes, number);
    buffer_append(out, (struct span){(const char *)bytes + 8 - len, len});
}

static void append_value(struct buffer *out, const struct pg_parameters *parameters, int i)
{
    append_big(out, parameters->lengths[i], 4);
    buffer_append(out, (struct span){parameters->values[i], (size_t)parameters->lengths[i]});
}

/* ---- looking up ---- */

/* The binary format of an array: dimensions, flags, type, length, first index; elements. */
enum { ARRAY_HEAD = 5 };

static void append_array_head(struct buffer *out, int oid, int count)
{
    const int head[ARRAY_HEAD] = {1, 0, oid, count, 1};
    for (size_t i = 0; i < ARRAY_HEAD; i++)
        append_big(out, head[i], 4);
}

/* For twalk_r. */
static void collect_key(const void *node, VISIT visit, void *context)
{
    struct batch *batch = context;
    struct group_row *row = *(struct group_row *const *)node;
    if ((visit != postorder && visit != leaf) || !row->wanted || !tables[row->table].find)
        return;
    row->wanted = false;
    batch->counts[row->table]++;
    append_value(&batch->bytes[row->table], pg_bind(PG_PARAMETERS, row->table, 1, &row->row), 0);
}

static void look_up(struct group *group, enum pg_table table, int count, struct span keys)
{
    struct buffer array = {.at = NULL};
    append_array_head(&array, tables[table].oid, count);
    buffer_append(&array, keys);
    if (array.failed)
        pg_fail(group->connection, STORE_UNAVAILABLE, "");
    pg_send_text(group->connection, tables[table].find,
                 pg_span(PG_PARAMETERS, buffer_span(&array)));
    pg_sync(group->connection);
    group_take(group, table);
    buffer_free(&array);
}

void group_look_up(struct group *group)
{
    struct batch batch = {.group = group};
    twalk_r(group->rows, collect_key, &batch);
    for (enum pg_table table = 0; table < PG_TABLES; table++) {
        if (batch.counts[table] > 0)
            look_up(group, table, batch.counts[table], buffer_span(&batch.bytes[table]));
        buffer_free(&batch.bytes[table]);
    }
}

/* ---- storing ---- */

/* COPY's binary format: a head, rows of a count and as many values, an end. */
static const char copy_head[] = "PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0";

/* For twalk_r. */
static void collect_row(const void *node, VISIT visit, void *context)
{
    struct batch *batch = context;
    const struct group_row *row = *(struct group_row *const *)node;
    struct buffer *out = &batch->bytes[row->table];
    int count = (int)pg_columns[row->table].count;
    if ((visit != postorder && visit != leaf) || !row->exists || row->stored)
        return;
    if (out->len == 0)
        buffer_append(out, (struct span){copy_head, sizeof(copy_head)});
    append_big(out, count, 2);
    const struct pg_parameters *values =
        pg_bind(PG_PARAMETERS, row->table, (size_t)count, &row->row);
    for (int i = 0; i < count; i++)
        append_value(out, values, i);
}

void group_copy(struct group *group)
{
    struct batch batch = {.group = group};
    twalk_r(group->rows, collect_row, &batch);
    for (enum pg_table table = 0; table < PG_TABLES; table++) {
        struct buffer *rows = &batch.bytes[table];
        if (rows->len == 0)
            continue;
        append_big(rows, -1, 2);
        if (rows->failed)
            pg_fail(group->connection, STORE_UNAVAILABLE, "");
        pg_copy(group->connection, tables[table].copy, buffer_span(rows));
        buffer_free(rows);
    }
    store_txn_fail(&group->txn, group->connection->error);
}
