/* All rows, out of the database in one snapshot, and into it in one transaction. */

#include <stdlib.h>

#include "base/clock.h"
#include "store/postgresql/group.h"

enum { TRANSFER_MS = 24 * 3600 * 1000 };

/* ---- out ---- */

struct transfer {
    struct store_reader *reader;
    store_visit_row *visit;
    void *context;
    int64_t difference_s; /* of the clock to the database's time */
    int64_t user_id;      /* whose tokens come */
};

static enum store_error show(const struct transfer *transfer, const struct store_row *row)
{
    return transfer->visit(transfer->context, row) ? STORE_OK : STORE_UNAVAILABLE;
}

static enum store_error show_ids(struct transfer *transfer, struct pg_values *values)
{
    struct store_row row = {.kind = STORE_ROW_IDS};
    transfer->difference_s -= pg_next_int(values);
    for (size_t i = 0; i < STORE_IDS_COUNT; i++)
        row.next_ids[i] = pg_next_int(values);
    row.foreign_keys = pg_next_int(values) != 0;
    row.groups_checked = pg_next_int(values) != 0;
    return show(transfer, &row);
}

static enum store_error show_gateway(struct transfer *transfer, struct pg_values *values)
{
    struct pg_row from;
    if (!pg_next_row(values, PG_GATEWAYS, &from))
        return STORE_CORRUPT;
    return show(transfer, &(struct store_row){
                              .kind = STORE_ROW_GATEWAY, .id = from.id, .gateway = from.gateway});
}

/* A user and one of its tokens, which may be NULL. */
static enum store_error show_user(struct transfer *transfer, struct pg_values *values)
{
    struct pg_row from;
    enum store_error error = STORE_OK;
    if (!pg_next_row(values, PG_USERS, &from))
        return STORE_CORRUPT;
    struct span owner_group = from.user.group;
    store_shift_rates(&from.user.account.rates, transfer->difference_s);
    if (from.user_id != transfer->user_id)
        error = show(transfer, &(struct store_row){
                                   .kind = STORE_ROW_USER, .id = from.user_id, .user = from.user});
    transfer->user_id = from.user_id;
    values->column = PQfnumber(values->result, "id") - 1; /* a token's user_id is before it */
    if (error != STORE_OK || PQgetisnull(values->result, 0, values->column))
        return error;
    if (!pg_next_row(values, PG_TOKENS, &from))
        return STORE_CORRUPT;
    store_shift_rates(&from.token.rates, transfer->difference_s);
    if (from.token.group_is_old && span_equal(from.token.group, owner_group))
        from.token.group = SPAN("");
    return show(transfer, &(struct store_row){.kind = STORE_ROW_TOKEN,
                                              .id = from.id,
                                              .token = from.token,
                                              .keys = from.keys});
}

static enum store_error show_reservation(struct transfer *transfer, struct pg_values *values)
{
    struct pg_row from;
    if (!pg_next_row(values, PG_RESERVATIONS, &from))
        return STORE_CORRUPT;
    struct store_row row = {
        .kind = STORE_ROW_RESERVATION, .id = from.id, .reservation = from.reservation};
    row.reservation.user_id = from.user_id;
    row.reservation.created_s += transfer->difference_s;
    row.reservation.due_s += transfer->difference_s;
    return show(transfer, &row);
}

static enum store_error show_group(struct transfer *transfer, struct pg_values *values)
{
    struct pg_row from;
    if (!pg_next_row(values, PG_GROUPS, &from))
        return STORE_CORRUPT;
    return show(transfer, &(struct store_row){
                              .kind = STORE_ROW_GROUP, .name = from.name, .group = from.group});
}

static enum store_error show_grant(struct transfer *transfer, struct pg_values *values)
{
    struct pg_row from;
    if (!pg_next_row(values, PG_GRANTS, &from))
        return STORE_CORRUPT;
    return show(transfer, &(struct store_row){.kind = STORE_ROW_GRANT,
                                              .grant = {from.user_id, .group = from.name}});
}

static enum store_error show_model(struct transfer *transfer, struct pg_values *values)
{
    struct pg_row from;
    if (!pg_next_row(values, PG_MODELS, &from))
        return STORE_CORRUPT;
    return show(transfer, &(struct store_row){.kind = STORE_ROW_MODEL, .name = from.name});
}

static enum store_error show_usage(struct transfer *transfer, struct pg_values *values)
{
    struct pg_row from;
    if (!pg_next_row(values, PG_USAGE, &from))
        return STORE_CORRUPT;
    return show(transfer, &(struct store_row){.kind = STORE_ROW_USAGE,
                                              .usage = {from.user_id, from.token_id, from.usage.day,
                                                        from.usage.units, from.usage.requests}});
}

static enum store_error show_audit(struct transfer *transfer, struct pg_values *values)
{
    struct pg_row from;
    if (!pg_next_row(values, PG_AUDIT, &from))
        return STORE_CORRUPT;
    struct store_row row = {.kind = STORE_ROW_AUDIT, .id = from.id, .audit = from.audit};
    row.audit.id = from.id;
    row.audit.user_id = from.user_id;
    row.audit.token_id = from.token_id;
    return show(transfer, &row);
}

