#pragma once

#include "api/api.h"
#include "counters/counters.h"
#include "fcgi/access_times.h"
#include "fcgi/work_queue.h"

enum { REVEALS_MAX = 4096 };

/* The thread that does the writes: all that were queued during one commit share the next. It also
 * stores the last uses of tokens, purges what has expired, frees the slots of dead readers, and
 * logs failed writes. */
struct commit_thread {
    /* Push jobs here. Each returns to its origin with the outcome in its write; STORE_UNAVAILABLE
     * if its deadline had passed when it was to begin. */
    struct work_queue queue;
    struct store *store;
    const struct counters *counters;
    pthread_mutex_t times_lock; /* of what is recorded */
    struct access_times times;
    struct buffer reveals;            /* of struct store_reveal */
    int64_t purged_ms, maintained_ms; /* of clock_ms */
    bool purge_more;
};

/* Starts the thread, of a zeroed struct. False, with errno, if there can be none.
 *   counters   NULL: nothing is counted */
bool commit_thread_start(struct commit_thread *thread, struct store *store,
                         const struct counters *counters);

/* Has a use of a token stored within the next 21 seconds, if the stored one is older than 20. From
 * any thread. */
void commit_thread_record_use(struct commit_thread *thread, const struct store_access *used,
                              int64_t now_unix_s);

/* Has the audit records of the keys that a reply shows stored within the next second. Those that
 * are lost with the process, or when they can't be stored, or come after REVEALS_MAX others in that
 * second, are missing. From any thread. */
void commit_thread_record_reveals(struct commit_thread *thread, const struct request *request);

/* Does what has been submitted and recorded and ends the thread, if it was started. */
void commit_thread_stop(struct commit_thread *thread);
