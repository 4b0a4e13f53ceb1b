/* Spending, and reservations.
 *
 * A reservation takes its amount when it is made: when its time is up nothing has to happen, it has
 * been settled at what it took. Exactness depends on no clock, timer or daemon. */

#include "store/lmdb/clock.h"
#include "store/lmdb/engine.h"

/* STORE_NOT_FOUND. */
static enum store_error get_reservation(struct txn *txn, int64_t id,
                                        struct record_reservation *reservation)
{
    struct span record;
    enum store_error error = db_get(txn, DB_RESERVATIONS, ID_KEY(id), &record);
    return error == STORE_OK && !record_decode_reservation(id, record, reservation)
               ? db_corrupt(txn)
               : error;
}

static void delete_reservation(struct txn *txn, int64_t user_id, int64_t id)
{
    if (db_delete(txn, DB_RESERVATIONS, ID_KEY(id)) == STORE_NOT_FOUND ||
        ids_delete(txn, DB_RESERVATIONS_BY_USER, user_id, id) == STORE_NOT_FOUND)
        db_corrupt(txn);
}

static enum store_error put_reservation(struct txn *txn, int64_t id,
                                        const struct record_reservation *reservation)
{
    unsigned char record[RECORD_RESERVATION_LEN_MAX];
    size_t len = record_encode_reservation(id, reservation, record);
    return db_put(txn, DB_RESERVATIONS, ID_KEY(id), span_of_bytes(record, len), 0);
}

/* ---- taking ---- */

/* Ids grow with the wall clock, by up to a million a second: they are never given out twice, also
 * after a backup was put back. */
static enum store_error take_id(struct txn *txn, int64_t now_unix_s, int64_t *id)
{
    enum { YEAR_2026_UNIX_S = 1767225600, IDS_A_SECOND = 1 << 20 };
    int64_t next, least = (now_unix_s - YEAR_2026_UNIX_S) * IDS_A_SECOND;
    enum store_error error = meta_get(txn, META_NEXT_RESERVATION_ID, &next);
    if (error != STORE_OK)
        return error;
    *id = next > least ? next : least;
    return meta_put(txn, META_NEXT_RESERVATION_ID, *id + 1);
}

/* Of a user STORE_RESERVATIONS_MAX are kept. *dropped_id is one that has ended, and has to go for
 * another, 0 for none. STORE_REMEMBERED where the oldest are all open. */
static enum store_error find_place(struct txn *txn, struct store_write *write, int64_t user_id,
                                   int64_t *dropped_id)
{
    enum { LOOKED_AT_MAX = 1000 };
    int64_t id, now_s = clock_now(txn), due_s = INT64_MAX;
    uint64_t count;
    enum store_error error = ids_count(txn, DB_RESERVATIONS_BY_USER, user_id, &count);
    *dropped_id = 0;
    if (error != STORE_OK || count < STORE_RESERVATIONS_MAX)
        return error;
    for (uint64_t i = 1; i <= LOOKED_AT_MAX; i++) {
        struct record_reservation reservation;
        error = ids_find(txn, DB_RESERVATIONS_BY_USER, user_id, count - i, &count, &id);
        if (error == STORE_OK)
            error = get_reservation(txn, id, &reservation);
        if (error != STORE_OK)
            return error == STORE_NOT_FOUND ? db_corrupt(txn) : error;
        if (reservation.ended || reservation.due_s <= now_s) {
            *dropped_id = id;
            return STORE_OK;
        }
        due_s = reservation.due_s < due_s ? reservation.due_s : due_s;
    }
    write->idempotency.retry_after_s = due_s - now_s;
    return STORE_REMEMBERED;
}

static enum store_error reserve(struct txn *txn, struct store_write *write, bool from_remain)
{
    int64_t amount = write->spend.use.amount;
    struct store_use_answer *answer = &write->spend.answer;
    struct record_reservation reservation = {
        .gateway_id = write->spend.gateway_id,
        .user_id = answer->user_id,
        .token_id = answer->token_id,
        .units = {.reserved = amount, .from_remain = from_remain, .amount = amount},
        .created_s = clock_now(txn),
        .due_s = clock_now(txn) + write->spend.ttl_s,
        .group = {answer->group, answer->group_len},
    };
    answer->amount = amount;
    take_id(txn, write->now_unix_s, &answer->reservation_id);
    ids_append(txn, DB_RESERVATIONS_BY_USER, answer->user_id, answer->reservation_id);
    return put_reservation(txn, answer->reservation_id, &reservation);
}

