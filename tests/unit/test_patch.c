#include "tests/unit/unit.h"

#include "tests/unit/token_same.h"
#include "token/patch.h"
#include "token/refill.h"

/* ---- limits ---- */

/* A text of count times the same character. The caller frees it. */
static struct span replayed(const char *character, size_t count)
{
    size_t len = strlen(character);
    char *text = malloc(len * count);
    assert_non_null(text);
    for (size_t i = 0; i < len * count; i++)
        text[i] = character[i % len];
    return (struct span){text, len * count};
}

static void free_text(struct span text)
{
    free((void *)(uintptr_t)text.at);
}

static struct span *text_of(struct token *token, enum token_field field)
{
    switch (field) {
    case TOKEN_FIELD_NAME:
        return &token->name;
    case TOKEN_FIELD_GROUP:
        return &token->group;
    case TOKEN_FIELD_MODEL_LIMITS:
        return &token->model_limits;
    default:
        return &token->allow_ips;
    }
}

static const char control[] = "must not have control characters";
static const char too_long_list[] = "must be at most 8192 bytes";

/* What is wrong, or NULL. */
static const char *check(const struct token_patch *patch)
{
    struct validation_error error = {.text = NULL};
    if (token_patch_check(patch, &error))
        return NULL;
    bool name_too_long = span_equal(error.field, SPAN("name")) && strcmp(error.text, control) != 0;
    assert_int_equal(error.code, name_too_long ? VALIDATION_NAME_TOO_LONG : VALIDATION_INVALID);
    for (size_t i = 0; i < TOKEN_FIELD_COUNT; i++) /* it names a field of the patch */
        if (span_equal(error.field, token_field_rules[i].name))
            assert_true(patch->fields & token_field_rules[i].field);
    return error.text;
}

static bool is_same(const char *actual, const char *expected)
{
    return actual && expected ? strcmp(actual, expected) == 0 : actual == expected;
}

static const char *check_text(enum token_field field, struct span text)
{
    struct token_patch patch = {.fields = field};
    *text_of(&patch.value, field) = text;
    return check(&patch);
}

static void test_text_lengths(void **state)
{
    (void)state;
    static const struct {
        const char *character;
        size_t max; /* of them */
        enum token_field field;
        const char *error;
    } rows[] = {
        {"a", 255, TOKEN_FIELD_NAME, "is too long"},
        {"\xC3\xA9", 255, TOKEN_FIELD_NAME, "is too long"}, /* characters, not bytes */
        {"\xE4\xBB\xA4", 255, TOKEN_FIELD_NAME, "is too long"},
        {"\xF0\x9F\x98\x80", 255, TOKEN_FIELD_NAME, "is too long"},
        {"g", 64, TOKEN_FIELD_GROUP, "must be at most 64 bytes"},
        {"\xC3\xA9", 32, TOKEN_FIELD_GROUP, "must be at most 64 bytes"},
        {"m", 8192, TOKEN_FIELD_MODEL_LIMITS, too_long_list},
        {"1", 8192, TOKEN_FIELD_ALLOW_IPS, too_long_list},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct span most = replayed(rows[i].character, rows[i].max);
        struct span more = replayed(rows[i].character, rows[i].max + 1);
        require(is_same(check_text(rows[i].field, SPAN("")), NULL), "row %zu: empty", i);
        require(is_same(check_text(rows[i].field, most), NULL), "row %zu: the most", i);
        require(is_same(check_text(rows[i].field, more), rows[i].error), "row %zu: one more", i);
        free_text(most);
        free_text(more);
    }
}

