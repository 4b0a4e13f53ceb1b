/* POST /batch/status: enables or disables many tokens. */

#include "api/handlers.h"
#include "api/json_in.h"
#include "api/reply.h"

enum api_step status_batch_begin(struct request *request)
{
    struct store_write *write = &request->write;
    int64_t status = 0;
    if (!json_in_ids(request, JSON_IN_IDS_MAX))
        return reply_invalid(request);
    if (!json_in_required(request, "status", TOKEN_ENABLED, TOKEN_DISABLED, &status))
        return reply_invalid_field(request, "status", TOKEN_STATUS_MESSAGE);
    write->kind = STORE_SET_STATUS;
    write->set_status.ids = request->ids;
    write->set_status.id_count = request->id_count;
    write->set_status.status = (enum token_status)status;
    write->set_status.refused = request->ids + request->id_count;
    buffer_reserve(&request->body, REPLY_ENVELOPE_LEN_MAX + request->id_count * (INT_LEN_MAX + 1));
    return API_WRITES;
}

/* "data":3,"refused":[7,9] */
void status_batch_render(struct request *request)
{
    const struct store_write *write = &request->write;
    struct buffer *body = &request->body;
    reply_begin_data(request);
    buffer_append_int(body, (int64_t)write->set_status.set_count);
    buffer_append(body, SPAN(",\"refused\":["));
    for (size_t i = 0; i < write->set_status.refused_count; i++)
        buffer_append_number(body, i > 0 ? SPAN(",") : SPAN(""), write->set_status.refused[i]);
    buffer_append(body, SPAN("]"));
    reply_end_data(request);
}
