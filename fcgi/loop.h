#pragma once

#include "api/api.h"
#include "counters/counters.h"
#include "fcgi/commit_thread.h"
#include "fcgi/search_thread.h"
#include "fcgi/watchdog.h"

/* An event loop: accepts connections, and has requests read and replies sent when epoll reports
 * that it is their time. It blocks only inside libfcgi, on a peer that stalls in the middle of a
 * request. */

struct connection;

TAILQ_HEAD(connection_list, connection);

enum { SPARE_REQUESTS_MAX = 64 }; /* about 20 KiB each */

/* What the loops of a process share. */
struct process {
    struct store *store;
    const struct settings *settings;
    struct commit_thread commit_thread;
    struct search_thread search_thread;
    struct watchdog watchdog;
    struct counters counters;
    unsigned connections_max;
    atomic_uint connection_count;
    atomic_uint loops_running;
    int event_fd; /* an eventfd: a loop has ended */
};

struct loop {
    struct process *process;
    unsigned number; /* for the watchdog */
    int epoll_fd;    /* connections are added as data.ptr */
    struct api *api; /* of this loop's thread */
    /* connection.c's own. */
    struct work_queue done;        /* jobs that are back */
    struct connection_list open;   /* by their last request, oldest first */
    struct connection_list closed; /* to be freed at the end of the round */
    struct request *spare_requests[SPARE_REQUESTS_MAX];
    size_t spare_count;
    /* loop.c's own. */
    pthread_t thread;
    int listen_fd, wake_fd;
    struct store_reader *reader;
    int64_t now_ns; /* clock_ns, when the events of this round had come */
    int64_t tick_ms, stop_now_ms;
    bool accepting;
    int stop; /* of enum loop_stop, as acted on */
    atomic_int stop_wanted;
};

/* Starts a loop in a thread of its own, which serves until it is stopped and every connection is
 * closed, and then takes itself off the process's loops_running. number: its own for each loop of
 * the process, from 0. listen_fd is shared with other loops and processes, and made non-blocking.
 * NULL, with errno, on failure. Signals: as connections_init says. */
struct loop *loop_start(struct process *process, unsigned number, int listen_fd);

enum loop_stop {
    /* Stop accepting; serve the open connections until their peers close them, for some seconds at
     * most. For a replacement that loses no request: a kept connection that this side closed could
     * just have been given one. */
    LOOP_STOP_GENTLY = 1,
    /* Stop accepting, finish the requests that have begun, close the rest. */
    LOOP_STOP_NOW = 2
};

/* From any thread; again for a firmer stop. */
void loop_stop(struct loop *loop, enum loop_stop stop);

/* Waits for the thread's end. */
void loop_free(struct loop *loop);
