#include "tests/unit/unit.h"

#include <errno.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "tests/unit/raw.h"

/* Tries to open it; the reason has to have both texts in it. */
static void check_refused(struct temporary *temporary, const char *path, const char *why)
{
    char reason[STORE_REASON_SIZE] = "";
    assert_int_equal(store_open(&temporary->options, &temporary->store, reason), STORE_REFUSED);
    assert_null(temporary->store);
    require(strstr(reason, path) && strstr(reason, why), "the reason is: %s", reason);
    require(!strchr(reason, '\n'), "the reason is one line: %s", reason);
}

static void check_opens(struct temporary *temporary)
{
    temporary_open(temporary);
    temporary_check(temporary);
    temporary_close(temporary);
}

static mode_t mode_of(const char *path)
{
    struct stat status;
    if (stat(path, &status) != 0)
        fail_msg("%s: %s", path, strerror(errno));
    return status.st_mode & 07777;
}

/* ---- creating ---- */

static void test_create(void **state)
{
    (void)state;
    struct temporary temporary;
    mode_t mask = umask(0);
    temporary_create_folder(&temporary, 0);
    umask(mask);
    assert_int_equal(mode_of(temporary.store_path.path), 0700);
    assert_int_equal(mode_of(temporary.secret_path.path), 0600);
    assert_int_equal(mode_of(folder_file(&temporary.folder, "store/data.mdb").path), 0600);
    assert_int_equal(mode_of(folder_file(&temporary.folder, "store/lock.mdb").path), 0600);
    check_opens(&temporary);
    temporary_remove(&temporary);
}

/* What is there already stays as it is, and what was made meanwhile goes again. */
static void test_create_twice(void **state)
{
    (void)state;
    struct temporary temporary;
    char reason[STORE_REASON_SIZE] = "";
    temporary_create_folder(&temporary, 0);
    assert_int_equal(store_create(&temporary.options, (unsigned)-1, (unsigned)-1, reason),
                     STORE_REFUSED);
    assert_non_null(strstr(reason, temporary.secret_path.path));

    struct store_options other = temporary.options;
    struct folder_file elsewhere = folder_file(&temporary.folder, "other");
    other.location = elsewhere.path; /* a new store, the secret is there */
    assert_int_equal(store_create(&other, (unsigned)-1, (unsigned)-1, reason), STORE_REFUSED);
    assert_non_null(strstr(reason, temporary.secret_path.path));
    assert_int_equal(access(elsewhere.path, F_OK), -1);

    other = temporary.options;
    other.secret_path = elsewhere.path; /* a new secret, the store is there */
    assert_int_equal(store_create(&other, (unsigned)-1, (unsigned)-1, reason), STORE_REFUSED);
    assert_int_equal(access(elsewhere.path, F_OK), -1);
    check_opens(&temporary);
    temporary_remove(&temporary);
}

static void test_create_makes_parents(void **state)
{
    (void)state;
    struct folder folder = folder_make();
    struct folder_file store = folder_file(&folder, "a/b/store");
    struct folder_file secret = folder_file(&folder, "a/c/secret");
    struct store_options options = {.location = store.path, .secret_path = secret.path};
    struct store *opened;
    char reason[STORE_REASON_SIZE] = "";
    mode_t mask = umask(022);
    assert_int_equal(store_create(&options, (unsigned)-1, (unsigned)-1, reason), STORE_OK);
    umask(mask);
    assert_int_equal(mode_of(folder_file(&folder, "a").path), 0755);
    assert_int_equal(mode_of(folder_file(&folder, "a/b").path), 0755);
    assert_int_equal(mode_of(folder_file(&folder, "a/c").path), 0755);
    assert_int_equal(mode_of(store.path), 0700);
    assert_int_equal(store_open(&options, &opened, reason), STORE_OK);
    store_close(opened);
    static const char *const names[] = {"a/b/store/data.mdb", "a/b/store/lock.mdb"};
    for (size_t i = 0; i < COUNT_OF(names); i++)
        assert_int_equal(unlink(folder_file(&folder, names[i]).path), 0);
    assert_int_equal(unlink(secret.path), 0);
    static const char *const folders[] = {"a/b/store", "a/b", "a/c", "a"};
    for (size_t i = 0; i < COUNT_OF(folders); i++)
        assert_int_equal(rmdir(folder_file(&folder, folders[i]).path), 0);
    folder_remove(&folder);
}

