#include "api/call.h"

#include <stdlib.h>

#include "api/auth.h"
#include "api/json_scan.h"
#include "api/number.h"
#include "api/reply.h"

struct api *api_new(const struct api_options *options, struct store_reader *reader)
{
    struct api *api = calloc(1, sizeof(*api));
    if (!api)
        return NULL;
    api->options = options;
    api->reader = reader;
    api->tokener = json_tokener_new_ex(JSON_DEPTH_MAX + 1); /* json_scan is the one that counts */
    if (!api->tokener) {
        free(api);
        return NULL;
    }
    json_tokener_set_flags(api->tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
    return api;
}

void api_free(struct api *api)
{
    if (!api)
        return;
    json_tokener_free(api->tokener);
    free(api);
}

struct api_call *api_call_new(void)
{
    return calloc(1, sizeof(struct api_call));
}

void call_clear(struct api_call *call)
{
    store_write_free(&call->write);
    json_object_put(call->json);
    free(call->text);
    free(call->tokens);
    free(call->ids);
    *call = (struct api_call){.request = NULL};
}

void api_call_free(struct api_call *call)
{
    if (!call)
        return;
    call_clear(call);
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
    call->path = route_path(call->request->path_info, call->request->script_name);
    call->route = route_find(method, call->path, &path_known, &call->path_id);
    if (call->route)
        return true;
    if (!path_known)
        reply_failure(api, reply, FAILURE_NOT_FOUND, (struct span){NULL, 0});
    else if (span_equal(method, SPAN("OPTIONS")))
        reply_options(api, reply, call->path);
    else
        reply_method_not_allowed(api, reply, call->path);
    return false;
}

static bool check_body(struct api *api, struct api_call *call, struct api_reply *reply)
{
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

struct store_write *api_begin(struct api *api, struct api_call *call,
                              const struct api_request *request, int64_t now_unix_s,
                              struct api_reply *reply)
{
    buffer_clear(&reply->head);
    buffer_clear(&reply->body);
    call->request = request;
    call->now_unix_s = now_unix_s;
    bool writes = find_route(api, call, reply) && auth_check(api, call, reply) &&
                  check_body(api, call, reply) && call->route->begin(api, call, reply);
    call->request = NULL; /* the transport's, and gone after this */
    if (!writes) {
        call_clear(call);
        return NULL;
    }
    call->write.user_id = call->user_id;
    call->write.now_unix_s = now_unix_s;
    return &call->write;
}

void api_finish(struct api *api, struct api_call *call, struct api_reply *reply)
{
    buffer_clear(&reply->head);
    buffer_clear(&reply->body);
    if (call->write.error == STORE_OK)
        call->route->finish(api, call, reply);
    else
        reply_store_error(api, reply, call->write.error);
    call_clear(call);
}
