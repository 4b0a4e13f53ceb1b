/* /verify: may this request pass? For nginx's auth_request: see reply_verified. */

#include <stdlib.h>

#include "api/auth.h"
#include "api/call.h"
#include "base/number.h"
#include "api/reply.h"

/* The holder's key: "Authorization: Bearer sk-…", or x-api-key. */
static struct span sent_key(const struct api_request *request)
{
    struct span key = auth_bearer(request->authorization);
    return key.len > 0 ? key : request->x_api_key;
}

static enum api_step refuse(struct api_reply *reply, enum token_refusal refusal)
{
    reply_not_verified(reply, token_refusal_status(refusal), token_refusal_reason(refusal));
    return API_REPLIED;
}

/* A refused key costs no look-up where its checksum is wrong. */
static enum token_refusal check_form(struct span key)
{
    if (key.len == 0)
        return TOKEN_REFUSED_MISSING;
    return token_key_is_well_formed(key) ? TOKEN_GOOD : TOKEN_REFUSED_MALFORMED;
}

/* Takes nothing: no write, but the use is reported. */
static enum api_step check_only(struct api *api, struct api_call *call, const char *key,
                                const struct token_use *use, struct api_reply *reply)
{
    struct store_use_answer answer;
    enum token_refusal refusal;
    enum store_error error =
        store_token_check_use(api->reader, key, use, call->now_unix_s, &refusal, &answer);
    if (error != STORE_OK) {
        reply_store_error(api, reply, error);
        return API_REPLIED;
    }
    if (refusal != TOKEN_GOOD)
        return refuse(reply, refusal);
    reply->used = (struct store_access){answer.user_id, answer.token_id, answer.accessed_unix_s};
    reply_verified(reply, &answer);
    return API_REPLIED;
}

/* The write outlives the request: what it needs of that is copied. */
static bool prepare(struct api_call *call, const char *key, const struct token_use *use)
{
    size_t ip_len = use->ip.len, model_len = use->model.len;
    call->text = malloc(ip_len + model_len + 1);
    if (!call->text)
        return false;
    call->text_len = ip_len + model_len;
    call->write.kind = STORE_SPEND;
    memcpy(call->write.spend.key, key, TOKEN_KEY_LEN);
    call->write.spend.use = (struct token_use){.amount = use->amount};
    if (use->ip.at)
        call->write.spend.use.ip = (struct span){memcpy(call->text, use->ip.at, ip_len), ip_len};
    if (use->model.at)
        call->write.spend.use.model =
            (struct span){memcpy(call->text + ip_len, use->model.at, model_len), model_len};
    return true;
}

enum api_step verify_begin(struct api *api, struct api_call *call, struct api_reply *reply)
{
    const struct api_request *request = call->request;
    struct span key = sent_key(request);
    struct token_use use = {.ip = request->remote_addr, .model = request->model};
    enum token_refusal refusal = check_form(key);
    if (refusal != TOKEN_GOOD)
        return refuse(reply, refusal);
    /* A cost that is none is the site's mistake; nothing may pass for it. */
    if (request->cost.len > 0 && (!number_parse(request->cost, &use.amount) || use.amount < 0)) {
        reply_not_verified(reply, 403, "cost");
        return API_REPLIED;
    }
    if (use.amount == 0)
        return check_only(api, call, key.at, &use, reply);
    if (prepare(call, key.at, &use))
        return API_WRITES;
    reply_store_error(api, reply, STORE_UNAVAILABLE);
    return API_REPLIED;
}

void verify_finish(struct api *api, struct api_call *call, struct api_reply *reply)
{
    (void)api;
    if (call->write.spend.refusal != TOKEN_GOOD)
        refuse(reply, call->write.spend.refusal);
    else
        reply_verified(reply, &call->write.spend.answer);
}
