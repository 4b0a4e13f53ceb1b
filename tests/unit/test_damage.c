/* Reads and writes of damaged values: an error, never a wrong answer. */

#include "tests/unit/damage.h"

static void ignore(void *context, const struct token *token)
{
    (void)context;
    (void)token;
}

static void ignore_use(void *context, const struct store_use_view *view)
{
    (void)context;
    (void)view;
}

static void test_reading_a_damaged_token(void **state)
{
    (void)state;
    static void (*const damages[])(struct raw *) = {token_of_another_version, token_cut_short,
                                                    token_with_a_changed_quota,
                                                    token_with_a_flipped_bit};
    for (size_t i = 0; i < COUNT_OF(damages); i++) {
        struct temporary temporary;
        struct raw raw;
        uint64_t total;
        fill_store(&temporary);
        raw_open(&raw, &temporary);
        damages[i](&raw);
        raw_commit(&raw);
        temporary_open(&temporary);
        assert_int_equal(store_token_get(temporary.reader, 1, 2, ignore, NULL), STORE_CORRUPT);
        assert_int_equal(store_token_page(temporary.reader, 1, 0, 10, &total, ignore, NULL),
                         STORE_CORRUPT);
        assert_int_equal(store_token_get(temporary.reader, 1, 3, ignore, NULL), STORE_OK);
        assert_int_equal(store_token_page(temporary.reader, 2, 0, 10, &total, ignore, NULL),
                         STORE_OK);
        const int64_t id = 2;
        struct store_write update = {
            .kind = STORE_UPDATE,
            .user_id = 1,
            .update = {.token_id = id,
                       .patch = {.fields = TOKEN_FIELD_GROUP, .value = {.group = SPAN("n")}}}};
        assert_int_equal(store_write(temporary.store, &update), STORE_CORRUPT);
        store_write_free(&update);
        struct store_write delete = {
            .kind = STORE_DELETE, .user_id = 1, .delete = {.ids = &id, .id_count = 1}};
        assert_int_equal(store_write(temporary.store, &delete), STORE_CORRUPT);
        assert_false(store_is_broken(temporary.store)); /* the others can still be served */
        temporary_remove(&temporary);
    }
}

static void expect_new_name(void *context, const struct token *token)
{
    *(bool *)context = token->name.len == 3 && memcmp(token->name.at, "new", 3) == 0;
}

/* It takes with it nothing else of the commit that it is in, and nothing else is done twice. */
static void test_damaged_token_among_other_writes(void **state)
{
    (void)state;
    struct temporary temporary;
    struct raw raw;
    fill_store(&temporary);
    raw_open(&raw, &temporary);
    token_with_a_changed_quota(&raw);
    raw_commit(&raw);
    temporary_open(&temporary);
    uint64_t count = temporary_count(temporary.reader, 1);
    struct token token = token_default();
    token.unlimited_quota = true;
    token_key_generate(token.key);
    struct store_write writes[3] = {
        {.kind = STORE_CREATE, .user_id = 1, .create = {.tokens = &token, .count = 1}},
        {.kind = STORE_UPDATE,
         .user_id = 1,
         .update = {.token_id = 2,
                    .patch = {.fields = TOKEN_FIELD_NAME,
                              .value.name = SPAN("new"),
                              .name_max = 3}}},
        {.kind = STORE_UPDATE,
         .user_id = 1,
         .update = {.token_id = 3,
                    .patch = {.fields = TOKEN_FIELD_NAME,
                              .value.name = SPAN("new"),
                              .name_max = 3}}},
    };
    temporary_commit(temporary.store, writes, COUNT_OF(writes));
    assert_int_equal(writes[0].error, STORE_OK);
    assert_int_equal(writes[1].error, STORE_CORRUPT);
    assert_int_equal(writes[2].error, STORE_OK);
    assert_int_equal(temporary_count(temporary.reader, 1), count + 1);
    bool renamed = false;
    assert_int_equal(store_token_get(temporary.reader, 1, 3, expect_new_name, &renamed), STORE_OK);
    assert_true(renamed);
    assert_int_equal(store_token_get(temporary.reader, 1, token.id, ignore, NULL), STORE_OK);
    for (size_t i = 0; i < COUNT_OF(writes); i++)
        store_write_free(&writes[i]);
    temporary_remove(&temporary);
}