enum store_error postgresql_export(struct store_reader *base, int64_t now_unix_s,
                                   store_visit_row *visit, void *context)
{
    static const struct {
        enum pg_statement statement;
        enum store_error (*show)(struct transfer *transfer, struct pg_values *values);
    } passes[] = {{PG_EXPORT_IDS, show_ids},      {PG_EXPORT_GATEWAYS, show_gateway},
                  {PG_EXPORT_USERS, show_user},   {PG_EXPORT_RESERVATIONS, show_reservation},
                  {PG_EXPORT_GROUPS, show_group}, {PG_EXPORT_GRANTS, show_grant},
                  {PG_EXPORT_MODELS, show_model}, {PG_EXPORT_USAGE, show_usage},
                  {PG_EXPORT_AUDIT, show_audit}};
    struct pg_reader *reader = (struct pg_reader *)base;
    struct transfer transfer = {base, visit, context, now_unix_s, 0};
    struct pg_values values;
    reader->wait_ms = TRANSFER_MS;
    enum store_error error = pg_read(base, PG_BEGIN_SNAPSHOT, PG_PARAMETERS, &values);
    for (size_t i = 0; error == STORE_NOT_FOUND && i < sizeof(passes) / sizeof(passes[0]); i++) {
        error = pg_read(base, passes[i].statement, PG_PARAMETERS, &values);
        while (error == STORE_OK) {
            error = passes[i].show(&transfer, &values);
            error = error == STORE_OK ? pg_next(base, &values) : error;
        }
    }
    reader->wait_ms = 0;
    pg_disconnect(&reader->connection); /* and its transaction */
    return error == STORE_NOT_FOUND ? STORE_OK : error;
}

/* ---- in ---- */

static struct group new_group(struct pg_connection *connection)
{
    return (struct group){.txn = {.rows = &group_rows, .seal = connection->store->base.seal},
                          .connection = connection,
                          .imports = true};
}

/* The lock: nobody takes names that the import may have, or ids without a look at meta.imports
 * (check_ids). Whoever waits for it is not kept by an import whose machine is gone. */
static enum store_error begin(struct pg_store *store)
{
    struct pg_connection *connection = &store->writer;
    pg_begin(connection, clock_ms() + PG_DEADLINE_MS);
    connection->deadline_ms = clock_ms() + TRANSFER_MS;
    if (!store->is_new)
        pg_send(connection, PG_BEGIN, PG_PARAMETERS);
    pg_send_text(connection,
                 store->is_new ? "SET LOCAL idle_in_transaction_session_timeout = 0"
                               : "SET LOCAL idle_in_transaction_session_timeout = '1min'",
                 PG_PARAMETERS);
    pg_send_text(connection, "LOCK TABLE users IN EXCLUSIVE MODE", PG_PARAMETERS);
    pg_send_text(connection, "UPDATE meta SET imports = imports + 1", PG_PARAMETERS);
    pg_sync(connection);
    for (int count = store->is_new ? 3 : 4; count > 0; count--)
        PQclear(pg_result(connection));
    pg_finish(connection);
    return connection->error;
}

/* raised[]: of the groups before, and this one. */
static enum store_error import_rows(struct pg_connection *connection, struct store_import *import,
                                    struct store_row *rows, size_t count,
                                    int64_t raised[static STORE_IDS_COUNT])
{
    struct group group = new_group(connection);
    group.results_end = &group.results;
    memcpy(group.raised, raised, sizeof(group.raised));
    group_fetch_rows(&group, rows, count);
    for (size_t i = 0; i < count && group.txn.error == STORE_OK; i++)
        store_import_row(&group.txn, import, &rows[i]);
    if (group.txn.error == STORE_OK)
        group_send_changes(&group);
    group_sync(&group);
    if (group.txn.error == STORE_OK)
        group_copy(&group);
    memcpy(raised, group.raised, sizeof(group.raised));
    enum store_error error = group.txn.error;
    group_clear(&group);
    return error;
}

static enum store_error commit(struct pg_connection *connection, const int64_t *raised)
{
    struct group group = new_group(connection);
    group.results_end = &group.results;
    connection->warned = false;
    group_send(
        &group, PG_RAISE_IDS,
        pg_int(pg_int(pg_int(PG_PARAMETERS, raised[STORE_IDS_USER]), raised[STORE_IDS_TOKEN]),
               raised[STORE_IDS_GATEWAY]));
    group_send(&group, PG_COMMIT, PG_PARAMETERS);
    const PGresult *result = group_sync(&group);
    bool committed = result && strcmp(PQcmdStatus((PGresult *)(uintptr_t)result), "COMMIT") == 0;
    enum store_error error = group.txn.error;
    if (connection->lost || connection->warned)
        error = STORE_UNKNOWN;
    else if (!committed)
        error = error == STORE_OK ? STORE_UNAVAILABLE : error;
    group_clear(&group);
    return error;
}

enum store_error postgresql_import(struct store *base, int64_t now_unix_s, store_take_rows *take,
                                   void *context)
{
    struct pg_store *store = (struct pg_store *)base;
    struct pg_connection *connection = &store->writer;
    struct store_import import = {.now_unix_s = now_unix_s};
    struct store_row *rows;
    int64_t raised[STORE_IDS_COUNT] = {0};
    size_t count;
    bool keeps = true;
    pthread_mutex_lock(&store->write_lock);
    enum store_error error = begin(store);
    while (error == STORE_OK && (keeps = take(context, &rows, &count)) && count > 0)
        error = import_rows(connection, &import, rows, count, raised);
    if (error == STORE_OK)
        error = keeps ? commit(connection, raised) : STORE_REFUSED;
    if (error != STORE_OK)
        pg_disconnect(connection); /* and its transaction */
    pthread_mutex_unlock(&store->write_lock);
    free(import.refused_users);
    return error;
}
