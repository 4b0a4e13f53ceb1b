#pragma once

#include "token/token.h"

/* Whether two tokens agree in every member but those that spends count. */
static inline bool token_same(const struct token *a, const struct token *b)
{
    return a->id == b->id && a->user_id == b->user_id && span_equal(a->name, b->name) &&
           strcmp(a->key, b->key) == 0 && a->status == b->status &&
           a->remain_quota == b->remain_quota && a->used_quota == b->used_quota &&
           a->unlimited_quota == b->unlimited_quota &&
           a->model_limits_enabled == b->model_limits_enabled &&
           span_equal(a->model_limits, b->model_limits) && span_equal(a->allow_ips, b->allow_ips) &&
           span_equal(a->group, b->group) && a->expired_unix_s == b->expired_unix_s &&
           a->created_unix_s == b->created_unix_s && a->accessed_unix_s == b->accessed_unix_s &&
           a->rpm_limit == b->rpm_limit && a->tpm_limit == b->tpm_limit &&
           a->max_parallel_requests == b->max_parallel_requests &&
           a->refill_amount == b->refill_amount && a->refill_interval == b->refill_interval &&
           a->refill_day == b->refill_day && a->refill_period == b->refill_period;
}
