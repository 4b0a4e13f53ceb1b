/* tokenctl: the administrator's command. */

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/calendar.h"
#include "base/number.h"
#include "base/sigbus.h"
#include "ctl/child.h"
#include "sandbox/sandbox.h"

/* clang-format off */
static const struct command {
    const char *words[2]; /* the second may be NULL */
    const char *argument; /* as usage names it; "": none; ID is a decimal number, USER an id or a name */
    const char *description;
    ctl_command *run;
    bool needs_store;
} commands[] = {
    {{"init", NULL}, "", "create the store and the secret", ctl_init, false},
    {{"user", "add"}, "NAME [--group G] [--role user|admin|root] [--quota N] [--unlimited]"
     " [--rpm-limit N] [--tpm-limit N] [--max-tokens N]",
     "add a user: prints id and access token, once", ctl_user_add, true},
    {{"user", "list"}, "", "list all users", ctl_user_list, true},
    {{"user", "show"}, "USER", "show one user", ctl_user_show, true},
    {{"user", "set"}, "USER [--name N] [--group G] [--role user|admin|root] [--quota N|+N|-N|unlimited]"
     " [--add-quota N] [--unlimited] [--rpm-limit N] [--tpm-limit N] [--max-tokens N] [--yes]", "change what is given", ctl_user_set, true},
    {{"user", "rotate"}, "USER", "a new access token; the old one is void", ctl_user_rotate, true},
    {{"user", "disable"}, "USER", "refuse the user's requests (403)", ctl_user_disable, true},
    {{"user", "enable"}, "USER", "accept them again", ctl_user_enable, true},
    {{"user", "delete"}, "USER", "delete the user and all its tokens", ctl_user_delete, true},
    {{"group", "add"}, "NAME [--public] [--ratio R] [--description TEXT] [--yes]",
     "add a group; groups are checked from now on", ctl_group_add, true},
    {{"group", "list"}, "", "list all groups", ctl_group_list, true},
    {{"group", "set"}, "NAME [--public] [--private] [--ratio R] [--description TEXT] [--yes]",
     "change what is given", ctl_group_set, true},
    {{"group", "delete"}, "NAME [--yes]", "delete it and its grants", ctl_group_delete, true},
    {{"group", "grant"}, "NAME USER", "let the user use it", ctl_group_grant, true},
    {{"group", "revoke"}, "NAME USER [--yes]", "take that back", ctl_group_revoke, true},
    {{"group", "off"}, "", "check groups no longer", ctl_group_off, true},
    {{"model", "add"}, "NAME", "add it to the list that users see", ctl_model_add, true},
    {{"model", "list"}, "", "list all models", ctl_model_list, true},
    {{"model", "delete"}, "NAME", "remove it from the list", ctl_model_delete, true},
    {{"gateway", "add"}, "NAME", "add a gateway: prints id and secret, once", ctl_gateway_add, true},
    {{"gateway", "list"}, "", "list all gateways", ctl_gateway_list, true},
    {{"gateway", "delete"}, "ID", "delete it; its secret is void", ctl_gateway_delete, true},
    {{"token", "list"}, "USER", "list a user's tokens, newest first", ctl_token_list, true},
    {{"token", "show"}, "ID", "show one token, without its key", ctl_token_show, true},
    {{"token", "disable"}, "ID", "refuse its key", ctl_token_disable, true},
    {{"token", "enable"}, "ID", "accept its key again", ctl_token_enable, true},
    {{"token", "set"}, "ID [--add-quota N] [--expires T] [--name N] [--group G] [--quota N|unlimited] [--rpm-limit N]"
     " [--tpm-limit N] [--max-parallel N] [--refill-amount N] [--refill-interval none|day|week|month] [--refill-day N]",
     "change what is given; T: Unix time, -1: never", ctl_token_set, true},
    {{"token", "delete"}, "ID", "delete it; its key is void", ctl_token_delete, true},
    {{"token", "find"}, "KEY", "the token of a key; -: of standard input", ctl_token_find, true},
    {{"audit", NULL}, "[--user USER] [--token ID] [--action A] [--since T] [--follow]",
     "changes, newest first; A: exact, or token.*", ctl_audit, true},
    {{"usage", NULL}, "[--user USER] [--token ID] [--days N] [--csv]", "units and requests a day", ctl_usage, true},
    {{"idempotency", "purge"}, "USER", "forget the answers kept for Idempotency-Keys", ctl_idempotency_purge, true},
    {{"backup", NULL}, "FILE", "copy the store into a file, and check it", ctl_backup, false},
    {{"restore", NULL}, "FILE", "make the store from such a file", ctl_restore, false},
    {{"export", NULL}, "[FILE] [--clear-keys]", "all rows as JSON lines; keys sealed, or clear", ctl_export, false},
    {{"import", NULL}, "FILE [--from new-api|one-api] [--dry-run]",
     "all rows of an export; -: standard input", ctl_import, false},
    {{"secret", "rotate"}, "[--wait SECONDS]", "replace the secret, while workers serve", ctl_secret_rotate, false},
    {{"health", NULL}, "", "ask the pool whether it is healthy", ctl_health, false},
    {{"metrics", NULL}, "", "print what the pool has counted (Prometheus)", ctl_metrics, false},
    {{"check", NULL}, "", "verify every record and index", ctl_check, true},
    {{"stat", NULL}, "", "users, tokens, bytes, map use, readers, disk", ctl_stat, true},
};
/* clang-format on */

