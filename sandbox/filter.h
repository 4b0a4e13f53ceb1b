#ifndef SANDBOX_FILTER_H
#define SANDBOX_FILTER_H

/* Loads the seccomp filter: what is on its list may be called, all else ends the
 * process. 0, or an errno. no_new_privs must be set. */
int filter_load(void);

#endif
