#include "base/sigbus.h"

#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char text[PATH_MAX + 160];
static const char *text_end;
static sigbus_report *report_fault;

/* It interrupts a read of the store's map, never a function that report calls. */
static void handle_sigbus(int signal_number)
{
    (void)signal_number;
    report_fault(text, text_end);
    _exit(EXIT_FAILURE);
}

bool sigbus_catch(sigbus_report *report, const char *folder, const char *ending)
{
    const struct sigaction action = {.sa_handler = handle_sigbus};
    snprintf(text, sizeof(text),
             "%s/data.mdb: a page can't be read (failing disk, or the file was truncated)", folder);
    text_end = ending;
    report_fault = report;
    return sigaction(SIGBUS, &action, NULL) == 0;
}
