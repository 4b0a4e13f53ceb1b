#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

/* Queues of jobs between threads: from an event loop to the commit thread or the search thread, and
 * back when a job is done. */

struct request;
struct store_write;

/* Part of a connection, which must not move or be freed before the job is back. */
struct job {
    bool waiting;              /* to begin; guarded by the lock of queue */
    bool begun;                /* it goes on, and can't be cancelled any more */
    struct store_write *write; /* for the commit thread */
    struct request *request;   /* for the search thread */
    int64_t deadline_ms;       /* of clock_ms: not to be begun later; 0: none */
    struct work_queue *queue;  /* that it was pushed to */
    struct work_queue *origin; /* gets it back when it is done */
    void *owner;               /* the connection */
    int64_t user_id;           /* whose turn it is; 0 for all: no turns */
    uint64_t turn;
    TAILQ_ENTRY(job) entry;
};

TAILQ_HEAD(job_list, job);

/* May be the queue of a thread that does its jobs, or that of a loop which gets them back. */
struct work_queue {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct job_list jobs;
    uint64_t turn; /* of the last job that was taken */
    bool stopping;
    int wake_fd; /* an eventfd, written to when the queue is no longer empty; -1: none */
    pthread_t thread;
    bool started; /* the thread */
};

void work_queue_init(struct work_queue *queue, int wake_fd);
void work_queue_destroy(struct work_queue *queue);

/* Initializes the queue and starts the thread that takes the jobs. False, with errno, if there can
 * be none. */
bool work_queue_start(struct work_queue *queue, void *(*run)(void *), void *context);

/* Lets work_queue_wait return false once the queue is empty, waits for the thread's end and
 * destroys the queue. Does nothing without a thread. */
void work_queue_stop(struct work_queue *queue);

/* Adds a job, from any thread. Users take turns: a job waits for at most two of each other user
 * that came before it; those of one user keep their order. work_queue_wake has to be called once
 * some have been pushed: those of a round of events then share a commit. */
void work_queue_push(struct work_queue *queue, struct job *job);
void work_queue_wake(struct work_queue *queue);

/* Removes a job that has been pushed and not been taken yet. True: it is the caller's again; false:
 * it is under way, or on its way back. */
bool work_queue_cancel(struct job *job);

/* The first job, removed; NULL if there is none. */
struct job *work_queue_take(struct work_queue *queue);

/* Returns jobs that were taken to their origins, and empties the list. Each loop is woken once, so
 * that it finishes the jobs of a commit in one round. */
void work_queue_give_back(struct job_list *jobs);

/* Waits for a job, at most wait_s seconds. False once the queue is stopped and empty. */
bool work_queue_wait(struct work_queue *queue, int wait_s);

bool work_queue_is_empty(struct work_queue *queue);
