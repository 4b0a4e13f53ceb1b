/* PUT /: updates the fields that are sent, or the status only. */

#include <json.h>

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

/* A status alone has to be there, and to be one that can be set. */
static bool read_status(struct request *request, struct token_patch *patch)
{
    return token_json_read(request, request->json, TOKEN_FIELD_STATUS, patch) &&
           (patch->value.status == TOKEN_ENABLED || patch->value.status == TOKEN_DISABLED ||
            json_in_refuse(request, "status", TOKEN_STATUS_MESSAGE));
}

static bool read_all(struct request *request, struct token_patch *patch)
{
    unsigned fields = token_fields_set_by(TOKEN_SET_UPDATE);
    bool has_quota = json_object_object_get(request->json, "remain_quota");
    if (has_quota && json_object_object_get(request->json, "add_quota"))
        return json_in_refuse(request, "add_quota", "must not be beside remain_quota");
    if (has_quota)
        fields |= TOKEN_FIELD_USED_QUOTA; /* what the client has read */
    return json_in_integer(request, "add_quota", INT64_MIN, INT64_MAX, &patch->add_quota) &&
           token_json_read(request, request->json, fields, patch);
}

enum api_step update_begin(struct request *request)
{
    struct store_write *write = &request->write;
    struct token_patch *patch = &write->update.patch;
    write->kind = STORE_UPDATE;
    if (!json_in_parse(request, false) ||
        !json_in_required(request, "id", INT64_MIN, INT64_MAX, &write->update.token_id) ||
        !(is_status_only(request->input.query) ? read_status : read_all)(request, patch))
        return reply_invalid(request);
    /* The texts that the update leaves as they are are not known yet. */
    buffer_reserve(&request->body,
                   REPLY_ENVELOPE_LEN_MAX + token_json_len_max(&write->update.patch.value));
    return API_WRITES;
}

/* Of a rotation too, which shows the new key. */
void update_render(struct request *request)
{
    bool mask_key = request_masks_keys(request) && request->write.kind == STORE_UPDATE;
    reply_begin_data(request);
    token_json_append(&request->body, &request->write.token, request->now_unix_s, mask_key);
    reply_end_data(request);
}
