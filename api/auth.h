#pragma once

#include "api/request.h"

/* Checks the credentials that the route wants: sets request->user_id or request->gateway_id. A key
 * is left to the handler. Returns false with the request replied. */
bool auth_check(struct request *request);

/* The credentials of "Bearer <token>" (RFC 6750 section 2.1, the scheme in any letter case) or of a
 * bare token; empty if the header has another form. */
struct span auth_bearer(struct span authorization);

/* The token's key that was sent, as written: the first that is not empty of Authorization,
 * x-api-key, api-key (Azure's clients), x-goog-api-key (Gemini's), and of the element
 * openai-insecure-api-key.KEY of Sec-WebSocket-Protocol (browsers). Empty if there is none. */
struct span auth_key(const struct request_input *input);
