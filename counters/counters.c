#include "counters/counters.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/sigbus.h"

static const char magic[8] = "tokenmet";

const struct counters_bound counters_bounds[COUNTERS_BOUNDS] = {
    {100000, "0.0001"},  {300000, "0.0003"},  {1000000, "0.001"},    {3000000, "0.003"},
    {10000000, "0.01"},  {30000000, "0.03"},  {100000000, "0.1"},    {300000000, "0.3"},
    {1000000000, "1.0"}, {3000000000, "3.0"}, {10000000000, "10.0"},
};

/* ---- the file ---- */

enum state { READY, EMPTY, OTHER_LAYOUT, OTHER_FILE };

/* The first members of struct counters_file. */
struct head {
    char magic[8];
    uint64_t layout;
};

static enum state find_state(int fd, const struct stat *status, uint64_t layout)
{
    static const struct head nothing;
    struct head head = nothing;
    if (status->st_size == 0)
        return EMPTY;
    if (pread(fd, &head, sizeof(head), 0) < 0)
        return OTHER_FILE;
    /* After a power cut a file may have its size without its content. */
    if (status->st_size == sizeof(struct counters_file) &&
        memcmp(&head, &nothing, sizeof(head)) == 0)
        return EMPTY;
    if (memcmp(head.magic, magic, sizeof(magic)) != 0)
        return OTHER_FILE;
    return status->st_size == sizeof(struct counters_file) && head.layout == layout ? READY
                                                                                    : OTHER_LAYOUT;
}

/* Of zeros that have their place on the disk: a full one must not end a worker that counts. First a
 * head of no layout, so that workers of another one, which may have mapped the file, count in it no
 * more, and whoever finds it unfinished can tell. */
static bool fill(int fd, uint64_t layout)
{
    struct head head = {.layout = ~layout};
    memcpy(head.magic, magic, sizeof(magic));
    if (pwrite(fd, &head, sizeof(head), 0) != sizeof(head) || ftruncate(fd, sizeof(head)) != 0 ||
        (errno = posix_fallocate(fd, 0, sizeof(struct counters_file))) != 0)
        return false;
    head.layout = layout;
    return pwrite(fd, &head, sizeof(head), 0) == sizeof(head);
}

static const char *find_fault(int fd, struct stat *status)
{
    if (fd < 0 || fstat(fd, status) != 0)
        return strerror(errno);
    if (!S_ISREG(status->st_mode) || status->st_nlink > 1)
        return "is not a regular file with one name";
    if (status->st_uid != geteuid())
        return "belongs to another user";
    return status->st_mode & (S_IWGRP | S_IWOTH) ? "others can write to it" : NULL;
}

/* Opens the file with its lock, under which it is made: whoever gets the lock of a file that has
 * meanwhile lost its name begins anew. Returns what is wrong, or NULL. */
static const char *open_file(const char *path, uint64_t layout, int *fd)
{
    enum { TRIES_MAX = 100 };
    struct stat status = {.st_size = 0}, named;
    for (int i = 0; i < TRIES_MAX; i++, close(*fd)) {
        *fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
        const char *fault = find_fault(*fd, &status);
        if (fault)
            return fault;
        if (flock(*fd, LOCK_EX) != 0)
            return strerror(errno);
        if (lstat(path, &named) != 0 || named.st_ino != status.st_ino ||
            named.st_dev != status.st_dev || fstat(*fd, &status) != 0)
            continue;
        enum state state = find_state(*fd, &status, layout);
        if (state == OTHER_FILE)
            return "is no file of counters: remove it, or set TOKEN_SHARED";
        /* Workers of before count on in theirs, unless the folder does not allow another. */
        if (state == OTHER_LAYOUT && unlink(path) == 0)
            continue;
        if (state != READY && !fill(*fd, layout)) {
            fault = strerror(errno);
            (void)!ftruncate(*fd, 0);
            return fault;
        }
        return NULL;
    }
    *fd = -1;
    return "is replaced again and again";
}

/* ---- workers ---- */

static struct flock lock_of(size_t i)
{
    return (struct flock){.l_type = F_WRLCK,
                          .l_whence = SEEK_SET,
                          .l_start = (off_t)(offsetof(struct counters_file, workers) +
                                             i * sizeof(struct counters_worker)),
                          .l_len = 1};
}

/* Where all are taken this worker is not counted. */
static void take_place(struct counters *counters)
{
    struct counters_worker *workers = counters->shared->workers;
    for (size_t i = 0; i < COUNTERS_WORKERS_MAX && !counters->own; i++) {
        struct flock lock = lock_of(i);
        if (counters->fd >= 0 && fcntl(counters->fd, F_SETLK, &lock) != 0)
            continue;
        counters->own = &workers[i];
        atomic_store(&workers[i].connections, 0);
        atomic_store(&workers[i].used, 1);
    }
}

/* F_GETLK tells of other processes' locks only. */
static bool is_alive(const struct counters *counters, size_t i)
{
    struct flock lock = lock_of(i);
    return &counters->shared->workers[i] == counters->own ||
           (counters->fd >= 0 && fcntl(counters->fd, F_GETLK, &lock) == 0 &&
            lock.l_type != F_UNLCK);
}

void counters_count_workers(const struct counters *counters, uint64_t *workers,
                            uint64_t *connections)
{
    *workers = *connections = 0;
    for (size_t i = 0; counters && i < COUNTERS_WORKERS_MAX; i++) {
        struct counters_worker *worker = &counters->shared->workers[i];
        if (atomic_load(&worker->used) == 0 || !is_alive(counters, i))
            continue;
        long long open = atomic_load(&worker->connections);
        *connections += open > 0 ? (uint64_t)open : 0;
        ++*workers;
    }
}

uint64_t counters_take_failures(const struct counters *counters, int64_t now_ms,
                                int64_t interval_ms, unsigned *error)
{
    if (!counters)
        return 0;
    struct counters_file *shared = counters->shared;
    long long next_ms = atomic_load(&shared->log_failures_ms);
    bool is_due = now_ms >= next_ms || next_ms > now_ms + interval_ms; /* of an earlier boot */
    if (atomic_load(&shared->failed_writes) == 0 || !is_due ||
        !atomic_compare_exchange_strong(&shared->log_failures_ms, &next_ms, now_ms + interval_ms))
        return 0;
    *error = (unsigned)atomic_load(&shared->failure);
    return atomic_exchange(&shared->failed_writes, 0);
}

/* ---- opening ---- */

bool counters_open(struct counters *counters, const char *path, uint64_t layout, char *reason,
                   size_t reason_size)
{
    const size_t size = sizeof(struct counters_file);
    const char *fault = "no file: TOKEN_SHARED is not set, and the socket has no folder";
    int fd = -1;
    void *at = MAP_FAILED;
    if (path)
        fault = open_file(path, layout, &fd);
    if (!fault) {
        at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        fault = at == MAP_FAILED ? strerror(errno) : NULL;
    }
    *reason = '\0';
    if (fault) {
        snprintf(reason, reason_size, "TOKEN_SHARED: %s%s%s", path ? path : "", path ? ": " : "",
                 fault);
        if (fd >= 0)
            close(fd);
        fd = -1;
        at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    }
    if (at == MAP_FAILED)
        return false;
    *counters = (struct counters){.shared = at, .layout = layout, .fd = fd};
    if (fd >= 0)
        sigbus_spare(at, size, path);
    take_place(counters);
    if (fd >= 0)
        flock(fd, LOCK_UN);
    return true;
}
