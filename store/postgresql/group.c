#include "store/postgresql/group.h"

#include <search.h>
#include <stdlib.h>

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
static bool keep(struct group *group, PGresult *result, struct span *text)
{
    struct group_kept *kept = malloc(sizeof(*kept) + text->len);
    if (!kept) {
        PQclear(result);
        store_txn_fail(&group->txn, STORE_UNAVAILABLE);
        return false;
    }
    kept->next = group->kept;
    kept->result = result;
    text->at = memcpy(kept->text, text->at ? text->at : "", text->len);
    group->kept = kept;
    return true;
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

/* ---- statements and their results ---- */

typedef void take_result(struct group *group, void *context, struct pg_values *values);

struct group_result {
    struct group_result *next;
    take_result *take; /* may be NULL */
    void *context;
};

/* Queues a statement; take gets its result, which is kept as long as the group. */
static void queue(struct group *group, enum pg_statement statement,
                  const struct pg_parameters *parameters, take_result *take, void *context)
{
    struct group_result *result = malloc(sizeof(*result));
    if (!result) {
        pg_lose(group->connection);
        return;
    }
    *result = (struct group_result){NULL, take, context};
    *group->results_end = result;
    group->results_end = &result->next;
    pg_send(group->connection, statement, parameters);
}

void group_send(struct group *group, enum pg_statement statement,
                const struct pg_parameters *parameters)
{
    queue(group, statement, parameters, NULL, NULL);
}

const PGresult *group_sync(struct group *group)
{
    PGresult *last = NULL;
    pg_sync(group->connection);
    for (struct group_result *result = group->results, *next; result; result = next) {
        last = pg_result(group->connection);
        if (last && !keep(group, last, &(struct span){NULL, 0})) {
            pg_lose(group->connection); /* the result may be COMMIT's */
            last = NULL;
        }
        if (last && result->take && group->txn.error == STORE_OK)
            result->take(group, result->context, &(struct pg_values){.result = last});
        next = result->next;
        free(result);
    }
    group->results = NULL;
    group->results_end = &group->results;
    pg_finish(group->connection);
    store_txn_fail(&group->txn, group->connection->error);
    return last;
}

/* ---- fetching ---- */

/* Rows of the table whose columns are the context. */
static void take_rows(struct group *group, void *context, struct pg_values *values)
{
    enum pg_table table = (enum pg_table)((const struct pg_columns *)context - pg_columns);
    for (; values->row < PQntuples(values->result); values->row++, values->column = 0) {
        struct pg_row found;
        struct group_row *row =
            pg_next_row(values, table, &found) ? obtain(group, table, &found) : NULL;
        if (!row) {
            store_txn_fail(&group->txn, STORE_CORRUPT);
            return;
        }
        row->row = found;
        if (table == PG_TOKENS && !row->exists) {
            row->next = group->tokens;
            group->tokens = row;
        }
        row->stored = row->exists = true;
        if (table < PG_LOOK_UPS)
            group_need_found(group, row);
    }
}

void group_take(struct group *group, enum pg_table table)
{
    PGresult *result = pg_result(group->connection);
    if (result && keep(group, result, &(struct span){NULL, 0}))
        take_rows(group, (void *)(uintptr_t)&pg_columns[table],
                  &(struct pg_values){.result = result});
    pg_finish(group->connection);
    store_txn_fail(&group->txn, group->connection->error);
}

static void queue_rows(struct group *group, enum pg_statement statement,
                       const struct pg_parameters *parameters, enum pg_table table)
{
    queue(group, statement, parameters, take_rows, (void *)(uintptr_t)&pg_columns[table]);
}

static void add_to_batch(struct group_batch *batch, const struct group_row *row, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct pg_column *column = &pg_columns[row->table].columns[i];
        const void *value = (const char *)&row->row + column->offset;
        buffer_append_number(&batch->arrays[i], batch->arrays[i].len ? SPAN(",") : SPAN("{"),
                             *(const int64_t *)value);
    }
}

