#pragma once

#include "api/request.h"

/* Writes that are done once, however often the request comes. */

/* Makes the prepared write idempotent if the request has an Idempotency-Key. Returns API_WRITES,
 * or API_REPLIED if the header is malformed. */
enum api_step idempotency_by_header(struct request *request);

/* Makes the write idempotent by a key that is unique to a client: a kind, such as "user", and an
 * id. */
void idempotency_set(struct request *request, const char *client, int64_t client_id,
                     struct span key);
