#include "tests/unit/unit.h"

#include <inttypes.h>

#include "tests/unit/fake_clock.h"
#include "tests/unit/random.h"
#include "tests/unit/temporary.h"

/* Writes that come twice: creates of one token, whose answer is the id it got. */

enum { DAY_S = 24 * 3600, USER = 1 };

struct create {
    struct store_write write; /* first */
    struct token token;
    char answer[32];
    bool no_memory;
};

static struct span render(struct store_write *write)
{
    struct create *create = (struct create *)write;
    if (create->no_memory)
        return (struct span){NULL, 0};
    snprintf(create->answer, sizeof(create->answer), "token %" PRId64, create->token.id);
    return span_of(create->answer);
}

static void prepare(struct create *create, const char *who, const char *key, const char *request,
                    int64_t now_unix_s)
{
    fake_clocks(now_unix_s);
    *create = (struct create){.token = token_default()};
    token_key_generate(create->token.key);
    create->write = (struct store_write){.kind = STORE_CREATE,
                                         .user_id = USER,
                                         .now_unix_s = now_unix_s,
                                         .create = {.tokens = &create->token, .count = 1}};
    store_idempotency_init(&create->write.idempotency, span_of(who), span_of(key), span_of(request),
                           render);
}

/* The id in the answer, 0 where it was refused for another request. */
static int64_t ask(struct temporary *temporary, const char *who, const char *key,
                   const char *request, int64_t now_unix_s, bool *replayed)
{
    struct create create;
    int64_t id = 0;
    prepare(&create, who, key, request, now_unix_s);
    enum store_error error = store_write(temporary->store, &create.write);
    *replayed = create.write.idempotency.replayed;
    if (error == STORE_OK && *replayed) {
        char text[32] = "";
        assert_true(create.write.idempotency.answer_len < sizeof(text));
        memcpy(text, create.write.idempotency.answer, create.write.idempotency.answer_len);
        assert_int_equal(sscanf(text, "token %" SCNd64, &id), 1);
    } else if (error == STORE_OK) {
        id = create.token.id;
    } else {
        assert_int_equal(error, STORE_IDEMPOTENCY_MISMATCH);
        assert_false(*replayed);
    }
    store_write_free(&create.write);
    return id;
}

static void open_store(struct temporary *temporary)
{
    char access_token[STORE_CREDENTIAL_LEN];
    fake_clocks(1000);
    temporary_create(temporary);
    temporary_open(temporary);
    assert_int_equal(temporary_add_user(temporary, access_token), USER);
}

/* ---- the first answer again, for a day ---- */

static void test_for_24_hours(void **state)
{
    (void)state;
    fake_clocks_needed();
    static const struct {
        int64_t after_s;
        bool replayed;
    } rows[] = {{0, true},          {1, true},          {3600, true},
                {DAY_S / 2, true},  {DAY_S - 2, true},  {DAY_S - 1, true},
                {DAY_S, false},     {DAY_S + 1, false}, {2 * DAY_S - 1, false},
                {2 * DAY_S, false}, {9 * DAY_S, false}};
    struct temporary temporary;
    int64_t now = (int64_t)20000 * DAY_S;
    open_store(&temporary);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char key[32];
        bool replayed;
        snprintf(key, sizeof(key), "%zu", i);
        int64_t first = ask(&temporary, "w", key, "r", now, &replayed);
        assert_true(first > 0 && !replayed);
        now += rows[i].after_s;
        int64_t second = ask(&temporary, "w", key, "r", now, &replayed);
        require(replayed == rows[i].replayed, "%zu", i);
        require((second == first) == rows[i].replayed, "%zu", i);
        /* Another request is refused as long, and not longer. */
        int64_t third = ask(&temporary, "w", key, "R", now, &replayed);
        assert_int_equal(third, 0); /* the second may itself be the one that is remembered */
    }
    temporary_check(&temporary);
    temporary_remove(&temporary);
}

/* A batch is begun again where the map had to grow: what the first attempt found is looked for
 * anew, as it may have been swept meanwhile. */
static void test_what_an_earlier_attempt_found(void **state)
{
    (void)state;
    struct temporary temporary;
    struct create create;
    open_store(&temporary);
    prepare(&create, "w", "k", "r", 5000);
    create.write.idempotency.replayed = true;
    assert_int_equal(store_write(temporary.store, &create.write), STORE_OK);
    assert_false(create.write.idempotency.replayed);
    assert_int_equal(create.token.id, 1);
    store_write_free(&create.write);
    assert_int_equal(temporary_count(temporary.reader, USER), 1);
    temporary_remove(&temporary);
}

