#include "tests/unit/unit.h"

#include <json.h>
#include <time.h>

#include "api/api.h"
#include "tests/unit/temporary.h"

/* The API without a transport, on a store of its own. */

enum { NOW = 1700000000, ALICE = 1, BOB = 2, CAROL = 3 /* disabled */ };

struct fixture {
    struct temporary temporary;
    struct settings options;
    struct api *api;
    struct request *request;
    char access_tokens[4][STORE_CREDENTIAL_LEN + 1]; /* by user id */
    char authorization[128], user[32];
};

static void set_up(struct fixture *fixture)
{
    *fixture = (struct fixture){.options = {.max_per_user = 1000, .name_max = 30}};
    temporary_create(&fixture->temporary);
    temporary_open(&fixture->temporary);
    for (int64_t id = ALICE; id <= CAROL; id++)
        assert_int_equal(temporary_add_user(&fixture->temporary, fixture->access_tokens[id]), id);
    assert_int_equal(set_user_disabled(fixture->temporary.store, CAROL, true), STORE_OK);
    fixture->api = api_new(&fixture->options, fixture->temporary.reader, NULL);
    fixture->request = request_new();
    assert_true(fixture->api && fixture->request);
}

static void tear_down(struct fixture *fixture)
{
    request_free(fixture->request);
    api_free(fixture->api);
    temporary_remove(&fixture->temporary);
}

static struct span body_of(const struct fixture *fixture)
{
    return (struct span){fixture->request->body.at, fixture->request->body.len};
}

static bool has(struct span text, const char *part)
{
    return text.len > 0 && memmem(text.at, text.len, part, strlen(part));
}

/* ---- every reply's form ---- */

/* A header's value, NULL where it is not there. */
static const char *header(const struct fixture *fixture, const char *name, char value[static 256])
{
    char line[64];
    int len = snprintf(line, sizeof(line), "\r\n%s: ", name);
    const char *at =
        memmem(fixture->request->head.at, fixture->request->head.len, line, (size_t)len);
    if (!at)
        return NULL;
    snprintf(value, 256, "%.*s", (int)strcspn(at + len, "\r"), at + len);
    return value;
}

/* The reply's status, once its form is found right: the headers that each has, and
 * the envelope. */
static int check_reply(struct fixture *fixture)
{
    char value[256];
    struct span head = {fixture->request->head.at, fixture->request->head.len},
                body = body_of(fixture);
    int status = 0;
    assert_false(fixture->request->head.failed || fixture->request->body.failed);
    assert_true(span_starts_with(head, SPAN("Status: ")));
    assert_true(head.len > 4 && memcmp(head.at + head.len - 4, "\r\n\r\n", 4) == 0);
    assert_ptr_equal(memmem(head.at, head.len, "\r\n\r\n", 4), head.at + head.len - 4);
    for (size_t i = 0; i < head.len; i++)
        assert_int_equal(head.at[i] == '\n', i > 0 && head.at[i - 1] == '\r');
    for (size_t i = 8; i < 11; i++)
        status = status * 10 + head.at[i] - '0';
    assert_string_equal(header(fixture, "Cache-Control", value), "no-store");
    if (status == 204) {
        assert_int_equal(body.len, 0);
        assert_null(header(fixture, "Content-Length", value));
        return status;
    }
    assert_string_equal(header(fixture, "Content-Type", value), "application/json; charset=utf-8");
    assert_non_null(header(fixture, "Content-Length", value));
    assert_int_equal(strtoul(value, NULL, 10), body.len);
    assert_true((status == 401) == (header(fixture, "WWW-Authenticate", value) != NULL));

    struct json_tokener *tokener = json_tokener_new();
    /* With STRICT json-c 0.18 refuses every string that is not ASCII. */
    int strict = json_c_version_num() >> 8 == 18 ? 0 : JSON_TOKENER_STRICT;
    json_tokener_set_flags(tokener, strict | JSON_TOKENER_VALIDATE_UTF8);
    struct json_object *json = json_tokener_parse_ex(tokener, body.at, (int)body.len), *member;
    require(json && json_tokener_get_parse_end(tokener) == body.len, "%.*s", (int)body.len,
            body.at);
    assert_true(json_object_object_get_ex(json, "success", &member));
    if (!fixture->options.http_status_200)
        assert_int_equal(json_object_get_boolean(member), status == 200);
    assert_true(json_object_object_get_ex(json, "message", &member));
    assert_int_equal(json_object_get_type(member), json_type_string);
    json_object_put(json);
    json_tokener_free(tokener);
    return status;
}

/* ---- requests ---- */

static struct request_input request_of(struct fixture *fixture, int user, const char *method,
                                       const char *path, struct span body)
{
    const char *query = strchr(path, '?');
    snprintf(fixture->authorization, sizeof(fixture->authorization), "Bearer %s",
             fixture->access_tokens[user]);
    snprintf(fixture->user, sizeof(fixture->user), "%d", user);
    return (struct request_input){
        .method = span_of(method),
        .path_info = {path, query ? (size_t)(query - path) : strlen(path)},
        .query = span_of(query ? query + 1 : NULL),
        .authorization = span_of(fixture->authorization),
        .new_api_user = span_of(fixture->user),
        .body = body,
    };
}

static enum api_step begin(struct fixture *fixture, const struct request_input *input,
                           int64_t now_unix_s)
{
    request_clear(fixture->request);
    fixture->request->input = *input;
    return api_begin(fixture->api, fixture->request, now_unix_s);
}

static int run_at(struct fixture *fixture, const struct request_input *input, int64_t now_unix_s)
{
    enum api_step step = begin(fixture, input, now_unix_s);
    if (step == API_WRITES)
        store_write(fixture->temporary.store, &fixture->request->write);
    if (step == API_SEARCHES)
        api_search(fixture->request, fixture->temporary.reader);
    if (step != API_REPLIED)
        api_finish(fixture->request);
    return check_reply(fixture);
}

static int run(struct fixture *fixture, const struct request_input *request)
{
    return run_at(fixture, request, NOW);
}

static int request(struct fixture *fixture, int user, const char *method, const char *path,
                   const char *body)
{
    struct span text = span_of(body);
    char *copy = heap_copy(text);
    struct request_input made =
        request_of(fixture, user, method, path, (struct span){copy, text.len});
    int status = run(fixture, &made);
    free(copy);
    return status;
}

static void check_message(const struct fixture *fixture, const char *message)
{
    char expected[600];
    snprintf(expected, sizeof(expected), "{\"success\":false,\"message\":\"%s\",\"code\":\"",
             message);
    assert_true(span_starts_with(body_of(fixture), span_of(expected)));
}

/* ---- authentication ---- */

static const char missing_authorization[] = "Authorization header is missing";
static const char wrong_authorization[] = "Authorization header is wrong";
static const char wrong_user[] = "New-Api-User header is wrong";
static const char denied[] = "Authorization or New-Api-User is wrong";

