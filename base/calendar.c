#include "base/calendar.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { DAY_S = 86400, DAYS_OF_400_YEARS = 146097, DAYS_BEFORE_1970_03 = 719468 };

/* Rounded down, also of negative numbers. */
static int64_t divide(int64_t number, int64_t by)
{
    return number / by - (number % by < 0);
}

void calendar_set_zone(const char *name)
{
    if (setenv("TZ", name, true) != 0)
        abort(); /* no memory */
    tzset();
}

int64_t calendar_day(int64_t unix_s)
{
    time_t time = (time_t)unix_s;
    struct tm local;
    /* It fails beyond the years of an int, where the offset could overflow the sum, too. */
    return divide(localtime_r(&time, &local) ? unix_s + local.tm_gmtoff : unix_s, DAY_S);
}

/* Years begin in March here, so that leap days are their last. 153 days are 5 months, of 31, 30,
 * 31, 30 and 31 days. */
struct calendar_date calendar_date_of(int64_t day)
{
    int64_t since_0000_03 = day + DAYS_BEFORE_1970_03;
    int64_t era = divide(since_0000_03, DAYS_OF_400_YEARS);
    int64_t of_era = since_0000_03 - era * DAYS_OF_400_YEARS;
    int64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * year + year / 4 - year / 100);
    int from_march = (int)((5 * of_year + 2) / 153);
    return (struct calendar_date){.year = era * 400 + year + (from_march >= 10),
                                  .month = from_march < 10 ? from_march + 3 : from_march - 9,
                                  .day = (int)of_year - (153 * from_march + 2) / 5 + 1};
}

int64_t calendar_day_of(struct calendar_date date)
{
    int64_t year = date.year - (date.month <= 2);
    int64_t era = divide(year, 400), of_era = year - era * 400;
    int from_march = date.month > 2 ? date.month - 3 : date.month + 9;
    int64_t of_year = (153 * from_march + 2) / 5 + date.day - 1;
    return era * DAYS_OF_400_YEARS + of_era * 365 + of_era / 4 - of_era / 100 + of_year -
           DAYS_BEFORE_1970_03;
}

int calendar_weekday(int64_t day)
{
    return (int)(day + 3 - divide(day + 3, 7) * 7); /* 1970-01-01 was a Thursday */
}

int calendar_days_in_month(int64_t year, int month)
{
    struct calendar_date first = {year, month, 1}, next = {year + month / 12, month % 12 + 1, 1};
    return (int)(calendar_day_of(next) - calendar_day_of(first));
}

const char *calendar_format(int64_t day, char text[static CALENDAR_TEXT_SIZE])
{
    struct calendar_date date = calendar_date_of(day);
    snprintf(text, CALENDAR_TEXT_SIZE, "%04lld-%02d-%02d", (long long)date.year, date.month,
             date.day);
    return text;
}