static void test_another_request_after_a_day(void **state)
{
    (void)state;
    fake_clocks_needed();
    struct temporary temporary;
    bool replayed;
    open_store(&temporary);
    int64_t now = (int64_t)20000 * DAY_S + 5;
    int64_t first = ask(&temporary, "w", "k", "r", now, &replayed);
    assert_int_equal(ask(&temporary, "w", "k", "R", now + DAY_S - 1, &replayed), 0);
    int64_t second = ask(&temporary, "w", "k", "R", now + DAY_S, &replayed);
    assert_true(second > first && !replayed);
    assert_int_equal(ask(&temporary, "w", "k", "R", now + DAY_S + 1, &replayed), second);
    assert_int_equal(ask(&temporary, "w", "k", "r", now + DAY_S + 1, &replayed), 0);
    temporary_check(&temporary);
    temporary_remove(&temporary);
}

/* ---- bounds ---- */

static struct span long_answer(struct store_write *write)
{
    static char bytes[STORE_ANSWERS_LEN_MAX + 1];
    return (struct span){bytes, (size_t)(uintptr_t)write->context};
}

static void prepare_long(struct create *create, int64_t user_id, int number, size_t len,
                         int64_t now)
{
    char key[16];
    snprintf(key, sizeof(key), "%d", number);
    prepare(create, "w", key, "r", now);
    create->write.idempotency.user_id = user_id;
    create->write.idempotency.render = long_answer;
    create->write.context = (void *)(uintptr_t)len;
}

/* A create with a key of this number, whose answer has that many bytes. */
static enum store_error remember(struct temporary *temporary, int64_t user_id, int number,
                                 size_t len, int64_t now, int64_t *retry_after_s)
{
    struct create create;
    prepare_long(&create, user_id, number, len, now);
    enum store_error error = store_write(temporary->store, &create.write);
    *retry_after_s = create.write.idempotency.retry_after_s;
    store_write_free(&create.write);
    return error;
}

/* So many with keys from 0 on, the first one second before the others; in few commits. */
static void remember_many(struct temporary *temporary, int count, size_t len, int64_t start)
{
    enum { AT_ONCE = 100 };
    static struct create creates[AT_ONCE];
    int64_t wait_s;
    assert_int_equal(remember(temporary, USER, 0, len, start, &wait_s), STORE_OK);
    for (int n = 1; n < count; n += AT_ONCE) {
        struct store_write *list = NULL;
        for (int i = 0; i < AT_ONCE && n + i < count; i++) {
            prepare_long(&creates[i], USER, n + i, len, start + 1);
            creates[i].write.next = list;
            list = &creates[i].write;
        }
        assert_int_equal(store_write_all(temporary->store, list), STORE_OK);
        for (; list; list = list->next) {
            assert_int_equal(list->error, STORE_OK);
            store_write_free(list);
        }
    }
}

static void test_bounds_of_a_user(void **state)
{
    (void)state;
    fake_clocks_needed();
    enum { LEN = 1000, MAX = STORE_ANSWERS_LEN_MAX };
    static const struct {
        size_t len; /* of each answer */
        int count;  /* that are kept */
    } rows[] = {{10, STORE_ANSWERS_MAX}, {MAX / 4, 4}, {MAX / 4 + 1, 3}, {MAX, 1}};
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct temporary temporary;
        int64_t wait_s = 0, start = 20000 * (int64_t)DAY_S;
        uint64_t count = 0;
        open_store(&temporary);
        remember_many(&temporary, rows[i].count, rows[i].len, start);
        int64_t now = start + 99;
        uint64_t tokens = temporary_count(temporary.reader, USER);
        assert_int_equal(remember(&temporary, USER, -1, rows[i].len, now, &wait_s),
                         STORE_REMEMBERED);
        assert_int_equal(wait_s, start + DAY_S - now);
        assert_int_equal(remember(&temporary, USER, 0, rows[i].len, now, &wait_s), STORE_OK);
        assert_int_equal(temporary_count(temporary.reader, USER), tokens); /* nothing was done */
        /* Another user's and a gateway's are not counted, and not bounded. */
        assert_int_equal(remember(&temporary, USER + 1, -2, rows[i].len, now, &wait_s), STORE_OK);
        assert_int_equal(remember(&temporary, 0, -3, MAX + 1, now, &wait_s), STORE_OK);
        /* Also before the purge has come to it. */
        assert_int_equal(remember(&temporary, USER, -4, rows[i].len, start + DAY_S, &wait_s),
                         STORE_OK);
        assert_int_equal(store_user_forget(temporary.store, USER, &count), STORE_OK);
        assert_int_equal(count, rows[i].count + 1);
        assert_int_equal(remember(&temporary, USER, -5, MAX, start + DAY_S, &wait_s), STORE_OK);
        assert_int_equal(store_user_forget(temporary.store, 99, &count), STORE_NO_USER);
        temporary_check(&temporary);
        temporary_remove(&temporary);
    }
}