/* %A is Alice's access token, %B Bob's, %C Carol's. */
static const struct {
    const char *authorization, *user;
    int status;
    const char *message; /* its beginning */
} authentications[] = {
    {"Bearer %A", "1", 200, ""},
    {"bearer %A", "1", 200, ""},
    {"BEARER %A", "1", 200, ""},
    {"bEaReR   %A", "1", 200, ""},
    {"  Bearer %A \t", " 1\t", 200, ""},
    {"%A", "1", 200, ""}, /* without a scheme */
    {" %A ", "1", 200, ""},
    {"Bearer %A", "01", 200, ""},
    {"Bearer %B", "2", 200, ""},
    {NULL, "1", 401, missing_authorization},
    {"", "1", 401, missing_authorization},
    {NULL, NULL, 401, missing_authorization},
    {" ", "1", 401, wrong_authorization},
    {"Bearer", "1", 401, wrong_authorization},
    {"Bearer ", "1", 401, wrong_authorization},
    {"Basic %A", "1", 401, wrong_authorization},
    {"Basic dXNlcjpwYXNz", "1", 401, wrong_authorization},
    {"Bearer %A", NULL, 200, ""},
    {"Bearer %A", "", 200, ""},
    {"Bearer %A", " ", 200, ""},
    {"Bearer nonsense", NULL, 401, denied},
    {"Bearer %C", NULL, 403, "User is disabled"},
    {"Bearer %A", "x", 401, wrong_user},
    {"Bearer %A", "1x", 401, wrong_user},
    {"Bearer %A", "+1", 401, wrong_user},
    {"Bearer %A", "1.0", 401, wrong_user},
    {"Bearer %A", "1,1", 401, wrong_user},
    {"Bearer %A", "0x1", 401, wrong_user},
    {"Bearer %A", "18446744073709551617", 401, wrong_user}, /* not user 1 */
    {"Bearer %A", "2", 401, denied},
    {"Bearer %B", "1", 401, denied},
    {"Bearer %A", "99", 401, denied},
    {"Bearer %A", "0", 401, denied},
    {"Bearer %A", "-1", 401, denied},
    {"Bearer %A", "9223372036854775807", 401, denied},
    {"Bearer nonsense", "1", 401, denied},
    {"Bearer %A%A", "1", 401, denied},
    {"Bearer %A x", "1", 401, denied},
    {"Bearer%A", "1", 401, denied},
    {"Bearer %C", "3", 403, "User is disabled"},
    {"Bearer %A", "3", 401, denied}, /* nothing is said of it to a stranger */
};

static void expand(const struct fixture *fixture, const char *text, char out[static 256])
{
    for (; *text; text++) {
        if (text[0] == '%') {
            memcpy(out, fixture->access_tokens[text[1] - 'A' + 1], STORE_CREDENTIAL_LEN);
            out += STORE_CREDENTIAL_LEN;
            text++;
        } else {
            *out++ = *text;
        }
    }
    *out = '\0';
}

static void test_authentication(void **state)
{
    (void)state;
    struct fixture fixture;
    set_up(&fixture);
    for (size_t i = 0; i < COUNT_OF(authentications); i++) {
        char authorization[256] = "", expected[100];
        if (authentications[i].authorization)
            expand(&fixture, authentications[i].authorization, authorization);
        struct request_input made = request_of(&fixture, ALICE, "GET", "/", SPAN(""));
        made.authorization = span_of(authentications[i].authorization ? authorization : NULL);
        made.new_api_user = span_of(authentications[i].user);
        int status = run(&fixture, &made);
        snprintf(expected, sizeof(expected), "\"message\":\"%s", authentications[i].message);
        require(status == authentications[i].status && has(body_of(&fixture), expected),
                "row %zu: %d %.*s", i, status, (int)fixture.request->body.len,
                fixture.request->body.at);
    }
    tear_down(&fixture);
}

/* Who there is, and which half is wrong, is not to be told from the answer. */
static void test_denials_are_the_same(void **state)
{
    (void)state;
    struct fixture fixture;
    struct buffer first = {0};
    set_up(&fixture);
    static const char *const users[] = {"1", "2", "3", "99", "0", "-1"};
    for (size_t i = 0; i < COUNT_OF(users); i++) {
        struct request_input made = request_of(&fixture, ALICE, "GET", "/", SPAN(""));
        made.authorization = SPAN("Bearer nonsense");
        made.new_api_user = span_of(users[i]);
        assert_int_equal(run(&fixture, &made), 401);
        if (i == 0)
            buffer_append(&first, body_of(&fixture));
        assert_span_equal(body_of(&fixture), ((struct span){first.at, first.len}));
    }
    buffer_free(&first);
    tear_down(&fixture);
}

/* Every route but OPTIONS; before anything is read of the body. */
static void test_every_route_is_authenticated(void **state)
{
    (void)state;
    static const char *const routes[][2] = {{"GET", "/"},    {"POST", "/"},    {"PUT", "/"},
                                            {"GET", "/1"},   {"DELETE", "/1"}, {"POST", "/batch"},
                                            {"GET", "/?p=x"}};
    struct fixture fixture;
    set_up(&fixture);
    for (size_t i = 0; i < COUNT_OF(routes); i++) {
        struct request_input made =
            request_of(&fixture, ALICE, routes[i][0], routes[i][1], SPAN("{nonsense"));
        made.authorization = SPAN("Bearer nonsense");
        made.body_too_large = i % 2;
        assert_int_equal(run(&fixture, &made), 401);
    }
    tear_down(&fixture);
}

/* ---- tokens as they are answered ---- */

static void test_create_answers_the_token(void **state)
{
    (void)state;
    struct fixture fixture;
    set_up(&fixture);
    assert_int_equal(
        request(&fixture, ALICE, "POST", "/",
                "{\"id\":77,\"user_id\":2,\"key\":\"sk-mine\",\"status\":2,"
                "\"used_quota\":5,\"created_time\":1,\"accessed_time\":1,"
                "\"unknown\":[{}],\"group\":null,"
                "\"name\":\"\\u4ee4 \\\"x\\\"\",\"remain_quota\":9223372036854775807,"
                "\"model_limits_enabled\":true,\"model_limits\":[\" a \",\"b,c\",\"\"],"
                "\"allow_ips\":\"10.0.0.0/8 \\n ::1\",\"expired_time\":1}"),
        200);
    static const char before[] =
        "{\"success\":true,\"message\":\"\",\"data\":{\"id\":1,\"user_id\":1,"
        "\"name\":\"\xE4\xBB\xA4 \\\"x\\\"\",\"key\":\"sk-";
    static const char after[] =
        "\",\"status\":3,\"remain_quota\":9223372036854775807,\"used_quota\":0,"
        "\"unlimited_quota\":false,\"model_limits_enabled\":true,\"model_limits\":\"a,b,c\","
        "\"allow_ips\":\"10.0.0.0/8,::1\",\"group\":\"vip\",\"expired_time\":1,"
        "\"created_time\":1700000000,\"accessed_time\":1700000000,\"rpm_limit\":0,"
        "\"tpm_limit\":0,\"max_parallel_requests\":0,\"refill_amount\":0,"
        "\"refill_interval\":\"none\",\"refill_day\":1}}";
    struct span body = body_of(&fixture);
    size_t before_len = sizeof(before) - 1, after_len = sizeof(after) - 1;
    assert_int_equal(body.len, before_len + 48 + after_len);
    assert_true(span_starts_with(body, SPAN(before)));
    assert_span_equal(span_from(body, before_len + 48), SPAN(after));
    assert_true(token_key_form((struct span){body.at + before_len - 3, TOKEN_KEY_LEN}) ==
                TOKEN_KEY_OWN);

    struct buffer created = {0};
    buffer_append(&created, body);
    assert_int_equal(request(&fixture, ALICE, "GET", "/1", ""), 200);
    assert_span_equal(body_of(&fixture), ((struct span){created.at, created.len}));
    buffer_free(&created);
    tear_down(&fixture);
}

