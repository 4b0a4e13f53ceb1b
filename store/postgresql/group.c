#include "store/postgresql/group.h"

#include <stdlib.h>

#include "base/bytes.h"

/* ---- sets of rows ---- */

static int compare_keys(const void *left, const void *right)
{
    return memcmp(left, right, ROW_KEY_LEN); /* the first member */
}

struct group_row *group_find(struct group *group, enum set set, const void *key, size_t len)
{
    const struct group_set *rows = &group->sets[set];
    unsigned char full[ROW_KEY_LEN] = {0};
    memcpy(full, key, len);
    /* A new row is looked for only when it has just been added. */
    if (rows->count > rows->sorted && compare_keys(full, &rows->rows[rows->count - 1]) == 0)
        return &rows->rows[rows->count - 1];
    return rows->sorted == 0
               ? NULL
               : bsearch(full, rows->rows, rows->sorted, sizeof(*rows->rows), compare_keys);
}

struct group_row *group_find_id(struct group *group, enum set set, int64_t id)
{
    return group_find(group, set, group_ids(id, 0).at, 8);
}

struct group_row *group_find_token(struct group *group, int64_t user_id, int64_t token_id)
{
    return group_find(group, SET_TOKENS, group_ids(user_id, token_id).at, 16);
}

struct group_row *group_find_reservation(struct group *group, int64_t user_id, int64_t id)
{
    return group_find(group, SET_RESERVATIONS, group_ids(user_id, id).at, 16);
}

struct group_row *group_append(struct group *group, enum set set, const void *key, size_t len)
{
    struct group_set *rows = &group->sets[set];
    if (rows->count == rows->size) {
        size_t size = rows->size ? rows->size * 2 : 64;
        struct group_row *grown = reallocarray(rows->rows, size, sizeof(*grown));
        if (!grown) {
            store_txn_fail(&group->txn, pg_fail(group->connection, STORE_UNAVAILABLE));
            return NULL;
        }
        rows->rows = grown;
        rows->size = size;
    }
    struct group_row *row = &rows->rows[rows->count++];
    memset(row, 0, sizeof(*row));
    memcpy(row->key, key, len);
    return row;
}

struct group_row *group_add(struct group *group, enum set set, const void *key, size_t len)
{
    struct group_row *row = group_find(group, set, key, len);
    return row ? row : group_append(group, set, key, len);
}

struct group_row *group_add_id(struct group *group, enum set set, int64_t id)
{
    return group_add(group, set, group_ids(id, 0).at, 8);
}

struct group_row *group_add_token(struct group *group, int64_t user_id, int64_t token_id)
{
    return group_add(group, SET_TOKENS, group_ids(user_id, token_id).at, 16);
}

/* Puts the rows in order, each once. */
static void sort_set(struct group_set *set)
{
    size_t count = 0;
    if (set->count > 0)
        qsort(set->rows, set->count, sizeof(*set->rows), compare_keys);
    for (size_t i = 0; i < set->count; i++) {
        if (count > 0 && compare_keys(&set->rows[count - 1], &set->rows[i]) == 0)
            set->rows[count - 1].locked |= set->rows[i].locked;
        else
            set->rows[count++] = set->rows[i];
        set->rows[count - 1].all |= set->rows[i].all;
    }
    set->count = set->sorted = count;
}

/* ---- fetching ---- */

/* The next result; it is kept as long as the group. NULL after a failure. */
static PGresult *take(struct group *group)
{
    PGresult *result = pg_result(group->connection);
    if (result && group->result_count == group->result_size) {
        size_t size = group->result_size ? group->result_size * 2 : 64;
        PGresult **grown = reallocarray(group->results, size, sizeof(PGresult *));
        if (!grown) {
            pg_fail(group->connection, STORE_UNAVAILABLE);
            PQclear(result);
            return NULL;
        }
        group->results = grown;
        group->result_size = size;
    }
    if (result)
        group->results[group->result_count++] = result;
    return result;
}

/* How the rows of a set are fetched: the parts of a row's key are the statement's parameters. A
 * text's length is that without the zeros. */
