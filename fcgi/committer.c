#include "fcgi/committer.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

enum {
    /* Bounds one commit's time and memory: its changed pages stay in memory. */
    BATCH_ITEMS_MAX = 16384,
    DEAD_READERS_INTERVAL_S = 30
};

struct committer {
    struct store *store;
    committer_done *done;
    pthread_t thread;
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t changed;
    struct store_write *first, **end; /* submitted, and not taken yet */
    bool stopping;
    struct store_write *taken; /* the thread's own: under way */
    size_t taken_items;
};

/* At least 1. */
static size_t item_count(const struct store_write *write)
{
    switch (write->kind) {
    case STORE_CREATE:
        return 1 + write->create.count;
    case STORE_DELETE:
        return 1 + write->delete.id_count;
    case STORE_ACCESS:
        return 1 + write->access.count;
    default:
        return 1;
    }
}

/* Cuts what the commit may still hold off the front of the queue. */
static struct store_write *take_writes(void *context)
{
    struct committer *committer = context;
    pthread_mutex_lock(&committer->lock);
    struct store_write *first = committer->first, *last = NULL, *next = first;
    for (; next && committer->taken_items < BATCH_ITEMS_MAX; next = next->next) {
        committer->taken_items += item_count(next);
        last = next;
    }
    committer->first = next;
    if (!next)
        committer->end = &committer->first;
    if (last)
        last->next = NULL;
    pthread_mutex_unlock(&committer->lock);
    if (!committer->taken) /* else the store appends it */
        committer->taken = first;
    return last ? first : NULL;
}

/* Waits until there is something to do; false when there will be nothing any more. */
static bool wait_for_writes(struct committer *committer, bool *idle)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += DEAD_READERS_INTERVAL_S;
    *idle = false;
    pthread_mutex_lock(&committer->lock);
    while (!committer->first && !committer->stopping && !*idle)
        *idle = pthread_cond_timedwait(&committer->changed, &committer->lock, &until) != 0;
    bool more = committer->first || !committer->stopping;
    pthread_mutex_unlock(&committer->lock);
    return more;
}

static void give_back(struct committer *committer)
{
    struct store_write *write = committer->taken;
    committer->taken = NULL;
    committer->taken_items = 0;
    while (write) {
        struct store_write *next = write->next; /* done gives the write away */
        committer->done(write);
        write = next;
    }
}

static void *run(void *context)
{
    struct committer *committer = context;
    time_t checked_s = time(NULL);
    bool idle;
    while (wait_for_writes(committer, &idle)) {
        if (!idle) {
            store_commit(committer->store, take_writes, committer); /* each write has its error */
            give_back(committer);
        }
        if (time(NULL) - checked_s >= DEAD_READERS_INTERVAL_S) {
            checked_s = time(NULL);
            store_maintain(committer->store); /* tried again next time */
        }
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
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&committer->lock, NULL);
    pthread_cond_init(&committer->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    if (pthread_create(&committer->thread, NULL, run, committer) == 0)
        return committer;
    pthread_cond_destroy(&committer->changed);
    pthread_mutex_destroy(&committer->lock);
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
