/* LMDB's environment: how large it gets, commits, a file that is replaced or removed. */

#include "store/lmdb/database.h"
#include "tests/unit/temporary.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/wait.h>

static void open_store(struct temporary *temporary, uint64_t size_max, int64_t *user_id)
{
    char access_token[STORE_CREDENTIAL_LEN];
    temporary_create_folder(temporary, size_max);
    temporary_open(temporary);
    *user_id = temporary_add_user(temporary, access_token);
}

static enum store_error create(struct temporary *temporary, int64_t user_id, size_t models_len)
{
    int64_t first;
    return temporary_create_tokens(temporary->store, user_id, 1, models_len, 0, &first);
}

static enum store_error delete (struct temporary *temporary, int64_t user_id, int64_t id) {
    struct store_write write = {.kind = STORE_DELETE,
                                .user_id = user_id,
                                .delete = {.ids = &id, .id_count = 1}};
    enum store_error error = store_write(temporary->store, &write);
    assert_true(error != STORE_OK || write.delete.deleted_count == 1);
    return error;
}

static void count_token(void *context, const struct token *token)
{
    (void)token;
    ++*(size_t *)context;
}

/* ---- the size that is reserved ---- */

/* What is full for creates is not for reads and deletes, and has room again after those. */
static void test_full(void **state)
{
    (void)state;
    static const size_t models_len[] = {0, 100, 900, 3000, TOKEN_MODEL_LIMITS_LEN_MAX};
    for (size_t i = 0; i < COUNT_OF(models_len); i++) {
        struct temporary temporary;
        int64_t user_id, count = 0, deleted = 0;
        open_store(&temporary, 1 << 20, &user_id);
        enum store_error error = STORE_OK;
        for (size_t n = 0; n <= i; n++) /* what is left is filled with less and less */
            while ((error = create(&temporary, user_id, models_len[i - n])) == STORE_OK)
                count++;
        assert_int_equal(error, STORE_FULL);
        assert_true(count > 30);
        assert_int_equal(temporary_stat(temporary.reader, "map_bytes"), 1 << 20);
        assert_true(temporary_stat(temporary.reader, "bytes") <= 1 << 20);
        size_t seen = 0;
        uint64_t total;
        assert_int_equal(
            store_token_page(temporary.reader, user_id, 0, UINT64_MAX, &total, count_token, &seen),
            STORE_OK);
        assert_int_equal(seen, count);
        const int64_t half = count / 4 * 2;
        for (; deleted < half; deleted++) { /* every other one, then those in between */
            error = delete (&temporary, user_id, 1 + (deleted * 2) % half + (deleted >= half / 2));
            require(error == STORE_OK, "models of %zu: delete %d of %d: %s", models_len[i],
                    (int)deleted, (int)count, store_error_text(error));
        }
        for (int64_t n = 0; n < count / 4; n++)
            assert_int_equal(create(&temporary, user_id, models_len[i]), STORE_OK);
        assert_int_equal(temporary_count(temporary.reader, user_id), count - deleted + count / 4);
        assert_false(store_is_broken(temporary.store));
        temporary_check(&temporary);
        temporary_remove(&temporary);
    }
}

/* A limit below what is used already: reads go on, and deletes. */
static void test_limit_below_the_use(void **state)
{
    (void)state;
    struct temporary temporary;
    int64_t user_id, first;
    open_store(&temporary, 0, &user_id);
    for (size_t i = 0; i < 10; i++)
        assert_int_equal(temporary_create_tokens(temporary.store, user_id, 20, 8192, 0, &first),
                         STORE_OK);
    temporary_close(&temporary);
    temporary.options.size_max = 256 << 10;
    temporary_open(&temporary);
    assert_int_equal(temporary_count(temporary.reader, user_id), 200);
    enum store_error error;
    while ((error = create(&temporary, user_id, 8192)) == STORE_OK)
        ;
    assert_int_equal(error, STORE_FULL);
    assert_int_equal(delete (&temporary, user_id, 1), STORE_OK);
    temporary_check(&temporary);
    temporary_remove(&temporary);
}

