#include "tests/unit/unit.h"

#include <math.h>

#include "api/json.h"
#include "tests/json_c.h"
#include "tests/unit/random.h"

static struct json_fault scan(struct span text)
{
    struct json_fault fault;
    struct json_doc doc = {0};
    char *copy = heap_copy(text);
    bool passed = json_read(&doc, (struct span){copy, text.len}, &fault);
    json_free(&doc);
    assert_int_equal(passed, fault.error == JSON_OK);
    assert_true(fault.offset <= text.len);
    if (fault.key.at) /* from the copy, which is gone, to the text */
        fault.key.at = text.at + (fault.key.at - copy);
    free(copy);
    return fault;
}

static const struct span good[] = {
    SPAN("{}"),
    SPAN("[]"),
    SPAN(" \t\r\n{ \t\r\n} \t\r\n"),
    SPAN("[ ]"),
    SPAN("[[],{},[[]],{\"\":{}}]"),
    SPAN("[true,false,null]"),
    SPAN("{\"a\":1,\"a\":2}"),
    SPAN("{ \"a\" : 1 , \"b\" : [ 1 , 2 ] }"),
    SPAN("[0,-0,1,-1,10,1234567890]"),
    SPAN("[9223372036854775807,-9223372036854775808]"),
    SPAN("[0.0,-0.0,0.5,1.25,1e0,1E0,1e+5,1e-5,1.5E+10,0e0,0e5,0.0e-0]"),
    SPAN("[1e308,-1e308,1.7976931348623157e308,1e-400]"),
    SPAN("[9223372036854775808.0,1e19]"), /* a double, not an integer */
    SPAN("[\"\",\"a\",\"\xC3\xA9\xE4\xBB\xA4\xF0\x9F\x98\x80\",\"\x7F\"]"),
    SPAN("[\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"]"),
    SPAN("[\"\\u0041\\u00e9\\u4EE4\\uD83D\\uDE00\\ufFfF\"]"),
    SPAN("[\"\\ud800\\udc00\\udbff\\udfff\"]"),
    SPAN("[\"\\u0000\",\"a\\u0000b\"]"),
    SPAN("{\"\\u0001\":\"\\u0000\"}"),
    SPAN("{\"\\u4ee4\":1}"),
    SPAN("{\"a\":{\"b\":{\"c\":[1,{\"d\":null}]}}}"),
};

static void test_good(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(good); i++) {
        struct json_fault fault = scan(good[i]);
        require(fault.error == JSON_OK, "row %zu: %s: error %d at %zu", i, good[i].at,
                (int)fault.error, fault.offset);
        assert_int_equal(fault.offset, good[i].len);
    }
}

