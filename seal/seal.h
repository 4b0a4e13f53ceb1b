#ifndef SEAL_SEAL_H
#define SEAL_SEAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/store.h"

/* The keys that are derived from the secret file, and what is done with them. A
 * copy of the store without that file gives away no token's key. */
struct seal;

enum {
    SEAL_SECRET_LEN = 32,
    SEAL_CHECK_LEN = 16,
    SEAL_HASH_LEN = 16,
    SEAL_NONCE_LEN = 12,
    SEAL_TAG_LEN = 16,
    SEAL_KEY_PLAIN_LEN = TOKEN_KEY_LEN - TOKEN_KEY_PREFIX_LEN,
    SEAL_KEY_LEN = SEAL_NONCE_LEN + SEAL_KEY_PLAIN_LEN + SEAL_TAG_LEN
};

/* Writes a new secret file, mode 0600, durably; it must not exist. STORE_REFUSED. */
enum store_error seal_create_file(const char *path, char reason[static STORE_REASON_SIZE]);

/* Reads the secret file and derives the keys. STORE_REFUSED where it can't be read,
 * is readable by others, or is not 32 bytes. The caller closes it. */
enum store_error seal_open(const char *path, struct seal **out,
                           char reason[static STORE_REASON_SIZE]);

/* Wipes and frees. NULL is allowed. */
void seal_close(struct seal *secret);

/* The cipher that seals and unseals; to be called once before either. False where
 * this processor has not got it. */
bool seal_use_cipher(struct seal *secret, enum seal_cipher cipher);

/* The cipher that this processor does fastest. */
enum seal_cipher seal_best_cipher(void);

/* A value that tells this secret from another without giving it away. */
void seal_check_value(const struct seal *secret, unsigned char check[static SEAL_CHECK_LEN]);

/* Seals a token's key, bound to its owner and id. */
void seal_key(const struct seal *secret, int64_t user_id, int64_t token_id,
              const char key[static TOKEN_KEY_LEN], unsigned char sealed[static SEAL_KEY_LEN]);

/* False where the sealed bytes are not what seal_key made for this id. */
bool unseal_key(const struct seal *secret, int64_t user_id, int64_t token_id,
                const unsigned char sealed[static SEAL_KEY_LEN], char key[static TOKEN_KEY_LEN]);

/* The same for a text, bound to bytes of the caller's choice. sealed has room for
 * SEAL_NONCE_LEN + plain.len + SEAL_TAG_LEN bytes; plain, for SEAL_NONCE_LEN +
 * SEAL_TAG_LEN less than sealed.len. */
void seal_text(const struct seal *secret, struct span binding, struct span plain,
               unsigned char *sealed);
bool unseal_text(const struct seal *secret, struct span binding, struct span sealed, char *plain);

/* What a token's key is found by: keyed BLAKE2b. */
void seal_hash_key(const struct seal *secret, const char key[static TOKEN_KEY_LEN],
                   unsigned char hash[static SEAL_HASH_LEN]);

#endif
