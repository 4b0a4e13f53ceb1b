/* Fills a store with users and tokens through store.h, and says at what rate.
 *
 *   load [-u USERS] [-t TOKENS] [-p PASSES] [-c TOKENS_PER_COMMIT] [-o USERS_FILE] [-k KEYS_FILE]
 *        STORE SECRET
 *
 * The store and the secret are made where there is no store. Each user gets TOKENS / USERS
 * tokens, in PASSES rounds over all users (4): so that, as in a store that has grown, what comes
 * later goes in between of what is there.
 *
 * Prints one JSON line: the first user's id and access token, and what the ids are, in a store
 * that was empty: user number u (from 0), in pass p, has the ids first_id + p * stride + u * chunk
 * and the chunk - 1 after it. USERS_FILE gets a line "id access_token" a user.
 *
 * With -k each user gets, after all those, one token more that may be used from anywhere for
 * anything and without end: KEYS_FILE gets its key, one a line. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "store/store.h"

enum { NAME_SIZE = 16, TOKENS_PER_WRITE_MAX = 10000 };

struct options {
    size_t users, tokens, passes, tokens_per_commit;
    bool limited; /* users have a balance and usable tokens a rate, of which there is enough */
    const char *users_path, *keys_path, *store_path, *secret_path;
};

/* What one commit takes: reused from commit to commit. */
struct batch {
    struct token *tokens;
    char (*names)[NAME_SIZE];
    struct store_write *writes;
    size_t token_count, write_count;
    int64_t rpm_limit;
};

struct filling {
    struct store *store;
    const struct options *options;
    int64_t *user_ids;
    struct batch batch;
    size_t done_count;
    int64_t first_id;
    char first_access[STORE_CREDENTIAL_LEN];
};

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static int fail(const char *what, const char *why)
{
    fprintf(stderr, "load: %s: %s\n", what, why);
    return EXIT_FAILURE;
}

static bool is_there(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0;
}

static enum store_error open_store(const struct options *options, struct store **store,
                                   char reason[static STORE_REASON_SIZE])
{
    struct store_options opening = {.location = options->store_path,
                                    .secret_path = options->secret_path};
    enum store_error error = STORE_OK;
    if (!is_there(options->store_path))
        error = store_create(&opening, (unsigned)-1, (unsigned)-1, reason);
    return error == STORE_OK ? store_open(&opening, store, reason) : error;
}

/* ---- users ---- */

static enum store_error add_users(struct filling *filling, FILE *file)
{
    for (size_t i = 0; i < filling->options->users; i++) {
        struct store_user user = {
            .group = "default",
            .role = USER_ROLE_USER,
            .account = {.unlimited_quota = !filling->options->limited, .quota = INT64_MAX}};
        char access[STORE_CREDENTIAL_LEN];
        snprintf(user.name, sizeof(user.name), "user-%06zu", i);
        enum store_error error = store_user_add(filling->store, (int64_t)time(NULL), &user, access);
        if (error != STORE_OK)
            return error;
        filling->user_ids[i] = user.id;
        if (i == 0)
            memcpy(filling->first_access, access, sizeof(access));
        if (file)
            fprintf(file, "%lld %.*s\n", (long long)user.id, (int)sizeof(access), access);
    }
    return STORE_OK;
}

/* ---- tokens ---- */

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

static enum store_error commit(struct filling *filling)
{
    struct batch *batch = &filling->batch;
    if (batch->write_count == 0)
        return STORE_OK;
    for (size_t i = 0; i < batch->write_count; i++)
        batch->writes[i].next = i + 1 < batch->write_count ? &batch->writes[i + 1] : NULL;
    enum store_error error = store_write_all(filling->store, batch->writes);
    for (size_t i = 0; i < batch->write_count && error == STORE_OK; i++)
        error = batch->writes[i].error;
    if (filling->first_id == 0)
        filling->first_id = batch->tokens[0].id;
    filling->done_count += batch->token_count;
    batch->token_count = batch->write_count = 0;
    return error;
}

