/* All rows, out of a store and into one. */

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "store/lmdb/audit.h"
#include "store/lmdb/clock.h"
#include "store/lmdb/engine.h"
#include "store/lmdb/lookup.h"
#include "store/lmdb/rows.h"

struct transfer {
    struct store_txn *txn;
    store_visit_row *visit;
    void *context;
    int64_t difference_s; /* of the clock to the store's time */
    int64_t user_id;      /* whose rows come, and whether the user is exported */
    bool has_user;
};

/* ---- out ---- */

static enum store_error show(struct transfer *transfer, const struct store_row *row)
{
    return transfer->visit(transfer->context, row) ? STORE_OK : STORE_UNAVAILABLE;
}

static enum store_error export_ids(struct transfer *transfer)
{
    struct store_row row = {.kind = STORE_ROW_IDS};
    int64_t foreign_keys = 0, groups_checked = 0;
    enum store_error error = STORE_OK;
    for (size_t i = 0; error == STORE_OK && i < STORE_IDS_COUNT; i++)
        error = meta_get(transfer->txn, meta_counters[i], &row.next_ids[i]);
    if (error == STORE_OK)
        error = meta_get(transfer->txn, META_FOREIGN_KEYS, &foreign_keys);
    if (error == STORE_OK)
        error = meta_get(transfer->txn, META_GROUPS, &groups_checked);
    row.foreign_keys = foreign_keys != 0;
    row.groups_checked = groups_checked != 0;
    return error == STORE_OK ? show(transfer, &row) : error;
}

static enum store_error export_gateways(struct transfer *transfer)
{
    struct store_row row = {.kind = STORE_ROW_GATEWAY};
    struct span record;
    enum store_error error = STORE_OK;
    while (error == STORE_OK) {
        row.id++;
        error = lookup_from(transfer->txn, DB_GATEWAYS, &row.id, &record);
        if (error == STORE_OK)
            error = record_decode_gateway(row.id, record, &row.gateway) ? show(transfer, &row)
                                                                        : db_corrupt(transfer->txn);
    }
    return error;
}

/* In the order of ids. */
static enum store_error export_tokens(struct transfer *transfer, int64_t user_id,
                                      struct span owner_group)
{
    struct store_row row = {.kind = STORE_ROW_TOKEN, .token = {.user_id = user_id}};
    MDB_cursor *cursor = db_cursor_open(transfer->txn, DB_TOKENS);
    if (!cursor)
        return transfer->txn->error;
    enum store_error error =
        next_token(transfer->txn, cursor, MDB_SET_RANGE, &row.token, &row.keys);
    while (error == STORE_OK) {
        row.id = row.token.id;
        store_shift_rates(&row.token.rates, transfer->difference_s);
        if (row.token.group_is_old && span_equal(row.token.group, owner_group))
            row.token.group = SPAN("");
        error = show(transfer, &row);
        if (error == STORE_OK)
            error = next_token(transfer->txn, cursor, MDB_NEXT, &row.token, &row.keys);
    }
    mdb_cursor_close(cursor);
    return error;
}

static enum store_error export_users(struct transfer *transfer)
{
    struct store_row row = {.kind = STORE_ROW_USER};
    struct span record;
    enum store_error error = STORE_NOT_FOUND;
    while (error == STORE_NOT_FOUND) { /* no more tokens */
        row.id++;
        error = lookup_from(transfer->txn, DB_USERS, &row.id, &record);
        if (error != STORE_OK)
            return error;
        if (!record_decode_user(row.id, record, &row.user))
            return db_corrupt(transfer->txn);
        store_shift_rates(&row.user.account.rates, transfer->difference_s);
        if (!row.user.deleted)
            error = show(transfer, &row);
        if (error == STORE_OK)
            error = row.user.deleted ? STORE_NOT_FOUND
                                     : export_tokens(transfer, row.id, row.user.group);
    }
    return error;
}

