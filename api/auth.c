#include "api/auth.h"

#include <strings.h>

#include "api/call.h"
#include "api/number.h"
#include "api/reply.h"

static struct span trim(struct span text)
{
    while (text.len > 0 && (text.at[0] == ' ' || text.at[0] == '\t'))
        text = span_from(text, 1);
    while (text.len > 0 && (text.at[text.len - 1] == ' ' || text.at[text.len - 1] == '\t'))
        text.len--;
    return text;
}

/* The credentials of "Bearer <token>" (RFC 6750 section 2.1, the scheme in any letter
 * case) or of a bare token; empty where the header is anything else. */
static struct span bearer_token(struct span authorization)
{
    const struct span scheme = SPAN("Bearer");
    struct span text = trim(authorization);
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

bool auth_check(struct api *api, struct api_call *call, struct api_reply *reply)
{
    const struct api_request *request = call->request;
    if (request->authorization.len == 0)
        return fail(api, reply, FAILURE_AUTHORIZATION_MISSING);
    struct span access_token = bearer_token(request->authorization);
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