static const struct {
    enum statement statement;
    size_t parts[2];
} fetches[SET_COUNT] = {
    [SET_USERS] = {SQL_GET_USER, {8}},
    [SET_TOKENS] = {SQL_LOCK_TOKEN, {8, 8}},
    [SET_RESERVATIONS] = {SQL_LOCK_RESERVATION, {8, 8}},
    [SET_ANSWERS] = {SQL_LOCK_ANSWER, {STORE_HASH_LEN}},
    [SET_NAMES] = {SQL_LOCK_NAME, {0}},
    [SET_GATEWAYS] = {SQL_LOCK_GATEWAY, {8}},
    [SET_KEPT] = {SQL_COUNT_KEPT, {8}},
    [SET_PLACES] = {SQL_COUNT_PLACES, {8}},
    [SET_KEYS] = {SQL_FIND_KEY, {SEAL_HASH_LEN}},
    [SET_FOUND] = {SQL_FIND_RESERVATION, {8}},
};

static void send_set(struct group *group, enum set set)
{
    struct group_set *rows = &group->sets[set];
    sort_set(rows);
    for (size_t i = 0; i < rows->count; i++) {
        const struct group_row *row = &rows->rows[i];
        const size_t *parts = fetches[set].parts;
        struct pg_parameters parameters = {.count = 0};
        pg_bytes(&parameters, row->key,
                 parts[0] ? parts[0] : strnlen((const char *)row->key, ROW_KEY_LEN));
        if (parts[1])
            pg_bytes(&parameters, row->key + parts[0], parts[1]);
        pg_send(group->connection, row->locked ? SQL_LOCK_USER : fetches[set].statement,
                &parameters);
    }
}

/* Whose a key or a reservation is: that is needed too. */
static void load_found(struct group *group, enum set set, struct group_row *row,
                       struct pg_row *columns)
{
    row->user_id = pg_next_int(columns);
    row->token_id = pg_next_int(columns);
    group_need_user(group, row->user_id, false);
    group_need_tokens(group, row->user_id, &row->token_id, 1);
    if (set == SET_KEYS && row->all)
        group_append(group, SET_PLACES, group_ids(row->user_id, 0).at, 8);
    if (set == SET_FOUND)
        group_append(group, SET_RESERVATIONS, group_ids(row->user_id, get_big64(row->key)).at, 16);
}

static void load(struct group *group, enum set set, struct group_row *row, struct pg_row *columns)
{
    int64_t id;
    row->exists = true;
    if (set == SET_USERS) {
        pg_read_user(columns, &id, &row->user, &row->token_count);
    } else if (set == SET_TOKENS) {
        pg_read_token(columns, &row->token, &row->keys);
    } else if (set == SET_RESERVATIONS) {
        pg_read_reservation(columns, &row->reservation);
    } else if (set == SET_ANSWERS) {
        struct record_answer *answer = &row->answer;
        answer->user_id = pg_next_int(columns);
        answer->created_s = pg_next_int(columns);
        columns->bad |= !pg_next_bytes(columns, answer->request_hash, STORE_HASH_LEN);
        answer->sealed = pg_next_text(columns);
    } else if (set == SET_NAMES) {
        row->user_id = pg_next_int(columns);
    } else if (set == SET_KEPT) {
        row->kept.count = (uint64_t)pg_next_int(columns);
        row->kept.len = (uint64_t)pg_next_int(columns);
        row->kept.oldest_s = pg_next_int(columns);
        row->answer_count = (uint64_t)pg_next_int(columns);
    } else if (set == SET_PLACES) {
        row->places.count = (uint64_t)pg_next_int(columns);
        row->places.ended_count = (uint64_t)pg_next_int(columns);
        row->places.due_s = pg_next_int(columns);
    } else if (set != SET_GATEWAYS) {
        load_found(group, set, row, columns);
    }
    if (columns->bad)
        pg_fail(group->connection, STORE_CORRUPT);
}

static void take_set(struct group *group, enum set set)
{
    struct group_set *rows = &group->sets[set];
    PGresult *result;
    for (size_t i = 0; i < rows->sorted && (result = take(group)); i++)
        if (PQntuples(result) > 0)
            load(group, set, &rows->rows[i], &(struct pg_row){.result = result});
}

