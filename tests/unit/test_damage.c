/* What reads and writes make of a damaged store: an error, not a wrong answer. */

#include "tests/unit/damage.h"

static void ignore(void *context, const struct token *token)
{
    (void)context;
    (void)token;
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
            .update = {.token_id = id, .patch = {TOKEN_FIELD_NAME, {.name = SPAN("n")}}}};
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
         .update = {.token_id = 2, .patch = {TOKEN_FIELD_NAME, {.name = SPAN("new")}}}},
        {.kind = STORE_UPDATE,
         .user_id = 1,
         .update = {.token_id = 3, .patch = {TOKEN_FIELD_NAME, {.name = SPAN("new")}}}},
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

/* A record that is gone while its user's index has it: no "not found". */
static void test_reading_a_lost_token(void **state)
{
    (void)state;
    struct temporary temporary;
    struct raw raw;
    fill_store(&temporary);
    raw_open(&raw, &temporary);
    remove_token(&raw);
    raw_commit(&raw);
    temporary_open(&temporary);
    assert_int_equal(store_token_get(temporary.reader, 1, 2, ignore, NULL), STORE_CORRUPT);
    assert_int_equal(store_token_get(temporary.reader, 1, 99, ignore, NULL), STORE_NOT_FOUND);
    assert_int_equal(store_token_get(temporary.reader, 2, 2, ignore, NULL), STORE_NOT_FOUND);
    struct store_write update = {
        .kind = STORE_UPDATE,
        .user_id = 1,
        .update = {.token_id = 2, .patch = {TOKEN_FIELD_NAME, {.name = SPAN("n")}}}};
    assert_int_equal(store_write(temporary.store, &update), STORE_CORRUPT);
    store_write_free(&update);
    assert_false(store_is_broken(temporary.store));
    temporary_remove(&temporary);
}

static void take_key(void *context, const struct token *token)
{
    memcpy(context, token->key, TOKEN_KEY_LEN);
}

/* What is looked for is not there, but beside its place there is something that is not whole. */
static void test_looking_up_a_flipped_key(void **state)
{
    (void)state;
    for (unsigned bit = 0; bit < 8; bit++) {
        struct temporary temporary;
        struct raw raw;
        struct raw_bytes hash, value;
        char key[TOKEN_KEY_LEN], other[TOKEN_KEY_LEN];
        fill_store(&temporary);
        temporary_open(&temporary);
        assert_int_equal(store_token_get(temporary.reader, 1, 2, take_key, key), STORE_OK);
        assert_int_equal(store_token_get(temporary.reader, 1, 3, take_key, other), STORE_OK);
        temporary_close(&temporary);
        raw_open(&raw, &temporary);
        for (size_t n = 0;; n++) { /* user 1's token 2 */
            raw_entry(&raw, raw.token_by_key, n, &hash, &value);
            if (get_big64(value.at) == 1 && get_big64(value.at + 8) == 2)
                break;
        }
        raw_flip_key(&raw, raw.token_by_key, hash, bit);
        raw_flip_key(&raw, raw.users, raw_user_key(2), bit == 1 ? 2 : bit); /* 0 is not beside it */
        raw_commit(&raw);
        temporary_open(&temporary);
        const struct token_use use = {.amount = 0};
        enum token_refusal refusal;
        struct store_use_answer answer;
        assert_int_equal(store_token_check_use(temporary.reader, key, &use, 0, &refusal, &answer),
                         STORE_CORRUPT);
        assert_int_equal(store_token_find(temporary.reader, key, 0, NULL, ignore, NULL),
                         STORE_CORRUPT);
        assert_int_equal(store_token_find(temporary.reader, other, 0, NULL, ignore, NULL),
                         STORE_OK);
        assert_int_equal(store_user_authenticate(temporary.reader, 2, SPAN("x")), STORE_CORRUPT);
        assert_int_equal(store_user_authenticate(temporary.reader, 1, SPAN("x")), STORE_DENIED);
        struct store_write spend = {.kind = STORE_SPEND, .spend = {.use = use}};
        memcpy(spend.spend.key, key, sizeof(key));
        assert_int_equal(store_write(temporary.store, &spend), STORE_CORRUPT);
        assert_false(store_is_broken(temporary.store));
        temporary_remove(&temporary);
    }
}

/* A search looks at as many tokens as the index has ids, and at each once. */
static void test_searching_what_was_lost(void **state)
{
    (void)state;
    static const struct store_search searches[] = {
        {.user_id = 1, .limit = 10},
        {.user_id = 1, .limit = 10, .ascending = true},
        {.user_id = 1, .limit = 10, .sort = STORE_SORT_NAME},
    };
    static const int64_t lost[] = {1, 2, 3};
    for (size_t i = 0; i < COUNT_OF(lost); i++) {
        struct temporary temporary;
        struct raw raw;
        uint64_t total;
        fill_store(&temporary);
        raw_open(&raw, &temporary);
        raw_delete(&raw, raw.tokens, raw_token_key(1, lost[i]), NULL);
        raw_commit(&raw);
        temporary_open(&temporary);
        for (size_t n = 0; n < COUNT_OF(searches); n++) {
            struct store_search search = searches[n];
            assert_int_equal(store_token_search(temporary.reader, &search, &total, ignore, NULL),
                             STORE_CORRUPT);
            search.user_id = 2;
            assert_int_equal(store_token_search(temporary.reader, &search, &total, ignore, NULL),
                             STORE_OK);
            assert_int_equal(total, 3);
        }
        temporary_remove(&temporary);
    }
}

/* An index with more ids than there are records, or fewer. */
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

    fill_store(&temporary);
    raw_open(&raw, &temporary);
    raw_delete(&raw, raw.ids_by_user, raw_user_key(1), NULL);
    raw_commit(&raw);
    temporary_open(&temporary);
    assert_int_equal(store_token_page(temporary.reader, 1, 0, 10, &total, ignore, NULL),
                     STORE_CORRUPT);
    assert_int_equal(store_token_page(temporary.reader, 3, 0, 10, &total, ignore, NULL), STORE_OK);
    temporary_remove(&temporary);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reading_a_damaged_token),
        cmocka_unit_test(test_damaged_token_among_other_writes),
        cmocka_unit_test(test_reading_a_lost_token),
        cmocka_unit_test(test_looking_up_a_flipped_key),
        cmocka_unit_test(test_searching_what_was_lost),
        cmocka_unit_test(test_paging_with_a_damaged_index),
    };
    return cmocka_run_group_tests_name("damage", tests, NULL, NULL);
}
