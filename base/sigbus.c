#include "base/sigbus.h"

#include <limits.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static char text[PATH_MAX + 160];
static const char *text_end;
static sigbus_report *report_fault;

/* Memory of a file that can be done without. */
static struct {
    char *at;
    size_t size;
    const char *path;
} spare;

/* It interrupts an access to mapped memory, never a function that report calls. */
static void handle_sigbus(int signal_number, siginfo_t *info, void *context)
{
    (void)signal_number, (void)context;
    uintptr_t offset = (uintptr_t)info->si_addr - (uintptr_t)spare.at;
    if (offset < spare.size && mmap(spare.at, spare.size, PROT_READ | PROT_WRITE,
                                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == spare.at) {
        report_fault(spare.path, "was truncated or can't be read: going on without it");
        return;
    }
    report_fault(text, text_end);
    _exit(EXIT_FAILURE);
}

bool sigbus_catch(sigbus_report *report, const char *folder, const char *ending)
{
    const struct sigaction action = {.sa_sigaction = handle_sigbus, .sa_flags = SA_SIGINFO};
    snprintf(text, sizeof(text),
             "%s/data.mdb: a page can't be read (failing disk, or the file was truncated)", folder);
    text_end = ending;
    report_fault = report;
    return sigaction(SIGBUS, &action, NULL) == 0;
}

void sigbus_spare(void *at, size_t size, const char *path)
{
    spare.path = path;
    spare.size = size;
    spare.at = at;
}