static void test_control_characters(void **state)
{
    (void)state;
    static const struct {
        enum token_field field;
        const char *error;
    } fields[] = {
        {TOKEN_FIELD_NAME, control},
        {TOKEN_FIELD_GROUP, control},
        {TOKEN_FIELD_MODEL_LIMITS, control},
    };
    static const struct span bad[] = {SPAN("\0"),   SPAN("a\0b"),    SPAN("\n"),
                                      SPAN("\x1F"), SPAN("\x7F"),    SPAN("a\xC2\x80"),
                                      SPAN("\tab"), SPAN("\xC2\x9F")};
    static const struct span good[] = {SPAN(" "), SPAN("~"), SPAN("\xC2\xA0"), SPAN("a\"\\/b")};
    for (size_t f = 0; f < COUNT_OF(fields); f++) {
        for (size_t i = 0; i < COUNT_OF(bad); i++)
            require(is_same(check_text(fields[f].field, bad[i]), fields[f].error), "%zu %zu", f, i);
        for (size_t i = 0; i < COUNT_OF(good); i++)
            require(is_same(check_text(fields[f].field, good[i]), NULL), "%zu %zu", f, i);
    }
}

static void test_numbers(void **state)
{
    (void)state;
    static const struct {
        int64_t value;
        const char *expired, *quota;
    } rows[] = {
        {INT64_MIN, "must be 0 or more, or -1 for never", "must be 0 or more"},
        {-2, "must be 0 or more, or -1 for never", "must be 0 or more"},
        {-1, NULL, "must be 0 or more"},
        {0, NULL, NULL},
        {1, NULL, NULL},
        {INT64_MAX, NULL, NULL},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct token_patch patch = {.fields = TOKEN_FIELD_EXPIRED};
        patch.value.expired_unix_s = rows[i].value;
        require(is_same(check(&patch), rows[i].expired), "expired, row %zu", i);
        patch = (struct token_patch){.fields = TOKEN_FIELD_REMAIN_QUOTA};
        patch.value.remain_quota = rows[i].value;
        require(is_same(check(&patch), rows[i].quota), "quota, row %zu", i);
    }
    for (int status = -1; status <= 6; status++) {
        struct token_patch patch = {.fields = TOKEN_FIELD_STATUS};
        patch.value.status = (enum token_status)status;
        const char *expected = status >= 1 && status <= 4 ? NULL : TOKEN_STATUS_MESSAGE;
        require(is_same(check(&patch), expected), "status %d", status);
    }
}

/* What is not in the patch is not looked at. */
static void test_other_fields_are_not_checked(void **state)
{
    (void)state;
    struct span name = replayed("x", 256), group = replayed("x", 65), list = replayed("x", 8193);
    struct token_patch patch = {
        .value = {.name = name,
                  .group = group,
                  .model_limits = list,
                  .allow_ips = list,
                  .status = (enum token_status)9,
                  .remain_quota = -1,
                  .expired_unix_s = -2},
    };
    static const struct {
        enum token_field field;
        const char *error;
    } rows[] = {
        {TOKEN_FIELD_NAME, "is too long"},
        {TOKEN_FIELD_STATUS, TOKEN_STATUS_MESSAGE},
        {TOKEN_FIELD_REMAIN_QUOTA, "must be 0 or more"},
        {TOKEN_FIELD_UNLIMITED_QUOTA, NULL},
        {TOKEN_FIELD_MODEL_LIMITS_ENABLED, NULL},
        {TOKEN_FIELD_MODEL_LIMITS, too_long_list},
        {TOKEN_FIELD_ALLOW_IPS, too_long_list},
        {TOKEN_FIELD_GROUP, "must be at most 64 bytes"},
        {TOKEN_FIELD_EXPIRED, "must be 0 or more, or -1 for never"},
    };
    assert_null(check(&patch));
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        patch.fields = rows[i].field;
        require(is_same(check(&patch), rows[i].error), "row %zu", i);
    }
    free_text(name);
    free_text(group);
    free_text(list);
}

/* ---- the table ---- */

/* Each field once, with a name of its own, a member of its own, and limits that its default keeps.
 */
