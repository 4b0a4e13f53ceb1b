/* api/json_in.h against a reading of RFC 8259 that was written in another way: the same texts pass,
 * and the tree holds what the text says. */

#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <math.h>
#include <regex.h>

#include <json.h>

#include "api/json_in.h"
#include "api/json_scan.h"

/* ---- RFC 8259 in another way: a loop, a stack of brackets and what may come next ---- */

static regex_t number_form;
static struct api fuzzed_api;

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
        if (point == '\\' && (!escape(text, &point) || point == 0))
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
    if (span_starts_with(text, SPAN("\xEF\xBB\xBF")))
        text = span_from(text, 3);
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
            if (c != '"' || !string(&text, out, &len))
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

/* ---- the tree: compared with what the text says, which is JSON ---- */

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
        errno = 0;
        long long expected = strtoll(token, NULL, 10);
        int64_t read = 0;
        const char *wrong = json_in_read_integer(json, &read);
        require(wrong ? errno == ERANGE : errno == 0 && read == expected, "%s", token);
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

static void compare_object(struct span *text, struct json_object *json, char *out)
{
    size_t count = 0, len;
    require(json_object_is_type(json, json_type_object), "no object");
    *text = span_from(*text, 1);
    for (skip_blanks(text); text->at[0] != '}'; skip_blanks(text)) {
        struct json_object *value;
        string(text, out, &len);
        char *key = strndup(out, len);
        require(key && json_object_object_get_ex(json, key, &value), "no %s", key);
        free(key);
        skip_blanks(text);
        *text = span_from(*text, 1);
        compare(text, value, out);
        count++;
        skip_blanks(text);
        if (text->at[0] == ',')
            *text = span_from(*text, 1);
    }
    *text = span_from(*text, 1);
    require((size_t)json_object_object_length(json) == count, "%zu members", count);
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

/* Whether an object in the text, which is JSON, has a name twice. */
static bool has_same_names(struct span *text, char *out)
{
    char **names = NULL;
    size_t count = 0, len;
    bool same = false;
    skip_blanks(text);
    char opening = text->at[0];
    if (opening != '{' && opening != '[') {
        skip_value(text, out);
        return false;
    }
    *text = span_from(*text, 1);
    for (skip_blanks(text); !strchr("]}", text->at[0]); skip_blanks(text)) {
        if (opening == '{') {
            names = realloc(names, (count + 1) * sizeof(*names));
            string(text, out, &len);
            names[count] = strndup(out, len);
            for (size_t i = 0; i < count; i++)
                same = same || strcmp(names[i], names[count]) == 0;
            count++;
            skip_blanks(text);
            *text = span_from(*text, 1);
        }
        same = has_same_names(text, out) || same;
        skip_blanks(text);
        if (text->at[0] == ',')
            *text = span_from(*text, 1);
    }
    *text = span_from(*text, 1);
    for (size_t i = 0; i < count; i++)
        free(names[i]);
    free(names);
    return same;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span text = fuzz_copy(fuzz_input(data, size)), rest = text;
    char *out = malloc(size + 1);
    require(out, "no memory");
    struct request request = {.api = &fuzzed_api, .input.body = text};
    bool passed = json_in_parse(&request, true), expected = is_json(text, out);
    if (span_starts_with(text, SPAN("\xEF\xBB\xBF")))
        rest = span_from(text, 3);
    struct span again = rest;
    expected = expected && !has_same_names(&again, out);
    require(passed == expected, "%s", passed ? "passed" : request.invalid.text);
    require(passed ? request.json != NULL : request.invalid.text != NULL, "no text");
    if (passed)
        compare(&rest, request.json, out);
    json_in_clear(&request);
    buffer_free(&request.body); /* the text as json-c got it */
    free(out);
    fuzz_free(text);
    return 0;
}
