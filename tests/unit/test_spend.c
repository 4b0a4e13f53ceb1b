#include "tests/unit/unit.h"

#include <inttypes.h>

#include "tests/unit/fake_clock.h"
#include "tests/unit/random.h"
#include "tests/unit/temporary.h"

/* Spending beside a plain model: random creates, updates, spends, reservations, ends of them,
 * rotations, deletions and purges, several in a commit, while time goes on. */

enum { TOKENS_MAX = 60, RESERVATIONS_MAX = 20000, BATCH_MAX = 16, USERS = 3, START = 1700000000 };

struct held {
    int64_t id, user_id;
    char key[TOKEN_KEY_LEN + 1], old_key[TOKEN_KEY_LEN + 1];
    bool has_old, deleted;
    int64_t old_until;
    int64_t remain, used, expired, accessed;
    bool unlimited, disabled;
};

struct reserved {
    struct held *token;
    int64_t id, gateway_id, amount, due;
    bool from_remain, ended;
    struct store_use_answer answer;
};

struct model {
    struct temporary temporary;
    struct random random;
    int64_t now, last_token_id, last_reservation_id;
    bool user_disabled[USERS + 1];
    struct held tokens[TOKENS_MAX];
    size_t token_count;
    struct reserved reservations[RESERVATIONS_MAX];
    size_t reservation_count;
    size_t spent, refused, settled, shortfalls, late, replayed, swept;
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
    item->write.settle.reservation_id = (int64_t)below(model, 3) - 1;
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
    if (model->user_disabled[item->write.user_id]) {
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
                          .accessed = item->write.now_unix_s};
    memcpy(held->key, item->token.key, TOKEN_KEY_LEN + 1);
}

