#ifndef SANDBOX_FILTER_H
#define SANDBOX_FILTER_H

#include <stdbool.h>

/* Loads the seccomp filter: a system call that is not on its list ends the process. The process
 * must have no_new_privs. False, with errno, where that fails. */
bool filter_load(void);

#endif
