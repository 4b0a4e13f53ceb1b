#include "tests/unit/unit.h"

#include "base/calendar.h"
#include "token/patch.h"
#include "token/refill.h"

static int64_t day(int64_t year, int month, int day_of_month)
{
    return calendar_day_of((struct calendar_date){year, month, day_of_month});
}

static void test_names(void **state)
{
    (void)state;
    static const char *const names[] = {"none", "day", "week", "month"};
    enum token_refill interval;
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        assert_true(token_refill_read(span_of(names[i]), &interval));
        assert_int_equal(interval, i);
        assert_span_equal(token_refill_name(interval), span_of(names[i]));
    }
    static const char *const others[] = {"", "Day", "daily", "days", "mont", "year"};
    for (size_t i = 0; i < COUNT_OF(others); i++)
        assert_false(token_refill_read(span_of(others[i]), &interval));
    assert_int_equal(interval, TOKEN_REFILL_MONTH);
}

/* Whether a period begins on a day. */
static bool begins(enum token_refill interval, int64_t refill_day, int64_t number)
{
    struct calendar_date date = calendar_date_of(number);
    if (interval == TOKEN_REFILL_DAY)
        return true;
    if (interval == TOKEN_REFILL_WEEK)
        return calendar_weekday(number) == 0;
    return date.day == refill_day ||
           (date.day < refill_day && date.day == calendar_days_in_month(date.year, date.month));
}

/* The last day that begins one, for each refill_day, over leap years and years of 1900's kind. */
static void test_periods(void **state)
{
    (void)state;
    for (enum token_refill interval = TOKEN_REFILL_DAY; interval <= TOKEN_REFILL_MONTH; interval++)
        for (int64_t refill_day = 1; refill_day <= 31; refill_day++) {
            int64_t period = INT64_MIN;
            for (int64_t number = day(2095, 11, 1); number < day(2105, 3, 1); number++) {
                period = begins(interval, refill_day, number) ? number : period;
                require(period == INT64_MIN ||
                            token_refill_period(interval, refill_day, number) == period,
                        "%d, %lld: day %lld", interval, (long long)refill_day, (long long)number);
            }
        }
}

