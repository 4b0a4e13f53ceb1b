#pragma once

/* A folder of its own for a test, and a store in it. */

#include "tests/unit/unit.h"

#include <dirent.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/store.h"
#include "tests/change_user.h"

struct folder {
    char path[64];
};

struct folder_file {
    char path[128];
};

static inline struct folder folder_make(void)
{
    struct folder folder = {"/tmp/token-unit-XXXXXX"};
    if (!mkdtemp(folder.path))
        fail_msg("mkdtemp %s", folder.path);
    return folder;
}

/* The path of a name in the folder. */
static inline struct folder_file folder_file(const struct folder *folder, const char *name)
{
    struct folder_file file;
    snprintf(file.path, sizeof(file.path), "%s/%s", folder->path, name);
    return file;
}

/* Takes the folder away, with what is in it and in its folders. */
static inline void folder_remove(const struct folder *folder)
{
    static const char *const names[] = {"store/data.mdb", "store/lock.mdb", "store/data.mdb.3",
                                        "store",          "data.mdb",       "lock.mdb",
                                        "secret",         "other",          "link"};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        struct folder_file file = folder_file(folder, names[i]);
        if (unlink(file.path) != 0)
            rmdir(file.path);
    }
    if (rmdir(folder->path) != 0)
        fail_msg("%s is not empty", folder->path);
}

/* A store, its location and how it is opened. The paths make it stay at its address. */
struct temporary {
    struct folder folder;
    struct folder_file store_path, secret_path;
    struct store_options options;
    struct store *store;
    struct store_reader *reader;
};

static inline void temporary_open(struct temporary *temporary)
{
    char reason[STORE_REASON_SIZE] = "";
    if (store_open(&temporary->options, &temporary->store, reason) != STORE_OK)
        fail_msg("store_open: %s", reason);
    assert_int_equal(store_reader_open(temporary->store, &temporary->reader), STORE_OK);
}

static inline void temporary_close(struct temporary *temporary)
{
    store_reader_close(temporary->reader);
    store_close(temporary->store);
    temporary->reader = NULL;
    temporary->store = NULL;
}

static inline void temporary_create_at(struct temporary *temporary, const char *location,
                                       uint64_t size_max)
{
    char reason[STORE_REASON_SIZE] = "";
    *temporary = (struct temporary){.folder = folder_make()};
    temporary->store_path = folder_file(&temporary->folder, "store");
    temporary->secret_path = folder_file(&temporary->folder, "secret");
    temporary->options =
        (struct store_options){.location = location ? location : temporary->store_path.path,
                               .secret_path = temporary->secret_path.path,
                               .size_max = size_max};
    if (store_create(&temporary->options, (unsigned)-1, (unsigned)-1, reason) != STORE_OK)
        fail_msg("store_create: %s", reason);
}

/* Whether the store under test is in a database: that of TOKEN_TEST_STORE. */
static inline bool temporary_is_database(void)
{
    const char *location = getenv("TOKEN_TEST_STORE");
    return location && strncmp(location, "postgres", 8) == 0;
}

/* How many steps a long test makes: in a database each takes some twenty times as long. */
static inline int temporary_steps(int steps)
{
    return temporary_is_database() ? steps / 8 : steps;
}

/* The schema in TOKEN_TEST_STORE that the tests have for themselves, emptied. It comes before the
 * server's, whose now() a function in it replaces where the file TOKEN_TEST_CLOCK is to be the
 * clock: that takes a superuser. */
static inline const char *temporary_empty_schema(const char *given)
{
    static const char script[] =
        "[ -z \"$TOKEN_TEST_CLOCK\" ] || clock=\"CREATE FUNCTION token_test.now() RETURNS"
        " timestamptz LANGUAGE sql STABLE AS 'SELECT coalesce(to_timestamp(nullif(pg_read_file("
        "''$TOKEN_TEST_CLOCK'')::bigint, 0)), pg_catalog.now())'\"\n"
        "exec psql -qX -v ON_ERROR_STOP=1 -c 'SET client_min_messages = error'"
        " -c 'DROP SCHEMA IF EXISTS token_test CASCADE' -c 'CREATE SCHEMA token_test'"
        " -c \"${clock-}\" \"$TOKEN_TEST_STORE\"";
    static char location[1024];
    snprintf(location, sizeof(location), "%s%coptions=-csearch_path%%3Dtoken_test,pg_catalog",
             given, strchr(given, '?') ? '&' : '?');
    if (system(script) != 0)
        fail_msg("psql");
    return location;
}

/* In a database with the extension citus the tables are distributed. */
static inline void temporary_distribute(void)
{
    static const char script[] =
        "exec psql -qX -v ON_ERROR_STOP=1 -c 'SET search_path = token_test, pg_catalog'"
        " -c \"DO 'DECLARE t text[]; BEGIN IF EXISTS (SELECT FROM pg_extension"
        " WHERE extname = ''citus'') THEN FOREACH t SLICE 1 IN ARRAY ARRAY["
        "[''users'', ''user_id''], [''tokens'', ''user_id''], [''reservations'', ''user_id''],"
        " [''grants'', ''user_id''], [''usage'', ''user_id''], [''audit'', ''user_id''],"
        " [''access_hashes'', ''hash''], [''keys'', ''hash''], [''idempotency'', ''hash''],"
        " [''commits'', ''id''], [''user_names'', ''name'']] LOOP IF NOT EXISTS (SELECT FROM"
        " pg_dist_partition WHERE logicalrelid = t[1]::regclass) THEN"
        " PERFORM create_distributed_table(t[1], t[2]); END IF; END LOOP; END IF; END'\""
        " \"$TOKEN_TEST_STORE\"";
    if (system(script) != 0)
        fail_msg("psql");
}

