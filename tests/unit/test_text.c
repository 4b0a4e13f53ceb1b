#include "tests/unit/unit.h"

#include "base/text.h"

/* RFC 3629 by its definition: what a decoder must get for each sequence. */
static const struct {
    const char *bytes;
    size_t len;
    size_t sequence; /* of the first character; 0: none */
} sequences[] = {
    {"", 0, 0},
    {"\0", 1, 1},
    {"a", 1, 1},
    {"\x7F", 1, 1},
    {"ab", 2, 1},
    {"\xC2\x80", 2, 2},         /* U+0080 */
    {"\xDF\xBF", 2, 2},         /* U+07FF */
    {"\xE0\xA0\x80", 3, 3},     /* U+0800 */
    {"\xED\x9F\xBF", 3, 3},     /* U+D7FF, below the surrogates */
    {"\xEE\x80\x80", 3, 3},     /* U+E000, above them */
    {"\xEF\xBF\xBF", 3, 3},     /* U+FFFF */
    {"\xF0\x90\x80\x80", 4, 4}, /* U+10000 */
    {"\xF4\x8F\xBF\xBF", 4, 4}, /* U+10FFFF, the last */
    {"\xE2\x82\xAC!", 4, 3},
    /* alone, or first of all: a continuation byte */
    {"\x80", 1, 0},
    {"\xBF", 1, 0},
    {"\x80\x80", 2, 0},
    /* overlong */
    {"\xC0\x80", 2, 0}, /* U+0000 */
    {"\xC0\xAF", 2, 0}, /* '/' */
    {"\xC1\xBF", 2, 0}, /* U+007F */
    {"\xE0\x80\xAF", 3, 0},
    {"\xE0\x9F\xBF", 3, 0}, /* U+07FF */
    {"\xF0\x80\x80\xAF", 4, 0},
    {"\xF0\x8F\xBF\xBF", 4, 0}, /* U+FFFF */
    /* surrogates */
    {"\xED\xA0\x80", 3, 0},             /* U+D800 */
    {"\xED\xAF\xBF", 3, 0},             /* U+DBFF */
    {"\xED\xB0\x80", 3, 0},             /* U+DC00 */
    {"\xED\xBF\xBF", 3, 0},             /* U+DFFF */
    {"\xED\xA0\xBD\xED\xB8\x80", 6, 0}, /* a pair of them: CESU-8 */
    /* beyond U+10FFFF, and lengths of before RFC 3629 */
    {"\xF4\x90\x80\x80", 4, 0},
    {"\xF5\x80\x80\x80", 4, 0},
    {"\xF7\xBF\xBF\xBF", 4, 0},
    {"\xF8\x88\x80\x80\x80", 5, 0},
    {"\xFC\x84\x80\x80\x80\x80", 6, 0},
    {"\xFE", 1, 0},
    {"\xFF", 1, 0},
    /* cut off */
    {"\xC2", 1, 0},
    {"\xE2", 1, 0},
    {"\xE2\x82", 2, 0},
    {"\xF0", 1, 0},
    {"\xF0\x9F", 2, 0},
    {"\xF0\x9F\x98", 3, 0},
    /* no continuation byte where one must be */
    {"\xC2\x41", 2, 0},
    {"\xC2\xC2", 2, 0},
    {"\xE2\x41\xAC", 3, 0},
    {"\xE2\x82\x41", 3, 0},
    {"\xE2\x82\xC0", 3, 0},
    {"\xF0\x41\x98\x80", 4, 0},
    {"\xF0\x9F\x41\x80", 4, 0},
    {"\xF0\x9F\x98\x41", 4, 0},
    {"\xF0\x9F\x98\xC0", 4, 0},
};

static void test_sequences(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(sequences); i++) {
        char *bytes = heap_copy((struct span){sequences[i].bytes, sequences[i].len});
        size_t sequence = text_utf8_sequence((struct span){bytes, sequences[i].len});
        require(sequence == sequences[i].sequence, "row %zu: %zu", i, sequence);
        free(bytes);
    }
}

/* Cut off by the span's end, whatever lies behind it. */
static void test_cut_sequences(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(sequences); i++)
        for (size_t len = 0; len < sequences[i].sequence; len++)
            require(text_utf8_sequence((struct span){sequences[i].bytes, len}) == 0, "row %zu", i);
}

/* A wrong sequence is one at the start, at the end and in between. */
static void test_is_utf8(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(sequences); i++) {
        bool expected = sequences[i].sequence > 0 || sequences[i].len == 0;
        for (int around = 0; around < 4; around++) {
            char text[32];
            int len = 0;
            if (around & 1)
                text[len++] = 'x';
            memcpy(text + len, sequences[i].bytes, sequences[i].len);
            len += (int)sequences[i].len;
            if (around & 2)
                text[len++] = 'x';
            require(text_is_utf8((struct span){text, (size_t)len}) == expected, "row %zu, %d", i,
                    around);
        }
    }
}

