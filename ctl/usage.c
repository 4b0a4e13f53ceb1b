/* tokenctl usage */

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/calendar.h"
#include "ctl/commands.h"

/* Of a token, a user or, without either, all users. */
static enum store_error read_days(struct ctl *ctl, struct store_days *days)
{
    struct store_user user = {.id = 0};
    int64_t user_id = ctl->id, token_id = ctl->number[CTL_TOKEN];
    enum store_error error = STORE_OK;
    if (ctl->text[CTL_TOKEN])
        error = store_token_owner(ctl->reader, token_id, &user_id);
    if (error == STORE_OK && user_id != 0)
        return store_usage_add(ctl->reader, user_id, token_id, days);
    while (error == STORE_OK && (error = store_user_next(ctl->reader, user.id, &user)) == STORE_OK)
        error = store_usage_add(ctl->reader, user.id, 0, days);
    return error == STORE_NO_USER ? STORE_OK : error;
}

static void print_day(struct ctl *ctl, int64_t day, int64_t units, int64_t requests)
{
    char date[CALENDAR_TEXT_SIZE];
    calendar_format(day, date);
    if (ctl->text[CTL_JSON]) {
        output_text(ctl, "date", span_of(date));
        output_int(ctl, "units", units);
        output_int(ctl, "requests", requests);
        ctl_end(ctl, STORE_OK);
    } else {
        printf(ctl->text[CTL_CSV] ? "%s,%lld,%lld\n" : "%-10s %20lld %12lld\n", date,
               (long long)units, (long long)requests);
    }
}

int ctl_usage(struct ctl *ctl)
{
    enum { DAYS_DEFAULT = 30 };
    struct store_days days = {.count = ctl->text[CTL_DAYS] ? ctl->number[CTL_DAYS] : DAYS_DEFAULT};
    const char *token = ctl->text[CTL_TOKEN], *user = ctl->text[CTL_USER];
    if (days.count < 1 || days.count > STORE_USAGE_DAYS)
        return ctl_fail("--days is 1 to %d", STORE_USAGE_DAYS);
    if (token && user)
        return ctl_fail("--token and --user exclude each other");
    days.first = calendar_day((int64_t)time(NULL)) - days.count + 1;
    if (user && !ctl_find_user(ctl, user, &ctl->id))
        return CTL_FAILED;
    ctl->argument = token ? token : user; /* for an error */
    enum store_error error = read_days(ctl, &days);
    if (error == STORE_OK && ctl->text[CTL_CSV])
        puts("date,units,requests");
    else if (error == STORE_OK && !ctl->text[CTL_JSON])
        printf("%-10s %20s %12s\n", "date", "units", "requests");
    for (int64_t i = 0; error == STORE_OK && i < days.count; i++)
        print_day(ctl, days.first + i, days.used[i].units, days.used[i].requests);
    return ctl_end(ctl, error);
}
