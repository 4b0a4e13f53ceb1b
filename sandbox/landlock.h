#ifndef SANDBOX_LANDLOCK_H
#define SANDBOX_LANDLOCK_H

#include <stdbool.h>

/* Allows this thread, and all it starts, no file but those below the folder, and of
 * them reading and writing (landlock(7)). *abi is the version that the kernel has, 0
 * for none, which is no failure. False, with errno, where it could not be done. */
bool landlock_allow_only(const char *folder, int *abi);

#endif
