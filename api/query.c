#include "api/query.h"

#include <ctype.h>
#include <stdlib.h>

/* Takes a character, decoded, off the front of *text. False where an escape is not one. */
static bool take(struct span *text, char *c)
{
    size_t len = text->at[0] == '%' ? 3 : 1;
    *c = text->at[0];
    if (len == 3) {
        if (text->len < len || !isxdigit((unsigned char)text->at[1]) ||
            !isxdigit((unsigned char)text->at[2]))
            return false;
        *c = (char)strtoul((const char[]){text->at[1], text->at[2], '\0'}, NULL, 16);
    } else if (*c == '+') {
        *c = ' ';
    }
    *text = span_from(*text, len);
    return true;
}

static bool is_name(struct span raw, const char *name)
{
    char c;
    for (; raw.len > 0; name++)
        if (!*name || !take(&raw, &c) || c != *name)
            return false;
    return !*name;
}

struct span query_get(struct span query, const char *name, char value[static QUERY_VALUE_SIZE])
{
    while (query.len > 0) {
        struct span raw = span_cut(&query, '&');
        if (!is_name(span_cut(&raw, '='), name))
            continue;
        struct span rest = raw;
        size_t len = 0;
        while (rest.len > 0 && len < QUERY_VALUE_SIZE && take(&rest, &value[len]))
            len++;
        if (rest.len > 0) {
            len = raw.len < QUERY_VALUE_SIZE ? raw.len : QUERY_VALUE_SIZE;
            memcpy(value, raw.at, len);
        }
        return (struct span){value, len};
    }
    return (struct span){NULL, 0};
}
