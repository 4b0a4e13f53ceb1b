#include "tests/unit/unit.h"

#include <inttypes.h>

#include "tests/unit/fake_clock.h"
#include "tests/unit/random.h"
#include "tests/unit/temporary.h"
#include "tests/unit/token_same.h"

/* store_token_search beside a naive one: everything in memory, qsort, a recursive matcher. */

enum { NOW = 1700000000, TOKENS = 5000, OTHERS = 50, AT_ONCE = 500 };

static struct {
    struct temporary temporary;
    int64_t user_id, before_id, after_id;
    struct token_account account; /* the user's */
    struct token tokens[TOKENS];
    char texts[TOKENS][32];
    size_t count;
} all;

/* ---- tokens ---- */

static struct span random_name(struct random *random, char text[static 32])
{
    static const char *const words[] = {
        "prod", "Prod",     "PROD",     "test",         "a", "A", "b", "%", "_",
        "-",    "\xC3\xA4", "\xC3\x84", "\xE4\xBB\xA4", " "};
    size_t len = 0, parts = random_below(random, 5);
    for (size_t i = 0; i < parts; i++)
        len += (size_t)snprintf(text + len, 32 - len, "%s",
                                words[random_below(random, COUNT_OF(words))]);
    return (struct span){text, len};
}

static int64_t random_amount(struct random *random)
{
    static const int64_t amounts[] = {0, 0, 1, 5, 100, INT64_MAX};
    size_t which = random_below(random, COUNT_OF(amounts) + 2);
    return which < COUNT_OF(amounts) ? amounts[which] : (int64_t)random_below(random, 1000000);
}

static int64_t random_expiry(struct random *random)
{
    static const int64_t times[] = {-1, -1, 0, NOW - 1, NOW, NOW + 1, INT64_MAX};
    size_t which = random_below(random, COUNT_OF(times) + 2);
    return which < COUNT_OF(times) ? times[which]
                                   : NOW - 1000 + (int64_t)random_below(random, 2000);
}

static void fill(struct random *random, struct token *token, char text[static 32])
{
    static const struct span groups[] = {SPAN("vip"), SPAN("default"), SPAN("VIP"), SPAN("")};
    *token = token_default();
    token->name = random_name(random, text);
    token->remain_quota = random_amount(random);
    token->unlimited_quota = random_below(random, 2);
    token->expired_unix_s = random_expiry(random);
    token->status = random_below(random, 4) ? TOKEN_ENABLED : TOKEN_DISABLED;
    token->group = groups[random_below(random, COUNT_OF(groups))];
    token_key_generate(token->key);
}

static void create(int64_t user_id, struct token *tokens, size_t count, int64_t now_unix_s)
{
    struct store_write write = {.kind = STORE_CREATE,
                                .user_id = user_id,
                                .now_unix_s = now_unix_s,
                                .create = {.tokens = tokens, .count = count}};
    assert_int_equal(store_write(all.temporary.store, &write), STORE_OK);
    store_write_free(&write);
    for (size_t i = 0; i < count; i++)
        if (tokens[i].group.at == write.owner_group) /* the owner's, in memory of the write */
            tokens[i].group = SPAN("vip");
}

/* Some are used, and so have a used_quota and another accessed_time. */
static void use_some(struct random *random)
{
    static struct store_write writes[TOKENS / 4];
    size_t count = 0;
    if (temporary_is_database() && !getenv("TOKEN_TEST_CLOCK"))
        return; /* most have expired at its server's time */
    fake_database_clock(NOW);
    for (size_t i = 0; i < all.count && count < COUNT_OF(writes); i++) {
        struct token *token = &all.tokens[i];
        struct token_use use = {.amount = 1 + (int64_t)random_below(random, 50)};
        int64_t now = NOW - 500 + (int64_t)random_below(random, 400);
        const struct token_use_context context = {.group_allowed = true, .now_unix_s = NOW};
        if (random_below(random, 3) ||
            token_use_check(token, &all.account, &use, &context, &(int64_t){0}) != TOKEN_GOOD)
            continue;
        struct store_write *write = &writes[count++];
        *write =
            (struct store_write){.kind = STORE_SPEND, .now_unix_s = now, .spend = {.use = use}};
        memcpy(write->spend.key, token->key, TOKEN_KEY_LEN + 1);
        token_spend(token, &all.account, use.amount, &context);
        token->accessed_unix_s = now;
    }
    assert_int_equal(temporary_commit(all.temporary.store, writes, count), STORE_OK);
    for (size_t i = 0; i < count; i++)
        assert_true(writes[i].error == STORE_OK && writes[i].spend.refusal == TOKEN_GOOD);
}