/* Where a parent is a file, nothing can be made and nothing is left. */
static void test_create_where_it_can_not_be(void **state)
{
    (void)state;
    struct folder folder = folder_make();
    struct folder_file file = folder_file(&folder, "other"),
                       below = folder_file(&folder, "other/s");
    struct folder_file secret = folder_file(&folder, "secret"),
                       store = folder_file(&folder, "store");
    char reason[STORE_REASON_SIZE] = "";
    FILE *stream = fopen(file.path, "w");
    assert_non_null(stream);
    fclose(stream);
    struct store_options options = {.location = below.path, .secret_path = secret.path};
    assert_int_equal(store_create(&options, (unsigned)-1, (unsigned)-1, reason), STORE_REFUSED);
    assert_non_null(strstr(reason, below.path));
    assert_int_equal(access(secret.path, F_OK), -1);
    options = (struct store_options){.location = store.path, .secret_path = below.path};
    assert_int_equal(store_create(&options, (unsigned)-1, (unsigned)-1, reason), STORE_REFUSED);
    assert_non_null(strstr(reason, below.path));
    assert_int_equal(access(store.path, F_OK), -1);
    folder_remove(&folder);
}

/* ---- opening what is not right ---- */

static void test_nothing_there(void **state)
{
    (void)state;
    struct temporary temporary;
    temporary_create_folder(&temporary, 0);
    struct folder_file other = folder_file(&temporary.folder, "other");
    temporary.options.location = other.path;
    check_refused(&temporary, other.path, "no store");
    assert_int_equal(access(other.path, F_OK), -1);
    assert_int_equal(mkdir(other.path, 0700), 0); /* an empty folder stays one */
    check_refused(&temporary, other.path, "no store");
    assert_int_equal(rmdir(other.path), 0);
    temporary.options.location = temporary.secret_path.path; /* no folder */
    check_refused(&temporary, temporary.secret_path.path, "");
    temporary.options.location = temporary.store_path.path;
    check_opens(&temporary);
    temporary_remove(&temporary);
}

static void test_secrets(void **state)
{
    (void)state;
    struct temporary temporary;
    temporary_create_folder(&temporary, 0);
    const char *path = temporary.secret_path.path;
    assert_int_equal(chmod(path, 0644), 0);
    check_refused(&temporary, path, "chmod 600");
    assert_int_equal(chmod(path, 0600), 0);
    check_opens(&temporary);
    assert_int_equal(truncate(path, 31), 0);
    check_refused(&temporary, path, "32 bytes");
    assert_int_equal(truncate(path, 32), 0); /* its last byte is 0 now: another secret */
    char reason[STORE_REASON_SIZE];
    bool same = store_open(&temporary.options, &temporary.store, reason) == STORE_OK;
    store_close(temporary.store); /* one in 256 ends in 0 by itself */
    temporary.store = NULL;
    if (!same)
        check_refused(&temporary, temporary.store_path.path, "another secret than TOKEN_SECRET's");
    assert_int_equal(unlink(path), 0);
    check_refused(&temporary, path, "No such file");
    temporary_remove(&temporary);
}

