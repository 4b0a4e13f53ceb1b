#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* Shuts down a socket on which a loop has been blocked for too long. The sockets' own time-outs
 * (SO_RCVTIMEO, SO_SNDTIMEO) start again with each byte, so a peer could hold a loop with one byte
 * a second. */

enum { WATCHDOG_INTERVAL_MS = 1000, WATCHDOG_LOOPS_MAX = 64 };

/* What a loop is blocked on. */
struct watched {
    _Alignas(64) atomic_int fd; /* 0: nothing. Each in a cache line of its own */
    atomic_int_fast64_t since_ms;
};

/* Zeroed, with an initialized lock. */
struct watchdog {
    pthread_mutex_t lock; /* held during accept4 and shutdown */
    struct watched watched[WATCHDOG_LOOPS_MAX];
};

/* To be called every WATCHDOG_INTERVAL_MS, in a thread that no peer can block. */
void watchdog_check(struct watchdog *watchdog);

/* Between the two, loop number "loop" may block on the socket. loop: below WATCHDOG_LOOPS_MAX. */
void watchdog_hold(struct watchdog *watchdog, unsigned loop, int fd);
void watchdog_release(struct watchdog *watchdog, unsigned loop);

/* accept4, for a blocking socket: -1 with errno if there is none. All sockets must come from here:
 * it keeps the watchdog from taking a new socket for a closed one that had its number. */
int watchdog_accept(struct watchdog *watchdog, int listen_fd);
