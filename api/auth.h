#pragma once

#include "api/request.h"

/* Checks the credentials that the route wants: sets request->caller_id and user_id, or
 * request->gateway_id. A key is left to the handler. Returns false with the request replied. */
bool auth_check(struct request *request);

/* Makes request->user_id a user whom the caller, an administrator, may act on: of a lower role, or
 * the caller. Reads it into request->user. Returns false with the request replied: 403, 404. */
bool auth_act_on(struct request *request, int64_t user_id);

/* The credentials of "Bearer <token>" (RFC 6750 section 2.1, the scheme in any letter case) or of a
 * bare token; empty if the header has another form. */
struct span auth_bearer(struct span authorization);

/* The token's key that was sent, as written: the first that is not empty of Authorization,
 * x-api-key, api-key (Azure's clients), x-goog-api-key (Gemini's), and of the element
 * openai-insecure-api-key.KEY of Sec-WebSocket-Protocol (browsers). Empty if there is none. */
struct span auth_key(const struct request_input *input);
