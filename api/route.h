#pragma once

#include "api/request.h"

/* The path below its collection: "/" or "/…", and "" for /api/user, /api/log and /healthz alone. It
 * may be in text. */
struct span route_path(const struct request_input *input, char text[ROUTE_PATH_SIZE],
                       enum route_root *root);

/* The route, or NULL. *path_known says whether the path has other methods; *id is set to the path's
 * ":id", to -1 if it is beyond int64. */
const struct route *route_find(struct span method, enum route_root root, struct span path,
                               bool *path_known, int64_t *id);

/* Appends the methods of a known path as the Allow header lists them: "GET, OPTIONS". */
void route_append_methods(struct buffer *buffer, enum route_root root, struct span path);
