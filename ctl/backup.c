/* tokenctl backup, restore. The parent reads and writes FILE and the folder beside the store, and
 * opens nothing in the store: that is its children's, which run as the store's owner. */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ctl/child.h"
#include "ctl/file.h"

static int refuse_engine(void)
{
    return ctl_fail(
        "TOKEN_STORE is a database of PostgreSQL, whose own tools back it up and restore "
        "it: pg_basebackup, pg_dump");
}

/* ---- backup ---- */

static int send_copy(struct ctl *ctl)
{
    char reason[STORE_REASON_SIZE];
    if (!ctl_open(ctl, ctl->options.location, reason))
        return ctl_fail("%s", reason);
    return ctl_close(ctl, ctl_end(ctl, store_copy_out(ctl->reader, ctl->parent_fd)));
}

/* The owner has no way to the file but this one. */
static int check_copy(struct ctl *ctl)
{
    char reason[STORE_REASON_SIZE], location[32];
    const char *owner_path = ctl->options.location;
    snprintf(location, sizeof(location), "/proc/self/fd/%d", ctl->file_fd);
    ctl->options.location = location;
    ctl->options.is_copy = true;
    if (!ctl_open(ctl, owner_path, reason))
        return ctl_fail("the copy can't be opened: %s", reason);
    return ctl_close(ctl, ctl_find_problems(ctl, "the copy"));
}

/* Only while it is checked it belongs to the store's owner. */
static int check_file(struct ctl *ctl, const struct new_file *file)
{
    struct ctl_child child;
    struct stat store;
    bool give = geteuid() == 0 && lstat(ctl->options.location, &store) == 0;
    ctl->file_fd = file->fd;
    if (give && fchown(file->fd, store.st_uid, store.st_gid) != 0)
        return ctl_fail("%s: %s", file->part, strerror(errno));
    int status = child_start(ctl, check_copy, &child)
                     ? child_end(&child, "check of the copy", "check the store")
                     : CTL_FAILED;
    if (give && fchown(file->fd, geteuid(), getegid()) != 0)
        return ctl_fail("%s: %s", file->part, strerror(errno));
    return status;
}

static int receive_copy(struct ctl *ctl, const struct new_file *file)
{
    char data_path[PATH_MAX];
    struct stat data = {.st_size = 0};
    struct ctl_child child;
    snprintf(data_path, sizeof(data_path), "%s/data.mdb", ctl->options.location);
    lstat(data_path, &data);
    if (!child_start(ctl, send_copy, &child))
        return CTL_FAILED;
    return file_pump(ctl, child.fd, file->fd, (uint64_t)data.st_size)
               ? child_end(&child, "backup", "restore a backup")
               : child_stop(&child, file->path);
}

int ctl_backup(struct ctl *ctl)
{
    struct new_file file;
    struct stat written = {.st_size = 0};
    if (!store_has_copies(ctl->options.location))
        return refuse_engine();
    if (!file_begin(&file, ctl, ctl->argument))
        return CTL_FAILED;
    int status = receive_copy(ctl, &file);
    if (status == CTL_DONE)
        status = check_file(ctl, &file);
    fstat(file.fd, &written);
    status = file_end(&file, status);
    if (status != CTL_DONE)
        return status;
    output_text(ctl, "file", span_of(ctl->argument));
    output_int(ctl, "bytes", written.st_size);
    return ctl_end(ctl, STORE_OK);
}

/* ---- restore ---- */

/* The end of the child's work, while no other process can write to the store. */
struct handover {
    struct ctl *ctl;
    struct store_reader *old; /* of the store that is replaced; or NULL */
    struct store_write first; /* does nothing; once it is done the transaction has begun */
    int status;
};

static bool is_empty(struct store_reader *reader)
{
    struct store_user user;
    struct store_gateway gateway;
    return store_user_next(reader, 0, &user) == STORE_NO_USER &&
           store_gateway_next(reader, 0, &gateway) == STORE_NOT_FOUND;
}

