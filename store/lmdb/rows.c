/* The rows of a transaction, for the kinds of writes (store/txn.h). */

#include "store/lmdb/answers.h"
#include "store/lmdb/audit.h"
#include "store/lmdb/clock.h"
#include "store/lmdb/ids.h"
#include "store/lmdb/lookup.h"
#include "store/lmdb/rotation.h"
#include "store/lmdb/rows.h"

/* ---- room ---- */

/* An upper estimate of the bytes by which a write grows the store; audit_len: a record of it. Usage
 * by day counts for itself. */
static size_t count_growth(const struct store_write *write, size_t audit_len)
{
    enum { RECORD = 512, LONG_RECORD = 32 * 1024, PAGE = 4096 };
    size_t len = 0;
    switch (write->kind) {
    case STORE_CREATE:
        for (size_t i = 0; i < write->create.count; i++)
            len += RECORD + token_texts_len(&write->create.tokens[i]);
        break;
    case STORE_UPDATE:
        len = token_texts_len(&write->update.patch.value) + audit_len; /* the others are absent */
        break;
    case STORE_ROTATE:
        len = write->idempotency.wanted ? LONG_RECORD : RECORD;
        break;
    case STORE_SPEND:
        len = write->spend.ttl_s > 0 ? RECORD : 0;
        break;
    case STORE_USER_ADD:
    case STORE_GATEWAY_ADD:
    case STORE_GROUP_PUT:
    case STORE_GRANT:
    case STORE_MODEL_PUT:
        len = RECORD;
        break;
    case STORE_SET_STATUS:
    case STORE_REVEAL:
    case STORE_USER_CHANGE:
        len = audit_len;
        break;
    default: /* they free some, or change a row */
        break;
    }
    if (write->idempotency.wanted)
        len += len + RECORD; /* the answer */
    return len > 0 ? len + len / 2 + PAGE : 0;
}

static bool take_room(struct store_txn *txn, const struct store_write *write)
{
    enum { AUDIT_LEN = 512 };
    size_t growth = count_growth(write, lmdb_of(txn)->store->base.audit_days > 0 ? AUDIT_LEN : 0);
    return growth == 0 || txn_take_room(txn, growth);
}

/* ---- ids ---- */

/* Reservations' ids grow with the wall clock, by up to a million a second: they are never given out
 * twice, also after a backup was put back. */
static enum store_error take_id(struct store_txn *txn, enum store_ids kind, int64_t *id)
{
    enum { YEAR_2026_UNIX_S = 1767225600, IDS_A_SECOND = 1 << 20 };
    int64_t *next = &txn->ids[kind], *stored = &lmdb_of(txn)->stored_ids[kind];
    if (*stored == 0 && meta_get(txn, meta_counters[kind], stored) != STORE_OK)
        return txn->error;
    int64_t least = 0;
    if (kind == STORE_IDS_RESERVATION)
        least = (lmdb_of(txn)->now_unix_s - YEAR_2026_UNIX_S) * IDS_A_SECOND;
    if (*next < *stored)
        *next = *stored;
    if (*next < least)
        *next = least;
    if (*next == INT64_MAX)
        return store_txn_fail(txn, STORE_FULL);
    *id = (*next)++;
    return STORE_OK;
}

static void raise_id(struct store_txn *txn, enum store_ids kind, int64_t next)
{
    int64_t *stored = &lmdb_of(txn)->stored_ids[kind];
    if (*stored == 0 && meta_get(txn, meta_counters[kind], stored) != STORE_OK)
        return;
    if (txn->ids[kind] < next)
        txn->ids[kind] = next;
}

static void note_foreign_keys(struct store_txn *txn)
{
    meta_put(txn, META_FOREIGN_KEYS, 1);
}

void rows_store_ids(struct store_txn *txn)
{
    for (size_t i = 0; i < STORE_IDS_COUNT; i++)
        if (txn->ids[i] > lmdb_of(txn)->stored_ids[i])
            meta_put(txn, meta_counters[i], txn->ids[i]);
}

