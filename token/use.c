#include "token/use.h"

#include "token/limits.h"

enum token_refusal token_use_check(const struct token *token, const struct token_use *use,
                                   int64_t now_unix_s)
{
    enum token_status status = token_status_at(token, now_unix_s);
    if (status == TOKEN_DISABLED)
        return TOKEN_REFUSED_DISABLED;
    if (status == TOKEN_EXPIRED)
        return TOKEN_REFUSED_EXPIRED;
    if (token->allow_ips.len > 0 && !limits_allow_ip(token->allow_ips, use->ip))
        return TOKEN_REFUSED_ADDRESS;
    if (token->model_limits_enabled && !use->any_model &&
        !limits_allow_model(token->model_limits, use->model))
        return TOKEN_REFUSED_MODEL;
    if (status == TOKEN_EXHAUSTED || token->used_quota > INT64_MAX - use->amount ||
        (!token->unlimited_quota && token->remain_quota < use->amount))
        return TOKEN_REFUSED_EXHAUSTED;
    return TOKEN_GOOD;
}

void token_spend(struct token *token, int64_t amount)
{
    token->used_quota += amount;
    if (!token->unlimited_quota)
        token->remain_quota -= amount;
}

const struct token_refusal_answer token_refusal_answers[] = {
    [TOKEN_GOOD] = {204, "", ""},
    [TOKEN_REFUSED_MISSING] = {401, "missing", "No key was sent"},
    [TOKEN_REFUSED_MALFORMED] = {401, "malformed", "The key is malformed"},
    [TOKEN_REFUSED_UNKNOWN] = {401, "unknown", "The key is unknown"},
    [TOKEN_REFUSED_USER] = {403, "user", "The key's owner is disabled"},
    [TOKEN_REFUSED_DISABLED] = {401, "disabled", "The token is disabled"},
    [TOKEN_REFUSED_EXPIRED] = {401, "expired", "The token has expired"},
    [TOKEN_REFUSED_ADDRESS] = {403, "address", "The token may not be used from this address"},
    [TOKEN_REFUSED_MODEL] = {403, "model", "The token may not be used for this model"},
    [TOKEN_REFUSED_EXHAUSTED] = {401, "exhausted", "The token quota is exhausted"},
    [TOKEN_REFUSED_COST] = {403, "cost", "The cost is malformed"},
};
