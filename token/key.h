#pragma once

#include "base/span.h"

/* A token's key, as a text that ends in NUL: "sk-", 42 random characters of [0-9A-Za-z], and the
 * CRC-32 (IEEE 802.3) of those 42 as 6 digits of base 62, most significant first. The checksum
 * refuses a mistyped key without a look-up.
 *
 * Keys that were imported from another system are foreign: 16 to 128 characters of [0-9A-Za-z_]
 * behind "sk-", without a checksum. A text of another form, up to TOKEN_KEY_PLAIN_LEN_MAX bytes, is
 * stored like a key but is never valid. */
enum {
    TOKEN_KEY_PREFIX_LEN = 3,
    TOKEN_KEY_RANDOM_LEN = 42,
    TOKEN_KEY_CHECK_LEN = 6,
    TOKEN_KEY_LEN = TOKEN_KEY_PREFIX_LEN + TOKEN_KEY_RANDOM_LEN + TOKEN_KEY_CHECK_LEN,
    TOKEN_KEY_PLAIN_LEN_MAX = 255, /* without "sk-" */
    TOKEN_KEY_LEN_MAX = TOKEN_KEY_PREFIX_LEN + TOKEN_KEY_PLAIN_LEN_MAX,
    TOKEN_KEY_SIZE = TOKEN_KEY_LEN_MAX + 1,                            /* of memory for any key */
    TOKEN_KEY_MASK_LEN_MAX = TOKEN_KEY_PREFIX_LEN + 4 * 4 + 10 + 4 * 4 /* of UTF-8 */
};

enum token_key_form {
    TOKEN_KEY_MALFORMED,
    TOKEN_KEY_FOREIGN, /* also one of ours with a wrong checksum */
    TOKEN_KEY_OWN
};

/* Writes a new key from the operating system's random source. */
void token_key_generate(char key[static TOKEN_KEY_LEN + 1]);

/* The form of a text that begins with "sk-". */
enum token_key_form token_key_form(struct span text);

/* The key that a client means by text: "sk-KEY", "KEY", or "sk-sk-KEY", as front ends of the New
 * API family prepend a second "sk-". Returns its form; TOKEN_KEY_MALFORMED: key is undefined. */
enum token_key_form token_key_read(struct span text, char key[static TOKEN_KEY_SIZE]);

/* The text without "sk-" at its beginning, at most twice. */
struct span token_key_strip_prefix(struct span text);

/* Writes "sk-" and plain, of up to TOKEN_KEY_PLAIN_LEN_MAX bytes without NUL. */
void token_key_set(char key[static TOKEN_KEY_SIZE], struct span plain);

/* Masks a key for answers: "sk-", its first characters, 10 stars, its last characters; 4 of each,
 * or 2 if it has fewer than 24 behind "sk-". The key is UTF-8. Returns the part of mask that was
 * written. */
struct span token_key_mask(const char *key, char mask[static TOKEN_KEY_MASK_LEN_MAX]);
