/* Records what happens to a store's data file, as a library that is preloaded into every process
 * of a pool and into tokenctl:
 *
 *   CRASH_LOG    the log's file, made by crash_log_make
 *   CRASH_STORE  the store's folder
 *
 * A client of the pool uses the same library to add to the same log what it was told. */

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "tests/crash/log.h"

#define EXPORT __attribute__((visibility("default")))

static struct log_head *log_file;
static char data_path[PATH_MAX];

/* ---- the log ---- */

static bool open_log(const char *path)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    struct log_head head;
    if (fd < 0 || read(fd, &head, sizeof(head)) != (ssize_t)sizeof(head) || head.magic != LOG_MAGIC)
        return false;
    void *map = mmap(NULL, head.size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (map == MAP_FAILED)
        return false;
    log_file = map;
    return true;
}

/* Where the entry begins; 0 where there is no log or no room in it. */
static uint64_t append(uint32_t kind, uint64_t offset, int64_t flags, const struct iovec *parts,
                       int part_count, size_t len)
{
    if (!log_file)
        return 0;
    int saved = errno;
    uint64_t size = sizeof(struct log_entry) + ((len + 7) & ~(size_t)7);
    uint64_t at = atomic_fetch_add(&log_file->end, size);
    if (at + size > log_file->size)
        return 0;
    struct log_entry *entry = (struct log_entry *)(void *)((char *)log_file + at);
    entry->kind = kind;
    entry->process = (uint32_t)getpid();
    entry->offset = offset;
    entry->flags = flags;
    entry->len = (uint32_t)len;
    char *to = (char *)(entry + 1);
    for (int i = 0; i < part_count && len > 0; i++) {
        size_t part = parts[i].iov_len < len ? parts[i].iov_len : len;
        memcpy(to, parts[i].iov_base, part);
        to += part;
        len -= part;
    }
    atomic_store(&entry->whole, 1);
    errno = saved;
    return at;
}

/* ---- for the client ---- */

EXPORT int crash_log_make(const char *path, uint64_t size);
EXPORT int crash_log_open(const char *path);
EXPORT uint64_t crash_log_append(uint32_t kind, uint64_t number, const void *bytes, size_t len);
EXPORT uint64_t crash_log_end(void);

int crash_log_make(const char *path, uint64_t size)
{
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    struct log_head head = {.magic = LOG_MAGIC, .size = size};
    atomic_init(&head.end, sizeof(head));
    bool made = fd >= 0 && fchmod(fd, 0666) == 0 && ftruncate(fd, (off_t)size) == 0 &&
                write(fd, &head, sizeof(head)) == (ssize_t)sizeof(head);
    return fd >= 0 && close(fd) == 0 && made ? 0 : -1;
}

int crash_log_open(const char *path)
{
    return open_log(path) ? 0 : -1;
}

uint64_t crash_log_append(uint32_t kind, uint64_t number, const void *bytes, size_t len)
{
    struct iovec part = {(void *)(uintptr_t)bytes, len};
    return append(kind, number, 0, &part, 1, len);
}

uint64_t crash_log_end(void)
{
    return log_file ? atomic_load(&log_file->end) : 0;
}

/* ---- the processes that write ---- */

static bool is_data_file(int fd)
{
    struct stat file, data;
    return log_file && data_path[0] && fstat(fd, &file) == 0 && S_ISREG(file.st_mode) &&
           stat(data_path, &data) == 0 && file.st_ino == data.st_ino && file.st_dev == data.st_dev;
}

static int64_t write_flags(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    return flags >= 0 && (flags & O_DSYNC) ? LOG_DSYNC : 0;
}

/* The next function of this name. */
#define REAL(name) ((__typeof__(&(name)))real(#name, &real_##name))
static void *real_pwrite, *real_pwritev, *real_write, *real_writev, *real_fdatasync, *real_fsync,
    *real_ftruncate, *real_msync;

static void *real(const char *name, void **known)
{
    if (!*known)
        *known = dlsym(RTLD_NEXT, name);
    return *known;
}

static size_t total(const struct iovec *parts, int count)
{
    size_t len = 0;
    for (int i = 0; i < count; i++)
        len += parts[i].iov_len;
    return len;
}

