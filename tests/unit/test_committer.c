#include "tests/unit/unit.h"

#include <pthread.h>
#include <stdatomic.h>

#include "fcgi/committer.h"
#include "tests/unit/temporary.h"

/* In the threads nothing is asserted: they count what is wrong, and the test's own
 * thread looks at that in the end. */

enum { THREADS = 8, ROUNDS = 25, WRITES = 4 };

/* A write with what it points to, and whether it has come back. */
struct item {
    struct store_write write;
    struct token tokens[2];
    int64_t ids[2];
    bool done;
    unsigned long done_number; /* how many had come back before it */
};

struct thread {
    pthread_t id;
    int64_t user_id;
    struct committer *committer;
    struct item items[WRITES];
    size_t wrong;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of each item's done */
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static unsigned long done_count;
static atomic_ulong done_twice;

static void on_done(struct store_write *write)
{
    struct item *item = write->context;
    pthread_mutex_lock(&lock);
    if (item->done)
        atomic_fetch_add(&done_twice, 1);
    item->done = true;
    item->done_number = done_count++;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static void submit(struct committer *committer, struct item *item)
{
    item->done = false;
    item->write.context = item;
    item->write.error = (enum store_error)99;
    struct committer_list list = {NULL, NULL};
    committer_list_add(&list, &item->write);
    committer_submit(committer, &list);
}

static void await(const struct item *item)
{
    pthread_mutex_lock(&lock);
    while (!item->done)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
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
            submit(thread->committer, &items[i]);
        for (size_t i = 0; i < 3; i++)
            await(&items[i]);
        enum store_error refusal = round % 2 ? STORE_NO_USER : STORE_LIMIT;
        const struct token *kept = items[2].tokens, *gone = items[0].tokens;
        thread->wrong += items[0].write.error != STORE_OK || gone[0].user_id != thread->user_id ||
                         gone[1].id <= gone[0].id;
        thread->wrong += items[1].write.error != refusal;
        thread->wrong += items[2].write.error != STORE_OK || kept[0].user_id != thread->user_id ||
                         kept[0].id <= gone[1].id;
        thread->wrong += items[0].done_number >= items[1].done_number ||
                         items[1].done_number >= items[2].done_number;
        items[3].ids[0] = gone[0].id;
        items[3].ids[1] = gone[1].id;
        items[3].write = (struct store_write){.kind = STORE_DELETE,
                                              .user_id = thread->user_id,
                                              .delete = {.ids = items[3].ids, .id_count = 2}};
        submit(thread->committer, &items[3]);
        await(&items[3]);
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
    struct committer *committer = committer_start(temporary.store, on_done);
    assert_non_null(committer);
    done_count = 0;
    for (size_t i = 0; i < THREADS; i++)
        threads[i] = (struct thread){.user_id = temporary_add_user(&temporary, access_token),
                                     .committer = committer};
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i].id, NULL, run, &threads[i]), 0);
    /* one more reads meanwhile, as loops do */
    for (int i = 0; i < 500; i++)
        assert_true(temporary_count(temporary.reader, 1 + i % THREADS) <= 2 * ROUNDS + 2);
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i].id, NULL), 0);
    committer_stop(committer);
    for (size_t i = 0; i < THREADS; i++) {
        require(threads[i].wrong == 0, "thread %zu: %zu wrong", i, threads[i].wrong);
        assert_int_equal(temporary_count(temporary.reader, threads[i].user_id), 2 * ROUNDS);
    }
    assert_int_equal(done_count, THREADS * ROUNDS * WRITES);
    assert_int_equal(atomic_load(&done_twice), 0);
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
    struct committer *committer = committer_start(temporary.store, on_done);
    assert_non_null(committer);
    done_count = 0;
    for (size_t i = 0; i < MANY; i++) {
        fill_create(&items[i], user_id, 0);
        submit(committer, &items[i]);
    }
    committer_stop(committer);
    for (size_t i = 0; i < MANY; i++) {
        assert_true(items[i].done);
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
    struct committer *committer = committer_start(temporary.store, on_done);
    assert_non_null(committer);
    for (size_t i = 0; i < MANY; i++) {
        for (size_t n = 0; n < IDS; n++) /* ten of its own, and many that never were */
            ids[i][n] = n < 10 ? first + (int64_t)(i * 10 + n) : 1000000 + (int64_t)n;
        items[i].write = (struct store_write){
            .kind = STORE_DELETE, .user_id = user_id, .delete = {.ids = ids[i], .id_count = IDS}};
        submit(committer, &items[i]);
    }
    for (size_t i = 0; i < MANY; i++) {
        await(&items[i]);
        assert_int_equal(items[i].write.error, STORE_OK);
        assert_int_equal(items[i].write.delete.deleted_count, 10);
    }
    committer_stop(committer);
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
        struct committer *committer = committer_start(temporary.store, on_done);
        assert_non_null(committer);
        committer_stop(committer);
    }
    committer_stop(NULL);
    temporary_remove(&temporary);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_gets_its_own_result),
        cmocka_unit_test(test_stop_does_what_is_left),
        cmocka_unit_test(test_more_than_a_batch),
        cmocka_unit_test(test_stop_at_once),
    };
    return cmocka_run_group_tests_name("committer", tests, NULL, NULL);
}
