#include "tests/unit/unit.h"

#include "token/use.h"

enum { NOW = 1700000000, DAY = 19675 };
#define NOW_NS (INT64_C(50000) * 1000000000)

static const struct token_account unlimited = {.unlimited_quota = true};
static const struct token_use_context now = {
    .group_allowed = true, .now_unix_s = NOW, .day = DAY, .now_ns = NOW_NS};

static enum token_refusal check(const struct token *token, const struct token_use *use)
{
    int64_t retry_after_s;
    return token_use_check(token, &unlimited, use, &now, &retry_after_s);
}

/* Each thing that may be wrong, in the order in which it is looked at. */
static const enum token_refusal refusals[] = {
    TOKEN_REFUSED_USER,     TOKEN_REFUSED_DISABLED,  TOKEN_REFUSED_EXPIRED, TOKEN_REFUSED_GROUP,
    TOKEN_REFUSED_ADDRESS,  TOKEN_REFUSED_MODEL,     TOKEN_REFUSED_RATE,    TOKEN_REFUSED_RATE,
    TOKEN_REFUSED_PARALLEL, TOKEN_REFUSED_EXHAUSTED, TOKEN_REFUSED_BALANCE};
enum {
    USER,
    DISABLED,
    EXPIRED,
    GROUP,
    ADDRESS,
    MODEL,
    RATE,
    OWNERS_RATE,
    PARALLEL,
    EXHAUSTED,
    BALANCE
};

/* Of several things that are wrong the first is told. */
static void test_order(void **state)
{
    (void)state;
    for (unsigned wrongs = 0; wrongs < 1U << COUNT_OF(refusals); wrongs++) {
        struct token token = token_default();
        struct token_use use = {.ip = SPAN("10.0.0.1"), .model = SPAN("gpt-4"), .amount = 5};
        struct token_account account = {.quota = 5, .rpm_limit = 60};
        struct token_use_context context = now;
        int64_t retry_after_s;
        token.allow_ips = SPAN("10.0.0.0/8");
        token.model_limits = SPAN("gpt-4");
        token.model_limits_enabled = true;
        token.remain_quota = 5;
        token.tpm_limit = 60;
        token.max_parallel_requests = 2;
        context.reserves = true;
        context.open_count = wrongs & 1 << PARALLEL ? 2 : 1;
        context.open_s = 77;
        context.owner_disabled = wrongs & 1 << USER;
        context.group_allowed = !(wrongs & 1 << GROUP);
        if (wrongs & 1 << DISABLED)
            token.status = TOKEN_DISABLED;
        if (wrongs & 1 << EXPIRED)
            token.expired_unix_s = NOW;
        if (wrongs & 1 << ADDRESS)
            use.ip = SPAN("11.0.0.1");
        if (wrongs & 1 << MODEL)
            use.model = SPAN("gpt-5");
        if (wrongs & 1 << RATE)
            token.rates.units_full_ns = NOW_NS + 90 * INT64_C(1000000000);
        if (wrongs & 1 << OWNERS_RATE)
            account.rates.requests_full_ns = NOW_NS + 60 * INT64_C(1000000000);
        if (wrongs & 1 << EXHAUSTED)
            token.remain_quota = 4;
        if (wrongs & 1 << BALANCE)
            account.quota = 4;
        enum token_refusal expected = TOKEN_GOOD;
        for (size_t i = COUNT_OF(refusals); i-- > 0;)
            if (wrongs & 1U << i)
                expected = refusals[i];
        require(token_use_check(&token, &account, &use, &context, &retry_after_s) == expected, "%u",
                wrongs);
        int64_t wait_s = expected == TOKEN_REFUSED_PARALLEL ? 77
                         : expected != TOKEN_REFUSED_RATE   ? 0
                         : wrongs & 1 << RATE               ? 35
                                                            : 1;
        require(retry_after_s == wait_s, "%u: %lld", wrongs, (long long)retry_after_s);
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
        enum token_refusal refusal = check(&token, &use);
        require(refusal == (rows[i].good ? TOKEN_GOOD : TOKEN_REFUSED_EXHAUSTED), "row %zu", i);
        if (!rows[i].good)
            continue;
        struct token_account account = unlimited;
        token_spend(&token, &account, rows[i].amount, &now);
        require(token.used_quota == rows[i].used + rows[i].amount, "row %zu: used", i);
        require(token.remain_quota == rows[i].remain - (rows[i].unlimited ? 0 : rows[i].amount),
                "row %zu: remain", i);
    }
}

