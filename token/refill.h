#pragma once

#include "token/token.h"

/* Refills: at the start of each period remain_quota becomes refill_amount. They are computed when a
 * token is read or written. Days are those of calendar_day (base/calendar.h). */

/* An interval's name in JSON. */
struct span token_refill_name(enum token_refill interval);

/* Sets *interval by its name. Returns false, with *interval unchanged, if there is none of it. */
bool token_refill_read(struct span name, enum token_refill *interval);

/* The day on which the period of a day began; INT64_MIN without an interval. */
int64_t token_refill_period(enum token_refill interval, int64_t refill_day, int64_t day);

/* Brings remain_quota and refill_period up to date on a day. The period never goes back, whatever
 * the clock does. */
void token_refill(struct token *token, int64_t day);

/* After the interval or refill_day was set on a day: the present period counts as refilled, so that
 * they act from its end on. */
void token_refill_start(struct token *token, int64_t day);
