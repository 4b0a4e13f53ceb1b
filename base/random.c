#include "base/random.h"

#include <string.h>

#include <sodium.h>

const char base62_digits[63] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

void random_fill(void *bytes, size_t len)
{
    randombytes_buf(bytes, len);
}

void random_base62(char *text, size_t len)
{
    unsigned char bytes[512];
    size_t used = 0, drawn = 0;
    for (size_t i = 0; i < len;) {
        if (used == drawn) { /* 2 in 64 bytes are dropped */
            drawn = len - i + (len - i) / 16 + 4;
            drawn = drawn < sizeof(bytes) ? drawn : sizeof(bytes);
            random_fill(bytes, drawn);
            used = 0;
        }
        unsigned char digit = bytes[used++] & 63;
        if (digit < 62) /* a modulo would favour two characters */
            text[i++] = base62_digits[digit];
    }
    explicit_bzero(bytes, sizeof(bytes));
}
