#include "fcgi/work_queue.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <time.h>

void work_queue_init(struct work_queue *queue, int wake_fd)
{
    queue->stopping = false;
    queue->wake_fd = wake_fd;
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
    errno = pthread_create(&queue->thread, NULL, run, context);
    return errno == 0;
}

void work_queue_stop(struct work_queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    queue->stopping = true;
    pthread_cond_signal(&queue->changed);
    pthread_mutex_unlock(&queue->lock);
    pthread_join(queue->thread, NULL);
}

/* Wakes its thread after unlocking, or that would wait for the lock at once. */
static void append(struct work_queue *queue, struct job_list *jobs)
{
    pthread_mutex_lock(&queue->lock);
    bool was_empty = TAILQ_EMPTY(&queue->jobs);
    TAILQ_CONCAT(&queue->jobs, jobs, entry);
    pthread_mutex_unlock(&queue->lock);
    if (was_empty && queue->wake_fd >= 0)
        eventfd_write(queue->wake_fd, 1);
    else if (was_empty)
        pthread_cond_signal(&queue->changed);
}

void work_queue_push(struct work_queue *queue, struct job_list *jobs)
{
    struct job *job;
    TAILQ_FOREACH(job, jobs, entry)
    {
        job->state = JOB_QUEUED;
        job->queue = queue;
    }
    if (!TAILQ_EMPTY(jobs))
        append(queue, jobs);
}

bool work_queue_cancel(struct job *job)
{
    if (!job->queue) /* not pushed yet */
        return false;
    pthread_mutex_lock(&job->queue->lock);
    bool queued = job->state == JOB_QUEUED;
    if (queued) {
        TAILQ_REMOVE(&job->queue->jobs, job, entry);
        job->state = JOB_IDLE;
    }
    pthread_mutex_unlock(&job->queue->lock);
    return queued;
}

struct job *work_queue_take(struct work_queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    struct job *job = TAILQ_FIRST(&queue->jobs);
    if (job) {
        TAILQ_REMOVE(&queue->jobs, job, entry);
        job->state = JOB_STARTED;
    }
    pthread_mutex_unlock(&queue->lock);
    return job;
}

void work_queue_take_all(struct work_queue *queue, struct job_list *jobs)
{
    struct job *job;
    TAILQ_INIT(jobs);
    pthread_mutex_lock(&queue->lock);
    TAILQ_CONCAT(jobs, &queue->jobs, entry);
    pthread_mutex_unlock(&queue->lock);
    TAILQ_FOREACH(job, jobs, entry)
    job->state = JOB_IDLE;
}

void work_queue_give_back(struct job_list *done)
{
    struct job *job;
    while ((job = TAILQ_FIRST(done))) { /* its owner may use it at once */
        struct job_list one = TAILQ_HEAD_INITIALIZER(one);
        TAILQ_REMOVE(done, job, entry);
        TAILQ_INSERT_TAIL(&one, job, entry);
        append(job->origin, &one);
    }
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
    bool wait = TAILQ_EMPTY(&queue->jobs) && !queue->stopping;
    if (wait && wait_s < 0)
        pthread_cond_wait(&queue->changed, &queue->lock);
    else if (wait)
        pthread_cond_clockwait(&queue->changed, &queue->lock, CLOCK_MONOTONIC, &until);
    bool more = !TAILQ_EMPTY(&queue->jobs) || !queue->stopping;
    pthread_mutex_unlock(&queue->lock);
    return more;
}
