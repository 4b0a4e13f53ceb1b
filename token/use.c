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

static int64_t clamp(int64_t number, int64_t min, int64_t max)
{
    return number < min ? min : number > max ? max : number;
}

void token_settle(struct token *token, int64_t amount, struct token_reservation *reservation)
{
    int64_t more = amount - reservation->reserved;
    bool of_remain = more > 0 ? !token->unlimited_quota : reservation->from_remain;
    int64_t taken = clamp(more, -token->used_quota, INT64_MAX - token->used_quota);
    if (of_remain)
        taken = clamp(taken, token->remain_quota - INT64_MAX, token->remain_quota);
    token->used_quota += taken;
    token->remain_quota -= of_remain ? taken : 0;
    reservation->amount = reservation->reserved + taken;
    reservation->shortfall = more > taken ? more - taken : 0;
}

#define TOKEN_REFUSAL_ANSWER(constant, ...) {__VA_ARGS__},
const struct token_refusal_answer token_refusal_answers[] = {TOKEN_REFUSALS(TOKEN_REFUSAL_ANSWER)};
