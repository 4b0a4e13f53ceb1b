#include "base/random.h"

#include <pthread.h>

#include <sodium.h>

const char base62_digits[63] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/* A system call for each nonce and key would be dearer than the rest of their making. What is used
 * is wiped, and what a fork has copied is not used again. */
static _Thread_local struct {
    unsigned char bytes[256];
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

static unsigned char draw(void)
{
    if (drawn.left == 0) {
        randombytes_buf(drawn.bytes, sizeof(drawn.bytes));
        drawn.left = sizeof(drawn.bytes);
    }
    unsigned char byte = drawn.bytes[--drawn.left];
    drawn.bytes[drawn.left] = 0;
    return byte;
}

void random_fill(void *bytes, size_t len)
{
    for (unsigned char *at = bytes; len > 0; len--)
        *at++ = draw();
}

void random_base62(char *text, size_t len)
{
    while (len > 0) {
        unsigned char digit = draw() & 63;
        if (digit < 62) /* drop 62 and 63: a modulo would favour two characters */
            text[--len] = base62_digits[digit];
    }
}