/* Whether the token's owner may change it; the error is checked where not. */
static bool may_change(const struct model *model, const struct item *item)
{
    if (model->user_disabled[item->write.user_id]) {
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

static void expect_update(const struct model *model, struct item *item)
{
    const struct token_patch *patch = &item->write.update.patch;
    struct held *held = item->held;
    if (!may_change(model, item))
        return;
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

static enum token_refusal refusal_of(const struct model *model, const struct held *held,
                                     int64_t amount, int64_t now)
{
    if (!held)
        return TOKEN_REFUSED_UNKNOWN;
    if (model->user_disabled[held->user_id])
        return TOKEN_REFUSED_USER;
    if (held->disabled)
        return TOKEN_REFUSED_DISABLED;
    if (held->expired != -1 && held->expired <= now)
        return TOKEN_REFUSED_EXPIRED;
    if (!held->unlimited && (held->remain == 0 || held->remain < amount))
        return TOKEN_REFUSED_EXHAUSTED;
    return held->used > INT64_MAX - amount ? TOKEN_REFUSED_EXHAUSTED : TOKEN_GOOD;
}

static void check_answer(const struct store_use_answer *answer, const struct held *held)
{
    assert_int_equal(answer->token_id, held->id);
    assert_int_equal(answer->user_id, held->user_id);
    assert_int_equal(answer->remain_quota, held->remain);
    assert_int_equal(answer->unlimited_quota, held->unlimited);
    assert_span_equal(((struct span){answer->group, answer->group_len}), SPAN("vip"));
}

static void expect_spend(struct model *model, struct item *item)
{
    struct store_write *write = &item->write;
    int64_t amount = write->spend.use.amount;
    struct held *held = find(model, write->spend.key, write->now_unix_s);
    enum token_refusal refusal = refusal_of(model, held, amount, write->now_unix_s);
    assert_int_equal(write->error, STORE_OK);
    assert_int_equal(write->spend.refusal, refusal);
    if (refusal != TOKEN_GOOD) {
        model->refused++;
        return;
    }
    model->spent++;
    held->used += amount;
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
                          .due = write->now_unix_s + write->spend.ttl_s,
                          .from_remain = !held->unlimited};
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static void end_reservation(struct model *model, const struct store_write *write,
                            struct reserved *reserved)
{
    struct held *held = reserved->token;
    int64_t difference = write->settle.amount - reserved->amount, shortfall = 0;
    if (write->now_unix_s >= reserved->due) {
        difference = 0;
        model->late++;
    }
    if (difference > 0) {
        int64_t most = INT64_MAX - held->used;
        if (!held->unlimited)
            most = least(most, held->remain);
        shortfall = difference - least(difference, most);
        difference -= shortfall;
        held->used += difference;
        held->remain -= held->unlimited ? 0 : difference;
    } else {
        held->used += difference;
        if (reserved->from_remain)
            held->remain += least(-difference, INT64_MAX - held->remain);
    }
    model->shortfalls += shortfall > 0;
    model->settled++;
    reserved->ended = true;
    reserved->answer.token_id = held->id;
    reserved->answer.remain_quota = held->remain;
    reserved->answer.amount = reserved->amount + difference;
    reserved->answer.shortfall = shortfall;
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
    } else if (reserved->token->deleted) {
        reserved->ended = true;
        reserved->answer =
            (struct store_use_answer){.token_id = reserved->token->id, .amount = reserved->amount};
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
            assert_int_equal(item->write.delete.deleted_count, !item->held->deleted);
            item->held->deleted = true;
        }
        break;
    default:
        assert_int_equal(item->write.error, STORE_OK);
    }
}

/* ---- the store beside the model ---- */

static void compare(void *context, const struct token *token)
{
    const struct held *held = context;
    assert_memory_equal(token->key, held->key, TOKEN_KEY_LEN);
    require(token->remain_quota == held->remain,
            "token %" PRId64 ": %" PRId64 " remain, not "
            "%" PRId64,
            held->id, token->remain_quota, held->remain);
    require(token->used_quota == held->used, "token %" PRId64 ": %" PRId64 " used, not %" PRId64,
            held->id, token->used_quota, held->used);
    assert_int_equal(token->accessed_unix_s, held->accessed);
    assert_int_equal(token->unlimited_quota, held->unlimited);
    assert_int_equal(token->status, held->disabled ? TOKEN_DISABLED : TOKEN_ENABLED);
    assert_int_equal(token->expired_unix_s, held->expired);
}

static void check_all(struct model *model)
{
    for (size_t i = 0; i < model->token_count; i++) {
        struct held *held = &model->tokens[i];
        enum store_error error =
            store_token_get(model->temporary.reader, held->user_id, held->id, compare, held);
        assert_int_equal(error, held->deleted ? STORE_NOT_FOUND : STORE_OK);
    }
    temporary_check(&model->temporary);
}

/* What the read of a key says is what the write would. */
static void check_reads(struct model *model)
{
    struct held *held = any_token(model);
    struct token_use use = {.amount = random_amount(model, held)};
    struct store_use_answer answer;
    enum token_refusal refusal = TOKEN_GOOD;
    const char *key = held->has_old && below(model, 2) ? held->old_key : held->key;
    assert_int_equal(
        store_token_check_use(model->temporary.reader, key, &use, model->now, &refusal, &answer),
        STORE_OK);
    const struct held *found = find(model, key, model->now);
    assert_int_equal(refusal, refusal_of(model, found, use.amount, model->now));
    if (refusal == TOKEN_GOOD)
        check_answer(&answer, found);
}

struct batch {
    struct item items[BATCH_MAX];
    size_t count;
};

static void step(struct model *model, struct batch *batch)
{
    batch->count = 1 + below(model, BATCH_MAX);
    model->now += (int64_t)(below(model, 100) ? below(model, 100) : below(model, 20000));
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

static void toggle_user(struct model *model)
{
    int64_t id = 1 + (int64_t)below(model, USERS);
    model->user_disabled[id] = below(model, 4) == 0;
    assert_int_equal(set_user_disabled(model->temporary.store, id, model->user_disabled[id]),
                     STORE_OK);
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
    for (int64_t id = 1; id <= USERS; id++)
        assert_int_equal(temporary_add_user(&model->temporary, access_token), id);
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
                .kind = STORE_SETTLE, .now_unix_s = later, .settle = {gateway_id, id, 1, {0}}};
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
                toggle_user(model);
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
        assert_true(model->shortfalls > 0 && model->late > many / 25 && model->replayed > many / 5);
        purge_all(model);
        temporary_remove(&model->temporary);
        free(model);
    }
}

/* ---- single things ---- */

struct one {
    struct temporary temporary;
    struct token token;
};

