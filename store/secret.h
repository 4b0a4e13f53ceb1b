#ifndef STORE_SECRET_H
#define STORE_SECRET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/store.h"

/* The keys that are derived from the secret file, and what is done with them. A
 * copy of the store without that file gives away no token's key. */
struct secret;

enum {
    SECRET_FILE_LEN = 32,
    SECRET_CHECK_LEN = 16,
    SECRET_HASH_LEN = 16,
    SECRET_NONCE_LEN = 12,
    SECRET_TAG_LEN = 16,
    SECRET_SEALED_PLAIN_LEN = TOKEN_KEY_LEN - TOKEN_KEY_PREFIX_LEN,
    SECRET_SEALED_LEN = SECRET_NONCE_LEN + SECRET_SEALED_PLAIN_LEN + SECRET_TAG_LEN
};

/* Writes a new secret file, mode 0600, durably; it must not exist. STORE_REFUSED. */
enum store_error secret_create(const char *path, char reason[static STORE_REASON_SIZE]);

/* Reads the secret file and derives the keys. STORE_REFUSED where it can't be read,
 * is readable by others, or is not 32 bytes. The caller closes it. */
enum store_error secret_open(const char *path, struct secret **out,
                             char reason[static STORE_REASON_SIZE]);

/* Wipes and frees. NULL is allowed. */
void secret_close(struct secret *secret);

/* The cipher that seals and unseals; to be called once before either. False where
 * this processor has not got it. */
bool secret_use_cipher(struct secret *secret, enum store_cipher cipher);

/* The cipher that this processor does fastest. */
enum store_cipher secret_best_cipher(void);

/* A value that tells this secret from another without giving it away. */
void secret_check_value(const struct secret *secret, unsigned char check[static SECRET_CHECK_LEN]);

/* Seals a token's key, bound to its owner and id. */
void secret_seal(const struct secret *secret, int64_t user_id, int64_t token_id,
                 const char key[static TOKEN_KEY_LEN],
                 unsigned char sealed[static SECRET_SEALED_LEN]);

/* False where the sealed bytes are not what secret_seal made for this id. */
bool secret_unseal(const struct secret *secret, int64_t user_id, int64_t token_id,
                   const unsigned char sealed[static SECRET_SEALED_LEN],
                   char key[static TOKEN_KEY_LEN]);

/* The same for a text, bound to bytes of the caller's choice. sealed has room for
 * SECRET_NONCE_LEN + plain.len + SECRET_TAG_LEN bytes; plain, for SECRET_NONCE_LEN +
 * SECRET_TAG_LEN less than sealed.len. */
void secret_seal_text(const struct secret *secret, struct span binding, struct span plain,
                      unsigned char *sealed);
bool secret_unseal_text(const struct secret *secret, struct span binding, struct span sealed,
                        char *plain);

/* What a token's key is found by: keyed BLAKE2b. */
void secret_hash_key(const struct secret *secret, const char key[static TOKEN_KEY_LEN],
                     unsigned char hash[static SECRET_HASH_LEN]);

#endif
