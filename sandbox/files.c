#include "sandbox/sandbox.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/landlock.h>

/* All that the first version of Landlock knows. The filter allows no more than opening for reading,
 * of what later ones added. */
enum { ALL_ACCESS = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1 };

/* One that is missing now stays out of reach. */
static bool allow(int ruleset, const char *path)
{
    struct landlock_path_beneath_attr rule = {
        .allowed_access = LANDLOCK_ACCESS_FS_READ_FILE,
        .parent_fd = open(path, O_PATH | O_CLOEXEC),
    };
    if (rule.parent_fd < 0)
        return true;
    long rc = syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
    close(rule.parent_fd);
    return rc == 0;
}

bool sandbox_limit_files(const struct sandbox_needs *needs)
{
    const struct landlock_ruleset_attr all = {.handled_access_fs = ALL_ACCESS};
    const char *const *file = needs->files;
    if (!*file)
        return true;
    int ruleset = (int)syscall(SYS_landlock_create_ruleset, &all, sizeof(all), 0);
    if (ruleset < 0)
        return false;
    while (*file && allow(ruleset, *file))
        file++;
    bool limited = !*file && syscall(SYS_landlock_restrict_self, ruleset, 0) == 0;
    close(ruleset);
    return limited;
}
