#include "tests/unit/unit.h"

#include <pthread.h>

#include "base/clock.h"
#include "fcgi/commit_thread.h"
#include "tests/unit/temporary.h"

/* In the threads nothing is asserted: they count what is wrong, and the test's own thread looks at
 * that in the end. */

enum { THREADS = 8, ROUNDS = 25, WRITES = 4 };

/* A write with what it points to, and whether it has come back. */
struct item {
    struct job job;
    struct store_write write;
    struct token tokens[2];
    int64_t ids[2];
    unsigned times_done;
    unsigned long done_number; /* how many had come back to its origin before it */
};

/* The one of each test. */
static struct commit_thread *start_commit_thread(struct store *store)
{
    static struct commit_thread commit_thread;
    commit_thread = (struct commit_thread){.store = NULL};
    assert_true(commit_thread_start(&commit_thread, store, NULL));
    return &commit_thread;
}

/* As a loop: its jobs return to its own queue. */
struct thread {
    pthread_t id;
    int64_t user_id;
    struct commit_thread *commit_thread;
    struct work_queue origin;
    unsigned long done_count;
    struct item items[WRITES];
    size_t wrong;
};

static void submit_until(struct thread *thread, struct item *item, int64_t deadline_ms)
{
    item->times_done = 0;
    item->job = (struct job){.write = &item->write,
                             .deadline_ms = deadline_ms,
                             .origin = &thread->origin,
                             .owner = item};
    item->write.error = (enum store_error)99;
    work_queue_push(&thread->commit_thread->queue, &item->job);
    work_queue_wake(&thread->commit_thread->queue);
}

static void submit(struct thread *thread, struct item *item)
{
    submit_until(thread, item, 0);
}

static void receive(struct thread *thread)
{
    struct job *job;
    while ((job = work_queue_take(&thread->origin))) {
        struct item *item = job->owner;
        item->times_done++;
        item->done_number = thread->done_count++;
    }
}

static void await(struct thread *thread, const struct item *item)
{
    while (item->times_done == 0) {
        work_queue_wait(&thread->origin, 60);
        receive(thread);
    }
}

static void start(struct thread *thread, struct temporary *temporary)
{
    *thread = (struct thread){.commit_thread = start_commit_thread(temporary->store)};
    work_queue_init(&thread->origin, -1);
}

static void stop(struct thread *thread)
{
    commit_thread_stop(thread->commit_thread);
    work_queue_destroy(&thread->origin);
}

static void fill_create(struct item *item, int64_t user_id, uint64_t max_per_user)
{
    item->write = (struct store_write){
        .kind = STORE_CREATE,
        .user_id = user_id,
        .now_unix_s = 1000,
        .create = {.tokens = item->tokens, .count = 2, .max_per_user = max_per_user}};
    for (size_t i = 0; i < 2; i++) {
        item->tokens[i] = token_default();
        token_key_generate(item->tokens[i].key);
    }
}

/* Two creates, one that is refused in between, and the first one's tokens deleted: each
 * thread has all four under way at once. */
static void *run(void *context)
{
    struct thread *thread = context;
    struct item *items = thread->items;
    for (int round = 0; round < ROUNDS; round++) {
        fill_create(&items[0], thread->user_id, 0);
        fill_create(&items[1], round % 2 ? 1000 : thread->user_id, 1);
        fill_create(&items[2], thread->user_id, 0);
        for (size_t i = 0; i < 3; i++)
            submit(thread, &items[i]);
        for (size_t i = 0; i < 3; i++)
            await(thread, &items[i]);
        enum store_error refusal = round % 2 ? STORE_NO_USER : STORE_LIMIT;
        const struct token *kept = items[2].tokens, *gone = items[0].tokens;
        thread->wrong += items[0].write.error != STORE_OK || gone[0].user_id != thread->user_id ||
                         gone[1].id <= gone[0].id;
        thread->wrong += items[1].write.error != refusal;
        thread->wrong += items[2].write.error != STORE_OK || kept[0].user_id != thread->user_id ||
                         kept[0].id <= gone[1].id;
        for (size_t i = 0; i < 3; i++)
            thread->wrong += items[i].times_done != 1;
        thread->wrong += items[0].done_number >= items[1].done_number ||
                         items[1].done_number >= items[2].done_number;
        items[3].ids[0] = gone[0].id;
        items[3].ids[1] = gone[1].id;
        items[3].write = (struct store_write){.kind = STORE_DELETE,
                                              .user_id = thread->user_id,
                                              .delete = {.ids = items[3].ids, .id_count = 2}};
        submit(thread, &items[3]);
        await(thread, &items[3]);
        thread->wrong +=
            items[3].write.error != STORE_OK || items[3].write.delete.deleted_count != 2;
    }
    return NULL;
}

