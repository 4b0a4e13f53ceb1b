/* Requests: strict JSON by json_scan and json-c, then member by member. */

#include "api/token_json.h"

#include <stdlib.h>
#include <string.h>

#include <printbuf.h>

#include "api/call.h"
#include "api/json_scan.h"
#include "api/reply.h"
#include "token/limits.h"

/* ---- the body ---- */

static bool refuse(struct json_refusal *refusal, struct span field, const char *text)
{
    refusal->field = field;
    refusal->text = text;
    return false;
}

/* The member that a number stands in, as the client wrote it; not a page of it. */
static struct span fault_field(struct span key)
{
    enum { FIELD_LEN_MAX = 64 };
    if (!key.at)
        return SPAN("body");
    return key.len <= FIELD_LEN_MAX ? key : SPAN("a member");
}

bool token_json_parse(struct api *api, struct api_call *call, bool array_allowed,
                      struct json_refusal *refusal)
{
    struct span body = call->request->body;
    struct json_fault fault;
    *refusal = (struct json_refusal){.element_index = -1};
    if (body.len == 0)
        return refuse(refusal, SPAN("body"), "is empty: send a JSON object");
    if (!json_scan(body, &fault)) {
        bool of_member = fault.error == JSON_NUMBER_RANGE;
        if (of_member)
            refusal->element_index = fault.element_index;
        return refuse(refusal, of_member ? fault_field(fault.key) : SPAN("body"),
                      json_error_text(fault.error));
    }
    json_tokener_reset(api->tokener);
    call->json = json_tokener_parse_ex(api->tokener, body.at, (int)body.len);
    explicit_bzero(api->tokener->pb->buf, (size_t)api->tokener->pb->size); /* the last string */
    if (!call->json)
        return refuse(refusal, SPAN("body"), "is not valid JSON");
    if (!array_allowed && !json_object_is_type(call->json, json_type_object))
        return refuse(refusal, SPAN("body"), "must be a JSON object");
    /* What the lists are normalized to is never longer than what it is made from. */
    call->text = malloc(body.len);
    call->text_len = 0;
    return call->text || refuse(refusal, SPAN("body"), "could not be read");
}

void token_json_refuse(const struct api *api, struct api_reply *reply,
                       const struct json_refusal *refusal)
{
    struct buffer detail = {0};
    bool in_array = refusal->element_index >= 0;
    if (refusal->name_too_long ? in_array : refusal->text != NULL) {
        buffer_append(&detail, SPAN(": "));
        if (in_array) {
            buffer_append(&detail, SPAN("["));
            buffer_append_int(&detail, refusal->element_index);
            buffer_append(&detail, refusal->field.at ? SPAN("].") : SPAN("]"));
        }
        buffer_append(&detail, refusal->field);
        if (!refusal->name_too_long) {
            buffer_append(&detail, SPAN(" "));
            buffer_append_string(&detail, refusal->text);
        }
    }
    reply_failure(api, reply, refusal->name_too_long ? FAILURE_NAME_TOO_LONG : FAILURE_INVALID,
                  (struct span){detail.at, detail.len});
    buffer_free(&detail);
}

/* ---- members ---- */

static const char must_be_integer[] = "must be an integer";

static struct span json_text(struct json_object *json)
{
    return (struct span){json_object_get_string(json), (size_t)json_object_get_string_len(json)};
}

bool token_json_read_id(struct json_object *object, int64_t *id, struct json_refusal *refusal)
{
    struct json_object *member;
    if (!json_object_object_get_ex(object, "id", &member) || !member)
        return refuse(refusal, SPAN("id"), "is required");
    if (!json_object_is_type(member, json_type_int))
        return refuse(refusal, SPAN("id"), must_be_integer);
    *id = json_object_get_int64(member);
    return true;
}

bool token_json_read_int(struct json_object *object, const char *name, int64_t min, int64_t max,
                         int64_t *number, struct json_refusal *refusal)
{
    struct json_object *member;
    if (!json_object_object_get_ex(object, name, &member) || !member)
        return true;
    if (!json_object_is_type(member, json_type_int))
        return refuse(refusal, span_of(name), must_be_integer);
    *number = json_object_get_int64(member);
    return (*number >= min && *number <= max) || refuse(refusal, span_of(name), "is out of range");
}

bool token_json_read_text(struct json_object *object, const char *name, struct span *text,
                          struct json_refusal *refusal)
{
    struct json_object *member;
    if (!json_object_object_get_ex(object, name, &member) || !member)
        return true;
    if (!json_object_is_type(member, json_type_string))
        return refuse(refusal, span_of(name), "must be a string");
    *text = json_text(member);
    return true;
}

bool token_json_read_ids(struct api *api, struct api_call *call, size_t max, size_t *count,
                         struct json_refusal *refusal)
{
    struct json_object *json;
    if (!token_json_parse(api, call, false, refusal))
        return false;
    refusal->text = NULL; /* the contract has one message for all that is wrong with ids */
    if (!json_object_object_get_ex(call->json, "ids", &json) ||
        !json_object_is_type(json, json_type_array))
        return false;
    *count = json_object_array_length(json);
    if (*count < 1 || *count > max)
        return false;
    call->ids = calloc(*count, sizeof(*call->ids));
    if (!call->ids)
        return refuse(refusal, SPAN("ids"), "could not be read");
    for (size_t i = 0; i < *count; i++) {
        struct json_object *item = json_object_array_get_idx(json, i);
        if (!json_object_is_type(item, json_type_int))
            return false;
        call->ids[i] = json_object_get_int64(item);
    }
    return true;
}

