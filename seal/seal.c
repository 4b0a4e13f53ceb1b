#include "seal/seal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sodium.h>

#include "base/bytes.h"
#include "base/random.h"

struct seal_secret {
    crypto_aead_aes256gcm_state aes; /* 16-byte aligned by its type; the key expanded once */
    unsigned char seal_key[crypto_aead_chacha20poly1305_ietf_KEYBYTES];
    unsigned char hash_key[crypto_generichash_KEYBYTES];
    unsigned char check[SEAL_CHECK_LEN];
};

struct seal {
    struct seal_secret secrets[SEAL_SECRETS_MAX]; /* of the two files */
    const char *next_wrong;                       /* why there is no second one */
    enum seal_cipher cipher;
    bool lacks_secret;
    /* Those in use. seal_list loads newer before older: older has become the current one before
     * newer is taken away. */
    _Atomic(const struct seal_secret *) current, older, newer;
};

_Static_assert(SEAL_NONCE_LEN == crypto_aead_aes256gcm_NPUBBYTES, "nonce");
_Static_assert(SEAL_NONCE_LEN == crypto_aead_chacha20poly1305_ietf_NPUBBYTES, "nonce");
_Static_assert(SEAL_TAG_LEN == crypto_aead_aes256gcm_ABYTES, "tag");
_Static_assert(SEAL_TAG_LEN == crypto_aead_chacha20poly1305_ietf_ABYTES, "tag");
_Static_assert(SEAL_SECRET_LEN == crypto_kdf_KEYBYTES, "secret");
_Static_assert(SEAL_CREDENTIAL_HASH_LEN == crypto_generichash_BYTES, "hash");

/* ---- the secret file ---- */

static bool fail(char *reason, size_t reason_size, const char *path, const char *why)
{
    snprintf(reason, reason_size, "%s: %s", path, why);
    return false;
}

bool seal_create_file(const char *path, char *reason, size_t reason_size)
{
    unsigned char bytes[SEAL_SECRET_LEN];
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return fail(reason, reason_size, path, strerror(errno));
    random_fill(bytes, sizeof(bytes));
    bool written = write(fd, bytes, sizeof(bytes)) == (ssize_t)sizeof(bytes) && fsync(fd) == 0;
    int write_errno = errno;
    sodium_memzero(bytes, sizeof(bytes));
    if (close(fd) == 0 && written)
        return true;
    unlink(path);
    return fail(reason, reason_size, path, strerror(write_errno));
}

/* Returns what is wrong with the file, or NULL with bytes filled in. */
static const char *read_secret(const char *path, unsigned char bytes[static SEAL_SECRET_LEN])
{
    struct stat status;
    const char *wrong = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return errno == ENOENT ? "No such file; put the secret there, or run tokenctl init"
                               : strerror(errno);
    if (fstat(fd, &status) != 0)
        wrong = strerror(errno);
    else if (!S_ISREG(status.st_mode))
        wrong = "is not a regular file";
    else if (status.st_mode & (S_IWGRP | S_IXGRP | S_IRWXO))
        wrong = "must not be open to others, nor writable by its group (chmod 600)";
    else if (status.st_mode & S_IRGRP && status.st_gid != getegid() && !group_member(status.st_gid))
        wrong = "must not be open to a group that is not the process's own (chmod 600)";
    else if (status.st_size != SEAL_SECRET_LEN)
        wrong = "must be exactly 32 bytes";
    else if (read(fd, bytes, SEAL_SECRET_LEN) != SEAL_SECRET_LEN)
        wrong = "could not be read completely";
    close(fd);
    return wrong;
}

static void derive_keys(struct seal_secret *keys,
                        const unsigned char secret[static SEAL_SECRET_LEN])
{
    enum { SUBKEY_SEAL = 1, SUBKEY_HASH = 2, SUBKEY_CHECK = 3 };
    static const char context[crypto_kdf_CONTEXTBYTES] = {'t', 'o', 'k', 'e', 'n', 'k', 'e', 'y'};
    crypto_kdf_derive_from_key(keys->seal_key, sizeof(keys->seal_key), SUBKEY_SEAL, context,
                               secret);
    crypto_kdf_derive_from_key(keys->hash_key, sizeof(keys->hash_key), SUBKEY_HASH, context,
                               secret);
    crypto_kdf_derive_from_key(keys->check, sizeof(keys->check), SUBKEY_CHECK, context, secret);
}

/* Returns what is wrong with a file, or NULL with keys filled in. */
static const char *derive_from_file(const char *path, struct seal_secret *keys)
{
    unsigned char secret[SEAL_SECRET_LEN];
    const char *wrong = read_secret(path, secret);
    if (!wrong)
        derive_keys(keys, secret);
    sodium_memzero(secret, sizeof(secret));
    return wrong;
}

