#include "tests/unit/temporary.h"

#include <malloc.h>

#include <sodium.h>

#include "seal/key_pool.h"

enum { POOL_SIZE = 8192 }; /* of seal/key_pool.c */

struct fixture {
    struct folder folder;
    struct seal *seal;
    struct key_pool *pool;
};

static int set_up(void **state)
{
    static struct fixture fixture;
    char reason[STORE_REASON_SIZE];
    fixture.folder = folder_make();
    struct folder_file path = folder_file(&fixture.folder, "secret");
    assert_true(sodium_init() >= 0);
    assert_true(seal_create_file(path.path, reason, sizeof(reason)));
    assert_true(seal_open(path.path, &fixture.seal, reason, sizeof(reason)));
    fixture.pool = key_pool_new(fixture.seal);
    assert_non_null(fixture.pool);
    *state = &fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    key_pool_free(fixture->pool);
    key_pool_free(NULL);
    seal_close(fixture->seal);
    folder_remove(&fixture->folder);
    return 0;
}

static int compare_keys(const void *a, const void *b)
{
    return memcmp(a, b, TOKEN_KEY_LEN);
}

/* Over several rounds: each is a key, and none is handed out twice. */
static void test_each_is_another(void **state)
{
    struct fixture *fixture = *state;
    enum { COUNT = 5 * POOL_SIZE + 7 };
    static char keys[COUNT][TOKEN_KEY_LEN + 1];
    for (size_t i = 0; i < COUNT; i++) {
        char fenced[TOKEN_KEY_LEN + 2];
        fenced[TOKEN_KEY_LEN + 1] = '#';
        key_pool_take(fixture->pool, fenced);
        assert_int_equal(fenced[TOKEN_KEY_LEN + 1], '#');
        memcpy(keys[i], fenced, TOKEN_KEY_LEN + 1);
        require(token_key_form((struct span){keys[i], TOKEN_KEY_LEN}) == TOKEN_KEY_OWN, "key %zu",
                i);
    }
    qsort(keys, COUNT, TOKEN_KEY_LEN, compare_keys);
    for (size_t i = 1; i < COUNT; i++)
        require(memcmp(keys[i - 1], keys[i], TOKEN_KEY_LEN) != 0, "%.51s twice", keys[i]);
}

static void take_hash(struct fixture *fixture, unsigned char hash[static SEAL_HASH_LEN])
{
    char key[TOKEN_KEY_LEN + 1];
    key_pool_take(fixture->pool, key);
    seal_hash_key(fixture->seal, key, hash);
}

/* How often a key has a smaller hash than the one before it. */
static size_t count_descents(struct fixture *fixture, size_t takes)
{
    unsigned char last[SEAL_HASH_LEN] = {0}, hash[SEAL_HASH_LEN];
    size_t descents = 0;
    for (size_t i = 0; i < takes; i++) {
        take_hash(fixture, hash);
        descents += memcmp(hash, last, sizeof(hash)) < 0;
        memcpy(last, hash, sizeof(hash));
    }
    return descents;
}

/* They go up by hash, and around: soon in long rounds, in the end in rounds of about twice the
 * pool's size. */
static void test_keys_come_in_order(void **state)
{
    struct fixture *fixture = *state;
    size_t descents = count_descents(fixture, 3 * POOL_SIZE);
    require(descents < 32, "%zu rounds while the pool fills", descents);
    descents = count_descents(fixture, 10 * POOL_SIZE);
    require(descents >= 4 && descents <= 6, "%zu rounds", descents);
}

/* Each part of the hashes has its share of each round: the order gives no key away. */
static void test_hashes_are_spread(void **state)
{
    struct fixture *fixture = *state;
    enum { PARTS = 256, EACH = 400 };
    static unsigned counts[PARTS];
    unsigned char hash[SEAL_HASH_LEN];
    memset(counts, 0, sizeof(counts));
    for (size_t i = 0; i < PARTS * EACH; i++) {
        take_hash(fixture, hash);
        counts[hash[0]]++;
    }
    for (size_t i = 0; i < PARTS; i++) /* 10 sigma */
        require(counts[i] > EACH / 2 && counts[i] < EACH + EACH / 2, "part %zu: %u", i, counts[i]);
}

/* What has been handed out is no longer in the pool's memory. */
static void test_taken_keys_are_wiped(void **state)
{
    struct fixture *fixture = *state;
    size_t size = malloc_usable_size(fixture->pool);
    char key[TOKEN_KEY_LEN + 1];
    assert_non_null(memmem(fixture->pool, size, &fixture->seal, sizeof(fixture->seal)));
    for (size_t i = 0; i < 3 * POOL_SIZE; i++) {
        key_pool_take(fixture->pool, key);
        if (i % 61 == 0 || i < 3)
            require(!memmem(fixture->pool, size, key + TOKEN_KEY_PREFIX_LEN, 16), "key %zu", i);
    }
    assert_non_null(memmem(fixture->pool, size, "sk-", TOKEN_KEY_PREFIX_LEN)); /* those to come */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_each_is_another, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_keys_come_in_order, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_hashes_are_spread, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_taken_keys_are_wiped, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("key_pool", tests, NULL, NULL);
}
