/* api/json.h against a reading of RFC 8259 that was written in another way, and against
 * json-c: what passes means to json-c what it says. */

#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <math.h>
#include <regex.h>

#include "tests/json_c.h"

/* ---- RFC 8259 in another way: a loop, a stack of brackets and what may come next ---- */

static regex_t number_form;

/* NOLINTNEXTLINE(readability-non-const-parameter): libFuzzer's */
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    return regcomp(&number_form, "^-?(0|[1-9][0-9]*)(\\.[0-9]+)?([eE][-+]?[0-9]+)?$",
                   REG_EXTENDED | REG_NOSUB);
}

static size_t put_code_point(uint32_t point, char *out)
{
    if (point < 0x80) {
        out[0] = (char)point;
        return 1;
    }
    size_t len = point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
    for (size_t i = len; i-- > 1; point >>= 6)
        out[i] = (char)(0x80 | (point & 0x3F));
    out[0] = (char)(point | (0xF00u >> len & 0xFF));
    return len;
}

static bool four_digits(struct span *text, uint32_t *unit)
{
    char digits[5] = "";
    if (text->len < 4)
        return false;
    memcpy(digits, text->at, 4);
    *text = span_from(*text, 4);
    *unit = (uint32_t)strtoul(digits, NULL, 16);
    return strspn(digits, "0123456789abcdefABCDEF") == 4;
}

/* After the backslash. */
static bool escape(struct span *text, uint32_t *point)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    uint32_t low;
    if (text->len == 0)
        return false;
    char c = text->at[0];
    *text = span_from(*text, 1);
    if (c != 'u') {
        const char *found = c ? strchr(from, c) : NULL;
        *point = found ? (unsigned char)to[found - from] : 0;
        return found;
    }
    if (!four_digits(text, point))
        return false;
    if ((*point & 0xFC00) == 0xDC00)
        return false;
    if ((*point & 0xFC00) != 0xD800)
        return true;
    if (!span_starts_with(*text, SPAN("\\u")))
        return false;
    *text = span_from(*text, 2);
    if (!four_digits(text, &low) || (low & 0xFC00) != 0xDC00)
        return false;
    *point = 0x10000 + ((*point & 0x3FF) << 10) + (low & 0x3FF);
    return true;
}

/* Takes a string, from its quote on, off the front and writes what it says to out, which has
 * room for as many bytes as it has. */
static bool string(struct span *text, char *out, size_t *out_len)
{
    *out_len = 0;
    *text = span_from(*text, 1);
    while (text->len > 0 && text->at[0] != '"') {
        uint32_t point = 0;
        size_t len = fuzz_code_point(*text, &point);
        if (len == 0 || point < ' ')
            return false;
        *text = span_from(*text, len);
        if (point == '\\' && !escape(text, &point))
            return false;
        *out_len += put_code_point(point, out + *out_len);
    }
    if (text->len == 0)
        return false;
    *text = span_from(*text, 1);
    return true;
}

static char *number_token(struct span *text)
{
    size_t len = 0;
    while (len < text->len && text->at[len] && strchr("+-.0123456789eE", text->at[len]))
        len++;
    char *token = strndup(text->at, len);
    require(token, "no memory");
    *text = span_from(*text, len);
    return token;
}

static bool is_integer(const char *token)
{
    return !strpbrk(token, ".eE");
}

static bool number(struct span *text)
{
    char *token = number_token(text);
    bool good = regexec(&number_form, token, 0, NULL, 0) == 0;
    errno = 0;
    if (good && is_integer(token))
        good = strtoll(token, NULL, 10) != INT64_MAX || errno == 0;
    else if (good)
        good = isfinite(strtod(token, NULL));
    good = good && !(is_integer(token) && errno == ERANGE);
    free(token);
    return good;
}

static void skip_blanks(struct span *text)
{
    while (text->len > 0 && text->at[0] && strchr(" \t\r\n", text->at[0]))
        *text = span_from(*text, 1);
}

static bool word(struct span *text)
{
    static const char *const words[] = {"true", "false", "null"};
    for (size_t i = 0; i < COUNT_OF(words); i++)
        if (span_starts_with(*text, span_of(words[i]))) {
            *text = span_from(*text, strlen(words[i]));
            return true;
        }
    return false;
}

enum next { VALUE, VALUE_OR_END, KEY, KEY_OR_END, COLON, COMMA_OR_END };

static bool is_json(struct span text, char *out)
{
    char stack[JSON_DEPTH_MAX];
    size_t depth = 0, len;
    enum next next = VALUE;
    skip_blanks(&text);
    if (text.len == 0 || !strchr("[{", text.at[0]))
        return false;
    for (;; skip_blanks(&text)) {
        char c = '\0';
        if (text.len > 0)
            c = text.at[0];
        if (depth == 0 && next == COMMA_OR_END)
            return text.len == 0;
        if ((c == ']' || c == '}') && next != VALUE && next != KEY && next != COLON) {
            if (stack[--depth] != c)
                return false;
            text = span_from(text, 1);
            next = COMMA_OR_END;
        } else if (next == COMMA_OR_END || next == COLON) {
            if (c != (next == COLON ? ':' : ','))
                return false;
            text = span_from(text, 1);
            next = next == COMMA_OR_END && stack[depth - 1] == '}' ? KEY : VALUE;
        } else if (next == KEY || next == KEY_OR_END) {
            if (c != '"' || !string(&text, out, &len) || memchr(out, '\0', len))
                return false;
            next = COLON;
        } else if (c == '[' || c == '{') {
            if (depth == JSON_DEPTH_MAX)
                return false;
            stack[depth++] = "]}"[c == '{'];
            text = span_from(text, 1);
            next = c == '[' ? VALUE_OR_END : KEY_OR_END;
        } else {
            if (c == '"' ? !string(&text, out, &len) : !word(&text) && !number(&text))
                return false;
            next = COMMA_OR_END;
        }
    }
}

