#include "fcgi/work_queue.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <time.h>

void work_queue_init(struct work_queue *queue, int wake_fd)
{
    *queue = (struct work_queue){.wake_fd = wake_fd};
    TAILQ_INIT(&queue->jobs);
    pthread_mutex_init(&queue->lock, NULL);
    pthread_cond_init(&queue->changed, NULL);
}

void work_queue_destroy(struct work_queue *queue)
{
    pthread_cond_destroy(&queue->changed);
    pthread_mutex_destroy(&queue->lock);
}

bool work_queue_start(struct work_queue *queue, void *(*run)(void *), void *context)
{
    work_queue_init(queue, -1);
    errno = pthread_create(&queue->thread, NULL, run, context);
    queue->started = errno == 0;
    return queue->started;
}

void work_queue_stop(struct work_queue *queue)
{
    if (!queue->started)
        return;
    pthread_mutex_lock(&queue->lock);
    queue->stopping = true;
    pthread_cond_signal(&queue->changed);
    pthread_mutex_unlock(&queue->lock);
    pthread_join(queue->thread, NULL);
    work_queue_destroy(queue);
}

/* From the end: jobs of one user, as all writes are, are appended without a search. */
void work_queue_push(struct work_queue *queue, struct job *job)
{
    struct job *other;
    pthread_mutex_lock(&queue->lock);
    job->waiting = !job->begun;
    job->queue = queue;
    TAILQ_FOREACH_REVERSE(other, &queue->jobs, job_list, entry)
    {
        if (other->user_id == job->user_id)
            break;
    }
    job->turn = other ? other->turn + 1 : queue->turn + 1;
    TAILQ_FOREACH_REVERSE(other, &queue->jobs, job_list, entry)
    {
        if (other->turn <= job->turn)
            break;
    }
    if (other)
        TAILQ_INSERT_AFTER(&queue->jobs, other, job, entry);
    else
        TAILQ_INSERT_HEAD(&queue->jobs, job, entry);
    pthread_mutex_unlock(&queue->lock);
}

void work_queue_wake(struct work_queue *queue)
{
    if (work_queue_is_empty(queue)) /* a thread that sleeps may sleep on */
        return;
    if (queue->wake_fd >= 0)
        eventfd_write(queue->wake_fd, 1);
    else
        pthread_cond_signal(&queue->changed);
}

void work_queue_give_back(struct job_list *jobs)
{
    struct work_queue *origin = NULL;
    struct job *job;
    while ((job = TAILQ_FIRST(jobs))) {
        TAILQ_REMOVE(jobs, job, entry);
        if (origin && origin != job->origin)
            work_queue_wake(origin);
        origin = job->origin; /* the job may be used again at once */
        pthread_mutex_lock(&origin->lock);
        TAILQ_INSERT_TAIL(&origin->jobs, job, entry);
        pthread_mutex_unlock(&origin->lock);
    }
    if (origin)
        work_queue_wake(origin);
}

bool work_queue_cancel(struct job *job)
{
    pthread_mutex_lock(&job->queue->lock);
    bool waiting = job->waiting;
    if (waiting)
        TAILQ_REMOVE(&job->queue->jobs, job, entry);
    job->waiting = false;
    pthread_mutex_unlock(&job->queue->lock);
    return waiting;
}

struct job *work_queue_take(struct work_queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    struct job *job = TAILQ_FIRST(&queue->jobs);
    if (job) {
        TAILQ_REMOVE(&queue->jobs, job, entry);
        job->waiting = false;
        queue->turn = job->turn;
    }
    pthread_mutex_unlock(&queue->lock);
    return job;
}

bool work_queue_is_empty(struct work_queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    bool empty = TAILQ_EMPTY(&queue->jobs);
    pthread_mutex_unlock(&queue->lock);
    return empty;
}

bool work_queue_wait(struct work_queue *queue, int wait_s)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += wait_s;
    pthread_mutex_lock(&queue->lock);
    if (TAILQ_EMPTY(&queue->jobs) && !queue->stopping)
        pthread_cond_clockwait(&queue->changed, &queue->lock, CLOCK_MONOTONIC, &until);
    bool more = !TAILQ_EMPTY(&queue->jobs) || !queue->stopping;
    pthread_mutex_unlock(&queue->lock);
    return more;
}
