#pragma once

#include "fcgi/work_queue.h"
#include "store/store.h"

/* The thread that does the searches, one after the other and at a low priority: one may take
 * seconds, and no other request is to wait for it. */
struct search_thread {
    struct work_queue queue; /* push here; each returns to its origin */
    struct store_reader *reader;
};

/* Starts the thread, of a zeroed struct, with a reader of its own. False if memory, threads or
 * reader slots are short. */
bool search_thread_start(struct search_thread *thread, struct store *store);

/* Does what has been submitted and ends the thread, if it was started. */
void search_thread_stop(struct search_thread *thread);
