#pragma once

#include "settings/settings.h"
#include "store/store.h"

/* The request context: what came, what is being done about it, and the reply. */

enum { API_BODY_LEN_MAX = 1024 * 1024, API_REVEALED_MAX = 100, ROUTE_PATH_SIZE = 256 };

/* CGI's variables (RFC 3875 section 4.1) that a request is read from, and their members. */
/* clang-format off */
#define REQUEST_VARIABLES(VARIABLE)                                                                \
    VARIABLE(REQUEST_METHOD, method)                                                               \
    VARIABLE(SCRIPT_NAME, script_name) /* the path, or its beginning, then */                      \
    VARIABLE(PATH_INFO, path_info) /* the rest */                                                  \
    VARIABLE(DOCUMENT_URI, document_uri) /* the location of nginx's subrequest */                  \
    VARIABLE(QUERY_STRING, query)                                                                  \
    VARIABLE(CONTENT_LENGTH, content_length)                                                       \
    VARIABLE(REMOTE_ADDR, remote_addr)                                                             \
    VARIABLE(REQUEST_ID, request_id) /* nginx's $request_id, for audit records */                  \
    VARIABLE(HTTP_AUTHORIZATION, authorization)                                                    \
    VARIABLE(HTTP_NEW_API_USER, new_api_user)                                                      \
    VARIABLE(HTTP_X_API_KEY, x_api_key)                                                            \
    VARIABLE(HTTP_API_KEY, api_key)                                                                \
    VARIABLE(HTTP_X_GOOG_API_KEY, x_goog_api_key)                                                  \
    VARIABLE(HTTP_SEC_WEBSOCKET_PROTOCOL, websocket_protocol)                                      \
    VARIABLE(HTTP_X_GATEWAY_TOKEN, gateway_token)                                                  \
    VARIABLE(HTTP_IDEMPOTENCY_KEY, idempotency_key)                                                \
    VARIABLE(HTTP_ACCESS_CONTROL_REQUEST_HEADERS, cors_request_headers)                            \
    VARIABLE(TOKEN_COST, cost) /* quota units that the request costs */                            \
    VARIABLE(TOKEN_MODEL, model)                                                                   \
    VARIABLE(TOKEN_MODEL_CHECK, model_check) /* "off" for a request without a model */
/* clang-format on */

#define REQUEST_VARIABLE_MEMBER(name, member) struct span member;

/* The spans are the transport's and live until the request is cleared. */
struct request_input {
    REQUEST_VARIABLES(REQUEST_VARIABLE_MEMBER)
    struct span body;
    bool body_too_large; /* the body was over API_BODY_LEN_MAX and is not here */
};

/* One thread's API. */
struct api {
    const struct settings *settings;
    struct store_reader *reader;
    const struct counters *counters; /* NULL: nothing is counted */
    struct key_pool *keys;           /* of tokens to come */
};

enum api_step {
    API_REPLIED, /* the reply is there */
    API_WRITES,  /* the request's write has to be done, then api_finish */
    API_SEARCHES /* api_search has to be called, which may take seconds, then api_finish */
};

/* The collections. */
enum route_root {
    ROUTE_TOKEN,
    ROUTE_USAGE,
    ROUTE_STATUS,
    ROUTE_BILLING,
    ROUTE_USERS,
    ROUTE_LOG,
    ROUTE_HEALTH,
    ROUTE_METRICS
};

struct request;

/* The credentials that a route wants. */
enum route_caller {
    ROUTE_ANYONE,  /* none */
    ROUTE_USER,    /* Authorization and New-Api-User; on tokens' routes an administrator may name
                      another user by user_id */
    ROUTE_OWNER,   /* the same, but nobody may name another */
    ROUTE_ADMIN,   /* the same, of an administrator */
    ROUTE_GATEWAY, /* X-Gateway-Token */
    ROUTE_KEY      /* a token's key, which the handler checks */
};

typedef enum api_step route_begin(struct request *request);
typedef void route_render(struct request *request);
/* A read that may take long: with the reader of any thread. Sets search_error. */
typedef void route_search(struct request *request, struct store_reader *reader);

/* A method on a path. */
struct route {
    enum route_root root;
    const char *method;  /* "*": any, and no body is read */
    const char *pattern; /* ":id" stands for decimal digits */
    enum route_caller caller;
    /* Renders the body, or prepares the request's write or search. May reply a failure instead. */
    route_begin *begin;
    /* After a write or search without an error: renders the body. May reply instead, a refusal for
     * example. It runs in the transaction, on another thread, if the write is idempotent, and
     * then only if it was done. NULL: the route never writes or searches. */
    route_render *render;
};

struct request {
    struct store_write write; /* first: a pointer to it is one to the request */
    struct request_input input;
    struct store_access used; /* reply: the token that /verify found good, with its access time as
                                 stored; the transport records the use. token_id 0: none */
    const int64_t
        *revealed;         /* reply: the tokens whose keys are in it, which the transport records */
    size_t revealed_count; /* up to API_REVEALED_MAX */
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
    int64_t caller_id;               /* the authenticated user */
    enum user_role caller_role;      /* on administrators' routes, and for another user */
    int64_t user_id;                 /* who the request is about: the caller, or another user for an
                                        administrator */
    int64_t gateway_id;              /* authenticated, on a gateway's route */

    struct validation_error invalid; /* the first fault of the input */
    struct token *tokens;            /* of a create */
    size_t token_count;
    bool token_list; /* the create's body is an array, and so is its answer */
    int64_t *ids;    /* of a batch */
    size_t id_count;
    route_search *do_search;
    struct store_search search;
    struct store_audit_search audit;
    enum token_refusal usage_refusal; /* of a key whose holder asks */
    unsigned status;                  /* of the reply: a number for reply_status */
    int64_t page;
    uint64_t total; /* found, on all pages */
    enum store_error search_error;
    struct store_user user; /* whom an administrator acts on, or adds; or the caller */
    unsigned char access_hash[SEAL_CREDENTIAL_HASH_LEN];
    char access_token[STORE_CREDENTIAL_LEN]; /* a new one, told once */

    /* Last: their memory is kept from request to request. */
    struct buffer received;   /* the transport's: input.body may point here */
    struct buffer head, body; /* the reply: CGI's header lines with the empty line, and the body */
    struct buffer text;       /* texts made from the input: spans of write and search point here */
};

/* Whether an administrator acts on another user. */
static inline bool request_is_for_other(const struct request *request)
{
    return request->user_id != request->caller_id;
}

/* Whether answers mask keys. An administrator is never shown another's. */
static inline bool request_masks_keys(const struct request *request)
{
    return request->api->settings->mask_keys || request_is_for_other(request);
}
