#include "tests/unit/unit.h"

#include "base/buffer.h"
#include "api/api.h"
#include "api/handlers.h"
#include "api/route.h"

static void test_path(void **state)
{
    (void)state;
    static const struct {
        const char *path_info, *script_name, *path;
        enum route_root root;
        const char *document_uri;
    } rows[] = {
        {NULL, NULL, "/", ROUTE_TOKEN, NULL},
        {"", "", "/", ROUTE_TOKEN, NULL},
        {"/", NULL, "/", ROUTE_TOKEN, NULL},
        {"/5", NULL, "/5", ROUTE_TOKEN, NULL},
        {"/batch", NULL, "/batch", ROUTE_TOKEN, NULL},
        {"/5/", NULL, "/5/", ROUTE_TOKEN, NULL},
        {"/api/token", NULL, "/", ROUTE_TOKEN, NULL}, /* servers that hand the whole path over */
        {"/api/token/", NULL, "/", ROUTE_TOKEN, NULL},
        {"/api/token/5", NULL, "/5", ROUTE_TOKEN, NULL},
        {"/api/token/batch", NULL, "/batch", ROUTE_TOKEN, NULL},
        {"/api/tokens", NULL, "/api/tokens", ROUTE_TOKEN, NULL},
        {"/api/token5", NULL, "/api/token5", ROUTE_TOKEN, NULL},
        {"/api", NULL, "/api", ROUTE_TOKEN, NULL},
        {"/5", "/api/token/6", "/6/5", ROUTE_TOKEN, NULL},
        {"/keys", "/api/token/batch", "/batch/keys", ROUTE_TOKEN, NULL},
        {"/token/5", "/api", "/5", ROUTE_TOKEN, NULL},
        {"/token/", "/api/usage", "/", ROUTE_USAGE, NULL},
        {"/usage/token", "/api", "/", ROUTE_USAGE, NULL},
        {"/5", "/gateway/api/token", "/5", ROUTE_TOKEN, NULL}, /* a prefix of the site */
        {"/", "/gateway/api/usage/token", "/", ROUTE_USAGE, NULL},
        {"/api/usage/token", "/gateway", "/", ROUTE_USAGE, NULL},
        {NULL, "/gateway/api/usage/token/", "/", ROUTE_USAGE, NULL},
        {"/gateway/api/token/5", NULL, "/5", ROUTE_TOKEN, NULL},
        /* the first root counts: web servers guard paths by their beginning */
        {"/api/token/verify", "/api/token", "/api/token/verify", ROUTE_TOKEN, NULL},
        {"/api/token/5", "/api/usage/token", "/api/token/5", ROUTE_USAGE, NULL},
        {NULL, "/api/token/api/usage/token", "/api/usage/token", ROUTE_TOKEN, NULL},
        {"", "/api/token", "/", ROUTE_TOKEN, NULL},
        {NULL, "/api/token/7", "/7", ROUTE_TOKEN, NULL},
        {NULL, "/api/token/batch", "/batch", ROUTE_TOKEN, NULL},
        {NULL, "/cgi-bin/token.cgi", "/", ROUTE_TOKEN, NULL}, /* the program's own name */
        {"/5", "/cgi-bin/token.cgi", "/5", ROUTE_TOKEN, NULL},
        {NULL, "/api/tokens/7", "/api/tokens/7", ROUTE_TOKEN, NULL},
        {NULL, "/api/users", "/api/users", ROUTE_TOKEN, NULL},
        /* the second collection */
        {NULL, "/api/usage/token", "/", ROUTE_USAGE, NULL},
        {"/", "/api/usage/token", "/", ROUTE_USAGE, NULL},
        {"/5", "/api/usage/token", "/5", ROUTE_USAGE, NULL},
        {"/api/usage/token/", NULL, "/", ROUTE_USAGE, NULL},
        {"/api/usage/token/", "/cgi-bin/token.cgi", "/", ROUTE_USAGE, NULL},
        {NULL, "/api/usage/token/", "/", ROUTE_USAGE, NULL},
        {NULL, "/api/usage/tokens", "/api/usage/tokens", ROUTE_TOKEN, NULL},
        /* the others */
        {"/api/status", NULL, "/", ROUTE_STATUS, NULL},
        {"/", "/api/status", "/", ROUTE_STATUS, NULL},
        {NULL, "/gateway/api/status", "/", ROUTE_STATUS, NULL},
        {"/usage", "/v1/dashboard/billing", "/usage", ROUTE_BILLING, NULL},
        {"/v1/dashboard/billing/usage", NULL, "/usage", ROUTE_BILLING, NULL},
        {"/api/token/verify", "/api/status", "/api/token/verify", ROUTE_STATUS, NULL},
        {"/api/status", "/api/token", "/api/status", ROUTE_TOKEN, NULL},
        {"/api/usage/tokens", NULL, "/api/usage/tokens", ROUTE_TOKEN, NULL},
        /* whose slash counts */
        {"/api/user/", NULL, "/", ROUTE_USERS, NULL},
        {NULL, "/gateway/api/user", "", ROUTE_USERS, NULL},
        {"/self", "/api/user", "/self", ROUTE_USERS, NULL},
        {"/api/log", NULL, "", ROUTE_LOG, NULL},
        {"/healthz", NULL, "", ROUTE_HEALTH, NULL},
        {"/", "/healthz", "/", ROUTE_HEALTH, NULL},
        {"/healthz", "/cgi-bin/token.cgi", "", ROUTE_HEALTH, NULL},
        {"/healthzx", NULL, "/healthzx", ROUTE_TOKEN, NULL},
        {"/x/healthz", NULL, "/x/healthz", ROUTE_TOKEN, NULL}, /* monitors' have no prefix */
        {NULL, "/API/TOKEN/metrics", "/API/TOKEN/metrics", ROUTE_TOKEN, NULL},
        {"/x/metrics", "/cgi-bin/token.cgi", "/x/metrics", ROUTE_TOKEN, NULL},
        {"/healthz", "/api/token", "/healthz", ROUTE_TOKEN, NULL},
        {"/", "/api/log", "/", ROUTE_LOG, NULL},
        /* a subrequest of nginx: all but its location is the original request's */
        {NULL, NULL, "/verify", ROUTE_TOKEN, "/verify"},
        {NULL, NULL, "/verify", ROUTE_TOKEN, "/api/token/verify"},
        {"/5", "/api/token", "/verify", ROUTE_TOKEN, "/api/token/verify"},
        {"/5", "/api/usage/token", "/verify", ROUTE_TOKEN, "/api/token/verify"},
        {"/verify", "/api/token", "/verify", ROUTE_TOKEN, "/api/token/verify"},
        {"/verify", "/api/token", "/verify", ROUTE_TOKEN, NULL},
        {"/5", "/api/token", "/5", ROUTE_TOKEN, "/api/token/5"},
        {"/5", "/api/token", "/5", ROUTE_TOKEN, "/verify/5"},
        {"/5", "/api/token", "/5", ROUTE_TOKEN, "/verified"},
        {"/5", "/api/token", "/5", ROUTE_TOKEN, "/other/verify"},
        {"/5", "/api/token", "/verify", ROUTE_TOKEN, "/gateway/api/token/verify"},
        {"/5", "/api/token", "/5", ROUTE_TOKEN, "/api/usage/token/verify"},
        {"/5", "/api/token", "/5", ROUTE_TOKEN, "/api/token/x/api/token/verify"},
        {"/5", "/api/token", "/5", ROUTE_TOKEN, ""},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct request_input input = {.path_info = span_of(rows[i].path_info),
                                      .script_name = span_of(rows[i].script_name),
                                      .document_uri = span_of(rows[i].document_uri)};
        enum route_root root = ROUTE_USAGE;
        char text[ROUTE_PATH_SIZE];
        struct span path = route_path(&input, text, &root);
        require(span_equal(path, span_of(rows[i].path)), "row %zu: %.*s", i, (int)path.len,
                path.at);
        require(root == rows[i].root, "row %zu: root", i);
    }
}

