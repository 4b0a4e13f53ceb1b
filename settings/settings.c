#include "settings/settings.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool read_number(const char *text, uint64_t min, uint64_t max, uint64_t *number)
{
    if (text[0] < '0' || text[0] > '9') /* strtoull takes signs and blanks */
        return false;
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno || *end || value < min || value > max)
        return false;
    *number = value;
    return true;
}

static bool set_store(const char *value, struct settings *settings)
{
    settings->store_path = value;
    return true;
}

static bool set_secret(const char *value, struct settings *settings)
{
    settings->secret_path = value;
    return true;
}

static bool set_user(const char *value, struct settings *settings)
{
    settings->user = value;
    return true;
}

static bool set_max_per_user(const char *value, struct settings *settings)
{
    return read_number(value, 0, INT64_MAX, &settings->max_per_user);
}

static bool set_http_status(const char *value, struct settings *settings)
{
    settings->http_status_200 = strcmp(value, "200") == 0;
    return settings->http_status_200;
}

static bool set_keys(const char *value, struct settings *settings)
{
    settings->mask_keys = strcmp(value, "masked") == 0;
    return settings->mask_keys || strcmp(value, "shown") == 0;
}

static bool set_cors_origin(const char *value, struct settings *settings)
{
    settings->cors_origin = value;
    for (const char *c = value; *c; c++)
        if (*c <= ' ' || *c >= 0x7F)
            return false;
    /* RFC 6454 section 7.1: scheme "://" host [ ":" port ], no path */
    const char *host = strstr(value, "://");
    return strcmp(value, "*") == 0 || (host && host > value && host[3] && !strchr(host + 3, '/'));
}

static bool set_sandbox(const char *value, struct settings *settings)
{
    settings->sandbox = strcmp(value, "on") == 0;
    return settings->sandbox || strcmp(value, "off") == 0;
}

static bool set_threads(const char *value, struct settings *settings)
{
    uint64_t threads;
    if (!read_number(value, 1, 64, &threads))
        return false;
    settings->threads = (unsigned)threads;
    return true;
}

/* Known, and somebody else's: spawn.sh's own, and the parameters that a web
 * server may give each request, which plain CGI hands over as environment. */
static bool pass_over(const char *value, struct settings *settings)
{
    (void)value;
    (void)settings;
    return true;
}

static const struct {
    const char *name;
    bool (*set)(const char *value, struct settings *settings);
    const char *form;
} known[] = {
    {"TOKEN_STORE", set_store, "a folder"},
    {"TOKEN_SECRET", set_secret, "a file"},
    {"TOKEN_MAX_PER_USER", set_max_per_user, "a number, 0 for no limit"},
    {"TOKEN_HTTP_STATUS", set_http_status, "200, or empty"},
    {"TOKEN_CORS_ORIGIN", set_cors_origin, "an origin such as https://example.org, or *"},
    {"TOKEN_KEYS", set_keys, "shown or masked"},
    {"TOKEN_SANDBOX", set_sandbox, "on or off"},
    {"TOKEN_THREADS", set_threads, "a number from 1 to 64"},
    {"TOKEN_USER", set_user, "a user's name"},
    {"TOKEN_SOCKET", pass_over, ""},
    {"TOKEN_SOCKET_MODE", pass_over, ""},
    {"TOKEN_SOCKET_GROUP", pass_over, ""},
    {"TOKEN_WORKERS", pass_over, ""},
    {"TOKEN_PIDFILE", pass_over, ""},
    {"TOKEN_BIN", pass_over, ""},
    {"TOKEN_LOG", pass_over, ""},
    {"TOKEN_COST", pass_over, ""},
    {"TOKEN_MODEL", pass_over, ""},
};

static bool read_variable(const char *variable, struct settings *settings, char *reason,
                          size_t reason_size)
{
    size_t name_len = strcspn(variable, "=");
    const char *value = variable[name_len] ? variable + name_len + 1 : "";
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (strlen(known[i].name) != name_len || strncmp(variable, known[i].name, name_len) != 0)
            continue;
        if (*value == '\0' || known[i].set(value, settings)) /* empty is as good as unset */
            return true;
        snprintf(reason, reason_size, "%s must be %s", known[i].name, known[i].form);
        return false;
    }
    snprintf(reason, reason_size, "%.*s is not a setting", (int)name_len, variable);
    return false;
}

bool settings_read(char **environment, struct settings *settings, char *reason, size_t reason_size)
{
    *settings = (struct settings){
        .store_path = "/var/lib/token/store",
        .secret_path = "/etc/token/secret",
        .max_per_user = 1000,
        .threads = 1,
        .sandbox = true,
    };
    for (; *environment; environment++)
        if (strncmp(*environment, "TOKEN_", strlen("TOKEN_")) == 0 &&
            !read_variable(*environment, settings, reason, reason_size))
            return false;
    return true;
}
