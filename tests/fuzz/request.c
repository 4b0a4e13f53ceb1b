/* Whole requests over a store, one after the other, by api/api.h.
 *
 * An input is a text. Its requests are separated by the byte 0x1E. A request's first line is
 * "METHOD PATH?QUERY"; each other line is a letter, a blank and a value (see set_field), of
 * which "B" is the body and takes all that is left. "@A" and the like are secrets, see service.h.
 */

#include "tests/fuzz/service.h"

#include <json.h>

#include "api/api.h"

static struct service service;
static uint64_t bobs_hash;

static void remove_service(void)
{
    service_remove(&service);
}

/* NOLINTNEXTLINE(readability-non-const-parameter): libFuzzer's */
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    service_create(&service);
    bobs_hash = service_hash_user(&service, SERVICE_BOB);
    atexit(remove_service);
    return 0;
}

/* ---- the input ---- */

/* The text with the secrets in it. */
static struct span expand(struct span text)
{
    struct service_secret secrets[SERVICE_SECRETS];
    service_secrets(&service, secrets);
    char *out = malloc(text.len * TOKEN_KEY_LEN / 2 + TOKEN_KEY_LEN);
    size_t len = 0;
    require(out, "no memory");
    while (text.len > 0) {
        size_t i = 0;
        while (i < SERVICE_SECRETS && !span_starts_with(text, span_of(secrets[i].placeholder)))
            i++;
        if (i == SERVICE_SECRETS) {
            out[len++] = text.at[0];
            text = span_from(text, 1);
            continue;
        }
        memcpy(out + len, secrets[i].value.at, secrets[i].value.len);
        len += secrets[i].value.len;
        text = span_from(text, 2);
    }
    struct span copy = fuzz_copy((struct span){out, len});
    free(out);
    return copy;
}

/* Whether a secret of Bob's or Carol's is there. libFuzzer learns them from what they are compared
 * with, so that they may be in an input without their placeholders. */
static bool has_bobs_secret(struct span text)
{
    struct service_secret secrets[SERVICE_SECRETS];
    bool has = false;
    service_secrets(&service, secrets);
    for (size_t i = SERVICE_BOBS_FROM; i < SERVICE_SECRETS; i++)
        has = has || fuzz_has(text, span_from(secrets[i].value, 3));
    return has;
}

struct input {
    struct request_input request;
    unsigned options; /* digits: 1 status 200, 2 CORS, 4 masked keys; 8: at most 6 tokens */
    int64_t later_s;
    char content_length[24];
};

static void set_field(struct input *input, char field, struct span value)
{
    struct request_input *request = &input->request;
    int64_t number = 0;
    struct span *const fields[] = {
        ['A'] = &request->authorization, ['U'] = &request->new_api_user,
        ['K'] = &request->x_api_key,     ['W'] = &request->websocket_protocol,
        ['G'] = &request->gateway_token, ['I'] = &request->idempotency_key,
        ['R'] = &request->remote_addr,   ['C'] = &request->cost,
        ['L'] = &request->model,         ['D'] = &request->document_uri,
        ['S'] = &request->script_name,   ['N'] = &request->content_length,
        ['B'] = &request->body};
    if (field == 'O')
        input->options = value.len > 0 ? (unsigned)value.at[0] - '0' : 0;
    else if (field == 'T' && fuzz_number(value, &number) && number >= 0 && number < 10000000)
        input->later_s = number;
    else if (field == 'Z')
        request->body_too_large = true;
    else if (field >= 'A' && field < (char)COUNT_OF(fields) && fields[(unsigned char)field])
        *fields[(unsigned char)field] = value;
}

static void read_input(struct span text, struct input *input)
{
    *input = (struct input){.options = 0};
    struct span line = fuzz_take(&text, '\n');
    input->request.method = fuzz_take(&line, ' ');
    input->request.path_info = fuzz_take(&line, '?');
    input->request.query = line;
    while (text.len > 0) {
        line = text.at[0] == 'B' ? text : fuzz_take(&text, '\n');
        if (line.len >= 2)
            set_field(input, line.at[0], span_from(line, 2));
        if (line.len > 0 && line.at[0] == 'B')
            break;
    }
    if (!input->request.content_length.at && input->request.body.at) {
        int len = snprintf(input->content_length, sizeof(input->content_length), "%zu",
                           input->request.body.len);
        input->request.content_length = (struct span){input->content_length, (size_t)len};
    }
}

