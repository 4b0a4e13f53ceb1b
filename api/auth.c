#include "api/auth.h"

#include <strings.h>

#include "api/query.h"
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
    if (text.len >= scheme.len && strncasecmp(text.at, scheme.at, scheme.len) == 0 &&
        (text.len == scheme.len || text.at[scheme.len] == ' '))
        return trim(span_from(text, scheme.len));
    return text.len > 0 && memchr(text.at, ' ', text.len) ? SPAN("") : text;
}

/* RFC 6455 section 11.3.4: a list with commas. */
static struct span websocket_key(struct span protocols)
{
    const struct span name = SPAN("openai-insecure-api-key.");
    while (protocols.len > 0) {
        struct span protocol = trim(span_cut(&protocols, ','));
        if (span_starts_with(protocol, name))
            return span_from(protocol, name.len);
    }
    return SPAN("");
}

struct span auth_key(const struct request_input *input)
{
    const struct span headers[] = {input->x_api_key, input->api_key, input->x_goog_api_key};
    struct span key = auth_bearer(input->authorization);
    for (size_t i = 0; key.len == 0 && i < sizeof(headers) / sizeof(headers[0]); i++)
        key = trim(headers[i]);
    return key.len > 0 ? key : websocket_key(input->websocket_protocol);
}

#define SEND_TOKEN "send 'Authorization: Bearer <user access token>'"
/* Returns the message of a 401, or NULL with *error the store's answer. */
static const char *check_user(struct request *request, enum store_error *error)
{
    const struct request_input *input = &request->input;
    struct span access_token = auth_bearer(input->authorization);
    struct span named = trim(input->new_api_user);
    int64_t named_id = 0;
    if (input->authorization.len == 0)
        return "Authorization header is missing: " SEND_TOKEN;
    if (access_token.len == 0)
        return "Authorization header is wrong: " SEND_TOKEN;
    if (named.len > 0 && !number_parse(named, &named_id))
        return "New-Api-User header is wrong: send 'New-Api-User: <user id>', a decimal number, or "
               "leave it out";
    *error = store_user_authenticate(request->api->reader, access_token, &request->caller_id);
    request->user_id = request->caller_id;
    if (!store_is_failure(*error) && named.len > 0 && named_id != request->caller_id)
        *error = STORE_DENIED;
    return NULL;
}

/* The same. */
static const char *check_gateway(struct request *request, enum store_error *error)
{
    struct span secret = trim(request->input.gateway_token);
    if (secret.len > 0)
        *error = store_gateway_authenticate(request->api->reader, secret, &request->gateway_id);
    return secret.len > 0 && *error != STORE_DENIED
               ? NULL
               : "X-Gateway-Token header is missing or wrong: send "
                 "'X-Gateway-Token: <gateway secret>'";
}

/* ---- administrators ---- */

static bool is_administrator(struct request *request)
{
    struct store_user *user = &request->user;
    enum store_error error = store_user_get(request->api->reader, request->caller_id, user);
    if (error == STORE_OK && user->role < USER_ROLE_ADMIN)
        error = STORE_FORBIDDEN;
    request->caller_role = user->role;
    if (error != STORE_OK)
        reply_store_error(request, error);
    return error == STORE_OK;
}

bool auth_act_on(struct request *request, int64_t user_id)
{
    enum store_error error = store_user_get(request->api->reader, user_id, &request->user);
    request->user_id = user_id;
    if (error == STORE_OK && request_is_for_other(request) &&
        request->user.role >= request->caller_role)
        error = STORE_FORBIDDEN;
    if (error != STORE_OK)
        reply_store_error(request, error);
    return error == STORE_OK;
}

/* The user_id of the query: the caller's own changes nothing. */
static bool check_user_id(struct request *request)
{
    char value[QUERY_VALUE_SIZE];
    struct span text = query_get(request->input.query, "user_id", value);
    int64_t user_id = 0; /* nobody's: a number that is too large */
    if (text.len == 0)
        return true;
    bool is_number = number_parse(text, &user_id) || text_is_digits(text);
    if (is_number && user_id == request->caller_id)
        return true;
    request->failures_answer_200 = false; /* a refusal must not look like permission */
    if (!is_number)
        reply_invalid_field(request, "user_id", "must be a user's id");
    else if (request->route->caller == ROUTE_OWNER)
        reply_store_error(request, STORE_FORBIDDEN);
    else
        return is_administrator(request) && auth_act_on(request, user_id);
    return false;
}

bool auth_check(struct request *request)
{
    const struct route *route = request->route;
    bool is_users = route->caller >= ROUTE_USER && route->caller <= ROUTE_ADMIN;
    enum store_error error = STORE_OK;
    const char *message = NULL;
    if (is_users)
        message = check_user(request, &error);
    else if (route->caller == ROUTE_GATEWAY)
        message = check_gateway(request, &error);
    if (message)
        reply_failure(request, 401, message);
    else if (error != STORE_OK)
        reply_store_error(request, error);
    if (message || error != STORE_OK)
        return false;
    if (route->caller == ROUTE_ADMIN)
        return is_administrator(request);
    return !is_users || route->root != ROUTE_TOKEN || check_user_id(request);
}
