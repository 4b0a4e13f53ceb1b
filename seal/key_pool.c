#include "seal/key_pool.h"

#include <stdlib.h>

#include "base/bytes.h"

enum {
    POOL_SIZE = 8192,
    DRAWS_A_TAKE = 2 /* until the pool is full */
};

struct drawn_key {
    uint64_t place; /* among the hashes: their first bytes */
    char key[TOKEN_KEY_LEN + 1];
};

/* A heap, the next key first. The order is a circle: a key whose place has been passed comes in the
 * next round, so that the keys of a round are about twice as many as the pool has. */
struct key_pool {
    const struct seal *seal;
    uint64_t passed; /* the place of the last key that was handed out */
    size_t count;
    struct drawn_key keys[POOL_SIZE];
    struct drawn_key swapped; /* not on a stack, where it would stay */
};

struct key_pool *key_pool_new(const struct seal *seal)
{
    struct key_pool *pool = calloc(1, sizeof(*pool));
    if (pool)
        pool->seal = seal;
    return pool;
}

void key_pool_free(struct key_pool *pool)
{
    if (pool)
        explicit_bzero(pool, sizeof(*pool));
    free(pool);
}

static bool precedes(const struct key_pool *pool, size_t a, size_t b)
{
    return pool->keys[a].place - pool->passed < pool->keys[b].place - pool->passed;
}

static void swap(struct key_pool *pool, size_t a, size_t b)
{
    pool->swapped = pool->keys[a];
    pool->keys[a] = pool->keys[b];
    pool->keys[b] = pool->swapped;
}

static void draw(struct key_pool *pool)
{
    unsigned char hash[SEAL_HASH_LEN];
    size_t at = pool->count++;
    struct drawn_key *drawn = &pool->keys[at];
    token_key_generate(drawn->key);
    seal_hash_key(pool->seal, drawn->key, hash);
    drawn->place = (uint64_t)get_big64(hash);
    for (; at > 0 && precedes(pool, at, (at - 1) / 2); at = (at - 1) / 2)
        swap(pool, at, (at - 1) / 2);
}

static void remove_first(struct key_pool *pool)
{
    pool->passed = pool->keys[0].place;
    swap(pool, 0, --pool->count);
    explicit_bzero(&pool->keys[pool->count], sizeof(pool->keys[0]));
    explicit_bzero(&pool->swapped, sizeof(pool->swapped));
    for (size_t at = 0, next; (next = 2 * at + 1) < pool->count; at = next) {
        if (next + 1 < pool->count && precedes(pool, next + 1, next))
            next++;
        if (!precedes(pool, next, at))
            break;
        swap(pool, at, next);
    }
}

void key_pool_take(struct key_pool *pool, char key[static TOKEN_KEY_LEN + 1])
{
    for (int i = 0; i < DRAWS_A_TAKE && pool->count < POOL_SIZE; i++)
        draw(pool);
    memcpy(key, pool->keys[0].key, sizeof(pool->keys[0].key));
    remove_first(pool);
}
