#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What the workers of a pool count, in a file that all of them map: sums are exact over processes
 * and threads, and stay when a worker dies. Only api/metrics.c makes text of it. */

enum {
    COUNTERS_ROUTES_MAX =
        64, /* rows of the table of routes, and one for requests without a route */
    COUNTERS_METHODS = 8,
    COUNTERS_STATUSES_MAX = 16,
    COUNTERS_RESULTS_MAX = 32,
    COUNTERS_BOUNDS = 11, /* of the buckets of a histogram */
    COUNTERS_WORKERS_MAX = 2048
};

/* Units of quota are spent by these. */
enum counters_operation {
    COUNTERS_VERIFY,
    COUNTERS_CONSUME,
    COUNTERS_RESERVE,
    COUNTERS_SETTLE, /* beyond what was reserved */
    COUNTERS_OPERATIONS
};

/* Columns: constant, name, type, number of series, function of api/metrics.c that labels each,
 * help. */
/* clang-format off */
#define COUNTERS(COUNTER)                                                                          \
    COUNTER(HTTP_REQUESTS, "token_http_requests_total", counter,                                   \
            COUNTERS_ROUTES_MAX * COUNTERS_METHODS * COUNTERS_STATUSES_MAX, label_request,         \
            "Requests, by the status of their answer.")                                            \
    COUNTER(HTTP_DURATION, "token_http_request_duration_seconds", histogram, COUNTERS_ROUTES_MAX,  \
            label_route, "From a request's arrival at a worker until its answer is ready.")        \
    COUNTER(VERIFICATIONS, "token_verifications_total", counter, COUNTERS_RESULTS_MAX,             \
            label_result, "Answers of /verify, by reason.")                                        \
    COUNTER(SPENT, "token_quota_spent_units_total", counter, COUNTERS_OPERATIONS, label_operation, \
            "Units of quota that were taken.")                                                     \
    COUNTER(RETURNED, "token_quota_returned_units_total", counter, 1, label_none,                  \
            "Units of quota that settled and cancelled reservations gave back.")                   \
    COUNTER(COMMITS, "token_commits_total", counter, 1, label_none,                                \
            "Commits of requests' writes.")                                                        \
    COUNTER(COMMIT_WRITES, "token_commit_writes_total", counter, 1, label_none,                    \
            "Writes in these commits.")                                                            \
    COUNTER(COMMIT_DURATION, "token_commit_duration_seconds", histogram, 1, label_none,            \
            "From the taking of a commit's writes until they are on disk.")                        \
    COUNTER(COMMIT_FAILURES, "token_commit_failures_total", counter, 1, label_none,                \
            "Commits of which a write, or all, failed.")                                           \
    COUNTER(SEARCHES, "token_searches_total", counter, 1, label_none,                              \
            "Searches: of tokens, users and audit records.")                                       \
    COUNTER(REPLAYS, "token_replays_total", counter, 1, label_none,                                \
            "Answers that were given again, by Idempotency-Key or transaction_id.")
/* clang-format on */

/* The cells of a series. A histogram has its buckets, the last one without a bound, and the sum of
 * nanoseconds. */
#define COUNTERS_CELLS_counter   1
#define COUNTERS_CELLS_histogram (COUNTERS_BOUNDS + 2)

/* The constant is the number of a counter's first cell. */
#define COUNTERS_CONSTANT(constant, name, type, count, label, help)                                \
    COUNTER_##constant,                                                                            \
        COUNTER_##constant##_LAST = COUNTER_##constant + (count)*COUNTERS_CELLS_##type - 1,
enum { COUNTERS(COUNTERS_CONSTANT) COUNTERS_CELLS };

/* A worker's place in the file. It is the worker's as long as that has locked its first byte: the
 * kernel unlocks it when the process ends. */
struct counters_worker {
    atomic_ullong used;       /* 0: nobody's */
    atomic_llong connections; /* that are open */
};