static void test_table(void **state)
{
    (void)state;
    struct token_patch patch = {.fields = ~0U, .value = token_default()};
    assert_null(check(&patch));
    for (size_t i = 0; i < TOKEN_FIELD_COUNT; i++) {
        const struct token_field_rule *rule = &token_field_rules[i];
        assert_int_equal(rule->field, 1 << i);
        assert_int_equal(rule->name.len, strlen(rule->name.at));
        assert_true(rule->offset + rule->size <= sizeof(struct token));
        assert_true(rule->set_by == TOKEN_SET_NEVER || rule->kind == TOKEN_KIND_BOOLEAN ||
                    strlen(rule->message) > 0);
        for (size_t j = 0; j < i; j++) {
            assert_false(span_equal(rule->name, token_field_rules[j].name));
            assert_true(rule->offset != token_field_rules[j].offset);
        }
    }
    unsigned create = token_fields_set_by(TOKEN_SET_CREATE);
    assert_int_equal(token_fields_set_by(TOKEN_SET_UPDATE), create | TOKEN_FIELD_STATUS);
    assert_int_equal(token_fields_set_by(TOKEN_SET_NEVER), 0);
    assert_int_equal(create & (TOKEN_FIELD_ID | TOKEN_FIELD_USER_ID | TOKEN_FIELD_KEY |
                               TOKEN_FIELD_STATUS | TOKEN_FIELD_USED_QUOTA | TOKEN_FIELD_CREATED |
                               TOKEN_FIELD_ACCESSED),
                     0);
}

/* ---- applying ---- */

enum { NOW = 1700000000, PAST = NOW - 5, FUTURE = NOW + 5, NEVER = -1 };

static struct token sample(void)
{
    return (struct token){
        .id = 7,
        .user_id = 3,
        .name = SPAN("old"),
        .key = "sk-0000000000000000000000000000000000000000001CtB1",
        .status = TOKEN_ENABLED,
        .remain_quota = 100,
        .used_quota = 11,
        .model_limits = SPAN("m"),
        .allow_ips = SPAN("1.1.1.1"),
        .group = SPAN("g"),
        .expired_unix_s = NEVER,
        .created_unix_s = 5,
        .accessed_unix_s = 6,
        .refill_day = 1,
    };
}