/* A small write finds the file long enough, but for one in many; and what is ahead is bounded. */
static void test_the_file_is_ahead(void **state)
{
    (void)state;
    enum { WRITES = 400 };
    struct temporary temporary;
    int64_t user_id, first;
    uint64_t bytes = 0, used = 0;
    size_t longer = 0;
    open_store(&temporary, 0, &user_id);
    for (size_t i = 0; i < WRITES; i++) {
        assert_int_equal(temporary_create_tokens(temporary.store, user_id, 10, 512, 0, &first),
                         STORE_OK);
        uint64_t before = bytes;
        bytes = temporary_stat(temporary.reader, "bytes");
        used = temporary_stat(temporary.reader, "map_used_bytes");
        longer += bytes > before;
        require(bytes <= used + (256 << 10) + used / 16, "%zu: %zu bytes of which %zu are used", i,
                (size_t)bytes, (size_t)used);
    }
    assert_true(used > (size_t)2 << 20);
    require(longer < WRITES / 8, "made longer %zu times", longer);
    temporary_check(&temporary);
    temporary_remove(&temporary);
}

/* ---- commits ---- */

/* One after the other, as if each came while the one before it was done. */
static struct store_write *take_next(void *context)
{
    struct store_write **next = context, *taken = *next;
    if (taken)
        *next = taken->context;
    return taken;
}

static size_t last_commit(const struct temporary *temporary)
{
    MDB_envinfo info;
    assert_int_equal(mdb_env_info(((struct lmdb_store *)temporary->store)->env, &info), 0);
    return info.me_last_txnid;
}

static void test_writes_taken_meanwhile_share_a_commit(void **state)
{
    (void)state;
    struct temporary temporary;
    struct token tokens[3];
    struct store_write writes[3], *next = writes;
    int64_t user_id;
    open_store(&temporary, 0, &user_id);
    for (size_t i = 0; i < COUNT_OF(writes); i++) {
        tokens[i] = token_default();
        token_key_generate(tokens[i].key);
        writes[i] = (struct store_write){.kind = STORE_CREATE,
                                         .user_id = user_id,
                                         .create = {.tokens = &tokens[i], .count = 1},
                                         .context = i < 2 ? &writes[i + 1] : NULL};
    }
    size_t before = last_commit(&temporary);
    assert_int_equal(store_commit(temporary.store, take_next, &next), STORE_OK);
    assert_null(next);
    assert_int_equal(last_commit(&temporary), before + 1);
    assert_int_equal(temporary_count(temporary.reader, user_id), 3);
    temporary_check(&temporary);
    temporary_remove(&temporary);
}

/* ---- a limited address space ---- */

/* In a child: exits with 0 where the store opens, with a smaller map, and is written to. */
static int open_within(const struct temporary *temporary, rlim_t limit, int64_t user_id)
{
    struct temporary opened = *temporary;
    char reason[STORE_REASON_SIZE] = "";
    int64_t first;
    if (setrlimit(RLIMIT_AS, &(struct rlimit){limit, limit}) != 0 ||
        store_open(&opened.options, &opened.store, reason) != STORE_OK ||
        store_reader_open(opened.store, &opened.reader) != STORE_OK)
        return 2;
    uint64_t map = temporary_stat(opened.reader, "map_bytes");
    if (map >= limit || map < 2 * temporary_stat(opened.reader, "bytes"))
        return 3;
    if (temporary_create_tokens(opened.store, user_id, 10, 100, 0, &first) != STORE_OK)
        return 4;
    return temporary_count(opened.reader, user_id) == 20 ? 0 : 5;
}

static void test_limited_address_space(void **state)
{
    (void)state;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    skip(); /* it needs terabytes itself */
#endif
    static const rlim_t limits[] = {(rlim_t)16 << 30, (rlim_t)1 << 30, (rlim_t)200 << 20};
    for (size_t i = 0; i < COUNT_OF(limits); i++) {
        struct temporary temporary;
        int64_t user_id, first;
        int status;
        open_store(&temporary, 0, &user_id);
        assert_true(temporary_stat(temporary.reader, "map_bytes") >= (uint64_t)64 << 30);
        assert_int_equal(temporary_create_tokens(temporary.store, user_id, 10, 100, 0, &first),
                         STORE_OK);
        temporary_close(&temporary);
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0)
            _exit(open_within(&temporary, limits[i], user_id));
        assert_int_equal(waitpid(pid, &status, 0), pid);
        require(WIFEXITED(status) && WEXITSTATUS(status) == 0, "row %zu: %x", i, (unsigned)status);
        temporary_open(&temporary); /* and without the limit again */
        assert_int_equal(temporary_count(temporary.reader, user_id), 20);
        temporary_check(&temporary);
        temporary_remove(&temporary);
    }
}

/* ---- replaced or removed under the pool ---- */

