#ifndef TOKEN_PATCH_H
#define TOKEN_PATCH_H

#include "token/token.h"

enum {
    TOKEN_NAME_CHARACTERS_MAX = 30,
    TOKEN_GROUP_LEN_MAX = 64,
    TOKEN_MODEL_LIMITS_LEN_MAX = 8192,
    TOKEN_ALLOW_IPS_LEN_MAX = 8192
};

/* The fields that a client may set. */
enum token_field {
    TOKEN_FIELD_NAME = 1 << 0,
    TOKEN_FIELD_STATUS = 1 << 1,
    TOKEN_FIELD_REMAIN_QUOTA = 1 << 2,
    TOKEN_FIELD_UNLIMITED_QUOTA = 1 << 3,
    TOKEN_FIELD_MODEL_LIMITS_ENABLED = 1 << 4,
    TOKEN_FIELD_MODEL_LIMITS = 1 << 5,
    TOKEN_FIELD_ALLOW_IPS = 1 << 6,
    TOKEN_FIELD_GROUP = 1 << 7,
    TOKEN_FIELD_EXPIRED = 1 << 8
};

/* What a create or an update wants: those members of value that are in fields.
 * The spans belong to whoever filled it in. */
struct token_patch {
    unsigned fields; /* of enum token_field */
    struct token value;
};

/* Why a patch is refused. Each has a text for people: token_error_text. */
enum token_error {
    TOKEN_OK = 0,
    TOKEN_NAME_TOO_LONG,
    TOKEN_NAME_CONTROL,
    TOKEN_STATUS_INVALID,
    TOKEN_REMAIN_QUOTA_NEGATIVE,
    TOKEN_MODEL_LIMITS_CONTROL,
    TOKEN_MODEL_LIMITS_TOO_LONG,
    TOKEN_ALLOW_IPS_TOO_LONG,
    TOKEN_GROUP_CONTROL,
    TOKEN_GROUP_TOO_LONG,
    TOKEN_EXPIRED_TIME_NEGATIVE,
    TOKEN_ENABLE_EXPIRED,
    TOKEN_ENABLE_EXHAUSTED
};

/* Whether each field of the patch is within its limits; the lists must have been
 * normalized (token/limits.h) and the texts be UTF-8. */
enum token_error token_patch_check(const struct token_patch *patch);

/* Changes token as a checked patch says. A status of TOKEN_EXPIRED or
 * TOKEN_EXHAUSTED (a whole answer sent back) is passed over. Returns
 * TOKEN_ENABLE_EXPIRED or TOKEN_ENABLE_EXHAUSTED, with token unchanged, where the
 * patch enables a token that is not enabled at now_unix_s and would not be
 * afterwards either. token's new spans are those of the patch. */
enum token_error token_patch_apply(const struct token_patch *patch, int64_t now_unix_s,
                                   struct token *token);

/* The JSON name of the field that an error is about. A static string. */
const char *token_error_field(enum token_error error);

/* What is wrong, to be read after the field's name. A static string. */
const char *token_error_text(enum token_error error);

#endif
