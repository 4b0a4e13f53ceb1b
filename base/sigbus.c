#include "base/sigbus.h"

#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char text[PATH_MAX + 160]; /* a handler may not format */

static void handle_sigbus(int signal_number)
{
    (void)signal_number;
    (void)!write(STDERR_FILENO, text, strlen(text));
    _exit(EXIT_FAILURE);
}

bool sigbus_catch(const char *program, const char *folder, const char *ending)
{
    const struct sigaction action = {.sa_handler = handle_sigbus};
    snprintf(text, sizeof(text),
             "%s: %s/data.mdb: a page can't be read (failing disk, or the file was truncated): "
             "%s\n",
             program, folder, ending);
    return sigaction(SIGBUS, &action, NULL) == 0;
}
