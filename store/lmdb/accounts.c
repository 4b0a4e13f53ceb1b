/* Reading users in pages, groups, models and usage. */

#include "base/number.h"
#include "store/lmdb/engine.h"
#include "store/lmdb/lookup.h"
#include "store/lmdb/rows.h"
#include "token/match.h"

/* ---- users ---- */

static bool user_matches(const struct store_user_search *search, int64_t id,
                         const struct record_user *user)
{
    int64_t wanted;
    if (user->deleted || (search->group.at && !span_equal(search->group, user->group)))
        return false;
    return !search->keyword.at || match_name(user->name, search->keyword) ||
           (number_parse(search->keyword, &wanted) && wanted == id);
}

enum store_error lmdb_user_page(struct store_reader *reader, const struct store_user_search *search,
                                uint64_t *total, store_visit_user *visit, void *context)
{
    struct store_txn *txn = read_begin(reader);
    struct span key = {NULL, 0}, value = {NULL, 0};
    struct record_user record;
    struct store_user user;
    MDB_cursor *cursor = db_cursor_open(txn, DB_USERS);
    while (cursor && db_cursor_get(txn, cursor, &key, &value, MDB_PREV) == STORE_OK) {
        int64_t id = key.len == ID_KEY_LEN ? get_big64((const unsigned char *)key.at) : 0;
        if (!record_decode_user(id, value, &record))
            db_corrupt(txn);
        else if (user_matches(search, id, &record) && (*total)++ >= search->offset &&
                 *total - search->offset <= search->limit &&
                 fill_user(txn, id, &record, &user) == STORE_OK)
            visit(context, &user);
    }
    if (cursor)
        mdb_cursor_close(cursor);
    read_end(txn);
    return txn->error;
}

/* ---- groups, grants, models ---- */

/* Visits entries from a key on, until visit returns false. Returns the transaction's error. */
static enum store_error each_from(struct store_txn *txn, enum database database, struct span key,
                                  bool visit(void *context, struct span key, struct span value),
                                  void *context)
{
    struct span value = {NULL, 0};
    MDB_cursor_op op = key.len > 0 ? MDB_SET_RANGE : MDB_FIRST;
    MDB_cursor *cursor = db_cursor_open(txn, database);
    for (; cursor && db_cursor_get(txn, cursor, &key, &value, op) == STORE_OK; op = MDB_NEXT)
        if (!visit(context, key, value))
            break;
    if (cursor)
        mdb_cursor_close(cursor);
    return txn->error;
}

struct group_visit {
    struct store_txn *txn;
    int64_t user_id; /* 0: all */
    struct span own;
    store_visit_group *visit;
    void *context;
};

static bool visit_group(void *context, struct span name, struct span value)
{
    const struct group_visit *visit = context;
    struct record_group record;
    struct store_group group = {.name = ""};
    if (name.len >= sizeof(group.name) || !record_decode_group(name, value, &record))
        return db_corrupt(visit->txn) == STORE_OK;
    if (visit->user_id != 0 && !record.is_public && !span_equal(name, visit->own) &&
        !grants_has(visit->txn, visit->user_id, name))
        return true;
    memcpy(group.name, name.at, name.len);
    memcpy(group.description, record.description.at, record.description.len);
    group.is_public = record.is_public;
    group.ratio_millionths = record.ratio_millionths;
    visit->visit(visit->context, &group);
    return true;
}

enum store_error lmdb_group_list(struct store_reader *reader, int64_t user_id, bool *checked,
                                 store_visit_group *visit, void *context)
{
    struct store_txn *txn = read_begin(reader);
    struct group_visit each = {txn, user_id, SPAN(""), visit, context};
    struct record_user user;
    enum store_error error = user_id != 0 ? store_get_user(txn, user_id, &user) : STORE_OK;
    *checked = groups_checked(txn);
    if (error == STORE_OK) {
        each.own = user_id != 0 ? user.group : SPAN("");
        error = each_from(txn, DB_GROUPS, SPAN(""), visit_group, &each);
    }
    read_end(txn);
    return error;
}