static void test_each_gets_its_own_result(void **state)
{
    (void)state;
    static struct thread threads[THREADS];
    struct temporary temporary;
    char access_token[STORE_CREDENTIAL_LEN];
    temporary_create(&temporary);
    temporary_open(&temporary);
    struct commit_thread *commit_thread = start_commit_thread(temporary.store);
    for (size_t i = 0; i < THREADS; i++) {
        threads[i] = (struct thread){.user_id = temporary_add_user(&temporary, access_token),
                                     .commit_thread = commit_thread};
        work_queue_init(&threads[i].origin, -1);
    }
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i].id, NULL, run, &threads[i]), 0);
    /* one more reads meanwhile, as loops do */
    for (int i = 0; i < 500; i++)
        assert_true(temporary_count(temporary.reader, 1 + i % THREADS) <= 2 * ROUNDS + 2);
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i].id, NULL), 0);
    commit_thread_stop(commit_thread);
    for (size_t i = 0; i < THREADS; i++) {
        work_queue_destroy(&threads[i].origin);
        assert_int_equal(threads[i].done_count, ROUNDS * WRITES);
        require(threads[i].wrong == 0, "thread %zu: %zu wrong", i, threads[i].wrong);
        assert_int_equal(temporary_count(temporary.reader, threads[i].user_id), 2 * ROUNDS);
    }
    temporary_check(&temporary);
    temporary_remove(&temporary);
}

/* Stopping does what has been submitted, all of it and in order. */
static void test_stop_does_what_is_left(void **state)
{
    (void)state;
    enum { MANY = 300 };
    static struct item items[MANY];
    struct temporary temporary;
    char access_token[STORE_CREDENTIAL_LEN];
    temporary_create(&temporary);
    temporary_open(&temporary);
    int64_t user_id = temporary_add_user(&temporary, access_token);
    struct thread thread;
    start(&thread, &temporary);
    for (size_t i = 0; i < MANY; i++) {
        fill_create(&items[i], user_id, 0);
        submit(&thread, &items[i]);
    }
    commit_thread_stop(thread.commit_thread);
    receive(&thread);
    work_queue_destroy(&thread.origin);
    for (size_t i = 0; i < MANY; i++) {
        assert_int_equal(items[i].times_done, 1);
        assert_int_equal(items[i].done_number, i);
        assert_int_equal(items[i].write.error, STORE_OK);
        assert_int_equal(items[i].tokens[0].id, 2 * i + 1);
    }
    assert_int_equal(temporary_count(temporary.reader, user_id), 2 * MANY);
    temporary_check(&temporary);
    temporary_remove(&temporary);
}

/* More than one commit may hold: it takes several, and none is lost on the way. */
static void test_more_than_a_batch(void **state)
{
    (void)state;
    enum { MANY = 40, IDS = 1000, OWN_IDS = MANY * 10 };
    static struct item items[MANY];
    static int64_t ids[MANY][IDS];
    struct temporary temporary;
    char access_token[STORE_CREDENTIAL_LEN];
    int64_t first;
    temporary_create(&temporary);
    temporary_open(&temporary);
    int64_t user_id = temporary_add_user(&temporary, access_token);
    assert_int_equal(temporary_create_tokens(temporary.store, user_id, OWN_IDS, 0, 0, &first),
                     STORE_OK);
    struct thread thread;
    start(&thread, &temporary);
    for (size_t i = 0; i < MANY; i++) {
        for (size_t n = 0; n < IDS; n++) /* ten of its own, and many that never were */
            ids[i][n] = n < 10 ? first + (int64_t)(i * 10 + n) : 1000000 + (int64_t)n;
        items[i].write = (struct store_write){
            .kind = STORE_DELETE, .user_id = user_id, .delete = {.ids = ids[i], .id_count = IDS}};
        submit(&thread, &items[i]);
    }
    for (size_t i = 0; i < MANY; i++) {
        await(&thread, &items[i]);
        assert_int_equal(items[i].write.error, STORE_OK);
        assert_int_equal(items[i].write.delete.deleted_count, 10);
    }
    stop(&thread);
    assert_int_equal(temporary_count(temporary.reader, user_id), 0);
    temporary_check(&temporary);
    temporary_remove(&temporary);
}

