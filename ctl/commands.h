#ifndef CTL_COMMANDS_H
#define CTL_COMMANDS_H

#include "settings/settings.h"
#include "store/store.h"

/* The options that have a value. */
enum ctl_option { CTL_NAME, CTL_GROUP, CTL_EXPIRES, CTL_ADD_QUOTA, CTL_OPTIONS };

/* What a command works with. */
struct ctl {
    struct settings settings;
    struct store_options options; /* of the settings */
    struct store *store;          /* open where the command needs it */
    struct store_reader *reader;
    bool json;                     /* --json: one JSON object a line instead of text */
    bool help, version;            /* --help, --version */
    const char *text[CTL_OPTIONS]; /* the values of the options, or NULL */
    int64_t number[CTL_OPTIONS];   /* of those that are numbers */
    int64_t free_bytes;            /* of the store's file system; 0: not known */
    const char *argument;          /* the command's argument, or NULL */
    int64_t id;                    /* of the argument, where it names something that exists */
    struct json_object *row;       /* of output; NULL: empty */
};

/* Exit statuses. */
enum { CTL_DONE = 0, CTL_FAILED = 1, CTL_WRONG_USAGE = 2 };

/* Prints one line on standard error. Returns CTL_FAILED. */
int ctl_fail(const char *reason);

/* Add a member to the row of output. The process ends where there is no memory. */
void output_text(struct ctl *ctl, const char *name, struct span value);
void output_int(struct ctl *ctl, const char *name, int64_t value);
void output_bool(struct ctl *ctl, const char *name, bool value);

/* Prints the row on standard output, as "name value" a line or as one JSON object, and empties it;
 * or prints an error of the store. Returns CTL_DONE or CTL_FAILED. */
int ctl_end(struct ctl *ctl, enum store_error error);

/* Ends a change of ctl->id: prints {"id":…,"CHANGE":true}, or the error. Returns the exit status.
 */
int ctl_end_change(struct ctl *ctl, const char *change, enum store_error error);

/* The commands. Each returns an exit status. */
int ctl_init(struct ctl *ctl);
int ctl_user_add(struct ctl *ctl);
int ctl_user_list(struct ctl *ctl);
int ctl_user_show(struct ctl *ctl);
int ctl_user_set(struct ctl *ctl);
int ctl_user_rotate(struct ctl *ctl);
int ctl_user_disable(struct ctl *ctl);
int ctl_user_enable(struct ctl *ctl);
int ctl_user_delete(struct ctl *ctl);
int ctl_idempotency_purge(struct ctl *ctl);
int ctl_gateway_add(struct ctl *ctl);
int ctl_gateway_list(struct ctl *ctl);
int ctl_gateway_delete(struct ctl *ctl);
int ctl_token_list(struct ctl *ctl);
int ctl_token_show(struct ctl *ctl);
int ctl_token_disable(struct ctl *ctl);
int ctl_token_enable(struct ctl *ctl);
int ctl_token_set(struct ctl *ctl);
int ctl_token_delete(struct ctl *ctl);
int ctl_token_find(struct ctl *ctl);
int ctl_check(struct ctl *ctl);
int ctl_stat(struct ctl *ctl);

#endif