static void queue_batch(struct group *group, struct group_batch *batch, enum pg_statement statement,
                        enum pg_table table)
{
    struct pg_parameters *parameters = PG_PARAMETERS;
    for (struct buffer *array = batch->arrays; array < batch->arrays + GROUP_ARRAYS; array++) {
        buffer_append_string(array, "}");
        if (array->failed)
            store_txn_fail(&group->txn, STORE_UNAVAILABLE);
        if (array->len > 1)
            pg_span(parameters, buffer_span(array));
    }
    if (parameters->count > 0)
        queue_rows(group, statement, parameters, table);
    for (size_t i = 0; i < GROUP_ARRAYS; i++)
        buffer_free(&batch->arrays[i]);
}

/* For twalk_r: in order, once a row. */
static void queue_row(const void *node, VISIT visit, void *context)
{
    struct group *group = context;
    struct group_row *row = *(struct group_row *const *)node;
    const struct pg_columns *table = &pg_columns[row->table];
    bool is_turn = visit == postorder || visit == leaf;
    if (!is_turn || !row->wanted || (group->looks_up && row->table >= PG_LOOK_UPS))
        return;
    row->wanted = false;
    if (row->table > PG_TOKENS)
        queue_batch(group, &group->locks, PG_LOCK_TOKENS, PG_TOKENS);
    if (row->table == PG_USERS && !row->locks)
        add_to_batch(&group->users, row, 1);
    else if (row->table == PG_TOKENS && !group->connection->distributes)
        add_to_batch(&group->locks, row, 2);
    else
        queue_rows(group, row->locks ? table->lock : table->read,
                   pg_bind(PG_PARAMETERS, row->table, table->key_count, &row->row), row->table);
}

static void take_ids(struct group *group, void *context, struct pg_values *values)
{
    struct pg_ids *ids = context;
    size_t count = (size_t)PQntuples(values->result);
    int64_t *grown = reallocarray(ids->at, ids->count + count, sizeof(*grown));
    if (!grown) {
        store_txn_fail(&group->txn, STORE_UNAVAILABLE);
        return;
    }
    for (ids->at = grown; count > 0; count--, values->row++, values->column = 0)
        ids->at[ids->count++] = pg_next_int(values);
}

static void take_purged(struct group *group, void *context, struct pg_values *values)
{
    struct store_write *write = context;
    const char *count = PQcmdTuples((PGresult *)(uintptr_t)values->result);
    (void)group;
    write->step.more |= strtoull(count, NULL, 10) >= write->step.max;
}

/* One row of integers, into an array. */
static void take_ints(struct group *group, void *context, struct pg_values *values)
{
    int64_t *out = context;
    if (PQntuples(values->result) != 1)
        store_txn_fail(&group->txn, STORE_CORRUPT);
    else
        for (int i = 0; i < PQnfields(values->result); i++)
            out[i] = pg_next_int(values);
}

/* Takes as many ids off the sequences as are needed beside those that earlier groups have left. */
static void send_ids(struct group *group)
{
    static const char *const sequences[] = {
        [STORE_IDS_USER] = "user_ids",
        [STORE_IDS_TOKEN] = "token_ids",
        [STORE_IDS_GATEWAY] = "gateway_ids",
        [STORE_IDS_RESERVATION] = "reservation_ids",
    };
    for (size_t i = 0; i < STORE_IDS_COUNT; i++) {
        struct pg_ids *ids = &group->connection->store->ids[i];
        if (group->ids_needed[i] > ids->count)
            queue(group, PG_TAKE_IDS,
                  pg_int(pg_span(PG_PARAMETERS, span_of(sequences[i])),
                         (int64_t)(group->ids_needed[i] - ids->count)),
                  take_ids, ids);
    }
}

/* If there was an import since ids were taken off the sequences, it may have used them: drops those
 * that are left, and has the group tried again. To be called once locks of users are held, as they
 * exclude an import. */
static void check_ids(struct group *group)
{
    struct pg_store *store = group->connection->store;
    int64_t before = store->ids_imports;
    store->ids_imports = group->meta.imports + 1;
    if (group->txn.error != STORE_OK || before == 0 || before == store->ids_imports)
        return;
    for (size_t i = 0; i < STORE_IDS_COUNT; i++)
        store->ids[i].count = 0;
    group->connection->repeat = true;
    store_txn_fail(&group->txn, pg_fail(group->connection, STORE_UNAVAILABLE, ""));
}

