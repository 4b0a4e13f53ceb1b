#include "api/auth.h"

#include <strings.h>

#include "api/call.h"
#include "base/number.h"
#include "api/reply.h"
#include "base/text.h"

/* RFC 9110 section 5.5: blanks and tabs around a field's value are not part of it. */
static struct span trim(struct span value)
{
    return text_trim(value, SPAN(" \t"));
}

struct span auth_bearer(struct span authorization)
{
    const struct span scheme = SPAN("Bearer");
    struct span text = trim(authorization);
    if (text.len == 0)
        return text;
    const char *blank = memchr(text.at, ' ', text.len);
    bool has_scheme = text.len >= scheme.len && strncasecmp(text.at, scheme.at, scheme.len) == 0 &&
                      (text.len == scheme.len || text.at[scheme.len] == ' ');
    if (has_scheme)
        return trim(span_from(text, scheme.len));
    return blank ? SPAN("") : text;
}

static bool fail(struct api *api, struct api_reply *reply, enum failure failure)
{
    reply_failure(api, reply, failure, (struct span){NULL, 0});
    return false;
}

bool auth_check_user(struct api *api, struct api_call *call, struct api_reply *reply)
{
    const struct api_request *request = call->request;
    if (request->authorization.len == 0)
        return fail(api, reply, FAILURE_AUTHORIZATION_MISSING);
    struct span access_token = auth_bearer(request->authorization);
    if (access_token.len == 0)
        return fail(api, reply, FAILURE_AUTHORIZATION_WRONG);
    struct span user_id = trim(request->new_api_user);
    if (user_id.len == 0)
        return fail(api, reply, FAILURE_USER_MISSING);
    if (!number_parse(user_id, &call->user_id))
        return fail(api, reply, FAILURE_USER_WRONG);

    enum store_error error = store_user_authenticate(api->reader, call->user_id, access_token);
    if (error != STORE_OK)
        reply_store_error(api, reply, error);
    return error == STORE_OK;
}

bool auth_check_gateway(struct api *api, struct api_call *call, struct api_reply *reply)
{
    struct span secret = trim(call->request->gateway_token);
    if (secret.len == 0)
        return fail(api, reply, FAILURE_GATEWAY);
    enum store_error error = store_gateway_authenticate(api->reader, secret, &call->gateway_id);
    if (error == STORE_DENIED)
        return fail(api, reply, FAILURE_GATEWAY);
    if (error != STORE_OK)
        reply_store_error(api, reply, error);
    return error == STORE_OK;
}