/* Refused before anything was done, also beside other writes of the commit. */
static void test_answer_too_large(void **state)
{
    (void)state;
    struct temporary temporary;
    struct create creates[3];
    open_store(&temporary);
    for (size_t i = 0; i < 3; i++) {
        prepare(&creates[i], "w", i == 0 ? "a" : i == 1 ? "b" : "c", "r", 5000);
        creates[i].write.idempotency.user_id = USER;
    }
    creates[1].write.idempotency.render = long_answer;
    creates[1].write.context = (void *)(uintptr_t)(STORE_ANSWERS_LEN_MAX + 1);
    creates[0].write.next = &creates[1].write;
    creates[1].write.next = &creates[2].write;
    assert_int_equal(store_write_all(temporary.store, &creates[0].write), STORE_OK);
    assert_int_equal(creates[0].write.error, STORE_OK);
    assert_int_equal(creates[1].write.error, STORE_ANSWER_TOO_LARGE);
    assert_int_equal(creates[2].write.error, STORE_OK);
    assert_int_equal(creates[2].token.id, creates[0].token.id + 1);
    assert_int_equal(temporary_count(temporary.reader, USER), 2);
    temporary_check(&temporary);
    temporary_remove(&temporary);
}

/* ---- what is the same ---- */

static void test_scopes_and_keys(void **state)
{
    (void)state;
    static const struct {
        const char *who, *key;
    } rows[] = {{"user 1", "k"}, {"user 2", "k"}, {"user 1", "K"}, {"user 1", "k "},
                {"user 1k", ""}, {"user ", "1k"}, {"", "user 1k"}, {"user 1", "kk"}};
    struct temporary temporary;
    bool replayed;
    int64_t ids[COUNT_OF(rows)];
    open_store(&temporary);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        ids[i] = ask(&temporary, rows[i].who, rows[i].key, "r", 5000, &replayed);
        require(!replayed && ids[i] == (int64_t)i + 1, "row %zu", i);
    }
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        assert_int_equal(ask(&temporary, rows[i].who, rows[i].key, "r", 5001, &replayed), ids[i]);
        assert_true(replayed);
    }
    static const char *const requests[] = {"", "R", "rr", "r "};
    for (size_t i = 0; i < COUNT_OF(requests); i++)
        assert_int_equal(ask(&temporary, "user 1", "k", requests[i], 5001, &replayed), 0);
    assert_int_equal(temporary_count(temporary.reader, USER), COUNT_OF(rows));
    temporary_remove(&temporary);
}

/* A refusal is not remembered. */
static void test_refusals_are_tried_anew(void **state)
{
    (void)state;
    struct temporary temporary;
    struct create create;
    bool replayed;
    open_store(&temporary);
    prepare(&create, "w", "k", "r", 5000);
    create.write.user_id = 77;
    assert_int_equal(store_write(temporary.store, &create.write), STORE_NO_USER);
    store_write_free(&create.write);
    assert_true(ask(&temporary, "w", "k", "other", 5001, &replayed) > 0);
    assert_false(replayed);
    temporary_remove(&temporary);
}

/* Where the answer can't be rendered, nothing has been done. */
static void test_no_memory_for_the_answer(void **state)
{
    (void)state;
    struct temporary temporary;
    struct create create;
    bool replayed;
    open_store(&temporary);
    prepare(&create, "w", "k", "r", 5000);
    create.no_memory = true;
    assert_int_equal(store_write(temporary.store, &create.write), STORE_UNAVAILABLE);
    store_write_free(&create.write);
    assert_int_equal(temporary_count(temporary.reader, USER), 0);
    assert_true(ask(&temporary, "w", "k", "r", 5000, &replayed) > 0);
    assert_false(replayed);
    assert_false(store_is_broken(temporary.store));
    temporary_check(&temporary);
    temporary_remove(&temporary);
}

/* Both of one commit. */
static void test_twice_in_one_commit(void **state)
{
    (void)state;
    struct temporary temporary;
    struct create creates[3];
    open_store(&temporary);
    prepare(&creates[0], "w", "k", "r", 5000);
    prepare(&creates[1], "w", "k", "r", 5000);
    prepare(&creates[2], "w", "k", "R", 5000);
    creates[0].write.next = &creates[1].write;
    creates[1].write.next = &creates[2].write;
    creates[2].write.next = NULL;
    assert_int_equal(store_write_all(temporary.store, &creates[0].write), STORE_OK);
    assert_false(creates[0].write.idempotency.replayed);
    assert_true(creates[1].write.idempotency.replayed);
    assert_int_equal(creates[1].write.idempotency.answer_len, 7);
    assert_memory_equal(creates[1].write.idempotency.answer, "token 1", 7);
    assert_int_equal(creates[2].write.error, STORE_IDEMPOTENCY_MISMATCH);
    assert_int_equal(temporary_count(temporary.reader, USER), 1);
    for (size_t i = 0; i < 3; i++)
        store_write_free(&creates[i].write);
    temporary_check(&temporary);
    temporary_remove(&temporary);
}

