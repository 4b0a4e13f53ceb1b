#include "seal/seal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sodium.h>

#include "base/bytes.h"
#include "base/random.h"

struct seal {
    crypto_aead_aes256gcm_state aes; /* 16-byte aligned by its type; the key expanded once */
    unsigned char seal_key[crypto_aead_chacha20poly1305_ietf_KEYBYTES];
    unsigned char hash_key[crypto_generichash_KEYBYTES];
    unsigned char check[SEAL_CHECK_LEN];
    enum seal_cipher cipher;
};

_Static_assert(SEAL_NONCE_LEN == crypto_aead_aes256gcm_NPUBBYTES, "nonce");
_Static_assert(SEAL_NONCE_LEN == crypto_aead_chacha20poly1305_ietf_NPUBBYTES, "nonce");
_Static_assert(SEAL_TAG_LEN == crypto_aead_aes256gcm_ABYTES, "tag");
_Static_assert(SEAL_TAG_LEN == crypto_aead_chacha20poly1305_ietf_ABYTES, "tag");
_Static_assert(SEAL_SECRET_LEN == crypto_kdf_KEYBYTES, "secret");

enum { SUBKEY_SEAL = 1, SUBKEY_HASH = 2, SUBKEY_CHECK = 3 };
static const char kdf_context[crypto_kdf_CONTEXTBYTES] = {'t', 'o', 'k', 'e', 'n', 'k', 'e', 'y'};

enum store_error seal_create_file(const char *path, char reason[static STORE_REASON_SIZE])
{
    unsigned char bytes[SEAL_SECRET_LEN];
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        snprintf(reason, STORE_REASON_SIZE, "%s: %s", path, strerror(errno));
        return STORE_REFUSED;
    }
    random_fill(bytes, sizeof(bytes));
    bool written = write(fd, bytes, sizeof(bytes)) == (ssize_t)sizeof(bytes) && fsync(fd) == 0;
    int write_errno = errno;
    sodium_memzero(bytes, sizeof(bytes));
    if (close(fd) == 0 && written)
        return STORE_OK;
    snprintf(reason, STORE_REASON_SIZE, "%s: %s", path, strerror(write_errno));
    unlink(path);
    return STORE_REFUSED;
}

/* Fills bytes from the open file; the reason says what is wrong with it. */
static bool read_secret(int fd, unsigned char bytes[static SEAL_SECRET_LEN], const char **wrong)
{
    struct stat status;
    if (fstat(fd, &status) != 0) {
        *wrong = strerror(errno);
    } else if (!S_ISREG(status.st_mode)) {
        *wrong = "is not a regular file";
    } else if (status.st_mode & (S_IRWXG | S_IRWXO)) {
        *wrong = "must not be open to group or others (chmod 600)";
    } else if (status.st_size != SEAL_SECRET_LEN) {
        *wrong = "must be exactly 32 bytes";
    } else if (read(fd, bytes, SEAL_SECRET_LEN) != SEAL_SECRET_LEN) {
        *wrong = "could not be read whole";
    } else {
        return true;
    }
    return false;
}

enum store_error seal_open(const char *path, struct seal **out,
                           char reason[static STORE_REASON_SIZE])
{
    unsigned char bytes[SEAL_SECRET_LEN];
    const char *wrong = NULL;
    struct seal *secret = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        wrong = strerror(errno);
        goto out;
    }
    if (!read_secret(fd, bytes, &wrong))
        goto out;
    /* Guarded, locked in memory where that is allowed, wiped when freed. */
    secret = sodium_malloc(sizeof(*secret));
    if (!secret) {
        wrong = "no memory for it";
        goto out;
    }
    crypto_kdf_derive_from_key(secret->seal_key, sizeof(secret->seal_key), SUBKEY_SEAL, kdf_context,
                               bytes);
    crypto_kdf_derive_from_key(secret->hash_key, sizeof(secret->hash_key), SUBKEY_HASH, kdf_context,
                               bytes);
    crypto_kdf_derive_from_key(secret->check, sizeof(secret->check), SUBKEY_CHECK, kdf_context,
                               bytes);
out:
    sodium_memzero(bytes, sizeof(bytes));
    if (fd >= 0)
        close(fd);
    *out = secret;
    if (!wrong)
        return STORE_OK;
    snprintf(reason, STORE_REASON_SIZE, "%s: %s", path, wrong);
    return STORE_REFUSED;
}

void seal_close(struct seal *secret)
{
    sodium_free(secret);
}

