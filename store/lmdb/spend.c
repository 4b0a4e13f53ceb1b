/* Spending, and reservations.
 *
 * A reservation takes its amount when it is made. So nothing has to happen when its time
 * is up: it has been settled at what it took. Who comes later to settle or cancel it is
 * told so, whichever worker or restart that meets; no clock, timer or daemon is
 * part of what makes it exact. */

#include "store/lmdb/spend.h"

#include "base/bytes.h"
#include "store/lmdb/lookup.h"
#include "store/lmdb/tokens.h"

/* ---- taking ---- */

static int put_reservation(struct writer *writer, int64_t id,
                           const struct record_reservation *reservation)
{
    unsigned char key_bytes[ID_KEY_LEN], bytes[RECORD_RESERVATION_LEN_MAX];
    MDB_val key = engine_id_key(key_bytes, id);
    MDB_val record = {record_encode_reservation(id, reservation, bytes), bytes};
    return mdb_put(writer->txn, writer->store->reservations, &key, &record, 0);
}

static int reserve(struct writer *writer, struct store_write *write, bool from_remain)
{
    struct store_use_answer *answer = &write->spend.answer;
    struct record_reservation reservation = {
        .gateway_id = write->spend.gateway_id,
        .user_id = answer->user_id,
        .token_id = answer->token_id,
        .reserved = write->spend.use.amount,
        .from_remain = from_remain,
        .created_unix_s = write->now_unix_s,
        .due_unix_s = write->now_unix_s + write->spend.ttl_s,
        .amount = write->spend.use.amount,
        .group = {answer->group, answer->group_len},
    };
    answer->amount = write->spend.use.amount;
    int rc = engine_meta_take(writer->txn, writer->store->meta, META_NEXT_RESERVATION_ID,
                              &answer->reservation_id);
    return rc == MDB_SUCCESS ? put_reservation(writer, answer->reservation_id, &reservation) : rc;
}

int spend_take(struct writer *writer, struct store_write *write)
{
    struct token token;
    struct record_keys keys;
    size_t record_len;
    int rc = lookup_check_use(writer->txn, writer->store, write->spend.key, &write->spend.use,
                              write->now_unix_s, &token, &keys, &write->spend.refusal);
    if (rc != MDB_SUCCESS || write->spend.refusal != TOKEN_GOOD)
        return rc;
    bool from_remain = !token.unlimited_quota;
    token_spend(&token, write->spend.use.amount);
    token.accessed_unix_s = write->now_unix_s;
    lookup_fill_answer(&token, &write->spend.answer);
    rc = tokens_put(writer, &token, &keys, &record_len);
    if (rc == MDB_SUCCESS && write->spend.ttl_s > 0)
        rc = reserve(writer, write, from_remain);
    return rc;
}

/* ---- settling ---- */

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* More than was reserved: as far as the token can cover it. */
static void take_more(struct token *token, int64_t more, struct record_reservation *reservation)
{
    int64_t taken = smaller(more, INT64_MAX - token->used_quota);
    if (!token->unlimited_quota)
        taken = smaller(taken, token->remain_quota);
    token_spend(token, taken);
    reservation->shortfall = more - taken;
    reservation->amount = reservation->reserved + taken;
}

/* Less than was reserved. Units go back to where they came from, as many as
 * fit there: an owner may have set remain_quota to anything since. */
static void give_back(struct token *token, int64_t back, struct record_reservation *reservation)
{
    back = smaller(back, token->used_quota);
    if (reservation->from_remain)
        back = smaller(back, INT64_MAX - token->remain_quota);
    token->used_quota -= back;
    if (reservation->from_remain)
        token->remain_quota += back;
    reservation->amount = reservation->reserved - back;
}

static void fill_answer(int64_t id, const struct record_reservation *reservation,
                        struct store_use_answer *answer)
{
    *answer = (struct store_use_answer){.token_id = reservation->token_id,
                                        .user_id = reservation->user_id,
                                        .remain_quota = reservation->remain_quota,
                                        .unlimited_quota = reservation->unlimited_quota,
                                        .group_len = reservation->group.len,
                                        .reservation_id = id,
                                        .amount = reservation->amount,
                                        .shortfall = reservation->shortfall};
    memcpy(answer->group, reservation->group.at, reservation->group.len);
}