static void copy_file(const char *from, const char *to)
{
    static char bytes[4 << 20];
    FILE *in = fopen(from, "r"), *out = fopen(to, "w");
    assert_true(in && out);
    size_t len = fread(bytes, 1, sizeof(bytes), in);
    assert_true(len < sizeof(bytes));
    assert_int_equal(fwrite(bytes, 1, len, out), len);
    assert_int_equal(fclose(in) | fclose(out), 0);
}

static void rename_folder(const struct temporary *temporary)
{
    assert_int_equal(
        rename(temporary->store_path.path, folder_file(&temporary->folder, "other").path), 0);
}

static void unlink_data(const struct temporary *temporary)
{
    assert_int_equal(unlink(folder_file(&temporary->folder, "store/data.mdb").path), 0);
}

/* As a restored backup is put in place. */
static void replace_data(const struct temporary *temporary)
{
    struct folder_file data = folder_file(&temporary->folder, "store/data.mdb");
    struct folder_file copy = folder_file(&temporary->folder, "data.mdb");
    copy_file(data.path, copy.path);
    assert_int_equal(rename(copy.path, data.path), 0);
}

static void replace_folder(const struct temporary *temporary)
{
    struct folder_file other = folder_file(&temporary->folder, "other/data.mdb");
    rename_folder(temporary);
    assert_int_equal(mkdir(temporary->store_path.path, 0700), 0);
    copy_file(other.path, folder_file(&temporary->folder, "store/data.mdb").path);
}

static void replace_folder_by_a_file(const struct temporary *temporary)
{
    rename_folder(temporary);
    copy_file(temporary->secret_path.path, temporary->store_path.path);
}

static const struct {
    const char *name;
    void (*change)(const struct temporary *temporary);
} changes[] = {{"folder renamed", rename_folder},
               {"data file unlinked", unlink_data},
               {"data file replaced", replace_data},
               {"folder replaced", replace_folder},
               {"folder replaced by a file", replace_folder_by_a_file}};

static void remove_files(const struct temporary *temporary)
{
    static const char *const names[] = {"other/data.mdb", "other/lock.mdb"};
    for (size_t i = 0; i < COUNT_OF(names); i++)
        unlink(folder_file(&temporary->folder, names[i]).path);
}

/* The next write fails and so does each after it; none is acknowledged. */
static void test_replaced_or_removed(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(changes); i++) {
        struct temporary temporary;
        int64_t user_id;
        open_store(&temporary, 0, &user_id);
        assert_int_equal(create(&temporary, user_id, 10), STORE_OK);
        changes[i].change(&temporary);
        assert_false(store_is_broken(temporary.store));
        struct token tokens[2] = {token_default(), token_default()};
        struct store_write writes[2];
        for (size_t n = 0; n < 2; n++) {
            token_key_generate(tokens[n].key);
            writes[n] = (struct store_write){.kind = STORE_CREATE,
                                             .user_id = user_id,
                                             .create = {.tokens = &tokens[n], .count = 1}};
        }
        assert_int_equal(temporary_commit(temporary.store, writes, 2), STORE_BROKEN);
        for (size_t n = 0; n < 2; n++)
            require(writes[n].error == STORE_BROKEN, "%s: write %zu: %s", changes[i].name, n,
                    store_error_text(writes[n].error));
        assert_true(store_is_broken(temporary.store));
        assert_int_equal(create(&temporary, user_id, 10), STORE_BROKEN);
        assert_int_equal(temporary_count(temporary.reader, user_id), UINT64_MAX);
        temporary_close(&temporary);
        remove_files(&temporary);
        temporary_remove(&temporary);
    }
}

/* A process that only reads notices it too. */
static void test_maintain_notices(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(changes); i++) {
        struct temporary temporary;
        int64_t user_id;
        open_store(&temporary, 0, &user_id);
        assert_int_equal(store_maintain(temporary.store), STORE_OK);
        changes[i].change(&temporary);
        require(store_maintain(temporary.store) == STORE_BROKEN, "%s", changes[i].name);
        assert_true(store_is_broken(temporary.store));
        temporary_close(&temporary);
        remove_files(&temporary);
        temporary_remove(&temporary);
    }
}

