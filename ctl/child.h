#pragma once

#include "ctl/commands.h"

/* A child process and a connection with it, which the child has as ctl->parent_fd. */
struct ctl_child {
    int pid, fd;
};

/* From now on SIGINT and SIGTERM interrupt what waits, instead of ending this process; a write to a
 * child that has ended is an error. */
void child_catch_signals(void);

/* Starts one that works and exits with what work returns. False, with an error printed. */
bool child_start(struct ctl *ctl, ctl_command *work, struct ctl_child *child);

/* In the child, before it opens anything in the store: as sandbox_become_owner; and it ends with
 * its parent. In a process without one: sandbox_become_owner. */
bool child_become_owner(const struct ctl *ctl, const char *owner_path);

/* Whether SIGINT or SIGTERM came; errno is EINTR then. */
bool child_is_interrupted(void);

/* Closes the connection and waits for the end; it is killed if a signal comes. Returns its exit
 * status, or CTL_FAILED, with an error printed that begins with what and, if pages are damaged,
 * ends with the advice. */
int child_end(struct ctl_child *child, const char *what, const char *advice);

/* Kills it, and prints errno's or the interruption's error about a file. Returns CTL_FAILED. */
int child_stop(struct ctl_child *child, const char *path);
