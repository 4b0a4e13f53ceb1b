/* Requests: strict JSON by json_read, then member by member. */

#include "api/token_json.h"

#include <stdlib.h>
#include <string.h>

#include "api/call.h"
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

static bool refuse_for_memory(struct json_refusal *refusal)
{
    refusal->no_memory = true;
    return false;
}

bool token_json_parse(struct api *api, struct api_call *call, bool array_allowed,
                      struct json_refusal *refusal)
{
    struct span body = call->request->body;
    struct json_fault fault;
    *refusal = (struct json_refusal){.element_index = -1};
    if (body.len == 0)
        return refuse(refusal, SPAN("body"), "is empty: send a JSON object");
    if (!json_read(&api->json, body, &fault)) {
        bool of_member = fault.error == JSON_NUMBER_RANGE;
        if (fault.error == JSON_NO_MEMORY)
            return refuse_for_memory(refusal);
        if (of_member)
            refusal->element_index = fault.element_index;
        return refuse(refusal, of_member ? fault_field(fault.key) : SPAN("body"),
                      json_error_text(fault.error));
    }
    call->json = api->json.values;
    if (!array_allowed && call->json->kind != JSON_OBJECT)
        return refuse(refusal, SPAN("body"), "must be a JSON object");
    /* No string is read twice, and what is kept of it is never longer than it is in the body. */
    call->text = malloc(body.len);
    call->text_len = 0;
    return call->text || refuse_for_memory(refusal);
}

void token_json_refuse(const struct api *api, struct api_reply *reply,
                       const struct json_refusal *refusal)
{
    struct buffer detail = {0};
    bool in_array = refusal->element_index >= 0;
    if (refusal->no_memory) {
        reply_store_error(api, reply, STORE_UNAVAILABLE);
        return;
    }
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
    reply->body.failed |= detail.failed; /* rather than half of it */
    buffer_free(&detail);
}

/* ---- members ---- */

static const char must_be_integer[] = "must be an integer";
static const char must_be_string[] = "must be a string";

/* Where the call's next text goes. */
static char *text_end(const struct api_call *call)
{
    return call->text + call->text_len;
}

/* The body is gone before the write is done: what a string says is copied, once. */
static struct span keep_text(struct api_call *call, const struct json_value *json)
{
    struct span text = json_text(json, text_end(call));
    if (!json->has_escapes)
        text.at = memcpy(text_end(call), text.at, text.len);
    call->text_len += text.len;
    return text;
}

/* NULL where there is none, or null. */
static const struct json_value *find_member(const struct api_call *call, const char *name)
{
    const struct json_value *member = json_find(call->json, span_of(name));
    return member && member->kind != JSON_NULL ? member : NULL;
}

bool token_json_read_id(const struct api_call *call, int64_t *id, struct json_refusal *refusal)
{
    const struct json_value *member = find_member(call, "id");
    if (!member)
        return refuse(refusal, SPAN("id"), "is required");
    if (member->kind != JSON_INTEGER)
        return refuse(refusal, SPAN("id"), must_be_integer);
    *id = member->integer;
    return true;
}

bool token_json_read_int(const struct api_call *call, const char *name, int64_t min, int64_t max,
                         int64_t *number, struct json_refusal *refusal)
{
    const struct json_value *member = find_member(call, name);
    if (!member)
        return true;
    if (member->kind != JSON_INTEGER)
        return refuse(refusal, span_of(name), must_be_integer);
    *number = member->integer;
    return (*number >= min && *number <= max) || refuse(refusal, span_of(name), "is out of range");
}

bool token_json_read_text(struct api_call *call, const char *name, struct span *text,
                          struct json_refusal *refusal)
{
    const struct json_value *member = find_member(call, name);
    if (!member)
        return true;
    if (member->kind != JSON_STRING)
        return refuse(refusal, span_of(name), must_be_string);
    *text = keep_text(call, member);
    return true;
}

bool token_json_read_ids(struct api *api, struct api_call *call, size_t max, size_t *count,
                         struct json_refusal *refusal)
{
    if (!token_json_parse(api, call, false, refusal))
        return false;
    refusal->text = NULL; /* the contract has one message for all that is wrong with ids */
    const struct json_value *json = find_member(call, "ids");
    if (!json || json->kind != JSON_ARRAY || json->count < 1 || json->count > max)
        return false;
    *count = json->count;
    call->ids = calloc(*count, sizeof(*call->ids));
    if (!call->ids)
        return refuse_for_memory(refusal);
    const struct json_value *item = json_first(json);
    for (size_t i = 0; i < *count; i++, item = json_next(item)) {
        if (item->kind != JSON_INTEGER)
            return false;
        call->ids[i] = item->integer;
    }
    return true;
}

/* Each reads one member, which is not null, into the value; what is wrong, or NULL. */
typedef const char *read_member(struct api_call *call, const struct json_value *json,
                                struct token *value);

static const char *read_int(const struct json_value *json, int64_t *number)
{
    if (json->kind != JSON_INTEGER)
        return must_be_integer;
    *number = json->integer;
    return NULL;
}

static const char *read_bool(const struct json_value *json, bool *value)
{
    if (json->kind != JSON_BOOLEAN)
        return "must be true or false";
    *value = json->boolean;
    return NULL;
}