static const char *const options[CTL_OPTIONS] = {
    [CTL_NAME] = "--name",
    [CTL_GROUP] = "--group",
    [CTL_ROLE] = "--role",
    [CTL_QUOTA] = "--quota",
    [CTL_RATIO] = "--ratio",
    [CTL_DESCRIPTION] = "--description",
    [CTL_REFILL_INTERVAL] = "--refill-interval",
    [CTL_USER] = "--user",
    [CTL_ACTION] = "--action",
    [CTL_FROM] = "--from",
    [CTL_EXPIRES] = "--expires",
    [CTL_ADD_QUOTA] = "--add-quota",
    [CTL_RPM_LIMIT] = "--rpm-limit",
    [CTL_TPM_LIMIT] = "--tpm-limit",
    [CTL_MAX_TOKENS] = "--max-tokens",
    [CTL_MAX_PARALLEL] = "--max-parallel",
    [CTL_REFILL_AMOUNT] = "--refill-amount",
    [CTL_REFILL_DAY] = "--refill-day",
    [CTL_TOKEN] = "--token",
    [CTL_SINCE] = "--since",
    [CTL_DAYS] = "--days",
    [CTL_WAIT] = "--wait",
    [CTL_CLEAR_KEYS] = "--clear-keys",
    [CTL_DRY_RUN] = "--dry-run",
    [CTL_UNLIMITED] = "--unlimited",
    [CTL_PUBLIC] = "--public",
    [CTL_PRIVATE] = "--private",
    [CTL_FOLLOW] = "--follow",
    [CTL_CSV] = "--csv",
    [CTL_YES] = "--yes",
    [CTL_JSON] = "--json",
    [CTL_QUIET] = "--quiet",
    [CTL_HELP] = "--help",
    [CTL_VERSION] = "--version",
};

enum { COMMAND_COUNT = sizeof(commands) / sizeof(commands[0]) };

/* Whether a command's words begin with these. */
static bool begins_with(const struct command *command, char *const *words, int count)
{
    return (count < 1 || strcmp(words[0], command->words[0]) == 0) &&
           (count < 2 || !command->words[1] || strcmp(words[1], command->words[1]) == 0);
}

/* A command on a line, its options on further lines where they don't fit, and what it does. Scripts
 * read this: the description is behind two blanks, which are nowhere else behind a command. */
