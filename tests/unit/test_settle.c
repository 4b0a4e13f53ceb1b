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

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct token token = token_default();
        token.remain_quota = rows[i].remain;
        token.used_quota = rows[i].used;
        token.unlimited_quota = rows[i].unlimited;
        struct token_reservation reservation = {
            .reserved = rows[i].reserved, .from_remain = rows[i].from_remain, .shortfall = 99};
        token_settle(&token, rows[i].amount, &reservation);
        require(token.remain_quota == rows[i].remain_after, "row %zu: remain %lld", i,
                (long long)token.remain_quota);
        require(token.used_quota == rows[i].used_after, "row %zu: used %lld", i,
                (long long)token.used_quota);
        require(reservation.amount == rows[i].taken, "row %zu: amount %lld", i,
                (long long)reservation.amount);
        require(reservation.shortfall == rows[i].shortfall, "row %zu: shortfall %lld", i,
                (long long)reservation.shortfall);
    }
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
                    token_settle(&token, amount, &reservation);
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
        cmocka_unit_test(test_units_are_kept),
    };
    return cmocka_run_group_tests_name("settle", tests, NULL, NULL);
}
