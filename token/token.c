#include "token/token.h"

struct token token_default(void)
{
    return (struct token){
        .status = TOKEN_ENABLED,
        .expired_unix_s = TOKEN_NEVER_EXPIRES,
        .name = SPAN(""),
        .model_limits = SPAN(""),
        .allow_ips = SPAN(""),
        .group = {NULL, 0},
        .refill_day = 1,
    };
}

enum token_status token_status_at(const struct token *token, int64_t now_unix_s)
{
    if (token->status == TOKEN_DISABLED)
        return TOKEN_DISABLED;
    if (token->expired_unix_s != TOKEN_NEVER_EXPIRES && token->expired_unix_s <= now_unix_s)
        return TOKEN_EXPIRED;
    if (!token->unlimited_quota && token->remain_quota == 0)
        return TOKEN_EXHAUSTED;
    return TOKEN_ENABLED;
}
