/* A token's fields in requests. */

#include <json.h>

#include "api/json_in.h"
#include "api/token_json.h"
#include "token/limits.h"
#include "token/refill.h"

/* Each reads a value, which is not null, into the member. Returns NULL, or what is wrong. */

/* A number that is no status becomes 0, which token_patch_check refuses. */
static const char *read_status(struct json_object *value, enum token_status *member)
{
    int64_t number = 0;
    const char *wrong = json_in_read_integer(value, &number);
    if (number < TOKEN_ENABLED || number > TOKEN_EXHAUSTED)
        number = 0;
    *member = (enum token_status)number;
    return wrong;
}

static const char *read_refill(struct json_object *value, enum token_refill *member)
{
    struct span name = SPAN("");
    const char *wrong = json_in_read_text(value, &name);
    if (!wrong && !token_refill_read(name, member))
        wrong = token_field_rules[TOKEN_FIELD_NUMBER_REFILL_INTERVAL].message;
    return wrong;
}

/* An array of strings, or one string. Its normalized form is not longer than in the body, so that
 * the text buffer, which has that size, never moves. */
static const char *read_models(struct request *request, struct json_object *value,
                               struct span *member)
{
    struct buffer *text = &request->text;
    bool is_array = json_object_is_type(value, json_type_array);
    size_t begin = text->len, count = is_array ? json_object_array_length(value) : 1;
    for (size_t i = 0; i < count; i++) {
        struct span item;
        if (json_in_read_text(is_array ? json_object_array_get_idx(value, i) : value, &item))
            return "must be an array of strings, or a string with commas";
        size_t comma = text->len > begin ? 1 : 0;
        char *out = text->at + text->len + comma;
        size_t len = limits_normalize_models(item, out);
        if (len == 0)
            continue;
        if (comma > 0)
            out[-1] = ',';
        text->len += len + comma;
    }
    *member = (struct span){text->at + begin, text->len - begin};
    return NULL;
}

/* The texts do not stay in the tree of json-c: it is freed before a write waits for its commit. */
static const char *read_text(struct request *request, struct json_object *value,
                             struct span *member)
{
    struct buffer *text = &request->text;
    const char *wrong = json_in_read_text(value, member);
    if (wrong)
        return wrong;
    char *copy = text->at + text->len;
    text->len = (size_t)(write_text(copy, *member) - text->at);
    member->at = copy;
    return NULL;
}

static const char *read_addresses(struct request *request, struct json_object *value,
                                  struct span *member)
{
    char *out = request->text.at + request->text.len;
    struct span list;
    size_t len;
    const char *wrong = json_in_read_text(value, &list);
    if (wrong)
        return wrong;
    if (!limits_normalize_ips(list, out, &len) || (list.len > 0 && len == 0))
        return "must be IP addresses or CIDR blocks, separated by commas";
    request->text.len += len;
    *member = (struct span){out, len};
    return NULL;
}

static const char *read_member(struct request *request, struct json_object *value,
                               enum token_kind kind, void *member)
{
    switch (kind) {
    case TOKEN_KIND_INTEGER:
        return json_in_read_integer(value, member);
    case TOKEN_KIND_BOOLEAN:
        if (!json_object_is_type(value, json_type_boolean))
            return "must be true or false";
        *(bool *)member = json_object_get_boolean(value);
        return NULL;
    case TOKEN_KIND_STATUS:
        return read_status(value, member);
    case TOKEN_KIND_REFILL:
        return read_refill(value, member);
    case TOKEN_KIND_NAME:
    case TOKEN_KIND_TEXT:
        return read_text(request, value, member);
    case TOKEN_KIND_MODELS:
        return read_models(request, value, member);
    case TOKEN_KIND_ADDRESSES:
        return read_addresses(request, value, member);
    case TOKEN_KIND_KEY: /* no client sets it */
        break;
    }
    return NULL;
}

/* Reads a field by One API's name for it. */
static bool read_alias(struct request *request, struct json_object *object, const char *name,
                       enum token_field_number number, struct token_patch *patch)
{
    const struct token_field_rule *rule = &token_field_rules[number];
    struct json_object *value = json_object_object_get(object, name);
    struct span list = SPAN(""), *member = (struct span *)((char *)&patch->value + rule->offset);
    if (!value)
        return true;
    request->invalid.field = span_of(name);
    request->invalid.text = read_member(request, value, rule->kind, &list);
    if (!request->invalid.text && patch->fields & rule->field && !span_equal(list, *member))
        request->invalid.text = "differs from the same field under its other name";
    *member = list;
    patch->fields |= rule->field;
    return !request->invalid.text;
}

/* A list of models without the flag beside it. No limit may be lost: a list that is sent holds. */
static void imply_limit(struct json_object *object, struct token_patch *patch)
{
    bool has_models = patch->value.model_limits.len > 0;
    if (!(patch->fields & TOKEN_FIELD_MODEL_LIMITS) ||
        patch->fields & TOKEN_FIELD_MODEL_LIMITS_ENABLED ||
        !(has_models || json_object_object_get(object, "models"))) /* empty, it means all there */
        return;
    patch->value.model_limits_enabled = has_models;
    patch->fields |= TOKEN_FIELD_MODEL_LIMITS_ENABLED;
}

/* What clients of the New API family send with whole objects. */
static void accept_habits(unsigned fields, struct token_patch *patch)
{
    struct token *value = &patch->value;
    if (value->remain_quota == -1 && patch->fields & TOKEN_FIELD_UNLIMITED_QUOTA &&
        value->unlimited_quota)
        value->remain_quota = 0;
    if (fields != TOKEN_FIELD_STATUS && value->status != TOKEN_ENABLED &&
        value->status != TOKEN_DISABLED)
        patch->fields &= ~(unsigned)TOKEN_FIELD_STATUS;
}

bool token_json_read(struct request *request, struct json_object *object, unsigned fields,
                     struct token_patch *patch)
{
    if (request->text.len == 0 && !buffer_reserve(&request->text, request->input.body.len))
        return json_in_refuse_for_memory(request);
    for (size_t i = 0; i < TOKEN_FIELD_COUNT; i++) {
        const struct token_field_rule *rule = &token_field_rules[i];
        struct json_object *value = json_object_object_get(object, rule->name.at);
        request->invalid.field = rule->name;
        if (!value)
            continue;
        if (fields & rule->field)
            request->invalid.text =
                read_member(request, value, rule->kind, (char *)&patch->value + rule->offset);
        else if (json_in_is_out_of_range(value)) /* ignored otherwise */
            request->invalid.text = JSON_OUT_OF_RANGE;
        patch->fields |= fields & rule->field;
        if (request->invalid.text)
            return false;
    }
    if (fields & TOKEN_FIELD_MODEL_LIMITS) {
        if (!read_alias(request, object, "models", TOKEN_FIELD_NUMBER_MODEL_LIMITS, patch) ||
            !read_alias(request, object, "subnet", TOKEN_FIELD_NUMBER_ALLOW_IPS, patch))
            return false;
        imply_limit(object, patch);
    }
    accept_habits(fields, patch);
    patch->name_max = request->api->settings->name_max;
    return token_patch_check(patch, &request->invalid);
}
