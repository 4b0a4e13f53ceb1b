#pragma once

/* What the fuzz targets share. Each has LLVMFuzzerTestOneInput, which libFuzzer calls. */

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/span.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Ends the run where an invariant does not hold: libFuzzer keeps the input. */
#define require(condition, ...)                                                                    \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s: ", __FILE__, __LINE__, #condition);                        \
            fprintf(stderr, __VA_ARGS__);                                                          \
            fputc('\n', stderr);                                                                   \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

/* A copy on the heap, exactly as long: a sanitizer then sees each byte read past its
 * end. To be freed with fuzz_free. */
static inline struct span fuzz_copy(struct span text)
{
    char *copy = malloc(text.len > 0 ? text.len : 1);
    require(copy && (text.at || text.len == 0), "no memory");
    if (text.at)
        memcpy(copy, text.at, text.len);
    return (struct span){copy, text.len};
}

static inline void fuzz_free(struct span copy)
{
    free((void *)(uintptr_t)copy.at);
}

static inline struct span fuzz_input(const uint8_t *data, size_t size)
{
    require(data || size == 0, "no input");
    return (struct span){(const char *)data, size};
}

/* Takes the text up to the next separator, or the end, off the front. */
static inline struct span fuzz_take(struct span *rest, char separator)
{
    const char *end = rest->at ? memchr(rest->at, separator, rest->len) : NULL;
    struct span taken = {rest->at, end ? (size_t)(end - rest->at) : rest->len};
    *rest =
        (struct span){rest->at + taken.len + (end ? 1 : 0), rest->len - taken.len - (end ? 1 : 0)};
    return taken;
}

/* Whether part, which is not empty, is somewhere in text. */
static inline bool fuzz_has(struct span text, struct span part)
{
    return text.at && memmem(text.at, text.len, part.at, part.len);
}

/* The code point at the start of text and its length; 0 where it is no UTF-8 (RFC 3629). */
static inline size_t fuzz_code_point(struct span text, uint32_t *point)
{
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    unsigned char first = (unsigned char)text.at[0];
    size_t len = first < 0x80       ? 1
                 : first >> 5 == 6  ? 2
                 : first >> 4 == 14 ? 3
                 : first >> 3 == 30 ? 4
                                    : 0;
    if (len == 0 || len > text.len)
        return 0;
    *point = len == 1 ? first : first & (0x7Fu >> len);
    for (size_t i = 1; i < len; i++) {
        if (((unsigned char)text.at[i] & 0xC0) != 0x80)
            return 0;
        *point = *point << 6 | ((unsigned char)text.at[i] & 0x3F);
    }
    bool good =
        *point >= smallest[len] && *point <= 0x10FFFF && (*point < 0xD800 || *point > 0xDFFF);
    return good ? len : 0;
}

/* The decimal int64 that number_parse takes, read in another way. */
static inline bool fuzz_number(struct span text, int64_t *number)
{
    char *copy = calloc(text.len + 1, 1), *end;
    require(copy, "no memory");
    if (text.at)
        memcpy(copy, text.at, text.len);
    size_t sign_len = copy[0] == '-' ? 1 : 0;
    bool form = text.len > sign_len && strspn(copy + sign_len, "0123456789") == text.len - sign_len;
    __int128 value = 0;
    for (end = copy + sign_len; form && *end; end++)
        if ((value = value * 10 + (*end - '0')) > (__int128)INT64_MAX + 1)
            form = false;
    value = sign_len ? -value : value;
    free(copy);
    if (!form || value > INT64_MAX)
        return false;
    *number = (int64_t)value;
    return true;
}

/* The status of a CGI head, which begins with it. */
static inline int fuzz_status(struct span head)
{
    int64_t status = 0;
    require(head.len > 11 && span_starts_with(head, SPAN("Status: ")) && head.at[11] == ' ' &&
                fuzz_number((struct span){head.at + 8, 3}, &status),
            "no status: %.*s", (int)head.len, head.at);
    return (int)status;
}
