#include "tests/unit/unit.h"

#include "fcgi/work_queue.h"

enum { JOBS = 8 };

/* As many jobs as the text has letters, each letter a user. */
static void push(struct work_queue *queue, struct job *jobs, const char *users)
{
    for (size_t i = 0; users[i]; i++) {
        jobs[i] = (struct job){.user_id = users[i]};
        work_queue_push(queue, &jobs[i]);
    }
}

static void expect(struct work_queue *queue, const char *users)
{
    for (; *users; users++) {
        struct job *job = work_queue_take(queue);
        assert_non_null(job);
        assert_int_equal(job->user_id, *users);
    }
}

static void test_users_take_turns(void **state)
{
    struct work_queue queue;
    struct job first[JOBS], second[JOBS], third[JOBS];
    (void)state;
    work_queue_init(&queue, -1);
    push(&queue, first, "aaaaabbc");
    expect(&queue, "abcab");
    /* New users are served in the next turn, and no job is overtaken again and again. */
    push(&queue, second, "da");
    expect(&queue, "ad");
    push(&queue, third, "ee");
    expect(&queue, "aeaea");
    assert_null(work_queue_take(&queue));
    work_queue_destroy(&queue);
}

static void test_cancelled_job_is_no_turn(void **state)
{
    struct work_queue queue;
    struct job jobs[JOBS];
    (void)state;
    work_queue_init(&queue, -1);
    push(&queue, jobs, "aaab");
    assert_true(work_queue_cancel(&jobs[0]));
    expect(&queue, "baa");
    assert_null(work_queue_take(&queue));
    work_queue_destroy(&queue);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_users_take_turns),
        cmocka_unit_test(test_cancelled_job_is_no_turn),
    };
    return cmocka_run_group_tests_name("work queue", tests, NULL, NULL);
}
