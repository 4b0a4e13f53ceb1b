#include "tests/unit/unit.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/temporary.h"

/* Several processes on one store. Each opens it after the fork, as it has to. In a
 * child nothing is asserted: its exit status says how it went. */

typedef int child_work(const struct temporary *temporary, int number, int ready_fd);

static pid_t start(const struct temporary *temporary, child_work *work, int number, int *ready_fd)
{
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        close(fds[0]);
        alarm(120); /* whatever happens, it does not stay */
        _exit(work(temporary, number, fds[1]));
    }
    close(fds[1]);
    *ready_fd = fds[0];
    return pid;
}

/* Waits for the child's word. */
static void await_ready(int ready_fd)
{
    char byte;
    assert_int_equal(read(ready_fd, &byte, 1), 1);
}

static bool say_ready(int ready_fd)
{
    return write(ready_fd, "", 1) == 1;
}

static void await_success(pid_t pid, int ready_fd)
{
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    close(ready_fd);
    require(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the child ended with %x",
            (unsigned)status);
}

static void kill_child(pid_t pid, int ready_fd)
{
    int status;
    close(ready_fd);
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
}

/* A store with that many users, closed. */
static void make_store(struct temporary *temporary, int users)
{
    char access_token[STORE_CREDENTIAL_LEN];
    temporary_create_folder(temporary, 0);
    temporary_open(temporary);
    for (int i = 0; i < users; i++)
        temporary_add_user(temporary, access_token);
    temporary_close(temporary);
}

/* ---- writing at once ---- */

enum {
    WRITERS = 3,
    ROUNDS = 40,
    TOKENS_A_ROUND = 10,
    HELD_AT_THE_END = ROUNDS * (TOKENS_A_ROUND - 2),
    MODELS_LEN = 2000
};

/* Creates tokens of its own user, deletes one in five, and keeps the count. */
static int write_much(const struct temporary *temporary, int number, int ready_fd)
{
    struct store *store;
    struct store_reader *reader;
    char reason[STORE_REASON_SIZE];
    if (store_open(&temporary->options, &store, reason) != STORE_OK ||
        store_reader_open(store, &reader) != STORE_OK || !say_ready(ready_fd))
        return 2;
    uint64_t held = 0;
    for (int round = 0; round < ROUNDS; round++) {
        int64_t first;
        if (temporary_create_tokens(store, number, TOKENS_A_ROUND, MODELS_LEN, 0, &first) !=
            STORE_OK)
            return 3;
        const int64_t ids[] = {first, first + 5};
        struct store_write write = {.kind = STORE_DELETE,
                                    .user_id = number,
                                    .delete = {.ids = ids, .id_count = COUNT_OF(ids)}};
        if (store_write(store, &write) != STORE_OK || write.delete.deleted_count != 2)
            return 4;
        held += TOKENS_A_ROUND - 2;
        if (temporary_count(reader, number) != held)
            return 5;
    }
    store_reader_close(reader);
    store_close(store);
    return 0;
}

