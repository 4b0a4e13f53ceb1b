#pragma once

#include <stddef.h>
#include <stdint.h>

/* Numbers for random tests, the same in each run: xorshift64* with a fixed seed. */
struct random {
    uint64_t state; /* not 0 */
};

static inline uint64_t random_next(struct random *random)
{
    random->state ^= random->state >> 12;
    random->state ^= random->state << 25;
    random->state ^= random->state >> 27;
    return random->state * UINT64_C(2685821657736338717);
}

/* A number from 0 to below - 1. */
static inline size_t random_below(struct random *random, size_t below)
{
    return (size_t)((random_next(random) >> 11) % below);
}

static inline void random_bytes(struct random *random, void *bytes, size_t len)
{
    unsigned char *at = bytes;
    for (size_t i = 0; i < len; i++)
        at[i] = (unsigned char)(random_next(random) >> 56);
}
