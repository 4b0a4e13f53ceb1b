#ifndef TOKEN_USE_H
#define TOKEN_USE_H

#include "token/token.h"

/* A use of a token's key. */
struct token_use {
    struct span ip;    /* the client's address as text; absent: unknown */
    struct span model; /* absent: unknown */
    bool any_model;    /* the use is of no model: model_limits are not checked */
    int64_t amount;    /* quota units to take, 0 or more */
};

/* Why a key is refused, in the order of the checks. */
enum token_refusal {
    TOKEN_GOOD = 0,
    TOKEN_REFUSED_MISSING,   /* no key was sent */
    TOKEN_REFUSED_MALFORMED, /* wrong format or checksum (token/key.h) */
    TOKEN_REFUSED_UNKNOWN,   /* no token has it */
    TOKEN_REFUSED_USER,      /* its owner is disabled */
    TOKEN_REFUSED_DISABLED,
    TOKEN_REFUSED_EXPIRED,
    TOKEN_REFUSED_ADDRESS, /* not in allow_ips, or unknown */
    TOKEN_REFUSED_MODEL,   /* not in model_limits, or unknown */
    TOKEN_REFUSED_EXHAUSTED,
    TOKEN_REFUSED_COST /* the web server's TOKEN_COST is malformed: nothing may pass */
};

/* The checks from TOKEN_REFUSED_DISABLED on. A finite quota must be above 0 and cover the amount;
 * used_quota must stay within int64. Returns TOKEN_GOOD or the first refusal. */
enum token_refusal token_use_check(const struct token *token, const struct token_use *use,
                                   int64_t now_unix_s);

/* Moves amount, which token_use_check has allowed, from remain_quota to used_quota; an unlimited
 * token only counts used_quota up. */
void token_spend(struct token *token, int64_t amount);

/* How a refusal is answered, by enum token_refusal. */
struct token_refusal_answer {
    int status;         /* of HTTP: 401 or 403 */
    const char *reason; /* the word in X-Token-Reason and "code" */
    const char *message;
};

extern const struct token_refusal_answer token_refusal_answers[];

#endif
