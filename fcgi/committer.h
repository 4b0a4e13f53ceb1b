#ifndef FCGI_COMMITTER_H
#define FCGI_COMMITTER_H

#include "store/store.h"

/* A thread that does the writes: all that came while the last commit was on its way
 * go into the next one together. */
struct committer;

/* Called in the committer's thread once a write is done; it may hand over only. */
typedef void committer_done(struct store_write *write);

/* Starts the thread. NULL where it can't. */
struct committer *committer_start(struct store *store, committer_done *done);

/* Writes that are to be submitted together; zeroed is empty. */
struct committer_list {
    struct store_write *first, *last;
};

static inline void committer_list_add(struct committer_list *list, struct store_write *write)
{
    write->next = NULL;
    if (list->last)
        list->last->next = write;
    else
        list->first = write;
    list->last = write;
}

/* Hands writes over, from any thread, and empties the list. They come back by done, always. */
void committer_submit(struct committer *committer, struct committer_list *list);

/* Does what has been submitted, ends the thread and frees it. */
void committer_stop(struct committer *committer);

#endif