/* The file's content. What is before the cells has its place in each layout. */
struct counters_file {
    char magic[8];
    atomic_ullong layout; /* which cells are of what; 0: in memory */
    /* In a line of the cache of its own, as others write here.
     * See counters_set_commit_error. */
    _Alignas(64) atomic_ullong commit_error;
    /* See counters_take_failures. */
    atomic_ullong failed_writes, failure;
    atomic_llong log_failures_ms;
    struct counters_worker workers[COUNTERS_WORKERS_MAX];
    atomic_ullong cells[COUNTERS_CELLS];
};
_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2, "processes count without a lock");

/* A process's way to it. */
struct counters {
    struct counters_file *shared; /* or private memory */
    struct counters_worker *own;
    uint64_t layout;
    int fd; /* -1: private memory */
};

/* Maps the file, and makes it if there is none; one of another layout is emptied or replaced. Where
 * that can't be, the process counts in memory of its own. Before the sandbox, and once in a
 * process. A file that is cut off later is replaced by memory too (base/sigbus.h).
 *   path     NULL: there is none
 *   layout   which cells are of what: another one is no error (api_counters_layout)
 *   reason   why it is private memory: a line; else empty
 * Result: false, with errno, without memory. */
bool counters_open(struct counters *counters, const char *path, uint64_t layout, char *reason,
                   size_t reason_size);

/* The workers that live, this one included, and the connections that they have open. */
void counters_count_workers(const struct counters *counters, uint64_t *workers,
                            uint64_t *connections);

/* The upper bounds of a histogram's buckets. */
extern const struct counters_bound {
    uint64_t ns;
    const char *seconds;
} counters_bounds[COUNTERS_BOUNDS];

/* False once a worker of another version has emptied the file for its own layout. */
static inline bool counters_are_current(const struct counters *counters)
{
    uint64_t layout = atomic_load_explicit(&counters->shared->layout, memory_order_relaxed);
    return layout == counters->layout || layout == 0;
}

/* From any thread, as the following. counters NULL: nothing is counted. */
static inline void counters_add(const struct counters *counters, unsigned cell, uint64_t amount)
{
    if (counters && counters_are_current(counters))
        atomic_fetch_add_explicit(&counters->shared->cells[cell], amount, memory_order_relaxed);
}

/* Counts a duration in a histogram, of which cell is the first of a series. */
static inline void counters_observe(const struct counters *counters, unsigned cell, uint64_t ns)
{
    unsigned bucket = 0;
    while (bucket < COUNTERS_BOUNDS && ns > counters_bounds[bucket].ns)
        bucket++;
    counters_add(counters, cell + bucket, 1);
    counters_add(counters, cell + COUNTERS_BOUNDS + 1, ns);
}

static inline uint64_t counters_get(const struct counters *counters, unsigned cell)
{
    return counters && counters_are_current(counters)
               ? atomic_load_explicit(&counters->shared->cells[cell], memory_order_relaxed)
               : 0;
}

/* A connection of this worker was opened (1) or closed (-1). */
static inline void counters_add_connections(const struct counters *counters, int change)
{
    if (counters && counters->own)
        atomic_fetch_add_explicit(&counters->own->connections, change, memory_order_relaxed);
}

/* The error of the pool's last commit, an enum store_error: 0 if it did well. For /healthz. */
static inline void counters_set_commit_error(const struct counters *counters, unsigned error)
{
    if (counters)
        atomic_store(&counters->shared->commit_error, error);
}

static inline unsigned counters_commit_error(const struct counters *counters)
{
    return counters ? (unsigned)atomic_load(&counters->shared->commit_error) : 0;
}

/* Failed writes that are to be logged, and the error of the last, an enum store_error. */
static inline void counters_add_failures(const struct counters *counters, uint64_t count,
                                         unsigned error)
{
    if (!counters || count == 0)
        return;
    atomic_store(&counters->shared->failure, error);
    atomic_fetch_add(&counters->shared->failed_writes, count);
}

/* Takes the failed writes of all workers, for one line of the log, unless others were taken within
 * interval_ms. Returns how many. */
uint64_t counters_take_failures(const struct counters *counters, int64_t now_ms,
                                int64_t interval_ms, unsigned *error);