static const struct {
    struct span text;
    enum json_error error;
} bad[] = {
    /* no container */
    {SPAN(""), JSON_NOT_A_CONTAINER},
    {SPAN(" "), JSON_NOT_A_CONTAINER},
    {SPAN("1"), JSON_NOT_A_CONTAINER},
    {SPAN("\"a\""), JSON_NOT_A_CONTAINER},
    {SPAN("true"), JSON_NOT_A_CONTAINER},
    {SPAN("null"), JSON_NOT_A_CONTAINER},
    {SPAN("\0"), JSON_NOT_A_CONTAINER},
    {SPAN("\xEF\xBB\xBF{}"), JSON_NOT_A_CONTAINER}, /* a byte order mark */
    {SPAN("}"), JSON_NOT_A_CONTAINER},
    {SPAN("a=1&b=2"), JSON_NOT_A_CONTAINER},
    /* words that are none */
    {SPAN("[NaN]"), JSON_SYNTAX},
    {SPAN("[nan]"), JSON_SYNTAX},
    {SPAN("[-NaN]"), JSON_SYNTAX},
    {SPAN("[Infinity]"), JSON_SYNTAX},
    {SPAN("[-Infinity]"), JSON_SYNTAX},
    {SPAN("[inf]"), JSON_SYNTAX},
    {SPAN("[True]"), JSON_SYNTAX},
    {SPAN("[TRUE]"), JSON_SYNTAX},
    {SPAN("[nul]"), JSON_SYNTAX},
    {SPAN("[nulll]"), JSON_SYNTAX},
    {SPAN("[truefalse]"), JSON_SYNTAX},
    {SPAN("[undefined]"), JSON_SYNTAX},
    /* numbers */
    {SPAN("[01]"), JSON_SYNTAX},
    {SPAN("[-01]"), JSON_SYNTAX},
    {SPAN("[00]"), JSON_SYNTAX},
    {SPAN("[1.]"), JSON_SYNTAX},
    {SPAN("[.5]"), JSON_SYNTAX},
    {SPAN("[-.5]"), JSON_SYNTAX},
    {SPAN("[1.e5]"), JSON_SYNTAX},
    {SPAN("[1e]"), JSON_SYNTAX},
    {SPAN("[1e+]"), JSON_SYNTAX},
    {SPAN("[1e-]"), JSON_SYNTAX},
    {SPAN("[1e+-5]"), JSON_SYNTAX},
    {SPAN("[1e5.5]"), JSON_SYNTAX},
    {SPAN("[1.5.5]"), JSON_SYNTAX},
    {SPAN("[+1]"), JSON_SYNTAX},
    {SPAN("[-]"), JSON_SYNTAX},
    {SPAN("[--1]"), JSON_SYNTAX},
    {SPAN("[- 1]"), JSON_SYNTAX},
    {SPAN("[0x10]"), JSON_SYNTAX},
    {SPAN("[1_000]"), JSON_SYNTAX},
    {SPAN("[1 2]"), JSON_SYNTAX},
    {SPAN("[1a]"), JSON_SYNTAX},
    {SPAN("[1\0]"), JSON_SYNTAX},
    {SPAN("[9223372036854775808]"), JSON_NUMBER_RANGE},
    {SPAN("[-9223372036854775809]"), JSON_NUMBER_RANGE},
    {SPAN("[9999999999999999999]"), JSON_NUMBER_RANGE},
    {SPAN("[-9999999999999999999]"), JSON_NUMBER_RANGE},
    {SPAN("[10000000000000000000]"), JSON_NUMBER_RANGE},
    {SPAN("[18446744073709551616]"), JSON_NUMBER_RANGE},
    {SPAN("[100000000000000000000000000000000000000000000000000]"), JSON_NUMBER_RANGE},
    {SPAN("[1e309]"), JSON_NUMBER_RANGE},
    {SPAN("[-1e309]"), JSON_NUMBER_RANGE},
    {SPAN("[1e999]"), JSON_NUMBER_RANGE},
    {SPAN("[1.8e308]"), JSON_NUMBER_RANGE},
    {SPAN("[1e99999999999999999999]"), JSON_NUMBER_RANGE},
    /* strings */
    {SPAN("['a']"), JSON_SYNTAX},
    {SPAN("{'a':1}"), JSON_SYNTAX},
    {SPAN("{a:1}"), JSON_SYNTAX},
    {SPAN("[\"a]"), JSON_SYNTAX},
    {SPAN("[\"a\nb\"]"), JSON_SYNTAX},
    {SPAN("[\"a\tb\"]"), JSON_SYNTAX},
    {SPAN("[\"\x1F\"]"), JSON_SYNTAX},
    {SPAN("[\"a\0b\"]"), JSON_SYNTAX},
    {SPAN("{\"a\0b\":1}"), JSON_SYNTAX},
    {SPAN("[\"\\a\"]"), JSON_SYNTAX},
    {SPAN("[\"\\'\"]"), JSON_SYNTAX},
    {SPAN("[\"\\x41\"]"), JSON_SYNTAX},
    {SPAN("[\"\\U0041\"]"), JSON_SYNTAX},
    {SPAN("[\"\\\0\"]"), JSON_SYNTAX},
    {SPAN("[\"\\\n\"]"), JSON_SYNTAX},
    {SPAN("[\"\\u\"]"), JSON_SYNTAX},
    {SPAN("[\"\\u004\"]"), JSON_SYNTAX},
    {SPAN("[\"\\u00g0\"]"), JSON_SYNTAX},
    {SPAN("[\"\\u+041\"]"), JSON_SYNTAX},
    {SPAN("[\"\\u 041\"]"), JSON_SYNTAX},
    {SPAN("{\"a\\u0000\":1}"), JSON_KEY_NUL},
    {SPAN("{\"\\u0000\":1}"), JSON_KEY_NUL},
    {SPAN("[{\"x\":{\"name\\u0000x\":1}}]"), JSON_KEY_NUL},
    /* UTF-8 */
    {SPAN("[\"\x80\"]"), JSON_NOT_UTF8},
    {SPAN("[\"\xC0\x80\"]"), JSON_NOT_UTF8},
    {SPAN("[\"\xC1\xBF\"]"), JSON_NOT_UTF8},
    {SPAN("[\"\xE0\x80\xAF\"]"), JSON_NOT_UTF8},
    {SPAN("[\"\xED\xA0\x80\"]"), JSON_NOT_UTF8},
    {SPAN("[\"\xED\xA0\xBD\xED\xB8\x80\"]"), JSON_NOT_UTF8},
    {SPAN("[\"\xF4\x90\x80\x80\"]"), JSON_NOT_UTF8},
    {SPAN("[\"\xFF\"]"), JSON_NOT_UTF8},
    {SPAN("[\"\xE4\xBB\"]"), JSON_NOT_UTF8},
    {SPAN("[\"\xE4"), JSON_NOT_UTF8},
    {SPAN("{\"\xC3\":1}"), JSON_NOT_UTF8},
    {SPAN("[\xC3\xA9]"), JSON_SYNTAX},
    {SPAN("[\xC2\xA0]"), JSON_SYNTAX}, /* a blank elsewhere, not here */
    /* lone surrogates */
    {SPAN("[\"\\ud800\"]"), JSON_NOT_UTF8},
    {SPAN("[\"\\uDBFF\"]"), JSON_NOT_UTF8},
    {SPAN("[\"\\udc00\"]"), JSON_NOT_UTF8},
    {SPAN("[\"\\uDFFF\"]"), JSON_NOT_UTF8},
    {SPAN("[\"\\ud800x\"]"), JSON_NOT_UTF8},
    {SPAN("[\"\\ud800\\n\"]"), JSON_NOT_UTF8},
    {SPAN("[\"\\ud800\\u0041\"]"), JSON_NOT_UTF8},
    {SPAN("[\"\\ud800\\ud800\"]"), JSON_NOT_UTF8},
    {SPAN("[\"\\udc00\\ud800\"]"), JSON_NOT_UTF8},
    {SPAN("[\"\\udc00\\udc00\"]"), JSON_NOT_UTF8},
    {SPAN("[\"\\ud800\\udbff\"]"), JSON_NOT_UTF8},
    {SPAN("[\"\\ud800\\ue000\"]"), JSON_NOT_UTF8},
    {SPAN("[\"\\ud83d\\ude00\\ude00\"]"), JSON_NOT_UTF8},
    {SPAN("{\"\\ud800\":1}"), JSON_NOT_UTF8},
    /* form */
    {SPAN("{"), JSON_SYNTAX},
    {SPAN("["), JSON_SYNTAX},
    {SPAN("[}"), JSON_SYNTAX},
    {SPAN("{]"), JSON_SYNTAX},
    {SPAN("[1,]"), JSON_SYNTAX},
    {SPAN("[,1]"), JSON_SYNTAX},
    {SPAN("[,]"), JSON_SYNTAX},
    {SPAN("[1,,2]"), JSON_SYNTAX},
    {SPAN("{\"a\":1,}"), JSON_SYNTAX},
    {SPAN("{,\"a\":1}"), JSON_SYNTAX},
    {SPAN("{\"a\"}"), JSON_SYNTAX},
    {SPAN("{\"a\":}"), JSON_SYNTAX},
    {SPAN("{\"a\" 1}"), JSON_SYNTAX},
    {SPAN("{\"a\"=1}"), JSON_SYNTAX},
    {SPAN("{\"a\"::1}"), JSON_SYNTAX},
    {SPAN("{\"a\":1 \"b\":2}"), JSON_SYNTAX},
    {SPAN("{\"a\":1;\"b\":2}"), JSON_SYNTAX},
    {SPAN("{1:2}"), JSON_SYNTAX},
    {SPAN("{null:2}"), JSON_SYNTAX},
    {SPAN("[1\x0B,2]"), JSON_SYNTAX},
    {SPAN("[1,\x0C"
          "2]"),
     JSON_SYNTAX},
    {SPAN("[/* a */1]"), JSON_SYNTAX},
    {SPAN("[1] // a"), JSON_SYNTAX},
    {SPAN("// a\n[1]"), JSON_NOT_A_CONTAINER},
    /* text after it */
    {SPAN("{}x"), JSON_SYNTAX},
    {SPAN("{}{}"), JSON_SYNTAX},
    {SPAN("{} []"), JSON_SYNTAX},
    {SPAN("[]]"), JSON_SYNTAX},
    {SPAN("{},"), JSON_SYNTAX},
    {SPAN("{}\0"), JSON_SYNTAX},
    {SPAN("{}\0{}"), JSON_SYNTAX},
    {SPAN("{} \0 x"), JSON_SYNTAX},
    {SPAN("{\"a\":1}\0,\"b\":2}"), JSON_SYNTAX},
};

