/* tokenctl secret rotate. The parent handles the secret's files, and its child the store. */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/path.h"
#include "base/random.h"
#include "ctl/child.h"
#include "ctl/file.h"
#include "ctl/progress.h"
#include "store/secret.h"
#include "store/transfer.h"
#include "store/txn.h"

/* From the child to its parent: one before the first change in the store, one at the end. */
struct message {
    bool is_done;             /* nothing is left under the old secret */
    uint64_t tokens, answers; /* how many were sealed again */
};

int ctl_refuse_rotation(void)
{
    return ctl_fail("the secret is being rotated: run tokenctl secret rotate to its end first");
}

/* ---- the child ---- */

/* The tokens' keys, by what becomes of them. */
struct key_counts {
    const struct seal *seal;
    uint64_t tokens, damaged;
    uint64_t left;                    /* under another secret than the current one */
    uint64_t lost;                    /* old ones that can't be sealed again */
    int64_t now_unix_s, until_unix_s; /* until: the end of the lost ones */
};

static bool visit_row(void *context, const struct store_row *row)
{
    struct key_counts *counts = context;
    const struct record_keys *keys = &row->keys;
    const struct token *token = &row->token;
    char key[TOKEN_KEY_SIZE];
    if (row->kind != STORE_ROW_TOKEN)
        return true;
    const struct seal_secret *secret =
        unseal_key(counts->seal, token->user_id, token->id, keys->sealed, key);
    counts->tokens++;
    counts->damaged += !secret;
    counts->left += secret != seal_current(counts->seal);
    if (keys->has_old && keys->old_until_unix_s > counts->now_unix_s &&
        !store_unseal_old_key(counts->seal, token, keys, key)) {
        counts->lost++;
        if (counts->until_unix_s < keys->old_until_unix_s)
            counts->until_unix_s = keys->old_until_unix_s;
    }
    explicit_bzero(key, sizeof(key));
    return true;
}

static enum store_error count_keys(struct ctl *ctl, struct key_counts *counts)
{
    *counts = (struct key_counts){.seal = store_reader_seal(ctl->reader),
                                  .now_unix_s = (int64_t)time(NULL)};
    return store_export(ctl->reader, counts->now_unix_s, visit_row, counts);
}

/* Whether all can be sealed again. Before schema version 5 of LMDB and 2 of PostgreSQL only a hash
 * of an old key was kept. */
static int check_keys(struct ctl *ctl, struct key_counts *counts)
{
    char until[32];
    enum store_error error = count_keys(ctl, counts);
    if (error == STORE_OK && counts->damaged > 0)
        error = STORE_CORRUPT;
    if (error != STORE_OK)
        return ctl_fail("%s", store_error_text(error));
    if (counts->lost == 0)
        return CTL_DONE;
    strftime(until, sizeof(until), "%FT%TZ", gmtime(&(time_t){counts->until_unix_s}));
    return ctl_fail("%" PRIu64 " old keys are in their grace of which an earlier version has kept "
                    "too little to seal them again; the last one ends at %s: nothing has changed, "
                    "run it again then",
                    counts->lost, until);
}

static void print_laggard(void *context, const char *line)
{
    output_text(context, "problem", span_of(line));
    ctl_end(context, STORE_OK);
}

static void ignore_laggard(void *context, const char *line)
{
    (void)context, (void)line;
}

static int fail_phase(enum store_error error)
{
    return ctl_fail("%s; run it again to go on", error == STORE_REFUSED
                                                     ? "another run has gone on with it meanwhile"
                                                     : store_error_text(error));
}

/* Tries it until until_ms (clock_ms). A database gives up the wait for its lock soon, as other
 * writes queue behind that. */
static int set_phase(struct ctl *ctl, struct seal_rotation *rotation, enum seal_phase phase,
                     int64_t until_ms)
{
    enum { PAUSE_MS = 1000 };
    enum store_error error;
    while ((error = store_rotation_set(ctl->store, rotation, phase)) == STORE_UNAVAILABLE &&
           clock_ms() < until_ms)
        poll(NULL, 0, PAUSE_MS);
    return error == STORE_OK ? CTL_DONE : fail_phase(error);
}

