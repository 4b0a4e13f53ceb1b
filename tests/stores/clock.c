/* For make.py and its database server: the wall clock of 2100, a boot that no machine has, and a
 * CPU without AES: any machine has the other cipher. */

#define _GNU_SOURCE
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const time_t YEARS = 4102444800 - 1767225600; /* from 2026 to 2100 */

int clock_gettime(clockid_t clock, struct timespec *now)
{
    int rc = (int)syscall(SYS_clock_gettime, clock, now);
    if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)
        now->tv_sec += YEARS;
    return rc;
}

int gettimeofday(struct timeval *now, void *zone)
{
    struct timespec precise;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &precise);
    *now = (struct timeval){precise.tv_sec, precise.tv_nsec / 1000};
    return 0;
}

time_t time(time_t *at)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    if (at)
        *at = now.tv_sec;
    return now.tv_sec;
}

int open(const char *path, int flags, ...)
{
    va_list more;
    va_start(more, flags);
    int mode = va_arg(more, int); /* if there is one */
    va_end(more);
    if (strcmp(path, "/proc/sys/kernel/random/boot_id") == 0)
        path = "/proc/sys/kernel/version";
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

int crypto_aead_aes256gcm_is_available(void)
{
    return 0;
}