bool seal_use_cipher(struct seal *secret, enum seal_cipher cipher)
{
    secret->cipher = cipher;
    if (cipher == SEAL_CIPHER_CHACHA20_POLY1305)
        return true;
    if (cipher != SEAL_CIPHER_AES256_GCM || !crypto_aead_aes256gcm_is_available())
        return false;
    crypto_aead_aes256gcm_beforenm(&secret->aes, secret->seal_key);
    return true;
}

enum seal_cipher seal_best_cipher(void)
{
    return crypto_aead_aes256gcm_is_available() ? SEAL_CIPHER_AES256_GCM
                                                : SEAL_CIPHER_CHACHA20_POLY1305;
}

void seal_check_value(const struct seal *secret, unsigned char check[static SEAL_CHECK_LEN])
{
    memcpy(check, secret->check, SEAL_CHECK_LEN);
}

enum { BINDING_LEN = 16 };

static void bind_to_id(int64_t user_id, int64_t token_id, unsigned char binding[BINDING_LEN])
{
    put_big64(binding, user_id);
    put_big64(binding + 8, token_id);
}

/* The nonce is random and not a counter: after a restored backup the same ids, and
 * so the same counters, would seal other keys. */
void seal_text(const struct seal *secret, struct span binding, struct span plain,
               unsigned char *sealed)
{
    const unsigned char *bound = (const unsigned char *)binding.at;
    const unsigned char *from = (const unsigned char *)plain.at;
    unsigned char *nonce = sealed, *text = sealed + SEAL_NONCE_LEN;
    random_fill(nonce, SEAL_NONCE_LEN);
    if (secret->cipher == SEAL_CIPHER_AES256_GCM)
        crypto_aead_aes256gcm_encrypt_afternm(text, NULL, from, plain.len, bound, binding.len, NULL,
                                              nonce, &secret->aes);
    else
        crypto_aead_chacha20poly1305_ietf_encrypt(text, NULL, from, plain.len, bound, binding.len,
                                                  NULL, nonce, secret->seal_key);
}

bool unseal_text(const struct seal *secret, struct span binding, struct span sealed, char *plain)
{
    if (sealed.len < SEAL_NONCE_LEN + SEAL_TAG_LEN)
        return false;
    const unsigned char *bound = (const unsigned char *)binding.at;
    const unsigned char *nonce = (const unsigned char *)sealed.at, *text = nonce + SEAL_NONCE_LEN;
    size_t text_len = sealed.len - SEAL_NONCE_LEN;
    unsigned char *to = (unsigned char *)plain;
    if (secret->cipher == SEAL_CIPHER_AES256_GCM)
        return crypto_aead_aes256gcm_decrypt_afternm(to, NULL, NULL, text, text_len, bound,
                                                     binding.len, nonce, &secret->aes) == 0;
    return crypto_aead_chacha20poly1305_ietf_decrypt(to, NULL, NULL, text, text_len, bound,
                                                     binding.len, nonce, secret->seal_key) == 0;
}

void seal_key(const struct seal *secret, int64_t user_id, int64_t token_id,
              const char key[static TOKEN_KEY_LEN], unsigned char sealed[static SEAL_KEY_LEN])
{
    unsigned char binding[BINDING_LEN];
    bind_to_id(user_id, token_id, binding);
    seal_text(secret, (struct span){(char *)binding, sizeof(binding)},
              (struct span){key + TOKEN_KEY_PREFIX_LEN, SEAL_KEY_PLAIN_LEN}, sealed);
}

bool unseal_key(const struct seal *secret, int64_t user_id, int64_t token_id,
                const unsigned char sealed[static SEAL_KEY_LEN], char key[static TOKEN_KEY_LEN])
{
    unsigned char binding[BINDING_LEN];
    bind_to_id(user_id, token_id, binding);
    memcpy(key, "sk-", TOKEN_KEY_PREFIX_LEN);
    return unseal_text(secret, (struct span){(char *)binding, sizeof(binding)},
                       (struct span){(const char *)sealed, SEAL_KEY_LEN},
                       key + TOKEN_KEY_PREFIX_LEN);
}

void seal_hash_key(const struct seal *secret, const char key[static TOKEN_KEY_LEN],
                   unsigned char hash[static SEAL_HASH_LEN])
{
    crypto_generichash(hash, SEAL_HASH_LEN, (const unsigned char *)key, TOKEN_KEY_LEN,
                       secret->hash_key, sizeof(secret->hash_key));
}
