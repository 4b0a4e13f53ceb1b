#pragma once

#include "fcgi/loop.h"

/* The FastCGI connections of an event loop, parked in its epoll set. A readable one is given to
 * libfcgi, which reads the request; its reply goes through libfcgi too. All is done in the loop's
 * thread. */

/* Of a loop that has its wake_fd, which is written to when connections_finish_jobs is to be called.
 * False if libfcgi can't be initialised; to be freed in any case. The signals that libfcgi installs
 * handlers for (SIGPIPE, SIGTERM, SIGUSR1) must be blocked or handled already. */
bool connections_init(struct loop *loop);

/* Closes all. No job may be under way. */
void connections_free(struct loop *loop);

/* Makes sure that one more may be accepted: at the limit, closes the connection that has been idle
 * for longest. False if there is none. */
bool connections_make_room(struct loop *loop);

/* Takes a blocking socket over. */
void connections_add(struct loop *loop, int fd);

/* What epoll reported. The connection's memory is valid up to connections_end_round. */
void connection_on_event(struct connection *connection, unsigned events);

/* Goes on with connections whose jobs are done. */
void connections_finish_jobs(struct loop *loop);

/* To be called once or twice a second: closes connections and ends waits whose time is over. */
void connections_close_late(struct loop *loop);

/* To be called after each round of events: frees what is closed. */
void connections_end_round(struct loop *loop);

/* Finishes the requests that have begun or can be read, closes the rest. A connection that has had
 * no request yet may still send its first. */
void connections_stop(struct loop *loop);
