/* Spending, and reservations.
 *
 * A reservation takes its amount when it is made: when its time is up nothing has to happen, it has
 * been settled at what it took. Exactness depends on no clock, timer or daemon. */

#include "store/lmdb/clock.h"
#include "store/lmdb/engine.h"

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
    bool from_remain = !token.unlimited_quota;
    token_spend(&token, write->spend.use.amount);
    token.accessed_unix_s = write->now_unix_s;
    store_fill_use_answer(&token, &write->spend.answer);
    error = token_put(txn, &token, &keys);
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
    struct span record;
    clock_now(txn); /* may change a record: before one is looked at */
    enum store_error error = db_get(txn, DB_RESERVATIONS, ID_KEY(id), &record);
    if (error == STORE_OK && !record_decode_reservation(id, record, &reservation))
        return db_corrupt(txn);
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
        db_delete(txn, DB_RESERVATIONS, ID_KEY(id));
    }
    *more = purged == max;
    return txn->error;
}
