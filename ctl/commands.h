#ifndef CTL_COMMANDS_H
#define CTL_COMMANDS_H

#include "settings/settings.h"
#include "store/store.h"

/* What a command of tokenctl works with. */
struct ctl {
    struct settings settings;
    struct store *store; /* open where the command needs it */
    struct store_reader *reader;
    bool json;         /* --json: one JSON object a line instead of text */
    const char *group; /* --group, or NULL */
};

/* Exit statuses. */
enum { CTL_DONE = 0, CTL_FAILED = 1, CTL_WRONG_USAGE = 2 };

/* Prints one line on standard error; returns CTL_FAILED. */
int ctl_fail(const char *why);

/* The commands: arguments are those after the command's words. Each returns an exit status. */
int ctl_init(struct ctl *ctl, char **arguments);
int ctl_user_add(struct ctl *ctl, char **arguments);
int ctl_user_list(struct ctl *ctl, char **arguments);
int ctl_user_show(struct ctl *ctl, char **arguments);
int ctl_user_rotate(struct ctl *ctl, char **arguments);
int ctl_user_disable(struct ctl *ctl, char **arguments);
int ctl_user_enable(struct ctl *ctl, char **arguments);
int ctl_user_delete(struct ctl *ctl, char **arguments);
int ctl_check(struct ctl *ctl, char **arguments);
int ctl_stat(struct ctl *ctl, char **arguments);

#endif
