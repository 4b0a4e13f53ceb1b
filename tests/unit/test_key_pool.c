#include "tests/unit/temporary.h"

#include <sodium.h>

#include "seal/key_pool.h"

enum { HELD = 16384, BUCKETS = 4096 }; /* as in store/fresh_keys.c */

struct fixture {
    struct folder folder;
    struct seal *secret;
    struct key_pool *keys;
};

static int set_up(void **state)
{
    static struct fixture fixture;
    char reason[STORE_REASON_SIZE];
    fixture.folder = folder_make();
    struct folder_file path = folder_file(&fixture.folder, "secret");
    assert_true(sodium_init() >= 0);
    assert_int_equal(seal_create_file(path.path, reason), STORE_OK);
    assert_int_equal(seal_open(path.path, &fixture.secret, reason), STORE_OK);
    fixture.keys = key_pool_new(fixture.secret);
    assert_non_null(fixture.keys);
    *state = &fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    key_pool_free(fixture->keys);
    seal_close(fixture->secret);
    folder_remove(&fixture->folder);
    return 0;
}

static unsigned take_bucket(struct fixture *fixture)
{
    char key[TOKEN_KEY_LEN];
    unsigned char hash[SEAL_HASH_LEN];
    key_pool_take(fixture->keys, key);
    seal_hash_key(fixture->secret, key, hash);
    return (unsigned)(hash[0] << 8 | hash[1]) / (65536 / BUCKETS);
}

static int by_bytes(const void *a, const void *b)
{
    return memcmp(a, b, TOKEN_KEY_LEN);
}

/* While they fill up, and long after: each is a key, and each another one. */
static void test_each_is_another(void **state)
{
    struct fixture *fixture = *state;
    enum { COUNT = 5 * HELD };
    static char keys[COUNT][TOKEN_KEY_LEN];
    for (size_t i = 0; i < COUNT; i++) {
        char fenced[TOKEN_KEY_LEN + 1];
        fenced[TOKEN_KEY_LEN] = '#';
        key_pool_take(fixture->keys, fenced);
        assert_int_equal(fenced[TOKEN_KEY_LEN], '#');
        memcpy(keys[i], fenced, TOKEN_KEY_LEN);
        require(token_key_is_well_formed((struct span){keys[i], TOKEN_KEY_LEN}), "key %zu", i);
    }
    qsort(keys, COUNT, TOKEN_KEY_LEN, by_bytes);
    for (size_t i = 1; i < COUNT; i++)
        require(memcmp(keys[i - 1], keys[i], TOKEN_KEY_LEN) != 0, "%.51s twice", keys[i]);
}

/* What it is for: the hashes go up, and begin anew once in as many as are held, or less often. */
static void test_they_go_through_the_hashes(void **state)
{
    struct fixture *fixture = *state;
    size_t begun_anew = 0;
    for (size_t i = 0; i < HELD; i++) /* two are drawn for each */
        take_bucket(fixture);
    unsigned last = take_bucket(fixture);
    for (size_t i = 0; i < 10 * HELD; i++) {
        unsigned bucket = take_bucket(fixture);
        begun_anew += bucket < last;
        last = bucket;
    }
    require(begun_anew >= 1 && begun_anew <= 10, "begun anew %zu times", begun_anew);
}

/* The order leaves no part of the hashes out, or it would be guessable where the next key lies. */
static void test_every_bucket_has_its_share(void **state)
{
    struct fixture *fixture = *state;
    static unsigned counts[BUCKETS];
    memset(counts, 0, sizeof(counts));
    enum { EACH = 64 };
    for (size_t i = 0; i < (size_t)EACH * BUCKETS; i++)
        counts[take_bucket(fixture)]++;
    for (size_t i = 0; i < BUCKETS; i++) /* a Poisson count is never so far off: 8 sigma */
        require(counts[i] > 0 && counts[i] < 2 * EACH + EACH / 2, "bucket %zu: %u", i, counts[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_each_is_another, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_they_go_through_the_hashes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_every_bucket_has_its_share, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