/* ---- the reply ---- */

static struct span content_of(const struct buffer *buffer)
{
    return (struct span){buffer->at, buffer->len};
}

/* A header's value; absent where it is not there. */
static struct span header(struct span head, const char *name)
{
    while (head.len > 0) {
        struct span line = fuzz_take(&head, '\n');
        struct span found = fuzz_take(&line, ':');
        if (span_equal(found, span_of(name)))
            return (struct span){line.at + 1, line.len - 2}; /* the blank and the CR */
    }
    return (struct span){NULL, 0};
}

/* The lines are lines, none comes twice, and one empty line ends them. The status. */
static int check_head(struct span head)
{
    static const char name_characters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-";
    int status = fuzz_status(head);
    struct span rest = head;
    while (rest.len > 2) {
        struct span line = fuzz_take(&rest, '\n'), all = line, name = fuzz_take(&line, ':');
        require(all.len > 0 && all.at[all.len - 1] == '\r', "no CR");
        for (size_t i = 0; i + 1 < all.len; i++)
            require((unsigned char)all.at[i] >= ' ' && all.at[i] != 0x7F, "a control character");
        for (size_t i = 0; i < name.len; i++)
            require(name.at[i] && strchr(name_characters, name.at[i]), "a name");
        require(line.len >= 2 && line.at[0] == ' ', "no value");
        char *text = strndup(name.at, name.len);
        struct span first = header(head, text);
        require(first.at == line.at + 1, "%s twice", text);
        free(text);
    }
    require(span_equal(rest, SPAN("\r\n")), "no end");
    require(span_equal(header(head, "Cache-Control"), SPAN("no-store")), "Cache-Control");
    return status;
}

static const int statuses[] = {200, 204, 400, 401, 403, 404, 405, 409, 413};

/* Whether the reply says that it did what was asked. */
static bool check_body(struct span body, int status, bool always_200)
{
    struct json_object *member;
    struct json_tokener *tokener = json_tokener_new();
    require(tokener, "no memory");
    /* With STRICT json-c 0.18 refuses every string that is not ASCII. */
    int strict = json_c_version_num() >> 8 == 18 ? 0 : JSON_TOKENER_STRICT;
    json_tokener_set_flags(tokener, strict | JSON_TOKENER_VALIDATE_UTF8);
    struct json_object *json = json_tokener_parse_ex(tokener, body.at, (int)body.len);
    require(json && json_tokener_get_parse_end(tokener) == body.len, "no JSON");
    require(json_object_object_get_ex(json, "message", &member) &&
                json_object_is_type(member, json_type_string),
            "no message");
    require((json_object_object_get_ex(json, "success", &member) ||
             json_object_object_get_ex(json, "code", &member)) &&
                json_object_is_type(member, json_type_boolean),
            "no success");
    bool success = json_object_get_boolean(member);
    require(success == (status == 200) || always_200, "success and %d", status);
    json_object_put(json);
    json_tokener_free(tokener);
    return success;
}

static bool check_reply(const struct request *reply, bool always_200, bool is_head)
{
    require(!reply->head.failed && !reply->body.failed, "no memory");
    char *head_text = strndup(reply->head.at, reply->head.len);
    struct span head = {head_text, strlen(head_text)}, body = content_of(&reply->body);
    require(head.len == reply->head.len, "a NUL in the head");
    int status = check_head(head);
    bool known = false, success = true;
    for (size_t i = 0; i < COUNT_OF(statuses); i++)
        known = known || status == statuses[i];
    require(known, "status %d: %.*s", status, (int)body.len, body.at ? body.at : "");

    struct span length = header(head, "Content-Length");
    int64_t len = -1;
    if (status == 204)
        require(!length.at && body.len == 0, "a body with 204");
    else
        require(fuzz_number(length, &len) && (is_head ? body.len == 0 : (size_t)len == body.len),
                "Content-Length %lld", (long long)len);
    require((status == 401) == (header(head, "WWW-Authenticate").at != NULL), "WWW-Authenticate");
    if (header(head, "X-Token-Reason").at)
        require(body.len == 0 && (status == 401 || status == 403), "status %d", status);
    else if (status != 204 && !is_head)
        success = check_body(body, status, always_200);
    free(head_text);
    return success;
}

