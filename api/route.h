#ifndef API_ROUTE_H
#define API_ROUTE_H

#include <stdbool.h>
#include <stdint.h>

#include "api/api.h"

/* Who may call a route. */
enum route_caller {
    ROUTE_USER,    /* Authorization and New-Api-User */
    ROUTE_GATEWAY, /* X-Gateway-Token */
    ROUTE_KEY      /* the holder of a token's key; the handler looks at it */
};

/* The collections. */
enum route_root { ROUTE_TOKEN, ROUTE_USAGE };

/* A method on a path. */
struct route {
    enum route_root root;
    const char *method;  /* "*": any, and no body is read */
    const char *pattern; /* ":id" stands for decimal digits */
    enum route_caller caller;
    /* Fills the reply, or prepares the call's write or search. */
    enum api_step (*begin)(struct api *api, struct api_call *call, struct api_reply *reply);
    /* Fills the reply once the write or search has been done without an error. */
    void (*finish)(struct api *api, struct api_call *call, struct api_reply *reply);
    /* Renders the body of a write that may come twice. It may run in another thread. */
    void (*render)(struct api_call *call, struct buffer *body);
};

/* The path below its collection: "/" or "/…". */
struct span route_path(const struct api_request *request, enum route_root *root);

/* The route, or NULL. *path_known says whether the path is one with another method;
 * *id is set to the path's ":id", to -1 where it is beyond int64. */
const struct route *route_find(struct span method, enum route_root root, struct span path,
                               bool *path_known, int64_t *id);

/* Appends the methods that a known path has, for the Allow header: "GET, OPTIONS". */
void route_append_methods(struct buffer *buffer, enum route_root root, struct span path);

/* The handlers, a file each. */
enum api_step list_begin(struct api *api, struct api_call *call, struct api_reply *reply);
enum api_step search_begin(struct api *api, struct api_call *call, struct api_reply *reply);
void search_finish(struct api *api, struct api_call *call, struct api_reply *reply);
enum api_step get_begin(struct api *api, struct api_call *call, struct api_reply *reply);
enum api_step create_begin(struct api *api, struct api_call *call, struct api_reply *reply);
void create_render(struct api_call *call, struct buffer *body);
enum api_step update_begin(struct api *api, struct api_call *call, struct api_reply *reply);
void update_finish(struct api *api, struct api_call *call, struct api_reply *reply);
enum api_step delete_begin(struct api *api, struct api_call *call, struct api_reply *reply);
void delete_finish(struct api *api, struct api_call *call, struct api_reply *reply);
enum api_step delete_batch_begin(struct api *api, struct api_call *call, struct api_reply *reply);
void delete_batch_finish(struct api *api, struct api_call *call, struct api_reply *reply);
enum api_step key_begin(struct api *api, struct api_call *call, struct api_reply *reply);
enum api_step keys_begin(struct api *api, struct api_call *call, struct api_reply *reply);
enum api_step rotate_begin(struct api *api, struct api_call *call, struct api_reply *reply);
void rotate_render(struct api_call *call, struct buffer *body);
enum api_step verify_begin(struct api *api, struct api_call *call, struct api_reply *reply);
void verify_finish(struct api *api, struct api_call *call, struct api_reply *reply);
enum api_step consume_begin(struct api *api, struct api_call *call, struct api_reply *reply);
enum api_step reserve_begin(struct api *api, struct api_call *call, struct api_reply *reply);
void consume_finish(struct api *api, struct api_call *call, struct api_reply *reply);
void consume_render(struct api_call *call, struct buffer *body);
enum api_step settle_begin(struct api *api, struct api_call *call, struct api_reply *reply);
enum api_step cancel_begin(struct api *api, struct api_call *call, struct api_reply *reply);
void settle_render(struct api_call *call, struct buffer *body);
enum api_step usage_begin(struct api *api, struct api_call *call, struct api_reply *reply);

#endif
