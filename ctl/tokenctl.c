/* tokenctl: the administrator's command. */

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/number.h"
#include "ctl/commands.h"
#include "sandbox/sandbox.h"
#include "settings/settings.h"

/* clang-format off */
static const struct command {
    const char *words[2]; /* the second may be NULL */
    const char *argument; /* as usage names it; "": none; ID and USER are decimal numbers */
    const char *description;
    int (*run)(struct ctl *ctl);
    bool needs_store;
} commands[] = {
    {{"init", NULL}, "", "create the store and the secret", ctl_init, false},
    {{"user", "add"}, "NAME [--group G]", "print id and access token, once", ctl_user_add, true},
    {{"user", "list"}, "", "all users", ctl_user_list, true},
    {{"user", "show"}, "ID", "one user", ctl_user_show, true},
    {{"user", "rotate"}, "ID", "print a new access token, void the old one", ctl_user_rotate, true},
    {{"user", "disable"}, "ID", "answer 403 to the user", ctl_user_disable, true},
    {{"user", "enable"}, "ID", "allow the user again", ctl_user_enable, true},
    {{"user", "delete"}, "ID", "delete the user and all its tokens", ctl_user_delete, true},
    {{"gateway", "add"}, "NAME", "print id and secret, once", ctl_gateway_add, true},
    {{"gateway", "list"}, "", "all gateways", ctl_gateway_list, true},
    {{"gateway", "delete"}, "ID", "void its secret", ctl_gateway_delete, true},
    {{"token", "list"}, "USER", "a user's tokens, newest first", ctl_token_list, true},
    {{"token", "show"}, "ID", "one token, without its key", ctl_token_show, true},
    {{"token", "disable"}, "ID", "refuse its key", ctl_token_disable, true},
    {{"token", "find"}, "KEY", "the token of a key; - reads it from stdin", ctl_token_find, true},
    {{"check", NULL}, "", "verify every record and index", ctl_check, true},
    {{"stat", NULL}, "", "users, tokens, bytes, map use, readers", ctl_stat, true},
};
/* clang-format on */

enum { COMMAND_COUNT = sizeof(commands) / sizeof(commands[0]) };

static int print_usage(FILE *to, int status)
{
    fputs("usage: tokenctl [--json] COMMAND\n\n", to);
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        const char *second = commands[i].words[1] ? commands[i].words[1] : "";
        fprintf(to, "  %-7s %-8s %-17s %s\n", commands[i].words[0], second, commands[i].argument,
                commands[i].description);
    }
    fputs("\nThe store is TOKEN_STORE's, its secret TOKEN_SECRET's. "
          "Exit status: 0 done, 1 failed, 2 wrong usage.\n",
          to);
    return status;
}

/* Takes the options out of the words, which stay in argv from its second on. Returns how many there
 * are, or -1 where an option is unknown or has no value. */
static int read_words(struct ctl *ctl, char **argv)
{
    bool options_end = false;
    char **words = argv + 1;
    int count = 0;
    for (argv++; *argv; argv++) {
        if (options_end || strncmp(*argv, "--", 2) != 0)
            words[count++] = *argv;
        else if (strcmp(*argv, "--") == 0)
            options_end = true;
        else if (strcmp(*argv, "--json") == 0)
            ctl->json = true;
        else if (strncmp(*argv, "--group=", strlen("--group=")) == 0)
            ctl->group = *argv + strlen("--group=");
        else if (strcmp(*argv, "--group") == 0 && argv[1])
            ctl->group = *++argv;
        else
            return -1;
    }
    words[count] = NULL;
    return count;
}

/* The command of the words, with ctl->argument and ctl->id set. NULL where they are none, or have
 * an argument too many or too few. */
static const struct command *find_command(struct ctl *ctl, char **words, int count)
{
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        const struct command *command = &commands[i];
        int used = command->words[1] ? 2 : 1;
        if (count < used || strcmp(words[0], command->words[0]) != 0 ||
            (used == 2 && strcmp(words[1], command->words[1]) != 0))
            continue;
        bool is_id = strcmp(command->argument, "ID") == 0 || strcmp(command->argument, "USER") == 0;
        ctl->argument = words[used];
        if (count != used + (command->argument[0] != '\0') ||
            (is_id && !number_parse(span_of(ctl->argument), &ctl->id)) ||
            (ctl->group && command->run != ctl_user_add))
            return NULL;
        return command;
    }
    return NULL;
}

/* Opens what the command needs, and gives up all other rights. */
static bool prepare(struct ctl *ctl, const struct command *command,
                    char reason[static STORE_REASON_SIZE])
{
    char level[128];
    const struct settings *settings = &ctl->settings;
    if (!settings_read(environ, &ctl->settings, reason, STORE_REASON_SIZE))
        return false;
    ctl->options = (struct store_options){.location = settings->store_path,
                                          .secret_path = settings->secret_path,
                                          .size_max = settings->map_size};
    if (!command->needs_store)
        return true;
    if (store_open(&ctl->options, &ctl->store, reason) != STORE_OK)
        return false;
    if (store_reader_open(ctl->store, &ctl->reader) != STORE_OK) {
        snprintf(reason, STORE_REASON_SIZE, "too many processes read the store");
        return false;
    }
    return !settings->sandbox || !sandbox_is_possible() ||
           sandbox_enter(settings->store_path, level, sizeof(level), reason, STORE_REASON_SIZE);
}

static int run(struct ctl *ctl, const struct command *command)
{
    char reason[STORE_REASON_SIZE];
    int status = prepare(ctl, command, reason) ? command->run(ctl) : ctl_fail(reason);
    if (status == CTL_DONE && fflush(stdout) != 0)
        status = ctl_fail("standard output can't be written");
    store_reader_close(ctl->reader);
    store_close(ctl->store);
    return status;
}

/* LMDB ends the process that meets some kinds of damage: so the command runs in a child. */
static int run_in_child(struct ctl *ctl, const struct command *command)
{
    int status;
    char reason[128];
    pid_t child = fork();
    if (child == 0)
        exit(run(ctl, command));
    if (child < 0 || waitpid(child, &status, 0) != child)
        return ctl_fail("no process can be started");
    if (WIFEXITED(status))
        return WEXITSTATUS(status);
    int number = WTERMSIG(status);
    bool damaged = number == SIGSEGV || number == SIGBUS || number == SIGABRT;
    snprintf(reason, sizeof(reason), "check ended by signal %d%s", number,
             damaged ? ": the store's pages are damaged; restore a backup" : "");
    return ctl_fail(reason);
}

int main(int argc, char **argv)
{
    struct ctl ctl = {.json = false};
    sandbox_close_inherited();
    signal(SIGXFSZ, SIG_IGN); /* a limit on file sizes is an error of a write, not the end */
    umask(S_IWGRP | S_IWOTH); /* workers pass through the folders that init makes */
    if (argc == 2 && strcmp(argv[1], "--help") == 0)
        return print_usage(stdout, CTL_DONE);
    const struct command *command = find_command(&ctl, argv + 1, read_words(&ctl, argv));
    if (!command)
        return print_usage(stderr, CTL_WRONG_USAGE);
    return command->run == ctl_check ? run_in_child(&ctl, command) : run(&ctl, command);
}
