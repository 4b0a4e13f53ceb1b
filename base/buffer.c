#include "base/buffer.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    FIRST_SIZE = 4096,
    KEPT_SIZE_MAX = 64 * 1024 /* one large page must not stay in memory for ever */
};

void buffer_clear(struct buffer *buffer)
{
    if (buffer->size > KEPT_SIZE_MAX)
        buffer_free(buffer);
    else if (buffer->len > 0)
        explicit_bzero(buffer->at, buffer->len);
    buffer->len = 0;
    buffer->failed = false;
}

void buffer_free(struct buffer *buffer)
{
    if (buffer->len > 0)
        explicit_bzero(buffer->at, buffer->len);
    free(buffer->at);
    *buffer = (struct buffer){0};
}

/* Not realloc, which would leave a copy behind. */
static bool grow(struct buffer *buffer, size_t size)
{
    char *at = malloc(size);
    if (!at)
        return false;
    if (buffer->len > 0) {
        memcpy(at, buffer->at, buffer->len);
        explicit_bzero(buffer->at, buffer->len);
    }
    free(buffer->at);
    buffer->at = at;
    buffer->size = size;
    return true;
}

char *buffer_reserve(struct buffer *buffer, size_t len)
{
    if (buffer->failed)
        return NULL;
    if (len <= buffer->size - buffer->len)
        return buffer->at + buffer->len;
    size_t size = buffer->size ? buffer->size : FIRST_SIZE;
    while (size - buffer->len < len && size <= SIZE_MAX / 2)
        size *= 2;
    if (size - buffer->len < len || !grow(buffer, size)) {
        buffer->failed = true;
        return NULL;
    }
    return buffer->at + buffer->len;
}

void buffer_append(struct buffer *buffer, struct span text)
{
    char *at = text.len > 0 ? buffer_reserve(buffer, text.len) : NULL;
    if (at)
        buffer->len = (size_t)(write_text(at, text) - buffer->at);
}

void buffer_append_string(struct buffer *buffer, const char *text)
{
    buffer_append(buffer, span_of(text));
}

void buffer_append_int(struct buffer *buffer, int64_t number)
{
    char *at = buffer_reserve(buffer, INT_LEN_MAX);
    if (at)
        buffer->len = (size_t)(write_int(at, number) - buffer->at);
}

void buffer_append_number(struct buffer *buffer, struct span label, int64_t number)
{
    buffer_append(buffer, label);
    buffer_append_int(buffer, number);
}

void buffer_append_bool(struct buffer *buffer, struct span label, bool value)
{
    buffer_append(buffer, label);
    buffer_append(buffer, value ? SPAN("true") : SPAN("false"));
}

void buffer_append_millionths(struct buffer *buffer, int64_t millionths)
{
    enum { ONE = 1000000 };
    char text[2 * INT_LEN_MAX];
    int len =
        snprintf(text, sizeof(text), "%" PRId64 ".%06" PRId64, millionths / ONE, millionths % ONE);
    while (text[len - 1] == '0')
        len--;
    len -= text[len - 1] == '.';
    buffer_append(buffer, (struct span){text, (size_t)len});
}

void buffer_append_json(struct buffer *buffer, struct span text)
{
    char *at = buffer_reserve(buffer, text.len * JSON_ESCAPE_LEN_MAX + 2);
    if (at)
        buffer->len = (size_t)(write_json(at, text) - buffer->at);
}

/* A list of 100 tokens has 800 numbers: two digits a division. */
static const char two_digits[] =
    "00010203040506070809101112131415161718192021222324252627282930313233343536373839"
    "40414243444546474849505152535455565758596061626364656667686970717273747576777879"
    "8081828384858687888990919293949596979899";

/* They are counted first, so that each is written to where it belongs. */
char *write_int(char *at, int64_t number)
{
    uint64_t rest = number < 0 ? -(uint64_t)number : (uint64_t)number, left = rest;
    size_t len = 1;
    for (; left >= 100; left /= 100)
        len += 2;
    len += left >= 10;
    if (number < 0)
        *at++ = '-';
    char *end = at + len, *first = end;
    for (; rest >= 10; rest /= 100)
        memcpy(first -= 2, &two_digits[2 * (rest % 100)], 2);
    if (first > at)
        *at = (char)('0' + rest);
    return end;
}

/* Bytes that are compared at once. */
typedef unsigned char vector __attribute__((vector_size(8)));

/* Whether JSON escapes one of the bytes: a quote, a backslash, or a control character below 0x20.
 */
static bool needs_escape(const char *at)
{
    vector bytes;
    uint64_t found;
    memcpy(&bytes, at, sizeof(bytes));
    bytes = (vector)((bytes < ' ') | (bytes == '"') | (bytes == '\\'));
    memcpy(&found, &bytes, sizeof(found));
    return found != 0;
}

/* A vector at a time, until there is something to escape, which is seldom. */
char *write_json(char *at, struct span text)
{
    static const char hex[] = "0123456789abcdef";
    size_t i = 0;
    *at++ = '"';
    for (; text.len - i >= sizeof(vector) && !needs_escape(text.at + i); i += sizeof(vector))
        memcpy(at + i, text.at + i, sizeof(vector));
    if (i > 0 && text.len - i < sizeof(vector)) { /* the rest with some of the bytes before it */
        size_t last = text.len - sizeof(vector);
        if (!needs_escape(text.at + last)) {
            memcpy(at + last, text.at + last, sizeof(vector));
            i = text.len;
        }
    }
    at += i;
    for (; i < text.len; i++) {
        char c = text.at[i];
        if ((unsigned char)c < 0x20) {
            at = write_text(at, SPAN("\\u00"));
            *at++ = hex[c >> 4];
            c = hex[c & 15];
        } else if (c == '"' || c == '\\') {
            *at++ = '\\';
        }
        *at++ = c;
    }
    *at++ = '"';
    return at;
}
