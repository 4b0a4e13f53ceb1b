#pragma once

#include "settings/settings.h"
#include "store/transfer.h"

/* The options: those with a text, those with a number, those without a value. */
enum ctl_option {
    CTL_NAME,
    CTL_GROUP,
    CTL_ROLE,
    CTL_QUOTA, /* a number, +N, -N or unlimited */
    CTL_RATIO,
    CTL_DESCRIPTION,
    CTL_REFILL_INTERVAL,
    CTL_USER, /* an id or a name */
    CTL_ACTION,
    CTL_FROM,
    CTL_EXPIRES, /* the first with a number */
    CTL_ADD_QUOTA,
    CTL_RPM_LIMIT,
    CTL_TPM_LIMIT,
    CTL_MAX_TOKENS,
    CTL_MAX_PARALLEL,
    CTL_REFILL_AMOUNT,
    CTL_REFILL_DAY,
    CTL_TOKEN,
    CTL_SINCE,
    CTL_DAYS,
    CTL_WAIT,
    CTL_CLEAR_KEYS, /* the first without a value */
    CTL_DRY_RUN,    /* all checks, and nothing changed */
    CTL_UNLIMITED,
    CTL_PUBLIC,
    CTL_PRIVATE,
    CTL_FOLLOW,
    CTL_CSV,
    CTL_YES,   /* also if tokens stop working */
    CTL_JSON,  /* one JSON object a line instead of text */
    CTL_QUIET, /* no progress */
    CTL_HELP,
    CTL_VERSION,
    CTL_OPTIONS
};

/* A command's settings, arguments and store. */
struct ctl {
    struct settings settings;
    struct store_options options; /* of the settings */
    struct store *store;          /* NULL: not open */
    struct store_reader *reader;
    const char *text[CTL_OPTIONS]; /* the values of the options, "" without one; NULL: not given */
    int64_t number[CTL_OPTIONS];   /* of those that are numbers */
    int64_t free_bytes;            /* of the store's file system; 0: not known */
    const struct command *command;
    const char *argument, *second;         /* NULL: none */
    int64_t id;                            /* of the argument, or the user that it names; 0: none */
    struct json_object *row;               /* of output; NULL: empty */
    int parent_fd;                         /* in a child (child.h): the connection; else -1 */
    int file_fd;                           /* for the child that checks a copy: its file */
    const struct replacement *replacement; /* for replace.c's child */
    bool restores; /* by tokenctl restore: the next ids are raised (STORE_COPY_IDS) */
};

/* Exit statuses. */
enum { CTL_DONE = 0, CTL_FAILED = 1, CTL_WRONG_USAGE = 2 };

/* How long a write waits for other processes'. */
enum { CTL_WRITE_WAIT_MS = 20000 };

/* Becomes the owner of a folder or file, opens the store, and gives up all other rights. False with
 * a reason. */
bool ctl_open(struct ctl *ctl, const char *owner_path, char reason[static STORE_REASON_SIZE]);

/* Gives up all rights that the open store does not need. False with a reason. */
bool ctl_enter_sandbox(struct ctl *ctl, const char *owner_path,
                       char reason[static STORE_REASON_SIZE]);

/* Closes the store, if it is open. Returns status, or CTL_FAILED with an error printed where
 * standard output can't be written. */
int ctl_close(struct ctl *ctl, int status);

/* The owner of a new store: TOKEN_USER where root makes it; -1 where the caller keeps it. Returns
 * what is wrong, a static text, or NULL. */
const char *ctl_find_owner(const struct settings *settings, unsigned *uid, unsigned *gid);

/* Says that restore overwrites nothing. Returns CTL_FAILED. */
int ctl_refuse_full(const struct ctl *ctl);

/* Says that rows under two secrets are neither exported nor imported. Returns CTL_FAILED. */
int ctl_refuse_rotation(void);

/* Prints a line for each problem of the store that is open. Returns CTL_FAILED, with an error
 * printed, if there are any. */
int ctl_find_problems(struct ctl *ctl, const char *what);

/* Prints one line on standard error, as printf. Returns CTL_FAILED. */
int ctl_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Add a member to the row of output. The process ends if there is no memory. */
void output_text(struct ctl *ctl, const char *name, struct span value);
void output_int(struct ctl *ctl, const char *name, int64_t value);
void output_bool(struct ctl *ctl, const char *name, bool value);

void output_json(struct ctl *ctl, const char *name, struct json_object *value); /* taken over */

/* A ratio or price, as a decimal number. */
void output_millionths(struct ctl *ctl, const char *name, int64_t value);
/* Frees what was output and not printed. */
void output_drop(struct ctl *ctl);

/* Prints the row on standard output, as "name value" a line or as one JSON object, and empties it;
 * or prints an error of the store. Returns CTL_DONE or CTL_FAILED. */
int ctl_end(struct ctl *ctl, enum store_error error);

/* Ends a change of ctl->id: prints {"id":…,"CHANGE":true}, or the error. Returns the exit status.
 */
int ctl_end_change(struct ctl *ctl, const char *change, enum store_error error);

/* Whether a name or a group, where it is given, may be stored; else says what it has to be. */
bool ctl_check_label(const char *what, const char *label);

/* stop.c: a change that may take groups away from tokens. */
struct ctl_stop {
    const struct store_group *put; /* as it will be; NULL: none */
    const char *deleted;           /* a group; NULL: none */
    int64_t user_id;               /* who gets another group, or whose grant is revoked; else 0 */
    const char *group, *revoked;
};

/* Counts the tokens that work no longer after the change. Without --yes such a change is refused.
 *   status   out: that of a refusal or failure
 * Returns whether to go on, with the number of tokens in the row of output. */
bool ctl_may_stop(struct ctl *ctl, const struct ctl_stop *stop, int *status);

/* Sets *id for a user's id or name. False with an error printed. */
bool ctl_find_user(struct ctl *ctl, const char *user, int64_t *id);

/* The commands. Each returns an exit status. */
typedef int ctl_command(struct ctl *ctl);
ctl_command ctl_init, ctl_check, ctl_stat, ctl_backup, ctl_restore, ctl_export, ctl_import;
ctl_command ctl_secret_rotate, ctl_health, ctl_metrics;
ctl_command ctl_user_add, ctl_user_list, ctl_user_show, ctl_user_set, ctl_user_rotate;
ctl_command ctl_user_disable, ctl_user_enable, ctl_user_delete, ctl_idempotency_purge;
ctl_command ctl_gateway_add, ctl_gateway_list, ctl_gateway_delete;
ctl_command ctl_token_list, ctl_token_show, ctl_token_disable, ctl_token_enable, ctl_token_set;
ctl_command ctl_token_delete, ctl_token_find;
ctl_command ctl_group_add, ctl_group_list, ctl_group_set, ctl_group_delete, ctl_group_off;
ctl_command ctl_group_grant, ctl_group_revoke, ctl_model_add, ctl_model_list, ctl_model_delete;
ctl_command ctl_audit, ctl_usage;