static void open_one(struct one *one, int64_t remain_quota, bool unlimited)
{
    char access_token[STORE_CREDENTIAL_LEN];
    fake_clocks(START);
    temporary_create(&one->temporary);
    temporary_open(&one->temporary);
    temporary_add_user(&one->temporary, access_token);
    one->token = token_default();
    one->token.remain_quota = remain_quota;
    one->token.unlimited_quota = unlimited;
    token_key_generate(one->token.key);
    struct store_write write = {.kind = STORE_CREATE,
                                .user_id = 1,
                                .now_unix_s = START,
                                .create = {.tokens = &one->token, .count = 1}};
    assert_int_equal(store_write(one->temporary.store, &write), STORE_OK);
    store_write_free(&write);
}

static void copy_token(void *context, const struct token *token)
{
    *(struct token *)context = *token; /* only its numbers are looked at */
}

static void close_one(struct one *one, int64_t remain, int64_t used)
{
    struct token token;
    assert_int_equal(store_token_get(one->temporary.reader, 1, 1, copy_token, &token), STORE_OK);
    assert_int_equal(token.remain_quota, remain);
    assert_int_equal(token.used_quota, used);
    temporary_check(&one->temporary);
    temporary_remove(&one->temporary);
}

static int64_t reserve(struct one *one, int64_t amount, int64_t ttl_s, int64_t now)
{
    struct store_write write = {
        .kind = STORE_SPEND,
        .now_unix_s = now,
        .spend = {.use = {.amount = amount}, .gateway_id = 1, .ttl_s = ttl_s}};
    memcpy(write.spend.key, one->token.key, TOKEN_KEY_LEN + 1);
    assert_int_equal(store_write(one->temporary.store, &write), STORE_OK);
    assert_int_equal(write.spend.refusal, TOKEN_GOOD);
    return write.spend.answer.reservation_id;
}

static struct store_use_answer settle(struct one *one, int64_t id, int64_t amount, int64_t now)
{
    fake_clocks(now);
    struct store_write write = {
        .kind = STORE_SETTLE,
        .now_unix_s = now,
        .settle = {.gateway_id = 1, .reservation_id = id, .amount = amount}};
    assert_int_equal(store_write(one->temporary.store, &write), STORE_OK);
    return write.settle.answer;
}

/* To the second: at the end of its time it has been settled at its amount. */
static void test_the_end_of_its_time(void **state)
{
    (void)state;
    fake_clocks_needed();
    static const struct {
        int64_t after_s, amount, in_the_end;
    } rows[] = {{0, 3, 3},      {599, 3, 3},  {600, 3, 10},  {601, 3, 10},
                {86400, 3, 10}, {0, 15, 15},  {599, 15, 15}, {600, 15, 10},
                {599, 0, 0},    {600, 0, 10}, {599, 10, 10}, {600, 10, 10}};
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct one one;
        open_one(&one, 100, false);
        int64_t id = reserve(&one, 10, 600, START);
        struct store_use_answer first = settle(&one, id, rows[i].amount, START + rows[i].after_s);
        require(first.amount == rows[i].in_the_end, "row %zu", i);
        assert_int_equal(first.shortfall, 0);
        assert_int_equal(first.remain_quota, 100 - rows[i].in_the_end);
        struct store_use_answer again = settle(&one, id, 77, START + rows[i].after_s + 1);
        assert_int_equal(again.amount, first.amount);
        assert_int_equal(again.remain_quota, first.remain_quota);
        close_one(&one, 100 - rows[i].in_the_end, rows[i].in_the_end);
    }
}

static void test_shortfall(void **state)
{
    (void)state;
    struct one one;
    open_one(&one, 12, false);
    int64_t id = reserve(&one, 10, 600, START);
    struct store_use_answer answer = settle(&one, id, 20, START);
    assert_int_equal(answer.amount, 12);
    assert_int_equal(answer.shortfall, 8);
    assert_int_equal(answer.remain_quota, 0);
    close_one(&one, 0, 12);

    open_one(&one, 5, true); /* an unlimited one has no end, but used_quota has */
    id = reserve(&one, 10, 600, START);
    answer = settle(&one, id, INT64_MAX, START);
    assert_int_equal(answer.amount, INT64_MAX);
    assert_int_equal(answer.shortfall, 0);
    int64_t second = reserve(&one, 0, 600, START);
    answer = settle(&one, second, 7, START);
    assert_int_equal(answer.amount, 0);
    assert_int_equal(answer.shortfall, 7);
    close_one(&one, 5, INT64_MAX);
}

