#include "tests/unit/temporary.h"

#include <malloc.h>

#include <sodium.h>

#include "seal/key_pool.h"

enum { BATCH = 1024 }; /* POOL_SIZE of seal/key_pool.c */

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

/* Over several batches: each is a key, and none is handed out twice. */
static void test_each_is_another(void **state)
{
    struct fixture *fixture = *state;
    enum { COUNT = 20 * BATCH + 7 };
    static char keys[COUNT][TOKEN_KEY_LEN];
    for (size_t i = 0; i < COUNT; i++) {
        char fenced[TOKEN_KEY_LEN + 1];
        fenced[TOKEN_KEY_LEN] = '#';
        key_pool_take(fixture->pool, fenced);
        assert_int_equal(fenced[TOKEN_KEY_LEN], '#');
        memcpy(keys[i], fenced, TOKEN_KEY_LEN);
        require(token_key_is_well_formed((struct span){keys[i], TOKEN_KEY_LEN}), "key %zu", i);
    }
    qsort(keys, COUNT, TOKEN_KEY_LEN, compare_keys);
    for (size_t i = 1; i < COUNT; i++)
        require(memcmp(keys[i - 1], keys[i], TOKEN_KEY_LEN) != 0, "%.51s twice", keys[i]);
}

static void take_hash(struct fixture *fixture, unsigned char hash[static SEAL_HASH_LEN])
{
    char key[TOKEN_KEY_LEN];
    key_pool_take(fixture->pool, key);
    seal_hash_key(fixture->seal, key, hash);
}

/* After the first batch, in which they come as drawn, each batch goes up by hash. */
static void test_each_batch_is_sorted(void **state)
{
    struct fixture *fixture = *state;
    unsigned char last[SEAL_HASH_LEN], hash[SEAL_HASH_LEN];
    size_t descents = 0;
    for (size_t i = 0; i < BATCH; i++) {
        take_hash(fixture, hash);
        descents += i > 0 && memcmp(hash, last, sizeof(hash)) < 0;
        memcpy(last, hash, sizeof(hash));
    }
    assert_true(descents > BATCH / 4);
    for (size_t batch = 0; batch < 10; batch++)
        for (size_t i = 0; i < BATCH; i++) {
            take_hash(fixture, hash);
            require(i == 0 || memcmp(hash, last, sizeof(hash)) > 0, "key %zu of batch %zu", i,
                    batch);
            memcpy(last, hash, sizeof(hash));
        }
}

/* Each part of the hashes has its share of each batch: the order gives no key away. */
static void test_hashes_are_spread(void **state)
{
    struct fixture *fixture = *state;
    enum { PARTS = 256, EACH = 400 };
    static unsigned counts[PARTS];
    unsigned char hash[SEAL_HASH_LEN];
    memset(counts, 0, sizeof(counts));
    for (size_t i = 0; i < PARTS * EACH / BATCH * BATCH; i++) {
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
    char key[TOKEN_KEY_LEN];
    assert_non_null(memmem(fixture->pool, size, &fixture->seal, sizeof(fixture->seal)));
    for (size_t i = 0; i < 3 * BATCH; i++) {
        key_pool_take(fixture->pool, key);
        if (i % 61 == 0 || i % BATCH < 3)
            require(!memmem(fixture->pool, size, key + TOKEN_KEY_PREFIX_LEN, 16), "key %zu", i);
    }
    assert_non_null(memmem(fixture->pool, size, "sk-", TOKEN_KEY_PREFIX_LEN)); /* those to come */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_each_is_another, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_each_batch_is_sorted, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_hashes_are_spread, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_taken_keys_are_wiped, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("key_pool", tests, NULL, NULL);
}
