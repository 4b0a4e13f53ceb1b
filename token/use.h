#pragma once

#include "token/token.h"

/* A use of a token's key. */
struct token_use {
    struct span ip;    /* the client's address as text; absent: unknown */
    struct span model; /* absent: unknown */
    bool any_model;    /* the use is of no model: model_limits are not checked */
    int64_t amount;    /* quota units to take, 0 or more */
};

/* Why a key is refused, in the order of the checks. Columns: constant, status of HTTP, the word in
 * X-Token-Reason and "code", message. */
/* clang-format off */
#define TOKEN_REFUSALS(REFUSAL)                                                                    \
    REFUSAL(GOOD, 204, "", "")                                                                     \
    REFUSAL(REFUSED_MISSING, 401, "missing", "No key was sent")                                    \
    REFUSAL(REFUSED_MALFORMED, 401, "malformed", "The key is malformed") /* token/key.h */         \
    REFUSAL(REFUSED_UNKNOWN, 401, "unknown", "The key is unknown")                                 \
    REFUSAL(REFUSED_USER, 403, "user", "The key's owner is disabled")                              \
    REFUSAL(REFUSED_DISABLED, 401, "disabled", "The token is disabled")                            \
    REFUSAL(REFUSED_EXPIRED, 401, "expired", "The token has expired")                              \
    REFUSAL(REFUSED_ADDRESS, 403, "address", "The token may not be used from this address")        \
    REFUSAL(REFUSED_MODEL, 403, "model", "The token may not be used for this model")               \
    REFUSAL(REFUSED_EXHAUSTED, 401, "exhausted", "The token quota is exhausted")                   \
    /* The web server's TOKEN_COST: nothing may pass. */                                           \
    REFUSAL(REFUSED_COST, 403, "cost", "The cost is malformed")
/* clang-format on */

#define TOKEN_REFUSAL_CONSTANT(constant, ...) TOKEN_##constant,
enum token_refusal { TOKEN_REFUSALS(TOKEN_REFUSAL_CONSTANT) };

/* The checks from TOKEN_REFUSED_DISABLED on. A finite quota must be above 0 and cover the amount;
 * used_quota must stay within int64. Returns TOKEN_GOOD or the first refusal. */
enum token_refusal token_use_check(const struct token *token, const struct token_use *use,
                                   int64_t now_unix_s);

/* Moves amount, which token_use_check has allowed, from remain_quota to used_quota; an unlimited
 * token only counts used_quota up. */
void token_spend(struct token *token, int64_t amount);

/* The units of a reservation, which its token has counted as used since it was made. */
struct token_reservation {
    int64_t reserved;  /* 0 or more */
    bool from_remain;  /* taken from remain_quota; else the token was unlimited */
    bool from_balance; /* taken from the owner's quota; else that was unlimited */
    int64_t day;       /* on which it was made: its units belong to that; 0: not known */
    int64_t
        refill_period; /* the token's then: of an earlier one nothing goes back to remain_quota */
    int64_t amount;    /* out: what it took in the end */
    int64_t shortfall; /* out: what the token could not cover */
};

/* Ends a reservation at amount, 0 or more: moves the difference to what was reserved. More is taken
 * as far as the token covers it. Less is given back to where it came from, as far as it fits
 * there, as the owner may have set remain_quota since. */
void token_settle(struct token *token, int64_t amount, struct token_reservation *reservation);

/* How a refusal is answered, by enum token_refusal. */
struct token_refusal_answer {
    int status;
    const char *reason, *message;
};

extern const struct token_refusal_answer token_refusal_answers[];