/* They grow with the wall clock, and never go back. PostgreSQL's engine goes by its server's. */
static void test_reservation_ids(void **state)
{
    (void)state;
    if (temporary_is_database())
        return;
    const int64_t year_2026 = 1767225600;
    struct one one;
    open_one(&one, 100, false);
    const struct {
        int64_t now, id;
    } rows[] = {{START, 1},
                {year_2026 - 1, 2},
                {year_2026 + 1, 1 << 20},
                {year_2026 + 1, (1 << 20) + 1},
                {year_2026, (1 << 20) + 2},
                {year_2026 + 1000000000, INT64_C(1000000000) << 20},
                {START, (INT64_C(1000000000) << 20) + 1}};
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        int64_t id = reserve(&one, 1, 600, rows[i].now);
        require(id == rows[i].id, "row %zu: %lld", i, (long long)id);
    }
    close_one(&one, 100 - COUNT_OF(rows), COUNT_OF(rows));
}

/* Of a deleted token nothing is moved, once; a deleted user's are gone. */
static void test_deleted_meanwhile(void **state)
{
    (void)state;
    struct one one;
    open_one(&one, 100, false);
    int64_t id = reserve(&one, 30, 600, START), other_id = reserve(&one, 20, 600, START);
    struct store_write delete = {
        .kind = STORE_DELETE, .user_id = 1, .delete = {.ids = (int64_t[]){1}, .id_count = 1}};
    assert_int_equal(store_write(one.temporary.store, &delete), STORE_OK);
    assert_int_equal(delete.delete.deleted_count, 1);
    for (int64_t amount = 5; amount < 60; amount += 50) {
        struct store_use_answer answer = settle(&one, id, amount, START);
        assert_int_equal(answer.token_id, 1);
        assert_int_equal(answer.remain_quota, 0);
        assert_int_equal(answer.amount, 30);
        assert_int_equal(answer.shortfall, 0);
    }
    assert_int_equal(store_user_delete(one.temporary.store, 1), STORE_OK);
    for (int i = 0; i < 2; i++) {
        struct store_write write = {
            .kind = STORE_SETTLE,
            .settle = {.gateway_id = 1, .reservation_id = i ? id : other_id, .amount = 1}};
        assert_int_equal(store_write(one.temporary.store, &write), STORE_NO_RESERVATION);
    }
    temporary_check(&one.temporary);
    temporary_remove(&one.temporary);
}

static enum store_error reserve_many(struct one *one, size_t count, int64_t ttl_s,
                                     struct store_write *writes)
{
    for (size_t i = 0; i < count; i++) {
        writes[i] = (struct store_write){
            .kind = STORE_SPEND, .now_unix_s = START, .spend = {.gateway_id = 1, .ttl_s = ttl_s}};
        memcpy(writes[i].spend.key, one->token.key, TOKEN_KEY_LEN + 1);
    }
    assert_int_equal(temporary_commit(one->temporary.store, writes, count), STORE_OK);
    return writes[count - 1].error;
}

/* One that has ended goes for a new one; where all are open, there is none. */
static void test_bound_of_a_user(void **state)
{
    (void)state;
    fake_clocks_needed();
    static struct store_write writes[STORE_RESERVATIONS_MAX];
    struct store_write more;
    struct one one;
    open_one(&one, 100, false);
    assert_int_equal(reserve_many(&one, STORE_RESERVATIONS_MAX, 600, writes), STORE_OK);
    int64_t ids[] = {writes[0].spend.answer.reservation_id, writes[1].spend.answer.reservation_id};
    fake_clocks(START + 100);
    assert_int_equal(reserve_many(&one, 1, 600, &more), STORE_REMEMBERED);
    assert_int_equal(more.idempotency.retry_after_s, 500);
    settle(&one, ids[1], 0, START + 100);
    assert_int_equal(reserve_many(&one, 1, 600, &more), STORE_OK);
    assert_int_equal(reserve_many(&one, 1, 600, &more), STORE_REMEMBERED);
    settle(&one, ids[0], 0, START + 100); /* the other one is gone */
    struct store_write gone = {.kind = STORE_SETTLE,
                               .settle = {.gateway_id = 1, .reservation_id = ids[1]}};
    assert_int_equal(store_write(one.temporary.store, &gone), STORE_NO_RESERVATION);
    fake_clocks(START + 600); /* their time is up */
    assert_int_equal(reserve_many(&one, 1000, 600, writes), STORE_OK);
    close_one(&one, 100, 0);
}

