#pragma once

#include "api/request.h"

/* A user as JSON, in answers and in administrators' requests. */

/* Appends the user as an object. for_administrator: with what users do not see of themselves. */
void user_json_append(struct request *request, const struct store_user *user,
                      bool for_administrator);

/* A store_visit_user: appends the user, for an administrator, to the body of the request that
 * context is, after a comma if another one ends there. */
void user_json_visit(void *context, const struct store_user *user);

/* Reads the members that an administrator sets from request->json into the patch. Others, and null
 * ones, are ignored. Returns false with request->invalid set. */
bool user_json_read(struct request *request, struct store_user_patch *patch);