static void test_bad(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        struct json_fault fault = scan(bad[i].text);
        require(fault.error == bad[i].error, "row %zu: %s: %s", i, bad[i].text.at,
                json_error_text(fault.error));
    }
}

/* ---- numbers at the limits ---- */

static void test_integers_at_the_limits(void **state)
{
    (void)state;
    for (int negative = 0; negative < 2; negative++)
        for (unsigned rest = 0; rest < 20; rest++) { /* …5800 to …5819 */
            char text[64];
            int len = snprintf(text, sizeof(text), "[%s92233720368547758%02u]", negative ? "-" : "",
                               rest);
            struct json_fault fault = scan((struct span){text, (size_t)len});
            bool fits = rest <= (negative ? 8U : 7U);
            require(fault.error == (fits ? JSON_OK : JSON_NUMBER_RANGE), "%s", text);
        }
}

/* ---- depth ---- */

/* depth containers in each other, of arrays, of objects or of both in turn. */
static size_t write_nested(char *text, int depth, int kind)
{
    char *at = text;
    for (int i = 0; i < depth; i++) {
        bool object = kind == 1 || (kind == 2 && i % 2 == 1);
        at += sprintf(at, "%s", !object ? "[" : i + 1 < depth ? "{\"k\":" : "{");
    }
    for (int i = depth; i-- > 0;)
        *at++ = kind == 1 || (kind == 2 && i % 2 == 1) ? '}' : ']';
    return (size_t)(at - text);
}

