#include "api/route.h"

#include "api/buffer.h"
#include "api/number.h"

static const struct route routes[] = {
    {"GET", "/", list_begin, NULL},
    {"POST", "/", create_begin, create_finish},
    {"PUT", "/", update_begin, update_finish},
    {"GET", "/:id", get_begin, NULL},
    {"DELETE", "/:id", delete_begin, delete_finish},
    {"POST", "/batch", delete_batch_begin, delete_batch_finish},
};

enum { ROUTE_COUNT = sizeof(routes) / sizeof(routes[0]) };

/* Some servers hand the whole path over, and some only SCRIPT_NAME. */
struct span route_path(struct span path_info, struct span script_name)
{
    const struct span collection = SPAN("/api/token");
    struct span path = path_info.len > 0 ? path_info : script_name;
    if (span_starts_with(path, collection) &&
        (path.len == collection.len || path.at[collection.len] == '/'))
        path = span_from(path, collection.len);
    else if (path_info.len == 0)
        path.len = 0; /* SCRIPT_NAME names the program itself */
    return path.len > 0 ? path : SPAN("/");
}

static bool matches_id(struct span segment, int64_t *id)
{
    if (segment.len == 0)
        return false;
    for (size_t i = 0; i < segment.len; i++)
        if (segment.at[i] < '0' || segment.at[i] > '9')
            return false;
    if (!number_parse(segment, id))
        *id = -1; /* nobody's */
    return true;
}

/* Takes the text up to the next '/' off the front. */
static struct span next_segment(struct span *path)
{
    size_t len = 0;
    while (len < path->len && path->at[len] != '/')
        len++;
    struct span segment = {path->at, len};
    *path = span_from(*path, len);
    return segment;
}

static bool matches_pattern(const char *pattern, struct span path, int64_t *id)
{
    struct span rest = span_of(pattern);
    while (rest.len > 0 && path.len > 0) {
        if (path.at[0] != '/')
            return false;
        path = span_from(path, 1);
        rest = span_from(rest, 1);
        struct span expected = next_segment(&rest), segment = next_segment(&path);
        if (span_equal(expected, SPAN(":id")) ? !matches_id(segment, id)
                                              : !span_equal(expected, segment))
            return false;
    }
    return rest.len == path.len;
}

const struct route *route_find(struct span method, struct span path, bool *path_known, int64_t *id)
{
    *path_known = false;
    for (size_t i = 0; i < ROUTE_COUNT; i++) {
        if (!matches_pattern(routes[i].pattern, path, id))
            continue;
        *path_known = true;
        if (span_equal(method, span_of(routes[i].method)))
            return &routes[i];
    }
    return NULL;
}

void route_append_methods(struct buffer *buffer, struct span path)
{
    int64_t id;
    for (size_t i = 0; i < ROUTE_COUNT; i++) {
        if (!matches_pattern(routes[i].pattern, path, &id))
            continue;
        buffer_append_string(buffer, routes[i].method);
        buffer_append_string(buffer, ", ");
    }
    buffer_append_string(buffer, "OPTIONS");
}
