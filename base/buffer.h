#ifndef BASE_BUFFER_H
#define BASE_BUFFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/span.h"

/* Bytes that grow at their end. An append that finds no memory sets failed and does
 * nothing, as do all after it, so that callers check once, at the end. Zeroed is
 * empty. What is taken out of it is wiped: most of what passes holds a key. */
struct buffer {
    char *at;
    size_t len, size;
    bool failed;
};

/* Empties the buffer; its memory is kept for the next use, up to a limit. */
void buffer_clear(struct buffer *buffer);
/* Frees the memory; the buffer is empty. */
void buffer_free(struct buffer *buffer);

/* Room for len more bytes; at its end, to be written and then counted by adding to
 * buffer->len. NULL, with failed set, where there is no memory. */
char *buffer_reserve(struct buffer *buffer, size_t len);

void buffer_append(struct buffer *buffer, struct span text);
void buffer_append_string(struct buffer *buffer, const char *text);
void buffer_append_int(struct buffer *buffer, int64_t number);
/* In double quotes and escaped (RFC 8259 section 7). */
void buffer_append_json(struct buffer *buffer, struct span text);

/* The same straight to memory, for rendering that has reserved enough. Each returns
 * the byte after the last it wrote. */
enum { INT_LEN_MAX = 20 };        /* "-9223372036854775808" */
enum { JSON_ESCAPE_LEN_MAX = 6 }; /* a byte at most becomes "\u001f" */
static inline char *write_text(char *at,
                               struct span text) /* so that literals are copied by a move or two */
{
    if (text.len > 0)
        memcpy(at, text.at, text.len);
    return at + text.len;
}
char *write_int(char *at, int64_t number);
char *write_json(char *at, struct span text);
char *write_json_inside(char *at, struct span text); /* without the quotes */

#endif
