#ifndef API_REPLY_H
#define API_REPLY_H

#include "api/api.h"

/* Answers: the envelope {"success":…,"message":…,"data":…} and the header lines. */

/* Each failure of the API, with its status and message in one table. */
enum failure {
    FAILURE_NOT_FOUND,
    FAILURE_METHOD,
    FAILURE_AUTHORIZATION_MISSING,
    FAILURE_AUTHORIZATION_WRONG,
    FAILURE_USER_MISSING,
    FAILURE_USER_WRONG,
    FAILURE_DENIED,
    FAILURE_USER_DISABLED,
    FAILURE_NO_TOKEN,
    FAILURE_INVALID,
    FAILURE_NAME_TOO_LONG,
    FAILURE_BODY_TOO_LARGE,
    FAILURE_ENABLE_EXPIRED,
    FAILURE_ENABLE_EXHAUSTED,
    FAILURE_LIMIT,
    FAILURE_IDEMPOTENCY_MISMATCH,
    FAILURE_GATEWAY,
    FAILURE_NO_RESERVATION,
    FAILURE_LIST,
    FAILURE_CORRUPT,
    FAILURE_UNAVAILABLE
};

enum { REPLY_ENVELOPE_LEN_MAX = 64 }; /* of an answer, without data and message */

/* Begins a successful answer's body; the caller appends the data. */
void reply_begin_data(struct buffer *body);
/* Ends it, and writes the head. */
void reply_end_data(const struct api *api, struct api_reply *reply);
/* A successful answer without data. */
void reply_done(const struct api *api, struct api_reply *reply);

/* A failure; detail, which may be absent, goes after the message. */
void reply_failure(const struct api *api, struct api_reply *reply, enum failure failure,
                   struct span detail);

/* The failure that an error of the store is to a client. */
void reply_store_error(const struct api *api, struct api_reply *reply, enum store_error error);

/* A successful answer whose body is there already. */
void reply_end(const struct api *api, struct api_reply *reply);

/* A key that may not be used: to a gateway, with the reason as "code". */
void reply_refusal(const struct api *api, struct api_reply *reply, enum token_refusal refusal);

/* The answers to nginx's auth_request: headers only, and always 204, 401 or 403, as nginx
 * makes 500 of any other. */
void reply_verified(struct api_reply *reply, const struct store_use_answer *answer);
void reply_not_verified(struct api_reply *reply, int status, const char *reason);

/* 405, and the answer to OPTIONS, for a path that exists. */
void reply_method_not_allowed(const struct api *api, struct api_reply *reply,
                              const struct api_call *call);
void reply_options(const struct api *api, struct api_reply *reply, const struct api_call *call);

#endif