static struct token typical_token(struct batch *batch, size_t serial)
{
    static const char models[] = "gpt-4o,claude-3-5-sonnet", ips[] = "203.0.113.7";
    struct token token = token_default();
    char *name = batch->names[batch->token_count];
    snprintf(name, NAME_SIZE, "agent-%06zu", serial % 1000000);
    token.name = (struct span){name, strlen(name)};
    token.model_limits = (struct span){models, sizeof(models) - 1};
    token.model_limits_enabled = true;
    token.allow_ips = (struct span){ips, sizeof(ips) - 1};
    token.group = (struct span){"default", 7};
    token.remain_quota = 500000;
    token_key_generate(token.key);
    return token;
}

static struct token usable_token(struct batch *batch, size_t serial)
{
    struct token token = typical_token(batch, serial);
    token.model_limits = token.allow_ips = SPAN("");
    token.model_limits_enabled = false;
    token.unlimited_quota = true;
    token.rpm_limit = batch->rpm_limit;
    return token;
}

/* Adds one write of count tokens to the batch, which has room for them. */
static void add_write(struct filling *filling, int64_t user_id, size_t count,
                      struct token make(struct batch *batch, size_t serial))
{
    struct batch *batch = &filling->batch;
    struct store_write *write = &batch->writes[batch->write_count++];
    *write = (struct store_write){
        .kind = STORE_CREATE, .user_id = user_id, .now_unix_s = (int64_t)time(NULL)};
    write->create.tokens = batch->tokens + batch->token_count;
    write->create.count = count;
    for (size_t i = 0; i < count; i++, batch->token_count++)
        batch->tokens[batch->token_count] = make(batch, filling->done_count + batch->token_count);
}

static enum store_error add_tokens(struct filling *filling, int64_t user_id, size_t count)
{
    enum store_error error = STORE_OK;
    while (count > 0 && error == STORE_OK) {
        size_t step = smaller(count, TOKENS_PER_WRITE_MAX);
        step = smaller(step, filling->options->tokens_per_commit);
        if (filling->batch.token_count + step > filling->options->tokens_per_commit)
            error = commit(filling);
        add_write(filling, user_id, step, typical_token);
        count -= step;
    }
    return error;
}

/* Also of a user: see -k. */
static enum store_error add_usable_tokens(struct filling *filling, FILE *keys)
{
    struct batch *batch = &filling->batch;
    enum store_error error = STORE_OK;
    for (size_t user = 0; user < filling->options->users && error == STORE_OK; user++) {
        if (batch->token_count == filling->options->tokens_per_commit)
            error = commit(filling);
        add_write(filling, filling->user_ids[user], 1, usable_token);
        fprintf(keys, "%.*s\n", TOKEN_KEY_LEN, batch->tokens[batch->token_count - 1].key);
    }
    return error == STORE_OK ? commit(filling) : error;
}

static enum store_error fill(struct filling *filling, size_t chunk)
{
    const struct options *options = filling->options;
    enum store_error error = STORE_OK;
    for (size_t pass = 0; pass < options->passes; pass++)
        for (size_t user = 0; user < options->users && error == STORE_OK; user++)
            error = add_tokens(filling, filling->user_ids[user], chunk);
    return error == STORE_OK ? commit(filling) : error;
}

/* ---- main ---- */

static bool read_options(int argc, char **argv, struct options *options)
{
    *options =
        (struct options){.users = 100, .tokens = 10000, .passes = 4, .tokens_per_commit = 100000};
    int letter;
    while ((letter = getopt(argc, argv, "u:t:p:c:o:k:l")) != -1) {
        size_t number = optarg ? strtoul(optarg, NULL, 10) : 0;
        if (letter == 'u')
            options->users = number;
        else if (letter == 't')
            options->tokens = number;
        else if (letter == 'p')
            options->passes = number;
        else if (letter == 'c')
            options->tokens_per_commit = number;
        else if (letter == 'l')
            options->limited = true;
        else if (letter == 'o')
            options->users_path = optarg;
        else if (letter == 'k')
            options->keys_path = optarg;
        else
            return false;
    }
    if (argc - optind != 2 || options->users == 0 || options->passes == 0 ||
        options->tokens_per_commit == 0)
        return false;
    options->store_path = argv[optind];
    options->secret_path = argv[optind + 1];
    return true;
}

