/* Stores of older versions. */

#include "tests/unit/raw.h"

#include <signal.h>
#include <sys/wait.h>

#include "store/lmdb/record.h"

enum { USERS = 4 };

struct old_store {
    struct temporary temporary;
    struct folder_file copy_path;
    char access_tokens[USERS][STORE_CREDENTIAL_LEN];
};

static void set_name(struct raw *raw, int64_t user_id, struct span name)
{
    unsigned char bytes[RECORD_USER_LEN_MAX];
    struct raw_bytes old = raw_get(raw, raw->users, raw_user_key(user_id));
    struct record_user user;
    assert_true(record_decode_user(user_id, (struct span){(char *)old.at, old.len}, &user));
    user.name = name;
    raw_put(raw, raw->users, raw_user_key(user_id),
            raw_bytes(bytes, record_encode_user(user_id, &user, bytes)));
}

static struct span render(struct store_write *write)
{
    (void)write;
    return SPAN("answer");
}

/* A write that has been done before, or is now; whether it has. */
static bool repeat(struct temporary *temporary, const char *key)
{
    struct store_write write = {.kind = STORE_DELETE, .user_id = 1};
    store_idempotency_init(&write.idempotency, SPAN("scope"), span_of(key), SPAN("r"), render);
    assert_int_equal(store_write(temporary->store, &write), STORE_OK);
    bool replayed = write.idempotency.replayed;
    store_write_free(&write);
    return replayed;
}

/* Reserves three times 7 units; the last reservation's id. */
static int64_t reserve(struct temporary *temporary)
{
    struct store_write write = {.kind = STORE_SPEND,
                                .spend = {.use.amount = 7, .gateway_id = 1, .ttl_s = 600}};
    struct token token = token_default();
    token.unlimited_quota = true;
    token_key_generate(token.key);
    struct store_write create = {
        .kind = STORE_CREATE, .user_id = 2, .create = {.tokens = &token, .count = 1}};
    assert_int_equal(store_write(temporary->store, &create), STORE_OK);
    memcpy(write.spend.key, token.key, TOKEN_KEY_LEN + 1);
    for (int i = 0; i < 3; i++)
        assert_int_equal(store_write(temporary->store, &write), STORE_OK);
    assert_int_equal(write.spend.refusal, TOKEN_GOOD);
    return write.spend.answer.reservation_id;
}

static void settle(struct temporary *temporary, int64_t reservation_id)
{
    struct store_write write = {
        .kind = STORE_SETTLE,
        .settle = {.gateway_id = 1, .reservation_id = reservation_id, .amount = 5}};
    assert_int_equal(store_write(temporary->store, &write), STORE_OK);
}

/* Moves the answers to where version 3 had them: by day and hash, without the user's id. */
static void move_answers(struct raw *raw, size_t count)
{
    MDB_dbi dbi;
    assert_int_equal(mdb_dbi_open(raw->txn, "repeats", MDB_CREATE, &dbi), 0);
    for (size_t i = 0; i < count; i++) {
        struct raw_bytes key, value, old_key = {.len = 40};
        raw_entry(raw, raw->answers, i, &key, &value);
        struct raw_bytes old = raw_bytes(value.at + 8, value.len - 8);
        put_big64(old_key.at, get_little64(old.at) / 86400);
        memcpy(old_key.at + 8, key.at, 32);
        raw_put(raw, dbi, old_key, old);
        put_big64(old_key.at,
                  get_little64(old.at) / 86400 - 2); /* an expired one of the same key */
        put_little64(old.at, get_little64(old.at) - 2 * 86400);
        raw_put(raw, dbi, old_key, old);
    }
    assert_int_equal(mdb_drop(raw->txn, raw->answers, 1), 0);
    assert_int_equal(mdb_dbi_open(raw->txn, "answers_by_user", 0, &dbi), 0);
    assert_int_equal(mdb_drop(raw->txn, dbi, 1), 0);
    assert_int_equal(mdb_dbi_open(raw->txn, "reservations_by_user", 0, &dbi), 0);
    assert_int_equal(mdb_drop(raw->txn, dbi, 1), 0);
    raw_delete(raw, raw->meta, raw_text("time"), NULL);
}