/* The secrets of two stores exchanged. */
static void test_another_secret(void **state)
{
    (void)state;
    struct temporary temporary, other;
    temporary_create_folder(&temporary, 0);
    temporary_create_folder(&other, 0);
    temporary.options.secret_path = other.secret_path.path;
    check_refused(&temporary, temporary.store_path.path, "another secret than TOKEN_SECRET's");
    temporary.options.secret_path = temporary.secret_path.path;
    check_opens(&temporary);
    check_opens(&other);
    temporary_remove(&other);
    temporary_remove(&temporary);
}

static void schema_of_tomorrow(struct raw *raw)
{
    raw_put(raw, raw->meta, raw_text("schema"), raw_meta("schema", 99));
}

static void schema_of_yesterday(struct raw *raw)
{
    raw_put(raw, raw->meta, raw_text("schema"), raw_little64(2));
}

static void schema_damaged(struct raw *raw)
{
    struct raw_bytes value = raw_get(raw, raw->meta, raw_text("schema"));
    value.at[0] ^= 4;
    raw_put(raw, raw->meta, raw_text("schema"), value);
}

static void cipher_damaged(struct raw *raw)
{
    struct raw_bytes value = raw_get(raw, raw->meta, raw_text("cipher"));
    value.at[0] ^= 3; /* the other one */
    raw_put(raw, raw->meta, raw_text("cipher"), value);
}

static void schema_missing(struct raw *raw)
{
    raw_delete(raw, raw->meta, raw_text("schema"), NULL);
}

static void meta_missing(struct raw *raw)
{
    assert_int_equal(mdb_drop(raw->txn, raw->meta, 1), 0);
}

static void check_value_missing(struct raw *raw)
{
    raw_delete(raw, raw->meta, raw_text("secret_check"), NULL);
}

static void check_value_changed(struct raw *raw)
{
    struct raw_bytes value = raw_get(raw, raw->meta, raw_text("secret_check"));
    value.at[0] ^= 1;
    raw_put(raw, raw->meta, raw_text("secret_check"), value);
}

static void check_value_cut(struct raw *raw)
{
    struct raw_bytes value = raw_get(raw, raw->meta, raw_text("secret_check"));
    value.len = 0;
    raw_put(raw, raw->meta, raw_text("secret_check"), value);
}

static void cipher_unknown(struct raw *raw)
{
    raw_put(raw, raw->meta, raw_text("cipher"), raw_meta("cipher", 9));
}

static void database_missing(struct raw *raw)
{
    assert_int_equal(mdb_drop(raw->txn, raw->tokens, 1), 0);
}

static void test_meta(void **state)
{
    (void)state;
    static const struct {
        void (*damage)(struct raw *raw);
        const char *why;
    } rows[] = {
        {schema_of_tomorrow, "made by another version: it has schema version 99"},
        {schema_of_yesterday, "can't be read: it is damaged or of an old version"},
        {schema_damaged, "its schema version can't be read"},
        {schema_missing, "its schema version can't be read"},
        {meta_missing, "is not a store of this program"},
        {check_value_missing, "is damaged"},
        {check_value_changed, "is damaged"},
        {check_value_cut, "is damaged"},
        {cipher_unknown, "is damaged: its cipher"},
        {cipher_damaged, "is damaged: its cipher"},
        {database_missing, ""},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct temporary temporary;
        struct raw raw;
        temporary_create_folder(&temporary, 0);
        raw_open(&raw, &temporary);
        rows[i].damage(&raw);
        raw_commit(&raw);
        check_refused(&temporary, temporary.folder.path, rows[i].why);
        temporary_remove(&temporary);
    }
}

/* Files that LMDB never wrote. */
static void test_data_that_is_none(void **state)
{
    (void)state;
    static const struct {
        char byte;
        size_t len;
    } rows[] = {{'x', 20000}, {'\0', 20000}, {'x', 100}};
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct temporary temporary;
        temporary_create_folder(&temporary, 0);
        FILE *stream = fopen(folder_file(&temporary.folder, "store/data.mdb").path, "w");
        assert_non_null(stream);
        for (size_t n = 0; n < rows[i].len; n++)
            fputc(rows[i].byte, stream);
        fclose(stream);
        check_refused(&temporary, temporary.folder.path, "");
        temporary_remove(&temporary);
    }
}

