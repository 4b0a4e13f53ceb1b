#pragma once

#include <stdint.h>

#include "base/span.h"

static inline bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Reads a decimal int64: an optional '-', then digits only. Returns false, with *number
 * unchanged, if the text has another form or the number is beyond int64. */
bool number_parse(struct span text, int64_t *number);

/* The same of millionths: "0.8" is 800000. 0 or more, with at most six digits behind the point. */
bool number_parse_millionths(struct span text, int64_t *millionths);

/* a + b; the nearest int64 where the sum is beyond it. */
static inline int64_t number_add(int64_t a, int64_t b)
{
    int64_t sum;
    return __builtin_add_overflow(a, b, &sum) ? (b > 0 ? INT64_MAX : INT64_MIN) : sum;
}
