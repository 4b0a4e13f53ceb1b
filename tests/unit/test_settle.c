#include "tests/unit/unit.h"

#include "token/use.h"

enum { NO = false, YES = true };

/* A token before and after, and what the reservation took. MAX is INT64_MAX. */
#define MAX INT64_MAX
static const struct {
    int64_t remain, used;
    bool unlimited;
    int64_t reserved;
    bool from_remain;
    int64_t amount; /* to settle at */
    int64_t remain_after, used_after, taken, shortfall;
} rows[] = {
    /* exactly what was reserved */
    {5, 10, NO, 10, YES, 10, 5, 10, 10, 0},
    {0, 0, NO, 0, YES, 0, 0, 0, 0, 0},
    {0, 7, YES, 7, NO, 7, 0, 7, 7, 0},
    /* less: units go back to where they came from */
    {5, 10, NO, 10, YES, 4, 11, 4, 4, 0},
    {5, 10, NO, 10, YES, 0, 15, 0, 0, 0},
    {5, 10, YES, 10, NO, 4, 5, 4, 4, 0},
    {5, 10, YES, 10, YES, 4, 11, 4, 4, 0}, /* unlimited since */
    {5, 10, NO, 10, NO, 4, 5, 4, 4, 0},    /* limited since: it never had those units */
    /* as far as they fit there */
    {MAX, 10, NO, 10, YES, 4, MAX, 10, 10, 0},
    {MAX - 2, 10, NO, 10, YES, 4, MAX, 8, 8, 0},
    {5, 3, NO, 10, YES, 4, 8, 0, 7, 0},
    {5, 0, NO, 10, YES, 0, 5, 0, 10, 0},
    /* more: as far as the token covers it */
    {5, 10, NO, 10, YES, 13, 2, 13, 13, 0},
    {5, 10, NO, 10, YES, 15, 0, 15, 15, 0},
    {5, 10, NO, 10, YES, 16, 0, 15, 15, 1},
    {0, 10, NO, 10, YES, MAX, 0, 10, 10, MAX - 10},
    {5, 10, YES, 10, NO, 1000, 5, 1000, 1000, 0},
    {5, MAX - 1, YES, 10, NO, 13, 5, MAX, 11, 2},
    {5, MAX, NO, 10, YES, 11, 5, MAX, 10, 1},
};

static const struct token_account unlimited = {.unlimited_quota = true, .used_quota = MAX / 2};

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct token token = token_default();
        token.remain_quota = rows[i].remain;
        token.used_quota = rows[i].used;
        token.unlimited_quota = rows[i].unlimited;
        struct token_account account = unlimited;
        account.used_quota = rows[i].used;
        struct token_reservation reservation = {
            .reserved = rows[i].reserved, .from_remain = rows[i].from_remain, .shortfall = 99};
        token_settle(&token, &account, rows[i].amount, 0, &reservation);
        require(token.remain_quota == rows[i].remain_after, "row %zu: remain %lld", i,
                (long long)token.remain_quota);
        require(token.used_quota == rows[i].used_after, "row %zu: used %lld", i,
                (long long)token.used_quota);
        require(account.used_quota == rows[i].used_after, "row %zu: owner", i);
        require(reservation.amount == rows[i].taken, "row %zu: amount %lld", i,
                (long long)reservation.amount);
        require(reservation.shortfall == rows[i].shortfall, "row %zu: shortfall %lld", i,
                (long long)reservation.shortfall);
    }
}

/* The owner's balance, before and after; the token is unlimited, or deleted. */
static const struct {
    int64_t quota, used;
    bool unlimited;
    int64_t reserved;
    bool from_balance;
    int64_t amount;
    int64_t quota_after, used_after, taken, shortfall;
} balances[] = {
    {5, 10, NO, 10, YES, 10, 5, 10, 10, 0},      {5, 10, NO, 10, YES, 4, 11, 4, 4, 0},
    {5, 10, NO, 10, NO, 4, 5, 4, 4, 0},    /* finite since: it never had those units */
    {5, 10, YES, 10, YES, 4, 11, 4, 4, 0}, /* unlimited since */
    {5, 10, NO, 10, NO, 13, 2, 13, 13, 0}, /* more is taken where it is finite now */
    {5, 10, NO, 10, YES, 16, 0, 15, 15, 1},      {5, 10, YES, 10, YES, 16, 5, 16, 16, 0},
    {MAX - 2, 10, NO, 10, YES, 4, MAX, 8, 8, 0}, {5, MAX - 1, YES, 10, NO, 13, 5, MAX, 11, 2},
};

