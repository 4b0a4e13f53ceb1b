#ifndef API_ROUTE_H
#define API_ROUTE_H

#include "api/request.h"

/* The credentials that a route wants. */
enum route_caller {
    ROUTE_USER,    /* Authorization and New-Api-User */
    ROUTE_GATEWAY, /* X-Gateway-Token */
    ROUTE_KEY      /* a token's key, which the handler checks */
};

/* A method on a path. */
struct route {
    enum route_root root;
    const char *method;  /* "*": any, and no body is read */
    const char *pattern; /* ":id" stands for decimal digits */
    enum route_caller caller;
    /* Renders the body, or prepares the request's write or search. May reply a failure instead. */
    enum api_step (*begin)(struct request *request);
    /* After a write or search without an error: renders the body. May reply instead, a refusal for
     * example. It runs in the transaction, on another thread, where the write is idempotent, and
     * then only if it was done. NULL: the route never writes or searches. */
    void (*render)(struct request *request);
};

/* The path below its collection: "/" or "/…". It may be in text. */
struct span route_path(const struct request_input *input, char text[ROUTE_PATH_SIZE],
                       enum route_root *root);

/* The route, or NULL. *path_known says whether the path has other methods; *id is set to the path's
 * ":id", to -1 where it is beyond int64. */
const struct route *route_find(struct span method, enum route_root root, struct span path,
                               bool *path_known, int64_t *id);

/* Appends the methods of a known path as the Allow header lists them: "GET, OPTIONS". */
void route_append_methods(struct buffer *buffer, enum route_root root, struct span path);

#endif
