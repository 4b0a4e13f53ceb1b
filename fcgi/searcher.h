#ifndef FCGI_SEARCHER_H
#define FCGI_SEARCHER_H

#include "fcgi/job.h"
#include "store/store.h"

/* A thread that does the searches, one after the other and at a low priority: they may
 * take seconds, and nobody else's request is to notice. */
struct searcher;

/* Starts the thread, with a reader of its own. NULL where it can't. */
struct searcher *searcher_start(struct store *store);

/* Hands a job whose call searches over; it comes back by loop_job_done, always. */
void searcher_submit(struct searcher *searcher, struct job *job);

/* Does what has been submitted, ends the thread and frees it. */
void searcher_stop(struct searcher *searcher);

#endif
