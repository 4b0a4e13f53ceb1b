#include "seal/key_pool.h"

#include <stdlib.h>
#include <string.h>

/* Measured in docs/performance.md: the more, the more keys of a commit share a page. 0.9 MiB of
 * each loop's memory. */
enum {
    KEY_COUNT_MAX = 16384,
    BUCKET_BITS = 12,
    BUCKET_COUNT = 1 << BUCKET_BITS,
    DRAWS_A_TAKE = 2, /* until all are there: then as many as are taken */
    NONE = UINT16_MAX
};

struct fresh_key {
    char key[TOKEN_KEY_LEN];
    uint16_t next; /* in its bucket, or among the unused ones */
};

struct key_pool {
    const struct seal *secret;
    size_t count;
    unsigned bucket; /* that keys are taken from, until it is empty */
    uint16_t unused;
    uint16_t first[BUCKET_COUNT]; /* each bucket's */
    struct fresh_key keys[KEY_COUNT_MAX];
};

struct key_pool *key_pool_new(const struct seal *secret)
{
    struct key_pool *keys = malloc(sizeof(*keys));
    if (!keys)
        return NULL;
    keys->secret = secret;
    keys->count = 0;
    keys->bucket = 0;
    keys->unused = NONE;
    for (size_t i = 0; i < BUCKET_COUNT; i++)
        keys->first[i] = NONE;
    return keys;
}

void key_pool_free(struct key_pool *keys)
{
    if (keys)
        explicit_bzero(keys, sizeof(*keys));
    free(keys);
}

/* While not all slots have been used, those behind count are free; later a taken key leaves one. */
static uint16_t free_slot(struct key_pool *keys)
{
    uint16_t slot = keys->unused;
    if (slot == NONE)
        return (uint16_t)keys->count;
    keys->unused = keys->keys[slot].next;
    return slot;
}

static void draw(struct key_pool *keys)
{
    unsigned char hash[SEAL_HASH_LEN];
    uint16_t slot = free_slot(keys);
    struct fresh_key *fresh = &keys->keys[slot];
    token_key_generate(fresh->key);
    seal_hash_key(keys->secret, fresh->key, hash);
    uint16_t *first = &keys->first[(hash[0] << 8 | hash[1]) >> (16 - BUCKET_BITS)];
    fresh->next = *first;
    *first = slot;
    keys->count++;
}

void key_pool_take(struct key_pool *keys, char key[static TOKEN_KEY_LEN])
{
    for (int i = 0; i < DRAWS_A_TAKE && keys->count < KEY_COUNT_MAX; i++)
        draw(keys);
    while (keys->first[keys->bucket] == NONE)
        keys->bucket = (keys->bucket + 1) % BUCKET_COUNT;
    uint16_t slot = keys->first[keys->bucket];
    struct fresh_key *fresh = &keys->keys[slot];
    keys->first[keys->bucket] = fresh->next;
    memcpy(key, fresh->key, TOKEN_KEY_LEN);
    explicit_bzero(fresh->key, sizeof(fresh->key));
    fresh->next = keys->unused;
    keys->unused = slot;
    keys->count--;
}
