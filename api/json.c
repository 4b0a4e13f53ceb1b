#include "api/json.h"

#include <math.h>
#include <stdlib.h>

#include "base/number.h"
#include "base/text.h"

enum {
    FIRST_SIZE = 32,
    KEPT_SIZE_MAX = 2048, /* values: one large body must not stay in memory for ever */
    DOUBLE_DIGITS_MAX = 308
};

struct reader {
    const char *at, *end;
    int depth;
    struct span key; /* of the next value, if it is a member */
    bool key_has_escapes;
    struct json_doc *doc;
    struct json_fault *fault;
};

static bool fail(struct reader *reader, enum json_error error)
{
    reader->fault->error = error;
    return false;
}

/* ---- values ---- */

static bool grow(struct json_doc *doc)
{
    size_t size = doc->size > 0 ? doc->size * 2 : FIRST_SIZE;
    struct json_value *values = realloc(doc->values, size * sizeof(*values));
    if (!values)
        return false;
    doc->values = values;
    doc->size = size;
    return true;
}

/* Adds a value, which takes the key. NULL where there is no memory. */
static struct json_value *add(struct reader *reader, enum json_kind kind)
{
    struct json_doc *doc = reader->doc;
    if (doc->count == doc->size && !grow(doc)) {
        fail(reader, JSON_NO_MEMORY);
        return NULL;
    }
    struct json_value *value = &doc->values[doc->count++];
    value->kind = kind;
    value->key_has_escapes = reader->key_has_escapes;
    value->size = 1;
    value->key = reader->key;
    reader->key = (struct span){NULL, 0};
    reader->key_has_escapes = false;
    return value;
}

/* ---- bytes ---- */

/* The byte that comes next; 0, which is never right, at the end. */
static char peek(const struct reader *reader)
{
    if (reader->at == reader->end)
        return '\0';
    return *reader->at;
}

static bool take(struct reader *reader, char c)
{
    if (reader->at == reader->end || *reader->at != c)
        return false;
    reader->at++;
    return true;
}

static void skip_blanks(struct reader *reader)
{
    while (reader->at < reader->end && (*reader->at == ' ' || *reader->at == '\t' ||
                                        *reader->at == '\n' || *reader->at == '\r'))
        reader->at++;
}

/* ---- numbers ---- */

static bool skip_digits(struct reader *reader)
{
    if (!is_digit(peek(reader)))
        return fail(reader, JSON_SYNTAX);
    while (is_digit(peek(reader)))
        reader->at++;
    return true;
}

/* Takes a fraction and an exponent, where they are there. *exponent, which may be absurd, is held
 * within bounds that make no difference. */
static bool read_fraction(struct reader *reader, bool *integer, int *exponent)
{
    enum { ABSURD = 1000000 };
    *integer = true;
    *exponent = 0;
    if (take(reader, '.')) {
        *integer = false;
        if (!skip_digits(reader))
            return false;
    }
    if (!take(reader, 'e') && !take(reader, 'E'))
        return true;
    *integer = false;
    bool negative = !take(reader, '+') && take(reader, '-');
    const char *digits = reader->at;
    if (!skip_digits(reader))
        return false;
    for (; digits < reader->at && *exponent < ABSURD; digits++)
        *exponent = *exponent * 10 + (*digits - '0');
    if (negative)
        *exponent = -*exponent;
    return true;
}

/* Digits without a leading zero. */
static bool parse_int64(bool negative, const char *digits, size_t count, int64_t *number)
{
    const uint64_t limit = negative ? (uint64_t)INT64_MAX + 1 : (uint64_t)INT64_MAX;
    uint64_t value = 0;
    if (count > 19) /* 19 digits fit 64 bits */
        return false;
    for (size_t i = 0; i < count; i++)
        value = value * 10 + (uint64_t)(digits[i] - '0');
    *number = (int64_t)(negative ? -value : value);
    return value <= limit;
}

