/* From inside the sandbox: what must fail fails, what the worker does works. */

#include "tests/unit/temporary.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <seccomp.h>

#include "sandbox/sandbox.h"

enum { IN_SANDBOX = 77 }; /* the exit status of a child in which everything went well */

static char level[256];
static const char *files[2]; /* none, unless a test sets the first */
static bool network;

/* Opened before the sandbox is entered. */
static struct {
    const char *folder;
    int sockets[2];
    int listening;
} world;

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

static void open_world(const char *folder)
{
    world.folder = folder;
    world.listening = socket(AF_INET, SOCK_STREAM, 0);
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, world.sockets) != 0 || listen(world.listening, 1) != 0)
        _exit(3);
}

/* Runs act in a child inside the sandbox, after prepare outside of it; returns its wait status. */
static int run_after(void (*prepare)(void), bool (*act)(void))
{
    struct folder folder = folder_make();
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        char reason[256];
        open_world(folder.path);
        if (prepare)
            prepare();
        struct sandbox_needs needs = {folder.path, network, files};
        if (!sandbox_enter(&needs, level, sizeof(level), reason, sizeof(reason)))
            _exit(1);
        _exit(act() ? IN_SANDBOX : 2);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    rmdir(folder.path);
    return status;
}

static int run(bool (*act)(void))
{
    return run_after(NULL, act);
}

static bool exited_well(int status)
{
    return WIFEXITED(status) && WEXITSTATUS(status) == IN_SANDBOX;
}

static bool was_killed(int status)
{
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS;
}

/* ---- calls that end the process ---- */

struct forbidden {
    const char *name;
    long number;
    long arguments[6];
};

static const struct forbidden *attempt;

static bool make_attempt(void)
{
    const long *a = attempt->arguments;
    (void)syscall(attempt->number, a[0], a[1], a[2], a[3], a[4], a[5]);
    return true;
}

#define ADDRESS(pointer) ((long)(uintptr_t)(pointer))

