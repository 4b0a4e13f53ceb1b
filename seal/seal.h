#pragma once

#include <stdint.h>

#include "token/key.h"

/* The secret file, and the keys that are derived from it (libsodium's crypto_kdf): one seals the
 * tokens' keys in the store, one hashes them for look-ups. A copy of the store without the secret
 * file gives away no token's key. While the secret is rotated there are two: new rows are sealed
 * and hashed with one of them, rows of before with either. */
struct seal;
struct seal_secret; /* one of the two */

enum {
    SEAL_SECRET_LEN = 32, /* bytes of the secret file */
    SEAL_SECRETS_MAX = 2,
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

/* Behind the secret file's name: the file with the next secret. */
#define SEAL_NEXT_SUFFIX ".new"

/* How a store uses its secrets. The values are stored: they must not change. */
enum seal_phase {
    SEAL_SETTLED,   /* one secret */
    SEAL_ANNOUNCED, /* two; processes that open the store must find the next one's file */
    SEAL_CHANGING   /* two; writes seal and hash with the next one */
};
struct seal_rotation {
    int64_t generation; /* rises with each change of the others */
    int64_t phase;
    unsigned char check[SEAL_CHECK_LEN], next_check[SEAL_CHECK_LEN]; /* as seal_check_value */
};

/* Writes a new secret file with 32 random bytes, mode 0600, and syncs it. The path must not exist.
 * False with one line in reason. */
bool seal_create_file(const char *path, char *reason, size_t reason_size);

/* Reads the secret file and derives the keys; the next secret's too, if its file is as good. The
 * caller closes *out. False with one line in reason if the file can't be read, is open to others or
 * to a group that is not the process's, or is not 32 bytes long. */
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

/* The same of the next secret; NULL without one, and *wrong says why, a static text. */
const unsigned char *seal_next_check_value(const struct seal *seal, const char **wrong);

/* Selects the secrets in use by the state of the rotation that the store has. One at a time: the
 * caller holds the process's lock for writes. A secret that was in use stays in use until
 * seal_settle, as readers' snapshots may be older than the state. False, with the selection as it
 * was, if no file has a secret that the state needs: its next one is needed from SEAL_CHANGING on.
 */
bool seal_follow(struct seal *seal, const struct seal_rotation *rotation);

/* Whether the last seal_follow found a secret of the state, also the next one, in no file. The file
 * may have been written since seal_open. */
bool seal_lacks_secret(const struct seal *seal);

/* Takes all secrets but the current one out of use: after the rotation, when no snapshot of before
 * its end is read any more. */
void seal_settle(struct seal *seal);

/* The secret that new texts are sealed with, and new keys hashed. */
const struct seal_secret *seal_current(const struct seal *seal);

/* The secrets that keys may be hashed with, in the order in which they must be looked up: what is
 * not found with the older one can only have gone over to the newer one. Returns how many. */
unsigned seal_list(const struct seal *seal,
                   const struct seal_secret *secrets[static SEAL_SECRETS_MAX]);

/* Seals a text (AEAD), bound to further bytes that are stored beside it.
 *   sealed   has room for plain.len + SEAL_OVERHEAD_LEN bytes */
void seal_text(const struct seal *seal, struct span binding, struct span plain,
               unsigned char *sealed);

/* Opens what seal_text has made.
 *   plain    has room for sealed.len - SEAL_OVERHEAD_LEN bytes
 * Returns the secret that it was sealed with; NULL if it is none of them, or the binding another.
 */
const struct seal_secret *unseal_text(const struct seal *seal, struct span binding,
                                      struct span sealed, char *plain);

/* The same for a token's key (token/key.h), bound to its owner and id. seal_key returns the part of
 * sealed that it has written. unseal_key also returns NULL if sealed is longer than any sealed key;
 * key is undefined then. */
struct span seal_key(const struct seal *seal, int64_t user_id, int64_t token_id, const char *key,
                     unsigned char sealed[static SEAL_KEY_LEN_MAX]);
const struct seal_secret *unseal_key(const struct seal *seal, int64_t user_id, int64_t token_id,
                                     struct span sealed, char key[static TOKEN_KEY_SIZE]);

/* The hash that a token's key is looked up by: keyed BLAKE2b, of the current secret or another. */
void seal_hash_key(const struct seal *seal, const char *key,
                   unsigned char hash[static SEAL_HASH_LEN]);
void seal_hash_key_with(const struct seal_secret *secret, const char *key,
                        unsigned char hash[static SEAL_HASH_LEN]);

/* The hash that an access token or a gateway's secret is stored as: BLAKE2b. They are random and
 * long enough to need no key and no salt. */
void seal_hash_credential(struct span credential,
                          unsigned char hash[static SEAL_CREDENTIAL_HASH_LEN]);
