#include "tests/unit/unit.h"

#include "fcgi/access_times.h"
#include "tests/unit/random.h"

enum { NOW = 1700000000, FRESH_S = 20 };

static struct access_times times;

static void record(int64_t token_id, int64_t accessed_unix_s, int64_t now)
{
    struct store_access used = {token_id / 2 + 10, token_id, accessed_unix_s};
    if (access_times_need(&used, now))
        access_times_add(&times, &used, now);
}

/* One that is on disk as of less than 20 s ago is left alone. */
static void test_what_is_fresh(void **state)
{
    (void)state;
    static const struct {
        int64_t age_s;
        size_t count;
    } rows[] = {{0, 0},           {1, 0},   {FRESH_S - 1, 0}, {FRESH_S, 1},
                {FRESH_S + 1, 1}, {NOW, 1}, {-5, 0} /* by another worker's clock */};
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        memset(&times, 0, sizeof(times));
        record(5, NOW - rows[i].age_s, NOW);
        require(times.count == rows[i].count, "row %zu", i);
        require(access_times_take(&times) == rows[i].count, "row %zu", i);
        if (rows[i].count == 1) {
            assert_int_equal(times.taken[0].token_id, 5);
            assert_int_equal(times.taken[0].user_id, 12);
            assert_int_equal(times.taken[0].accessed_unix_s, NOW);
        }
    }
}

/* The first time counts: it says how long something has been waiting. */
static void test_the_first_time(void **state)
{
    (void)state;
    memset(&times, 0, sizeof(times));
    record(1, 0, NOW);
    record(2, 0, NOW + 3);
    record(1, 0, NOW + 9);
    assert_int_equal(times.first_unix_s, NOW);
    assert_int_equal(access_times_take(&times), 2);
    assert_int_equal(times.taken[0].accessed_unix_s, NOW);
    assert_int_equal(times.taken[1].accessed_unix_s, NOW + 3);
    record(1, 0, NOW + 30);
    assert_int_equal(times.first_unix_s, NOW + 30);
}

/* What was taken stays while more is recorded. */
static void test_taken_and_recorded_at_once(void **state)
{
    (void)state;
    memset(&times, 0, sizeof(times));
    for (int64_t id = 1; id <= 100; id++)
        record(id, 0, NOW);
    assert_int_equal(access_times_take(&times), 100);
    for (int64_t id = 501; id <= 700; id++)
        record(id, 0, NOW + 1);
    for (int64_t id = 1; id <= 100; id++)
        assert_int_equal(times.taken[id - 1].token_id, id);
    assert_int_equal(access_times_take(&times), 200);
    assert_int_equal(times.taken[0].token_id, 501);
    assert_int_equal(times.taken[199].token_id, 700);
    assert_int_equal(access_times_take(&times), 0);
}

/* Each once, and no more than there is room for: ids that are consecutive, that all fall
 * into the same slot, that are anything. */
static void test_many(void **state)
{
    (void)state;
    struct random random = {31};
    enum { IDS = ACCESS_TIMES_MAX + 900 };
    static int64_t ids[IDS];
    for (int kind = 0; kind < 4; kind++) {
        memset(&times, 0, sizeof(times));
        for (int round = 0; round < 3; round++) {
            for (int64_t i = 0; i < IDS; i++)
                ids[i] = kind == 0   ? i + 1
                         : kind == 1 ? 1 + i * 2 * ACCESS_TIMES_MAX
                         : kind == 2 ? INT64_MAX - i
                                     : 1 + (int64_t)(random_next(&random) >> 1) % INT64_MAX;
            size_t wanted = round == 0 ? IDS : random_below(&random, ACCESS_TIMES_MAX);
            for (size_t i = 0; i < wanted; i++) {
                record(ids[i], 0, NOW);
                if (random_below(&random, 3) == 0)
                    record(ids[random_below(&random, i + 1)], 0, NOW);
            }
            size_t expected = wanted < ACCESS_TIMES_MAX ? wanted : ACCESS_TIMES_MAX;
            assert_int_equal(access_times_take(&times), expected);
            for (size_t i = 0; i < expected; i++)
                assert_int_equal(times.taken[i].token_id, ids[i]);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_fresh),
        cmocka_unit_test(test_the_first_time),
        cmocka_unit_test(test_taken_and_recorded_at_once),
        cmocka_unit_test(test_many),
    };
    return cmocka_run_group_tests_name("access times", tests, NULL, NULL);
}