static int set_up(void **state)
{
    (void)state;
    struct random random = {41};
    static struct token others[OTHERS];
    static char texts[OTHERS][32];
    char access_token[STORE_CREDENTIAL_LEN];
    temporary_create(&all.temporary);
    temporary_open(&all.temporary);
    all.account.unlimited_quota = true;
    all.before_id = temporary_add_user(&all.temporary, access_token);
    all.user_id = temporary_add_user(&all.temporary, access_token);
    all.after_id = temporary_add_user(&all.temporary, access_token);
    for (int64_t id = all.before_id; id <= all.after_id; id += 2) {
        for (size_t i = 0; i < OTHERS; i++)
            fill(&random, &others[i], texts[i]);
        create(id, others, OTHERS, NOW);
    }
    for (; all.count < TOKENS; all.count += AT_ONCE) {
        for (size_t i = all.count; i < all.count + AT_ONCE; i++)
            fill(&random, &all.tokens[i], all.texts[i]);
        create(all.user_id, all.tokens + all.count, AT_ONCE,
               NOW - 5000 + (int64_t)random_below(&random, 10));
    }
    use_some(&random);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    temporary_check(&all.temporary);
    temporary_remove(&all.temporary);
    return 0;
}

/* ---- the naive search ---- */

static int fold(char c)
{
    return c >= 'A' && c <= 'Z' ? c + 32 : c;
}

static bool like(struct span name, struct span pattern)
{
    if (pattern.len == 0)
        return name.len == 0;
    if (pattern.at[0] == '%')
        return like(name, span_from(pattern, 1)) ||
               (name.len > 0 && like(span_from(name, 1), pattern));
    return name.len > 0 && fold(name.at[0]) == fold(pattern.at[0]) &&
           like(span_from(name, 1), span_from(pattern, 1));
}

static bool name_matches(struct span name, struct span keyword)
{
    char pattern[64];
    if (keyword.len == 0)
        return true;
    if (memchr(keyword.at, '%', keyword.len))
        return like(name, keyword);
    int len = snprintf(pattern, sizeof(pattern), "%%%.*s%%", (int)keyword.len, keyword.at);
    return like(name, (struct span){pattern, (size_t)len});
}

static bool is_match(const struct store_search *search, const struct token *token)
{
    struct span key = {token->key, TOKEN_KEY_LEN};
    return name_matches(token->name, search->keyword) &&
           (!search->group.at || span_equal(search->group, token->group)) &&
           (search->status == 0 || search->status == token_status_at(token, search->now_unix_s)) &&
           (search->key.len == 0 || span_starts_with(key, search->key) ||
            span_starts_with(span_from(key, TOKEN_KEY_PREFIX_LEN), search->key));
}

static const struct store_search *order; /* of the qsort that is under way */

static int compare_numbers(int64_t a, int64_t b)
{
    return a < b ? -1 : a > b;
}

static int compare_bytes(struct span a, struct span b)
{
    for (size_t i = 0; i < a.len && i < b.len; i++)
        if (a.at[i] != b.at[i])
            return (unsigned char)a.at[i] < (unsigned char)b.at[i] ? -1 : 1;
    return compare_numbers((int64_t)a.len, (int64_t)b.len);
}

static int64_t end_of(const struct token *token)
{
    return token->expired_unix_s == -1 ? INT64_MAX : token->expired_unix_s;
}

