#ifndef API_AUTH_H
#define API_AUTH_H

#include "api/api.h"

/* Authenticates the call's request and sets its user_id. False, with the reply
 * filled in, where it may not go on. */
bool auth_check(struct api *api, struct api_call *call, struct api_reply *reply);

#endif