static void test_depth(void **state)
{
    (void)state;
    char text[8192];
    for (int kind = 0; kind < 3; kind++)
        for (int depth = 1; depth <= 40; depth++) {
            size_t len = write_nested(text, depth, kind);
            struct json_fault fault = scan((struct span){text, len});
            require(fault.error == (depth <= 32 ? JSON_OK : JSON_TOO_DEEP), "%d of kind %d", depth,
                    kind);
        }
    /* side by side is not deep */
    struct span wide = SPAN("[[[]],[[]],[[]],[[]],[[]],[[]],[[]],[[]],[[]],[[]],[[]],[[]],[[]],"
                            "[[]],[[]],[[]],[[]],[[]],[[]],[[]],[[]],[[]],[[]],[[]],[[]],[[]]]");
    assert_int_equal(scan(wide).error, JSON_OK);
}

/* However deep, it takes no more stack. */
static void test_a_million_brackets(void **state)
{
    (void)state;
    enum { MANY = 1000000 };
    char *text = malloc(MANY);
    assert_non_null(text);
    memset(text, '[', MANY);
    struct json_fault fault;
    struct json_doc doc = {0};
    assert_false(json_read(&doc, (struct span){text, MANY}, &fault));
    assert_int_equal(fault.error, JSON_TOO_DEEP);
    assert_int_equal(fault.offset, 32);
    json_free(&doc);
    free(text);
}

/* ---- where it is wrong ---- */

static void test_faults(void **state)
{
    (void)state;
    static const struct {
        struct span text;
        enum json_error error;
        size_t offset;
        struct span key;
        int64_t element_index;
    } rows[] = {
        {SPAN("{\"id\":1e999}"), JSON_NUMBER_RANGE, 6, SPAN("id"), -1},
        {SPAN("{\"a\":1,\"remain_quota\":9223372036854775808}"), JSON_NUMBER_RANGE, 22,
         SPAN("remain_quota"), -1},
        {SPAN("[9223372036854775808]"), JSON_NUMBER_RANGE, 1, {NULL, 0}, 0},
        {SPAN("[{\"a\":1},{\"b\":1e999}]"), JSON_NUMBER_RANGE, 14, SPAN("b"), 1},
        {SPAN("[{\"a\":1},1e999]"), JSON_NUMBER_RANGE, 9, {NULL, 0}, 1},
        {SPAN("[[1,2,3],[1,1e999]]"), JSON_NUMBER_RANGE, 12, {NULL, 0}, 1},
        {SPAN("{\"ids\":[1,2,1e999]}"), JSON_NUMBER_RANGE, 12, SPAN("ids"), -1},
        {SPAN("[1,2 3]"), JSON_SYNTAX, 5, {NULL, 0}, 1},
        {SPAN("{} x"), JSON_SYNTAX, 3, {NULL, 0}, -1},
        {SPAN("  1"), JSON_NOT_A_CONTAINER, 2, {NULL, 0}, -1},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct json_fault fault = scan(rows[i].text);
        require(fault.error == rows[i].error, "row %zu: error", i);
        require(fault.offset == rows[i].offset, "row %zu: offset %zu", i, fault.offset);
        require(fault.element_index == rows[i].element_index, "row %zu: element", i);
        require(!fault.key.at == !rows[i].key.at && span_equal(fault.key, rows[i].key),
                "row %zu: key", i);
    }
}

static void test_error_texts(void **state)
{
    (void)state;
    for (int error = JSON_OK; error <= JSON_NO_MEMORY; error++)
        assert_true(strlen(json_error_text((enum json_error)error)) > 0);
}

