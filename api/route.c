#include "api/route.h"

#include <stdio.h>

#include "api/handlers.h"
#include "base/number.h"

/* clang-format off */
static const struct route routes[] = {
    {ROUTE_TOKEN, "GET", "/", ROUTE_USER, list_begin, page_render},
    {ROUTE_TOKEN, "POST", "/", ROUTE_OWNER, create_begin, create_render},
    {ROUTE_TOKEN, "PUT", "/", ROUTE_USER, update_begin, update_render},
    {ROUTE_TOKEN, "GET", "/search", ROUTE_USER, search_begin, page_render},
    {ROUTE_TOKEN, "POST", "/search", ROUTE_USER, search_begin, page_render},
    {ROUTE_TOKEN, "GET", "/:id", ROUTE_USER, get_begin, NULL},
    {ROUTE_TOKEN, "DELETE", "/:id", ROUTE_USER, delete_begin, delete_render},
    {ROUTE_TOKEN, "POST", "/:id/key", ROUTE_OWNER, key_begin, NULL},
    {ROUTE_TOKEN, "POST", "/:id/rotate", ROUTE_OWNER, rotate_begin, update_render},
    {ROUTE_TOKEN, "GET", "/:id/usage", ROUTE_USER, token_days_begin, NULL},
    {ROUTE_TOKEN, "POST", "/batch", ROUTE_USER, delete_batch_begin, delete_batch_render},
    {ROUTE_TOKEN, "POST", "/batch/status", ROUTE_USER, status_batch_begin, status_batch_render},
    {ROUTE_TOKEN, "POST", "/batch/keys", ROUTE_OWNER, keys_begin, NULL},
    {ROUTE_TOKEN, "POST", "/find", ROUTE_ADMIN, find_begin, NULL},
    {ROUTE_TOKEN, "*", "/verify", ROUTE_KEY, verify_begin, verify_render},
    {ROUTE_TOKEN, "POST", "/consume", ROUTE_GATEWAY, consume_begin, consume_render},
    {ROUTE_TOKEN, "POST", "/reserve", ROUTE_GATEWAY, reserve_begin, consume_render},
    {ROUTE_TOKEN, "POST", "/settle", ROUTE_GATEWAY, settle_begin, settle_render},
    {ROUTE_TOKEN, "POST", "/cancel", ROUTE_GATEWAY, cancel_begin, settle_render},
    {ROUTE_USAGE, "GET", "/", ROUTE_KEY, usage_begin, NULL},
    {ROUTE_USAGE, "GET", "/days", ROUTE_KEY, key_days_begin, NULL},
    {ROUTE_BILLING, "GET", "/subscription", ROUTE_KEY, subscription_begin, NULL},
    {ROUTE_BILLING, "GET", "/usage", ROUTE_KEY, billing_usage_begin, NULL},
    {ROUTE_STATUS, "GET", "/", ROUTE_ANYONE, site_begin, NULL},
    {ROUTE_HEALTH, "GET", "", ROUTE_ANYONE, health_begin, NULL},
    {ROUTE_METRICS, "GET", "", ROUTE_ANYONE, metrics_begin, metrics_render},
    {ROUTE_USERS, "GET", "/self", ROUTE_USER, self_begin, NULL},
    {ROUTE_USERS, "POST", "/self/rotate", ROUTE_USER, self_rotate_begin, user_change_render},
    {ROUTE_USERS, "GET", "/self/groups", ROUTE_USER, self_groups_begin, NULL},
    {ROUTE_USERS, "GET", "/self/usage", ROUTE_USER, user_days_begin, NULL},
    {ROUTE_USERS, "GET", "/models", ROUTE_USER, models_begin, NULL},
    {ROUTE_USERS, "GET", "/", ROUTE_ADMIN, users_begin, page_render},
    {ROUTE_USERS, "POST", "/", ROUTE_ADMIN, user_add_begin, user_add_render},
    {ROUTE_USERS, "PUT", "/", ROUTE_ADMIN, user_update_begin, user_change_render},
    {ROUTE_USERS, "GET", "/search", ROUTE_ADMIN, users_begin, page_render},
    {ROUTE_USERS, "POST", "/manage", ROUTE_ADMIN, user_manage_begin, user_change_render},
    {ROUTE_USERS, "GET", "/:id", ROUTE_ADMIN, user_get_begin, NULL},
    {ROUTE_USERS, "DELETE", "/:id", ROUTE_ADMIN, user_delete_begin, user_change_render},
    {ROUTE_LOG, "GET", "/", ROUTE_ADMIN, log_begin, log_render},
    {ROUTE_LOG, "GET", "/self", ROUTE_USER, log_self_begin, log_render},
};
/* clang-format on */

