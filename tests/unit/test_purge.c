/* What is left in LMDB's databases after expired records have been purged. */

#include "tests/unit/fake_clock.h"
#include "tests/unit/raw.h"

#include <signal.h>
#include <sys/resource.h>

#include "store/lmdb/record.h"

enum { DAY_S = 24 * 3600 };

static void purge(struct temporary *temporary, int64_t now_s, size_t calls)
{
    fake_clocks(now_s);
    temporary_open(temporary);
    for (size_t i = 0; i < calls; i++) {
        bool more;
        assert_int_equal(store_purge(temporary->store, &more), STORE_OK);
        assert_int_equal(more, i + 1 < calls);
    }
    temporary_check(temporary);
    temporary_close(temporary);
}

static size_t count_entries(const struct temporary *temporary, const char *database)
{
    struct raw raw;
    MDB_dbi dbi;
    MDB_stat stat;
    raw_open(&raw, temporary);
    assert_int_equal(mdb_dbi_open(raw.txn, database, 0, &dbi), 0);
    assert_int_equal(mdb_stat(raw.txn, dbi, &stat), 0);
    raw_commit(&raw);
    return stat.ms_entries;
}

/* ---- reservations ---- */

static void put_reservations(const struct temporary *temporary, const int64_t *made_s, size_t count)
{
    struct raw raw;
    MDB_dbi by_user;
    raw_open(&raw, temporary);
    assert_int_equal(mdb_dbi_open(raw.txn, "reservations_by_user", 0, &by_user), 0);
    raw_put(&raw, raw.meta, raw_text("next_reservation_id"),
            raw_meta("next_reservation_id", (int64_t)count + 1));
    for (size_t i = 0; i < count; i++) {
        struct record_reservation reservation = {.created_s = made_s[i], .due_s = made_s[i] + 600};
        struct raw_bytes record;
        record.len = record_encode_reservation((int64_t)i + 1, &reservation, record.at);
        raw_put(&raw, raw.reservations, raw_user_key((int64_t)i + 1), record);
        int64_t id = (int64_t)i + 1;
        raw_put(&raw, by_user, raw_user_key(0), raw_bytes(&id, sizeof(id)));
        raw_put_entry(&raw, raw.reservations_by_token, raw_three_ids_key(0, made_s[i] + 600, id));
    }
    raw_commit(&raw);
}

static void test_reservations(void **state)
{
    (void)state;
    static const int64_t made[] = {5000, 5000, 5001, 5002};
    static const struct {
        int64_t now_s;
        size_t left;
    } rows[] = {{5600 + DAY_S - 1, 4}, {5600 + DAY_S, 2}, {5602 + DAY_S, 0}};
    struct temporary temporary;
    fake_clocks(5000);
    temporary_create_folder(&temporary, 0);
    put_reservations(&temporary, made, COUNT_OF(made));
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        purge(&temporary, rows[i].now_s, 1);
        size_t left = count_entries(&temporary, "reservations");
        require(left == rows[i].left, "row %zu: %zu", i, left);
    }
    temporary_remove(&temporary);
}

/* In several transactions, of a bounded number each. */
static void test_many_reservations(void **state)
{
    (void)state;
    enum { MANY = 2500 };
    static int64_t made[MANY];
    struct temporary temporary;
    for (size_t i = 0; i < MANY; i++)
        made[i] = 5000 + (int64_t)i;
    fake_clocks(5000);
    temporary_create_folder(&temporary, 0);
    put_reservations(&temporary, made, MANY);
    purge(&temporary, 5600 + DAY_S + 99, 1);
    assert_int_equal(count_entries(&temporary, "reservations"), MANY - 100);
    purge(&temporary, 5600 + 2 * DAY_S, 3);
    assert_int_equal(count_entries(&temporary, "reservations"), 0);
    temporary_remove(&temporary);
}

/* ---- idempotency records ---- */

static struct span render(struct store_write *write)
{
    (void)write;
    return SPAN("answer");
}

static struct span render_context(struct store_write *write)
{
    return *(struct span *)write->context;
}

/* To the second; users' and those that count for none. */
static void test_idempotency_records(void **state)
{
    (void)state;
    enum { EACH = 1250, START = 5000 };
    struct temporary temporary;
    char access_token[STORE_CREDENTIAL_LEN];
    fake_clocks(START);
    temporary_create_folder(&temporary, 0);
    temporary_open(&temporary);
    int64_t user_id = temporary_add_user(&temporary, access_token);
    static struct store_write writes[2][EACH];
    for (int64_t when = 0; when < 2; when++) {
        for (int64_t i = 0; i < EACH; i++) {
            struct store_write *write = &writes[when][i];
            int64_t number = when * EACH + i;
            *write = (struct store_write){.kind = STORE_DELETE, .user_id = user_id};
            struct span key = {(const char *)&number, sizeof(number)};
            store_idempotency_init(&write->idempotency, SPAN("scope"), key, SPAN("r"), render);
            write->idempotency.user_id = i % 2 ? i % 7 + 1 : 0;
        }
        fake_clocks(START + 60 * when);
        assert_int_equal(temporary_commit(temporary.store, writes[when], EACH), STORE_OK);
    }
    temporary_close(&temporary);
    purge(&temporary, START + DAY_S - 1, 1);
    assert_int_equal(count_entries(&temporary, "answers"), 2 * EACH);
    purge(&temporary, START + DAY_S + 59, 2);
    assert_int_equal(count_entries(&temporary, "answers"), EACH);
    purge(&temporary, START + DAY_S + 60, 2);
    assert_int_equal(count_entries(&temporary, "answers"), 0);
    assert_int_equal(count_entries(&temporary, "answers_by_user"), 0);
    temporary_remove(&temporary);
}

