#pragma once

/* The clocks that a store reads, in place of the C library's; 0: the real one. */

#include "tests/unit/unit.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static int64_t fake_wall_s, fake_boot_s;

int clock_gettime(clockid_t clock, struct timespec *now)
{
    int64_t fake_s = clock == CLOCK_REALTIME   ? fake_wall_s
                     : clock == CLOCK_BOOTTIME ? fake_boot_s
                                               : 0;
    if (fake_s == 0)
        return (int)syscall(SYS_clock_gettime, clock, now);
    *now = (struct timespec){.tv_sec = fake_s};
    return 0;
}

time_t time(time_t *at)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at)
        *at = now.tv_sec;
    return now.tv_sec;
}

/* The clock of the database TOKEN_TEST_STORE, which reads it from the file TOKEN_TEST_CLOCK (see
 * temporary.h). */
static inline void fake_database_clock(int64_t now_s)
{
    const char *path = getenv("TOKEN_TEST_CLOCK");
    int fd = path ? open(path, O_WRONLY | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    dprintf(fd, "%020lld", (long long)now_s);
    close(fd);
}

/* All clocks at a time: where a store is created, this is its time, and later ones are too. */
static inline void fake_clocks(int64_t now_s)
{
    fake_wall_s = fake_boot_s = now_s;
    fake_database_clock(now_s);
}

/* Skips a test that is about the store's time where that can't be set: in a database whose clock is
 * its server's. */
static inline void fake_clocks_needed(void)
{
    const char *location = getenv("TOKEN_TEST_STORE");
    if (location && !getenv("TOKEN_TEST_CLOCK"))
        skip();
}