/* Each set of fields changes those and no other. */
static void test_fields_in_the_patch_change(void **state)
{
    (void)state;
    const struct token before = sample();
    struct token other = {
        .id = 99, /* these can't be set */
        .user_id = 98,
        .key = "nothing",
        .used_quota = 97,
        .created_unix_s = 96,
        .accessed_unix_s = 95,
        .name = SPAN("new"),
        .status = TOKEN_DISABLED,
        .remain_quota = 200,
        .unlimited_quota = true,
        .model_limits_enabled = true,
        .model_limits = SPAN("x,y"),
        .allow_ips = SPAN("::1"),
        .group = SPAN("h"),
        .expired_unix_s = FUTURE,
        .rpm_limit = 60,
        .tpm_limit = 61,
        .max_parallel_requests = 62,
        .refill_amount = 63,
        .refill_interval = TOKEN_REFILL_MONTH,
        .refill_day = 31,
    };
    static const enum token_field settable[] = {TOKEN_FIELD_NAME,
                                                TOKEN_FIELD_STATUS,
                                                TOKEN_FIELD_REMAIN_QUOTA,
                                                TOKEN_FIELD_UNLIMITED_QUOTA,
                                                TOKEN_FIELD_MODEL_LIMITS_ENABLED,
                                                TOKEN_FIELD_MODEL_LIMITS,
                                                TOKEN_FIELD_ALLOW_IPS,
                                                TOKEN_FIELD_GROUP,
                                                TOKEN_FIELD_EXPIRED,
                                                TOKEN_FIELD_RPM_LIMIT,
                                                TOKEN_FIELD_TPM_LIMIT,
                                                TOKEN_FIELD_MAX_PARALLEL_REQUESTS,
                                                TOKEN_FIELD_REFILL_AMOUNT,
                                                TOKEN_FIELD_REFILL_INTERVAL,
                                                TOKEN_FIELD_REFILL_DAY};
    for (unsigned set = 0; set < 1U << COUNT_OF(settable); set++) {
        unsigned fields = 0;
        for (size_t i = 0; i < COUNT_OF(settable); i++)
            fields |= set & 1U << i ? (unsigned)settable[i] : 0;
        struct token_patch patch = {.fields = fields, .value = other, .name_max = 3};
        struct token expected = before, token = before;
        if (fields & TOKEN_FIELD_NAME)
            expected.name = other.name;
        if (fields & TOKEN_FIELD_STATUS)
            expected.status = other.status;
        if (fields & TOKEN_FIELD_REMAIN_QUOTA)
            expected.remain_quota = other.remain_quota;
        if (fields & TOKEN_FIELD_UNLIMITED_QUOTA)
            expected.unlimited_quota = other.unlimited_quota;
        if (fields & TOKEN_FIELD_MODEL_LIMITS_ENABLED)
            expected.model_limits_enabled = other.model_limits_enabled;
        if (fields & TOKEN_FIELD_MODEL_LIMITS)
            expected.model_limits = other.model_limits;
        if (fields & TOKEN_FIELD_ALLOW_IPS)
            expected.allow_ips = other.allow_ips;
        if (fields & TOKEN_FIELD_GROUP)
            expected.group = other.group;
        if (fields & TOKEN_FIELD_EXPIRED)
            expected.expired_unix_s = other.expired_unix_s;
        if (fields & TOKEN_FIELD_RPM_LIMIT)
            expected.rpm_limit = other.rpm_limit;
        if (fields & TOKEN_FIELD_TPM_LIMIT)
            expected.tpm_limit = other.tpm_limit;
        if (fields & TOKEN_FIELD_MAX_PARALLEL_REQUESTS)
            expected.max_parallel_requests = other.max_parallel_requests;
        if (fields & TOKEN_FIELD_REFILL_AMOUNT)
            expected.refill_amount = other.refill_amount;
        if (fields & TOKEN_FIELD_REFILL_INTERVAL)
            expected.refill_interval = other.refill_interval;
        if (fields & TOKEN_FIELD_REFILL_DAY)
            expected.refill_day = other.refill_day;
        token_refill_start(&expected, NOW / 86400);
        require(token_patch_apply(&patch, NOW, NOW / 86400, &token) == TOKEN_OK, "fields %x",
                fields);
        require(token_same(&token, &expected), "fields %x", fields);
    }
}

/* What a patch may say, beside nothing. */
enum { KEEP = -100 };

/* Read: stored status, expiry, remaining quota (NEVER: unlimited); the patch's
 * status, expiry, remaining quota and unlimited; what comes of it and what the token
 * then reads as. */
