/* POST /:id/key and POST /batch/keys: keys in full, also where answers mask them. */

#include "api/call.h"
#include "api/reply.h"
#include "api/token_json.h"

enum { KEYS_COUNT_MAX = 100 };

static void append_key(void *context, const struct token *token)
{
    struct buffer *body = context;
    buffer_append_json(body, (struct span){token->key, sizeof(token->key)});
}

enum api_step key_begin(struct api *api, struct api_call *call, struct api_reply *reply)
{
    reply_begin_data(&reply->body);
    buffer_append(&reply->body, SPAN("{\"key\":"));
    enum store_error error =
        store_token_get(api->reader, call->user_id, call->path_id, append_key, &reply->body);
    if (error != STORE_OK) {
        reply_store_error(api, reply, error);
        return API_REPLIED;
    }
    buffer_append(&reply->body, SPAN("}"));
    reply_end_data(api, reply);
    return API_REPLIED;
}

struct listing {
    struct buffer *body;
    bool started;
};

static void append_member(void *context, const struct token *token)
{
    struct listing *listing = context;
    buffer_append(listing->body, listing->started ? SPAN(",\"") : SPAN("\""));
    buffer_append_int(listing->body, token->id);
    buffer_append(listing->body, SPAN("\":"));
    append_key(listing->body, token);
    listing->started = true;
}

static bool is_repeated(const int64_t *ids, size_t at)
{
    for (size_t i = 0; i < at; i++)
        if (ids[i] == ids[at])
            return true;
    return false;
}

enum api_step keys_begin(struct api *api, struct api_call *call, struct api_reply *reply)
{
    size_t count;
    struct json_refusal refusal;
    if (!token_json_read_ids(api, call, KEYS_COUNT_MAX, &count, &refusal)) {
        token_json_refuse(api, reply, &refusal);
        return API_REPLIED;
    }
    struct listing listing = {&reply->body, false};
    reply_begin_data(&reply->body);
    buffer_append(&reply->body, SPAN("{\"keys\":{"));
    for (size_t i = 0; i < count; i++) {
        if (is_repeated(call->ids, i))
            continue;
        enum store_error error =
            store_token_get(api->reader, call->user_id, call->ids[i], append_member, &listing);
        if (error != STORE_OK && error != STORE_NOT_FOUND) {
            reply_store_error(api, reply, error);
            return API_REPLIED;
        }
    }
    buffer_append(&reply->body, SPAN("}}"));
    reply_end_data(api, reply);
    return API_REPLIED;
}
