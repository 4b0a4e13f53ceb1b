#include "base/text.h"

#include "base/number.h"

size_t text_count_characters(struct span text)
{
    size_t count = 0;
    for (size_t i = 0; i < text.len; i++)
        count += ((unsigned char)text.at[i] & 0xC0) != 0x80;
    return count;
}

bool text_has_control(struct span text)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char byte = (unsigned char)text.at[i];
        if (byte < 0x20 || byte == 0x7F)
            return true;
        /* U+0080 to U+009F are C2 80 to C2 9F */
        if (byte == 0xC2 && i + 1 < text.len && (unsigned char)text.at[i + 1] < 0xA0)
            return true;
    }
    return false;
}

/* RFC 3629 section 4: only the second byte's range depends on the first. */
size_t text_utf8_sequence(struct span text)
{
    if (text.len == 0)
        return 0;
    const unsigned char *byte = (const unsigned char *)text.at;
    unsigned char first = byte[0];
    if (first < 0x80)
        return 1;
    size_t len = first < 0xC2 || first > 0xF4 ? 0 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
    unsigned char low = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
    unsigned char high = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
    if (len == 0 || text.len < len || byte[1] < low || byte[1] > high)
        return 0;
    for (size_t i = 2; i < len; i++)
        if ((byte[i] & 0xC0) != 0x80)
            return 0;
    return len;
}

struct span text_trim(struct span text, struct span bytes)
{
    while (text.len > 0 && memchr(bytes.at, text.at[0], bytes.len))
        text = span_from(text, 1);
    while (text.len > 0 && memchr(bytes.at, text.at[text.len - 1], bytes.len))
        text.len--;
    return text;
}

bool text_is_utf8(struct span text)
{
    size_t len;
    while ((len = text_utf8_sequence(text)) > 0)
        text = span_from(text, len);
    return text.len == 0;
}

bool text_is_digits(struct span text)
{
    while (text.len > 0 && is_digit(text.at[0]))
        text = span_from(text, 1);
    return text.len == 0;
}

void text_fold(struct span text, char *folded)
{
    for (size_t i = 0; i < text.len; i++) {
        bool is_upper = text.at[i] >= 'A' && text.at[i] <= 'Z';
        folded[i] = (char)(is_upper ? text.at[i] | 0x20 : text.at[i]);
    }
}
