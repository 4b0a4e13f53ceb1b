#include "api/reply.h"

#include <inttypes.h>
#include <stdio.h>

#include "api/call.h"

#define CONTENT_HEADERS                                                                            \
    "Content-Type: application/json; charset=utf-8\r\n"                                            \
    "Cache-Control: no-store\r\n"

static const struct {
    int status;
    const char *message;
} failures[] = {
    [FAILURE_NOT_FOUND] = {404, "Not found"},
    [FAILURE_METHOD] = {405, "Method not allowed"},
    [FAILURE_AUTHORIZATION_MISSING] =
        {401, "Authorization header is missing: send 'Authorization: Bearer <user access token>'"},
    [FAILURE_AUTHORIZATION_WRONG] =
        {401, "Authorization header is wrong: send 'Authorization: Bearer <user access token>'"},
    [FAILURE_USER_MISSING] = {401,
                              "New-Api-User header is missing: send 'New-Api-User: <user id>'"},
    [FAILURE_USER_WRONG] =
        {401, "New-Api-User header is wrong: send 'New-Api-User: <user id>', a decimal number"},
    [FAILURE_DENIED] =
        {401, "Authorization or New-Api-User is wrong: send 'Authorization: Bearer <user access "
              "token>' and 'New-Api-User: <user id>' that belong together"},
    [FAILURE_USER_DISABLED] = {403, "User is disabled"},
    [FAILURE_NO_TOKEN] = {404, "Token does not exist"},
    [FAILURE_INVALID] = {400, "Invalid parameters"},
    [FAILURE_NAME_TOO_LONG] = {400, "Token name is too long"},
    [FAILURE_BODY_TOO_LARGE] = {413, "Request body is too large"},
    [FAILURE_ENABLE_EXPIRED] =
        {409, "The token has expired and cannot be enabled. Please update the token expiration "
              "time first, or set it to never expire"},
    [FAILURE_ENABLE_EXHAUSTED] =
        {409, "The token quota is exhausted and cannot be enabled. Please update the remaining "
              "quota first, or set it to unlimited"},
    [FAILURE_LIMIT] = {409, "Maximum number of tokens reached"},
    [FAILURE_IDEMPOTENCY_MISMATCH] =
        {409, "This Idempotency-Key or transaction_id has been used with another request"},
    [FAILURE_GATEWAY] =
        {401,
         "X-Gateway-Token header is missing or wrong: send 'X-Gateway-Token: <gateway secret>'"},
    [FAILURE_NO_RESERVATION] = {404, "Reservation does not exist"},
    [FAILURE_LIST] = {500, "Failed to retrieve token list"},
    [FAILURE_CORRUPT] = {503, "The token could not be read"},
    [FAILURE_UNAVAILABLE] = {503, "Service is temporarily unavailable"},
};

static const char *status_line(int status)
{
    switch (status) {
    case 200:
        return "Status: 200 OK\r\n";
    case 204:
        return "Status: 204 No Content\r\n";
    case 400:
        return "Status: 400 Bad Request\r\n";
    case 401:
        return "Status: 401 Unauthorized\r\nWWW-Authenticate: Bearer\r\n";
    case 403:
        return "Status: 403 Forbidden\r\n";
    case 404:
        return "Status: 404 Not Found\r\n";
    case 405:
        return "Status: 405 Method Not Allowed\r\n";
    case 409:
        return "Status: 409 Conflict\r\n";
    case 413:
        return "Status: 413 Content Too Large\r\n";
    case 503:
        return "Status: 503 Service Unavailable\r\n";
    default:
        return "Status: 500 Internal Server Error\r\n";
    }
}

static void append_cors(struct buffer *head, const char *origin)
{
    if (!origin)
        return;
    buffer_append_string(head, "Access-Control-Allow-Origin: ");
    buffer_append_string(head, origin);
    buffer_append_string(head, strcmp(origin, "*") == 0 ? "\r\n" : "\r\nVary: Origin\r\n");
}

static void end_head(const struct api *api, struct api_reply *reply)
{
    append_cors(&reply->head, api->options->cors_origin);
    buffer_append_string(&reply->head, "Content-Length: ");
    buffer_append_int(&reply->head, (int64_t)reply->body.len);
    buffer_append_string(&reply->head, "\r\n\r\n");
}