static void test_month_ends(void **state)
{
    (void)state;
    static const struct {
        int64_t refill_day;
        struct calendar_date on, began;
    } rows[] = {
        {1, {2026, 1, 1}, {2026, 1, 1}},     {1, {2026, 1, 31}, {2026, 1, 1}},
        {15, {2026, 1, 14}, {2025, 12, 15}}, {15, {2026, 1, 15}, {2026, 1, 15}},
        {31, {2026, 4, 29}, {2026, 3, 31}},  {31, {2026, 4, 30}, {2026, 4, 30}},
        {31, {2026, 5, 30}, {2026, 4, 30}},  {31, {2026, 5, 31}, {2026, 5, 31}},
        {31, {2026, 2, 27}, {2026, 1, 31}},  {31, {2026, 2, 28}, {2026, 2, 28}},
        {31, {2026, 3, 30}, {2026, 2, 28}},  {29, {2026, 2, 28}, {2026, 2, 28}},
        {29, {2026, 3, 28}, {2026, 2, 28}},  {29, {2026, 3, 29}, {2026, 3, 29}},
        {29, {2028, 2, 28}, {2028, 1, 29}},  {29, {2028, 2, 29}, {2028, 2, 29}},
        {31, {2028, 2, 29}, {2028, 2, 29}},  {30, {2100, 2, 28}, {2100, 2, 28}},
        {31, {2027, 1, 30}, {2026, 12, 31}},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        require(token_refill_period(TOKEN_REFILL_MONTH, rows[i].refill_day,
                                    calendar_day_of(rows[i].on)) == calendar_day_of(rows[i].began),
                "row %zu", i);
}

static struct token made(enum token_refill interval, int64_t refill_day, int64_t on)
{
    struct token token = token_default();
    token.refill_interval = interval;
    token.refill_day = refill_day;
    token.refill_amount = 100;
    token_refill_start(&token, on);
    return token;
}

/* It becomes the amount, more or less than what was left, once a period; used_quota goes on. */
static void test_refill(void **state)
{
    (void)state;
    int64_t monday = day(2026, 11, 23);
    struct token token = made(TOKEN_REFILL_WEEK, 1, monday + 4);
    token.remain_quota = 7;
    token.used_quota = 50;
    for (int64_t on = monday; on < monday + 7; on++) {
        token_refill(&token, on);
        assert_int_equal(token.remain_quota, 7);
    }
    token_refill(&token, monday + 7);
    assert_int_equal(token.remain_quota, 100);
    assert_int_equal(token.used_quota, 50);
    assert_int_equal(token.refill_period, monday + 7);
    token.remain_quota = 1000; /* the owner has set it */
    token_refill(&token, monday + 13);
    assert_int_equal(token.remain_quota, 1000);
    token_refill(&token, monday + 700); /* nothing adds up */
    assert_int_equal(token.remain_quota, 100);
    assert_int_equal(token.refill_period, monday + 700);
}

static void test_no_refill(void **state)
{
    (void)state;
    struct token token = made(TOKEN_REFILL_NONE, 1, 20000);
    assert_int_equal(token.refill_period, 0);
    token.remain_quota = 7;
    token_refill(&token, 30000);
    assert_int_equal(token.remain_quota, 7);
    assert_int_equal(token.refill_period, 0);
}

/* The clock goes back over midnight: that day was refilled. */
static void test_clock_set_back(void **state)
{
    (void)state;
    struct token token = made(TOKEN_REFILL_DAY, 1, 20000);
    token_refill(&token, 20001);
    for (int64_t on = 19000; on <= 20001; on++) {
        token.remain_quota = 3;
        token_refill(&token, on);
        token_refill_start(&token, on);
        require(token.remain_quota == 3 && token.refill_period == 20001, "%lld", (long long)on);
    }
    token_refill(&token, 20002);
    assert_int_equal(token.remain_quota, 100);
}

/* Seconds around each local midnight of some years: a token that is spent every hour is refilled on
 * each local day once, by its first use. */
static void test_local_midnights(void **state)
{
    (void)state;
    static const char *const zones[] = {"UTC", "Europe/Berlin", "America/Sao_Paulo",
                                        "Asia/Kathmandu", "America/St_Johns"};
    for (size_t i = 0; i < COUNT_OF(zones); i++) {
        calendar_set_zone(zones[i]);
        int64_t begin = 1514764800, end = begin + 800 * 86400; /* from 2018 on */
        int64_t greatest = calendar_day(begin), refills = 0;
        struct token token = made(TOKEN_REFILL_DAY, 1, greatest);
        for (int64_t now = begin; now < end; now += 900) {
            int64_t today = calendar_day(now);
            token.remain_quota = 1;
            token_refill(&token, today);
            require((token.remain_quota == 100) == (today > greatest), "%s at %lld", zones[i],
                    (long long)now);
            refills += token.remain_quota == 100;
            greatest = today > greatest ? today : greatest;
        }
        require(refills == calendar_day(end - 900) - calendar_day(begin), "%s", zones[i]);
    }
}

/* ---- with patches ---- */

enum { REFILL = TOKEN_FIELD_REFILL_AMOUNT | TOKEN_FIELD_REFILL_INTERVAL | TOKEN_FIELD_REFILL_DAY };

static void apply(struct token *token, unsigned fields, struct token value, int64_t on)
{
    const struct token_patch patch = {.fields = fields, .value = value};
    assert_int_equal(token_patch_apply(&patch, on * 86400, on, token), TOKEN_OK);
}

/* A new interval, day or amount acts from the next start on. */
static void test_updates_act_from_the_next_start(void **state)
{
    (void)state;
    static const struct {
        enum token_refill before;
        int64_t day_before;
        enum token_refill after;
        int64_t day_after;
        struct calendar_date on, next;
    } rows[] = {
        {TOKEN_REFILL_NONE, 1, TOKEN_REFILL_DAY, 1, {2026, 11, 26}, {2026, 11, 27}},
        {TOKEN_REFILL_NONE, 1, TOKEN_REFILL_WEEK, 1, {2026, 11, 26}, {2026, 11, 30}},
        {TOKEN_REFILL_NONE, 1, TOKEN_REFILL_WEEK, 1, {2026, 11, 30}, {2026, 12, 7}},
        {TOKEN_REFILL_NONE, 1, TOKEN_REFILL_MONTH, 26, {2026, 11, 26}, {2026, 12, 26}},
        {TOKEN_REFILL_NONE, 1, TOKEN_REFILL_MONTH, 27, {2026, 11, 26}, {2026, 11, 27}},
        {TOKEN_REFILL_DAY, 1, TOKEN_REFILL_MONTH, 15, {2026, 11, 26}, {2026, 12, 15}},
        {TOKEN_REFILL_MONTH, 1, TOKEN_REFILL_DAY, 1, {2026, 11, 26}, {2026, 11, 27}},
        {TOKEN_REFILL_MONTH, 1, TOKEN_REFILL_MONTH, 27, {2026, 11, 26}, {2026, 11, 27}},
        {TOKEN_REFILL_MONTH, 26, TOKEN_REFILL_MONTH, 1, {2026, 11, 26}, {2026, 12, 1}},
        {TOKEN_REFILL_MONTH, 1, TOKEN_REFILL_MONTH, 1, {2026, 11, 26}, {2026, 12, 1}},
        {TOKEN_REFILL_DAY, 1, TOKEN_REFILL_NONE, 1, {2026, 11, 26}, {9999, 1, 1}},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        int64_t on = calendar_day_of(rows[i].on), next = calendar_day_of(rows[i].next);
        struct token token = made(rows[i].before, rows[i].day_before, on - 40);
        token_refill(&token, on); /* the present period's */
        token.remain_quota = 7;
        struct token value = {.refill_interval = rows[i].after,
                              .refill_day = rows[i].day_after,
                              .refill_amount = 200};
        apply(&token, REFILL, value, on);
        apply(&token, REFILL, value, on); /* sent back as it is */
        require(token.remain_quota == 7, "row %zu: at once", i);
        struct token later = token;
        token_refill(&later, next - 1);
        require(later.remain_quota == 7, "row %zu: too early", i);
        token_refill(&later, next);
        require((later.remain_quota == 200) == (rows[i].after != TOKEN_REFILL_NONE),
                "row %zu: not refilled", i);
    }
}

/* What was due before the update is refilled with the amount that held then. */
static void test_updates_come_after_what_is_due(void **state)
{
    (void)state;
    struct token token = made(TOKEN_REFILL_DAY, 1, 20000);
    token.remain_quota = 7;
    apply(&token, REFILL, (struct token){.refill_amount = 5, .refill_day = 1}, 20001);
    assert_int_equal(token.remain_quota, 100);
    assert_int_equal(token.refill_interval, TOKEN_REFILL_NONE);
    token = made(TOKEN_REFILL_DAY, 1, 20000);
    struct token_patch add = {.add_quota = -90};
    token.remain_quota = 7;
    assert_int_equal(token_patch_apply(&add, 0, 20001, &token), TOKEN_OK);
    assert_int_equal(token.remain_quota, 10);
    assert_int_equal(token.refill_period, 20001);
}

/* used_quota beside remain_quota tells what the client has read: not with a refill, before or
 * after. */
static void test_used_quota_is_ignored(void **state)
{
    (void)state;
    const unsigned fields = TOKEN_FIELD_REMAIN_QUOTA | TOKEN_FIELD_USED_QUOTA;
    const struct token value = {.remain_quota = 60, .used_quota = 10, .refill_day = 1};
    for (enum token_refill before = TOKEN_REFILL_NONE; before <= TOKEN_REFILL_MONTH; before++)
        for (enum token_refill after = TOKEN_REFILL_NONE; after <= TOKEN_REFILL_MONTH; after++) {
            struct token token = made(before, 1, 20000), wanted = value;
            token.used_quota = 30;
            wanted.refill_interval = after;
            apply(&token, fields | TOKEN_FIELD_REFILL_INTERVAL, wanted, 20000);
            require(token.remain_quota == (before || after ? 60 : 40), "%d %d", before, after);
            require(token.used_quota == 30, "%d %d", before, after);
        }
}

/* An exhausted token whose next period has begun can be enabled. */
static void test_status_is_that_of_the_refilled(void **state)
{
    (void)state;
    const struct token_patch patch = {.fields = TOKEN_FIELD_STATUS, .value.status = TOKEN_ENABLED};
    struct token token = made(TOKEN_REFILL_DAY, 1, 20000);
    token.status = TOKEN_DISABLED;
    assert_int_equal(token_patch_apply(&patch, 0, 20000, &token), TOKEN_ENABLE_EXHAUSTED);
    assert_int_equal(token.status, TOKEN_DISABLED);
    assert_int_equal(token_patch_apply(&patch, 0, 20001, &token), TOKEN_OK);
    assert_int_equal(token.status, TOKEN_ENABLED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_periods),
        cmocka_unit_test(test_month_ends),
        cmocka_unit_test(test_refill),
        cmocka_unit_test(test_no_refill),
        cmocka_unit_test(test_clock_set_back),
        cmocka_unit_test(test_local_midnights),
        cmocka_unit_test(test_updates_act_from_the_next_start),
        cmocka_unit_test(test_updates_come_after_what_is_due),
        cmocka_unit_test(test_used_quota_is_ignored),
        cmocka_unit_test(test_status_is_that_of_the_refilled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
