#pragma once

#include <stdint.h>

#include "token/key.h"

/* The secret file, and the keys that are derived from it (libsodium's crypto_kdf): one seals the
 * tokens' keys in the store, one hashes them for look-ups. A copy of the store without the secret
 * file gives away no token's key. */
struct seal;

enum {
    SEAL_SECRET_LEN = 32, /* bytes of the secret file */
    SEAL_CHECK_LEN = 16,
    SEAL_HASH_LEN = 16,
    SEAL_CREDENTIAL_HASH_LEN = 32,
    SEAL_NONCE_LEN = 12,
    SEAL_TAG_LEN = 16,
    SEAL_OVERHEAD_LEN = SEAL_NONCE_LEN + SEAL_TAG_LEN,
    SEAL_KEY_LEN = TOKEN_KEY_LEN - TOKEN_KEY_PREFIX_LEN + SEAL_OVERHEAD_LEN, /* of one of ours */
    SEAL_KEY_LEN_MAX = TOKEN_KEY_PLAIN_LEN_MAX + SEAL_OVERHEAD_LEN
};

/* The values are stored: they must not change. */
enum seal_cipher { SEAL_CIPHER_CHACHA20_POLY1305 = 1, SEAL_CIPHER_AES256_GCM = 2 };

/* Writes a new secret file with 32 random bytes, mode 0600, and syncs it. The path must not exist.
 * False with one line in reason. */
bool seal_create_file(const char *path, char *reason, size_t reason_size);

/* Reads the secret file and derives the keys. The caller closes *out. False with one line in reason
 * if the file can't be read, is open to group or others, or is not 32 bytes long. */
bool seal_open(const char *path, struct seal **out, char *reason, size_t reason_size);

/* Wipes and frees. NULL is allowed. */
void seal_close(struct seal *seal);

/* Selects the cipher; to be called once before anything is sealed or unsealed. False if this CPU
 * does not support it. */
bool seal_use_cipher(struct seal *seal, enum seal_cipher cipher);

/* The cipher that has been selected; if none has, the one that is fastest on this CPU. */
enum seal_cipher seal_get_cipher(const struct seal *seal);

/* SEAL_CHECK_LEN bytes that tell this secret from another one and give nothing of it away. */
const unsigned char *seal_check_value(const struct seal *seal);

/* Seals a text (AEAD), bound to further bytes that are stored beside it.
 *   sealed   has room for plain.len + SEAL_OVERHEAD_LEN bytes */
void seal_text(const struct seal *seal, struct span binding, struct span plain,
               unsigned char *sealed);

/* Opens what seal_text has made.
 *   plain    has room for sealed.len - SEAL_OVERHEAD_LEN bytes
 * False if it was not sealed by this secret with this binding. */
bool unseal_text(const struct seal *seal, struct span binding, struct span sealed, char *plain);

/* The same for a token's key (token/key.h), bound to its owner and id. Returns what of sealed was
 * written. */
struct span seal_key(const struct seal *seal, int64_t user_id, int64_t token_id, const char *key,
                     unsigned char sealed[static SEAL_KEY_LEN_MAX]);
bool unseal_key(const struct seal *seal, int64_t user_id, int64_t token_id, struct span sealed,
                char key[static TOKEN_KEY_SIZE]);

/* The hash that a token's key is looked up by: keyed BLAKE2b. */
void seal_hash_key(const struct seal *seal, const char *key,
                   unsigned char hash[static SEAL_HASH_LEN]);

/* The hash that an access token or a gateway's secret is stored as: BLAKE2b. They are random and
 * long enough to need no key and no salt. */
void seal_hash_credential(struct span credential,
                          unsigned char hash[static SEAL_CREDENTIAL_HASH_LEN]);
