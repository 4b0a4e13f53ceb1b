/* Spending, and reservations.
 *
 * A reservation takes its amount when it is made: when its time is up nothing has to happen, it has
 * been settled at what it took. Exactness depends on no clock, timer or daemon. */

#include "base/calendar.h"
#include "store/engine.h"
#include "store/txn.h"
#include "token/refill.h"

/* ---- a token with its owner ---- */

/* What a spend or settle changes: both rows in one transaction. */
struct pair {
    struct token token;
    struct record_keys keys;
    struct record_user owner;
    struct store_user_texts texts; /* of the owner */
};

/* A day that has ended is kept beside its row. */
static void keep_usage(struct store_txn *txn, int64_t user_id, int64_t token_id,
                       const struct token_usage *before, int64_t day)
{
    if (before->day == 0 || before->day == day)
        return;
    txn->rows->add_usage(txn, user_id, token_id, before->day, before->units, before->requests);
    txn->rows->fold_usage(txn, user_id, token_id, day - STORE_USAGE_DAYS);
}

/* The token's row goes first: its texts lie in the row as it was. */
static void put_pair(struct store_txn *txn, struct pair *pair)
{
    const struct token *token = &pair->token;
    store_keep_texts(&pair->owner, &pair->texts);
    txn->rows->put_token(txn, token, &pair->keys);
    txn->rows->put_user(txn, token->user_id, &pair->owner);
}

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