/* ---- entries of the index of keys ---- */

/* User 1's token 2 has the n-th entry. */
static size_t find_entry(struct raw *raw, struct raw_bytes *hash, struct raw_bytes *value)
{
    for (size_t n = 0;; n++) {
        raw_entry(raw, raw->token_by_key, n, hash, value);
        if (get_big64(value->at) == 1 && get_big64(value->at + 8) == 2)
            return n;
    }
}

static void take_key(void *context, const struct token *token)
{
    memcpy(context, token->key, TOKEN_KEY_LEN + 1);
}

/* A key whose entry has a flipped bit is neither unknown nor another token's. */
static void test_looking_up_a_damaged_entry(void **state)
{
    (void)state;
    struct temporary temporary;
    struct raw raw;
    struct raw_bytes hash, value;
    char key[TOKEN_KEY_LEN + 1], other[TOKEN_KEY_LEN + 1];
    fill_store(&temporary);
    temporary_open(&temporary);
    assert_int_equal(store_token_get(temporary.reader, 1, 2, take_key, key), STORE_OK);
    assert_int_equal(store_token_get(temporary.reader, 1, 3, take_key, other), STORE_OK);
    temporary_close(&temporary);
    raw_open(&raw, &temporary);
    find_entry(&raw, &hash, &value);
    raw_commit(&raw);
    for (size_t bit = 0; bit < value.len * 8; bit += 5) {
        const struct token_use use = {.amount = 0};
        enum token_refusal refusal;
        struct store_use_answer answer;
        struct raw_bytes damaged = value;
        damaged.at[bit / 8] ^= (unsigned char)(1U << bit % 8);
        raw_open(&raw, &temporary);
        raw_put(&raw, raw.token_by_key, hash, damaged);
        raw_commit(&raw);
        temporary_open(&temporary);
        assert_int_equal(store_token_check_use(temporary.reader, key, &use, 0, &refusal, &answer),
                         STORE_CORRUPT);
        assert_int_equal(store_token_find(temporary.reader, key, 0, ignore_use, NULL),
                         STORE_CORRUPT);
        assert_int_equal(store_token_find(temporary.reader, other, 0, ignore_use, NULL), STORE_OK);
        struct store_write spend = {.kind = STORE_SPEND, .spend = {.use = use}};
        memcpy(spend.spend.key, key, sizeof(key));
        assert_int_equal(store_write(temporary.store, &spend), STORE_CORRUPT);
        assert_false(store_is_broken(temporary.store));
        temporary_close(&temporary);
    }
    temporary_remove(&temporary);
}

/* An entry without its token, and one that is missing where a token is deleted or rotated. */
static void test_index_and_tokens_that_differ(void **state)
{
    (void)state;
    struct temporary temporary;
    struct raw raw;
    struct raw_bytes hash, value;
    char key[TOKEN_KEY_LEN + 1];
    fill_store(&temporary);
    temporary_open(&temporary);
    assert_int_equal(store_token_get(temporary.reader, 1, 2, take_key, key), STORE_OK);
    temporary_close(&temporary);
    raw_open(&raw, &temporary);
    remove_token(&raw);
    raw_entry(&raw, raw.token_by_key, find_entry(&raw, &hash, &value) ? 0 : 1, &hash, &value);
    int64_t user_id = get_big64(value.at), token_id = get_big64(value.at + 8); /* another's entry */
    raw_delete(&raw, raw.token_by_key, hash, NULL);
    raw_commit(&raw);
    temporary_open(&temporary);
    assert_int_equal(store_token_find(temporary.reader, key, 0, ignore_use, NULL), STORE_CORRUPT);
    struct store_write delete = {
        .kind = STORE_DELETE, .user_id = user_id, .delete = {.ids = &token_id, .id_count = 1}};
    assert_int_equal(store_write(temporary.store, &delete), STORE_CORRUPT);
    struct store_write rotate = {
        .kind = STORE_ROTATE, .user_id = user_id, .rotate = {.token_id = token_id}};
    token_key_generate(rotate.rotate.key);
    assert_int_equal(store_write(temporary.store, &rotate), STORE_CORRUPT);
    store_write_free(&rotate);
    assert_int_equal(store_token_get(temporary.reader, user_id, token_id, ignore, NULL), STORE_OK);
    temporary_remove(&temporary);
}