static void print_command(FILE *to, const struct command *command)
{
    enum { LINE_WIDTH = 79, DESCRIPTION_COLUMN = 34 };
    const char *second = command->words[1];
    int column =
        fprintf(to, "  %s%s%s", command->words[0], second ? " " : "", second ? second : "");
    for (const char *at = command->argument; *at; at += strspn(at, " ")) {
        int len = (int)(*at == '[' ? strcspn(at, "]") + 1 : strcspn(at, " "));
        bool fits = column + 1 + len <= LINE_WIDTH;
        int printed = fprintf(to, "%s %.*s", fits ? "" : "\n     ", len, at);
        column = fits ? column + printed : printed - 1;
        at += len;
    }
    bool fits = column + 2 <= DESCRIPTION_COLUMN;
    fprintf(to, "%s%*s%s\n", fits ? "" : "\n", DESCRIPTION_COLUMN - (fits ? column : 0), "",
            command->description);
}

/* Of all commands that begin with the words. */
static void print_usage(FILE *to, char *const *words, int count)
{
    fputs("usage: tokenctl [--json] [--quiet] COMMAND\n"
          "       tokenctl [COMMAND] --help | --version\n\n",
          to);
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        if (begins_with(&commands[i], words, count))
            print_command(to, &commands[i]);
    fputs("\n--json: one JSON object a line. --quiet: no progress.\n"
          "TOKEN_STORE names the store, TOKEN_SECRET the secret file: see token.conf(5).\n"
          "Exit status: 0 done, 1 failed, 2 wrong usage. More in tokenctl(1).\n",
          to);
}

/* Says what was wrong, then the usage of the commands that begin with the words. */
static int refuse_usage(const char *fault, const char *word, char *const *words, int count)
{
    fprintf(stderr, "tokenctl: %s%s%s\n", fault, *word ? ": " : "", word);
    print_usage(stderr, words, count);
    return CTL_WRONG_USAGE;
}

/* The option that a word is, a value behind = aside; CTL_OPTIONS: none. */
static enum ctl_option find_option(const char *word)
{
    enum ctl_option option = CTL_NAME;
    size_t len = strcspn(word, "=");
    while (option < CTL_OPTIONS &&
           (strlen(options[option]) != len || strncmp(word, options[option], len) != 0))
        option++;
    return strcmp(word, "-h") == 0 ? CTL_HELP : option;
}

/* Takes the options out of the words, which stay in argv from its second on. Returns how many there
 * are, or -1, with the option as the first word and what is wrong with it as ctl->argument. */
static int read_words(struct ctl *ctl, char **argv)
{
    bool options_end = false;
    char **words = argv + 1;
    int count = 0;
    for (argv++; *argv; argv++) {
        enum ctl_option option = find_option(*argv);
        char *equals = strchr(*argv, '=');
        if (options_end || (strncmp(*argv, "--", 2) != 0 && option != CTL_HELP))
            words[count++] = *argv;
        else if (strcmp(*argv, "--") == 0)
            options_end = true;
        else if (option < CTL_CLEAR_KEYS && (equals || argv[1]))
            ctl->text[option] = equals ? equals + 1 : *++argv;
        else if (option < CTL_OPTIONS && option >= CTL_CLEAR_KEYS && !equals)
            ctl->text[option] = "";
        else {
            ctl->argument = option == CTL_OPTIONS     ? "unknown option"
                            : option < CTL_CLEAR_KEYS ? "an option lacks its value"
                                                      : "an option takes no value";
            words[0] = *argv;
            return -1;
        }
    }
    words[count] = NULL;
    return count;
}

static bool has_option(const struct command *command, const char *name)
{
    const char *at = strstr(command->argument, name);
    return at && strchr(" ]", at[strlen(name)]);
}

