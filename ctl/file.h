#pragma once

#include <limits.h>
#include <sys/types.h>

#include "ctl/commands.h"

/* Files and folders that get their name when they are complete. Whatever ends the process, none of
 * them is incomplete under that name, and a second run takes away what is left beside it. */

struct new_file {
    const char *path;
    char part[PATH_MAX]; /* its name until then */
    int fd;
};

/* Opens it, mode 0600, empty. False, with an error printed: it is no regular file, another process
 * writes it, or it would be in the store's folder. */
bool file_begin(struct new_file *file, const struct ctl *ctl, const char *path);

/* After CTL_DONE syncs it and gives it its name, in place of the file before; else takes it away.
 * Returns status, or CTL_FAILED with an error printed. */
int file_end(struct new_file *file, int status);

/* The same, and prints the file's name and length. */
int file_end_and_print(struct new_file *file, struct ctl *ctl, int status);

/* Copies bytes from one descriptor to another until the end, and shows the progress.
 *   total    bytes, about; 0: not known
 * False, with errno, if that fails or a signal interrupts it. */
bool file_pump(const struct ctl *ctl, int from, int to, uint64_t total);

/* A store's folder. */
struct new_folder {
    const char *path;
    char part[PATH_MAX]; /* its name until then */
    uid_t uid;
    gid_t gid;
    bool replaces; /* a folder that is there and not empty */
    int lock_fd;
};

/* Makes it beside the store that the options name, with the owner of the folder there. False, with
 * an error printed, also while another process makes one there. */
bool folder_begin(struct new_folder *folder, const struct ctl *ctl);

/* Gives it its name, and the folder before the other one. False with errno. */
bool folder_place(const struct new_folder *folder);

/* Takes away what has the other name now. */
void folder_end(const struct new_folder *folder);
