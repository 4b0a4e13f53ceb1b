#include "api/buffer.h"

#include <stdlib.h>
#include <string.h>

enum {
    FIRST_SIZE = 4096,
    KEPT_SIZE_MAX = 256 * 1024 /* one large page must not stay in memory for ever */
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

void buffer_append_json(struct buffer *buffer, struct span text)
{
    char *at = buffer_reserve(buffer, text.len * JSON_ESCAPE_LEN_MAX + 2);
    if (at)
        buffer->len = (size_t)(write_json(at, text) - buffer->at);
}

char *write_text(char *at, struct span text)
{
    if (text.len > 0)
        memcpy(at, text.at, text.len);
    return at + text.len;
}

/* Two digits at a time, from the last. */
char *write_int(char *at, int64_t number)
{
    static const char pairs[] =
        "00010203040506070809101112131415161718192021222324252627282930313233"
        "34353637383940414243444546474849505152535455565758596061626364656667"
        "68697071727374757677787980818283848586878889909192939495969798"
        "99";
    char digits[INT_LEN_MAX];
    size_t at_digit = sizeof(digits);
    uint64_t rest = number < 0 ? -(uint64_t)number : (uint64_t)number;
    if (number < 0)
        *at++ = '-';
    for (; rest >= 10; rest /= 100) {
        at_digit -= 2;
        memcpy(digits + at_digit, pairs + rest % 100 * 2, 2);
    }
    if (rest > 0 || at_digit == sizeof(digits))
        digits[--at_digit] = (char)('0' + rest);
    memcpy(at, digits + at_digit, sizeof(digits) - at_digit);
    return at + sizeof(digits) - at_digit;
}

static bool needs_escape(char c)
{
    return c == '"' || c == '\\' || (unsigned char)c < 0x20;
}

static char *write_escaped(char *at, char c)
{
    static const char hex[] = "0123456789abcdef";
    if ((unsigned char)c >= 0x20) {
        *at++ = '\\';
        *at++ = c;
        return at;
    }
    at = write_text(at, SPAN("\\u00"));
    *at++ = hex[c >> 4];
    *at++ = hex[c & 15];
    return at;
}

/* Runs without anything to escape, which is nearly all, are copied whole. */
char *write_json_inside(char *at, struct span text)
{
    size_t start = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (!needs_escape(text.at[i]))
            continue;
        at = write_text(at, (struct span){text.at + start, i - start});
        at = write_escaped(at, text.at[i]);
        start = i + 1;
    }
    if (text.len > start)
        at = write_text(at, span_from(text, start));
    return at;
}

char *write_json(char *at, struct span text)
{
    *at++ = '"';
    at = write_json_inside(at, text);
    *at++ = '"';
    return at;
}
