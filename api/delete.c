/* DELETE /:id, and POST /batch, which deletes many. */

#include "api/handlers.h"
#include "api/json_in.h"
#include "api/reply.h"

static enum api_step begin(struct request *request, const int64_t *ids, size_t id_count)
{
    request->write.kind = STORE_DELETE;
    request->write.delete.ids = ids;
    request->write.delete.id_count = id_count;
    return API_WRITES;
}

enum api_step delete_begin(struct request *request)
{
    return begin(request, &request->path_id, 1);
}

void delete_render(struct request *request)
{
    if (request->write.delete.deleted_count == 0)
        reply_store_error(request, STORE_NOT_FOUND);
    else
        buffer_append(&request->body, SPAN("{\"success\":true,\"message\":\"\"}"));
}

enum api_step delete_batch_begin(struct request *request)
{
    if (!json_in_ids(request, JSON_IN_IDS_MAX))
        return reply_invalid(request);
    return begin(request, request->ids, request->id_count);
}

void delete_batch_render(struct request *request)
{
    reply_begin_data(request);
    buffer_append_int(&request->body, (int64_t)request->write.delete.deleted_count);
    reply_end_data(request);
}
