#include "api/json_scan.h"

#include "base/number.h"
#include "base/text.h"

/* Also overlong forms, surrogates, and escapes of lone surrogates. */
#define JSON_NOT_UTF8        "is not valid UTF-8"
#define JSON_NOT_A_CONTAINER "must be a JSON object or array"

struct json_scan {
    const char *at, *end;
    int depth, cost;
    bool in_string, after_comma;
    struct json_counts counts;
    struct buffer *out;
    const char *copied; /* up to here the text is in out */
    const char *error;  /* static; NULL: none */
};

static bool fail(struct json_scan *scan, const char *error)
{
    scan->error = error;
    return false;
}

/* The next byte, or 0 at the end; NUL is never valid. */
static char peek(const struct json_scan *scan)
{
    if (scan->at == scan->end)
        return '\0';
    return *scan->at;
}

static bool take(struct json_scan *scan, char c)
{
    bool taken = scan->at < scan->end && *scan->at == c;
    scan->at += taken;
    return taken;
}

static bool is_one_of(char c, const char *characters)
{
    return c != '\0' && strchr(characters, c);
}

/* Writes other bytes instead of the token from first to scan->at. */
static void replace(struct json_scan *scan, const char *first, struct span by)
{
    buffer_append(scan->out, (struct span){scan->copied, (size_t)(first - scan->copied)});
    buffer_append(scan->out, by);
    scan->copied = scan->at;
}

/* ---- strings ---- */

/* Takes the escape of a UTF-16 code unit: \u and four hexadecimal digits (RFC 8259 section 7). */
static bool take_unit(struct json_scan *scan, unsigned *unit)
{
    *unit = 0;
    if (!take(scan, '\\') || !take(scan, 'u'))
        return false;
    for (int i = 0; i < 4; i++, scan->at++) {
        char c = peek(scan);
        if (!is_one_of(c, "0123456789abcdefABCDEF"))
            return false;
        *unit = *unit << 4 | (unsigned)(is_digit(c) ? c - '0' : (c & 0xF) + 9);
    }
    return true;
}

/* The pair that begins at first and whose second half comes next. */
static bool scan_pair(struct json_scan *scan, const char *first, unsigned high)
{
    unsigned low;
    if (high > 0xDBFF || !take_unit(scan, &low) || (low & 0xFC00) != 0xDC00)
        return fail(scan, JSON_NOT_UTF8);
    unsigned point = 0x10000 + ((high & 0x3FF) << 10) + (low & 0x3FF);
    const char utf8[] = {(char)(0xF0 | point >> 18), (char)(0x80 | (point >> 12 & 0x3F)),
                         (char)(0x80 | (point >> 6 & 0x3F)), (char)(0x80 | (point & 0x3F))};
    replace(scan, first, (struct span){utf8, sizeof(utf8)});
    scan->counts.text_len += sizeof(utf8);
    return true;
}

static bool scan_escape(struct json_scan *scan)
{
    const char *first = scan->at;
    unsigned unit;
    if (scan->end - scan->at >= 2 && is_one_of(scan->at[1], "\"\\/bfnrt")) {
        scan->at += 2;
        scan->counts.text_len++;
        return true;
    }
    if (!take_unit(scan, &unit))
        return fail(scan, JSON_SYNTAX);
    if (unit == 0)
        return fail(scan, "has a NUL character (\\u0000)");
    if ((unit & 0xF800) == 0xD800)
        return scan_pair(scan, first, unit);
    scan->counts.text_len += unit < 0x80 ? 1 : unit < 0x800 ? 2 : 3;
    return true;
}

static bool is_plain(char c)
{
    return (unsigned char)c >= ' ' && (unsigned char)c < 0x80 && c != '"' && c != '\\';
}

