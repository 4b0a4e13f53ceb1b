#pragma once

#include <limits.h>
#include <sys/types.h>

#include "ctl/commands.h"

/* Files and folders that are made beside their path, under the name part, and renamed when they are
 * complete: nothing incomplete is ever found under the path, whatever ends the process. The next
 * run removes a part that is left. */

struct new_file {
    const char *path;
    char part[PATH_MAX];
    int fd;
};

/* Opens it, mode 0600, empty. False, with an error printed: it is no regular file, another process
 * writes it, or it would be in the store's folder. */
bool file_begin(struct new_file *file, const struct ctl *ctl, const char *path);

/* Ends the file: after CTL_DONE syncs it and renames it over the path, else removes it. Returns
 * status, or CTL_FAILED with an error printed. */
int file_end(struct new_file *file, int status);

/* The same, and prints the file's name and length. */
int file_end_and_print(struct new_file *file, struct ctl *ctl, int status);

/* Copies bytes from one descriptor to another until the end, and shows the progress.
 *   total    expected bytes, for the progress only; 0: not known
 * False, with errno, if that fails, nobody reads any more (EPIPE) or a signal interrupts it
 * (EINTR).
 */
bool file_pump(const struct ctl *ctl, int from, int to, uint64_t total);

/* A store's folder. */
struct new_folder {
    const char *path;
    char part[PATH_MAX];
    uid_t uid;
    gid_t gid;
    bool replaces; /* the path is a folder that is not empty */
    int lock_fd;   /* of the folder around it */
};

/* Makes the part, empty, for the path in ctl->options.location; its owner is that of the folder at
 * the path, else as init's. False, with an error printed, also while another process makes one for
 * that path. */
bool folder_begin(struct new_folder *folder, const struct ctl *ctl);

/* Renames the part to the path; a folder that it replaces becomes the part. False with errno. */
bool folder_place(const struct new_folder *folder);

/* Removes the part: what is incomplete, or was replaced. Unlocks the path. */
void folder_end(const struct new_folder *folder);
