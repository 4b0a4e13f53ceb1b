/* Every route with the n-th allocation failing, for each n that there is, and with all from the
 * n-th on. An answer is the right one or 503; with 503 nothing has changed, nothing leaks, and the
 * next request is served.
 *
 * The Makefile has the linker send malloc and the like of the program's objects and of json-c,
 * which is linked statically, here, also under the sanitizers. Those of the other libraries stay:
 * LMDB's failures are errors of the store. */

#include "tests/unit/unit.h"

#include <errno.h>

#include "api/api.h"
#include "api/route.h"
#include "tests/unit/temporary.h"

/* ---- allocations that fail ---- */

static struct {
    bool on;
    bool all_after; /* the n-th: all after it too */
    int n, count, failed_count;
    long live; /* blocks */
} memory;

/* NOLINTBEGIN(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp): the linker chose them */
void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *at, size_t size);
void __real_free(void *at);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *at, size_t size);
void __wrap_free(void *at);
char *__wrap_strdup(const char *text);

static bool fails(void)
{
    if (!memory.on)
        return false;
    memory.count++;
    bool failed = memory.all_after ? memory.count >= memory.n : memory.count == memory.n;
    memory.failed_count += failed;
    if (failed)
        errno = ENOMEM;
    return failed;
}

static void *counted(void *at)
{
    memory.live += at != NULL;
    return at;
}

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : counted(__real_malloc(size));
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails() ? NULL : counted(__real_calloc(count, size));
}

void *__wrap_realloc(void *at, size_t size)
{
    if (fails())
        return NULL;
    return at ? __real_realloc(at, size) : counted(__real_realloc(at, size));
}

/* Never fails: json-c 0.16 ends the process over a name that it can't copy. */
char *__wrap_strdup(const char *text)
{
    size_t size = strlen(text) + 1;
    return memcpy(counted(__real_malloc(size)), text, size);
}

void __wrap_free(void *at)
{
    memory.live -= at != NULL;
    __real_free(at);
}
/* NOLINTEND(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp) */

/* ---- the requests ---- */

enum { NOW = 1700000000, ALICE = 1, BOB = 2 /* has more tokens than a short search */, ROOT = 3 };

enum flags {
    BY_KEY = 1,
    BY_GATEWAY = 2,
    BY_BOB = 4,
    REPEATED = 8,   /* the same request was answered before */
    LONG = 16,      /* the token has long texts, whose answer can't all be reserved */
    LIMITED = 32,   /* to one token a user */
    NO_ACCESS = 64, /* nobody's access token */
    BY_ROOT = 128,
};

/* In the texts %T is the id of a token of Alice's, %K its key, %R a reservation of it, and %U a
 * number that is another for each request. */