static bool read_number(struct reader *reader)
{
    const char *start = reader->at;
    bool negative = take(reader, '-'), integer;
    const char *digits = reader->at;
    int exponent;
    int64_t number = 0;
    if (peek(reader) == '0')
        reader->at++;
    else if (!skip_digits(reader))
        return false;
    size_t digit_count = (size_t)(reader->at - digits);
    if (!read_fraction(reader, &integer, &exponent))
        return false;
    /* A container is still open, so something has to follow; strtod stops there. */
    if (reader->at == reader->end)
        return fail(reader, JSON_SYNTAX);
    bool fits;
    if (integer)
        fits = parse_int64(negative, digits, digit_count, &number);
    else /* below 10 to the number of its digits: only what is near the limit is worth a strtod */
        fits =
            (int64_t)digit_count + exponent <= DOUBLE_DIGITS_MAX || isfinite(strtod(start, NULL));
    if (!fits) {
        reader->at = start;
        return fail(reader, JSON_NUMBER_RANGE);
    }
    struct json_value *value = add(reader, integer ? JSON_INTEGER : JSON_DOUBLE);
    if (value)
        value->integer = number;
    return value != NULL;
}

/* ---- strings ---- */

static bool read_hex4(struct reader *reader, unsigned *unit)
{
    *unit = 0;
    for (int i = 0; i < 4; i++) {
        char c = peek(reader);
        unsigned digit;
        if (is_digit(c))
            digit = (unsigned)(c - '0');
        else if (c >= 'a' && c <= 'f')
            digit = (unsigned)(c - 'a' + 10);
        else if (c >= 'A' && c <= 'F')
            digit = (unsigned)(c - 'A' + 10);
        else
            return fail(reader, JSON_SYNTAX);
        *unit = *unit << 4 | digit;
        reader->at++;
    }
    return true;
}

static bool is_surrogate(unsigned unit)
{
    return unit >= 0xD800 && unit <= 0xDFFF;
}

/* After the backslash. */
static bool check_escape(struct reader *reader, bool *has_nul)
{
    char c = peek(reader);
    if (c == '\0' || !strchr("\"\\/bfnrtu", c))
        return fail(reader, JSON_SYNTAX);
    reader->at++;
    if (c != 'u')
        return true;
    unsigned unit, low;
    if (!read_hex4(reader, &unit))
        return false;
    *has_nul |= unit == 0;
    if (!is_surrogate(unit))
        return true;
    if (unit > 0xDBFF || !take(reader, '\\') || !take(reader, 'u'))
        return fail(reader, JSON_NOT_UTF8);
    if (!read_hex4(reader, &low))
        return false;
    return (low >= 0xDC00 && low <= 0xDFFF) || fail(reader, JSON_NOT_UTF8);
}

/* ASCII that stands for itself. */
static bool is_plain_word(uint64_t word)
{
    return json_word_is_ascii(word) && !json_word_needs_escape(word);
}

static void skip_plain(struct reader *reader)
{
    const char *at = reader->at, *end = reader->end;
    while (end - at >= JSON_WORD_LEN && is_plain_word(json_word(at)))
        at += JSON_WORD_LEN;
    while (at < end && (unsigned char)*at >= ' ' && (unsigned char)*at < 0x80 && *at != '"' &&
           *at != '\\')
        at++;
    reader->at = at;
}

/* What is between the quotes, in *text. */
static bool read_text(struct reader *reader, struct span *text, bool *has_escapes, bool *has_nul)
{
    if (!take(reader, '"'))
        return fail(reader, JSON_SYNTAX);
    text->at = reader->at;
    *has_escapes = *has_nul = false;
    for (;;) {
        skip_plain(reader);
        if (take(reader, '"'))
            break;
        if ((unsigned char)peek(reader) < ' ')
            return fail(reader, JSON_SYNTAX);
        if (take(reader, '\\')) {
            *has_escapes = true;
            if (!check_escape(reader, has_nul))
                return false;
            continue;
        }
        size_t len =
            text_utf8_sequence((struct span){reader->at, (size_t)(reader->end - reader->at)});
        if (len == 0)
            return fail(reader, JSON_NOT_UTF8);
        reader->at += len;
    }
    text->len = (size_t)(reader->at - text->at) - 1;
    return true;
}

static bool read_string(struct reader *reader)
{
    struct span text;
    bool has_escapes, has_nul;
    if (!read_text(reader, &text, &has_escapes, &has_nul))
        return false;
    struct json_value *value = add(reader, JSON_STRING);
    if (!value)
        return false;
    value->has_escapes = has_escapes;
    value->text = text;
    return true;
}