/* ---- purging ---- */

/* Whether there is more to be purged. */
static bool purge(struct temporary *temporary, int64_t now_unix_s)
{
    bool more;
    fake_clocks(now_unix_s);
    assert_int_equal(store_purge(temporary->store, &more), STORE_OK);
    return more;
}

/* Nothing that is still answered for; what has expired goes in several transactions. */
static void test_purge(void **state)
{
    (void)state;
    fake_clocks_needed();
    enum { keys = 1200 }; /* a step purges 1000 */
    struct temporary temporary;
    bool replayed;
    char key[32];
    open_store(&temporary);
    int64_t start = (int64_t)20000 * DAY_S + DAY_S - 30;
    for (int64_t i = 0; i < keys; i++) {
        snprintf(key, sizeof(key), "%" PRId64, i);
        ask(&temporary, "w", key, "r", start + i * 60 / keys, &replayed); /* over midnight */
    }
    for (int64_t after_s = 0; after_s < DAY_S; after_s += 7000)
        purge(&temporary, start + after_s);
    purge(&temporary, start + DAY_S - 1);
    for (int64_t i = 0; i < keys; i += 100) {
        snprintf(key, sizeof(key), "%" PRId64, i);
        assert_int_equal(ask(&temporary, "w", key, "r", start + DAY_S - 1, &replayed), i + 1);
        assert_true(replayed);
    }
    int rounds = 1;
    while (purge(&temporary, start + 3 * DAY_S))
        assert_true(++rounds <= keys);
    require(rounds > 1, "%d records at once", keys);
    temporary_check(&temporary);
    temporary_remove(&temporary);
}

/* ---- beside a plain model ---- */

static void test_model(void **state)
{
    (void)state;
    fake_clocks_needed();
    enum { KEYS = 40 };
    const int steps = temporary_steps(6000), many = temporary_steps(500);
    struct {
        bool known;
        int64_t unix_s, id;
        size_t request;
    } model[KEYS] = {{false, 0, 0, 0}};
    static const char *const requests[] = {"a", "b", "c"};
    struct random random = {32};
    struct temporary temporary;
    open_store(&temporary);
    int64_t now = (int64_t)20000 * DAY_S, last_id = 0;
    int replays = 0, others = 0;
    for (int step = 0; step < steps; step++) {
        size_t key = random_below(&random, KEYS), request = random_below(&random, 3);
        char text[32];
        bool replayed;
        now += (int64_t)random_below(&random, random_below(&random, 4) ? 300 : 20000);
        snprintf(text, sizeof(text), "key %zu", key);
        if (random_below(&random, 20) == 0)
            purge(&temporary, now);
        bool valid = model[key].known && now - model[key].unix_s < DAY_S;
        if (valid && random_below(&random, 2))
            request = model[key].request;
        int64_t id = ask(&temporary, "w", text, requests[request], now, &replayed);
        if (valid && request != model[key].request) {
            assert_int_equal(id, 0);
            others++;
        } else if (valid) {
            assert_true(replayed);
            assert_int_equal(id, model[key].id);
            replays++;
        } else {
            require(!replayed && id == last_id + 1, "step %d", step);
            last_id = id;
            model[key].known = true;
            model[key].unix_s = now;
            model[key].id = id;
            model[key].request = request;
        }
    }
    assert_int_equal(temporary_count(temporary.reader, USER), last_id);
    assert_true(replays > many && others > many && last_id > many);
    temporary_check(&temporary);
    temporary_remove(&temporary);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_for_24_hours),
        cmocka_unit_test(test_what_an_earlier_attempt_found),
        cmocka_unit_test(test_another_request_after_a_day),
        cmocka_unit_test(test_bounds_of_a_user),
        cmocka_unit_test(test_answer_too_large),
        cmocka_unit_test(test_scopes_and_keys),
        cmocka_unit_test(test_refusals_are_tried_anew),
        cmocka_unit_test(test_no_memory_for_the_answer),
        cmocka_unit_test(test_twice_in_one_commit),
        cmocka_unit_test(test_purge),
        cmocka_unit_test(test_model),
    };
    return cmocka_run_group_tests_name("idempotency", tests, NULL, NULL);
}
