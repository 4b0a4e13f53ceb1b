#ifndef SEAL_KEY_POOL_H
#define SEAL_KEY_POOL_H

#include "seal/seal.h"

/* Fresh keys, given out in the order of their hashes.
 *
 * token_by_key is ordered by the hash of the key, which is as good as random: of 1,000,000 tokens,
 * each create would change a page of its own, and mostly a branch page too. So some thousand keys
 * are drawn ahead, each from the operating system's random source, and are given out sweeping
 * through the hashes: keys that are made one after the other lie side by side in the index and
 * share its pages. Nobody sees that order without the store's secret. */
struct key_pool;

/* NULL where there is no memory. Fills up as keys are taken. The caller frees it; secret must live
 * as long. */
struct key_pool *key_pool_new(const struct seal *secret);

/* Wipes and frees. NULL is allowed. */
void key_pool_free(struct key_pool *keys);

/* Takes one: it is nobody else's, and no copy of it is kept. */
void key_pool_take(struct key_pool *keys, char key[static TOKEN_KEY_LEN]);

#endif
