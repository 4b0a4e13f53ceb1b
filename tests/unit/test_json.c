#include "tests/unit/unit.h"

#include <json.h>

#include "api/json_in.h"
#include "api/json_scan.h"
#include "tests/unit/random.h"

static const char not_a_container[] = "must be a JSON object or array";
static const char syntax[] = "is not valid JSON";
static const char too_deep[] = "is nested deeper than 32 levels";
static const char not_utf8[] = "is not valid UTF-8";
static const char has_nul[] = "has a NUL character (\\u0000)";
static const char same_name[] = "has the same name twice in an object";

static struct api api;
static struct request request;
static char *body; /* on the heap, exactly as long as the text */

static void clear(void)
{
    json_in_clear(&request);
    free(body);
    body = NULL;
}

/* Parses a text into request.json, which lives until the next one. Returns what is wrong, or NULL.
 */
static const char *parse(struct span text)
{
    clear();
    body = heap_copy(text);
    request.api = &api;
    request.input.body = (struct span){body, text.len};
    bool passed = json_in_parse(&request, true);
    assert_true(!passed || request.json);
    assert_int_equal(request.invalid.index, -1);
    if (passed)
        return NULL;
    assert_int_equal(request.invalid.code, VALIDATION_INVALID);
    assert_span_equal(request.invalid.field, SPAN("body"));
    return request.invalid.text;
}

/* The tree as json-c writes it. */
static const char *written(void)
{
    return json_object_to_json_string_ext(request.json,
                                          JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
}

static const struct span good[] = {
    SPAN("{}"),
    SPAN("[]"),
    SPAN(" \t\r\n{ \t\r\n} \t\r\n"),
    SPAN("[ ]"),
    SPAN("[[],{},[[]],{\"\":{}}]"),
    SPAN("[true,false,null]"),
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
    SPAN("{\"\\u0001\":\"\\u0001\"}"),
    SPAN("{\"\\u4ee4\":1}"),
    SPAN("{\"a\":{\"b\":{\"c\":[1,{\"d\":null}]}}}"),
};

static void test_good(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(good); i++) {
        const char *wrong = parse(good[i]);
        require(!wrong, "row %zu: %s: %s", i, good[i].at, wrong);
    }
}

