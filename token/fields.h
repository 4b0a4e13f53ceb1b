#pragma once

#include "token/token.h"

enum {
    TOKEN_NAME_CHARACTERS_MAX = 255, /* Unicode code points; TOKEN_NAME_MAX may allow fewer */
    TOKEN_GROUP_LEN_MAX = 64,        /* bytes, as all that follow */
    TOKEN_MODEL_LIMITS_LEN_MAX = 8192,
    TOKEN_ALLOW_IPS_LEN_MAX = 8192
};

/* How a field is kept, read, checked and written. */
enum token_kind {
    TOKEN_KIND_INTEGER,  /* int64_t; min to max */
    TOKEN_KIND_BOOLEAN,  /* bool */
    TOKEN_KIND_STATUS,   /* enum token_status; answers show what holds now */
    TOKEN_KIND_REFILL,   /* enum token_refill; in JSON its name */
    TOKEN_KIND_KEY,      /* the key: never set by a client, masked or left out in some answers */
    TOKEN_KIND_NAME,     /* struct span of UTF-8; up to max characters */
    TOKEN_KIND_TEXT,     /* struct span of UTF-8; up to max bytes */
    TOKEN_KIND_MODELS,   /* the same, a list as limits_normalize_models leaves it */
    TOKEN_KIND_ADDRESSES /* the same, a list as limits_normalize_ips leaves it */
};

/* Which requests of a client set a field. */
enum token_setter {
    TOKEN_SET_NEVER = 0,
    TOKEN_SET_CREATE = 1,
    TOKEN_SET_UPDATE = 2,
    TOKEN_SET_BOTH = TOKEN_SET_CREATE | TOKEN_SET_UPDATE
};

/* The table of a token's fields, in the order of answers. Columns: constant, JSON name, member of
 * struct token, kind, setters, min, max, message if a value is outside of min to max. */
/* clang-format off */
#define TOKEN_FIELDS(FIELD)                                                                        \
    FIELD(ID, id, id, INTEGER, NEVER, INT64_MIN, INT64_MAX, "")                                    \
    FIELD(USER_ID, user_id, user_id, INTEGER, NEVER, INT64_MIN, INT64_MAX, "")                     \
    FIELD(NAME, name, name, NAME, BOTH, 0, TOKEN_NAME_CHARACTERS_MAX, "is too long")               \
    FIELD(KEY, key, key, KEY, NEVER, 0, 0, "")                                                     \
    FIELD(STATUS, status, status, STATUS, UPDATE, TOKEN_ENABLED, TOKEN_EXHAUSTED,                  \
          TOKEN_STATUS_MESSAGE)                                                                    \
    FIELD(REMAIN_QUOTA, remain_quota, remain_quota, INTEGER, BOTH, 0, INT64_MAX,                   \
          "must be 0 or more")                                                                     \
    FIELD(USED_QUOTA, used_quota, used_quota, INTEGER, NEVER, 0, INT64_MAX, "must be 0 or more")   \
    FIELD(UNLIMITED_QUOTA, unlimited_quota, unlimited_quota, BOOLEAN, BOTH, 0, 1, "")              \
    FIELD(MODEL_LIMITS_ENABLED, model_limits_enabled, model_limits_enabled, BOOLEAN, BOTH, 0, 1,   \
          "")                                                                                      \
    FIELD(MODEL_LIMITS, model_limits, model_limits, MODELS, BOTH, 0, TOKEN_MODEL_LIMITS_LEN_MAX,   \
          "must be at most 8192 bytes")                                                            \
    FIELD(ALLOW_IPS, allow_ips, allow_ips, ADDRESSES, BOTH, 0, TOKEN_ALLOW_IPS_LEN_MAX,            \
          "must be at most 8192 bytes")                                                            \
    FIELD(GROUP, group, group, TEXT, BOTH, 0, TOKEN_GROUP_LEN_MAX, "must be at most 64 bytes")     \
    FIELD(EXPIRED, expired_time, expired_unix_s, INTEGER, BOTH, TOKEN_NEVER_EXPIRES, INT64_MAX,    \
          "must be 0 or more, or -1 for never")                                                    \
    FIELD(CREATED, created_time, created_unix_s, INTEGER, NEVER, INT64_MIN, INT64_MAX, "")         \
    FIELD(ACCESSED, accessed_time, accessed_unix_s, INTEGER, NEVER, INT64_MIN, INT64_MAX, "")      \
    FIELD(RPM_LIMIT, rpm_limit, rpm_limit, INTEGER, BOTH, 0, 1000000, "must be 0 to 1000000")      \
    FIELD(TPM_LIMIT, tpm_limit, tpm_limit, INTEGER, BOTH, 0, 1000000000000000,                     \
          "must be 0 to 1000000000000000")                                                         \
    FIELD(MAX_PARALLEL_REQUESTS, max_parallel_requests, max_parallel_requests, INTEGER, BOTH, 0,   \
          1000, "must be 0 to 1000")                                                               \
    FIELD(REFILL_AMOUNT, refill_amount, refill_amount, INTEGER, BOTH, 0, INT64_MAX,                \
          "must be 0 or more")                                                                     \
    FIELD(REFILL_INTERVAL, refill_interval, refill_interval, REFILL, BOTH, TOKEN_REFILL_NONE,      \
          TOKEN_REFILL_MONTH, "must be none, day, week or month")                                  \
    FIELD(REFILL_DAY, refill_day, refill_day, INTEGER, BOTH, 1, 31, "must be 1 to 31")
/* clang-format on */

#define TOKEN_STATUS_MESSAGE "must be 1 (enabled) or 2 (disabled)"

#define TOKEN_FIELD_NUMBER_OF(constant, ...) TOKEN_FIELD_NUMBER_##constant,
#define TOKEN_FIELD_BIT_OF(constant, ...)                                                          \
    TOKEN_FIELD_##constant = 1 << TOKEN_FIELD_NUMBER_##constant,

enum token_field_number { TOKEN_FIELDS(TOKEN_FIELD_NUMBER_OF) TOKEN_FIELD_COUNT };

/* A set of fields is an unsigned of these bits: TOKEN_FIELD_NAME and so on. */
enum token_field { TOKEN_FIELDS(TOKEN_FIELD_BIT_OF) };

/* A row of the table. */
struct token_field_rule {
    enum token_field field;
    struct span name; /* in JSON */
    enum token_kind kind;
    enum token_setter set_by;
    size_t offset, size; /* of the member in struct token */
    int64_t min, max;
    const char *message;
};

extern const struct token_field_rule token_field_rules[TOKEN_FIELD_COUNT];

/* The set of fields that a setter sets. */
unsigned token_fields_set_by(enum token_setter setter);

/* The member of a rule's field. */
static inline const void *token_field_at(const struct token_field_rule *rule,
                                         const struct token *token)
{
    return (const char *)token + rule->offset;
}

/* Whether the member is a struct span. */
static inline bool token_field_is_text(const struct token_field_rule *rule)
{
    return rule->kind >= TOKEN_KIND_NAME;
}

static inline struct span token_field_text(const struct token_field_rule *rule,
                                           const struct token *token)
{
    return *(const struct span *)token_field_at(rule, token);
}

/* The bytes of all texts. */
size_t token_texts_len(const struct token *token);