static const struct row {
    const char *method, *path, *body, *idempotency_key, *cost;
    int status;
    const char *part; /* of the answer */
    unsigned flags;
} rows[] = {
    {"GET", "/", "", NULL, NULL, 200, "\"total\":1,", 0},
    {"GET", "/?status=1", "", NULL, NULL, 200, "\"total\":1,", 0},
    {"GET", "/?sort=name", "", NULL, NULL, 200, "\"total\":501,", BY_BOB},
    {"GET", "/search?keyword=AM", "", NULL, NULL, 200, "\"total\":1,", 0},
    {"GET", "/search?keyword=AM&p=2", "", NULL, NULL, 200, "\"total\":501,", BY_BOB},
    {"POST", "/search",
     "{\"keyword\":\"AM\",\"p\":2,\"size\":20,\"page_size\":10,\"ps\":9,\"status\":1}", NULL, NULL,
     200, "\"total\":501,", BY_BOB},
    {"POST", "/search", "{\"token\":\"sk-\",\"sort\":\"name\"}", NULL, NULL, 200, "\"total\":1,",
     0},
    {"GET", "/search?status=x", "", NULL, NULL, 400, "status must be 1, 2, 3 or 4", 0},
    {"GET", "/%T", "", NULL, NULL, 200, "\"name\":\"name\"", 0},
    {"GET", "/%T", "", NULL, NULL, 200, "\"name\":\"name\"", LONG},
    {"DELETE", "/%T", "", NULL, NULL, 200, "\"success\":true", 0},
    {"DELETE", "/987654", "", NULL, NULL, 404, "Token does not exist", 0},
    {"POST", "/", "{}", NULL, NULL, 200, "\"name\":\"\"", 0},
    {"POST", "/",
     "{\"name\":\"\\u4ee4 \\\"x\\\"\",\"remain_quota\":5,\"model_limits_enabled\":true,"
     "\"model_limits\":[\"\\u0061\",\"b\"],\"allow_ips\":\"::1 10.0.0.0/8\",\"group\":\"g\"}",
     NULL, NULL, 200, "\"model_limits\":\"a,b\",\"allow_ips\":\"::1,10.0.0.0/8\",\"group\":\"g\"",
     0},
    {"POST", "/", "[{\"name\":\"a\"},{\"name\":\"b\"},{\"n\\u0061me\":\"c\",\"x\":[[],{}]}]", NULL,
     NULL, 200, "\"name\":\"c\"", 0},
    {"POST", "/", "{\"name\":\"once\"}", "k%U", NULL, 200, "\"name\":\"once\"", 0},
    {"POST", "/", "{\"name\":\"once\"}", "k%U", NULL, 200, "\"name\":\"once\"", REPEATED},
    {"POST", "/", "{\"name\":1}", NULL, NULL, 400, "Invalid parameters: name must be a string", 0},
    {"POST", "/", "[{},{\"name\":\"1234567890123456789012345678901\"}]", NULL, NULL, 400,
     "Token name is too long: [1].name", 0},
    {"POST", "/", "{\"name\":", NULL, NULL, 400, "Invalid parameters: body is not valid JSON", 0},
    {"POST", "/", "{}", NULL, NULL, 409, "Maximum number of tokens reached (1)", LIMITED},
    {"PUT", "/",
     "{\"id\":%T,\"name\":\"n\\u0065w\",\"status\":2,\"model_limits\":\"x , y\","
     "\"allow_ips\":\"1.1.1.1\",\"group\":\"\",\"expired_time\":-1,\"unlimited_quota\":true}",
     NULL, NULL, 200, "\"name\":\"new\"", 0},
    {"PUT", "/", "{\"id\":%T,\"name\":\"new\"}", NULL, NULL, 200, "\"name\":\"new\"", LONG},
    {"PUT", "/?status_only=1", "{\"id\":%T,\"status\":2}", NULL, NULL, 200, "\"status\":2", 0},
    {"PUT", "/", "{\"id\":987654}", NULL, NULL, 404, "Token does not exist", 0},
    {"POST", "/%T/key", "", NULL, NULL, 200, "{\"key\":\"sk-", 0},
    {"POST", "/%T/rotate", "", NULL, NULL, 200, "\"name\":\"name\"", 0},
    {"POST", "/%T/rotate", "{\"grace_seconds\":60}", NULL, NULL, 200, "\"name\":\"name\"", LONG},
    {"POST", "/%T/rotate", "{\"grace_seconds\":60}", "r%U", NULL, 200, "\"name\":\"name\"", 0},
    {"POST", "/%T/rotate", "{}", "r%U", NULL, 200, "\"name\":\"name\"", REPEATED},
    {"POST", "/batch", "{\"ids\":[%T,%T,7]}", NULL, NULL, 200, "\"data\":1}", 0},
    {"POST", "/batch", "{\"ids\":[]}", NULL, NULL, 400, "\"Invalid parameters\"", 0},
    {"POST", "/batch/keys", "{\"ids\":[%T,987654]}", NULL, NULL, 200, "{\"keys\":{\"", 0},
    {"GET", "/", "", NULL, NULL, 401, "Authorization or New-Api-User is wrong", NO_ACCESS},
    {"OPTIONS", "/", "", NULL, NULL, 204, "Allow: GET, HEAD, POST, PUT, OPTIONS", 0},
    {"PATCH", "/", "", NULL, NULL, 405, "Method not allowed", 0},
    {"GET", "/nothing", "", NULL, NULL, 404, "Not found", 0},

    {"POST", "/consume", "{\"key\":\"%K\",\"amount\":7,\"ip\":\"::\\u0031\",\"model\":\"m\"}", NULL,
     NULL, 200, "\"remain_quota\":993,", BY_GATEWAY},
    {"POST", "/consume", "{\"key\":\"%K\",\"amount\":7,\"transaction_id\":\"t%U\"}", NULL, NULL,
     200, "\"remain_quota\":993,", BY_GATEWAY},
    {"POST", "/consume", "{\"key\":\"%K\",\"amount\":7,\"transaction_id\":\"t%U\"}", NULL, NULL,
     200, "\"remain_quota\":993,", BY_GATEWAY | REPEATED},
    {"POST", "/consume", "{\"key\":\"%K\",\"amount\":1001}", NULL, NULL, 401,
     "\"code\":\"exhausted\"", BY_GATEWAY},
    {"POST", "/consume", "{\"key\":\"sk-x\",\"amount\":1}", NULL, NULL, 401,
     "\"code\":\"malformed\"", BY_GATEWAY},
    {"POST", "/consume", "{\"key\":\"%K\"}", NULL, NULL, 400, "amount is required", BY_GATEWAY},
    {"POST", "/consume", "{}", NULL, NULL, 401, "X-Gateway-Token header is missing or wrong", 0},
    {"POST", "/reserve", "{\"key\":\"%K\",\"amount\":7,\"ttl_seconds\":60}", NULL, NULL, 200,
     "\"remain_quota\":993,", BY_GATEWAY},
    {"POST", "/reserve", "{\"key\":\"%K\",\"amount\":7,\"transaction_id\":\"t%U\"}", NULL, NULL,
     200, "\"remain_quota\":993,", BY_GATEWAY},
    {"POST", "/settle", "{\"reservation\":%R,\"amount\":5}", NULL, NULL, 200,
     "\"remain_quota\":1002,", BY_GATEWAY},
    {"POST", "/cancel", "{\"reservation\":%R}", NULL, NULL, 200, "\"remain_quota\":1007,",
     BY_GATEWAY},

    {"GET", "/verify", "", NULL, NULL, 204, "X-Token-Remain: 1000\r\n", BY_KEY},
    {"GET", "/verify", "", NULL, "7", 204, "X-Token-Remain: 993\r\n", BY_KEY},
    {"GET", "/verify", "", NULL, "1001", 401, "X-Token-Reason: exhausted\r\n", BY_KEY},
    {"GET", "/api/usage/token/", "", NULL, NULL, 200, "\"total_available\":1000,", BY_KEY},
    {"GET", "/v1/dashboard/billing/subscription", "", NULL, NULL, 200, "\"hard_limit_usd\":0.002,",
     BY_KEY},
    {"GET", "/v1/dashboard/billing/usage", "", NULL, NULL, 200, "\"total_usage\":0}", BY_KEY},
    {"GET", "/api/status", "", NULL, NULL, 200, "\"engine\":\"lmdb\"", 0},
    {"GET", "/healthz", "", NULL, NULL, 200, "{\"status\":\"ok\"}", 0},
    {"GET", "/metrics", "", NULL, NULL, 200, "\ntoken_tokens 502\n", 0},

    {"GET", "/%T/usage", "", NULL, NULL, 200, "{\"days\":[", 0},
    {"POST", "/batch/status", "{\"ids\":[%T,987654],\"status\":2}", NULL, NULL, 200,
     "\"refused\":[]", 0},
    {"GET", "/api/usage/token/days", "", NULL, NULL, 200, "{\"days\":[", BY_KEY},
    {"GET", "/api/user/self", "", NULL, NULL, 200, "\"id\":1,", 0},
    {"POST", "/api/user/self/rotate", "", NULL, NULL, 401, "New-Api-User is wrong", NO_ACCESS},
    {"GET", "/api/user/self/groups", "", NULL, NULL, 200, "\"data\":{", 0},
    {"GET", "/api/user/self/usage", "", NULL, NULL, 200, "{\"days\":[", 0},
    {"GET", "/api/user/models", "", NULL, NULL, 200, "\"data\":[", 0},
    {"GET", "/api/log/self?p=99999", "", NULL, NULL, 200, "\"items\":[", 0},
    {"POST", "/find", "{\"key\":\"%K\"}", NULL, NULL, 200, "\"name\":\"name\"", BY_ROOT},
    {"GET", "/api/user/?p=99999", "", NULL, NULL, 200, "\"items\":[", BY_ROOT},
    {"GET", "/api/user/search?keyword=user1", "", NULL, NULL, 200, "\"items\":[", BY_ROOT},
    {"GET", "/api/user/2", "", NULL, NULL, 200, "\"id\":2,", BY_ROOT},
    {"POST", "/api/user/", "{\"username\":\"root\"}", NULL, NULL, 409, "name", BY_ROOT},
    {"PUT", "/api/user/", "{\"id\":2,\"group\":\"vip\"}", NULL, NULL, 200, "\"id\":2,", BY_ROOT},
    {"POST", "/api/user/manage", "{\"id\":2,\"action\":\"enable\"}", NULL, NULL, 200,
     "\"data\":", BY_ROOT},
    {"DELETE", "/api/user/987654", "", NULL, NULL, 404, "User does not exist", BY_ROOT},
    {"GET", "/api/log/?p=99999", "", NULL, NULL, 200, "\"items\":[", BY_ROOT},
};

