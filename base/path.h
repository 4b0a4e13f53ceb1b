#pragma once

#include <stdbool.h>

/* Folders above a path. */

/* Makes the missing folders above path, mode 0755. False with errno. */
bool path_make_parents(const char *path);

/* Syncs the folder that path lies in: a file's new name is durable after that (fsync(2)).
 * False with errno. */
bool path_sync_parent(const char *path);
