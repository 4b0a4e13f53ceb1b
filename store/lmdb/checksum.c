#include "store/lmdb/checksum.h"

#include "base/bytes.h"

/* In this file's own code: no library is needed when it runs. */
#define XXH_INLINE_ALL
#include <xxhash.h>

/* The place is mixed in after the hash and not given as its seed, which costs XXH3 as much
 * again. Both factors are odd, so that no two places of small numbers are the same. */
static uint32_t checksum(struct checksum_context place, const void *bytes, size_t len)
{
    uint64_t mixed = (uint64_t)place.a * UINT64_C(0x9E3779B97F4A7C15) + (uint64_t)place.kind;
    mixed = (mixed ^ mixed >> 32) * UINT64_C(0xD6E8FEB86659FD93) + (uint64_t)place.b;
    mixed = (mixed ^ mixed >> 32) * UINT64_C(0x9E3779B97F4A7C15);
    return (uint32_t)((XXH3_64bits(bytes, len) ^ mixed) >> 32);
}

size_t checksum_put(struct checksum_context place, unsigned char *bytes, size_t len)
{
    uint32_t little = htole32(checksum(place, bytes, len));
    memcpy(bytes + len, &little, sizeof(little));
    return len + sizeof(little);
}

bool checksum_take(struct checksum_context place, struct span *value)
{
    uint32_t little;
    if (value->len < sizeof(little))
        return false;
    value->len -= sizeof(little);
    memcpy(&little, value->at + value->len, sizeof(little));
    return le32toh(little) == checksum(place, value->at, value->len);
}
