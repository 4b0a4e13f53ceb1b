#include "sandbox/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <seccomp.h>

/* What glibc, libfcgi, LMDB, libsodium and the event loop call once everything is open. No call
 * that takes a path, and none that passes descriptors to or from another process. */
static const int allowed[] = {
    /* connections */
    SCMP_SYS(accept4), SCMP_SYS(shutdown), SCMP_SYS(close), SCMP_SYS(getsockopt),
    SCMP_SYS(getpeername), SCMP_SYS(poll), SCMP_SYS(ppoll), SCMP_SYS(select), SCMP_SYS(pselect6),
    SCMP_SYS(recvfrom), SCMP_SYS(epoll_create1), SCMP_SYS(epoll_ctl), SCMP_SYS(epoll_wait),
    SCMP_SYS(epoll_pwait), SCMP_SYS(eventfd2), SCMP_SYS(signalfd4),
    /* open files */
    SCMP_SYS(read), SCMP_SYS(write), SCMP_SYS(readv), SCMP_SYS(writev), SCMP_SYS(pread64),
    SCMP_SYS(pwrite64), SCMP_SYS(pwritev), SCMP_SYS(lseek), SCMP_SYS(fsync), SCMP_SYS(fdatasync),
    SCMP_SYS(flock), SCMP_SYS(msync), SCMP_SYS(ftruncate), SCMP_SYS(fstat), SCMP_SYS(fstatfs),
    /* memory */
    SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(madvise), SCMP_SYS(brk), SCMP_SYS(mlock),
    SCMP_SYS(munlock), SCMP_SYS(sysinfo) /* qsort */,
    /* threads */
    SCMP_SYS(futex), SCMP_SYS(set_robust_list), SCMP_SYS(rseq), SCMP_SYS(gettid), SCMP_SYS(getpid),
    SCMP_SYS(sched_yield), SCMP_SYS(sched_getaffinity), SCMP_SYS(exit), SCMP_SYS(exit_group),
    /* signals */
    SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigreturn),
    SCMP_SYS(restart_syscall),
    /* time and randomness */
    SCMP_SYS(clock_gettime), SCMP_SYS(clock_nanosleep), SCMP_SYS(gettimeofday), SCMP_SYS(time),
    SCMP_SYS(getrandom)};

/* Calls that are allowed with some values of an argument, or that fail instead of ending the
 * process. */
static const struct {
    struct scmp_arg_cmp argument; /* its number from 0, comparison, and operands */
    int call;
    uint32_t error; /* where not 0, the call fails with it */
} rules[] = {
    /* Threads, no processes. */
    {{0, SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD}, SCMP_SYS(clone), 0},
    /* No executable memory. */
    {{2, SCMP_CMP_MASKED_EQ, PROT_EXEC, 0}, SCMP_SYS(mmap), 0},
    {{2, SCMP_CMP_MASKED_EQ, PROT_EXEC, 0}, SCMP_SYS(mprotect), 0},
    /* No F_SETOWN and F_SETSIG, which have the kernel send signals to other processes. */
    {{1, SCMP_CMP_LE, F_SETLKW, 0}, SCMP_SYS(fcntl), 0},
    /* Time-outs. */
    {{1, SCMP_CMP_EQ, SOL_SOCKET, 0}, SCMP_SYS(setsockopt), 0},
    /* stdio asks whether its output is a terminal. */
    {{1, SCMP_CMP_EQ, TCGETS, 0}, SCMP_SYS(ioctl), 0},
    /* The status of open files. A filter can't see whether the path is empty as well: reading the
     * status of a file by its path stays possible, opening it does not. */
    {{3, SCMP_CMP_MASKED_EQ, AT_EMPTY_PATH, AT_EMPTY_PATH}, SCMP_SYS(newfstatat), 0},
    {{2, SCMP_CMP_MASKED_EQ, AT_EMPTY_PATH, AT_EMPTY_PATH}, SCMP_SYS(statx), 0},
    /* A filter can't see clone3's flags: as in a kernel without it, glibc then uses clone. */
    {{0}, SCMP_SYS(clone3), ENOSYS},
    /* libfcgi, after a connection that it could not read, asks for another of the socket -1. */
    {{0}, SCMP_SYS(accept), EBADF},
    /* glibc's allocator asks /proc how memory is overcommitted, and does without. */
    {{0}, SCMP_SYS(open), EACCES},
};

