/* Audit records in LMDB: where they are, what they cost, how they end. */

#include "tests/unit/fake_clock.h"
#include "tests/unit/temporary.h"

#include <inttypes.h>
#include <sys/uio.h>

#include "store/lmdb/engine.h"
#include "store/lmdb/rows.h"

enum { DAY_S = 24 * 3600, START_S = 1767225600 + 1000 * DAY_S };

/* ---- what LMDB writes, beside its meta page ---- */

static size_t written_len;

static void count_written(ssize_t len)
{
    if (len >= 4096)
        written_len += (size_t)len;
}

/* NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name): theirs are reserved */
ssize_t pwrite(int fd, const void *bytes, size_t len, off_t at)
{
    ssize_t done = syscall(SYS_pwrite64, fd, bytes, len, at);
    count_written(done);
    return done;
}

/* NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name): theirs are reserved */
ssize_t writev(int fd, const struct iovec *parts, int count)
{
    ssize_t done = syscall(SYS_writev, fd, parts, count);
    count_written(done);
    return done;
}

/* ---- a store, and rows of it ---- */

static void open_store(struct temporary *temporary)
{
    char access_token[STORE_CREDENTIAL_LEN];
    fake_clocks(START_S);
    temporary_create_folder(temporary, 0);
    temporary_open(temporary);
    for (int i = 0; i < 3; i++) /* without a record */
        temporary_add_user(temporary, access_token);
    temporary_close(temporary);
    temporary->options.audit_days = 90;
    temporary_open(temporary);
}

static void begin(struct temporary *temporary, struct lmdb_txn *txn)
{
    assert_int_equal(write_begin((struct lmdb_store *)temporary->store, txn), STORE_OK);
    txn->base.rows = &lmdb_rows;
}

static void end(struct lmdb_txn *txn)
{
    assert_int_equal(write_end(txn), STORE_OK);
}

static struct store_audit record_of(int64_t user_id, int64_t time_unix_s)
{
    return (struct store_audit){
        .time_unix_s = time_unix_s,
        .action = user_id == 2 ? SPAN("token.update") : SPAN("token.create"),
        .actor = {STORE_ACTOR_USER, user_id, SPAN("10.0.0.1"),
                  SPAN("0123456789abcdef0123456789abcdef")},
        .user_id = user_id,
        .token_id = user_id * 10,
        .changes = SPAN("{\"name\":[\"a\",\"b\"]}"),
    };
}

static void add(struct temporary *temporary, const struct store_audit *record, size_t times)
{
    struct lmdb_txn txn;
    begin(temporary, &txn);
    for (size_t i = 0; i < times; i++)
        txn.base.rows->add_audit(&txn.base, record);
    end(&txn);
}

struct found {
    size_t count;
    int64_t last_id; /* the smallest */
    struct store_audit record;
};

static void visit(void *context, const struct store_audit *record)
{
    struct found *found = context;
    require(found->last_id == 0 || record->id < found->last_id, "%" PRId64 " after %" PRId64,
            record->id, found->last_id);
    found->last_id = record->id;
    found->record = *record;
    found->count++;
}

static struct found read_all(struct temporary *temporary, struct store_audit_search search)
{
    struct found found = {.count = 0};
    if (search.limit == 0)
        search.limit = UINT64_MAX;
    assert_int_equal(store_audit_read(temporary->reader, &search, visit, &found), STORE_OK);
    return found;
}

/* ---- tests ---- */

static void test_searches(void **state)
{
    (void)state;
    enum { RECORDS = 300 };
    struct temporary temporary;
    open_store(&temporary);
    size_t count = 0, of_users[4] = {0};
    for (; count < RECORDS; count++) {
        struct store_audit record = record_of((int64_t)(count % 4), START_S + (int64_t)count);
        add(&temporary, &record, 1);
        of_users[count % 4]++;
        if (count % 50 == 49)
            temporary_check(&temporary);
        /* Recent ones and others are one list. */
        assert_int_equal(read_all(&temporary, (struct store_audit_search){0}).count, count + 1);
    }
    for (int64_t user_id = 1; user_id <= 3; user_id++) {
        struct found found = read_all(&temporary, (struct store_audit_search){.user_id = user_id});
        assert_int_equal(found.count, of_users[user_id]);
        assert_int_equal(found.record.user_id, user_id);
        found = read_all(&temporary, (struct store_audit_search){.token_id = user_id * 10});
        assert_int_equal(found.count, of_users[user_id]);
    }
    struct store_audit_search of_user_2 = {.user_id = 2, .limit = 7};
    size_t paged = 0;
    for (struct found page; (page = read_all(&temporary, of_user_2)).count > 0;) {
        paged += page.count;
        of_user_2.before_id = page.last_id;
    }
    assert_int_equal(paged, of_users[2]);
    struct store_audit_search search = {.action = SPAN("token.*")};
    assert_int_equal(read_all(&temporary, search).count, RECORDS);
    search.action = SPAN("token.update");
    assert_int_equal(read_all(&temporary, search).count, of_users[2]);
    search.action = SPAN("token");
    assert_int_equal(read_all(&temporary, search).count, 0);
    search = (struct store_audit_search){.actor_kind = STORE_ACTOR_USER, .actor_id = 3};
    assert_int_equal(read_all(&temporary, search).count, of_users[3]);
    search.actor_kind = STORE_ACTOR_ADMIN;
    assert_int_equal(read_all(&temporary, search).count, 0);
    search = (struct store_audit_search){.since_unix_s = START_S + RECORDS - 20};
    assert_int_equal(read_all(&temporary, search).count, 20);
    temporary_remove(&temporary);
}