/* Tells the parent that the folder is complete, and waits until it has its name. */
static struct store_write *hand_over(void *context)
{
    struct handover *handover = context;
    struct pollfd parent = {.fd = handover->ctl->parent_fd};
    if (handover->old && handover->first.kind != STORE_PURGE) {
        handover->first = (struct store_write){.kind = STORE_PURGE};
        return &handover->first;
    }
    if (handover->old && !is_empty(handover->old))
        return NULL;
    handover->status = CTL_DONE;
    if (write(parent.fd, "", 1) == 1)
        while (poll(&parent, 1, -1) < 0)
            ;
    return NULL;
}

static int refuse_full(const struct new_folder *folder)
{
    return ctl_fail("%s: there is a store with users or gateways, which is never overwritten; move "
                    "it away",
                    folder->path);
}

/* Makes the store in the folder and checks it. The old store, if there is one, is open. */
static int make_store(struct ctl *ctl, struct store *old, struct store_reader *reader)
{
    const struct new_folder *folder = ctl->folder;
    struct handover handover = {.ctl = ctl, .old = reader, .status = CTL_FAILED};
    struct store_options options = ctl->options;
    char reason[STORE_REASON_SIZE];
    ctl->options.location = folder->part;
    if (reader && !is_empty(reader))
        return refuse_full(folder);
    if (store_copy_in(&ctl->options, ctl->parent_fd, reason) != STORE_OK ||
        !ctl_open(ctl, folder->part, reason))
        return ctl_fail("%s", reason);
    int status = ctl_close(ctl, ctl_find_problems(ctl, "the copy"));
    ctl->options = options;
    if (status != CTL_DONE)
        return status;
    enum store_error error = STORE_OK;
    if (old) {
        store_limit_wait(old, CTL_WRITE_WAIT_MS);
        error = store_commit(old, hand_over, &handover);
    } else {
        hand_over(&handover);
    }
    if (error != STORE_OK && handover.status != CTL_DONE)
        return ctl_fail("%s: %s", folder->path, store_error_text(error));
    return handover.status == CTL_DONE ? CTL_DONE : refuse_full(folder);
}

static int restore_folder(struct ctl *ctl)
{
    char reason[STORE_REASON_SIZE];
    const struct new_folder *folder = ctl->folder;
    struct store *old = NULL;
    struct store_reader *reader = NULL;
    int status;
    if (!child_become_owner(ctl, folder->part))
        status = ctl_fail("%s: becoming its owner: %s", folder->part, strerror(errno));
    else if (folder->replaces && store_open(&ctl->options, &old, reason) != STORE_OK)
        status = ctl_fail("%s", reason);
    else if (old && store_reader_open(old, &reader) != STORE_OK)
        status = ctl_fail("too many processes read the store");
    else
        status = make_store(ctl, old, reader);
    store_reader_close(reader);
    store_close(old);
    return status;
}

/* Sends the file, and gives the folder its name when it is complete. */
static int send_file(struct ctl *ctl, int fd, uint64_t len)
{
    struct ctl_child child;
    char complete;
    if (!child_start(ctl, restore_folder, &child))
        return CTL_FAILED;
    if (!file_pump(ctl, fd, child.fd, len) &&
        errno != EPIPE) /* the child has failed, and said so */
        return child_stop(&child, ctl->argument);
    shutdown(child.fd, SHUT_WR);
    if (read(child.fd, &complete, 1) == 1 && !folder_place(ctl->folder))
        return child_stop(&child, ctl->options.location);
    return child_end(&child, "restore", "restore another backup");
}

int ctl_restore(struct ctl *ctl)
{
    struct new_folder folder;
    struct stat file = {.st_size = 0};
    if (!store_has_copies(ctl->options.location))
        return refuse_engine();
    int fd = open(ctl->argument, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &file) != 0)
        return ctl_fail("%s: %s", ctl->argument, strerror(errno));
    if (!folder_begin(&folder, ctl))
        return CTL_FAILED;
    ctl->folder = &folder;
    int status = send_file(ctl, fd, (uint64_t)file.st_size);
    folder_end(&folder);
    close(fd);
    if (status != CTL_DONE)
        return status;
    output_text(ctl, "store", span_of(ctl->options.location));
    output_int(ctl, "bytes", file.st_size);
    return ctl_end(ctl, STORE_OK);
}