/* How many words, beside options, a command takes; at least, in *needed. */
static int count_words(const struct command *command, int *needed)
{
    const char *at = command->argument;
    int count = 0;
    *needed = 0;
    for (; *at && strncmp(at, "[--", 3) != 0; at += strcspn(at, " "), at += strspn(at, " ")) {
        count++;
        *needed += *at != '[';
    }
    return count;
}

/* Returns fault, or NULL if nothing is wrong with the options; sets ctl->number. */
static const char *read_options(struct ctl *ctl, const struct command *command,
                                char fault[static STORE_REASON_SIZE])
{
    int given = 0;
    for (size_t i = 0; i < CTL_JSON; i++) {
        const char *value = ctl->text[i], *name = options[i];
        if (value && !has_option(command, name))
            snprintf(fault, STORE_REASON_SIZE, "not an option of this command: %s", name);
        else if (value && i >= CTL_EXPIRES && i < CTL_CLEAR_KEYS &&
                 !number_parse(span_of(value), &ctl->number[i]))
            snprintf(fault, STORE_REASON_SIZE, "%s: '%s' is not a decimal number", name, value);
        given += value != NULL;
    }
    if (given == 0 && command->words[1] && strcmp(command->words[1], "set") == 0)
        snprintf(fault, STORE_REASON_SIZE, "nothing to set: give %s",
                 strchr(command->argument, '['));
    return *fault ? fault : NULL;
}

/* What is wrong with the words after a command, in fault or static, or NULL; sets ctl->argument and
 * ctl->id. */
static const char *read_argument(struct ctl *ctl, const struct command *command, char **words,
                                 int count, char fault[static STORE_REASON_SIZE])
{
    int used = command->words[1] ? 2 : 1, needed, wanted = count_words(command, &needed);
    bool is_id = strncmp(command->argument, "ID", 2) == 0;
    ctl->argument = words[used];
    ctl->second = ctl->argument ? words[used + 1] : NULL;
    if (count < used + needed)
        return "an argument is missing";
    if (count > used + wanted)
        return "too many arguments";
    if (is_id && !number_parse(span_of(ctl->argument), &ctl->id))
        return "an id is a decimal number";
    return read_options(ctl, command, fault);
}

bool ctl_find_user(struct ctl *ctl, const char *user, int64_t *id)
{
    if (number_parse(span_of(user), id))
        return true;
    enum store_error error = store_user_find(ctl->reader, span_of(user), id);
    if (error != STORE_OK)
        ctl_fail("%s: %s", store_error_text(error), user);
    return error == STORE_OK;
}

/* Sets ctl->id for the user that a word names. */
static bool find_user(struct ctl *ctl)
{
    const char *form = ctl->command->argument, *user = strstr(form, "USER");
    bool is_word = user && (size_t)(user - form) < strcspn(form, "[");
    return !is_word || ctl_find_user(ctl, user == form ? ctl->argument : ctl->second, &ctl->id);
}

static void report_fault(const char *message, const char *detail)
{
    fprintf(stderr, "tokenctl: %s: %s\n", message, detail);
}

bool ctl_enter_sandbox(struct ctl *ctl, const char *owner_path,
                       char reason[static STORE_REASON_SIZE])
{
    static const char *const none[] = {NULL};
    char level[128];
    struct sandbox_needs needs = {.owner_path = owner_path,
                                  .network = store_uses_network(ctl->options.location),
                                  .files = ctl->store ? store_reopened_files(ctl->store) : none};
    return !ctl->settings.sandbox || !sandbox_is_possible() ||
           sandbox_enter(&needs, level, sizeof(level), reason, STORE_REASON_SIZE);
}