static void test_create_needs_nothing(void **state)
{
    (void)state;
    struct fixture fixture;
    set_up(&fixture);
    assert_int_equal(request(&fixture, BOB, "POST", "/", "{}"), 200);
    assert_true(has(body_of(&fixture), "\",\"status\":4,\"remain_quota\":0,\"used_quota\":0,"
                                       "\"unlimited_quota\":false,\"model_limits_enabled\":false,"
                                       "\"model_limits\":\"\",\"allow_ips\":\"\",\"group\":\"vip\","
                                       "\"expired_time\":-1,\"created_time\":1700000000,"));
    assert_true(has(body_of(&fixture), "{\"id\":1,\"user_id\":2,\"name\":\"\",\"key\":\"sk-"));
    tear_down(&fixture);
}

/* The status is that of the time of asking. */
static void test_status_changes_with_time(void **state)
{
    (void)state;
    struct fixture fixture;
    set_up(&fixture);
    assert_int_equal(request(&fixture, ALICE, "POST", "/",
                             "{\"unlimited_quota\":true,\"expired_time\":1700000010}"),
                     200);
    static const struct {
        int64_t now_unix_s;
        const char *status;
    } rows[] = {{NOW, "\"status\":1,"}, {NOW + 9, "\"status\":1,"}, {NOW + 10, "\"status\":3,"}};
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        static const char *const paths[] = {"/", "/1"};
        for (size_t p = 0; p < COUNT_OF(paths); p++) {
            struct request_input made = request_of(&fixture, ALICE, "GET", paths[p], SPAN(""));
            assert_int_equal(run_at(&fixture, &made, rows[i].now_unix_s), 200);
            assert_true(has(body_of(&fixture), rows[i].status));
        }
    }
    tear_down(&fixture);
}

/* ---- a stranger's token ---- */

/* What somebody else's id is answered with, beside an id that never was. */
static void test_a_strangers_id_is_like_none(void **state)
{
    (void)state;
    static const struct {
        const char *method, *path, *body; /* %d is the id */
    } rows[] = {
        {"GET", "/%d", ""},
        {"DELETE", "/%d", ""},
        {"PUT", "/", "{\"id\":%d,\"name\":\"x\"}"},
        {"PUT", "/", "{\"id\":%d}"},
        {"PUT", "/", "{\"id\":%d,\"status\":1}"},
        {"PUT", "/?status_only=1", "{\"id\":%d,\"status\":1}"},
        {"PUT", "/?status_only=1", "{\"id\":%d,\"status\":2}"},
        {"POST", "/batch", "{\"ids\":[%d]}"},
        {"POST", "/batch", "{\"ids\":[1,%d]}"},
        {"PUT", "/", "{\"id\":%d,\"name\":1}"},
    };
    struct fixture fixture;
    set_up(&fixture);
    /* Bob's: disabled, expired and exhausted, so that each refusal could show */
    assert_int_equal(request(&fixture, BOB, "POST", "/", "[{\"expired_time\":1},{}]"), 200);
    assert_int_equal(request(&fixture, BOB, "PUT", "/?status_only=1", "{\"id\":1,\"status\":2}"),
                     200);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct buffer answers[2] = {{0}, {0}};
        static const int ids[] = {2, 987};
        for (size_t which = 0; which < 2; which++) {
            char path[64], body[100];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
            snprintf(path, sizeof(path), rows[i].path, ids[which]);
            snprintf(body, sizeof(body), rows[i].body, ids[which]);
#pragma GCC diagnostic pop
            request(&fixture, ALICE, rows[i].method, path, body);
            buffer_append(&answers[which],
                          (struct span){fixture.request->head.at, fixture.request->head.len});
            buffer_append(&answers[which], body_of(&fixture));
        }
        require(span_equal((struct span){answers[0].at, answers[0].len},
                           (struct span){answers[1].at, answers[1].len}),
                "row %zu: %.*s", i, (int)answers[0].len, answers[0].at);
        buffer_free(&answers[0]);
        buffer_free(&answers[1]);
    }
    /* and Bob's are as they were */
    assert_int_equal(temporary_count(fixture.temporary.reader, BOB), 2);
    assert_int_equal(request(&fixture, ALICE, "GET", "/", ""), 200);
    assert_true(has(body_of(&fixture), "{\"items\":[],\"total\":0,"));
    tear_down(&fixture);
}

/* ---- bad bodies ---- */

