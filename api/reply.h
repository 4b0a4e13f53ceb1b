#pragma once

#include "api/request.h"

/* Answers: the envelope {"success":…,"message":…,"data":…} and the header lines. Functions that end
 * a reply return API_REPLIED. */

#define REPLY_CONTENT_HEADERS                                                                      \
    "Content-Type: application/json; charset=utf-8\r\n"                                            \
    "Cache-Control: no-store\r\n"

enum { REPLY_ENVELOPE_LEN_MAX = 64 }; /* of an answer, without data and message */

/* The body of a success: between these two, the caller appends the data. */
void reply_begin_data(struct request *request);
void reply_end_data(struct request *request);

/* Ends a success whose body is complete. */
void reply_success(struct request *request);
void reply_text(struct request *request); /* of Prometheus' text format */

/* A status and its number, which request->status has. */
int reply_status(unsigned number);
unsigned reply_find_status(int status);

/* End a failure; a body that was begun is dropped. */
enum api_step reply_failure(struct request *request, int status, const char *message);
enum api_step reply_invalid(struct request *request); /* as request->invalid says */
enum api_step reply_invalid_field(struct request *request, const char *field, const char *text);
enum api_step reply_store_error(struct request *request, enum store_error error);

/* Ends the reply to a gateway or key holder whose key is refused, with the reason as "code".
 *   answer   what is told of limits; NULL: nothing */
enum api_step reply_refusal(struct request *request, enum token_refusal refusal,
                            const struct store_use_answer *answer);

/* Ends the reply to nginx's auth_request: headers only, and always 204, 401 or 403, as nginx makes
 * 500 of any other.
 *   answer   NULL: there is no such token */
enum api_step reply_verified(struct request *request, enum token_refusal refusal,
                             const struct store_use_answer *answer);

/* The answer to OPTIONS for a known path. */
void reply_options(struct request *request);