/* Whether all children have ended, without waiting; they can be waited for later. */
static bool have_ended(const pid_t pids[static WRITERS])
{
    for (int i = 0; i < WRITERS; i++) {
        siginfo_t info = {.si_pid = 0};
        if (waitid(P_PID, (id_t)pids[i], &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
            info.si_pid == 0)
            return false;
    }
    return true;
}

/* This process reads, and writes a little, while the file grows under it. */
static void test_writing_at_once(void **state)
{
    (void)state;
    struct temporary temporary;
    pid_t pids[WRITERS];
    int ready_fds[WRITERS];
    const uint64_t most = HELD_AT_THE_END;
    uint64_t written = 0;
    make_store(&temporary, WRITERS + 1);
    for (int i = 0; i < WRITERS; i++)
        pids[i] = start(&temporary, write_much, i + 1, &ready_fds[i]);
    temporary_open(&temporary);
    while (!have_ended(pids)) {
        int64_t first;
        for (int i = 0; i < WRITERS; i++)
            assert_true(temporary_count(temporary.reader, i + 1) <= most + 2);
        assert_int_equal(temporary_create_tokens(temporary.store, WRITERS + 1, 1, 0, 0, &first),
                         STORE_OK);
        written++;
        assert_int_equal(temporary_count(temporary.reader, WRITERS + 1), written);
    }
    for (int i = 0; i < WRITERS; i++)
        await_success(pids[i], ready_fds[i]);
    for (int i = 0; i < WRITERS; i++)
        assert_int_equal(temporary_count(temporary.reader, i + 1), most);
    assert_true(written > 0);
    temporary_check(&temporary);
    temporary_remove(&temporary);
}

/* ---- processes that die ---- */

enum { READERS = 7 };

static int hold_readers(const struct temporary *temporary, int count, int ready_fd)
{
    struct store *store;
    struct store_reader *reader;
    char reason[STORE_REASON_SIZE];
    if (store_open(&temporary->options, &store, reason) != STORE_OK)
        return 2;
    for (int i = 0; i < count; i++)
        if (store_reader_open(store, &reader) != STORE_OK)
            return 3;
    if (!say_ready(ready_fd))
        return 4;
    pause();
    return 5;
}

static uint64_t reader_count(struct temporary *temporary)
{
    return temporary_stat(temporary->reader, "readers");
}

static void test_dead_readers_are_freed(void **state)
{
    (void)state;
    struct temporary temporary;
    int ready_fd;
    make_store(&temporary, 1);
    temporary_open(&temporary);
    assert_int_equal(reader_count(&temporary), 1);
    pid_t pid = start(&temporary, hold_readers, READERS, &ready_fd);
    await_ready(ready_fd);
    assert_int_equal(reader_count(&temporary), 1 + READERS);
    assert_int_equal(store_maintain(temporary.store), STORE_OK); /* none is dead */
    assert_int_equal(reader_count(&temporary), 1 + READERS);
    kill_child(pid, ready_fd);
    assert_int_equal(reader_count(&temporary), 1 + READERS);
    assert_int_equal(store_maintain(temporary.store), STORE_OK);
    assert_int_equal(reader_count(&temporary), 1);

    /* opening frees them too */
    pid = start(&temporary, hold_readers, READERS, &ready_fd);
    await_ready(ready_fd);
    kill_child(pid, ready_fd);
    temporary_close(&temporary);
    temporary_open(&temporary);
    assert_int_equal(reader_count(&temporary), 1);
    temporary_remove(&temporary);
}

/* The dead have taken every slot: a new reader makes room for itself. */
static void test_no_slot_but_those_of_the_dead(void **state)
{
    (void)state;
    enum { SLOTS = 1024 };
    struct temporary temporary;
    struct store_reader *second;
    int ready_fd;
    make_store(&temporary, 1);
    temporary_open(&temporary);
    pid_t pid = start(&temporary, hold_readers, SLOTS - 1, &ready_fd);
    await_ready(ready_fd);
    assert_int_equal(store_reader_open(temporary.store, &second), STORE_UNAVAILABLE);
    assert_null(second);
    assert_false(store_is_broken(temporary.store)); /* it may be better in a moment */
    assert_int_equal(temporary_count(temporary.reader, 1), 0);
    kill_child(pid, ready_fd);
    assert_int_equal(store_reader_open(temporary.store, &second), STORE_OK);
    store_reader_close(second);
    temporary_remove(&temporary);
}

/* Writes without end, to be killed in the midst of it. */
static int write_for_ever(const struct temporary *temporary, int number, int ready_fd)
{
    struct store *store;
    char reason[STORE_REASON_SIZE];
    if (store_open(&temporary->options, &store, reason) != STORE_OK)
        return 2;
    for (;;) {
        int64_t first;
        if (temporary_create_tokens(store, number, 20, 1000, 0, &first) != STORE_OK)
            return 3;
        if (!say_ready(ready_fd)) /* acknowledged */
            return 4;
    }
}

static void test_a_killed_writer(void **state)
{
    (void)state;
    struct temporary temporary;
    uint64_t acknowledged = 0;
    make_store(&temporary, 1);
    for (int i = 0; i < 5; i++) {
        int ready_fd, status;
        char byte;
        pid_t pid = start(&temporary, write_for_ever, 1, &ready_fd);
        for (int n = 0; n < 3 + i; n++, acknowledged++)
            await_ready(ready_fd);
        usleep((useconds_t)(i * 700));
        assert_int_equal(kill(pid, SIGKILL), 0);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        while (read(ready_fd, &byte, 1) == 1)
            acknowledged++;
        close(ready_fd);
        temporary_open(&temporary);
        uint64_t count = temporary_count(temporary.reader, 1);
        assert_int_equal(count % 20, 0); /* each all or none */
        require(count / 20 == acknowledged || count / 20 == acknowledged + 1,
                "%zu writes, %zu acknowledged", (size_t)count / 20, (size_t)acknowledged);
        acknowledged = count / 20;
        temporary_check(&temporary);
        int64_t first;
        assert_int_equal(temporary_create_tokens(temporary.store, 1, 20, 0, 0, &first), STORE_OK);
        acknowledged++;
        temporary_close(&temporary);
    }
    temporary_remove(&temporary);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_writing_at_once),
        cmocka_unit_test(test_dead_readers_are_freed),
        cmocka_unit_test(test_no_slot_but_those_of_the_dead),
        cmocka_unit_test(test_a_killed_writer),
    };
    return cmocka_run_group_tests_name("processes", tests, NULL, NULL);
}