/* ---- words ---- */

static bool read_word(struct reader *reader, struct span word, enum json_kind kind, bool boolean)
{
    struct span rest = {reader->at, (size_t)(reader->end - reader->at)};
    if (!span_starts_with(rest, word))
        return fail(reader, JSON_SYNTAX);
    reader->at += word.len;
    struct json_value *value = add(reader, kind);
    if (value)
        value->boolean = boolean;
    return value != NULL;
}

/* ---- containers ---- */

static bool read_value(struct reader *reader);

static bool read_member(struct reader *reader)
{
    struct span key;
    bool has_escapes, has_nul;
    if (!read_text(reader, &key, &has_escapes, &has_nul))
        return false;
    reader->fault->key = key;
    if (has_nul)
        return fail(reader, JSON_KEY_NUL);
    skip_blanks(reader);
    if (!take(reader, ':'))
        return fail(reader, JSON_SYNTAX);
    skip_blanks(reader);
    reader->key = key;
    reader->key_has_escapes = has_escapes;
    return read_value(reader);
}

static bool read_members(struct reader *reader, size_t *count)
{
    skip_blanks(reader);
    if (take(reader, '}'))
        return true;
    for (;;) {
        if (!read_member(reader))
            return false;
        ++*count;
        skip_blanks(reader);
        if (take(reader, '}'))
            return true;
        if (!take(reader, ','))
            return fail(reader, JSON_SYNTAX);
        skip_blanks(reader);
    }
}

static bool read_elements(struct reader *reader, size_t *count)
{
    bool outermost = reader->depth == 1;
    if (outermost)
        reader->fault->element_index = 0;
    skip_blanks(reader);
    if (take(reader, ']'))
        return true;
    for (;;) {
        if (!read_value(reader))
            return false;
        ++*count;
        skip_blanks(reader);
        if (take(reader, ']'))
            return true;
        if (!take(reader, ','))
            return fail(reader, JSON_SYNTAX);
        skip_blanks(reader);
        if (outermost) {
            reader->fault->element_index++;
            reader->fault->key = (struct span){NULL, 0};
        }
    }
}

/* Recursion is bounded by JSON_DEPTH_MAX. */
static bool read_container(struct reader *reader, enum json_kind kind,
                           bool read_inside(struct reader *, size_t *))
{
    struct json_doc *doc = reader->doc;
    size_t index = doc->count, count = 0;
    if (reader->depth == JSON_DEPTH_MAX)
        return fail(reader, JSON_TOO_DEEP);
    if (!add(reader, kind))
        return false;
    reader->at++;
    reader->depth++;
    if (!read_inside(reader, &count))
        return false;
    reader->depth--;
    doc->values[index].size = doc->count - index; /* the values may have moved */
    doc->values[index].count = count;
    return true;
}

static bool read_value(struct reader *reader)
{
    switch (peek(reader)) {
    case '{':
        return read_container(reader, JSON_OBJECT, read_members);
    case '[':
        return read_container(reader, JSON_ARRAY, read_elements);
    case '"':
        return read_string(reader);
    case 't':
        return read_word(reader, SPAN("true"), JSON_BOOLEAN, true);
    case 'f':
        return read_word(reader, SPAN("false"), JSON_BOOLEAN, false);
    case 'n':
        return read_word(reader, SPAN("null"), JSON_NULL, false);
    default:
        return read_number(reader);
    }
}

static bool read_whole(struct reader *reader)
{
    skip_blanks(reader);
    if (peek(reader) != '{' && peek(reader) != '[')
        return fail(reader, JSON_NOT_A_CONTAINER);
    if (!read_value(reader))
        return false;
    skip_blanks(reader);
    return reader->at == reader->end || fail(reader, JSON_SYNTAX);
}

bool json_read(struct json_doc *doc, struct span text, struct json_fault *fault)
{
    *fault = (struct json_fault){.element_index = -1};
    struct reader reader = {.at = text.at, .end = text.at + text.len, .doc = doc, .fault = fault};
    doc->count = 0;
    bool passed = read_whole(&reader);
    fault->offset = (size_t)(reader.at - text.at);
    return passed;
}

