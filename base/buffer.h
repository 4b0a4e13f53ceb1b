#pragma once

#include <stdint.h>

#include "base/span.h"

/* Bytes that grow at their end. An append without memory sets failed and changes nothing, as do
 * all appends after it: callers check failed once, at the end. A zeroed buffer is empty. Bytes
 * that are dropped are wiped, as most of them hold a key. */
struct buffer {
    char *at;
    size_t len, size; /* bytes */
    bool failed;
};

/* Empties the buffer and resets failed. Up to 64 KiB of memory are kept for the next use. */
void buffer_clear(struct buffer *buffer);

/* Frees the memory; the buffer is empty. */
void buffer_free(struct buffer *buffer);

/* Reserves len bytes after the end. The caller writes them and adds to buffer->len. Returns the
 * end, or NULL with failed set. */
char *buffer_reserve(struct buffer *buffer, size_t len);

void buffer_append(struct buffer *buffer, struct span text);
void buffer_append_string(struct buffer *buffer, const char *text);
void buffer_append_int(struct buffer *buffer, int64_t number); /* in decimal */
void buffer_append_number(struct buffer *buffer, struct span label, int64_t number); /* both */
void buffer_append_bool(struct buffer *buffer, struct span label, bool value); /* true or false */
/* Millionths in decimal, without zeros at the end: 800000 is "0.8". */
void buffer_append_millionths(struct buffer *buffer, int64_t millionths); /* 0 or more */
void buffer_append_json(struct buffer *buffer, struct span text); /* quoted, RFC 8259 section 7 */

/* The content, valid until the next append. */
static inline struct span buffer_span(const struct buffer *buffer)
{
    return (struct span){buffer->at, buffer->len};
}

/* The same into memory that the caller has reserved. Each returns the byte after the last. */
enum { INT_LEN_MAX = 20 };                                 /* "-9223372036854775808" */
enum { JSON_ESCAPE_LEN_MAX = 6 };                          /* of one byte: "\u001f" */
static inline char *write_text(char *at, struct span text) /* inline: literals become moves */
{
    if (text.len > 0)
        memcpy(at, text.at, text.len);
    return at + text.len;
}
char *write_int(char *at, int64_t number); /* may change INT_LEN_MAX bytes */
char *write_json(char *at, struct span text);
