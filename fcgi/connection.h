#pragma once

#include "api/api.h"
#include "fcgi/commit_thread.h"
#include "fcgi/search_thread.h"
#include "fcgi/watchdog.h"

/* The FastCGI connections of one event loop, parked in its epoll set. A readable one is given to
 * libfcgi, which reads the request; its reply goes through libfcgi too. All is done in the loop's
 * thread. */
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
    unsigned connections_max;
    atomic_uint connection_count;
    atomic_uint loops_running;
    int event_fd; /* an eventfd: a loop has ended */
};

struct connections {
    /* The loop's. */
    struct process *process;
    unsigned loop;   /* number, for the watchdog */
    int epoll_fd;    /* connections are added as data.ptr */
    struct api *api; /* of this loop's thread */
    /* connection.c's own. */
    struct work_queue done;        /* jobs that are back */
    struct connection_list open;   /* by their last request, oldest first */
    struct connection_list closed; /* to be freed at the end of the round */
    bool stopping;
    struct request *spare_requests[SPARE_REQUESTS_MAX];
    size_t spare_count;
};

/* wake_fd: an eventfd, written to when connections_finish_jobs is to be called. False if libfcgi
 * can't be initialised; to be freed in any case. The signals that libfcgi installs handlers for
 * (SIGPIPE, SIGTERM, SIGUSR1) must be blocked or handled already. */
bool connections_init(struct connections *set, int wake_fd);

/* Closes all. No job may be under way. */
void connections_free(struct connections *set);

/* Makes sure that one more may be accepted: at the limit, closes the connection that has been idle
 * for longest. False if there is none. */
bool connections_make_room(struct connections *set);

/* Takes a blocking socket over. */
void connections_add(struct connections *set, int fd);

/* What epoll reported. The connection's memory is valid up to connections_end_round. */
void connection_on_event(struct connection *connection, unsigned events);

/* Goes on with connections whose jobs are done. */
void connections_finish_jobs(struct connections *set);

/* To be called once or twice a second: closes connections and ends waits whose time is over. */
void connections_close_late(struct connections *set);

/* To be called after each round of events: frees what is closed. */
void connections_end_round(struct connections *set);

/* Finishes the requests that have begun or can be read, closes the rest. A connection that has had
 * no request yet may still send its first. */
void connections_stop(struct connections *set);