/* Each reads one member, which is not null, into the value; what is wrong, or NULL. */
typedef const char *read_member(struct api_call *call, struct json_object *json,
                                struct token *value);

static const char *read_int(struct json_object *json, int64_t *number)
{
    if (!json_object_is_type(json, json_type_int))
        return must_be_integer;
    *number = json_object_get_int64(json);
    return NULL;
}

static const char *read_bool(struct json_object *json, bool *value)
{
    if (!json_object_is_type(json, json_type_boolean))
        return "must be true or false";
    *value = json_object_get_boolean(json);
    return NULL;
}

static const char *read_text(struct json_object *json, struct span *text)
{
    if (!json_object_is_type(json, json_type_string))
        return "must be a string";
    *text = json_text(json);
    return NULL;
}

static const char *read_name(struct api_call *call, struct json_object *json, struct token *value)
{
    (void)call;
    return read_text(json, &value->name);
}

static const char *read_status(struct api_call *call, struct json_object *json, struct token *value)
{
    (void)call;
    int64_t status;
    const char *wrong = read_int(json, &status);
    if (!wrong) /* 0 is none of the enum: token_patch_check refuses it */
        value->status = status >= TOKEN_ENABLED && status <= TOKEN_EXHAUSTED
                            ? (enum token_status)status
                            : (enum token_status)0;
    return wrong;
}

static const char *read_remain_quota(struct api_call *call, struct json_object *json,
                                     struct token *value)
{
    (void)call;
    return read_int(json, &value->remain_quota);
}

static const char *read_unlimited_quota(struct api_call *call, struct json_object *json,
                                        struct token *value)
{
    (void)call;
    return read_bool(json, &value->unlimited_quota);
}

static const char *read_model_limits_enabled(struct api_call *call, struct json_object *json,
                                             struct token *value)
{
    (void)call;
    return read_bool(json, &value->model_limits_enabled);
}

static const char *read_model_limits(struct api_call *call, struct json_object *json,
                                     struct token *value)
{
    static const char wrong[] = "must be an array of strings, or a string with commas";
    char *out = call->text + call->text_len;
    size_t len = 0;
    if (json_object_is_type(json, json_type_string)) {
        struct span text = json_text(json);
        len = limits_normalize_models(text, out);
    } else if (json_object_is_type(json, json_type_array)) {
        for (size_t i = 0; i < json_object_array_length(json); i++) {
            struct json_object *item = json_object_array_get_idx(json, i);
            if (!json_object_is_type(item, json_type_string))
                return wrong;
            size_t comma_len = len > 0 ? 1 : 0;
            size_t item_len = limits_normalize_models(json_text(item), out + len + comma_len);
            if (item_len > 0 && comma_len > 0)
                out[len] = ',';
            len += item_len > 0 ? comma_len + item_len : 0;
        }
    } else {
        return wrong;
    }
    value->model_limits = (struct span){out, len};
    call->text_len += len;
    return NULL;
}

static const char *read_allow_ips(struct api_call *call, struct json_object *json,
                                  struct token *value)
{
    struct span text, bad;
    const char *wrong = read_text(json, &text);
    if (wrong)
        return wrong;
    char *out = call->text + call->text_len;
    size_t len;
    if (!limits_normalize_ips(text, out, &len, &bad))
        return "must be IP addresses or CIDR blocks, separated by commas";
    value->allow_ips = (struct span){out, len};
    call->text_len += len;
    return NULL;
}

static const char *read_group(struct api_call *call, struct json_object *json, struct token *value)
{
    (void)call;
    return read_text(json, &value->group);
}

static const char *read_expired_time(struct api_call *call, struct json_object *json,
                                     struct token *value)
{
    (void)call;
    return read_int(json, &value->expired_unix_s);
}

static const struct {
    enum token_field field;
    const char *name;
    read_member *read;
} members[] = {
    {TOKEN_FIELD_NAME, "name", read_name},
    {TOKEN_FIELD_STATUS, "status", read_status},
    {TOKEN_FIELD_REMAIN_QUOTA, "remain_quota", read_remain_quota},
    {TOKEN_FIELD_UNLIMITED_QUOTA, "unlimited_quota", read_unlimited_quota},
    {TOKEN_FIELD_MODEL_LIMITS_ENABLED, "model_limits_enabled", read_model_limits_enabled},
    {TOKEN_FIELD_MODEL_LIMITS, "model_limits", read_model_limits},
    {TOKEN_FIELD_ALLOW_IPS, "allow_ips", read_allow_ips},
    {TOKEN_FIELD_GROUP, "group", read_group},
    {TOKEN_FIELD_EXPIRED, "expired_time", read_expired_time},
};

bool token_json_read_patch(struct api_call *call, struct json_object *object, unsigned fields,
                           struct token_patch *patch, struct json_refusal *refusal)
{
    for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
        struct json_object *json;
        if (!(fields & members[i].field) ||
            !json_object_object_get_ex(object, members[i].name, &json) || !json)
            continue;
        const char *wrong = members[i].read(call, json, &patch->value);
        if (wrong)
            return refuse(refusal, span_of(members[i].name), wrong);
        patch->fields |= members[i].field;
    }
    enum token_error error = token_patch_check(patch);
    refusal->name_too_long = error == TOKEN_NAME_TOO_LONG;
    return error == TOKEN_OK ||
           refuse(refusal, span_of(token_error_field(error)), token_error_text(error));
}