static const struct {
    int status, expired, quota;
    int new_status, new_expired, new_quota, new_unlimited;
    enum token_error error;
    enum token_status reads;
} enabling[] = {
    /* a disabled token that is fine otherwise */
    {2, NEVER, 10, 1, KEEP, KEEP, KEEP, TOKEN_OK, TOKEN_ENABLED},
    {2, FUTURE, 10, 1, KEEP, KEEP, KEEP, TOKEN_OK, TOKEN_ENABLED},
    {2, NEVER, NEVER, 1, KEEP, KEEP, KEEP, TOKEN_OK, TOKEN_ENABLED},
    /* disabled and expired */
    {2, PAST, 10, 1, KEEP, KEEP, KEEP, TOKEN_ENABLE_EXPIRED, TOKEN_DISABLED},
    {2, NOW, 10, 1, KEEP, KEEP, KEEP, TOKEN_ENABLE_EXPIRED, TOKEN_DISABLED},
    {2, PAST, NEVER, 1, KEEP, KEEP, KEEP, TOKEN_ENABLE_EXPIRED, TOKEN_DISABLED},
    {2, PAST, 10, 1, FUTURE, KEEP, KEEP, TOKEN_OK, TOKEN_ENABLED},
    {2, PAST, 10, 1, NEVER, KEEP, KEEP, TOKEN_OK, TOKEN_ENABLED},
    {2, PAST, 10, 1, NOW, KEEP, KEEP, TOKEN_ENABLE_EXPIRED, TOKEN_DISABLED},
    {2, PAST, 10, KEEP, FUTURE, KEEP, KEEP, TOKEN_OK, TOKEN_DISABLED},
    /* disabled and exhausted */
    {2, NEVER, 0, 1, KEEP, KEEP, KEEP, TOKEN_ENABLE_EXHAUSTED, TOKEN_DISABLED},
    {2, NEVER, 0, 1, KEEP, 1, KEEP, TOKEN_OK, TOKEN_ENABLED},
    {2, NEVER, 0, 1, KEEP, KEEP, true, TOKEN_OK, TOKEN_ENABLED},
    {2, NEVER, 0, 1, KEEP, 0, false, TOKEN_ENABLE_EXHAUSTED, TOKEN_DISABLED},
    {2, NEVER, NEVER, 1, KEEP, KEEP, false, TOKEN_ENABLE_EXHAUSTED, TOKEN_DISABLED},
    {2, NEVER, 0, KEEP, KEEP, 5, KEEP, TOKEN_OK, TOKEN_DISABLED},
    /* disabled, and both: the expiry comes first */
    {2, PAST, 0, 1, KEEP, KEEP, KEEP, TOKEN_ENABLE_EXPIRED, TOKEN_DISABLED},
    {2, PAST, 0, 1, FUTURE, KEEP, KEEP, TOKEN_ENABLE_EXHAUSTED, TOKEN_DISABLED},
    {2, PAST, 0, 1, KEEP, 5, KEEP, TOKEN_ENABLE_EXPIRED, TOKEN_DISABLED},
    {2, PAST, 0, 1, FUTURE, 5, KEEP, TOKEN_OK, TOKEN_ENABLED},
    /* enabled as stored, and expired or exhausted since */
    {1, PAST, 10, 1, KEEP, KEEP, KEEP, TOKEN_ENABLE_EXPIRED, TOKEN_EXPIRED},
    {1, NEVER, 0, 1, KEEP, KEEP, KEEP, TOKEN_ENABLE_EXHAUSTED, TOKEN_EXHAUSTED},
    {1, PAST, 10, 1, FUTURE, KEEP, KEEP, TOKEN_OK, TOKEN_ENABLED},
    {1, NEVER, 0, 1, KEEP, 5, KEEP, TOKEN_OK, TOKEN_ENABLED},
    /* extending brings it back without a word about the status */
    {1, PAST, 10, KEEP, FUTURE, KEEP, KEEP, TOKEN_OK, TOKEN_ENABLED},
    {1, PAST, 10, KEEP, NEVER, KEEP, KEEP, TOKEN_OK, TOKEN_ENABLED},
    {1, NEVER, 0, KEEP, KEEP, 1, KEEP, TOKEN_OK, TOKEN_ENABLED},
    {1, NEVER, 0, KEEP, KEEP, KEEP, true, TOKEN_OK, TOKEN_ENABLED},
    {1, PAST, 0, KEEP, FUTURE, KEEP, KEEP, TOKEN_OK, TOKEN_EXHAUSTED},
    /* other changes of an expired or exhausted token are none of it */
    {1, PAST, 10, KEEP, KEEP, KEEP, KEEP, TOKEN_OK, TOKEN_EXPIRED},
    {1, NEVER, 0, KEEP, KEEP, KEEP, KEEP, TOKEN_OK, TOKEN_EXHAUSTED},
    /* a whole answer sent back: 3 and 4 are passed over */
    {1, PAST, 10, 3, PAST, 10, false, TOKEN_OK, TOKEN_EXPIRED},
    {1, NEVER, 0, 4, NEVER, 0, false, TOKEN_OK, TOKEN_EXHAUSTED},
    {1, PAST, 10, 3, FUTURE, 10, false, TOKEN_OK, TOKEN_ENABLED},
    {1, NEVER, 0, 4, NEVER, 5, false, TOKEN_OK, TOKEN_ENABLED},
    {2, NEVER, 10, 3, KEEP, KEEP, KEEP, TOKEN_OK, TOKEN_DISABLED},
    {2, NEVER, 10, 4, KEEP, KEEP, KEEP, TOKEN_OK, TOKEN_DISABLED},
    /* disabling is always possible */
    {1, NEVER, 10, 2, KEEP, KEEP, KEEP, TOKEN_OK, TOKEN_DISABLED},
    {1, PAST, 10, 2, KEEP, KEEP, KEEP, TOKEN_OK, TOKEN_DISABLED},
    {1, NEVER, 0, 2, KEEP, KEEP, KEEP, TOKEN_OK, TOKEN_DISABLED},
    {2, PAST, 0, 2, KEEP, KEEP, KEEP, TOKEN_OK, TOKEN_DISABLED},
    /* an enabled token sent back with a past expiry, or no quota: not enabled by that */
    {1, NEVER, 10, 1, PAST, KEEP, KEEP, TOKEN_OK, TOKEN_EXPIRED},
    {1, NEVER, 10, 1, KEEP, 0, KEEP, TOKEN_OK, TOKEN_EXHAUSTED},
    {1, NEVER, NEVER, 1, KEEP, KEEP, false, TOKEN_OK, TOKEN_EXHAUSTED},
    {1, FUTURE, 10, 1, KEEP, KEEP, KEEP, TOKEN_OK, TOKEN_ENABLED},
};

