/* tokenctl backup, restore. */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ctl/child.h"
#include "ctl/file.h"
#include "ctl/replace.h"

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
    if (!store_has_copies(ctl->options.location))
        return ctl_export(ctl);
    if (!file_begin(&file, ctl, ctl->argument))
        return CTL_FAILED;
    int status = receive_copy(ctl, &file);
    if (status == CTL_DONE)
        status = check_file(ctl, &file);
    return file_end_and_print(&file, ctl, status);
}

/* ---- restore ---- */

int ctl_refuse_full(const struct ctl *ctl)
{
    return ctl_fail("%s: there is a store with users or gateways, which is never overwritten; move "
                    "it away",
                    store_has_copies(ctl->settings.store_path) ? ctl->settings.store_path
                                                               : "TOKEN_STORE");
}

static int fill_by_copy(struct ctl *ctl, struct store *full, struct store_reader *reader)
{
    char reason[STORE_REASON_SIZE];
    (void)reader;
    if (full)
        return ctl_refuse_full(ctl);
    if (store_copy_in(&ctl->options, ctl->parent_fd, reason) != STORE_OK ||
        !ctl_open(ctl, ctl->options.location, reason))
        return ctl_fail("%s", reason);
    return ctl_close(ctl, ctl_find_problems(ctl, "the copy"));
}

int ctl_restore(struct ctl *ctl)
{
    struct stat file = {.st_size = 0};
    ctl->restores = true;
    if (!store_has_copies(ctl->options.location))
        return ctl_import(ctl);
    int fd = open(ctl->argument, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &file) != 0)
        return ctl_fail("%s: %s", ctl->argument, strerror(errno));
    int status = replace_run(ctl, fill_by_copy, fd, (uint64_t)file.st_size);
    close(fd);
    if (status != CTL_DONE)
        return status;
    output_text(ctl, "store", span_of(ctl->options.location));
    output_int(ctl, "bytes", file.st_size);
    return ctl_end(ctl, STORE_OK);
}