/* Waits until no process has the old secret only. */
static int await_processes(struct ctl *ctl, struct seal_rotation *rotation, int64_t until_ms)
{
    enum { PAUSE_MS = 100 };
    uint64_t found = 1;
    enum store_error error = STORE_OK;
    while (error == STORE_OK && found > 0 && clock_ms() < until_ms) {
        error = store_laggards_visit(ctl->reader, rotation, ignore_laggard, NULL, &found);
        if (error == STORE_OK && found > 0)
            poll(NULL, 0, PAUSE_MS);
    }
    if (error == STORE_OK && found > 0)
        error = store_laggards_visit(ctl->reader, rotation, print_laggard, ctl, &found);
    if (error != STORE_OK)
        return ctl_fail("%s", store_error_text(error));
    if (found == 0)
        return CTL_DONE;
    fflush(stdout);
    if (set_phase(ctl, rotation, SEAL_SETTLED, until_ms) == CTL_DONE)
        ctl_fail("not all processes have the new secret, see standard output: nothing has changed");
    return CTL_FAILED;
}

static int announce(struct ctl *ctl, struct seal_rotation *rotation)
{
    enum { WAIT_S = 60, WAIT_S_MAX = 24 * 3600 };
    int64_t wait_s = ctl->text[CTL_WAIT] ? ctl->number[CTL_WAIT] : WAIT_S;
    int64_t until_ms = clock_ms() + (wait_s < WAIT_S_MAX ? wait_s : WAIT_S_MAX) * 1000;
    const struct message begins = {.is_done = false};
    if (write(ctl->parent_fd, &begins, sizeof(begins)) != (ssize_t)sizeof(begins))
        return CTL_FAILED;
    int status = set_phase(ctl, rotation, SEAL_ANNOUNCED, until_ms);
    if (status == CTL_DONE)
        status = await_processes(ctl, rotation, until_ms);
    return status == CTL_DONE ? set_phase(ctl, rotation, SEAL_CHANGING, until_ms) : status;
}

/* In steps that others wait for only briefly. */
static enum store_error reseal(struct ctl *ctl, uint64_t total, struct message *message)
{
    enum { STEP = 256 };
    struct store_sealed items[STEP], after = {.token_id = 0};
    struct progress progress;
    enum store_error error;
    size_t count = STEP;
    progress_start(&progress, ctl, "tokens", 1, total);
    while ((error = store_sealed_list(ctl->reader, &after, items, &count)) == STORE_OK &&
           count > 0) {
        struct store_write write = {.kind = STORE_RESEAL,
                                    .now_unix_s = (int64_t)time(NULL),
                                    .reseal = {.items = items, .count = count}};
        error = store_write(ctl->store, &write);
        if (error != STORE_OK)
            break;
        message->tokens += write.reseal.tokens;
        message->answers += write.reseal.answers;
        progress_add(&progress, count);
        after = items[count - 1];
        count = STEP;
    }
    progress_end(&progress);
    return error;
}

/* Until nothing is left: a database may lose some of it, where another server takes its place. */
static int change(struct ctl *ctl, struct seal_rotation *rotation, struct message *message)
{
    struct key_counts counts = {.tokens = 0};
    enum store_error error;
    int status = CTL_DONE;
    if (rotation->phase != SEAL_CHANGING) /* an earlier run has come so far */
        status = check_keys(ctl, &counts);
    if (status == CTL_DONE && rotation->phase != SEAL_CHANGING)
        status = announce(ctl, rotation);
    if (status != CTL_DONE)
        return status;
    do {
        error = reseal(ctl, counts.tokens, message);
        if (error == STORE_OK)
            error = count_keys(ctl, &counts);
    } while (error == STORE_OK && counts.left > 0);
    return error == STORE_OK ? set_phase(ctl, rotation, SEAL_SETTLED, INT64_MAX)
                             : fail_phase(error);
}

static int work(struct ctl *ctl)
{
    char reason[STORE_REASON_SIZE];
    const char *wrong;
    struct seal_rotation rotation;
    struct message message = {.is_done = true};
    int status = CTL_DONE;
    if (!ctl_open(ctl, store_owner_path(&ctl->options), reason))
        return ctl_fail("%s", reason);
    const unsigned char *check = seal_next_check_value(store_reader_seal(ctl->reader), &wrong);
    enum store_error error = store_rotation_get(ctl->reader, &rotation);
    if (error != STORE_OK)
        status = ctl_fail("%s", store_error_text(error));
    else if (!check)
        status = ctl_fail("%s" SEAL_NEXT_SUFFIX ": %s", ctl->options.secret_path, wrong);
    else if (rotation.phase != SEAL_SETTLED || memcmp(rotation.check, check, SEAL_CHECK_LEN) != 0) {
        memcpy(rotation.next_check, check, SEAL_CHECK_LEN);
        status = change(ctl, &rotation, &message);
    }
    if (status == CTL_DONE &&
        write(ctl->parent_fd, &message, sizeof(message)) != (ssize_t)sizeof(message))
        status = CTL_FAILED;
    return ctl_close(ctl, status);
}

