/* DELETE /:id, and POST /batch, which deletes many. */

#include <stdlib.h>

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

bool delete_begin(struct api *api, struct api_call *call, struct api_reply *reply)
{
    (void)api;
    (void)reply;
    prepare(call, &call->path_id, 1);
    return true;
}

void delete_finish(struct api *api, struct api_call *call, struct api_reply *reply)
{
    if (call->write.delete.deleted_count == 0)
        reply_store_error(api, reply, STORE_NOT_FOUND);
    else
        reply_done(api, reply);
}

/* The integers of "ids"; false where it is anything but 1 to BATCH_COUNT_MAX of them. */
static bool read_ids(struct api_call *call, size_t *count)
{
    struct json_object *json;
    if (!json_object_object_get_ex(call->json, "ids", &json) ||
        !json_object_is_type(json, json_type_array))
        return false;
    *count = json_object_array_length(json);
    if (*count < 1 || *count > BATCH_COUNT_MAX)
        return false;
    call->ids = calloc(*count, sizeof(*call->ids));
    for (size_t i = 0; call->ids && i < *count; i++) {
        struct json_object *item = json_object_array_get_idx(json, i);
        if (!json_object_is_type(item, json_type_int))
            return false;
        call->ids[i] = json_object_get_int64(item);
    }
    return true;
}

bool delete_batch_begin(struct api *api, struct api_call *call, struct api_reply *reply)
{
    struct json_refusal refusal;
    size_t count;
    bool parsed = token_json_parse(api, call, false, &refusal);
    if (parsed && read_ids(call, &count)) {
        prepare(call, call->ids, count);
        if (call->ids)
            return true;
        reply_store_error(api, reply, STORE_UNAVAILABLE);
        return false;
    }
    if (parsed)
        refusal.text = NULL; /* the contract has one message for all that is wrong with ids */
    token_json_refuse(api, reply, &refusal);
    return false;
}

void delete_batch_finish(struct api *api, struct api_call *call, struct api_reply *reply)
{
    reply_begin_data(reply);
    buffer_append_int(&reply->body, (int64_t)call->write.delete.deleted_count);
    reply_end_data(api, reply);
}