/* Long ones and those that come in one commit too; what is longer than a row is cut. */
static void test_long_records(void **state)
{
    (void)state;
    static char text[100000];
    struct temporary temporary;
    struct store_audit record = record_of(1, START_S);
    open_store(&temporary);
    memset(text, 'x', sizeof(text));
    for (size_t len = 0; len < 70000; len = len * 3 / 2 + 100) {
        record.changes = (struct span){text, len};
        record.actor.request_id = (struct span){text, len};
        add(&temporary, &record, 3);
        struct found found = read_all(&temporary, (struct store_audit_search){.limit = 1});
        assert_int_equal(found.record.changes.len, len <= 65535 ? len : 2);
        assert_int_equal(found.record.actor.request_id.len, len <= 255 ? len : 255);
        temporary_check(&temporary);
    }
    temporary_remove(&temporary);
}

static void test_ids_grow_with_time(void **state)
{
    (void)state;
    struct temporary temporary;
    struct store_audit record = record_of(1, START_S);
    open_store(&temporary);
    add(&temporary, &record, 1);
    int64_t first = read_all(&temporary, (struct store_audit_search){.limit = 1}).last_id;
    assert_int_equal(first, (START_S - 1767225600LL) << 20);
    add(&temporary, &record, 1);
    assert_int_equal(read_all(&temporary, (struct store_audit_search){.limit = 1}).last_id,
                     first + 1);
    record.time_unix_s = START_S - DAY_S; /* the clock was set back */
    add(&temporary, &record, 1);
    assert_int_equal(read_all(&temporary, (struct store_audit_search){.limit = 1}).last_id,
                     first + 2);
    record.time_unix_s = INT64_MAX;
    add(&temporary, &record, 1);
    assert_int_equal(read_all(&temporary, (struct store_audit_search){.limit = 1}).last_id,
                     first + 3);
    temporary_check(&temporary);
    temporary_remove(&temporary);
}

static void test_import(void **state)
{
    (void)state;
    static const int64_t ids[] = {50, 7, 50, 0, INT64_MAX};
    struct temporary temporary;
    struct lmdb_txn txn;
    struct store_audit record = record_of(1, START_S);
    open_store(&temporary);
    add(&temporary, &record, 2); /* recent ones */
    begin(&temporary, &txn);
    for (size_t i = 0; i < COUNT_OF(ids); i++) {
        record.id = ids[i];
        txn.base.rows->import_audit(&txn.base, &record);
    }
    end(&txn);
    struct found found = read_all(&temporary, (struct store_audit_search){.user_id = 1});
    assert_int_equal(found.count, 2 + COUNT_OF(ids));
    assert_int_equal(found.last_id, 7);
    add(&temporary, &record, 30);
    temporary_check(&temporary);
    temporary_remove(&temporary);
}

static void purge(struct temporary *temporary)
{
    bool more = true;
    while (more)
        assert_int_equal(store_purge(temporary->store, &more), STORE_OK);
    temporary_check(temporary);
}

static void test_purge(void **state)
{
    (void)state;
    struct temporary temporary;
    open_store(&temporary);
    for (int day = 0; day < 4; day++) {
        struct store_audit record = record_of(day % 2, START_S + day * DAY_S);
        add(&temporary, &record, day == 3 ? 2 : 40); /* the last ones are recent */
    }
    fake_clocks(START_S + 90 * DAY_S);
    purge(&temporary);
    assert_int_equal(read_all(&temporary, (struct store_audit_search){0}).count, 122);
    fake_clocks(START_S + 91 * DAY_S + 1);
    purge(&temporary);
    assert_int_equal(read_all(&temporary, (struct store_audit_search){0}).count, 42);
    assert_int_equal(read_all(&temporary, (struct store_audit_search){.user_id = 1}).count, 2);
    fake_clocks(START_S + 94 * DAY_S);
    purge(&temporary);
    assert_int_equal(read_all(&temporary, (struct store_audit_search){0}).count, 0);
    temporary_remove(&temporary);
}

