#pragma once

#include "settings/settings.h"
#include "store/transfer.h"

/* The options: those with a text, those with a number, those without a value. */
enum ctl_option {
    CTL_NAME,
    CTL_GROUP,
    CTL_FROM,
    CTL_EXPIRES, /* the first with a number */
    CTL_ADD_QUOTA,
    CTL_WAIT,
    CTL_CLEAR_KEYS, /* the first without a value */
    CTL_DRY_RUN,    /* all checks, and nothing changed */
    CTL_JSON,       /* one JSON object a line instead of text */
    CTL_QUIET,      /* no progress */
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
    const char *argument;                  /* NULL: none */
    int64_t id;                            /* of the argument, if it names something that exists */
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

/* Prints the row on standard output, as "name value" a line or as one JSON object, and empties it;
 * or prints an error of the store. Returns CTL_DONE or CTL_FAILED. */
int ctl_end(struct ctl *ctl, enum store_error error);

/* Ends a change of ctl->id: prints {"id":…,"CHANGE":true}, or the error. Returns the exit status.
 */
int ctl_end_change(struct ctl *ctl, const char *change, enum store_error error);

/* The commands. Each returns an exit status. */
typedef int ctl_command(struct ctl *ctl);
ctl_command ctl_init, ctl_check, ctl_stat, ctl_backup, ctl_restore, ctl_export, ctl_import;
ctl_command ctl_secret_rotate;
ctl_command ctl_user_add, ctl_user_list, ctl_user_show, ctl_user_set, ctl_user_rotate;
ctl_command ctl_user_disable, ctl_user_enable, ctl_user_delete, ctl_idempotency_purge;
ctl_command ctl_gateway_add, ctl_gateway_list, ctl_gateway_delete;
ctl_command ctl_token_list, ctl_token_show, ctl_token_disable, ctl_token_enable, ctl_token_set;
ctl_command ctl_token_delete, ctl_token_find;
