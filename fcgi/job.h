#ifndef FCGI_JOB_H
#define FCGI_JOB_H

#include <stdatomic.h>

struct loop;
struct connection;
struct request;

/* Something that another thread does for a loop: a write or a search. */
struct job {
    struct loop *loop;
    struct connection *connection; /* that waits for it; NULL: the loop's background work */
    struct request *request;
    atomic_bool cancelled; /* nobody waits for it any more: a search need not be begun */
    struct job *next;      /* in a queue */
};

/* Takes a job that is done back to its loop; from any thread. */
void loop_job_done(struct job *job);

#endif