/* ---- a store, and a token for each request ---- */

struct fixture {
    struct temporary temporary;
    struct settings options;
    struct api *api;
    struct request *request;
    char access_tokens[ROOT + 1][STORE_CREDENTIAL_LEN + 1]; /* by user id */
    char gateway_secret[STORE_CREDENTIAL_LEN + 1];
    int64_t gateway_id;
    struct token token;
    int64_t reservation_id;
    int64_t unique;
    bool asked[COUNTERS_ROUTES_MAX]; /* paths, by route_number */
};

static void set_up(struct fixture *fixture)
{
    int64_t first;
    struct store_gateway gateway = {.name = "gw"};
    struct store_user root = {.name = "root", .role = USER_ROLE_ROOT};
    *fixture = (struct fixture){.unique = 0};
    temporary_create(&fixture->temporary);
    fixture->temporary.options.audit_days = 90;
    temporary_open(&fixture->temporary);
    for (int64_t id = ALICE; id <= BOB; id++)
        assert_int_equal(temporary_add_user(&fixture->temporary, fixture->access_tokens[id]), id);
    assert_int_equal(
        store_user_add(fixture->temporary.store, 1000, &root, fixture->access_tokens[ROOT]),
        STORE_OK);
    assert_int_equal(root.id, ROOT);
    assert_int_equal(
        store_gateway_add(fixture->temporary.store, 1000, &gateway, fixture->gateway_secret),
        STORE_OK);
    fixture->gateway_id = gateway.id;
    assert_int_equal(temporary_create_tokens(fixture->temporary.store, BOB, 501, 0, 0, &first),
                     STORE_OK);
}

