#include "tests/unit/unit.h"

#include "token/fields.h"

static void test_default(void **state)
{
    (void)state;
    struct token token = token_default();
    assert_int_equal(token.status, TOKEN_ENABLED);
    assert_int_equal(token.expired_unix_s, -1);
    assert_int_equal(token.remain_quota, 0);
    assert_int_equal(token.used_quota, 0);
    assert_false(token.unlimited_quota);
    assert_false(token.model_limits_enabled);
    assert_span_equal(token.name, SPAN(""));
    assert_span_equal(token.model_limits, SPAN(""));
    assert_span_equal(token.allow_ips, SPAN(""));
    assert_non_null(token.name.at);
    assert_non_null(token.model_limits.at);
    assert_non_null(token.allow_ips.at);
    assert_int_equal(token.refill_day, 1);
    assert_int_equal(token.refill_interval, TOKEN_REFILL_NONE);
    assert_null(token.group.at); /* absent: it becomes the user's own */
}

static void test_texts_len(void **state)
{
    (void)state;
    struct token token = token_default();
    assert_int_equal(token_texts_len(&token), 0);
    token.name = SPAN("name");
    token.model_limits = SPAN("a,b");
    token.allow_ips = SPAN("::1");
    token.group = SPAN("vip");
    assert_int_equal(token_texts_len(&token), 13);
}

enum { NOW = 1700000000 };

/* Each stored status by each expiry by each quota. */
static void test_status_at(void **state)
{
    (void)state;
    static const struct {
        int64_t expired_unix_s;
        bool expired;
    } expiries[] = {
        {-1, false},      {0, true},          {1, true},
        {NOW - 1, true},  {NOW, true}, /* it has come */
        {NOW + 1, false}, {INT64_MAX, false},
    };
    static const struct {
        int64_t remain_quota;
        bool unlimited, exhausted;
    } quotas[] = {
        {0, false, true}, {1, false, false}, {INT64_MAX, false, false},
        {0, true, false}, {1, true, false},
    };
    static const enum token_status stored[] = {TOKEN_ENABLED, TOKEN_DISABLED};
    for (size_t s = 0; s < COUNT_OF(stored); s++)
        for (size_t e = 0; e < COUNT_OF(expiries); e++)
            for (size_t q = 0; q < COUNT_OF(quotas); q++) {
                struct token token = token_default();
                token.status = stored[s];
                token.expired_unix_s = expiries[e].expired_unix_s;
                token.remain_quota = quotas[q].remain_quota;
                token.unlimited_quota = quotas[q].unlimited;
                token.used_quota = 5; /* says nothing */
                enum token_status expected = stored[s] == TOKEN_DISABLED ? TOKEN_DISABLED
                                             : expiries[e].expired       ? TOKEN_EXPIRED
                                             : quotas[q].exhausted       ? TOKEN_EXHAUSTED
                                                                         : TOKEN_ENABLED;
                require(token_status_at(&token, NOW) == expected, "%zu %zu %zu", s, e, q);
            }
}

/* -1 is never, also before 1970. */
static void test_status_at_any_time(void **state)
{
    (void)state;
    struct token token = token_default();
    token.unlimited_quota = true;
    static const int64_t times[] = {INT64_MIN, -2, -1, 0, 1, INT64_MAX};
    for (size_t i = 0; i < COUNT_OF(times); i++) {
        token.expired_unix_s = TOKEN_NEVER_EXPIRES;
        assert_int_equal(token_status_at(&token, times[i]), TOKEN_ENABLED);
        token.expired_unix_s = 0;
        assert_int_equal(token_status_at(&token, times[i]),
                         times[i] >= 0 ? TOKEN_EXPIRED : TOKEN_ENABLED);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_default),
        cmocka_unit_test(test_texts_len),
        cmocka_unit_test(test_status_at),
        cmocka_unit_test(test_status_at_any_time),
    };
    return cmocka_run_group_tests_name("token", tests, NULL, NULL);
}