/* The handler that is expected, or NULL; and whether the path is known at all. */
static const struct {
    const char *method, *path;
    enum api_step (*begin)(struct request *);
    bool known;
    int64_t id;
} routes[] = {
    {"GET", "/", list_begin, true, 0},
    {"POST", "/", create_begin, true, 0},
    {"PUT", "/", update_begin, true, 0},
    {"GET", "/5", get_begin, true, 5},
    {"DELETE", "/5", delete_begin, true, 5},
    {"POST", "/batch", delete_batch_begin, true, 0},
    {"GET", "/search", search_begin, true, 0},
    {"POST", "/5/key", key_begin, true, 5},
    {"POST", "/5/rotate", rotate_begin, true, 5},
    {"POST", "/batch/keys", keys_begin, true, 0},
    {"POST", "/batch/status", status_batch_begin, true, 0},
    {"POST", "/search", search_begin, true, 0},
    {"POST", "/consume", consume_begin, true, 0},
    {"POST", "/reserve", reserve_begin, true, 0},
    {"POST", "/settle", settle_begin, true, 0},
    {"POST", "/cancel", cancel_begin, true, 0},
    /* any method */
    {"GET", "/verify", verify_begin, true, 0},
    {"OPTIONS", "/verify", verify_begin, true, 0},
    {"BREW", "/verify", verify_begin, true, 0},
    {"", "/verify", verify_begin, true, 0},
    /* ids */
    {"GET", "/0", get_begin, true, 0},
    {"GET", "/007", get_begin, true, 7},
    {"GET", "/9223372036854775807", get_begin, true, INT64_MAX},
    {"GET", "/9223372036854775808", get_begin, true, -1},
    {"GET", "/99999999999999999999999999999999", get_begin, true, -1},
    {"DELETE", "/18446744073709551617", delete_begin, true, -1}, /* not token 1 */
    {"POST", "/18446744073709551617/key", key_begin, true, -1},
    /* a slash at the end */
    {"DELETE", "/5/", delete_begin, true, 5},
    {"POST", "/5/key/", key_begin, true, 5},
    {"GET", "/search/", search_begin, true, 0},
    {"POST", "/batch/", delete_batch_begin, true, 0},
    {"DELETE", "/5//", NULL, false, 0},
    {"GET", "/verify/", NULL, false, 0},
    {"POST", "/consume/", NULL, false, 0},
    {"POST", "/reserve/", NULL, false, 0},
    {"POST", "/settle/", NULL, false, 0},
    {"POST", "/cancel/", NULL, false, 0},
    /* other methods */
    {"DELETE", "/", NULL, true, 0},
    {"PATCH", "/", NULL, true, 0},
    {"HEAD", "/", list_begin, true, 0},
    {"HEAD", "/5", get_begin, true, 5},
    {"HEAD", "/batch", NULL, true, 0},
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
    {"PUT", "/search", NULL, true, 0},
    {"GET", "/5/key", NULL, true, 0},
    {"GET", "/5/rotate", NULL, true, 0},
    {"GET", "/batch/keys", NULL, true, 0},
    {"GET", "/consume", NULL, true, 0},
    {"GET", "/reserve", NULL, true, 0},
    {"PUT", "/settle", NULL, true, 0},
    {"DELETE", "/cancel", NULL, true, 0},
    /* other paths */
    {"GET", "", NULL, false, 0},
    {"GET", "//", NULL, false, 0},
    {"GET", "//5", NULL, false, 0},
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
    {"POST", "/Batch", NULL, false, 0},
    {"POST", "/batch/5", NULL, false, 0},
    {"POST", "/batches", NULL, false, 0},
    {"POST", "/batc", NULL, false, 0},
    {"GET", "/searched", NULL, false, 0},
    {"POST", "/key", NULL, false, 0},
    {"POST", "//key", NULL, false, 0},
    {"POST", "/x/key", NULL, false, 0},
    {"POST", "/5/keys", NULL, false, 0},
    {"POST", "/5/6/key", NULL, false, 0},
    {"POST", "/batch/key", NULL, false, 0},
    {"POST", "/batch/rotate", NULL, false, 0},
    {"GET", "/verify/", NULL, false, 0},
};