bool ctl_open(struct ctl *ctl, const char *owner_path, char reason[static STORE_REASON_SIZE])
{
    const char *location = ctl->options.location;
    /* Before anything there is opened: its owner may have planted links. */
    if (!child_become_owner(ctl, owner_path, reason) && errno != ENOENT)
        return false;
    if (!sigbus_catch(report_fault, location, "restore a backup") ||
        store_open(&ctl->options, &ctl->store, reason) != STORE_OK)
        return false;
    store_limit_wait(ctl->store, CTL_WRITE_WAIT_MS);
    if (store_reader_open(ctl->store, &ctl->reader) != STORE_OK) {
        snprintf(reason, STORE_REASON_SIZE, "too many processes read the store");
        return false;
    }
    struct statvfs disk;
    if (statvfs(location, &disk) == 0)
        ctl->free_bytes = (int64_t)(disk.f_bavail * disk.f_frsize);
    return ctl_enter_sandbox(ctl, owner_path, reason);
}

int ctl_close(struct ctl *ctl, int status)
{
    if (status == CTL_DONE && (fflush(stdout) != 0 || ferror(stdout)))
        status = ctl_fail("standard output can't be written");
    output_drop(ctl); /* of a command that failed in the middle */
    store_reader_close(ctl->reader);
    store_close(ctl->store);
    return status;
}

/* Reads the settings, and opens what the command needs. */
static bool prepare(struct ctl *ctl, char reason[static STORE_REASON_SIZE])
{
    const struct settings *settings = &ctl->settings;
    if (!settings_read(environ, &ctl->settings, reason, STORE_REASON_SIZE))
        return false;
    calendar_set_zone(settings->timezone);
    ctl->options = (struct store_options){.location = settings->store_path,
                                          .secret_path = settings->secret_path,
                                          .size_max = settings->map_size,
                                          .audit_days = (unsigned)settings->audit_days,
                                          .may_be_read_only = ctl->command->run == ctl_check ||
                                                              ctl->command->run == ctl_stat};
    if (!ctl->command->needs_store)
        return true;
    return ctl_open(ctl, store_owner_path(&ctl->options), reason);
}

static int run(struct ctl *ctl)
{
    char reason[STORE_REASON_SIZE];
    if (!prepare(ctl, reason))
        return ctl_close(ctl, ctl_fail("%s", reason));
    return ctl_close(ctl, !ctl->command->needs_store || find_user(ctl) ? ctl->command->run(ctl)
                                                                       : CTL_FAILED);
}

static int run_in_child(struct ctl *ctl)
{
    struct ctl_child child;
    return child_start(ctl, run, &child) ? child_end(&child, "check", "restore a backup")
                                         : CTL_FAILED;
}

/* The first command that begins with the words, or NULL. */
static const struct command *find_command(char *const *words, int count)
{
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        if (begins_with(&commands[i], words, count))
            return &commands[i];
    return NULL;
}

int main(int argc, char **argv)
{
    struct ctl ctl = {.parent_fd = -1};
    char text[STORE_REASON_SIZE] = "";
    (void)argc;
    sandbox_close_inherited();
    signal(SIGXFSZ, SIG_IGN); /* a limit on file sizes is an error of a write, not the end */
    umask(S_IWGRP | S_IWOTH); /* workers pass through the folders that init makes */
    char **words = argv + 1;
    int count = read_words(&ctl, argv);
    if (count < 0)
        return refuse_usage(ctl.argument, words[0], words, 0);
    const struct command *command = find_command(words, count);
    if (!command) {
        int known = find_command(words, 1) ? 1 : 0;
        return refuse_usage("unknown command", words[known], words, known);
    }
    if (ctl.text[CTL_VERSION])
        puts("tokenctl " VERSION);
    else if (ctl.text[CTL_HELP])
        print_usage(stdout, words, count);
    if (ctl.text[CTL_VERSION] || ctl.text[CTL_HELP])
        return fflush(stdout) == 0 ? CTL_DONE : ctl_fail("standard output can't be written");
    if (count < (command->words[1] ? 2 : 1))
        return refuse_usage("the command is incomplete", "", words, count);
    const char *fault = read_argument(&ctl, command, words, count, text);
    if (fault)
        return refuse_usage(fault, "", words, count);
    ctl.command = command;
    return command->run == ctl_check ? run_in_child(&ctl) : run(&ctl);
}