static bool allocate(struct filling *filling)
{
    size_t count = filling->options->tokens_per_commit;
    struct batch *batch = &filling->batch;
    filling->user_ids = calloc(filling->options->users, sizeof(int64_t));
    batch->tokens = calloc(count, sizeof(struct token));
    batch->names = calloc(count, NAME_SIZE);
    batch->writes = calloc(count, sizeof(struct store_write));
    return filling->user_ids && batch->tokens && batch->names && batch->writes;
}

static void release(struct filling *filling)
{
    store_close(filling->store);
    free(filling->user_ids);
    free(filling->batch.tokens);
    free(filling->batch.names);
    free(filling->batch.writes);
}

/* Calls add with a file of that name, or with NULL where there is no name. */
static bool with_file(const char *path, enum store_error *error, struct filling *filling,
                      enum store_error add(struct filling *filling, FILE *file))
{
    FILE *file = path ? fopen(path, "w") : NULL;
    if (path && !file)
        return false;
    *error = add(filling, file);
    return !file || fclose(file) == 0;
}

static void print_summary(const struct filling *filling, size_t chunk, double users_s,
                          double tokens_s)
{
    const struct options *options = filling->options;
    printf("{\"id\":%lld,\"access_token\":\"%.*s\",\"users\":%zu,\"tokens\":%zu,\"passes\":%zu,"
           "\"chunk\":%zu,\"stride\":%zu,\"first_id\":%lld,\"users_s\":%.3f,\"tokens_s\":%.3f,"
           "\"tokens_per_minute\":%.0f}\n",
           (long long)filling->user_ids[0], (int)sizeof(filling->first_access),
           filling->first_access, options->users, filling->done_count, options->passes, chunk,
           chunk * options->users, (long long)filling->first_id, users_s, tokens_s,
           tokens_s > 0 ? (double)filling->done_count / tokens_s * 60 : 0);
}

static int fill_store(struct filling *filling)
{
    const struct options *options = filling->options;
    size_t chunk = options->tokens / options->users / options->passes;
    enum store_error error;
    double start_s = now_s();
    if (!with_file(options->users_path, &error, filling, add_users))
        return fail(options->users_path, "could not be written");
    double users_end_s = now_s();
    if (error == STORE_OK)
        error = fill(filling, chunk);
    if (error == STORE_OK && options->keys_path &&
        !with_file(options->keys_path, &error, filling, add_usable_tokens))
        return fail(options->keys_path, "could not be written");
    if (error != STORE_OK)
        return fail(options->store_path, store_error_text(error));
    print_summary(filling, chunk, users_end_s - start_s, now_s() - users_end_s);
    return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    struct options options;
    char reason[STORE_REASON_SIZE];
    if (!read_options(argc, argv, &options)) {
        fprintf(stderr, "usage: load [-u USERS] [-t TOKENS] [-p PASSES] [-c TOKENS_PER_COMMIT]"
                        " [-o USERS_FILE] [-k KEYS_FILE] [-l] STORE SECRET\n");
        return 2;
    }
    struct filling filling = {.options = &options,
                              .batch.rpm_limit = options.limited ? 1000000 : 0};
    int status;
    if (!allocate(&filling))
        status = fail("memory", "can't be had");
    else if (open_store(&options, &filling.store, reason) != STORE_OK)
        status = fail(options.store_path, reason);
    else
        status = fill_store(&filling);
    release(&filling);
    return status;
}