/* ---- users and gateways ---- */

static void delete_user(struct store_txn *txn, int64_t id)
{
    db_delete_all(txn, DB_GRANTS, ID_KEY(id));
    db_delete_all(txn, DB_USAGE, ID_KEY(id));
    db_expect(txn, db_delete(txn, DB_USERS, ID_KEY(id)));
}

static enum store_error find_access(struct store_txn *txn,
                                    const unsigned char hash[static SEAL_CREDENTIAL_HASH_LEN],
                                    int64_t *id)
{
    struct record_user user;
    return lookup_access(txn, hash, id, &user);
}

static bool has_gateway(struct store_txn *txn, int64_t id)
{
    struct span record;
    return db_get(txn, DB_GATEWAYS, ID_KEY(id), &record) != STORE_NOT_FOUND;
}

static void add_gateway(struct store_txn *txn, int64_t id, const struct record_gateway *gateway)
{
    unsigned char record[RECORD_GATEWAY_LEN_MAX];
    size_t len = record_encode_gateway(id, gateway, record);
    db_put(txn, DB_GATEWAYS, ID_KEY(id), span_of_bytes(record, len), MDB_NOOVERWRITE);
}

static enum store_error delete_gateway(struct store_txn *txn, int64_t id)
{
    return db_delete(txn, DB_GATEWAYS, ID_KEY(id));
}

/* ---- tokens ---- */

static void put_token(struct store_txn *txn, const struct token *token,
                      const struct record_keys *keys)
{
    unsigned char record[RECORD_TOKEN_LEN_MAX];
    size_t len = record_encode_token(token, keys, record);
    db_put(txn, DB_TOKENS, TOKEN_ID_KEY(token->user_id, token->id), span_of_bytes(record, len), 0);
}

static void add_token(struct store_txn *txn, const struct token *token,
                      const struct record_keys *keys)
{
    put_token(txn, token, keys);
    ids_append(txn, DB_IDS_BY_USER, token->user_id, token->id);
}

static void delete_token(struct store_txn *txn, int64_t user_id, int64_t token_id)
{
    db_expect(txn, ids_delete(txn, DB_IDS_BY_USER, user_id, token_id));
    db_expect(txn, db_delete(txn, DB_TOKENS, TOKEN_ID_KEY(user_id, token_id)));
}

/* The newest. */
static enum store_error first_token(struct store_txn *txn, int64_t user_id, int64_t *token_id)
{
    uint64_t count;
    return ids_find(txn, DB_IDS_BY_USER, user_id, 0, &count, token_id);
}

static uint64_t count_tokens(struct store_txn *txn, int64_t user_id)
{
    uint64_t count = 0;
    ids_count(txn, DB_IDS_BY_USER, user_id, &count);
    return count;
}

static void follow_owner(struct store_txn *txn, int64_t user_id, struct span group)
{
    struct token token = {.user_id = user_id};
    struct record_keys keys;
    MDB_cursor *cursor = db_cursor_open(txn, DB_TOKENS);
    for (; cursor && next_token(txn, cursor, MDB_SET_RANGE, &token, &keys) == STORE_OK; token.id++)
        if (token.group_is_old && span_equal(token.group, group)) {
            token.group = SPAN("");
            put_token(txn, &token, &keys);
        }
    if (cursor)
        mdb_cursor_close(cursor);
}

static void put_key(struct store_txn *txn, const unsigned char hash[static SEAL_HASH_LEN],
                    const struct record_key *entry)
{
    unsigned char record[RECORD_KEY_LEN_MAX];
    size_t len = record_encode_key(hash, entry, record);
    db_put(txn, DB_TOKEN_BY_KEY, span_of_bytes(hash, SEAL_HASH_LEN), span_of_bytes(record, len),
           entry->until_unix_s == 0 ? MDB_NOOVERWRITE : 0);
}

