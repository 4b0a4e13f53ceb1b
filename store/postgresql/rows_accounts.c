/* The rows of a group of groups, models, usage and audit records. What few writes change is sent at
 * once and not when all are done: its row in memory is then as if it had been fetched. */

#include "store/postgresql/group.h"

static void put_now(struct store_txn *txn, enum pg_table table, const struct pg_row *from)
{
    const struct pg_columns *columns = &pg_columns[table];
    group_put(txn, table, from);
    struct group_row *row = group_find(txn, table, from);
    row->stored = true;
    row->used = row->changed = false;
    group_send((struct group *)txn, columns->insert,
               pg_bind(PG_PARAMETERS, table, columns->count, from));
}

/* ---- groups and models ---- */

bool group_rows_groups_checked(struct store_txn *txn)
{
    return ((struct group *)txn)->meta.groups_checked != 0;
}

void group_rows_check_groups(struct store_txn *txn, bool checked)
{
    ((struct group *)txn)->meta.groups_checked = checked;
    group_send((struct group *)txn, PG_CHECK_GROUPS, pg_int(PG_PARAMETERS, checked));
}

enum store_error group_rows_get_group(struct store_txn *txn, struct span name,
                                      struct record_group *group)
{
    const struct group_row *row = group_find(txn, PG_GROUPS, PG_ROW(.name = name));
    if (row->exists)
        *group = row->row.group;
    return row->exists ? STORE_OK : STORE_NOT_FOUND;
}

void group_rows_put_group(struct store_txn *txn, struct span name, const struct record_group *group)
{
    put_now(txn, PG_GROUPS, PG_ROW(.name = name, .group = *group));
}

enum store_error group_rows_delete_group(struct store_txn *txn, struct span name)
{
    if (!group_find(txn, PG_GROUPS, PG_ROW(.name = name))->exists)
        return STORE_NOT_FOUND;
    group_delete(txn, PG_GROUPS, PG_ROW(.name = name));
    group_send((struct group *)txn, PG_DELETE_GRANTS, pg_span(PG_PARAMETERS, name));
    return STORE_OK;
}

bool group_rows_has_grant(struct store_txn *txn, int64_t user_id, struct span group)
{
    return group_find(txn, PG_GRANTS, PG_ROW(.user_id = user_id, .name = group))->exists;
}

void group_rows_put_grant(struct store_txn *txn, int64_t user_id, struct span group, bool granted)
{
    const struct pg_row *row = PG_ROW(.user_id = user_id, .name = group);
    if (granted)
        put_now(txn, PG_GRANTS, row);
    else
        group_delete(txn, PG_GRANTS, row);
}

void group_rows_put_model(struct store_txn *txn, struct span name, bool listed)
{
    if (listed)
        put_now(txn, PG_MODELS, PG_ROW(.name = name));
    else
        group_delete(txn, PG_MODELS, PG_ROW(.name = name));
}

/* ---- usage ---- */

void group_rows_add_usage(struct store_txn *txn, int64_t user_id, int64_t token_id, int64_t day,
                          int64_t units, int64_t requests)
{
    const struct pg_row *row =
        PG_ROW(.user_id = user_id, .token_id = token_id, .usage = {day, units, requests});
    group_send((struct group *)txn, PG_ADD_USAGE, pg_bind(PG_PARAMETERS, PG_USAGE, 5, row));
}

void group_rows_fold_usage(struct store_txn *txn, int64_t user_id, int64_t token_id, int64_t day)
{
    group_send((struct group *)txn, PG_FOLD_USAGE,
               pg_int(pg_int(pg_int(PG_PARAMETERS, user_id), token_id), day));
}

void group_rows_delete_usage(struct store_txn *txn, int64_t user_id, int64_t token_id)
{
    group_send((struct group *)txn, PG_DELETE_USAGE,
               pg_int(pg_int(PG_PARAMETERS, user_id), token_id));
}

/* ---- audit records ---- */

/* What a web server has passed on may be no text; no record is worth a write that fails. */
static struct span as_text(struct span bytes)
{
    return bytes.at && pg_is_text(bytes) ? bytes : SPAN("");
}

static struct pg_parameters *bind_audit(struct pg_parameters *parameters,
                                        const struct store_audit *record)
{
    pg_span(pg_int(parameters, record->time_unix_s), record->action);
    pg_int(pg_int(parameters, (int64_t)record->actor.kind), record->actor.id);
    pg_span(pg_span(parameters, as_text(record->actor.address)), as_text(record->actor.request_id));
    return pg_span(pg_int(parameters, record->token_id), as_text(record->changes));
}

void group_rows_add_audit(struct store_txn *txn, const struct store_audit *record)
{
    struct group *group = (struct group *)txn;
    if (group->connection->store->base.audit_days > 0)
        group_send(group, PG_ADD_AUDIT, bind_audit(pg_int(PG_PARAMETERS, record->user_id), record));
}

void group_rows_import_audit(struct store_txn *txn, const struct store_audit *record)
{
    struct pg_parameters *parameters = pg_int(PG_PARAMETERS, record->user_id);
    bool has_id = record->id > 0;
    bind_audit(has_id ? pg_int(parameters, record->id) : parameters, record);
    group_send((struct group *)txn, has_id ? PG_IMPORT_AUDIT : PG_ADD_AUDIT, parameters);
}