static const struct {
    const char *method, *path, *body, *message;
} refusals[] = {
    /* the body as a whole */
    {"POST", "/", "", "Invalid parameters: body is empty: send a JSON object"},
    {"POST", "/", "1", "Invalid parameters: body must be a JSON object or array"},
    {"POST", "/", "{", "Invalid parameters: body is not valid JSON"},
    {"POST", "/", "{}x", "Invalid parameters: body is not valid JSON"},
    {"PUT", "/", "[]", "Invalid parameters: body must be a JSON object"},
    {"POST", "/", "[]", "Invalid parameters: body must have 1 to 100 tokens"},
    {"POST", "/", "{\"name\":\"\xFF\"}", "Invalid parameters: body is not valid UTF-8"},
    /* types */
    {"POST", "/", "{\"name\":1}", "Invalid parameters: name must be a string"},
    {"POST", "/", "{\"name\":[]}", "Invalid parameters: name must be a string"},
    {"POST", "/", "{\"group\":false}", "Invalid parameters: group must be a string"},
    {"POST", "/", "{\"remain_quota\":\"1\"}",
     "Invalid parameters: remain_quota must be an integer"},
    {"POST", "/", "{\"remain_quota\":1.5}", "Invalid parameters: remain_quota must be an integer"},
    {"POST", "/", "{\"remain_quota\":1e3}", "Invalid parameters: remain_quota must be an integer"},
    {"POST", "/", "{\"remain_quota\":true}", "Invalid parameters: remain_quota must be an integer"},
    {"POST", "/", "{\"expired_time\":1.0}", "Invalid parameters: expired_time must be an integer"},
    {"POST", "/", "{\"unlimited_quota\":1}",
     "Invalid parameters: unlimited_quota must be true or false"},
    {"POST", "/", "{\"unlimited_quota\":\"true\"}",
     "Invalid parameters: unlimited_quota must be true or false"},
    {"POST", "/", "{\"model_limits_enabled\":0}",
     "Invalid parameters: model_limits_enabled must be true or false"},
    {"POST", "/", "{\"model_limits\":{}}",
     "Invalid parameters: model_limits must be an array of strings, or a string with commas"},
    {"POST", "/", "{\"model_limits\":[\"a\",1]}",
     "Invalid parameters: model_limits must be an array of strings, or a string with commas"},
    {"POST", "/", "{\"model_limits\":[null]}",
     "Invalid parameters: model_limits must be an array of strings, or a string with commas"},
    {"POST", "/", "{\"allow_ips\":[\"1.1.1.1\"]}",
     "Invalid parameters: allow_ips must be a string"},
    {"PUT", "/", "{\"id\":1,\"status\":\"1\"}", "Invalid parameters: status must be an integer"},
    {"PUT", "/", "{\"id\":\"1\"}", "Invalid parameters: id must be an integer"},
    {"PUT", "/", "{\"id\":1.0}", "Invalid parameters: id must be an integer"},
    {"PUT", "/", "{}", "Invalid parameters: id is required"},
    {"PUT", "/", "{\"id\":null}", "Invalid parameters: id is required"},
    /* ranges: out of int64 is an error, never another number */
    {"POST", "/", "{\"remain_quota\":-1}", "Invalid parameters: remain_quota must be 0 or more"},
    {"POST", "/", "{\"remain_quota\":9223372036854775808}",
     "Invalid parameters: remain_quota is a number out of range"},
    {"POST", "/", "{\"remain_quota\":-9223372036854775809}",
     "Invalid parameters: remain_quota is a number out of range"},
    {"POST", "/", "{\"remain_quota\":1e999}",
     "Invalid parameters: remain_quota is a number out of range"},
    {"POST", "/", "{\"expired_time\":9223372036854775808}",
     "Invalid parameters: expired_time is a number out of range"},
    {"POST", "/", "[{},{\"expired_time\":99999999999999999999}]",
     "Invalid parameters: [1].expired_time is a number out of range"},
    {"PUT", "/", "{\"id\":18446744073709551617}",
     "Invalid parameters: id is a number out of range"},
    {"POST", "/", "{\"expired_time\":-2}",
     "Invalid parameters: expired_time must be 0 or more, or -1 for never"},
    {"POST", "/", "{\"expired_time\":-9223372036854775808}",
     "Invalid parameters: expired_time must be 0 or more, or -1 for never"},
    {"PUT", "/?status_only=1", "{\"id\":1,\"status\":0}",
     "Invalid parameters: status must be 1 (enabled) or 2 (disabled)"},
    {"PUT", "/?status_only=1", "{\"id\":1,\"status\":5}",
     "Invalid parameters: status must be 1 (enabled) or 2 (disabled)"},
    {"PUT", "/?status_only=1", "{\"id\":1,\"status\":4294967297}",
     "Invalid parameters: status must be 1 (enabled) or 2 (disabled)"}, /* not 1 */
    {"PUT", "/?status_only=true", "{\"id\":1,\"status\":3}",
     "Invalid parameters: status must be 1 (enabled) or 2 (disabled)"},
    {"PUT", "/?status_only=true", "{\"id\":1}",
     "Invalid parameters: status must be 1 (enabled) or 2 (disabled)"},
    {"PUT", "/?status_only=true", "{\"id\":1,\"status\":null}",
     "Invalid parameters: status must be 1 (enabled) or 2 (disabled)"},
    /* texts */
    {"POST", "/", "{\"name\":\"1234567890123456789012345678901\"}", "Token name is too long"},
    {"POST", "/", "{\"name\":\"a\\u0000b\"}",
     "Invalid parameters: body has a NUL character (\\\\u0000)"},
    {"POST", "/", "{\"name\":\"\\u0085\"}",
     "Invalid parameters: name must not have control characters"},
    {"POST", "/", "{\"group\":\"\\n\"}",
     "Invalid parameters: group must not have control characters"},
    {"POST", "/", "{\"allow_ips\":\"1.1.1.1,nonsense\"}",
     "Invalid parameters: allow_ips must be IP addresses or CIDR blocks, separated by commas"},
    {"POST", "/", "{\"name\":\"a\",\"n\\u0061me\":\"b\"}",
     "Invalid parameters: body has the same name twice in an object"},
    /* arrays name the element */
    {"POST", "/", "[{},{},{\"name\":1}]", "Invalid parameters: [2].name must be a string"},
    {"POST", "/", "[{},1]", "Invalid parameters: [1] must be an object"},
    {"POST", "/", "[null]", "Invalid parameters: [0] must be an object"},
    {"POST", "/", "[[]]", "Invalid parameters: [0] must be an object"},
    {"POST", "/", "[{},{\"name\":\"1234567890123456789012345678901\"}]",
     "Token name is too long: [1].name"},
    /* batch: one message for all that is wrong with ids */
    {"POST", "/batch", "{}", "Invalid parameters"},
    {"POST", "/batch", "{\"ids\":[]}", "Invalid parameters"},
    {"POST", "/batch", "{\"ids\":null}", "Invalid parameters"},
    {"POST", "/batch", "{\"ids\":1}", "Invalid parameters"},
    {"POST", "/batch", "{\"ids\":\"1,2\"}", "Invalid parameters"},
    {"POST", "/batch", "{\"ids\":[1,\"2\"]}", "Invalid parameters"},
    {"POST", "/batch", "{\"ids\":[1,2.0]}", "Invalid parameters"},
    {"POST", "/batch", "{\"ids\":[1,null]}", "Invalid parameters"},
    {"POST", "/batch", "{\"ids\":[[1]]}", "Invalid parameters"},
    {"POST", "/batch", "{\"ids\":[true]}", "Invalid parameters"},
};

static void test_bad_bodies(void **state)
{
    (void)state;
    struct fixture fixture;
    set_up(&fixture);
    assert_int_equal(request(&fixture, ALICE, "POST", "/", "{\"name\":\"before\"}"), 200);
    struct buffer before = {0};
    assert_int_equal(request(&fixture, ALICE, "GET", "/", ""), 200);
    buffer_append(&before, body_of(&fixture));
    for (size_t i = 0; i < COUNT_OF(refusals); i++) {
        int status =
            request(&fixture, ALICE, refusals[i].method, refusals[i].path, refusals[i].body);
        require(status == 400, "row %zu: %s: %d", i, refusals[i].body, status);
        check_message(&fixture, refusals[i].message);
    }
    assert_int_equal(request(&fixture, ALICE, "GET", "/", ""), 200);
    assert_span_equal(body_of(&fixture), ((struct span){before.at, before.len}));
    buffer_free(&before);
    temporary_check(&fixture.temporary);
    tear_down(&fixture);
}

static void test_batch_ids_out_of_range(void **state)
{
    (void)state;
    struct fixture fixture;
    set_up(&fixture);
    assert_int_equal(request(&fixture, ALICE, "POST", "/batch", "{\"ids\":[9223372036854775808]}"),
                     400);
    assert_true(has(body_of(&fixture), "\"message\":\"Invalid parameters"));
    tear_down(&fixture);
}

/* ---- bodies that are too large or cut ---- */

