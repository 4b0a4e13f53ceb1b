#pragma once

#include "api/request.h"
#include "counters/counters.h"

/* The path below its collection: "/" or "/…", and "" for /api/user, /api/log, /healthz and /metrics
 * alone. It may be in text. */
struct span route_path(const struct request_input *input, char text[ROUTE_PATH_SIZE],
                       enum route_root *root);

/* The route, or NULL. *path_known says whether the path has other methods; *id is set to the path's
 * ":id", to -1 if it is beyond int64. */
const struct route *route_find(struct span method, enum route_root root, struct span path,
                               bool *path_known, int64_t *id);

/* The number of a route's path, for counters; of no route (NULL) the last one. */
unsigned route_number(const struct route *route);

/* The number of a method in route_methods; the last one is of all others. */
unsigned route_method_number(struct span method);
extern const struct span route_methods[COUNTERS_METHODS];

/* The path with that number: "/api/token/:id", or "other". False: there is none. */
enum { ROUTE_NAME_SIZE = 64 };
bool route_write_name(unsigned number, char name[static ROUTE_NAME_SIZE]);

/* Appends the methods of a known path as the Allow header lists them: "GET, OPTIONS". */
void route_append_methods(struct buffer *buffer, enum route_root root, struct span path);
