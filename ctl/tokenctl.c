/* tokenctl: the administrator's command. */

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ctl/commands.h"
#include "sandbox/sandbox.h"
#include "settings/settings.h"

static const struct command {
    const char *words[2]; /* the second may be NULL */
    const char *arguments;
    int argument_count_min, argument_count_max;
    const char *does;
    int (*run)(struct ctl *ctl, char **arguments);
    bool needs_store;
} commands[] = {
    {{"init", NULL}, "", 0, 0, "create the store and the secret", ctl_init, false},
    {{"user", "add"},
     "NAME [--group G]",
     1,
     1,
     "print id and access token, once",
     ctl_user_add,
     true},
    {{"user", "list"}, "", 0, 0, "all users", ctl_user_list, true},
    {{"user", "show"}, "ID", 1, 1, "one user", ctl_user_show, true},
    {{"user", "rotate"},
     "ID",
     1,
     1,
     "print a new access token, void the old one",
     ctl_user_rotate,
     true},
    {{"user", "disable"}, "ID", 1, 1, "answer 403 to the user", ctl_user_disable, true},
    {{"user", "enable"}, "ID", 1, 1, "the opposite", ctl_user_enable, true},
    {{"user", "delete"}, "ID", 1, 1, "delete the user and all its tokens", ctl_user_delete, true},
    {{"gateway", "add"}, "NAME", 1, 1, "print id and secret, once", ctl_gateway_add, true},
    {{"gateway", "list"}, "", 0, 0, "all gateways", ctl_gateway_list, true},
    {{"gateway", "delete"}, "ID", 1, 1, "void its secret", ctl_gateway_delete, true},
    {{"token", "list"}, "USER", 1, 1, "a user's tokens, newest first", ctl_token_list, true},
    {{"token", "show"}, "ID", 1, 1, "one token, without its key", ctl_token_show, true},
    {{"token", "disable"}, "ID", 1, 1, "refuse its key", ctl_token_disable, true},
    {{"token", "find"},
     "KEY",
     1,
     1,
     "whose key is this? - reads it from stdin",
     ctl_token_find,
     true},
    {{"check", NULL}, "", 0, 0, "verify every record and index", ctl_check, true},
    {{"stat", NULL}, "", 0, 0, "users, tokens, bytes, map use, readers", ctl_stat, true},
};

enum { COMMAND_COUNT = sizeof(commands) / sizeof(commands[0]), ARGUMENTS_MAX = 4 };

static int print_usage(FILE *to, int status)
{
    fputs("usage: tokenctl [--json] COMMAND\n\n", to);
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        const char *second = commands[i].words[1] ? commands[i].words[1] : "";
        fprintf(to, "  %-7s %-8s %-17s %s\n", commands[i].words[0], second, commands[i].arguments,
                commands[i].does);
    }
    fputs("\nThe store is TOKEN_STORE's, its secret TOKEN_SECRET's. "
          "Exit status: 0 done, 1 failed, 2 wrong usage.\n",
          to);
    return status;
}

/* Takes the options out of the words. False where one is unknown or has no value. */
static bool read_words(struct ctl *ctl, char **argv, char *words[static ARGUMENTS_MAX + 1],
                       int *word_count)
{
    const char *value;
    bool options_end = false;
    *word_count = 0;
    for (argv++; *argv; argv++) {
        if (!options_end && strcmp(*argv, "--") == 0) {
            options_end = true;
        } else if (!options_end && strcmp(*argv, "--json") == 0) {
            ctl->json = true;
        } else if (!options_end && (value = ctl_take_value(&argv, "--group")) != NULL) {
            ctl->group = value;
        } else if ((!options_end && strncmp(*argv, "--", 2) == 0) || *word_count == ARGUMENTS_MAX) {
            return false;
        } else {
            words[(*word_count)++] = *argv;
        }
    }
    return true;
}

static const struct command *find_command(char **words, int word_count, int *used)
{
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        *used = commands[i].words[1] ? 2 : 1;
        if (word_count >= *used && strcmp(words[0], commands[i].words[0]) == 0 &&
            (*used == 1 || strcmp(words[1], commands[i].words[1]) == 0))
            return &commands[i];
    }
    return NULL;
}

/* Opens what the command needs, and gives up the rest. */
static bool get_ready(struct ctl *ctl, const struct command *command,
                      char reason[static STORE_REASON_SIZE])
{
    char level[128];
    const struct settings *settings = &ctl->settings;
    if (!settings_read(environ, &ctl->settings, reason, STORE_REASON_SIZE))
        return false;
    if (!command->needs_store)
        return true;
    struct store_options options = {.path = settings->store_path,
                                    .secret_path = settings->secret_path};
    if (store_open(&options, &ctl->store, reason) != STORE_OK)
        return false;
    if (store_reader_open(ctl->store, &ctl->reader) != STORE_OK) {
        snprintf(reason, STORE_REASON_SIZE, "too many processes read the store");
        return false;
    }
    return !settings->sandbox || !sandbox_is_possible() ||
           sandbox_enter(settings->store_path, level, sizeof(level), reason, STORE_REASON_SIZE);
}

static int run(struct ctl *ctl, const struct command *command, char **arguments)
{
    char reason[STORE_REASON_SIZE];
    int status;
    if (get_ready(ctl, command, reason))
        status = command->run(ctl, arguments);
    else
        status = ctl_fail(reason);
    if (status == CTL_DONE && fflush(stdout) != 0)
        status = ctl_fail("standard output can't be written");
    store_reader_close(ctl->reader);
    store_close(ctl->store);
    return status;
}

int main(int argc, char **argv)
{
    struct ctl ctl = {.json = false};
    char *words[ARGUMENTS_MAX + 1];
    int word_count, used;
    sandbox_close_inherited();
    signal(SIGXFSZ, SIG_IGN); /* a limit on file sizes is an error of a write, not the end */
    umask(S_IWGRP | S_IWOTH); /* the folders that init makes must let the workers through */
    if (argc == 2 && strcmp(argv[1], "--help") == 0)
        return print_usage(stdout, CTL_DONE);
    if (!read_words(&ctl, argv, words, &word_count))
        return print_usage(stderr, CTL_WRONG_USAGE);
    const struct command *command = find_command(words, word_count, &used);
    if (!command || word_count - used < command->argument_count_min ||
        word_count - used > command->argument_count_max ||
        (ctl.group && command->run != ctl_user_add))
        return print_usage(stderr, CTL_WRONG_USAGE);
    return run(&ctl, command, words + used);
}
