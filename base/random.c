#include "base/random.h"

#include <pthread.h>
#include <string.h>

#include <sodium.h>

const char base62_digits[63] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/* A system call for each nonce and key would be dearer than the rest of their making. What is used
 * is wiped, and what a fork has copied is not used again. */
static _Thread_local struct {
    unsigned char bytes[RANDOM_LEN_MAX];
    size_t left;
} drawn;

static void forget_drawn(void)
{
    drawn.left = 0;
}

__attribute__((constructor)) static void forget_in_children(void)
{
    pthread_atfork(NULL, NULL, forget_drawn);
}

void random_fill(void *bytes, size_t len)
{
    if (drawn.left < len) {
        randombytes_buf(drawn.bytes, sizeof(drawn.bytes));
        drawn.left = sizeof(drawn.bytes);
    }
    drawn.left -= len;
    memcpy(bytes, drawn.bytes + drawn.left, len);
    explicit_bzero(drawn.bytes + drawn.left, len);
}

void random_base62(char *text, size_t len)
{
    unsigned char bytes[64];
    size_t used = sizeof(bytes);
    for (size_t i = 0; i < len;) {
        if (used == sizeof(bytes)) {
            random_fill(bytes, sizeof(bytes));
            used = 0;
        }
        unsigned char digit = bytes[used++] & 63;
        if (digit < 62) /* drop 62 and 63: a modulo would favour two characters */
            text[i++] = base62_digits[digit];
    }
    explicit_bzero(bytes, sizeof(bytes));
}