void reply_begin_data(struct buffer *body)
{
    buffer_append(body, SPAN("{\"success\":true,\"message\":\"\",\"data\":"));
}

void reply_end(const struct api *api, struct api_reply *reply)
{
    buffer_append(&reply->head, SPAN("Status: 200 OK\r\n" CONTENT_HEADERS));
    end_head(api, reply);
}

void reply_end_data(const struct api *api, struct api_reply *reply)
{
    buffer_append(&reply->body, SPAN("}"));
    reply_end(api, reply);
}

void reply_done(const struct api *api, struct api_reply *reply)
{
    buffer_append(&reply->body, SPAN("{\"success\":true,\"message\":\"\"}"));
    reply_end(api, reply);
}

/* The head, all but what only some failures have. */
static void begin_failure_head(const struct api *api, struct api_reply *reply, int status)
{
    buffer_clear(&reply->head);
    buffer_clear(&reply->body);
    if (api->failures_answer_200 && status != 401)
        status = 200;
    buffer_append_string(&reply->head, status_line(status));
    buffer_append(&reply->head, SPAN(CONTENT_HEADERS));
}

static void begin_failure(const struct api *api, struct api_reply *reply, enum failure failure,
                          struct span detail)
{
    struct span message = span_of(failures[failure].message);
    size_t texts_len = message.len + detail.len;
    begin_failure_head(api, reply, failures[failure].status);
    char *at =
        buffer_reserve(&reply->body, REPLY_ENVELOPE_LEN_MAX + texts_len * JSON_ESCAPE_LEN_MAX);
    if (!at)
        return;
    at = write_text(at, SPAN("{\"success\":false,\"message\":\""));
    at = write_json_inside(at, message);
    at = write_json_inside(at, detail);
    at = write_text(at, SPAN("\"}"));
    reply->body.len = (size_t)(at - reply->body.at);
}

void reply_failure(const struct api *api, struct api_reply *reply, enum failure failure,
                   struct span detail)
{
    begin_failure(api, reply, failure, detail);
    if (failures[failure].status == 503)
        buffer_append(&reply->head, SPAN("Retry-After: 1\r\n"));
    end_head(api, reply);
}

static void append_allow(struct buffer *head, const struct api_call *call)
{
    buffer_append(head, SPAN("Allow: "));
    route_append_methods(head, call->root, call->path);
    buffer_append(head, SPAN("\r\n"));
}

void reply_method_not_allowed(const struct api *api, struct api_reply *reply,
                              const struct api_call *call)
{
    begin_failure(api, reply, FAILURE_METHOD, (struct span){NULL, 0});
    append_allow(&reply->head, call);
    end_head(api, reply);
}

/* RFC 9110 section 8.6: a 204 has no Content-Length. */
void reply_options(const struct api *api, struct api_reply *reply, const struct api_call *call)
{
    struct buffer *head = &reply->head;
    buffer_append_string(head, status_line(204));
    buffer_append(head, SPAN("Cache-Control: no-store\r\n"));
    append_allow(head, call);
    if (api->options->cors_origin) {
        append_cors(head, api->options->cors_origin);
        buffer_append(head, SPAN("Access-Control-Allow-Methods: "));
        route_append_methods(head, call->root, call->path);
        buffer_append(head,
                      SPAN("\r\nAccess-Control-Allow-Headers: Authorization, New-Api-User, "
                           "Content-Type, Idempotency-Key\r\nAccess-Control-Max-Age: 600\r\n"));
    }
    buffer_append(head, SPAN("\r\n"));
}

/* ---- keys in use ---- */

void reply_refusal(const struct api *api, struct api_reply *reply, enum token_refusal refusal)
{
    static const char *const messages[] = {
        [TOKEN_GOOD] = "",
        [TOKEN_REFUSED_MISSING] = "No key was sent",
        [TOKEN_REFUSED_MALFORMED] = "The key is malformed",
        [TOKEN_REFUSED_UNKNOWN] = "The key is unknown",
        [TOKEN_REFUSED_USER] = "The key's owner is disabled",
        [TOKEN_REFUSED_DISABLED] = "The token is disabled",
        [TOKEN_REFUSED_EXPIRED] = "The token has expired",
        [TOKEN_REFUSED_ADDRESS] = "The token may not be used from this address",
        [TOKEN_REFUSED_MODEL] = "The token may not be used for this model",
        [TOKEN_REFUSED_EXHAUSTED] = "The token quota is exhausted",
    };
    begin_failure_head(api, reply, token_refusal_status(refusal));
    buffer_append(&reply->body, SPAN("{\"success\":false,\"message\":"));
    buffer_append_json(&reply->body, span_of(messages[refusal]));
    buffer_append(&reply->body, SPAN(",\"code\":"));
    buffer_append_json(&reply->body, span_of(token_refusal_reason(refusal)));
    buffer_append(&reply->body, SPAN("}"));
    end_head(api, reply);
}