static const struct {
    struct span text;
    const char *refusal;
} bad[] = {
    /* no container */
    {SPAN(""), "is empty: send a JSON object"},
    {SPAN("\xEF\xBB\xBF"), not_a_container},
    {SPAN(" \xEF\xBB\xBF{}"), not_a_container},
    {SPAN("\xEF\xBB{}"), not_a_container},
    {SPAN(" "), not_a_container},
    {SPAN("1"), not_a_container},
    {SPAN("\"a\""), not_a_container},
    {SPAN("true"), not_a_container},
    {SPAN("null"), not_a_container},
    {SPAN("\0"), not_a_container},
    {SPAN("}"), not_a_container},
    {SPAN("a=1&b=2"), not_a_container},
    /* words that are none */
    {SPAN("[NaN]"), syntax},
    {SPAN("[nan]"), syntax},
    {SPAN("[-NaN]"), syntax},
    {SPAN("[Infinity]"), syntax},
    {SPAN("[-Infinity]"), syntax},
    {SPAN("[inf]"), syntax},
    {SPAN("[True]"), syntax},
    {SPAN("[TRUE]"), syntax},
    {SPAN("[nul]"), syntax},
    {SPAN("[nulll]"), syntax},
    {SPAN("[truefalse]"), syntax},
    {SPAN("[undefined]"), syntax},
    /* numbers */
    {SPAN("[01]"), syntax},
    {SPAN("[-01]"), syntax},
    {SPAN("[00]"), syntax},
    {SPAN("[1.]"), syntax},
    {SPAN("[.5]"), syntax},
    {SPAN("[-.5]"), syntax},
    {SPAN("[1.e5]"), syntax},
    {SPAN("[1e]"), syntax},
    {SPAN("[1e+]"), syntax},
    {SPAN("[1e-]"), syntax},
    {SPAN("[1e+-5]"), syntax},
    {SPAN("[1e5.5]"), syntax},
    {SPAN("[1.5.5]"), syntax},
    {SPAN("[+1]"), syntax},
    {SPAN("[-]"), syntax},
    {SPAN("[--1]"), syntax},
    {SPAN("[- 1]"), syntax},
    {SPAN("[0x10]"), syntax},
    {SPAN("[1_000]"), syntax},
    {SPAN("[1 2]"), syntax},
    {SPAN("[1a]"), syntax},
    {SPAN("[1\0]"), syntax},
    /* strings */
    {SPAN("['a']"), syntax},
    {SPAN("{'a':1}"), syntax},
    {SPAN("{a:1}"), syntax},
    {SPAN("[\"a]"), syntax},
    {SPAN("[\"a\nb\"]"), syntax},
    {SPAN("[\"a\tb\"]"), syntax},
    {SPAN("[\"\x1F\"]"), syntax},
    {SPAN("[\"a\0b\"]"), syntax},
    {SPAN("{\"a\0b\":1}"), syntax},
    {SPAN("[\"\\a\"]"), syntax},
    {SPAN("[\"\\'\"]"), syntax},
    {SPAN("[\"\\x41\"]"), syntax},
    {SPAN("[\"\\U0041\"]"), syntax},
    {SPAN("[\"\\\0\"]"), syntax},
    {SPAN("[\"\\\n\"]"), syntax},
    {SPAN("[\"\\u\"]"), syntax},
    {SPAN("[\"\\u004\"]"), syntax},
    {SPAN("[\"\\u00g0\"]"), syntax},
    {SPAN("[\"\\u+041\"]"), syntax},
    {SPAN("[\"\\u 041\"]"), syntax},
    {SPAN("[\"\\u0000\"]"), has_nul},
    {SPAN("{\"a\\u0000\":1}"), has_nul},
    {SPAN("{\"\\u0000\":1}"), has_nul},
    {SPAN("[{\"x\":{\"name\\u0000x\":1}}]"), has_nul},
    /* UTF-8 */
    {SPAN("[\"\x80\"]"), not_utf8},
    {SPAN("[\"\xC0\x80\"]"), not_utf8},
    {SPAN("[\"\xC1\xBF\"]"), not_utf8},
    {SPAN("[\"\xE0\x80\xAF\"]"), not_utf8},
    {SPAN("[\"\xED\xA0\x80\"]"), not_utf8},
    {SPAN("[\"\xED\xA0\xBD\xED\xB8\x80\"]"), not_utf8},
    {SPAN("[\"\xF4\x90\x80\x80\"]"), not_utf8},
    {SPAN("[\"\xFF\"]"), not_utf8},
    {SPAN("[\"\xE4\xBB\"]"), not_utf8},
    {SPAN("[\"\xE4"), not_utf8},
    {SPAN("{\"\xC3\":1}"), not_utf8},
    {SPAN("[\xC3\xA9]"), syntax},
    {SPAN("[\xC2\xA0]"), syntax}, /* a blank elsewhere, not here */
    /* lone surrogates */
    {SPAN("[\"\\ud800\"]"), not_utf8},
    {SPAN("[\"\\uDBFF\"]"), not_utf8},
    {SPAN("[\"\\udc00\"]"), not_utf8},
    {SPAN("[\"\\uDFFF\"]"), not_utf8},
    {SPAN("[\"\\ud800x\"]"), not_utf8},
    {SPAN("[\"\\ud800\\n\"]"), not_utf8},
    {SPAN("[\"\\ud800\\u0041\"]"), not_utf8},
    {SPAN("[\"\\ud800\\ud800\"]"), not_utf8},
    {SPAN("[\"\\udc00\\ud800\"]"), not_utf8},
    {SPAN("[\"\\udc00\\udc00\"]"), not_utf8},
    {SPAN("[\"\\ud800\\udbff\"]"), not_utf8},
    {SPAN("[\"\\ud800\\ue000\"]"), not_utf8},
    {SPAN("[\"\\ud83d\\ude00\\ude00\"]"), not_utf8},
    {SPAN("{\"\\ud800\":1}"), not_utf8},
    /* form */
    {SPAN("{"), syntax},
    {SPAN("["), syntax},
    {SPAN("[}"), syntax},
    {SPAN("{]"), syntax},
    {SPAN("[1,]"), syntax},
    {SPAN("[,1]"), syntax},
    {SPAN("[,]"), syntax},
    {SPAN("[1,,2]"), syntax},
    {SPAN("{\"a\":1,}"), syntax},
    {SPAN("{,\"a\":1}"), syntax},
    {SPAN("{\"a\"}"), syntax},
    {SPAN("{\"a\":}"), syntax},
    {SPAN("{\"a\" 1}"), syntax},
    {SPAN("{\"a\"=1}"), syntax},
    {SPAN("{\"a\"::1}"), syntax},
    {SPAN("{\"a\":1 \"b\":2}"), syntax},
    {SPAN("{\"a\":1;\"b\":2}"), syntax},
    {SPAN("{1:2}"), syntax},
    {SPAN("{null:2}"), syntax},
    {SPAN("[1\x0B,2]"), syntax},
    {SPAN("[1,\x0C"
          "2]"),
     syntax},
    {SPAN("[/* a */1]"), syntax},
    {SPAN("[1] // a"), syntax},
    {SPAN("// a\n[1]"), not_a_container},
    /* text after it */
    {SPAN("{}x"), syntax},
    {SPAN("{}{}"), syntax},
    {SPAN("{} []"), syntax},
    {SPAN("[]]"), syntax},
    {SPAN("{},"), syntax},
    {SPAN("{}\0"), syntax},
    {SPAN("{}\0{}"), syntax},
    {SPAN("{} \0 x"), syntax},
    {SPAN("{\"a\":1}\0,\"b\":2}"), syntax},
};

