#include "base/number.h"

bool number_parse(struct span text, int64_t *number)
{
    bool negative = text.len > 0 && text.at[0] == '-';
    if (negative)
        text = span_from(text, 1);
    if (text.len == 0)
        return false;
    int64_t opposite = 0; /* counted downwards: INT64_MIN has no positive form */
    for (size_t i = 0; i < text.len; i++) {
        int digit = text.at[i] - '0';
        if (digit < 0 || digit > 9 || __builtin_mul_overflow(opposite, 10, &opposite) ||
            __builtin_sub_overflow(opposite, digit, &opposite))
            return false;
    }
    if (!negative && __builtin_sub_overflow(INT64_C(0), opposite, &opposite))
        return false;
    *number = opposite;
    return true;
}

bool number_parse_millionths(struct span text, int64_t *millionths)
{
    enum { DIGITS = 6, ONE = 1000000 };
    struct span whole = span_cut(&text, '.');
    int64_t number = 0, part = 0;
    if (text.len > DIGITS || !number_parse(whole, &number) || !is_digit(whole.at[0]) ||
        (text.len > 0 && (!is_digit(text.at[0]) || !number_parse(text, &part))))
        return false;
    for (size_t i = text.len; i < DIGITS; i++)
        part *= 10;
    if (__builtin_mul_overflow(number, ONE, &number) ||
        __builtin_add_overflow(number, part, &number))
        return false;
    *millionths = number;
    return true;
}