static void write_done(struct fixture *fixture, struct store_write *write)
{
    write->now_unix_s = NOW - 100;
    assert_int_equal(store_write(fixture->temporary.store, write), STORE_OK);
}

/* Of 1000 units, or of 1007 of which 7 are reserved. */
static void add_token(struct fixture *fixture, bool has_long_texts, bool reserved)
{
    static char models[8000];
    memset(models, '"', sizeof(models)); /* which take two bytes in an answer */
    fixture->token = token_default();
    fixture->token.name = SPAN("name");
    fixture->token.remain_quota = reserved ? 1007 : 1000;
    if (has_long_texts)
        fixture->token.model_limits = (struct span){models, sizeof(models)};
    token_key_generate(fixture->token.key);
    struct store_write write = {
        .kind = STORE_CREATE, .user_id = ALICE, .create = {.tokens = &fixture->token, .count = 1}};
    write_done(fixture, &write);
    if (!reserved)
        return;
    write = (struct store_write){
        .kind = STORE_SPEND,
        .spend = {.use = {.amount = 7}, .gateway_id = fixture->gateway_id, .ttl_s = 3600}};
    memcpy(write.spend.key, fixture->token.key, TOKEN_KEY_LEN + 1);
    write_done(fixture, &write);
    fixture->reservation_id = write.spend.answer.reservation_id;
}