/* The next secret's file comes first: at the end of a rotation it gets the other name. */
bool seal_open(const char *path, struct seal **out, char *reason, size_t reason_size)
{
    char next_path[PATH_MAX];
    *out = NULL;
    if (sodium_init() < 0)
        return fail(reason, reason_size, "libsodium", "could not be initialized");
    /* Between guard pages, locked in memory where that is allowed, wiped when freed. */
    struct seal *seal = sodium_malloc(sizeof(*seal));
    if (!seal)
        return fail(reason, reason_size, path, strerror(ENOMEM));
    memset(seal, 0, sizeof(*seal)); /* no cipher is selected */
    seal->next_wrong =
        snprintf(next_path, sizeof(next_path), "%s" SEAL_NEXT_SUFFIX, path) < (int)sizeof(next_path)
            ? derive_from_file(next_path, &seal->secrets[1])
            : strerror(ENAMETOOLONG);
    const char *wrong = derive_from_file(path, &seal->secrets[0]);
    if (wrong) {
        sodium_free(seal);
        return fail(reason, reason_size, path, wrong);
    }
    if (!seal->next_wrong &&
        memcmp(seal->secrets[0].check, seal->secrets[1].check, SEAL_CHECK_LEN) == 0)
        seal->next_wrong = "has the same secret as TOKEN_SECRET";
    atomic_store(&seal->current, &seal->secrets[0]);
    atomic_store(&seal->older, &seal->secrets[0]);
    *out = seal;
    return true;
}

void seal_close(struct seal *seal)
{
    sodium_free(seal);
}

const unsigned char *seal_check_value(const struct seal *seal)
{
    return seal_current(seal)->check;
}

const unsigned char *seal_next_check_value(const struct seal *seal, const char **wrong)
{
    *wrong = seal->next_wrong;
    return seal->next_wrong ? NULL : seal->secrets[1].check;
}

/* ---- the secrets in use ---- */

static const struct seal_secret *find_secret(const struct seal *seal,
                                             const unsigned char check[static SEAL_CHECK_LEN])
{
    for (size_t i = 0; i < (seal->next_wrong ? 1 : SEAL_SECRETS_MAX); i++)
        if (sodium_memcmp(check, seal->secrets[i].check, SEAL_CHECK_LEN) == 0)
            return &seal->secrets[i];
    return NULL;
}

bool seal_follow(struct seal *seal, const struct seal_rotation *rotation)
{
    const struct seal_secret *older = find_secret(seal, rotation->check), *newer = NULL;
    if (rotation->phase != SEAL_SETTLED)
        newer = find_secret(seal, rotation->next_check);
    seal->lacks_secret = !older || (rotation->phase != SEAL_SETTLED && !newer);
    if (!older || (rotation->phase == SEAL_CHANGING && !newer))
        return false;
    atomic_store(&seal->current, rotation->phase == SEAL_CHANGING ? newer : older);
    if (newer || !atomic_load(&seal->newer)) {
        atomic_store(&seal->older, older);
        atomic_store(&seal->newer, newer);
    }
    return true;
}

bool seal_lacks_secret(const struct seal *seal)
{
    return seal->lacks_secret;
}

void seal_settle(struct seal *seal)
{
    atomic_store(&seal->older, seal_current(seal));
    atomic_store(&seal->newer, NULL);
}

const struct seal_secret *seal_current(const struct seal *seal)
{
    return atomic_load(&seal->current);
}

unsigned seal_list(const struct seal *seal,
                   const struct seal_secret *secrets[static SEAL_SECRETS_MAX])
{
    secrets[1] = atomic_load(&seal->newer);
    secrets[0] = atomic_load(&seal->older);
    return secrets[1] && secrets[1] != secrets[0] ? 2 : 1;
}

/* ---- sealing ---- */

bool seal_use_cipher(struct seal *seal, enum seal_cipher cipher)
{
    seal->cipher = cipher;
    if (cipher == SEAL_CIPHER_CHACHA20_POLY1305)
        return true;
    if (cipher != SEAL_CIPHER_AES256_GCM || !crypto_aead_aes256gcm_is_available())
        return false;
    for (size_t i = 0; i < SEAL_SECRETS_MAX; i++)
        crypto_aead_aes256gcm_beforenm(&seal->secrets[i].aes, seal->secrets[i].seal_key);
    return true;
}

enum seal_cipher seal_get_cipher(const struct seal *seal)
{
    if (seal->cipher != 0)
        return seal->cipher;
    return crypto_aead_aes256gcm_is_available() ? SEAL_CIPHER_AES256_GCM
                                                : SEAL_CIPHER_CHACHA20_POLY1305;
}

