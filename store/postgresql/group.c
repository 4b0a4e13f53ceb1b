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
        for (size_t i = 0; i < pg_columns[table].key_count; i++)
            if (pg_is_span(&pg_columns[table].columns[i]))
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
        row->used |= column->is_use;
        row->changed |= !column->is_use;
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

/* PostgreSQL's binary array of bigint: dimensions, flags, type, length, first index; then each
 * number behind its length. */
static const unsigned char array_head[20] = {[3] = 1, [11] = 20, [19] = 1};
enum { ARRAY_LENGTH_AT = 12, ARRAY_ITEM_LEN = 12 };

/* A row's key or, for a use, what pg_bind_use takes of it. */
static void add_to_batch(struct group_batch *batch, const struct group_row *row, bool is_use)
{
    const struct pg_columns *table = &pg_columns[row->table];
    struct pg_parameters *values =
        is_use ? pg_bind_use(PG_PARAMETERS, row->table, &row->row)
               : pg_bind(PG_PARAMETERS, row->table, table->key_count, &row->row);
    for (int i = 0; i < values->count; i++) {
        struct buffer *array = &batch->arrays[i];
        if (array->len == 0)
            buffer_append(array, (struct span){(const char *)array_head, sizeof(array_head)});
        buffer_append(array, (struct span){"\0\0\0\10", 4});
        buffer_append(array, (struct span){values->values[i], 8});
    }
}

static void queue_batch(struct group *group, struct group_batch *batch, enum pg_statement statement,
                        enum pg_table table)
{
    struct pg_parameters *parameters = PG_PARAMETERS;
    for (struct buffer *array = batch->arrays; array < batch->arrays + GROUP_ARRAYS; array++) {
        if (array->failed)
            store_txn_fail(&group->txn, STORE_UNAVAILABLE);
        if (array->failed || array->len == 0)
            continue;
        size_t count = (array->len - sizeof(array_head)) / ARRAY_ITEM_LEN;
        put_big32(array->at + ARRAY_LENGTH_AT, (uint32_t)count);
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
    if (!is_turn || !row->wanted || (group->looks_up && row->table >= PG_LOOK_UPS) ||
        row->table == PG_OPEN)
        return;
    row->wanted = false;
    if (row->table > PG_USERS)
        queue_batch(group, &group->user_locks, PG_LOCK_USERS, PG_USERS);
    if (row->table > PG_TOKENS)
        queue_batch(group, &group->token_locks, PG_LOCK_TOKENS, PG_TOKENS);
    if (row->table == PG_USERS && group->wants_groups)
        add_to_batch(&group->grants, row, false);
    if (row->table == PG_USERS && !row->locks)
        add_to_batch(&group->users, row, false);
    else if (row->table == PG_USERS && !group->connection->distributes)
        add_to_batch(&group->user_locks, row, false);
    else if (row->table == PG_TOKENS && !group->connection->distributes)
        add_to_batch(&group->token_locks, row, false);
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

/* The group is tried again. */
static void repeat(struct group *group)
{
    group->connection->repeat = true;
    store_txn_fail(&group->txn, pg_fail(group->connection, STORE_UNAVAILABLE, ""));
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
    repeat(group);
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
    queue_batch(group, &group->user_locks, PG_LOCK_USERS, PG_USERS);
    queue_batch(group, &group->token_locks, PG_LOCK_TOKENS, PG_TOKENS);
    queue_batch(group, &group->users, PG_READ_USERS, PG_USERS);
    queue_batch(group, &group->grants, PG_READ_GRANTS, PG_GRANTS);
    if (group->wants_groups)
        queue_rows(group, PG_READ_ALL_GROUPS, PG_PARAMETERS, PG_GROUPS);
}

/* For twalk_r: what is open of tokens that have a limit, or may have one soon. */
static void queue_open(const void *node, VISIT visit, void *context)
{
    struct group *group = context;
    const struct group_row *row = *(struct group_row *const *)node;
    if ((visit != postorder && visit != leaf) || row->table != PG_OPEN || !row->wanted)
        return;
    const struct group_row *token = group_find(
        &group->txn, PG_TOKENS, PG_ROW(.user_id = row->row.user_id, .id = row->row.token_id));
    if (token->row.token.max_parallel_requests > 0 || group->updates)
        queue_rows(group, PG_READ_OPEN, pg_bind(PG_PARAMETERS, PG_OPEN, 2, &row->row), PG_OPEN);
}

/* In a round trip more, that of the limits of open reservations. */
static void finish_fetch(struct group *group)
{
    struct pg_store *store = group->connection->store;
    group_sync(group);
    twalk_r(group->rows, queue_open, group);
    if (group->results)
        group_sync(group);
    if (group->txn.error == STORE_OK) {
        store->groups_checked = group->meta.groups_checked != 0;
        if (store->groups_checked && !group->wants_groups && !group->imports)
            repeat(group);
    }
    bool writes = pg_check_writer(group->connection, group->meta.lowest_writer) == STORE_OK;
    if (writes && group->txn.error == STORE_OK &&
        group->meta.secret_generation != atomic_load(&group->connection->store->base.generation))
        pg_lose(group->connection); /* another connection reads the rotation's state */
    store_txn_fail(&group->txn, group->connection->error);
}

static void queue_purges(struct group *group, struct store_write *write)
{
    struct pg_parameters *max = pg_int(PG_PARAMETERS, (int64_t)write->step.max);
    int64_t audit_days = group->connection->store->base.audit_days;
    write->step.more = false;
    for (int i = PG_PURGE_ANSWERS; i <= PG_PURGE_AUDIT_OF; i++)
        queue(group, (enum pg_statement)i, max, take_purged, write);
    if (audit_days > 0)
        queue(group, PG_PURGE_AUDIT, pg_int(max, audit_days), take_purged, write);
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
    group->wants_groups = group->connection->store->groups_checked;
    for (struct store_write *write = group->writes; write; write = write->next) {
        group_need_write(group, write);
        if (write->kind == STORE_PURGE)
            queue_purges(group, write);
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
    bool is_use = row->stored && !row->changed;
    if ((visit != postorder && visit != leaf) ||
        !(row->exists ? row->used || row->changed : row->stored) ||
        (group->imports && !row->stored)) /* group_copy */
        return;
    if (!row->exists)
        group_send(group, table->delete,
                   pg_bind(PG_PARAMETERS, row->table, table->key_count, &row->row));
    else if (!is_use)
        group_send(group, row->stored ? table->update : table->insert,
                   pg_bind(PG_PARAMETERS, row->table, table->count, &row->row));
    else if (!group->connection->distributes)
        add_to_batch(row->table == PG_USERS ? &group->user_uses : &group->token_uses, row, true);
    else
        group_send(group, table->use, pg_bind_use(PG_PARAMETERS, row->table, &row->row));
}

void group_send_changes(struct group *group)
{
    twalk_r(group->rows, send_change, group);
    queue_batch(group, &group->user_uses, PG_USE_USERS, PG_USERS);
    queue_batch(group, &group->token_uses, PG_USE_TOKENS, PG_TOKENS);
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