/* Creates a store of the engine under test, not opened: at the location TOKEN_TEST_STORE where that
 * is set, a PostgreSQL database, or a folder that does not exist; else in a temporary folder. */
static inline void temporary_create(struct temporary *temporary)
{
    const char *location = getenv("TOKEN_TEST_STORE");
    if (!location || !temporary_is_database()) {
        temporary_create_at(temporary, location, 0);
        return;
    }
    temporary_create_at(temporary, temporary_empty_schema(location), 0);
    if (!getenv("TOKEN_TEST_CLOCK"))
        temporary_distribute();
}

/* Creates a store in a temporary folder: for the tests of LMDB's engine. size_max may be 0. */
static inline void temporary_create_folder(struct temporary *temporary, uint64_t size_max)
{
    temporary_create_at(temporary, NULL, size_max);
}

/* Closes the store, where it is open, and removes it. */
static inline void temporary_remove(struct temporary *temporary)
{
    const char *location = temporary->options.location;
    char path[PATH_MAX];
    temporary_close(temporary);
    if (location != temporary->store_path.path) {
        for (size_t i = 0; i < 2; i++) {
            snprintf(path, sizeof(path), "%s/%s", location, i ? "lock.mdb" : "data.mdb");
            unlink(path);
        }
        rmdir(location);
    }
    folder_remove(&temporary->folder);
}

/* Adds a user of group "vip" with a name of its own; its id. */
static inline int64_t temporary_add_user(struct temporary *temporary,
                                         char access_token[static STORE_CREDENTIAL_LEN])
{
    static int count;
    struct store_user user = {
        .group = "vip", .role = USER_ROLE_USER, .account = {.unlimited_quota = true}};
    snprintf(user.name, sizeof(user.name), "user%d", ++count);
    assert_int_equal(store_user_add(temporary->store, 1000, &user, access_token), STORE_OK);
    return user.id;
}

/* Creates count tokens of one user with one write, all alike but for their keys, with
 * model_limits of that many bytes. Returns the write's error, and the first one's id. */
static inline enum store_error temporary_create_tokens(struct store *store, int64_t user_id,
                                                       size_t count, size_t models_len,
                                                       uint64_t max_per_user, int64_t *first_id)
{
    struct token *tokens = calloc(count, sizeof(*tokens));
    char *models = malloc(models_len + 1);
    enum store_error error = STORE_UNAVAILABLE;
    *first_id = 0;
    if (tokens && models) {
        memset(models, 'm', models_len);
        for (size_t i = 0; i < count; i++) {
            tokens[i] = token_default();
            tokens[i].name = SPAN("name");
            tokens[i].group = SPAN(""); /* the owner's */
            tokens[i].unlimited_quota = true;
            tokens[i].model_limits = (struct span){models, models_len};
            token_key_generate(tokens[i].key);
        }
        struct store_write write = {
            .kind = STORE_CREATE,
            .user_id = user_id,
            .now_unix_s = 1000,
            .create = {.tokens = tokens, .count = count, .max_per_user = max_per_user}};
        error = store_write(store, &write);
        if (error == STORE_OK)
            *first_id = tokens[0].id;
    }
    free(models);
    free(tokens);
    return error;
}

/* Has the writes done in one commit, in their order. */
static inline enum store_error temporary_commit(struct store *store, struct store_write *writes,
                                                size_t count)
{
    for (size_t i = 0; i < count; i++)
        writes[i].next = i + 1 < count ? &writes[i + 1] : NULL;
    return store_write_all(store, count > 0 ? writes : NULL);
}

/* One of the store's figures; UINT64_MAX where it can't be read. */
struct temporary_figure {
    const char *name;
    uint64_t value;
};

static inline void temporary_take_figure(void *context, const char *name, uint64_t value)
{
    struct temporary_figure *figure = context;
    if (strcmp(name, figure->name) == 0)
        figure->value = value;
}

static inline uint64_t temporary_stat(struct store_reader *reader, const char *name)
{
    struct temporary_figure figure = {name, UINT64_MAX};
    assert_int_equal(store_stat(reader, temporary_take_figure, &figure), STORE_OK);
    return figure.value;
}

/* How many tokens the user has; UINT64_MAX where that can't be read. */
static inline uint64_t temporary_count(struct store_reader *reader, int64_t user_id)
{
    uint64_t total;
    enum store_error error = store_token_page(reader, user_id, 0, 0, &total, NULL, NULL);
    return error == STORE_OK ? total : UINT64_MAX;
}

static inline void temporary_print_finding(void *context, const char *line)
{
    (void)context;
    print_error("check: %s\n", line);
}

/* Fails where store_check finds anything. */
static inline void temporary_check(struct temporary *temporary)
{
    uint64_t found = 99;
    assert_int_equal(store_check(temporary->reader, temporary_print_finding, NULL, &found),
                     STORE_OK);
    assert_int_equal(found, 0);
}