/* What stands under the name is opened, and has what was acknowledged before. */
static void test_opened_after_it_was_replaced(void **state)
{
    (void)state;
    struct temporary temporary;
    int64_t user_id;
    open_store(&temporary, 0, &user_id);
    for (size_t i = 1; i <= 3; i++) {
        assert_int_equal(create(&temporary, user_id, 10), STORE_OK);
        replace_data(&temporary);
        assert_int_equal(create(&temporary, user_id, 10), STORE_BROKEN);
        temporary_close(&temporary);
        temporary_open(&temporary);
        assert_false(store_is_broken(temporary.store));
        assert_int_equal(temporary_count(temporary.reader, user_id), i);
    }
    temporary_check(&temporary);
    temporary_remove(&temporary);
}

/* ---- secrets ---- */

static struct span render_secret(struct store_write *write)
{
    return (struct span){write->create.tokens->key, TOKEN_KEY_LEN};
}

static bool file_contains(const char *path, const void *bytes, size_t len)
{
    static char content[4 << 20];
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    size_t content_len = fread(content, 1, sizeof(content), file);
    assert_true(content_len > 4096 && content_len < sizeof(content));
    fclose(file);
    return memmem(content, content_len, bytes, len) != NULL;
}

/* Neither access token, gateway secret, key nor an answer with a key stands in the data file. */
static void test_secrets_are_not_in_the_file(void **state)
{
    (void)state;
    struct temporary temporary;
    char access_token[STORE_CREDENTIAL_LEN], gateway_secret[STORE_CREDENTIAL_LEN];
    struct store_gateway gateway = {.name = "gateway name"};
    struct token token = token_default();
    token.name = SPAN("token name");
    token_key_generate(token.key);
    temporary_create_folder(&temporary, 0);
    temporary_open(&temporary);
    int64_t user_id = temporary_add_user(&temporary, access_token);
    assert_int_equal(store_gateway_add(temporary.store, 1000, &gateway, gateway_secret), STORE_OK);
    struct store_write write = {.kind = STORE_CREATE,
                                .user_id = user_id,
                                .now_unix_s = 1000,
                                .create = {.tokens = &token, .count = 1}};
    store_idempotency_init(&write.idempotency, SPAN("scope"), SPAN("idempotency key"),
                           SPAN("request"), render_secret);
    assert_int_equal(store_write(temporary.store, &write), STORE_OK);
    store_write_free(&write);
    temporary_close(&temporary);
    struct folder_file data = folder_file(&temporary.folder, "store/data.mdb");
    assert_true(file_contains(data.path, "vip", 3)); /* the search works */
    assert_true(file_contains(data.path, "gateway name", 12));
    assert_true(file_contains(data.path, "token name", 10));
    assert_false(file_contains(data.path, access_token, 12));
    assert_false(file_contains(data.path, gateway_secret, 12));
    assert_false(file_contains(data.path, token.key + TOKEN_KEY_PREFIX_LEN, 12));
    assert_false(file_contains(data.path, "idempotency key", 15));
    temporary_remove(&temporary);
}

/* ---- waiting for other processes ---- */

/* A writer that has been stopped: what waits for it gives up, and is not done later. */
static void test_wait_with_an_end(void **state)
{
    (void)state;
    struct temporary temporary;
    struct store_user user;
    int64_t user_id;
    open_store(&temporary, 0, &user_id);
    store_limit_wait(temporary.store, 30);
    const struct folder_file paths[] = {temporary.store_path,
                                        folder_file(&temporary.folder, "store/data.mdb")};
    for (size_t i = 0; i < COUNT_OF(paths); i++) {
        int fd = open(paths[i].path, O_RDONLY | O_CLOEXEC);
        assert_true(fd >= 0 && flock(fd, LOCK_EX) == 0);
        assert_int_equal(set_user_disabled(temporary.store, user_id, true), STORE_UNAVAILABLE);
        close(fd);
        assert_int_equal(store_user_get(temporary.reader, user_id, &user), STORE_OK);
        assert_false(user.disabled);
        assert_int_equal(set_user_disabled(temporary.store, user_id, false), STORE_OK);
    }
    temporary_check(&temporary);
    temporary_remove(&temporary);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_full),
        cmocka_unit_test(test_limit_below_the_use),
        cmocka_unit_test(test_the_file_is_ahead),
        cmocka_unit_test(test_writes_taken_meanwhile_share_a_commit),
        cmocka_unit_test(test_limited_address_space),
        cmocka_unit_test(test_replaced_or_removed),
        cmocka_unit_test(test_maintain_notices),
        cmocka_unit_test(test_opened_after_it_was_replaced),
        cmocka_unit_test(test_secrets_are_not_in_the_file),
        cmocka_unit_test(test_wait_with_an_end),
    };
    return cmocka_run_group_tests_name("environment", tests, NULL, NULL);
}
