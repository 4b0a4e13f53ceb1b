#include "base/path.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool path_make_parents(const char *path)
{
    char parent[PATH_MAX]; /* mkdir refuses a longer path by itself */
    snprintf(parent, sizeof(parent), "%s", path);
    for (char *slash = parent; (slash = strchr(slash + 1, '/'));) {
        *slash = '\0';
        if (mkdir(parent, 0755) != 0 && errno != EEXIST)
            return false;
        *slash = '/';
    }
    return true;
}

bool path_sync_parent(const char *path)
{
    char parent[PATH_MAX];
    snprintf(parent, sizeof(parent), "%s", path);
    int fd = open(dirname(parent), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool synced = fsync(fd) == 0;
    return close(fd) == 0 && synced;
}
