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

/* At the start of which periods remain_quota becomes refill_amount. */
enum token_refill { TOKEN_REFILL_NONE, TOKEN_REFILL_DAY, TOKEN_REFILL_WEEK, TOKEN_REFILL_MONTH };

/* The state of rates, of a token or a user: when the bucket of requests and that of units will be
 * full again, in nanoseconds of the store's time; 0: full. */
struct token_rates {
    int64_t requests_full_ns, units_full_ns;
};

/* What was used on the last day with a use, of a token or a user. A day is a number of days since
 * 1970-01-01 in the local calendar. Earlier days are rows of their own in the store. */
struct token_usage {
    int64_t day; /* 0: no use yet */
    int64_t units, requests;
    int64_t dated_units; /* of used_quota: the units of all days, this one too; the rest is older
                            than the numbers of days */
};

/* What all tokens of a user share, as uses see it. */
struct token_account {
    int64_t quota;              /* units left, 0 or more */
    bool unlimited_quota;       /* quota is not checked */
    int64_t used_quota;         /* of all tokens, those deleted too */
    int64_t deleted_used_quota; /* of those deleted */
    int64_t request_count;
    int64_t rpm_limit, tpm_limit; /* requests and quota units a minute; 0: no limit */
    int64_t max_tokens;           /* 0: TOKEN_MAX_PER_USER */
    struct token_rates rates;
    struct token_usage usage;
};

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
    struct span group;        /* stored empty: the owner's, which is shown in its place */
    int64_t expired_unix_s;   /* 0 or more, or TOKEN_NEVER_EXPIRES */
    int64_t created_unix_s;
    int64_t accessed_unix_s;
    int64_t rpm_limit, tpm_limit;  /* requests and quota units a minute; 0: no limit */
    int64_t max_parallel_requests; /* open reservations; 0: no limit */
    int64_t refill_amount;         /* 0 or more */
    enum token_refill refill_interval;
    int64_t refill_day; /* of the month, 1 to 31 */
    /* What clients do not see. */
    int64_t refill_period; /* the day on which the period began that remain_quota is of */
    struct token_rates rates;
    struct token_usage usage;
    bool group_is_old;        /* of a version that stored the owner's group by its name */
    char key[TOKEN_KEY_SIZE]; /* last: what is before it is copied without it */
};

/* The token that a create starts from: enabled, never expires, all else empty. */
struct token token_default(void);

/* The status at a time: a stored TOKEN_DISABLED stays, an expired token is TOKEN_EXPIRED, one with
 * a finite quota of 0 is TOKEN_EXHAUSTED. */
enum token_status token_status_at(const struct token *token, int64_t now_unix_s);
