#include "tests/unit/unit.h"

#include <sys/wait.h>
#include <unistd.h>

#include "token/key.h"
#include "base/random.h"

static const char alphabet[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/* CRC-32 (IEEE 802.3, reflected), bit by bit: independent of zlib's. */
static uint32_t crc32_bitwise(const char *bytes, size_t len)
{
    uint32_t crc = 0xFFFFFFFF;
    for (size_t i = 0; i < len; i++) {
        crc ^= (unsigned char)bytes[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 1 ? crc >> 1 ^ 0xEDB88320 : crc >> 1;
    }
    return ~crc;
}

static void put_check(char key[static TOKEN_KEY_LEN + 1])
{
    uint32_t crc = crc32_bitwise(key + TOKEN_KEY_PREFIX_LEN, TOKEN_KEY_RANDOM_LEN);
    for (size_t i = TOKEN_KEY_LEN; i-- > TOKEN_KEY_PREFIX_LEN + TOKEN_KEY_RANDOM_LEN;) {
        key[i] = alphabet[crc % 62];
        crc /= 62;
    }
}

static bool is_well_formed(const char *key, size_t len)
{
    return token_key_form((struct span){key, len}) == TOKEN_KEY_OWN;
}

static void test_crc_is_the_known_one(void **state)
{
    (void)state;
    assert_int_equal(crc32_bitwise("123456789", 9), 0xCBF43926); /* the published check value */
}

static void test_vectors(void **state)
{
    (void)state;
    static const char *const keys[] = {
        "sk-0000000000000000000000000000000000000000001CtB1C",
        "sk-zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz16Uak5",
        "sk-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdef2P40Ol",
        "sk-KLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz2NCnTh",
        "sk-00000000000000000000000000000000000000007800Uavz", /* leading zeros in the checksum */
    };
    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        char copy[TOKEN_KEY_LEN + 1];
        require(token_key_form(span_of(keys[i])) == TOKEN_KEY_OWN, "%s is refused", keys[i]);
        memcpy(copy, keys[i], sizeof(copy));
        put_check(copy);
        assert_string_equal(copy, keys[i]);
    }
}

static void test_generated_keys_have_the_form(void **state)
{
    (void)state;
    for (int i = 0; i < 1000; i++) {
        char key[TOKEN_KEY_LEN + 2], copy[TOKEN_KEY_LEN + 1];
        key[TOKEN_KEY_LEN + 1] = '#';
        token_key_generate(key);
        assert_int_equal(strlen(key), TOKEN_KEY_LEN);
        assert_int_equal(key[TOKEN_KEY_LEN + 1], '#');
        assert_memory_equal(key, "sk-", 3);
        memcpy(copy, key, TOKEN_KEY_LEN + 1);
        put_check(copy);
        assert_memory_equal(copy, key, TOKEN_KEY_LEN);
        assert_true(is_well_formed(key, TOKEN_KEY_LEN));
    }
}

static void test_each_wrong_character_is_refused(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++) {
        char key[TOKEN_KEY_LEN + 1];
        token_key_generate(key);
        for (size_t at = 0; at < TOKEN_KEY_LEN; at++) {
            char right = key[at];
            for (int c = 0; c < 256; c++) {
                key[at] = (char)c;
                require(is_well_formed(key, TOKEN_KEY_LEN) == (key[at] == right),
                        "byte %d in place of %d at %zu of %.51s", c, right, at, key);
            }
            key[at] = right;
        }
    }
}

static void test_swapped_neighbours_are_refused(void **state)
{
    (void)state;
    for (int i = 0; i < 200; i++) {
        char key[TOKEN_KEY_LEN + 1];
        token_key_generate(key);
        for (size_t at = 0; at + 1 < TOKEN_KEY_LEN; at++) {
            char first = key[at], second = key[at + 1];
            key[at] = second;
            key[at + 1] = first;
            require(is_well_formed(key, TOKEN_KEY_LEN) == (first == second), "swapped at %zu", at);
            key[at] = first;
            key[at + 1] = second;
        }
    }
}

