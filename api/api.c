#include "api/api.h"

#include <stdlib.h>

#include "api/auth.h"
#include "api/json_in.h"
#include "api/reply.h"
#include "api/route.h"
#include "base/number.h"
#include "seal/key_pool.h"

struct api *api_new(const struct settings *settings, struct store_reader *reader,
                    const struct counters *counters)
{
    struct api *api = calloc(1, sizeof(*api));
    struct key_pool *keys = key_pool_new(store_reader_seal(reader));
    if (!api || !keys) {
        key_pool_free(keys);
        free(api);
        return NULL;
    }
    *api = (struct api){.settings = settings, .reader = reader, .counters = counters, .keys = keys};
    return api;
}

void api_free(struct api *api)
{
    if (!api)
        return;
    key_pool_free(api->keys);
    free(api);
}

struct request *request_new(void)
{
    return calloc(1, sizeof(struct request));
}

void request_clear(struct request *request)
{
    store_write_free(&request->write);
    json_in_clear(request);
    if (request->tokens)
        explicit_bzero(request->tokens, request->token_count * sizeof(*request->tokens));
    free(request->tokens);
    free(request->ids);
    buffer_clear(&request->received);
    buffer_clear(&request->head);
    buffer_clear(&request->body);
    buffer_clear(&request->text);
    /* Keys are in it. In two steps, as glibc is much slower from 2 KiB on (rep stosb). */
    const size_t half = offsetof(struct request, input);
    explicit_bzero(request, half);
    explicit_bzero((char *)request + half, offsetof(struct request, received) - half);
}

void request_free(struct request *request)
{
    if (!request)
        return;
    request_clear(request);
    buffer_free(&request->received);
    buffer_free(&request->head);
    buffer_free(&request->body);
    buffer_free(&request->text);
    free(request);
}

/* ---- what comes before a handler ---- */

/* Returns whether the path has a method. */
static bool find_route(struct request *request)
{
    bool path_known;
    request->path = route_path(&request->input, request->path_text, &request->root);
    request->route = route_find(request->input.method, request->root, request->path, &path_known,
                                &request->path_id);
    return path_known;
}

/* POST and PUT. */
static bool has_body(const struct route *route)
{
    return route->method[0] == 'P';
}

bool api_reads_body(struct request *request)
{
    find_route(request);
    return request->route && has_body(request->route);
}

/* 404 and 405 come before authentication: they are the same for all clients. With CORS, each path
 * has OPTIONS: a browser shows a page the answer 404 only after a preflight that succeeded. */
static bool check_route(struct request *request)
{
    bool path_known = find_route(request);
    if (request->route)
        return true;
    buffer_clear(&request->text);
    route_append_methods(&request->text, request->root, request->path);
    request->allow = buffer_span(&request->text);
    if (request->text.failed)
        reply_store_error(request, STORE_UNAVAILABLE);
    else if (span_equal(request->input.method, SPAN("OPTIONS")) &&
             (path_known || request->api->settings->cors_origin))
        reply_options(request);
    else if (path_known)
        reply_failure(request, 405, "Method not allowed");
    else
        reply_failure(request, 404, "Not found");
    return false;
}

static bool check_body(struct request *request)
{
    const struct request_input *input = &request->input;
    int64_t length;
    if (request->route->method[0] == '*')
        return true;
    if (input->body_too_large)
        reply_failure(request, 413, "Request body is too large");
    else if (has_body(request->route) && input->content_length.len > 0 &&
             !span_equal(input->content_length, SPAN("-1")) && /* so Caddy forwards a chunked one */
             (!number_parse(input->content_length, &length) ||
              (uint64_t)length != input->body.len)) /* cut off on its way */
        reply_invalid_field(request, "body", "is not as long as Content-Length says");
    else
        return true;
    return false;
}

/* ---- the steps ---- */

static enum api_step begin(struct request *request)
{
    enum { SHORT_LEN_MAX = 2048 };
    if (!check_route(request))
        return API_REPLIED;
    /* A refusal of a key's or gateway's must not look like permission. */
    request->failures_answer_200 =
        request->api->settings->http_status_200 &&
        (request->route->caller == ROUTE_USER || request->route->caller == ROUTE_OWNER);
    if (!auth_check(request) || !check_body(request))
        return API_REPLIED;
    enum api_step step = request->route->begin(request);
    /* After a write it is too late to find that there is no memory for its answer. A handler may
     * have reserved more. */
    if (step == API_WRITES &&
        (!buffer_reserve(&request->head, SHORT_LEN_MAX + STORE_MODELS_LEN_MAX) ||
         !buffer_reserve(&request->body, SHORT_LEN_MAX)))
        return reply_store_error(request, STORE_UNAVAILABLE);
    return step;
}

/* For audit records: what is visible and not too long. */
static struct span visible(struct span text)
{
    bool is_visible = text.len <= STORE_ORIGIN_LEN_MAX;
    for (size_t i = 0; is_visible && i < text.len; i++)
        is_visible = text.at[i] > ' ' && text.at[i] < 0x7F;
    return is_visible ? text : SPAN("");
}

