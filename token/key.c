#include "token/key.h"

#include <ctype.h>
#include <stdint.h>

#include <zlib.h>

#include "base/random.h"
#include "base/text.h"

static void write_check(const char random[static TOKEN_KEY_RANDOM_LEN],
                        char check[static TOKEN_KEY_CHECK_LEN])
{
    uint32_t crc = (uint32_t)crc32(0, (const Bytef *)random, TOKEN_KEY_RANDOM_LEN);
    for (int i = TOKEN_KEY_CHECK_LEN - 1; i >= 0; i--) {
        check[i] = base62_digits[crc % 62];
        crc /= 62;
    }
}

void token_key_generate(char key[static TOKEN_KEY_LEN + 1])
{
    char *random = key + TOKEN_KEY_PREFIX_LEN;
    memcpy(key, "sk-", TOKEN_KEY_PREFIX_LEN);
    random_base62(random, TOKEN_KEY_RANDOM_LEN);
    write_check(random, random + TOKEN_KEY_RANDOM_LEN);
    key[TOKEN_KEY_LEN] = '\0';
}

static bool is_own(struct span plain)
{
    char check[TOKEN_KEY_CHECK_LEN];
    if (plain.len != TOKEN_KEY_RANDOM_LEN + TOKEN_KEY_CHECK_LEN)
        return false;
    for (size_t i = 0; i < TOKEN_KEY_RANDOM_LEN; i++)
        if (!isalnum((unsigned char)plain.at[i]))
            return false;
    write_check(plain.at, check);
    return memcmp(check, plain.at + TOKEN_KEY_RANDOM_LEN, TOKEN_KEY_CHECK_LEN) == 0;
}

static bool is_foreign(struct span plain)
{
    enum { LEN_MIN = 16, LEN_MAX = 128 };
    if (plain.len < LEN_MIN || plain.len > LEN_MAX)
        return false;
    for (size_t i = 0; i < plain.len; i++)
        if (!isalnum((unsigned char)plain.at[i]) && plain.at[i] != '_')
            return false;
    return true;
}

static enum token_key_form form_of(struct span plain)
{
    return is_own(plain)       ? TOKEN_KEY_OWN
           : is_foreign(plain) ? TOKEN_KEY_FOREIGN
                               : TOKEN_KEY_MALFORMED;
}

enum token_key_form token_key_form(struct span text)
{
    return span_starts_with(text, SPAN("sk-")) ? form_of(span_from(text, TOKEN_KEY_PREFIX_LEN))
                                               : TOKEN_KEY_MALFORMED;
}

struct span token_key_strip_prefix(struct span text)
{
    for (int i = 0; i < 2 && text.len > 0 && span_starts_with(text, SPAN("sk-")); i++)
        text = span_from(text, TOKEN_KEY_PREFIX_LEN);
    return text;
}

void token_key_set(char key[static TOKEN_KEY_SIZE], struct span plain)
{
    char *end = mempcpy(mempcpy(key, "sk-", TOKEN_KEY_PREFIX_LEN), plain.at, plain.len);
    *end = '\0';
}

enum token_key_form token_key_read(struct span text, char key[static TOKEN_KEY_SIZE])
{
    text = token_key_strip_prefix(text);
    enum token_key_form form = form_of(text);
    if (form != TOKEN_KEY_MALFORMED)
        token_key_set(key, text);
    return form;
}

struct span token_key_mask(const char *key, char mask[static TOKEN_KEY_MASK_LEN_MAX])
{
    enum { LONG = 24 };
    struct span plain = span_of(key + TOKEN_KEY_PREFIX_LEN);
    size_t shown = text_count_characters(plain) < LONG ? 2 : 4, first = 0, last = plain.len;
    for (size_t i = 0; i < shown && first < plain.len; i++)
        first += text_utf8_sequence(span_from(plain, first));
    for (size_t i = 0; i < shown && last > 0; i++)
        while (--last > 0 && (plain.at[last] & 0xC0) == 0x80)
            ; /* within a character */
    char *end = mempcpy(mask, key, TOKEN_KEY_PREFIX_LEN + first);
    end = mempcpy(end, "**********", 10);
    end = mempcpy(end, plain.at + last, plain.len - last);
    return (struct span){mask, (size_t)(end - mask)};
}
