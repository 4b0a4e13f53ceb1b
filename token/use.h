#ifndef TOKEN_USE_H
#define TOKEN_USE_H

#include "token/token.h"

/* What somebody wants to do with a token's key, and whether it may be. */

struct token_use {
    struct span ip;    /* the client's address, as text; absent where it is not known */
    struct span model; /* absent where it is not known */
    int64_t amount;    /* quota units to be taken, 0 or more */
};

/* Why a key is refused, in the order in which it is looked at. */
enum token_refusal {
    TOKEN_GOOD = 0,
    TOKEN_REFUSED_MISSING,   /* no key was sent */
    TOKEN_REFUSED_MALFORMED, /* it has not the form of one (token/key.h) */
    TOKEN_REFUSED_UNKNOWN,   /* nobody has it */
    TOKEN_REFUSED_USER,      /* its owner is disabled */
    TOKEN_REFUSED_DISABLED,
    TOKEN_REFUSED_EXPIRED,
    TOKEN_REFUSED_ADDRESS, /* not in allow_ips; also where there are some and no address is known */
    TOKEN_REFUSED_MODEL,   /* not in model_limits; likewise */
    TOKEN_REFUSED_EXHAUSTED
};

/* The checks from TOKEN_REFUSED_DISABLED on. A finite quota must be above 0, cover the
 * amount, and leave used_quota within int64. */
enum token_refusal token_use_check(const struct token *token, const struct token_use *use,
                                   int64_t now_unix_s);

/* Moves units from remain_quota to used_quota; of an unlimited token it only counts
 * used_quota up. token_use_check has allowed it. */
void token_spend(struct token *token, int64_t amount);

/* The word for a refusal in X-Token-Reason and "code". A static string. */
const char *token_refusal_reason(enum token_refusal refusal);

/* 401 or 403. */
int token_refusal_status(enum token_refusal refusal);

#endif
