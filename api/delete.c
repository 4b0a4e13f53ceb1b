/* DELETE /:id, and POST /batch, which deletes many. */

#include "api/call.h"
#include "api/reply.h"
#include "api/token_json.h"

enum { BATCH_COUNT_MAX = 1000 };

static void prepare(struct api_call *call, const int64_t *ids, size_t id_count)
{
    call->write.kind = STORE_DELETE;
    call->write.delete.ids = ids;
    call->write.delete.id_count = id_count;
}

enum api_step delete_begin(struct api *api, struct api_call *call, struct api_reply *reply)
{
    (void)api;
    (void)reply;
    prepare(call, &call->path_id, 1);
    return API_WRITES;
}

void delete_finish(struct api *api, struct api_call *call, struct api_reply *reply)
{
    if (call->write.delete.deleted_count == 0)
        reply_store_error(api, reply, STORE_NOT_FOUND);
    else
        reply_done(api, reply);
}

enum api_step delete_batch_begin(struct api *api, struct api_call *call, struct api_reply *reply)
{
    struct json_refusal refusal;
    size_t count;
    if (!token_json_read_ids(api, call, BATCH_COUNT_MAX, &count, &refusal)) {
        token_json_refuse(api, reply, &refusal);
        return API_REPLIED;
    }
    prepare(call, call->ids, count);
    return API_WRITES;
}

void delete_batch_finish(struct api *api, struct api_call *call, struct api_reply *reply)
{
    reply_begin_data(&reply->body);
    buffer_append_int(&reply->body, (int64_t)call->write.delete.deleted_count);
    reply_end_data(api, reply);
}
