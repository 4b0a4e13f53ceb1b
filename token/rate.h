#pragma once

#include <stdint.h>

/* Limits of a rate, by the generic cell rate algorithm (GCRA, ITU-T I.371): a bucket of as many
 * units as the limit, which refills evenly in a minute. Its state is the time at which it will be
 * full, in nanoseconds of the store's time; 0 and each time that is over: full. In any time no more
 * than the limit and what refills in it passes; at most 2 % less than that refills.
 *   full_ns  the state
 *   limit    units a minute, 0 or more; 0: no limit, all passes and the state stays
 *   amount   units
 *   now_ns   the store's time, 0 or more
 * A state that lies further ahead than any that was stored with this clock counts as full. */

/* Whether amount, 0 or more, passes now: 0, or after how many nanoseconds it would. An amount above
 * the limit passes if the bucket is full. 0 units always pass. */
int64_t token_rate_wait(int64_t full_ns, int64_t limit, int64_t amount, int64_t now_ns);

/* Takes amount, whether it passes or not, or gives it back if it is below 0. Returns the new state:
 * at most 600 s after now_ns. */
int64_t token_rate_take(int64_t full_ns, int64_t limit, int64_t amount, int64_t now_ns);

/* What would pass now at once: 0 to limit. */
int64_t token_rate_left(int64_t full_ns, int64_t limit, int64_t now_ns);

/* In how many nanoseconds the bucket is full: 0 or more. */
int64_t token_rate_until_full(int64_t full_ns, int64_t now_ns);

/* Nanoseconds as whole seconds for Retry-After: rounded up, 1 to 600. */
int64_t token_rate_retry_s(int64_t wait_ns);
