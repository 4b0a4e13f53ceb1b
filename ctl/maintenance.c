/* tokenctl init, check, stat. */

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ctl/commands.h"

const char *ctl_find_owner(const struct settings *settings, unsigned *uid, unsigned *gid)
{
    *uid = (uid_t)-1;
    *gid = (gid_t)-1;
    if (geteuid() != 0)
        return NULL;
    const struct passwd *user = getpwnam(settings->user ? settings->user : "token");
    if (!user && !settings->user)
        user = getpwnam("www-data"); /* not installed: no account of its own */
    if (!user)
        return "the user that TOKEN_USER names (default token, or www-data) does not exist";
    *uid = user->pw_uid;
    *gid = user->pw_gid;
    return NULL;
}

int ctl_init(struct ctl *ctl)
{
    uid_t uid;
    gid_t gid;
    char reason[STORE_REASON_SIZE];
    const char *wrong = ctl_find_owner(&ctl->settings, &uid, &gid);
    if (wrong)
        return ctl_fail("%s", wrong);
    enum store_error error = store_create(&ctl->options, uid, gid, reason);
    if (error == STORE_UNKNOWN)
        return ctl_fail(
            "%s: the tables were perhaps made; if tokenctl check finds no store, remove %s "
            "and repeat this",
            reason, ctl->options.secret_path);
    if (error != STORE_OK)
        return ctl_fail("%s", reason);
    /* A URI may hold a password. */
    const char *location = ctl->options.location, *scheme_end = strstr(location, "://");
    output_text(ctl, "store",
                scheme_end ? (struct span){location, (size_t)(scheme_end - location)}
                           : span_of(location));
    output_text(ctl, "secret", span_of(ctl->options.secret_path));
    return ctl_end(ctl, STORE_OK);
}

static void print_problem(void *context, const char *line)
{
    struct ctl *ctl = context;
    output_text(ctl, "problem", span_of(line));
    ctl_end(ctl, STORE_OK);
}

int ctl_find_problems(struct ctl *ctl, const char *what)
{
    uint64_t found;
    enum store_error error = store_check(ctl->reader, print_problem, ctl, &found);
    if (error != STORE_OK)
        return ctl_end(ctl, error);
    if (found == 0)
        return CTL_DONE;
    fflush(stdout);
    return ctl_fail("%s has problems, listed on standard output", what);
}

int ctl_check(struct ctl *ctl)
{
    if (ctl_find_problems(ctl, "the store") != CTL_DONE)
        return CTL_FAILED;
    output_bool(ctl, "ok", true);
    return ctl_end(ctl, STORE_OK);
}

static void add_figure(void *context, const char *name, uint64_t value)
{
    output_int(context, name, (int64_t)value);
}

int ctl_stat(struct ctl *ctl)
{
    enum store_error error = store_stat(ctl->reader, add_figure, ctl);
    if (!store_uses_network(ctl->options.location))
        output_int(ctl, "disk_free_bytes", ctl->free_bytes);
    return ctl_end(ctl, error);
}
