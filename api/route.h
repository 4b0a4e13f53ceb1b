#ifndef API_ROUTE_H
#define API_ROUTE_H

#include <stdbool.h>
#include <stdint.h>

#include "token/span.h"

struct api;
struct api_call;
struct api_reply;

/* A method on a path. */
struct route {
    const char *method;
    const char *pattern; /* ":id" stands for decimal digits */
    /* Fills the reply and returns false, or prepares the call's write and returns true. */
    bool (*begin)(struct api *api, struct api_call *call, struct api_reply *reply);
    /* Fills the reply once the write has been done without an error. */
    void (*finish)(struct api *api, struct api_call *call, struct api_reply *reply);
};

/* The path below the collection: "/" or "/…". */
struct span route_path(struct span path_info, struct span script_name);

/* The route, or NULL. *path_known says whether the path is one with another method;
 * *id is set to the path's ":id", to -1 where it is beyond int64. */
const struct route *route_find(struct span method, struct span path, bool *path_known, int64_t *id);

/* Appends the methods that a known path has, for the Allow header: "GET, OPTIONS". */
struct buffer;
void route_append_methods(struct buffer *buffer, struct span path);

/* The handlers, a file each. */
bool list_begin(struct api *api, struct api_call *call, struct api_reply *reply);
bool get_begin(struct api *api, struct api_call *call, struct api_reply *reply);
bool create_begin(struct api *api, struct api_call *call, struct api_reply *reply);
void create_finish(struct api *api, struct api_call *call, struct api_reply *reply);
bool update_begin(struct api *api, struct api_call *call, struct api_reply *reply);
void update_finish(struct api *api, struct api_call *call, struct api_reply *reply);
bool delete_begin(struct api *api, struct api_call *call, struct api_reply *reply);
void delete_finish(struct api *api, struct api_call *call, struct api_reply *reply);
bool delete_batch_begin(struct api *api, struct api_call *call, struct api_reply *reply);
void delete_batch_finish(struct api *api, struct api_call *call, struct api_reply *reply);

#endif