static void test_bad(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        const char *wrong = parse(bad[i].text);
        require(wrong && strcmp(wrong, bad[i].refusal) == 0, "row %zu: %s: %s", i, bad[i].text.at,
                wrong);
    }
}

/* ---- what the values are ---- */

static void test_trees(void **state)
{
    (void)state;
    static const struct {
        struct span text;
        const char *tree;
    } rows[] = {
        {SPAN(" { \"a\" : [ 1 , -2, true,false , null ] } "), "{\"a\":[1,-2,true,false,null]}"},
        {SPAN("\xEF\xBB\xBF{\"a\":{}}"), "{\"a\":{}}"}, /* a byte order mark */
        {SPAN("{\"\":1,\" \":[[]]}"), "{\"\":1,\" \":[[]]}"},
        {SPAN("{\"n\\u0061me\":\"\\u0062\"}"), "{\"name\":\"b\"}"},
        {SPAN("[\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"]"), "[\"\\\"\\\\/\\b\\f\\n\\r\\t\"]"},
        {SPAN("[\"\\u00E9\\u4ee4\\uFFFF\"]"), "[\"\xC3\xA9\xE4\xBB\xA4\xEF\xBF\xBF\"]"},
        {SPAN("[\"a\\uD83D\\uDE00b\",\"\\udbff\\udfff\\ud800\\udc00\"]"),
         "[\"a\xF0\x9F\x98\x80"
         "b\",\"\xF4\x8F\xBF\xBF\xF0\x90\x80\x80\"]"},
        /* json-c by itself makes U+FFFD of these: their low 16 bits look like a surrogate */
        {SPAN("{\"\\ud836\\udc00\":\"\\ud877\\udfff\"}"),
         "{\"\xF0\x9D\xA0\x80\":\"\xF0\xAD\xBF\xBF\"}"},
        {SPAN("[9223372036854775807,-9223372036854775808,0,-0]"),
         "[9223372036854775807,-9223372036854775808,0,0]"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const char *wrong = parse(rows[i].text);
        require(!wrong, "row %zu: %s", i, wrong);
        require(strcmp(written(), rows[i].tree) == 0, "row %zu: %s", i, written());
    }
}

/* Each pair of surrogates, in a name and in a value. */
static void test_pairs(void **state)
{
    (void)state;
    for (unsigned point = 0x10000; point <= 0x10FFFF; point += 61) {
        char text[64], expected[64];
        unsigned high = 0xD800 + ((point - 0x10000) >> 10), low = 0xDC00 + (point & 0x3FF);
        const char utf8[] = {(char)(0xF0 | point >> 18), (char)(0x80 | (point >> 12 & 0x3F)),
                             (char)(0x80 | (point >> 6 & 0x3F)), (char)(0x80 | (point & 0x3F)), 0};
        int len = snprintf(text, sizeof(text), "{\"\\u%04x\\u%04X\":\"x\\u%04X\\u%04xy\"}", high,
                           low, high, low);
        snprintf(expected, sizeof(expected), "{\"%s\":\"x%sy\"}", utf8, utf8);
        require(!parse((struct span){text, (size_t)len}) && strcmp(written(), expected) == 0,
                "U+%X", point);
    }
}

/* A name that comes again in the same object, however it is written; not in another object. */
static void test_same_names(void **state)
{
    (void)state;
    static const struct span same[] = {
        SPAN("{\"a\":1,\"a\":1}"),
        SPAN("{\"a\":1,\"b\":2,\"a\":null}"),
        SPAN("{\"a\":null,\"a\":null}"),
        SPAN("{\"a\":1,\"\\u0061\":2}"),
        SPAN("{\"\":1,\"\":2}"),
        SPAN("[[{\"x\":{\"a\":[],\"a\":{}}}]]"),
        SPAN("{\"\\ud836\\udc00\":1,\"\xF0\x9D\xA0\x80\":1}"),
    };
    static const struct span other[] = {
        SPAN("{\"a\":{\"a\":[{\"a\":1},{\"a\":1}]}}"),
        SPAN("{\"a\":1,\"A\":1,\"a \":1,\"aa\":1}"),
        SPAN("[{\"a\":1},{\"a\":1}]"),
    };
    for (size_t i = 0; i < COUNT_OF(same); i++) {
        const char *wrong = parse(same[i]);
        require(wrong && strcmp(wrong, same_name) == 0, "row %zu: %s", i, wrong);
    }
    for (size_t i = 0; i < COUNT_OF(other); i++)
        require(!parse(other[i]), "row %zu", i);
}

/* ---- members ---- */

static const char out_of_range[] = "is a number out of range";

static void test_integers(void **state)
{
    (void)state;
    static const struct {
        const char *value;
        const char *refusal; /* NULL: read */
        int64_t number;
    } rows[] = {
        {"0", NULL, 0},
        {"-0", NULL, 0},
        {"-12", NULL, -12},
        {"null", NULL, 77}, /* stays */
        {"9223372036854775807", NULL, INT64_MAX},
        {"-9223372036854775808", NULL, INT64_MIN},
        {"9223372036854775808", out_of_range, 0},
        {"-9223372036854775809", out_of_range, 0},
        {"18446744073709551615", out_of_range, 0},
        {"18446744073709551616", out_of_range, 0},
        {"100000000000000000000000000000000000000", out_of_range, 0},
        {"-100000000000000000000000000000000000000", out_of_range, 0},
        {"1e999", out_of_range, 0},
        {"-1e999", out_of_range, 0},
        {"1.0", "must be an integer", 0},
        {"1e3", "must be an integer", 0},
        {"-0.0", "must be an integer", 0},
        {"1e308", "must be an integer", 0},
        {"\"1\"", "must be an integer", 0},
        {"true", "must be an integer", 0},
        {"[]", "must be an integer", 0},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char text[100];
        int64_t number = 77;
        int len =
            snprintf(text, sizeof(text), "{\"other\":%s,\"n\":%s}", rows[i].value, rows[i].value);
        require(!parse((struct span){text, (size_t)len}), "row %zu is refused", i);
        bool passed = json_in_integer(&request, "n", INT64_MIN, INT64_MAX, &number);
        require(passed == !rows[i].refusal, "row %zu", i);
        if (passed) {
            require(number == rows[i].number, "row %zu: %lld", i, (long long)number);
            continue;
        }
        assert_span_equal(span_of(request.invalid.text), span_of(rows[i].refusal));
        assert_span_equal(request.invalid.field, SPAN("n"));
    }
}

static void test_members(void **state)
{
    (void)state;
    int64_t number = 5;
    struct span text = SPAN("before");
    assert_null(parse(SPAN("{\"n\":7,\"t\":\"a\\nb\",\"e\":\"\",\"z\":null}")));
    assert_true(json_in_integer(&request, "absent", 0, 9, &number) && number == 5);
    assert_true(json_in_integer(&request, "n", 7, 7, &number) && number == 7);
    assert_false(json_in_integer(&request, "n", 8, 9, &number));
    assert_string_equal(request.invalid.text, "is out of range");
    assert_false(json_in_integer(&request, "n", 0, 6, &number));
    assert_false(json_in_required(&request, "z", 0, 9, &number));
    assert_string_equal(request.invalid.text, "is required");
    assert_true(json_in_text(&request, "absent", &text));
    assert_true(json_in_text(&request, "z", &text));
    assert_span_equal(text, SPAN("before"));
    assert_true(json_in_text(&request, "t", &text));
    assert_span_equal(text, SPAN("a\nb"));
    assert_true(json_in_text(&request, "e", &text));
    assert_true(text.at && text.len == 0); /* empty, not absent */
    assert_false(json_in_text(&request, "n", &text));
    assert_string_equal(request.invalid.text, "must be a string");
}

/* ---- numbers ---- */

/* Numbers are read or refused by their form; json-c sees infinity for integers beyond int64. */
static void test_integers_at_the_limits(void **state)
{
    (void)state;
    for (int negative = 0; negative < 2; negative++)
        for (unsigned rest = 0; rest < 20; rest++) { /* …5800 to …5819 */
            char text[64];
            int64_t number;
            int len = snprintf(text, sizeof(text), "{\"n\":%s92233720368547758%02u}",
                               negative ? "-" : "", rest);
            require(!parse((struct span){text, (size_t)len}), "%s", text);
            bool fits = rest <= (negative ? 8U : 7U);
            require(json_in_integer(&request, "n", INT64_MIN, INT64_MAX, &number) == fits, "%s",
                    text);
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
            const char *wrong = parse((struct span){text, len});
            require(depth <= 32 ? !wrong : wrong && strcmp(wrong, too_deep) == 0, "%d of kind %d",
                    depth, kind);
        }
    assert_null(parse(
        SPAN("[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1,\"a\",null]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]")));
    /* side by side is not deep */
    struct span wide = SPAN("[[[]],[[]],[[]],[[]],[[]],[[]],[[]],[[]],[[]],[[]],[[]],[[]],[[]],"
                            "[[]],[[]],[[]],[[]],[[]],[[]],[[]],[[]],[[]],[[]],[[]],[[]],[[]]]");
    assert_null(parse(wide));
}

static void test_a_million_brackets(void **state)
{
    (void)state;
    enum { MANY = 1000000 };
    char *text = malloc(MANY);
    assert_non_null(text);
    memset(text, '[', MANY);
    assert_string_equal(parse((struct span){text, MANY}), too_deep);
    free(text);
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

/* A writer may repeat a name in an object: then the document is refused for that. */
static void test_documents_pass_and_their_beginnings_do_not(void **state)
{
    (void)state;
    struct writer writer = {.random = {77}};
    size_t passed = 0;
    for (int i = 0; i < 1000; i++) {
        struct span text = write_document(&writer);
        const char *wrong = parse(text);
        require(!wrong || strcmp(wrong, same_name) == 0, "%.*s: %s", (int)text.len, text.at, wrong);
        passed += !wrong;
        size_t end = text.len;
        while (text.at[end - 1] != '}' && text.at[end - 1] != ']')
            end--; /* blanks behind it may be missing */
        for (size_t len = 1; len < end; len++)
            require(parse((struct span){text.at, len}), "%.*s", (int)len, text.at);
    }
    assert_true(passed > 500);
}

/* Each byte at each place of strings of any length. */
static void test_bytes_in_strings(void **state)
{
    (void)state;
    for (int len = 1; len <= 19; len++)
        for (int at = 0; at < len; at++)
            for (int byte = 0; byte < 256; byte++) {
                char text[32];
                int size = snprintf(text, sizeof(text), "[\"%.*s\"]", len, "abcdefghijklmnopqrstu");
                text[2 + at] = (char)byte;
                bool plain = byte >= ' ' && byte < 0x80 && byte != '"' && byte != '\\';
                bool passed = !parse((struct span){text, (size_t)size});
                bool escape = byte == '\\' && at + 1 < len && strchr("bfnrt", 'b' + at);
                require(passed == plain || (escape && passed), "byte %d at %d of %d", byte, at,
                        len);
            }
}

/* The text for the parser, with what stands for some tokens. */
static void test_scan(void **state)
{
    (void)state;
    static const char text[] =
        "\xEF\xBB\xBF[\"\\ud83d\\ude00\\ud83d\\ude00a\",99999999999999999999]";
    struct buffer out = {0};
    struct json_counts counts;
    assert_null(json_scan(SPAN(text), &out, &counts));
    assert_span_equal(buffer_span(&out), SPAN("[\"\xF0\x9F\x98\x80\xF0\x9F\x98\x80"
                                              "a\",1e999]"));
    assert_int_equal(counts.items, 3);
    assert_int_equal(counts.text_len, 9);
    buffer_free(&out);
}

static int clean_up(void **state)
{
    (void)state;
    clear();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_bad),
        cmocka_unit_test(test_trees),
        cmocka_unit_test(test_pairs),
        cmocka_unit_test(test_same_names),
        cmocka_unit_test(test_integers),
        cmocka_unit_test(test_members),
        cmocka_unit_test(test_integers_at_the_limits),
        cmocka_unit_test(test_depth),
        cmocka_unit_test(test_a_million_brackets),
        cmocka_unit_test(test_documents_pass_and_their_beginnings_do_not),
        cmocka_unit_test(test_bytes_in_strings),
        cmocka_unit_test(test_scan),
    };
    return cmocka_run_group_tests_name("json", tests, NULL, clean_up);
}