static uint64_t begin_write(int fd, off_t offset, const struct iovec *parts, int count)
{
    return append(LOG_WRITE_BEGIN, (uint64_t)offset, write_flags(fd), parts, count,
                  total(parts, count));
}

static ssize_t end_write(uint64_t begun, ssize_t written)
{
    append(LOG_WRITE_END, begun, written, NULL, 0, 0);
    return written;
}

/* NOLINTBEGIN(readability-inconsistent-declaration-parameter-name): the C library's names are
 * reserved ones. */
EXPORT ssize_t pwrite(int fd, const void *bytes, size_t len, off_t offset)
{
    if (!is_data_file(fd))
        return REAL(pwrite)(fd, bytes, len, offset);
    struct iovec part = {(void *)(uintptr_t)bytes, len};
    uint64_t begun = begin_write(fd, offset, &part, 1);
    return end_write(begun, REAL(pwrite)(fd, bytes, len, offset));
}

EXPORT ssize_t pwrite64(int fd, const void *bytes, size_t len, off64_t offset)
{
    return pwrite(fd, bytes, len, offset);
}

EXPORT ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset)
{
    if (!is_data_file(fd))
        return REAL(pwritev)(fd, parts, count, offset);
    uint64_t begun = begin_write(fd, offset, parts, count);
    return end_write(begun, REAL(pwritev)(fd, parts, count, offset));
}

EXPORT ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t offset)
{
    return pwritev(fd, parts, count, offset);
}

EXPORT ssize_t write(int fd, const void *bytes, size_t len)
{
    if (!is_data_file(fd))
        return REAL(write)(fd, bytes, len);
    struct iovec part = {(void *)(uintptr_t)bytes, len};
    uint64_t begun = begin_write(fd, lseek(fd, 0, SEEK_CUR), &part, 1);
    return end_write(begun, REAL(write)(fd, bytes, len));
}

EXPORT ssize_t writev(int fd, const struct iovec *parts, int count)
{
    if (!is_data_file(fd))
        return REAL(writev)(fd, parts, count);
    uint64_t begun = begin_write(fd, lseek(fd, 0, SEEK_CUR), parts, count);
    return end_write(begun, REAL(writev)(fd, parts, count));
}

EXPORT int fdatasync(int fd)
{
    if (!is_data_file(fd))
        return REAL(fdatasync)(fd);
    uint64_t begun = append(LOG_SYNC_BEGIN, 0, 0, NULL, 0, 0);
    int result = REAL(fdatasync)(fd);
    append(LOG_SYNC_END, begun, result, NULL, 0, 0);
    return result;
}

EXPORT int fsync(int fd)
{
    if (!is_data_file(fd))
        return REAL(fsync)(fd);
    uint64_t begun = append(LOG_SYNC_BEGIN, 0, 0, NULL, 0, 0);
    int result = REAL(fsync)(fd);
    append(LOG_SYNC_END, begun, result, NULL, 0, 0);
    return result;
}

/* LMDB needs it with MDB_WRITEMAP only, which this service never uses: what such a sync does to
 * pages that nobody wrote by a call could not be replayed. */
EXPORT int msync(void *at, size_t len, int flags)
{
    static const char text[] = "record: msync is not recorded\n";
    if (log_file)
        REAL(write)(STDERR_FILENO, text, sizeof(text) - 1);
    return REAL(msync)(at, len, flags);
}

EXPORT int ftruncate(int fd, off_t size)
{
    if (is_data_file(fd))
        append(LOG_TRUNCATE, (uint64_t)size, 0, NULL, 0, 0);
    return REAL(ftruncate)(fd, size);
}

EXPORT int ftruncate64(int fd, off64_t size)
{
    return ftruncate(fd, size);
}

__attribute__((constructor)) static void start(void)
{
    const char *path = getenv("CRASH_LOG"), *store = getenv("CRASH_STORE");
    if (!path || !store)
        return;
    snprintf(data_path, sizeof(data_path), "%s/data.mdb", store);
    if (!open_log(path)) { /* nothing that runs unrecorded may pass for recorded */
        static const char text[] = "record: CRASH_LOG can't be opened\n";
        REAL(write)(STDERR_FILENO, text, sizeof(text) - 1);
        _exit(127);
    }
}
/* NOLINTEND(readability-inconsistent-declaration-parameter-name) */
