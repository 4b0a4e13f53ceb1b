#include "token/rate.h"

#define SECOND_NS   INT64_C(1000000000)
#define MINUTE_NS   INT64_C(60000000000)
#define DEBT_MAX_NS (600 * SECOND_NS)

/* Up to this limit a unit costs a whole number of nanoseconds, 1000 or more, rounded up: sums are
 * exact. Beyond, an amount's cost is rounded up. */
#define WHOLE_COST_LIMIT (MINUTE_NS / 1000)

typedef __int128 wide;

/* What units cost in nanoseconds, as a fraction. */
struct cost {
    wide ns, units;
};

static struct cost cost_of(int64_t limit)
{
    if (limit > WHOLE_COST_LIMIT)
        return (struct cost){MINUTE_NS, limit};
    return (struct cost){(MINUTE_NS + limit - 1) / limit, 1};
}

/* amount is 0 or more. */
static wide price(struct cost cost, int64_t amount)
{
    return (amount * cost.ns + cost.units - 1) / cost.units;
}

static int64_t least(wide a, int64_t b)
{
    return a < b ? (int64_t)a : b;
}

/* Transactions may be committed in another order than their times are read in: a second, at most,
 * beyond the greatest debt is no fault. */
int64_t token_rate_until_full(int64_t full_ns, int64_t now_ns)
{
    wide wait = (wide)full_ns - now_ns;
    return wait <= 0 || wait > DEBT_MAX_NS + SECOND_NS ? 0 : least(wait, DEBT_MAX_NS);
}

int64_t token_rate_wait(int64_t full_ns, int64_t limit, int64_t amount, int64_t now_ns)
{
    int64_t until_full = token_rate_until_full(full_ns, now_ns);
    if (limit == 0 || amount == 0 || amount > limit)
        return limit == 0 || amount == 0 ? 0 : until_full;
    struct cost cost = cost_of(limit);
    wide wait = until_full + price(cost, amount) - limit * cost.ns / cost.units;
    return wait > 0 ? (int64_t)wait : 0;
}

int64_t token_rate_take(int64_t full_ns, int64_t limit, int64_t amount, int64_t now_ns)
{
    if (limit == 0)
        return full_ns;
    struct cost cost = cost_of(limit);
    wide until_full = token_rate_until_full(full_ns, now_ns);
    until_full += amount > 0 ? price(cost, amount) : amount * cost.ns / cost.units;
    return until_full > 0 ? now_ns + least(until_full, DEBT_MAX_NS) : now_ns;
}

int64_t token_rate_left(int64_t full_ns, int64_t limit, int64_t now_ns)
{
    struct cost cost = cost_of(limit);
    wide left = limit * cost.ns - token_rate_until_full(full_ns, now_ns) * cost.units;
    return left > 0 ? (int64_t)(left / cost.ns) : 0;
}

int64_t token_rate_retry_s(int64_t wait_ns)
{
    int64_t seconds = wait_ns / SECOND_NS + (wait_ns % SECOND_NS > 0);
    return seconds < 1 ? 1 : least(seconds, 600);
}
