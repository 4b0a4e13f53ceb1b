#pragma once

#include "token/token.h"

/* The units of a reservation, which its token has counted as used since it was made. */
struct token_reservation {
    int64_t reserved;  /* 0 or more */
    bool from_remain;  /* taken from remain_quota; else the token was unlimited */
    int64_t amount;    /* out: what it took in the end */
    int64_t shortfall; /* out: what the token could not cover */
};

/* Ends a reservation at amount, 0 or more: moves the difference to what was reserved. More is taken
 * as far as the token covers it. Less is given back to where it came from, as far as it fits
 * there, as the owner may have set remain_quota since. */
void token_settle(struct token *token, int64_t amount, struct token_reservation *reservation);
