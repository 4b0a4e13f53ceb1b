/* The service without group commit: linked in place of fcgi/commit_thread.c, with a commit for each
 * write and no background work. */

#include "fcgi/commit_thread.h"

static void *run(void *context)
{
    struct commit_thread *thread = context;
    struct job_list done = TAILQ_HEAD_INITIALIZER(done);
    struct job *job;
    while (work_queue_wait(&thread->queue, 3600))
        while ((job = work_queue_take(&thread->queue))) {
            store_write(thread->store, job->write); /* the write has its error */
            TAILQ_INSERT_TAIL(&done, job, entry);
            work_queue_give_back(&done);
        }
    return NULL;
}

bool commit_thread_start(struct commit_thread *thread, struct store *store,
                         const struct counters *counters)
{
    (void)counters;
    thread->store = store;
    return work_queue_start(&thread->queue, run, thread);
}

void commit_thread_record_use(struct commit_thread *thread, const struct store_access *used,
                              int64_t now_unix_s)
{
    (void)thread, (void)used, (void)now_unix_s;
}

void commit_thread_record_reveals(struct commit_thread *thread, const struct request *request)
{
    (void)thread, (void)request;
}

void commit_thread_stop(struct commit_thread *thread)
{
    work_queue_stop(&thread->queue);
}