static const char *read_text(struct api_call *call, const struct json_value *json,
                             struct span *text)
{
    if (json->kind != JSON_STRING)
        return must_be_string;
    *text = keep_text(call, json);
    return NULL;
}

static const char *read_name(struct api_call *call, const struct json_value *json,
                             struct token *value)
{
    return read_text(call, json, &value->name);
}

static const char *read_status(struct api_call *call, const struct json_value *json,
                               struct token *value)
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

static const char *read_remain_quota(struct api_call *call, const struct json_value *json,
                                     struct token *value)
{
    (void)call;
    return read_int(json, &value->remain_quota);
}

static const char *read_unlimited_quota(struct api_call *call, const struct json_value *json,
                                        struct token *value)
{
    (void)call;
    return read_bool(json, &value->unlimited_quota);
}

static const char *read_model_limits_enabled(struct api_call *call, const struct json_value *json,
                                             struct token *value)
{
    (void)call;
    return read_bool(json, &value->model_limits_enabled);
}

/* An array's items are joined as they are normalized: a quote of each makes room for a comma. */
static const char *read_model_limits(struct api_call *call, const struct json_value *json,
                                     struct token *value)
{
    static const char wrong[] = "must be an array of strings, or a string with commas";
    char *out = text_end(call);
    bool is_array = json->kind == JSON_ARRAY;
    const struct json_value *item = is_array ? json_first(json) : json;
    size_t len = 0, count = is_array ? json->count : 1;
    for (size_t i = 0; i < count; i++, item = json_next(item)) {
        if (item->kind != JSON_STRING)
            return wrong;
        char *item_out = out + len + (len > 0 ? 1 : 0);
        size_t item_len = limits_normalize_models(json_text(item, item_out), item_out);
        if (item_len == 0)
            continue;
        if (len > 0)
            out[len] = ',';
        len = (size_t)(item_out - out) + item_len;
    }
    value->model_limits = (struct span){out, len};
    call->text_len += len;
    return NULL;
}

static const char *read_allow_ips(struct api_call *call, const struct json_value *json,
                                  struct token *value)
{
    char *out = text_end(call);
    struct span bad;
    size_t len;
    if (json->kind != JSON_STRING)
        return must_be_string;
    if (!limits_normalize_ips(json_text(json, out), out, &len, &bad))
        return "must be IP addresses or CIDR blocks, separated by commas";
    value->allow_ips = (struct span){out, len};
    call->text_len += len;
    return NULL;
}

static const char *read_group(struct api_call *call, const struct json_value *json,
                              struct token *value)
{
    return read_text(call, json, &value->group);
}

static const char *read_expired_time(struct api_call *call, const struct json_value *json,
                                     struct token *value)
{
    (void)call;
    return read_int(json, &value->expired_unix_s);
}

static const struct {
    enum token_field field;
    struct span name;
    read_member *read;
} members[] = {
    {TOKEN_FIELD_NAME, SPAN("name"), read_name},
    {TOKEN_FIELD_STATUS, SPAN("status"), read_status},
    {TOKEN_FIELD_REMAIN_QUOTA, SPAN("remain_quota"), read_remain_quota},
    {TOKEN_FIELD_UNLIMITED_QUOTA, SPAN("unlimited_quota"), read_unlimited_quota},
    {TOKEN_FIELD_MODEL_LIMITS_ENABLED, SPAN("model_limits_enabled"), read_model_limits_enabled},
    {TOKEN_FIELD_MODEL_LIMITS, SPAN("model_limits"), read_model_limits},
    {TOKEN_FIELD_ALLOW_IPS, SPAN("allow_ips"), read_allow_ips},
    {TOKEN_FIELD_GROUP, SPAN("group"), read_group},
    {TOKEN_FIELD_EXPIRED, SPAN("expired_time"), read_expired_time},
};

enum { MEMBER_COUNT = sizeof(members) / sizeof(members[0]) };

/* One pass: the object's member for each of members, the last of that name; NULL where there is
 * none. */
static void find_members(const struct json_value *object,
                         const struct json_value *found[static MEMBER_COUNT])
{
    const struct json_value *member = json_first(object);
    memset(found, 0, MEMBER_COUNT * sizeof(*found));
    for (size_t n = 0; n < object->count; n++, member = json_next(member)) {
        size_t i = 0;
        while (i < MEMBER_COUNT && !json_key_is(member, members[i].name))
            i++;
        if (i < MEMBER_COUNT)
            found[i] = member;
    }
}

bool token_json_read_patch(struct api_call *call, const struct json_value *object, unsigned fields,
                           struct token_patch *patch, struct json_refusal *refusal)
{
    const struct json_value *found[MEMBER_COUNT];
    find_members(object, found);
    for (size_t i = 0; i < MEMBER_COUNT; i++) {
        if (!(fields & members[i].field) || !found[i] || found[i]->kind == JSON_NULL)
            continue;
        const char *wrong = members[i].read(call, found[i], &patch->value);
        if (wrong)
            return refuse(refusal, members[i].name, wrong);
        patch->fields |= members[i].field;
    }
    enum token_error error = token_patch_check(patch);
    refusal->name_too_long = error == TOKEN_NAME_TOO_LONG;
    return error == TOKEN_OK ||
           refuse(refusal, span_of(token_error_field(error)), token_error_text(error));
}