/* A right checksum does not make other characters right. */
static void test_characters_outside_the_alphabet_are_refused(void **state)
{
    (void)state;
    for (int c = 0; c < 256; c++) {
        char key[TOKEN_KEY_LEN + 1];
        token_key_generate(key);
        key[TOKEN_KEY_PREFIX_LEN + 7] = (char)c;
        put_check(key);
        bool expected = c != 0 && strchr(alphabet, c);
        require(is_well_formed(key, TOKEN_KEY_LEN) == expected, "byte %d", c);
    }
}

static void test_other_lengths_are_refused(void **state)
{
    (void)state;
    char key[TOKEN_KEY_LEN + 1];
    token_key_generate(key);
    key[TOKEN_KEY_LEN] = '0';
    for (size_t len = 0; len <= TOKEN_KEY_LEN + 1; len++)
        require(is_well_formed(key, len) == (len == TOKEN_KEY_LEN), "%zu characters", len);
    assert_int_equal(token_key_form((struct span){NULL, 0}), TOKEN_KEY_MALFORMED);
}

static void test_prefixes(void **state)
{
    (void)state;
    static const char key[] = "sk-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdef2P40Ol";
    static const struct {
        const char *before;
        size_t from; /* of key */
        bool read;
    } rows[] = {{"", 0, true},        {"", 3, true},      {"sk-", 0, true},
                {"sk-sk-", 0, false}, {"SK-", 3, false},  {"sk", 3, false},
                {"sk-", 4, false},    {"sk- ", 3, false}, {"sk-sk-", 3, true}};
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char text[128], out[TOKEN_KEY_SIZE];
        snprintf(text, sizeof(text), "%s%s", rows[i].before, key + rows[i].from);
        char *copy = heap_copy(span_of(text));
        bool read = token_key_read((struct span){copy, strlen(text)}, out) == TOKEN_KEY_OWN;
        require(read == rows[i].read, "row %zu", i);
        if (read)
            assert_string_equal(out, key);
        free(copy);
    }
    char out[TOKEN_KEY_SIZE];
    assert_false(token_key_read((struct span){NULL, 0}, out));
}

static void test_foreign_keys(void **state)
{
    (void)state;
    for (size_t len = 0; len <= 140; len++) {
        char text[3 + 140 + 1] = "sk-", out[TOKEN_KEY_SIZE];
        memset(text + 3, 'a', len);
        struct span key = {text, 3 + len};
        enum token_key_form form =
            len >= 16 && len <= 128 ? TOKEN_KEY_FOREIGN : TOKEN_KEY_MALFORMED;
        require(token_key_form(key) == form, "%zu characters", len);
        require(token_key_read(span_from(key, 3), out) == form, "%zu characters", len);
        if (form == TOKEN_KEY_FOREIGN)
            assert_string_equal(out, text);
    }
    for (int c = 0; c < 256; c++) {
        char text[] = "sk-0123456789abcdef";
        text[8] = (char)c;
        bool formed = (c != 0 && strchr(alphabet, c)) || c == '_';
        require(token_key_form((struct span){text, sizeof(text) - 1}) ==
                    (formed ? TOKEN_KEY_FOREIGN : TOKEN_KEY_MALFORMED),
                "byte %d", c);
    }
    /* One of ours with a wrong checksum may be a foreign one. */
    assert_int_equal(token_key_form(SPAN("sk-0000000000000000000000000000000000000000001CtB1D")),
                     TOKEN_KEY_FOREIGN);
}

