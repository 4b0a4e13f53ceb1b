#include "token/match.h"

#include <strings.h>

#include "base/text.h"

/* The offset of part in text, or text.len + 1. */
static size_t find_part(struct span text, struct span part)
{
    for (size_t at = 0; at + part.len <= text.len; at++)
        if (part.len == 0 || strncasecmp(text.at + at, part.at, part.len) == 0)
            return at;
    return text.len + 1;
}

/* Parts between two % have to come one after the other; the part before the first % begins the
 * name, the part after the last ends it. */
static bool match_pattern(struct span name, struct span pattern)
{
    for (bool first = true;; first = false) {
        const char *percent = memchr(pattern.at, '%', pattern.len);
        if (!percent) /* the last part */
            return pattern.len <= name.len &&
                   strncasecmp(name.at + name.len - pattern.len, pattern.at, pattern.len) == 0;
        struct span part = {pattern.at, (size_t)(percent - pattern.at)};
        size_t at = find_part(name, part);
        if (at > name.len || (first && at != 0))
            return false;
        name = span_from(name, at + part.len);
        pattern = span_from(pattern, part.len + 1);
    }
}

bool match_name(struct span name, struct span keyword)
{
    if (keyword.len > 0 && memchr(keyword.at, '%', keyword.len))
        return match_pattern(name, keyword);
    return find_part(name, keyword) <= name.len;
}

bool match_key(const char *key, struct span text)
{
    struct span all = {key, strlen(key)};
    text = text_trim(text, SPAN("%"));
    return span_starts_with(all, text) ||
           span_starts_with(span_from(all, TOKEN_KEY_PREFIX_LEN), token_key_strip_prefix(text));
}
