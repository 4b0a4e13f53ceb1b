#include "base/random.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include <sodium.h>

#include "token/key.h"

enum { POOL_LEN = 2048 };

static _Thread_local unsigned char pool[POOL_LEN];
static _Thread_local size_t pool_left; /* unused bytes, at the end */

/* Or parent and child would hand out the same bytes. */
static void forget(void)
{
    explicit_bzero(pool, sizeof(pool));
    pool_left = 0;
}

static void forget_after_fork(void)
{
    if (pthread_atfork(NULL, NULL, forget) != 0)
        abort(); /* out of memory before the first key: nothing safe can follow */
}

static void refill(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, forget_after_fork);
    size_t filled = 0;
    while (filled < sizeof(pool)) {
        ssize_t some = getrandom(pool + filled, sizeof(pool) - filled, 0);
        if (some > 0)
            filled += (size_t)some;
        else if (errno != EINTR) {
            randombytes_buf(
                pool, sizeof(pool)); /* asks /dev/urandom where the system call is not there */
            break;
        }
    }
    pool_left = sizeof(pool);
}

void random_fill(void *bytes, size_t len)
{
    unsigned char *to = bytes;
    while (len > 0) {
        if (pool_left == 0)
            refill();
        size_t some = len < pool_left ? len : pool_left;
        unsigned char *from = pool + POOL_LEN - pool_left;
        memcpy(to, from, some);
        explicit_bzero(from, some); /* it may become a key */
        pool_left -= some;
        to += some;
        len -= some;
    }
}

void random_base62(char *text, size_t len)
{
    unsigned char some[64];
    size_t used = sizeof(some);
    for (size_t i = 0; i < len;) {
        if (used == sizeof(some)) {
            random_fill(some, sizeof(some));
            used = 0;
        }
        unsigned char byte = some[used++] & 63;
        if (byte < 62) /* drop 62 and 63: a modulo would favour two characters */
            text[i++] = token_key_alphabet[byte];
    }
    explicit_bzero(some, sizeof(some));
}
