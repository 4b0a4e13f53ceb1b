#include "tests/unit/unit.h"

#include "api/query.h"

static const struct span absent = {NULL, 0};

static void test_values(void **state)
{
    (void)state;
    static const struct {
        struct span query, value; /* of "p" */
    } rows[] = {
        {SPAN(""), {NULL, 0}},
        {SPAN("p=1"), SPAN("1")},
        {SPAN("p="), SPAN("")},
        {SPAN("p"), SPAN("")},
        {SPAN("p=1&size=2"), SPAN("1")},
        {SPAN("size=2&p=1"), SPAN("1")},
        {SPAN("size=2&p"), SPAN("")},
        {SPAN("p=1&p=2"), SPAN("1")},
        {SPAN("p=&p=2"), SPAN("")},
        {SPAN("&&p=1&&"), SPAN("1")},
        {SPAN("=x&p=1"), SPAN("1")},
        {SPAN("pp=1"), {NULL, 0}},
        {SPAN("P=1"), {NULL, 0}},
        {SPAN("ap=1&p2=2"), {NULL, 0}},
        {SPAN("x=p=1"), {NULL, 0}},
        {SPAN("p=a=b"), SPAN("a=b")},
        {SPAN("p=a;b"), SPAN("a;b")},
        {SPAN("p=a+b"), SPAN("a b")},
        {SPAN("p=a%20b"), SPAN("a b")},
        {SPAN("p=%41%7a%7A"), SPAN("Azz")},
        {SPAN("p=%2B1"), SPAN("+1")},
        {SPAN("p=%26%3D"), SPAN("&=")},
        {SPAN("p=%00"), SPAN("\0")},
        {SPAN("p=%C3%A9"), SPAN("\xC3\xA9")},
        {SPAN("%70=1"), SPAN("1")},
        {SPAN("p%00=1"), {NULL, 0}},
        /* wrongly escaped: as it was written */
        {SPAN("p=%"), SPAN("%")},
        {SPAN("p=%4"), SPAN("%4")},
        {SPAN("p=%4&x"), SPAN("%4")},
        {SPAN("p=%4g"), SPAN("%4g")},
        {SPAN("p=%g4"), SPAN("%g4")},
        {SPAN("p=1%"), SPAN("1%")},
        {SPAN("p=%+1"), SPAN("%+1")},
        {SPAN("%=1&p=2"), SPAN("2")},
        {SPAN("%4=1&p=2"), SPAN("2")},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char value[QUERY_VALUE_SIZE], *query = heap_copy(rows[i].query);
        struct span got = query_get((struct span){query, rows[i].query.len}, "p", value);
        require(!got.at == !rows[i].value.at, "row %zu: %s", i, rows[i].query.at);
        require(span_equal(got, rows[i].value), "row %zu: %s", i, rows[i].query.at);
        free(query);
    }
    char value[QUERY_VALUE_SIZE];
    assert_null(query_get(absent, "p", value).at);
}

static void test_lengths(void **state)
{
    (void)state;
    char query[2 + 3 * QUERY_VALUE_SIZE + 10] = "p=", value[QUERY_VALUE_SIZE];
    for (size_t len = QUERY_VALUE_SIZE - 2; len <= QUERY_VALUE_SIZE + 2; len++) {
        memset(query + 2, 'x', len);
        size_t kept = len < QUERY_VALUE_SIZE ? len : QUERY_VALUE_SIZE;
        struct span got = query_get((struct span){query, 2 + len}, "p", value);
        assert_span_equal(got, ((struct span){query + 2, kept}));
    }
    /* escaped it is three times as long, and fits when decoded */
    for (size_t i = 0; i < (size_t)3 * QUERY_VALUE_SIZE; i++)
        query[2 + i] = "%79"[i % 3];
    struct span got = query_get((struct span){query, 2 + 3 * QUERY_VALUE_SIZE}, "p", value);
    assert_int_equal(got.len, QUERY_VALUE_SIZE);
    assert_memory_equal(got.at, "yyyyyyyy", 8);
    assert_int_equal(got.at[got.len - 1], 'y');
}

static void test_a_long_name_is_another(void **state)
{
    (void)state;
    char query[200], value[QUERY_VALUE_SIZE];
    memset(query, 'p', sizeof(query));
    snprintf(query + 150, 7, "=1&p=2");
    assert_span_equal(query_get(span_of(query), "p", value), SPAN("2"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_a_long_name_is_another),
    };
    return cmocka_run_group_tests_name("query", tests, NULL, NULL);
}
