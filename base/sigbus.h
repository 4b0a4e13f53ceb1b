#pragma once

#include <stdbool.h>
#include <stddef.h>

/* Writes one line of a message and its detail. */
typedef void sigbus_report(const char *message, const char *detail);

/* A mapped file's page that the disk can't read, or that was cut off the file, is a SIGBUS: from
 * now on it ends the process with exit status 1 and one line on standard error.
 *   folder   of the file data.mdb, which the line names
 *   ending   the end of the line */
bool sigbus_catch(sigbus_report *report, const char *folder, const char *ending);

/* Excepts the mapped memory of a file from that: after a SIGBUS there it is private memory of
 * zeros, and one line names the path, which must live on. Of one file. Before any thread. */
void sigbus_spare(void *at, size_t size, const char *path);
