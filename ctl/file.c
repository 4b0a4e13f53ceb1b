#include "ctl/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <poll.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/path.h"
#include "ctl/child.h"
#include "ctl/progress.h"

/* ---- a file that is written beside its name ---- */

/* In the store's folder it could take the place of one of the store's own. */
static bool is_in_store(const struct ctl *ctl, const char *path)
{
    char folder[PATH_MAX];
    struct stat store, parent;
    snprintf(folder, sizeof(folder), "%s", path);
    return stat(ctl->options.location, &store) == 0 && stat(dirname(folder), &parent) == 0 &&
           store.st_dev == parent.st_dev && store.st_ino == parent.st_ino;
}

/* Whether the lock is this file's, and the name still leads to it. */
static bool lock(const struct new_file *file, int fd)
{
    struct stat opened, named;
    return flock(fd, LOCK_EX | LOCK_NB) == 0 && fstat(fd, &opened) == 0 &&
           lstat(file->part, &named) == 0 && opened.st_ino == named.st_ino &&
           opened.st_dev == named.st_dev;
}

/* Takes away what a run that was killed has left. Returns what is wrong, or NULL. */
static const char *clear(const struct new_file *file)
{
    int fd = open(file->part, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? NULL : strerror(errno);
    const char *why = !lock(file, fd)           ? "another process is writing it"
                      : unlink(file->part) != 0 ? strerror(errno)
                                                : NULL;
    close(fd);
    return why;
}

static const char *create(struct new_file *file)
{
    file->fd = open(file->part, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (file->fd < 0)
        return strerror(errno);
    return lock(file, file->fd) ? NULL : "another process is writing it";
}

bool file_begin(struct new_file *file, const struct ctl *ctl, const char *path)
{
    struct stat status;
    const char *why = NULL;
    *file = (struct new_file){.path = path, .fd = -1};
    child_catch_signals();
    if (lstat(path, &status) == 0 && !S_ISREG(status.st_mode))
        why = "exists and is no regular file";
    else if (is_in_store(ctl, path))
        why = "is in the store's folder";
    else if (snprintf(file->part, sizeof(file->part), "%s.part", path) >= (int)sizeof(file->part))
        why = strerror(ENAMETOOLONG);
    if (!why)
        why = clear(file);
    if (!why)
        why = create(file);
    if (!why)
        return true;
    ctl_fail("%s: %s", *file->part ? file->part : path, why);
    if (file->fd >= 0)
        close(file->fd);
    return false;
}

int file_end(struct new_file *file, int status)
{
    if (status == CTL_DONE && (fsync(file->fd) != 0 || rename(file->part, file->path) != 0))
        status = ctl_fail("%s: %s", file->path, strerror(errno));
    else if (status == CTL_DONE && !path_sync_parent(file->path))
        return ctl_fail("%s: its folder can't be synced: %s", file->path, strerror(errno));
    if (status != CTL_DONE)
        unlink(file->part);
    close(file->fd);
    return status;
}

int file_end_and_print(struct new_file *file, struct ctl *ctl, int status)
{
    struct stat written = {.st_size = 0};
    fstat(file->fd, &written);
    status = file_end(file, status);
    if (status != CTL_DONE)
        return status;
    output_text(ctl, "file", span_of(file->path));
    output_int(ctl, "bytes", written.st_size);
    return ctl_end(ctl, STORE_OK);
}

/* Waits for bytes to read; false, with errno, where nobody takes them any more. */
static bool wait_for_bytes(int from, int to)
{
    struct pollfd ends[] = {{.fd = from, .events = POLLIN}, {.fd = to}};
    if (poll(ends, 2, -1) < 0)
        return false;
    if (ends[1].revents & (POLLERR | POLLHUP))
        errno = EPIPE;
    return (ends[1].revents & (POLLERR | POLLHUP)) == 0;
}

bool file_pump(const struct ctl *ctl, int from, int to, uint64_t total)
{
    enum { LEN = 64 * 1024 };
    char bytes[LEN];
    ssize_t len = 1, written = 0;
    struct progress progress;
    progress_start(&progress, ctl, "MB", 1000000, total);
    while (len > 0 && written >= 0 && !child_is_interrupted()) {
        len = wait_for_bytes(from, to) ? read(from, bytes, LEN) : -1;
        for (ssize_t at = 0; at < len && written >= 0; at += written)
            written = write(to, bytes + at, (size_t)(len - at));
        if (len > 0)
            progress_add(&progress, (uint64_t)len);
    }
    progress_end(&progress);
    return len == 0;
}

/* ---- a folder that is made beside the store ---- */

static void remove_folder(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *folder = fd >= 0 ? fdopendir(fd) : NULL;
    for (struct dirent *entry; folder && (entry = readdir(folder));)
        unlinkat(fd, entry->d_name, 0); /* "." and ".." stay */
    if (folder)
        closedir(folder);
    else if (fd >= 0)
        close(fd);
    rmdir(path);
}

/* The owner is the one of the folder that is there; else as init's. An empty one is taken away, any
 * other will be replaced. */
static const char *clear_place(struct new_folder *folder, const struct settings *settings)
{
    struct stat status;
    if (lstat(folder->path, &status) != 0)
        return ctl_find_owner(settings, &folder->uid, &folder->gid);
    if (!S_ISDIR(status.st_mode))
        return "is a link or no folder";
    folder->uid = status.st_uid;
    folder->gid = status.st_gid;
    folder->replaces = rmdir(folder->path) != 0;
    return NULL;
}

/* Two that make the store would take each other's folder away, or give it its name half made. The
 * lock is on the folder around it, as LMDB's writers lock the store's; a child that outlives its
 * parent still has it. */
static const char *lock_parent(struct new_folder *folder)
{
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s", folder->path);
    folder->lock_fd = open(dirname(path), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder->lock_fd < 0)
        return strerror(errno);
    return flock(folder->lock_fd, LOCK_EX | LOCK_NB) == 0
               ? NULL
               : "another import or restore runs beside it";
}

bool folder_begin(struct new_folder *folder, const struct ctl *ctl)
{
    const char *path = ctl->options.location;
    *folder = (struct new_folder){.path = path, .lock_fd = -1};
    child_catch_signals();
    const char *why = path_make_parents(path) ? lock_parent(folder) : strerror(errno);
    if (!why)
        why = clear_place(folder, &ctl->settings);
    if (!why &&
        snprintf(folder->part, sizeof(folder->part), "%s.new", path) >= (int)sizeof(folder->part))
        why = strerror(ENAMETOOLONG);
    if (!why)
        remove_folder(folder->part); /* of a run that was interrupted */
    if (!why && mkdir(folder->part, 0700) != 0)
        why = strerror(errno);
    int fd = why ? -1 : open(folder->part, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (!why && (fd < 0 || (geteuid() == 0 && fchown(fd, folder->uid, folder->gid) != 0)))
        why = strerror(errno);
    if (fd >= 0)
        close(fd);
    if (why)
        ctl_fail("%s: %s", path, why);
    if (why && folder->lock_fd >= 0)
        close(folder->lock_fd);
    return !why;
}

bool folder_place(const struct new_folder *folder)
{
    return renameat2(AT_FDCWD, folder->part, AT_FDCWD, folder->path,
                     folder->replaces ? RENAME_EXCHANGE : RENAME_NOREPLACE) == 0 &&
           path_sync_parent(folder->path);
}

void folder_end(const struct new_folder *folder)
{
    remove_folder(folder->part);
    close(folder->lock_fd);
}
