#include "store/lmdb/audit.h"

#include "store/lmdb/clock.h"
#include "store/lmdb/engine.h"
#include "store/lmdb/ids.h"
#include "store/lmdb/lookup.h"

enum {
    RECENT_LEN_MAX = 2600, /* of a page of 4096, of which the names of databases take about 1250 */
    RECENT_RECORD_LEN_MAX = 1000,
    NODE_LEN = 18 /* of LMDB for an entry, with its key */
};

#define ID_MAX (INT64_C(1) << 55) /* see audit_is_id */

/* The entry with the greatest id below *id, up to ID_MAX + 1. */
static enum store_error find_before(struct store_txn *txn, enum database database, int64_t *id,
                                    struct span *value)
{
    struct span key = ID_KEY(*id);
    MDB_cursor *cursor = db_cursor_open(txn, database);
    if (!cursor)
        return txn->error;
    *value = (struct span){NULL, 0};
    enum store_error error = db_cursor_get(txn, cursor, &key, value, MDB_SET_RANGE);
    if (!store_is_failure(error))
        error = db_cursor_get(txn, cursor, &key, value, error == STORE_OK ? MDB_PREV : MDB_LAST);
    mdb_cursor_close(cursor);
    if (error == STORE_OK && !audit_is_id(key))
        return database == DB_AUDIT_RECENT ? STORE_NOT_FOUND : db_corrupt(txn);
    if (error == STORE_OK)
        *id = get_big64((const unsigned char *)key.at);
    return error;
}

enum store_error audit_rows_before(struct store_txn *txn, enum database database, int64_t *id,
                                   struct store_audit *record)
{
    struct span value = {NULL, 0};
    enum store_error error = find_before(txn, database, id, &value);
    return error == STORE_OK && !record_decode_audit(*id, value, record) ? db_corrupt(txn) : error;
}

/* ---- adding ---- */

/* Puts a record into DB_AUDIT, where its id is not; is_last: it is greater than all there. Of a
 * user with too many the oldest one goes. */
static void file_record(struct store_txn *txn, int64_t id, struct span value, bool is_last)
{
    struct store_audit record;
    uint64_t count = 0;
    int64_t oldest;
    if (!record_decode_audit(id, value, &record)) {
        db_corrupt(txn);
        return;
    }
    int64_t user_id = record.user_id;
    db_put(txn, DB_AUDIT, ID_KEY(id), value, is_last ? MDB_APPEND : MDB_NOOVERWRITE);
    if (user_id == 0)
        return;
    if (is_last)
        ids_append(txn, DB_AUDIT_BY_USER, user_id, id);
    else
        ids_put(txn, DB_AUDIT_BY_USER, user_id, id);
    ids_count(txn, DB_AUDIT_BY_USER, user_id, &count);
    if (count > STORE_AUDIT_PER_USER_MAX &&
        ids_find(txn, DB_AUDIT_BY_USER, user_id, count - 1, &count, &oldest) == STORE_OK) {
        ids_delete(txn, DB_AUDIT_BY_USER, user_id, oldest);
        db_delete(txn, DB_AUDIT, ID_KEY(oldest));
    }
}

/* The first recent record. STORE_NOT_FOUND. */
static enum store_error first_recent(struct store_txn *txn, int64_t *id, struct span *value)
{
    struct span key = ID_KEY(0);
    *value = (struct span){NULL, 0};
    enum store_error error = db_seek(txn, DB_AUDIT_RECENT, &key, value, MDB_SET_RANGE);
    if (error != STORE_OK || !audit_is_id(key))
        return error == STORE_OK ? STORE_NOT_FOUND : error;
    *id = get_big64((const unsigned char *)key.at);
    return STORE_OK;
}

static void file_recent(struct store_txn *txn)
{
    unsigned char copy[RECENT_RECORD_LEN_MAX];
    struct span value;
    int64_t id;
    while (first_recent(txn, &id, &value) == STORE_OK) {
        if (value.len > sizeof(copy)) {
            db_corrupt(txn);
            return;
        }
        memcpy(copy, value.at, value.len); /* it moves when it is deleted */
        db_delete(txn, DB_AUDIT_RECENT, ID_KEY(id));
        file_record(txn, id, span_of_bytes(copy, value.len), true);
    }
}

/* How long all recent records are, in their page. */
static size_t count_recent(struct store_txn *txn)
{
    struct span value;
    size_t len = 0;
    for (int64_t id = ID_MAX + 1; find_before(txn, DB_AUDIT_RECENT, &id, &value) == STORE_OK;)
        len += value.len + NODE_LEN;
    return len;
}

/* Ids grow with time: those of a backup that was put back are not given out again. */
static int64_t next_id(struct store_txn *txn, int64_t time_unix_s)
{
    enum { YEAR_2026_UNIX_S = 1767225600, IDS_A_SECOND = 1 << 20 };
    struct span value;
    int64_t last = ID_MAX + 1, least = 0;
    if (time_unix_s > YEAR_2026_UNIX_S && time_unix_s <= ID_MAX / IDS_A_SECOND)
        least = (time_unix_s - YEAR_2026_UNIX_S) * IDS_A_SECOND;
    enum store_error error = find_before(txn, DB_AUDIT_RECENT, &last, &value);
    if (error == STORE_NOT_FOUND)
        error = find_before(txn, DB_AUDIT, &last, &value);
    if (error != STORE_OK)
        last = 0;
    return last < least ? least : last + 1;
}