/* ---- users, gateways, counters and the records of idempotency ---- */

static struct span answer(struct store_write *write)
{
    (void)write;
    return SPAN("answer");
}

static enum store_error authenticate_nth(struct temporary *temporary, size_t n)
{
    int64_t id;
    struct span access_token = {access_tokens[n], STORE_CREDENTIAL_LEN};
    return store_user_authenticate(temporary->reader, access_token, &id);
}

static enum store_error authenticate(struct temporary *temporary)
{
    return authenticate_nth(temporary, 0);
}

/* One of the two, whichever the index has first. */
static enum store_error authenticate_first(struct temporary *temporary)
{
    enum store_error first = authenticate_nth(temporary, 0),
                     second = authenticate_nth(temporary, 1);
    assert_true((first == STORE_OK) != (second == STORE_OK));
    return first == STORE_OK ? second : first;
}

static enum store_error create_one(struct temporary *temporary)
{
    int64_t first;
    return temporary_create_tokens(temporary->store, 2, 1, 0, 0, &first);
}

static enum store_error authenticate_gateway(struct temporary *temporary)
{
    int64_t id;
    return store_gateway_authenticate(temporary->reader, SPAN("x"), &id);
}

/* A write that was done before. */
static enum store_error repeat(struct temporary *temporary)
{
    struct store_write write = {.kind = STORE_DELETE, .user_id = 1, .now_unix_s = 5000};
    store_idempotency_init(&write.idempotency, SPAN("scope"), SPAN("key"), SPAN("request"), answer);
    enum store_error error = store_write(temporary->store, &write);
    store_write_free(&write);
    return error;
}

static enum store_error settle(struct temporary *temporary)
{
    struct store_write write = {
        .kind = STORE_SETTLE,
        .settle = {.gateway_id = 1, .reservation_id = 1, .amount = 0},
    };
    return store_write(temporary->store, &write);
}

/* Each flipped bit in any of them is an error of the requests that need it. */
static void test_other_values(void **state)
{
    (void)state;
    static const struct {
        const char *database;
        size_t entry;
        enum store_error (*request)(struct temporary *temporary);
    } rows[] = {{"users", 0, authenticate},
                {"user_index", 0, authenticate_first},
                {"gateways", 0, authenticate_gateway},
                {"reservations", 0, settle},
                {"answers", 0, repeat},
                {"meta", 5 /* next_token_id */, create_one},
                {"meta", 10 /* time */, repeat}};
    struct temporary temporary;
    struct raw raw;
    char secret[STORE_CREDENTIAL_LEN];
    fill_store(&temporary);
    temporary_open(&temporary);
    assert_int_equal(
        store_gateway_add(temporary.store, 1, &(struct store_gateway){.id = 0}, secret), STORE_OK);
    struct store_write reserve = {.kind = STORE_SPEND, .spend = {.gateway_id = 1, .ttl_s = 100}};
    assert_int_equal(store_token_get(temporary.reader, 1, 2, take_key, reserve.spend.key),
                     STORE_OK);
    assert_int_equal(store_write(temporary.store, &reserve), STORE_OK);
    assert_int_equal(reserve.spend.answer.reservation_id, 1);
    assert_int_equal(repeat(&temporary), STORE_OK);
    temporary_close(&temporary);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct raw_bytes key, value;
        MDB_dbi dbi;
        raw_open(&raw, &temporary);
        assert_int_equal(mdb_dbi_open(raw.txn, rows[i].database, 0, &dbi), 0);
        raw_entry(&raw, dbi, rows[i].entry, &key, &value);
        raw_commit(&raw);
        for (size_t bit = 0; bit < value.len * 8; bit += 7) {
            struct raw_bytes damaged = value;
            damaged.at[bit / 8] ^= (unsigned char)(1U << bit % 8);
            raw_open(&raw, &temporary);
            raw_put(&raw, dbi, key, damaged);
            raw_commit(&raw);
            temporary_open(&temporary);
            enum store_error error = rows[i].request(&temporary);
            require(error == STORE_CORRUPT, "%s, bit %zu: %s", rows[i].database, bit,
                    store_error_text(error));
            assert_false(store_is_broken(temporary.store));
            temporary_close(&temporary);
        }
        raw_open(&raw, &temporary);
        raw_put(&raw, dbi, key, value);
        raw_commit(&raw);
    }
    temporary_open(&temporary);
    temporary_check(&temporary);
    temporary_remove(&temporary);
}

