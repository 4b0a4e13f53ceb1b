#include "fcgi/watchdog.h"

#include <sys/socket.h>

#include "base/clock.h"

enum { HOLD_MS_MAX = 10000 };

/* libfcgi closes a socket before the loop can release it. The number can only be used again by
 * accept4, which the lock excludes, and which then forgets the old socket. */
void watchdog_check(struct watchdog *watchdog)
{
    int64_t now_ms = clock_ms();
    pthread_mutex_lock(&watchdog->lock);
    for (unsigned i = 0; i < WATCHDOG_LOOPS_MAX; i++) {
        int fd = atomic_load(&watchdog->watched[i].fd);
        if (fd > 0 && now_ms - atomic_load(&watchdog->watched[i].since_ms) >= HOLD_MS_MAX)
            shutdown(fd, SHUT_RDWR);
    }
    pthread_mutex_unlock(&watchdog->lock);
}

int watchdog_accept(struct watchdog *watchdog, int listen_fd)
{
    pthread_mutex_lock(&watchdog->lock);
    int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
    for (unsigned i = 0; fd >= 0 && i < WATCHDOG_LOOPS_MAX; i++) {
        int closed_fd = fd;
        atomic_compare_exchange_strong(&watchdog->watched[i].fd, &closed_fd, 0);
    }
    pthread_mutex_unlock(&watchdog->lock);
    return fd;
}

void watchdog_hold(struct watchdog *watchdog, unsigned loop, int fd)
{
    atomic_store_explicit(&watchdog->watched[loop].since_ms, clock_ms(), memory_order_relaxed);
    atomic_store_explicit(&watchdog->watched[loop].fd, fd, memory_order_release);
}

void watchdog_release(struct watchdog *watchdog, unsigned loop)
{
    atomic_store_explicit(&watchdog->watched[loop].fd, 0, memory_order_release);
}