static struct store_actor find_actor(const struct request *request)
{
    const struct request_input *input = &request->input;
    struct store_actor actor = {.address = visible(input->remote_addr),
                                .request_id = visible(input->request_id)};
    if (request->caller_id != 0) {
        bool is_admin = request->route->caller == ROUTE_ADMIN || request_is_for_other(request);
        actor.kind = is_admin ? STORE_ACTOR_ADMIN : STORE_ACTOR_USER;
        actor.id = request->caller_id;
    } else if (request->gateway_id != 0) {
        actor.kind = STORE_ACTOR_GATEWAY;
        actor.id = request->gateway_id;
    }
    return actor;
}

enum api_step api_begin(struct api *api, struct request *request, int64_t now_unix_s)
{
    request->api = api;
    request->now_unix_s = now_unix_s;
    request->invalid.index = -1;
    enum api_step step = begin(request);
    if (step == API_REPLIED && request->head.len == 0)
        reply_success(request);
    request->write.user_id = request->user_id;
    request->write.by_administrator = request_is_for_other(request);
    request->write.now_unix_s = now_unix_s;
    request->write.actor = find_actor(request);
    return step;
}

size_t api_list_reveals(const struct request *request, struct store_reveal *reveals)
{
    for (size_t i = 0; i < request->revealed_count; i++) {
        const struct store_actor *actor = &request->write.actor;
        struct store_reveal *reveal = &reveals[i];
        *reveal =
            (struct store_reveal){.user_id = request->user_id, .token_id = request->revealed[i]};
        write_text(reveal->address, actor->address);
        write_text(reveal->request_id, actor->request_id);
    }
    return request->revealed_count;
}

int64_t api_write_wait_ms_max(const struct request *request)
{
    enum { VERIFY_MS = 5000, OTHER_MS = 20000 }; /* a web server waits 10 s for auth_request */
    return request->route->caller == ROUTE_KEY ? VERIFY_MS : OTHER_MS;
}

void api_search(struct request *request, struct store_reader *reader)
{
    if (request->root != ROUTE_METRICS)
        counters_add(request->api->counters, COUNTER_SEARCHES, 1);
    request->do_search(request, reader);
}

/* Of a write that is on disk. */
static void count_write(const struct counters *counters, const struct store_write *write)
{
    if (write->idempotency.replayed) {
        counters_add(counters, COUNTER_REPLAYS, 1);
    } else if (write->kind == STORE_SPEND && write->spend.refusal == TOKEN_GOOD) {
        enum counters_operation operation = write->spend.ttl_s > 0         ? COUNTERS_RESERVE
                                            : write->spend.gateway_id != 0 ? COUNTERS_CONSUME
                                                                           : COUNTERS_VERIFY;
        counters_add(counters, COUNTER_SPENT + operation, (uint64_t)write->spend.use.amount);
    } else if (write->kind == STORE_SETTLE && write->settle.taken >= 0) {
        counters_add(counters, COUNTER_SPENT + COUNTERS_SETTLE, (uint64_t)write->settle.taken);
    } else if (write->kind == STORE_SETTLE) {
        counters_add(counters, COUNTER_RETURNED, -(uint64_t)write->settle.taken);
    }
}

void api_count(const struct request *request, uint64_t duration_ns)
{
    const struct counters *counters = request->api->counters;
    unsigned route = route_number(request->route);
    unsigned method = route_method_number(request->input.method);
    bool no_memory = request->head.failed || request->body.failed; /* api_unavailable_reply */
    unsigned status = no_memory ? reply_find_status(503) : request->status;
    counters_add(counters,
                 COUNTER_HTTP_REQUESTS +
                     (route * COUNTERS_METHODS + method) * COUNTERS_STATUSES_MAX + status,
                 1);
    counters_observe(counters, COUNTER_HTTP_DURATION + route * COUNTERS_CELLS_histogram,
                     duration_ns);
}

void api_finish(struct request *request)
{
    const struct store_idempotency *idempotency = &request->write.idempotency;
    if (idempotency->wanted && !idempotency->stored && request->body.len > 0)
        buffer_clear(&request->body); /* rendered for a commit that failed; then all is different */
    if (request->write.error == STORE_OK && !request->do_search)
        count_write(request->api->counters, &request->write);
    if (request->write.error != STORE_OK)
        reply_store_error(request, request->write.error);
    else if (idempotency->replayed)
        buffer_append(&request->body, (struct span){idempotency->answer, idempotency->answer_len});
    else if (!idempotency->stored)
        request->route->render(request);
    if (request->head.len == 0)
        reply_success(request);
}

struct span api_unavailable_reply(void)
{
    return SPAN("Status: 503 Service Unavailable\r\nRetry-After: 1\r\n" REPLY_CONTENT_HEADERS
                "Content-Length: 85\r\n\r\n"
                "{\"success\":false,\"message\":\"Service is temporarily "
                "unavailable\",\"code\":\"unavailable\"}");
}