/* ---- documents by the grammar ---- */

struct writer {
    struct random random;
    char text[4096];
    size_t len;
};

static void put(struct writer *writer, const char *text)
{
    size_t len = strlen(text);
    if (writer->len + len <= sizeof(writer->text) - 256) { /* room to close all */
        memcpy(writer->text + writer->len, text, len);
        writer->len += len;
    }
}

static const char *pick(struct writer *writer, const char *const *texts, size_t count)
{
    return texts[random_below(&writer->random, count)];
}

static void put_blanks(struct writer *writer)
{
    static const char *const blanks[] = {"", "", "", " ", "\n", "\t", "\r\n", "  "};
    put(writer, pick(writer, blanks, COUNT_OF(blanks)));
}

static void put_string(struct writer *writer)
{
    static const char *const parts[] = {
        "a",
        "key",
        " ",
        "/",
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "'",
        "\x7F",
        "\\\"",
        "\\\\",
        "\\/",
        "\\b",
        "\\f",
        "\\n",
        "\\r",
        "\\t",
        "\\u0041",
        "\\uD83D\\uDE00",
        "\\u00e9",
        "\\uFFFF",
        "\xC3\xA9",
        "\xE4\xBB\xA4",
        "\xF0\x9F\x98\x80",
    };
    put(writer, "\"");
    for (size_t count = random_below(&writer->random, 5); count > 0; count--)
        put(writer, pick(writer, parts, COUNT_OF(parts)));
    put(writer, "\"");
}

static void put_scalar(struct writer *writer)
{
    static const char *const scalars[] = {
        "true",
        "false",
        "null",
        "0",
        "-0",
        "7",
        "-12",
        "1.5",
        "-0.25",
        "1e3",
        "1E-3",
        "2e+2",
        "0.0",
        "10.0",
        "1e308",
        "1e-999",
        "9223372036854775807",
        "-9223372036854775808",
    };
    if (random_below(&writer->random, 3) == 0)
        put_string(writer);
    else
        put(writer, pick(writer, scalars, COUNT_OF(scalars)));
}

static void put_container(struct writer *writer, int depth)
{
    bool object = random_below(&writer->random, 2) == 0;
    size_t count = random_below(&writer->random, 4);
    put(writer, object ? "{" : "[");
    put_blanks(writer);
    for (size_t i = 0; i < count && writer->len < sizeof(writer->text) / 2; i++) {
        if (i > 0)
            put(writer, ",");
        put_blanks(writer);
        if (object) {
            put_string(writer);
            put_blanks(writer);
            put(writer, ":");
            put_blanks(writer);
        }
        if (depth < 6 && random_below(&writer->random, 3) == 0)
            put_container(writer, depth + 1);
        else
            put_scalar(writer);
        put_blanks(writer);
    }
    put(writer, object ? "}" : "]");
}

static struct span write_document(struct writer *writer)
{
    writer->len = 0;
    put_blanks(writer);
    put_container(writer, 1);
    put_blanks(writer);
    return (struct span){writer->text, writer->len};
}

static void test_documents_pass_and_their_beginnings_do_not(void **state)
{
    (void)state;
    struct writer writer = {.random = {77}};
    for (int i = 0; i < 1000; i++) {
        struct span text = write_document(&writer);
        require(scan(text).error == JSON_OK, "%.*s", (int)text.len, text.at);
        size_t end = text.len;
        while (text.at[end - 1] != '}' && text.at[end - 1] != ']')
            end--; /* blanks behind it may be missing */
        for (size_t len = 0; len < end; len++)
            require(scan((struct span){text.at, len}).error != JSON_OK, "%.*s", (int)len, text.at);
    }
}

/* ---- beside json-c ---- */

/* As the API has it parse. */
static struct json_object *parse(struct json_tokener *tokener, struct span text, bool *whole)
{
    json_tokener_reset(tokener);
    struct json_object *json = json_tokener_parse_ex(tokener, text.at, (int)text.len);
    *whole = json_tokener_get_error(tokener) == json_tokener_success;
    for (size_t i = json_tokener_get_parse_end(tokener); i < text.len; i++)
        *whole &= strchr(" \t\r\n", text.at[i]) != NULL && text.at[i] != '\0';
    return json;
}

/* What passes is read whole, means the same to both, and what json-c read is written and read
 * back alike. */
