#include "tests/unit/unit.h"

#include <inttypes.h>

#include <json.h>

#include "base/buffer.h"
#include "tests/unit/random.h"

static struct span content(const struct buffer *buffer)
{
    return (struct span){buffer->at, buffer->len};
}

static void test_append(void **state)
{
    (void)state;
    struct buffer buffer = {0};
    buffer_append(&buffer, SPAN(""));
    assert_int_equal(buffer.len, 0);
    buffer_append(&buffer, SPAN("a\0b"));
    buffer_append(&buffer, (struct span){NULL, 0});
    buffer_append_string(&buffer, "cd");
    buffer_append_int(&buffer, -12);
    buffer_append_json(&buffer, SPAN("x"));
    assert_span_equal(content(&buffer), SPAN("a\0bcd-12\"x\""));
    assert_false(buffer.failed);
    buffer_free(&buffer);
    assert_null(buffer.at);
    assert_int_equal(buffer.len, 0);
}

/* Appends of all sizes, beside a plain array. */
static void test_growth(void **state)
{
    (void)state;
    enum { MOST = 1 << 20 };
    struct random random = {5};
    struct buffer buffer = {0};
    char *expected = malloc(MOST), piece[3000];
    assert_non_null(expected);
    size_t len = 0;
    while (len < MOST - sizeof(piece)) {
        size_t piece_len = random_below(&random, sizeof(piece));
        random_bytes(&random, piece, piece_len);
        memcpy(expected + len, piece, piece_len);
        len += piece_len;
        buffer_append(&buffer, (struct span){piece, piece_len});
    }
    assert_span_equal(content(&buffer), ((struct span){expected, len}));
    assert_true(buffer.size >= buffer.len);
    buffer_free(&buffer);
    free(expected);
}

static void test_reserve(void **state)
{
    (void)state;
    struct buffer buffer = {0};
    for (size_t len = 1; len < 100000; len = len * 3 + 1) {
        char *at = buffer_reserve(&buffer, len);
        assert_non_null(at);
        assert_ptr_equal(at, buffer.at + buffer.len);
        memset(at, 'r', len); /* a sanitizer sees whether it is there */
        buffer.len += len;
    }
    buffer_free(&buffer);
}

static void test_clear_keeps_some_memory(void **state)
{
    (void)state;
    struct buffer buffer = {0};
    buffer_append(&buffer, SPAN("abc"));
    const char *at = buffer.at;
    buffer_clear(&buffer);
    assert_int_equal(buffer.len, 0);
    assert_ptr_equal(buffer.at, at);
    assert_non_null(buffer_reserve(&buffer, (size_t)1 << 20));
    buffer_clear(&buffer);
    assert_true(buffer.size <= (size_t)256 << 10); /* a large one is given back */
    buffer_append(&buffer, SPAN("again"));
    assert_span_equal(content(&buffer), SPAN("again"));
    buffer_free(&buffer);
}

static void test_failure_stays_until_cleared(void **state)
{
    (void)state;
    struct buffer buffer = {0};
    buffer_append(&buffer, SPAN("abc"));
    assert_null(buffer_reserve(&buffer, SIZE_MAX - 100)); /* none has that */
    assert_true(buffer.failed);
    assert_null(buffer_reserve(&buffer, 1));
    buffer_append(&buffer, SPAN("d"));
    buffer_append_int(&buffer, 1);
    buffer_append_json(&buffer, SPAN("e"));
    assert_span_equal(content(&buffer), SPAN("abc"));
    buffer_clear(&buffer);
    assert_false(buffer.failed);
    buffer_append(&buffer, SPAN("f"));
    assert_span_equal(content(&buffer), SPAN("f"));
    buffer_free(&buffer);
}

static void check_int(int64_t number)
{
    char expected[32], got[INT_LEN_MAX + 1];
    memset(got, '#', sizeof(got));
    int len = snprintf(expected, sizeof(expected), "%" PRId64, number);
    char *end = write_int(got, number);
    require(end - got == len && memcmp(got, expected, (size_t)len) == 0 && got[INT_LEN_MAX] == '#',
            "%s", expected);
}

static void test_int(void **state)
{
    (void)state;
    check_int(INT64_MIN);
    check_int(INT64_MAX);
    check_int(0);
    for (int64_t power = 1; power < INT64_MAX / 10; power *= 10)
        for (int64_t near = power - 1; near <= power + 1; near++) {
            check_int(near);
            check_int(-near);
        }
    struct random random = {9};
    for (int i = 0; i < 20000; i++)
        check_int((int64_t)random_next(&random) >> random_below(&random, 64));
}

static void test_json(void **state)
{
    (void)state;
    static const struct {
        struct span text, json;
    } rows[] = {
        {SPAN(""), SPAN("\"\"")},
        {SPAN("abc"), SPAN("\"abc\"")},
        {SPAN("a\"b"), SPAN("\"a\\\"b\"")},
        {SPAN("a\\b"), SPAN("\"a\\\\b\"")},
        {SPAN("a/b"), SPAN("\"a/b\"")},
        {SPAN("\0"), SPAN("\"\\u0000\"")},
        {SPAN("\n"), SPAN("\"\\u000a\"")},
        {SPAN("\x1F"), SPAN("\"\\u001f\"")},
        {SPAN("\x7F"), SPAN("\"\x7F\"")},
        {SPAN("\xE4\xBB\xA4\xF0\x9F\x98\x80"), SPAN("\"\xE4\xBB\xA4\xF0\x9F\x98\x80\"")},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct buffer buffer = {0};
        buffer_append_json(&buffer, rows[i].text);
        assert_span_equal(content(&buffer), rows[i].json);
        buffer_free(&buffer);
    }
}

/* Each character of ASCII, alone and in company: json-c reads it back. */
static void test_json_is_read_back(void **state)
{
    (void)state;
    for (int c = 0; c < 128; c++) {
        char text[] = {'<', (char)c, (char)c, '>'};
        struct buffer buffer = {0};
        buffer_append_json(&buffer, (struct span){text, sizeof(text)});
        assert_true(buffer.len <= sizeof(text) * JSON_ESCAPE_LEN_MAX + 2);
        buffer_append(&buffer, SPAN("\0"));
        struct json_object *json = json_tokener_parse(buffer.at);
        require(json_object_get_string_len(json) == (int)sizeof(text), "%d", c);
        assert_memory_equal(json_object_get_string(json), text, sizeof(text));
        json_object_put(json);
        buffer_free(&buffer);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_append),
        cmocka_unit_test(test_growth),
        cmocka_unit_test(test_reserve),
        cmocka_unit_test(test_clear_keeps_some_memory),
        cmocka_unit_test(test_failure_stays_until_cleared),
        cmocka_unit_test(test_int),
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_json_is_read_back),
    };
    return cmocka_run_group_tests_name("buffer", tests, NULL, NULL);
}
