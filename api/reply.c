#include "api/reply.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/text.h"
#include "counters/counters.h"

static const char denied[] =
    "Authorization or New-Api-User is wrong: send 'Authorization: Bearer <user access token>'; "
    "'New-Api-User: <user id>' is optional";
static const char name_too_long[] = "Token name is too long";

struct status {
    int status;
    struct span line; /* and what every answer of that status has */
    const char *code; /* of failures without a more special one */
};

static const struct status statuses[] = {
    {200, SPAN("Status: 200 OK\r\n"), NULL},
    {204, SPAN("Status: 204 No Content\r\n"), NULL},
    {400, SPAN("Status: 400 Bad Request\r\n"), "invalid"},
    {401, SPAN("Status: 401 Unauthorized\r\nWWW-Authenticate: Bearer\r\n"), "unauthorized"},
    {403, SPAN("Status: 403 Forbidden\r\n"), "forbidden"},
    {404, SPAN("Status: 404 Not Found\r\n"), "not_found"},
    {405, SPAN("Status: 405 Method Not Allowed\r\n"), "method"},
    {409, SPAN("Status: 409 Conflict\r\n"), NULL},
    {413, SPAN("Status: 413 Content Too Large\r\n"), "too_large"},
    {429, SPAN("Status: 429 Too Many Requests\r\n"), "remembered"},
    {503, SPAN("Status: 503 Service Unavailable\r\nRetry-After: 1\r\n"), "unavailable"},
    {500, SPAN("Status: 500 Internal Server Error\r\n"), "list"},
};
enum { STATUS_COUNT = sizeof(statuses) / sizeof(statuses[0]) };
_Static_assert(STATUS_COUNT <= (int)COUNTERS_STATUSES_MAX, "statuses are counted");

unsigned reply_find_status(int status)
{
    unsigned i = 0;
    while (i + 1 < STATUS_COUNT && statuses[i].status != status)
        i++;
    return i;
}

int reply_status(unsigned number)
{
    return number < STATUS_COUNT ? statuses[number].status : 0;
}

static void begin_head(struct request *request, int status)
{
    request->status = reply_find_status(status);
    buffer_append(&request->head, statuses[request->status].line);
}

/* name is "Name: ". */
static void append_header(struct buffer *head, struct span name, struct span value)
{
    buffer_append(head, name);
    buffer_append(head, value);
    buffer_append(head, SPAN("\r\n"));
}

/* One Vary: a CGI script sends no header twice (RFC 3875, 6.3). */
static void append_cors(struct buffer *head, const char *origin, bool is_preflight)
{
    bool is_any = strcmp(origin, "*") == 0;
    append_header(head, SPAN("Access-Control-Allow-Origin: "), span_of(origin));
    if (is_preflight)
        append_header(head, is_any ? SPAN("Vary: ") : SPAN("Vary: Origin, "),
                      SPAN("Access-Control-Request-Headers"));
    else if (!is_any)
        append_header(head, SPAN("Vary: "), SPAN("Origin"));
}

static void end_head(struct request *request)
{
    if (request->api->settings->cors_origin)
        append_cors(&request->head, request->api->settings->cors_origin, false);
    buffer_append_number(&request->head, SPAN("Content-Length: "), (int64_t)request->body.len);
    buffer_append(&request->head, SPAN("\r\n\r\n"));
    if (span_equal(request->input.method, SPAN("HEAD")))
        buffer_clear(&request->body);
}

void reply_begin_data(struct request *request)
{
    buffer_append(&request->body, SPAN("{\"success\":true,\"message\":\"\",\"data\":"));
}

void reply_end_data(struct request *request)
{
    buffer_append(&request->body, SPAN("}"));
}

void reply_success(struct request *request)
{
    begin_head(request, 200);
    buffer_append(&request->head, SPAN(REPLY_CONTENT_HEADERS));
    end_head(request);
}

void reply_text(struct request *request)
{
    begin_head(request, 200);
    buffer_append(&request->head, SPAN("Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"
                                       "Cache-Control: no-store\r\n"));
    end_head(request);
}

/* ---- what is told of limits ---- */