static void check_with_json_c(struct json_tokener *tokener, struct span text)
{
    bool whole;
    struct json_doc doc = {0};
    struct json_fault fault;
    struct json_object *json = parse(tokener, text, &whole);
    require(json && whole, "json-c refuses or cuts: %.*s", (int)text.len, text.at);
    char *copy = heap_copy(text);
    require(json_read(&doc, (struct span){copy, text.len}, &fault), "refused");
    if (!json_c_misreads(text))
        json_c_compare(doc.values, json);
    require(doc.count == doc.values[0].size, "%zu values", doc.count);
    json_free(&doc);
    free(copy);
    struct span again = span_of(json_object_to_json_string_ext(json, JSON_C_TO_STRING_PLAIN));
    require(scan(again).error == JSON_OK, "written back: %s", again.at);
    struct json_object *twice = parse(tokener, again, &whole);
    require(json_object_equal(json, twice), "%.*s became %s", (int)text.len, text.at, again.at);
    json_object_put(twice);
    json_object_put(json);
}

static void test_json_c_takes_what_passes(void **state)
{
    (void)state;
    struct json_tokener *tokener = json_c_new();
    for (size_t i = 0; i < COUNT_OF(good); i++)
        check_with_json_c(tokener, good[i]);
    char text[8192];
    for (int kind = 0; kind < 3; kind++)
        check_with_json_c(tokener, (struct span){text, write_nested(text, 32, kind)});
    json_tokener_free(tokener);
}

/* One to three changes: a byte replaced, put in, taken out, doubled, or a piece moved. */
static size_t mutate(struct random *random, char *text, size_t len, size_t size)
{
    static const char bytes[] =
        "{}[]\",:\\'\0u0019-+.eE tfnN/*\n\x1F\x7F\x80\xBF\xC0\xC3\xE4\xED\xA0"
        "\xF0\xFF"
        "dDcC8";
    for (size_t changes = 1 + random_below(random, 3); changes > 0 && len > 1; changes--) {
        size_t at = random_below(random, len);
        char byte = bytes[random_below(random, sizeof(bytes) - 1)];
        switch (random_below(random, 5)) {
        case 0:
            text[at] = byte;
            break;
        case 1:
            memmove(text + at, text + at + 1, len - at - 1);
            len--;
            break;
        case 2:
            if (len == size)
                break;
            memmove(text + at + 1, text + at, len - at);
            text[at] = byte;
            len++;
            break;
        case 3:
            text[at] = text[random_below(random, len)];
            break;
        default:
            len = at + 1;
            break;
        }
    }
    return len;
}

static void test_json_c_takes_what_passes_of_mutations(void **state)
{
    (void)state;
    struct json_tokener *tokener = json_c_new();
    struct writer writer = {.random = {1234}};
    char text[sizeof(writer.text)];
    size_t passed = 0, refused = 0;
    for (int i = 0; i < 60000; i++) {
        struct span document = i % 4 == 0 ? good[random_below(&writer.random, COUNT_OF(good))]
                                          : write_document(&writer);
        memcpy(text, document.at, document.len);
        size_t len = mutate(&writer.random, text, document.len, sizeof(text));
        if (scan((struct span){text, len}).error != JSON_OK) {
            refused++;
            continue;
        }
        passed++;
        check_with_json_c(tokener, (struct span){text, len});
    }
    assert_true(passed > 2000 && refused > 2000); /* or it has shown nothing */
    json_tokener_free(tokener);
}

/* Values keep a NUL, which ends no C string here. */
static void test_json_c_keeps_a_nul_in_values(void **state)
{
    (void)state;
    struct json_tokener *tokener = json_c_new();
    bool whole;
    struct json_object *json = parse(tokener, SPAN("[\"a\\u0000b\"]"), &whole);
    struct json_object *item = json_object_array_get_idx(json, 0);
    assert_int_equal(json_object_get_string_len(item), 3);
    assert_memory_equal(json_object_get_string(item), "a\0b", 3);
    json_object_put(json);
    json_tokener_free(tokener);
}

/* ---- values ---- */

/* The text has to be the caller's: values point into it. */
static const struct json_value *read_values(struct json_doc *doc, struct span text)
{
    struct json_fault fault;
    require(json_read(doc, text, &fault), "%s: %s", text.at, json_error_text(fault.error));
    return doc->values;
}

