#ifndef TOKEN_KEY_H
#define TOKEN_KEY_H

#include <stdbool.h>
#include <stddef.h>

#include "base/span.h"

/* A token's key: "sk-", 42 random characters of [0-9A-Za-z] and 6 more that are
 * the CRC-32 (IEEE 802.3) of those 42, in base 62, most significant first. The
 * checksum lets a mistyped key be refused without a look-up. */
enum {
    TOKEN_KEY_PREFIX_LEN = 3,
    TOKEN_KEY_RANDOM_LEN = 42,
    TOKEN_KEY_CHECK_LEN = 6,
    TOKEN_KEY_LEN = TOKEN_KEY_PREFIX_LEN + TOKEN_KEY_RANDOM_LEN + TOKEN_KEY_CHECK_LEN
};

/* The characters of a key, in the order of their values. */
extern const char token_key_alphabet[63];

/* Fills key with a fresh one from the operating system's random source. */
void token_key_generate(char key[static TOKEN_KEY_LEN]);

/* Whether text has the form of a key, checksum included. */
bool token_key_is_well_formed(struct span text);

#endif
