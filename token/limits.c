#include "token/limits.h"

#include <arpa/inet.h>

#include "base/number.h"
#include "base/text.h"

/* What separates items; blanks around each are dropped. */
static const struct span models_separator = {",", 1}, ips_separators = {", \t\n\r", 5};

/* Takes the next item off the front of *list. Returns false at the end. */
static bool next_item(struct span *list, struct span separators, struct span *item)
{
    while (list->len > 0) {
        size_t len = 0;
        while (len < list->len && !memchr(separators.at, list->at[len], separators.len))
            len++;
        *item = text_trim((struct span){list->at, len}, SPAN(" \t\n\r"));
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
    while (next_item(&in, models_separator, &item))
        out_len = append_item(out, out_len, item);
    return out_len;
}

/* A block of addresses. IPv4 is kept as IPv6's ::ffff:0:0/96, so that one comparison serves both.
 */
struct block {
    unsigned char bytes[sizeof(struct in6_addr)];
    int64_t prefix_len; /* bits */
};

enum { ADDRESS_BITS = 128, MAPPED_BITS = 96 };

static const unsigned char mapped[] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF};

/* Decimal, no sign, no leading zero, at most max. */
static bool parse_prefix_len(struct span text, int64_t max, int64_t *prefix_len)
{
    return text.len > 0 && is_digit(text.at[0]) && (text.at[0] != '0' || text.len == 1) &&
           number_parse(text, prefix_len) && *prefix_len <= max;
}

static bool parse_block(struct span item, struct block *block)
{
    char text[INET6_ADDRSTRLEN] = "";
    struct span prefix_len = item, address = span_cut(&prefix_len, '/');
    if (address.len >= sizeof(text) || memchr(address.at, '\0', address.len))
        return false;
    memcpy(text, address.at, address.len);

    int64_t before = 0; /* bits that a prefix length leaves out */
    if (inet_pton(AF_INET, text, block->bytes + sizeof(mapped)) == 1) {
        memcpy(block->bytes, mapped, sizeof(mapped));
        before = MAPPED_BITS;
    } else if (inet_pton(AF_INET6, text, block->bytes) != 1) {
        return false;
    }
    block->prefix_len = ADDRESS_BITS - before;
    if (address.len < item.len &&
        !parse_prefix_len(prefix_len, ADDRESS_BITS - before, &block->prefix_len))
        return false;
    block->prefix_len += before;
    return true;
}

bool limits_normalize_ips(struct span in, char *out, size_t *out_len)
{
    struct span item;
    struct block block;
    *out_len = 0;
    while (next_item(&in, ips_separators, &item)) {
        if (!parse_block(item, &block))
            return false;
        *out_len = append_item(out, *out_len, item);
    }
    return true;
}

/* An item that ends in * stands for all that begin so. */
static bool item_has(struct span item, struct span model)
{
    if (item.len == 0 || item.at[item.len - 1] != '*')
        return span_equal(item, model);
    item.len--;
    return model.len > 0 && span_starts_with(model, item);
}

bool limits_allow_model(struct span models, struct span model)
{
    while (models.len > 0)
        if (item_has(span_cut(&models, ','), model))
            return true;
    return false;
}

/* Blocks of IPv6, such as ::/0, have no IPv4 addresses. */
static bool block_has(const struct block *block, const unsigned char *address)
{
    if (block->prefix_len < MAPPED_BITS && memcmp(address, mapped, sizeof(mapped)) == 0)
        return false;
    int64_t len = block->prefix_len / 8, bits = block->prefix_len % 8;
    if (memcmp(block->bytes, address, (size_t)len) != 0)
        return false;
    return bits == 0 || (block->bytes[len] ^ address[len]) >> (8 - bits) == 0;
}

bool limits_allow_ip(struct span ips, struct span ip)
{
    struct block address, block;
    if (!ip.at || memchr(ip.at, '/', ip.len) || !parse_block(ip, &address))
        return false;
    while (ips.len > 0)
        if (parse_block(span_cut(&ips, ','), &block) && block_has(&block, address.bytes))
            return true;
    return false;
}
