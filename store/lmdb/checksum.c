#include "store/lmdb/checksum.h"

#include "base/bytes.h"

/* As this file's own code: the program then needs no library for it. */
#define XXH_INLINE_ALL
#include <xxhash.h>

/* The context is mixed in after the hash and not given as its seed, which costs XXH3 as much
 * again. Both factors are odd, so that no two contexts of small numbers are equal. */
static uint32_t checksum(struct checksum_context context, const void *bytes, size_t len)
{
    uint64_t mixed = (uint64_t)context.a * UINT64_C(0x9E3779B97F4A7C15) + (uint64_t)context.kind;
    mixed = (mixed ^ mixed >> 32) * UINT64_C(0xD6E8FEB86659FD93) + (uint64_t)context.b;
    mixed = (mixed ^ mixed >> 32) * UINT64_C(0x9E3779B97F4A7C15);
    return (uint32_t)((XXH3_64bits(bytes, len) ^ mixed) >> 32);
}

struct checksum_context checksum_context_of(enum checksum_kind kind, struct span key)
{
    struct checksum_context context = {kind, 0, (int64_t)key.len};
    for (size_t i = 0; i < key.len; i++)
        context.a = (int64_t)((uint64_t)context.a * 31 + (unsigned char)key.at[i]);
    return context;
}

size_t checksum_put(struct checksum_context context, unsigned char *bytes, size_t len)
{
    uint32_t little = htole32(checksum(context, bytes, len));
    memcpy(bytes + len, &little, sizeof(little));
    return len + sizeof(little);
}

bool checksum_take(struct checksum_context context, struct span *value)
{
    uint32_t little;
    if (value->len < sizeof(little))
        return false;
    value->len -= sizeof(little);
    memcpy(&little, value->at + value->len, sizeof(little));
    return le32toh(little) == checksum(context, value->at, value->len);
}
