#include "api/call.h"

#include <stdio.h>
#include <stdlib.h>

#include "api/auth.h"
#include "base/number.h"
#include "api/reply.h"

struct api *api_new(const struct api_options *options, struct store_reader *reader)
{
    struct api *api = calloc(1, sizeof(*api));
    if (!api)
        return NULL;
    api->options = options;
    api->reader = reader;
    return api;
}

void api_free(struct api *api)
{
    if (!api)
        return;
    json_free(&api->json);
    free(api);
}

struct api_call *api_call_new(void)
{
    return calloc(1, sizeof(struct api_call));
}

void call_clear(struct api_call *call)
{
    store_write_free(&call->write);
    if (call->text)
        explicit_bzero(call->text, call->text_len);
    free(call->text);
    if (call->tokens)
        explicit_bzero(call->tokens, call->token_count * sizeof(*call->tokens));
    free(call->tokens);
    free(call->ids);
    buffer_free(&call->found);
    buffer_clear(&call->answer);
    struct buffer kept = call->answer;
    explicit_bzero(call, sizeof(*call)); /* keys are in it */
    call->answer = kept;
}

void api_call_free(struct api_call *call)
{
    if (!call)
        return;
    call_clear(call);
    buffer_free(&call->answer);
    free(call);
}

/* A body that is shorter than its length says was cut off on its way. */
static bool is_whole(const struct api_request *request)
{
    int64_t length;
    return request->content_length.len == 0 ||
           (number_parse(request->content_length, &length) && length >= 0 &&
            (uint64_t)length == request->body.len);
}

/* Routing, before it is known who asks: 404 and 405 are the same for everybody. */
static bool find_route(struct api *api, struct api_call *call, struct api_reply *reply)
{
    bool path_known;
    struct span method = call->request->method;
    call->path = route_path(call->request, &call->root);
    call->route = route_find(method, call->root, call->path, &path_known, &call->path_id);
    if (call->route)
        return true;
    if (!path_known)
        reply_failure(api, reply, FAILURE_NOT_FOUND, (struct span){NULL, 0});
    else if (span_equal(method, SPAN("OPTIONS")))
        reply_options(api, reply, call);
    else
        reply_method_not_allowed(api, reply, call);
    return false;
}

static bool reads_body(const struct route *route)
{
    return route && route->method[0] != '*';
}

bool api_reads_body(const struct api_request *request)
{
    bool path_known;
    int64_t id;
    enum route_root root;
    struct span path = route_path(request, &root);
    return reads_body(route_find(request->method, root, path, &path_known, &id));
}

static bool authenticate(struct api *api, struct api_call *call, struct api_reply *reply)
{
    switch (call->route->caller) {
    case ROUTE_USER:
        return auth_check_user(api, call, reply);
    case ROUTE_GATEWAY:
        return auth_check_gateway(api, call, reply);
    case ROUTE_KEY:
        return true;
    }
    return false;
}

/* Only what a handler answers to a client of the family may be 200. A web server that asks
 * for leave would take it for one: on the way to /verify, or to a path that is none. */
static bool answer_as_route(struct api *api, const struct api_call *call)
{
    api->failures_answer_200 = api->options->http_status_200 && call->route->caller != ROUTE_KEY;
    return true;
}

static bool check_body(struct api *api, struct api_call *call, struct api_reply *reply)
{
    if (!reads_body(call->route))
        return true;
    if (call->request->body_too_large) {
        reply_failure(api, reply, FAILURE_BODY_TOO_LARGE, (struct span){NULL, 0});
        return false;
    }
    if (is_whole(call->request))
        return true;
    reply_failure(api, reply, FAILURE_INVALID,
                  SPAN(": body is not as long as Content-Length says"));
    return false;
}

