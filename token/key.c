#include "token/key.h"

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

void token_keys_generate(char (*keys)[TOKEN_KEY_LEN], size_t count)
{
    char random[12 * TOKEN_KEY_RANDOM_LEN]; /* of the keys that come next */
    for (size_t i = 0; i < count; i++) {
        size_t drawn = i % 12, left = count - i < 12 ? count - i : 12;
        if (drawn == 0)
            random_base62(random, left * TOKEN_KEY_RANDOM_LEN);
        char *text = keys[i] + TOKEN_KEY_PREFIX_LEN;
        memcpy(keys[i], "sk-", TOKEN_KEY_PREFIX_LEN);
        memcpy(text, random + drawn * TOKEN_KEY_RANDOM_LEN, TOKEN_KEY_RANDOM_LEN);
        write_check(text, text + TOKEN_KEY_RANDOM_LEN);
    }
    explicit_bzero(random, sizeof(random));
}

void token_key_generate(char key[static TOKEN_KEY_LEN])
{
    token_keys_generate((char(*)[TOKEN_KEY_LEN])key, 1);
}

static bool is_base62(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

bool token_key_is_well_formed(struct span text)
{
    if (text.len != TOKEN_KEY_LEN || !span_starts_with(text, SPAN("sk-")))
        return false;
    const char *random = text.at + TOKEN_KEY_PREFIX_LEN;
    for (size_t i = 0; i < TOKEN_KEY_RANDOM_LEN; i++)
        if (!is_base62(random[i]))
            return false;
    char check[TOKEN_KEY_CHECK_LEN];
    write_check(random, check);
    return memcmp(check, random + TOKEN_KEY_RANDOM_LEN, TOKEN_KEY_CHECK_LEN) == 0;
}
