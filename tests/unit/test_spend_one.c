#include "tests/unit/unit.h"

#include "tests/unit/fake_clock.h"
#include "tests/unit/temporary.h"

/* Spending, one thing at a time: ends of times, rates, days, parallel reservations. */

enum { START = 1700000000 };

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

static struct token_account account_of(struct one *one)
{
    struct store_user user;
    assert_int_equal(store_user_get(one->temporary.reader, 1, &user), STORE_OK);
    return user.account;
}

/* Of a deleted token the owner's sums are moved, once; a deleted user's are gone. */
static void test_deleted_meanwhile(void **state)
{
    (void)state;
    struct one one;
    open_one(&one, 100, false);
    const struct store_user_patch patch = {.fields = STORE_USER_QUOTA, .value.account.quota = 80};
    assert_int_equal(store_user_change(one.temporary.store, 1, &patch), STORE_OK);
    int64_t id = reserve(&one, 30, 600, START), other_id = reserve(&one, 20, 600, START),
            last_id = reserve(&one, 10, 600, START);
    struct store_write delete = {
        .kind = STORE_DELETE, .user_id = 1, .delete = {.ids = (int64_t[]){1}, .id_count = 1}};
    assert_int_equal(store_write(one.temporary.store, &delete), STORE_OK);
    assert_int_equal(delete.delete.deleted_count, 1);
    assert_int_equal(account_of(&one).deleted_used_quota, 60);
    for (int64_t amount = 5; amount < 60; amount += 50) {
        struct store_use_answer answer = settle(&one, id, amount, START);
        assert_int_equal(answer.token_id, 1);
        assert_int_equal(answer.remain_quota, 0);
        assert_int_equal(answer.amount, 5);
        assert_int_equal(answer.shortfall, 0);
        assert_int_equal(account_of(&one).quota, 45);
        assert_int_equal(account_of(&one).used_quota, 35);
        assert_int_equal(account_of(&one).deleted_used_quota, 35);
    }
    struct store_use_answer answer = settle(&one, other_id, 70, START);
    assert_int_equal(answer.amount, 65);
    assert_int_equal(answer.shortfall, 5);
    assert_int_equal(account_of(&one).quota, 0);
    assert_int_equal(account_of(&one).used_quota, 80);
    assert_int_equal(account_of(&one).request_count, 3);
    temporary_check(&one.temporary);
    assert_int_equal(store_user_delete(one.temporary.store, 1), STORE_OK);
    for (int i = 0; i < 2; i++) {
        struct store_write write = {
            .kind = STORE_SETTLE,
            .settle = {.gateway_id = 1, .reservation_id = i ? id : last_id, .amount = 1}};
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

/* ---- rates ---- */

static void set_limits(struct one *one, int64_t rpm_limit, int64_t tpm_limit, int64_t owners_rpm)
{
    const struct store_user_patch patch = {.fields = STORE_USER_RPM_LIMIT,
                                           .value.account.rpm_limit = owners_rpm};
    struct store_write write = {
        .kind = STORE_UPDATE,
        .user_id = 1,
        .now_unix_s = START,
        .update = {.token_id = 1,
                   .patch = {.fields = TOKEN_FIELD_RPM_LIMIT | TOKEN_FIELD_TPM_LIMIT,
                             .value = {.rpm_limit = rpm_limit, .tpm_limit = tpm_limit}}}};
    assert_int_equal(store_write(one->temporary.store, &write), STORE_OK);
    store_write_free(&write);
    assert_int_equal(store_user_change(one->temporary.store, 1, &patch), STORE_OK);
}

/* How many of so many uses of an amount pass in one commit. */
static int64_t count_passed(struct one *one, size_t count, int64_t amount, int64_t now)
{
    static struct store_write writes[2000];
    int64_t passed = 0;
    fake_clocks(now);
    for (size_t i = 0; i < count; i++) {
        writes[i] = (struct store_write){
            .kind = STORE_SPEND, .now_unix_s = now, .spend = {.use = {.amount = amount}}};
        memcpy(writes[i].spend.key, one->token.key, TOKEN_KEY_LEN + 1);
    }
    assert_int_equal(temporary_commit(one->temporary.store, writes, count), STORE_OK);
    for (size_t i = 0; i < count; i++) {
        passed += writes[i].spend.refusal == TOKEN_GOOD;
        assert_true(writes[i].spend.refusal == TOKEN_GOOD ||
                    writes[i].spend.refusal == TOKEN_REFUSED_RATE);
    }
    return passed;
}

/* In a minute in which more is asked for, the burst and what refills pass; never more, and at most
 * 2 % less. */
static void test_rates_are_exact(void **state)
{
    (void)state;
    fake_clocks_needed();
    static const struct {
        int64_t rpm, tpm, owners_rpm, amount, limit;
    } rows[] = {{60, 0, 0, 1, 60},       {61, 0, 0, 0, 61},   {97, 0, 1000, 1, 97},
                {1000, 0, 600, 5, 600},  {0, 700, 0, 7, 100}, {0, 6000, 0, 100, 60},
                {90, 7000, 80, 100, 70}, {999, 0, 0, 1, 999}};
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct one one;
        open_one(&one, 0, true);
        set_limits(&one, rows[i].rpm, rows[i].tpm, rows[i].owners_rpm);
        int64_t limit = rows[i].limit, passed = 0;
        for (int64_t second = 0; second <= 60; second += second < 50 ? 5 : 1) {
            passed += count_passed(&one, (size_t)(second == 0 ? limit + 3 : limit / 12 + 3),
                                   rows[i].amount, START + second);
            int64_t most = limit + limit * second / 60;
            require(passed <= most && passed * 100 >= most * 98, "row %zu, %lld s: %lld", i,
                    (long long)second, (long long)passed);
        }
        assert_int_equal(account_of(&one).request_count, passed);
        close_one(&one, 0, passed * rows[i].amount);
    }
}

/* A refused use takes nothing of any rate, nor does one that has no place among reservations. */
static void test_refused_uses_take_no_rate(void **state)
{
    (void)state;
    fake_clocks_needed();
    struct one one;
    open_one(&one, 5, false);
    set_limits(&one, 3, 0, 4);
    struct store_write write = {
        .kind = STORE_SPEND, .now_unix_s = START, .spend = {.use = {.amount = 6}}};
    memcpy(write.spend.key, one.token.key, TOKEN_KEY_LEN + 1);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(store_write(one.temporary.store, &write), STORE_OK);
        assert_int_equal(write.spend.refusal, TOKEN_REFUSED_EXHAUSTED);
        assert_int_equal(write.spend.answer.requests.left, 3);
    }
    assert_int_equal(count_passed(&one, 5, 1, START), 3);
    assert_int_equal(store_write(one.temporary.store, &write), STORE_OK);
    assert_int_equal(write.spend.refusal, TOKEN_REFUSED_RATE);
    assert_int_equal(write.spend.answer.retry_after_s, 20);
    assert_int_equal(account_of(&one).request_count, 3);
    close_one(&one, 2, 3);
}