/* Units go back to where they came from, whatever the token has become. */
static void test_unlimited_meanwhile(void **state)
{
    (void)state;
    for (int unlimited = 0; unlimited < 2; unlimited++) {
        struct one one;
        open_one(&one, 100, unlimited);
        int64_t id = reserve(&one, 30, 600, START);
        struct store_write write = {
            .kind = STORE_UPDATE,
            .user_id = 1,
            .now_unix_s = START,
            .update = {.token_id = 1,
                       .patch = {.fields = TOKEN_FIELD_UNLIMITED_QUOTA,
                                 .value = {.unlimited_quota = !unlimited}}}};
        assert_int_equal(store_write(one.temporary.store, &write), STORE_OK);
        store_write_free(&write);
        settle(&one, id, 0, START);
        close_one(&one, 100, 0);
    }
}

/* To the second: an old key is good until its grace is over. */
static void test_the_end_of_a_grace(void **state)
{
    (void)state;
    static const struct {
        int64_t after_s;
        enum token_refusal refusal;
    } rows[] = {{0, TOKEN_GOOD}, {59, TOKEN_GOOD}, {60, TOKEN_REFUSED_UNKNOWN}};
    struct one one;
    open_one(&one, 100, false);
    struct store_write write = {.kind = STORE_ROTATE,
                                .user_id = 1,
                                .now_unix_s = START,
                                .rotate = {.token_id = 1, .grace_s = 60}};
    token_key_generate(write.rotate.key);
    assert_int_equal(store_write(one.temporary.store, &write), STORE_OK);
    store_write_free(&write);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct token_use use = {.amount = 1};
        struct store_use_answer answer;
        enum token_refusal refusal;
        assert_int_equal(store_token_check_use(one.temporary.reader, one.token.key, &use,
                                               START + rows[i].after_s, &refusal, &answer),
                         STORE_OK);
        require(refusal == rows[i].refusal, "row %zu", i);
    }
    close_one(&one, 100, 0);
}

static void write_access(struct one *one, int64_t user_id, int64_t token_id, int64_t at)
{
    struct store_access access[] = {{9, 9, at}, {user_id, token_id, at}};
    struct store_write write = {.kind = STORE_ACCESS,
                                .now_unix_s = START,
                                .access = {.times = access, .count = COUNT_OF(access)}};
    assert_int_equal(store_write(one->temporary.store, &write), STORE_OK);
}

/* Forwards only, and of one that is gone nothing. */
static void test_access_times(void **state)
{
    (void)state;
    struct one one;
    struct token token;
    open_one(&one, 100, false);
    static const struct {
        int64_t at, accessed;
    } rows[] = {{START - 1, START}, {START, START}, {START + 9, START + 9}, {START + 5, START + 9}};
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        write_access(&one, 1, 1, rows[i].at);
        assert_int_equal(store_token_get(one.temporary.reader, 1, 1, copy_token, &token), STORE_OK);
        require(token.accessed_unix_s == rows[i].accessed, "row %zu", i);
    }
    write_access(&one, 2, 1, START + 99); /* not this user's */
    assert_int_equal(store_token_get(one.temporary.reader, 1, 1, copy_token, &token), STORE_OK);
    assert_int_equal(token.accessed_unix_s, START + 9);
    close_one(&one, 100, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model),
        cmocka_unit_test(test_the_end_of_its_time),
        cmocka_unit_test(test_shortfall),
        cmocka_unit_test(test_reservation_ids),
        cmocka_unit_test(test_deleted_meanwhile),
        cmocka_unit_test(test_bound_of_a_user),
        cmocka_unit_test(test_unlimited_meanwhile),
        cmocka_unit_test(test_the_end_of_a_grace),
        cmocka_unit_test(test_access_times),
    };
    return cmocka_run_group_tests_name("spend", tests, NULL, NULL);
}