static int end_reservation(struct writer *writer, struct store_write *write,
                           struct record_reservation *reservation)
{
    struct token token;
    struct record_keys keys;
    size_t record_len;
    int rc = tokens_get(writer, reservation->user_id, reservation->token_id, &token, &keys);
    if (rc == MDB_NOTFOUND) {
        write->error = STORE_NOT_FOUND;
        return MDB_SUCCESS;
    }
    if (rc != MDB_SUCCESS)
        return rc;
    int64_t amount = write->settle.amount, reserved = reservation->reserved;
    bool in_time = write->now_unix_s < reservation->due_unix_s;
    if (in_time && amount > reserved)
        take_more(&token, amount - reserved, reservation);
    else if (in_time && amount < reserved)
        give_back(&token, reserved - amount, reservation);
    reservation->ended = true;
    reservation->remain_quota = token.remain_quota;
    reservation->unlimited_quota = token.unlimited_quota;
    struct store_use_answer *answer = &write->settle.answer;
    fill_answer(write->settle.reservation_id, reservation, answer);
    reservation->group.at = answer->group; /* its own lies in a record that may move */
    rc = reservation->amount != reserved ? tokens_put(writer, &token, &keys, &record_len)
                                         : MDB_SUCCESS;
    return rc == MDB_SUCCESS ? put_reservation(writer, write->settle.reservation_id, reservation)
                             : rc;
}

int spend_settle(struct writer *writer, struct store_write *write)
{
    unsigned char key_bytes[ID_KEY_LEN];
    MDB_val key = engine_id_key(key_bytes, write->settle.reservation_id), record;
    struct record_reservation reservation;
    int rc = lookup_get(writer->store, writer->txn, writer->store->reservations,
                        CHECKSUM_RESERVATION, &key, &record);
    if (rc != MDB_SUCCESS && rc != MDB_NOTFOUND)
        return rc;
    if (rc == MDB_SUCCESS && !record_decode_reservation(write->settle.reservation_id,
                                                        engine_span(&record), &reservation))
        return MDB_CORRUPTED;
    if (rc == MDB_NOTFOUND || reservation.gateway_id != write->settle.gateway_id) {
        write->error = STORE_NO_RESERVATION;
        return MDB_SUCCESS;
    }
    if (!reservation.ended)
        return end_reservation(writer, write, &reservation);
    fill_answer(write->settle.reservation_id, &reservation, &write->settle.answer);
    return MDB_SUCCESS;
}

/* ---- the time of use ---- */

int spend_note_access(struct writer *writer, struct store_write *write)
{
    for (size_t i = 0; i < write->access.count; i++) {
        const struct store_access *touched = &write->access.times[i];
        struct token token;
        struct record_keys keys;
        size_t record_len;
        int rc = tokens_get(writer, touched->user_id, touched->token_id, &token, &keys);
        if (rc == MDB_SUCCESS && token.accessed_unix_s < touched->accessed_unix_s) {
            token.accessed_unix_s = touched->accessed_unix_s;
            rc = tokens_put(writer, &token, &keys, &record_len);
        }
        if (rc != MDB_SUCCESS && rc != MDB_NOTFOUND)
            return rc;
    }
    return MDB_SUCCESS;
}

/* ---- sweeping ---- */

enum { SWEPT_MAX = 10000, PASSED_OVER_MAX = 100000 };

static bool is_over(const struct record_reservation *reservation, int64_t now_unix_s)
{
    return reservation->due_unix_s <= now_unix_s - STORE_IDEMPOTENCY_S;
}

/* The first reservation from the given id on. */
static int get_from(MDB_cursor *cursor, int64_t *id, struct record_reservation *reservation)
{
    unsigned char key_bytes[ID_KEY_LEN];
    MDB_val key = engine_id_key(key_bytes, *id), record;
    int rc = mdb_cursor_get(cursor, &key, &record, MDB_SET_RANGE);
    if (rc != MDB_SUCCESS)
        return rc;
    if (key.mv_size != ID_KEY_LEN)
        return MDB_CORRUPTED;
    *id = get_big64(key.mv_data);
    return record_decode_reservation(*id, engine_span(&record), reservation) ? MDB_SUCCESS
                                                                             : MDB_CORRUPTED;
}

/* Ids are given out in the order of time, so that the oldest come first and the first that
 * is not over ends it. But where the clock was ahead for a while, what was made then lies in
 * the future, for years perhaps: it is passed over, so that nothing piles up behind it. */
int reservations_purge(struct writer *writer, int64_t now_unix_s, bool *more)
{
    MDB_cursor *cursor;
    int rc = mdb_cursor_open(writer->txn, writer->store->reservations, &cursor);
    int swept = 0, passed_over = 0;
    for (int64_t id = 1; rc == MDB_SUCCESS && swept < SWEPT_MAX; id++) {
        struct record_reservation reservation;
        rc = get_from(cursor, &id, &reservation);
        if (rc != MDB_SUCCESS)
            break;
        bool over = is_over(&reservation, now_unix_s);
        if (!over && (reservation.created_unix_s <= now_unix_s || ++passed_over > PASSED_OVER_MAX))
            break;
        if (over) {
            rc = mdb_cursor_del(cursor, 0);
            swept++;
        }
    }
    *more = swept == SWEPT_MAX;
    return rc == MDB_NOTFOUND ? MDB_SUCCESS : rc;
}
