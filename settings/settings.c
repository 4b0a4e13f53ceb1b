#include "settings/settings.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"

static const char default_file[] = SYSCONFDIR "/token/token.conf";

struct setting {
    const char *name;
    bool (*set)(const struct setting *setting, const char *value, void *field); /* NULL: ignored */
    size_t offset; /* of the field in struct settings */
    const char *form;
    uint64_t min, max;    /* of numbers */
    bool is_size;         /* of numbers: with a unit */
    bool is_not_in_file;  /* of the environment only */
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

/* What clients show as the site's name. */
static bool set_name(const struct setting *setting, const char *value, void *field)
{
    return strlen(value) <= setting->max && text_is_utf8(span_of(value)) &&
           !text_has_control(span_of(value)) && set_text(setting, value, field);
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

/* A name of the tz database whose file tzset will find. */
static bool set_zone(const struct setting *setting, const char *value, void *field)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+-/";
    const char *folder = getenv("TZDIR");
    char path[4096], magic[4] = "";
    snprintf(path, sizeof(path), "%s/%s", folder && *folder ? folder : "/usr/share/zoneinfo",
             value);
    bool is_name = value[0] != '/' && value[strspn(value, allowed)] == '\0';
    int fd = is_name ? open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK) : -1;
    bool is_zone = fd >= 0 && read(fd, magic, sizeof(magic)) == sizeof(magic) &&
                   memcmp(magic, "TZif", sizeof(magic)) == 0; /* RFC 8536 */
    if (fd >= 0)
        close(fd);
    return set_text(setting, value, field) && (is_zone || strcmp(value, "UTC") == 0);
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
    {"TOKEN_SYSTEM_NAME", set_name, FIELD(system_name),
     .form = "a name in UTF-8 of at most 255 bytes", .max = 255},
    {"TOKEN_QUOTA_PER_UNIT", set_number, FIELD(quota_per_unit), .form = "a number above 0",
     .min = 1, .max = INT64_MAX},
    {"TOKEN_TIMEZONE", set_zone, FIELD(timezone),
     .form = "a time zone of /usr/share/zoneinfo, such as Europe/Berlin"},
    {"TOKEN_AUDIT_DAYS", set_number, FIELD(audit_days), .form = "a number from 0 to 36500",
     .max = 36500},
    {"TOKEN_SANDBOX", set_flag, FIELD(sandbox), .form = "on or off", .yes = "on", .no = "off"},
    {"TOKEN_MAP_SIZE", set_number, FIELD(map_size), .form = "a size from 1M to 64T, such as 64G",
     .min = UINT64_C(1) << 20, .max = UINT64_C(1) << 46, .is_size = true},
    {"TOKEN_WORKERS", set_number, FIELD(workers), .form = "a number from 1 to 1024", .min = 1,
     .max = 1024},
    {"TOKEN_THREADS", set_number, FIELD(threads), .form = "a number from 1 to 64", .min = 1,
     .max = 64},
    {"TOKEN_SHARED", set_text, FIELD(shared), .form = "a file"},
    {"TOKEN_USER", set_text, FIELD(user), .form = "a user's name"},
    {"TOKEN_SOCKET", set_text, FIELD(socket), .form = "a path, or HOST:PORT"},
    /* Of spawn.sh only. */
    {.name = "TOKEN_SOCKET_MODE"},
    {.name = "TOKEN_SOCKET_GROUP"},
    {.name = "TOKEN_PIDFILE"},
    {.name = "TOKEN_BIN"},
    {.name = "TOKEN_LOG"},
    /* The file's own name, and parameters of a request, which plain CGI has in its environment. */
    {.name = "TOKEN_CONF", .is_not_in_file = true},
    {.name = "TOKEN_COST", .is_not_in_file = true},
    {.name = "TOKEN_MODEL", .is_not_in_file = true},
    {.name = "TOKEN_MODEL_CHECK", .is_not_in_file = true},
};

/* The value of a variable, "NAME=value"; NULL if it has another name. */
static const char *value_of(const char *variable, const char *name)
{
    size_t len = strlen(name);
    return strncmp(variable, name, len) == 0 && variable[len] == '=' ? variable + len + 1 : NULL;
}

/* A variable, or a line of token.conf; another program's name is no error. */
static bool read_variable(const char *variable, bool is_in_file, struct settings *settings,
                          char *reason, size_t reason_size)
{
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        const char *value = value_of(variable, known[i].name);
        if (!value || (is_in_file && known[i].is_not_in_file))
            continue;
        if (!*value || !known[i].set ||
            known[i].set(&known[i], value, (char *)settings + known[i].offset))
            return true; /* empty counts as unset */
        snprintf(reason, reason_size, "%s must be %s", known[i].name, known[i].form);
        return false;
    }
    if (strncmp(variable, "TOKEN_", strlen("TOKEN_")) != 0 ||
        strncmp(variable, "TOKEN_TEST_", strlen("TOKEN_TEST_")) == 0)
        return true;
    snprintf(reason, reason_size, "%.*s is not a setting%s", (int)strcspn(variable, "="), variable,
             is_in_file ? " of the file" : "");
    return false;
}

