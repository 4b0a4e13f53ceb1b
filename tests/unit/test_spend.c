#include "tests/unit/unit.h"

#include <inttypes.h>

#include "tests/unit/fake_clock.h"
#include "tests/unit/random.h"
#include "tests/unit/temporary.h"
#include "token/refill.h"

/* Spending beside a plain model: random creates, updates, spends, reservations, ends of them,
 * rotations, deletions and purges, several in a commit, while time goes on. */

enum {
    TOKENS_MAX = 60,
    RESERVATIONS_MAX = 20000,
    BATCH_MAX = 16,
    USERS = 3,
    START = 1700000000,
    DAY_S = 86400,
    FIRST_DAY = START / DAY_S,
    DAYS_MAX = 64
};

/* By day since the first. */
struct used {
    int64_t units[DAYS_MAX], requests[DAYS_MAX];
};

struct held {
    int64_t id, user_id;
    char key[TOKEN_KEY_LEN + 1], old_key[TOKEN_KEY_LEN + 1];
    bool has_old, deleted;
    int64_t old_until;
    int64_t remain, used, expired, accessed;
    bool unlimited, disabled;
    int64_t max_parallel, refill_amount, refilled_day;
    bool has_refill; /* each day */
    struct used days;
};

struct owner {
    bool disabled, unlimited;
    int64_t quota, used, deleted_used, requests;
    struct used days;
};

struct reserved {
    struct held *token;
    int64_t id, gateway_id, amount, day, due;
    bool from_remain, from_balance, ended;
    struct store_use_answer answer;
};

struct model {
    struct temporary temporary;
    struct random random;
    int64_t now, last_token_id, last_reservation_id;
    struct owner owners[USERS + 1];
    struct held tokens[TOKENS_MAX];
    size_t token_count;
    struct reserved reservations[RESERVATIONS_MAX];
    size_t reservation_count;
    size_t spent, refused, settled, shortfalls, late, replayed, swept;
    size_t unbalanced, crowded, refilled, cancelled, earlier_days, of_deleted;
};

static size_t below(struct model *model, size_t limit)
{
    return random_below(&model->random, limit);
}

static struct held *any_token(struct model *model)
{
    struct held *held = &model->tokens[below(model, model->token_count)];
    for (int i = 0; i < 5 && held->deleted; i++) /* most of the old ones are */
        held = &model->tokens[below(model, model->token_count)];
    return held;
}

/* ---- what is asked for ---- */

struct item {
    struct store_write write; /* first */
    struct token token;
    int64_t id;
    struct held *held;
    struct reserved *reserved;
};

static int64_t random_amount(struct model *model, const struct held *held)
{
    switch (below(model, 8)) {
    case 0:
        return 0;
    case 1:
        return held->remain;
    case 2:
        return held->remain < INT64_MAX ? held->remain + 1 : INT64_MAX;
    case 3:
        return below(model, 4) ? 1 : INT64_MAX;
    default:
        return (int64_t)below(model, 40);
    }
}

static void ask_create(struct model *model, struct item *item)
{
    static const int64_t quotas[] = {0, 1, 50, 1000, 1000, INT64_MAX};
    item->token = token_default();
    item->token.remain_quota = quotas[below(model, COUNT_OF(quotas))];
    item->token.unlimited_quota = below(model, 4) == 0;
    item->token.max_parallel_requests = below(model, 3) ? 0 : 1 + (int64_t)below(model, 4);
    item->token.refill_interval = below(model, 3) ? TOKEN_REFILL_NONE : TOKEN_REFILL_DAY;
    item->token.refill_amount = (int64_t)below(model, 300);
    item->token.refill_period = model->now / DAY_S;
    token_key_generate(item->token.key);
    item->write.kind = STORE_CREATE;
    item->write.user_id = 1 + (int64_t)below(model, USERS);
    item->write.create.tokens = &item->token;
    item->write.create.count = 1;
}

