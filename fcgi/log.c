#include "fcgi/log.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

/* No stream of stdio and no strftime: they may allocate. gmtime_r does not after main's tzset. */
void log_error(const char *message, const char *detail)
{
    char line[8192];
    struct tm utc;
    const time_t now = time(NULL);
    gmtime_r(&now, &utc);
    int len = snprintf(line, sizeof(line), "%d-%02d-%02dT%02d:%02d:%02dZ token.fcgi[%d]: %s%s%s",
                       utc.tm_year + 1900, utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min,
                       utc.tm_sec, getpid(), message, *detail ? ": " : "", detail);
    size_t end = (size_t)len < sizeof(line) - 1 ? (size_t)len : sizeof(line) - 2;
    line[end] = '\n';
    (void)!write(STDERR_FILENO, line, end + 1);
}
