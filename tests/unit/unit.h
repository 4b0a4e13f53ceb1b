#pragma once

/* cmocka with what it wants before it, and what table-driven tests need. */

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/span.h"

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

/* Like assert_true, but says which row it was: a literal format and its values. */
#define require(condition, ...)                                                                    \
    do {                                                                                           \
        if (!(condition))                                                                          \
            fail_msg(__VA_ARGS__);                                                                 \
    } while (0)

#define assert_span_equal(span, expected) assert_spans((span), (expected), __FILE__, __LINE__)

static inline void assert_spans(struct span actual, struct span expected, const char *file,
                                int line)
{
    if (span_equal(actual, expected))
        return;
    print_error("\"%.*s\" is not \"%.*s\"\n", (int)actual.len, actual.at, (int)expected.len,
                expected.at);
    _fail(file, line);
}

/* A copy on the heap, exactly as long: a sanitizer then sees each byte read past its
 * end. The caller frees it. */
static inline char *heap_copy(struct span text)
{
    char *copy = malloc(text.len > 0 ? text.len : 1);
    assert_non_null(copy);
    if (text.len > 0)
        memcpy(copy, text.at, text.len);
    return copy;
}