/* What a header can't hold is left out of it: a group is any text without control characters. */
static char *write_header_text(char *at, struct span text)
{
    for (size_t i = 0; i < text.len; i++)
        if ((unsigned char)text.at[i] >= ' ' && text.at[i] != 0x7F)
            *at++ = text.at[i];
    return at;
}

void reply_verified(struct api_reply *reply, const struct store_use_answer *answer)
{
    enum { FIXED_LEN_MAX = 256 }; /* the names and numbers */
    char *at = buffer_reserve(&reply->head, FIXED_LEN_MAX + answer->group_len);
    if (!at)
        return;
    at = write_text(at, SPAN("Status: 204 No Content\r\nCache-Control: no-store\r\nX-Token-Id: "));
    at = write_int(at, answer->token_id);
    at = write_text(at, SPAN("\r\nX-Token-User: "));
    at = write_int(at, answer->user_id);
    at = write_text(at, SPAN("\r\nX-Token-Group: "));
    at = write_header_text(at, (struct span){answer->group, answer->group_len});
    at = write_text(at, SPAN("\r\nX-Token-Remain: "));
    at = answer->unlimited_quota ? write_text(at, SPAN("unlimited"))
                                 : write_int(at, answer->remain_quota);
    at = write_text(at, SPAN("\r\n\r\n"));
    reply->head.len = (size_t)(at - reply->head.at);
}

void reply_not_verified(struct api_reply *reply, int status, const char *reason)
{
    struct buffer *head = &reply->head;
    buffer_append_string(head, status_line(status));
    buffer_append(head, SPAN("Cache-Control: no-store\r\nX-Token-Reason: "));
    buffer_append_string(head, reason);
    buffer_append(head, SPAN("\r\nContent-Length: 0\r\n\r\n"));
}

void reply_store_error(const struct api *api, struct api_reply *reply, enum store_error error)
{
    static const enum failure by_error[] = {
        [STORE_NOT_FOUND] = FAILURE_NO_TOKEN,
        [STORE_NO_USER] = FAILURE_DENIED,
        [STORE_DENIED] = FAILURE_DENIED,
        [STORE_USER_DISABLED] = FAILURE_USER_DISABLED,
        [STORE_LIMIT] = FAILURE_LIMIT,
        [STORE_IDEMPOTENCY_MISMATCH] = FAILURE_IDEMPOTENCY_MISMATCH,
        [STORE_NO_RESERVATION] = FAILURE_NO_RESERVATION,
        [STORE_ENABLE_EXPIRED] = FAILURE_ENABLE_EXPIRED,
        [STORE_ENABLE_EXHAUSTED] = FAILURE_ENABLE_EXHAUSTED,
        [STORE_FULL] = FAILURE_UNAVAILABLE,
        [STORE_UNAVAILABLE] = FAILURE_UNAVAILABLE,
        [STORE_CORRUPT] = FAILURE_CORRUPT,
        [STORE_BROKEN] = FAILURE_UNAVAILABLE,
        [STORE_UNKNOWN] = FAILURE_UNAVAILABLE,
        [STORE_REFUSED] = FAILURE_UNAVAILABLE,
    };
    char detail[32] = "";
    if (error == STORE_LIMIT)
        snprintf(detail, sizeof(detail), " (%" PRIu64 ")", api->options->max_per_user);
    reply_failure(api, reply, by_error[error], span_of(detail));
}

struct span api_unavailable_reply(void)
{
    return SPAN("Status: 503 Service Unavailable\r\n" CONTENT_HEADERS "Retry-After: 1\r\n"
                "Content-Length: 64\r\n\r\n"
                "{\"success\":false,\"message\":\"Service is temporarily unavailable\"}");
}

void api_reply_free(struct api_reply *reply)
{
    buffer_free(&reply->head);
    buffer_free(&reply->body);
}
