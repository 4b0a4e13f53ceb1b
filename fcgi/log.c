#include "fcgi/log.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

void log_error(const char *message, const char *detail)
{
    char text[32];
    struct tm parts;
    const time_t now = time(NULL);
    strftime(text, sizeof(text), "%FT%TZ", gmtime_r(&now, &parts));
    fprintf(stderr, "%s token.fcgi[%d]: %s%s%s\n", text, getpid(), message, *detail ? ": " : "",
            detail);
}