struct grant_visit {
    struct store_txn *txn;
    int64_t user_id; /* 0: all */
    store_visit_grant *visit;
    void *context;
};

static bool visit_grant(void *context, struct span key, struct span value)
{
    const struct grant_visit *visit = context;
    if (key.len < ID_KEY_LEN || !record_decode_entry(key, value))
        return db_corrupt(visit->txn) == STORE_OK;
    int64_t user_id = get_big64((const unsigned char *)key.at);
    if (visit->user_id != 0 && visit->user_id != user_id)
        return false;
    visit->visit(visit->context, user_id, span_from(key, ID_KEY_LEN));
    return true;
}

enum store_error lmdb_grant_list(struct store_reader *reader, int64_t user_id,
                                 store_visit_grant *visit, void *context)
{
    struct store_txn *txn = read_begin(reader);
    struct grant_visit each = {txn, user_id, visit, context};
    enum store_error error = each_from(txn, DB_GRANTS, ID_KEY(user_id), visit_grant, &each);
    read_end(txn);
    return error;
}

struct model_visit {
    struct store_txn *txn;
    store_visit_model *visit;
    void *context;
};

static bool visit_model(void *context, struct span key, struct span value)
{
    const struct model_visit *visit = context;
    if (!record_decode_entry(key, value))
        return db_corrupt(visit->txn) == STORE_OK;
    visit->visit(visit->context, key);
    return true;
}

enum store_error lmdb_model_list(struct store_reader *reader, store_visit_model *visit,
                                 void *context)
{
    struct store_txn *txn = read_begin(reader);
    struct model_visit each = {txn, visit, context};
    enum store_error error = each_from(txn, DB_MODELS, SPAN(""), visit_model, &each);
    read_end(txn);
    return error;
}

/* ---- usage ---- */

struct usage_visit {
    struct store_txn *txn;
    int64_t user_id, token_id, first_day;
    struct token_usage last; /* of the token's or user's record; day 0: visited, or none */
    store_visit_day *visit;
    void *context;
};

/* The day of the record comes in its place; where the clock was set back, it may be in a row too.
 */
static void visit_last(struct usage_visit *visit, int64_t day)
{
    const struct token_usage *last = &visit->last;
    if (last->day != 0 && last->day >= visit->first_day && last->day < day)
        visit->visit(visit->context, last->day, last->units, last->requests);
    if (last->day <= day)
        visit->last.day = 0;
}

static bool visit_day(void *context, struct span key, struct span value)
{
    struct usage_visit *visit = context;
    struct record_usage usage;
    if (!record_decode_usage(key, value, &usage))
        return db_corrupt(visit->txn) == STORE_OK;
    if (usage.user_id != visit->user_id || usage.token_id != visit->token_id)
        return false;
    bool is_last = usage.day == visit->last.day;
    int64_t units = number_add(usage.units, is_last ? visit->last.units : 0);
    int64_t requests = number_add(usage.requests, is_last ? visit->last.requests : 0);
    visit_last(visit, usage.day);
    visit->visit(visit->context, usage.day, units, requests);
    return true;
}

enum store_error lmdb_usage_read(struct store_reader *reader, int64_t user_id, int64_t token_id,
                                 int64_t first_day, store_visit_day *visit, void *context)
{
    struct store_txn *txn = read_begin(reader);
    struct usage_visit each = {.txn = txn,
                               .user_id = user_id,
                               .token_id = token_id,
                               .first_day = first_day > 0 ? first_day : 1,
                               .visit = visit,
                               .context = context};
    struct record_user user;
    struct record_keys keys;
    struct token token;
    enum store_error error = store_get_user(txn, user_id, &user);
    if (error == STORE_OK && token_id != 0)
        error = lookup_token(txn, user_id, token_id, &token, &keys);
    if (error == STORE_OK) {
        each.last = token_id != 0 ? token.usage : user.account.usage;
        error = each_from(txn, DB_USAGE, THREE_IDS_KEY(user_id, token_id, each.first_day),
                          visit_day, &each);
    }
    if (error == STORE_OK)
        visit_last(&each, INT64_MAX);
    read_end(txn);
    return error;
}
