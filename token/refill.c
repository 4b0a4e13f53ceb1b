#include "token/refill.h"

#include "base/calendar.h"

static const char *const names[] = {[TOKEN_REFILL_NONE] = "none",
                                    [TOKEN_REFILL_DAY] = "day",
                                    [TOKEN_REFILL_WEEK] = "week",
                                    [TOKEN_REFILL_MONTH] = "month"};

struct span token_refill_name(enum token_refill interval)
{
    return span_of(names[interval]);
}

bool token_refill_read(struct span name, enum token_refill *interval)
{
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (span_equal(name, span_of(names[i]))) {
            *interval = (enum token_refill)i;
            return true;
        }
    return false;
}

/* The refill_day of a month, or the month's last. */
static int64_t day_in_month(struct calendar_date month, int64_t refill_day)
{
    int last = calendar_days_in_month(month.year, month.month);
    month.day = refill_day < last ? (int)refill_day : last;
    return calendar_day_of(month);
}

static int64_t month_period(int64_t refill_day, int64_t day)
{
    struct calendar_date month = calendar_date_of(day);
    int64_t start = day_in_month(month, refill_day);
    if (start <= day)
        return start;
    return day_in_month(calendar_date_of(day - month.day), refill_day); /* of the month before */
}

int64_t token_refill_period(enum token_refill interval, int64_t refill_day, int64_t day)
{
    switch (interval) {
    case TOKEN_REFILL_DAY:
        return day;
    case TOKEN_REFILL_WEEK:
        return day - calendar_weekday(day);
    case TOKEN_REFILL_MONTH:
        return month_period(refill_day, day);
    case TOKEN_REFILL_NONE:
        break;
    }
    return INT64_MIN;
}

void token_refill(struct token *token, int64_t day)
{
    int64_t period = token_refill_period(token->refill_interval, token->refill_day, day);
    if (period <= token->refill_period)
        return;
    token->refill_period = period;
    token->remain_quota = token->refill_amount;
}

void token_refill_start(struct token *token, int64_t day)
{
    int64_t period = token_refill_period(token->refill_interval, token->refill_day, day);
    if (period > token->refill_period)
        token->refill_period = period;
}
