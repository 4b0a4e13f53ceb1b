#include "api/json_scan.h"

#include <math.h>
#include <stdlib.h>

#include "token/text.h"

struct scan {
    const char *at, *end;
    int depth;
    struct json_fault *fault;
};

static bool fail(struct scan *scan, enum json_error error)
{
    scan->fault->error = error;
    return false;
}

/* The byte that comes next; 0, which is never right, at the end. */
static char peek(const struct scan *scan)
{
    if (scan->at == scan->end)
        return '\0';
    return *scan->at;
}

static bool take(struct scan *scan, char c)
{
    if (scan->at == scan->end || *scan->at != c)
        return false;
    scan->at++;
    return true;
}

static void skip_blanks(struct scan *scan)
{
    while (scan->at < scan->end &&
           (*scan->at == ' ' || *scan->at == '\t' || *scan->at == '\n' || *scan->at == '\r'))
        scan->at++;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool scan_digits(struct scan *scan)
{
    if (!is_digit(peek(scan)))
        return fail(scan, JSON_SYNTAX);
    while (is_digit(peek(scan)))
        scan->at++;
    return true;
}

/* Digits without a leading zero. */
static bool fits_int64(bool negative, const char *digits, size_t count)
{
    const char *limit = negative ? "9223372036854775808" : "9223372036854775807";
    return count < 19 || (count == 19 && memcmp(digits, limit, 19) <= 0);
}

static bool scan_number(struct scan *scan)
{
    const char *start = scan->at;
    bool negative = take(scan, '-');
    const char *digits = scan->at;
    if (peek(scan) == '0')
        scan->at++;
    else if (!scan_digits(scan))
        return false;
    size_t digit_count = (size_t)(scan->at - digits);
    bool integer = true;
    if (take(scan, '.')) {
        integer = false;
        if (!scan_digits(scan))
            return false;
    }
    if (take(scan, 'e') || take(scan, 'E')) {
        integer = false;
        if (!take(scan, '+'))
            take(scan, '-');
        if (!scan_digits(scan))
            return false;
    }
    /* A container is still open, so something has to follow; strtod stops there. */
    if (scan->at == scan->end)
        return fail(scan, JSON_SYNTAX);
    if (integer ? fits_int64(negative, digits, digit_count) : isfinite(strtod(start, NULL)))
        return true;
    scan->at = start;
    return fail(scan, JSON_NUMBER_RANGE);
}

static bool scan_hex4(struct scan *scan, unsigned *unit)
{
    *unit = 0;
    for (int i = 0; i < 4; i++) {
        char c = peek(scan);
        unsigned digit;
        if (is_digit(c))
            digit = (unsigned)(c - '0');
        else if (c >= 'a' && c <= 'f')
            digit = (unsigned)(c - 'a' + 10);
        else if (c >= 'A' && c <= 'F')
            digit = (unsigned)(c - 'A' + 10);
        else
            return fail(scan, JSON_SYNTAX);
        *unit = *unit << 4 | digit;
        scan->at++;
    }
    return true;
}

/* After the backslash. */
static bool scan_escape(struct scan *scan, bool *has_nul)
{
    char c = peek(scan);
    if (c == '\0' || !strchr("\"\\/bfnrtu", c))
        return fail(scan, JSON_SYNTAX);
    scan->at++;
    if (c != 'u')
        return true;
    unsigned unit, low;
    if (!scan_hex4(scan, &unit))
        return false;
    *has_nul |= unit == 0;
    if (unit < 0xD800 || unit > 0xDFFF)
        return true;
    if (unit > 0xDBFF || !take(scan, '\\') || !take(scan, 'u'))
        return fail(scan, JSON_NOT_UTF8);
    if (!scan_hex4(scan, &low))
        return false;
    return (low >= 0xDC00 && low <= 0xDFFF) || fail(scan, JSON_NOT_UTF8);
}

static bool scan_string(struct scan *scan, bool *has_nul)
{
    if (!take(scan, '"'))
        return fail(scan, JSON_SYNTAX);
    while (!take(scan, '"')) {
        if (scan->at == scan->end || (unsigned char)*scan->at < 0x20)
            return fail(scan, JSON_SYNTAX);
        if (take(scan, '\\')) {
            if (!scan_escape(scan, has_nul))
                return false;
            continue;
        }
        size_t len = text_utf8_sequence((struct span){scan->at, (size_t)(scan->end - scan->at)});
        if (len == 0)
            return fail(scan, JSON_NOT_UTF8);
        scan->at += len;
    }
    return true;
}

static bool scan_word(struct scan *scan, struct span word)
{
    struct span rest = {scan->at, (size_t)(scan->end - scan->at)};
    if (!span_starts_with(rest, word))
        return fail(scan, JSON_SYNTAX);
    scan->at += word.len;
    return true;
}

static bool scan_value(struct scan *scan);

static bool scan_member(struct scan *scan)
{
    bool has_nul = false;
    const char *start = scan->at;
    if (!scan_string(scan, &has_nul))
        return false;
    scan->fault->key = (struct span){start + 1, (size_t)(scan->at - start) - 2};
    if (has_nul)
        return fail(scan, JSON_KEY_NUL);
    skip_blanks(scan);
    if (!take(scan, ':'))
        return fail(scan, JSON_SYNTAX);
    skip_blanks(scan);
    return scan_value(scan);
}

static bool scan_object(struct scan *scan)
{
    skip_blanks(scan);
    if (take(scan, '}'))
        return true;
    for (;;) {
        if (!scan_member(scan))
            return false;
        skip_blanks(scan);
        if (take(scan, '}'))
            return true;
        if (!take(scan, ','))
            return fail(scan, JSON_SYNTAX);
        skip_blanks(scan);
    }
}

static bool scan_array(struct scan *scan)
{
    bool outermost = scan->depth == 1;
    if (outermost)
        scan->fault->element_index = 0;
    skip_blanks(scan);
    if (take(scan, ']'))
        return true;
    for (;;) {
        if (!scan_value(scan))
            return false;
        skip_blanks(scan);
        if (take(scan, ']'))
            return true;
        if (!take(scan, ','))
            return fail(scan, JSON_SYNTAX);
        skip_blanks(scan);
        if (outermost) {
            scan->fault->element_index++;
            scan->fault->key = (struct span){NULL, 0};
        }
    }
}

/* Recursion is bounded by JSON_DEPTH_MAX. */
static bool scan_container(struct scan *scan, bool scan_inside(struct scan *))
{
    if (scan->depth == JSON_DEPTH_MAX)
        return fail(scan, JSON_TOO_DEEP);
    scan->at++;
    scan->depth++;
    if (!scan_inside(scan))
        return false;
    scan->depth--;
    return true;
}

static bool scan_value(struct scan *scan)
{
    bool has_nul = false;
    switch (peek(scan)) {
    case '{':
        return scan_container(scan, scan_object);
    case '[':
        return scan_container(scan, scan_array);
    case '"':
        return scan_string(scan, &has_nul);
    case 't':
        return scan_word(scan, SPAN("true"));
    case 'f':
        return scan_word(scan, SPAN("false"));
    case 'n':
        return scan_word(scan, SPAN("null"));
    default:
        return scan_number(scan);
    }
}

static bool scan_text(struct scan *scan)
{
    skip_blanks(scan);
    if (peek(scan) != '{' && peek(scan) != '[')
        return fail(scan, JSON_NOT_A_CONTAINER);
    if (!scan_value(scan))
        return false;
    skip_blanks(scan);
    return scan->at == scan->end || fail(scan, JSON_SYNTAX);
}

bool json_scan(struct span text, struct json_fault *fault)
{
    *fault = (struct json_fault){.element_index = -1};
    struct scan scan = {text.at, text.at + text.len, 0, fault};
    bool passed = scan_text(&scan);
    fault->offset = (size_t)(scan.at - text.at);
    return passed;
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
    };
    return texts[error];
}
