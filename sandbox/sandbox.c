#include "sandbox/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <grp.h>
#include <pwd.h>
#include <linux/capability.h>

/* A worker holds about 15 of its own, and each connection is one. */
enum { DESCRIPTORS_MIN = 64, DESCRIPTORS_MAX = 16384 };

bool sandbox_is_possible(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return false;
#else
    return true;
#endif
}

void sandbox_close_inherited(void)
{
    for (int fd = 0; fd >= 0 && fd <= STDERR_FILENO;)
        fd = open("/dev/null", O_RDWR);
    closefrom(STDERR_FILENO + 1);
}

unsigned sandbox_raise_descriptors(char *reason, size_t reason_size)
{
    struct rlimit limit = {0, 0};
    (void)getrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_max > DESCRIPTORS_MAX)
        limit.rlim_max = DESCRIPTORS_MAX;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit); /* always allowed */
    if (limit.rlim_max >= DESCRIPTORS_MIN)
        return (unsigned)limit.rlim_max;
    snprintf(reason, reason_size,
             "the limit of descriptors (RLIMIT_NOFILE, ulimit -n) is %llu, and must be %d or more",
             (unsigned long long)limit.rlim_max, DESCRIPTORS_MIN);
    return 0;
}

/* All of the owner's groups: one may be the secret's. */
static bool set_groups(uid_t uid, gid_t gid)
{
    const struct passwd *user = getpwuid(uid);
    return (user ? initgroups(user->pw_name, gid) : setgroups(0, NULL)) == 0;
}

bool sandbox_become_owner(const char *owner_path)
{
    struct stat status;
    if (geteuid() != 0)
        return true;
    if (lstat(owner_path, &status) != 0)
        return false;
    errno = ELOOP;
    return !S_ISLNK(status.st_mode) &&
           (status.st_uid == 0 || (set_groups(status.st_uid, status.st_gid) &&
                                   setresgid(status.st_gid, status.st_gid, status.st_gid) == 0 &&
                                   setresuid(status.st_uid, status.st_uid, status.st_uid) == 0));
}

/* ---- parts that a system may refuse; each sets errno where it fails ---- */

static bool drop_capabilities(const struct sandbox_needs *needs)
{
    (void)needs;
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {{0, 0, 0}};
    return syscall(SYS_capset, &header, none) == 0;
}

static bool forbid_dumps(const struct sandbox_needs *needs)
{
    (void)needs;
    return prctl(PR_SET_DUMPABLE, 0) == 0 && setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0}) == 0;
}

static bool forbid_new_privileges(const struct sandbox_needs *needs)
{
    (void)needs;
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0;
}

static const struct {
    const char *name;
    bool (*apply)(const struct sandbox_needs *needs);
} parts[] = {
    {"capset", drop_capabilities},           {"PR_SET_DUMPABLE", forbid_dumps},
    {"no_new_privs", forbid_new_privileges}, {"landlock", sandbox_limit_files},
    {"seccomp", sandbox_load_filter},
};

bool sandbox_enter(const struct sandbox_needs *needs, char *level, size_t level_size, char *reason,
                   size_t reason_size)
{
    /* In a worker after the store and the secret are open: their owner may have no access to their
     * folders. */
    if (!sandbox_become_owner(needs->owner_path)) {
        snprintf(reason, reason_size, "sandbox: becoming the store's owner: %s", strerror(errno));
        return false;
    }
    const char *separator = ", but this system refuses ";
    snprintf(level, level_size, "sandbox: on");
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        if (parts[i].apply(needs))
            continue;
        if (errno == ENOMEM) {
            snprintf(reason, reason_size, "sandbox: %s: %s", parts[i].name, strerror(errno));
            return false;
        }
        size_t len = strlen(level);
        snprintf(level + len, level_size - len, "%s%s (%s)", separator, parts[i].name,
                 strerror(errno));
        separator = ", ";
    }
    return true;
}
