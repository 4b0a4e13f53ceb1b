#include "api/json_in.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include <json.h>

#include "api/json_scan.h"

static bool refuse(struct validation_error *error, struct span field, const char *text)
{
    error->field = field;
    error->text = text;
    return false;
}

static bool refuse_for_memory(struct validation_error *error)
{
    error->code = VALIDATION_UNAVAILABLE;
    return false;
}

/* ---- the body ---- */

static const char *const error_texts[] = {
    [JSON_OK] = "",
    [JSON_NOT_A_CONTAINER] = "must be a JSON object or array",
    [JSON_SYNTAX] = "is not valid JSON",
    [JSON_TOO_DEEP] = "is nested deeper than 32 levels",
    [JSON_NOT_UTF8] = "is not valid UTF-8",
    [JSON_NUL] = "has a NUL character (\\u0000)",
    [JSON_SAME_NAME] = "has the same name twice in an object",
};

/* Adds what a value holds. Recursion is bounded by JSON_DEPTH_MAX. */
static void count(struct json_object *value, struct json_counts *counts)
{
    counts->items++;
    switch (json_object_get_type(value)) {
    case json_type_string:
        counts->text_len += (size_t)json_object_get_string_len(value);
        break;
    case json_type_array:
        for (size_t i = 0; i < json_object_array_length(value); i++)
            count(json_object_array_get_idx(value, i), counts);
        break;
    case json_type_object: {
        json_object_object_foreach(value, name, member)
        {
            counts->items++;
            counts->text_len += strlen(name);
            count(member, counts);
        }
        break;
    }
    default:
        break;
    }
}

/* json-c keeps one of several members of a name, and without memory may cut a text or lose a
 * member: then the tree holds less than the text. */
static bool is_complete(struct json_object *json, const struct json_counts *expected)
{
    struct json_counts counts = {0, 0};
    count(json, &counts);
    return counts.items == expected->items && counts.text_len == expected->text_len;
}

/* Feeds the scan's pieces to the parser. *json is the tree, which the caller puts; NULL, also where
 * nothing is wrong with the text, without memory. */
static enum json_error parse(struct json_tokener *parser, struct json_scan *scan,
                             struct json_object **json)
{
    enum json_tokener_error state = json_tokener_continue;
    struct span piece;
    *json = NULL;
    json_tokener_reset(parser);
    while (json_scan_next(scan, &piece)) {
        if (*json || state > json_tokener_continue) /* complete before the text's end, or wrong */
            return JSON_SYNTAX;
        *json = json_tokener_parse_ex(parser, piece.at, (int)piece.len);
        state = json_tokener_get_error(parser);
        if (*json && json_tokener_get_parse_end(parser) < piece.len)
            return JSON_SYNTAX;
    }
    if (scan->error != JSON_OK)
        return scan->error;
    if (scan->counts.items == 0)
        return JSON_NOT_A_CONTAINER;
    if (state != json_tokener_success)
        return JSON_SYNTAX;
    return !*json || is_complete(*json, &scan->counts) ? JSON_OK : JSON_SAME_NAME;
}

static struct json_tokener *get_parser(struct api *api)
{
    /* Scalars in the innermost container are a level of their own to json-c. JSON_TOKENER_STRICT,
     * with which json-c 0.18 refuses every string that is not ASCII, has nothing to add to the
     * scan. */
    if (!api->parser)
        api->parser = json_tokener_new_ex(JSON_DEPTH_MAX + 1);
    if (api->parser)
        json_tokener_set_flags(api->parser, JSON_TOKENER_VALIDATE_UTF8);
    return api->parser;
}

bool json_in_parse(struct request *request, bool array_allowed, struct validation_error *error)
{
    struct span body = request->input.body;
    struct json_scan scan;
    *error = (struct validation_error){.index = -1};
    if (body.len == 0)
        return refuse(error, SPAN("body"), "is empty: send a JSON object");
    struct json_tokener *parser = get_parser(request->api);
    if (!parser)
        return refuse_for_memory(error);
    json_scan_begin(&scan, body);
    errno = 0;
    enum json_error wrong = parse(parser, &scan, &request->json);
    if (errno == ENOMEM || (wrong == JSON_OK && !request->json))
        return refuse_for_memory(error);
    if (wrong != JSON_OK)
        return refuse(error, SPAN("body"), error_texts[wrong]);
    if (!array_allowed && !json_object_is_type(request->json, json_type_object))
        return refuse(error, SPAN("body"), "must be a JSON object");
    return true;
}

void json_in_free_parser(struct api *api)
{
    if (api->parser)
        json_tokener_free(api->parser);
    api->parser = NULL;
}

/* Keys are among the strings, and json-c frees them as they are. */
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
    enum { LARGE_LEN = 64 * 1024 }; /* the parser keeps as much memory as the longest text */
    wipe_strings(request->json);
    json_object_put(request->json);
    request->json = NULL;
    if (request->input.body.len > LARGE_LEN && request->api)
        json_in_free_parser(request->api);
}

/* ---- values ---- */

bool json_in_is_out_of_range(struct json_object *value)
{
    return json_object_is_type(value, json_type_double) && isinf(json_object_get_double(value));
}

const char *json_in_read_integer(struct json_object *value, int64_t *number)
{
    if (json_in_is_out_of_range(value))
        return "is a number out of range";
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

bool json_in_integer(struct json_object *object, const char *name, int64_t min, int64_t max,
                     int64_t *number, struct validation_error *error)
{
    struct json_object *member = json_object_object_get(object, name);
    if (!member)
        return true;
    const char *wrong = json_in_read_integer(member, number);
    if (!wrong && (*number < min || *number > max))
        wrong = "is out of range";
    return !wrong || refuse(error, span_of(name), wrong);
}

bool json_in_required(struct json_object *object, const char *name, int64_t min, int64_t max,
                      int64_t *number, struct validation_error *error)
{
    if (!json_object_object_get(object, name))
        return refuse(error, span_of(name), "is required");
    return json_in_integer(object, name, min, max, number, error);
}

bool json_in_text(struct json_object *object, const char *name, struct span *text,
                  struct validation_error *error)
{
    struct json_object *member = json_object_object_get(object, name);
    const char *wrong = member ? json_in_read_text(member, text) : NULL;
    return !wrong || refuse(error, span_of(name), wrong);
}

bool json_in_ids(struct request *request, size_t max, struct validation_error *error)
{
    if (!json_in_parse(request, false, error))
        return false;
    error->code = VALIDATION_IDS;
    struct json_object *list = json_object_object_get(request->json, "ids");
    size_t count = json_object_is_type(list, json_type_array) ? json_object_array_length(list) : 0;
    if (count < 1 || count > max)
        return false;
    request->ids = calloc(count, sizeof(*request->ids));
    if (!request->ids)
        return refuse_for_memory(error);
    for (size_t i = 0; i < count; i++)
        if (json_in_read_integer(json_object_array_get_idx(list, i), &request->ids[i]))
            return false;
    request->id_count = count;
    return true;
}
