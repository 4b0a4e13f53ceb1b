/* Linked into the programs that `make coverage` builds only: opens the files that libgcov writes
 * its counts to when a program starts, as a sandboxed program can't open them when it ends. The
 * other calls of libgcov are on the sandbox's list. */

#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Above what the tests of too few descriptors leave, so that they see no difference. */
enum { FILES_MAX = 256, DESCRIPTOR_MIN = 512 };

/* The first two as gcc's <gcov.h> has them, which clang-tidy does not find.
 * NOLINTBEGIN(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp): libgcov's, the linker's */
void __gcov_dump(void);
void __gcov_reset(void);
void __wrap_closefrom(int first);
int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
_Noreturn void __real__exit(int status);
_Noreturn void __wrap__exit(int status);
/* NOLINTEND(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp) */

static struct {
    const char *path;
    int fd;
} files[FILES_MAX];
static size_t file_count;
static bool collecting;

static bool is_counts(const char *path)
{
    size_t len = strlen(path);
    return len > 5 && strcmp(path + len - 5, ".gcda") == 0;
}

static void keep(const char *path, int fd)
{
    if (file_count == FILES_MAX)
        return;
    files[file_count].path = strdup(path);
    files[file_count].fd = fcntl(fd, F_DUPFD_CLOEXEC, DESCRIPTOR_MIN);
    if (files[file_count].path && files[file_count].fd >= 0)
        file_count++;
}

/* Answers with a file that is thrown away: if counts were written when a program starts, a test
 * that kills it could leave half a file. */
static int collect(const char *path)
{
    int fd = __real_open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (fd >= 0) {
        fchmod(fd, 0666); /* workers are other users, and a umask may be in force */
        keep(path, fd);
        close(fd);
    }
    return memfd_create("counts", MFD_CLOEXEC);
}

static int reopen(const char *path)
{
    for (size_t i = 0; i < file_count; i++)
        if (strcmp(files[i].path, path) == 0 && lseek(files[i].fd, 0, SEEK_SET) == 0)
            return fcntl(files[i].fd, F_DUPFD, 0);
    return -1;
}

/* NOLINTNEXTLINE(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp) */
int __wrap_open(const char *path, int flags, ...)
{
    mode_t mode = 0;
    if (flags & (O_CREAT | O_TMPFILE)) {
        va_list list;
        va_start(list, flags);
        mode = va_arg(list, mode_t);
        va_end(list);
    }
    if (is_counts(path)) {
        if (collecting)
            return collect(path);
        int fd = reopen(path);
        if (fd >= 0)
            return fd;
    }
    return __real_open(path, flags, mode);
}

/* The program closes what it inherited: not the files of counts. */
/* NOLINTNEXTLINE(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp) */
void __wrap_closefrom(int first)
{
    close_range((unsigned)first, DESCRIPTOR_MIN - 1, 0);
}

/* How the tests' child processes end; libgcov hears only of exit. */
/* NOLINTNEXTLINE(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp) */
_Noreturn void __wrap__exit(int status)
{
    __gcov_dump();
    __real__exit(status);
}

/* libgcov has no list of its files to ask for, but opens each of them in a dump. */
__attribute__((constructor)) static void keep_files(void)
{
    collecting = true;
    __gcov_dump();
    collecting = false;
    __gcov_reset();
}