static void ask_update(struct model *model, struct item *item)
{
    struct token_patch *patch = &item->write.update.patch;
    item->held = any_token(model);
    item->write.kind = STORE_UPDATE;
    item->write.user_id = item->held->user_id;
    item->write.update.token_id = item->held->id;
    switch (below(model, 8)) {
    case 0:
        patch->fields = TOKEN_FIELD_REMAIN_QUOTA;
        patch->value.remain_quota = (int64_t)below(model, 500);
        break;
    case 1:
        patch->fields = TOKEN_FIELD_UNLIMITED_QUOTA;
        patch->value.unlimited_quota = below(model, 2);
        break;
    case 2:
        patch->fields = TOKEN_FIELD_STATUS;
        patch->value.status = TOKEN_DISABLED;
        break;
    default:
        patch->fields = TOKEN_FIELD_EXPIRED | TOKEN_FIELD_STATUS | TOKEN_FIELD_REMAIN_QUOTA;
        patch->value.status = TOKEN_ENABLED;
        patch->value.remain_quota = 1 + (int64_t)below(model, 500);
        patch->value.expired_unix_s =
            below(model, 2) ? -1 : model->now + 1 + (int64_t)below(model, 3000);
        break;
    }
}

static void ask_spend(struct model *model, struct item *item)
{
    struct held *held = any_token(model);
    bool old = held->has_old && below(model, 3) == 0;
    item->write.kind = STORE_SPEND;
    memcpy(item->write.spend.key, old ? held->old_key : held->key, TOKEN_KEY_LEN + 1);
    if (below(model, 40) == 0)
        token_key_generate(item->write.spend.key);
    item->write.spend.gateway_id = 1 + (int64_t)below(model, 2);
    item->write.spend.use.amount = random_amount(model, held);
    item->write.spend.ttl_s = below(model, 2) ? 0 : 1 + (int64_t)below(model, 3600);
}

static void ask_settle(struct model *model, struct item *item)
{
    size_t recent = model->reservation_count < 40 ? model->reservation_count : 40;
    item->write.kind = STORE_SETTLE;
    item->write.settle.gateway_id = 1 + (int64_t)below(model, 2);
    item->write.settle.reservation_id = (int64_t)below(model, 3) - 2;
    item->write.settle.amount = (int64_t)below(model, 40);
    if (recent == 0)
        return;
    size_t back = below(model, 10) ? below(model, recent) : below(model, model->reservation_count);
    item->reserved = &model->reservations[model->reservation_count - 1 - back];
    item->write.settle.reservation_id = item->reserved->id;
    item->write.settle.amount = below(model, 3) == 0 ? 0
                                : below(model, 3) == 0
                                    ? item->reserved->amount
                                    : random_amount(model, item->reserved->token);
    if (below(model, 12))
        item->write.settle.gateway_id = item->reserved->gateway_id;
    item->write.settle.cancels = below(model, 4) == 0;
    if (item->write.settle.cancels)
        item->write.settle.amount = 0;
}

static void ask_rotate(struct model *model, struct item *item)
{
    item->held = any_token(model);
    item->write.kind = STORE_ROTATE;
    item->write.user_id = item->held->user_id;
    item->write.rotate.token_id = item->held->id;
    item->write.rotate.grace_s = below(model, 2) ? 0 : 1 + (int64_t)below(model, 4000);
    token_key_generate(item->write.rotate.key);
}

static void ask(struct model *model, struct item *item)
{
    size_t what = model->token_count < 5 ? 0 : below(model, 100);
    *item = (struct item){.held = NULL};
    if (what < 4 && model->token_count < TOKENS_MAX - BATCH_MAX)
        ask_create(model, item);
    else if (what < 16)
        ask_update(model, item);
    else if (what < 60)
        ask_spend(model, item);
    else if (what < 94)
        ask_settle(model, item);
    else if (what < 98)
        ask_rotate(model, item);
    else if (what == 98 && below(model, 2)) {
        item->held = any_token(model);
        item->id = item->held->id;
        item->write.kind = STORE_DELETE;
        item->write.user_id = item->held->user_id;
        item->write.delete.ids = &item->id;
        item->write.delete.id_count = 1;
    } else {
        item->write.kind = STORE_PURGE;
        item->write.step.max = 1000;
    }
    item->write.now_unix_s = model->now;
}

/* ---- what has to come of it ---- */