/* draft-ietf-httpapi-ratelimit-headers-10: policies or limits, requests before units. */
static void append_rate(struct buffer *head, const struct store_use_answer *answer, bool policy)
{
    const struct {
        const char *name;
        const struct token_limit *limit;
    } rates[] = {{"rpm", &answer->requests}, {"tpm", &answer->units}};
    struct span before = policy ? SPAN("RateLimit-Policy: ") : SPAN("RateLimit: ");
    for (size_t i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
        const struct token_limit *limit = rates[i].limit;
        char text[96];
        if (limit->limit == 0)
            continue;
        if (policy)
            snprintf(text, sizeof(text), "\"%s\";q=%" PRId64 ";w=60", rates[i].name, limit->limit);
        else
            snprintf(text, sizeof(text), "\"%s\";r=%" PRId64 ";t=%" PRId64, rates[i].name,
                     limit->left, limit->full_s);
        buffer_append(head, before);
        buffer_append_string(head, text);
        before = SPAN(", ");
    }
    buffer_append(head, SPAN("\r\n"));
}

/* As OpenAI's SDKs read them; a time is "1m3s". */
static void append_openai(struct buffer *head, const char *what, const struct token_limit *limit)
{
    char text[256];
    if (limit->limit == 0)
        return;
    int len = snprintf(text, sizeof(text),
                       "x-ratelimit-limit-%s: %" PRId64 "\r\n"
                       "x-ratelimit-remaining-%s: %" PRId64 "\r\n"
                       "x-ratelimit-reset-%s: ",
                       what, limit->limit, what, limit->left, what);
    if (limit->full_s >= 60)
        len += snprintf(text + len, sizeof(text) - (size_t)len, "%" PRId64 "m", limit->full_s / 60);
    snprintf(text + len, sizeof(text) - (size_t)len, "%" PRId64 "s\r\n", limit->full_s % 60);
    buffer_append_string(head, text);
}

/* What is told of limits, if the token or its owner has some, and when to come again. */
static void append_limits(struct buffer *head, const struct store_use_answer *answer)
{
    if (answer->requests.limit > 0 || answer->units.limit > 0) {
        append_rate(head, answer, true);
        append_rate(head, answer, false);
        append_openai(head, "requests", &answer->requests);
        append_openai(head, "tokens", &answer->units);
    }
    if (answer->retry_after_s > 0) {
        buffer_append_number(head, SPAN("Retry-After: "), answer->retry_after_s);
        buffer_append(head, SPAN("\r\n"));
    }
}

/* ---- failures ---- */

/* Ends a failure; what was there of a reply is dropped. code NULL: the status's. answer NULL: it is
 * about no use of a key. */
static enum api_step fail_use(struct request *request, int status, const char *message,
                              const char *detail, const char *code,
                              const struct store_use_answer *answer)
{
    char text[512];
    struct buffer *head = &request->head, *body = &request->body;
    buffer_clear(head);
    buffer_clear(body);
    if (!code)
        code = statuses[reply_find_status(status)].code;
    if (request->failures_answer_200 && status != 401 && status != 429 && status != 503)
        status = 200;
    begin_head(request, status);
    buffer_append(head, SPAN(REPLY_CONTENT_HEADERS));
    if (status == 405)
        append_header(head, SPAN("Allow: "), request->allow);
    if (answer) {
        append_limits(head, answer);
    } else if (status == 429) {
        buffer_append_number(head, SPAN("Retry-After: "), request->write.idempotency.retry_after_s);
        buffer_append(head, SPAN("\r\n"));
    }
    snprintf(text, sizeof(text), "%s%s", message, detail);
    buffer_append(body, SPAN("{\"success\":false,\"message\":"));
    buffer_append_json(body, span_of(text));
    buffer_append(body, SPAN(",\"code\":"));
    buffer_append_json(body, span_of(code));
    if (request->root == ROUTE_HEALTH && status == 503)
        buffer_append(body, SPAN(",\"status\":\"failed\""));
    buffer_append(body, SPAN("}"));
    end_head(request);
    return API_REPLIED;
}

static enum api_step fail(struct request *request, int status, const char *message,
                          const char *detail, const char *code)
{
    return fail_use(request, status, message, detail, code, NULL);
}

enum api_step reply_failure(struct request *request, int status, const char *message)
{
    return fail(request, status, message, "", NULL);
}

