#include "store/postgresql/group.h"

#include <search.h>
#include <stdlib.h>

#include "base/bytes.h"

/* ---- rows in memory ---- */

static int compare_rows(const void *left, const void *right)
{
    const struct group_row *a = left, *b = right;
    const struct pg_columns *table = &pg_columns[a->table];
    int order = (int)a->table - (int)b->table;
    for (size_t i = 0; order == 0 && i < table->key_count; i++)
        order = pg_compare(&table->columns[i], &a->row, &b->row);
    return order;
}

/* What rows point into. */
struct group_kept {
    struct group_kept *next;
    PGresult *result; /* or NULL, and a text */
    char text[];
};

/* Keeps a result, and a text whose place is changed, as long as the group. */
static void keep(struct group *group, PGresult *result, struct span *text)
{
    struct group_kept *kept = malloc(sizeof(*kept) + text->len);
    if (!kept) {
        PQclear(result);
        store_txn_fail(&group->txn, STORE_UNAVAILABLE);
        return;
    }
    kept->next = group->kept;
    kept->result = result;
    text->at = memcpy(kept->text, text->at ? text->at : "", text->len);
    group->kept = kept;
}

/* The row of a key, or a new one, which does not exist. */
static struct group_row *obtain(struct group *group, enum pg_table table, const struct pg_row *key)
{
    struct group_row *row = calloc(1, sizeof(*row)), **found = NULL;
    if (row) {
        row->table = table;
        row->row = *key;
        found = tsearch(row, &group->rows, compare_rows);
    }
    if (found && *found == row) {
        if (table == PG_NAMES)
            keep(group, NULL, &row->row.name);
        return row;
    }
    free(row);
    if (!found)
        store_txn_fail(&group->txn, STORE_UNAVAILABLE);
    return found ? *found : NULL;
}

struct group_row *group_find(struct store_txn *txn, enum pg_table table, const struct pg_row *key)
{
    struct group *group = (struct group *)txn;
    const struct group_row probe = {.table = table, .row = *key};
    struct group_row *const *found = tfind(&probe, &group->rows, compare_rows);
    return found && (*found)->exists ? *found : &group->none;
}

struct group_row *group_need(struct group *group, enum pg_table table, const struct pg_row *key,
                             bool locks)
{
    struct group_row *row = obtain(group, table, key);
    if (row) {
        row->wanted = true;
        row->locks |= locks;
    }
    return row;
}

void group_put(struct store_txn *txn, enum pg_table table, const struct pg_row *from)
{
    struct group_row *row = obtain((struct group *)txn, table, from);
    for (size_t i = 0; row && i < pg_columns[table].count; i++) {
        const struct pg_column *column = &pg_columns[table].columns[i];
        void *to = (char *)&row->row + column->offset;
        if (row->exists && pg_compare(column, &row->row, from) == 0)
            continue;
        memcpy(to, (const char *)from + column->offset, column->size);
        if (pg_is_span(column))
            keep((struct group *)txn, NULL, to);
        row->changed = i < row->changed ? row->changed : i + 1;
    }
    if (row)
        row->exists = true;
}

void group_delete(struct store_txn *txn, enum pg_table table, const struct pg_row *key)
{
    struct group_row *row = obtain((struct group *)txn, table, key);
    if (!row)
        return;
    row->stored |= !row->exists; /* it need not have been fetched */
    row->exists = false;
}

/* ---- fetching ---- */

/* A result, which is kept as long as the group. NULL after a failure. */
static PGresult *take(struct group *group)
{
    PGresult *result = pg_result(group->connection);
    if (result)
        keep(group, result, &(struct span){NULL, 0});
    return group->txn.error == STORE_OK ? result : NULL;
}

/* For twalk_r: in order, once a row. */
static void send_row(const void *node, VISIT visit, void *context)
{
    struct group *group = context;
    struct group_row *row = *(struct group_row *const *)node;
    bool is_turn = visit == postorder || visit == leaf;
    if (!is_turn || !row->wanted || (group->looks_up && row->table >= PG_LOOK_UPS))
        return;
    row->wanted = false;
    if (row->table == PG_USERS && !row->locks) {
        row->next = group->users;
        group->users = row;
        group->user_count++;
        return;
    }
    const struct pg_columns *table = &pg_columns[row->table];
    pg_send(group->connection, row->locks ? table->lock : table->read,
            pg_bind(PG_PARAMETERS, row->table, table->key_count, &row->row));
    *group->sent_end = row;
    group->sent_end = &row->next;
}

