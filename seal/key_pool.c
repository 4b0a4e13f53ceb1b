#include "seal/key_pool.h"

#include <stdlib.h>
#include <string.h>

/* docs/performance.md: what a greater pool gains. */
enum { POOL_SIZE = 1024 };

struct drawn_key {
    unsigned char hash[SEAL_HASH_LEN];
    char key[TOKEN_KEY_LEN];
};

/* Each take draws one key into the next batch, so that no request waits for a batch to be made.
 * Until the first batch is complete keys are handed out as they are drawn. */
struct key_pool {
    const struct seal *seal;
    struct drawn_key *ready, *next; /* POOL_SIZE each */
    size_t ready_count, next_count; /* ready ones are taken from the end */
    struct drawn_key batches[2][POOL_SIZE];
};

struct key_pool *key_pool_new(const struct seal *seal)
{
    struct key_pool *pool = calloc(1, sizeof(*pool));
    if (!pool)
        return NULL;
    pool->seal = seal;
    pool->ready = pool->batches[0];
    pool->next = pool->batches[1];
    return pool;
}

void key_pool_free(struct key_pool *pool)
{
    if (pool)
        explicit_bzero(pool, sizeof(*pool));
    free(pool);
}

static int compare_hashes(const void *left, const void *right)
{
    const struct drawn_key *a = left, *b = right;
    return memcmp(b->hash, a->hash, sizeof(a->hash));
}

static void draw(struct key_pool *pool)
{
    struct drawn_key *drawn = &pool->next[pool->next_count++];
    token_key_generate(drawn->key);
    seal_hash_key(pool->seal, drawn->key, drawn->hash);
}

static void swap_batches(struct key_pool *pool)
{
    struct drawn_key *sorted = pool->next;
    qsort(sorted, POOL_SIZE, sizeof(*sorted), compare_hashes);
    pool->next = pool->ready;
    pool->next_count = 0;
    pool->ready = sorted;
    pool->ready_count = POOL_SIZE;
}

void key_pool_take(struct key_pool *pool, char key[static TOKEN_KEY_LEN])
{
    if (pool->ready_count == 0 && pool->next_count == POOL_SIZE)
        swap_batches(pool);
    draw(pool);
    if (pool->ready_count == 0) {
        token_key_generate(key);
        return;
    }
    struct drawn_key *taken = &pool->ready[--pool->ready_count];
    memcpy(key, taken->key, TOKEN_KEY_LEN);
    explicit_bzero(taken, sizeof(*taken));
}
