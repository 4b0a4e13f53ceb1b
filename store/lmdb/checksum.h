#ifndef STORE_LMDB_CHECKSUM_H
#define STORE_LMDB_CHECKSUM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/span.h"

/* What tells a value that was stored from one whose bits have changed since. It is bound to
 * the database and the key that the value is stored under: a whole value in another's place is
 * noticed too. Against accidents only; who can write the file can compute it. */

enum { CHECKSUM_LEN = 4 };

enum checksum_kind {
    CHECKSUM_TOKEN = 1,
    CHECKSUM_USER,
    CHECKSUM_GATEWAY,
    CHECKSUM_RESERVATION,
    CHECKSUM_KEY,
    CHECKSUM_META
};

/* The key of a value: one or two numbers that tell it from all others of its kind. */
struct checksum_context {
    enum checksum_kind kind;
    int64_t a, b;
};

/* Writes the checksum behind the len bytes, which have room for it. Returns the length with it. */
size_t checksum_put(struct checksum_context place, unsigned char *bytes, size_t len);

/* Takes the checksum off the end of the value; false where it is not the value's. */
bool checksum_take(struct checksum_context place, struct span *value);

#endif