enum store_error write_spend(struct txn *txn, struct store_write *write)
{
    struct token token;
    struct record_keys keys;
    struct record_user owner;
    enum store_error error =
        lookup_by_key(txn, write->spend.key, write->now_unix_s, &token, &keys, &owner);
    write->spend.refusal = TOKEN_REFUSED_UNKNOWN;
    if (error != STORE_OK)
        return error == STORE_NOT_FOUND ? STORE_OK : error;
    write->spend.refusal = owner.disabled
                               ? TOKEN_REFUSED_USER
                               : token_use_check(&token, &write->spend.use, write->now_unix_s);
    if (write->spend.refusal != TOKEN_GOOD)
        return STORE_OK;
    int64_t dropped_id = 0, user_id = token.user_id;
    if (write->spend.ttl_s > 0)
        error = find_place(txn, write, user_id, &dropped_id);
    if (error != STORE_OK)
        return error;
    bool from_remain = !token.unlimited_quota;
    token_spend(&token, write->spend.use.amount);
    token.accessed_unix_s = write->now_unix_s;
    store_fill_use_answer(&token, &write->spend.answer);
    error = token_put(txn, &token, &keys);
    if (dropped_id != 0)
        delete_reservation(txn, user_id, dropped_id);
    return error == STORE_OK && write->spend.ttl_s > 0 ? reserve(txn, write, from_remain) : error;
}

/* ---- settling ---- */

static void fill_answer(int64_t id, const struct record_reservation *reservation,
                        struct store_use_answer *answer)
{
    *answer = (struct store_use_answer){.token_id = reservation->token_id,
                                        .user_id = reservation->user_id,
                                        .remain_quota = reservation->remain_quota,
                                        .unlimited_quota = reservation->unlimited_quota,
                                        .group_len = reservation->group.len,
                                        .reservation_id = id,
                                        .amount = reservation->units.amount,
                                        .shortfall = reservation->units.shortfall};
    memcpy(answer->group, reservation->group.at, reservation->group.len);
}

static enum store_error end_reservation(struct txn *txn, struct store_write *write,
                                        struct record_reservation *reservation)
{
    struct token token = {.remain_quota = 0};
    struct record_keys keys;
    int64_t id = write->settle.reservation_id;
    enum store_error error =
        lookup_token(txn, reservation->user_id, reservation->token_id, &token, &keys);
    if (store_is_failure(error))
        return error;
    /* Of a deleted token nothing is moved. */
    if (error == STORE_OK && clock_now(txn) < reservation->due_s)
        token_settle(&token, write->settle.amount, &reservation->units);
    reservation->ended = true;
    reservation->remain_quota = token.remain_quota;
    reservation->unlimited_quota = token.unlimited_quota;
    fill_answer(id, reservation, &write->settle.answer);
    reservation->group.at = write->settle.answer.group; /* the record's may move */
    if (reservation->units.amount != reservation->units.reserved)
        token_put(txn, &token, &keys);
    return put_reservation(txn, id, reservation);
}

enum store_error write_settle(struct txn *txn, struct store_write *write)
{
    int64_t id = write->settle.reservation_id;
    struct record_reservation reservation;
    struct record_user user;
    clock_now(txn); /* may change a record: before one is looked at */
    enum store_error error = get_reservation(txn, id, &reservation);
    if (error == STORE_OK && reservation.gateway_id == write->settle.gateway_id)
        error = lookup_user(txn, reservation.user_id, &user);
    else if (error == STORE_OK)
        error = STORE_NOT_FOUND;
    if (error != STORE_OK)
        return store_is_failure(error) ? error : STORE_NO_RESERVATION;
    if (!reservation.ended)
        return end_reservation(txn, write, &reservation);
    fill_answer(id, &reservation, &write->settle.answer);
    return STORE_OK;
}

/* ---- times of last use ---- */

enum store_error write_access(struct txn *txn, struct store_write *write)
{
    enum store_error error = STORE_OK;
    for (size_t i = 0; !store_is_failure(error) && i < write->access.count; i++) {
        const struct store_access *access = &write->access.times[i];
        struct token token;
        struct record_keys keys;
        error = lookup_token(txn, access->user_id, access->token_id, &token, &keys);
        if (error == STORE_OK && token.accessed_unix_s < access->accessed_unix_s) {
            token.accessed_unix_s = access->accessed_unix_s;
            error = token_put(txn, &token, &keys);
        }
    }
    return store_is_failure(error) ? error : STORE_OK;
}

/* ---- purging ---- */

/* Ids are given out in the order of time: the oldest come first, and the first that has not expired
 * ends it. */
enum store_error reservations_purge(struct txn *txn, uint64_t max, bool *more)
{
    uint64_t purged = 0;
    struct span record;
    struct record_reservation reservation;
    for (int64_t id = 1; purged < max; id++, purged++) {
        enum store_error error = lookup_from(txn, DB_RESERVATIONS, &id, &record);
        if (error == STORE_OK && !record_decode_reservation(id, record, &reservation))
            error = db_corrupt(txn);
        if (error != STORE_OK || clock_now(txn) - reservation.due_s < STORE_IDEMPOTENCY_S)
            break;
        delete_reservation(txn, reservation.user_id, id);
    }
    *more = purged == max;
    return txn->error;
}

/* ---- from schema version 3 ---- */

void reservations_upgrade(struct txn *txn)
{
    struct span record;
    struct record_reservation reservation;
    for (int64_t id = 1; lookup_from(txn, DB_RESERVATIONS, &id, &record) == STORE_OK; id++) {
        if (record_decode_reservation(id, record, &reservation))
            ids_append(txn, DB_RESERVATIONS_BY_USER, reservation.user_id, id);
        else
            db_corrupt(txn);
    }
}
