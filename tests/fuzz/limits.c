/* token/limits.h: the first line is an address or a model, the rest a list of them. */

#include "tests/fuzz/fuzz.h"

#include <arpa/inet.h>

#include "token/limits.h"

/* ---- addresses in another way: as numbers of 128 bits ---- */

struct range {
    unsigned __int128 low, high;
};

static bool read_range(struct span item, struct range *range)
{
    unsigned char bytes[16] = {[10] = 0xFF, [11] = 0xFF};
    int64_t prefix_len;
    char *text = strndup(item.at, item.len), *slash = strchr(text, '/');
    bool good = strlen(text) == item.len;
    if (slash)
        *slash = '\0';
    int bits = inet_pton(AF_INET, text, bytes + 12) == 1 ? 32
               : inet_pton(AF_INET6, text, bytes) == 1   ? 128
                                                         : 0;
    prefix_len = bits;
    if (slash)
        good = good && slash[1] != '-' && (slash[1] != '0' || !slash[2]) &&
               fuzz_number(span_of(slash + 1), &prefix_len) && prefix_len <= bits;
    free(text);
    range->low = 0;
    for (size_t i = 0; i < sizeof(bytes); i++)
        range->low = range->low << 8 | bytes[i];
    unsigned __int128 inside = bits == prefix_len && bits > 0 ? 0 : ~(unsigned __int128)0;
    if (inside && bits > prefix_len)
        inside =
            bits - prefix_len == 128 ? inside : ((unsigned __int128)1 << (bits - prefix_len)) - 1;
    range->low &= ~inside;
    range->high = range->low | inside;
    return good && bits > 0;
}

static bool is_separator(char c)
{
    return c == ',' || c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* The next item of a list as it was sent; false at the end. */
static bool next_item(struct span *list, struct span *item)
{
    size_t begin = 0;
    while (begin < list->len && is_separator(list->at[begin]))
        begin++;
    size_t end = begin;
    while (end < list->len && !is_separator(list->at[end]))
        end++;
    *item = (struct span){list->at + begin, end - begin};
    *list = span_from(*list, end);
    return item->len > 0;
}

static bool expected_allow(struct span list, struct span address)
{
    struct range one, range;
    struct span item;
    if (memchr(address.at, '/', address.len) || !read_range(address, &one))
        return false;
    while (next_item(&list, &item))
        if (read_range(item, &range) && one.low >= range.low && one.low <= range.high &&
            (one.low >> 32 != 0xFFFF || range.high >> 32 == range.low >> 32))
            return true;
    return false;
}

/* The first and the last address of each block, and their neighbours outside. */
static void check_edges(struct span list, struct span normalized)
{
    struct range range;
    struct span item, rest = list;
    while (next_item(&rest, &item) && read_range(item, &range)) {
        const unsigned __int128 edges[] = {range.low, range.high, range.low - 1, range.high + 1};
        for (size_t i = 0; i < COUNT_OF(edges); i++) {
            char text[INET6_ADDRSTRLEN];
            unsigned char bytes[16];
            for (size_t j = 0; j < sizeof(bytes); j++)
                bytes[j] = (unsigned char)(edges[i] >> (8 * (15 - j)));
            require(inet_ntop(AF_INET6, bytes, text, sizeof(text)), "inet_ntop");
            bool allowed = limits_allow_ip(normalized, span_of(text));
            require(allowed == expected_allow(list, span_of(text)), "%s", text);
            require(allowed || i > 1 || edges[i] >> 32 == 0xFFFF, "%s", text);
        }
    }
}

static void check_ips(struct span list, struct span address)
{
    char *out = malloc(list.len > 0 ? list.len : 1);
    size_t len = 0, again_len = 0;
    struct span item = {NULL, 0}, rest = list;
    struct range range;
    require(out, "no memory");
    bool good = true, normal = limits_normalize_ips(list, out, &len);
    while (good && next_item(&rest, &item))
        good = read_range(item, &range);
    require(normal == good, "\"%.*s\"", (int)item.len, item.at);
    if (!normal) {
        free(out);
        return;
    }
    struct span normalized = fuzz_copy((struct span){out, len});
    require(limits_normalize_ips(normalized, out, &again_len), "not the second time");
    require(span_equal(normalized, (struct span){out, again_len}), "not idempotent");
    require(len == 0 || (out[0] != ',' && out[len - 1] != ','), "an empty item");
    bool allowed = limits_allow_ip(normalized, address);
    require(allowed == expected_allow(list, address), "%.*s", (int)address.len, address.at);
    check_edges(list, normalized);
    struct span in_place = fuzz_copy(list);
    require(limits_normalize_ips(in_place, (char *)(uintptr_t)in_place.at, &again_len) &&
                span_equal(normalized, (struct span){in_place.at, again_len}),
            "in place");
    fuzz_free(in_place);
    fuzz_free(normalized);
    free(out);
}

static void check_models(struct span list, struct span model)
{
    char *out = malloc(list.len > 0 ? list.len : 1);
    require(out, "no memory");
    size_t len = limits_normalize_models(list, out);
    require(len <= list.len, "%zu bytes", len);
    struct span normalized = fuzz_copy((struct span){out, len}), rest = normalized;
    require(limits_normalize_models(normalized, out) == len &&
                span_equal(normalized, (struct span){out, len}),
            "not idempotent");
    bool in_it = false;
    while (rest.len > 0) {
        struct span item = fuzz_take(&rest, ',');
        require(item.len > 0 && limits_allow_model(normalized, item), "%.*s", (int)item.len,
                item.at);
        bool is_prefix = item.at[item.len - 1] == '*' && model.len >= item.len - 1 &&
                         model.len > 0 && memcmp(item.at, model.at, item.len - 1) == 0;
        in_it = in_it || is_prefix || span_equal(item, model);
    }
    require(limits_allow_model(normalized, model) == in_it, "%.*s", (int)model.len, model.at);
    fuzz_free(normalized);
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span rest = fuzz_input(data, size);
    struct span item = fuzz_copy(fuzz_take(&rest, '\n')), list = fuzz_copy(rest);
    check_ips(list, item);
    check_models(list, item);
    fuzz_free(list);
    fuzz_free(item);
    return 0;
}
