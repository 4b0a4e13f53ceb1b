/* Makes writes and syncs of a store's data file fail, as a library that is preloaded:
 *
 *   FAULT_STORE    the store's folder
 *   FAULT_CONTROL  a file of struct control, which the test maps too and steers by
 */

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

/* test_faults.py knows it too. */
struct control {
    atomic_uint kinds;    /* which calls fail: bits of enum kind; 0: none */
    atomic_int countdown; /* calls of those kinds from now on until the one that fails: 1 is next */
    atomic_int error;
    atomic_uint for_ever; /* and all after it */
    atomic_uint failed;   /* out: how many calls failed */
    atomic_uint calls;    /* out: how many there were of these kinds */
};

/* AHEAD: what makes the file longer than it has to be; LMDB writes by other calls. */
enum kind { WRITE = 1, SYNC = 2, SIZE = 4, AHEAD = 8 };

static struct control *control;
static char data_path[PATH_MAX];

#define REAL(name) ((__typeof__(&name))real(#name, &real_##name))
static void *real_pwrite, *real_pwritev, *real_write, *real_writev, *real_fdatasync, *real_fsync,
    *real_ftruncate, *real_fallocate;

static void *real(const char *name, void **known)
{
    if (!*known)
        *known = dlsym(RTLD_NEXT, name);
    return *known;
}

static bool is_data_file(int fd)
{
    struct stat file, data;
    return fstat(fd, &file) == 0 && S_ISREG(file.st_mode) && stat(data_path, &data) == 0 &&
           file.st_ino == data.st_ino && file.st_dev == data.st_dev;
}

/* Whether this call fails; errno says how. */
static bool fails(int fd, enum kind kind)
{
    if (!control || !(atomic_load(&control->kinds) & kind))
        return false;
    int saved = errno;
    if (!is_data_file(fd)) {
        errno = saved;
        return false;
    }
    atomic_fetch_add(&control->calls, 1);
    int left = atomic_fetch_sub(&control->countdown, 1);
    if (left > 1 || (left < 1 && !atomic_load(&control->for_ever))) {
        errno = saved;
        return false;
    }
    atomic_fetch_add(&control->failed, 1);
    errno = atomic_load(&control->error);
    return true;
}

EXPORT ssize_t pwrite(int fd, const void *bytes, size_t len, off_t offset)
{
    return fails(fd, WRITE) ? -1 : REAL(pwrite)(fd, bytes, len, offset);
}

EXPORT ssize_t pwrite64(int fd, const void *bytes, size_t len, off64_t offset)
{
    return pwrite(fd, bytes, len, offset);
}

EXPORT ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset)
{
    return fails(fd, AHEAD) ? -1 : REAL(pwritev)(fd, parts, count, offset);
}

EXPORT ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t offset)
{
    return pwritev(fd, parts, count, offset);
}

EXPORT ssize_t write(int fd, const void *bytes, size_t len)
{
    return fails(fd, WRITE) ? -1 : REAL(write)(fd, bytes, len);
}

EXPORT ssize_t writev(int fd, const struct iovec *parts, int count)
{
    return fails(fd, WRITE) ? -1 : REAL(writev)(fd, parts, count);
}

EXPORT int fdatasync(int fd)
{
    return fails(fd, SYNC) ? -1 : REAL(fdatasync)(fd);
}

EXPORT int fsync(int fd)
{
    return fails(fd, SYNC) ? -1 : REAL(fsync)(fd);
}

EXPORT int ftruncate(int fd, off_t size)
{
    return fails(fd, SIZE) ? -1 : REAL(ftruncate)(fd, size);
}

EXPORT int ftruncate64(int fd, off64_t size)
{
    return ftruncate(fd, size);
}

EXPORT int fallocate(int fd, int mode, off_t offset, off_t len)
{
    return fails(fd, SIZE) ? -1 : REAL(fallocate)(fd, mode, offset, len);
}

EXPORT int fallocate64(int fd, int mode, off64_t offset, off64_t len)
{
    return fallocate(fd, mode, offset, len);
}

__attribute__((constructor)) static void start(void)
{
    const char *path = getenv("FAULT_CONTROL"), *store = getenv("FAULT_STORE");
    if (!path || !store)
        return;
    snprintf(data_path, sizeof(data_path), "%s/data.mdb", store);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    void *map = fd < 0 ? MAP_FAILED
                       : mmap(NULL, sizeof(*control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED) { /* nothing that can't fail may pass for something that did not */
        static const char text[] = "fault: FAULT_CONTROL can't be mapped\n";
        (void)!write(STDERR_FILENO, text, sizeof(text) - 1);
        _exit(127);
    }
    close(fd);
    control = map;
}
