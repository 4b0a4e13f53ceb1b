#include "token/key.h"

#include <ctype.h>
#include <stdint.h>

#include <zlib.h>

#include "base/random.h"

static void write_check(const char random[static TOKEN_KEY_RANDOM_LEN],
                        char check[static TOKEN_KEY_CHECK_LEN])
{
    uint32_t crc = (uint32_t)crc32(0, (const Bytef *)random, TOKEN_KEY_RANDOM_LEN);
    for (int i = TOKEN_KEY_CHECK_LEN - 1; i >= 0; i--) {
        check[i] = base62_digits[crc % 62];
        crc /= 62;
    }
}

void token_key_generate(char key[static TOKEN_KEY_LEN])
{
    char *random = key + TOKEN_KEY_PREFIX_LEN;
    memcpy(key, "sk-", TOKEN_KEY_PREFIX_LEN);
    random_base62(random, TOKEN_KEY_RANDOM_LEN);
    write_check(random, random + TOKEN_KEY_RANDOM_LEN);
}

bool token_key_is_well_formed(struct span text)
{
    if (text.len != TOKEN_KEY_LEN || !span_starts_with(text, SPAN("sk-")))
        return false;
    const char *random = text.at + TOKEN_KEY_PREFIX_LEN;
    for (size_t i = 0; i < TOKEN_KEY_RANDOM_LEN; i++)
        if (!isalnum((unsigned char)random[i]))
            return false;
    char check[TOKEN_KEY_CHECK_LEN];
    write_check(random, check);
    return memcmp(check, random + TOKEN_KEY_RANDOM_LEN, TOKEN_KEY_CHECK_LEN) == 0;
}

struct span token_key_strip_prefix(struct span text)
{
    for (int i = 0; i < 2 && text.len > 0 && span_starts_with(text, SPAN("sk-")); i++)
        text = span_from(text, TOKEN_KEY_PREFIX_LEN);
    return text;
}

bool token_key_read(struct span text, char key[static TOKEN_KEY_LEN])
{
    text = token_key_strip_prefix(text);
    if (text.len != TOKEN_KEY_LEN - TOKEN_KEY_PREFIX_LEN)
        return false;
    memcpy(key, "sk-", TOKEN_KEY_PREFIX_LEN);
    memcpy(key + TOKEN_KEY_PREFIX_LEN, text.at, text.len);
    return token_key_is_well_formed((struct span){key, TOKEN_KEY_LEN});
}