static void add_state(void *context, const struct token *token)
{
    struct buffer *out = context;
    char line[200];
    snprintf(line, sizeof(line), "%lld %d %lld %lld %d %lld %lld %.51s ", (long long)token->id,
             (int)token->status, (long long)token->remain_quota, (long long)token->used_quota,
             token->unlimited_quota, (long long)token->expired_unix_s,
             (long long)token->accessed_unix_s, token->key);
    buffer_append_string(out, line);
    buffer_append(out, token->name);
    buffer_append(out, token->model_limits);
    buffer_append(out, token->allow_ips);
    buffer_append(out, token->group);
}

/* All that can be seen of Alice's tokens. */
static struct buffer read_state(struct fixture *fixture)
{
    struct buffer state = {0};
    uint64_t total;
    assert_int_equal(
        store_token_page(fixture->temporary.reader, ALICE, 0, 100, &total, add_state, &state),
        STORE_OK);
    buffer_append(&state, SPAN("end"));
    assert_true(total < 100 && !state.failed);
    return state;
}

static void add_id(void *context, const struct token *token)
{
    int64_t **next = context;
    *(*next)++ = token->id;
}

static void remove_tokens(struct fixture *fixture)
{
    int64_t ids[100], *next = ids;
    uint64_t total;
    assert_int_equal(
        store_token_page(fixture->temporary.reader, ALICE, 0, 100, &total, add_id, &next),
        STORE_OK);
    struct store_write write = {
        .kind = STORE_DELETE, .user_id = ALICE, .delete = {.ids = ids, .id_count = total}};
    write_done(fixture, &write);
}

/* ---- one request ---- */

static void expand(const struct fixture *fixture, const char *text, char out[static 512])
{
    size_t len = 0;
    for (; *text; text++) {
        if (*text != '%') {
            out[len++] = *text;
            continue;
        }
        text++;
        if (*text == 'K') {
            memcpy(out + len, fixture->token.key, TOKEN_KEY_LEN);
            len += TOKEN_KEY_LEN;
            continue;
        }
        int64_t number = *text == 'T'   ? fixture->token.id
                         : *text == 'R' ? fixture->reservation_id
                                        : fixture->unique;
        len += (size_t)snprintf(out + len, 24, "%lld", (long long)number);
    }
    out[len] = '\0';
}

struct asked {
    char path[512], body[512], idempotency_key[512], authorization[128];
    struct request_input input;
};

static void make_request(const struct fixture *fixture, const struct row *row, struct asked *asked)
{
    static const struct span users[] = {[ALICE] = SPAN("1"), [BOB] = SPAN("2"), [ROOT] = SPAN("3")};
    int user = row->flags & BY_BOB ? BOB : row->flags & BY_ROOT ? ROOT : ALICE;
    expand(fixture, row->path, asked->path);
    expand(fixture, row->body, asked->body);
    expand(fixture, row->idempotency_key ? row->idempotency_key : "", asked->idempotency_key);
    snprintf(asked->authorization, sizeof(asked->authorization), "Bearer %s",
             row->flags & NO_ACCESS ? "nonsense" : fixture->access_tokens[user]);
    if (row->flags & BY_KEY)
        snprintf(asked->authorization, sizeof(asked->authorization), "Bearer %.*s", TOKEN_KEY_LEN,
                 fixture->token.key);
    const char *query = strchr(asked->path, '?');
    asked->input = (struct request_input){
        .method = span_of(row->method),
        .path_info = {asked->path, query ? (size_t)(query - asked->path) : strlen(asked->path)},
        .query = span_of(query ? query + 1 : NULL),
        .authorization = span_of(asked->authorization),
        .new_api_user = users[user],
        .idempotency_key = span_of(row->idempotency_key ? asked->idempotency_key : NULL),
        .gateway_token = span_of(row->flags & BY_GATEWAY ? fixture->gateway_secret : NULL),
        .remote_addr = SPAN("10.0.0.1"),
        .model = SPAN("gpt"),
        .cost = span_of(row->cost),
        .body = span_of(asked->body),
    };
}

/* Whether a write was done. */
static bool ask(struct fixture *fixture, const struct row *row)
{
    struct asked asked;
    bool done = false;
    make_request(fixture, row, &asked);
    bool on = memory.on;
    memory.on = false;
    char *copy = heap_copy(asked.input.body);
    asked.input.body.at = copy;
    memory.on = on;
    request_clear(fixture->request);
    fixture->request->input = asked.input;
    enum api_step step = api_begin(fixture->api, fixture->request, NOW);
    if (step == API_WRITES)
        done = store_write(fixture->temporary.store, &fixture->request->write) == STORE_OK;
    if (step == API_SEARCHES)
        api_search(fixture->request, fixture->temporary.reader);
    if (step != API_REPLIED)
        api_finish(fixture->request);
    free(copy);
    return done;
}