/* The detail is ": [1].name must be a string". */
enum api_step reply_invalid(struct request *request)
{
    const struct validation_error *error = &request->invalid;
    const char *dot = error->field.at ? "." : "", *field = error->field.at ? error->field.at : "";
    char element[32] = "", detail[256] = "";
    if (error->code == VALIDATION_UNAVAILABLE)
        return reply_store_error(request, STORE_UNAVAILABLE);
    if (!error->text)
        return fail(request, 400, "Invalid parameters", "", "ids");
    if (error->index >= 0)
        snprintf(element, sizeof(element), ": [%" PRId64 "]%s", error->index, dot);
    if (error->code == VALIDATION_NAME_TOO_LONG) { /* which the message says */
        snprintf(detail, sizeof(detail), "%s%s", element, *element ? field : "");
        return fail(request, 400, name_too_long, detail, "name");
    }
    snprintf(detail, sizeof(detail), "%s%s %s", *element ? element : ": ", field, error->text);
    return fail(request, 400, "Invalid parameters", detail, "invalid");
}

enum api_step reply_invalid_field(struct request *request, const char *field, const char *text)
{
    request->invalid =
        (struct validation_error){.field = span_of(field), .text = text, .index = -1};
    return reply_invalid(request);
}

/* Names the group that a token may not have, and the element of an array. */
static enum api_step refuse_group(struct request *request)
{
    const struct store_write *write = &request->write;
    bool is_create = write->kind == STORE_CREATE;
    struct span group = is_create ? write->create.tokens[write->create.refused].group
                                  : write->update.patch.value.group;
    char element[32] = "", detail[128 + TOKEN_GROUP_LEN_MAX];
    if (is_create && request->token_list)
        snprintf(element, sizeof(element), "[%zu].", write->create.refused);
    snprintf(detail, sizeof(detail), ": %sgroup %.*s is not available to you", element,
             (int)group.len, group.at);
    return fail(request, 400, "Invalid parameters", detail, "group");
}

enum api_step reply_store_error(struct request *request, enum store_error error)
{
    static const struct {
        int status;
        const char *message, *code; /* code NULL: the status's */
    } failures[STORE_REFUSED + 1] = {
        [STORE_NOT_FOUND] = {404, "Token does not exist", NULL},
        [STORE_NO_USER] = {401, denied, NULL}, /* the caller */
        [STORE_DENIED] = {401, denied, NULL},
        [STORE_USER_DISABLED] = {403, "User is disabled", "user_disabled"},
        [STORE_NAME_TAKEN] = {409, "Another user has this name", "name_taken"},
        [STORE_LIMIT] = {409, "Maximum number of tokens reached", "limit"},
        [STORE_IDEMPOTENCY_MISMATCH] =
            {409, "This Idempotency-Key or transaction_id has been used with another request",
             "idempotency_mismatch"},
        [STORE_REMEMBERED] = {429, "Too much is remembered for this user", NULL},
        [STORE_ANSWER_TOO_LARGE] =
            {400, "Invalid parameters: Idempotency-Key can't be used for an answer above 1 MiB",
             NULL},
        [STORE_NO_RESERVATION] = {404, "Reservation does not exist", "reservation"},
        [STORE_ENABLE_EXPIRED] =
            {409,
             "The token has expired and cannot be enabled. Please update the token "
             "expiration time first, or set it to never expire",
             "expired"},
        [STORE_ENABLE_EXHAUSTED] =
            {409,
             "The token quota is exhausted and cannot be enabled. Please update the "
             "remaining quota first, or set it to unlimited",
             "exhausted"},
        [STORE_QUOTA_TOO_LOW] = {409, "The token has less quota left than that", "quota_too_low"},
        [STORE_QUOTA_TOO_HIGH] = {400, "Invalid parameters: remain_quota would be out of range",
                                  NULL},
        [STORE_NAME_TOO_LONG] = {400, name_too_long, "name"},
        [STORE_NO_GROUP] = {400, "Invalid parameters: group does not exist", "group"},
        [STORE_FORBIDDEN] = {403, "You have no right to this", NULL},
        [STORE_CORRUPT] = {503, "The token could not be read", NULL},
        [STORE_UNKNOWN] =
            {503,
             "Perhaps done: repeat with the same Idempotency-Key, transaction_id or reservation",
             "unknown"},
    };
    char detail[32] = "";
    if (error == STORE_GROUP)
        return refuse_group(request);
    if (!failures[error].message)
        return reply_failure(request, 503, "Service is temporarily unavailable");
    if (request->root == ROUTE_USERS && error == STORE_QUOTA_TOO_LOW)
        return fail(request, 409, "The user has less quota left than that", "", "quota_too_low");
    if (request->root == ROUTE_USERS && error == STORE_QUOTA_TOO_HIGH)
        return reply_invalid_field(request, "quota", "would be out of range");
    if (error == STORE_NO_USER && request_is_for_other(request))
        return reply_failure(request, 404, "User does not exist");
    if (error == STORE_LIMIT)
        snprintf(detail, sizeof(detail), " (%" PRIu64 ")", request->write.create.limit);
    return fail(request, failures[error].status, failures[error].message, detail,
                failures[error].code);
}

