#include "tests/unit/unit.h"

#include "token/use.h"

enum { NOW = 1700000000 };

/* Each thing that may be wrong, in the order in which it is looked at. */
enum { DISABLED, EXPIRED, ADDRESS, MODEL, EXHAUSTED, WRONGS };

static const enum token_refusal refusals[WRONGS] = {TOKEN_REFUSED_DISABLED, TOKEN_REFUSED_EXPIRED,
                                                    TOKEN_REFUSED_ADDRESS, TOKEN_REFUSED_MODEL,
                                                    TOKEN_REFUSED_EXHAUSTED};

/* Of several things that are wrong the first is told. */
static void test_order(void **state)
{
    (void)state;
    for (unsigned wrongs = 0; wrongs < 1U << WRONGS; wrongs++) {
        struct token token = token_default();
        struct token_use use = {.ip = SPAN("10.0.0.1"), .model = SPAN("gpt-4"), .amount = 5};
        token.allow_ips = SPAN("10.0.0.0/8");
        token.model_limits = SPAN("gpt-4");
        token.model_limits_enabled = true;
        token.remain_quota = 5;
        if (wrongs & 1 << DISABLED)
            token.status = TOKEN_DISABLED;
        if (wrongs & 1 << EXPIRED)
            token.expired_unix_s = NOW;
        if (wrongs & 1 << ADDRESS)
            use.ip = SPAN("11.0.0.1");
        if (wrongs & 1 << MODEL)
            use.model = SPAN("gpt-5");
        if (wrongs & 1 << EXHAUSTED)
            token.remain_quota = 4;
        enum token_refusal expected = TOKEN_GOOD;
        for (size_t i = WRONGS; i-- > 0;)
            if (wrongs & 1U << i)
                expected = refusals[i];
        require(token_use_check(&token, &use, NOW) == expected, "%u", wrongs);
    }
}

static void test_quota(void **state)
{
    (void)state;
    static const struct {
        int64_t remain, used, amount;
        bool unlimited, good;
    } rows[] = {
        {5, 0, 5, false, true},
        {5, 0, 4, false, true},
        {5, 0, 0, false, true},
        {5, 0, 6, false, false},
        {1, 0, 1, false, true},
        {0, 0, 0, false, false}, /* exhausted, whatever it costs */
        {0, 7, 0, false, false},
        {0, 0, 1, false, false},
        {INT64_MAX, 0, INT64_MAX, false, true},
        {5, 0, INT64_MAX, false, false},
        {0, 0, 0, true, true},
        {0, 0, 5, true, true},
        {3, 0, 5, true, true},
        {0, INT64_MAX, 0, true, true},
        /* what has been used has to stay a number */
        {0, INT64_MAX, 1, true, false},
        {0, INT64_MAX - 5, 5, true, true},
        {0, INT64_MAX - 5, 6, true, false},
        {10, INT64_MAX - 5, 5, false, true},
        {10, INT64_MAX - 5, 6, false, false},
        {0, 1, INT64_MAX, true, false},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct token token = token_default();
        struct token_use use = {.amount = rows[i].amount};
        token.remain_quota = rows[i].remain;
        token.used_quota = rows[i].used;
        token.unlimited_quota = rows[i].unlimited;
        enum token_refusal refusal = token_use_check(&token, &use, NOW);
        require(refusal == (rows[i].good ? TOKEN_GOOD : TOKEN_REFUSED_EXHAUSTED), "row %zu", i);
        if (!rows[i].good)
            continue;
        token_spend(&token, rows[i].amount);
        require(token.used_quota == rows[i].used + rows[i].amount, "row %zu: used", i);
        require(token.remain_quota == rows[i].remain - (rows[i].unlimited ? 0 : rows[i].amount),
                "row %zu: remain", i);
    }
}

/* What is not known is not allowed, and what is not limited needs not be known. */
static void test_what_is_not_known(void **state)
{
    (void)state;
    static const struct {
        const char *ips, *models;
        bool models_enabled;
        const char *ip, *model;
        enum token_refusal refusal;
    } rows[] = {
        {"", "", false, NULL, NULL, TOKEN_GOOD},
        {"", "", false, "what", "any", TOKEN_GOOD},
        {"::1", "", false, "::1", NULL, TOKEN_GOOD},
        {"::1", "", false, NULL, NULL, TOKEN_REFUSED_ADDRESS},
        {"::1", "", false, "", NULL, TOKEN_REFUSED_ADDRESS},
        {"::1", "", false, "what", NULL, TOKEN_REFUSED_ADDRESS},
        {"", "a", false, NULL, NULL, TOKEN_GOOD},
        {"", "a", false, NULL, "b", TOKEN_GOOD},
        {"", "a", true, NULL, "a", TOKEN_GOOD},
        {"", "a", true, NULL, "b", TOKEN_REFUSED_MODEL},
        {"", "a", true, NULL, "", TOKEN_REFUSED_MODEL},
        {"", "a", true, NULL, NULL, TOKEN_REFUSED_MODEL},
        {"", "", true, NULL, NULL, TOKEN_REFUSED_MODEL},
        {"", "", true, NULL, "a", TOKEN_REFUSED_MODEL},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct token token = token_default();
        struct token_use use = {.ip = span_of(rows[i].ip), .model = span_of(rows[i].model)};
        token.unlimited_quota = true;
        token.allow_ips = span_of(rows[i].ips);
        token.model_limits = span_of(rows[i].models);
        token.model_limits_enabled = rows[i].models_enabled;
        require(token_use_check(&token, &use, NOW) == rows[i].refusal, "row %zu", i);
    }
}

static void test_expiry(void **state)
{
    (void)state;
    static const struct {
        int64_t expired_unix_s;
        enum token_refusal refusal;
    } rows[] = {{TOKEN_NEVER_EXPIRES, TOKEN_GOOD}, {NOW + 1, TOKEN_GOOD},
                {NOW, TOKEN_REFUSED_EXPIRED},      {NOW - 1, TOKEN_REFUSED_EXPIRED},
                {0, TOKEN_REFUSED_EXPIRED},        {INT64_MAX, TOKEN_GOOD}};
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct token token = token_default();
        struct token_use use = {.amount = 0};
        token.unlimited_quota = true;
        token.expired_unix_s = rows[i].expired_unix_s;
        require(token_use_check(&token, &use, NOW) == rows[i].refusal, "row %zu", i);
    }
}

static void test_words(void **state)
{
    (void)state;
    static const struct {
        enum token_refusal refusal;
        const char *reason;
        int status;
    } rows[] = {
        {TOKEN_REFUSED_MISSING, "missing", 401}, {TOKEN_REFUSED_MALFORMED, "malformed", 401},
        {TOKEN_REFUSED_UNKNOWN, "unknown", 401}, {TOKEN_REFUSED_DISABLED, "disabled", 401},
        {TOKEN_REFUSED_EXPIRED, "expired", 401}, {TOKEN_REFUSED_EXHAUSTED, "exhausted", 401},
        {TOKEN_REFUSED_ADDRESS, "address", 403}, {TOKEN_REFUSED_MODEL, "model", 403},
        {TOKEN_REFUSED_USER, "user", 403},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        assert_string_equal(token_refusal_answers[rows[i].refusal].reason, rows[i].reason);
        assert_int_equal(token_refusal_answers[rows[i].refusal].status, rows[i].status);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_quota),
        cmocka_unit_test(test_what_is_not_known),
        cmocka_unit_test(test_expiry),
        cmocka_unit_test(test_words),
    };
    return cmocka_run_group_tests_name("use", tests, NULL, NULL);
}
