#include "sandbox/landlock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/landlock.h>

/* The first ABI's rights are the lowest 13 bits; later ones were added above, each with
 * the ABI that knows it, and must not be asked of an older kernel. */
static uint64_t all_rights(int abi)
{
    static const unsigned bits[] = {0, 13, 14, 15, 15, 16}; /* ABI 0 to 5 */
    int known = (int)(sizeof(bits) / sizeof(bits[0])) - 1;
    return (UINT64_C(1) << bits[abi < known ? abi : known]) - 1;
}

static int create_ruleset(int abi)
{
    struct landlock_ruleset_attr attributes = {.handled_access_fs = all_rights(abi)};
    return (int)syscall(SYS_landlock_create_ruleset, &attributes, sizeof(attributes), 0);
}

static bool add_folder(int ruleset, const char *folder)
{
    struct landlock_path_beneath_attr beneath = {.allowed_access = LANDLOCK_ACCESS_FS_READ_FILE |
                                                                   LANDLOCK_ACCESS_FS_WRITE_FILE};
    beneath.parent_fd = open(folder, O_PATH | O_CLOEXEC);
    if (beneath.parent_fd < 0)
        return false;
    bool added =
        syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &beneath, 0) == 0;
    close(beneath.parent_fd);
    return added;
}

bool landlock_allow_only(const char *folder, int *abi)
{
    long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    *abi = version > 0 ? (int)version : 0;
    if (version < 0 && (errno == ENOSYS || errno == EOPNOTSUPP))
        return true;
    if (version <= 0)
        return false;
    int ruleset = create_ruleset(*abi);
    if (ruleset < 0)
        return false;
    /* After root has been dropped the way to the folder may be closed; then nothing at all is
     * allowed, and nothing needs to be: the store's files are open. */
    bool allowed = add_folder(ruleset, folder) || errno == EACCES;
    bool restricted = allowed && syscall(SYS_landlock_restrict_self, ruleset, 0) == 0;
    close(ruleset);
    return restricted;
}
