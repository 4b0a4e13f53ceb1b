#include "tests/unit/unit.h"

#include <unistd.h>

#include <lmdb.h>

#include "store/lmdb/ids.h"
#include "tests/unit/random.h"
#include "tests/unit/temporary.h"

/* Some users' ids in an LMDB environment of its own, beside plain sorted arrays. */

enum { USERS = 5, IDS_MAX = 12000 };

struct model {
    int64_t ids[IDS_MAX];
    size_t count;
};

struct fixture {
    struct folder folder;
    struct lmdb_store store; /* of this one database */
    struct lmdb_txn txn;
    struct model users[USERS]; /* of the user ids 1 to USERS */
    int64_t next_id;
};

static void begin(struct fixture *fixture, unsigned flags)
{
    fixture->txn = (struct lmdb_txn){.store = &fixture->store};
    assert_int_equal(mdb_txn_begin(fixture->store.env, NULL, flags, &fixture->txn.mdb), 0);
    assert_int_equal(
        mdb_dbi_open(fixture->txn.mdb, "ids",
                     (flags & MDB_RDONLY ? 0U : (unsigned)MDB_CREATE) | IDS_DATABASE_FLAGS,
                     &fixture->store.dbis[DB_IDS_BY_USER]),
        0);
}

static void commit(struct fixture *fixture)
{
    assert_int_equal(fixture->txn.base.error, STORE_OK);
    assert_int_equal(mdb_txn_commit(fixture->txn.mdb), 0);
}

static struct fixture *open_fixture(void)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    assert_non_null(fixture);
    fixture->folder = folder_make();
    fixture->next_id = 1;
    MDB_env **env = &fixture->store.env;
    assert_int_equal(mdb_env_create(env), 0);
    assert_int_equal(mdb_env_set_maxdbs(*env, 2), 0);
    assert_int_equal(mdb_env_set_mapsize(*env, (size_t)64 << 20), 0);
    assert_int_equal(mdb_env_open(*env, fixture->folder.path, MDB_NOSYNC, 0600), 0);
    begin(fixture, 0);
    return fixture;
}

static void close_fixture(struct fixture *fixture)
{
    mdb_txn_abort(fixture->txn.mdb);
    mdb_env_close(fixture->store.env);
    folder_remove(&fixture->folder);
    free(fixture);
}

static void append(struct fixture *fixture, size_t user, int64_t id)
{
    struct model *model = &fixture->users[user];
    assert_true(model->count < IDS_MAX);
    assert_int_equal(ids_append(&fixture->txn.base, DB_IDS_BY_USER, (int64_t)user + 1, id), 0);
    model->ids[model->count++] = id;
}

static void append_next(struct fixture *fixture, size_t user)
{
    append(fixture, user, fixture->next_id++);
}

static void delete_at(struct fixture *fixture, size_t user, size_t index)
{
    struct model *model = &fixture->users[user];
    assert_int_equal(
        ids_delete(&fixture->txn.base, DB_IDS_BY_USER, (int64_t)user + 1, model->ids[index]), 0);
    model->count--;
    memmove(model->ids + index, model->ids + index + 1,
            (model->count - index) * sizeof(model->ids[0]));
}

/* The id that has rank greater ones before it. */
static void check_rank(struct fixture *fixture, size_t user, uint64_t rank)
{
    const struct model *model = &fixture->users[user];
    uint64_t count = 12345;
    int64_t id = -1;
    enum store_error error =
        ids_find(&fixture->txn.base, DB_IDS_BY_USER, (int64_t)user + 1, rank, &count, &id);
    require(error == STORE_OK && count == model->count && id == model->ids[count - 1 - rank],
            "user %zu, rank %zu of %zu: %s, id %lld of %zu", user + 1, (size_t)rank, model->count,
            store_error_text(error), (long long)id, (size_t)count);
    assert_int_equal(ids_check(&fixture->txn.base, DB_IDS_BY_USER, (int64_t)user + 1, id),
                     STORE_OK);
}