/* The owner's balance, as a token's quota; what has been used has to stay a number. */
static void test_balance(void **state)
{
    (void)state;
    static const struct {
        struct token_account account;
        int64_t amount;
        bool good;
    } rows[] = {
        {{.quota = 5}, 5, true},
        {{.quota = 5}, 0, true},
        {{.quota = 5}, 6, false},
        {{.quota = 0}, 0, false},
        {{.quota = 0}, 1, false},
        {{.quota = INT64_MAX}, INT64_MAX, true},
        {{.unlimited_quota = true}, INT64_MAX, true},
        {{.unlimited_quota = true, .used_quota = 1}, INT64_MAX, false},
        {{.quota = 5, .used_quota = INT64_MAX - 4}, 5, false},
        {{.quota = 5, .used_quota = INT64_MAX - 4}, 4, true},
        {{.unlimited_quota = true, .request_count = INT64_MAX}, 0, false},
        {{.unlimited_quota = true, .usage.dated_units = INT64_MAX}, 1, false},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct token token = token_default();
        struct token_use use = {.amount = rows[i].amount};
        struct token_account account = rows[i].account;
        int64_t retry_after_s;
        token.unlimited_quota = true;
        enum token_refusal refusal = token_use_check(&token, &account, &use, &now, &retry_after_s);
        require(refusal == (rows[i].good ? TOKEN_GOOD : TOKEN_REFUSED_BALANCE), "row %zu", i);
        if (!rows[i].good)
            continue;
        token_spend(&token, &account, rows[i].amount, &now);
        int64_t taken = account.unlimited_quota ? 0 : rows[i].amount;
        require(account.quota == rows[i].account.quota - taken, "row %zu", i);
        require(account.used_quota == rows[i].account.used_quota + rows[i].amount, "row %zu", i);
        require(account.request_count == 1, "row %zu", i);
    }
}

/* Each day anew; the sum of all goes on. */
static void test_usage(void **state)
{
    (void)state;
    struct token token = token_default();
    struct token_account account = unlimited;
    struct token_use_context context = now;
    token.unlimited_quota = true;
    token_spend(&token, &account, 5, &context);
    token_spend(&token, &account, 0, &context);
    assert_int_equal(token.usage.day, DAY);
    assert_int_equal(token.usage.units, 5);
    assert_int_equal(account.usage.requests, 2);
    context.day = DAY + 3;
    token_spend(&token, &account, 7, &context);
    assert_int_equal(account.usage.day, DAY + 3);
    assert_int_equal(token.usage.units, 7);
    assert_int_equal(token.usage.requests, 1);
    assert_int_equal(token.usage.dated_units, 12);
    assert_int_equal(account.usage.dated_units, 12);
    assert_false(token_usage_correct(&token.usage, DAY, -5, -1));
    assert_true(token_usage_correct(&token.usage, DAY + 3, -6, -1));
    assert_int_equal(token.usage.dated_units, 1);
    assert_int_equal(token.usage.units, 1);
    assert_int_equal(token.usage.requests, 0);
    /* a day that has begun anew lacks them */
    assert_false(token_usage_correct(&token.usage, DAY + 3, -1, -1));
    assert_int_equal(token.usage.units, 1);
}

/* All rates are taken, or none; what is told is of the one with less left. */
static void test_rates(void **state)
{
    (void)state;
    struct token token = token_default();
    struct token_account account = unlimited;
    struct token_use use = {.amount = 30};
    struct token_use_context context = now;
    int64_t retry_after_s;
    token.unlimited_quota = true;
    token.tpm_limit = 120;
    account.rpm_limit = 3;
    account.tpm_limit = 100;
    struct token_limit requests = token_request_limit(&token, &account, NOW_NS);
    assert_true(requests.limit == 3 && requests.left == 3 && requests.full_s == 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(token_use_check(&token, &account, &use, &context, &retry_after_s),
                         TOKEN_GOOD);
        token_spend(&token, &account, use.amount, &context);
    }
    requests = token_request_limit(&token, &account, NOW_NS);
    assert_true(requests.limit == 3 && requests.left == 0 && requests.full_s == 60);
    struct token_limit units = token_unit_limit(&token, &account, NOW_NS);
    assert_true(units.limit == 100 && units.left == 10 && units.full_s == 54);
    /* until the same use passes: all of them are looked at */
    assert_int_equal(token_use_check(&token, &account, &use, &context, &retry_after_s),
                     TOKEN_REFUSED_RATE);
    assert_int_equal(retry_after_s, 20);
    use.amount = 50;
    token_use_check(&token, &account, &use, &context, &retry_after_s);
    assert_int_equal(retry_after_s, 24);
    context.now_ns += (int64_t)retry_after_s * 1000000000;
    assert_int_equal(token_use_check(&token, &account, &use, &context, &retry_after_s), TOKEN_GOOD);
    token.rpm_limit = 60;
    requests = token_request_limit(&token, &account, context.now_ns);
    assert_int_equal(requests.limit, 3);
    account.rpm_limit = 0;
    requests = token_request_limit(&token, &account, context.now_ns);
    assert_int_equal(requests.limit, 60);
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
        require(check(&token, &use) == rows[i].refusal, "row %zu", i);
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
        require(check(&token, &use) == rows[i].refusal, "row %zu", i);
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
        {TOKEN_REFUSED_USER, "user", 403},       {TOKEN_REFUSED_GROUP, "group", 403},
        {TOKEN_REFUSED_RATE, "rate", 403},       {TOKEN_REFUSED_BALANCE, "balance", 403},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        assert_string_equal(token_refusal_answers[rows[i].refusal].reason, rows[i].reason);
        assert_int_equal(token_refusal_answers[rows[i].refusal].status, rows[i].status);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),   cmocka_unit_test(test_quota),
        cmocka_unit_test(test_balance), cmocka_unit_test(test_usage),
        cmocka_unit_test(test_rates),   cmocka_unit_test(test_what_is_not_known),
        cmocka_unit_test(test_expiry),  cmocka_unit_test(test_words),
    };
    return cmocka_run_group_tests_name("use", tests, NULL, NULL);
}
