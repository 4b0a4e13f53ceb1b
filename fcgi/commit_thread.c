#include "fcgi/commit_thread.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/clock.h"
#include "fcgi/log.h"

enum {
    /* Tokens and ids of one commit. A create or delete may have thousands, and the commit of many
     * such would be long, and hold many dirty pages. */
    BATCH_ITEMS_MAX = 16384,
    BACKGROUND_INTERVAL_S = 1,
    ACCESS_DELAY_S = 20, /* so that many uses share a commit */
    PURGE_INTERVAL_MS = 60000,
    FAILURES_INTERVAL_MS = 60000,
    UPKEEP_INTERVAL_MS = 2000
};

/* ---- commits ---- */

/* The jobs of one commit. */
struct batch {
    struct work_queue *queue;
    struct job_list taken, late; /* late: whose deadline has passed, not done */
    size_t item_count;
    int64_t begun_ns; /* when its first writes were taken; 0: not yet */
};

static size_t count_items(const struct store_write *write)
{
    size_t more = write->kind == STORE_CREATE        ? write->create.count
                  : write->kind == STORE_DELETE      ? write->delete.id_count
                  : write->kind == STORE_SET_STATUS  ? write->set_status.id_count
                  : write->kind == STORE_USER_DELETE ? write->step.max
                                                     : 0;
    return 1 + more;
}

/* A store_take_writes: as many of the queue as the commit may still hold. */
static struct store_write *take_writes(void *context)
{
    struct batch *batch = context;
    struct store_write *first = NULL, **end = &first;
    struct job *job;
    if (batch->begun_ns == 0)
        batch->begun_ns = clock_ns();
    while (batch->item_count < BATCH_ITEMS_MAX && (job = work_queue_take(batch->queue))) {
        if (job->deadline_ms != 0 && clock_ms() > job->deadline_ms) {
            job->write->error = STORE_UNAVAILABLE;
            TAILQ_INSERT_TAIL(&batch->late, job, entry);
            continue;
        }
        TAILQ_INSERT_TAIL(&batch->taken, job, entry);
        batch->item_count += count_items(job->write);
        *end = job->write;
        end = &job->write->next;
        *end = NULL;
    }
    return first;
}

/* Logs the pool's failed writes, at most once in FAILURES_INTERVAL_MS. */
static void log_failures(struct commit_thread *thread)
{
    char message[64];
    unsigned error;
    uint64_t count =
        counters_take_failures(thread->counters, clock_ms(), FAILURES_INTERVAL_MS, &error);
    if (count == 0)
        return;
    snprintf(message, sizeof(message), "%" PRIu64 " writes failed", count);
    log_error(message, store_error_text(error < STORE_REFUSED ? error : STORE_UNAVAILABLE));
}

/* Queues a write that goes on once more, behind those that came meanwhile. */
static void push_again(struct commit_thread *thread, struct batch *batch, struct job *job)
{
    TAILQ_REMOVE(&batch->taken, job, entry);
    job->begun = true;
    job->deadline_ms = 0;
    work_queue_push(&thread->queue, job);
}

/* Before the writes are answered. failure: of one of them, or STORE_OK. */
static void count_commit(const struct commit_thread *thread, const struct batch *batch,
                         uint64_t writes, enum store_error failure)
{
    const struct counters *counters = thread->counters;
    if (writes == 0 && failure == STORE_OK)
        return;
    counters_add(counters, failure == STORE_OK ? COUNTER_COMMITS : COUNTER_COMMIT_FAILURES, 1);
    counters_add(counters, COUNTER_COMMIT_WRITES, writes);
    counters_observe(counters, COUNTER_COMMIT_DURATION, (uint64_t)(clock_ns() - batch->begun_ns));
}

static void commit(struct commit_thread *thread)
{
    struct batch batch = {.queue = &thread->queue};
    struct job *job, *next;
    uint64_t done = 0, failed = 0;
    enum store_error failure = STORE_OK;
    bool committed = false; /* refused writes need no commit */
    TAILQ_INIT(&batch.taken);
    TAILQ_INIT(&batch.late);
    store_commit(thread->store, take_writes, &batch); /* each write has its error */
    for (job = TAILQ_FIRST(&batch.taken); job; job = next) {
        next = TAILQ_NEXT(job, entry);
        bool is_failed = store_is_failure(job->write->error);
        failure = is_failed ? job->write->error : failure;
        failed += is_failed;
        done += !is_failed;
        committed |= job->write->error == STORE_OK;
        if (store_write_goes_on(job->write))
            push_again(thread, &batch, job);
    }
    if (failure != STORE_OK || committed)
        counters_set_commit_error(thread->counters, failure);
    counters_add_failures(thread->counters, failed, failure);
    count_commit(thread, &batch, done, failure);
    work_queue_give_back(&batch.taken);
    work_queue_give_back(&batch.late);
}