enum { ROUTE_COUNT = sizeof(routes) / sizeof(routes[0]) };

/* By enum route_root. */
static const char *const roots[] = {
    "/api/token", "/api/usage/token", "/api/status", "/v1/dashboard/billing",
    "/api/user",  "/api/log",         "/healthz",    "/metrics",
};

/* Takes the first root off, with a prefix of the site before it (/gateway/api/token). Those of
 * monitors have none, as their names could end a path of anybody's (/API/TOKEN/metrics). */
static bool strip_root(struct span *path, enum route_root *root)
{
    for (struct span rest = *path; rest.len > 0; rest = span_from(rest, 1))
        for (size_t i = 0; i < sizeof(roots) / sizeof(roots[0]); i++) {
            struct span name = span_of(roots[i]);
            if (!span_starts_with(rest, name) || (rest.len > name.len && rest.at[name.len] != '/'))
                continue;
            if (i >= ROUTE_HEALTH && rest.at != path->at)
                continue;
            *path = span_from(rest, name.len);
            *root = (enum route_root)i;
            return true;
        }
    *root = ROUTE_TOKEN;
    return false;
}

/* In nginx's subrequest (auth_request) the method and most variables are the original request's;
 * only DOCUMENT_URI is the location's own path. */
static bool is_verify(struct span document_uri)
{
    enum route_root root;
    strip_root(&document_uri, &root);
    return root == ROUTE_TOKEN && span_equal(document_uri, SPAN("/verify"));
}

/* SCRIPT_NAME and PATH_INFO, which servers split differently. A SCRIPT_NAME that is too long for
 * text is the path of nginx's original request. */
static struct span join(const struct request_input *input, char text[ROUTE_PATH_SIZE])
{
    struct span script = input->script_name, path = input->path_info;
    if (path.len == 0)
        return script;
    if (script.len == 0 || script.len + path.len > ROUTE_PATH_SIZE)
        return path;
    memcpy(text, script.at, script.len);
    memcpy(text + script.len, path.at, path.len);
    return (struct span){text, script.len + path.len};
}

struct span route_path(const struct request_input *input, char text[ROUTE_PATH_SIZE],
                       enum route_root *root)
{
    struct span script = input->script_name, path = join(input, text);
    *root = ROUTE_TOKEN;
    if (is_verify(input->document_uri))
        return SPAN("/verify");
    /* The program's own name may precede what is below /api/token (/cgi-bin/token.fcgi/5). */
    bool is_program = script.len > 3 && span_equal(span_from(script, script.len - 3), SPAN("cgi"));
    if (!strip_root(&path, root) && (input->path_info.len > 0 || is_program)) {
        path = input->path_info;
        if (is_program)
            strip_root(&path, root);
    }
    /* "/" is administrators' there, or guarded by its exact name. */
    bool is_exact = *root >= ROUTE_USERS;
    return path.len > 0 || is_exact ? path : SPAN("/");
}

