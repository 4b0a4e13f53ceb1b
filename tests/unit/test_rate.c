#include "tests/unit/unit.h"

#include "tests/unit/random.h"
#include "token/rate.h"

#define SECOND_NS INT64_C(1000000000)
#define MINUTE_NS (60 * SECOND_NS)

static const int64_t limits[] = {1,
                                 2,
                                 7,
                                 59,
                                 60,
                                 61,
                                 100,
                                 997,
                                 3600,
                                 999983,
                                 1000000,
                                 6000000,
                                 59999999,
                                 60000000,
                                 60000001,
                                 700000000,
                                 60000000000,
                                 1234567890123,
                                 INT64_C(1000000000000000)};

/* A bucket that refills by some thousandths of the limit, as a rational number: units times
 * MINUTE_NS times 1000. */
struct model {
    int64_t limit, thousandths, at_ns;
    __int128 level;
};

static __int128 scaled(int64_t units)
{
    return (__int128)units * MINUTE_NS * 1000;
}

static void advance(struct model *model, int64_t now_ns)
{
    model->level += (__int128)model->limit * model->thousandths * (now_ns - model->at_ns);
    if (model->level > scaled(model->limit))
        model->level = scaled(model->limit);
    model->at_ns = now_ns;
}

static bool passes(int64_t full_ns, int64_t limit, int64_t amount, int64_t now_ns)
{
    return token_rate_wait(full_ns, limit, amount, now_ns) == 0;
}

/* Never more than an exact bucket lets pass, and never less than one of 0.999 of the rate that
 * loses a nanosecond each time: amounts of any size up to the limit, some of it given back. */
static void test_against_the_models(void **state)
{
    (void)state;
    struct random random = {1};
    for (size_t i = 0; i < COUNT_OF(limits); i++) {
        int64_t limit = limits[i], now = SECOND_NS, full = 0;
        const __int128 nanosecond = (__int128)limit * 1000;
        struct model exact = {limit, 1000, now, scaled(limit)},
                     low = {limit, 999, now, exact.level};
        for (int step = 0; step < 20000; step++) {
            int64_t most = random_below(&random, 5) ? limit / 50 + 1 : limit;
            int64_t amount = 1 + (int64_t)random_below(&random, (size_t)most), back = 0;
            int64_t wait = token_rate_wait(full, limit, amount, now);
            advance(&exact, now);
            advance(&low, now);
            require((wait == 0) == (amount <= token_rate_left(full, limit, now)),
                    "limit %lld: left", (long long)limit);
            require(wait > 0 || exact.level >= scaled(amount), "limit %lld: too much",
                    (long long)limit);
            require(wait == 0 || low.level < scaled(amount) + nanosecond, "limit %lld: too little",
                    (long long)limit);
            require(wait == 0 || (!passes(full, limit, amount, now + wait - 1) &&
                                  passes(full, limit, amount, now + wait)),
                    "limit %lld: wait %lld", (long long)limit, (long long)wait);
            if (wait == 0) {
                full = token_rate_take(full, limit, amount, now);
                if (random_below(&random, 4) == 0)
                    back = (int64_t)random_below(&random, (size_t)amount + 1);
                full = token_rate_take(full, limit, -back, now);
                exact.level -= scaled(amount - back);
                low.level -= scaled(amount - back) + 2 * nanosecond;
            }
            now += random_below(&random, 3) ? (int64_t)random_below(&random, MINUTE_NS / 30) : 0;
            now += random_below(&random, 1000) ? 0 : MINUTE_NS;
        }
    }
}

