#ifndef API_CALL_H
#define API_CALL_H

#include <json.h>

#include "api/api.h"
#include "api/route.h"

/* What the files of this room share. */

struct api {
    const struct api_options *options;
    struct store_reader *reader;
    struct json_tokener *tokener;
};

struct api_call {
    struct store_write write; /* first: a pointer to it is one to the call */
    const struct route *route;
    const struct api_request *request; /* during api_begin */
    struct span path;                  /* below the collection, from the '/' on */
    int64_t user_id;                   /* authenticated */
    int64_t path_id;                   /* the :id of the path */
    int64_t now_unix_s;
    struct json_object *json; /* the body; the write's texts point into it */
    char *text;               /* or into this: what the lists were normalized to */
    size_t text_len;
    struct token *tokens; /* of a create */
    int64_t *ids;         /* of a delete */
    bool is_array;        /* a create of an array: the answer is one too */
};

/* Frees what a request has left in the call. */
void call_clear(struct api_call *call);

#endif