/* ---- methods ---- */

/* Appends the names that a preflight asks for (Fetch standard, "CORS protocol"); what is no name is
 * left out. */
static void append_requested_headers(struct buffer *head, struct span names)
{
    while (names.len > 0) {
        struct span name = text_trim(span_cut(&names, ','), SPAN(" \t"));
        bool is_name = name.len > 0;
        for (size_t i = 0; i < name.len; i++)
            is_name = is_name && (isalnum((unsigned char)name.at[i]) || name.at[i] == '-');
        if (is_name) {
            buffer_append(head, SPAN(", "));
            buffer_append(head, name);
        }
    }
}

/* RFC 9110 section 8.6: a 204 has no Content-Length. */
void reply_options(struct request *request)
{
    struct buffer *head = &request->head;
    begin_head(request, 204);
    buffer_append(head, SPAN("Cache-Control: no-store\r\n"));
    append_header(head, SPAN("Allow: "), request->allow);
    if (request->api->settings->cors_origin) {
        append_cors(head, request->api->settings->cors_origin, true);
        append_header(head, SPAN("Access-Control-Allow-Methods: "), request->allow);
        buffer_append(head, SPAN("Access-Control-Max-Age: 600\r\n"
                                 "Access-Control-Allow-Headers: Authorization, New-Api-User, "
                                 "Content-Type, Idempotency-Key"));
        append_requested_headers(head, request->input.cors_request_headers);
        buffer_append(head, SPAN("\r\n"));
    }
    buffer_append(head, SPAN("\r\n"));
}

/* ---- keys in use ---- */

enum api_step reply_refusal(struct request *request, enum token_refusal refusal,
                            const struct store_use_answer *answer)
{
    const struct token_refusal_answer *refused = &token_refusal_answers[refusal];
    int status = refusal == TOKEN_REFUSED_RATE ? 429 : refused->status;
    return fail_use(request, status, refused->message, "", refused->reason, answer);
}

enum api_step reply_verified(struct request *request, enum token_refusal refusal,
                             const struct store_use_answer *answer)
{
    const struct token_refusal_answer *refused = &token_refusal_answers[refusal];
    struct buffer *head = &request->head;
    counters_add(request->api->counters, COUNTER_VERIFICATIONS + refusal, 1);
    begin_head(request, refused->status);
    buffer_append(head, SPAN("Cache-Control: no-store\r\n"));
    if (answer)
        append_limits(head, answer);
    if (refusal != TOKEN_GOOD || !answer) {
        append_header(head, SPAN("X-Token-Reason: "), span_of(refused->reason));
        buffer_append(head, SPAN("Content-Length: 0\r\n\r\n"));
        return API_REPLIED;
    }
    buffer_append_number(head, SPAN("X-Token-Id: "), answer->token_id);
    buffer_append_number(head, SPAN("\r\nX-Token-User: "), answer->user_id);
    /* without control characters, as stored */
    append_header(head, SPAN("\r\nX-Token-Group: "),
                  (struct span){answer->group, answer->group_len});
    if (answer->right.checked) {
        buffer_append(head, SPAN("X-Token-Group-Ratio: "));
        buffer_append_millionths(head, answer->right.ratio_millionths);
        buffer_append(head, SPAN("\r\n"));
    }
    if (answer->has_models)
        append_header(head, SPAN("X-Token-Models: "), buffer_span(answer->models));
    if (answer->unlimited_quota)
        buffer_append(head, SPAN("X-Token-Remain: unlimited"));
    else
        buffer_append_number(head, SPAN("X-Token-Remain: "), answer->remain_quota);
    buffer_append(head, SPAN("\r\n\r\n"));
    return API_REPLIED;
}
