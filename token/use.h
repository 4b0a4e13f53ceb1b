#pragma once

#include "token/token.h"

/* A use of a token's key. */
struct token_use {
    struct span ip;    /* the client's address as text; absent: unknown */
    struct span model; /* absent: unknown */
    bool any_model;    /* the use is of no model: model_limits are not checked */
    int64_t amount;    /* quota units to take, 0 or more */
};

/* What a use depends on, beside the token and its owner's account. */
struct token_use_context {
    bool owner_disabled;
    bool group_allowed;      /* the owner may use the token's group, or groups are not checked */
    int64_t now_unix_s, day; /* the wall clock, and its day (base/calendar.h) */
    int64_t now_ns;          /* the store's time */
    bool reserves;           /* the use is a reservation */
    uint64_t open_count;     /* of a reservation: how many the token has open */
    int64_t open_s;          /* if there are some: seconds until the first ends */
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
    REFUSAL(REFUSED_GROUP, 403, "group", "The key's owner may not use the token's group")          \
    REFUSAL(REFUSED_ADDRESS, 403, "address", "The token may not be used from this address")        \
    REFUSAL(REFUSED_MODEL, 403, "model", "The token may not be used for this model")               \
    REFUSAL(REFUSED_RATE, 403, "rate", "Too many requests with this key") /* gateways: 429 */      \
    REFUSAL(REFUSED_PARALLEL, 429, "parallel", "Too many reservations of this token are open")     \
    REFUSAL(REFUSED_EXHAUSTED, 401, "exhausted", "The token quota is exhausted")                   \
    REFUSAL(REFUSED_BALANCE, 403, "balance", "The owner's quota is exhausted")                     \
    /* The web server's TOKEN_COST: nothing may pass. */                                           \
    REFUSAL(REFUSED_COST, 403, "cost", "The cost is malformed")
/* clang-format on */

#define TOKEN_REFUSAL_CONSTANT(constant, ...) TOKEN_##constant,
enum token_refusal { TOKEN_REFUSALS(TOKEN_REFUSAL_CONSTANT) TOKEN_REFUSAL_COUNT };

/* The checks from TOKEN_REFUSED_USER on. A finite quota, of the token or its owner, must be above 0
 * and cover the amount; sums must stay within int64. Returns TOKEN_GOOD or the first refusal.
 *   token           refilled on context->day (token/refill.h)
 *   retry_after_s   out: until the same use may pass; 0 unless that depends on time alone */
enum token_refusal token_use_check(const struct token *token, const struct token_account *account,
                                   const struct token_use *use,
                                   const struct token_use_context *context, int64_t *retry_after_s);

/* Takes what token_use_check has allowed: moves the amount from remain_quota and the owner's quota,
 * where they are finite, to used_quota, and counts a request. If the day of a usage was another
 * one, that is replaced: it is for the caller to keep. */
void token_spend(struct token *token, struct token_account *account, int64_t amount,
                 const struct token_use_context *context);

/* What the headers of answers tell about a limit. */
struct token_limit {
    int64_t limit; /* a minute; 0: there is none */
    int64_t left;
    int64_t full_s; /* until nothing of it is taken, rounded up */
};

/* Of the limits of a token and its owner the one with less left: of requests and of units. */
struct token_limit token_request_limit(const struct token *token,
                                       const struct token_account *account, int64_t now_ns);
struct token_limit token_unit_limit(const struct token *token, const struct token_account *account,
                                    int64_t now_ns);

/* The units of a reservation, which its token has counted as used since it was made. */
struct token_reservation {
    int64_t reserved;      /* 0 or more */
    bool from_remain;      /* taken from remain_quota; else the token was unlimited */
    bool from_balance;     /* taken from the owner's quota; else that was unlimited */
    int64_t day;           /* on which it was made: its units belong to that; 0: not known */
    int64_t refill_period; /* the later one of that day and the token's refill_period then */
    int64_t amount;        /* out: what it took in the end */
    int64_t shortfall;     /* out: what token and balance could not cover */
};

/* A reservation that token_spend has taken. */
struct token_reservation token_reserve(const struct token *token,
                                       const struct token_account *account, int64_t amount,
                                       const struct token_use_context *context);

/* Ends a reservation at amount, 0 or more: moves the difference to what was reserved. More is taken
 * as far as token and balance, where they are finite now, both cover it. Less is given back to
 * where it came from, as far as it fits there, as the owner may have set remain_quota since; to
 * remain_quota only in the same period of refills. Limits of units are corrected. The usage is for
 * the caller to correct.
 *   token     refilled; NULL: deleted; its units are in the account's deleted_used_quota */
void token_settle(struct token *token, struct token_account *account, int64_t amount,
                  int64_t now_ns, struct token_reservation *reservation);

/* Corrects the usage of a day, either way. Returns false if it is not of that day, which is then
 * corrected where it is kept. */
bool token_usage_correct(struct token_usage *usage, int64_t day, int64_t units, int64_t requests);

/* How a refusal is answered, by enum token_refusal. */
struct token_refusal_answer {
    int status;
    const char *reason, *message;
};

extern const struct token_refusal_answer token_refusal_answers[];