/* A record as it fits its row: what comes from a client may be longer. */
static struct store_audit cut_record(const struct store_audit *record)
{
    struct store_audit cut = *record;
    struct span *const texts[] = {&cut.action, &cut.actor.address, &cut.actor.request_id};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        if (texts[i]->len > STORE_AUDIT_TEXT_LEN_MAX)
            texts[i]->len = STORE_AUDIT_TEXT_LEN_MAX;
    if (cut.changes.len > STORE_AUDIT_CHANGES_LEN_MAX)
        cut.changes = SPAN("{}");
    return cut;
}

void audit_rows_add(struct store_txn *txn, const struct store_audit *record)
{
    unsigned char bytes[RECORD_AUDIT_LEN_MAX];
    struct store_audit audit = cut_record(record);
    if (lmdb_of(txn)->store->base.audit_days == 0)
        return;
    audit.id = next_id(txn, audit.time_unix_s);
    struct span value = span_of_bytes(bytes, record_encode_audit(&audit, bytes));
    bool is_short = value.len <= RECENT_RECORD_LEN_MAX;
    if (!is_short || count_recent(txn) + value.len + NODE_LEN > RECENT_LEN_MAX)
        file_recent(txn);
    if (is_short)
        db_put(txn, DB_AUDIT_RECENT, ID_KEY(audit.id), value, MDB_NOOVERWRITE);
    else
        file_record(txn, audit.id, value, true);
}

void audit_rows_import(struct store_txn *txn, const struct store_audit *record)
{
    unsigned char bytes[RECORD_AUDIT_LEN_MAX];
    struct store_audit audit = cut_record(record);
    struct span value;
    file_recent(txn); /* ids to come are greater */
    if (audit.id < 1 || audit.id > ID_MAX)
        audit.id = next_id(txn, audit.time_unix_s);
    while (db_get(txn, DB_AUDIT, ID_KEY(audit.id), &value) == STORE_OK)
        audit.id++;
    file_record(txn, audit.id, span_of_bytes(bytes, record_encode_audit(&audit, bytes)), false);
}

/* ---- purging ---- */

bool audit_rows_purge(struct store_txn *txn, size_t max)
{
    enum { DAY_S = 24 * 3600 };
    int64_t days = lmdb_of(txn)->store->base.audit_days, id = 0;
    int64_t until_unix_s = clock_wall() - days * DAY_S;
    struct store_audit record;
    struct span value;
    if (days == 0)
        return false;
    if (first_recent(txn, &id, &value) == STORE_OK && record_decode_audit(id, value, &record) &&
        record.time_unix_s < until_unix_s)
        file_recent(txn);
    id = 1;
    for (size_t i = 0; i < max; i++, id++) {
        enum store_error error = lookup_from(txn, DB_AUDIT, &id, &value);
        if (error == STORE_OK && !record_decode_audit(id, value, &record))
            error = db_corrupt(txn);
        if (error != STORE_OK || record.time_unix_s >= until_unix_s)
            return false;
        if (record.user_id != 0)
            db_expect(txn, ids_delete(txn, DB_AUDIT_BY_USER, record.user_id, id));
        db_expect(txn, db_delete(txn, DB_AUDIT, ID_KEY(id)));
    }
    return true;
}

/* ---- reading ---- */

static bool matches(const struct store_audit_search *search, const struct store_audit *record)
{
    struct span action = search->action;
    bool is_family = action.len >= 2 && memcmp(action.at + action.len - 2, ".*", 2) == 0;
    action.len -= is_family;
    return (search->user_id == 0 || search->user_id == record->user_id) &&
           (search->token_id == 0 || search->token_id == record->token_id) &&
           (search->actor_kind == STORE_ACTOR_NONE || search->actor_kind == record->actor.kind) &&
           (search->actor_id == 0 || search->actor_id == record->actor.id) &&
           record->time_unix_s >= search->since_unix_s &&
           (!action.at || (is_family ? span_starts_with(record->action, action)
                                     : span_equal(record->action, action)));
}

/* The next record downwards, of the user if one is searched for. */
static enum store_error next_record(struct store_txn *txn, const struct store_audit_search *search,
                                    enum database database, int64_t *id, struct store_audit *record)
{
    if (search->user_id == 0 || database == DB_AUDIT_RECENT)
        return audit_rows_before(txn, database, id, record);
    enum store_error error = ids_before(txn, DB_AUDIT_BY_USER, search->user_id, id);
    struct span value;
    if (error == STORE_OK)
        error = db_expect(txn, db_get(txn, DB_AUDIT, ID_KEY(*id), &value));
    return error == STORE_OK && !record_decode_audit(*id, value, record) ? db_corrupt(txn) : error;
}

enum store_error lmdb_audit_read(struct store_reader *reader,
                                 const struct store_audit_search *search, store_visit_audit *visit,
                                 void *context)
{
    enum { CLOCK_BACK_S = 24 * 3600 }; /* older ones may be behind newer ones where it was set */
    static const enum database databases[] = {DB_AUDIT_RECENT, DB_AUDIT};
    struct store_txn *txn = read_begin(reader);
    struct store_audit record;
    int64_t id =
        search->before_id > 0 && search->before_id <= ID_MAX ? search->before_id : ID_MAX + 1;
    uint64_t left = search->limit;
    for (size_t i = 0; i < sizeof(databases) / sizeof(databases[0]); i++)
        while (left > 0 && next_record(txn, search, databases[i], &id, &record) == STORE_OK &&
               record.time_unix_s >= search->since_unix_s - CLOCK_BACK_S)
            if (matches(search, &record)) {
                visit(context, &record);
                left--;
            }
    read_end(txn);
    return txn->error;
}