static void test_forbidden_calls(void **state)
{
    (void)state;
    static struct sockaddr_in address = {.sin_family = AF_INET};
    static struct msghdr message;
    static struct rlimit limit;
    const long parent = getpid(), path = ADDRESS("/etc/passwd"), page = 4096;
    const struct forbidden rows[] = {
        {"socket", SYS_socket, {AF_INET, SOCK_STREAM}},
        {"socketpair", SYS_socketpair, {AF_UNIX, SOCK_STREAM, 0, ADDRESS(&address)}},
        {"connect", SYS_connect, {STDERR_FILENO, ADDRESS(&address), sizeof(address)}},
        {"bind", SYS_bind, {STDERR_FILENO, ADDRESS(&address), sizeof(address)}},
        {"sendto", SYS_sendto, {STDERR_FILENO}},
        {"sendmsg", SYS_sendmsg, {STDERR_FILENO, ADDRESS(&message)}},
        {"recvmsg", SYS_recvmsg, {STDERR_FILENO, ADDRESS(&message)}},
        {"sendmmsg", SYS_sendmmsg, {STDERR_FILENO, ADDRESS(&message), 1}},
        {"recvmmsg", SYS_recvmmsg, {STDERR_FILENO, ADDRESS(&message), 1}},
        {"pidfd_getfd", SYS_pidfd_getfd, {0, 0, 0}},
        {"execve", SYS_execve, {ADDRESS("/bin/true")}},
        {"execveat", SYS_execveat, {AT_FDCWD, ADDRESS("/bin/true")}},
        {"fork", SYS_fork, {0}},
        {"vfork", SYS_vfork, {0}},
        {"clone of a process", SYS_clone, {SIGCHLD}},
        {"ptrace", SYS_ptrace, {0}},
        {"process_vm_readv", SYS_process_vm_readv, {parent}},
        {"kill", SYS_kill, {parent, 0}},
        {"tkill", SYS_tkill, {parent, 0}},
        {"tgkill of another process", SYS_tgkill, {parent, parent, 0}},
        {"rt_sigqueueinfo", SYS_rt_sigqueueinfo, {parent, SIGTERM, 0}},
        {"pidfd_send_signal", SYS_pidfd_send_signal, {0}},
        {"fcntl F_SETOWN", SYS_fcntl, {STDERR_FILENO, F_SETOWN, parent}},
        {"fcntl F_SETSIG", SYS_fcntl, {STDERR_FILENO, F_SETSIG, SIGTERM}},
        {"ioctl FIOSETOWN", SYS_ioctl, {STDERR_FILENO, 0x8901, ADDRESS(&parent)}},
        {"ioctl TIOCSTI", SYS_ioctl, {STDERR_FILENO, 0x5412, ADDRESS("x")}},
        {"setpriority of another", SYS_setpriority, {PRIO_PROCESS, parent, 1}},
        {"setpriority of a group", SYS_setpriority, {PRIO_PGRP, 0, 1}},
        {"setpriority of a user", SYS_setpriority, {PRIO_USER, 0, 1}},
        {"setrlimit", SYS_setrlimit, {RLIMIT_CORE, ADDRESS(&limit)}},
        {"prlimit64", SYS_prlimit64, {parent, RLIMIT_CORE, ADDRESS(&limit)}},
        {"prlimit64 of itself", SYS_prlimit64, {0, RLIMIT_CORE, ADDRESS(&limit)}},
        {"prctl", SYS_prctl, {PR_SET_DUMPABLE, 1}},
        {"setuid", SYS_setuid, {0}},
        {"mmap PROT_EXEC",
         SYS_mmap,
         {0, page, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1}},
        {"mprotect PROT_EXEC", SYS_mprotect, {0, page, PROT_READ | PROT_EXEC}},
        {"pkey_mprotect", SYS_pkey_mprotect, {0, page, PROT_EXEC, -1}},
        {"setsockopt of TCP", SYS_setsockopt, {STDERR_FILENO, IPPROTO_TCP, 1}},
        {"stat", SYS_stat, {path}},
        {"lstat", SYS_lstat, {path}},
        {"newfstatat of a path", SYS_newfstatat, {AT_FDCWD, path, ADDRESS(&message), 0}},
        {"statx of a path", SYS_statx, {AT_FDCWD, path, 0, 0, ADDRESS(&message)}},
        {"access", SYS_access, {path}},
        {"faccessat", SYS_faccessat, {AT_FDCWD, path}},
        {"faccessat2", SYS_faccessat2, {AT_FDCWD, path}},
        {"openat2", SYS_openat2, {AT_FDCWD, path}},
        {"creat", SYS_creat, {path}},
        {"readlink", SYS_readlink, {path}},
        {"unlink", SYS_unlink, {ADDRESS("/nowhere/file")}},
        {"unlinkat", SYS_unlinkat, {AT_FDCWD, ADDRESS("/nowhere/file")}},
        {"rename", SYS_rename, {ADDRESS("/nowhere/file"), path}},
        {"link", SYS_link, {ADDRESS("/nowhere/file"), path}},
        {"symlink", SYS_symlink, {ADDRESS("x"), ADDRESS("/nowhere/file")}},
        {"mkdir", SYS_mkdir, {ADDRESS("/nowhere/folder")}},
        {"chmod", SYS_chmod, {ADDRESS("/nowhere/file")}},
        {"chown", SYS_chown, {ADDRESS("/nowhere/file")}},
        {"truncate", SYS_truncate, {ADDRESS("/nowhere/file")}},
        {"chdir", SYS_chdir, {ADDRESS("/")}},
        {"chroot", SYS_chroot, {ADDRESS("/")}},
        {"mount", SYS_mount, {ADDRESS("x"), ADDRESS("/nowhere")}},
        {"inotify_add_watch", SYS_inotify_add_watch, {-1, path}},
        {"memfd_create", SYS_memfd_create, {ADDRESS("x")}},
        {"io_uring_setup", SYS_io_uring_setup, {1}},
        {"bpf", SYS_bpf, {0}},
        {"seccomp", SYS_seccomp, {0}},
        {"unshare", SYS_unshare, {CLONE_NEWUSER}},
        {"personality", SYS_personality, {0x0400000}},
        {"getpid of x32", SYS_getpid | 0x40000000, {0}},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        attempt = &rows[i];
        require(was_killed(run(make_attempt)), "%s", rows[i].name);
    }
}

/* ---- calls that fail ---- */

static bool opening_fails(void)
{
    errno = 0;
    if (open("/etc/passwd", O_RDONLY) >= 0 || errno != EACCES)
        return false;
    errno = 0;
    if (syscall(SYS_open, "/etc/passwd", O_RDONLY) >= 0 || errno != EACCES)
        return false;
    errno = 0;
    return syscall(SYS_clone3, NULL, 0) < 0 && errno == ENOSYS;
}

static void test_failing_calls(void **state)
{
    (void)state;
    assert_true(exited_well(run(opening_fails)));
}