/* A part of a string: up to its end, an escape or a character that is not ASCII. */
static bool scan_text(struct json_scan *scan)
{
    const char *first = scan->at, *at = first;
    while (at < scan->end && is_plain(*at))
        at++;
    scan->at = at;
    scan->counts.text_len += (size_t)(scan->at - first);
    if (peek(scan) == '\\')
        return scan_escape(scan);
    if (take(scan, '"')) {
        scan->in_string = false;
        return true;
    }
    size_t len = text_utf8_sequence((struct span){scan->at, (size_t)(scan->end - scan->at)});
    if (len < 2) /* a control character, the end of the text, or no UTF-8 */
        return fail(scan, len == 1 || scan->at == scan->end ? JSON_SYNTAX : JSON_NOT_UTF8);
    scan->at += len;
    scan->counts.text_len += len;
    return true;
}

/* ---- other tokens ---- */

static bool take_digits(struct json_scan *scan)
{
    const char *first = scan->at;
    while (is_digit(peek(scan)))
        scan->at++;
    return scan->at > first;
}

static bool scan_number(struct json_scan *scan)
{
    const char *first = scan->at;
    bool negative = take(scan, '-'), integer = true;
    bool valid = take(scan, '0') || take_digits(scan);
    if (take(scan, '.')) {
        integer = false;
        valid = valid && take_digits(scan);
    }
    if (take(scan, 'e') || take(scan, 'E')) {
        integer = false;
        if (!take(scan, '+'))
            take(scan, '-');
        valid = valid && take_digits(scan);
    }
    if (!valid || !is_one_of(peek(scan), " \t\r\n,]}"))
        return fail(scan, JSON_SYNTAX);
    int64_t number;
    scan->cost += integer ? 0 : JSON_COST_HIGH - 1;
    if (integer && !number_parse((struct span){first, (size_t)(scan->at - first)}, &number))
        replace(scan, first, negative ? SPAN("-1e999") : SPAN("1e999"));
    return true;
}

static bool take_literal(struct json_scan *scan, struct span literal)
{
    bool taken = span_starts_with((struct span){scan->at, (size_t)(scan->end - scan->at)}, literal);
    scan->at += taken ? literal.len : 0;
    return taken;
}

static bool scan_token(struct json_scan *scan)
{
    char c = peek(scan);
    if (c == ' ' || c == '\t' || c == '\r' || c == '\n') {
        scan->at++;
        return true;
    }
    if (scan->counts.items == 0 && c != '{' && c != '[')
        return fail(scan, JSON_NOT_A_CONTAINER);
    if ((c == '}' || c == ']') && scan->after_comma)
        return fail(scan, JSON_SYNTAX);
    scan->after_comma = c == ',';
    if (c == ',' || c == ':' || c == '}' || c == ']') {
        scan->at++;
        scan->cost += c == ':' ? JSON_COST_HIGH - 1 : 0;
        scan->depth -= c == '}' || c == ']';
        return true;
    }
    scan->counts.items++;
    scan->cost += c == '{' || c == '[' ? JSON_COST_HIGH : 1;
    if (scan->cost > JSON_COST_MAX)
        return fail(scan, "has too many values");
    if (c == '-' || is_digit(c))
        return scan_number(scan);
    if (c != '"' && c != '{' && c != '[')
        return take_literal(scan, SPAN("true")) || take_literal(scan, SPAN("false")) ||
               take_literal(scan, SPAN("null")) || fail(scan, JSON_SYNTAX);
    scan->at++;
    scan->in_string = c == '"';
    scan->depth += c != '"';
    return scan->depth <= JSON_DEPTH_MAX || fail(scan, "is nested deeper than 32 levels");
}

const char *json_scan(struct span text, struct buffer *out, struct json_counts *counts)
{
    const struct span bom = SPAN("\xEF\xBB\xBF");
    if (span_starts_with(text, bom))
        text = span_from(text, bom.len);
    struct json_scan scan = {
        .at = text.at, .end = text.at + text.len, .out = out, .copied = text.at};
    while (scan.at < scan.end)
        if (!(scan.in_string ? scan_text(&scan) : scan_token(&scan)))
            return scan.error;
    replace(&scan, scan.end, SPAN(""));
    *counts = scan.counts;
    return counts->items > 0 ? NULL : JSON_NOT_A_CONTAINER;
}