static void test_values(void **state)
{
    (void)state;
    static const struct {
        struct span text;
        enum json_kind kind;
        int64_t integer;
    } rows[] = {
        {SPAN("[0]"), JSON_INTEGER, 0},
        {SPAN("[-0]"), JSON_INTEGER, 0},
        {SPAN("[7]"), JSON_INTEGER, 7},
        {SPAN("[-12]"), JSON_INTEGER, -12},
        {SPAN("[1000000000000000000]"), JSON_INTEGER, 1000000000000000000},
        {SPAN("[9223372036854775807]"), JSON_INTEGER, INT64_MAX},
        {SPAN("[-9223372036854775808]"), JSON_INTEGER, INT64_MIN},
        {SPAN("[1.0]"), JSON_DOUBLE, 0},
        {SPAN("[1e3]"), JSON_DOUBLE, 0},
        {SPAN("[-0.0]"), JSON_DOUBLE, 0},
        {SPAN("[0e0]"), JSON_DOUBLE, 0},
        {SPAN("[null]"), JSON_NULL, 0},
    };
    struct json_doc doc = {0};
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const struct json_value *value = read_values(&doc, rows[i].text) + 1;
        require(value->kind == rows[i].kind, "row %zu: kind %d", i, (int)value->kind);
        if (value->kind == JSON_INTEGER)
            require(value->integer == rows[i].integer, "row %zu: %lld", i,
                    (long long)value->integer);
    }
    assert_true(read_values(&doc, SPAN("[true]"))[1].boolean);
    assert_false(read_values(&doc, SPAN("[false]"))[1].boolean);
    json_free(&doc);
}

/* Near the largest double, where the cheap look at the exponent has to give way to strtod. */
static void test_doubles_at_the_limit(void **state)
{
    (void)state;
    char text[800];
    for (int digits = 1; digits <= 400; digits += 3)
        for (int exponent = 300 - digits; exponent <= 312 - digits; exponent++) {
            char *end;
            int len = snprintf(text, sizeof(text), "[%0*d", digits, 0);
            memset(text + 1, '1', (size_t)digits);
            len += snprintf(text + len, sizeof(text) - (size_t)len, ".5e%d]", exponent);
            bool finite = isfinite(strtod(text + 1, &end));
            assert_ptr_equal(end, text + len - 1);
            require((scan((struct span){text, (size_t)len}).error == JSON_OK) == finite, "%s",
                    text);
        }
    for (int zeros = 0; zeros < 320; zeros++) { /* 0.00…01 with a large exponent */
        int len = snprintf(text, sizeof(text), "[0.%0*d1e%d]", zeros, 0, 309 + zeros);
        assert_int_equal(scan((struct span){text, (size_t)len}).error, JSON_OK);
        len = snprintf(text, sizeof(text), "[0.%0*d1e%d]", zeros, 0, 311 + zeros);
        assert_int_equal(scan((struct span){text, (size_t)len}).error, JSON_NUMBER_RANGE);
    }
    assert_int_equal(scan(SPAN("[0e999,0.0e99999999999,1e-99999999999]")).error, JSON_OK);
}

static void test_keys(void **state)
{
    (void)state;
    static const struct {
        struct span written, name;
        bool same;
    } rows[] = {
        {SPAN("name"), SPAN("name"), true},
        {SPAN("name"), SPAN("nam"), false},
        {SPAN("name"), SPAN("names"), false},
        {SPAN("Name"), SPAN("name"), false},
        {SPAN(""), SPAN(""), true},
        {SPAN(""), SPAN("a"), false},
        {SPAN("na\\u006de"), SPAN("name"), true},
        {SPAN("\\u006e\\u0061\\u006D\\u0065"), SPAN("name"), true},
        {SPAN("na\\u006d"), SPAN("name"), false},
        {SPAN("na\\u006des"), SPAN("name"), false},
        {SPAN("n\\u0061me\\u0020"), SPAN("name"), false},
        {SPAN("\\\\"), SPAN("\\"), true},
        {SPAN("\\\"\\/\\b\\f\\n\\r\\t"), SPAN("\"/\b\f\n\r\t"), true},
        {SPAN("\\u00e9"), SPAN("\xC3\xA9"), true},
        {SPAN("\\ud83d\\ude00!"), SPAN("\xF0\x9F\x98\x80!"), true},
        {SPAN("\\uffff"), SPAN("\xEF\xBF\xBF"), true},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char text[100];
        struct json_doc doc = {0};
        int len = snprintf(text, sizeof(text), "{\"%s\":[5]}", rows[i].written.at);
        const struct json_value *object = read_values(&doc, (struct span){text, (size_t)len});
        const struct json_value *found = json_find(object, rows[i].name);
        require((found != NULL) == rows[i].same, "row %zu", i);
        require(!found || json_first(found)->integer == 5, "row %zu", i);
        json_free(&doc);
    }
}

