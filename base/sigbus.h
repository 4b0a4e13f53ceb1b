#ifndef BASE_SIGBUS_H
#define BASE_SIGBUS_H

#include <stdbool.h>

/* A mapped file's page that the disk can't read, or that was cut off the file, is a SIGBUS: from
 * now on it ends the process with exit status 1 and one line on standard error.
 *   program   the beginning of the line
 *   folder    of the file data.mdb, which the line names
 *   ending    the end of the line */
bool sigbus_catch(const char *program, const char *folder, const char *ending);

#endif
