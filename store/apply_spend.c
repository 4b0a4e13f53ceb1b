/* Spending, and reservations.
 *
 * A reservation takes its amount when it is made: when its time is up nothing has to happen, it has
 * been settled at what it took. Exactness depends on no clock, timer or daemon. */

#include "store/engine.h"
#include "store/txn.h"

/* ---- taking ---- */

/* Of a user STORE_RESERVATIONS_MAX are kept: the oldest that has ended goes for another one.
 * STORE_REMEMBERED where the oldest are all open. */
static enum store_error check_place(struct store_txn *txn, struct store_write *write,
                                    int64_t user_id, bool *drops)
{
    struct store_places places = {0, 0, 0};
    *drops = false;
    if (write->spend.ttl_s <= 0)
        return STORE_OK;
    txn->rows->get_places(txn, user_id, &places);
    *drops = places.count >= STORE_RESERVATIONS_MAX;
    if (!*drops || places.ended_count > 0)
        return txn->error;
    write->idempotency.retry_after_s = places.due_s - txn->rows->now_s(txn);
    return STORE_REMEMBERED;
}

static enum store_error reserve(struct store_txn *txn, struct store_write *write, bool from_remain)
{
    int64_t amount = write->spend.use.amount, now_s = txn->rows->now_s(txn);
    struct store_use_answer *answer = &write->spend.answer;
    struct record_reservation reservation = {
        .gateway_id = write->spend.gateway_id,
        .user_id = answer->user_id,
        .token_id = answer->token_id,
        .units = {.reserved = amount, .from_remain = from_remain, .amount = amount},
        .created_s = now_s,
        .due_s = now_s + write->spend.ttl_s,
        .group = {answer->group, answer->group_len},
    };
    answer->amount = amount;
    if (txn->rows->take_id(txn, STORE_IDS_RESERVATION, &answer->reservation_id) == STORE_OK)
        txn->rows->put_reservation(txn, answer->reservation_id, &reservation);
    return txn->error;
}

enum store_error store_get_by_key(struct store_txn *txn, const char *key, int64_t now_unix_s,
                                  struct token *token, struct record_keys *keys,
                                  struct record_user *owner)
{
    const struct seal_secret *secrets[SEAL_SECRETS_MAX];
    unsigned char hash[SEAL_HASH_LEN];
    struct record_key entry;
    enum store_error error = STORE_NOT_FOUND;
    unsigned count = seal_list(txn->seal, secrets);
    for (unsigned i = 0; error == STORE_NOT_FOUND && i < count; i++) {
        seal_hash_key_with(secrets[i], key, hash);
        error = txn->rows->get_key(txn, hash, &entry);
    }
    if (error != STORE_OK)
        return error;
    if (entry.until_unix_s != 0 && entry.until_unix_s <= now_unix_s)
        return STORE_NOT_FOUND;
    error = store_get_user(txn, entry.user_id, owner);
    if (error != STORE_OK)
        return error == STORE_NO_USER ? STORE_NOT_FOUND : error;
    error = txn->rows->get_token(txn, entry.user_id, entry.token_id, token, keys);
    return error == STORE_NOT_FOUND ? store_txn_fail(txn, STORE_CORRUPT) : error;
}

enum store_error store_apply_spend(struct store_txn *txn, struct store_write *write)
{
    struct token token;
    struct record_keys keys;
    struct record_user owner;
    if (write->spend.ttl_s > 0)
        txn->rows->now_s(txn); /* may change a row: before one is looked at */
    enum store_error error =
        store_get_by_key(txn, write->spend.key, write->now_unix_s, &token, &keys, &owner);
    write->spend.refusal = TOKEN_REFUSED_UNKNOWN;
    if (error != STORE_OK)
        return error == STORE_NOT_FOUND ? STORE_OK : error;
    write->spend.refusal = owner.disabled
                               ? TOKEN_REFUSED_USER
                               : token_use_check(&token, &write->spend.use, write->now_unix_s);
    if (write->spend.refusal != TOKEN_GOOD)
        return STORE_OK;
    bool drops, from_remain = !token.unlimited_quota;
    error = check_place(txn, write, token.user_id, &drops);
    if (error != STORE_OK)
        return error;
    token_spend(&token, write->spend.use.amount);
    token.accessed_unix_s = write->now_unix_s;
    store_fill_use_answer(&token, &write->spend.answer);
    txn->rows->put_token(txn, &token, &keys);
    if (drops)
        txn->rows->drop_reservation(txn, write->spend.answer.user_id);
    return write->spend.ttl_s > 0 ? reserve(txn, write, from_remain) : txn->error;
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

static enum store_error end_reservation(struct store_txn *txn, struct store_write *write,
                                        struct record_reservation *reservation)
{
    struct token token = {.remain_quota = 0};
    struct record_keys keys;
    int64_t id = write->settle.reservation_id;
    enum store_error error =
        txn->rows->get_token(txn, reservation->user_id, reservation->token_id, &token, &keys);
    if (store_is_failure(error))
        return error;
    /* Of a deleted token nothing is moved. */
    if (error == STORE_OK && txn->rows->now_s(txn) < reservation->due_s)
        token_settle(&token, write->settle.amount, &reservation->units);
    reservation->ended = true;
    reservation->remain_quota = token.remain_quota;
    reservation->unlimited_quota = token.unlimited_quota;
    fill_answer(id, reservation, &write->settle.answer);
    reservation->group.at = write->settle.answer.group; /* the row's may move */
    if (reservation->units.amount != reservation->units.reserved)
        txn->rows->put_token(txn, &token, &keys);
    txn->rows->put_reservation(txn, id, reservation);
    return txn->error;
}

enum store_error store_apply_settle(struct store_txn *txn, struct store_write *write)
{
    int64_t id = write->settle.reservation_id;
    struct record_reservation reservation;
    struct record_user user;
    txn->rows->now_s(txn); /* may change a row: before one is looked at */
    enum store_error error = txn->rows->get_reservation(txn, id, &reservation);
    if (error == STORE_OK && reservation.gateway_id == write->settle.gateway_id)
        error = store_get_user(txn, reservation.user_id, &user);
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

enum store_error store_apply_access(struct store_txn *txn, struct store_write *write)
{
    enum store_error error = STORE_OK;
    for (size_t i = 0; !store_is_failure(error) && i < write->access.count; i++) {
        const struct store_access *access = &write->access.times[i];
        struct token token;
        struct record_keys keys;
        error = txn->rows->get_token(txn, access->user_id, access->token_id, &token, &keys);
        if (error == STORE_OK && token.accessed_unix_s < access->accessed_unix_s) {
            token.accessed_unix_s = access->accessed_unix_s;
            txn->rows->put_token(txn, &token, &keys);
        }
    }
    return store_is_failure(error) ? error : txn->error;
}
