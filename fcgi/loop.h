#ifndef FCGI_LOOP_H
#define FCGI_LOOP_H

#include "api/api.h"
#include "fcgi/committer.h"
#include "fcgi/searcher.h"

/* The event loop: accepts connections, reads requests, has the API do them, and
 * writes the replies. All connections are parked in one epoll set and nothing in the loop ever
 * waits for a peer, so that a peer can hold up only itself. */
struct loop;

struct loop_options {
    int listen_fd; /* listening, shared with other loops and processes; made non-blocking */
    struct store *store;
    const struct api_options *api;
    struct committer *committer;
    struct searcher *searcher;
    int broken_fd; /* an eventfd: written to when the store breaks */
};

/* NULL, with errno, where it can't be. options is copied. */
struct loop *loop_new(const struct loop_options *options);

/* Serves until it has been stopped and every connection is closed. */
void loop_run(struct loop *loop);

enum loop_stop {
    /* Stop accepting; go on serving the open connections until their peers close
     * them, for some seconds at most. For a replacement without one request lost: a kept
     * connection that this side closed could just have been given a request. */
    LOOP_STOP_GENTLY = 1,
    /* Stop accepting, finish the requests that have begun, close the rest. */
    LOOP_STOP_NOW = 2
};

/* From any thread; again for a firmer stop. */
void loop_stop(struct loop *loop, enum loop_stop stop);

/* The committer's done: takes a write back to its loop. */
void loop_write_done(struct store_write *write);

void loop_free(struct loop *loop);

#endif