static int compare(const void *left, const void *right)
{
    const struct token *a = *(const struct token *const *)left;
    const struct token *b = *(const struct token *const *)right;
    int found = 0;
    switch (order->sort ? order->sort->field : TOKEN_FIELD_ID) {
    case TOKEN_FIELD_ID:
        break;
    case TOKEN_FIELD_NAME:
        found = compare_bytes(a->name, b->name);
        break;
    case TOKEN_FIELD_CREATED:
        found = compare_numbers(a->created_unix_s, b->created_unix_s);
        break;
    case TOKEN_FIELD_EXPIRED:
        found = compare_numbers(end_of(a), end_of(b));
        break;
    case TOKEN_FIELD_ACCESSED:
        found = compare_numbers(a->accessed_unix_s, b->accessed_unix_s);
        break;
    case TOKEN_FIELD_REMAIN_QUOTA:
        found = compare_numbers(a->remain_quota, b->remain_quota);
        break;
    case TOKEN_FIELD_USED_QUOTA:
        found = compare_numbers(a->used_quota, b->used_quota);
        break;
    default:
        fail_msg("no order of a search");
    }
    if (found == 0)
        found = compare_numbers(a->id, b->id);
    return order->ascending ? found : -found;
}

struct expectation {
    const struct token *matches[TOKENS];
    size_t total, next, end;
};

static void visit(void *context, const struct token *token)
{
    struct expectation *expected = context;
    require(expected->next < expected->end, "token %" PRId64 " is one too many", token->id);
    const struct token *wanted = expected->matches[expected->next++];
    require(token_same(token, wanted), "token %" PRId64 " is not token %" PRId64, token->id,
            wanted->id);
}

/* Everything in one, in order. */
static void expect(const struct store_search *search, struct expectation *expected)
{
    expected->total = 0;
    for (size_t i = 0; i < all.count; i++)
        if (is_match(search, &all.tokens[i]))
            expected->matches[expected->total++] = &all.tokens[i];
    order = search;
    qsort(expected->matches, expected->total, sizeof(expected->matches[0]), compare);
}

static void check_page(const struct store_search *search, struct expectation *expected)
{
    uint64_t total = 99;
    expected->next = search->offset < expected->total ? (size_t)search->offset : expected->total;
    expected->end = expected->total - expected->next < search->limit
                        ? expected->total
                        : expected->next + (size_t)search->limit;
    assert_int_equal(store_token_search(all.temporary.reader, search, &total, visit, expected),
                     STORE_OK);
    require(total == expected->total, "%" PRIu64 " and not %zu", total, expected->total);
    require(expected->next == expected->end, "%zu are missing", expected->end - expected->next);
}

static void check_search(const struct store_search *search)
{
    static struct expectation expected;
    expect(search, &expected);
    check_page(search, &expected);
}

/* ---- tests ---- */

/* The orders of test_orders; the first is by id. */
static const enum token_field_number sort_fields[] = {
    TOKEN_FIELD_NUMBER_ID,         TOKEN_FIELD_NUMBER_NAME,     TOKEN_FIELD_NUMBER_CREATED,
    TOKEN_FIELD_NUMBER_EXPIRED,    TOKEN_FIELD_NUMBER_ACCESSED, TOKEN_FIELD_NUMBER_REMAIN_QUOTA,
    TOKEN_FIELD_NUMBER_USED_QUOTA,
};
enum { BY_ID = 0, BY_NAME = 1, BY_CREATED = 2, BY_EXPIRED = 3 };

static const struct token_field_rule *sort_rule(size_t sort)
{
    return sort == BY_ID ? NULL : &token_field_rules[sort_fields[sort]];
}

static struct store_search search_for(size_t sort, bool ascending)
{
    return (struct store_search){.user_id = all.user_id,
                                 .now_unix_s = NOW,
                                 .sort = sort_rule(sort),
                                 .ascending = ascending,
                                 .limit = 100};
}

