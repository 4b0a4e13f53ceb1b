#pragma once

#include "base/span.h"

/* A token's key: "sk-", 42 random characters of [0-9A-Za-z], and the CRC-32 (IEEE 802.3) of those
 * 42 as 6 digits of base 62, most significant first. The checksum refuses a mistyped key without a
 * look-up. */
enum {
    TOKEN_KEY_PREFIX_LEN = 3,
    TOKEN_KEY_RANDOM_LEN = 42,
    TOKEN_KEY_CHECK_LEN = 6,
    TOKEN_KEY_LEN = TOKEN_KEY_PREFIX_LEN + TOKEN_KEY_RANDOM_LEN + TOKEN_KEY_CHECK_LEN
};

/* Writes a new key from the operating system's random source; not NUL-terminated. */
void token_key_generate(char key[static TOKEN_KEY_LEN]);

/* Whether text has a key's form, checksum included. */
bool token_key_is_well_formed(struct span text);

/* The key that a client means by text: "sk-KEY", "KEY", or "sk-sk-KEY", as front ends of the New
 * API family prepend a second "sk-". Returns false, key undefined, if text is malformed. */
bool token_key_read(struct span text, char key[static TOKEN_KEY_LEN]);

/* The text without "sk-" at its beginning, at most twice. */
struct span token_key_strip_prefix(struct span text);
