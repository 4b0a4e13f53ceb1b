#include "api/idempotency.h"

#include <stdio.h>

#include "api/reply.h"

/* In the transaction: the answer to remember. */
static struct span render_answer(struct store_write *write)
{
    struct request *request = (struct request *)write; /* its first member */
    buffer_clear(&request->body);
    request->route->render(request);
    return request->body.failed ? (struct span){NULL, 0} : buffer_span(&request->body);
}

void idempotency_set(struct request *request, const char *client, int64_t client_id,
                     struct span key)
{
    char scope[128];
    snprintf(scope, sizeof(scope), "%s %lld %s %s %lld", client, (long long)client_id,
             request->route->method, request->route->pattern, (long long)request->path_id);
    store_idempotency_init(&request->write.idempotency, span_of(scope), key, request->input.body,
                           render_answer);
}

enum api_step idempotency_by_header(struct request *request)
{
    struct span key = request->input.idempotency_key;
    if (!key.at)
        return API_WRITES;
    bool well_formed = key.len >= 1 && key.len <= 255;
    for (size_t i = 0; i < key.len; i++)
        well_formed = well_formed && key.at[i] > ' ' && key.at[i] < 0x7F;
    if (!well_formed)
        return reply_invalid_field(request, "Idempotency-Key",
                                   "must be 1 to 255 visible characters");
    idempotency_set(request, "user", request->user_id, key);
    request->write.idempotency.user_id = request->user_id;
    return API_WRITES;
}
