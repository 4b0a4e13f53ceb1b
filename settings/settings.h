#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The values of token.conf and the environment. Strings are the environment's own, static, or in
 * the member file: a struct settings is not copied. */
struct settings {
    char file[32 * 1024]; /* token.conf's text */
    const char *store_path;
    const char *secret_path;
    const char *user;        /* the workers' user; NULL: not given */
    const char *socket;      /* where the pool answers: a path, or HOST:PORT */
    const char *shared;      /* the file of counters; NULL: beside the socket */
    const char *cors_origin; /* NULL: no CORS headers */
    const char *system_name; /* of /api/status */
    const char *timezone;    /* of days, refills and usage: a name of the tz database */
    uint64_t max_per_user;   /* tokens a user may have; 0: no limit */
    uint64_t name_max;       /* characters of a token's name, 1 to 255 */
    uint64_t quota_per_unit; /* quota units that are one unit of money, above 0 */
    uint64_t audit_days;     /* that audit records are kept, up to 36,500; 0: none are made */
    uint64_t map_size;       /* bytes of address space for the store */
    uint64_t workers;        /* processes in the pool; 0: not given */
    uint64_t threads;        /* event loops in this process, 1 to 64; 0: not given */
    bool mask_keys;          /* answers show keys masked */
    bool http_status_200;    /* failures other than 401 answer 200 */
    bool sandbox;            /* enter the sandbox once the store is open */
};

/* Reads the settings: token.conf, or the file that TOKEN_CONF names, and before it the environment.
 *
 *   environment   as main gets it: "NAME=value", ended by NULL. Names other than TOKEN_* are
 * ignored reason        one line, if the result is false
 *
 * Result: false if a TOKEN_* variable is unknown or its value malformed, or the file can't be
 * read or trusted. */
bool settings_read(char **environment, struct settings *settings, char *reason, size_t reason_size);

/* Event loops to run, by default as many as suit the store.
 *   reads_wait   a read may block, as it does over a network */
uint64_t settings_thread_count(const struct settings *settings, bool reads_wait);
