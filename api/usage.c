/* GET /api/usage/token/: what the holder of a key may know of it, in New API's form. */

#include <inttypes.h>
#include <stdio.h>

#include "api/auth.h"
#include "api/call.h"
#include "api/reply.h"

struct showing {
    struct buffer *body;
    bool disabled;
};

static void append_bool(struct buffer *body, bool value)
{
    buffer_append(body, value ? SPAN("true") : SPAN("false"));
}

/* {"gpt-4":true}, of "a,b". */
static void append_models(struct buffer *body, struct span models)
{
    buffer_append(body, SPAN("{"));
    while (models.len > 0) {
        const char *comma = memchr(models.at, ',', models.len);
        size_t len = comma ? (size_t)(comma - models.at) : models.len;
        buffer_append_json(body, (struct span){models.at, len});
        buffer_append(body, comma ? SPAN(":true,") : SPAN(":true"));
        models = span_from(models, comma ? len + 1 : len);
    }
    buffer_append(body, SPAN("}"));
}

/* The sum may be beyond int64, but not beyond uint64. */
static void append_granted(struct buffer *body, const struct token *token)
{
    char text[24];
    snprintf(text, sizeof(text), "%" PRIu64,
             (uint64_t)token->remain_quota + (uint64_t)token->used_quota);
    buffer_append_string(body, text);
}

static void append_usage(void *context, const struct token *token)
{
    struct showing *showing = context;
    struct buffer *body = showing->body;
    showing->disabled = token->status == TOKEN_DISABLED;
    buffer_append(body, SPAN("{\"code\":true,\"message\":\"ok\",\"data\":"
                             "{\"object\":\"token_usage\",\"name\":"));
    buffer_append_json(body, token->name);
    buffer_append(body, SPAN(",\"total_granted\":"));
    append_granted(body, token);
    buffer_append(body, SPAN(",\"total_used\":"));
    buffer_append_int(body, token->used_quota);
    buffer_append(body, SPAN(",\"total_available\":"));
    buffer_append_int(body, token->remain_quota);
    buffer_append(body, SPAN(",\"unlimited_quota\":"));
    append_bool(body, token->unlimited_quota);
    buffer_append(body, SPAN(",\"model_limits\":"));
    append_models(body, token->model_limits);
    buffer_append(body, SPAN(",\"model_limits_enabled\":"));
    append_bool(body, token->model_limits_enabled);
    buffer_append(body, SPAN(",\"expires_at\":"));
    buffer_append_int(body,
                      token->expired_unix_s == TOKEN_NEVER_EXPIRES ? 0 : token->expired_unix_s);
    buffer_append(body, SPAN("}}"));
}

enum api_step usage_begin(struct api *api, struct api_call *call, struct api_reply *reply)
{
    struct span key = auth_bearer(call->request->authorization);
    struct showing showing = {&reply->body, false};
    bool owner_disabled = false;
    enum store_error error = STORE_NOT_FOUND;
    if (token_key_is_well_formed(key))
        error = store_token_find(api->reader, key.at, call->now_unix_s, &owner_disabled,
                                 append_usage, &showing);
    if (key.len == 0)
        reply_refusal(api, reply, TOKEN_REFUSED_MISSING);
    else if (error == STORE_NOT_FOUND)
        reply_refusal(api, reply, TOKEN_REFUSED_UNKNOWN);
    else if (error != STORE_OK)
        reply_store_error(api, reply, error);
    else if (showing.disabled || owner_disabled)
        reply_refusal(api, reply, TOKEN_REFUSED_DISABLED);
    else
        reply_end(api, reply);
    return API_REPLIED;
}