/* ---- calls that work ---- */

static void *lower_priority(void *context)
{
    return setpriority(PRIO_PROCESS, 0, 10) == 0 ? context : NULL;
}

static bool threads_work(void)
{
    pthread_t thread;
    void *result = NULL;
    return pthread_create(&thread, NULL, lower_priority, &world) == 0 &&
           pthread_join(thread, &result) == 0 && result == &world;
}

static bool memory_works(void)
{
    const size_t size = (size_t)8 << 20;
    char *memory = malloc(size);
    if (!memory)
        return false;
    memset(memory, 1, size);
    memory = realloc(memory, 2 * size);
    free(memory);
    void *map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return memory && map != MAP_FAILED && mprotect(map, size, PROT_READ) == 0 &&
           munmap(map, size) == 0;
}

/* What libfcgi and the event loop do with a connection. */
static bool connections_work(void)
{
    struct timeval timeout = {.tv_sec = 1};
    struct pollfd wait = {.fd = world.sockets[1], .events = POLLIN};
    struct sockaddr_storage address;
    socklen_t address_len = sizeof(address);
    fd_set set;
    char byte;
    FD_ZERO(&set);
    FD_SET(world.sockets[1], &set);
    return setsockopt(world.sockets[0], SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) == 0 &&
           setsockopt(world.sockets[0], SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout)) == 0 &&
           fcntl(world.sockets[0], F_SETFL, fcntl(world.sockets[0], F_GETFL) | O_NONBLOCK) == 0 &&
           fcntl(world.listening, F_SETFL, O_NONBLOCK) == 0 &&
           accept4(world.listening, NULL, NULL, SOCK_CLOEXEC) < 0 && errno == EAGAIN &&
           write(world.sockets[0], "x", 1) == 1 && poll(&wait, 1, 1000) == 1 &&
           select(FD_SETSIZE, &set, NULL, NULL, &timeout) == 1 &&
           getpeername(world.sockets[1], (struct sockaddr *)&address, &address_len) == 0 &&
           recv(world.sockets[1], &byte, 1, MSG_PEEK) == 1 &&
           read(world.sockets[1], &byte, 1) == 1 && shutdown(world.sockets[0], SHUT_WR) == 0 &&
           close(world.sockets[0]) == 0;
}

/* With AT_EMPTY_PATH also by a path, which a filter can't see: see filter.c. */
static bool status_works(void)
{
    struct stat status;
    struct statx found;
    return fstat(world.listening, &status) == 0 &&
           fstatat(world.listening, "", &status, AT_EMPTY_PATH) == 0 &&
           statx(world.listening, "", AT_EMPTY_PATH, STATX_NLINK, &found) == 0 &&
           statx(AT_FDCWD, world.folder, AT_EMPTY_PATH, STATX_INO, &found) == 0;
}

static bool signal_to_itself_works(void)
{
    return tgkill(getpid(), gettid(), 0) == 0;
}

static void test_allowed_calls(void **state)
{
    (void)state;
    static bool (*const acts[])(void) = {threads_work, memory_works, connections_work, status_works,
                                         signal_to_itself_works};
    for (size_t i = 0; i < COUNT_OF(acts); i++) {
        int status = run(acts[i]);
        require(exited_well(status), "act %zu: status %x", i, (unsigned)status);
    }
}

static bool aborts(void)
{
    abort();
}

