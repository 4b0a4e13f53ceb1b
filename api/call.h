#ifndef API_CALL_H
#define API_CALL_H

#include "api/api.h"
#include "api/json.h"
#include "api/route.h"

/* What the files of this room share. */

struct api {
    const struct api_options *options;
    struct store_reader *reader;
    struct json_doc json;     /* of the request at hand */
    bool failures_answer_200; /* of the request at hand */
};

struct api_call {
    struct store_write write; /* first: a pointer to it is one to the call */
    const struct route *route;
    const struct api_request *request; /* during api_begin */
    enum route_root root;              /* the collection */
    struct span path;                  /* below it, from the '/' on */
    int64_t user_id;                   /* authenticated, on a user's route */
    int64_t gateway_id;                /* or on a gateway's */
    int64_t path_id;                   /* the :id of the path */
    int64_t now_unix_s;
    const struct json_value *json; /* the body, during api_begin */
    char *text;                    /* what the write's texts point into; wiped in the end */
    size_t text_len;
    struct token *tokens; /* of a create */
    size_t token_count;
    int64_t *ids;  /* of a delete */
    bool is_array; /* a create of an array: the answer is one too */
    bool mask_keys;

    struct store_search search; /* of a search: what for, and what came of it */
    int64_t page;
    struct buffer found; /* the items, rendered */
    bool found_any;
    uint64_t total;
    enum store_error search_error;

    /* The reply's body to a write. Its room is reserved before the write is done, and kept for
     * the next call; that of a write which may come twice is rendered into it in the transaction.
     */
    struct buffer answer;
    size_t answer_len_max; /* as far as the handler knows it; 0: short */
};

/* Frees what a request has left in the call. */
void call_clear(struct api_call *call);

/* Replies with what the route renders, if it has not been rendered in the transaction. */
void call_answer(struct api *api, struct api_call *call, struct api_reply *reply);

#define BAD_IDEMPOTENCY_KEY ": Idempotency-Key must be 1 to 255 visible characters"

/* Has the call's write done once however often it is asked for, where the request has an
 * Idempotency-Key. False where that is malformed. */
bool call_set_idempotency(struct api_call *call);

/* The same for a transaction_id. */
void call_set_repeat(struct api_call *call, const char *who, int64_t who_id, struct span key);

#endif