static void test_balances(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2 * COUNT_OF(balances); i++) {
        size_t row = i / 2;
        bool deleted = i % 2;
        struct token token = token_default();
        token.unlimited_quota = true;
        token.used_quota = balances[row].used - 1;
        struct token_account account = {.quota = balances[row].quota,
                                        .used_quota = balances[row].used,
                                        .unlimited_quota = balances[row].unlimited,
                                        .deleted_used_quota = balances[row].used};
        if (balances[row].reserved == balances[row].used)
            token.used_quota++;
        struct token_reservation reservation = {.reserved = balances[row].reserved,
                                                .from_balance = balances[row].from_balance};
        token_settle(deleted ? NULL : &token, &account, balances[row].amount, 0, &reservation);
        require(account.quota == balances[row].quota_after, "row %zu: quota %lld", row,
                (long long)account.quota);
        require(account.used_quota == balances[row].used_after, "row %zu: used", row);
        require(reservation.amount == balances[row].taken, "row %zu: amount", row);
        require(reservation.shortfall == balances[row].shortfall, "row %zu: shortfall", row);
        int64_t moved = balances[row].used_after - balances[row].used;
        require(account.deleted_used_quota == balances[row].used + (deleted ? moved : 0),
                "row %zu: deleted", row);
    }
}

/* The rest is told if either of them can't cover it. */
static void test_the_scarcer_one_decides(void **state)
{
    (void)state;
    for (int64_t remain = 0; remain < 10; remain++)
        for (int64_t quota = 0; quota < 10; quota++) {
            struct token token = token_default();
            struct token_account account = {.quota = quota, .used_quota = 3};
            struct token_reservation reservation = {
                .reserved = 3, .from_remain = true, .from_balance = true};
            token.remain_quota = remain;
            token.used_quota = 3;
            token_settle(&token, &account, 9, 0, &reservation);
            int64_t covered = remain < quota ? remain : quota;
            int64_t taken = covered < 6 ? covered : 6;
            assert_int_equal(token.remain_quota, remain - taken);
            assert_int_equal(account.quota, quota - taken);
            assert_int_equal(account.used_quota, 3 + taken);
            assert_int_equal(reservation.shortfall, 6 - taken);
        }
}

/* After a refill nothing of the period before comes back to the token. */
static void test_refilled_since(void **state)
{
    (void)state;
    for (int64_t period = 99; period <= 101; period++) {
        struct token token = token_default();
        struct token_account account = {.quota = 5, .used_quota = 10};
        const struct token_use_context then = {.day = 100};
        token.remain_quota = 50;
        token.used_quota = 10;
        token.refill_period = 99; /* of a week, a month */
        struct token_reservation reservation = token_reserve(&token, &account, 10, &then);
        assert_true(reservation.from_remain && reservation.from_balance && reservation.day == 100);
        token.refill_period = period;
        token_settle(&token, &account, 4, 0, &reservation);
        assert_int_equal(token.remain_quota, period > 100 ? 50 : 56);
        assert_int_equal(token.used_quota, 4);
        assert_int_equal(account.quota, 11);
        assert_int_equal(account.used_quota, 4);
    }
}

/* Limits of units are corrected, those of requests are not. */
static void test_rates(void **state)
{
    (void)state;
    const int64_t second = 1000000000, now = 5000 * second;
    struct token token = token_default();
    struct token_account account = unlimited;
    const struct token_use_context context = {.day = 100, .now_ns = now};
    token.unlimited_quota = true;
    token.tpm_limit = token.rpm_limit = account.tpm_limit = 60;
    struct token_reservation reservation = token_reserve(&token, &account, 50, &context);
    token_spend(&token, &account, 50, &context);
    assert_int_equal(token_unit_limit(&token, &account, now).left, 10);
    token_settle(&token, &account, 20, now, &reservation);
    assert_int_equal(token_unit_limit(&token, &account, now).left, 40);
    assert_int_equal(account.rates.units_full_ns, token.rates.units_full_ns);
    assert_int_equal(token_request_limit(&token, &account, now).left, 59);
    token_settle(&token, &account, 80, now, &reservation);
    assert_int_equal(token_unit_limit(&token, &account, now).left, 10);
}

/* A limited token neither makes nor loses a unit, whatever is settled. */
static void test_units_are_kept(void **state)
{
    (void)state;
    for (int64_t remain = 0; remain < 8; remain++)
        for (int64_t used = 0; used < 8; used++)
            for (int64_t reserved = 0; reserved <= used; reserved++)
                for (int64_t amount = 0; amount < 16; amount++) {
                    struct token token = token_default();
                    token.remain_quota = remain;
                    token.used_quota = used;
                    struct token_reservation reservation = {.reserved = reserved,
                                                            .from_remain = true};
                    struct token_account account = unlimited;
                    token_settle(&token, &account, amount, 0, &reservation);
                    assert_true(token.remain_quota >= 0 && token.used_quota >= 0);
                    assert_int_equal(token.remain_quota + token.used_quota, remain + used);
                    assert_int_equal(token.used_quota - used, reservation.amount - reserved);
                    assert_int_equal(reservation.amount + reservation.shortfall, amount);
                }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_balances),
        cmocka_unit_test(test_the_scarcer_one_decides),
        cmocka_unit_test(test_refilled_since),
        cmocka_unit_test(test_rates),
        cmocka_unit_test(test_units_are_kept),
    };
    return cmocka_run_group_tests_name("settle", tests, NULL, NULL);
}