/* Each order, from the first page to beyond the last, over the limit of one pass. */
static void test_orders(void **state)
{
    (void)state;
    static struct expectation expected;
    static const uint64_t offsets[] = {
        0,     1,     99,    100,          8091,       8092,   8191,       8192,      8193,
        16383, 16384, 16385, TOKENS - 100, TOKENS - 1, TOKENS, TOKENS + 1, UINT64_MAX};
    for (size_t sort = 0; sort < COUNT_OF(sort_fields); sort++)
        for (int ascending = 0; ascending < 2; ascending++) {
            struct store_search search = search_for(sort, ascending);
            expect(&search, &expected);
            for (size_t i = 0; i < COUNT_OF(offsets); i++) {
                search.offset = offsets[i];
                check_page(&search, &expected);
            }
        }
}

static void test_everything_at_once(void **state)
{
    (void)state;
    for (size_t sort = 0; sort < COUNT_OF(sort_fields); sort++) {
        struct store_search search = search_for(sort, sort % 2);
        search.limit = UINT64_MAX;
        check_search(&search);
        search.limit = 0;
        check_search(&search);
        search.limit = 9000; /* begins in one pass and ends in the next */
        search.offset = 4000;
        check_search(&search);
    }
}

static void test_filters(void **state)
{
    (void)state;
    static const struct span groups[] = {
        {NULL, 0}, SPAN("vip"), SPAN("default"), SPAN("VIP"), SPAN(""), SPAN("nobody's"),
    };
    for (int status = 0; status <= TOKEN_EXHAUSTED; status++)
        for (size_t g = 0; g < COUNT_OF(groups); g++)
            for (size_t sort = 0; sort <= BY_EXPIRED; sort++) {
                struct store_search search = search_for(sort, g % 2);
                search.status = (enum token_status)status;
                search.group = groups[g];
                check_search(&search);
                search.offset = 300;
                check_search(&search);
            }
}

/* The status is the one that holds at that time. */
static void test_status_at_another_time(void **state)
{
    (void)state;
    static const int64_t times[] = {0, NOW - 999, NOW - 1, NOW, NOW + 1, NOW + 999, INT64_MAX};
    for (size_t i = 0; i < COUNT_OF(times); i++)
        for (int status = TOKEN_ENABLED; status <= TOKEN_EXHAUSTED; status++) {
            struct store_search search = search_for(BY_ID, false);
            search.now_unix_s = times[i];
            search.status = (enum token_status)status;
            check_search(&search);
        }
}

static void test_keywords(void **state)
{
    (void)state;
    static const char *const keywords[] = {
        "",
        "a",
        "A",
        "prod",
        "PROD",
        "pRoD",
        "rod",
        "prod%",
        "%prod",
        "%prod%",
        "%",
        "%%",
        "%%%",
        "a%",
        "%a",
        "a%b",
        "%a%b%",
        "a%%b",
        "a%a",
        "a%a%a%a",
        "prod%test",
        "%a%a",
        "test%test",
        "_",
        "-",
        " ",
        "\xC3\xA4",
        "\xC3\x84",
        "\xC3",
        "%\xA4",
        "\xE4\xBB\xA4%",
        "zzz",
        "%zzz",
        "zzz%",
        "prodprodprodprod",
        "prod%prod%prod%prod",
        "aa%aa",
        "%aa%",
        "prodtestprodtestprodtestprodtestprodtest",
    };
    for (size_t i = 0; i < COUNT_OF(keywords); i++) {
        struct span keyword = span_of(keywords[i]);
        char *copy = heap_copy(keyword);
        struct store_search search = search_for(BY_ID, false);
        search.keyword = (struct span){copy, keyword.len};
        check_search(&search);
        search.sort = sort_rule(BY_NAME);
        check_search(&search);
        free(copy);
    }
}

