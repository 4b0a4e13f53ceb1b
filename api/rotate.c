/* POST /:id/rotate: another key on the same token. */

#include "api/call.h"
#include "api/reply.h"
#include "api/token_json.h"

enum { GRACE_S_MAX = 30 * 24 * 3600 };

/* The body may be left out. */
static bool read_grace(struct api *api, struct api_call *call, int64_t *grace_s,
                       struct json_refusal *refusal)
{
    *grace_s = 0;
    if (call->request->body.len == 0)
        return true;
    return token_json_parse(api, call, false, refusal) &&
           token_json_read_int(call, "grace_seconds", 0, GRACE_S_MAX, grace_s, refusal);
}

enum api_step rotate_begin(struct api *api, struct api_call *call, struct api_reply *reply)
{
    struct json_refusal refusal;
    int64_t grace_s;
    if (!read_grace(api, call, &grace_s, &refusal)) {
        token_json_refuse(api, reply, &refusal);
        return API_REPLIED;
    }
    if (!call_set_idempotency(call)) {
        reply_failure(api, reply, FAILURE_INVALID, SPAN(BAD_IDEMPOTENCY_KEY));
        return API_REPLIED;
    }
    call->write.kind = STORE_ROTATE;
    call->write.rotate.token_id = call->path_id;
    call->write.rotate.grace_s = grace_s;
    key_pool_take(api->keys, call->write.rotate.key);
    return API_WRITES;
}

void rotate_render(struct api_call *call, struct buffer *body)
{
    reply_begin_data(body);
    token_json_append(body, &call->write.rotate.token, call->now_unix_s, false);
    buffer_append(body, SPAN("}"));
}
