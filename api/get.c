/* GET /:id */

#include "api/call.h"
#include "api/reply.h"
#include "api/token_json.h"

struct showing {
    struct buffer *body;
    int64_t now_unix_s;
    bool mask_key;
};

static void append_token(void *context, const struct token *token)
{
    struct showing *showing = context;
    token_json_append(showing->body, token, showing->now_unix_s, showing->mask_key);
}

enum api_step get_begin(struct api *api, struct api_call *call, struct api_reply *reply)
{
    struct showing showing = {&reply->body, call->now_unix_s, call->mask_keys};
    reply_begin_data(&reply->body);
    enum store_error error =
        store_token_get(api->reader, call->user_id, call->path_id, append_token, &showing);
    if (error == STORE_OK)
        reply_end_data(api, reply);
    else
        reply_store_error(api, reply, error);
    return API_REPLIED;
}