static void test_abort(void **state)
{
    (void)state;
    int status = run(aborts);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

/* ---- a store on the network ---- */

static bool connecting_works(void)
{
    static const int families[] = {AF_UNIX, AF_INET, AF_INET6};
    struct stat status;
    errno = 0;
    if (connect(STDERR_FILENO, NULL, 0) >= 0 || stat("/etc/passwd", &status) == 0 ||
        errno != EACCES)
        return false;
    for (size_t i = 0; i < COUNT_OF(families); i++)
        if (socket(families[i], SOCK_STREAM | SOCK_CLOEXEC, 0) < 0)
            return false;
    return opening_fails();
}

/* Only the file; a closed descriptor is what the others are refused before. */
static bool reading_works(void)
{
    struct stat status;
    int fd = open(files[0], O_RDONLY);
    errno = 0;
    return fd >= 0 && stat("/etc/passwd", &status) == 0 && opening_fails() &&
           open("/etc", O_RDONLY | O_DIRECTORY) < 0 && errno == EACCES;
}

static void test_network(void **state)
{
    (void)state;
    static struct sockaddr_in address = {.sin_family = AF_INET};
    const struct forbidden rows[] = {
        {"socket of netlink", SYS_socket, {AF_NETLINK, SOCK_RAW}},
        {"bind", SYS_bind, {STDERR_FILENO, ADDRESS(&address), sizeof(address)}},
        {"sendmsg", SYS_sendmsg, {STDERR_FILENO}},
        {"recvmsg", SYS_recvmsg, {STDERR_FILENO}},
        {"execve", SYS_execve, {ADDRESS("/bin/true")}},
        {"unlink", SYS_unlink, {ADDRESS("/nowhere/file")}},
    };
    const struct forbidden with_files[] = {
        {"openat to write", SYS_openat, {AT_FDCWD, ADDRESS("/etc/hostname"), O_WRONLY}},
        {"openat to truncate", SYS_openat, {AT_FDCWD, ADDRESS("/etc/hostname"), O_TRUNC}},
        {"openat to create", SYS_openat, {AT_FDCWD, ADDRESS("/nowhere/file"), O_CREAT}},
        {"openat2", SYS_openat2, {AT_FDCWD, ADDRESS("/etc/hostname")}},
    };
    network = true;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        attempt = &rows[i];
        require(was_killed(run(make_attempt)), "%s", rows[i].name);
    }
    assert_true(exited_well(run(connecting_works)));
    files[0] = "/etc/group";
    for (size_t i = 0; i < COUNT_OF(with_files); i++) {
        attempt = &with_files[i];
        require(was_killed(run(make_attempt)), "%s", with_files[i].name);
    }
    assert_true(exited_well(run(reading_works)));
    files[0] = NULL;
    network = false;
}

/* ---- a system that refuses a part ---- */

/* As a container's own filter does: the call fails. */
static void refuse(int call, uint32_t error, unsigned count, struct scmp_arg_cmp argument)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    if (!filter ||
        seccomp_rule_add_array(filter, SCMP_ACT_ERRNO(error), call, count, &argument) != 0 ||
        seccomp_load(filter) != 0)
        _exit(4);
    seccomp_release(filter);
}

static const struct scmp_arg_cmp any;

static void refuse_capset(void)
{
    refuse(SCMP_SYS(capset), EPERM, 0, any);
}

static void refuse_limits(void)
{
    refuse(SCMP_SYS(prlimit64), EPERM, 0, any);
}

static void refuse_new_privileges(void)
{
    refuse(SCMP_SYS(prctl), ENOSYS, 1, SCMP_A0(SCMP_CMP_EQ, PR_SET_NO_NEW_PRIVS, 0));
}

static void refuse_seccomp(void)
{
    refuse(SCMP_SYS(prctl), ENOSYS, 1, SCMP_A0(SCMP_CMP_EQ, PR_SET_SECCOMP, 0));
    refuse(SCMP_SYS(seccomp), ENOSYS, 0, any);
}

static void refuse_landlock(void)
{
    files[0] = "/etc/group";
    refuse(SCMP_SYS(landlock_create_ruleset), ENOSYS, 0, any);
}

static bool names(const char *part, const char *error)
{
    const char *at = strstr(level, part);
    return at && strncmp(at + strlen(part), error, strlen(error)) == 0;
}

static bool filter_is_loaded(void)
{
    errno = 0;
    return open("/etc/passwd", O_RDONLY) < 0 && errno == EACCES;
}

static bool names_capset(void)
{
    return names("capset", " (Operation not permitted)") && filter_is_loaded();
}

static bool names_limits(void)
{
    return names("PR_SET_DUMPABLE", " (Operation not permitted)") && filter_is_loaded();
}

/* Without it only root may load a filter, and has no capability any more. */
static bool names_new_privileges(void)
{
    return names("no_new_privs", " (Function not implemented)") && names("seccomp", " (");
}

static bool names_seccomp(void)
{
    return names("seccomp", " (") && !filter_is_loaded() && prctl(PR_GET_DUMPABLE) == 0 &&
           prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1;
}

static bool names_landlock(void)
{
    return names("landlock", " (Function not implemented)") && open("/etc/passwd", O_RDONLY) >= 0;
}

static bool names_nothing(void)
{
    return strcmp(level, "sandbox: on") == 0 && filter_is_loaded();
}

