#pragma once

#include <stdbool.h>
#include <stdint.h>

/* The Gregorian calendar, extended to all years. A day is a number of days since 1970-01-01, up to
 * 10^14 before or after it. */

struct calendar_date {
    int64_t year;
    int month, day; /* from 1 on */
};

enum { CALENDAR_TEXT_SIZE = 32 };

/* Sets the process's time zone, a name of the tz database, whose file is read now: calendar_day
 * needs no file. Before any thread is started. */
void calendar_set_zone(const char *name);

/* The day at a time in the process's time zone. Of times that localtime_r does not reach, in UTC.
 */
int64_t calendar_day(int64_t unix_s);

/* The date of a day, and the day of a date. */
struct calendar_date calendar_date_of(int64_t day);
int64_t calendar_day_of(struct calendar_date date);

/* 0: Monday to 6: Sunday. */
int calendar_weekday(int64_t day);

int calendar_days_in_month(int64_t year, int month);

/* Writes a day as YYYY-MM-DD; years beyond four digits, or below 0, as they are. Returns text. */
const char *calendar_format(int64_t day, char text[static CALENDAR_TEXT_SIZE]);
