#include "fcgi/searcher.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "api/api.h"

enum { NICENESS = 10 };

struct searcher {
    struct store_reader *reader;
    pthread_t thread;
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t changed;
    struct job *first, **end;
    bool stopping;
};

/* NULL when there will be nothing any more. */
static struct job *wait_for_job(struct searcher *searcher)
{
    pthread_mutex_lock(&searcher->lock);
    while (!searcher->first && !searcher->stopping)
        pthread_cond_wait(&searcher->changed, &searcher->lock);
    struct job *job = searcher->first;
    if (job)
        searcher->first = job->next;
    if (!searcher->first)
        searcher->end = &searcher->first;
    pthread_mutex_unlock(&searcher->lock);
    return job;
}

static void *run(void *context)
{
    struct searcher *searcher = context;
    struct job *job;
    /* On Linux a thread has a niceness of its own. Without one it only is less polite. */
    (void)setpriority(PRIO_PROCESS, 0, NICENESS);
    while ((job = wait_for_job(searcher)) != NULL) {
        if (!atomic_load(&job->cancelled))
            api_search(job->call, searcher->reader);
        loop_job_done(job);
    }
    return NULL;
}

struct searcher *searcher_start(struct store *store)
{
    struct searcher *searcher = calloc(1, sizeof(*searcher));
    if (!searcher || store_reader_open(store, &searcher->reader) != STORE_OK) {
        free(searcher);
        return NULL;
    }
    searcher->end = &searcher->first;
    pthread_mutex_init(&searcher->lock, NULL);
    pthread_cond_init(&searcher->changed, NULL);
    if (pthread_create(&searcher->thread, NULL, run, searcher) == 0)
        return searcher;
    store_reader_close(searcher->reader);
    pthread_cond_destroy(&searcher->changed);
    pthread_mutex_destroy(&searcher->lock);
    free(searcher);
    return NULL;
}

void searcher_submit(struct searcher *searcher, struct job *job)
{
    job->next = NULL;
    pthread_mutex_lock(&searcher->lock);
    *searcher->end = job;
    searcher->end = &job->next;
    pthread_cond_signal(&searcher->changed);
    pthread_mutex_unlock(&searcher->lock);
}

void searcher_stop(struct searcher *searcher)
{
    if (!searcher)
        return;
    pthread_mutex_lock(&searcher->lock);
    searcher->stopping = true;
    pthread_cond_signal(&searcher->changed);
    pthread_mutex_unlock(&searcher->lock);
    pthread_join(searcher->thread, NULL);
    store_reader_close(searcher->reader);
    pthread_cond_destroy(&searcher->changed);
    pthread_mutex_destroy(&searcher->lock);
    free(searcher);
}
