#include "sandbox/sandbox.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <grp.h>
#include <linux/capability.h>

#include "sandbox/filter.h"
#include "sandbox/landlock.h"

/* A worker holds 15 or so of its own, and each connection is one. */
enum { DESCRIPTORS_MIN = 64, DESCRIPTORS_MAX = 16384 };

bool sandbox_is_possible(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return false;
#else
    return true;
#endif
}

/* ---- privileges ---- */

static bool drop_capabilities(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {{0, 0, 0}};
    return syscall(SYS_capset, &header, none) == 0;
}

/* Only after the store and the secret are open: their owner may have no way to them. */
static bool drop_root(const char *store_path)
{
    struct stat folder;
    if (geteuid() != 0)
        return true;
    if (stat(store_path, &folder) != 0)
        return false;
    if (folder.st_uid != 0 &&
        (setgroups(0, NULL) != 0 || setresgid(folder.st_gid, folder.st_gid, folder.st_gid) != 0 ||
         setresuid(folder.st_uid, folder.st_uid, folder.st_uid) != 0))
        return false;
    return drop_capabilities();
}

/* ---- limits ---- */

static bool set_limit(__rlimit_resource_t resource, rlim_t most)
{
    struct rlimit limit;
    if (getrlimit(resource, &limit) != 0)
        return false;
    if (limit.rlim_max > most)
        limit.rlim_max = most;
    if (limit.rlim_cur > most)
        limit.rlim_cur = most;
    return setrlimit(resource, &limit) == 0;
}

bool sandbox_raise_descriptors(char *reason, size_t reason_size)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        snprintf(reason, reason_size, "the limit of descriptors: %s", strerror(errno));
        return false;
    }
    rlim_t wanted = limit.rlim_max < DESCRIPTORS_MAX ? limit.rlim_max : DESCRIPTORS_MAX;
    if (limit.rlim_cur < wanted) {
        limit.rlim_cur = wanted;
        setrlimit(RLIMIT_NOFILE, &limit); /* to no more than it may: nothing to fail */
    }
    if (wanted >= DESCRIPTORS_MIN)
        return true;
    snprintf(reason, reason_size,
             "the limit of descriptors (RLIMIT_NOFILE, ulimit -n) is %llu, and must be %d or more",
             (unsigned long long)limit.rlim_max, DESCRIPTORS_MIN);
    return false;
}

/* A core dump would hold the secret; so would what a debugger of the same user reads. */
static bool limit_resources(void)
{
    return set_limit(RLIMIT_CORE, 0) && set_limit(RLIMIT_NOFILE, DESCRIPTORS_MAX) &&
           prctl(PR_SET_DUMPABLE, 0) == 0;
}

bool sandbox_enter(const char *store_path, char *level, size_t level_size, char *reason,
                   size_t reason_size)
{
    int landlock_abi = 0;
    const char *failed = NULL;
    if (!drop_root(store_path))
        failed = "dropping privileges";
    else if (!limit_resources())
        failed = "setting limits";
    else if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        failed = "setting no_new_privs";
    else if (!landlock_allow_only(store_path, &landlock_abi))
        failed = "Landlock";
    else if ((errno = filter_load()) != 0)
        failed = "loading the seccomp filter";
    if (failed) {
        snprintf(reason, reason_size, "sandbox: %s: %s", failed, strerror(errno));
        return false;
    }
    if (landlock_abi > 0)
        snprintf(level, level_size, "sandbox: seccomp, Landlock ABI %d", landlock_abi);
    else
        snprintf(level, level_size, "sandbox: seccomp, no Landlock in this kernel");
    return true;
}