/* A store as version 3 left it: without the index of users, with names that are there twice. */
static void make_version_3(struct old_store *old)
{
    struct raw raw;
    struct temporary *temporary = &old->temporary;
    static const char character[] = {(char)0xE7, (char)0xBB, (char)0x84}; /* UTF-8 */
    char longest[STORE_USER_NAME_LEN_MAX];
    memset(longest, 'x', sizeof(longest) - 3);
    memcpy(longest + sizeof(longest) - 3, character, sizeof(character));
    temporary_create_folder(temporary, 0);
    temporary_open(temporary);
    for (size_t i = 0; i < USERS; i++)
        temporary_add_user(temporary, old->access_tokens[i]);
    assert_false(repeat(temporary, "a") || repeat(temporary, "b"));
    reserve(temporary);
    temporary_close(temporary);
    old->copy_path = folder_file(&temporary->folder, "store/data.mdb.3");
    raw_open(&raw, temporary);
    set_name(&raw, 1, SPAN("2026"));
    set_name(&raw, 2, SPAN("2026-1"));
    set_name(&raw, 3, (struct span){longest, sizeof(longest)});
    set_name(&raw, 4, (struct span){longest, sizeof(longest)});
    assert_int_equal(mdb_drop(raw.txn, raw.user_index, 1), 0);
    move_answers(&raw, 2);
    raw_put(&raw, raw.meta, raw_text("schema"), raw_meta("schema", 3));
    raw_commit(&raw);
}

/* A store as version 5 left it: of users it has no used_quota, of tokens no usage by day. */
static void make_version_5(struct temporary *temporary)
{
    struct raw raw;
    struct raw_bytes key, value;
    MDB_stat stat;
    raw_open(&raw, temporary);
    for (int64_t id = 1; id <= 2; id++) {
        struct record_user user;
        value = raw_get(&raw, raw.users, raw_user_key(id));
        assert_true(record_decode_user(id, (struct span){(char *)value.at, value.len}, &user));
        user.account =
            (struct token_account){.unlimited_quota = true, .deleted_used_quota = id == 1 ? 11 : 0};
        struct raw_bytes old;
        old.len = record_encode_user(id, &user, old.at);
        raw_put(&raw, raw.users, raw_user_key(id), old);
    }
    assert_int_equal(mdb_stat(raw.txn, raw.tokens, &stat), 0);
    for (size_t i = 0; i < stat.ms_entries; i++) {
        struct record_keys keys;
        raw_entry(&raw, raw.tokens, i, &key, &value);
        struct token token = {.user_id = get_big64(key.at), .id = get_big64(key.at + 8)};
        assert_true(record_decode_token((struct span){(char *)value.at, value.len}, &token, &keys));
        token.usage = (struct token_usage){.day = 0};
        struct raw_bytes old;
        old.len = record_encode_token(&token, &keys, old.at);
        assert_int_equal(old.at[0], 3);
        raw_put(&raw, raw.tokens, key, old);
    }
    assert_int_equal(mdb_drop(raw.txn, raw.reservations_by_token, 1), 0);
    assert_int_equal(mdb_drop(raw.txn, raw.groups, 1), 0);
    raw_delete(&raw, raw.meta, raw_text("groups_checked"), NULL);
    raw_put(&raw, raw.meta, raw_text("schema"), raw_meta("schema", 5));
    raw_commit(&raw);
}

static void test_used_quota_of_users(void **state)
{
    (void)state;
    struct temporary temporary;
    struct store_user user;
    char access_token[STORE_CREDENTIAL_LEN];
    temporary_create_folder(&temporary, 0);
    temporary_open(&temporary);
    for (int i = 0; i < 2; i++)
        temporary_add_user(&temporary, access_token);
    settle(&temporary, reserve(&temporary));
    int64_t open_id = reserve(&temporary);
    temporary_close(&temporary);
    make_version_5(&temporary);
    temporary_open(&temporary);
    assert_int_equal(store_user_get(temporary.reader, 1, &user), STORE_OK);
    assert_int_equal(user.account.used_quota, 11);
    assert_int_equal(store_user_get(temporary.reader, 2, &user), STORE_OK);
    assert_int_equal(user.account.used_quota, 7 + 7 + 5 + 3 * 7);
    temporary_check(&temporary);
    settle(&temporary, open_id); /* is in the index by token */
    temporary_check(&temporary);
    temporary_close(&temporary);
    struct folder_file copy = folder_file(&temporary.folder, "store/data.mdb.5");
    assert_int_equal(unlink(copy.path), 0);
    temporary_remove(&temporary);
}

static void check_refused(struct old_store *old, const char *why)
{
    char reason[STORE_REASON_SIZE] = "";
    assert_int_equal(store_open(&old->temporary.options, &old->temporary.store, reason),
                     STORE_REFUSED);
    require(strstr(reason, why), "the reason is: %s", reason);
}