static void expect_create(struct model *model, struct item *item)
{
    if (model->owners[item->write.user_id].disabled) {
        assert_int_equal(item->write.error, STORE_USER_DISABLED);
        return;
    }
    assert_int_equal(item->write.error, STORE_OK);
    assert_int_equal(item->token.id, ++model->last_token_id);
    struct held *held = &model->tokens[model->token_count++];
    *held = (struct held){.id = item->token.id,
                          .user_id = item->write.user_id,
                          .remain = item->token.remain_quota,
                          .unlimited = item->token.unlimited_quota,
                          .expired = -1,
                          .accessed = item->write.now_unix_s,
                          .max_parallel = item->token.max_parallel_requests,
                          .has_refill = item->token.refill_interval == TOKEN_REFILL_DAY,
                          .refill_amount = item->token.refill_amount,
                          .refilled_day = item->write.now_unix_s / DAY_S};
    memcpy(held->key, item->token.key, TOKEN_KEY_LEN + 1);
}

/* Whether the token's owner may change it; the error is checked where not. */
static bool may_change(const struct model *model, const struct item *item)
{
    if (model->owners[item->write.user_id].disabled) {
        assert_int_equal(item->write.error, STORE_USER_DISABLED);
        return false;
    }
    if (item->held->deleted && item->write.kind != STORE_DELETE) {
        assert_int_equal(item->write.error, STORE_NOT_FOUND);
        return false;
    }
    assert_int_equal(item->write.error, STORE_OK);
    return true;
}

static void refill(struct held *held, int64_t now)
{
    if (!held->has_refill || now / DAY_S <= held->refilled_day)
        return;
    held->refilled_day = now / DAY_S;
    held->remain = held->refill_amount;
}

static void expect_update(const struct model *model, struct item *item)
{
    const struct token_patch *patch = &item->write.update.patch;
    struct held *held = item->held;
    if (!may_change(model, item))
        return;
    refill(held, item->write.now_unix_s);
    if (patch->fields & TOKEN_FIELD_REMAIN_QUOTA)
        held->remain = patch->value.remain_quota;
    if (patch->fields & TOKEN_FIELD_UNLIMITED_QUOTA)
        held->unlimited = patch->value.unlimited_quota;
    if (patch->fields & TOKEN_FIELD_STATUS)
        held->disabled = patch->value.status == TOKEN_DISABLED;
    if (patch->fields & TOKEN_FIELD_EXPIRED)
        held->expired = patch->value.expired_unix_s;
    assert_int_equal(item->write.token.remain_quota, held->remain);
    assert_int_equal(item->write.token.used_quota, held->used);
    assert_memory_equal(item->write.token.key, held->key, TOKEN_KEY_LEN);
}

static bool same_key(const char *a, const char *b)
{
    return memcmp(a, b, TOKEN_KEY_LEN) == 0;
}

static struct held *find(struct model *model, const char *key, int64_t now)
{
    for (size_t i = 0; i < model->token_count; i++) {
        struct held *held = &model->tokens[i];
        if (!held->deleted &&
            (same_key(held->key, key) ||
             (held->has_old && now < held->old_until && same_key(held->old_key, key))))
            return held;
    }
    return NULL;
}

static int64_t count_open(const struct model *model, const struct held *held, int64_t now)
{
    int64_t count = 0;
    for (size_t i = 0; i < model->reservation_count; i++) {
        const struct reserved *reserved = &model->reservations[i];
        count += reserved->token == held && !reserved->ended && reserved->due > now;
    }
    return count;
}

static enum token_refusal refusal_of(const struct model *model, struct held *held, int64_t amount,
                                     bool reserves, int64_t now)
{
    if (!held)
        return TOKEN_REFUSED_UNKNOWN;
    const struct owner *owner = &model->owners[held->user_id];
    struct held refilled = *held;
    refill(&refilled, now);
    if (owner->disabled)
        return TOKEN_REFUSED_USER;
    if (held->disabled)
        return TOKEN_REFUSED_DISABLED;
    if (held->expired != -1 && held->expired <= now)
        return TOKEN_REFUSED_EXPIRED;
    if (reserves && held->max_parallel > 0 && count_open(model, held, now) >= held->max_parallel)
        return TOKEN_REFUSED_PARALLEL;
    if (held->used > INT64_MAX - amount ||
        (!held->unlimited && (refilled.remain == 0 || refilled.remain < amount)))
        return TOKEN_REFUSED_EXHAUSTED;
    if (owner->used > INT64_MAX - amount ||
        (!owner->unlimited && (owner->quota == 0 || owner->quota < amount)))
        return TOKEN_REFUSED_BALANCE;
    return TOKEN_GOOD;
}