static void test_transport(void **state)
{
    (void)state;
    struct fixture fixture;
    set_up(&fixture);
    struct request_input made = request_of(&fixture, ALICE, "POST", "/", (struct span){NULL, 0});
    made.body_too_large = true;
    assert_int_equal(run(&fixture, &made), 413);
    check_message(&fixture, "Request body is too large");

    static const struct {
        const char *length;
        int status;
    } rows[] = {{NULL, 200}, {"", 200},   {"2", 200},  {"02", 200}, {"1", 400},
                {"3", 400},  {"-2", 400}, {"+2", 400}, {"x", 400},  {"18446744073709551618", 400}};
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        made = request_of(&fixture, ALICE, "POST", "/", SPAN("{}"));
        made.content_length = span_of(rows[i].length);
        require(run(&fixture, &made) == rows[i].status, "row %zu", i);
    }
    tear_down(&fixture);
}

/* ---- arrays: all or none ---- */

static void test_array_create(void **state)
{
    (void)state;
    struct fixture fixture;
    set_up(&fixture);
    fixture.options.max_per_user = 5;
    assert_int_equal(request(&fixture, ALICE, "POST", "/",
                             "[{\"name\":\"first\"},{\"name\":\"second\"},{\"name\":\"third\"}]"),
                     200);
    struct span body = body_of(&fixture);
    assert_true(
        span_starts_with(body, SPAN("{\"success\":true,\"message\":\"\",\"data\":[{\"id\":1,")));
    const char *first = memmem(body.at, body.len, "first", 5);
    const char *second = memmem(body.at, body.len, "second", 6);
    const char *third = memmem(body.at, body.len, "third", 5);
    assert_true(first && second && third && first < second && second < third);
    assert_int_equal(body.at[body.len - 2], ']');

    assert_int_equal(request(&fixture, ALICE, "POST", "/", "[{},{},{}]"), 409);
    check_message(&fixture, "Maximum number of tokens reached (5)");
    assert_int_equal(request(&fixture, ALICE, "POST", "/", "[{},{\"name\":1}]"), 400);
    assert_int_equal(temporary_count(fixture.temporary.reader, ALICE), 3);
    assert_int_equal(request(&fixture, ALICE, "POST", "/", "[{},{}]"), 200);
    assert_int_equal(request(&fixture, ALICE, "POST", "/", "{}"), 409);
    assert_int_equal(request(&fixture, ALICE, "POST", "/", "[{}]"), 409);
    assert_int_equal(request(&fixture, BOB, "POST", "/", "[{}]"), 200); /* one is an array too */
    assert_true(has(body_of(&fixture), "\"data\":[{"));
    assert_int_equal(temporary_count(fixture.temporary.reader, ALICE), 5);
    tear_down(&fixture);
}

static void test_array_sizes(void **state)
{
    (void)state;
    struct fixture fixture;
    set_up(&fixture);
    for (int count = 99; count <= 101; count++) {
        struct buffer body = {0};
        for (int i = 0; i < count; i++)
            buffer_append_string(&body, i == 0 ? "[{}" : ",{}");
        buffer_append(&body, SPAN("]\0"));
        assert_int_equal(request(&fixture, ALICE, "POST", "/", body.at), count <= 100 ? 200 : 400);
        buffer_free(&body);
    }
    assert_int_equal(temporary_count(fixture.temporary.reader, ALICE), 199);
    for (int count = 999; count <= 1001; count++) {
        struct buffer body = {0};
        buffer_append_string(&body, "{\"ids\":[1");
        for (int i = 1; i < count; i++)
            buffer_append_string(&body, ",5");
        buffer_append(&body, SPAN("]}\0"));
        assert_int_equal(request(&fixture, ALICE, "POST", "/batch", body.at),
                         count <= 1000 ? 200 : 400);
        buffer_free(&body);
    }
    tear_down(&fixture);
}

/* ---- updating and deleting ---- */

static void test_update(void **state)
{
    (void)state;
    static const struct {
        const char *path, *body;
        int status;
        const char *part; /* of the answer */
    } steps[] = {
        {"/", "{\"id\":1,\"name\":\"new\"}", 200, "\"name\":\"new\""},
        {"/", "{\"id\":1,\"name\":null,\"remain_quota\":5}", 200, "\"name\":\"new\""},
        {"/", "{\"id\":1}", 200, "\"status\":1,\"remain_quota\":5,"},
        {"/", "{\"id\":1,\"status\":2}", 200, "\"status\":2,"},
        {"/", "{\"id\":1,\"status\":3}", 200, "\"status\":2,"},
        {"/?status_only=true", "{\"id\":1,\"status\":1,\"name\":7}", 200, "\"status\":1,"},
        {"/?status_only=", "{\"id\":1,\"name\":\"n2\"}", 200, "\"name\":\"n2\""},
        {"/?status_only=0", "{\"id\":1,\"name\":\"n3\"}", 200, "\"name\":\"n3\""},
        {"/?status_only=false", "{\"id\":1,\"name\":\"n4\"}", 200, "\"name\":\"n4\""},
        {"/?status_only=no", "{\"id\":1,\"name\":\"n5\",\"status\":1}", 200, "\"name\":\"n4\""},
        {"/", "{\"id\":1,\"expired_time\":1,\"status\":2}", 200, "\"status\":2,"},
        {"/?status_only=1", "{\"id\":1,\"status\":1}", 409,
         "{\"success\":false,\"message\":\"The token has expired and cannot be enabled. Please "
         "update "
         "the token expiration time first, or set it to never expire\",\"code\":\"expired\"}"},
        {"/", "{\"id\":1,\"status\":1,\"expired_time\":-1}", 200, "\"status\":1,"},
        {"/", "{\"id\":1,\"status\":2,\"remain_quota\":0}", 200, "\"status\":2,"},
        {"/", "{\"id\":1,\"status\":1,\"name\":\"no\"}", 409,
         "{\"success\":false,\"message\":\"The token quota is exhausted and cannot be enabled. "
         "Please "
         "update the remaining quota first, or set it to unlimited\",\"code\":\"exhausted\"}"},
        {"/", "{\"id\":1}", 200, "\"name\":\"n4\""},
        {"/", "{\"id\":1,\"status\":1,\"unlimited_quota\":true}", 200, "\"status\":1,"},
        {"/", "{\"id\":2,\"name\":\"x\"}", 404, "\"message\":\"Token does not exist\""},
        {"/", "{\"id\":-1}", 404, "\"message\":\"Token does not exist\""},
        {"/", "{\"id\":1,\"model_limits\":\"\",\"allow_ips\":\"\",\"group\":\"\"}", 200,
         "\"model_limits\":\"\",\"allow_ips\":\"\",\"group\":\""},
    };
    struct fixture fixture;
    set_up(&fixture);
    assert_int_equal(request(&fixture, ALICE, "POST", "/", "{\"model_limits\":\"m\"}"), 200);
    for (size_t i = 0; i < COUNT_OF(steps); i++) {
        int status = request(&fixture, ALICE, "PUT", steps[i].path, steps[i].body);
        require(status == steps[i].status && has(body_of(&fixture), steps[i].part),
                "step %zu: %d %.*s", i, status, (int)fixture.request->body.len,
                fixture.request->body.at);
    }
    temporary_check(&fixture.temporary);
    tear_down(&fixture);
}

