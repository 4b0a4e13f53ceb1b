#include "store/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sodium.h>

#include "store/bytes.h"
#include "token/random.h"

struct secret {
    crypto_aead_aes256gcm_state aes; /* 16-byte aligned by its type; the key expanded once */
    unsigned char seal_key[crypto_aead_chacha20poly1305_ietf_KEYBYTES];
    unsigned char hash_key[crypto_generichash_KEYBYTES];
    unsigned char check[SECRET_CHECK_LEN];
    enum store_cipher cipher;
};

_Static_assert(SECRET_NONCE_LEN == crypto_aead_aes256gcm_NPUBBYTES, "nonce");
_Static_assert(SECRET_NONCE_LEN == crypto_aead_chacha20poly1305_ietf_NPUBBYTES, "nonce");
_Static_assert(SECRET_TAG_LEN == crypto_aead_aes256gcm_ABYTES, "tag");
_Static_assert(SECRET_TAG_LEN == crypto_aead_chacha20poly1305_ietf_ABYTES, "tag");
_Static_assert(SECRET_FILE_LEN == crypto_kdf_KEYBYTES, "secret");

enum { SUBKEY_SEAL = 1, SUBKEY_HASH = 2, SUBKEY_CHECK = 3 };
static const char kdf_context[crypto_kdf_CONTEXTBYTES] = {'t', 'o', 'k', 'e', 'n', 'k', 'e', 'y'};

enum store_error secret_create(const char *path, char reason[static STORE_REASON_SIZE])
{
    unsigned char bytes[SECRET_FILE_LEN];
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
static bool read_secret(int fd, unsigned char bytes[static SECRET_FILE_LEN], const char **wrong)
{
    struct stat status;
    if (fstat(fd, &status) != 0) {
        *wrong = strerror(errno);
    } else if (!S_ISREG(status.st_mode)) {
        *wrong = "is not a regular file";
    } else if (status.st_mode & (S_IRWXG | S_IRWXO)) {
        *wrong = "must not be open to group or others (chmod 600)";
    } else if (status.st_size != SECRET_FILE_LEN) {
        *wrong = "must be exactly 32 bytes";
    } else if (read(fd, bytes, SECRET_FILE_LEN) != SECRET_FILE_LEN) {
        *wrong = "could not be read whole";
    } else {
        return true;
    }
    return false;
}

enum store_error secret_open(const char *path, struct secret **out,
                             char reason[static STORE_REASON_SIZE])
{
    unsigned char bytes[SECRET_FILE_LEN];
    const char *wrong = NULL;
    struct secret *secret = NULL;
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

void secret_close(struct secret *secret)
{
    sodium_free(secret);
}

bool secret_use_cipher(struct secret *secret, enum store_cipher cipher)
{
    secret->cipher = cipher;
    if (cipher == STORE_CIPHER_CHACHA20_POLY1305)
        return true;
    if (cipher != STORE_CIPHER_AES256_GCM || !crypto_aead_aes256gcm_is_available())
        return false;
    crypto_aead_aes256gcm_beforenm(&secret->aes, secret->seal_key);
    return true;
}

enum store_cipher secret_best_cipher(void)
{
    return crypto_aead_aes256gcm_is_available() ? STORE_CIPHER_AES256_GCM
                                                : STORE_CIPHER_CHACHA20_POLY1305;
}

void secret_check_value(const struct secret *secret, unsigned char check[static SECRET_CHECK_LEN])
{
    memcpy(check, secret->check, SECRET_CHECK_LEN);
}

enum { BINDING_LEN = 16 };

static void bind_to_id(int64_t user_id, int64_t token_id, unsigned char binding[BINDING_LEN])
{
    put_big64(binding, user_id);
    put_big64(binding + 8, token_id);
}

/* The nonce is random and not a counter: after a restored backup the same ids, and
 * so the same counters, would seal other keys. */
void secret_seal_text(const struct secret *secret, struct span binding, struct span plain,
                      unsigned char *sealed)
{
    const unsigned char *bound = (const unsigned char *)binding.at;
    const unsigned char *from = (const unsigned char *)plain.at;
    unsigned char *nonce = sealed, *text = sealed + SECRET_NONCE_LEN;
    random_fill(nonce, SECRET_NONCE_LEN);
    if (secret->cipher == STORE_CIPHER_AES256_GCM)
        crypto_aead_aes256gcm_encrypt_afternm(text, NULL, from, plain.len, bound, binding.len, NULL,
                                              nonce, &secret->aes);
    else
        crypto_aead_chacha20poly1305_ietf_encrypt(text, NULL, from, plain.len, bound, binding.len,
                                                  NULL, nonce, secret->seal_key);
}

bool secret_unseal_text(const struct secret *secret, struct span binding, struct span sealed,
                        char *plain)
{
    if (sealed.len < SECRET_NONCE_LEN + SECRET_TAG_LEN)
        return false;
    const unsigned char *bound = (const unsigned char *)binding.at;
    const unsigned char *nonce = (const unsigned char *)sealed.at, *text = nonce + SECRET_NONCE_LEN;
    size_t text_len = sealed.len - SECRET_NONCE_LEN;
    unsigned char *to = (unsigned char *)plain;
    if (secret->cipher == STORE_CIPHER_AES256_GCM)
        return crypto_aead_aes256gcm_decrypt_afternm(to, NULL, NULL, text, text_len, bound,
                                                     binding.len, nonce, &secret->aes) == 0;
    return crypto_aead_chacha20poly1305_ietf_decrypt(to, NULL, NULL, text, text_len, bound,
                                                     binding.len, nonce, secret->seal_key) == 0;
}

void secret_seal(const struct secret *secret, int64_t user_id, int64_t token_id,
                 const char key[static TOKEN_KEY_LEN],
                 unsigned char sealed[static SECRET_SEALED_LEN])
{
    unsigned char binding[BINDING_LEN];
    bind_to_id(user_id, token_id, binding);
    secret_seal_text(secret, (struct span){(char *)binding, sizeof(binding)},
                     (struct span){key + TOKEN_KEY_PREFIX_LEN, SECRET_SEALED_PLAIN_LEN}, sealed);
}

bool secret_unseal(const struct secret *secret, int64_t user_id, int64_t token_id,
                   const unsigned char sealed[static SECRET_SEALED_LEN],
                   char key[static TOKEN_KEY_LEN])
{
    unsigned char binding[BINDING_LEN];
    bind_to_id(user_id, token_id, binding);
    memcpy(key, "sk-", TOKEN_KEY_PREFIX_LEN);
    return secret_unseal_text(secret, (struct span){(char *)binding, sizeof(binding)},
                              (struct span){(const char *)sealed, SECRET_SEALED_LEN},
                              key + TOKEN_KEY_PREFIX_LEN);
}

void secret_hash_key(const struct secret *secret, const char key[static TOKEN_KEY_LEN],
                     unsigned char hash[static SECRET_HASH_LEN])
{
    crypto_generichash(hash, SECRET_HASH_LEN, (const unsigned char *)key, TOKEN_KEY_LEN,
                       secret->hash_key, sizeof(secret->hash_key));
}
