#ifndef SETTINGS_SETTINGS_H
#define SETTINGS_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What the environment variables say; see README.md, "Settings". The strings are
 * the environment's own, or static. */
struct settings {
    const char *store_path;
    const char *secret_path;
    const char *user;        /* whom the workers run as; NULL where nothing was said */
    const char *cors_origin; /* NULL: no CORS headers */
    uint64_t max_per_user;   /* tokens a user may have; 0: no limit */
    bool mask_keys;          /* answers show keys masked */
    bool http_status_200;    /* failures other than 401 answer 200 */
    bool sandbox;            /* enter the sandbox once the store is open */
    unsigned threads;        /* event loops in one worker */
};

/* Reads the settings from an environment as main gets it. False, with one line for
 * people in reason, where a TOKEN_ variable is unknown or its value malformed. */
bool settings_read(char **environment, struct settings *settings, char *reason, size_t reason_size);

#endif
