#pragma once

#include <stdbool.h>
#include <stddef.h>

/* Gives up, for the rest of the process, what is not needed once the store is open. What is
 * left: memory that is not executable, threads, time, randomness, the open descriptors, and
 * accepting connections on them; of a store on the network, what struct sandbox_needs says.
 *
 *   privileges     root becomes the owner of the store's folder. All capabilities are dropped, and
 *                  no program run later can gain any (no_new_privs).
 *   memory         no core dump, and no debugger of the same user (both would show the secret)
 *   system calls   an allow-list (seccomp). Opening a file fails; connect, execve, fork, a signal
 * to another process and all else that is not on the list end the process. */

/* Opens /dev/null for each of descriptors 0 to 2 that is closed, so that no file of the store gets
 * such a number and no message is written into it; closes all others. Before any file is opened. */
void sandbox_close_inherited(void);

/* Raises the soft limit of descriptors to the hard limit, and lowers both to at most 16,384.
 *
 *   reason   one line, if the result is false
 *
 * Result: how many are allowed; 0 if these are fewer than 64, too few to serve. */
unsigned sandbox_raise_descriptors(char *reason, size_t reason_size);

/* Root becomes the owner of a folder or file, which must be no link. Another caller stays.
 *
 * Result: false, with errno, if that fails. */
bool sandbox_become_owner(const char *owner_path);

/* What the store needs once it is open. */
struct sandbox_needs {
    const char *owner_path;   /* as in sandbox_become_owner */
    bool network;             /* connections can be made, to any address */
    const char *const *files; /* can be opened for reading (Landlock); ended by NULL, which may be
                               * the first. With one the status of any file can be read. */
};

/* Enters the sandbox. Before any thread is started: threads inherit it.
 *
 *   level        one line for the log: names each part that this system refuses (a kernel or
 *                container without it); the others are in force all the same
 *   reason       one line, if the result is false
 *
 * Result: false if root could not become the store's owner, or memory ran out. */
bool sandbox_enter(const struct sandbox_needs *needs, char *level, size_t level_size, char *reason,
                   size_t reason_size);

/* The last parts of sandbox_enter: Landlock, where there are files, and the seccomp filter. The
 * process must have no_new_privs.
 *
 * Result: false, with errno, if that fails. */
bool sandbox_limit_files(const struct sandbox_needs *needs);
bool sandbox_load_filter(const struct sandbox_needs *needs);

/* Whether this build can be sandboxed: sanitizers make calls that are not on the list. */
bool sandbox_is_possible(void);
