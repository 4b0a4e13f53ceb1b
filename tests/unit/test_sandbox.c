/* From inside the sandbox: what must fail fails, what the worker does works. */

#include "tests/unit/temporary.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "sandbox/sandbox.h"

enum { IN_SANDBOX = 77 }; /* the exit status of a child in which all went well */

/* Runs act in a child that is in a sandbox; returns its wait status. */
static int run(bool (*act)(const char *folder))
{
    struct folder folder = folder_make();
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        char level[128], reason[256];
        if (!sandbox_enter(folder.path, level, sizeof(level), reason, sizeof(reason)))
            _exit(1);
        _exit(act(folder.path) ? IN_SANDBOX : 2);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    rmdir(folder.path);
    return status;
}

static bool exited_well(int status)
{
    return WIFEXITED(status) && WEXITSTATUS(status) == IN_SANDBOX;
}

static bool was_killed(int status)
{
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS;
}

static bool opening_fails(const char *folder)
{
    (void)folder;
    errno = 0;
    return open("/etc/passwd", O_RDONLY) < 0 && errno == EACCES;
}

static bool connects(const char *folder)
{
    (void)folder;
    struct sockaddr_in address = {.sin_family = AF_INET};
    (void)connect(STDERR_FILENO, (struct sockaddr *)&address, sizeof(address));
    return true;
}

static bool makes_a_socket(const char *folder)
{
    (void)folder;
    (void)socket(AF_INET, SOCK_STREAM, 0);
    return true;
}

static bool executes(const char *folder)
{
    (void)folder;
    execl("/bin/true", "true", (char *)NULL);
    return true;
}

static bool forks(const char *folder)
{
    (void)folder;
    (void)fork();
    return true;
}

static bool looks_at_a_path(const char *folder)
{
    struct stat status;
    (void)stat(folder, &status);
    return true;
}

static bool traces(const char *folder)
{
    (void)folder;
    (void)syscall(SYS_ptrace, 0, 0, 0, 0);
    return true;
}

static void *do_nothing(void *context)
{
    return context;
}

static bool allocates_and_threads(const char *folder)
{
    (void)folder;
    pthread_t thread;
    char *memory = malloc((size_t)8 << 20);
    if (!memory || pthread_create(&thread, NULL, do_nothing, NULL) != 0)
        return false;
    memset(memory, 1, (size_t)8 << 20);
    free(memory);
    return pthread_join(thread, NULL) == 0;
}

static void test_open_fails(void **state)
{
    (void)state;
    assert_true(exited_well(run(opening_fails)));
}

static void test_what_ends_the_process(void **state)
{
    (void)state;
    static bool (*const acts[])(const char *) = {connects, makes_a_socket,  executes,
                                                 forks,    looks_at_a_path, traces};
    for (size_t i = 0; i < COUNT_OF(acts); i++)
        require(was_killed(run(acts[i])), "act %zu", i);
}

static void test_what_works(void **state)
{
    (void)state;
    assert_true(exited_well(run(allocates_and_threads)));
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
        char level[128], reason[256];
        if (sandbox_enter(folder.path, level, sizeof(level), reason, sizeof(reason)))
            poll(NULL, 0, -1); /* until it has been looked at */
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

/* In a child: what limit it has, and whether that was enough. */
static void test_descriptors(void **state)
{
    (void)state;
    static const struct {
        rlim_t soft, hard, raised;
    } rows[] = {{11, 11, 11}, {11, 63, 63}, {64, 64, 64}, {20, 200, 200}, {300, 300, 300}};
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            char reason[256] = "";
            struct rlimit limit = {rows[i].soft, rows[i].hard};
            bool right =
                setrlimit(RLIMIT_NOFILE, &limit) == 0 &&
                sandbox_raise_descriptors(reason, sizeof(reason)) == (rows[i].hard >= 64) &&
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
        cmocka_unit_test(test_open_fails),  cmocka_unit_test(test_what_ends_the_process),
        cmocka_unit_test(test_what_works),  cmocka_unit_test(test_root_is_dropped),
        cmocka_unit_test(test_descriptors),
    };
    if (!sandbox_is_possible()) { /* a sanitizer's build has none: see sandbox.h */
        printf("TAP version 13\n1..1\nok 1 - sandbox_is_off\n");
        return 0;
    }
    return cmocka_run_group_tests_name("sandbox", tests, NULL, NULL);
}
