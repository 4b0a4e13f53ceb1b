#include "tests/unit/unit.h"

#include <time.h>

#include "base/calendar.h"

static int64_t day(int64_t year, int month, int day_of_month)
{
    return calendar_day_of((struct calendar_date){year, month, day_of_month});
}

/* Every day of 12,000 years, against the C library; days go on one by one. */
static void test_dates(void **state)
{
    (void)state;
    int64_t first = day(-4000, 1, 1);
    for (int64_t number = first; number < day(8000, 1, 1); number++) {
        struct calendar_date date = calendar_date_of(number);
        time_t noon = (time_t)number * 86400 + 43200;
        struct tm utc;
        assert_non_null(gmtime_r(&noon, &utc));
        require(date.year == utc.tm_year + 1900 && date.month == utc.tm_mon + 1 &&
                    date.day == utc.tm_mday && calendar_day_of(date) == number &&
                    calendar_weekday(number) == (utc.tm_wday + 6) % 7,
                "day %lld", (long long)number);
    }
}

static void test_days_in_month(void **state)
{
    (void)state;
    static const struct {
        int64_t year;
        int month, days;
    } rows[] = {{2026, 1, 31},  {2026, 2, 28},  {2028, 2, 29}, {2000, 2, 29},
                {2100, 2, 28},  {2026, 4, 30},  {2026, 6, 30}, {2026, 9, 30},
                {2026, 11, 30}, {2026, 12, 31}, {-1, 12, 31},  {0, 2, 29},
                {-4, 2, 29},    {-100, 2, 28},  {-400, 2, 29}, {100000, 2, 29}};
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        require(calendar_days_in_month(rows[i].year, rows[i].month) == rows[i].days, "row %zu", i);
}

static void test_format(void **state)
{
    (void)state;
    static const struct {
        int64_t day;
        const char *text;
    } rows[] = {{0, "1970-01-01"},        {-1, "1969-12-31"},
                {20784, "2026-11-27"},    {-719528, "0000-01-01"},
                {-719529, "-001-12-31"},  {2932896, "9999-12-31"},
                {2932897, "10000-01-01"}, {INT64_MAX / 86400, "292277026596-12-04"}};
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char text[CALENDAR_TEXT_SIZE];
        assert_string_equal(calendar_format(rows[i].day, text), rows[i].text);
    }
}

/* The first second of each local day, and that before it is of the day before. */
static void test_days_begin(void **state)
{
    (void)state;
    static const struct {
        const char *zone;
        int64_t begin_unix_s;
        const char *text;
    } rows[] = {
        {"UTC", 1795737600, "2026-11-27"},
        {"UTC", 0, "1970-01-01"},
        {"Europe/Berlin", 1795734000, "2026-11-27"},
        {"Europe/Berlin", 1774738800, "2026-03-29"}, /* the day with 23 hours, and its end */
        {"Europe/Berlin", 1774821600, "2026-03-30"},
        {"Europe/Berlin", 1792879200, "2026-10-25"}, /* with 25 */
        {"Europe/Berlin", 1792969200, "2026-10-26"},
        {"America/Sao_Paulo", 1541300400, "2018-11-04"}, /* begins at 01:00 */
        {"America/Sao_Paulo", 1541383200, "2018-11-05"},
        {"America/Sao_Paulo", 1518922800, "2018-02-18"}, /* after 23:00 to 24:00 came twice */
        {"Asia/Kathmandu", 1795716900, "2026-11-27"},    /* 5:45 ahead */
        {"Pacific/Apia", 1325239200, "2011-12-31"},      /* there was no 30th */
        {"Pacific/Kiritimati", 1795687200, "2026-11-27"},
        {"America/St_Johns", 1795750200, "2026-11-27"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char text[CALENDAR_TEXT_SIZE];
        calendar_set_zone(rows[i].zone);
        int64_t begun = calendar_day(rows[i].begin_unix_s);
        require(strcmp(calendar_format(begun, text), rows[i].text) == 0, "row %zu: %s", i, text);
        require(calendar_day(rows[i].begin_unix_s - 1) ==
                    begun - (rows[i].begin_unix_s == 1325239200 ? 2 : 1),
                "row %zu: the second before", i);
    }
}

/* As localtime_r says, over 140 years; beyond the years of an int as in UTC. */
static void test_days_of_times(void **state)
{
    (void)state;
    static const char *const zones[] = {
        "UTC",          "Europe/Berlin",  "America/Sao_Paulo", "Asia/Kathmandu",
        "Pacific/Apia", "Africa/Monrovia"};
    static const int64_t far[] = {INT64_MAX, INT64_MIN, INT64_MAX - 86400, INT64_C(1) << 60};
    for (size_t i = 0; i < COUNT_OF(zones); i++) {
        calendar_set_zone(zones[i]);
        for (int64_t at = -2208988800; at < 2208988800; at += 5000) {
            time_t time = (time_t)at;
            struct tm local;
            assert_non_null(localtime_r(&time, &local));
            require(calendar_day(at) == day(local.tm_year + 1900, local.tm_mon + 1, local.tm_mday),
                    "%s at %lld", zones[i], (long long)at);
        }
        for (size_t j = 0; j < COUNT_OF(far); j++)
            require(calendar_day(far[j]) == far[j] / 86400 - (far[j] % 86400 < 0), "%zu", j);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dates),         cmocka_unit_test(test_days_in_month),
        cmocka_unit_test(test_format),        cmocka_unit_test(test_days_begin),
        cmocka_unit_test(test_days_of_times),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
