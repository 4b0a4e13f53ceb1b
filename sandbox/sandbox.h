#ifndef SANDBOX_SANDBOX_H
#define SANDBOX_SANDBOX_H

#include <stdbool.h>
#include <stddef.h>

/* Gives up, for good, all that a program does not need once its store is open. What
 * is left: memory, threads, time, randomness, the descriptors that are open (and
 * accepting on them), and the files below the store's folder.
 *
 *   privileges   root becomes the owner of the store's folder; where that is root,
 *                all capabilities are dropped. No program run later can gain any.
 *   Landlock     no file but the store's, where the kernel has it (Linux 5.13)
 *   seccomp      an allow-list of system calls: open fails; connect, execve, fork and
 *                all else that is not on the list ends the process
 *   limits       no core dump, a bounded number of descriptors
 *
 * To be called before any thread is started: a thread inherits it all. */

/* False, with one line in reason, where something that the kernel has could not be
 * done. level says in words what was reached. */
bool sandbox_enter(const char *store_path, char *level, size_t level_size, char *reason,
                   size_t reason_size);

/* Lets the process have as many descriptors as it may, up to the bound that sandbox_enter sets.
 * False, with one line in reason, where those are too few to serve anybody. */
bool sandbox_raise_descriptors(char *reason, size_t reason_size);

/* Whether this build can be sandboxed: sanitizers do things that are not on the list. */
bool sandbox_is_possible(void);

#endif
