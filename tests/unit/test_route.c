#include "tests/unit/unit.h"

#include "api/buffer.h"
#include "api/route.h"

static void test_path(void **state)
{
    (void)state;
    static const struct {
        const char *path_info, *script_name, *path;
    } rows[] = {
        {NULL, NULL, "/"},
        {"", "", "/"},
        {"/", NULL, "/"},
        {"/5", NULL, "/5"},
        {"/batch", NULL, "/batch"},
        {"/5/", NULL, "/5/"},
        {"/api/token", NULL, "/"}, /* servers that hand the whole path over */
        {"/api/token/", NULL, "/"},
        {"/api/token/5", NULL, "/5"},
        {"/api/token/batch", NULL, "/batch"},
        {"/api/tokens", NULL, "/api/tokens"},
        {"/api/token5", NULL, "/api/token5"},
        {"/api", NULL, "/api"},
        {"/5", "/api/token/6", "/5"},
        {"", "/api/token", "/"},
        {NULL, "/api/token/7", "/7"},
        {NULL, "/api/token/batch", "/batch"},
        {NULL, "/cgi-bin/token.cgi", "/"}, /* the program's own name */
        {"/5", "/cgi-bin/token.cgi", "/5"},
        {NULL, "/api/tokens/7", "/"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct span path = route_path(span_of(rows[i].path_info), span_of(rows[i].script_name));
        require(span_equal(path, span_of(rows[i].path)), "row %zu: %.*s", i, (int)path.len,
                path.at);
    }
}

/* The handler that is expected, or NULL; and whether the path is known at all. */
static const struct {
    const char *method, *path;
    bool (*begin)(struct api *, struct api_call *, struct api_reply *);
    bool known;
    int64_t id;
} routes[] = {
    {"GET", "/", list_begin, true, 0},
    {"POST", "/", create_begin, true, 0},
    {"PUT", "/", update_begin, true, 0},
    {"GET", "/5", get_begin, true, 5},
    {"DELETE", "/5", delete_begin, true, 5},
    {"POST", "/batch", delete_batch_begin, true, 0},
    /* ids */
    {"GET", "/0", get_begin, true, 0},
    {"GET", "/007", get_begin, true, 7},
    {"GET", "/9223372036854775807", get_begin, true, INT64_MAX},
    {"GET", "/9223372036854775808", get_begin, true, -1},
    {"GET", "/99999999999999999999999999999999", get_begin, true, -1},
    {"DELETE", "/18446744073709551617", delete_begin, true, -1}, /* not token 1 */
    /* other methods */
    {"DELETE", "/", NULL, true, 0},
    {"PATCH", "/", NULL, true, 0},
    {"HEAD", "/", NULL, true, 0},
    {"OPTIONS", "/", NULL, true, 0},
    {"get", "/", NULL, true, 0},
    {"GETS", "/", NULL, true, 0},
    {"GE", "/", NULL, true, 0},
    {"", "/", NULL, true, 0},
    {"POST", "/5", NULL, true, 0},
    {"PUT", "/5", NULL, true, 0},
    {"OPTIONS", "/5", NULL, true, 0},
    {"GET", "/batch", NULL, true, 0},
    {"DELETE", "/batch", NULL, true, 0},
    /* other paths */
    {"GET", "", NULL, false, 0},
    {"GET", "//", NULL, false, 0},
    {"GET", "//5", NULL, false, 0},
    {"GET", "/5/", NULL, false, 0},
    {"GET", "/5/6", NULL, false, 0},
    {"GET", "/-5", NULL, false, 0},
    {"GET", "/+5", NULL, false, 0},
    {"GET", "/5x", NULL, false, 0},
    {"GET", "/x5", NULL, false, 0},
    {"GET", "/ 5", NULL, false, 0},
    {"GET", "/5.0", NULL, false, 0},
    {"GET", "/0x5", NULL, false, 0},
    {"GET", "/:id", NULL, false, 0},
    {"GET", "5", NULL, false, 0},
    {"POST", "/batch/", NULL, false, 0},
    {"POST", "/Batch", NULL, false, 0},
    {"POST", "/batch/5", NULL, false, 0},
    {"POST", "/batches", NULL, false, 0},
    {"POST", "/batc", NULL, false, 0},
    {"GET", "/search", NULL, false, 0},
};

static void test_routes(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(routes); i++) {
        struct span path = span_of(routes[i].path);
        char *copy = heap_copy(path);
        bool known;
        int64_t id = 0;
        const struct route *route =
            route_find(span_of(routes[i].method), (struct span){copy, path.len}, &known, &id);
        require(known == routes[i].known, "%s %s", routes[i].method, routes[i].path);
        require((route ? route->begin : NULL) == routes[i].begin, "%s %s", routes[i].method,
                routes[i].path);
        require(!route || id == routes[i].id, "%s %s: id", routes[i].method, routes[i].path);
        free(copy);
    }
}

static void test_a_nul_is_no_end(void **state)
{
    (void)state;
    bool known;
    int64_t id;
    assert_null(route_find(SPAN("GET"), SPAN("/5\0"), &known, &id));
    assert_false(known);
    assert_null(route_find(SPAN("GET\0"), SPAN("/5"), &known, &id));
    assert_true(known);
}

/* A write has both halves, a read one. */
static void test_finish(void **state)
{
    (void)state;
    static const struct {
        const char *method, *path;
        void (*finish)(struct api *, struct api_call *, struct api_reply *);
    } rows[] = {
        {"GET", "/", NULL},
        {"GET", "/5", NULL},
        {"POST", "/", create_finish},
        {"PUT", "/", update_finish},
        {"DELETE", "/5", delete_finish},
        {"POST", "/batch", delete_batch_finish},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        bool known;
        int64_t id;
        const struct route *route =
            route_find(span_of(rows[i].method), span_of(rows[i].path), &known, &id);
        assert_non_null(route);
        assert_true(route->finish == rows[i].finish);
    }
}

static void test_methods(void **state)
{
    (void)state;
    static const struct {
        const char *path, *methods;
    } rows[] = {
        {"/", "GET, POST, PUT, OPTIONS"},
        {"/5", "GET, DELETE, OPTIONS"},
        {"/99999999999999999999", "GET, DELETE, OPTIONS"},
        {"/batch", "POST, OPTIONS"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct buffer buffer = {0};
        route_append_methods(&buffer, span_of(rows[i].path));
        assert_span_equal(((struct span){buffer.at, buffer.len}), span_of(rows[i].methods));
        buffer_free(&buffer);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_path),
        cmocka_unit_test(test_routes),
        cmocka_unit_test(test_a_nul_is_no_end),
        cmocka_unit_test(test_finish),
        cmocka_unit_test(test_methods),
    };
    return cmocka_run_group_tests_name("route", tests, NULL, NULL);
}
