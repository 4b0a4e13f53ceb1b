#ifndef API_AUTH_H
#define API_AUTH_H

#include "api/request.h"

/* Authenticates the user and sets request->user_id. Returns false with the request replied. */
bool auth_check_user(struct request *request);

/* The same for a gateway and request->gateway_id. */
bool auth_check_gateway(struct request *request);

/* The credentials of "Bearer <token>" (RFC 6750 section 2.1, the scheme in any letter case) or of a
 * bare token; empty where the header has another form. */
struct span auth_bearer(struct span authorization);

#endif
