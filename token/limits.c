#include "token/limits.h"

#include <arpa/inet.h>

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static struct span trim(struct span text)
{
    while (text.len > 0 && is_blank(text.at[0]))
        text = span_from(text, 1);
    while (text.len > 0 && is_blank(text.at[text.len - 1]))
        text.len--;
    return text;
}

/* Takes the next item off the front of *list; separators are commas and, where
 * blanks_separate, blanks too. False at the end. */
static bool next_item(struct span *list, bool blanks_separate, struct span *item)
{
    while (list->len > 0) {
        size_t len = 0;
        while (len < list->len && list->at[len] != ',' &&
               !(blanks_separate && is_blank(list->at[len])))
            len++;
        *item = trim((struct span){list->at, len});
        *list = span_from(*list, len < list->len ? len + 1 : len);
        if (item->len > 0)
            return true;
    }
    return false;
}

static size_t append_item(char *out, size_t out_len, struct span item)
{
    if (out_len > 0)
        out[out_len++] = ',';
    memmove(out + out_len, item.at, item.len);
    return out_len + item.len;
}

size_t limits_normalize_models(struct span in, char *out)
{
    size_t out_len = 0;
    struct span item;
    while (next_item(&in, false, &item))
        out_len = append_item(out, out_len, item);
    return out_len;
}

/* A prefix length: decimal, no sign, no leading zero, at most max. */
static bool is_prefix_length(struct span text, unsigned max)
{
    if (text.len == 0 || text.len > 3 || (text.len > 1 && text.at[0] == '0'))
        return false;
    unsigned value = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (text.at[i] < '0' || text.at[i] > '9')
            return false;
        value = value * 10 + (unsigned)(text.at[i] - '0');
    }
    return value <= max;
}

static bool is_address_or_block(struct span item)
{
    char address[INET6_ADDRSTRLEN];
    size_t address_len = 0;
    while (address_len < item.len && item.at[address_len] != '/')
        address_len++;
    if (address_len >= sizeof(address) || memchr(item.at, '\0', address_len))
        return false;
    memcpy(address, item.at, address_len);
    address[address_len] = '\0';

    unsigned char bytes[sizeof(struct in6_addr)];
    unsigned max_prefix;
    if (inet_pton(AF_INET, address, bytes) == 1)
        max_prefix = 32;
    else if (inet_pton(AF_INET6, address, bytes) == 1)
        max_prefix = 128;
    else
        return false;
    return address_len == item.len ||
           is_prefix_length(span_from(item, address_len + 1), max_prefix);
}

bool limits_normalize_ips(struct span in, char *out, size_t *out_len, struct span *bad)
{
    struct span item;
    *out_len = 0;
    while (next_item(&in, true, &item)) {
        if (!is_address_or_block(item)) {
            *bad = item;
            return false;
        }
        *out_len = append_item(out, *out_len, item);
    }
    return true;
}