/* The users that are only read, by an array of their ids in its binary form: a statement each would
 * be a third of a spend. */
static void send_users(struct group *group)
{
    enum { HEAD_LEN = 20, ITEM_LEN = 12 };
    const unsigned char head[HEAD_LEN] = {[3] = 1, [11] = 20 /* the type bigint */, [19] = 1};
    size_t len = HEAD_LEN + ITEM_LEN * group->user_count;
    unsigned char *array = calloc(1, len), *at = array + HEAD_LEN;
    if (!array) {
        store_txn_fail(&group->txn, STORE_UNAVAILABLE);
        return;
    }
    memcpy(array, head, HEAD_LEN);
    array[14] = (unsigned char)(group->user_count >> 8);
    array[15] = (unsigned char)group->user_count;
    for (const struct group_row *row = group->users; row; row = row->next, at += ITEM_LEN) {
        at[3] = 8;
        put_big64(at + 4, row->row.user_id);
    }
    pg_send(group->connection, PG_READ_USERS,
            pg_span(PG_PARAMETERS, (struct span){(const char *)array, len}));
    free(array);
}

static void send_rows(struct group *group)
{
    group->users = NULL;
    group->user_count = 0;
    group->sent = NULL;
    group->sent_end = &group->sent;
    twalk_r(group->rows, send_row, group);
    *group->sent_end = NULL;
    if (group->users)
        send_users(group);
}

static void load(struct group *group, struct group_row *row, const PGresult *result, int number)
{
    struct pg_values values = {.result = result, .row = number};
    row->stored = row->exists = true;
    if (!pg_next_row(&values, row->table, &row->row))
        pg_fail(group->connection, STORE_CORRUPT, "a row can't be read");
    else if (row->table < PG_LOOK_UPS)
        group_need_found(group, row);
}

static void take_rows(struct group *group)
{
    for (struct group_row *row = group->sent; row; row = row->next) {
        PGresult *result = take(group);
        if (PQntuples(result) > 0)
            load(group, row, result, 0);
    }
    PGresult *result = group->users ? take(group) : NULL;
    for (int i = 0; i < PQntuples(result); i++) {
        int64_t id = pg_next_int(&(struct pg_values){.result = result, .row = i});
        struct group_row *row = obtain(group, PG_USERS, PG_ROW(.user_id = id));
        if (row)
            load(group, row, result, i);
    }
}

/* The tokens of users that are deleted, some of them. */
static void send_deleted(struct group *group)
{
    for (const struct store_write *write = group->writes; write; write = write->next)
        if (write->kind == STORE_USER_DELETE)
            pg_send(group->connection, PG_LOCK_TOKENS,
                    pg_int(pg_int(PG_PARAMETERS, write->user_id), (int64_t)write->step.max));
}

static void take_deleted(struct group *group)
{
    struct group_row **end = &group->tokens;
    for (const struct store_write *write = group->writes; write; write = write->next) {
        PGresult *result = write->kind == STORE_USER_DELETE ? take(group) : NULL;
        for (int i = 0; i < PQntuples(result); i++) {
            struct pg_values values = {.result = result, .row = i};
            int64_t user_id = pg_next_int(&values), id = pg_next_int(&values);
            struct group_row *row = obtain(group, PG_TOKENS, PG_ROW(.user_id = user_id, .id = id));
            if (!row)
                return;
            load(group, row, result, i);
            row->next = NULL;
            *end = row;
            end = &row->next;
        }
    }
}

/* Ids that a group before has left are taken first. */
static int64_t ids_missing(const struct group *group, size_t kind)
{
    return (int64_t)group->ids_needed[kind] - (int64_t)group->connection->store->ids[kind].count;
}

static void take_ids(struct group *group, size_t kind)
{
    struct pg_ids *ids = &group->connection->store->ids[kind];
    PGresult *result = take(group);
    int64_t *grown = reallocarray(ids->at, group->ids_needed[kind], sizeof(*grown));
    if (!grown) {
        pg_fail(group->connection, STORE_UNAVAILABLE, "no memory");
        return;
    }
    ids->at = grown;
    for (int i = 0; i < PQntuples(result); i++)
        ids->at[ids->count++] = pg_next_int(&(struct pg_values){.result = result, .row = i});
}