static struct span content(const struct buffer *buffer)
{
    return (struct span){buffer->at, buffer->len};
}

/* What the transport would send, with numbers and keys that are never the same made the same: but
 * for those that row->part looks at, which is why there is one. */
static struct buffer answer_of(const struct request *reply, int *status)
{
    struct buffer text = {0}, out = {0};
    if (reply->head.failed || reply->body.failed) {
        buffer_append(&text, api_unavailable_reply());
    } else {
        buffer_append(&text, content(&reply->head));
        buffer_append(&text, content(&reply->body));
    }
    struct span rest = content(&text);
    assert_true(rest.len > 11 && span_starts_with(rest, SPAN("Status: ")));
    *status = (int)strtol(rest.at + 8, NULL, 10);
    while (rest.len > 0) {
        size_t digits = 0;
        while (digits < rest.len && rest.at[digits] >= '0' && rest.at[digits] <= '9')
            digits++;
        bool key = rest.len >= TOKEN_KEY_LEN &&
                   token_key_form((struct span){rest.at, TOKEN_KEY_LEN}) == TOKEN_KEY_OWN;
        size_t len = key ? TOKEN_KEY_LEN : digits > 0 ? digits : 1;
        buffer_append(&out, key || digits > 0 ? SPAN("#") : (struct span){rest.at, 1});
        rest = span_from(rest, len);
    }
    assert_false(text.failed || out.failed);
    buffer_free(&text);
    return out;
}

static bool reply_has(const struct request *reply, const char *part)
{
    size_t len = strlen(part);
    return (reply->head.len > 0 && memmem(reply->head.at, reply->head.len, part, len)) ||
           (reply->body.len > 0 && memmem(reply->body.at, reply->body.len, part, len));
}

static void begin(struct fixture *fixture, const struct row *row)
{
    fixture->unique++;
    fixture->options.name_max = 30;
    fixture->options.quota_per_unit = 500000;
    fixture->options.system_name = "token";
    fixture->options.max_per_user = row->flags & LIMITED ? 1 : 0;
    fixture->api = api_new(&fixture->options, fixture->temporary.reader, NULL);
    fixture->request = request_new();
    assert_true(fixture->api && fixture->request);
    add_token(fixture, row->flags & LONG, strstr(row->body, "%R"));
    if (!(row->flags & REPEATED))
        return;
    ask(fixture, row);
    request_free(fixture->request); /* so that there is something to allocate */
    fixture->request = request_new();
    assert_non_null(fixture->request);
}

static void end(struct fixture *fixture)
{
    request_free(fixture->request);
    api_free(fixture->api);
    remove_tokens(fixture);
}

/* ---- the test ---- */

/* The answer, when nothing fails. */
static struct buffer ask_for_reference(struct fixture *fixture, const struct row *row)
{
    int status;
    begin(fixture, row);
    ask(fixture, row);
    struct buffer reference = answer_of(fixture->request, &status);
    fixture->asked[route_number(fixture->request->route)] = true;
    require(status == row->status && reply_has(fixture->request, row->part), "%s %s %s: %d, %.*s",
            row->method, row->path, row->body, status, (int)fixture->request->body.len,
            fixture->request->body.at);
    end(fixture);
    return reference;
}