/* ---- token.conf ---- */

/* Whether the store is a URI of libpq with a password: //USER:PASSWORD@HOST, or a parameter. */
static bool has_password(const char *store)
{
    const char *user = strstr(store, "://");
    const char *at = user ? strchr(user, '@') : NULL, *colon = user ? strchr(user + 1, ':') : NULL;
    return user && ((at && colon && colon < at) || strstr(user, "password="));
}

/* Why a line is wrong; NULL: it is not. What this program, a shell and systemd's EnvironmentFile
 * would read differently is an error. */
static const char *check_line(const char *line, mode_t mode)
{
    size_t len = strlen(line), blanks = strspn(line, " \t\r\v\f");
    const char *value = strchr(line, '='), *store = value_of(line, "TOKEN_STORE");
    if (len > 0 && line[len - 1] == '\\')
        return "a line does not go on behind \\";
    if (blanks == len || line[blanks] == '#')
        return NULL;
    if (!value || strncmp(line, "TOKEN_", strlen("TOKEN_")) != 0)
        return "not NAME=value with a setting's name";
    if (strpbrk(value, "\"'\\$"))
        return "a value has no quotes, \\ or $";
    if (isspace((unsigned char)value[1]) || isspace((unsigned char)line[len - 1]))
        return "a value has no blanks at its ends";
    return store && has_password(store) && mode & S_IROTH ? "has a password, and others can read it"
                                                          : NULL;
}

/* Why the file is not read; NULL: it is, into settings->file. */
static const char *read_text(int fd, struct settings *settings, struct stat *status)
{
    if (fd < 0 || fstat(fd, status) != 0)
        return strerror(errno);
    if (!S_ISREG(status->st_mode))
        return "is not a regular file";
    if (status->st_uid != 0 && status->st_uid != geteuid())
        return "belongs to neither root nor the caller";
    if (status->st_mode & (S_IWGRP | S_IWOTH))
        return "others can write to it";
    ssize_t len = read(fd, settings->file, sizeof(settings->file));
    if (len < 0)
        return strerror(errno);
    bool is_cut = (size_t)len == sizeof(settings->file) || strlen(settings->file) < (size_t)len;
    return is_cut ? "is too long, or has a NUL byte" : NULL;
}

/* path: TOKEN_CONF, or NULL for the default, which need not exist. */
static bool read_file(const char *path, struct settings *settings, char *reason, size_t reason_size)
{
    struct stat status = {.st_mode = 0};
    int fd = open(path ? path : default_file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 && !path && (errno == ENOENT || errno == ENOTDIR))
        return true;
    path = path ? path : default_file;
    const char *why = read_text(fd, settings, &status);
    if (fd >= 0)
        close(fd);
    if (why)
        snprintf(reason, reason_size, "TOKEN_CONF: %s: %s", path, why);
    unsigned number = 1;
    for (char *line = settings->file, *end; !why && *line; line = end, number++) {
        end = line + strcspn(line, "\n");
        if (*end)
            *end++ = '\0';
        int len = snprintf(reason, reason_size, "TOKEN_CONF: %s:%u: ", path, number);
        size_t head = (size_t)len < reason_size ? (size_t)len : reason_size;
        why = check_line(line, status.st_mode);
        if (why)
            snprintf(reason + head, reason_size - head, "%s", why);
        else if (!read_variable(line, true, settings, reason + head, reason_size - head))
            return false;
    }
    return !why;
}

bool settings_read(char **environment, struct settings *settings, char *reason, size_t reason_size)
{
    *settings = (struct settings){
        .store_path = "/var/lib/token/store",
        .secret_path = SYSCONFDIR "/token/secret",
        .max_per_user = 1000,
        .name_max = 30,
        .system_name = "token",
        .quota_per_unit = 500000,
        .timezone = "UTC",
        .socket = "/run/token/token.sock",
        .audit_days = 90,
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
        if (!read_variable(*environment, false, settings, reason, reason_size))
            return false;
    return true;
}

uint64_t settings_thread_count(const struct settings *settings, bool reads_wait)
{
    enum { WHILE_OTHERS_WAIT = 4 };
    if (settings->threads != 0)
        return settings->threads;
    if (reads_wait)
        return WHILE_OTHERS_WAIT;
    /* Two loops in the pool at least: a peer that stalls in the middle of a request holds one. */
    return settings->workers > 1 ? 1 : 2;
}
