#ifndef FCGI_EXCHANGE_H
#define FCGI_EXCHANGE_H

#include <pthread.h>
#include <stdatomic.h>

#include "fcgi/access_times.h"
#include "fcgi/connection.h"
#include "fcgi/loop.h"

/* What goes on on one connection: bytes become requests, requests become replies. loop.c says
 * when: what epoll, the clock and the other threads have to say goes through it. */

enum {
    LOOP_READ_SIZE = 64 * 1024,
    LOOP_SWEEP_INTERVAL_MS = 500 /* between two looks at the deadlines */
};

struct loop {
    struct loop_options options;
    int epoll_fd, wake_fd;
    struct store_reader *reader;
    struct api *api;
    struct request *spare_context;
    struct fcgi_request *spare_request;
    struct connection *connections;
    struct connection *closed; /* freed after the events at hand: one may be theirs */
    size_t waiting_count;      /* connections with a deadline, at most: see sweep */
    int64_t now_ms, sweep_ms, accept_again_ms, stop_now_ms, background_ms;
    struct job background;
    struct committer_list writes; /* of this round of events */
    bool background_under_way;
    struct access_times access_times;
    struct store_write background_write;
    int64_t purged_unix_s;
    bool accepting;
    int stop; /* of enum loop_stop, as acted on */
    atomic_int stop_wanted;
    pthread_mutex_t done_lock; /* of what follows */
    struct job *done, **done_end;
    unsigned char bytes[LOOP_READ_SIZE];
};

/* Takes on a connection that has been accepted; closes fd where that can't be. */
void exchange_open(struct loop *loop, int fd);

/* Closes it now; its memory stays until exchange_free_closed. Again does nothing. */
void exchange_close(struct connection *connection);
void exchange_free_closed(struct loop *loop);

/* epoll's news of a connection. */
void exchange_on_event(struct connection *connection, unsigned events);

/* Reads what is there and serves the requests in it. Whether there was anything. */
bool exchange_read(struct connection *connection);

/* The connection's job is done: replies, and goes on with what has come meanwhile. */
void exchange_finish(struct connection *connection);

/* From now on the peer has so long to send the rest of its request, or to take its reply. */
void exchange_set_peer_deadline(struct connection *connection);

#endif
