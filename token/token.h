#pragma once

#include <stdint.h>

#include "token/key.h"

enum token_status {
    TOKEN_ENABLED = 1,
    TOKEN_DISABLED = 2,
    TOKEN_EXPIRED = 3,  /* never stored: see token_status_at */
    TOKEN_EXHAUSTED = 4 /* never stored: see token_status_at */
};

#define TOKEN_NEVER_EXPIRES INT64_C(-1)

/* An API token. Its spans belong to the code that filled it in. What clients may set, and the
 * limits, are in token/fields.h. */
struct token {
    int64_t id;      /* unique over all users, never reused */
    int64_t user_id; /* its owner */
    struct span name;
    enum token_status status; /* as stored: TOKEN_ENABLED or TOKEN_DISABLED */
    int64_t remain_quota;     /* quota units, 0 or more */
    int64_t used_quota;       /* quota units, 0 or more */
    bool unlimited_quota;     /* remain_quota is not checked */
    bool model_limits_enabled;
    struct span model_limits; /* "a,b", as limits_normalize_models leaves it */
    struct span allow_ips;    /* "a,b", as limits_normalize_ips leaves it */
    struct span group;
    int64_t expired_unix_s; /* 0 or more, or TOKEN_NEVER_EXPIRES */
    int64_t created_unix_s;
    int64_t accessed_unix_s;
    char key[TOKEN_KEY_SIZE]; /* last: what is before it is copied without it */
};

/* The token that a create starts from: enabled, never expires, all else empty. */
struct token token_default(void);

/* The status at a time: a stored TOKEN_DISABLED stays, an expired token is TOKEN_EXPIRED, one with
 * a finite quota of 0 is TOKEN_EXHAUSTED. */
enum token_status token_status_at(const struct token *token, int64_t now_unix_s);
