#include "token/limits.h"

#include <arpa/inet.h>

#include "base/text.h"

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* Takes the next item off the front of *list. Commas separate items, and blanks too with
 * blanks_separate. Returns false at the end. */
static bool next_item(struct span *list, bool blanks_separate, struct span *item)
{
    while (list->len > 0) {
        size_t len = 0;
        while (len < list->len && list->at[len] != ',' &&
               !(blanks_separate && is_blank(list->at[len])))
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
    while (next_item(&in, false, &item))
        out_len = append_item(out, out_len, item);
    return out_len;
}

/* A block of addresses. IPv4 is kept as IPv6's ::ffff:0:0/96, so that one comparison serves both.
 */
struct block {
    unsigned char bytes[sizeof(struct in6_addr)];
    unsigned prefix_len; /* bits */
};

enum { ADDRESS_BITS = 128, MAPPED_BITS = 96 };

/* Decimal, no sign, no leading zero, at most max. */
static bool parse_prefix_len(struct span text, unsigned max, unsigned *prefix_len)
{
    if (text.len == 0 || text.len > 3 || (text.len > 1 && text.at[0] == '0'))
        return false;
    *prefix_len = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (text.at[i] < '0' || text.at[i] > '9')
            return false;
        *prefix_len = *prefix_len * 10 + (unsigned)(text.at[i] - '0');
    }
    return *prefix_len <= max;
}

static bool parse_block(struct span item, struct block *block)
{
    static const unsigned char mapped[] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF};
    char address[INET6_ADDRSTRLEN];
    size_t address_len = 0;
    while (address_len < item.len && item.at[address_len] != '/')
        address_len++;
    if (address_len >= sizeof(address) || memchr(item.at, '\0', address_len))
        return false;
    memcpy(address, item.at, address_len);
    address[address_len] = '\0';

    unsigned before = 0; /* bits that a prefix length leaves out */
    if (inet_pton(AF_INET, address, block->bytes + sizeof(mapped)) == 1) {
        memcpy(block->bytes, mapped, sizeof(mapped));
        before = MAPPED_BITS;
    } else if (inet_pton(AF_INET6, address, block->bytes) != 1) {
        return false;
    }
    block->prefix_len = ADDRESS_BITS - before;
    if (address_len < item.len && !parse_prefix_len(span_from(item, address_len + 1),
                                                    ADDRESS_BITS - before, &block->prefix_len))
        return false;
    block->prefix_len += before;
    return true;
}

bool limits_normalize_ips(struct span in, char *out, size_t *out_len)
{
    struct span item;
    struct block block;
    *out_len = 0;
    while (next_item(&in, true, &item)) {
        if (!parse_block(item, &block))
            return false;
        *out_len = append_item(out, *out_len, item);
    }
    return true;
}

bool limits_allow_model(struct span models, struct span model)
{
    struct span item;
    while (next_item(&models, false, &item))
        if (span_equal(item, model))
            return true;
    return false;
}

static bool block_has(const struct block *block, const unsigned char *address)
{
    unsigned len = block->prefix_len / 8, bits = block->prefix_len % 8;
    if (memcmp(block->bytes, address, len) != 0)
        return false;
    return bits == 0 || (block->bytes[len] ^ address[len]) >> (8 - bits) == 0;
}

bool limits_allow_ip(struct span ips, struct span ip)
{
    struct block address, block;
    struct span item;
    if (!ip.at || memchr(ip.at, '/', ip.len) || !parse_block(ip, &address))
        return false;
    while (next_item(&ips, true, &item))
        if (parse_block(item, &block) && block_has(&block, address.bytes))
            return true;
    return false;
}
