#include "api/auth.h"

#include <strings.h>

#include "api/reply.h"
#include "base/number.h"
#include "base/text.h"

/* RFC 9110 section 5.5: blanks and tabs around a header's value are not part of it. */
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

static bool fail(struct request *request, const char *message)
{
    reply_failure(request, 401, message);
    return false;
}

bool auth_check_user(struct request *request)
{
    const struct request_input *input = &request->input;
    if (input->authorization.len == 0)
        return fail(request, "Authorization header is missing: send 'Authorization: Bearer <user "
                             "access token>'");
    struct span access_token = auth_bearer(input->authorization);
    if (access_token.len == 0)
        return fail(request,
                    "Authorization header is wrong: send 'Authorization: Bearer <user access "
                    "token>'");
    struct span user_id = trim(input->new_api_user);
    if (user_id.len == 0)
        return fail(request, "New-Api-User header is missing: send 'New-Api-User: <user id>'");
    if (!number_parse(user_id, &request->user_id))
        return fail(request,
                    "New-Api-User header is wrong: send 'New-Api-User: <user id>', a decimal "
                    "number");
    enum store_error error =
        store_user_authenticate(request->api->reader, request->user_id, access_token);
    if (error != STORE_OK)
        reply_store_error(request, error);
    return error == STORE_OK;
}

static const char gateway_wrong[] =
    "X-Gateway-Token header is missing or wrong: send 'X-Gateway-Token: <gateway secret>'";

bool auth_check_gateway(struct request *request)
{
    struct span secret = trim(request->input.gateway_token);
    if (secret.len == 0)
        return fail(request, gateway_wrong);
    enum store_error error =
        store_gateway_authenticate(request->api->reader, secret, &request->gateway_id);
    if (error == STORE_DENIED)
        return fail(request, gateway_wrong);
    if (error != STORE_OK)
        reply_store_error(request, error);
    return error == STORE_OK;
}
