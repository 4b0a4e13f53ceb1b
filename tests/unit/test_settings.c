#include "tests/unit/unit.h"

#include <unistd.h>

#include "settings/settings.h"

static char reason[200];

/* An empty file, not this machine's /etc/token/token.conf. */
static char conf[] = "TOKEN_CONF=/tmp/token-unit-conf-XXXXXX";

static bool read_one(const char *variable, struct settings *settings)
{
    char *environment[] = {(char *)(uintptr_t)variable, conf, NULL};
    reason[0] = '\0';
    return settings_read(environment, settings, reason, sizeof(reason));
}

static void test_defaults(void **state)
{
    (void)state;
    char *environment[] = {conf, NULL};
    struct settings settings;
    assert_true(settings_read(environment, &settings, reason, sizeof(reason)));
    assert_string_equal(settings.store_path, "/var/lib/token/store");
    assert_string_equal(settings.secret_path, "/etc/token/secret");
    assert_null(settings.user);
    assert_null(settings.cors_origin);
    assert_int_equal(settings.max_per_user, 1000);
    assert_int_equal(settings.name_max, 30);
    assert_false(settings.http_status_200);
    assert_int_equal(settings.map_size, UINT64_C(64) << 30);
    assert_true(settings.sandbox);
    assert_false(settings.mask_keys);
    assert_string_equal(settings.timezone, "UTC");
    assert_int_equal(settings.audit_days, 90);
}

static void test_timezone(void **state)
{
    (void)state;
    static const char *const good[] = {
        "UTC",        "Europe/Berlin", "America/Argentina/Ushuaia", "Asia/Kathmandu",
        "Etc/GMT+12", "Etc/GMT-14"};
    static const char *const bad[] = {"Nowhere",
                                      "Europe",
                                      "Europe/",
                                      "/Europe/Berlin",
                                      "../zoneinfo/Europe/Berlin",
                                      "Europe/../UTC",
                                      ":Europe/Berlin",
                                      "CET-1CEST,M3.5.0,M10.5.0",
                                      "zone.tab",
                                      "zone1970.tab",
                                      " UTC"};
    struct settings settings;
    char variable[64];
    for (size_t i = 0; i < COUNT_OF(good); i++) {
        snprintf(variable, sizeof(variable), "TOKEN_TIMEZONE=%s", good[i]);
        require(read_one(variable, &settings), "%s", reason);
        assert_string_equal(settings.timezone, good[i]);
    }
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        snprintf(variable, sizeof(variable), "TOKEN_TIMEZONE=%s", bad[i]);
        require(!read_one(variable, &settings) && strstr(reason, "TOKEN_TIMEZONE"), "%s", bad[i]);
    }
    setenv("TZDIR", "/nonexistent", true); /* where tzset looks, too */
    assert_false(read_one("TOKEN_TIMEZONE=Europe/Berlin", &settings));
    assert_true(read_one("TOKEN_TIMEZONE=UTC", &settings)); /* needs no file */
    unsetenv("TZDIR");
}

/* Two event loops in the pool at least. */
static void test_default_threads(void **state)
{
    (void)state;
    static const struct {
        const char *variable;
        unsigned threads, threads_that_wait;
    } rows[] = {{"PATH=/bin", 2, 4},       {"TOKEN_WORKERS=", 2, 4},  {"TOKEN_WORKERS=1", 2, 4},
                {"TOKEN_WORKERS=2", 1, 4}, {"TOKEN_WORKERS=8", 1, 4}, {"TOKEN_THREADS=1", 1, 1}};
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct settings settings;
        require(read_one(rows[i].variable, &settings), "%s", rows[i].variable);
        require(settings_thread_count(&settings, false) == rows[i].threads &&
                    settings_thread_count(&settings, true) == rows[i].threads_that_wait,
                "%s", rows[i].variable);
    }
}