/* The limit at once, in parts of any size. */
static void test_burst(void **state)
{
    (void)state;
    struct random random = {2};
    for (size_t i = 0; i < COUNT_OF(limits); i++)
        for (int parts = 1; parts <= 1000; parts *= 10) {
            int64_t limit = limits[i], full = 0, passed = 0, now = MINUTE_NS, takes = 0;
            for (; takes < 5000 && passed < limit; takes++) {
                size_t most = (size_t)(limit / parts > 0 ? limit / parts : 1);
                int64_t amount = 1 + (int64_t)random_below(&random, most);
                amount = amount < limit - passed ? amount : limit - passed;
                if (!passes(full, limit, amount, now))
                    break;
                full = token_rate_take(full, limit, amount, now);
                passed += amount;
            }
            if (limit <= 60000000 && takes < 5000)
                require(passed == limit && token_rate_left(full, limit, now) == 0 &&
                            token_rate_wait(full, limit, 1, now) > 0,
                        "limit %lld: %lld", (long long)limit, (long long)passed);
        }
}

/* After the burst, asked for all: at least 0.98 of the limit in a minute, at most all of it. */
static void test_rate(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(limits); i++) {
        int64_t limit = limits[i], begin = MINUTE_NS, now = begin, passed = 0;
        int64_t amount = limit > 1000000 ? limit / 997003 : 1; /* a million requests at most */
        int64_t full = token_rate_take(0, limit, limit, now);
        while (now <= begin + MINUTE_NS) {
            int64_t wait = token_rate_wait(full, limit, amount, now);
            now += wait;
            if (wait > 0)
                continue;
            full = token_rate_take(full, limit, amount, now);
            passed += amount;
        }
        require(passed <= limit + amount && (limit < 60 || passed >= limit / 100 * 98),
                "limit %lld: %lld", (long long)limit, (long long)passed);
    }
}

/* What was taken is given back, however the parts were rounded, and never more. */
static void test_give_back(void **state)
{
    (void)state;
    struct random random = {3};
    for (size_t i = 0; i < COUNT_OF(limits); i++)
        for (int step = 0; step < 1000; step++) {
            int64_t limit = limits[i], now = 5 * MINUTE_NS;
            int64_t full = now + (int64_t)random_below(&random, (size_t)MINUTE_NS) + 1;
            int64_t amount = (int64_t)random_below(&random, (size_t)limit + 1);
            int64_t taken = token_rate_take(full, limit, amount, now);
            int64_t given = token_rate_take(taken, limit, -amount, now);
            require(given >= full && given <= full + 1, "limit %lld: %lld", (long long)limit,
                    (long long)amount);
            given = token_rate_take(full, limit, -limit - 1, now); /* a full bucket has no more */
            require(given == now && token_rate_left(given, limit, now) == limit, "limit %lld",
                    (long long)limit);
        }
    assert_int_equal(token_rate_take(0, 60, INT64_MIN, MINUTE_NS), MINUTE_NS);
}

/* More than the limit passes on a full bucket only, and is paid for 600 s at most. */
static void test_debt(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(limits); i++) {
        int64_t limit = limits[i], now = 20 * MINUTE_NS;
        int64_t amounts[] = {limit + 1, 3 * limit + 1, 9 * limit + 1, 11 * limit + 1, INT64_MAX};
        for (size_t j = 0; j < COUNT_OF(amounts); j++) {
            int64_t amount = amounts[j], full = token_rate_take(0, limit, 1, now);
            require(token_rate_wait(full, limit, amount, now) == full - now, "%zu %zu", i, j);
            require(passes(now, limit, amount, now), "%zu %zu: full", i, j);
            full = token_rate_take(now, limit, amount, now);
            require(full > now + MINUTE_NS && full <= now + 10 * MINUTE_NS, "%zu %zu", i, j);
            require((full == now + 10 * MINUTE_NS) == (amount / 10 >= limit), "%zu %zu: at most", i,
                    j);
            require(token_rate_left(full, limit, now) == 0, "%zu %zu: left", i, j);
            require(token_rate_wait(full, limit, 1, now) > 0, "%zu %zu: in debt", i, j);
            require(token_rate_wait(full, limit, amount, now) == full - now, "%zu %zu", i, j);
            require(token_rate_until_full(full, now) == full - now, "%zu %zu", i, j);
            require(passes(full, limit, 0, now), "%zu %zu: nothing", i, j);
            int64_t more = token_rate_take(full, limit, amount, now); /* a settle does not ask */
            require(more > full || amount / 10 >= limit, "%zu %zu: more", i, j);
            require(more <= now + 10 * MINUTE_NS, "%zu %zu: at most", i, j);
        }
    }
}