static void test_routes(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(routes); i++) {
        struct span path = span_of(routes[i].path);
        char *copy = heap_copy(path);
        bool known;
        int64_t id = 0;
        const struct route *route = route_find(span_of(routes[i].method), ROUTE_TOKEN,
                                               (struct span){copy, path.len}, &known, &id);
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
    assert_null(route_find(SPAN("GET"), ROUTE_TOKEN, SPAN("/5\0"), &known, &id));
    assert_false(known);
    assert_null(route_find(SPAN("GET\0"), ROUTE_TOKEN, SPAN("/5"), &known, &id));
    assert_true(known);
}

/* The second collection has one route, and the first has not that one. */
static void test_usage(void **state)
{
    (void)state;
    bool known;
    int64_t id;
    const struct route *route = route_find(SPAN("GET"), ROUTE_USAGE, SPAN("/"), &known, &id);
    assert_non_null(route);
    assert_true(route->begin == usage_begin);
    assert_null(route_find(SPAN("POST"), ROUTE_USAGE, SPAN("/"), &known, &id));
    assert_true(known);
    static const char *const others[] = {"/5", "/batch", "/search", "/verify", "/consume"};
    for (size_t i = 0; i < COUNT_OF(others); i++) {
        assert_null(route_find(SPAN("GET"), ROUTE_USAGE, span_of(others[i]), &known, &id));
        require(!known, "%s", others[i]);
    }
}

