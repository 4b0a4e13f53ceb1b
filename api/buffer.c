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
    char *at = buffer_reserve(buffer, text.len);
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

char *write_int(char *at, int64_t number)
{
    char digits[INT_LEN_MAX];
    size_t count = 0;
    uint64_t rest = number < 0 ? -(uint64_t)number : (uint64_t)number;
    do {
        digits[count++] = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest > 0);
    if (number < 0)
        *at++ = '-';
    while (count > 0)
        *at++ = digits[--count];
    return at;
}

char *write_json(char *at, struct span text)
{
    static const char hex[] = "0123456789abcdef";
    *at++ = '"';
    for (size_t i = 0; i < text.len; i++) {
        char c = text.at[i];
        if (c == '"' || c == '\\') {
            *at++ = '\\';
            *at++ = c;
        } else if ((unsigned char)c < 0x20) {
            at = write_text(at, SPAN("\\u00"));
            *at++ = hex[c >> 4];
            *at++ = hex[c & 15];
        } else {
            *at++ = c;
        }
    }
    *at++ = '"';
    return at;
}
