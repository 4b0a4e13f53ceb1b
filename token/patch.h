#pragma once

#include "token/fields.h"

/* The fields that a create or an update sets: those members of value that are in fields. The spans
 * belong to the caller. used_quota, beside remain_quota, is the one for which remain_quota is
 * meant: what the client has read. */
struct token_patch {
    unsigned fields; /* of enum token_field */
    struct token value;
    int64_t add_quota; /* to remain_quota; 0 beside it */
    uint64_t name_max; /* characters of a name that is new */
};

/* The first fault of an input: "[1].name must be a string". */
struct validation_error {
    enum validation_code {
        VALIDATION_INVALID = 0,
        VALIDATION_NAME_TOO_LONG,
        VALIDATION_UNAVAILABLE /* no memory to validate; nothing is known of the input */
    } code;
    struct span field; /* its JSON name; absent: the element */
    const char *text;  /* static; follows the field's name in a message; NULL: no detail */
    int64_t index;     /* of the element in an array, from 0; -1: no array */
};

/* Checks each field of the patch against its limits. Texts must be UTF-8, lists normalized
 * (token/limits.h). Returns false with field, text and code of *error set. */
bool token_patch_check(const struct token_patch *patch, struct validation_error *error);

enum token_error {
    TOKEN_OK = 0,
    /* the patch enables a token that is not enabled at now_unix_s and would not be afterwards: */
    TOKEN_ENABLE_EXPIRED,
    TOKEN_ENABLE_EXHAUSTED,
    TOKEN_QUOTA_TOO_LOW,  /* add_quota takes more than is left */
    TOKEN_QUOTA_TOO_HIGH, /* remain_quota would be beyond int64 */
    TOKEN_NAME_TOO_LONG   /* and it is not the one that the token has */
};

/* Brings the token up to date (token/refill.h) and applies a checked patch. Of its refill the next
 * period is the first. A status of TOKEN_EXPIRED or TOKEN_EXHAUSTED is ignored: clients send
 * answers back. What a finite token without a refill has spent since the patch's used_quota comes
 * off its remain_quota, down to 0. token's new spans are those of the patch. Returns an error with
 * nothing of the patch applied. day is that of now_unix_s (base/calendar.h). */
enum token_error token_patch_apply(const struct token_patch *patch, int64_t now_unix_s, int64_t day,
                                   struct token *token);
