/* The store's time: no setting of the clock moves it. */

#include "tests/unit/fake_clock.h"
#include "tests/unit/temporary.h"

#include "store/lmdb/database.h"

static const int64_t day_s = 24 * 3600, start = 1800000000;

static struct span render(struct store_write *write)
{
    (void)write;
    return SPAN("answer");
}

/* A spend of 1 unit with a transaction_id; ttl_s 0: no reservation. */
static void spend(struct temporary *temporary, const char *key, const char *transaction_id,
                  int64_t ttl_s, struct store_write *write)
{
    *write = (struct store_write){.kind = STORE_SPEND,
                                  .now_unix_s = fake_wall_s,
                                  .spend = {.use = {.amount = 1}, .gateway_id = 1, .ttl_s = ttl_s}};
    memcpy(write->spend.key, key, TOKEN_KEY_LEN + 1);
    store_idempotency_init(&write->idempotency, SPAN("gateway"), span_of(transaction_id), SPAN("r"),
                           render);
    assert_int_equal(store_write(temporary->store, write), STORE_OK);
    assert_int_equal(write->spend.refusal, TOKEN_GOOD);
    store_write_free(write);
}

static int64_t amount_of(struct temporary *temporary, int64_t reservation_id)
{
    struct store_write write = {
        .kind = STORE_SETTLE,
        .now_unix_s = fake_wall_s,
        .settle = {.gateway_id = 1, .reservation_id = reservation_id, .amount = 0}};
    assert_int_equal(store_write(temporary->store, &write), STORE_OK);
    return write.settle.answer.amount;
}

static void purge(struct temporary *temporary)
{
    bool more;
    assert_int_equal(store_purge(temporary->store, &more), STORE_OK);
}

static void open_store(struct temporary *temporary, char key[static TOKEN_KEY_LEN + 1])
{
    char access_token[STORE_CREDENTIAL_LEN];
    struct token token = token_default();
    fake_wall_s = start;
    fake_boot_s = 1000;
    temporary_create_folder(temporary, 0);
    temporary_open(temporary);
    int64_t user_id = temporary_add_user(temporary, access_token);
    token.unlimited_quota = true;
    token_key_generate(token.key);
    struct store_write write = {
        .kind = STORE_CREATE, .user_id = user_id, .create = {.tokens = &token, .count = 1}};
    assert_int_equal(store_write(temporary->store, &write), STORE_OK);
    memcpy(key, token.key, TOKEN_KEY_LEN + 1);
}

/* Set for 14 s and back: a transaction is not taken twice, a reservation in its time can be
 * settled, and one whose time is up can't. */
static void test_clock_set(void **state)
{
    (void)state;
    static const int64_t days[] = {3, -2, 400, -20000};
    for (size_t i = 0; i < COUNT_OF(days); i++) {
        struct temporary temporary;
        struct store_write write;
        char key[TOKEN_KEY_LEN + 1];
        open_store(&temporary, key);
        spend(&temporary, key, "first", 0, &write);
        spend(&temporary, key, "reservation", 600, &write);
        int64_t open_one = write.spend.answer.reservation_id;
        spend(&temporary, key, "short", 10, &write);
        int64_t short_one = write.spend.answer.reservation_id;
        fake_wall_s += days[i] * day_s;
        fake_boot_s += 5;
        purge(&temporary);
        spend(&temporary, key, "meanwhile", 0, &write);
        assert_false(write.idempotency.replayed);
        fake_boot_s += 9;
        fake_wall_s = start + 14;
        purge(&temporary);
        static const char *const transactions[] = {"first", "meanwhile"};
        for (size_t n = 0; n < COUNT_OF(transactions); n++) {
            spend(&temporary, key, transactions[n], 0, &write);
            assert_true(write.idempotency.replayed);
        }
        assert_int_equal(amount_of(&temporary, short_one), 1);
        assert_int_equal(amount_of(&temporary, open_one), 0);
        fake_boot_s += day_s - 15; /* a day after the first, to the second */
        spend(&temporary, key, "first", 0, &write);
        assert_true(write.idempotency.replayed);
        fake_boot_s++;
        spend(&temporary, key, "first", 0, &write);
        assert_false(write.idempotency.replayed);
        temporary_check(&temporary);
        temporary_remove(&temporary);
    }
}

/* Over a boot the wall clock's difference counts, if it is 0 to 30 days. */
static void test_boots(void **state)
{
    (void)state;
    static const struct {
        int64_t passed_s;
        bool counts;
    } rows[] = {{day_s - 1, false},      {day_s, true},       {30 * day_s, true},
                {30 * day_s + 1, false}, {-5 * day_s, false}, {9000 * (int64_t)day_s, false}};
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct temporary temporary;
        struct store_write write;
        char key[TOKEN_KEY_LEN + 1];
        open_store(&temporary, key);
        spend(&temporary, key, "first", 0, &write);
        fake_wall_s += rows[i].passed_s;
        fake_boot_s = 5;
        ((struct lmdb_store *)temporary.store)->boot_id[0] ^= 1;
        spend(&temporary, key, "first", 0, &write);
        require(write.idempotency.replayed == !rows[i].counts, "row %zu", i);
        fake_boot_s += day_s - 1; /* within this boot it goes on */
        fake_wall_s = start;
        spend(&temporary, key, "second", 0, &write);
        fake_boot_s += day_s;
        spend(&temporary, key, "second", 0, &write);
        assert_false(write.idempotency.replayed);
        temporary_check(&temporary);
        temporary_remove(&temporary);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clock_set),
        cmocka_unit_test(test_boots),
    };
    return cmocka_run_group_tests_name("clock", tests, NULL, NULL);
}
