#include "tests/unit/unit.h"

#include <inttypes.h>

#include "base/buffer.h"
#include "base/number.h"
#include "tests/unit/random.h"

static bool parse(const char *text, int64_t *number)
{
    struct span span = span_of(text);
    char *copy = heap_copy(span);
    bool parsed = number_parse((struct span){copy, span.len}, number);
    free(copy);
    return parsed;
}

static void test_numbers(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t number;
    } rows[] = {
        {"0", 0},
        {"-0", 0},
        {"1", 1},
        {"-1", -1},
        {"42", 42},
        {"007", 7},
        {"-007", -7},
        {"00000000000000000000000000000000000000000005", 5},
        {"1000000000000000000", 1000000000000000000},
        {"9223372036854775806", INT64_MAX - 1},
        {"9223372036854775807", INT64_MAX},
        {"-9223372036854775807", -INT64_MAX},
        {"-9223372036854775808", INT64_MIN},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        int64_t number = 77;
        require(parse(rows[i].text, &number) && number == rows[i].number, "%s", rows[i].text);
    }
}

static void test_millionths(void **state)
{
    (void)state;
    static const struct {
        const char *text, *shown; /* shown NULL: refused */
        int64_t number;
    } rows[] = {
        {"0", "0", 0},
        {"1", "1", 1000000},
        {"0.8", "0.8", 800000},
        {"10.50", "10.5", 10500000},
        {"0.000001", "0.000001", 1},
        {"9223372036854.775807", "9223372036854.775807", INT64_MAX},
        {"9223372036854.775808", NULL, 0},
        {"0.0000001", NULL, 0},
        {"-1", NULL, 0},
        {"1.-1", NULL, 0},
        {".5", NULL, 0},
        {"1.2.3", NULL, 0},
        {"x", NULL, 0},
        {"", NULL, 0},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct buffer text = {0};
        int64_t number = 77;
        bool parsed = number_parse_millionths(span_of(rows[i].text), &number);
        require(parsed == (rows[i].shown != NULL) && number == (parsed ? rows[i].number : 77), "%s",
                rows[i].text);
        buffer_append_millionths(&text, number);
        if (parsed)
            assert_span_equal(buffer_span(&text), span_of(rows[i].shown));
        buffer_free(&text);
    }
}

static void test_others(void **state)
{
    (void)state;
    static const char *const rows[] = {
        "",
        "-",
        "+",
        "+1",
        "--1",
        "1-",
        " 1",
        "1 ",
        "\t1",
        "1\n",
        "1.0",
        "1e3",
        "0x10",
        "1_000",
        "1,000",
        "a",
        "1a",
        "/",
        ":",
        "\xEF\xBC\x91", /* a full-width 1 */
        "9223372036854775808",
        "9223372036854775810",
        "-9223372036854775809",
        "-9223372036854775810",
        "10000000000000000000",
        "18446744073709551615",
        "18446744073709551617",
        "99999999999999999999999999999999",
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        int64_t number = 77;
        require(!parse(rows[i], &number) && number == 77, "%s", rows[i]);
    }
    int64_t number;
    assert_false(number_parse((struct span){NULL, 0}, &number));
    assert_false(number_parse(SPAN("1\0"), &number));
    assert_false(number_parse(SPAN("\0001"), &number));
}

static void test_round_trip(void **state)
{
    (void)state;
    struct random random = {11};
    for (int i = 0; i < 20000; i++) {
        int64_t expected = (int64_t)random_next(&random) >> random_below(&random, 64), number;
        char text[32];
        snprintf(text, sizeof(text), "%" PRId64, expected);
        require(parse(text, &number) && number == expected, "%s", text);
    }
}

static void test_sums_have_bounds(void **state)
{
    (void)state;
    assert_int_equal(number_add(2, -3), -1);
    assert_int_equal(number_add(INT64_MAX - 1, 1), INT64_MAX);
    assert_int_equal(number_add(INT64_MAX, 1), INT64_MAX);
    assert_int_equal(number_add(1, INT64_MAX), INT64_MAX);
    assert_int_equal(number_add(INT64_MIN, -1), INT64_MIN);
    assert_int_equal(number_add(-1, INT64_MIN), INT64_MIN);
    assert_int_equal(number_add(INT64_MIN, INT64_MAX), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers),          cmocka_unit_test(test_millionths),
        cmocka_unit_test(test_others),           cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_sums_have_bounds),
    };
    return cmocka_run_group_tests_name("number", tests, NULL, NULL);
}
