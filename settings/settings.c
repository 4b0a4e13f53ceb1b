#include "settings/settings.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char default_file[] = "/etc/token/token.conf";

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

/* Settings of spawn.sh only. */
static const char *const ignored[] = {
    "TOKEN_SOCKET",  "TOKEN_SOCKET_MODE", "TOKEN_SOCKET_GROUP",
    "TOKEN_PIDFILE", "TOKEN_BIN",         "TOKEN_LOG",
};

/* Not in the file: its own name, and parameters of a request, which plain CGI has in its
 * environment. */
static const char *const environment_only[] = {
    "TOKEN_CONF",
    "TOKEN_COST",
    "TOKEN_MODEL",
    "TOKEN_MODEL_CHECK",
};

/* The value of a variable, "NAME=value"; NULL if it has another name. */
static const char *value_of(const char *variable, const char *name)
{
    size_t len = strlen(name);
    return strncmp(variable, name, len) == 0 && variable[len] == '=' ? variable + len + 1 : NULL;
}

static bool is_one_of(const char *variable, const char *const *names, size_t count)
{
    size_t i = 0;
    while (i < count && !value_of(variable, names[i]))
        i++;
    return i < count;
}

static bool read_variable(const char *variable, struct settings *settings, bool is_in_file,
                          char *reason, size_t reason_size)
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
    if (is_one_of(variable, ignored, sizeof(ignored) / sizeof(ignored[0])) ||
        strncmp(variable, "TOKEN_TEST_", strlen("TOKEN_TEST_")) == 0 ||
        (!is_in_file && is_one_of(variable, environment_only,
                                  sizeof(environment_only) / sizeof(environment_only[0]))))
        return true;
    snprintf(reason, reason_size, "%.*s is not a setting", (int)strcspn(variable, "="), variable);
    return false;
}

/* ---- token.conf ---- */

/* Why the file is not to be read; NULL if it is. */
static const char *read_text(int fd, struct settings *settings, mode_t *mode)
{
    struct stat status;
    if (fd < 0 || fstat(fd, &status) != 0)
        return strerror(errno);
    if (!S_ISREG(status.st_mode))
        return "is no file";
    if (status.st_uid != 0 && status.st_uid != geteuid())
        return "belongs to neither root nor the caller";
    if (status.st_mode & (S_IWGRP | S_IWOTH))
        return "others can write to it";
    *mode = status.st_mode;
    ssize_t len = read(fd, settings->file, sizeof(settings->file));
    if (len < 0)
        return strerror(errno);
    if ((size_t)len == sizeof(settings->file) || strlen(settings->file) < (size_t)len)
        return "is too long, or has a NUL byte";
    return NULL;
}

/* As of libpq's URIs: //USER:PASSWORD@HOST, or a parameter. */
static bool has_password(const char *store)
{
    const char *user = strstr(store, "://");
    if (!user)
        return false;
    user += strlen("://");
    const char *at = strchr(user, '@'), *colon = strchr(user, ':');
    return (at && colon && colon < at) || strstr(user, "password=");
}

/* The same for this program, a shell and systemd's EnvironmentFile. */
static bool read_line(const char *line, struct settings *settings, mode_t mode, char *reason,
                      size_t reason_size)
{
    size_t len = strlen(line), blanks = strspn(line, " \t\r\v\f");
    const char *value = strchr(line, '='), *why = NULL;
    const char *store = value_of(line, "TOKEN_STORE");
    if (len > 0 && line[len - 1] == '\\')
        why = "a line does not go on behind \\";
    else if (blanks == len || line[blanks] == '#')
        return true;
    else if (!value || strncmp(line, "TOKEN_", strlen("TOKEN_")) != 0)
        why = "not NAME=value with a setting's name";
    else if (strpbrk(value, "\"'\\$"))
        why = "a value has no quotes, \\ or $";
    else if (isspace((unsigned char)value[1]) || isspace((unsigned char)line[len - 1]))
        why = "a value has no blanks at its ends";
    else if (store && has_password(store) && mode & S_IROTH)
        why = "a password, and others can read the file";
    else
        return read_variable(line, settings, true, reason, reason_size);
    snprintf(reason, reason_size, "%s", why);
    return false;
}

static bool read_file(const char *path, struct settings *settings, char *reason, size_t reason_size)
{
    char why[160];
    mode_t mode = 0;
    int fd = open(path ? path : default_file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 && !path && (errno == ENOENT || errno == ENOTDIR))
        return true;
    const char *refusal = read_text(fd, settings, &mode);
    if (fd >= 0)
        close(fd);
    path = path ? path : default_file;
    if (refusal) {
        snprintf(reason, reason_size, "TOKEN_CONF: %s: %s", path, refusal);
        return false;
    }
    unsigned number = 1;
    for (char *line = settings->file, *end; *line; line = end, number++) {
        end = line + strcspn(line, "\n");
        if (*end)
            *end++ = '\0';
        if (!read_line(line, settings, mode, why, sizeof(why))) {
            snprintf(reason, reason_size, "TOKEN_CONF: %s:%u: %s", path, number, why);
            return false;
        }
    }
    return true;
}

bool settings_read(char **environment, struct settings *settings, char *reason, size_t reason_size)
{
    *settings = (struct settings){
        .store_path = "/var/lib/token/store",
        .secret_path = "/etc/token/secret",
        .max_per_user = 1000,
        .map_size = UINT64_C(64) << 30,
        .sandbox = true,
    };
    const char *path = NULL;
    for (char **variable = environment; *variable; variable++) {
        const char *value = value_of(*variable, "TOKEN_CONF");
        path = value && *value ? value : path;
    }
    if (!read_file(path, settings, reason, reason_size))
        return false;
    for (; *environment; environment++)
        if (strncmp(*environment, "TOKEN_", strlen("TOKEN_")) == 0 &&
            !read_variable(*environment, settings, false, reason, reason_size))
            return false;
    /* Two loops in the pool at least: a peer that stalls in the middle of a request holds one. */
    if (settings->threads == 0)
        settings->threads = settings->workers > 1 ? 1 : 2;
    return true;
}