/* ---- where there is no room ---- */

/* Answers until the store is full. Returns how many. */
static int64_t fill(struct temporary *temporary, int64_t first)
{
    static char bytes[2000];
    enum store_error error = STORE_OK;
    int64_t number = first;
    size_t len = sizeof(bytes);
    while (error == STORE_OK || len > 100) {
        struct store_write write = {.kind = STORE_DELETE, .user_id = 1};
        len = error == STORE_OK ? len : len / 10; /* smaller and smaller */
        struct span key = {(const char *)&number, sizeof(number)};
        store_idempotency_init(&write.idempotency, SPAN("scope"), key, SPAN("r"), render_context);
        write.context = &(struct span){bytes, len};
        error = store_write(temporary->store, &write);
        number += error == STORE_OK;
    }
    assert_int_equal(error, STORE_FULL);
    return number - first;
}

static void limit_files(rlim_t len)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = len < limit.rlim_max ? len : limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* On a full map and on a full disk: what has expired is purged, and tokens can be deleted. */
static void test_no_room(void **state)
{
    (void)state;
    for (int disk = 0; disk < 2; disk++) {
        struct temporary temporary;
        char access_token[STORE_CREDENTIAL_LEN];
        int64_t id, now = 5000;
        fake_clocks(now);
        temporary_create_folder(&temporary, disk ? 0 : 4 << 20);
        temporary_open(&temporary);
        temporary_add_user(&temporary, access_token);
        assert_int_equal(temporary_create_tokens(temporary.store, 1, 100, 5000, 0, &id), STORE_OK);
        if (disk)
            limit_files(4 << 20);
        for (int round = 0; round < 4; round++) {
            bool more = true;
            int64_t ids[] = {id++};
            struct store_write delete = {
                .kind = STORE_DELETE, .user_id = 1, .delete = {.ids = ids, .id_count = 1}};
            int64_t count = fill(&temporary, now);
            require(count > 10, "round %d: %d", round, (int)count);
            assert_int_equal(temporary_create_tokens(temporary.store, 1, 1, 5000, 0, &(int64_t){0}),
                             STORE_FULL);
            assert_int_equal(store_write(temporary.store, &delete), STORE_OK);
            assert_int_equal(delete.delete.deleted_count, 1);
            now += DAY_S;
            fake_clocks(now);
            while (more)
                assert_int_equal(store_purge(temporary.store, &more), STORE_OK);
        }
        assert_int_equal(store_user_delete(temporary.store, 1), STORE_OK);
        limit_files(RLIM_INFINITY);
        temporary_check(&temporary);
        temporary_close(&temporary);
        assert_int_equal(count_entries(&temporary, "answers"), 0);
        temporary_remove(&temporary);
    }
}

/* Lists of ids that were long keep a page each, however short they get: that is no room for others,
 * or deletes would have none. */
static void test_no_room_beside_short_lists(void **state)
{
    (void)state;
    enum { USERS = 60, TOKENS = 300 };
    static int64_t ids[TOKENS];
    struct temporary temporary;
    char access_token[STORE_CREDENTIAL_LEN];
    int64_t id;
    temporary_create_folder(&temporary, 4 << 20);
    temporary_open(&temporary);
    for (int64_t user = 1; user <= USERS; user++) {
        temporary_add_user(&temporary, access_token);
        assert_int_equal(temporary_create_tokens(temporary.store, user, TOKENS, 0, 0, &id),
                         STORE_OK);
        for (int64_t i = 0; i < TOKENS; i++)
            ids[i] = id + i;
        struct store_write delete = {
            .kind = STORE_DELETE, .user_id = user, .delete = {.ids = ids, .id_count = TOKENS - 1}};
        assert_int_equal(store_write(temporary.store, &delete), STORE_OK);
        assert_int_equal(delete.delete.deleted_count, TOKENS - 1);
    }
    for (int len = 3000; len >= 0; len -= 1500)
        while (temporary_create_tokens(temporary.store, 1, 1, (size_t)len, 0, &id) == STORE_OK)
            ;
    for (int64_t user = 2; user <= USERS; user++)
        assert_int_equal(store_user_delete(temporary.store, user), STORE_OK);
    temporary_check(&temporary);
    temporary_remove(&temporary);
}

int main(void)
{
    signal(SIGXFSZ, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reservations),
        cmocka_unit_test(test_many_reservations),
        cmocka_unit_test(test_idempotency_records),
        cmocka_unit_test(test_no_room),
        cmocka_unit_test(test_no_room_beside_short_lists),
    };
    return cmocka_run_group_tests_name("purge", tests, NULL, NULL);
}