/* ---- the requests ---- */

struct run {
    struct settings options;
    struct api *api;
    struct request *request;
    struct store_reader *searcher; /* another thread's, in the worker */
    int64_t now_unix_s;
    bool wrote;
    bool bobs; /* the input may act as Bob or Carol */
};

static bool ask(struct run *run, struct span text, bool *repeatable)
{
    struct input input;
    struct span copy = fuzz_copy(text);
    read_input(copy, &input);
    run->options = (struct settings){.http_status_200 = input.options & 1,
                                     .cors_origin = input.options & 2 ? "https://a.example" : NULL,
                                     .mask_keys = input.options & 4,
                                     .name_max = 30,
                                     .system_name = "t",
                                     .quota_per_unit = 500000,
                                     .max_per_user = input.options & 8 ? 6 : 1000};
    run->now_unix_s += input.later_s;
    request_clear(run->request);
    run->request->input = input.request;
    enum api_step step = api_begin(run->api, run->request, run->now_unix_s);
    bool is_head = span_equal(input.request.method, SPAN("HEAD"));
    *repeatable = step == API_WRITES && run->request->write.idempotency.wanted;
    if (step == API_WRITES)
        store_write(service.store, &run->request->write);
    if (step == API_SEARCHES)
        api_search(run->request, run->searcher);
    if (step != API_REPLIED)
        api_finish(run->request);
    run->request->input.body = (struct span){NULL, 0};
    fuzz_free(copy);
    run->wrote = run->wrote || step == API_WRITES;
    if (getenv("FUZZ_SHOW")) /* for who writes seeds */
        fprintf(stderr, "%.*s%.*s\n", (int)run->request->head.len, run->request->head.at,
                (int)run->request->body.len, run->request->body.at ? run->request->body.at : "");
    bool success = check_reply(run->request, run->options.http_status_200, is_head);

    require(run->bobs || !has_bobs_secret(content_of(&run->request->body)),
            "told to somebody else");
    require(run->bobs || !has_bobs_secret(content_of(&run->request->head)),
            "told to somebody else");
    return success;
}

/* A write that may come twice is done once, and answered the same. */
static void ask_twice(struct run *run, struct span text)
{
    bool repeatable;
    if (!ask(run, text, &repeatable) || !repeatable)
        return;
    struct span answer = fuzz_copy(content_of(&run->request->body));
    uint64_t before = service_hash_user(&service, SERVICE_ALICE);
    int64_t now_unix_s = run->now_unix_s;
    struct input input;
    read_input(text, &input);
    run->now_unix_s -= input.later_s; /* it comes again at the same time */
    require(ask(run, text, &repeatable) && run->request->body.at, "another answer to the repeat");
    require(span_equal(answer, content_of(&run->request->body)), "another answer to the repeat");
    require(service_hash_user(&service, SERVICE_ALICE) == before, "the repeat changed something");
    run->now_unix_s = now_unix_s;
    fuzz_free(answer);
}

/* A reported use is stored, as the transport would do it. */
static void store_use(struct run *run)
{
    struct store_access used = run->request->used;
    struct store_write write = {.kind = STORE_ACCESS, .access = {.times = &used, .count = 1}};
    if (used.token_id == 0)
        return;
    used.accessed_unix_s = run->now_unix_s;
    require(store_write(service.store, &write) == STORE_OK, "a use");
    run->wrote = true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum { REQUESTS_MAX = 8 };
    struct run run = {.now_unix_s = SERVICE_NOW_UNIX_S};
    struct span text = expand(fuzz_input(data, size)), rest = text;
    run.bobs = has_bobs_secret(text);
    run.api = api_new(&run.options, service.reader, NULL);
    run.request = request_new();
    require(run.api && run.request, "no memory");
    require(store_reader_open(service.store, &run.searcher) == STORE_OK, "no reader");
    for (int i = 0; i < REQUESTS_MAX && rest.len > 0; i++)
        ask_twice(&run, fuzz_take(&rest, '\x1E'));
    store_use(&run);
    require(run.bobs || service_hash_user(&service, SERVICE_BOB) == bobs_hash,
            "Bob's tokens have changed");
    request_free(run.request);
    api_free(run.api);
    store_reader_close(run.searcher);
    fuzz_free(text);
    if (run.wrote) {
        service_check(&service);
        service_reset(&service);
    }
    return 0;
}