/* Once the write is done it is too late to find that there is no memory for its answer. */
static bool reserve_answer(struct api_call *call, struct api_reply *reply)
{
    enum { SHORT_LEN_MAX = 2048 };
    size_t len = call->answer_len_max > SHORT_LEN_MAX ? call->answer_len_max : SHORT_LEN_MAX;
    return buffer_reserve(&call->answer, len) && buffer_reserve(&reply->head, SHORT_LEN_MAX);
}

enum api_step api_begin(struct api *api, struct api_call *call, const struct api_request *request,
                        int64_t now_unix_s, struct api_reply *reply)
{
    enum api_step step = API_REPLIED;
    buffer_clear(&reply->head);
    buffer_clear(&reply->body);
    reply->used.token_id = 0;
    call->request = request;
    call->now_unix_s = now_unix_s;
    call->mask_keys = api->options->mask_keys;
    api->failures_answer_200 = false;
    if (find_route(api, call, reply) && answer_as_route(api, call) &&
        authenticate(api, call, reply) && check_body(api, call, reply))
        step = call->route->begin(api, call, reply);
    call->request = NULL; /* the transport's, and gone after this */
    call->json = NULL;
    json_clear(&api->json);
    if (step == API_WRITES && !reserve_answer(call, reply)) {
        reply_store_error(api, reply, STORE_UNAVAILABLE);
        step = API_REPLIED;
    }
    if (step == API_REPLIED) {
        call_clear(call);
        return step;
    }
    call->write.user_id = call->user_id;
    call->write.now_unix_s = now_unix_s;
    return step;
}

struct store_write *api_write(struct api_call *call)
{
    return &call->write;
}

int64_t api_write_wait_ms_max(const struct api_call *call)
{
    return call->route->caller == ROUTE_KEY ? 5000 : 20000;
}

void call_answer(struct api *api, struct api_call *call, struct api_reply *reply)
{
    if (reply->body.len == 0)
        call->route->render(call, &reply->body);
    reply_end(api, reply);
}

void api_finish(struct api *api, struct api_call *call, struct api_reply *reply)
{
    const struct store_idempotency *repeat = &call->write.idempotency;
    answer_as_route(api, call);
    buffer_clear(&reply->head);
    buffer_clear(&reply->body);
    struct buffer body = reply->body;
    reply->body = call->answer;
    call->answer = body;
    if (call->write.error != STORE_OK) {
        reply_store_error(api, reply, call->write.error);
    } else if (repeat->replayed) {
        buffer_clear(&reply->body);
        buffer_append(&reply->body, (struct span){repeat->answer, repeat->answer_len});
        reply_end(api, reply);
    } else if (call->route->finish) {
        call->route->finish(api, call, reply);
    } else {
        call_answer(api, call, reply);
    }
    call_clear(call);
}

/* ---- writes that may come twice ---- */

static struct span render_answer(struct store_write *write)
{
    struct api_call *call = (struct api_call *)write; /* its first member */
    buffer_clear(&call->answer);
    call->route->render(call, &call->answer);
    if (call->answer.failed)
        return (struct span){NULL, 0};
    return (struct span){call->answer.at, call->answer.len};
}

void call_set_repeat(struct api_call *call, const char *who, int64_t who_id, struct span key)
{
    char scope[128];
    snprintf(scope, sizeof(scope), "%s %lld %s %s %lld", who, (long long)who_id,
             call->route->method, call->route->pattern, (long long)call->path_id);
    store_idempotency_init(&call->write.idempotency, span_of(scope), key, call->request->body,
                           render_answer);
}

bool call_set_idempotency(struct api_call *call)
{
    struct span key = call->request->idempotency_key;
    if (!key.at)
        return true;
    bool well_formed = key.len >= 1 && key.len <= 255;
    for (size_t i = 0; i < key.len; i++)
        well_formed = well_formed && key.at[i] > ' ' && key.at[i] < 0x7F;
    if (well_formed)
        call_set_repeat(call, "user", call->user_id, key);
    return well_formed;
}