/* As json-c has it: of several members of one name the last counts, also where it is null. */
static void test_the_last_of_a_name_counts(void **state)
{
    (void)state;
    struct json_doc doc = {0};
    const struct json_value *object =
        read_values(&doc, SPAN("{\"a\":1,\"b\":{\"a\":9},\"\\u0061\":2,\"c\":null,\"c\":[]}"));
    assert_int_equal(object->count, 5);
    assert_int_equal(json_find(object, SPAN("a"))->integer, 2);
    assert_int_equal(json_find(object, SPAN("c"))->kind, JSON_ARRAY);
    assert_null(json_find(object, SPAN("d")));
    object = read_values(&doc, SPAN("{\"a\":1,\"a\":null}"));
    assert_int_equal(json_find(object, SPAN("a"))->kind, JSON_NULL);
    assert_null(json_find(read_values(&doc, SPAN("{}")), SPAN("a")));
    json_free(&doc);
}

static void test_texts(void **state)
{
    (void)state;
    struct json_doc doc = {0};
    char out[64];
    static const char body[] = "[\"plain\",\"a\\u0000b\",\"\",\"\\ud83d\\ude00x\\n\","
                               "\"\\ud836\\udc00\\ud877\\udfff\\udbff\\udfff\"]";
    const struct json_value *value = json_first(read_values(&doc, SPAN(body)));
    struct span text = json_text(value, NULL); /* where it stands */
    assert_ptr_equal(text.at, body + 2);
    assert_span_equal(text, SPAN("plain"));
    value = json_next(value);
    assert_span_equal(json_text(value, out), SPAN("a\0b"));
    value = json_next(value);
    text = json_text(value, NULL);
    assert_true(text.at && text.len == 0); /* empty, not absent */
    value = json_next(value);
    assert_span_equal(json_text(value, out), SPAN("\xF0\x9F\x98\x80x\n"));
    value = json_next(value); /* the first two are none to json-c 0.16 */
    assert_span_equal(json_text(value, out), SPAN("\xF0\x9D\xA0\x80"
                                                  "\xF0\xAD\xBF\xBF"
                                                  "\xF4\x8F\xBF\xBF"));
    json_free(&doc);
}

/* Each byte at each place of strings of any length: none hides among eight that are looked at
 * together. */
static void test_bytes_in_strings(void **state)
{
    (void)state;
    struct json_doc doc = {0};
    for (int len = 1; len <= 19; len++)
        for (int at = 0; at < len; at++)
            for (int byte = 0; byte < 256; byte++) {
                char text[32];
                struct json_fault fault;
                int size = snprintf(text, sizeof(text), "[\"%.*s\"]", len, "abcdefghijklmnopqrstu");
                text[2 + at] = (char)byte;
                bool plain = byte >= ' ' && byte < 0x80 && byte != '"' && byte != '\\';
                bool passed = json_read(&doc, (struct span){text, (size_t)size}, &fault);
                bool escape = byte == '\\' && at + 1 < len && strchr("bfnrt", 'b' + at);
                require(passed == plain || (escape && passed), "byte %d at %d of %d", byte, at,
                        len);
                require(passed || byte == '\\' ||
                            fault.offset == (size_t)at + (byte == '"' ? 3 : 2),
                        "offset %zu", fault.offset);
            }
    json_free(&doc);
}

static void test_memory_is_used_again(void **state)
{
    (void)state;
    struct json_doc doc = {0};
    read_values(&doc, SPAN("[1,2,3]"));
    const struct json_value *values = doc.values;
    assert_int_equal(doc.count, 4);
    json_clear(&doc);
    assert_int_equal(doc.count, 0);
    assert_ptr_equal(read_values(&doc, SPAN("{\"a\":1}")), values);
    enum { MANY = 100000 };
    char *text = malloc(2 * MANY + 1);
    assert_non_null(text);
    for (size_t i = 0; i < MANY; i++) {
        text[2 * i] = i == 0 ? '[' : ',';
        text[2 * i + 1] = '1';
    }
    text[2 * MANY] = ']';
    read_values(&doc, (struct span){text, 2 * MANY + 1});
    assert_int_equal(doc.values[0].count, MANY);
    json_clear(&doc);
    assert_null(doc.values); /* what is large is given back */
    free(text);
    json_free(&doc);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_bad),
        cmocka_unit_test(test_integers_at_the_limits),
        cmocka_unit_test(test_depth),
        cmocka_unit_test(test_a_million_brackets),
        cmocka_unit_test(test_faults),
        cmocka_unit_test(test_error_texts),
        cmocka_unit_test(test_documents_pass_and_their_beginnings_do_not),
        cmocka_unit_test(test_json_c_takes_what_passes),
        cmocka_unit_test(test_json_c_takes_what_passes_of_mutations),
        cmocka_unit_test(test_json_c_keeps_a_nul_in_values),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_doubles_at_the_limit),
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_the_last_of_a_name_counts),
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_bytes_in_strings),
        cmocka_unit_test(test_memory_is_used_again),
    };
    return cmocka_run_group_tests_name("json", tests, NULL, NULL);
}
