#pragma once

#include <sodium.h>

#include "token/token.h"

static inline void hash_bytes(crypto_generichash_state *state, const void *bytes, size_t len)
{
    crypto_generichash_update(state, bytes, len);
}

/* Adds all that a token holds: a hash that stays the same is of tokens that stayed the same. */
static inline void hash_token(crypto_generichash_state *state, const struct token *token)
{
    const int64_t numbers[] = {token->id,
                               token->user_id,
                               token->status,
                               token->remain_quota,
                               token->used_quota,
                               token->unlimited_quota,
                               token->model_limits_enabled,
                               token->expired_unix_s,
                               token->created_unix_s,
                               token->accessed_unix_s,
                               token->rpm_limit,
                               token->tpm_limit,
                               token->max_parallel_requests,
                               token->refill_amount,
                               token->refill_interval,
                               token->refill_day,
                               token->refill_period};
    const struct span texts[] = {token->name, token->group, token->model_limits, token->allow_ips};
    hash_bytes(state, numbers, sizeof(numbers));
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        hash_bytes(state, &texts[i].len, sizeof(texts[i].len));
        hash_bytes(state, texts[i].at, texts[i].len);
    }
    hash_bytes(state, token->key, strlen(token->key));
}
