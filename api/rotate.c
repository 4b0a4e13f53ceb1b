/* POST /:id/rotate: another key on the same token, answered by update_render. */

#include "api/handlers.h"
#include "api/idempotency.h"
#include "api/json_in.h"
#include "api/reply.h"
#include "seal/key_pool.h"

enum { GRACE_S_MAX = 30 * 24 * 3600 };

enum api_step rotate_begin(struct request *request)
{
    struct store_write *write = &request->write;
    if (request->input.body.len > 0 && /* it may be left out */
        (!json_in_parse(request, false) ||
         !json_in_integer(request, "grace_seconds", 0, GRACE_S_MAX, &write->rotate.grace_s)))
        return reply_invalid(request);
    write->kind = STORE_ROTATE;
    write->rotate.token_id = request->path_id;
    key_pool_take(request->api->keys, write->rotate.key);
    return idempotency_by_header(request);
}
