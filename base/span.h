#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

/* Bytes that belong to another object and live as long as it does. Not NUL-terminated; any byte may
 * occur. at == NULL means absent, which differs from empty. */
struct span {
    const char *at;
    size_t len;
};

#define SPAN(literal) ((struct span){(literal), sizeof(literal) - 1})

static inline struct span span_of(const char *string)
{
    return (struct span){string, string ? strlen(string) : 0};
}

static inline bool span_equal(struct span a, struct span b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.at, b.at, a.len) == 0);
}

static inline bool span_starts_with(struct span text, struct span beginning)
{
    return text.len >= beginning.len && memcmp(text.at, beginning.at, beginning.len) == 0;
}

/* The text from an offset on, 0 to text.len. */
static inline struct span span_from(struct span text, size_t offset)
{
    return (struct span){text.at + offset, text.len - offset};
}

/* Takes the part before the first delimiter off the front of *text, the delimiter too; all of it
 * if there is none. */
static inline struct span span_cut(struct span *text, char delimiter)
{
    const char *end = text->len > 0 ? memchr(text->at, delimiter, text->len) : NULL;
    struct span part = {text->at, end ? (size_t)(end - text->at) : text->len};
    *text = span_from(*text, part.len + (end != NULL));
    return part;
}