static struct token stored(int status, int expired, int quota)
{
    struct token token = sample();
    token.status = (enum token_status)status;
    token.expired_unix_s = expired;
    token.unlimited_quota = quota == NEVER;
    token.remain_quota = quota == NEVER ? 0 : quota;
    return token;
}

static struct token_patch patched(int status, int expired, int quota, int unlimited)
{
    struct token_patch patch = {
        .fields = TOKEN_FIELD_NAME, .value = {.name = SPAN("new")}, .name_max = 3};
    if (status != KEEP)
        patch.fields |= TOKEN_FIELD_STATUS;
    if (expired != KEEP)
        patch.fields |= TOKEN_FIELD_EXPIRED;
    if (quota != KEEP)
        patch.fields |= TOKEN_FIELD_REMAIN_QUOTA;
    if (unlimited != KEEP)
        patch.fields |= TOKEN_FIELD_UNLIMITED_QUOTA;
    patch.value.status = (enum token_status)status;
    patch.value.expired_unix_s = expired;
    patch.value.remain_quota = quota;
    patch.value.unlimited_quota = unlimited == true;
    return patch;
}

static void test_enabling(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(enabling); i++) {
        struct token before = stored(enabling[i].status, enabling[i].expired, enabling[i].quota);
        struct token token = before;
        struct token_patch patch = patched(enabling[i].new_status, enabling[i].new_expired,
                                           enabling[i].new_quota, enabling[i].new_unlimited);
        enum token_error error = token_patch_apply(&patch, NOW, NOW / 86400, &token);
        require(error == enabling[i].error, "row %zu: error %d", i, (int)error);
        require(token_status_at(&token, NOW) == enabling[i].reads, "row %zu: reads %d", i,
                (int)token_status_at(&token, NOW));
        if (error != TOKEN_OK)
            require(token_same(&token, &before), "row %zu: changed though refused", i);
        else
            assert_span_equal(token.name, SPAN("new"));
    }
}

/* For every combination: what is refused changes nothing, what was enabled reads as
 * enabled, only 1 and 2 are ever stored. */