/* The tokens of users that are being deleted. */
static void send_deleted(struct group *group)
{
    for (struct store_write *write = group->writes; write; write = write->next)
        if (write->kind == STORE_USER_DELETE)
            pg_send(group->connection, SQL_LOCK_TOKENS, pg_int(PG_PARAMETERS, write->user_id));
}

static void take_deleted(struct group *group)
{
    PGresult *result;
    for (struct store_write *write = group->writes; write; write = write->next) {
        if (write->kind != STORE_USER_DELETE || !(result = take(group)))
            continue;
        for (int i = 0; i < PQntuples(result); i++) {
            struct pg_row columns = {.result = result, .row = i};
            int64_t id = pg_next_int(&(struct pg_row){.result = result, .row = i, .column = 1});
            struct group_row *row =
                group_append(group, SET_TOKENS, group_ids(write->user_id, id).at, 16);
            if (row)
                load(group, SET_TOKENS, row, &columns);
        }
    }
    sort_set(&group->sets[SET_TOKENS]);
}

static const enum statement id_statements[STORE_IDS_COUNT] = {
    SQL_TAKE_USER_IDS, SQL_TAKE_TOKEN_IDS, SQL_TAKE_GATEWAY_IDS, SQL_TAKE_RESERVATION_IDS};

/* How many ids are to be taken off a sequence. */
static size_t ids_missing(const struct group *group, size_t kind)
{
    size_t held = group->connection->store->ids[kind].count, needed = group->ids_needed[kind];
    return needed > held ? needed - held : 0;
}

static void take_ids(struct group *group, size_t kind)
{
    struct pg_ids *ids = &group->connection->store->ids[kind];
    const PGresult *result = take(group);
    size_t more = (size_t)PQntuples(result);
    int64_t *grown = reallocarray(ids->at, ids->count + more + 1, sizeof(*grown));
    if (!grown) {
        pg_fail(group->connection, STORE_UNAVAILABLE);
        return;
    }
    ids->at = grown;
    for (size_t i = 0; i < more; i++)
        ids->at[ids->count++] = pg_next_int(&(struct pg_row){.result = result, .row = (int)i});
}

/* Ids that are left are for the next group. But a reservation's is a part of a second. */
static void drop_taken_ids(struct group *group, size_t kind)
{
    struct pg_ids *ids = &group->connection->store->ids[kind];
    size_t taken = kind == STORE_IDS_RESERVATION ? ids->count : (size_t)group->txn.ids[kind];
    ids->count -= taken;
    if (taken > 0)
        memmove(ids->at, ids->at + taken, ids->count * sizeof(*ids->at));
}

static void send_begin(struct group *group, const unsigned char *id, size_t id_len, int64_t attempt)
{
    pg_send(group->connection, SQL_BEGIN, PG_PARAMETERS);
    pg_send(group->connection, SQL_PUT_COMMIT,
            pg_int(pg_bytes(PG_PARAMETERS, id, id_len), attempt));
    pg_send(group->connection, SQL_GET_META, PG_PARAMETERS);
    for (size_t i = 0; i < STORE_IDS_COUNT; i++)
        if (ids_missing(group, i) > 0)
            pg_send(group->connection, id_statements[i],
                    pg_int(PG_PARAMETERS, (int64_t)ids_missing(group, i)));
    if (group->purge)
        pg_send(group->connection, SQL_OLDEST, PG_PARAMETERS);
}

static void take_begin(struct group *group, int64_t *attempt)
{
    take(group);
    struct pg_row put = {.result = take(group)};
    struct pg_row meta = {.result = take(group)};
    if (!meta.result)
        return;
    *attempt = pg_next_int(&put);
    int64_t lowest_writer = PQntuples(meta.result) == 1 ? pg_next_int(&meta) : 0;
    group->now_s = lowest_writer ? pg_next_int(&meta) : 0;
    if (lowest_writer > PG_SCHEMA_VERSION) {
        atomic_store(&group->connection->store->base.broken, true);
        pg_fail(group->connection, STORE_BROKEN);
    }
    for (size_t i = 0; i < STORE_IDS_COUNT; i++)
        if (ids_missing(group, i) > 0)
            take_ids(group, i);
    struct pg_row oldest = {.result = group->purge ? take(group) : NULL};
    if (oldest.result) {
        group->oldest_answer_s = pg_next_int(&oldest);
        group->oldest_due_s = pg_next_int(&oldest);
    }
}

