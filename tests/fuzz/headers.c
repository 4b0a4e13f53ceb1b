/* What stands in headers: credentials, keys and ids. The first line is an Authorization, the
 * rest a key or an id. */

#include "tests/fuzz/fuzz.h"

#include <ctype.h>

#include "api/auth.h"
#include "base/number.h"
#include "token/key.h"
#include "base/text.h"

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* RFC 6750, section 2.1, or the token alone: by first and last byte of what is left. */
static struct span expected_bearer(struct span header)
{
    size_t begin = 0, end = header.len, at = 0;
    static const char scheme[] = "bearer";
    while (begin < end && is_blank(header.at[begin]))
        begin++;
    while (end > begin && is_blank(header.at[end - 1]))
        end--;
    while (scheme[at] && begin + at < end &&
           tolower((unsigned char)header.at[begin + at]) == scheme[at])
        at++;
    if (!scheme[at] && (begin + at == end || header.at[begin + at] == ' ')) {
        for (begin += at; begin < end && is_blank(header.at[begin]); begin++) {
        }
        return (struct span){header.at + begin, end - begin};
    }
    bool one_word = begin == end || !memchr(header.at + begin, ' ', end - begin);
    return one_word ? (struct span){header.at + begin, end - begin} : SPAN("");
}

static void check_bearer(struct span header)
{
    struct span copy = fuzz_copy(header), found = auth_bearer(copy);
    require(span_equal(found, expected_bearer(copy)), "\"%.*s\"", (int)found.len, found.at);
    if (found.len > 0) {
        require(found.at >= copy.at && found.at + found.len <= copy.at + copy.len, "elsewhere");
        require(!is_blank(found.at[0]) && !is_blank(found.at[found.len - 1]), "blanks");
    }
    fuzz_free(copy);
}

/* IEEE 802.3, bit by bit. */
static uint32_t crc_of(const char *text, size_t len)
{
    uint32_t crc = 0xFFFFFFFF;
    for (size_t i = 0; i < len; i++) {
        crc ^= (unsigned char)text[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320 : 0);
    }
    return ~crc;
}

/* The checksum as a number is what its six digits say. */
static bool is_key(struct span text)
{
    static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    uint64_t check = 0;
    if (text.len != TOKEN_KEY_LEN || memcmp(text.at, "sk-", 3) != 0)
        return false;
    for (size_t i = 3; i < TOKEN_KEY_LEN; i++) {
        const char *digit = text.at[i] ? strchr(digits, text.at[i]) : NULL;
        if (!digit)
            return false;
        if (i >= TOKEN_KEY_LEN - TOKEN_KEY_CHECK_LEN)
            check = check * 62 + (uint64_t)(digit - digits);
    }
    return check == crc_of(text.at + 3, TOKEN_KEY_RANDOM_LEN);
}

/* The text as the random part of a key, with the checksum that belongs to it: good, and with
 * any other, bad. Fuzz bytes alone would never get there. */
static void check_made_key(struct span text)
{
    char key[TOKEN_KEY_LEN + 1];
    token_key_generate(key);
    size_t len = text.len < TOKEN_KEY_RANDOM_LEN ? text.len : TOKEN_KEY_RANDOM_LEN;
    for (size_t i = 0; i < len; i++)
        if (isalnum((unsigned char)text.at[i]) && (unsigned char)text.at[i] < 0x80)
            key[3 + i] = text.at[i];
    uint32_t crc = crc_of(key + 3, TOKEN_KEY_RANDOM_LEN);
    for (size_t i = TOKEN_KEY_LEN; i-- > TOKEN_KEY_LEN - TOKEN_KEY_CHECK_LEN; crc /= 62)
        key[i] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"[crc % 62];
    struct span made = fuzz_copy((struct span){key, TOKEN_KEY_LEN});
    require(token_key_form(made) == TOKEN_KEY_OWN, "%.*s", TOKEN_KEY_LEN, made.at);
    key[3 + len % 48] ^= 1;
    require((token_key_form((struct span){key, TOKEN_KEY_LEN}) == TOKEN_KEY_OWN) ==
                is_key((struct span){key, TOKEN_KEY_LEN}),
            "%.*s", TOKEN_KEY_LEN, key);
    fuzz_free(made);
}

static void check_number(struct span text)
{
    int64_t number = 7, expected = 7;
    bool good = number_parse(text, &number);
    require(good == fuzz_number(text, &expected), "%.*s", (int)text.len, text.at);
    require(!good || number == expected, "%lld", (long long)number);
}

/* One code point after the other. */
static void check_text(struct span text)
{
    size_t count = 0;
    uint32_t point = 0;
    bool control = false;
    struct span rest = text;
    while (rest.len > 0) {
        size_t len = fuzz_code_point(rest, &point);
        require(text_utf8_sequence(rest) == len, "%zu", len);
        if (len == 0)
            break;
        control = control || point < 0x20 || (point >= 0x7F && point < 0xA0);
        rest = span_from(rest, len);
        count++;
    }
    require(text_is_utf8(text) == (rest.len == 0), "UTF-8");
    if (rest.len > 0)
        return;
    require(text_count_characters(text) == count, "%zu characters", count);
    require(text_has_control(text) == control, "control");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span rest = fuzz_input(data, size);
    check_bearer(fuzz_take(&rest, '\n'));
    struct span text = fuzz_copy(rest);
    require((token_key_form(text) == TOKEN_KEY_OWN) == is_key(text), "%.*s", (int)text.len,
            text.at);
    char key[TOKEN_KEY_SIZE];
    require(token_key_read(text, key) != TOKEN_KEY_OWN || is_key(span_of(key)), "read");
    check_made_key(text);
    check_number(text);
    check_text(text);
    fuzz_free(text);
    return 0;
}
