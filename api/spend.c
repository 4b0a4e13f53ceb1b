/* POST /consume, /reserve, /settle, /cancel: what a gateway spends. */

#include <string.h>

#include "api/call.h"
#include "api/reply.h"
#include "api/token_json.h"

enum { TTL_S_DEFAULT = 600, TTL_S_MAX = 3600, TRANSACTION_ID_LEN_MAX = 255 };

/* ---- taking ---- */

/* The request's members; *key is absent where it was not sent. */
static bool read_use(struct api *api, struct api_call *call, struct span *key,
                     struct json_refusal *refusal)
{
    struct token_use *use = &call->write.spend.use;
    struct span transaction_id = {NULL, 0};
    if (!token_json_parse(api, call, false, refusal) ||
        !token_json_read_text(call, "key", key, refusal) ||
        !token_json_read_text(call, "ip", &use->ip, refusal) ||
        !token_json_read_text(call, "model", &use->model, refusal) ||
        !token_json_read_text(call, "transaction_id", &transaction_id, refusal))
        return false;
    use->amount = -1;
    if (!token_json_read_int(call, "amount", 0, INT64_MAX, &use->amount, refusal))
        return false;
    if (use->amount < 0) {
        refusal->field = SPAN("amount");
        refusal->text = "is required";
        return false;
    }
    if (transaction_id.at &&
        (transaction_id.len < 1 || transaction_id.len > TRANSACTION_ID_LEN_MAX)) {
        refusal->field = SPAN("transaction_id");
        refusal->text = "must be 1 to 255 bytes";
        return false;
    }
    if (transaction_id.at)
        call_set_repeat(call, "gateway", call->gateway_id, transaction_id);
    return true;
}

/* A well-formed key goes on to the store. */
static enum api_step take(struct api *api, struct api_call *call, struct span key,
                          struct api_reply *reply)
{
    call->write.kind = STORE_SPEND;
    call->write.spend.gateway_id = call->gateway_id;
    if (key.len > 0 && token_key_is_well_formed(key)) {
        memcpy(call->write.spend.key, key.at, TOKEN_KEY_LEN);
        return API_WRITES;
    }
    reply_refusal(api, reply, key.len == 0 ? TOKEN_REFUSED_MISSING : TOKEN_REFUSED_MALFORMED);
    return API_REPLIED;
}

enum api_step consume_begin(struct api *api, struct api_call *call, struct api_reply *reply)
{
    struct span key = {NULL, 0};
    struct json_refusal refusal;
    if (read_use(api, call, &key, &refusal))
        return take(api, call, key, reply);
    token_json_refuse(api, reply, &refusal);
    return API_REPLIED;
}

enum api_step reserve_begin(struct api *api, struct api_call *call, struct api_reply *reply)
{
    struct span key = {NULL, 0};
    struct json_refusal refusal;
    int64_t ttl_s = TTL_S_DEFAULT;
    if (read_use(api, call, &key, &refusal) &&
        token_json_read_int(call, "ttl_seconds", 1, TTL_S_MAX, &ttl_s, &refusal)) {
        call->write.spend.ttl_s = ttl_s;
        return take(api, call, key, reply);
    }
    token_json_refuse(api, reply, &refusal);
    return API_REPLIED;
}

static void append_answer(struct buffer *body, const struct store_use_answer *answer)
{
    reply_begin_data(body);
    buffer_append(body, SPAN("{\"token_id\":"));
    buffer_append_int(body, answer->token_id);
    buffer_append(body, SPAN(",\"user_id\":"));
    buffer_append_int(body, answer->user_id);
    buffer_append(body, SPAN(",\"group\":"));
    buffer_append_json(body, (struct span){answer->group, answer->group_len});
    buffer_append(body, SPAN(",\"remain_quota\":"));
    buffer_append_int(body, answer->remain_quota);
    buffer_append(body, answer->unlimited_quota ? SPAN(",\"unlimited_quota\":true")
                                                : SPAN(",\"unlimited_quota\":false"));
    if (answer->reservation_id > 0) {
        buffer_append(body, SPAN(",\"reservation\":"));
        buffer_append_int(body, answer->reservation_id);
        buffer_append(body, SPAN(",\"amount\":"));
        buffer_append_int(body, answer->amount);
    }
}

void consume_render(struct api_call *call, struct buffer *body)
{
    append_answer(body, &call->write.spend.answer);
    buffer_append(body, SPAN("}}"));
}

void consume_finish(struct api *api, struct api_call *call, struct api_reply *reply)
{
    if (call->write.spend.refusal != TOKEN_GOOD)
        reply_refusal(api, reply, call->write.spend.refusal);
    else
        call_answer(api, call, reply);
}

/* ---- settling ---- */

/* Reads "reservation", and "amount" where it is wanted. */
static enum api_step begin_end(struct api *api, struct api_call *call, bool wants_amount,
                               struct api_reply *reply)
{
    struct json_refusal refusal;
    int64_t id = 0, amount = wants_amount ? -1 : 0;
    bool read =
        token_json_parse(api, call, false, &refusal) &&
        token_json_read_int(call, "reservation", INT64_MIN, INT64_MAX, &id, &refusal) &&
        (!wants_amount || token_json_read_int(call, "amount", 0, INT64_MAX, &amount, &refusal));
    if (read && (id == 0 || amount < 0)) {
        refusal.field = amount < 0 ? SPAN("amount") : SPAN("reservation");
        refusal.text = "is required";
        read = false;
    }
    if (!read) {
        token_json_refuse(api, reply, &refusal);
        return API_REPLIED;
    }
    call->write.kind = STORE_SETTLE;
    call->write.settle.gateway_id = call->gateway_id;
    call->write.settle.reservation_id = id;
    call->write.settle.amount = amount;
    return API_WRITES;
}

enum api_step settle_begin(struct api *api, struct api_call *call, struct api_reply *reply)
{
    return begin_end(api, call, true, reply);
}

enum api_step cancel_begin(struct api *api, struct api_call *call, struct api_reply *reply)
{
    return begin_end(api, call, false, reply);
}

void settle_render(struct api_call *call, struct buffer *body)
{
    append_answer(body, &call->write.settle.answer);
    buffer_append(body, SPAN(",\"shortfall\":"));
    buffer_append_int(body, call->write.settle.answer.shortfall);
    buffer_append(body, SPAN("}}"));
}
