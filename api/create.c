/* POST /: one token, or an array of them, all or none. */

#include <stdlib.h>

#include "api/call.h"
#include "api/reply.h"
#include "api/token_json.h"

enum { CREATE_COUNT_MAX = 100 };

static const unsigned create_fields =
    TOKEN_FIELD_NAME | TOKEN_FIELD_REMAIN_QUOTA | TOKEN_FIELD_UNLIMITED_QUOTA |
    TOKEN_FIELD_MODEL_LIMITS_ENABLED | TOKEN_FIELD_MODEL_LIMITS | TOKEN_FIELD_ALLOW_IPS |
    TOKEN_FIELD_GROUP | TOKEN_FIELD_EXPIRED;

static bool read_token(struct api *api, struct api_call *call, const struct json_value *json,
                       struct token *token, struct json_refusal *refusal)
{
    if (json->kind != JSON_OBJECT) {
        refusal->text = "must be an object";
        return false;
    }
    struct token_patch patch = {0, token_default()};
    if (!token_json_read_patch(call, json, create_fields, &patch, refusal))
        return false;
    *token = patch.value; /* what the patch has not got is as token_default left it */
    key_pool_take(api->keys, token->key);
    return true;
}

static bool read_tokens(struct api *api, struct api_call *call, size_t count,
                        struct json_refusal *refusal)
{
    const struct json_value *json = call->is_array ? json_first(call->json) : call->json;
    for (size_t i = 0; i < count; i++, json = json_next(json)) {
        refusal->element_index = call->is_array ? (int64_t)i : -1;
        if (!read_token(api, call, json, &call->tokens[i], refusal))
            return false;
    }
    return true;
}

/* A token that names no group gets the user's. */
static size_t answer_len_max(const struct api_call *call)
{
    enum { GROUP_LEN_MAX = TOKEN_GROUP_LEN_MAX * JSON_ESCAPE_LEN_MAX };
    size_t len = REPLY_ENVELOPE_LEN_MAX;
    for (size_t i = 0; i < call->token_count; i++)
        len += token_json_len_max(&call->tokens[i]) + GROUP_LEN_MAX + 1;
    return len;
}

enum api_step create_begin(struct api *api, struct api_call *call, struct api_reply *reply)
{
    struct json_refusal refusal;
    if (!token_json_parse(api, call, true, &refusal)) {
        token_json_refuse(api, reply, &refusal);
        return API_REPLIED;
    }
    call->is_array = call->json->kind == JSON_ARRAY;
    size_t count = call->is_array ? call->json->count : 1;
    if (count < 1 || count > CREATE_COUNT_MAX) {
        refusal.field = SPAN("body");
        refusal.text = "must have 1 to 100 tokens";
        token_json_refuse(api, reply, &refusal);
        return API_REPLIED;
    }
    call->tokens = calloc(count, sizeof(*call->tokens));
    call->token_count = call->tokens ? count : 0;
    if (!call->tokens) {
        reply_store_error(api, reply, STORE_UNAVAILABLE);
        return API_REPLIED;
    }
    if (!read_tokens(api, call, count, &refusal)) {
        token_json_refuse(api, reply, &refusal);
        return API_REPLIED;
    }
    if (!call_set_idempotency(call)) {
        reply_failure(api, reply, FAILURE_INVALID, SPAN(BAD_IDEMPOTENCY_KEY));
        return API_REPLIED;
    }
    call->write.kind = STORE_CREATE;
    call->write.create.tokens = call->tokens;
    call->write.create.count = count;
    call->write.create.max_per_user = api->options->max_per_user;
    call->answer_len_max = answer_len_max(call);
    return API_WRITES;
}

void create_render(struct api_call *call, struct buffer *body)
{
    reply_begin_data(body);
    if (call->is_array)
        buffer_append(body, SPAN("["));
    for (size_t i = 0; i < call->write.create.count; i++) {
        if (i > 0)
            buffer_append(body, SPAN(","));
        token_json_append(body, &call->tokens[i], call->now_unix_s, false);
    }
    buffer_append(body, call->is_array ? SPAN("]}") : SPAN("}"));
}