/* A route that writes or searches has a render; each route names the credentials it wants. */
static void test_renders_and_callers(void **state)
{
    (void)state;
    static const struct {
        const char *method, *path;
        enum route_caller caller;
        void (*render)(struct request *);
    } rows[] = {
        {"GET", "/", ROUTE_USER, page_render},
        {"GET", "/search", ROUTE_USER, page_render},
        {"GET", "/5", ROUTE_USER, NULL},
        {"POST", "/", ROUTE_OWNER, create_render},
        {"PUT", "/", ROUTE_USER, update_render},
        {"DELETE", "/5", ROUTE_USER, delete_render},
        {"POST", "/batch", ROUTE_USER, delete_batch_render},
        {"POST", "/batch/keys", ROUTE_OWNER, NULL},
        {"POST", "/batch/status", ROUTE_USER, status_batch_render},
        {"POST", "/search", ROUTE_USER, page_render},
        {"POST", "/5/key", ROUTE_OWNER, NULL},
        {"POST", "/5/rotate", ROUTE_OWNER, update_render},
        {"GET", "/verify", ROUTE_KEY, verify_render},
        {"POST", "/consume", ROUTE_GATEWAY, consume_render},
        {"POST", "/reserve", ROUTE_GATEWAY, consume_render},
        {"POST", "/settle", ROUTE_GATEWAY, settle_render},
        {"POST", "/cancel", ROUTE_GATEWAY, settle_render},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        bool known;
        int64_t id;
        const struct route *route =
            route_find(span_of(rows[i].method), ROUTE_TOKEN, span_of(rows[i].path), &known, &id);
        require(route, "row %zu", i);
        require(route->caller == rows[i].caller, "row %zu", i);
        require(route->render == rows[i].render, "row %zu", i);
    }
}

