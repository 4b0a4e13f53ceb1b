#pragma once

#include "ctl/commands.h"

/* A child process and a connection with it, which the child has as ctl->parent_fd. */
struct ctl_child {
    int pid, fd;
};

/* From now on SIGINT and SIGTERM interrupt what waits, instead of ending this process; a write to a
 * child that has ended is an error. */
void child_catch_signals(void);

/* Starts a child that runs work and exits with its result. False, with an error printed. */
bool child_start(struct ctl *ctl, ctl_command *work, struct ctl_child *child);

/* As sandbox_become_owner; a child also arranges to be killed when its parent ends. To be called
 * before anything in the store is opened. False with errno and a reason. */
bool child_become_owner(const struct ctl *ctl, const char *owner_path,
                        char reason[static STORE_REASON_SIZE]);

/* Whether SIGINT or SIGTERM came; errno is EINTR then. */
bool child_is_interrupted(void);

/* Closes the connection and waits for the child's end; kills it if SIGINT or SIGTERM comes. Returns
 * its exit status; CTL_FAILED if a signal ended it, with an error printed that begins with what
 * (the work's name) and, if the signal tells of damaged pages, ends with advice. */
int child_end(struct ctl_child *child, const char *what, const char *advice);

/* Kills the child, and prints an error about a file: the interruption, or errno's. Returns
 * CTL_FAILED. */
int child_stop(struct ctl_child *child, const char *path);
