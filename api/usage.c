/* A token's quota, for the holder of its key: GET /api/usage/token/ in New API's form,
 * /v1/dashboard/billing/… in OpenAI's. And what was used by day: /api/usage/token/days for the
 * holder, GET /:id/usage of a user's token, /api/user/self/usage of all of them. */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "api/auth.h"
#include "api/handlers.h"
#include "api/query.h"
#include "api/reply.h"
#include "base/calendar.h"
#include "base/number.h"
#include "token/limits.h"
#include "token/refill.h"

/* {"a":true,"b":true} of "a,b". */
static void append_models(struct buffer *body, struct span models)
{
    buffer_append(body, SPAN("{"));
    while (models.len > 0) {
        buffer_append_json(body, span_cut(&models, ','));
        buffer_append(body, models.len > 0 ? SPAN(":true,") : SPAN(":true"));
    }
    buffer_append(body, SPAN("}"));
}

static void append_usage(struct request *request, const struct token *token)
{
    struct buffer *body = &request->body;
    char granted[24]; /* within uint64, but it may be beyond int64 */
    buffer_append(body, SPAN("{\"code\":true,\"message\":\"ok\",\"data\":"
                             "{\"object\":\"token_usage\",\"name\":"));
    buffer_append_json(body, token->name);
    buffer_append(body, SPAN(",\"total_granted\":"));
    snprintf(granted, sizeof(granted), "%" PRIu64,
             (uint64_t)token->remain_quota + (uint64_t)token->used_quota);
    buffer_append_string(body, granted);
    buffer_append_number(body, SPAN(",\"total_used\":"), token->used_quota);
    buffer_append_number(body, SPAN(",\"total_available\":"), token->remain_quota);
    buffer_append_bool(body, SPAN(",\"unlimited_quota\":"), token->unlimited_quota);
    buffer_append(body, SPAN(",\"model_limits\":"));
    append_models(body, token->model_limits);
    buffer_append_bool(body, SPAN(",\"model_limits_enabled\":"), token->model_limits_enabled);
    buffer_append_number(body, SPAN(",\"expires_at\":"),
                         token->expired_unix_s == TOKEN_NEVER_EXPIRES ? 0 : token->expired_unix_s);
    buffer_append(body, SPAN("}}"));
}

/* ---- billing ---- */

/* Quota units in money, with the fewest digits (15 to 17) that parse to the same double. */
static void append_money(struct buffer *body, struct span label, long double units,
                         const struct request *request)
{
    enum { DIGITS_MIN = 15, DIGITS_MAX = 17 };
    double money = (double)(units / (long double)request->api->settings->quota_per_unit);
    char text[32];
    for (int digits = DIGITS_MIN; digits <= DIGITS_MAX; digits++) {
        snprintf(text, sizeof(text), "%.*g", digits, money);
        if (strtod(text, NULL) == money)
            break;
    }
    buffer_append(body, label);
    buffer_append_string(body, text);
}

static void append_subscription(struct request *request, const struct token *token)
{
    static const struct span limits[] = {SPAN(",\"soft_limit_usd\":"), SPAN(",\"hard_limit_usd\":"),
                                         SPAN(",\"system_hard_limit_usd\":")};
    enum { UNLIMITED_USD = 100000000 }; /* New API's */
    struct buffer *body = &request->body;
    long double granted = (long double)token->remain_quota + (long double)token->used_quota;
    buffer_append(body, SPAN("{\"object\":\"billing_subscription\",\"has_payment_method\":true"));
    for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++)
        if (token->unlimited_quota)
            buffer_append_number(body, limits[i], UNLIMITED_USD);
        else
            append_money(body, limits[i], granted, request);
    buffer_append_number(body, SPAN(",\"access_until\":"),
                         token->expired_unix_s == TOKEN_NEVER_EXPIRES ? 0 : token->expired_unix_s);
    buffer_append(body, SPAN("}"));
}

/* In cents. */
static void append_billing_usage(struct request *request, const struct token *token)
{
    append_money(&request->body, SPAN("{\"object\":\"list\",\"total_usage\":"),
                 100 * (long double)token->used_quota, request);
    buffer_append(&request->body, SPAN("}"));
}

