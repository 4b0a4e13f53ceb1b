#ifndef FCGI_SEARCH_THREAD_H
#define FCGI_SEARCH_THREAD_H

#include "fcgi/work_queue.h"
#include "store/store.h"

/* The thread that does the searches, one after the other and at a low priority: one may take
 * seconds, and no other request is to wait for it. */
struct search_thread {
    struct work_queue queue; /* push fairly here; each returns to its origin */
    struct store_reader *reader;
};

/* Starts the thread, with a reader of its own. NULL if memory, threads or reader slots are short.
 */
struct search_thread *search_thread_start(struct store *store);

/* Does what has been submitted, ends the thread and frees it. NULL is ignored. */
void search_thread_stop(struct search_thread *thread);

#endif