/* A state that no clock of now has written counts as full; a second of disorder is none. */
static void test_state_ahead(void **state)
{
    (void)state;
    const int64_t now = 20 * MINUTE_NS, most = now + 10 * MINUTE_NS;
    static const int64_t ahead[] = {SECOND_NS + 1, MINUTE_NS, 1000 * MINUTE_NS, INT64_MAX / 2};
    for (size_t i = 0; i < COUNT_OF(ahead); i++) {
        int64_t full = most + ahead[i];
        require(passes(full, 60, 60, now) && passes(full, 60, 6000, now), "row %zu", i);
        require(token_rate_left(full, 60, now) == 60, "row %zu", i);
        require(token_rate_until_full(full, now) == 0, "row %zu", i);
        require(token_rate_take(full, 60, 1, now) == now + SECOND_NS, "row %zu", i);
    }
    for (int64_t over = 0; over <= SECOND_NS; over += SECOND_NS / 4) {
        assert_int_equal(token_rate_until_full(most + over, now), 10 * MINUTE_NS);
        assert_int_equal(token_rate_wait(most + over, 60, 61, now), 10 * MINUTE_NS);
        assert_int_equal(token_rate_wait(most + over, 60, 1, now), 541 * SECOND_NS);
    }
    assert_true(passes(INT64_MAX, 60, 60, 0));
    assert_true(passes(INT64_MIN, 60, 60, INT64_MAX));
    assert_int_equal(token_rate_take(INT64_MIN, 60, 60, now), now + MINUTE_NS);
    assert_true(passes(0, 60, 60, 0));
    assert_int_equal(token_rate_take(0, 60, 60, 0), MINUTE_NS);
}

static void test_no_limit(void **state)
{
    (void)state;
    static const int64_t states[] = {0, 5, 1000 * MINUTE_NS, INT64_MAX, -1};
    for (size_t i = 0; i < COUNT_OF(states); i++) {
        assert_true(passes(states[i], 0, INT64_MAX, 7));
        assert_int_equal(token_rate_take(states[i], 0, 1000, 7), states[i]);
    }
}

/* Another limit keeps the time. */
static void test_changed_limit(void **state)
{
    (void)state;
    const int64_t now = MINUTE_NS;
    int64_t full = token_rate_take(0, 60, 30, now);
    assert_int_equal(full, now + 30 * SECOND_NS);
    assert_int_equal(token_rate_left(full, 600, now), 300);
    assert_int_equal(token_rate_left(full, 6, now), 3);
    assert_int_equal(token_rate_left(full, 1, now), 0);
}

static void test_retry(void **state)
{
    (void)state;
    static const struct {
        int64_t wait_ns, seconds;
    } rows[] = {{0, 1},
                {1, 1},
                {SECOND_NS, 1},
                {SECOND_NS + 1, 2},
                {MINUTE_NS, 60},
                {599 * SECOND_NS + 1, 600},
                {600 * SECOND_NS, 600},
                {600 * SECOND_NS + 1, 600},
                {INT64_MAX, 600}};
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        assert_int_equal(token_rate_retry_s(rows[i].wait_ns), rows[i].seconds);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_the_models),
        cmocka_unit_test(test_burst),
        cmocka_unit_test(test_rate),
        cmocka_unit_test(test_give_back),
        cmocka_unit_test(test_debt),
        cmocka_unit_test(test_state_ahead),
        cmocka_unit_test(test_no_limit),
        cmocka_unit_test(test_changed_limit),
        cmocka_unit_test(test_retry),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