static void test_enabling_holds_for_all(void **state)
{
    (void)state;
    static const int expiries[] = {KEEP, NEVER, 0, PAST, NOW, FUTURE}, quotas[] = {KEEP, 0, 1};
    static const int unlimiteds[] = {KEEP, false, true}, statuses[] = {KEEP, 1, 2, 3, 4};
    size_t refused = 0;
    for (int old = 0; old < 2 * 5 * 3; old++)
        for (int new = 0; new < 5 * 6 * 3 * 3; new ++) {
            int quota = old / 10 == 2 ? NEVER : old / 10;
            struct token before = stored(1 + old % 2, expiries[1 + old / 2 % 5], quota);
            struct token token = before;
            int status = statuses[new % 5];
            struct token_patch patch =
                patched(status, expiries[new / 5 % 6], quotas[new / 30 % 3], unlimiteds[new / 90]);
            enum token_error error = token_patch_apply(&patch, NOW, NOW / 86400, &token);
            enum token_status was = token_status_at(&before, NOW),
                              is = token_status_at(&token, NOW);
            refused += error != TOKEN_OK;
            require(token.status == TOKEN_ENABLED || token.status == TOKEN_DISABLED, "stored");
            require(error == TOKEN_OK || token_same(&token, &before), "%d %d: changed", old, new);
            require(error == TOKEN_OK || (status == 1 && was != TOKEN_ENABLED),
                    "%d %d: refused for nothing", old, new);
            require(error != TOKEN_OK || status != 1 || was == TOKEN_ENABLED || is == TOKEN_ENABLED,
                    "%d %d: enabled, and is not", old, new);
            require(status != 2 || is == TOKEN_DISABLED, "%d %d: disabled, and is not", old, new);
            require(status == 1 || status == 2 || token.status == before.status,
                    "%d %d: another status", old, new);
        }
    assert_true(refused > 100);
}

/* remain_quota as of the used_quota that the client has read, or what is added to it. The token has
 * 100 left and 11 used, finite unless a row says otherwise. */
static void test_quota_that_is_spent(void **state)
{
    (void)state;
    enum { NONE = -1 };
    static const struct {
        int64_t remain, used, add; /* of the patch; remain, used: or NONE */
        bool was_unlimited, becomes_unlimited;
        enum token_error error;
        int64_t left;
    } rows[] = {
        {100, NONE, 0, false, false, TOKEN_OK, 100},
        {100, 11, 0, false, false, TOKEN_OK, 100},
        {111, 0, 0, false, false, TOKEN_OK, 100}, /* 11 spent since */
        {90, 21, 0, false, false, TOKEN_OK, 100}, /* 10 given back since */
        {11, 0, 0, false, false, TOKEN_OK, 0},
        {10, 0, 0, false, false, TOKEN_OK, 0},
        {0, 0, 0, false, false, TOKEN_OK, 0},
        {INT64_MAX, 0, 0, false, false, TOKEN_OK, INT64_MAX - 11},
        {INT64_MAX, 12, 0, false, false, TOKEN_QUOTA_TOO_HIGH, 0},
        {0, INT64_MAX, 0, false, false, TOKEN_OK, INT64_MAX - 11},
        {12, INT64_MAX, 0, false, false, TOKEN_QUOTA_TOO_HIGH, 0},
        {50, 0, 0, true, true, TOKEN_OK, 50},
        {50, 0, 0, true, false, TOKEN_OK, 50},
        {50, 0, 0, false, true, TOKEN_OK, 50},
        {NONE, NONE, 5, false, false, TOKEN_OK, 105},
        {NONE, NONE, -100, false, false, TOKEN_OK, 0},
        {NONE, NONE, -101, false, false, TOKEN_QUOTA_TOO_LOW, 0},
        {NONE, NONE, INT64_MIN, false, false, TOKEN_QUOTA_TOO_LOW, 0},
        {NONE, NONE, INT64_MAX - 100, false, false, TOKEN_OK, INT64_MAX},
        {NONE, NONE, INT64_MAX - 99, false, false, TOKEN_QUOTA_TOO_HIGH, 0},
        {NONE, NONE, 5, true, true, TOKEN_OK, 105},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct token before = sample();
        before.unlimited_quota = rows[i].was_unlimited;
        struct token token = before;
        struct token_patch patch = {.fields = TOKEN_FIELD_UNLIMITED_QUOTA,
                                    .add_quota = rows[i].add};
        patch.value.unlimited_quota = rows[i].becomes_unlimited;
        patch.value.remain_quota = rows[i].remain;
        patch.value.used_quota = rows[i].used;
        patch.fields |= rows[i].remain != NONE ? TOKEN_FIELD_REMAIN_QUOTA : 0;
        patch.fields |= rows[i].used != NONE ? TOKEN_FIELD_USED_QUOTA : 0;
        require(token_patch_apply(&patch, NOW, NOW / 86400, &token) == rows[i].error, "row %zu", i);
        require(token.used_quota == before.used_quota, "row %zu: used", i);
        if (rows[i].error != TOKEN_OK)
            require(token_same(&token, &before), "row %zu: changed though refused", i);
        else
            require(token.remain_quota == rows[i].left, "row %zu: left", i);
    }
}

