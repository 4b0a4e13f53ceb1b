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

/* An empty group is the user's own. */
static enum store_error use_own_group(struct request *request, struct span *group)
{
    struct store_user user;
    enum store_error error = store_user_get(request->api->reader, request->user_id, &user);
    if (error != STORE_OK)
        return error;
    group->len = strlen(user.group);
    memcpy(request->own_group, user.group, group->len);
    group->at = request->own_group;
    return STORE_OK;
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
    struct token_patch *patch = &write->update.patch;
    if (patch->fields & TOKEN_FIELD_GROUP && patch->value.group.len == 0) {
        enum store_error error = use_own_group(request, &patch->value.group);
        if (error != STORE_OK)
            return reply_store_error(request, error);
    }
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