static void test_upgrade(void **state)
{
    (void)state;
    struct old_store old;
    static const char *const names[USERS] = {"2026-1", "2026-1-2", NULL, NULL};
    make_version_3(&old);
    temporary_open(&old.temporary);
    for (size_t i = 0; i < USERS; i++) {
        struct store_user user;
        int64_t id = 0;
        struct span access_token = {old.access_tokens[i], STORE_CREDENTIAL_LEN};
        assert_int_equal(store_user_authenticate(old.temporary.reader, access_token, &id),
                         STORE_OK);
        assert_int_equal(id, i + 1);
        assert_int_equal(store_user_get(old.temporary.reader, id, &user), STORE_OK);
        if (names[i])
            assert_string_equal(user.name, names[i]);
        else if (i == 2)
            assert_int_equal(strlen(user.name), STORE_USER_NAME_LEN_MAX);
        else /* the character is gone as a whole */
            assert_string_equal(strchr(user.name, '-'), "-4");
        assert_int_equal(store_user_find(old.temporary.reader, span_of(user.name), &id), STORE_OK);
        assert_int_equal(id, i + 1);
    }
    temporary_check(&old.temporary); /* with texts that are UTF-8 */
    assert_true(repeat(&old.temporary, "a") && repeat(&old.temporary, "b"));
    assert_false(repeat(&old.temporary, "c"));
    temporary_close(&old.temporary);

    /* The copy is the store as it was: put back, it is upgraded again. */
    struct folder_file data = folder_file(&old.temporary.folder, "store/data.mdb");
    assert_int_equal(rename(old.copy_path.path, data.path), 0);
    temporary_open(&old.temporary);
    assert_int_equal(access(old.copy_path.path, F_OK), 0);
    temporary_check(&old.temporary);
    temporary_close(&old.temporary);
    assert_int_equal(unlink(old.copy_path.path), 0);
    temporary_open(&old.temporary); /* nothing is left to do */
    assert_int_equal(access(old.copy_path.path, F_OK), -1);
    temporary_remove(&old.temporary);
}

/* A program that has the store open, as an old one does. */
static pid_t start_program(const struct old_store *old)
{
    int ready[2];
    char byte;
    assert_int_equal(pipe(ready), 0);
    pid_t child = fork();
    if (child == 0) {
        MDB_env *env;
        MDB_txn *txn;
        if (mdb_env_create(&env) != 0 ||
            mdb_env_open(env, old->temporary.options.location, MDB_NOTLS, 0600) != 0 ||
            mdb_txn_begin(env, NULL, MDB_RDONLY, &txn) != 0)
            _exit(1);
        mdb_txn_reset(txn);
        (void)!write(ready[1], "", 1);
        pause();
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    close(ready[1]);
    return child;
}

static void test_older_program_at_work(void **state)
{
    (void)state;
    struct old_store old;
    make_version_3(&old);
    pid_t child = start_program(&old);
    check_refused(&old, "is in use by programs of schema version 3");
    check_refused(&old, "version 6");
    assert_int_equal(access(old.copy_path.path, F_OK), -1);
    kill(child, SIGKILL); /* its reader stays in the table */
    assert_int_equal(waitpid(child, NULL, 0), child);
    temporary_open(&old.temporary);
    temporary_check(&old.temporary);
    temporary_remove(&old.temporary);
}

static void test_without_a_copy(void **state)
{
    (void)state;
    struct old_store old;
    make_version_3(&old);
    assert_int_equal(mkdir(old.copy_path.path, 0700), 0);
    check_refused(&old, "data.mdb.3: Is a directory");
    assert_int_equal(rmdir(old.copy_path.path), 0);
    temporary_open(&old.temporary);
    temporary_check(&old.temporary);
    temporary_remove(&old.temporary);
}

/* Processes that start together: one upgrades, the others wait. */
static void test_together(void **state)
{
    (void)state;
    enum { PROCESSES = 4 };
    struct old_store old;
    make_version_3(&old);
    for (int i = 0; i < PROCESSES; i++) {
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            char reason[STORE_REASON_SIZE];
            bool opened =
                store_open(&old.temporary.options, &old.temporary.store, reason) == STORE_OK;
            _exit(!opened);
        }
    }
    for (int i = 0; i < PROCESSES; i++) {
        int status = 1;
        assert_true(wait(&status) > 0);
        assert_int_equal(status, 0);
    }
    temporary_open(&old.temporary);
    temporary_check(&old.temporary);
    temporary_remove(&old.temporary);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_upgrade),
        cmocka_unit_test(test_used_quota_of_users),
        cmocka_unit_test(test_older_program_at_work),
        cmocka_unit_test(test_without_a_copy),
        cmocka_unit_test(test_together),
    };
    return cmocka_run_group_tests_name("upgrade", tests, NULL, NULL);
}
