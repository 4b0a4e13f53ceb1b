/* What is left in LMDB's databases after expired records have been purged. */

#include "tests/unit/raw.h"

#include "store/lmdb/record.h"

enum { DAY_S = 24 * 3600 };

static void purge(struct temporary *temporary, int64_t now_unix_s, size_t calls)
{
    temporary_open(temporary);
    for (size_t i = 0; i < calls; i++) {
        struct store_write write = {.kind = STORE_PURGE, .now_unix_s = now_unix_s};
        assert_int_equal(store_write(temporary->store, &write), STORE_OK);
        assert_int_equal(write.purge.more, i + 1 < calls);
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

static void put_reservations(const struct temporary *temporary, const int64_t *made_unix_s,
                             size_t count)
{
    struct raw raw;
    raw_open(&raw, temporary);
    raw_put(&raw, raw.meta, raw_text("next_reservation_id"),
            raw_meta("next_reservation_id", (int64_t)count + 1));
    for (size_t i = 0; i < count; i++) {
        struct record_reservation reservation = {.created_unix_s = made_unix_s[i],
                                                 .due_unix_s = made_unix_s[i] + 600};
        struct raw_bytes record;
        record.len = record_encode_reservation((int64_t)i + 1, &reservation, record.at);
        raw_put(&raw, raw.reservations, raw_user_key((int64_t)i + 1), record);
    }
    raw_commit(&raw);
}

/* A clock that was ahead for a while: what was made then stays for its time, and does not keep what
 * was made after it. */
static void test_reservations_made_in_the_future(void **state)
{
    (void)state;
    static const int64_t made[] = {5000, 5000 + 1000 * DAY_S, 5000 + 900 * DAY_S, 5001, 5002};
    static const struct {
        int64_t now_unix_s;
        size_t left;
    } rows[] = {
        {5600 + DAY_S - 1, 5}, {5600 + DAY_S, 4}, {5602 + DAY_S, 2}, {5000 + 950 * DAY_S, 1}};
    struct temporary temporary;
    temporary_create_folder(&temporary, 0);
    put_reservations(&temporary, made, COUNT_OF(made));
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        purge(&temporary, rows[i].now_unix_s, 1);
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

/* Of two days; none goes before it has expired, those of a day go together. */
static void test_idempotency_records(void **state)
{
    (void)state;
    enum { MANY = 2500, START = 20000 * DAY_S + DAY_S - 30 };
    struct temporary temporary;
    char access_token[STORE_CREDENTIAL_LEN];
    temporary_create_folder(&temporary, 0);
    temporary_open(&temporary);
    int64_t user_id = temporary_add_user(&temporary, access_token);
    static struct store_write writes[MANY];
    for (int64_t i = 0; i < MANY; i++) {
        writes[i] = (struct store_write){
            .kind = STORE_DELETE, .user_id = user_id, .now_unix_s = START + i * 60 / MANY};
        struct span key = {(const char *)&i, sizeof(i)};
        store_idempotency_init(&writes[i].idempotency, SPAN("scope"), key, SPAN("r"), render);
    }
    assert_int_equal(temporary_commit(temporary.store, writes, MANY), STORE_OK);
    temporary_close(&temporary);
    purge(&temporary, START + DAY_S - 1, 1);
    assert_int_equal(count_entries(&temporary, "repeats"), MANY);
    purge(&temporary, 20002 * (int64_t)DAY_S, 2); /* the first day's */
    assert_int_equal(count_entries(&temporary, "repeats"), MANY / 2);
    purge(&temporary, START + 3 * DAY_S, 2);
    assert_int_equal(count_entries(&temporary, "repeats"), 0);
    temporary_remove(&temporary);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reservations_made_in_the_future),
        cmocka_unit_test(test_many_reservations),
        cmocka_unit_test(test_idempotency_records),
    };
    return cmocka_run_group_tests_name("purge", tests, NULL, NULL);
}