static void check_answer(struct fixture *fixture, const struct row *row, bool done,
                         const struct buffer *state, const struct buffer *reference)
{
    int status;
    struct buffer answer = answer_of(fixture->request, &status), after = read_state(fixture);
    const char *what = memory.all_after ? "from" : "at";
    /* json-c may lose a member and go on; a number after that hides it from errno. */
    if (status == 400 && reply_has(fixture->request, "the same name twice")) {
        require(!done && span_equal(content(state), content(&after)), "%s %s: written", row->method,
                row->path);
    } else if (status == 503) {
        require(done || span_equal(content(state), content(&after)),
                "%s %s, %s %d: 503, but written", row->method, row->path, what, memory.n);
        require(!done || row->flags & (LONG | REPEATED), "%s %s, %s %d: 503 after the write",
                row->method, row->path, what, memory.n);
        buffer_clear(&fixture->request->head);
        buffer_clear(&fixture->request->body);
        fixture->request->head.failed = true; /* to have the static text */
        struct buffer unavailable = answer_of(fixture->request, &status);
        assert_span_equal(content(&answer), content(&unavailable));
        buffer_free(&unavailable);
    } else {
        require(span_equal(content(&answer), content(reference)), "%s %s %s, %s %d: %.*s",
                row->method, row->path, row->body, what, memory.n, (int)answer.len, answer.at);
        assert_true(reply_has(fixture->request, row->part));
    }
    buffer_free(&answer);
    buffer_free(&after);
}

/* The same again, where it has not been done, and another one, with the same objects. */
static void check_next(struct fixture *fixture, const struct row *row, bool again,
                       const struct buffer *reference)
{
    static const struct row list = {"GET", "/", "", NULL, NULL, 200, "\"items\":[", 0};
    int status;
    if (again) {
        ask(fixture, row);
        struct buffer answer = answer_of(fixture->request, &status);
        require(span_equal(content(&answer), content(reference)), "%s %s again: %.*s", row->method,
                row->path, (int)answer.len, answer.at);
        buffer_free(&answer);
    }
    ask(fixture, &list);
    assert_false(fixture->request->head.failed || fixture->request->body.failed);
    assert_true(reply_has(fixture->request, "Status: 200 OK") &&
                reply_has(fixture->request, list.part));
}

/* Whether there was an n-th allocation. */
static bool try_with(struct fixture *fixture, const struct row *row, const struct buffer *reference)
{
    long live = memory.live;
    begin(fixture, row);
    struct buffer state = read_state(fixture);
    memory.count = memory.failed_count = 0;
    memory.on = true;
    bool done = ask(fixture, row);
    memory.on = false;
    bool failed = memory.failed_count > 0;
    check_answer(fixture, row, done, &state, reference);
    check_next(fixture, row, failed && !done, reference);
    buffer_free(&state);
    end(fixture);
    require(memory.live == live, "%s %s, %d: %ld blocks are lost", row->method, row->path, memory.n,
            memory.live - live);
    return failed;
}

static void test_requests(void **state)
{
    (void)state;
    struct fixture fixture;
    int failed_count = 0;
    set_up(&fixture);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct buffer reference = ask_for_reference(&fixture, &rows[i]);
        for (int all_after = 0; all_after < 2; all_after++) {
            memory.all_after = all_after;
            for (memory.n = 1; try_with(&fixture, &rows[i], &reference); memory.n++)
                failed_count++;
        }
        buffer_free(&reference);
    }
    assert_true(failed_count > 2 * (int)COUNT_OF(rows)); /* or it has shown nothing */
    for (unsigned i = 0; i < COUNTERS_ROUTES_MAX; i++) {
        char name[ROUTE_NAME_SIZE];
        require(!route_write_name(i, name) || fixture.asked[i], "%s has no row", name);
    }
    temporary_check(&fixture.temporary);
    temporary_remove(&fixture.temporary);
}

/* Neither object is there by halves. */
static void test_objects(void **state)
{
    (void)state;
    struct settings options = {.max_per_user = 0};
    struct temporary temporary;
    temporary_create(&temporary);
    temporary_open(&temporary);
    long live = memory.live;
    memory.all_after = false;
    for (memory.n = 1;; memory.n++) {
        memory.count = memory.failed_count = 0;
        memory.on = true;
        struct api *api = api_new(&options, temporary.reader, NULL);
        struct request *request = request_new();
        memory.on = false;
        assert_int_equal(!api + !request, memory.failed_count);
        request_free(request);
        api_free(api);
        assert_int_equal(memory.live, live);
        if (memory.failed_count == 0)
            break;
    }
    assert_true(memory.n > 3);
    temporary_remove(&temporary);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_objects),
        cmocka_unit_test(test_requests),
    };
    return cmocka_run_group_tests_name("no_memory", tests, NULL, NULL);
}
