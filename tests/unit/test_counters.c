/* A worker that is killed while it makes the file of another version into its own. The rest is in
 * tests/http/test_metrics.py. */

#include "tests/unit/unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "counters/counters.h"

enum { CELL = COUNTER_REPLAYS, KILLED = 99 };

static bool is_killed;

/* NOLINTBEGIN(readability-inconsistent-declaration-parameter-name): the C library's are reserved */

/* In place of the C library's. */
int ftruncate(int fd, off_t len)
{
    if (is_killed)
        _exit(KILLED);
    return (int)syscall(SYS_ftruncate, fd, len);
}

/* As in a folder of root's: the file is emptied, not replaced. */
int unlink(const char *path)
{
    (void)path;
    errno = EACCES;
    return -1;
}
/* NOLINTEND(readability-inconsistent-declaration-parameter-name) */

/* The exit status of a worker of a version, which counts once and ends: what it has counted. */
static int run_worker(const char *path, uint64_t layout, bool killed)
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        struct counters counters;
        char reason[256];
        is_killed = killed;
        if (!counters_open(&counters, path, layout, reason, sizeof(reason)) || *reason)
            _exit(KILLED + 1);
        counters_add(&counters, CELL, 1);
        _exit((int)counters_get(&counters, CELL));
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void test_killed_while_it_empties_the_file(void **state)
{
    (void)state;
    char folder[] = "/tmp/token.XXXXXX", path[sizeof(folder) + 8];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/metrics", folder);
    for (int i = 1; i <= 3; i++)
        assert_int_equal(run_worker(path, 7, false), i);
    assert_int_equal(run_worker(path, 8, true), KILLED);
    assert_int_equal(run_worker(path, 8, false), 1);
    assert_int_equal(run_worker(path, 8, false), 2);
    assert_int_equal(syscall(SYS_unlink, path), 0);
    assert_int_equal(rmdir(folder), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_killed_while_it_empties_the_file)};
    return cmocka_run_group_tests_name("counters", tests, NULL, NULL);
}
