#ifndef API_REQUEST_H
#define API_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "store/store.h"

/* The request context: what came, what is being done about it, and the reply. */

enum { API_BODY_LEN_MAX = 1024 * 1024, ROUTE_PATH_SIZE = 256 };

/* A request as CGI's variables have it (RFC 3875 section 4.1). The spans are the transport's and
 * live until the request is cleared. */
struct request_input {
    struct span method;               /* REQUEST_METHOD */
    struct span script_name;          /* SCRIPT_NAME: the path, or its beginning, then */
    struct span path_info;            /* PATH_INFO: the rest */
    struct span document_uri;         /* DOCUMENT_URI: the location of nginx's subrequest */
    struct span query;                /* QUERY_STRING */
    struct span authorization;        /* HTTP_AUTHORIZATION */
    struct span new_api_user;         /* HTTP_NEW_API_USER */
    struct span x_api_key;            /* HTTP_X_API_KEY */
    struct span api_key;              /* HTTP_API_KEY */
    struct span x_goog_api_key;       /* HTTP_X_GOOG_API_KEY */
    struct span websocket_protocol;   /* HTTP_SEC_WEBSOCKET_PROTOCOL */
    struct span gateway_token;        /* HTTP_X_GATEWAY_TOKEN */
    struct span idempotency_key;      /* HTTP_IDEMPOTENCY_KEY */
    struct span cors_request_headers; /* HTTP_ACCESS_CONTROL_REQUEST_HEADERS */
    struct span remote_addr;          /* REMOTE_ADDR */
    struct span cost;                 /* TOKEN_COST: quota units that the request costs */
    struct span model;                /* TOKEN_MODEL */
    struct span model_check;          /* TOKEN_MODEL_CHECK: "off" for a request without a model */
    struct span content_length;       /* CONTENT_LENGTH */
    struct span body;
    bool body_too_large; /* the body was over API_BODY_LEN_MAX and is not here */
};

/* How the API behaves. */
struct api_options {
    uint64_t max_per_user;   /* tokens a user may have; 0: no limit */
    uint64_t name_max;       /* characters of a token's name */
    bool http_status_200;    /* failures other than 401 answer 200 */
    const char *cors_origin; /* NULL: no CORS headers */
    bool mask_keys;          /* keys are shown in full only by the routes for that */
};

/* One thread's API. */
struct api {
    const struct api_options *options;
    struct store_reader *reader;
    struct key_pool *keys; /* of tokens to come */
};

enum api_step {
    API_REPLIED, /* the reply is there */
    API_WRITES,  /* the request's write has to be done, then api_finish */
    API_SEARCHES /* api_search has to be called, which may take seconds, then api_finish */
};

/* The collections. */
enum route_root { ROUTE_TOKEN, ROUTE_USAGE };

struct request;

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

struct request {
    struct store_write write; /* first: a pointer to it is one to the request */
    struct request_input input;
    struct store_access used; /* reply: the token that /verify found good, with its access time as
                                 stored; the transport records the use. token_id 0: none */
    struct json_object *json; /* the parsed body: spans of write point here */

    struct api *api;
    int64_t now_unix_s;
    const struct route *route; /* NULL: the path has other methods, those in allow */
    struct span allow;
    enum route_root root;
    char path_text[ROUTE_PATH_SIZE]; /* SCRIPT_NAME and PATH_INFO */
    struct span path;                /* below the collection, from the '/' on */
    int64_t path_id;                 /* the path's :id */
    bool failures_answer_200;        /* TOKEN_HTTP_STATUS=200 holds for the route */
    int64_t user_id;                 /* authenticated, on a user's route */
    int64_t gateway_id;              /* or on a gateway's */

    struct validation_error invalid; /* the first fault of the input */
    struct token *tokens;            /* of a create */
    size_t token_count;
    char own_group[TOKEN_GROUP_LEN_MAX]; /* of an update */
    int64_t *ids;                        /* of a batch */
    size_t id_count;
    struct store_search search;
    enum token_refusal usage_refusal; /* of a key whose holder asks */
    int64_t page;
    uint64_t total; /* tokens found, on all pages */
    enum store_error search_error;

    /* Last: their memory is kept from request to request. */
    struct buffer received;   /* the transport's: input.body may point here */
    struct buffer head, body; /* the reply: CGI's header lines with the empty line, and the body */
    struct buffer text;       /* texts made from the input: spans of write and search point here */
};

#endif
