#include "token/key.h"

#include <stdint.h>

#include <sodium.h>
#include <zlib.h>

static const char alphabet[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

static void write_check(const char random[static TOKEN_KEY_RANDOM_LEN],
                        char check[static TOKEN_KEY_CHECK_LEN])
{
    uint32_t crc = (uint32_t)crc32(0, (const Bytef *)random, TOKEN_KEY_RANDOM_LEN);
    for (int i = TOKEN_KEY_CHECK_LEN - 1; i >= 0; i--) {
        check[i] = alphabet[crc % 62];
        crc /= 62;
    }
}

void token_random_base62(char *text, size_t len)
{
    unsigned char pool[64];
    size_t used = sizeof(pool);
    for (size_t i = 0; i < len;) {
        if (used == sizeof(pool)) {
            randombytes_buf(pool, sizeof(pool));
            used = 0;
        }
        unsigned char byte = pool[used++] & 63;
        if (byte < 62) /* drop 62 and 63: a modulo would favour two characters */
            text[i++] = alphabet[byte];
    }
    sodium_memzero(pool, sizeof(pool));
}

void token_key_generate(char key[static TOKEN_KEY_LEN])
{
    memcpy(key, "sk-", TOKEN_KEY_PREFIX_LEN);
    token_random_base62(key + TOKEN_KEY_PREFIX_LEN, TOKEN_KEY_RANDOM_LEN);
    write_check(key + TOKEN_KEY_PREFIX_LEN, key + TOKEN_KEY_PREFIX_LEN + TOKEN_KEY_RANDOM_LEN);
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