static bool matches_pattern(const char *pattern, struct span path, int64_t *id)
{
    const char *colon = strchr(pattern, ':'); /* of ":id" */
    if (!colon)
        return span_equal(path, span_of(pattern));
    struct span before = {pattern, (size_t)(colon - pattern)};
    if (!span_starts_with(path, before))
        return false;
    struct span digits = span_from(path, before.len), rest = digits;
    while (rest.len > 0 && is_digit(rest.at[0]))
        rest = span_from(rest, 1);
    digits.len -= rest.len;
    if (digits.len == 0 || !span_equal(rest, span_of(colon + strlen(":id"))))
        return false;
    if (!number_parse(digits, id))
        *id = -1; /* no token has it */
    return true;
}

/* A slash at the end changes nothing: front ends of the family send it. But administrators' and
 * gateways' routes and /verify are guarded by web servers, by their exact names. */
static bool matches_path(const struct route *route, struct span path, int64_t *id)
{
    bool has_slash = path.len > 1 && path.at[path.len - 1] == '/' && path.at[path.len - 2] != '/';
    bool is_guarded =
        route->caller == ROUTE_ADMIN || route->caller == ROUTE_GATEWAY || route->method[0] == '*';
    if (has_slash && !is_guarded)
        path.len--;
    return matches_pattern(route->pattern, path, id);
}

const struct route *route_find(struct span method, enum route_root root, struct span path,
                               bool *path_known, int64_t *id)
{
    *path_known = false;
    if (span_equal(method, SPAN("HEAD"))) /* RFC 9110 section 9.3.2: reply.c leaves the body out */
        method = SPAN("GET");
    for (size_t i = 0; i < ROUTE_COUNT; i++) {
        const struct route *route = &routes[i];
        if (route->root != root || !matches_path(route, path, id))
            continue;
        *path_known = true;
        if (route->method[0] == '*' || span_equal(method, span_of(route->method)))
            return route;
    }
    return NULL;
}

void route_append_methods(struct buffer *buffer, enum route_root root, struct span path)
{
    int64_t id;
    for (size_t i = 0; i < ROUTE_COUNT; i++) {
        if (routes[i].root != root || !matches_path(&routes[i], path, &id))
            continue;
        buffer_append_string(buffer, routes[i].method);
        buffer_append_string(buffer, strcmp(routes[i].method, "GET") == 0 ? ", HEAD, " : ", ");
    }
    buffer_append_string(buffer, "OPTIONS");
}

/* ---- counters ---- */

_Static_assert(ROUTE_COUNT < (int)COUNTERS_ROUTES_MAX, "a row for requests without a route");

const struct span route_methods[COUNTERS_METHODS] = {
    SPAN("GET"),     SPAN("POST"), SPAN("PUT"),   SPAN("DELETE"),
    SPAN("OPTIONS"), SPAN("HEAD"), SPAN("PATCH"), SPAN("other"),
};

unsigned route_method_number(struct span method)
{
    unsigned i = 0;
    while (i + 1 < COUNTERS_METHODS && !span_equal(method, route_methods[i]))
        i++;
    return i;
}

/* Rows of one path stand together. */
unsigned route_number(const struct route *route)
{
    if (!route)
        return ROUTE_COUNT;
    while (route > routes && route[-1].root == route->root &&
           strcmp(route[-1].pattern, route->pattern) == 0)
        route--;
    return (unsigned)(route - routes);
}

bool route_write_name(unsigned number, char name[static ROUTE_NAME_SIZE])
{
    if (number == ROUTE_COUNT)
        return snprintf(name, ROUTE_NAME_SIZE, "other") > 0;
    if (number > ROUTE_COUNT)
        return false;
    const struct route *route = &routes[number];
    if (route_number(route) != number)
        return false;
    bool is_one = route->caller == ROUTE_ANYONE; /* no collection */
    return snprintf(name, ROUTE_NAME_SIZE, "%s%s", roots[route->root],
                    is_one ? "" : route->pattern) > 0;
}
