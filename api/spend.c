/* POST /consume, /reserve, /settle, /cancel: what a gateway spends. */

#include "api/handlers.h"
#include "api/idempotency.h"
#include "api/json_in.h"
#include "api/reply.h"
#include "base/text.h"

enum { TTL_S_DEFAULT = 600, TTL_S_MAX = 3600, TRANSACTION_ID_CHARACTERS_MAX = 255 };

/* ---- taking ---- */

/* Reads the members of a use; *key and *transaction_id stay absent where they are not sent. */
static bool read_use(struct request *request, struct span *key, struct span *transaction_id)
{
    struct token_use *use = &request->write.spend.use;
    if (!json_in_parse(request, false) || !json_in_text(request, "key", key) ||
        !json_in_text(request, "ip", &use->ip) || !json_in_text(request, "model", &use->model) ||
        !json_in_text(request, "transaction_id", transaction_id) ||
        !json_in_required(request, "amount", 0, INT64_MAX, &use->amount))
        return false;
    size_t characters = text_count_characters(*transaction_id);
    if (!transaction_id->at || (characters >= 1 && characters <= TRANSACTION_ID_CHARACTERS_MAX))
        return true;
    return json_in_refuse(request, "transaction_id", "must be 1 to 255 characters");
}

/* ttl_s is 0 for good. */
static enum api_step begin_spend(struct request *request, int64_t ttl_s)
{
    struct span key = {NULL, 0}, transaction_id = {NULL, 0};
    if (!read_use(request, &key, &transaction_id) ||
        (ttl_s > 0 && !json_in_integer(request, "ttl_seconds", 1, TTL_S_MAX, &ttl_s)))
        return reply_invalid(request);
    enum store_error error = store_key_read(request->api->reader, key, request->write.spend.key);
    if (store_is_failure(error))
        return reply_store_error(request, error);
    if (error != STORE_OK)
        return reply_refusal(request,
                             key.len == 0 ? TOKEN_REFUSED_MISSING : TOKEN_REFUSED_MALFORMED, NULL);
    request->write.kind = STORE_SPEND;
    request->write.spend.gateway_id = request->gateway_id;
    request->write.spend.ttl_s = ttl_s;
    if (transaction_id.at)
        idempotency_set(request, "gateway", request->gateway_id, transaction_id);
    return API_WRITES;
}

enum api_step consume_begin(struct request *request)
{
    return begin_spend(request, 0);
}

enum api_step reserve_begin(struct request *request)
{
    return begin_spend(request, TTL_S_DEFAULT);
}

static void render(struct request *request, const struct store_use_answer *answer)
{
    struct buffer *body = &request->body;
    reply_begin_data(request);
    buffer_append_number(body, SPAN("{\"token_id\":"), answer->token_id);
    buffer_append_number(body, SPAN(",\"user_id\":"), answer->user_id);
    buffer_append(body, SPAN(",\"group\":"));
    buffer_append_json(body, (struct span){answer->group, answer->group_len});
    if (answer->right.checked) {
        buffer_append(body, SPAN(",\"group_ratio\":"));
        buffer_append_millionths(body, answer->right.ratio_millionths);
    }
    buffer_append_number(body, SPAN(",\"remain_quota\":"), answer->remain_quota);
    buffer_append_bool(body, SPAN(",\"unlimited_quota\":"), answer->unlimited_quota);
    if (answer->reservation_id > 0) {
        buffer_append_number(body, SPAN(",\"reservation\":"), answer->reservation_id);
        buffer_append_number(body, SPAN(",\"amount\":"), answer->amount);
    }
    if (request->write.kind == STORE_SETTLE)
        buffer_append_number(body, SPAN(",\"shortfall\":"), answer->shortfall);
    buffer_append(body, SPAN("}"));
    reply_end_data(request);
}

void consume_render(struct request *request)
{
    if (request->write.spend.refusal != TOKEN_GOOD)
        reply_refusal(request, request->write.spend.refusal, &request->write.spend.answer);
    else
        render(request, &request->write.spend.answer);
}

/* ---- settling ---- */

static enum api_step begin_settle(struct request *request, bool wants_amount)
{
    struct store_write *write = &request->write;
    write->kind = STORE_SETTLE;
    write->settle.gateway_id = request->gateway_id;
    write->settle.cancels = !wants_amount;
    if (!json_in_parse(request, false) ||
        (wants_amount &&
         !json_in_required(request, "amount", 0, INT64_MAX, &write->settle.amount)) ||
        !json_in_required(request, "reservation", INT64_MIN, INT64_MAX,
                          &write->settle.reservation_id))
        return reply_invalid(request);
    return API_WRITES;
}

enum api_step settle_begin(struct request *request)
{
    return begin_settle(request, true);
}

enum api_step cancel_begin(struct request *request)
{
    return begin_settle(request, false);
}

void settle_render(struct request *request)
{
    render(request, &request->write.settle.answer);
}
