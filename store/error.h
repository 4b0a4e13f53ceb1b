#pragma once

#include <stdbool.h>

/* What operations of the store return. */

/* Columns: constant, text for a log line. */
/* clang-format off */
#define STORE_ERRORS(ERROR)                                                                        \
    ERROR(OK, "done")                                                                              \
    /* Refusals: the request is at fault, the store is well. */                                    \
    ERROR(NOT_FOUND, "no such token") /* or another user's */                                      \
    ERROR(NO_USER, "no such user")                                                                 \
    ERROR(DENIED, "wrong access token or gateway secret")                                          \
    ERROR(USER_DISABLED, "the user is disabled")                                                   \
    ERROR(NAME_TAKEN, "another user has this name")                                                \
    ERROR(LIMIT, "token limit reached") /* the user would have more */                             \
    ERROR(IDEMPOTENCY_MISMATCH, "the idempotency key was used with another request")               \
    ERROR(REMEMBERED, "too much is kept for the user") /* see retry_after_s */                     \
    /* it alone is more than may be kept for a user: */                                            \
    ERROR(ANSWER_TOO_LARGE, "the answer is too large to be kept")                                  \
    ERROR(NO_RESERVATION, "no such reservation") /* or another gateway's */                        \
    /* five as enum token_error, in its order (token/patch.h): */                                  \
    ERROR(ENABLE_EXPIRED, "the token has expired")                                                 \
    ERROR(ENABLE_EXHAUSTED, "the token's quota is exhausted")                                      \
    ERROR(QUOTA_TOO_LOW, "the token has less quota left than that")                                \
    ERROR(QUOTA_TOO_HIGH, "the token's quota would be out of range")                               \
    ERROR(NAME_TOO_LONG, "the name is too long")                                                   \
    ERROR(FORBIDDEN, "the administrator may not change this user")                                 \
    ERROR(GROUP, "the group is not available to the user")                                         \
    ERROR(NO_GROUP, "no such group")                                                               \
    /* Failures: nothing was done, but for STORE_UNKNOWN. */                                       \
    ERROR(FULL, "store full: no space on the disk, or TOKEN_MAP_SIZE reached")                     \
    ERROR(UNAVAILABLE, "not done: the store is locked, the database does not answer, or memory is short")      \
    ERROR(CORRUPT, "the store is damaged: run tokenctl check")                                     \
    /* this process can't use it any more: replace it: */                                          \
    ERROR(BROKEN, "store failed (I/O error), or it was replaced, removed or upgraded")                       \
    ERROR(UNKNOWN, "outcome unknown: repeat with the same idempotency key") /* perhaps done */     \
    ERROR(REFUSED, "refused") /* store_open, store_create: see the reason */
/* clang-format on */

#define STORE_ERROR_CONSTANT(constant, text) STORE_##constant,
enum store_error { STORE_ERRORS(STORE_ERROR_CONSTANT) };

/* Whether an error is a failure of the store and no refusal. */
static inline bool store_is_failure(enum store_error error)
{
    return error >= STORE_FULL;
}

/* A short description, for a log line. A static string. */
const char *store_error_text(enum store_error error);