/* ---- the files ---- */

/* Locks the secret's file, so that one run at a time rotates it. Returns the descriptor, or -1 with
 * an error printed. */
static int lock_secret(const char *path, struct stat *status)
{
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    const char *why = fd < 0 && errno != ELOOP ? strerror(errno)
                      : fd < 0 || fstat(fd, status) != 0 || !S_ISREG(status->st_mode)
                          ? "is no regular file"
                      : flock(fd, LOCK_EX | LOCK_NB) != 0 ? "is being rotated by another run"
                                                          : NULL;
    if (!why)
        return fd;
    ctl_fail("%s: %s", path, why);
    if (fd >= 0)
        close(fd);
    return -1;
}

/* Syncs a next secret that was there: it must be on the disk before the store needs it. */
static bool sync_next(const char *path)
{
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    bool synced = fd >= 0 && fsync(fd) == 0 && path_sync_parent(path);
    if (!synced)
        ctl_fail("%s: %s", path, strerror(errno));
    if (fd >= 0)
        close(fd);
    return synced;
}

/* Makes the next secret's file, with the owner and mode of the secret's, unless it is there.
 *   made   out: it was not there
 * False with an error printed. */
static bool make_next(const struct ctl *ctl, const char *path, const struct stat *secret,
                      bool *made)
{
    struct new_file file;
    struct stat next;
    unsigned char bytes[SEAL_SECRET_LEN];
    int status = CTL_DONE;
    *made = lstat(path, &next) != 0;
    if (!*made)
        return sync_next(path);
    if (!file_begin(&file, ctl, path))
        return false;
    random_fill(bytes, sizeof(bytes));
    if (write(file.fd, bytes, sizeof(bytes)) != (ssize_t)sizeof(bytes) ||
        fchown(file.fd, secret->st_uid, secret->st_gid) != 0 ||
        fchmod(file.fd, secret->st_mode & 07777) != 0)
        status = ctl_fail("%s: %s", path, strerror(errno));
    explicit_bzero(bytes, sizeof(bytes));
    return file_end(&file, status) == CTL_DONE;
}

/* Changes the store.
 *   message   out: the child's last one
 *   began     out: the store may need the next secret
 * Returns the exit status. */
static int run_child(struct ctl *ctl, struct message *message, bool *began)
{
    struct ctl_child child;
    child_catch_signals();
    if (!child_start(ctl, work, &child))
        return CTL_FAILED;
    while (read(child.fd, message, sizeof(*message)) == (ssize_t)sizeof(*message))
        *began = true;
    return child_end(&child, "secret rotate", "restore a backup");
}

int ctl_secret_rotate(struct ctl *ctl)
{
    char path[PATH_MAX];
    struct message message = {.is_done = false};
    struct stat secret;
    bool made = false, began = false;
    const char *secret_path = ctl->options.secret_path;
    snprintf(path, sizeof(path), "%s" SEAL_NEXT_SUFFIX, secret_path);
    /* The lock ends with this process and its child. */
    if (lock_secret(secret_path, &secret) < 0 || !make_next(ctl, path, &secret, &made))
        return CTL_FAILED;
    int status = run_child(ctl, &message, &began);
    if (made && !began)
        unlink(path);
    if (status != CTL_DONE || !message.is_done)
        return status == CTL_DONE ? CTL_FAILED : status;
    if (rename(path, secret_path) != 0 || !path_sync_parent(secret_path))
        return ctl_fail("%s: %s; run it again", secret_path, strerror(errno));
    output_text(ctl, "secret", span_of(secret_path));
    output_int(ctl, "tokens", (int64_t)message.tokens);
    output_int(ctl, "answers", (int64_t)message.answers);
    return ctl_end(ctl, STORE_OK);
}