/* The nonce is random and not a counter: after a restored backup the same counters would seal other
 * keys. */
void seal_text(const struct seal *seal, struct span binding, struct span plain,
               unsigned char *sealed)
{
    const unsigned char *bound = (const unsigned char *)binding.at;
    const unsigned char *from = (const unsigned char *)plain.at;
    unsigned char *nonce = sealed, *to = sealed + SEAL_NONCE_LEN;
    const struct seal_secret *secret = seal_current(seal);
    random_fill(nonce, SEAL_NONCE_LEN);
    if (seal->cipher == SEAL_CIPHER_AES256_GCM)
        crypto_aead_aes256gcm_encrypt_afternm(to, NULL, from, plain.len, bound, binding.len, NULL,
                                              nonce, &secret->aes);
    else
        crypto_aead_chacha20poly1305_ietf_encrypt(to, NULL, from, plain.len, bound, binding.len,
                                                  NULL, nonce, secret->seal_key);
}

static bool unseal_with(const struct seal_secret *secret, enum seal_cipher cipher,
                        struct span binding, struct span sealed, char *plain)
{
    const unsigned char *bound = (const unsigned char *)binding.at;
    const unsigned char *nonce = (const unsigned char *)sealed.at, *from = nonce + SEAL_NONCE_LEN;
    size_t from_len = sealed.len - SEAL_NONCE_LEN;
    unsigned char *to = (unsigned char *)plain;
    if (cipher == SEAL_CIPHER_AES256_GCM)
        return crypto_aead_aes256gcm_decrypt_afternm(to, NULL, NULL, from, from_len, bound,
                                                     binding.len, nonce, &secret->aes) == 0;
    return crypto_aead_chacha20poly1305_ietf_decrypt(to, NULL, NULL, from, from_len, bound,
                                                     binding.len, nonce, secret->seal_key) == 0;
}

const struct seal_secret *unseal_text(const struct seal *seal, struct span binding,
                                      struct span sealed, char *plain)
{
    const struct seal_secret *secrets[SEAL_SECRETS_MAX];
    for (unsigned left = seal_list(seal, secrets); left > 0 && sealed.len >= SEAL_OVERHEAD_LEN;
         left--)
        if (unseal_with(secrets[left - 1], seal->cipher, binding, sealed, plain))
            return secrets[left - 1];
    return NULL;
}

enum { KEY_BINDING_LEN = 16 };

static struct span bind_to_id(int64_t user_id, int64_t token_id,
                              unsigned char bytes[static KEY_BINDING_LEN])
{
    put_big64(bytes, user_id);
    put_big64(bytes + 8, token_id);
    return (struct span){(const char *)bytes, KEY_BINDING_LEN};
}

struct span seal_key(const struct seal *seal, int64_t user_id, int64_t token_id, const char *key,
                     unsigned char sealed[static SEAL_KEY_LEN_MAX])
{
    unsigned char binding[KEY_BINDING_LEN];
    struct span plain = span_of(key + TOKEN_KEY_PREFIX_LEN);
    seal_text(seal, bind_to_id(user_id, token_id, binding), plain, sealed);
    return (struct span){(const char *)sealed, plain.len + SEAL_OVERHEAD_LEN};
}

const struct seal_secret *unseal_key(const struct seal *seal, int64_t user_id, int64_t token_id,
                                     struct span sealed, char key[static TOKEN_KEY_SIZE])
{
    unsigned char binding[KEY_BINDING_LEN];
    char *plain = mempcpy(key, "sk-", TOKEN_KEY_PREFIX_LEN);
    if (sealed.len < SEAL_OVERHEAD_LEN || sealed.len > SEAL_KEY_LEN_MAX)
        return NULL;
    plain[sealed.len - SEAL_OVERHEAD_LEN] = '\0';
    return unseal_text(seal, bind_to_id(user_id, token_id, binding), sealed, plain);
}

/* ---- hashing ---- */

void seal_hash_key(const struct seal *seal, const char *key,
                   unsigned char hash[static SEAL_HASH_LEN])
{
    seal_hash_key_with(seal_current(seal), key, hash);
}

void seal_hash_key_with(const struct seal_secret *secret, const char *key,
                        unsigned char hash[static SEAL_HASH_LEN])
{
    crypto_generichash(hash, SEAL_HASH_LEN, (const unsigned char *)key, strlen(key),
                       secret->hash_key, sizeof(secret->hash_key));
}

void seal_hash_credential(struct span credential,
                          unsigned char hash[static SEAL_CREDENTIAL_HASH_LEN])
{
    crypto_generichash(hash, SEAL_CREDENTIAL_HASH_LEN, (const unsigned char *)credential.at,
                       credential.len, NULL, 0);
}