static void test_random_keywords(void **state)
{
    (void)state;
    struct random random = {42};
    for (int i = 0; i < 150; i++) {
        static const char *const parts[] = {"%", "a", "A", "b", "prod", "t", "-", "\xC3\xA4"};
        char text[64] = "";
        for (size_t n = 1 + random_below(&random, 6); n > 0; n--)
            strcat(text, parts[random_below(&random, COUNT_OF(parts))]);
        struct store_search search = search_for(BY_ID, true);
        search.keyword = span_of(text);
        check_search(&search);
    }
}

static void test_keys(void **state)
{
    (void)state;
    struct random random = {43};
    for (int i = 0; i < 40; i++) {
        const struct token *token = &all.tokens[random_below(&random, all.count)];
        static const size_t lengths[] = {TOKEN_KEY_LEN, TOKEN_KEY_LEN - 1, 20, 8, 6, 5, 4, 3, 2, 1};
        size_t len = lengths[random_below(&random, COUNT_OF(lengths))];
        size_t from = random_below(&random, 2) ? TOKEN_KEY_PREFIX_LEN : 0;
        if (from >= len)
            from = 0;
        struct store_search search = search_for(BY_ID, false);
        search.key = (struct span){token->key + from, len - from};
        check_search(&search);
        search.keyword = token->name; /* both have to hold */
        if (!memchr(token->name.at, '%', token->name.len))
            check_search(&search);
        search.keyword = SPAN("prod");
        check_search(&search);
    }
    static const char *const nobodys[] = {"sk-x\xC3",
                                          "SK-",
                                          "k-",
                                          " sk-",
                                          "sk_",
                                          "sk-000000000000000000000000000000000000000000000000",
                                          "sk-0000000000000000000000000000000000000000000000000"};
    for (size_t i = 0; i < COUNT_OF(nobodys); i++) {
        struct store_search search = search_for(BY_ID, false);
        search.key = span_of(nobodys[i]);
        check_search(&search);
    }
}

/* The letter case of a key matters, and so does each of its characters. */
static void test_a_key_that_is_nearly_one(void **state)
{
    (void)state;
    char key[TOKEN_KEY_LEN + 1];
    for (size_t at = 0; at < TOKEN_KEY_LEN; at++) {
        struct store_search search = search_for(BY_ID, false);
        memcpy(key, all.tokens[77].key, TOKEN_KEY_LEN + 1);
        key[at] ^= 0x20;
        search.key = (struct span){key, TOKEN_KEY_LEN};
        check_search(&search);
    }
    memcpy(key, all.tokens[77].key, TOKEN_KEY_LEN + 1);
    key[TOKEN_KEY_LEN] = '0';
    struct store_search search = search_for(BY_ID, false);
    search.key = (struct span){key, TOKEN_KEY_LEN + 1};
    check_search(&search);
}

static void test_random_searches(void **state)
{
    (void)state;
    struct random random = {44};
    static const char *const keywords[] = {"", "a", "prod%", "%b", "%a%"};
    static const struct span groups[] = {{NULL, 0}, SPAN("vip"), SPAN("default")};
    for (int i = 0; i < 200; i++) {
        struct store_search search =
            search_for(random_below(&random, COUNT_OF(sort_fields)), random_below(&random, 2));
        search.keyword = span_of(keywords[random_below(&random, COUNT_OF(keywords))]);
        search.group = groups[random_below(&random, COUNT_OF(groups))];
        search.status = (enum token_status)random_below(&random, TOKEN_EXHAUSTED + 1);
        search.offset = random_below(&random, TOKENS);
        search.limit = 1 + random_below(&random, 100);
        if (random_below(&random, 2))
            search.offset %= 500;
        check_search(&search);
    }
}

static void refuse(void *context, const struct token *token)
{
    (void)context;
    fail_msg("token %" PRId64, token->id);
}