static void test_map_size(void **state)
{
    (void)state;
    static const struct {
        const char *value;
        uint64_t size; /* 0: malformed */
    } rows[] = {{"64G", UINT64_C(64) << 30},
                {"512M", UINT64_C(512) << 20},
                {"1M", UINT64_C(1) << 20},
                {"1024K", UINT64_C(1) << 20},
                {"1048576", UINT64_C(1) << 20},
                {"1048577", (UINT64_C(1) << 20) + 1},
                {"64T", UINT64_C(1) << 46},
                {"70368744177664", UINT64_C(1) << 46},
                {"70368744177665", 0},
                {"65T", 0},
                {"16777216T", 0}, /* 2^64 */
                {"18446744073709551615T", 0},
                {"18446744073709551616", 0},
                {"1048575", 0},
                {"1023K", 0},
                {"0", 0},
                {"0G", 0},
                {"-1G", 0},
                {"+1G", 0},
                {" 1G", 0},
                {"1 G", 0},
                {"1G ", 0},
                {"1g", 0},
                {"1GB", 0},
                {"1GG", 0},
                {"1.5G", 0},
                {"G", 0},
                {"unlimited", 0}};
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct settings settings;
        char variable[64];
        snprintf(variable, sizeof(variable), "TOKEN_MAP_SIZE=%s", rows[i].value);
        require(read_one(variable, &settings) == (rows[i].size != 0), "%s", variable);
        require(rows[i].size == 0 || settings.map_size == rows[i].size, "%s", variable);
        require(rows[i].size != 0 || strstr(reason, "TOKEN_MAP_SIZE"), "%s", reason);
    }
}

static void test_all_at_once(void **state)
{
    (void)state;
    char variables[][48] = {"PATH=/bin",
                            "TOKEN_STORE=/s",
                            "TOKEN_SECRET=/x=y",
                            "TOKEN_USER=www-data",
                            "TOKEN_CORS_ORIGIN=https://example.org:8443",
                            "TOKEN_MAX_PER_USER=7",
                            "TOKEN_HTTP_STATUS=200",
                            "TOKEN_THREADS=3",
                            "TOKENS_OTHER=1",
                            "token_store=/no"};
    char *environment[COUNT_OF(variables) + 2] = {[COUNT_OF(variables)] = conf};
    for (size_t i = 0; i < COUNT_OF(variables); i++)
        environment[i] = variables[i];
    struct settings settings;
    assert_true(settings_read(environment, &settings, reason, sizeof(reason)));
    assert_string_equal(settings.store_path, "/s");
    assert_string_equal(settings.secret_path, "/x=y");
    assert_string_equal(settings.user, "www-data");
    assert_string_equal(settings.cors_origin, "https://example.org:8443");
    assert_int_equal(settings.max_per_user, 7);
    assert_true(settings.http_status_200);
    assert_int_equal(settings.threads, 3);
}

/* Empty counts as unset. */
static void test_empty(void **state)
{
    (void)state;
    static const char *const names[] = {
        "TOKEN_STORE=", "TOKEN_SECRET=",      "TOKEN_MAX_PER_USER=", "TOKEN_HTTP_STATUS=",
        "TOKEN_USER=",  "TOKEN_CORS_ORIGIN=", "TOKEN_THREADS=",
    };
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        struct settings settings;
        require(read_one(names[i], &settings), "%s", names[i]);
        assert_string_equal(settings.store_path, "/var/lib/token/store");
        assert_string_equal(settings.secret_path, "/etc/token/secret");
        assert_int_equal(settings.max_per_user, 1000);
        assert_false(settings.http_status_200);
        assert_null(settings.cors_origin);
        assert_null(settings.user);
        assert_int_equal(settings.threads, 0);
    }
}