static int add_rules(scmp_filter_ctx filter)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < sizeof(allowed) / sizeof(allowed[0]); i++)
        rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, allowed[i], 0);
    for (size_t i = 0; rc == 0 && i < sizeof(rules) / sizeof(rules[0]); i++) {
        uint32_t error = rules[i].error, action = error ? SCMP_ACT_ERRNO(error) : SCMP_ACT_ALLOW;
        rc = seccomp_rule_add(filter, action, rules[i].call, error ? 0 : 1, rules[i].argument);
    }
    return rc;
}

/* Opening fails. Where there are files, opening for reading is Landlock's to allow, and libpq looks
 * at their status by their paths. */
static int add_file_rules(scmp_filter_ctx filter, bool has_files)
{
    const scmp_datum_t others = O_ACCMODE | O_CREAT | O_TRUNC | O_PATH;
    if (!has_files)
        return seccomp_rule_add(filter, SCMP_ACT_ERRNO(EACCES), SCMP_SYS(openat), 0);
    int rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(openat), 1,
                              SCMP_A2(SCMP_CMP_MASKED_EQ, others, O_RDONLY));
    return rc != 0 ? rc
                   : seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(newfstatat), 1,
                                      SCMP_A3(SCMP_CMP_MASKED_EQ, AT_EMPTY_PATH, 0));
}

/* What libpq calls to connect again. It looks for files of the user's, and does without. */
static int add_network_rules(scmp_filter_ctx filter, bool has_files)
{
    static const int families[] = {AF_UNIX, AF_INET, AF_INET6};
    static const int calls[] = {SCMP_SYS(connect), SCMP_SYS(sendto), SCMP_SYS(getsockname),
                                SCMP_SYS(getuid), SCMP_SYS(geteuid)};
    int rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(setsockopt), 1,
                              SCMP_A1(SCMP_CMP_EQ, SOL_TCP, 0));
    for (size_t i = 0; rc == 0 && i < sizeof(families) / sizeof(families[0]); i++)
        rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1,
                              SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)families[i], 0));
    for (size_t i = 0; rc == 0 && i < sizeof(calls) / sizeof(calls[0]); i++)
        rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, calls[i], 0);
    if (rc == 0 && !has_files)
        rc = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EACCES), SCMP_SYS(newfstatat), 1,
                              SCMP_A3(SCMP_CMP_MASKED_EQ, AT_EMPTY_PATH, 0));
    return rc;
}

bool sandbox_load_filter(const struct sandbox_needs *needs)
{
    bool has_files = *needs->files != NULL;
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
    int rc = filter ? add_rules(filter) : -ENOMEM;
    if (rc == 0)
        rc = add_file_rules(filter, has_files);
    if (rc == 0 && needs->network)
        rc = add_network_rules(filter, has_files);
    if (rc == 0) /* signals to this process only: abort */
        rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1,
                              SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid(), 0));
    if (rc == 0) /* the niceness of the calling thread only */
        rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(setpriority), 2,
                              SCMP_A0(SCMP_CMP_EQ, PRIO_PROCESS, 0), SCMP_A1(SCMP_CMP_EQ, 0, 0));
    if (rc ==
        0) { /* a binary tree, where the last call is as fast as the first; the kernel's errno */
        (void)seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
        (void)seccomp_attr_set(filter, SCMP_FLTATR_API_SYSRAWRC, 1);
        rc = seccomp_load(filter);
    }
    seccomp_release(filter);
    errno = -rc;
    return rc == 0;
}
