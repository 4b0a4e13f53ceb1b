#pragma once

#include <stdint.h>

#include "base/span.h"

/* The checksum at the end of a stored value. It covers the database and the key that the value is
 * stored under too: a value that is read from another's place is noticed. It guards against
 * accidents only; a program that can write the file can compute it. */

enum { CHECKSUM_LEN = 4 };

enum checksum_kind {
    CHECKSUM_TOKEN = 1,
    CHECKSUM_USER,
    CHECKSUM_GATEWAY,
    CHECKSUM_RESERVATION,
    CHECKSUM_KEY,
    CHECKSUM_META,
    CHECKSUM_USER_INDEX,
    CHECKSUM_GROUP,
    CHECKSUM_AUDIT,
    CHECKSUM_USAGE,
    CHECKSUM_ENTRY
};

/* A value's key: one or two numbers that no other value of its kind has. */
struct checksum_context {
    enum checksum_kind kind;
    int64_t a, b;
};

/* The context of a value whose key is a text or a hash. */
struct checksum_context checksum_context_of(enum checksum_kind kind, struct span key);

/* Writes the checksum of len bytes behind them, if there is room for it. Returns the length with
 * it. */
size_t checksum_put(struct checksum_context context, unsigned char *bytes, size_t len);

/* Takes the checksum off the end of the value; false if it is not the value's. */
bool checksum_take(struct checksum_context context, struct span *value);
