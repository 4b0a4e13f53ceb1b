#ifndef API_API_H
#define API_API_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "store/store.h"
#include "base/span.h"

/* The HTTP API without any transport: a request in, a reply out. What clients see
 * of it is openapi.yaml. */

enum { API_BODY_LEN_MAX = 1024 * 1024 };

/* A request, as CGI's variables have it (RFC 3875 section 4.1). The spans belong to
 * the transport and must live until api_begin returns. */
struct api_request {
    struct span method;          /* REQUEST_METHOD */
    struct span path_info;       /* PATH_INFO: below the collection; absent or empty: */
    struct span script_name;     /* SCRIPT_NAME: the whole path, where PATH_INFO says nothing */
    struct span document_uri;    /* DOCUMENT_URI: the location of a subrequest of nginx */
    struct span query;           /* QUERY_STRING */
    struct span authorization;   /* HTTP_AUTHORIZATION */
    struct span new_api_user;    /* HTTP_NEW_API_USER */
    struct span x_api_key;       /* HTTP_X_API_KEY */
    struct span gateway_token;   /* HTTP_X_GATEWAY_TOKEN */
    struct span idempotency_key; /* HTTP_IDEMPOTENCY_KEY */
    struct span remote_addr;     /* REMOTE_ADDR */
    struct span cost;            /* TOKEN_COST: quota units that the request costs */
    struct span model;           /* TOKEN_MODEL */
    struct span content_length;  /* CONTENT_LENGTH */
    struct span body;
    bool body_too_large; /* the body was over API_BODY_LEN_MAX and is not here */
};

/* What is sent back: CGI's header lines with the empty line after them, and the
 * body. Where one has failed, api_unavailable_reply is to be sent instead. Both are reused from
 * reply to reply; the caller frees them at its end. */
struct api_reply {
    struct buffer head;
    struct buffer body;
    /* The token that /verify has just found good, with its last use as stored; token_id 0: none.
     * The transport has the use recorded (fcgi/access_times.h). */
    struct store_access used;
};

/* How the API behaves. */
struct api_options {
    uint64_t max_per_user;   /* tokens a user may have; 0: no limit */
    bool http_status_200;    /* failures other than 401 answer 200 */
    const char *cors_origin; /* NULL: no CORS headers */
    bool mask_keys;          /* keys are shown whole only where they are asked for */
};

/* One thread's API: it may be used by one thread at a time. */
struct api;

/* NULL where there is no memory. options and reader must outlive it. */
struct api *api_new(const struct api_options *options, struct store_reader *reader);
void api_free(struct api *api);

/* A request on its way: what api_begin leaves for api_finish. */
struct api_call;

/* NULL where there is no memory. A call may be used again after each end. */
struct api_call *api_call_new(void);
void api_call_free(struct api_call *call);

enum api_step {
    API_REPLIED, /* the reply is there */
    API_WRITES,  /* api_write's write has to be done, then api_finish */
    API_SEARCHES /* api_search has to be called, which may take seconds, then api_finish */
};

/* Does a request up to the point where it has to wait for something. */
enum api_step api_begin(struct api *api, struct api_call *call, const struct api_request *request,
                        int64_t now_unix_s, struct api_reply *reply);

/* After API_WRITES: what the caller has to get done, by store_write or store_commit, from
 * whatever thread. It and what it points to belong to the call. */
struct store_write *api_write(struct api_call *call);

/* After API_WRITES: how long the write may wait, in milliseconds from when the request was read.
 * One that has not begun by then must not be done any more: its error is set to STORE_UNAVAILABLE.
 */
int64_t api_write_wait_ms_max(const struct api_call *call);

/* After API_SEARCHES: searches, in any thread, with a reader of that thread's. */
void api_search(struct api_call *call, struct store_reader *reader);

/* Turns what has been done into the reply.
 *
 * Where memory runs out, a request is answered 503 and has changed nothing, but for one case: the
 * write is done, and then there is no memory for its answer. A client can't tell that from a
 * connection that broke, and Idempotency-Key and transaction_id are for both: such a write's answer
 * is made in its transaction. The room for the other answers is reserved before the write; only
 * where an update or a rotation answers long texts that were there before may it not be enough. */
void api_finish(struct api *api, struct api_call *call, struct api_reply *reply);

/* Whether the route reads a body; for a transport that need not read it otherwise. */
bool api_reads_body(const struct api_request *request);

/* The reply where there is no memory for the regular one, or where the service can't
 * be started: static text, 503, head and body. */
struct span api_unavailable_reply(void);

void api_reply_free(struct api_reply *reply);

#endif