static size_t encode(uint32_t code, char out[static 4])
{
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    size_t len = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    for (size_t i = len; i-- > 1; code >>= 6)
        out[i] = (char)(0x80 | (code & 0x3F));
    static const unsigned char first[] = {[2] = 0xC0, [3] = 0xE0, [4] = 0xF0};
    out[0] = (char)(first[len] | code);
    return len;
}

/* Every code point there is: its length, that it counts as one, and whether it is
 * a control character. */
static void test_every_code_point(void **state)
{
    (void)state;
    for (uint32_t code = 0; code <= 0x110000; code++) {
        char bytes[4];
        size_t len = encode(code, bytes);
        struct span text = {bytes, len};
        bool valid = code <= 0x10FFFF && (code < 0xD800 || code > 0xDFFF);
        require(text_utf8_sequence(text) == (valid ? len : 0), "U+%04X", code);
        require(text_is_utf8(text) == valid, "U+%04X", code);
        if (!valid)
            continue;
        bool control = code <= 0x1F || (code >= 0x7F && code <= 0x9F);
        require(text_has_control(text) == control, "control U+%04X", code);
        require(text_count_characters(text) == 1, "count U+%04X", code);
    }
}

/* All pairs of bytes: exactly the two-byte sequences of RFC 3629. */
static void test_every_pair_of_bytes(void **state)
{
    (void)state;
    for (unsigned first = 0; first < 256; first++)
        for (unsigned second = 0; second < 256; second++) {
            char bytes[] = {(char)first, (char)second};
            bool two = first >= 0xC2 && first <= 0xDF && second >= 0x80 && second <= 0xBF;
            size_t expected = first < 0x80 ? 1 : two ? 2 : 0;
            require(text_utf8_sequence((struct span){bytes, 2}) == expected, "%02X %02X", first,
                    second);
        }
}

static void test_count(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t count;
    } rows[] = {
        {"", 0},
        {"abc", 3},
        {"\xC3\xA9t\xC3\xA9", 3},                            /* é t é */
        {"e\xCC\x81", 2},                                    /* e and an accent of its own */
        {"\xE4\xBB\xA4\xE7\x89\x8C", 2},                     /* 令牌 */
        {"\xF0\x9F\x98\x80\xF0\x9F\x98\x80", 2},             /* two emoji */
        {"\xF0\x9F\x91\xA9\xE2\x80\x8D\xF0\x9F\x92\xBB", 3}, /* joined: three code points */
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        require(text_count_characters(span_of(rows[i].text)) == rows[i].count, "row %zu", i);
    assert_int_equal(text_count_characters(SPAN("a\0b")), 3);
}

static void test_control(void **state)
{
    (void)state;
    assert_false(text_has_control(SPAN("")));
    assert_false(text_has_control(SPAN("name \xC2\xA0 \xE2\x80\x8B\xEF\xBB\xBF")));
    assert_true(text_has_control(SPAN("a\0b")));
    assert_true(text_has_control(SPAN("\xC3\xA9\n")));
    assert_true(text_has_control(SPAN("abc\x7F")));
    assert_true(text_has_control(SPAN("abc\xC2\x85")));
    /* a byte of another sequence that would be one by itself */
    assert_false(text_has_control(SPAN("\xC3\x85\xE4\x85\x80\xC4\x80")));
}

static void test_trim(void **state)
{
    (void)state;
    static const struct {
        const char *text, *trimmed;
    } rows[] = {{"", ""},       {" ", ""},         {" \t \t", ""},  {"a", "a"},      {" a\t", "a"},
                {"a b", "a b"}, {"\ta b ", "a b"}, {"\na ", "\na"}, {"a \n", "a \n"}};
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        assert_span_equal(text_trim(span_of(rows[i].text), SPAN(" \t")), span_of(rows[i].trimmed));
    assert_span_equal(text_trim(SPAN(" \0a\0 "), SPAN(" ")), SPAN("\0a\0"));
    assert_null(text_trim((struct span){NULL, 0}, SPAN(" ")).at); /* absent stays absent */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sequences),
        cmocka_unit_test(test_cut_sequences),
        cmocka_unit_test(test_is_utf8),
        cmocka_unit_test(test_every_code_point),
        cmocka_unit_test(test_every_pair_of_bytes),
        cmocka_unit_test(test_count),
        cmocka_unit_test(test_control),
        cmocka_unit_test(test_trim),
    };
    return cmocka_run_group_tests_name("text", tests, NULL, NULL);
}