/* ---- days ---- */

static struct store_use_answer end(struct one *one, int64_t id, int64_t amount, bool cancels,
                                   int64_t now)
{
    fake_clocks(now);
    struct store_write write = {
        .kind = STORE_SETTLE,
        .now_unix_s = now,
        .settle = {.gateway_id = 1, .reservation_id = id, .amount = amount, .cancels = cancels}};
    assert_int_equal(store_write(one->temporary.store, &write), STORE_OK);
    return write.settle.answer;
}

struct day {
    int64_t day, units, requests;
};

static void sum_day(void *context, int64_t day, int64_t units, int64_t requests)
{
    struct day *wanted = context;
    wanted->units += day == wanted->day ? units : 0;
    wanted->requests += day == wanted->day ? requests : 0;
}

static void check_day(struct one *one, int64_t day, int64_t units, int64_t requests)
{
    for (int64_t token_id = 0; token_id <= 1; token_id++) {
        struct day found = {.day = day};
        assert_int_equal(store_usage_read(one->temporary.reader, 1, token_id, 1, sum_day, &found),
                         STORE_OK);
        assert_int_equal(found.units, units);
        assert_int_equal(found.requests, requests);
    }
}

/* Units belong to the day of the reservation, in the local calendar; what is left of a day that was
 * refilled since stays with the owner. */
static void test_over_midnight(void **state)
{
    (void)state;
    fake_clocks_needed();
    enum { HOUR = 3600, DAY = 86400 };
    /* In New York the day after 2023-11-14 begins at 05:00 UTC. */
    const int64_t midnight = START - START % DAY + DAY + 5 * HOUR, day = START / DAY;
    setenv("TZ", "America/New_York", 1);
    tzset();
    struct one one;
    open_one(&one, 100, false);
    const struct store_user_patch patch = {.fields = STORE_USER_QUOTA, .value.account.quota = 500};
    assert_int_equal(store_user_change(one.temporary.store, 1, &patch), STORE_OK);
    struct store_write write = {
        .kind = STORE_UPDATE,
        .user_id = 1,
        .now_unix_s = midnight - 30,
        .update = {.token_id = 1,
                   .patch = {.fields = TOKEN_FIELD_REFILL_AMOUNT | TOKEN_FIELD_REFILL_INTERVAL,
                             .value = {.refill_amount = 70, .refill_interval = TOKEN_REFILL_DAY}}}};
    fake_clocks(midnight - 30);
    assert_int_equal(store_write(one.temporary.store, &write), STORE_OK);
    store_write_free(&write);
    fake_clocks(midnight - 20);
    int64_t ids[4];
    for (size_t i = 0; i < COUNT_OF(ids); i++)
        ids[i] = reserve(&one, 10, 600, midnight - 20);
    check_day(&one, day, 40, 4);
    assert_int_equal(end(&one, ids[0], 4, false, midnight - 1).remain_quota, 66);
    check_day(&one, day, 34, 4);
    /* a day later nothing has been written yet */
    assert_int_equal(end(&one, ids[1], 4, false, midnight).remain_quota, 70);
    check_day(&one, day, 28, 4);
    check_day(&one, day + 1, 0, 0);
    assert_int_equal(account_of(&one).quota, 500 - 28);
    fake_clocks(midnight + 5);
    int64_t next_id = reserve(&one, 20, 600, midnight + 5);
    check_day(&one, day + 1, 20, 1);
    assert_int_equal(end(&one, ids[2], 15, false, midnight + 9).remain_quota, 45); /* more */
    check_day(&one, day, 33, 4);
    assert_int_equal(end(&one, ids[3], 0, true, midnight + 9).remain_quota, 45);
    check_day(&one, day, 23, 3);
    assert_int_equal(end(&one, next_id, 0, true, midnight + 9).remain_quota, 65);
    check_day(&one, day + 1, 0, 0);
    assert_int_equal(account_of(&one).request_count, 3);
    assert_int_equal(account_of(&one).quota, 500 - 23);
    setenv("TZ", "UTC", 1);
    tzset();
    close_one(&one, 65, 23);
}