/* A damaged record of idempotency is in the way of no other key. */
static void test_damage_beside_other_idempotency_keys(void **state)
{
    (void)state;
    struct temporary temporary;
    struct raw raw;
    struct raw_bytes key, value;
    fill_store(&temporary);
    temporary_open(&temporary);
    assert_int_equal(repeat(&temporary), STORE_OK);
    temporary_close(&temporary);
    raw_open(&raw, &temporary);
    raw_entry(&raw, raw.answers, 0, &key, &value);
    value.at[value.len - 1] ^= 1;
    raw_put(&raw, raw.answers, key, value);
    raw_commit(&raw);
    temporary_open(&temporary);
    assert_int_equal(repeat(&temporary), STORE_CORRUPT);
    struct store_write write = {.kind = STORE_DELETE, .user_id = 1, .now_unix_s = 5000};
    store_idempotency_init(&write.idempotency, SPAN("scope"), SPAN("other"), SPAN("request"),
                           answer);
    assert_int_equal(store_write(temporary.store, &write), STORE_OK);
    store_write_free(&write);
    temporary_remove(&temporary);
}

/* ---- the index of ids ---- */

/* An index with more ids than there are records. */
static void test_paging_with_a_damaged_index(void **state)
{
    (void)state;
    struct temporary temporary;
    struct raw raw;
    uint64_t total;
    fill_store(&temporary);
    raw_open(&raw, &temporary);
    id_too_many(&raw);
    raw_commit(&raw);
    temporary_open(&temporary);
    assert_int_equal(store_token_page(temporary.reader, 1, 0, 10, &total, ignore, NULL),
                     STORE_CORRUPT);
    assert_int_equal(store_user_delete(temporary.store, 1), STORE_CORRUPT);
    temporary_remove(&temporary);

    fill_store(&temporary);
    raw_open(&raw, &temporary);
    raw_delete(&raw, raw.tokens, raw_token_key(1, 1), NULL); /* nothing lies before it */
    raw_delete(&raw, raw.tokens, raw_token_key(2, 4), NULL); /* another user's token does */
    raw_commit(&raw);
    temporary_open(&temporary);
    for (int64_t user_id = 1; user_id <= 2; user_id++)
        assert_int_equal(store_token_page(temporary.reader, user_id, 0, 10, &total, ignore, NULL),
                         STORE_CORRUPT);
    temporary_remove(&temporary);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reading_a_damaged_token),
        cmocka_unit_test(test_damaged_token_among_other_writes),
        cmocka_unit_test(test_looking_up_a_damaged_entry),
        cmocka_unit_test(test_index_and_tokens_that_differ),
        cmocka_unit_test(test_other_values),
        cmocka_unit_test(test_damage_beside_other_idempotency_keys),
        cmocka_unit_test(test_paging_with_a_damaged_index),
    };
    return cmocka_run_group_tests_name("damage", tests, NULL, NULL);
}