/* Users who have none, or do not exist; a user's tokens lie between two others'. */
static void test_other_users(void **state)
{
    (void)state;
    char access_token[STORE_CREDENTIAL_LEN];
    int64_t new_id = temporary_add_user(&all.temporary, access_token);
    const int64_t nobodys[] = {new_id, 0, -1, 77, INT64_MAX, INT64_MIN};
    for (size_t i = 0; i < COUNT_OF(nobodys); i++)
        for (size_t sort = 0; sort <= BY_NAME; sort++)
            for (int ascending = 0; ascending < 2; ascending++) {
                uint64_t total = 99;
                struct store_search search = search_for(sort, ascending);
                search.user_id = nobodys[i];
                assert_int_equal(
                    store_token_search(all.temporary.reader, &search, &total, refuse, NULL),
                    STORE_OK);
                assert_int_equal(total, 0);
            }
    const int64_t others[] = {all.before_id, all.after_id};
    for (size_t i = 0; i < COUNT_OF(others); i++) {
        uint64_t total = 99;
        struct store_search search = search_for(BY_NAME, false);
        search.user_id = others[i];
        search.limit = 0;
        assert_int_equal(store_token_search(all.temporary.reader, &search, &total, refuse, NULL),
                         STORE_OK);
        assert_int_equal(total, OTHERS);
    }
}

struct deep {
    int64_t next_id;
    int step;
    size_t count;
};

static void visit_deep(void *context, const struct token *token)
{
    struct deep *deep = context;
    require(token->id == deep->next_id, "token %" PRId64 " instead of %" PRId64, token->id,
            deep->next_id);
    deep->next_id += deep->step;
    deep->count++;
}

/* A page that is deeper than the 32,768 ranks that a search keeps in memory takes several passes.
 */
static void test_deep_pages(void **state)
{
    (void)state;
    enum { HELD = 32768, LIMIT = 100, AT_ONCE_MAX = 10000 };
    const uint64_t many = temporary_is_database() ? AT_ONCE_MAX : 70000;
    const uint64_t offsets[] = {0, HELD - 100, HELD - 50, HELD, 2 * HELD - 1, many - 50, many};
    struct temporary *temporary = &all.temporary;
    char access_token[STORE_CREDENTIAL_LEN];
    int64_t user_id = temporary_add_user(temporary, access_token), first = 0, id;
    for (size_t i = 0; i < many / AT_ONCE_MAX; i++) {
        assert_int_equal(temporary_create_tokens(temporary->store, user_id, AT_ONCE_MAX, 0, 0, &id),
                         STORE_OK);
        first = i == 0 ? id : first;
    }
    for (size_t i = 0; i < 2 * COUNT_OF(offsets); i++) {
        const uint64_t offset = offsets[i / 2], left = offset < many ? many - offset : 0;
        struct store_search search = search_for(BY_NAME, i % 2); /* they have one name */
        uint64_t total = 99;
        struct deep deep = {i % 2 ? first + (int64_t)offset : first + (int64_t)(many - 1 - offset),
                            i % 2 ? 1 : -1, 0};
        search.user_id = user_id;
        search.offset = offset;
        search.limit = LIMIT;
        assert_int_equal(store_token_search(temporary->reader, &search, &total, visit_deep, &deep),
                         STORE_OK);
        assert_int_equal(total, many);
        assert_int_equal(deep.count, left < LIMIT ? left : LIMIT);
    }
    struct store_search all_of_them = search_for(BY_CREATED, true);
    struct deep deep = {first, 1, 0};
    uint64_t total;
    all_of_them.user_id = user_id;
    all_of_them.limit = UINT64_MAX;
    assert_int_equal(store_token_search(temporary->reader, &all_of_them, &total, visit_deep, &deep),
                     STORE_OK);
    assert_int_equal(deep.count, many);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_orders),
        cmocka_unit_test(test_everything_at_once),
        cmocka_unit_test(test_filters),
        cmocka_unit_test(test_status_at_another_time),
        cmocka_unit_test(test_keywords),
        cmocka_unit_test(test_random_keywords),
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_a_key_that_is_nearly_one),
        cmocka_unit_test(test_random_searches),
        cmocka_unit_test(test_other_users),
        cmocka_unit_test(test_deep_pages),
    };
    return cmocka_run_group_tests_name("search", tests, set_up, tear_down);
}