static void delete_key(struct store_txn *txn, const unsigned char hash[static SEAL_HASH_LEN])
{
    db_expect(txn, db_delete(txn, DB_TOKEN_BY_KEY, span_of_bytes(hash, SEAL_HASH_LEN)));
}

/* ---- reservations ---- */

void reservation_index_open(struct store_txn *txn, int64_t id,
                            const struct record_reservation *reservation)
{
    entry_put(txn, DB_RESERVATIONS_BY_TOKEN, OPEN_KEY(id, reservation));
}

static void unindex_open(struct store_txn *txn, int64_t id,
                         const struct record_reservation *reservation)
{
    db_expect(txn, db_delete(txn, DB_RESERVATIONS_BY_TOKEN, OPEN_KEY(id, reservation)));
}

static enum store_error get_reservation(struct store_txn *txn, int64_t id,
                                        struct record_reservation *reservation)
{
    struct span record;
    enum store_error error = db_get(txn, DB_RESERVATIONS, ID_KEY(id), &record);
    return error == STORE_OK && !record_decode_reservation(id, record, reservation)
               ? db_corrupt(txn)
               : error;
}

/* A new one is open, one that is changed has ended. */
static void put_reservation(struct store_txn *txn, int64_t id,
                            const struct record_reservation *reservation)
{
    unsigned char record[RECORD_RESERVATION_LEN_MAX];
    size_t len = record_encode_reservation(id, reservation, record);
    if (reservation->ended) {
        unindex_open(txn, id, reservation);
    } else {
        ids_append(txn, DB_RESERVATIONS_BY_USER, reservation->user_id, id);
        reservation_index_open(txn, id, reservation);
    }
    db_put(txn, DB_RESERVATIONS, ID_KEY(id), span_of_bytes(record, len), 0);
}

static void delete_reservation(struct store_txn *txn, int64_t id,
                               const struct record_reservation *reservation)
{
    if (!reservation->ended)
        unindex_open(txn, id, reservation);
    db_expect(txn, ids_delete(txn, DB_RESERVATIONS_BY_USER, reservation->user_id, id));
    db_expect(txn, db_delete(txn, DB_RESERVATIONS, ID_KEY(id)));
}

static uint64_t count_open(struct store_txn *txn, int64_t user_id, int64_t token_id, uint64_t max,
                           int64_t *due_s)
{
    uint64_t count = 0;
    struct span key = THREE_IDS_KEY(token_id, clock_now(txn) + 1, 0), value = {NULL, 0};
    MDB_cursor *cursor = db_cursor_open(txn, DB_RESERVATIONS_BY_TOKEN);
    (void)user_id;
    for (MDB_cursor_op op = MDB_SET_RANGE;
         cursor && count < max && db_cursor_get(txn, cursor, &key, &value, op) == STORE_OK;
         op = MDB_NEXT) {
        const unsigned char *ids = (const unsigned char *)key.at;
        if (!record_decode_entry(key, value))
            db_corrupt(txn);
        else if (get_big64(ids) != token_id)
            break;
        else if (count++ == 0)
            *due_s = get_big64(ids + ID_KEY_LEN);
    }
    if (cursor)
        mdb_cursor_close(cursor);
    return count;
}

/* Looks for the oldest one to drop, where that is needed. */
static void get_places(struct store_txn *txn, int64_t user_id, struct store_places *places)
{
    enum { LOOKED_AT_MAX = 1000 };
    int64_t id, now_s = clock_now(txn);
    *places = (struct store_places){.due_s = INT64_MAX};
    if (ids_count(txn, DB_RESERVATIONS_BY_USER, user_id, &places->count) != STORE_OK ||
        places->count < STORE_RESERVATIONS_MAX)
        return;
    for (uint64_t i = 1; i <= LOOKED_AT_MAX && places->ended_count == 0; i++) {
        struct record_reservation reservation;
        enum store_error error =
            ids_find(txn, DB_RESERVATIONS_BY_USER, user_id, places->count - i, &places->count, &id);
        if (error == STORE_OK)
            error = get_reservation(txn, id, &reservation);
        if (error != STORE_OK) {
            db_corrupt(txn);
            return;
        }
        places->ended_count = reservation.ended || reservation.due_s <= now_s;
        lmdb_of(txn)->ended_id = id;
        if (reservation.due_s < places->due_s)
            places->due_s = reservation.due_s;
    }
}