static void send_begin(struct group *group, struct span id, int64_t attempt)
{
    static const char *const sequences[] = {"user_ids", "token_ids", "gateway_ids",
                                            "reservation_ids"};
    struct pg_connection *connection = group->connection;
    pg_send(connection, PG_BEGIN, PG_PARAMETERS);
    pg_send(connection, PG_PUT_COMMIT, pg_int(pg_span(PG_PARAMETERS, id), attempt));
    pg_send(connection, PG_READ_META, PG_PARAMETERS);
    for (size_t i = 0; i < STORE_IDS_COUNT; i++)
        if (ids_missing(group, i) > 0)
            pg_send(connection, PG_TAKE_IDS,
                    pg_int(pg_span(PG_PARAMETERS, span_of(sequences[i])), ids_missing(group, i)));
    for (const struct store_write *write = group->writes; write; write = write->next)
        for (int i = PG_PURGE_ANSWERS; write->kind == STORE_PURGE && i <= PG_PURGE_COMMITS; i++)
            pg_send(connection, i, pg_int(PG_PARAMETERS, (int64_t)write->step.max));
}

static void take_begin(struct group *group, int64_t *attempt)
{
    take(group);
    struct pg_values put = {.result = take(group)}, meta = {.result = take(group)};
    if (!meta.result)
        return;
    *attempt = pg_next_int(&put);
    if (PQntuples(meta.result) != 1 || pg_next_int(&meta) > PG_SCHEMA_VERSION)
        pg_fail(group->connection, STORE_BROKEN, "a newer version of this program uses it");
    else
        group->now_s = pg_next_int(&meta);
    for (size_t i = 0; i < STORE_IDS_COUNT; i++)
        if (ids_missing(group, i) > 0)
            take_ids(group, i);
    for (struct store_write *write = group->writes; write; write = write->next) {
        bool more = false;
        for (int i = PG_PURGE_ANSWERS; write->kind == STORE_PURGE && i <= PG_PURGE_COMMITS; i++) {
            PGresult *result = take(group);
            more |= result && strtoull(PQcmdTuples(result), NULL, 10) >= write->step.max;
        }
        if (write->kind == STORE_PURGE)
            write->step.more = more;
    }
}

/* In one round trip; in two where keys or reservations have to be looked up first. */
void group_fetch(struct group *group, struct span id, int64_t *attempt)
{
    for (const struct store_write *write = group->writes; write; write = write->next)
        group_need_write(group, write);
    send_begin(group, id, *attempt);
    bool begins = true;
    if (group->looks_up) {
        send_rows(group);
        pg_sync(group->connection);
        take_begin(group, attempt);
        take_rows(group);
        pg_finish(group->connection);
        group->looks_up = begins = false;
    }
    send_rows(group);
    send_deleted(group);
    pg_sync(group->connection);
    if (begins)
        take_begin(group, attempt);
    take_rows(group);
    take_deleted(group);
    pg_finish(group->connection);
}

/* ---- changes ---- */

void group_send(struct group *group, enum pg_statement statement,
                const struct pg_parameters *parameters)
{
    pg_send(group->connection, statement, parameters);
    group->sent_changes++;
}

/* For twalk_r. */
static void send_change(const void *node, VISIT visit, void *context)
{
    const struct group_row *row = *(struct group_row *const *)node;
    const struct pg_columns *table = &pg_columns[row->table];
    bool is_use = row->changed <= table->use_count;
    enum pg_statement update = is_use ? table->use : table->update,
                      put = row->stored ? update : table->insert;
    size_t count = row->stored && is_use ? table->use_count : table->count;
    if ((visit == postorder || visit == leaf) && (row->exists ? row->changed > 0 : row->stored))
        group_send(
            context, row->exists ? put : table->delete,
            pg_bind(PG_PARAMETERS, row->table, row->exists ? count : table->key_count, &row->row));
}

void group_send_changes(struct group *group)
{
    twalk_r(group->rows, send_change, group);
}

void group_clear(struct group *group)
{
    for (size_t i = 0; i < STORE_IDS_COUNT; i++) {
        struct pg_ids *ids = &group->connection->store->ids[i];
        size_t taken = (size_t)group->txn.ids[i];
        ids->count -= taken;
        if (taken > 0)
            memmove(ids->at, ids->at + taken, ids->count * sizeof(*ids->at));
    }
    for (struct group_kept *next; group->kept; group->kept = next) {
        next = group->kept->next;
        PQclear(group->kept->result);
        free(group->kept);
    }
    tdestroy(group->rows, free);
}