/* Enough quota in the same patch enables an exhausted token; what was spent since does not. */
static void test_enabling_by_the_resulting_quota(void **state)
{
    (void)state;
    struct token token = stored(2, NEVER, 0);
    struct token_patch patch = {.fields = TOKEN_FIELD_STATUS, .value.status = TOKEN_ENABLED};
    patch.add_quota = 1;
    assert_int_equal(token_patch_apply(&patch, NOW, NOW / 86400, &token), TOKEN_OK);
    token = stored(2, NEVER, 0);
    token.used_quota = 7;
    patch.add_quota = 0;
    patch.fields |= TOKEN_FIELD_REMAIN_QUOTA | TOKEN_FIELD_USED_QUOTA;
    patch.value.remain_quota = 7;
    assert_int_equal(token_patch_apply(&patch, NOW, NOW / 86400, &token), TOKEN_ENABLE_EXHAUSTED);
    patch.value.remain_quota = 8;
    assert_int_equal(token_patch_apply(&patch, NOW, NOW / 86400, &token), TOKEN_OK);
    assert_int_equal(token.remain_quota, 1);
}

/* The limit is for names that are new: a longer one may come back with other changes. */
static void test_name_max(void **state)
{
    (void)state;
    struct token token = sample();
    struct token_patch patch = {.fields = TOKEN_FIELD_NAME | TOKEN_FIELD_GROUP, .name_max = 2};
    patch.value.group = SPAN("h");
    patch.value.name = SPAN("\xC3\xA9\xE4\xBB\xA4");
    assert_int_equal(token_patch_apply(&patch, NOW, NOW / 86400, &token), TOKEN_OK);
    patch.name_max = 1;
    assert_int_equal(token_patch_apply(&patch, NOW, NOW / 86400, &token),
                     TOKEN_OK); /* it is the present one */
    patch.value.name = SPAN("ab");
    patch.value.group = SPAN("i");
    assert_int_equal(token_patch_apply(&patch, NOW, NOW / 86400, &token), TOKEN_NAME_TOO_LONG);
    assert_span_equal(token.group, SPAN("h"));
    patch.fields = TOKEN_FIELD_GROUP;
    assert_int_equal(token_patch_apply(&patch, NOW, NOW / 86400, &token), TOKEN_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_name_max),
        cmocka_unit_test(test_quota_that_is_spent),
        cmocka_unit_test(test_enabling_by_the_resulting_quota),
        cmocka_unit_test(test_text_lengths),
        cmocka_unit_test(test_control_characters),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_other_fields_are_not_checked),
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_fields_in_the_patch_change),
        cmocka_unit_test(test_enabling),
        cmocka_unit_test(test_enabling_holds_for_all),
    };
    return cmocka_run_group_tests_name("patch", tests, NULL, NULL);
}
