#include "api/json_in.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include <json.h>
#include <json_visit.h>

#include "api/json_scan.h"

bool json_in_refuse(struct request *request, const char *field, const char *text)
{
    request->invalid.field = span_of(field);
    request->invalid.text = text;
    return false;
}

bool json_in_refuse_for_memory(struct request *request)
{
    request->invalid.code = VALIDATION_UNAVAILABLE;
    return false;
}

/* ---- the body ---- */

/* For json_c_visit, which sets the type: adds what a value, or a member with its name, holds. */
static int count(struct json_object *value, int flags, struct json_object *parent, const char *name,
                 size_t *index, void *context) /* NOLINT(readability-non-const-parameter) */
{
    struct json_counts *counts = context;
    (void)parent;
    (void)index;
    if (flags & JSON_C_VISIT_SECOND) /* the end of an object or array */
        return JSON_C_VISIT_RETURN_CONTINUE;
    counts->items += name ? 2 : 1;
    counts->text_len += name ? strlen(name) : 0;
    if (json_object_is_type(value, json_type_string))
        counts->text_len += (size_t)json_object_get_string_len(value);
    return JSON_C_VISIT_RETURN_CONTINUE;
}

/* json-c keeps one of several members of a name, and without memory may cut a text or lose a
 * member: then the tree holds less than the text. */
static bool is_complete(struct json_object *json, const struct json_counts *expected)
{
    struct json_counts counts = {0, 0};
    json_c_visit(json, 0, count, &counts);
    return counts.items == expected->items && counts.text_len == expected->text_len;
}

/* *json is the tree, which the caller puts; NULL, also where nothing is wrong with the text,
 * without memory. Returns what is wrong, or NULL. */
static const char *parse(struct json_tokener *parser, struct span body, struct buffer *text,
                         struct json_object **json)
{
    struct json_counts counts;
    const char *wrong = json_scan(body, text, &counts);
    if (wrong || text->failed)
        return wrong;
    *json = json_tokener_parse_ex(parser, text->at, (int)text->len);
    if (json_tokener_get_error(parser) != json_tokener_success ||
        json_tokener_get_parse_end(parser) < text->len)
        return JSON_SYNTAX;
    return !*json || is_complete(*json, &counts) ? NULL : "has the same name twice in an object";
}

bool json_in_parse(struct request *request, bool array_allowed)
{
    struct buffer *text = &request->body; /* which no reply is in yet */
    request->invalid = (struct validation_error){.index = -1};
    if (request->input.body.len == 0)
        return json_in_refuse(request, "body", "is empty: send a JSON object");
    /* Scalars in the innermost container are a level of their own to json-c. Its flags have nothing
     * to add to the scan: JSON_TOKENER_STRICT, with which json-c 0.18 refuses every string that is
     * not ASCII, and JSON_TOKENER_VALIDATE_UTF8. */
    struct json_tokener *parser = json_tokener_new_ex(JSON_DEPTH_MAX + 1);
    if (!parser)
        return json_in_refuse_for_memory(request);
    errno = 0;
    const char *wrong = parse(parser, request->input.body, text, &request->json);
    json_tokener_free(parser);
    buffer_clear(text);
    if (errno == ENOMEM || (!wrong && !request->json))
        return json_in_refuse_for_memory(request);
    if (!wrong && !array_allowed && !json_object_is_type(request->json, json_type_object))
        wrong = "must be a JSON object";
    return !wrong || json_in_refuse(request, "body", wrong);
}

static void wipe_strings(struct json_object *value)
{
    if (json_object_is_type(value, json_type_string)) {
        explicit_bzero((void *)(uintptr_t)json_object_get_string(value),
                       (size_t)json_object_get_string_len(value));
    } else if (json_object_is_type(value, json_type_array)) {
        for (size_t i = 0; i < json_object_array_length(value); i++)
            wipe_strings(json_object_array_get_idx(value, i));
    } else if (json_object_is_type(value, json_type_object)) {
        json_object_object_foreach(value, name, member)
        {
            (void)name;
            wipe_strings(member);
        }
    }
}

void json_in_clear(struct request *request)
{
    wipe_strings(request->json);
    json_object_put(request->json);
    request->json = NULL;
}

/* ---- values ---- */

bool json_in_is_out_of_range(struct json_object *value)
{
    return json_object_is_type(value, json_type_double) && isinf(json_object_get_double(value));
}

const char *json_in_read_integer(struct json_object *value, int64_t *number)
{
    if (json_in_is_out_of_range(value))
        return JSON_OUT_OF_RANGE;
    if (!json_object_is_type(value, json_type_int))
        return "must be an integer";
    *number = json_object_get_int64(value);
    return NULL;
}

const char *json_in_read_text(struct json_object *value, struct span *text)
{
    if (!json_object_is_type(value, json_type_string))
        return "must be a string";
    *text = (struct span){json_object_get_string(value), (size_t)json_object_get_string_len(value)};
    return NULL;
}

/* ---- members ---- */

bool json_in_integer(struct request *request, const char *name, int64_t min, int64_t max,
                     int64_t *number)
{
    struct json_object *member = json_object_object_get(request->json, name);
    if (!member)
        return true;
    const char *wrong = json_in_read_integer(member, number);
    if (!wrong && (*number < min || *number > max))
        wrong = "is out of range";
    return !wrong || json_in_refuse(request, name, wrong);
}

bool json_in_required(struct request *request, const char *name, int64_t min, int64_t max,
                      int64_t *number)
{
    if (!json_object_object_get(request->json, name))
        return json_in_refuse(request, name, "is required");
    return json_in_integer(request, name, min, max, number);
}

bool json_in_text(struct request *request, const char *name, struct span *text)
{
    struct json_object *member = json_object_object_get(request->json, name);
    const char *wrong = member ? json_in_read_text(member, text) : NULL;
    return !wrong || json_in_refuse(request, name, wrong);
}

bool json_in_ids(struct request *request, size_t max)
{
    if (!json_in_parse(request, false))
        return false;
    struct json_object *list = json_object_object_get(request->json, "ids");
    size_t count = json_object_is_type(list, json_type_array) ? json_object_array_length(list) : 0;
    if (count < 1 || count > max)
        return false;
    request->ids = calloc(count, 2 * sizeof(*request->ids));
    if (!request->ids)
        return json_in_refuse_for_memory(request);
    for (size_t i = 0; i < count; i++)
        if (json_in_read_integer(json_object_array_get_idx(list, i), &request->ids[i]))
            return false;
    request->id_count = count;
    return true;
}