void json_clear(struct json_doc *doc)
{
    if (doc->size > KEPT_SIZE_MAX)
        json_free(doc);
    doc->count = 0;
}

void json_free(struct json_doc *doc)
{
    free(doc->values);
    *doc = (struct json_doc){NULL, 0, 0};
}

const char *json_error_text(enum json_error error)
{
    static const char *const texts[] = {
        [JSON_OK] = "is JSON",
        [JSON_NOT_A_CONTAINER] = "must be a JSON object or array",
        [JSON_SYNTAX] = "is not valid JSON",
        [JSON_TOO_DEEP] = "is nested deeper than 32 levels",
        [JSON_NOT_UTF8] = "is not valid UTF-8",
        [JSON_NUMBER_RANGE] = "is a number out of range",
        [JSON_KEY_NUL] = "has a NUL in a key",
        [JSON_NO_MEMORY] = "needs more memory than there is",
    };
    return texts[error];
}

/* ---- what was read ---- */

const struct json_value *json_find(const struct json_value *object, struct span name)
{
    const struct json_value *found = NULL, *member = json_first(object);
    for (size_t i = 0; i < object->count; i++, member = json_next(member))
        if (json_key_is(member, name))
            found = member;
    return found;
}

/* The code unit of 4 digits that are known to be hexadecimal. */
static unsigned hex4(const char *digits)
{
    unsigned unit = 0;
    for (int i = 0; i < 4; i++) {
        unsigned c = (unsigned char)digits[i];
        unit = unit << 4 | ((c & 0xF) + (c >= 'A' ? 9 : 0)); /* 'A' and 'a' end in 1 */
    }
    return unit;
}

/* RFC 3629 section 3. */
static size_t put_utf8(char *out, unsigned point)
{
    size_t len = point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
    static const unsigned char first[] = {0, 0, 0xC0, 0xE0, 0xF0};
    for (size_t i = len; i-- > 1; point >>= 6)
        out[i] = (char)(0x80 | (point & 0x3F));
    out[0] = (char)(first[len] | point);
    return len;
}

/* Takes the escape that text begins with, and has been found right, off its front. Writes what it
 * says, 1 to 4 bytes and fewer than it takes, and returns how many. */
static size_t take_escape(struct span *text, char out[static 4])
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    if (text->at[1] != 'u') {
        *out = to[strchr(from, text->at[1]) - from];
        *text = span_from(*text, 2);
        return 1;
    }
    unsigned point = hex4(text->at + 2);
    *text = span_from(*text, 6);
    if (is_surrogate(point)) {
        point = 0x10000 + ((point & 0x3FF) << 10) + (hex4(text->at + 2) & 0x3FF);
        *text = span_from(*text, 6);
    }
    return put_utf8(out, point);
}

/* Takes what is before the next escape off the front. */
static struct span take_unescaped(struct span *text)
{
    const char *escape = memchr(text->at, '\\', text->len);
    struct span taken = {text->at, escape ? (size_t)(escape - text->at) : text->len};
    *text = span_from(*text, taken.len);
    return taken;
}

bool json_says(struct span written, struct span text)
{
    for (;;) {
        struct span part = take_unescaped(&written);
        if (!span_starts_with(text, part))
            return false;
        text = span_from(text, part.len);
        if (written.len == 0)
            return text.len == 0;
        char bytes[4];
        part = (struct span){bytes, take_escape(&written, bytes)};
        if (!span_starts_with(text, part))
            return false;
        text = span_from(text, part.len);
    }
}

struct span json_text(const struct json_value *value, char *out)
{
    if (!value->has_escapes)
        return value->text;
    struct span rest = value->text;
    size_t len = 0;
    while (rest.len > 0) {
        struct span part = take_unescaped(&rest);
        memcpy(out + len, part.at, part.len);
        len += part.len;
        if (rest.len > 0) {
            char bytes[4]; /* out may have room for fewer */
            size_t bytes_len = take_escape(&rest, bytes);
            memcpy(out + len, bytes, bytes_len);
            len += bytes_len;
        }
    }
    return (struct span){out, len};
}