/* Those that can be settled still. */
static enum store_error export_reservations(struct transfer *transfer, int64_t now_s)
{
    struct store_row row = {.kind = STORE_ROW_RESERVATION};
    struct record_reservation *reservation = &row.reservation;
    struct record_user user;
    struct span record;
    enum store_error error = STORE_OK;
    while (error == STORE_OK) {
        row.id++;
        error = lookup_from(transfer->txn, DB_RESERVATIONS, &row.id, &record);
        if (error != STORE_OK)
            return error;
        if (!record_decode_reservation(row.id, record, reservation))
            return db_corrupt(transfer->txn);
        if (reservation->ended || reservation->due_s <= now_s ||
            store_get_user(transfer->txn, reservation->user_id, &user) != STORE_OK)
            continue;
        reservation->created_s += transfer->difference_s;
        reservation->due_s += transfer->difference_s;
        error = show(transfer, &row);
    }
    return error;
}

/* Of a user who is being deleted nothing is exported. */
static bool is_exported(struct transfer *transfer, int64_t user_id)
{
    struct record_user user;
    if (user_id != transfer->user_id)
        transfer->has_user = store_get_user(transfer->txn, user_id, &user) == STORE_OK;
    transfer->user_id = user_id;
    return transfer->has_user;
}

static enum store_error show_group(struct transfer *transfer, struct span key, struct span value)
{
    struct store_row row = {.kind = STORE_ROW_GROUP, .name = key};
    return record_decode_group(key, value, &row.group) ? show(transfer, &row)
                                                       : db_corrupt(transfer->txn);
}

static enum store_error show_grant(struct transfer *transfer, struct span key, struct span value)
{
    struct store_row row = {.kind = STORE_ROW_GRANT};
    if (key.len < ID_KEY_LEN || !record_decode_entry(key, value))
        return db_corrupt(transfer->txn);
    row.grant.user_id = get_big64((const unsigned char *)key.at);
    row.grant.group = span_from(key, ID_KEY_LEN);
    return is_exported(transfer, row.grant.user_id) ? show(transfer, &row) : STORE_OK;
}

static enum store_error show_model(struct transfer *transfer, struct span key, struct span value)
{
    return record_decode_entry(key, value)
               ? show(transfer, &(struct store_row){.kind = STORE_ROW_MODEL, .name = key})
               : db_corrupt(transfer->txn);
}

static enum store_error show_usage(struct transfer *transfer, struct span key, struct span value)
{
    struct store_row row = {.kind = STORE_ROW_USAGE};
    struct record_usage usage;
    if (!record_decode_usage(key, value, &usage))
        return db_corrupt(transfer->txn);
    row.usage.user_id = usage.user_id;
    row.usage.token_id = usage.token_id;
    row.usage.day = usage.day;
    row.usage.units = usage.units;
    row.usage.requests = usage.requests;
    return is_exported(transfer, usage.user_id) ? show(transfer, &row) : STORE_OK;
}

/* Behind the ids of recent records are names of databases. */
static enum store_error show_audit(struct transfer *transfer, struct span key, struct span value)
{
    struct store_row row = {.kind = STORE_ROW_AUDIT};
    if (!audit_is_id(key))
        return STORE_NOT_FOUND;
    row.id = get_big64((const unsigned char *)key.at);
    return record_decode_audit(row.id, value, &row.audit) ? show(transfer, &row)
                                                          : db_corrupt(transfer->txn);
}

typedef enum store_error show_entry(struct transfer *transfer, struct span key, struct span value);

/* STORE_NOT_FOUND at the end. */
static enum store_error export_entries(struct transfer *transfer, enum database database,
                                       show_entry *show_one)
{
    struct span key = {NULL, 0}, value = {NULL, 0};
    MDB_cursor *cursor = db_cursor_open(transfer->txn, database);
    if (!cursor)
        return transfer->txn->error;
    enum store_error error = db_cursor_get(transfer->txn, cursor, &key, &value, MDB_FIRST);
    while (error == STORE_OK) {
        error = show_one(transfer, key, value);
        if (error == STORE_OK)
            error = db_cursor_get(transfer->txn, cursor, &key, &value, MDB_NEXT);
    }
    mdb_cursor_close(cursor);
    return error;
}

