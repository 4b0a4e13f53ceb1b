#ifndef API_AUTH_H
#define API_AUTH_H

#include "api/api.h"

/* Authenticates the call's request and sets its user_id. False, with the reply
 * filled in, where it may not go on. */
bool auth_check_user(struct api *api, struct api_call *call, struct api_reply *reply);

/* The same for a gateway, and its gateway_id. */
bool auth_check_gateway(struct api *api, struct api_call *call, struct api_reply *reply);

/* The credentials of "Bearer <token>" (RFC 6750 section 2.1, the scheme in any letter
 * case) or of a bare token; empty where the header is anything else. */
struct span auth_bearer(struct span authorization);

#endif