/* All rows that are needed; those of found keys and reservations too. */
static void queue_all(struct group *group)
{
    if (group->looks_up) {
        twalk_r(group->rows, queue_row, group);
        group_sync(group);
        group->looks_up = false;
    }
    twalk_r(group->rows, queue_row, group);
    queue_batch(group, &group->locks, PG_LOCK_TOKENS, PG_TOKENS);
    queue_batch(group, &group->users, PG_READ_USERS, PG_USERS);
}

static void finish_fetch(struct group *group)
{
    group_sync(group);
    bool writes = pg_check_writer(group->connection, group->meta.lowest_writer) == STORE_OK;
    if (writes && group->txn.error == STORE_OK &&
        group->meta.secret_generation != atomic_load(&group->connection->store->base.generation))
        pg_lose(group->connection); /* another connection reads the rotation's state */
    store_txn_fail(&group->txn, group->connection->error);
}

/* In one round trip; in two where keys or reservations have to be looked up first. */
void group_fetch(struct group *group, struct span id, int64_t *attempt)
{
    queue(group, PG_BEGIN, PG_PARAMETERS, NULL, NULL);
    if (group->writes->kind == STORE_SECRET) {
        queue(group, PG_LIMIT_LOCK, PG_PARAMETERS, NULL, NULL);
        queue(group, PG_LOCK_META, PG_PARAMETERS, NULL, NULL);
    }
    queue(group, PG_PUT_COMMIT, pg_int(pg_span(PG_PARAMETERS, id), *attempt), take_ints, attempt);
    for (struct store_write *write = group->writes; write; write = write->next) {
        group_need_write(group, write);
        for (int i = PG_PURGE_ANSWERS; write->kind == STORE_PURGE && i <= PG_PURGE_COMMITS; i++) {
            write->step.more = false;
            queue(group, (enum pg_statement)i, pg_int(PG_PARAMETERS, (int64_t)write->step.max),
                  take_purged, write);
        }
    }
    queue_all(group);
    queue(group, PG_READ_META, PG_PARAMETERS, take_ints, &group->meta);
    send_ids(group);
    for (struct store_write *write = group->writes; write; write = write->next)
        if (write->kind == STORE_USER_DELETE)
            queue_rows(group, PG_LOCK_TOKENS_OF,
                       pg_int(pg_int(PG_PARAMETERS, write->user_id), (int64_t)write->step.max),
                       PG_TOKENS);
    finish_fetch(group);
    check_ids(group);
}

void group_fetch_rows(struct group *group, const struct store_row *rows, size_t count)
{
    queue(group, PG_READ_META, PG_PARAMETERS, take_ints, &group->meta);
    for (size_t i = 0; i < count; i++)
        group_need_row(group, &rows[i]);
    group_sync(group);
    group_look_up(group);
    queue_all(group);
    finish_fetch(group);
}

/* ---- changes ---- */

/* For twalk_r. */
static void send_change(const void *node, VISIT visit, void *context)
{
    struct group *group = context;
    const struct group_row *row = *(struct group_row *const *)node;
    const struct pg_columns *table = &pg_columns[row->table];
    bool is_use = row->stored && row->changed <= table->use_count;
    size_t count = !row->exists ? table->key_count : is_use ? table->use_count : table->count;
    if ((visit != postorder && visit != leaf) || !(row->exists ? row->changed > 0 : row->stored) ||
        (group->imports && !row->stored)) /* group_copy */
        return;
    if (row->exists && is_use && row->table == PG_TOKENS && !group->connection->distributes)
        add_to_batch(&group->uses, row, count);
    else
        group_send(group,
                   !row->exists  ? table->delete
                   : is_use      ? table->use
                   : row->stored ? table->update
                                 : table->insert,
                   pg_bind(PG_PARAMETERS, row->table, count, &row->row));
}

void group_send_changes(struct group *group)
{
    twalk_r(group->rows, send_change, group);
    queue_batch(group, &group->uses, PG_USE_TOKENS, PG_TOKENS);
}

/* Ids that were not taken are left for the next group if this one is committed: else their sequence
 * may give them again, after a crash or from a standby. */
void group_clear(struct group *group)
{
    for (size_t i = 0; i < STORE_IDS_COUNT; i++) {
        struct pg_ids *ids = &group->connection->store->ids[i];
        bool committed = group->connection->error == STORE_OK;
        size_t taken = committed ? (size_t)group->txn.ids[i] : ids->count;
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
