/* fcgi/committer.h with a commit of its own for every write: what the service would be without
 * group commit. Linked in place of fcgi/committer.c, everything else is the service's. */

#include "fcgi/committer.h"

#include <pthread.h>
#include <stdlib.h>

struct committer {
    struct store *store;
    committer_done *done;
    pthread_t thread;
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t changed;
    struct store_write *first, **end;
    bool stopping;
};

/* NULL when there will be none any more. */
static struct store_write *wait_for_write(struct committer *committer)
{
    pthread_mutex_lock(&committer->lock);
    while (!committer->first && !committer->stopping)
        pthread_cond_wait(&committer->changed, &committer->lock);
    struct store_write *write = committer->first;
    if (write)
        committer->first = write->next;
    if (!committer->first)
        committer->end = &committer->first;
    pthread_mutex_unlock(&committer->lock);
    return write;
}

static void *run(void *context)
{
    struct committer *committer = context;
    struct store_write *write;
    while ((write = wait_for_write(committer))) {
        store_write(committer->store, write);
        committer->done(write);
    }
    return NULL;
}

struct committer *committer_start(struct store *store, committer_done *done)
{
    struct committer *committer = calloc(1, sizeof(*committer));
    if (!committer)
        return NULL;
    *committer = (struct committer){.store = store, .done = done};
    committer->end = &committer->first;
    pthread_mutex_init(&committer->lock, NULL);
    pthread_cond_init(&committer->changed, NULL);
    if (pthread_create(&committer->thread, NULL, run, committer) == 0)
        return committer;
    free(committer);
    return NULL;
}

void committer_submit(struct committer *committer, struct committer_list *list)
{
    if (!list->first)
        return;
    pthread_mutex_lock(&committer->lock);
    *committer->end = list->first;
    committer->end = &list->last->next;
    pthread_cond_signal(&committer->changed);
    pthread_mutex_unlock(&committer->lock);
    *list = (struct committer_list){NULL, NULL};
}

void committer_stop(struct committer *committer)
{
    if (!committer)
        return;
    pthread_mutex_lock(&committer->lock);
    committer->stopping = true;
    pthread_cond_signal(&committer->changed);
    pthread_mutex_unlock(&committer->lock);
    pthread_join(committer->thread, NULL);
    pthread_cond_destroy(&committer->changed);
    pthread_mutex_destroy(&committer->lock);
    free(committer);
}