static void test_masks(void **state)
{
    (void)state;
    static const struct {
        const char *key, *mask;
    } rows[] = {
        {"sk-0000000000000000000000000000000000000000001CtB1C", "sk-0000**********tB1C"},
        {"sk-0123456789abcdefghijklmn", "sk-0123**********klmn"},
        {"sk-0123456789abcdefghijklm", "sk-01**********lm"},
        {"sk-0123456789abcdef", "sk-01**********ef"},
        {"sk-abc", "sk-ab**********bc"},
        {"sk-a", "sk-a**********a"},
        {"sk-", "sk-**********"},
        {"sk-\u00e9\u20ac\U0001f600 \u00e9\u20ac\U0001f600",
         "sk-\u00e9\u20ac**********\u20ac\U0001f600"},
        {"sk-\U0001f600\U0001f600\U0001f600\U0001f600 0123456789abcde\U0001f600\U0001f600\U0001f600"
         "\U0001f600",
         "sk-\U0001f600\U0001f600\U0001f600\U0001f600**********"
         "\U0001f600\U0001f600\U0001f600\U0001f600"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char mask[TOKEN_KEY_MASK_LEN_MAX];
        struct span shown = token_key_mask(rows[i].key, mask);
        require(span_equal(shown, span_of(rows[i].mask)), "row %zu: %.*s", i, (int)shown.len,
                shown.at);
    }
}

static int compare_keys(const void *a, const void *b)
{
    return memcmp(a, b, TOKEN_KEY_LEN);
}

enum { MANY = 20000 };

/* None twice, and each character about as often as the others: 62 and 63 folded
 * onto two characters would double those. */
static void test_many_keys_are_spread_evenly(void **state)
{
    (void)state;
    static char keys[MANY][TOKEN_KEY_LEN + 1];
    static unsigned counts[TOKEN_KEY_RANDOM_LEN][256];
    unsigned totals[256] = {0};
    for (size_t i = 0; i < MANY; i++) {
        token_key_generate(keys[i]);
        for (size_t at = 0; at < TOKEN_KEY_RANDOM_LEN; at++) {
            unsigned char c = (unsigned char)keys[i][TOKEN_KEY_PREFIX_LEN + at];
            counts[at][c]++;
            totals[c]++;
        }
    }
    qsort(keys, MANY, sizeof(keys[0]), compare_keys);
    for (size_t i = 1; i < MANY; i++)
        assert_memory_not_equal(keys[i - 1], keys[i], TOKEN_KEY_LEN);
    const unsigned mean = MANY * TOKEN_KEY_RANDOM_LEN / 62;
    for (int c = 0; c < 256; c++) {
        bool known = c != 0 && strchr(alphabet, c);
        require(known ? totals[c] > mean - mean / 12 && totals[c] < mean + mean / 12
                      : totals[c] == 0,
                "byte %d came %u times, the mean is %u", c, totals[c], mean);
        for (size_t at = 0; known && at < TOKEN_KEY_RANDOM_LEN; at++)
            require(counts[at][c] > 0, "%c never came at %zu", c, at);
    }
}

static void test_random_base62_writes_what_it_is_asked_for(void **state)
{
    (void)state;
    for (size_t len = 0; len <= 200; len++) {
        char text[201];
        memset(text, '#', sizeof(text));
        random_base62(text, len);
        for (size_t i = 0; i < sizeof(text); i++)
            require((i < len) == (text[i] != '#' && strchr(alphabet, text[i]) != NULL),
                    "byte %zu of %zu", i, len);
    }
}

/* What the parent has in store it hands out itself: the child begins anew. */
static void test_parent_and_child_get_different_keys(void **state)
{
    (void)state;
    int fds[2];
    char own[TOKEN_KEY_LEN + 1], others[TOKEN_KEY_LEN + 1];
    token_key_generate(own); /* now there is something in store */
    assert_int_equal(pipe(fds), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        token_key_generate(own);
        _exit(write(fds[1], own, sizeof(own)) == (ssize_t)sizeof(own) ? 0 : 1);
    }
    token_key_generate(own);
    assert_int_equal(read(fds[0], others, sizeof(others)), sizeof(others));
    assert_memory_not_equal(own, others, sizeof(own));
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    close(fds[0]);
    close(fds[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crc_is_the_known_one),
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_generated_keys_have_the_form),
        cmocka_unit_test(test_each_wrong_character_is_refused),
        cmocka_unit_test(test_swapped_neighbours_are_refused),
        cmocka_unit_test(test_characters_outside_the_alphabet_are_refused),
        cmocka_unit_test(test_other_lengths_are_refused),
        cmocka_unit_test(test_prefixes),
        cmocka_unit_test(test_foreign_keys),
        cmocka_unit_test(test_masks),
        cmocka_unit_test(test_many_keys_are_spread_evenly),
        cmocka_unit_test(test_random_base62_writes_what_it_is_asked_for),
        cmocka_unit_test(test_parent_and_child_get_different_keys),
    };
    return cmocka_run_group_tests_name("key", tests, NULL, NULL);
}