static enum store_error reserve(struct store_txn *txn, struct store_write *write,
                                const struct token_reservation *units)
{
    int64_t now_s = txn->rows->now_s(txn);
    struct store_use_answer *answer = &write->spend.answer;
    struct record_reservation reservation = {
        .gateway_id = write->spend.gateway_id,
        .user_id = answer->user_id,
        .token_id = answer->token_id,
        .units = *units,
        .created_s = now_s,
        .due_s = now_s + write->spend.ttl_s,
        .group = {answer->group, answer->group_len},
    };
    answer->amount = units->amount;
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

/* Looks at all that the use depends on. Reading the store's time may change a row: it comes before
 * one is looked at. STORE_NOT_FOUND if no token has the key. */
static enum store_error look(struct store_txn *txn, const struct store_write *write,
                             struct pair *pair, struct token_use_context *context,
                             struct store_group_right *right)
{
    struct token *token = &pair->token;
    bool reserves = write->spend.ttl_s > 0;
    *context = (struct token_use_context){.now_ns = txn->rows->now_ns(txn),
                                          .now_unix_s = txn->rows->wall_s(txn, write),
                                          .reserves = reserves};
    int64_t due_s = 0, now_s = reserves ? txn->rows->now_s(txn) : 0;
    context->day = calendar_day(context->now_unix_s);
    enum store_error error = store_get_by_key(txn, write->spend.key, context->now_unix_s, token,
                                              &pair->keys, &pair->owner);
    if (error != STORE_OK)
        return error;
    *right = store_find_right(txn, token->user_id, &pair->owner, token->group);
    context->owner_disabled = pair->owner.disabled;
    context->group_allowed = right->allowed;
    if (reserves && token->max_parallel_requests > 0)
        context->open_count = txn->rows->count_open(txn, token->user_id, token->id,
                                                    (uint64_t)token->max_parallel_requests, &due_s);
    context->open_s = due_s - now_s;
    token_refill(token, context->day);
    return txn->error;
}

static void fill_spent(const struct pair *pair, const struct token_use_context *context,
                       const struct store_group_right *right, struct store_use_answer *answer)
{
    struct token shown = pair->token;
    if (shown.group.len == 0)
        shown.group = pair->owner.group;
    store_fill_use_answer(&shown, answer);
    store_fill_limits(&shown, &pair->owner.account, context->now_ns, answer);
    answer->right = *right;
}

enum store_error store_apply_spend(struct store_txn *txn, struct store_write *write)
{
    struct pair pair;
    struct token_use_context context;
    struct store_group_right right;
    struct token_account *account = &pair.owner.account;
    struct store_use_answer *answer = &write->spend.answer;
    int64_t amount = write->spend.use.amount;
    bool drops;
    enum store_error error = look(txn, write, &pair, &context, &right);
    write->spend.refusal = TOKEN_REFUSED_UNKNOWN;
    *answer = (struct store_use_answer){.models = answer->models};
    if (error != STORE_OK)
        return error == STORE_NOT_FOUND ? STORE_OK : error;
    write->spend.refusal =
        token_use_check(&pair.token, account, &write->spend.use, &context, &answer->retry_after_s);
    store_fill_limits(&pair.token, account, context.now_ns, answer);
    if (write->spend.refusal != TOKEN_GOOD)
        return STORE_OK;
    error = check_place(txn, write, pair.token.user_id, &drops);
    if (error != STORE_OK)
        return error;
    struct token_usage token_usage = pair.token.usage, owner_usage = account->usage;
    struct token_reservation units = token_reserve(&pair.token, account, amount, &context);
    token_spend(&pair.token, account, amount, &context);
    pair.token.accessed_unix_s = write->now_unix_s;
    fill_spent(&pair, &context, &right, answer);
    put_pair(txn, &pair);
    keep_usage(txn, answer->user_id, answer->token_id, &token_usage, context.day);
    keep_usage(txn, answer->user_id, 0, &owner_usage, context.day);
    if (drops)
        txn->rows->drop_reservation(txn, answer->user_id);
    return write->spend.ttl_s > 0 ? reserve(txn, write, &units) : txn->error;
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

/* What is to be added to the usage of an earlier day. */
struct correction {
    int64_t units, requests;
    bool of_token, of_owner; /* else it is done in the row */
};

/* Ends the reservation in memory. token_exists: else it has been deleted. */
static struct correction settle(struct pair *pair, bool token_exists, int64_t now_ns,
                                const struct store_write *write,
                                struct record_reservation *reservation)
{
    struct token_reservation *units = &reservation->units;
    struct token_account *account = &pair->owner.account;
    bool takes_back = write->settle.cancels && units->day != 0; /* else it was not counted */
    token_settle(token_exists ? &pair->token : NULL, account, write->settle.amount, now_ns, units);
    struct correction correction = {.units = units->amount - units->reserved,
                                    .requests = takes_back ? -1 : 0};
    if (units->day == 0)
        return correction;
    account->request_count += correction.requests;
    correction.of_owner =
        !token_usage_correct(&account->usage, units->day, correction.units, correction.requests);
    correction.of_token =
        token_exists &&
        !token_usage_correct(&pair->token.usage, units->day, correction.units, correction.requests);
    return correction;
}

static void put_settled(struct store_txn *txn, struct pair *pair, bool token_exists,
                        const struct record_reservation *reservation,
                        const struct correction *correction)
{
    int64_t user_id = reservation->user_id, day = reservation->units.day;
    if (token_exists)
        txn->rows->put_token(txn, &pair->token, &pair->keys);
    txn->rows->put_user(txn, user_id, &pair->owner);
    if (correction->of_token)
        txn->rows->add_usage(txn, user_id, pair->token.id, day, correction->units,
                             correction->requests);
    if (correction->of_owner)
        txn->rows->add_usage(txn, user_id, 0, day, correction->units, correction->requests);
}

static enum store_error end_reservation(struct store_txn *txn, struct store_write *write,
                                        struct pair *pair, struct record_reservation *reservation)
{
    int64_t id = write->settle.reservation_id, user_id = reservation->user_id;
    struct correction correction = {.units = 0};
    enum store_error error =
        txn->rows->get_token(txn, user_id, reservation->token_id, &pair->token, &pair->keys);
    if (store_is_failure(error))
        return error;
    bool token_exists = error == STORE_OK;
    if (token_exists)
        token_refill(&pair->token, calendar_day(txn->rows->wall_s(txn, write)));
    else
        pair->token = (struct token){.id = reservation->token_id};
    if (txn->rows->now_s(txn) < reservation->due_s)
        correction = settle(pair, token_exists, txn->rows->now_ns(txn), write, reservation);
    write->settle.taken = correction.units;
    reservation->ended = true;
    reservation->remain_quota = pair->token.remain_quota;
    reservation->unlimited_quota = pair->token.unlimited_quota;
    fill_answer(id, reservation, &write->settle.answer);
    reservation->group.at = write->settle.answer.group; /* the row's may move */
    store_keep_texts(&pair->owner, &pair->texts);
    if (correction.units != 0 || correction.requests != 0)
        put_settled(txn, pair, token_exists, reservation, &correction);
    txn->rows->put_reservation(txn, id, reservation);
    return txn->error;
}

enum store_error store_apply_settle(struct store_txn *txn, struct store_write *write)
{
    int64_t id = write->settle.reservation_id;
    struct record_reservation reservation;
    struct pair pair;
    struct store_group_right right = {.checked = false};
    write->settle.taken = 0;
    txn->rows->now_ns(txn); /* may change a row: before one is looked at */
    enum store_error error = txn->rows->get_reservation(txn, id, &reservation);
    if (error == STORE_OK && reservation.gateway_id == write->settle.gateway_id)
        error = store_get_user(txn, reservation.user_id, &pair.owner);
    else if (error == STORE_OK)
        error = STORE_NOT_FOUND;
    if (error != STORE_OK)
        return store_is_failure(error) ? error : STORE_NO_RESERVATION;
    right = store_find_right(txn, reservation.user_id, &pair.owner, reservation.group);
    if (txn->error != STORE_OK)
        return txn->error;
    if (!reservation.ended)
        error = end_reservation(txn, write, &pair, &reservation);
    else
        fill_answer(id, &reservation, &write->settle.answer);
    write->settle.answer.right = right;
    return error;
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
