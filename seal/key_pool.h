#pragma once

#include "seal/seal.h"

/* New keys for tokens, handed out in the order of their hashes.
 *
 * The index of keys is ordered by a hash: consecutive creates of random keys would each change
 * another page of it. Keys are therefore drawn ahead, sorted by hash and handed out in that order:
 * creates that follow each other change the same pages. Each key is from the operating system's
 * random source, and nobody sees the order without the secret. */
struct key_pool;

/* A pool for one thread. seal must outlive it. NULL if there is no memory. The caller frees it.
 */
struct key_pool *key_pool_new(const struct seal *seal);

/* Wipes and frees. NULL is allowed. */
void key_pool_free(struct key_pool *pool);

/* Hands out a key; no copy of it is kept. */
void key_pool_take(struct key_pool *pool, char key[static TOKEN_KEY_LEN + 1]);
