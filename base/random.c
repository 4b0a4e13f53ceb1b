#include "base/random.h"

#include <string.h>
#include <unistd.h>

#include <sodium.h>

const char base62_digits[63] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/* A system call for each nonce and key would be dearer than the rest of their making. What is used
 * is wiped, and what a fork has copied is not used again. */
static _Thread_local struct {
    unsigned char bytes[256];
    size_t left;
    pid_t pid;
} drawn;

void random_fill(void *bytes, size_t len)
{
    pid_t pid = getpid();
    if (drawn.left < len || drawn.pid != pid) {
        drawn.pid = pid;
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
