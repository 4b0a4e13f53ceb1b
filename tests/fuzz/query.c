/* api/query.h and base/number.h against another reading of the same: the first line is a name,
 * the rest is the query. */

#include "tests/fuzz/fuzz.h"

#include <ctype.h>

#include "base/number.h"
#include "api/query.h"

/* False where an escape is not one. out has room for text.len bytes. */
static bool unescape(struct span text, char *out, size_t *out_len)
{
    *out_len = 0;
    while (text.len > 0) {
        size_t used = 1;
        char c = text.at[0];
        if (c == '%') {
            if (text.len < 3 || !isxdigit((unsigned char)text.at[1]) ||
                !isxdigit((unsigned char)text.at[2]))
                return false;
            char digits[] = {text.at[1], text.at[2], '\0'};
            c = (char)strtoul(digits, NULL, 16);
            used = 3;
        }
        if (text.at[0] == '+')
            c = ' ';
        out[(*out_len)++] = c;
        text = span_from(text, used);
    }
    return true;
}

/* The value as query_get should find it, in out; false where there is none. */
static bool find(struct span query, struct span name, char *out, size_t *out_len)
{
    while (query.len > 0) {
        struct span value = fuzz_take(&query, '&');
        struct span raw_name = fuzz_take(&value, '=');
        if (!unescape(raw_name, out, out_len) || !span_equal((struct span){out, *out_len}, name))
            continue;
        if (!unescape(value, out, out_len) || *out_len > QUERY_VALUE_SIZE) {
            *out_len = value.len < QUERY_VALUE_SIZE ? value.len : QUERY_VALUE_SIZE;
            memcpy(out, value.at, *out_len);
        }
        return true;
    }
    return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span rest = fuzz_input(data, size), line = fuzz_take(&rest, '\n');
    char *name = strndup(line.len > 0 ? line.at : "", line.len), *expected = malloc(size + 1);
    char value[QUERY_VALUE_SIZE];
    size_t expected_len = 0;
    require(name && expected, "no memory");
    struct span query = fuzz_copy(rest);
    struct span found = query_get(query, name, value);
    bool wanted = find(query, span_of(name), expected, &expected_len);
    require(wanted == (found.at != NULL), "%s is %sthere", name, wanted ? "" : "not ");
    require(!wanted || span_equal(found, (struct span){expected, expected_len}), "%s", name);
    int64_t number = 0, read = 0;
    require(number_parse(found, &read) == fuzz_number(found, &number), "%s is a number", name);
    require(read == number, "%s: %lld", name, (long long)read);
    fuzz_free(query);
    free(expected);
    free(name);
    return 0;
}