static void check_count(struct fixture *fixture, size_t user)
{
    uint64_t count = 12345;
    assert_int_equal(ids_count(&fixture->txn.base, DB_IDS_BY_USER, (int64_t)user + 1, &count), 0);
    require(count == fixture->users[user].count, "user %zu: %zu ids, not %zu", user + 1,
            (size_t)count, fixture->users[user].count);
    static const uint64_t beyond[] = {0, 1, 1000000, UINT64_MAX};
    for (size_t i = 0; i < COUNT_OF(beyond); i++) {
        uint64_t rank = i < 3 ? count + beyond[i] : beyond[i], found = 12345;
        int64_t id;
        assert_int_equal(
            ids_find(&fixture->txn.base, DB_IDS_BY_USER, (int64_t)user + 1, rank, &found, &id),
            STORE_NOT_FOUND);
        assert_int_equal(found, count);
    }
}

static void check_all(struct fixture *fixture)
{
    for (size_t user = 0; user < USERS; user++) {
        check_count(fixture, user);
        for (uint64_t rank = 0; rank < fixture->users[user].count; rank++)
            check_rank(fixture, user, rank);
    }
}

/* In the transaction that wrote it, and in one that reads it. */
static void check_all_and_on_disk(struct fixture *fixture)
{
    check_all(fixture);
    commit(fixture);
    begin(fixture, MDB_RDONLY);
    check_all(fixture);
    commit(fixture);
    begin(fixture, 0);
}

/* Around what one page holds of ids, one after another and in halves. */
static const size_t sizes[] = {
    0,   1,   2,   3,   4,    5,    10,   100,  126,  127,  128,  129,  200,  240,  250, 252, 253,
    254, 255, 256, 257, 258,  300,  400,  500,  504,  505,  506,  507,  508,  509,  510, 511, 512,
    513, 600, 764, 765, 1014, 1016, 1018, 1020, 1022, 1024, 1100, 1530, 2040, 2050, 3000};

/* A user of each size, between neighbours that must not show. */
static void test_sizes(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        struct fixture *fixture = open_fixture();
        for (size_t n = 0; n < sizes[i]; n++) {
            append_next(fixture, 2);
            if (n % 3 == 0)
                append_next(fixture, 1);
            if (n % 7 == 0)
                append_next(fixture, 3);
        }
        append_next(fixture, 1);
        append_next(fixture, 3);
        check_all_and_on_disk(fixture);
        close_fixture(fixture);
    }
}

/* One by one upwards, then down again from either end and from the middle. */
static void test_each_size_up_and_down(void **state)
{
    (void)state;
    enum { MOST = 1100 };
    for (int way = 0; way < 3; way++) {
        struct fixture *fixture = open_fixture();
        append_next(fixture, 0);
        append_next(fixture, 4);
        for (size_t n = 0; n < MOST; n++) {
            append_next(fixture, 2);
            check_count(fixture, 2);
            check_rank(fixture, 2, 0);
            check_rank(fixture, 2, n);
            check_rank(fixture, 2, n / 2);
            check_rank(fixture, 2, n * 3 / 4);
        }
        check_all_and_on_disk(fixture);
        while (fixture->users[2].count > 0) {
            size_t count = fixture->users[2].count;
            delete_at(fixture, 2, way == 0 ? 0 : way == 1 ? count - 1 : count / 2);
            check_count(fixture, 2);
            if (count % 50 == 0 || count < 10)
                check_all(fixture);
        }
        check_all_and_on_disk(fixture);
        append_next(fixture, 2);
        check_all_and_on_disk(fixture);
        close_fixture(fixture);
    }
}

/* Ids whose bytes, read in the wrong order, would sort otherwise. */
static void test_large_ids(void **state)
{
    (void)state;
    struct fixture *fixture = open_fixture();
    for (int bit = 0; bit < 63; bit++) {
        int64_t power = INT64_C(1) << bit;
        if (bit > 1)
            append(fixture, 1, power - 1);
        append(fixture, 1, power);
    }
    append(fixture, 1, INT64_MAX);
    check_all_and_on_disk(fixture);
    for (int64_t id = 1; id <= 2000; id++)
        append(fixture, 2, id * 255);
    check_all_and_on_disk(fixture);
    close_fixture(fixture);
}