void group_fetch(struct group *group, const unsigned char *id, size_t id_len, int64_t *attempt)
{
    int64_t own_attempt = *attempt;
    for (const struct store_write *write = group->writes; write; write = write->next)
        group_need(group, write);
    bool looks_up = group->sets[SET_KEYS].count + group->sets[SET_FOUND].count > 0;
    send_begin(group, id, id_len, own_attempt);
    if (looks_up) {
        send_set(group, SET_KEYS);
        send_set(group, SET_FOUND);
        pg_sync(group->connection);
        take_begin(group, attempt);
        take_set(group, SET_KEYS);
        take_set(group, SET_FOUND);
        pg_finish(group->connection);
        if (*attempt != own_attempt)
            return;
    }
    for (enum set set = 0; set < SET_KEYS; set++)
        send_set(group, set);
    send_deleted(group);
    pg_sync(group->connection);
    if (!looks_up)
        take_begin(group, attempt);
    for (enum set set = 0; set < SET_KEYS; set++)
        take_set(group, set);
    take_deleted(group);
    pg_finish(group->connection);
}

/* ---- changes ---- */

void group_send(struct group *group, enum statement statement,
                const struct pg_parameters *parameters)
{
    pg_send(group->connection, statement, parameters);
    group->sent++;
    if (group->connection->error != STORE_OK)
        store_txn_fail(&group->txn, group->connection->error);
}

static void send_user(struct group *group, const struct group_row *row)
{
    struct pg_parameters parameters = {.count = 0};
    if (row->exists)
        pg_bind_user(&parameters, get_big64(row->key), &row->user, row->token_count);
    else
        pg_int(&parameters, get_big64(row->key));
    if (row->exists || !row->is_new)
        group_send(group,
                   !row->exists  ? SQL_DELETE_USER
                   : row->is_new ? SQL_ADD_USER
                                 : SQL_SET_USER,
                   &parameters);
}

static void send_token(struct group *group, const struct group_row *row)
{
    const struct token *token = &row->token;
    struct pg_parameters parameters = {.count = 0};
    if (row->exists && (row->is_new || row->all)) {
        pg_bind_token(&parameters, token, &row->keys);
        group_send(group, row->is_new ? SQL_ADD_TOKEN : SQL_SET_TOKEN, &parameters);
    } else if (row->exists) {
        pg_int(pg_int(&parameters, token->user_id), token->id);
        pg_int(pg_int(&parameters, token->remain_quota), token->used_quota);
        group_send(group, SQL_SET_USE, pg_int(&parameters, token->accessed_unix_s));
    } else if (!row->is_new) {
        pg_int(pg_int(&parameters, get_big64(row->key)), get_big64(row->key + 8));
        group_send(group, SQL_DELETE_TOKEN, &parameters);
    }
}

void group_send_changes(struct group *group)
{
    const struct group_set *users = &group->sets[SET_USERS], *tokens = &group->sets[SET_TOKENS];
    for (size_t i = 0; i < users->count; i++)
        if (users->rows[i].changed)
            send_user(group, &users->rows[i]);
    for (size_t i = 0; i < tokens->count; i++)
        if (tokens->rows[i].changed)
            send_token(group, &tokens->rows[i]);
}

void group_clear(struct group *group)
{
    struct group_set *answers = &group->sets[SET_ANSWERS];
    for (size_t i = 0; i < answers->count; i++)
        if (answers->rows[i].is_new)
            free((void *)(uintptr_t)answers->rows[i].answer.sealed.at);
    for (size_t i = 0; i < STORE_IDS_COUNT; i++)
        drop_taken_ids(group, i);
    for (size_t i = 0; i < SET_COUNT; i++)
        free(group->sets[i].rows);
    for (size_t i = 0; i < group->result_count; i++)
        PQclear(group->results[i]);
    free(group->results);
}