enum store_error lmdb_export(struct store_reader *reader, int64_t now_unix_s,
                             store_visit_row *visit, void *context)
{
    static const struct {
        enum database database;
        show_entry *show;
    } entries[] = {{DB_GROUPS, show_group}, {DB_GRANTS, show_grant}, {DB_MODELS, show_model},
                   {DB_USAGE, show_usage},  {DB_AUDIT, show_audit},  {DB_AUDIT_RECENT, show_audit}};
    struct transfer transfer = {.txn = read_begin(reader), .visit = visit, .context = context};
    struct store_txn *txn = transfer.txn;
    int64_t now_s = clock_read(txn);
    transfer.difference_s = now_unix_s - now_s;
    enum store_error error = txn->error;
    if (error == STORE_OK)
        error = export_ids(&transfer);
    if (error == STORE_OK)
        error = export_gateways(&transfer);
    if (error == STORE_NOT_FOUND)
        error = export_users(&transfer);
    if (error == STORE_NOT_FOUND)
        error = export_reservations(&transfer, now_s);
    for (size_t i = 0; error == STORE_NOT_FOUND && i < sizeof(entries) / sizeof(entries[0]); i++)
        error = export_entries(&transfer, entries[i].database, entries[i].show);
    read_end(txn);
    if (txn->error != STORE_OK)
        return txn->error;
    return error == STORE_NOT_FOUND ? STORE_OK : error;
}

/* ---- in ---- */

static size_t row_len(const struct store_row *row)
{
    enum { RECORDS = 1024 };
    return RECORDS + (row->kind == STORE_ROW_TOKEN   ? token_texts_len(&row->token)
                      : row->kind == STORE_ROW_AUDIT ? row->audit.changes.len
                                                     : 0);
}

/* Ends the transaction, and begins another. */
static enum store_error commit_part(struct lmdb_store *store, struct lmdb_txn *txn)
{
    rows_store_ids(&txn->base);
    enum store_error error = write_end(txn);
    if (error == STORE_OK)
        error = write_begin(store, txn);
    txn->base.rows = &lmdb_rows;
    return error;
}

/* Returns whether the transaction is still open. */
static bool import_rows(struct lmdb_store *store, struct lmdb_txn *txn, struct store_import *import,
                        store_take_rows *take, void *context)
{
    enum { PART = 2048 }; /* as many pages or some more are kept in memory */
    struct store_row *rows;
    size_t count, imported = 0;
    bool keeps;
    while ((keeps = take(context, &rows, &count)) && count > 0) {
        for (size_t i = 0; i < count; i++)
            if (!txn_take_room(&txn->base, row_len(&rows[i])))
                store_txn_fail(&txn->base, STORE_FULL);
            else if (txn->base.error != STORE_OK ||
                     store_import_row(&txn->base, import, &rows[i]) != STORE_OK)
                return true;
        imported += count;
        if (!store->is_new || imported < PART)
            continue;
        imported = 0;
        if (commit_part(store, txn) != STORE_OK)
            return false;
    }
    if (!keeps)
        store_txn_fail(&txn->base, STORE_REFUSED);
    rows_store_ids(&txn->base);
    return true;
}

enum store_error lmdb_import(struct store *base, int64_t now_unix_s, store_take_rows *take,
                             void *context)
{
    struct lmdb_store *store = (struct lmdb_store *)base;
    struct store_import import = {.now_unix_s = now_unix_s};
    struct lmdb_txn txn;
    enum store_error error = write_begin(store, &txn);
    txn.base.rows = &lmdb_rows;
    if (error == STORE_OK)
        error = import_rows(store, &txn, &import, take, context) ? write_end(&txn) : txn.base.error;
    free(import.refused_users);
    if (error == STORE_OK && store->is_new)
        error = db_result(&txn.base, mdb_env_sync(store->env, 1));
    if (error == STORE_OK && store->is_new && fsync(store->folder_fd) != 0)
        error = db_result(&txn.base, errno);
    return error;
}
