/* /verify: may this request pass? For nginx's auth_request: see reply_verified. */

#include "api/auth.h"
#include "api/handlers.h"
#include "api/reply.h"
#include "base/number.h"

static enum api_step write_use(struct request *request, const struct token_use *use)
{
    request->write.kind = STORE_SPEND;
    request->write.spend.use = *use;
    request->write.spend.answer.models = &request->text;
    return API_WRITES;
}

/* Takes nothing: no write, but the use is reported. Only if requests are limited this one has to be
 * counted, unless it is refused. */
static enum api_step check_only(struct request *request, const char *key,
                                const struct token_use *use)
{
    struct store_use_answer answer = {.models = &request->text};
    enum token_refusal refusal;
    enum store_error error = store_token_check_use(request->api->reader, key, use,
                                                   request->now_unix_s, &refusal, &answer);
    if (error != STORE_OK)
        return reply_store_error(request, error);
    if (refusal == TOKEN_GOOD && answer.requests.limit > 0)
        return write_use(request, use);
    if (refusal == TOKEN_GOOD)
        request->used =
            (struct store_access){answer.user_id, answer.token_id, answer.accessed_unix_s};
    return reply_verified(request, refusal, &answer);
}

enum api_step verify_begin(struct request *request)
{
    const struct request_input *input = &request->input;
    char *key = request->write.spend.key;
    struct span sent = auth_key(input);
    struct token_use use = {.ip = input->remote_addr,
                            .model = input->model,
                            .any_model = span_equal(input->model_check, SPAN("off"))};
    enum store_error error = store_key_read(request->api->reader, sent, key);
    if (store_is_failure(error))
        return reply_store_error(request, error);
    if (error != STORE_OK)
        return reply_verified(
            request, sent.len == 0 ? TOKEN_REFUSED_MISSING : TOKEN_REFUSED_MALFORMED, NULL);
    if (input->cost.len > 0 && (!number_parse(input->cost, &use.amount) || use.amount < 0))
        return reply_verified(request, TOKEN_REFUSED_COST, NULL);
    return use.amount == 0 ? check_only(request, key, &use) : write_use(request, &use);
}

void verify_render(struct request *request)
{
    reply_verified(request, request->write.spend.refusal, &request->write.spend.answer);
}
