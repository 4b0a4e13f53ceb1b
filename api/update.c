/* PUT /: updates the fields that are sent, or the status only. */

#include "api/handlers.h"
#include "api/json_in.h"
#include "api/query.h"
#include "api/reply.h"
#include "api/token_json.h"

static bool is_status_only(struct span query)
{
    char value[QUERY_VALUE_SIZE];
    struct span text = query_get(query, "status_only", value);
    return text.len > 0 && !span_equal(text, SPAN("0")) && !span_equal(text, SPAN("false"));
}

enum api_step update_begin(struct request *request)
{
    struct store_write *write = &request->write;
    bool status_only = is_status_only(request->input.query);
    unsigned fields = status_only ? TOKEN_FIELD_STATUS : token_fields_set_by(TOKEN_SET_UPDATE);
    write->kind = STORE_UPDATE;
    if (!json_in_parse(request, false) ||
        !json_in_required(request, "id", INT64_MIN, INT64_MAX, &write->update.token_id) ||
        !token_json_read(request, request->json, fields, &write->update.patch))
        return reply_invalid(request);
    /* A status alone has to be there, and to be one that can be set. */
    if (status_only && write->update.patch.value.status != TOKEN_ENABLED &&
        write->update.patch.value.status != TOKEN_DISABLED)
        return reply_invalid_field(request, "status", TOKEN_STATUS_MESSAGE);
    /* The texts that the update leaves as they are are not known yet. */
    buffer_reserve(&request->body,
                   REPLY_ENVELOPE_LEN_MAX + token_json_len_max(&write->update.patch.value));
    return API_WRITES;
}

void update_render(struct request *request)
{
    reply_begin_data(request);
    token_json_visit(request, &request->write.update.token);
    reply_end_data(request);
}
