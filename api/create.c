/* POST /: creates a token, or an array of them, all or none. */

#include <stdlib.h>

#include <json.h>

#include "api/handlers.h"
#include "api/idempotency.h"
#include "api/json_in.h"
#include "api/reply.h"
#include "api/token_json.h"
#include "base/calendar.h"
#include "seal/key_pool.h"

enum {
    CREATE_COUNT_MAX = 100,
    USER_GROUP_LEN_MAX = TOKEN_GROUP_LEN_MAX * JSON_ESCAPE_LEN_MAX + 1 /* of a token without one */
};

static bool read_token(struct request *request, struct json_object *json, struct token *token)
{
    if (!json_object_is_type(json, json_type_object))
        return json_in_refuse(request, NULL, "must be an object");
    struct token_patch patch = {0};
    if (!token_json_read(request, json, token_fields_set_by(TOKEN_SET_CREATE), &patch))
        return false;
    *token = token_default();
    token->remain_quota = patch.value.refill_amount; /* if none is sent */
    if (token_patch_apply(&patch, request->now_unix_s, calendar_day(request->now_unix_s), token) !=
        TOKEN_OK) {
        request->invalid.code = VALIDATION_NAME_TOO_LONG; /* a new token knows no other error */
        return json_in_refuse(request, "name", "");
    }
    if (token->expired_unix_s == 0) /* New API's clients mean never */
        token->expired_unix_s = TOKEN_NEVER_EXPIRES;
    if (token->group.len == 0) /* the user's own */
        token->group.at = NULL;
    key_pool_take(request->api->keys, token->key);
    return true;
}

static bool read_tokens(struct request *request)
{
    struct json_object *json = request->json;
    bool list = request->token_list = json_object_is_type(json, json_type_array);
    size_t count = list ? json_object_array_length(json) : 1;
    if (count < 1 || count > CREATE_COUNT_MAX)
        return json_in_refuse(request, "body", "must have 1 to 100 tokens");
    request->tokens = calloc(count, sizeof(*request->tokens));
    if (!request->tokens)
        return json_in_refuse_for_memory(request);
    request->token_count = count;
    size_t answer_len = REPLY_ENVELOPE_LEN_MAX;
    for (size_t i = 0; i < count; i++) {
        struct json_object *element = list ? json_object_array_get_idx(json, i) : json;
        request->invalid = (struct validation_error){.index = list ? (int64_t)i : -1};
        if (!read_token(request, element, &request->tokens[i]))
            return false;
        answer_len += token_json_len_max(&request->tokens[i]) + USER_GROUP_LEN_MAX;
    }
    buffer_reserve(&request->body, answer_len);
    return true;
}

enum api_step create_begin(struct request *request)
{
    if (!json_in_parse(request, true) || !read_tokens(request))
        return reply_invalid(request);
    json_in_clear(request); /* now: malloc gets slower with the trees of many that wait */
    request->write.kind = STORE_CREATE;
    request->write.create.tokens = request->tokens;
    request->write.create.count = request->token_count;
    request->write.create.max_per_user = request->api->settings->max_per_user;
    return idempotency_by_header(request);
}

void create_render(struct request *request)
{
    struct buffer *body = &request->body;
    reply_begin_data(request);
    if (request->token_list)
        buffer_append(body, SPAN("["));
    for (size_t i = 0; i < request->token_count; i++) {
        buffer_append(body, i > 0 ? SPAN(",") : SPAN(""));
        token_json_append(body, &request->tokens[i], request->now_unix_s, false);
    }
    if (request->token_list)
        buffer_append(body, SPAN("]"));
    reply_end_data(request);
}