static void test_stop_at_once(void **state)
{
    (void)state;
    struct temporary temporary;
    temporary_create(&temporary);
    temporary_open(&temporary);
    for (int i = 0; i < 50; i++) {
        struct commit_thread *commit_thread = start_commit_thread(temporary.store);
        commit_thread_stop(commit_thread);
    }
    commit_thread_stop(&(struct commit_thread){.store = NULL}); /* was not started */
    temporary_remove(&temporary);
}

/* A test that holds the store for writing from its own thread. */
struct held {
    struct thread thread;
    struct item items[4];
    bool begun;
};

/* A store_take_writes: called while no other thread can begin a transaction. */
static struct store_write *submit_while_held(void *context)
{
    struct held *held = context;
    struct item *items = held->items;
    if (held->begun)
        return NULL;
    held->begun = true;
    submit(&held->thread, &items[0]);
    submit(&held->thread, &items[1]);
    submit_until(&held->thread, &items[2], clock_ms() - 1);
    submit_until(&held->thread, &items[3], clock_ms() + 60000);
    assert_true(work_queue_cancel(&items[1].job)); /* none can have begun */
    assert_false(work_queue_cancel(&items[1].job));
    return NULL;
}

/* What is cancelled, or too late when it could begin, is not done. */
static void test_cancelled_and_late(void **state)
{
    (void)state;
    static struct held held;
    struct temporary temporary;
    char access_token[STORE_CREDENTIAL_LEN];
    temporary_create(&temporary);
    temporary_open(&temporary);
    int64_t user_id = temporary_add_user(&temporary, access_token);
    start(&held.thread, &temporary);
    for (size_t i = 0; i < COUNT_OF(held.items); i++)
        fill_create(&held.items[i], user_id, 0);
    assert_int_equal(store_commit(temporary.store, submit_while_held, &held), STORE_OK);
    await(&held.thread, &held.items[3]);
    await(&held.thread, &held.items[2]);                 /* comes back after those that were done */
    assert_false(work_queue_cancel(&held.items[3].job)); /* it is done */
    stop(&held.thread);
    static const enum store_error errors[] = {STORE_OK, 99, STORE_UNAVAILABLE, STORE_OK};
    for (size_t i = 0; i < COUNT_OF(held.items); i++) {
        assert_int_equal(held.items[i].write.error, errors[i]);
        assert_int_equal(held.items[i].times_done, i == 1 ? 0 : 1);
    }
    assert_int_equal(temporary_count(temporary.reader, user_id), 4);
    temporary_remove(&temporary);
}

static void copy_access_time(void *context, const struct token *token)
{
    *(int64_t *)context = token->accessed_unix_s;
}

/* The last uses that it was told of are stored when it ends; those that are new enough are not. */
static void test_uses_are_stored(void **state)
{
    (void)state;
    enum { CREATED = 1000, OLD = CREATED + 100 };
    struct temporary temporary;
    struct thread thread;
    char access_token[STORE_CREDENTIAL_LEN];
    int64_t first, stored;
    temporary_create(&temporary);
    temporary_open(&temporary);
    int64_t user_id = temporary_add_user(&temporary, access_token);
    assert_int_equal(temporary_create_tokens(temporary.store, user_id, 3, 0, 0, &first), STORE_OK);
    start(&thread, &temporary);
    struct store_access used = {user_id, first, CREATED};
    commit_thread_record_use(thread.commit_thread, &used, OLD);
    commit_thread_record_use(thread.commit_thread, &used, OLD + 5); /* the first counts */
    used.token_id = first + 1;
    commit_thread_record_use(thread.commit_thread, &used, CREATED + ACCESS_TIMES_FRESH_S - 1);
    stop(&thread);
    assert_int_equal(store_token_get(temporary.reader, user_id, first, copy_access_time, &stored),
                     STORE_OK);
    assert_int_equal(stored, OLD);
    assert_int_equal(
        store_token_get(temporary.reader, user_id, first + 1, copy_access_time, &stored), STORE_OK);
    assert_true(stored < CREATED + ACCESS_TIMES_FRESH_S - 1);
    temporary_remove(&temporary);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_gets_its_own_result),
        cmocka_unit_test(test_stop_does_what_is_left),
        cmocka_unit_test(test_more_than_a_batch),
        cmocka_unit_test(test_stop_at_once),
        cmocka_unit_test(test_cancelled_and_late),
        cmocka_unit_test(test_uses_are_stored),
    };
    return cmocka_run_group_tests_name("commit thread", tests, NULL, NULL);
}