static void test_values(void **state)
{
    (void)state;
    static const struct {
        const char *variable;
        bool good;
    } rows[] = {
        {"TOKEN_MAX_PER_USER=0", true},
        {"TOKEN_MAX_PER_USER=9223372036854775807", true},
        {"TOKEN_MAX_PER_USER=9223372036854775808", false},
        {"TOKEN_MAX_PER_USER=18446744073709551616", false},
        {"TOKEN_MAX_PER_USER=99999999999999999999999", false},
        {"TOKEN_MAX_PER_USER=-1", false},
        {"TOKEN_MAX_PER_USER=+1", false},
        {"TOKEN_MAX_PER_USER= 1", false},
        {"TOKEN_MAX_PER_USER=1 ", false},
        {"TOKEN_MAX_PER_USER=1k", false},
        {"TOKEN_MAX_PER_USER=0x10", false},
        {"TOKEN_MAX_PER_USER=1.5", false},
        {"TOKEN_MAX_PER_USER=many", false},
        {"TOKEN_THREADS=1", true},
        {"TOKEN_THREADS=64", true},
        {"TOKEN_THREADS=0", false},
        {"TOKEN_THREADS=65", false},
        {"TOKEN_THREADS=-1", false},
        {"TOKEN_THREADS=4294967297", false},
        {"TOKEN_WORKERS=1", true},
        {"TOKEN_WORKERS=1024", true},
        {"TOKEN_WORKERS=0", false},
        {"TOKEN_WORKERS=1025", false},
        {"TOKEN_WORKERS=two", false},
        {"TOKEN_SANDBOX=on", true},
        {"TOKEN_SANDBOX=off", true},
        {"TOKEN_SANDBOX=0", false},
        {"TOKEN_KEYS=masked", true},
        {"TOKEN_KEYS=shown", true},
        {"TOKEN_KEYS=hidden", false},
        {"TOKEN_HTTP_STATUS=200", true},
        {"TOKEN_HTTP_STATUS=0200", false},
        {"TOKEN_HTTP_STATUS=201", false},
        {"TOKEN_HTTP_STATUS=2000", false},
        {"TOKEN_HTTP_STATUS=yes", false},
        {"TOKEN_CORS_ORIGIN=*", true},
        {"TOKEN_CORS_ORIGIN=https://example.org", true},
        {"TOKEN_CORS_ORIGIN=http://[::1]:3000", true},
        {"TOKEN_CORS_ORIGIN=**", false},
        {"TOKEN_CORS_ORIGIN=example.org", false},
        {"TOKEN_CORS_ORIGIN=://example.org", false},
        {"TOKEN_CORS_ORIGIN=https://", false},
        {"TOKEN_CORS_ORIGIN=https://example.org/", false},
        {"TOKEN_CORS_ORIGIN=https://a https://b", false},
        {"TOKEN_CORS_ORIGIN=https://a\r\nSet-Cookie: x=y", false}, /* no header of one's own */
        {"TOKEN_CORS_ORIGIN=https://a\nb", false},
        {"TOKEN_CORS_ORIGIN=https://\xC3\xA9.example", false},
        {"TOKEN_CORS_ORIGIN=https://\x7F.example", false},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct settings settings;
        require(read_one(rows[i].variable, &settings) == rows[i].good, "%s", rows[i].variable);
        char name[32] = "";
        memcpy(name, rows[i].variable, strcspn(rows[i].variable, "="));
        require(rows[i].good || strstr(reason, name), "%s is not named: %s", name, reason);
    }
}

static void test_unknown_variables(void **state)
{
    (void)state;
    static const char *const unknown[] = {
        "TOKEN_",    "TOKEN_=1",       "TOKEN_STOR=/x", "TOKEN_STORES=/x", "TOKEN_MAXPERUSER=1",
        "TOKEN_DB=", "TOKEN_store=/x",
    };
    for (size_t i = 0; i < COUNT_OF(unknown); i++) {
        struct settings settings;
        require(!read_one(unknown[i], &settings), "%s", unknown[i]);
        size_t len = strcspn(unknown[i], "=");
        require(strncmp(reason, unknown[i], len) == 0, "%s is not named: %s", unknown[i], reason);
    }
}

/* Settings that only spawn.sh uses. */
static void test_variables_of_spawn_sh(void **state)
{
    (void)state;
    static const char *const theirs[] = {
        "TOKEN_SOCKET=/run/x", "TOKEN_SOCKET_MODE=0660", "TOKEN_SOCKET_GROUP=www-data",
        "TOKEN_WORKERS=4",     "TOKEN_PIDFILE=/run/pid", "TOKEN_BIN=build/token.fcgi",
        "TOKEN_LOG=/log",
    };
    for (size_t i = 0; i < COUNT_OF(theirs); i++) {
        struct settings settings;
        require(read_one(theirs[i], &settings), "%s", theirs[i]);
    }
}

static void test_a_long_name_is_cut(void **state)
{
    (void)state;
    char variable[2000], small[16];
    memset(variable, 'X', sizeof(variable) - 1);
    variable[sizeof(variable) - 1] = '\0';
    memcpy(variable, "TOKEN_", 6);
    char *environment[] = {variable, conf, NULL};
    struct settings settings;
    assert_false(settings_read(environment, &settings, small, sizeof(small)));
    assert_string_equal(small, "TOKEN_XXXXXXXXX");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_default_threads),
        cmocka_unit_test(test_timezone),
        cmocka_unit_test(test_map_size),
        cmocka_unit_test(test_all_at_once),
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_unknown_variables),
        cmocka_unit_test(test_variables_of_spawn_sh),
        cmocka_unit_test(test_a_long_name_is_cut),
    };
    int fd = mkstemp(conf + strlen("TOKEN_CONF="));
    if (fd < 0)
        return 1;
    int failed = cmocka_run_group_tests_name("settings", tests, NULL, NULL);
    close(fd);
    unlink(conf + strlen("TOKEN_CONF="));
    return failed;
}