static void test_random_changes(void **state)
{
    (void)state;
    struct random random = {99};
    for (int round = 0; round < 3; round++) {
        struct fixture *fixture = open_fixture();
        for (int step = 0; step < 400; step++) {
            size_t user = random_below(&random, USERS);
            struct model *model = &fixture->users[user];
            size_t changes = 1 + random_below(&random, 60);
            size_t kind = random_below(&random, 8);
            for (size_t i = 0; i < changes; i++) {
                if (kind < 5 && model->count < IDS_MAX)
                    append_next(fixture, user);
                else if (model->count > 0) /* anywhere, from the start, from the end */
                    delete_at(fixture, user,
                              kind == 5   ? random_below(&random, model->count)
                              : kind == 6 ? 0
                                          : model->count - 1);
            }
            for (size_t other = 0; other < USERS; other++) {
                check_count(fixture, other);
                for (int i = 0; i < 5 && fixture->users[other].count > 0; i++)
                    check_rank(fixture, other, random_below(&random, fixture->users[other].count));
            }
            if (step % 40 == 39)
                check_all_and_on_disk(fixture);
        }
        close_fixture(fixture);
    }
}

/* All of a long list, in random order, down to none. */
static void test_random_deletes_of_many(void **state)
{
    (void)state;
    struct random random = {7};
    struct fixture *fixture = open_fixture();
    for (int i = 0; i < 10000; i++)
        append_next(fixture, 1);
    check_all_and_on_disk(fixture);
    while (fixture->users[1].count > 0) {
        delete_at(fixture, 1, random_below(&random, fixture->users[1].count));
        size_t count = fixture->users[1].count;
        if (count > 0)
            check_rank(fixture, 1, random_below(&random, count));
        if (count % 1500 == 0 || count == 400)
            check_all_and_on_disk(fixture);
    }
    check_all_and_on_disk(fixture);
    close_fixture(fixture);
}

static void test_refusals(void **state)
{
    (void)state;
    struct fixture *fixture = open_fixture();
    static const size_t counts[] = {1, 2, 300, 1500};
    assert_int_equal(ids_delete(&fixture->txn.base, DB_IDS_BY_USER, 2, 1), STORE_NOT_FOUND);
    assert_int_equal(ids_check(&fixture->txn.base, DB_IDS_BY_USER, 2, 1), STORE_NOT_FOUND);
    for (size_t i = 0; i < COUNT_OF(counts); i++) {
        while (fixture->users[1].count < counts[i]) {
            fixture->next_id += 2;
            append_next(fixture, 1);
        }
        int64_t last = fixture->users[1].ids[counts[i] - 1];
        static const int64_t others[] = {-1, 1};
        for (size_t n = 0; n < COUNT_OF(others); n++) {
            assert_int_equal(ids_delete(&fixture->txn.base, DB_IDS_BY_USER, 2, last + others[n]),
                             STORE_NOT_FOUND);
            assert_int_equal(ids_check(&fixture->txn.base, DB_IDS_BY_USER, 2, last + others[n]),
                             STORE_NOT_FOUND);
        }
        assert_int_equal(ids_delete(&fixture->txn.base, DB_IDS_BY_USER, 1, last), STORE_NOT_FOUND);
        check_all_and_on_disk(fixture);
    }
    /* An id that is not greater than all is a failure, which the transaction keeps. */
    int64_t last = fixture->users[1].ids[fixture->users[1].count - 1];
    for (int64_t less = 0; less < 2; less++) {
        assert_int_equal(ids_append(&fixture->txn.base, DB_IDS_BY_USER, 2, last - less),
                         STORE_CORRUPT);
        assert_int_equal(fixture->txn.base.error, STORE_CORRUPT);
        assert_int_equal(ids_append(&fixture->txn.base, DB_IDS_BY_USER, 2, last + 1),
                         STORE_CORRUPT);
        fixture->txn.base.error = STORE_OK;
    }
    check_all_and_on_disk(fixture);
    close_fixture(fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_each_size_up_and_down),
        cmocka_unit_test(test_large_ids),
        cmocka_unit_test(test_random_changes),
        cmocka_unit_test(test_random_deletes_of_many),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests_name("ids", tests, NULL, NULL);
}
