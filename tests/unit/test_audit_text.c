#include "tests/unit/unit.h"

#include "store/audit.h"

static void assert_changes(struct buffer *changes, const char *expected)
{
    assert_false(changes->failed);
    assert_span_equal(buffer_span(changes), span_of(expected));
    buffer_free(changes);
}

static void test_values(void **state)
{
    (void)state;
    struct buffer changes = {0};
    const struct audit_value none = {.kind = AUDIT_NONE};
    audit_append(&changes, "a", none, audit_text(SPAN("\"\\\n")));
    audit_append(&changes, "b", audit_int(INT64_MIN), audit_bool(true));
    audit_append(&changes, "c", (struct audit_value){.kind = AUDIT_RATIO, .number = 800000}, none);
    assert_changes(&changes, "{\"a\":[null,\"\\\"\\\\\\u000a\"],\"b\":[-9223372036854775808,true]"
                             ",\"c\":[0.8,null]");
}

/* A text is cut before the character that passes 256 bytes. */
static void test_cuts(void **state)
{
    (void)state;
    static const struct {
        const char *character; /* repeated */
        size_t before, kept;   /* 'x' before them; bytes that are left */
    } rows[] = {{"y", 0, 256},
                {"\xC3\xA4", 0, 256},
                {"\xC3\xA4", 1, 255},
                {"\xE7\xBB\x84", 0, 255},
                {"\xF0\x9F\x98\x80", 1, 253},
                {"\xF0\x9F\x98\x80", 4, 256}};
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char text[600];
        struct buffer changes = {0};
        size_t len = rows[i].before, step = strlen(rows[i].character);
        memset(text, 'x', len);
        for (; len + step <= 500; len += step)
            memcpy(text + len, rows[i].character, step);
        audit_append(&changes, "t", (struct audit_value){.kind = AUDIT_NONE},
                     audit_text((struct span){text, len}));
        size_t around = sizeof("{\"t\":[null,\"\"]") - 1;
        require(changes.len == around + rows[i].kept, "row %zu: %zu", i, changes.len - around);
        buffer_free(&changes);
    }
}

static void test_tokens(void **state)
{
    (void)state;
    struct token before = token_default(), after;
    struct buffer changes = {0};
    memcpy(before.key, "sk-secret", sizeof("sk-secret"));
    before.id = 7;
    before.name = SPAN("n");
    before.used_quota = 5;
    after = before;
    after.used_quota = 6; /* no client sets it */
    after.key[3] = 'S';
    audit_append_token(&changes, &before, &after);
    assert_int_equal(changes.len, 0);
    after.refill_interval = TOKEN_REFILL_WEEK;
    after.unlimited_quota = true;
    after.rpm_limit = 9;
    audit_append_token(&changes, &before, &after);
    assert_changes(&changes, "{\"unlimited_quota\":[false,true],\"rpm_limit\":[0,9]"
                             ",\"refill_interval\":[\"none\",\"week\"]");
    audit_append_token(&changes, NULL, &before);
    assert_changes(&changes, "{\"name\":[null,\"n\"]");
    audit_append_token(&changes, &before, NULL);
    assert_changes(&changes, "{\"name\":[\"n\",null]");
}

static void test_users(void **state)
{
    (void)state;
    struct record_user before = {.name = SPAN("u"), .group = SPAN("g"), .role = USER_ROLE_USER},
                       after = before;
    struct buffer changes = {0};
    after.account.used_quota = after.account.request_count = 3;
    after.access_hash[0] = 1;
    audit_append_user(&changes, &before, &after);
    assert_int_equal(changes.len, 0);
    after.disabled = true;
    after.role = USER_ROLE_ADMIN;
    after.account.quota = 10;
    audit_append_user(&changes, &before, &after);
    assert_changes(&changes, "{\"role\":[1,10],\"status\":[1,2],\"quota\":[0,10]");
}

static void test_ids(void **state)
{
    (void)state;
    struct audit_ids ids = {.count = 0};
    struct buffer changes = {0};
    audit_add_id(&ids, 1);
    audit_add_id(&ids, 22);
    audit_append_ids(&changes, &ids, true);
    assert_changes(&changes, "{\"ids\":[null,[1,22]]");
    for (int64_t id = 3; id <= 1000; id++)
        audit_add_id(&ids, id);
    audit_append_ids(&changes, &ids, false);
    assert_true(span_starts_with(buffer_span(&changes), SPAN("{\"ids\":[[1,22,3,")));
    const char *end = ",99,100],null],\"count\":[1000,null]";
    assert_true(changes.len > strlen(end));
    assert_span_equal(span_from(buffer_span(&changes), changes.len - strlen(end)), span_of(end));
    buffer_free(&changes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values), cmocka_unit_test(test_cuts), cmocka_unit_test(test_tokens),
        cmocka_unit_test(test_users),  cmocka_unit_test(test_ids),
    };
    return cmocka_run_group_tests_name("audit_text", tests, NULL, NULL);
}
