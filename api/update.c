/* PUT /: a full or partial update, or of the status only. */

#include "api/call.h"
#include "api/query.h"
#include "api/reply.h"
#include "api/token_json.h"

static const unsigned update_fields =
    TOKEN_FIELD_NAME | TOKEN_FIELD_STATUS | TOKEN_FIELD_REMAIN_QUOTA | TOKEN_FIELD_UNLIMITED_QUOTA |
    TOKEN_FIELD_MODEL_LIMITS_ENABLED | TOKEN_FIELD_MODEL_LIMITS | TOKEN_FIELD_ALLOW_IPS |
    TOKEN_FIELD_GROUP | TOKEN_FIELD_EXPIRED;

static bool is_status_only(struct span query)
{
    char value[QUERY_VALUE_SIZE];
    struct span text = query_get(query, "status_only", value);
    return text.len > 0 && !span_equal(text, SPAN("0")) && !span_equal(text, SPAN("false"));
}

/* A status alone has to be there, and to be one that can be set. */
static bool check_status_only(const struct token_patch *patch, struct json_refusal *refusal)
{
    if (patch->fields & TOKEN_FIELD_STATUS &&
        (patch->value.status == TOKEN_ENABLED || patch->value.status == TOKEN_DISABLED))
        return true;
    refusal->field = SPAN("status");
    refusal->text = token_error_text(TOKEN_STATUS_INVALID);
    return false;
}

static bool read_update(struct api *api, struct api_call *call, struct json_refusal *refusal)
{
    bool status_only = is_status_only(call->request->query);
    struct store_write *write = &call->write;
    write->kind = STORE_UPDATE;
    return token_json_parse(api, call, false, refusal) &&
           token_json_read_id(call, &write->update.token_id, refusal) &&
           token_json_read_patch(call, call->json,
                                 status_only ? (unsigned)TOKEN_FIELD_STATUS : update_fields,
                                 &write->update.patch, refusal) &&
           (!status_only || check_status_only(&write->update.patch, refusal));
}

enum api_step update_begin(struct api *api, struct api_call *call, struct api_reply *reply)
{
    struct json_refusal refusal;
    if (read_update(api, call, &refusal)) {
        /* Texts that stay as they are are not known yet. */
        call->answer_len_max =
            REPLY_ENVELOPE_LEN_MAX + token_json_len_max(&call->write.update.patch.value);
        return API_WRITES;
    }
    token_json_refuse(api, reply, &refusal);
    return API_REPLIED;
}

void update_finish(struct api *api, struct api_call *call, struct api_reply *reply)
{
    reply_begin_data(&reply->body);
    token_json_append(&reply->body, &call->write.update.token, call->now_unix_s, call->mask_keys);
    reply_end_data(api, reply);
}
