/* A disk that is full in the middle of a write, and a full map. */

#include "tests/unit/temporary.h"

#include <signal.h>
#include <sys/resource.h>

#include "token/patch.h"

enum { PAGE = 4096, MODELS_LEN = TOKEN_MODEL_LIMITS_LEN_MAX, ROUNDS = 64 };

/* As if no file could get longer than this. */
static void limit_files(rlim_t len)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = len < limit.rlim_max ? len : limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* There is room for a part of a page, or of a value of several: then write() writes that part and
 * fails only when it is called again. The commit is refused as by any full disk, nothing of it is
 * there, and the store goes on. */
static void test_room_for_a_part(void **state)
{
    (void)state;
    struct temporary temporary;
    char access_token[STORE_CREDENTIAL_LEN], reason[STORE_REASON_SIZE];
    int64_t id;
    uint64_t created = 0;
    temporary_create_folder(&temporary, 0);
    temporary_open(&temporary);
    temporary_add_user(&temporary, access_token);
    struct folder_file file = folder_file(&temporary.folder, "store/data.mdb");
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct stat data;
        enum store_error error;
        assert_int_equal(stat(file.path, &data), 0);
        limit_files((rlim_t)data.st_size + i % 8 * (PAGE + PAGE / 8));
        uint64_t end = created + 1000;
        while ((error = temporary_create_tokens(temporary.store, 1, 1, MODELS_LEN, 0, &id)) ==
                   STORE_OK &&
               created < end)
            created++;
        assert_int_equal(store_probe(temporary.store), STORE_FULL);
        limit_files(RLIM_INFINITY);
        assert_int_equal(error, STORE_FULL);
        assert_int_equal(store_probe(temporary.store), STORE_OK);
        assert_int_equal(store_check_health(temporary.reader, reason), STORE_OK);
        assert_false(store_is_broken(temporary.store));
        assert_int_equal(temporary_count(temporary.reader, 1), created);
        assert_int_equal(temporary_create_tokens(temporary.store, 1, 1, MODELS_LEN, 0, &id),
                         STORE_OK);
        created++;
    }
    temporary_check(&temporary);
    temporary_remove(&temporary);
}

/* The file grows in steps: the last part of a map, less than one, is no room. */
static void test_health_of_a_full_map(void **state)
{
    (void)state;
    enum { MAP_LEN = 6500 * 1024, AT_ONCE = 16 };
    struct temporary temporary;
    char access_token[STORE_CREDENTIAL_LEN], reason[STORE_REASON_SIZE];
    int64_t id;
    temporary_create_folder(&temporary, MAP_LEN);
    temporary_open(&temporary);
    temporary_add_user(&temporary, access_token);
    while (store_probe(temporary.store) == STORE_OK) {
        assert_int_equal(store_check_health(temporary.reader, reason), STORE_OK);
        enum store_error error =
            temporary_create_tokens(temporary.store, 1, AT_ONCE, MODELS_LEN, 0, &id);
        require(error == STORE_OK || error == STORE_FULL, "%s", store_error_text(error));
    }
    assert_int_equal(store_check_health(temporary.reader, reason), STORE_FULL);
    temporary_remove(&temporary);
}

int main(void)
{
    signal(SIGXFSZ, SIG_IGN);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_room_for_a_part),
                                       cmocka_unit_test(test_health_of_a_full_map)};
    return cmocka_run_group_tests_name("disk_full", tests, NULL, NULL);
}
