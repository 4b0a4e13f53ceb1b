#include "tests/unit/unit.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sodium.h>

#include "base/random.h"
#include "seal/seal.h"
#include "tests/unit/random.h"
#include "tests/unit/temporary.h"

/* ---- a secret in a folder of its own ---- */

struct fixture {
    struct folder folder;
    struct folder_file path;
    struct seal *secret;
    char reason[STORE_REASON_SIZE];
};

static void write_file(const char *path, size_t len, mode_t mode)
{
    unsigned char bytes[64];
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (unsigned char)i;
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, len), (ssize_t)len);
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
}

static void set_up(struct fixture *fixture)
{
    *fixture = (struct fixture){.folder = folder_make()};
    fixture->path = folder_file(&fixture->folder, "secret");
}

static void tear_down(struct fixture *fixture)
{
    seal_close(fixture->secret);
    folder_remove(&fixture->folder);
}

/* With the secret 00 01 02 … 1F. */
static void set_up_known(struct fixture *fixture)
{
    set_up(fixture);
    write_file(fixture->path.path, SEAL_SECRET_LEN, 0600);
    assert_true(
        seal_open(fixture->path.path, &fixture->secret, fixture->reason, sizeof(fixture->reason)));
}

/* The ciphers that this CPU supports; ChaCha20-Poly1305 is one of them. */
static size_t list_ciphers(struct fixture *fixture, enum seal_cipher ciphers[static 2])
{
    size_t count = 0;
    static const enum seal_cipher all[] = {SEAL_CIPHER_CHACHA20_POLY1305, SEAL_CIPHER_AES256_GCM};
    for (size_t i = 0; i < COUNT_OF(all); i++)
        if (seal_use_cipher(fixture->secret, all[i]))
            ciphers[count++] = all[i];
    assert_true(count > 0 && ciphers[0] == SEAL_CIPHER_CHACHA20_POLY1305);
    return count;
}

static const char known_key[] = "sk-0000000000000000000000000000000000000000001CtB1C";

/* ---- two secrets ---- */

/* What is sealed with either opens, and says with which; new texts are sealed with the one of the
 * phase. */
static void test_rotation(void **state)
{
    (void)state;
    struct fixture fixture;
    struct folder_file next_path;
    const struct seal_secret *secrets[SEAL_SECRETS_MAX];
    struct seal_rotation rotation = {.phase = SEAL_SETTLED};
    unsigned char sealed[2][SEAL_KEY_LEN_MAX], hash[SEAL_HASH_LEN], other_hash[SEAL_HASH_LEN];
    char key[TOKEN_KEY_SIZE];
    const char *wrong;
    set_up(&fixture);
    write_file(fixture.path.path, SEAL_SECRET_LEN, 0600);
    next_path = folder_file(&fixture.folder, "secret" SEAL_NEXT_SUFFIX);
    assert_true(seal_create_file(next_path.path, fixture.reason, sizeof(fixture.reason)));
    assert_true(
        seal_open(fixture.path.path, &fixture.secret, fixture.reason, sizeof(fixture.reason)));
    seal_use_cipher(fixture.secret, SEAL_CIPHER_CHACHA20_POLY1305);
    memcpy(rotation.check, seal_check_value(fixture.secret), SEAL_CHECK_LEN);
    memcpy(rotation.next_check, seal_next_check_value(fixture.secret, &wrong), SEAL_CHECK_LEN);
    assert_true(seal_follow(fixture.secret, &rotation));
    assert_int_equal(seal_list(fixture.secret, secrets), 1);
    const struct span old = seal_key(fixture.secret, 1, 2, known_key, sealed[0]);
    seal_hash_key(fixture.secret, known_key, hash);
    rotation.phase = SEAL_CHANGING;
    assert_true(seal_follow(fixture.secret, &rotation));
    assert_int_equal(seal_list(fixture.secret, secrets), 2);
    assert_true(seal_current(fixture.secret) == secrets[1]);
    const struct span new = seal_key(fixture.secret, 1, 2, known_key, sealed[1]);
    assert_true(unseal_key(fixture.secret, 1, 2, old, key) == secrets[0]);
    assert_true(unseal_key(fixture.secret, 1, 2, new, key) == secrets[1]);
    seal_hash_key_with(secrets[0], known_key, other_hash);
    assert_memory_equal(hash, other_hash, sizeof(hash));
    /* At the end the old one opens what a reader still has, for a while. */
    memcpy(rotation.check, rotation.next_check, SEAL_CHECK_LEN);
    rotation.phase = SEAL_SETTLED;
    assert_true(seal_follow(fixture.secret, &rotation));
    assert_true(unseal_key(fixture.secret, 1, 2, old, key) == secrets[0]);
    seal_settle(fixture.secret);
    assert_null(unseal_key(fixture.secret, 1, 2, old, key));
    assert_non_null(unseal_key(fixture.secret, 1, 2, new, key));
    rotation.check[0] ^= 1;
    assert_false(seal_follow(fixture.secret, &rotation));
    assert_true(seal_lacks_secret(fixture.secret));
    assert_int_equal(unlink(next_path.path), 0);
    tear_down(&fixture);
}