/* A user's oldest go; another's stay. */
static void test_of_one_user(void **state)
{
    (void)state;
    enum { MORE = 100 };
    struct temporary temporary;
    struct store_audit record = record_of(2, START_S);
    open_store(&temporary);
    add(&temporary, &record, 3);
    record = record_of(1, START_S);
    add(&temporary, &record, STORE_AUDIT_PER_USER_MAX + MORE);
    size_t count = read_all(&temporary, (struct store_audit_search){.user_id = 1}).count;
    require(count >= STORE_AUDIT_PER_USER_MAX && count < STORE_AUDIT_PER_USER_MAX + MORE,
            "%zu records", count);
    assert_int_equal(read_all(&temporary, (struct store_audit_search){.user_id = 2}).count, 3);
    temporary_check(&temporary);
    temporary_remove(&temporary);
}

/* ---- what they cost ---- */

static void create_one(struct temporary *temporary, struct store_actor actor, int64_t number)
{
    struct token token = token_default();
    token.name = SPAN("a token");
    token.remain_quota = number;
    token_key_generate(token.key);
    struct store_write write = {.kind = STORE_CREATE,
                                .user_id = 1,
                                .actor = actor,
                                .now_unix_s = START_S,
                                .create = {.tokens = &token, .count = 1}};
    assert_int_equal(store_write(temporary->store, &write), STORE_OK);
}

static void update_one(struct temporary *temporary, struct store_actor actor, int64_t number)
{
    struct store_write write = {
        .kind = STORE_UPDATE,
        .user_id = 1,
        .actor = actor,
        .now_unix_s = START_S,
        .update = {.token_id = 1 + number * 7919 % 10000,
                   .patch = {.fields = TOKEN_FIELD_REMAIN_QUOTA, .value.remain_quota = number}}};
    assert_int_equal(store_write(temporary->store, &write), STORE_OK);
    store_write_free(&write);
}

/* Less than a page more for a commit of one write. */
static void test_pages(void **state)
{
    (void)state;
    enum { TOKENS = 10000, WRITES = 500 };
    static void (*const kinds[])(struct temporary *, struct store_actor, int64_t) = {create_one,
                                                                                     update_one};
    const char *wanted = getenv("TOKEN_TEST_TOKENS");
    int64_t first, tokens = wanted ? atoll(wanted) : TOKENS;
    struct temporary temporary;
    struct store_audit record = record_of(1, START_S);
    open_store(&temporary);
    for (int64_t i = 0; i < tokens; i += 1000)
        assert_int_equal(temporary_create_tokens(temporary.store, 1, 1000, 20, 0, &first),
                         STORE_OK);
    add(&temporary, &record, (size_t)tokens);
    for (size_t kind = 0; kind < COUNT_OF(kinds); kind++) {
        size_t pages[2] = {0, 0};
        for (int64_t i = 0; i < 2 * WRITES; i++) {
            int is_audited = (int)(i % 2);
            struct store_actor actor = {is_audited ? STORE_ACTOR_USER : STORE_ACTOR_NONE, 1,
                                        SPAN("10.0.0.1"), SPAN("0123456789abcdef0123456789abcdef")};
            written_len = 0;
            kinds[kind](&temporary, actor, i);
            pages[is_audited] += written_len / 4096;
        }
        if (wanted)
            print_message("%s: %.2f pages a commit, %.2f with audit\n",
                          kind == 0 ? "create" : "update", (double)pages[0] / (double)WRITES,
                          (double)pages[1] / (double)WRITES);
        require(pages[0] >= WRITES && pages[1] <= pages[0] + WRITES, "%zu pages, %zu with audit",
                pages[0], pages[1]);
    }
    assert_true(read_all(&temporary, (struct store_audit_search){0}).count >= 1000);
    temporary_check(&temporary);
    temporary_remove(&temporary);
}

/* They are stored later, and have the time of that: else newer ids would be of older records. */
static void test_shown_keys(void **state)
{
    (void)state;
    const struct store_reveal reveals[] = {{.user_id = 1, .token_id = 10}, {.user_id = 1}};
    struct store_write write = {.kind = STORE_REVEAL,
                                .now_unix_s = START_S + 5,
                                .reveal = {.reveals = reveals, .count = COUNT_OF(reveals)}};
    struct temporary temporary;
    open_store(&temporary);
    assert_int_equal(store_write(temporary.store, &write), STORE_OK);
    struct store_audit_search since = {.user_id = 1, .since_unix_s = START_S + 5};
    assert_int_equal(read_all(&temporary, since).count, 2);
    temporary_remove(&temporary);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_searches),
        cmocka_unit_test(test_long_records),
        cmocka_unit_test(test_ids_grow_with_time),
        cmocka_unit_test(test_import),
        cmocka_unit_test(test_purge),
        cmocka_unit_test(test_of_one_user),
        cmocka_unit_test(test_shown_keys),
        cmocka_unit_test(test_pages),
    };
    return cmocka_run_group_tests_name("audit", tests, NULL, NULL);
}
