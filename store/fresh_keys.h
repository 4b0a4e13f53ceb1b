#ifndef STORE_FRESH_KEYS_H
#define STORE_FRESH_KEYS_H

#include "store/secret.h"

/* Fresh keys, given out in the order of their hashes.
 *
 * token_by_key is ordered by the hash of the key, which is as good as random: of 1,000,000 tokens,
 * each create would change a page of its own, and mostly a branch page too. So some thousand keys
 * are drawn ahead, each from the operating system's random source, and are given out sweeping
 * through the hashes: keys that are made one after the other lie side by side in the index and
 * share its pages. Nobody sees that order without the store's secret. */
struct fresh_keys;

/* NULL where there is no memory. Fills up as keys are taken. The caller frees it; secret must live
 * as long. */
struct fresh_keys *fresh_keys_new(const struct secret *secret);

/* Wipes and frees. NULL is allowed. */
void fresh_keys_free(struct fresh_keys *keys);

/* Takes one: it is nobody else's, and no copy of it is kept. */
void fresh_keys_take(struct fresh_keys *keys, char key[static TOKEN_KEY_LEN]);

#endif
