#ifndef TESTS_JSON_C_H
#define TESTS_JSON_C_H

/* api/json.h beside json-c: what passes the one means the same to the other. To be included after
 * unit.h or fuzz.h, whose require it uses. */

#include <json.h>

#include "api/json.h"

static inline struct json_tokener *json_c_new(void)
{
    struct json_tokener *tokener = json_tokener_new_ex(JSON_DEPTH_MAX + 1);
    require(tokener, "no memory");
    json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
    return tokener;
}

static inline uint32_t json_c_hex4(const char *digits)
{
    char copy[5] = {digits[0], digits[1], digits[2], digits[3], '\0'};
    return (uint32_t)strtoul(copy, NULL, 16);
}

/* Whether JSON text has an escaped pair of surrogates that json-c 0.16 makes U+FFFD of: it takes
 * what they say for a surrogate again where the lower 16 bits look like one, as U+1D800's do. */
static inline bool json_c_misreads(struct span text)
{
    for (size_t i = 0; i + 12 <= text.len; i++) {
        if (text.at[i] != '\\')
            continue;
        if (text.at[++i] != 'u')
            continue;
        uint32_t high = json_c_hex4(text.at + i + 1);
        i += 4;
        if ((high & 0xFC00) != 0xD800)
            continue;
        uint32_t low = json_c_hex4(text.at + i + 3);
        i += 6;
        if (((((high & 0x3FF) << 10) + (low & 0x3FF)) & 0xF800) == 0xD800)
            return true;
    }
    return false;
}

static inline void json_c_compare(const struct json_value *value, struct json_object *json);

static inline void json_c_compare_text(const struct json_value *value, struct json_object *json)
{
    char *out = malloc(value->text.len + 1);
    require(out, "no memory");
    struct span text = json_text(value, out);
    require(json_object_is_type(json, json_type_string), "no string");
    require(value->has_escapes ==
                (memchr(value->text.at ? value->text.at : "", '\\', value->text.len) != NULL),
            "has_escapes");
    require(span_equal(text, (struct span){json_object_get_string(json),
                                           (size_t)json_object_get_string_len(json)}),
            "\"%.*s\" is another string", (int)text.len, text.at);
    free(out);
}

static inline void json_c_compare_array(const struct json_value *value, struct json_object *json)
{
    const struct json_value *element = json_first(value);
    require(json_object_is_type(json, json_type_array), "no array");
    require(value->count == json_object_array_length(json), "%zu elements", value->count);
    for (size_t i = 0; i < value->count; i++, element = json_next(element)) {
        require(!element->key.at, "an element has a key");
        json_c_compare(element, json_object_array_get_idx(json, i));
    }
    require(element == json_next(value), "size %zu", value->size);
}

/* Each member is found by its key, and so is the last of several that have the same. */
static inline void json_c_compare_object(const struct json_value *value, struct json_object *json)
{
    const struct json_value *member = json_first(value);
    size_t unique = 0;
    require(json_object_is_type(json, json_type_object), "no object");
    for (size_t i = 0; i < value->count; i++, member = json_next(member)) {
        struct json_value key = {.has_escapes = member->key_has_escapes, .text = member->key};
        struct json_object *other;
        char *out = calloc(1, member->key.len + 1);
        require(out, "no memory");
        struct span name = json_text(&key, out);
        memmove(out, name.at, name.len);
        const struct json_value *found = json_find(value, (struct span){out, name.len});
        require(found >= member && json_key_is(member, (struct span){out, name.len}), "%s", out);
        require(!json_key_is(member, (struct span){out, name.len + 1}), "%s and a NUL", out);
        require(name.len == 0 || !json_key_is(member, (struct span){out, name.len - 1}),
                "the beginning of %s", out);
        require(json_object_object_get_ex(json, out, &other), "no %s", out);
        if (found == member) {
            unique++;
            json_c_compare(member, other);
        }
        free(out);
    }
    require(member == json_next(value), "size %zu", value->size);
    require((size_t)json_object_object_length(json) == unique, "%zu members", unique);
}

static inline void json_c_compare(const struct json_value *value, struct json_object *json)
{
    switch (value->kind) {
    case JSON_NULL:
        require(!json, "not null");
        break;
    case JSON_BOOLEAN:
        require(json_object_is_type(json, json_type_boolean), "no boolean");
        require(json_object_get_boolean(json) == value->boolean, "another boolean");
        break;
    case JSON_INTEGER:
        require(json_object_is_type(json, json_type_int), "no integer");
        require(json_object_get_int64(json) == value->integer, "%lld", (long long)value->integer);
        break;
    case JSON_DOUBLE:
        require(json_object_is_type(json, json_type_double), "no double");
        break;
    case JSON_STRING:
        json_c_compare_text(value, json);
        break;
    case JSON_ARRAY:
        json_c_compare_array(value, json);
        return;
    case JSON_OBJECT:
        json_c_compare_object(value, json);
        return;
    }
    require(value->size == 1, "size %zu", value->size);
}

#endif