/* ---- json-c: compared with what the text says, which is JSON ---- */

static void skip_value(struct span *text, char *out)
{
    size_t depth = 0, len;
    do {
        skip_blanks(text);
        char c = text->at[0];
        if (c == '"')
            string(text, out, &len);
        else if (strchr("[]{},:", c))
            *text = span_from(*text, 1);
        else if (!word(text))
            free(number_token(text));
        depth += c == '[' || c == '{';
        depth -= c == ']' || c == '}';
    } while (depth > 0);
}

static void compare(struct span *text, struct json_object *json, char *out);

static void compare_number(struct span *text, struct json_object *json)
{
    char *token = number_token(text);
    if (is_integer(token)) {
        require(json_object_is_type(json, json_type_int), "%s is no integer", token);
        require(json_object_get_int64(json) == strtoll(token, NULL, 10), "%s", token);
    } else {
        require(json_object_is_type(json, json_type_double), "%s is no double", token);
        require(json_object_get_double(json) == strtod(token, NULL), "%s", token);
    }
    free(token);
}

static void compare_array(struct span *text, struct json_object *json, char *out)
{
    size_t count = 0;
    require(json_object_is_type(json, json_type_array), "no array");
    *text = span_from(*text, 1);
    for (skip_blanks(text); text->at[0] != ']'; skip_blanks(text)) {
        require(count < json_object_array_length(json), "json-c has %zu elements", count);
        compare(text, json_object_array_get_idx(json, count++), out);
        skip_blanks(text);
        if (text->at[0] == ',')
            *text = span_from(*text, 1);
    }
    *text = span_from(*text, 1);
    require(count == json_object_array_length(json), "json-c has more than %zu elements", count);
}

/* The value of a key that comes several times is the last one's. */
static void compare_object(struct span *text, struct json_object *json, char *out)
{
    struct member {
        char *key;
        struct span value;
    } *members = NULL;
    size_t count = 0, unique = 0, len;
    require(json_object_is_type(json, json_type_object), "no object");
    *text = span_from(*text, 1);
    for (skip_blanks(text); text->at[0] != '}'; skip_blanks(text)) {
        members = realloc(members, (count + 1) * sizeof(*members));
        require(members, "no memory");
        string(text, out, &len);
        members[count].key = strndup(out, len);
        skip_blanks(text);
        *text = span_from(*text, 1);
        members[count++].value = *text;
        skip_value(text, out);
        skip_blanks(text);
        if (text->at[0] == ',')
            *text = span_from(*text, 1);
    }
    *text = span_from(*text, 1);
    for (size_t i = 0; i < count; i++) {
        struct json_object *value;
        bool last = true;
        for (size_t j = i + 1; j < count && last; j++)
            last = strcmp(members[i].key, members[j].key) != 0;
        if (last) {
            unique++;
            require(json_object_object_get_ex(json, members[i].key, &value), "no %s",
                    members[i].key);
            compare(&members[i].value, value, out);
        }
    }
    require((size_t)json_object_object_length(json) == unique, "%zu members", unique);
    for (size_t i = 0; i < count; i++)
        free(members[i].key);
    free(members);
}

static void compare(struct span *text, struct json_object *json, char *out)
{
    size_t len;
    skip_blanks(text);
    switch (text->at[0]) {
    case '{':
        compare_object(text, json, out);
        return;
    case '[':
        compare_array(text, json, out);
        return;
    case '"':
        string(text, out, &len);
        require(json_object_is_type(json, json_type_string), "no string");
        require(span_equal((struct span){out, len},
                           (struct span){json_object_get_string(json),
                                         (size_t)json_object_get_string_len(json)}),
                "another string");
        return;
    case 't':
    case 'f':
        require(json_object_is_type(json, json_type_boolean), "no boolean");
        require(json_object_get_boolean(json) == (text->at[0] == 't'), "another boolean");
        word(text);
        return;
    case 'n':
        require(!json, "not null");
        word(text);
        return;
    default:
        compare_number(text, json);
    }
}

/* json-c as strict as it gets. */
static void compare_with_json_c(const struct json_value *value, struct span text, char *out)
{
    struct json_tokener *tokener = json_c_new();
    struct json_object *json = json_tokener_parse_ex(tokener, text.at, (int)text.len);
    require(json, "json-c: %s", json_tokener_error_desc(json_tokener_get_error(tokener)));
    size_t used = json_tokener_get_parse_end(tokener);
    for (size_t i = used; i < text.len; i++)
        require(text.at[i] && strchr(" \t\r\n", text.at[i]), "json-c stopped at %zu", used);
    compare(&text, json, out);
    json_c_compare(value, json);
    json_object_put(json);
    json_tokener_free(tokener);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct json_fault fault;
    struct json_doc doc = {0};
    struct span text = fuzz_copy(fuzz_input(data, size));
    char *out = malloc(size + 1);
    require(out, "no memory");
    bool passed = json_read(&doc, text, &fault);
    require(passed == (fault.error == JSON_OK), "error %d", (int)fault.error);
    require(fault.offset <= size && (!passed || fault.offset == size), "offset %zu", fault.offset);
    require(!fault.key.at ||
                (fault.key.at > text.at && fault.key.at + fault.key.len < text.at + size),
            "the key is elsewhere");
    require(json_error_text(fault.error)[0], "no text");
    require(passed == is_json(text, out), "error %d at %zu", (int)fault.error, fault.offset);
    if (passed && !json_c_misreads(text))
        compare_with_json_c(doc.values, text, out);
    json_free(&doc);
    free(out);
    fuzz_free(text);
    return 0;
}