static void test_delete(void **state)
{
    (void)state;
    struct fixture fixture;
    set_up(&fixture);
    assert_int_equal(request(&fixture, ALICE, "POST", "/", "[{},{},{},{}]"), 200);
    assert_int_equal(request(&fixture, BOB, "POST", "/", "{}"), 200);
    assert_int_equal(request(&fixture, ALICE, "DELETE", "/2", ""), 200);
    assert_span_equal(body_of(&fixture), SPAN("{\"success\":true,\"message\":\"\"}"));
    static const char *const none[] = {"/2", "/5", "/99", "/0", "/18446744073709551617"};
    for (size_t i = 0; i < COUNT_OF(none); i++) {
        assert_int_equal(request(&fixture, ALICE, "DELETE", none[i], ""), 404);
        check_message(&fixture, "Token does not exist");
        assert_int_equal(request(&fixture, ALICE, "GET", none[i], ""), 404);
        check_message(&fixture, "Token does not exist");
    }
    assert_int_equal(request(&fixture, ALICE, "POST", "/batch",
                             "{\"ids\":[1,1,2,5,3,-7,9223372036854775807,3]}"),
                     200);
    assert_span_equal(body_of(&fixture), SPAN("{\"success\":true,\"message\":\"\",\"data\":2}"));
    assert_int_equal(temporary_count(fixture.temporary.reader, ALICE), 1);
    assert_int_equal(temporary_count(fixture.temporary.reader, BOB), 1);
    tear_down(&fixture);
}

/* ---- listing ---- */

static void test_list(void **state)
{
    (void)state;
    static const struct {
        const char *query, *end; /* of the answer */
        int items, first;        /* the id of the first */
    } rows[] = {
        {"/", "\"total\":130,\"page\":1,\"page_size\":20}}", 20, 130},
        {"", "\"total\":130,\"page\":1,\"page_size\":20}}", 20, 130},
        {"/?p=2", "\"page\":2,\"page_size\":20}}", 20, 110},
        {"/?p=7", "\"page\":7,\"page_size\":20}}", 10, 10},
        {"/?p=8", "\"total\":130,\"page\":8,\"page_size\":20}}", 0, 0},
        {"/?p=0", "\"page\":1,\"page_size\":20}}", 20, 130},
        {"/?p=-5", "\"page\":1,\"page_size\":20}}", 20, 130},
        {"/?p=9223372036854775807&size=100",
         "\"total\":130,\"page\":9223372036854775807,\"page_size\":100}}", 0, 0},
        {"/?p=4611686018427387905&size=4", "\"page\":4611686018427387905,\"page_size\":4}}", 0, 0},
        {"/?p=184467440737095517&size=100", "\"page\":184467440737095517,\"page_size\":100}}", 0,
         0},
        {"/?size=7", "\"page\":1,\"page_size\":7}}", 7, 130},
        {"/?page_size=7", "\"page\":1,\"page_size\":7}}", 7, 130},
        {"/?ps=7", "\"page\":1,\"page_size\":7}}", 7, 130},
        {"/?ps=9&page_size=8&size=7", "\"page\":1,\"page_size\":7}}", 7, 130},
        {"/?size=100", "\"page\":1,\"page_size\":100}}", 100, 130},
        {"/?size=101", "\"page\":1,\"page_size\":100}}", 100, 130},
        {"/?size=9223372036854775807", "\"page\":1,\"page_size\":100}}", 100, 130},
        {"/?size=0", "\"page\":1,\"page_size\":20}}", 20, 130},
        {"/?size=-1", "\"page\":1,\"page_size\":20}}", 20, 130},
        {"/?p=2&size=100", "\"page\":2,\"page_size\":100}}", 30, 30},
        {"/?p=130&size=1", "\"page\":130,\"page_size\":1}}", 1, 1},
        {"/?keyword=x&p=2", "\"page\":2,\"page_size\":20}}", 20, 110},
    };
    struct fixture fixture;
    int64_t first;
    set_up(&fixture);
    assert_int_equal(temporary_create_tokens(fixture.temporary.store, ALICE, 130, 0, 0, &first),
                     STORE_OK);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        require(request(&fixture, ALICE, "GET", rows[i].query, "") == 200, "row %zu", i);
        struct span body = body_of(&fixture);
        size_t end_len = strlen(rows[i].end);
        require(body.len > end_len &&
                    memcmp(body.at + body.len - end_len, rows[i].end, end_len) == 0,
                "row %zu: %.*s", i, (int)body.len, body.at);
        int items = 0;
        for (const char *at = body.at;
             (at = memmem(at, (size_t)(body.at + body.len - at), "{\"id\":", 6)); at++, items++) {
            int expected = rows[i].first - items;
            require(strtol(at + 6, NULL, 10) == expected, "row %zu, item %d", i, items);
        }
        require(items == rows[i].items, "row %zu: %d items", i, items);
    }
    tear_down(&fixture);
}

/* ---- paths and methods ---- */

static void test_paths_and_methods(void **state)
{
    (void)state;
    static const struct {
        const char *method, *path;
        int status;
        const char *allow;
    } rows[] = {
        {"PATCH", "/", 405, "GET, HEAD, POST, PUT, OPTIONS"},
        {"DELETE", "/", 405, "GET, HEAD, POST, PUT, OPTIONS"},
        {"POST", "/5", 405, "GET, HEAD, DELETE, OPTIONS"},
        {"GET", "/batch", 405, "POST, OPTIONS"},
        {"OPTIONS", "/", 204, "GET, HEAD, POST, PUT, OPTIONS"},
        {"OPTIONS", "/5", 204, "GET, HEAD, DELETE, OPTIONS"},
        {"OPTIONS", "/batch", 204, "POST, OPTIONS"},
        {"OPTIONS", "/nothing", 404, NULL},
        {"GET", "/nothing", 404, NULL},
        {"GET", "/1/2", 404, NULL},
    };
    struct fixture fixture;
    char value[256];
    set_up(&fixture);
    for (int cors = 0; cors < 3; cors++) {
        static const char *const origins[] = {NULL, "https://example.org", "*"};
        fixture.options.cors_origin = origins[cors];
        for (size_t i = 0; i < COUNT_OF(rows); i++) {
            struct request_input made =
                request_of(&fixture, ALICE, rows[i].method, rows[i].path, SPAN(""));
            made.authorization = made.new_api_user = (struct span){NULL, 0}; /* needs none */
            /* With CORS each path has OPTIONS. */
            bool is_options = strcmp(rows[i].method, "OPTIONS") == 0;
            int status = is_options && cors ? 204 : rows[i].status;
            const char *expected = status == 204 && !rows[i].allow ? "OPTIONS" : rows[i].allow;
            require(run(&fixture, &made) == status, "row %zu", i);
            const char *allow = header(&fixture, "Allow", value);
            require(allow ? expected && strcmp(allow, expected) == 0 : !expected,
                    "row %zu: Allow: %s", i, allow);
            const char *origin = header(&fixture, "Access-Control-Allow-Origin", value);
            require(origin ? cors && strcmp(origin, origins[cors]) == 0 : !cors, "row %zu", i);
            static const char *const vary[3][2] = {
                {NULL, NULL},
                {"Origin", "Origin, Access-Control-Request-Headers"},
                {NULL, "Access-Control-Request-Headers"}};
            const char *varies = header(&fixture, "Vary", value), *by = vary[cors][is_options];
            require(varies ? by && strcmp(varies, by) == 0 : !by, "row %zu: Vary", i);
            const char *methods = header(&fixture, "Access-Control-Allow-Methods", value);
            require(status == 204 && cors ? methods && strcmp(methods, expected) == 0 : !methods,
                    "row %zu: methods", i);
        }
    }
    tear_down(&fixture);
}

