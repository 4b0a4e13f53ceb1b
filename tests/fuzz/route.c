/* api/route.h against the table of routes as regular expressions. The lines of the input are
 * method, PATH_INFO, SCRIPT_NAME and DOCUMENT_URI; a line "-" is absent. */

#include "tests/fuzz/fuzz.h"

#include <regex.h>

#include "api/api.h"
#include "api/route.h"

static struct {
    enum route_root root;
    const char *path, *methods; /* each method with a blank before and after it */
    regex_t form;
} routes[] = {
    {ROUTE_TOKEN, "^/$", " GET HEAD POST PUT ", {0}},
    {ROUTE_TOKEN, "^/search/?$", " GET HEAD POST ", {0}},
    {ROUTE_TOKEN, "^/[0-9]+/?$", " GET HEAD DELETE ", {0}},
    {ROUTE_TOKEN, "^/[0-9]+/(key|rotate)/?$", " POST ", {0}},
    {ROUTE_TOKEN, "^/[0-9]+/usage/?$", " GET HEAD ", {0}},
    {ROUTE_TOKEN, "^/batch(/keys|/status)?/?$", " POST ", {0}},
    {ROUTE_TOKEN, "^/verify$", " * ", {0}},
    {ROUTE_TOKEN, "^/(consume|reserve|settle|cancel)$", " POST ", {0}},
    {ROUTE_TOKEN, "^/find$", " POST ", {0}},
    {ROUTE_USAGE, "^/(days/?)?$", " GET HEAD ", {0}},
    {ROUTE_STATUS, "^/$", " GET HEAD ", {0}},
    {ROUTE_BILLING, "^/(subscription|usage)/?$", " GET HEAD ", {0}},
    {ROUTE_USERS, "^/(self|self/groups|self/usage|models)/?$", " GET HEAD ", {0}},
    {ROUTE_USERS, "^/self/rotate/?$", " POST ", {0}},
    {ROUTE_USERS, "^/$", " GET HEAD POST PUT ", {0}},
    {ROUTE_USERS, "^/search$", " GET HEAD ", {0}},
    {ROUTE_USERS, "^/manage$", " POST ", {0}},
    {ROUTE_USERS, "^/[0-9]+$", " GET HEAD DELETE ", {0}},
    {ROUTE_LOG, "^/$", " GET HEAD ", {0}},
    {ROUTE_LOG, "^/self/?$", " GET HEAD ", {0}},
    {ROUTE_HEALTH, "^$", " GET HEAD ", {0}},
    {ROUTE_METRICS, "^$", " GET HEAD ", {0}},
};

/* NOLINTNEXTLINE(readability-non-const-parameter): libFuzzer's */
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    for (size_t i = 0; i < COUNT_OF(routes); i++)
        require(regcomp(&routes[i].form, routes[i].path, REG_EXTENDED | REG_NOSUB) == 0, "regcomp");
    return 0;
}

/* The methods of a path, NULL where it is not known. */
static const char *methods_of(enum route_root root, struct span path)
{
    const char *methods = NULL;
    char *text = strndup(path.at, path.len);
    require(text, "no memory");
    for (size_t i = 0; i < COUNT_OF(routes) && strlen(text) == path.len; i++)
        if (routes[i].root == root && regexec(&routes[i].form, text, 0, NULL, 0) == 0)
            methods = routes[i].methods;
    free(text);
    return methods;
}

static bool has_method(const char *methods, struct span method)
{
    char *word;
    require(asprintf(&word, " %.*s ", (int)method.len, method.at ? method.at : "") > 0,
            "no memory");
    bool has = strcmp(methods, " * ") == 0 ||
               (method.len > 0 && !memchr(method.at, '\0', method.len) && strstr(methods, word) &&
                !memchr(method.at, ' ', method.len));
    free(word);
    return has;
}

static void check_id(struct span path, int64_t id)
{
    int64_t expected = -1;
    struct span rest = span_from(path, 1);
    if (fuzz_number(fuzz_take(&rest, '/'), &expected))
        require(id == expected, "id %lld", (long long)id);
    else
        require(id == -1, "id %lld", (long long)id);
}

static struct span next_line(struct span *rest)
{
    struct span line = fuzz_take(rest, '\n');
    return span_equal(line, SPAN("-")) ? (struct span){NULL, 0} : fuzz_copy(line);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span rest = fuzz_input(data, size);
    struct request_input input = {.method = next_line(&rest)};
    input.path_info = next_line(&rest);
    input.script_name = next_line(&rest);
    input.document_uri = next_line(&rest);

    enum route_root root;
    bool known;
    int64_t id = 0;
    char text[ROUTE_PATH_SIZE];
    struct span path = route_path(&input, text, &root);
    require(root <= ROUTE_METRICS && (path.len > 0 || root >= ROUTE_USERS), "no path");
    const struct route *route = route_find(input.method, root, path, &known, &id);
    const char *methods = methods_of(root, path);
    require(known == (methods != NULL), "%.*s", (int)path.len, path.at);
    require((route != NULL) == (methods && has_method(methods, input.method)), "%.*s on %.*s",
            (int)input.method.len, input.method.at ? input.method.at : "", (int)path.len, path.at);
    struct request request = {.input = input};
    require(api_reads_body(&request) == (route && route->method[0] == 'P'), "reads_body");
    if (route && strstr(route->pattern, ":id"))
        check_id(path, id);

    struct buffer allow = {0};
    route_append_methods(&allow, root, path);
    require(!route || fuzz_has((struct span){allow.at, allow.len}, span_of(route->method)),
            "Allow");
    buffer_free(&allow);
    fuzz_free(input.method);
    fuzz_free(input.path_info);
    fuzz_free(input.script_name);
    fuzz_free(input.document_uri);
    return 0;
}