/* The lock file is nothing: it is made again. */
static void test_lock_file_missing(void **state)
{
    (void)state;
    struct temporary temporary;
    temporary_create_folder(&temporary, 0);
    assert_int_equal(unlink(folder_file(&temporary.folder, "store/lock.mdb").path), 0);
    check_opens(&temporary);
    temporary_remove(&temporary);
}

/* Root's commands leave no file that the folder's owner can't use. */
static void test_owner(void **state)
{
    (void)state;
    struct folder folder = folder_make();
    struct folder_file store = folder_file(&folder, "store");
    struct folder_file secret = folder_file(&folder, "secret");
    struct store_options options = {.location = store.path, .secret_path = secret.path};
    char reason[STORE_REASON_SIZE] = "";
    unsigned owner = geteuid() == 0 ? 12345 : geteuid();
    assert_int_equal(store_create(&options, 12345, 12345, reason), STORE_OK);
    const char *const paths[] = {store.path, secret.path};
    for (size_t i = 0; i < COUNT_OF(paths); i++) {
        struct stat status;
        assert_int_equal(stat(paths[i], &status), 0);
        assert_int_equal(status.st_uid, owner);
    }
    struct folder_file lock = folder_file(&folder, "store/lock.mdb");
    assert_int_equal(unlink(lock.path), 0); /* opened by root it comes back, as root's */
    struct store *opened;
    assert_int_equal(store_open(&options, &opened, reason), STORE_OK);
    struct stat status;
    assert_int_equal(stat(lock.path, &status), 0);
    assert_int_equal(status.st_uid, owner);
    store_close(opened);
    folder_remove(&folder);
}

static bool is_read_only;

/* In place of the C library's: a file system that is mounted so. */
/* NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name): theirs are reserved */
int statfs(const char *path, struct statfs *status)
{
    int rc = (int)syscall(SYS_statfs, path, status);
    if (is_read_only)
        status->f_flags |= ST_RDONLY;
    return rc;
}

static void test_read_only(void **state)
{
    (void)state;
    struct temporary temporary;
    struct raw raw;
    char access_token[STORE_CREDENTIAL_LEN];
    temporary_create_folder(&temporary, 0);
    temporary_open(&temporary);
    temporary_add_user(&temporary, access_token);
    temporary_close(&temporary);
    is_read_only = temporary.options.may_be_read_only = true;
    temporary_open(&temporary);
    temporary_check(&temporary);
    assert_int_equal(temporary_stat(temporary.reader, "users"), 1);
    assert_int_not_equal(set_user_disabled(temporary.store, 1, true), STORE_OK);
    temporary_close(&temporary);
    raw_open(&raw, &temporary);
    raw_put(&raw, raw.meta, raw_text("schema"), raw_meta("schema", 3));
    raw_commit(&raw);
    check_refused(&temporary, temporary.store_path.path, "can be upgraded");
    is_read_only = false;
    temporary_remove(&temporary);
}

static void test_close_nothing(void **state)
{
    (void)state;
    store_close(NULL);
    store_reader_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_create),
        cmocka_unit_test(test_create_twice),
        cmocka_unit_test(test_create_makes_parents),
        cmocka_unit_test(test_create_where_it_can_not_be),
        cmocka_unit_test(test_nothing_there),
        cmocka_unit_test(test_secrets),
        cmocka_unit_test(test_another_secret),
        cmocka_unit_test(test_meta),
        cmocka_unit_test(test_data_that_is_none),
        cmocka_unit_test(test_lock_file_missing),
        cmocka_unit_test(test_owner),
        cmocka_unit_test(test_read_only),
        cmocka_unit_test(test_close_nothing),
    };
    return cmocka_run_group_tests_name("open", tests, NULL, NULL);
}
