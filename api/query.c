#include "api/query.h"

#include <ctype.h>
#include <stdlib.h>

#include "base/number.h"

/* Decodes text into out, which has size bytes. False where it does not fit or an
 * escape is not one. */
static bool decode(struct span text, char *out, size_t size, size_t *out_len)
{
    *out_len = 0;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.at[i];
        if (*out_len == size)
            return false;
        if (c == '%') {
            if (i + 2 >= text.len || !isxdigit((unsigned char)text.at[i + 1]) ||
                !isxdigit((unsigned char)text.at[i + 2]))
                return false;
            c = (char)strtoul((const char[]){text.at[i + 1], text.at[i + 2], '\0'}, NULL, 16);
            i += 2;
        } else if (c == '+') {
            c = ' ';
        }
        out[(*out_len)++] = c;
    }
    return true;
}

struct span query_get(struct span query, const char *name, char value[static QUERY_VALUE_SIZE])
{
    char decoded[64];
    size_t len;
    while (query.len > 0) {
        struct span raw_value = span_cut(&query, '&'), raw_name = span_cut(&raw_value, '=');
        if (!decode(raw_name, decoded, sizeof(decoded), &len) ||
            !span_equal((struct span){decoded, len}, span_of(name)))
            continue;
        if (!decode(raw_value, value, QUERY_VALUE_SIZE, &len)) {
            len = raw_value.len < QUERY_VALUE_SIZE ? raw_value.len : QUERY_VALUE_SIZE;
            memcpy(value, raw_value.at, len);
        }
        return (struct span){value, len};
    }
    return (struct span){NULL, 0};
}

void query_get_number(struct span query, const char *name, int64_t *number)
{
    char value[QUERY_VALUE_SIZE];
    int64_t parsed;
    if (number_parse(query_get(query, name, value), &parsed))
        *number = parsed;
}