static void check_answer(const struct store_use_answer *answer, const struct held *held)
{
    assert_int_equal(answer->token_id, held->id);
    assert_int_equal(answer->user_id, held->user_id);
    assert_int_equal(answer->remain_quota, held->remain);
    assert_int_equal(answer->unlimited_quota, held->unlimited);
    assert_span_equal(((struct span){answer->group, answer->group_len}), SPAN("vip"));
}

static void count_use(struct used *used, int64_t day, int64_t units, int64_t requests)
{
    assert_in_range(day - FIRST_DAY, 0, DAYS_MAX - 1);
    used->units[day - FIRST_DAY] += units;
    used->requests[day - FIRST_DAY] += requests;
}

static void expect_spend(struct model *model, struct item *item)
{
    struct store_write *write = &item->write;
    int64_t amount = write->spend.use.amount;
    struct held *held = find(model, write->spend.key, write->now_unix_s);
    enum token_refusal refusal =
        refusal_of(model, held, amount, write->spend.ttl_s > 0, write->now_unix_s);
    assert_int_equal(write->error, STORE_OK);
    assert_int_equal(write->spend.refusal, refusal);
    if (refusal != TOKEN_GOOD) {
        model->refused++;
        model->unbalanced += refusal == TOKEN_REFUSED_BALANCE;
        model->crowded += refusal == TOKEN_REFUSED_PARALLEL;
        return;
    }
    struct owner *owner = &model->owners[held->user_id];
    int64_t day = write->now_unix_s / DAY_S;
    model->spent++;
    model->refilled += held->has_refill && held->refilled_day < day;
    refill(held, write->now_unix_s);
    held->used += amount;
    owner->used += amount;
    owner->quota -= owner->unlimited ? 0 : amount;
    owner->requests++;
    count_use(&held->days, day, amount, 1);
    count_use(&owner->days, day, amount, 1);
    held->accessed = write->now_unix_s;
    if (!held->unlimited)
        held->remain -= amount;
    check_answer(&write->spend.answer, held);
    if (write->spend.ttl_s == 0) {
        assert_int_equal(write->spend.answer.reservation_id, 0);
        return;
    }
    assert_true(write->spend.answer.reservation_id > model->last_reservation_id);
    model->last_reservation_id = write->spend.answer.reservation_id;
    assert_int_equal(write->spend.answer.amount, amount);
    assert_true(model->reservation_count < RESERVATIONS_MAX);
    model->reservations[model->reservation_count++] =
        (struct reserved){.token = held,
                          .id = model->last_reservation_id,
                          .gateway_id = write->spend.gateway_id,
                          .amount = amount,
                          .day = day,
                          .due = write->now_unix_s + write->spend.ttl_s,
                          .from_remain = !held->unlimited,
                          .from_balance = !owner->unlimited};
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* How much of a difference moves. */
static int64_t moved(const struct held *held, const struct owner *owner,
                     const struct reserved *reserved, int64_t difference)
{
    bool same_day = !held->has_refill || reserved->day >= held->refilled_day;
    int64_t least_quota = owner->quota - INT64_MAX, least_remain = held->remain - INT64_MAX;
    if (difference > 0) {
        difference = least(difference, INT64_MAX - owner->used);
        if (!held->deleted)
            difference = least(difference, INT64_MAX - held->used);
        if (!held->deleted && !held->unlimited)
            difference = least(difference, held->remain);
        return owner->unlimited ? difference : least(difference, owner->quota);
    }
    if (reserved->from_remain && same_day && !held->deleted && difference < least_remain)
        difference = least_remain;
    if (reserved->from_balance && difference < least_quota)
        difference = least_quota;
    return difference;
}

static void end_reservation(struct model *model, const struct store_write *write,
                            struct reserved *reserved)
{
    struct held *held = reserved->token;
    struct owner *owner = &model->owners[held->user_id];
    int64_t wanted = write->settle.amount - reserved->amount, difference = 0;
    bool late = write->now_unix_s >= reserved->due;
    if (!held->deleted)
        refill(held, write->now_unix_s);
    bool same_day = !held->has_refill || reserved->day >= held->refilled_day;
    if (late) {
        model->late++;
        wanted = 0;
    } else {
        difference = moved(held, owner, reserved, wanted);
        int64_t requests = write->settle.cancels ? -1 : 0;
        bool of_remain = difference > 0 ? !held->unlimited : reserved->from_remain && same_day;
        bool of_balance = difference > 0 ? !owner->unlimited : reserved->from_balance;
        owner->used += difference;
        owner->quota -= of_balance ? difference : 0;
        owner->requests += requests;
        count_use(&owner->days, reserved->day, difference, requests);
        count_use(&held->days, reserved->day, difference, requests);
        if (held->deleted)
            owner->deleted_used += difference;
        held->used += difference;
        held->remain -= of_remain ? difference : 0;
        model->cancelled += requests != 0;
        model->earlier_days += reserved->day < write->now_unix_s / DAY_S;
        model->of_deleted += held->deleted;
    }
    int64_t shortfall = wanted > difference ? wanted - difference : 0;
    model->shortfalls += shortfall > 0;
    model->settled++;
    reserved->ended = true;
    reserved->answer.token_id = held->id;
    reserved->answer.remain_quota = held->deleted ? 0 : held->remain;
    reserved->answer.amount = reserved->amount + difference;
    reserved->answer.shortfall = shortfall;
    if (!held->deleted)
        check_answer(&write->settle.answer, held);
}

static void expect_settle(struct model *model, struct item *item)
{
    const struct store_write *write = &item->write;
    struct reserved *reserved = item->reserved;
    if (!reserved || reserved->gateway_id != write->settle.gateway_id) {
        assert_int_equal(write->error, STORE_NO_RESERVATION);
        return;
    }
    /* It is answered for as long as a repeat is, and may be swept after that. */
    if (write->error == STORE_NO_RESERVATION) {
        assert_true(write->now_unix_s >= reserved->due + STORE_IDEMPOTENCY_S);
        model->swept++;
        return;
    }
    assert_int_equal(write->error, STORE_OK);
    if (reserved->ended) {
        model->replayed++;
    } else {
        end_reservation(model, write, reserved);
    }
    assert_int_equal(write->settle.answer.reservation_id, reserved->id);
    assert_int_equal(write->settle.answer.token_id, reserved->answer.token_id);
    assert_int_equal(write->settle.answer.remain_quota, reserved->answer.remain_quota);
    assert_int_equal(write->settle.answer.amount, reserved->answer.amount);
    assert_int_equal(write->settle.answer.shortfall, reserved->answer.shortfall);
}

static void expect_rotate(const struct model *model, struct item *item)
{
    struct held *held = item->held;
    if (!may_change(model, item))
        return;
    held->has_old = item->write.rotate.grace_s > 0;
    held->old_until = item->write.now_unix_s + item->write.rotate.grace_s;
    memcpy(held->old_key, held->key, TOKEN_KEY_LEN + 1);
    memcpy(held->key, item->write.rotate.key, TOKEN_KEY_LEN + 1);
    assert_int_equal(item->write.token.id, held->id);
    assert_int_equal(item->write.token.used_quota, held->used);
    assert_memory_equal(item->write.token.key, held->key, TOKEN_KEY_LEN);
}

static void expect(struct model *model, struct item *item)
{
    switch (item->write.kind) {
    case STORE_CREATE:
        expect_create(model, item);
        break;
    case STORE_UPDATE:
        expect_update(model, item);
        break;
    case STORE_SPEND:
        expect_spend(model, item);
        break;
    case STORE_SETTLE:
        expect_settle(model, item);
        break;
    case STORE_ROTATE:
        expect_rotate(model, item);
        break;
    case STORE_DELETE:
        if (may_change(model, item)) {
            struct held *held = item->held;
            assert_int_equal(item->write.delete.deleted_count, !held->deleted);
            model->owners[held->user_id].deleted_used += held->deleted ? 0 : held->used;
            held->deleted = true;
        }
        break;
    default:
        assert_int_equal(item->write.error, STORE_OK);
    }
}

/* ---- the store beside the model ---- */

static void compare(void *context, const struct token *token)
{
    struct held *held = context;
    struct token refilled = *token;
    int64_t now = fake_wall_s;
    token_refill(&refilled, now / DAY_S);
    refill(held, now);
    assert_memory_equal(token->key, held->key, TOKEN_KEY_LEN);
    require(refilled.remain_quota == held->remain,
            "token %" PRId64 ": %" PRId64 " remain, not "
            "%" PRId64,
            held->id, refilled.remain_quota, held->remain);
    require(token->used_quota == held->used, "token %" PRId64 ": %" PRId64 " used, not %" PRId64,
            held->id, token->used_quota, held->used);
    assert_int_equal(token->accessed_unix_s, held->accessed);
    assert_int_equal(token->unlimited_quota, held->unlimited);
    assert_int_equal(token->status, held->disabled ? TOKEN_DISABLED : TOKEN_ENABLED);
    assert_int_equal(token->expired_unix_s, held->expired);
}

static void add_day(void *context, int64_t day, int64_t units, int64_t requests)
{
    count_use(context, day, units, requests);
}

static void check_usage(const struct model *model, int64_t user_id, int64_t token_id,
                        const struct used *used)
{
    struct used found = {.units = {0}};
    assert_int_equal(
        store_usage_read(model->temporary.reader, user_id, token_id, 1, add_day, &found), STORE_OK);
    assert_memory_equal(&found, used, sizeof(found));
}

static void check_owners(struct model *model)
{
    for (int64_t id = 1; id <= USERS; id++) {
        const struct owner *owner = &model->owners[id];
        struct store_user user;
        assert_int_equal(store_user_get(model->temporary.reader, id, &user), STORE_OK);
        assert_int_equal(user.account.quota, owner->quota);
        assert_int_equal(user.account.unlimited_quota, owner->unlimited);
        assert_int_equal(user.account.used_quota, owner->used);
        assert_int_equal(user.account.deleted_used_quota, owner->deleted_used);
        assert_int_equal(user.account.request_count, owner->requests);
        check_usage(model, id, 0, &owner->days);
    }
}

static void check_all(struct model *model)
{
    check_owners(model);
    for (size_t i = 0; i < model->token_count; i++) {
        struct held *held = &model->tokens[i];
        enum store_error error =
            store_token_get(model->temporary.reader, held->user_id, held->id, compare, held);
        assert_int_equal(error, held->deleted ? STORE_NOT_FOUND : STORE_OK);
        if (!held->deleted)
            check_usage(model, held->user_id, held->id, &held->days);
    }
    temporary_check(&model->temporary);
}

/* What the read of a key says is what the write would. */
static void check_reads(struct model *model)
{
    struct held *held = any_token(model);
    struct token_use use = {.amount = random_amount(model, held)};
    struct store_use_answer answer = {.models = NULL};
    enum token_refusal refusal = TOKEN_GOOD;
    const char *key = held->has_old && below(model, 2) ? held->old_key : held->key;
    assert_int_equal(
        store_token_check_use(model->temporary.reader, key, &use, model->now, &refusal, &answer),
        STORE_OK);
    struct held *found = find(model, key, model->now);
    assert_int_equal(refusal, refusal_of(model, found, use.amount, false, model->now));
    if (refusal == TOKEN_GOOD) {
        refill(found, model->now);
        check_answer(&answer, found);
    }
}

struct batch {
    struct item items[BATCH_MAX];
    size_t count;
};

static void step(struct model *model, struct batch *batch)
{
    batch->count = 1 + below(model, BATCH_MAX);
    model->now += (int64_t)(below(model, 100) ? below(model, 100) : below(model, 20000));
    int64_t evening = model->now - model->now % DAY_S + DAY_S - (int64_t)below(model, 200);
    if (below(model, 60) == 0 && model->now < evening)
        model->now = evening;
    fake_clocks(model->now);
    for (size_t i = 0; i < batch->count; i++)
        ask(model, &batch->items[i]);
    for (size_t i = 0; i < batch->count; i++)
        batch->items[i].write.next = i + 1 < batch->count ? &batch->items[i + 1].write : NULL;
    assert_int_equal(store_write_all(model->temporary.store, &batch->items[0].write), STORE_OK);
    for (size_t i = 0; i < batch->count; i++) {
        expect(model, &batch->items[i]);
        store_write_free(&batch->items[i].write);
    }
}

/* Another state and balance. */
static void change_owner(struct model *model)
{
    int64_t id = 1 + (int64_t)below(model, USERS);
    struct owner *owner = &model->owners[id];
    struct store_user_patch patch = {.fields = STORE_USER_STATUS | STORE_USER_QUOTA |
                                               STORE_USER_UNLIMITED};
    owner->disabled = patch.value.disabled = below(model, 4) == 0;
    owner->unlimited = patch.value.account.unlimited_quota = below(model, 3) == 0;
    owner->quota = patch.value.account.quota = (int64_t)below(model, 2000);
    assert_int_equal(store_user_change(model->temporary.store, id, &patch), STORE_OK);
}

static struct model *open_model(uint64_t seed)
{
    struct model *model = calloc(1, sizeof(*model));
    char access_token[STORE_CREDENTIAL_LEN];
    assert_non_null(model);
    model->random.state = seed;
    model->now = START;
    fake_clocks(START);
    temporary_create(&model->temporary);
    temporary_open(&model->temporary);
    for (int64_t id = 1; id <= USERS; id++) {
        assert_int_equal(temporary_add_user(&model->temporary, access_token), id);
        model->owners[id].unlimited = true;
    }
    return model;
}

/* Ended or not, none is left: each could be settled until then. */
static void purge_all(struct model *model)
{
    int64_t later = model->now + 3 * 86400;
    bool more;
    fake_clocks(later);
    do
        assert_int_equal(store_purge(model->temporary.store, &more), STORE_OK);
    while (more);
    for (int64_t id = 1; id <= (int64_t)model->reservation_count; id++)
        for (int64_t gateway_id = 1; gateway_id <= 2; gateway_id++) {
            struct store_write settle = {
                .kind = STORE_SETTLE,
                .now_unix_s = later,
                .settle = {.gateway_id = gateway_id, .reservation_id = id, .amount = 1}};
            assert_int_equal(store_write(model->temporary.store, &settle), STORE_NO_RESERVATION);
        }
    temporary_check(&model->temporary);
}

static void test_model(void **state)
{
    (void)state;
    fake_clocks_needed();
    static struct batch batch;
    const size_t many = (size_t)temporary_steps(500);
    for (uint64_t seed = 51; seed < 53; seed++) {
        struct model *model = open_model(seed);
        for (int i = 0; i < temporary_steps(1500); i++) {
            step(model, &batch);
            if (model->token_count > 0)
                check_reads(model);
            if (i % 40 == 39)
                change_owner(model);
            if (i % 100 == 99)
                check_all(model);
            if (i % 500 == 499) { /* as after a restart */
                temporary_close(&model->temporary);
                temporary_open(&model->temporary);
            }
        }
        check_all(model);
        /* Or the test would show little. */
        assert_true(model->spent > many && model->refused > many && model->settled > many / 2);
        assert_true(temporary_is_database() ||
                    (model->unbalanced > many / 25 && model->crowded > 0 && model->refilled > 0 &&
                     model->cancelled > many / 10 && model->earlier_days > 0 &&
                     model->of_deleted > 0));
        assert_true(model->shortfalls > 0 && model->late > many / 25 && model->replayed > many / 5);
        purge_all(model);
        temporary_remove(&model->temporary);
        free(model);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_model)};
    setenv("TZ", "UTC", 1);
    tzset();
    return cmocka_run_group_tests_name("spend", tests, NULL, NULL);
}
