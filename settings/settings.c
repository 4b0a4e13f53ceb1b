#include "settings/settings.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct setting {
    const char *name;
    bool (*set)(const struct setting *setting, const char *value, void *field);
    size_t offset; /* of the field in struct settings */
    const char *form;
    uint64_t min, max;    /* of numbers */
    bool is_size;         /* of numbers: with a unit */
    const char *yes, *no; /* of flags; no may be NULL */
};

/* ---- forms of values: false where the value has another form ---- */

static bool set_text(const struct setting *setting, const char *value, void *field)
{
    (void)setting;
    *(const char **)field = value;
    return true;
}

static bool set_flag(const struct setting *setting, const char *value, void *field)
{
    bool is_yes = strcmp(value, setting->yes) == 0;
    *(bool *)field = is_yes;
    return is_yes || (setting->no && strcmp(value, setting->no) == 0);
}

/* Decimal; of sizes, in bytes, with a unit behind it: K, M, G and T are powers of 1,024. */
static bool set_number(const struct setting *setting, const char *value, void *field)
{
    static const char units[] = "KMGT";
    uint64_t *number = field;
    char *end;
    if (value[0] < '0' || value[0] > '9') /* strtoull takes signs and blanks */
        return false;
    errno = 0;
    *number = strtoull(value, &end, 10);
    const char *unit = setting->is_size && *end ? strchr(units, *end) : NULL;
    unsigned shift = unit ? 10 * (unsigned)(unit - units + 1) : 0;
    if (errno != 0 || *(unit ? end + 1 : end) || *number > setting->max >> shift)
        return false;
    *number <<= shift;
    return *number >= setting->min;
}

/* An origin as of RFC 6454 section 7.1, scheme "://" host [ ":" port ], or "*". */
static bool set_origin(const struct setting *setting, const char *value, void *field)
{
    for (const char *c = value; *c; c++)
        if (*c <= ' ' || *c >= 0x7F)
            return false;
    const char *host = strstr(value, "://");
    return set_text(setting, value, field) &&
           (strcmp(value, "*") == 0 || (host && host > value && host[3] && !strchr(host + 3, '/')));
}

#define FIELD(name) offsetof(struct settings, name)

static const struct setting known[] = {
    {"TOKEN_STORE", set_text, FIELD(store_path), .form = "a folder"},
    {"TOKEN_SECRET", set_text, FIELD(secret_path), .form = "a file"},
    {"TOKEN_MAX_PER_USER", set_number, FIELD(max_per_user), .form = "a number, 0 for no limit",
     .max = INT64_MAX},
    {"TOKEN_NAME_MAX", set_number, FIELD(name_max), .form = "a number from 1 to 255", .min = 1,
     .max = 255},
    {"TOKEN_HTTP_STATUS", set_flag, FIELD(http_status_200), .form = "200, or empty", .yes = "200"},
    {"TOKEN_KEYS", set_flag, FIELD(mask_keys), .form = "shown or masked", .yes = "masked",
     .no = "shown"},
    {"TOKEN_CORS_ORIGIN", set_origin, FIELD(cors_origin),
     .form = "an origin such as https://example.org, or *"},
    {"TOKEN_SANDBOX", set_flag, FIELD(sandbox), .form = "on or off", .yes = "on", .no = "off"},
    {"TOKEN_MAP_SIZE", set_number, FIELD(map_size), .form = "a size from 1M to 64T, such as 64G",
     .min = UINT64_C(1) << 20, .max = UINT64_C(1) << 46, .is_size = true},
    {"TOKEN_WORKERS", set_number, FIELD(workers), .form = "a number from 1 to 1024", .min = 1,
     .max = 1024},
    {"TOKEN_THREADS", set_number, FIELD(threads), .form = "a number from 1 to 64", .min = 1,
     .max = 64},
    {"TOKEN_USER", set_text, FIELD(user), .form = "a user's name"},
};

/* Settings of spawn.sh only, and parameters of a request: plain CGI has them in its environment. */
static const char *const ignored[] = {
    "TOKEN_SOCKET", "TOKEN_SOCKET_MODE", "TOKEN_SOCKET_GROUP", "TOKEN_PIDFILE",     "TOKEN_BIN",
    "TOKEN_LOG",    "TOKEN_COST",        "TOKEN_MODEL",        "TOKEN_MODEL_CHECK",
};

/* The value of a variable, "NAME=value"; NULL if it has another name. */
static const char *value_of(const char *variable, const char *name)
{
    size_t len = strlen(name);
    return strncmp(variable, name, len) == 0 && variable[len] == '=' ? variable + len + 1 : NULL;
}

static bool read_variable(const char *variable, struct settings *settings, char *reason,
                          size_t reason_size)
{
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        const char *value = value_of(variable, known[i].name);
        if (!value)
            continue;
        if (!*value || known[i].set(&known[i], value, (char *)settings + known[i].offset))
            return true; /* empty counts as unset */
        snprintf(reason, reason_size, "%s must be %s", known[i].name, known[i].form);
        return false;
    }
    for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
        if (value_of(variable, ignored[i]))
            return true;
    snprintf(reason, reason_size, "%.*s is not a setting", (int)strcspn(variable, "="), variable);
    return false;
}

bool settings_read(char **environment, struct settings *settings, char *reason, size_t reason_size)
{
    *settings = (struct settings){
        .store_path = "/var/lib/token/store",
        .secret_path = "/etc/token/secret",
        .max_per_user = 1000,
        .name_max = 30,
        .map_size = UINT64_C(64) << 30,
        .sandbox = true,
    };
    for (; *environment; environment++)
        if (strncmp(*environment, "TOKEN_", strlen("TOKEN_")) == 0 &&
            !read_variable(*environment, settings, reason, reason_size))
            return false;
    /* Two loops in the pool at least: a peer that stalls in the middle of a request holds one. */
    if (settings->threads == 0)
        settings->threads = settings->workers > 1 ? 1 : 2;
    return true;
}