/* Up to 400 days are told one by one; a clock that is set back loses none. */
static void test_many_days(void **state)
{
    (void)state;
    fake_clocks_needed();
    enum { DAY = 86400, DAYS = 420 };
    struct one one;
    open_one(&one, 0, true);
    for (int64_t i = 0; i < DAYS; i++)
        assert_int_equal(count_passed(&one, 1, i, START + i * DAY), 1);
    const int64_t last = START / DAY + DAYS - 1;
    for (int64_t i = 0; i < STORE_USAGE_DAYS; i++)
        check_day(&one, last - i, DAYS - 1 - i, 1);
    check_day(&one, last - STORE_USAGE_DAYS - 1, 0, 0);
    assert_int_equal(count_passed(&one, 1, 1000, START + (DAYS - 3) * DAY), 1);
    check_day(&one, last - 2, DAYS - 3 + 1000, 2);
    check_day(&one, last, DAYS - 1, 1);
    close_one(&one, 0, DAYS * (DAYS - 1) / 2 + 1000);
}

/* ---- parallel reservations ---- */

static void test_parallel(void **state)
{
    (void)state;
    fake_clocks_needed();
    struct one one;
    open_one(&one, 100, false);
    struct store_write write = {.kind = STORE_UPDATE,
                                .user_id = 1,
                                .now_unix_s = START,
                                .update = {.token_id = 1,
                                           .patch = {.fields = TOKEN_FIELD_MAX_PARALLEL_REQUESTS,
                                                     .value = {.max_parallel_requests = 2}}}};
    assert_int_equal(store_write(one.temporary.store, &write), STORE_OK);
    store_write_free(&write);
    int64_t first_id = reserve(&one, 1, 500, START);
    reserve(&one, 1, 300, START);
    write = (struct store_write){.kind = STORE_SPEND, .now_unix_s = START};
    write.spend.ttl_s = 600;
    memcpy(write.spend.key, one.token.key, TOKEN_KEY_LEN + 1);
    fake_clocks(START + 100);
    assert_int_equal(store_write(one.temporary.store, &write), STORE_OK);
    assert_int_equal(write.spend.refusal, TOKEN_REFUSED_PARALLEL);
    assert_int_equal(write.spend.answer.retry_after_s, 200);
    assert_int_equal(count_passed(&one, 3, 1, START + 100), 3); /* no reservations */
    settle(&one, first_id, 1, START + 100);
    reserve(&one, 1, 3600, START + 100);
    assert_int_equal(store_write(one.temporary.store, &write), STORE_OK);
    assert_int_equal(write.spend.refusal, TOKEN_REFUSED_PARALLEL);
    fake_clocks(START + 300);
    assert_int_equal(store_write(one.temporary.store, &write), STORE_OK);
    assert_int_equal(write.spend.refusal, TOKEN_GOOD);
    close_one(&one, 94, 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_end_of_its_time),
        cmocka_unit_test(test_shortfall),
        cmocka_unit_test(test_reservation_ids),
        cmocka_unit_test(test_deleted_meanwhile),
        cmocka_unit_test(test_bound_of_a_user),
        cmocka_unit_test(test_unlimited_meanwhile),
        cmocka_unit_test(test_the_end_of_a_grace),
        cmocka_unit_test(test_access_times),
        cmocka_unit_test(test_rates_are_exact),
        cmocka_unit_test(test_refused_uses_take_no_rate),
        cmocka_unit_test(test_over_midnight),
        cmocka_unit_test(test_many_days),
        cmocka_unit_test(test_parallel),
    };
    setenv("TZ", "UTC", 1);
    tzset();
    return cmocka_run_group_tests_name("spend_one", tests, NULL, NULL);
}
