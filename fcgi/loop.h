#pragma once

#include "fcgi/connection.h"

/* An event loop: accepts connections, and has requests read and replies sent when epoll reports
 * that it is their time. It blocks only inside libfcgi, on a peer that stalls in the middle of a
 * request. */
struct loop;

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