/* A body that is not there is not waited for. */
static void test_bodies_that_are_read(void **state)
{
    (void)state;
    static const struct {
        const char *method, *path_info, *document_uri;
        bool reads;
    } rows[] = {
        {"POST", "/", NULL, true},
        {"POST", "/consume", NULL, true},
        {"PUT", "/", NULL, true},
        {"POST", "/5/rotate", NULL, true},
        {"GET", "/", NULL, false},
        {"DELETE", "/5", NULL, false},
        {"POST", "/verify", NULL, false},
        {"POST", "/", "/api/token/verify", false},
        {"POST", "/nothing", NULL, false},
        {"PATCH", "/", NULL, false},
        {"POST", "/", "/api/token/5", true},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct request request = {.input = {.method = span_of(rows[i].method),
                                            .path_info = span_of(rows[i].path_info),
                                            .document_uri = span_of(rows[i].document_uri)}};
        require(api_reads_body(&request) == rows[i].reads, "row %zu", i);
    }
}

static void test_methods(void **state)
{
    (void)state;
    static const struct {
        const char *path, *methods;
        enum route_root root;
    } rows[] = {
        {"/", "GET, HEAD, POST, PUT, OPTIONS", ROUTE_TOKEN},
        {"/5", "GET, HEAD, DELETE, OPTIONS", ROUTE_TOKEN},
        {"/99999999999999999999", "GET, HEAD, DELETE, OPTIONS", ROUTE_TOKEN},
        {"/batch", "POST, OPTIONS", ROUTE_TOKEN},
        {"/batch/keys", "POST, OPTIONS", ROUTE_TOKEN},
        {"/batch/status", "POST, OPTIONS", ROUTE_TOKEN},
        {"/search", "GET, HEAD, POST, OPTIONS", ROUTE_TOKEN},
        {"/5/key", "POST, OPTIONS", ROUTE_TOKEN},
        {"/consume", "POST, OPTIONS", ROUTE_TOKEN},
        {"/", "GET, HEAD, OPTIONS", ROUTE_USAGE},
        {"", "GET, HEAD, OPTIONS", ROUTE_HEALTH},
        {"", "GET, HEAD, OPTIONS", ROUTE_METRICS},
        {"/", "OPTIONS", ROUTE_HEALTH},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct buffer buffer = {0};
        route_append_methods(&buffer, rows[i].root, span_of(rows[i].path));
        assert_span_equal(((struct span){buffer.at, buffer.len}), span_of(rows[i].methods));
        buffer_free(&buffer);
    }
}

/* Each path has one number, as a histogram has a series for each, and the last is of no route. */
static void test_numbers(void **state)
{
    (void)state;
    static char names[COUNTERS_ROUTES_MAX][ROUTE_NAME_SIZE];
    unsigned other = route_number(NULL);
    for (unsigned i = 0; i < COUNTERS_ROUTES_MAX; i++) {
        bool is_number = route_write_name(i, names[i]);
        assert_true(i <= other || !is_number);
        for (unsigned j = 0; is_number && j < i; j++)
            assert_string_not_equal(names[i], names[j]);
    }
    assert_string_equal(names[other], "other");
    assert_int_equal(route_method_number(SPAN("GET")), 0);
    assert_int_equal(route_method_number(SPAN("get")), COUNTERS_METHODS - 1);
    assert_int_equal(route_method_number((struct span){NULL, 0}), COUNTERS_METHODS - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_path),
        cmocka_unit_test(test_routes),
        cmocka_unit_test(test_a_nul_is_no_end),
        cmocka_unit_test(test_usage),
        cmocka_unit_test(test_renders_and_callers),
        cmocka_unit_test(test_bodies_that_are_read),
        cmocka_unit_test(test_methods),
        cmocka_unit_test(test_numbers),
    };
    return cmocka_run_group_tests_name("route", tests, NULL, NULL);
}