/* ---- TOKEN_HTTP_STATUS=200 ---- */

static void test_http_status_200(void **state)
{
    (void)state;
    static const struct {
        int user;
        const char *method, *path, *body;
        const char *part;
    } rows[] = {
        {ALICE, "GET", "/99", "", "Token does not exist"},
        {ALICE, "POST", "/", "{", "Invalid parameters"},
        {ALICE, "POST", "/", "[{},{},{},{}]", "Maximum number of tokens reached (3)"},
        {ALICE, "PUT", "/", "{\"id\":1,\"status\":1}", "The token quota is exhausted"},
        {CAROL, "GET", "/", "", "User is disabled"},
    };
    struct fixture fixture;
    char value[256];
    set_up(&fixture);
    fixture.options.max_per_user = 3;
    assert_int_equal(request(&fixture, ALICE, "POST", "/", "{}"), 200);
    fixture.options.http_status_200 = true;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        require(request(&fixture, rows[i].user, rows[i].method, rows[i].path, rows[i].body) == 200,
                "row %zu", i);
        require(has(body_of(&fixture), "{\"success\":false,\"message\":\"") &&
                    has(body_of(&fixture), rows[i].part),
                "row %zu", i);
    }
    /* A path that is none is no failure of a route's; nor is /verify's answer ever 200. */
    assert_int_equal(request(&fixture, ALICE, "GET", "/nothing", ""), 404);
    assert_int_equal(request(&fixture, ALICE, "PATCH", "/", ""), 405);
    assert_int_equal(request(&fixture, ALICE, "GET", "/Verify", ""), 404);
    struct request_input made = request_of(&fixture, ALICE, "GET", "/", SPAN(""));
    made.authorization = SPAN("Bearer nonsense");
    assert_int_equal(run(&fixture, &made), 401); /* stays */
    made = request_of(&fixture, ALICE, "OPTIONS", "/", SPAN(""));
    assert_int_equal(run(&fixture, &made), 204); /* no failure */
    made = request_of(&fixture, ALICE, "POST", "/", SPAN(""));
    made.body_too_large = true;
    assert_int_equal(run(&fixture, &made), 200);
    assert_true(has(body_of(&fixture), "Request body is too large"));
    assert_null(header(&fixture, "Retry-After", value));
    tear_down(&fixture);
}

/* ---- what the store may say of a write ---- */

static void test_store_errors(void **state)
{
    (void)state;
    static const struct {
        enum store_error error;
        int status;
        const char *message, *code;
    } rows[] = {
        {STORE_NOT_FOUND, 404, "Token does not exist", "not_found"},
        {STORE_NO_USER, 401, NULL, "unauthorized"}, /* deleted meanwhile */
        {STORE_USER_DISABLED, 403, "User is disabled", "user_disabled"},
        {STORE_LIMIT, 409, "Maximum number of tokens reached (1000)", "limit"},
        {STORE_FULL, 503, "Service is temporarily unavailable", "unavailable"},
        {STORE_UNAVAILABLE, 503, "Service is temporarily unavailable", "unavailable"},
        {STORE_BROKEN, 503, "Service is temporarily unavailable", "unavailable"},
        {STORE_IDEMPOTENCY_MISMATCH, 409, NULL, "idempotency_mismatch"},
        {STORE_NO_RESERVATION, 404, "Reservation does not exist", "reservation"},
        {STORE_ENABLE_EXPIRED, 409, NULL, "expired"},
        {STORE_ENABLE_EXHAUSTED, 409, NULL, "exhausted"},
        {STORE_QUOTA_TOO_LOW, 409, "The token has less quota left than that", "quota_too_low"},
        {STORE_QUOTA_TOO_HIGH, 400, NULL, "invalid"},
        {STORE_NAME_TOO_LONG, 400, "Token name is too long", "name"},
        {STORE_UNKNOWN, 503, NULL, "unknown"},
        {STORE_CORRUPT, 503, NULL, "unavailable"},
    };
    static const struct {
        const char *method, *path, *body;
    } writes[] = {{"POST", "/", "{}"},
                  {"PUT", "/", "{\"id\":1}"},
                  {"DELETE", "/1", ""},
                  {"POST", "/batch", "{\"ids\":[1]}"}};
    struct fixture fixture;
    char value[256];
    set_up(&fixture);
    for (size_t w = 0; w < COUNT_OF(writes); w++)
        for (size_t i = 0; i < COUNT_OF(rows); i++) {
            struct request_input made = request_of(&fixture, ALICE, writes[w].method,
                                                   writes[w].path, span_of(writes[w].body));
            assert_int_equal(begin(&fixture, &made, NOW), API_WRITES);
            struct store_write *write = &fixture.request->write;
            assert_int_equal(write->user_id, ALICE);
            assert_int_equal(write->now_unix_s, NOW);
            write->error = rows[i].error;
            write->create.limit = 1000;
            api_finish(fixture.request);
            require(check_reply(&fixture) == rows[i].status, "write %zu, row %zu", w, i);
            char code[64];
            snprintf(code, sizeof(code), ",\"code\":\"%s\"}", rows[i].code);
            require(has(body_of(&fixture), code), "write %zu, row %zu: %s", w, i, code);
            if (rows[i].message)
                check_message(&fixture, rows[i].message);
            assert_true((rows[i].status == 503) ==
                        (header(&fixture, "Retry-After", value) != NULL));
        }
    tear_down(&fixture);
}

static void copy_key(void *context, const struct token *token)
{
    struct token *copy = context;
    memcpy(copy->key, token->key, TOKEN_KEY_LEN + 1);
}

/* A use that takes nothing is reported for the transport to record; no other reply reports one. */
static void test_use_is_reported(void **state)
{
    (void)state;
    struct fixture fixture;
    struct token token;
    set_up(&fixture);
    assert_int_equal(request(&fixture, ALICE, "POST", "/", "{\"unlimited_quota\":true}"), 200);
    assert_int_equal(fixture.request->used.token_id, 0);
    assert_int_equal(store_token_get(fixture.temporary.reader, ALICE, 1, copy_key, &token),
                     STORE_OK);
    struct request_input made = {.method = SPAN("GET"),
                                 .path_info = SPAN("/verify"),
                                 .x_api_key = {token.key, TOKEN_KEY_LEN}};
    assert_int_equal(begin(&fixture, &made, NOW + 100), API_REPLIED);
    assert_int_equal(fixture.request->used.token_id, 1);
    assert_int_equal(fixture.request->used.user_id, ALICE);
    assert_int_equal(fixture.request->used.accessed_unix_s, NOW);
    made.model = SPAN("m");
    token.key[0] ^= 1;
    assert_int_equal(begin(&fixture, &made, NOW + 100), API_REPLIED);
    assert_int_equal(fixture.request->used.token_id, 0);
    tear_down(&fixture);
}