/* ---- background work ---- */

/* On a site that only asks there are no other commits. */
static void write_in_background(const struct commit_thread *thread, struct store_write *write)
{
    enum store_error error = store_write(thread->store, write);
    if (store_is_failure(error))
        counters_set_commit_error(thread->counters, error);
}

static void store_access_times(struct commit_thread *thread, bool all, int64_t now_unix_s)
{
    struct access_times *times = &thread->times;
    struct store_write write = {
        .kind = STORE_ACCESS, .now_unix_s = now_unix_s, .access.times = times->taken};
    pthread_mutex_lock(&thread->times_lock);
    bool due = times->count > 0 && (all || times->count == ACCESS_TIMES_MAX ||
                                    now_unix_s - times->first_unix_s >= ACCESS_DELAY_S);
    if (due)
        write.access.count = access_times_take(times);
    pthread_mutex_unlock(&thread->times_lock);
    if (due)
        write_in_background(thread, &write); /* if it fails, the next use is recorded again */
}

static void store_reveals(struct commit_thread *thread)
{
    pthread_mutex_lock(&thread->times_lock);
    struct buffer taken = thread->reveals;
    thread->reveals = (struct buffer){.len = 0};
    pthread_mutex_unlock(&thread->times_lock);
    struct store_write write = {.kind = STORE_REVEAL,
                                .now_unix_s = (int64_t)time(NULL),
                                .reveal = {.reveals = (const struct store_reveal *)taken.at,
                                           .count = taken.len / sizeof(struct store_reveal)}};
    if (write.reveal.count > 0)
        write_in_background(thread, &write);
    buffer_free(&taken);
}

static void work_in_background(struct commit_thread *thread)
{
    int64_t now_ms = clock_ms();
    store_access_times(thread, false, (int64_t)time(NULL));
    store_reveals(thread);
    if (thread->purge_more || now_ms - thread->purged_ms >= PURGE_INTERVAL_MS) {
        thread->purged_ms = now_ms;
        store_purge(thread->store, &thread->purge_more);
    }
    if (now_ms - thread->maintained_ms >= UPKEEP_INTERVAL_MS) {
        thread->maintained_ms = now_ms;
        store_maintain(thread->store); /* tried again next time */
        /* So that it is known when commits work again, also if no client writes. */
        if (counters_commit_error(thread->counters) != STORE_OK)
            counters_set_commit_error(thread->counters, store_probe(thread->store));
    }
}

void commit_thread_record_use(struct commit_thread *thread, const struct store_access *used,
                              int64_t now_unix_s)
{
    if (!access_times_need(used, now_unix_s))
        return;
    pthread_mutex_lock(&thread->times_lock);
    access_times_add(&thread->times, used, now_unix_s);
    pthread_mutex_unlock(&thread->times_lock);
}

void commit_thread_record_reveals(struct commit_thread *thread, const struct request *request)
{
    struct buffer *reveals = &thread->reveals;
    size_t len = request->revealed_count * sizeof(struct store_reveal);
    if (len == 0)
        return;
    pthread_mutex_lock(&thread->times_lock);
    char *at = reveals->len + len <= REVEALS_MAX * sizeof(struct store_reveal)
                   ? buffer_reserve(reveals, len)
                   : NULL;
    if (at) {
        api_list_reveals(request, (struct store_reveal *)at);
        reveals->len += len;
    }
    pthread_mutex_unlock(&thread->times_lock);
}

/* ---- the thread ---- */

static void *run(void *context)
{
    struct commit_thread *thread = context;
    while (work_queue_wait(&thread->queue, thread->purge_more ? 0 : BACKGROUND_INTERVAL_S)) {
        if (!work_queue_is_empty(&thread->queue))
            commit(thread);
        log_failures(thread);
        work_in_background(thread);
    }
    store_access_times(thread, true, (int64_t)time(NULL));
    store_reveals(thread);
    return NULL;
}

bool commit_thread_start(struct commit_thread *thread, struct store *store,
                         const struct counters *counters)
{
    thread->store = store;
    thread->counters = counters;
    thread->purged_ms = clock_ms();
    pthread_mutex_init(&thread->times_lock, NULL);
    return work_queue_start(&thread->queue, run, thread);
}

void commit_thread_stop(struct commit_thread *thread)
{
    work_queue_stop(&thread->queue);
    pthread_mutex_destroy(&thread->times_lock);
}