static void test_refused_parts(void **state)
{
    (void)state;
    static const struct {
        void (*prepare)(void);
        bool (*act)(void);
    } rows[] = {{NULL, names_nothing},           {refuse_capset, names_capset},
                {refuse_limits, names_limits},   {refuse_new_privileges, names_new_privileges},
                {refuse_seccomp, names_seccomp}, {refuse_landlock, names_landlock}};
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        int status = run_after(rows[i].prepare, rows[i].act);
        require(exited_well(status), "row %zu: status %x", i, (unsigned)status);
    }
}

/* ---- descriptors ---- */

static void test_inherited_descriptors(void **state)
{
    (void)state;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        const int high = 500;
        struct stat status, null;
        bool right = dup2(STDERR_FILENO, 3) == 3 && dup2(STDERR_FILENO, high) == high &&
                     close(STDIN_FILENO) == 0 && close(STDOUT_FILENO) == 0 &&
                     stat("/dev/null", &null) == 0;
        sandbox_close_inherited();
        right = right && !is_open(3) && !is_open(4) && !is_open(high) && is_open(STDERR_FILENO);
        for (int fd = 0; fd <= STDOUT_FILENO; fd++)
            right = right && fstat(fd, &status) == 0 && status.st_rdev == null.st_rdev;
        _exit(right ? IN_SANDBOX : 2);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(exited_well(status));
}

static void read_field(const char *line, const char *name, int base, unsigned long long *value)
{
    if (strncmp(line, name, strlen(name)) == 0)
        *value = strtoull(line + strlen(name), NULL, base);
}

/* As root: the folder's owner, or root without a capability. */
static void test_root_is_dropped(void **state)
{
    (void)state;
    struct folder folder = folder_make();
    const uid_t owner = 33, root = geteuid();
    if (root == 0)
        assert_int_equal(chown(folder.path, owner, owner), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        char reason[256];
        struct sandbox_needs needs = {folder.path, false, files};
        if (sandbox_enter(&needs, level, sizeof(level), reason, sizeof(reason)))
            poll(NULL, 0, -1); /* until the parent has read its status */
        _exit(1);
    }
    char name[64], line[256] = "";
    bool dropped = false;
    for (int i = 0; i < 500 && !dropped; i++) {
        snprintf(name, sizeof(name), "/proc/%d/status", (int)child);
        FILE *file = fopen(name, "r");
        unsigned long long uid = 0, seccomp = 0, capabilities = 1;
        while (file && fgets(line, sizeof(line), file)) {
            read_field(line, "Uid:", 10, &uid);
            read_field(line, "CapEff:", 16, &capabilities);
            read_field(line, "Seccomp:", 10, &seccomp);
        }
        if (file)
            fclose(file);
        dropped = seccomp == 2 && capabilities == 0 && (root != 0 || uid == owner);
        usleep(10000);
    }
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    rmdir(folder.path);
    assert_true(dropped);
}

/* In a child, for each pair of limits: the limit afterwards, and whether it is enough. */
static void test_descriptors(void **state)
{
    (void)state;
    static const struct {
        rlim_t soft, hard, raised;
    } rows[] = {{11, 11, 11},   {11, 63, 63},    {64, 64, 64},
                {20, 200, 200}, {300, 300, 300}, {64, 20000, 16384}};
    struct rlimit own;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &own), 0);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        if (rows[i].hard > own.rlim_max) /* only root could raise it */
            continue;
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            char reason[256] = "";
            struct rlimit limit = {rows[i].soft, rows[i].hard};
            bool right = setrlimit(RLIMIT_NOFILE, &limit) == 0 &&
                         sandbox_raise_descriptors(reason, sizeof(reason)) ==
                             (rows[i].hard >= 64 ? rows[i].raised : 0) &&
                         (strstr(reason, "RLIMIT_NOFILE") != NULL) == (rows[i].hard < 64) &&
                         getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur == rows[i].raised;
            _exit(right ? IN_SANDBOX : 2);
        }
        int status = 0;
        assert_int_equal(waitpid(child, &status, 0), child);
        require(exited_well(status), "row %zu", i);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forbidden_calls),
        cmocka_unit_test(test_failing_calls),
        cmocka_unit_test(test_allowed_calls),
        cmocka_unit_test(test_abort),
        cmocka_unit_test(test_network),
        cmocka_unit_test(test_refused_parts),
        cmocka_unit_test(test_inherited_descriptors),
        cmocka_unit_test(test_root_is_dropped),
        cmocka_unit_test(test_descriptors),
    };
    return cmocka_run_group_tests_name("sandbox", tests, NULL, NULL);
}