static void drop_reservation(struct store_txn *txn, int64_t user_id)
{
    struct record_reservation reservation = {.ended = false};
    int64_t id = lmdb_of(txn)->ended_id;
    (void)user_id;
    if (db_expect(txn, get_reservation(txn, id, &reservation)) == STORE_OK)
        delete_reservation(txn, id, &reservation);
}

/* ---- purging ---- */

/* Ids are given out in the order of time: the oldest come first, and the first that has not expired
 * ends it. Returns whether others are left. */
static bool purge_reservations(struct store_txn *txn, size_t max)
{
    struct span record;
    struct record_reservation reservation;
    int64_t id = 1;
    for (size_t i = 0; i < max; i++, id++) {
        enum store_error error = lookup_from(txn, DB_RESERVATIONS, &id, &record);
        if (error == STORE_OK && !record_decode_reservation(id, record, &reservation))
            error = db_corrupt(txn);
        if (error != STORE_OK || clock_now(txn) - reservation.due_s < STORE_IDEMPOTENCY_S)
            return false;
        delete_reservation(txn, id, &reservation);
    }
    return true;
}

static enum store_error purge(struct store_txn *txn, struct store_write *write)
{
    write->step.more = purge_reservations(txn, write->step.max);
    write->step.more |= answers_purge(txn, write->step.max);
    write->step.more |= audit_rows_purge(txn, write->step.max);
    return txn->error;
}

static int64_t wall_s(struct store_txn *txn, const struct store_write *write)
{
    (void)txn;
    return write->now_unix_s;
}

const struct store_rows lmdb_rows = {
    .take_room = take_room,
    .now_s = clock_now,
    .now_ns = clock_now_ns,
    .wall_s = wall_s,
    .take_id = take_id,
    .get_user = lookup_user,
    .put_user = user_put,
    .delete_user = delete_user,
    .find_user = lookup_name,
    .index_user = user_index,
    .unindex_user = user_unindex,
    .get_token = lookup_token,
    .put_token = put_token,
    .add_token = add_token,
    .delete_token = delete_token,
    .first_token = first_token,
    .count_tokens = count_tokens,
    .follow_owner = follow_owner,
    .get_key = lookup_key,
    .put_key = put_key,
    .delete_key = delete_key,
    .get_reservation = get_reservation,
    .put_reservation = put_reservation,
    .get_places = get_places,
    .drop_reservation = drop_reservation,
    .count_open = count_open,
    .groups_checked = groups_checked,
    .check_groups = groups_check,
    .get_group = groups_get,
    .put_group = groups_put,
    .delete_group = groups_delete,
    .has_grant = grants_has,
    .put_grant = grants_put,
    .put_model = models_put,
    .add_usage = usage_add,
    .fold_usage = usage_fold,
    .delete_usage = usage_delete,
    .add_audit = audit_rows_add,
    .import_audit = audit_rows_import,
    .add_gateway = add_gateway,
    .delete_gateway = delete_gateway,
    .get_answer = answers_get,
    .put_answer = answers_put,
    .delete_answer = answers_delete,
    .get_kept = answers_get_kept,
    .purge = purge,
    .forget = answers_forget,
    .generation = rotation_generation,
    .put_rotation = rotation_put,
    .note_foreign_keys = note_foreign_keys,
    .raise_id = raise_id,
    .find_access = find_access,
    .has_gateway = has_gateway,
};
