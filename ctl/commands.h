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

/* The same for what the store answered. */
int ctl_fail_with(enum store_error error);

/* The value of an option, which is the rest of its word (--option=VALUE) or the next word
 * (--option VALUE): *at, the word to look at, then moves on to that. NULL where the word is
 * another one, or nothing follows. */
const char *ctl_take_value(char ***at, const char *option);

/* Reads an argument that is an id; where it is none, says so and returns false: the command's
 * status is then CTL_WRONG_USAGE. */
bool ctl_read_id(const char *argument, int64_t *id);

/* Copies a name or a group that is fit to be one: 1 to len_max bytes of UTF-8 without
 * control characters. to has room for one more, the NUL. */
bool ctl_copy_label(const char *from, size_t len_max, char *to);

/* The commands: arguments are those after the command's words. Each returns an exit status. */
int ctl_init(struct ctl *ctl, char **arguments);
int ctl_user_add(struct ctl *ctl, char **arguments);
int ctl_user_list(struct ctl *ctl, char **arguments);
int ctl_user_show(struct ctl *ctl, char **arguments);
int ctl_user_rotate(struct ctl *ctl, char **arguments);
int ctl_user_disable(struct ctl *ctl, char **arguments);
int ctl_user_enable(struct ctl *ctl, char **arguments);
int ctl_user_delete(struct ctl *ctl, char **arguments);
int ctl_gateway_add(struct ctl *ctl, char **arguments);
int ctl_gateway_list(struct ctl *ctl, char **arguments);
int ctl_gateway_delete(struct ctl *ctl, char **arguments);
int ctl_token_list(struct ctl *ctl, char **arguments);
int ctl_token_show(struct ctl *ctl, char **arguments);
int ctl_token_disable(struct ctl *ctl, char **arguments);
int ctl_token_find(struct ctl *ctl, char **arguments);
int ctl_check(struct ctl *ctl, char **arguments);
int ctl_stat(struct ctl *ctl, char **arguments);

#endif
