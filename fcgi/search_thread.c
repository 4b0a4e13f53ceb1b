#include "fcgi/search_thread.h"

#include <sys/resource.h>
#include <unistd.h>

#include "api/api.h"

enum { NICENESS = 10, WAIT_S = 3600 };

static void *run(void *context)
{
    struct search_thread *thread = context;
    struct job_list done = TAILQ_HEAD_INITIALIZER(done);
    /* On Linux a thread has a niceness of its own. Not essential: failure is ignored. */
    (void)setpriority(PRIO_PROCESS, 0, NICENESS);
    while (work_queue_wait(&thread->queue, WAIT_S)) {
        struct job *job = work_queue_take(&thread->queue);
        if (!job) /* cancelled, or none came */
            continue;
        api_search(job->request, thread->reader);
        TAILQ_INSERT_TAIL(&done, job, entry);
        work_queue_give_back(&done);
    }
    return NULL;
}

bool search_thread_start(struct search_thread *thread, struct store *store)
{
    return store_reader_open(store, &thread->reader) == STORE_OK &&
           work_queue_start(&thread->queue, run, thread);
}

void search_thread_stop(struct search_thread *thread)
{
    work_queue_stop(&thread->queue);
    store_reader_close(thread->reader);
}
