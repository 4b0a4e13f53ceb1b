/* GET /api/usage/token/: what the holder of a key may know of it, in New API's form. */

#include <inttypes.h>
#include <stdio.h>

#include "api/auth.h"
#include "api/handlers.h"
#include "api/reply.h"
#include "token/limits.h"

/* {"a":true,"b":true} of "a,b". */
static void append_models(struct buffer *body, struct span models)
{
    buffer_append(body, SPAN("{"));
    while (models.len > 0) {
        buffer_append_json(body, span_cut(&models, ','));
        buffer_append(body, models.len > 0 ? SPAN(":true,") : SPAN(":true"));
    }
    buffer_append(body, SPAN("}"));
}

static void append_usage(struct buffer *body, const struct token *token)
{
    char granted[24]; /* within uint64, but it may be beyond int64 */
    buffer_append(body, SPAN("{\"code\":true,\"message\":\"ok\",\"data\":"
                             "{\"object\":\"token_usage\",\"name\":"));
    buffer_append_json(body, token->name);
    buffer_append(body, SPAN(",\"total_granted\":"));
    snprintf(granted, sizeof(granted), "%" PRIu64,
             (uint64_t)token->remain_quota + (uint64_t)token->used_quota);
    buffer_append_string(body, granted);
    buffer_append_number(body, SPAN(",\"total_used\":"), token->used_quota);
    buffer_append_number(body, SPAN(",\"total_available\":"), token->remain_quota);
    buffer_append_bool(body, SPAN(",\"unlimited_quota\":"), token->unlimited_quota);
    buffer_append(body, SPAN(",\"model_limits\":"));
    append_models(body, token->model_limits);
    buffer_append_bool(body, SPAN(",\"model_limits_enabled\":"), token->model_limits_enabled);
    buffer_append_number(body, SPAN(",\"expires_at\":"),
                         token->expired_unix_s == TOKEN_NEVER_EXPIRES ? 0 : token->expired_unix_s);
    buffer_append(body, SPAN("}}"));
}

/* Expired and exhausted tokens are answered. */
static void visit(void *context, const struct token *token)
{
    struct request *request = context;
    if (token->status == TOKEN_DISABLED)
        request->usage_refusal = TOKEN_REFUSED_DISABLED;
    else if (token->allow_ips.len > 0 &&
             !limits_allow_ip(token->allow_ips, request->input.remote_addr))
        request->usage_refusal = TOKEN_REFUSED_ADDRESS;
    else
        append_usage(&request->body, token);
}

enum api_step usage_begin(struct request *request)
{
    char key[TOKEN_KEY_SIZE];
    struct span sent = auth_key(&request->input);
    bool owner_disabled = false;
    enum store_error error = store_key_read(request->api->reader, sent, key);
    if (error == STORE_OK)
        error = store_token_find(request->api->reader, key, request->now_unix_s, &owner_disabled,
                                 visit, request);
    if (error == STORE_NOT_FOUND)
        return reply_refusal(request,
                             sent.len == 0 ? TOKEN_REFUSED_MISSING : TOKEN_REFUSED_UNKNOWN);
    if (error != STORE_OK)
        return reply_store_error(request, error);
    if (owner_disabled)
        request->usage_refusal = TOKEN_REFUSED_DISABLED;
    return request->usage_refusal == TOKEN_GOOD ? API_REPLIED
                                                : reply_refusal(request, request->usage_refusal);
}
