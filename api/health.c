/* GET /healthz: whether reads and writes work, for monitors and load balancers. */

#include <stdio.h>

#include "api/handlers.h"
#include "api/reply.h"
#include "counters/counters.h"

enum api_step health_begin(struct request *request)
{
    static const char last_failed[] = "The last commit failed: ";
    const struct api *api = request->api;
    char reason[sizeof(last_failed) + STORE_REASON_SIZE];
    unsigned last = counters_commit_error(api->counters);
    if (store_check_health(api->reader, reason) != STORE_OK)
        return reply_failure(request, 503, reason);
    snprintf(reason, sizeof(reason), "%s%s", last_failed,
             store_error_text(last < STORE_REFUSED ? last : STORE_UNAVAILABLE));
    if (last != STORE_OK)
        return reply_failure(request, 503, reason);
    buffer_append(&request->body, SPAN("{\"status\":\"ok\"}"));
    return API_REPLIED;
}