static void test_unavailable_reply(void **state)
{
    (void)state;
    struct span reply = api_unavailable_reply();
    const char *body = memmem(reply.at, reply.len, "\r\n\r\n", 4);
    assert_non_null(body);
    body += 4;
    struct request request = {
        .head = {.at = (char *)(uintptr_t)reply.at, .len = (size_t)(body - reply.at)},
        .body = {.at = (char *)(uintptr_t)body, .len = reply.len - (size_t)(body - reply.at)}};
    struct fixture fixture = {.request = &request};
    char value[256];
    assert_int_equal(check_reply(&fixture), 503);
    assert_non_null(header(&fixture, "Retry-After", value));
    check_message(&fixture, "Service is temporarily unavailable");
}

/* A request that was begun and never finished is freed with all it holds. */
static void test_a_request_that_is_given_up(void **state)
{
    (void)state;
    struct fixture fixture;
    set_up(&fixture);
    struct request_input made = request_of(&fixture, ALICE, "POST", "/",
                                           SPAN("[{\"name\":\"a\",\"model_limits\":[\"b\"]}]"));
    assert_int_equal(begin(&fixture, &made, NOW), API_WRITES);
    request_free(fixture.request);
    fixture.request = NULL;
    request_free(NULL);
    api_free(NULL);
    tear_down(&fixture);
}

/* A request whose answer was made for a commit that failed. Before it is done again another process
 * does one of its own: nothing of that answer may be left. */
static void fail_commit(struct fixture *fixture, const struct request_input *late,
                        const struct request_input *other)
{
    assert_int_equal(begin(fixture, late, NOW), API_WRITES);
    struct request *request = fixture->request;
    assert_non_null(request->write.idempotency.render(&request->write).at);
    fixture->request = request_new();
    assert_int_equal(run(fixture, other), 200);
    char *answer = heap_copy(body_of(fixture));
    struct span other_answer = {answer, fixture->request->body.len};
    request_free(fixture->request);
    fixture->request = request;
    assert_int_equal(store_write(fixture->temporary.store, &request->write), STORE_OK);
    api_finish(request);
    if (late == other) /* the same request: a replay */
        assert_true(span_equal(body_of(fixture), other_answer));
    free(answer);
}

static void test_answer_after_a_failed_commit(void **state)
{
    (void)state;
    struct fixture fixture;
    struct store_gateway gateway = {.name = "gateway"};
    struct token token;
    char secret[STORE_CREDENTIAL_LEN], bodies[2][256];
    set_up(&fixture);
    struct request_input made =
        request_of(&fixture, ALICE, "POST", "/", SPAN("{\"remain_quota\":10}"));
    made.idempotency_key = SPAN("once");
    fail_commit(&fixture, &made, &made);
    assert_int_equal(check_reply(&fixture), 200);
    assert_int_equal(store_token_get(fixture.temporary.reader, ALICE, 1, copy_key, &token),
                     STORE_OK);
    assert_int_equal(store_gateway_add(fixture.temporary.store, NOW, &gateway, secret), STORE_OK);
    struct request_input inputs[2];
    for (size_t i = 0; i < 2; i++) {
        snprintf(bodies[i], sizeof(bodies[i]),
                 "{\"key\":\"%.*s\",\"amount\":10,\"transaction_id\":\"%zu\"}", TOKEN_KEY_LEN,
                 token.key, i);
        inputs[i] = (struct request_input){.method = SPAN("POST"),
                                           .path_info = SPAN("/consume"),
                                           .gateway_token = {secret, sizeof(secret)},
                                           .body = span_of(bodies[i])};
    }
    fail_commit(&fixture, &inputs[0], &inputs[1]); /* which leaves no quota */
    assert_int_equal(check_reply(&fixture), 401);
    assert_true(has(body_of(&fixture), "\"code\":\"exhausted\""));
    tear_down(&fixture);
}

/* ---- texts ---- */

static void test_texts_are_unescaped_and_normalized(void **state)
{
    (void)state;
    static const struct {
        const char *method, *body, *part;
    } rows[] = {
        {"POST",
         "{\"name\":\"plain\",\"group\":\"g\",\"model_limits\":\" a , b\","
         "\"allow_ips\":\"::1 10.0.0.1\"}",
         "\"model_limits\":\"a,b\",\"allow_ips\":\"::1,10.0.0.1\",\"group\":\"g\""},
        {"POST",
         "[{\"name\":\"\\u00e9\\u0041\",\"group\":\"\"},"
         "{\"name\":\"second\",\"model_limits\":[\"\",\"\\u0061 \",\" b,,\\u002cc\",\" \",\"d\"]}]",
         "\"model_limits\":\"a,b,c,d\""},
        {"PUT",
         "{\"id\":1,\"na\\u006de\":\"\\ud83d\\ude00\",\"allow_ips\":\"\\u003a:1\\n\\t1.1.1.1/8\","
         "\"model_limits\":\"x\\/y , \\\"q\\\"\"}",
         "\"model_limits\":\"x/y,\\\"q\\\"\",\"allow_ips\":\"::1,1.1.1.1/8\""},
        {"PUT", "{\"\\u0069d\":1,\"name\":null,\"group\":\"\\u0067\"}",
         "\"name\":\"\xF0\x9F\x98\x80\""},
    };
    struct fixture fixture;
    set_up(&fixture);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        require(request(&fixture, ALICE, rows[i].method, "/", rows[i].body) == 200, "row %zu", i);
        require(has(body_of(&fixture), rows[i].part), "row %zu: %.*s", i,
                (int)fixture.request->body.len, fixture.request->body.at);
    }
    tear_down(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_authentication),
        cmocka_unit_test(test_denials_are_the_same),
        cmocka_unit_test(test_every_route_is_authenticated),
        cmocka_unit_test(test_create_answers_the_token),
        cmocka_unit_test(test_create_needs_nothing),
        cmocka_unit_test(test_status_changes_with_time),
        cmocka_unit_test(test_a_strangers_id_is_like_none),
        cmocka_unit_test(test_bad_bodies),
        cmocka_unit_test(test_batch_ids_out_of_range),
        cmocka_unit_test(test_transport),
        cmocka_unit_test(test_array_create),
        cmocka_unit_test(test_array_sizes),
        cmocka_unit_test(test_update),
        cmocka_unit_test(test_delete),
        cmocka_unit_test(test_list),
        cmocka_unit_test(test_paths_and_methods),
        cmocka_unit_test(test_http_status_200),
        cmocka_unit_test(test_store_errors),
        cmocka_unit_test(test_use_is_reported),
        cmocka_unit_test(test_unavailable_reply),
        cmocka_unit_test(test_a_request_that_is_given_up),
        cmocka_unit_test(test_answer_after_a_failed_commit),
        cmocka_unit_test(test_texts_are_unescaped_and_normalized),
    };
    return cmocka_run_group_tests_name("api", tests, NULL, NULL);
}