/* ---- the file ---- */

static void test_create(void **state)
{
    (void)state;
    struct fixture fixture;
    struct stat status;
    unsigned char first[SEAL_SECRET_LEN], second[SEAL_SECRET_LEN];
    set_up(&fixture);
    mode_t mask = umask(0);
    assert_true(seal_create_file(fixture.path.path, fixture.reason, sizeof(fixture.reason)));
    umask(mask);
    assert_int_equal(stat(fixture.path.path, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0600);
    assert_int_equal(status.st_size, SEAL_SECRET_LEN);
    assert_true(
        seal_open(fixture.path.path, &fixture.secret, fixture.reason, sizeof(fixture.reason)));
    memcpy(first, seal_check_value(fixture.secret), SEAL_CHECK_LEN);
    seal_close(fixture.secret);
    fixture.secret = NULL;

    /* another one is another */
    assert_int_equal(unlink(fixture.path.path), 0);
    assert_true(seal_create_file(fixture.path.path, fixture.reason, sizeof(fixture.reason)));
    assert_true(
        seal_open(fixture.path.path, &fixture.secret, fixture.reason, sizeof(fixture.reason)));
    memcpy(second, seal_check_value(fixture.secret), SEAL_CHECK_LEN);
    assert_memory_not_equal(first, second, SEAL_CHECK_LEN);
    tear_down(&fixture);
}

static void test_create_overwrites_nothing(void **state)
{
    (void)state;
    struct fixture fixture;
    struct stat status;
    set_up(&fixture);
    write_file(fixture.path.path, 5, 0600);
    assert_false(seal_create_file(fixture.path.path, fixture.reason, sizeof(fixture.reason)));
    assert_non_null(strstr(fixture.reason, fixture.path.path));
    assert_int_equal(stat(fixture.path.path, &status), 0);
    assert_int_equal(status.st_size, 5);

    /* nor does it follow a link to where there is nothing yet */
    struct folder_file other = folder_file(&fixture.folder, "other");
    struct folder_file link = folder_file(&fixture.folder, "link");
    assert_int_equal(symlink(other.path, link.path), 0);
    assert_false(seal_create_file(link.path, fixture.reason, sizeof(fixture.reason)));
    assert_int_equal(access(other.path, F_OK), -1);

    struct folder_file nowhere = folder_file(&fixture.folder, "no/secret");
    assert_false(seal_create_file(nowhere.path, fixture.reason, sizeof(fixture.reason)));
    assert_non_null(strstr(fixture.reason, nowhere.path));
    tear_down(&fixture);
}

static void test_open(void **state)
{
    (void)state;
    static const struct {
        size_t len;
        mode_t mode;
        const char *reason; /* NULL: it opens */
    } rows[] = {
        {32, 0600, NULL},       {32, 0400, NULL},      {32, 0700, NULL},
        {32, 0440, NULL},       {32, 0640, NULL},      {32, 0660, "chmod"},
        {32, 0620, "chmod"},    {32, 0610, "chmod"},   {32, 0444, "chmod"},
        {32, 0604, "chmod"},    {32, 0602, "chmod"},   {32, 0601, "chmod"},
        {32, 0666, "chmod"},    {32, 0644, "chmod"},   {31, 0600, "32 bytes"},
        {33, 0600, "32 bytes"}, {0, 0600, "32 bytes"}, {64, 0600, "32 bytes"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct fixture fixture;
        set_up(&fixture);
        write_file(fixture.path.path, rows[i].len, rows[i].mode);
        bool opened =
            seal_open(fixture.path.path, &fixture.secret, fixture.reason, sizeof(fixture.reason));
        require(opened == !rows[i].reason, "row %zu: %s", i, fixture.reason);
        require(!rows[i].reason == !!fixture.secret, "row %zu: a secret", i);
        require(!rows[i].reason || (strstr(fixture.reason, fixture.path.path) &&
                                    strstr(fixture.reason, rows[i].reason)),
                "row %zu: %s", i, fixture.reason);
        tear_down(&fixture);
    }
}

/* No file, a folder, and a pipe, which nobody writes to: none of them waited for. */
static void test_open_what_is_no_file(void **state)
{
    (void)state;
    struct fixture fixture;
    set_up(&fixture);
    assert_false(
        seal_open(fixture.path.path, &fixture.secret, fixture.reason, sizeof(fixture.reason)));
    assert_non_null(strstr(fixture.reason, fixture.path.path));
    assert_false(
        seal_open(fixture.folder.path, &fixture.secret, fixture.reason, sizeof(fixture.reason)));
    assert_non_null(strstr(fixture.reason, fixture.folder.path));
    assert_int_equal(mkfifo(fixture.path.path, 0600), 0);
    assert_false(
        seal_open(fixture.path.path, &fixture.secret, fixture.reason, sizeof(fixture.reason)));
    assert_non_null(strstr(fixture.reason, "regular file"));
    assert_null(fixture.secret);
    seal_close(NULL);
    tear_down(&fixture);
}

/* ---- the same from one version to the next: values of another implementation of
 * BLAKE2b (Python's hashlib) ---- */

static void test_derived_values(void **state)
{
    (void)state;
    struct fixture fixture;
    unsigned char check[SEAL_CHECK_LEN], hash[SEAL_HASH_LEN];
    set_up_known(&fixture);
    memcpy(check, seal_check_value(fixture.secret), SEAL_CHECK_LEN);
    assert_memory_equal(check, "\x4C\xC1\xF1\x02\x9F\x3C\x03\x47\xA5\xB9\xE5\x75\xF4\x7A\x35\xFF",
                        sizeof(check));
    seal_hash_key(fixture.secret, known_key, hash);
    assert_memory_equal(hash, "\xE9\x81\xF1\x8D\xA0\x21\xF0\xF1\x2C\x56\x9F\x44\x6A\x58\x07\x92",
                        sizeof(hash));
    tear_down(&fixture);
}

static void put_big(unsigned char *at, int64_t number)
{
    for (int i = 8; i-- > 0; number >>= 8)
        at[i] = (unsigned char)number;
}

/* The form of a sealed key: nonce, text, tag; bound to user id and token id. */
static void test_the_form_of_a_sealed_key(void **state)
{
    (void)state;
    static const unsigned char seal_key[] =
        "\x26\xB5\xC1\x1F\x53\xCA\x60\x41\x3B\x2C\x42\xB1\xE9\x3E\x28\x6A\x46\xEB\x5D\xC8\xCC\x25"
        "\xE3\xCB\xE7\xE1\x1D\xA6\x8B\xEB\xDD\x6C";
    struct fixture fixture;
    unsigned char sealed[SEAL_KEY_LEN], binding[16];
    const struct span all = {(const char *)sealed, sizeof(sealed)};
    char key[TOKEN_KEY_SIZE];
    set_up_known(&fixture);
    put_big(binding, 0x0102030405060708);
    put_big(binding + 8, 42);
    memset(sealed, 'N', SEAL_NONCE_LEN);
    crypto_aead_chacha20poly1305_ietf_encrypt(
        sealed + SEAL_NONCE_LEN, NULL, (const unsigned char *)known_key + 3, TOKEN_KEY_LEN - 3,
        binding, sizeof(binding), NULL, sealed, seal_key);
    assert_true(seal_use_cipher(fixture.secret, SEAL_CIPHER_CHACHA20_POLY1305));
    assert_true(unseal_key(fixture.secret, 0x0102030405060708, 42, all, key));
    assert_memory_equal(key, known_key, TOKEN_KEY_LEN);
    if (seal_use_cipher(fixture.secret, SEAL_CIPHER_AES256_GCM)) {
        assert_false(unseal_key(fixture.secret, 0x0102030405060708, 42, all, key));
        crypto_aead_aes256gcm_encrypt(sealed + SEAL_NONCE_LEN, NULL,
                                      (const unsigned char *)known_key + 3, TOKEN_KEY_LEN - 3,
                                      binding, sizeof(binding), NULL, sealed, seal_key);
        assert_true(unseal_key(fixture.secret, 0x0102030405060708, 42, all, key));
        assert_memory_equal(key, known_key, TOKEN_KEY_LEN);
    }
    tear_down(&fixture);
}

/* ---- sealing ---- */

static void test_ciphers(void **state)
{
    (void)state;
    struct fixture fixture;
    set_up_known(&fixture);
    enum seal_cipher fastest = seal_get_cipher(fixture.secret); /* none is selected yet */
    assert_true(fastest == SEAL_CIPHER_AES256_GCM || fastest == SEAL_CIPHER_CHACHA20_POLY1305);
    assert_true(seal_use_cipher(fixture.secret, fastest));
    assert_int_equal(seal_get_cipher(fixture.secret), fastest);
    assert_true(seal_use_cipher(fixture.secret, SEAL_CIPHER_CHACHA20_POLY1305));
    assert_int_equal(seal_get_cipher(fixture.secret), SEAL_CIPHER_CHACHA20_POLY1305);
    assert_int_equal(seal_use_cipher(fixture.secret, SEAL_CIPHER_AES256_GCM),
                     fastest == SEAL_CIPHER_AES256_GCM);
    assert_false(seal_use_cipher(fixture.secret, (enum seal_cipher)0));
    assert_false(seal_use_cipher(fixture.secret, (enum seal_cipher)3));
    tear_down(&fixture);
}

static void test_seal_and_unseal(void **state)
{
    (void)state;
    struct fixture fixture;
    enum seal_cipher ciphers[2] = {SEAL_CIPHER_CHACHA20_POLY1305, SEAL_CIPHER_CHACHA20_POLY1305};
    struct random random = {41};
    set_up_known(&fixture);
    size_t count = list_ciphers(&fixture, ciphers);
    for (size_t i = 0, c = 0; i < 2000; i++, c = (c + 1) % 2) {
        char key[TOKEN_KEY_SIZE], again[TOKEN_KEY_SIZE];
        unsigned char bytes[SEAL_KEY_LEN_MAX], more[SEAL_KEY_LEN_MAX];
        size_t len = i % 2 ? 48 : random_below(&random, TOKEN_KEY_PLAIN_LEN_MAX + 1);
        int64_t user_id = (int64_t)(random_next(&random) >> 1);
        int64_t token_id = (int64_t)(random_next(&random) >> 1);
        assert_true(seal_use_cipher(fixture.secret, ciphers[c < count ? c : 0]));
        random_base62(again, len);
        token_key_set(key, (struct span){again, len});
        struct span sealed = seal_key(fixture.secret, user_id, token_id, key, bytes);
        struct span twice = seal_key(fixture.secret, user_id, token_id, key, more);
        assert_int_equal(sealed.len, len + SEAL_OVERHEAD_LEN);
        assert_memory_not_equal(sealed.at, twice.at, SEAL_NONCE_LEN);
        if (len >= 8)
            assert_memory_not_equal(sealed.at + SEAL_NONCE_LEN, twice.at + SEAL_NONCE_LEN, len);
        assert_null(len < 8 ? NULL : memmem(sealed.at, sealed.len, key + 3, 8));
        assert_true(unseal_key(fixture.secret, user_id, token_id, sealed, again));
        assert_string_equal(again, key);
        assert_true(unseal_key(fixture.secret, user_id, token_id, twice, again));
        assert_string_equal(again, key);
        sealed.len--;
        assert_false(unseal_key(fixture.secret, user_id, token_id, sealed, again));
    }
    tear_down(&fixture);
}

static void test_every_flipped_bit_is_refused(void **state)
{
    (void)state;
    struct fixture fixture;
    enum seal_cipher ciphers[2];
    set_up_known(&fixture);
    size_t count = list_ciphers(&fixture, ciphers);
    for (size_t c = 0; c < count; c++) {
        char key[TOKEN_KEY_SIZE];
        unsigned char bytes[SEAL_KEY_LEN_MAX];
        assert_true(seal_use_cipher(fixture.secret, ciphers[c]));
        struct span sealed = seal_key(fixture.secret, 1, 2, known_key, bytes);
        for (size_t bit = 0; bit < sealed.len * 8; bit++) {
            bytes[bit / 8] ^= (unsigned char)(1U << bit % 8);
            require(!unseal_key(fixture.secret, 1, 2, sealed, key), "bit %zu", bit);
            bytes[bit / 8] ^= (unsigned char)(1U << bit % 8);
        }
        assert_true(unseal_key(fixture.secret, 1, 2, sealed, key));
    }
    tear_down(&fixture);
}

static void test_other_ids_are_refused(void **state)
{
    (void)state;
    static const int64_t others[][2] = {{1, 3},
                                        {3, 2},
                                        {2, 1},
                                        {0, 2},
                                        {1, 0},
                                        {-1, 2},
                                        {1, -2},
                                        {1, 2 + (1LL << 32)},
                                        {1 + (1LL << 56), 2},
                                        {1LL << 56, 2}};
    struct fixture fixture;
    enum seal_cipher ciphers[2];
    set_up_known(&fixture);
    size_t count = list_ciphers(&fixture, ciphers);
    for (size_t c = 0; c < count; c++) {
        char key[TOKEN_KEY_SIZE];
        unsigned char bytes[SEAL_KEY_LEN_MAX];
        assert_true(seal_use_cipher(fixture.secret, ciphers[c]));
        struct span sealed = seal_key(fixture.secret, 1, 2, known_key, bytes);
        for (size_t i = 0; i < COUNT_OF(others); i++)
            require(!unseal_key(fixture.secret, others[i][0], others[i][1], sealed, key), "row %zu",
                    i);
    }
    tear_down(&fixture);
}

static void test_another_secret_opens_nothing(void **state)
{
    (void)state;
    struct fixture fixture, other;
    enum seal_cipher ciphers[2];
    set_up_known(&fixture);
    set_up(&other);
    assert_true(seal_create_file(other.path.path, other.reason, sizeof(other.reason)));
    assert_true(seal_open(other.path.path, &other.secret, other.reason, sizeof(other.reason)));
    size_t count = list_ciphers(&fixture, ciphers);
    unsigned char bytes[SEAL_KEY_LEN_MAX], hash[SEAL_HASH_LEN], other_hash[SEAL_HASH_LEN];
    char key[TOKEN_KEY_SIZE];
    for (size_t c = 0; c < count; c++) {
        assert_true(seal_use_cipher(fixture.secret, ciphers[c]));
        assert_true(seal_use_cipher(other.secret, ciphers[c]));
        struct span sealed = seal_key(fixture.secret, 1, 2, known_key, bytes);
        assert_false(unseal_key(other.secret, 1, 2, sealed, key));
    }
    seal_hash_key(fixture.secret, known_key, hash);
    seal_hash_key(other.secret, known_key, other_hash);
    assert_memory_not_equal(hash, other_hash, sizeof(hash));
    tear_down(&other);
    tear_down(&fixture);
}

/* Any text and any binding; cut short it is refused. */
static void test_texts(void **state)
{
    (void)state;
    struct fixture fixture;
    enum seal_cipher ciphers[2];
    static const size_t lengths[] = {0, 1, 15, 16, 17, 1000};
    char text[1000], opened[1000];
    unsigned char sealed[1000 + SEAL_OVERHEAD_LEN];
    memset(text, 't', sizeof(text));
    set_up_known(&fixture);
    size_t count = list_ciphers(&fixture, ciphers);
    for (size_t i = 0; i < count * COUNT_OF(lengths); i++) {
        size_t len = lengths[i / count];
        struct span whole = {(const char *)sealed, len + SEAL_OVERHEAD_LEN};
        assert_true(seal_use_cipher(fixture.secret, ciphers[i % count]));
        seal_text(fixture.secret, SPAN("bound"), (struct span){text, len}, sealed);
        assert_true(unseal_text(fixture.secret, SPAN("bound"), whole, opened));
        assert_memory_equal(opened, text, len);
        assert_false(unseal_text(fixture.secret, SPAN("bounD"), whole, opened));
        assert_false(unseal_text(fixture.secret, SPAN("boun"), whole, opened));
        for (size_t cut = 0; cut < whole.len; cut += cut < SEAL_OVERHEAD_LEN ? 1 : 97)
            assert_false(
                unseal_text(fixture.secret, SPAN("bound"), (struct span){whole.at, cut}, opened));
    }
    tear_down(&fixture);
}

/* A key's hash depends on each of its characters. */
static void test_hashes(void **state)
{
    (void)state;
    struct fixture fixture;
    unsigned char hash[SEAL_HASH_LEN], other[SEAL_HASH_LEN];
    set_up_known(&fixture);
    seal_hash_key(fixture.secret, known_key, hash);
    seal_hash_key(fixture.secret, known_key, other);
    assert_memory_equal(hash, other, sizeof(hash));
    for (size_t at = 0; at < TOKEN_KEY_LEN; at++) {
        char key[TOKEN_KEY_SIZE];
        memcpy(key, known_key, sizeof(known_key));
        key[at] ^= 1;
        seal_hash_key(fixture.secret, key, other);
        assert_memory_not_equal(hash, other, sizeof(hash));
    }
    tear_down(&fixture);
}

static int start_sodium(void **state)
{
    (void)state;
    return sodium_init() < 0 ? -1 : 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rotation),
        cmocka_unit_test(test_create),
        cmocka_unit_test(test_create_overwrites_nothing),
        cmocka_unit_test(test_open),
        cmocka_unit_test(test_open_what_is_no_file),
        cmocka_unit_test(test_derived_values),
        cmocka_unit_test(test_the_form_of_a_sealed_key),
        cmocka_unit_test(test_ciphers),
        cmocka_unit_test(test_seal_and_unseal),
        cmocka_unit_test(test_every_flipped_bit_is_refused),
        cmocka_unit_test(test_other_ids_are_refused),
        cmocka_unit_test(test_another_secret_opens_nothing),
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_hashes),
    };
    return cmocka_run_group_tests_name("seal", tests, start_sodium, NULL);
}