/* ---- by day ---- */

static void append_days(struct buffer *body, const struct store_days *days)
{
    char date[CALENDAR_TEXT_SIZE];
    buffer_append(body, SPAN("{\"days\":["));
    for (int64_t i = 0; i < days->count; i++) {
        buffer_append(body, i == 0 ? SPAN("{\"date\":\"") : SPAN(",{\"date\":\""));
        buffer_append_string(body, calendar_format(days->first + i, date));
        buffer_append_number(body, SPAN("\",\"units\":"), days->used[i].units);
        buffer_append_number(body, SPAN(",\"requests\":"), days->used[i].requests);
        buffer_append(body, SPAN("}"));
    }
    buffer_append(body, SPAN("]}"));
}

/* token_id 0: all of the user's. */
static enum api_step answer_days(struct request *request, int64_t user_id, int64_t token_id)
{
    enum { DAYS_DEFAULT = 30 };
    char value[QUERY_VALUE_SIZE];
    struct span sent = query_get(request->input.query, "days", value);
    struct store_days days = {.count = DAYS_DEFAULT};
    if (sent.len > 0 &&
        (!number_parse(sent, &days.count) || days.count < 1 || days.count > STORE_USAGE_DAYS))
        return reply_invalid_field(request, "days", "must be 1 to 400");
    days.first = calendar_day(request->now_unix_s) - days.count + 1;
    enum store_error error = store_usage_add(request->api->reader, user_id, token_id, &days);
    if (error != STORE_OK)
        return reply_store_error(request, error);
    reply_begin_data(request);
    append_days(&request->body, &days);
    reply_end_data(request);
    return API_REPLIED;
}

enum api_step token_days_begin(struct request *request)
{
    return answer_days(request, request->user_id, request->path_id);
}

enum api_step user_days_begin(struct request *request)
{
    return answer_days(request, request->user_id, 0);
}

/* ---- routes ---- */

struct question {
    struct request *request;
    void (*append)(struct request *request, const struct token *token);
};

/* Expired and exhausted tokens are answered. */
static void visit(void *context, const struct store_use_view *view)
{
    const struct question *question = context;
    struct request *request = question->request;
    struct token token = *view->token;
    token_refill(&token, calendar_day(request->now_unix_s));
    if (view->owner_disabled || token.status == TOKEN_DISABLED)
        request->usage_refusal = TOKEN_REFUSED_DISABLED;
    else if (token.allow_ips.len > 0 &&
             !limits_allow_ip(token.allow_ips, request->input.remote_addr))
        request->usage_refusal = TOKEN_REFUSED_ADDRESS;
    else
        question->append(request, &token);
}

static enum api_step answer(struct request *request,
                            void (*append)(struct request *request, const struct token *token))
{
    struct question question = {request, append};
    char key[TOKEN_KEY_SIZE];
    struct span sent = auth_key(&request->input);
    enum store_error error = store_key_read(request->api->reader, sent, key);
    if (error == STORE_OK)
        error = store_token_find(request->api->reader, key, request->now_unix_s, visit, &question);
    if (error == STORE_NOT_FOUND)
        return reply_refusal(request, sent.len == 0 ? TOKEN_REFUSED_MISSING : TOKEN_REFUSED_UNKNOWN,
                             NULL);
    if (error != STORE_OK)
        return reply_store_error(request, error);
    return request->usage_refusal == TOKEN_GOOD
               ? API_REPLIED
               : reply_refusal(request, request->usage_refusal, NULL);
}

enum api_step usage_begin(struct request *request)
{
    return answer(request, append_usage);
}

enum api_step subscription_begin(struct request *request)
{
    return answer(request, append_subscription);
}

enum api_step billing_usage_begin(struct request *request)
{
    return answer(request, append_billing_usage);
}

/* The usage is read after the token: it is another look at the store. */
static void keep_ids(struct request *request, const struct token *token)
{
    request->user_id = token->user_id;
    request->path_id = token->id;
}

enum api_step key_days_begin(struct request *request)
{
    enum api_step step = answer(request, keep_ids);
    return request->user_id == 0 ? step : token_days_begin(request);
}
