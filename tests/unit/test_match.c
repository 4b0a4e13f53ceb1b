#include "tests/unit/unit.h"

#include "token/match.h"

static void test_names(void **state)
{
    (void)state;
    static const struct {
        const char *name, *keyword;
        bool matches;
    } rows[] = {
        /* a part, letter case aside */
        {"Production", "", true},
        {"", "", true},
        {"", "a", false},
        {"Production", "duct", true},
        {"Production", "PROD", true},
        {"Production", "production", true},
        {"Production", "productions", false},
        {"Production", "tiom", false},
        {"aab", "ab", true},
        {"\xC3\x84", "\xC3\xA4", false}, /* only ASCII's letters have a case */
        {"a_b", "_", true},
        {"ab", "_", false},
        {"a@b", "`", false}, /* '@' + 32: no letter */
        {"a[b", "{", false},
        /* patterns are for the entire name */
        {"", "%", true},
        {"anything", "%", true},
        {"anything", "%%%", true},
        {"Production", "prod%", true},
        {"Production", "rod%", false},
        {"Production", "%TION", true},
        {"Production", "%tio", false},
        {"Production", "p%n", true},
        {"Production", "p%duct%n", true},
        {"Production", "p%n%duct", false},
        {"Production", "%o%o%", true},
        {"Production", "%o%o%o%", false},
        {"ab", "ab%ab", false}, /* parts do not overlap */
        {"aba", "ab%ba", false},
        {"abba", "ab%ba", true},
        {"a%b", "a%b", true},
        {"aXbXb", "a%b", true},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct span name = span_of(rows[i].name), keyword = span_of(rows[i].keyword);
        char *name_copy = heap_copy(name), *keyword_copy = heap_copy(keyword);
        require(match_name((struct span){name_copy, name.len},
                           (struct span){keyword_copy, keyword.len}) == rows[i].matches,
                "row %zu", i);
        free(name_copy);
        free(keyword_copy);
    }
}

static void test_keys(void **state)
{
    (void)state;
    static const char key[] = "sk-0000000000000000000000000000000000000000001CtB1x";
    for (size_t len = 0; len <= TOKEN_KEY_LEN; len++) {
        char other[TOKEN_KEY_LEN + 1];
        memcpy(other, key, TOKEN_KEY_LEN + 1);
        assert_true(match_key(key, (struct span){other, len}));
        if (len >= 3)
            assert_true(match_key(key, (struct span){other + 3, len - 3}));
        if (len == 0)
            continue;
        other[len - 1] ^= 1;
        assert_false(match_key(key, (struct span){other, len}));
    }
    static const char *const same[] = {"sk-sk-000", "sk-sk-", "%000%", "sk-000%", "%", "sk-%"};
    for (size_t i = 0; i < COUNT_OF(same); i++)
        require(match_key(key, span_of(same[i])), "%s", same[i]);
    assert_false(match_key(key, SPAN("0%0")));
    assert_false(match_key(key, SPAN("sk-sk-sk-0")));
    assert_false(match_key(key, SPAN("k-0")));
    assert_false(match_key(key, SPAN("SK-0")));
    assert_false(match_key(key, SPAN("sk-0000000000000000000000000000000000000000001CtB1xx")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_keys),
    };
    return cmocka_run_group_tests_name("match", tests, NULL, NULL);
}
