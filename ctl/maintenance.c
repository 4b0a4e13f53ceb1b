/* tokenctl init, check, stat. */

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <unistd.h>

#include "ctl/commands.h"
#include "ctl/output.h"

/* The owner of a new store: TOKEN_USER where root makes it; -1 where the caller keeps it. */
static bool find_owner(const struct settings *settings, uid_t *uid, gid_t *gid)
{
    *uid = (uid_t)-1;
    *gid = (gid_t)-1;
    if (geteuid() != 0)
        return true;
    const struct passwd *user = getpwnam(settings->user ? settings->user : "www-data");
    if (!user)
        return false;
    *uid = user->pw_uid;
    *gid = user->pw_gid;
    return true;
}

int ctl_init(struct ctl *ctl)
{
    struct store_options options = {.location = ctl->settings.store_path,
                                    .secret_path = ctl->settings.secret_path,
                                    .size_max = ctl->settings.map_size};
    uid_t uid;
    gid_t gid;
    char reason[STORE_REASON_SIZE];
    if (!find_owner(&ctl->settings, &uid, &gid))
        return ctl_fail("the user that TOKEN_USER names (default www-data) does not exist");
    if (store_create(&options, uid, gid, reason) != STORE_OK)
        return ctl_fail(reason);
    struct output output = {.json = ctl->json};
    output_text(&output, "store", span_of(options.location));
    output_text(&output, "secret", span_of(options.secret_path));
    output_end(&output);
    return CTL_DONE;
}

static void print_problem(void *context, const char *line)
{
    const struct ctl *ctl = context;
    struct output output = {.json = ctl->json};
    output_text(&output, "problem", span_of(line));
    output_end(&output);
}

int ctl_check(struct ctl *ctl)
{
    uint64_t found;
    enum store_error error = store_check(ctl->reader, print_problem, ctl, &found);
    if (error != STORE_OK)
        return ctl_end(error);
    if (found > 0) {
        fflush(stdout);
        return ctl_fail("the store has problems, listed on standard output");
    }
    struct output output = {.json = ctl->json};
    output_bool(&output, "ok", true);
    output_end(&output);
    return CTL_DONE;
}

static void add_figure(void *context, const char *name, uint64_t value)
{
    output_int(context, name, (int64_t)value);
}

int ctl_stat(struct ctl *ctl)
{
    struct output output = {.json = ctl->json};
    enum store_error error = store_stat(ctl->reader, add_figure, &output);
    if (error != STORE_OK)
        return ctl_end(error);
    output_end(&output);
    return CTL_DONE;
}
