#include "tests/unit/unit.h"

#include "base/bytes.h"
#include "store/lmdb/record.h"
#include "tests/unit/random.h"

enum { NAME_LEN_MAX = 4 * 255, ID = 12345 };

/* Bytes that were changed get the checksum that is right for them: what is refused then is
 * refused for what it says. Returns the length with it. */
static size_t seal(enum checksum_kind kind, void *bytes, size_t len)
{
    return checksum_put((struct checksum_context){kind, ID, 0}, bytes, len);
}

static struct span random_text(struct random *random, size_t max_len)
{
    static char text[TOKEN_MODEL_LIMITS_LEN_MAX + 1];
    size_t len = random_below(random, 4) == 0 ? max_len : random_below(random, max_len + 1);
    random_bytes(random, text, sizeof(text)); /* the same for all: any bytes will do */
    return (struct span){text, len};
}

static int64_t random_number(struct random *random)
{
    return (int64_t)random_next(random) >> random_below(random, 64);
}

static struct token random_token(struct random *random)
{
    return (struct token){
        .name = random_text(random, NAME_LEN_MAX),
        .status = random_below(random, 2) ? TOKEN_ENABLED : TOKEN_DISABLED,
        .remain_quota = random_number(random),
        .used_quota = random_number(random),
        .unlimited_quota = random_below(random, 2),
        .model_limits_enabled = random_below(random, 2),
        .model_limits = random_text(random, TOKEN_MODEL_LIMITS_LEN_MAX),
        .allow_ips = random_text(random, TOKEN_ALLOW_IPS_LEN_MAX),
        .group = random_text(random, TOKEN_GROUP_LEN_MAX),
        .expired_unix_s = random_number(random),
        .created_unix_s = random_number(random),
        .accessed_unix_s = random_number(random),
        .refill_day = 1,
    };
}

/* Some of what most tokens do not have. */
static void add_blocks(struct random *random, struct token *token)
{
    token->group_is_old = token->group.len > 0 && random_below(random, 2);
    if (random_below(random, 2)) {
        token->rpm_limit = random_number(random);
        token->tpm_limit = random_number(random);
        token->max_parallel_requests = random_number(random);
        token->refill_amount = random_number(random);
        token->refill_interval = (enum token_refill)random_below(random, 4);
        token->refill_day = random_number(random);
        token->refill_period = random_number(random);
    }
    if (random_below(random, 2))
        token->rates = (struct token_rates){random_number(random), random_number(random)};
    if (random_below(random, 2))
        token->usage = (struct token_usage){random_number(random), random_number(random),
                                            random_number(random), random_number(random)};
}

/* On the heap, exactly as long. */
static struct span encode(const struct token *token, const struct record_keys *keys)
{
    static unsigned char record[RECORD_TOKEN_LEN_MAX];
    size_t len = record_encode_token(token, keys, record);
    assert_true(len > RECORD_TOKEN_SEALED_AT && len <= sizeof(record));
    return (struct span){heap_copy((struct span){(char *)record, len}), len};
}

static const char zeros[SEAL_KEY_LEN];
static const struct span own_sealed = {zeros, SEAL_KEY_LEN};

static struct record_keys random_keys(struct random *random)
{
    static unsigned char sealed[SEAL_KEY_LEN_MAX];
    struct record_keys keys = {.has_old = random_below(random, 2),
                               .old_until_unix_s = random_number(random)};
    random_bytes(random, sealed, sizeof(sealed));
    keys.sealed = (struct span){(char *)sealed, random_below(random, 2)
                                                    ? SEAL_KEY_LEN
                                                    : random_below(random, SEAL_KEY_LEN_MAX + 1)};
    random_bytes(random, keys.old_hash, sizeof(keys.old_hash));
    return keys;
}

static void free_record(struct span record)
{
    free((void *)(uintptr_t)record.at);
}

static void test_tokens_come_back(void **state)
{
    (void)state;
    struct random random = {21};
    for (int i = 0; i < 3000; i++) {
        struct token in = random_token(&random);
        in.user_id = 6;
        in.id = 5;
        add_blocks(&random, &in);
        struct record_keys keys_in = random_keys(&random), keys = {.has_old = !keys_in.has_old};
        struct span record = encode(&in, &keys_in);
        struct token out = {.id = 5, .user_id = 6, .key = "left alone"};
        assert_true(record_decode_token(record, &out, &keys));
        assert_int_equal(out.id, 5);
        assert_int_equal(out.user_id, 6);
        assert_memory_equal(out.key, "left alone", 10);
        assert_true(span_equal(in.name, out.name));
        assert_true(span_equal(in.group, out.group));
        assert_true(span_equal(in.model_limits, out.model_limits));
        assert_true(span_equal(in.allow_ips, out.allow_ips));
        assert_int_equal(in.status, out.status);
        assert_int_equal(in.unlimited_quota, out.unlimited_quota);
        assert_int_equal(in.model_limits_enabled, out.model_limits_enabled);
        assert_int_equal(in.remain_quota, out.remain_quota);
        assert_int_equal(in.used_quota, out.used_quota);
        assert_int_equal(in.expired_unix_s, out.expired_unix_s);
        assert_int_equal(in.created_unix_s, out.created_unix_s);
        assert_int_equal(in.accessed_unix_s, out.accessed_unix_s);
        assert_int_equal(in.rpm_limit, out.rpm_limit);
        assert_int_equal(in.tpm_limit, out.tpm_limit);
        assert_int_equal(in.max_parallel_requests, out.max_parallel_requests);
        assert_int_equal(in.refill_amount, out.refill_amount);
        assert_int_equal(in.refill_interval, out.refill_interval);
        assert_int_equal(in.refill_day, out.refill_day);
        assert_int_equal(in.refill_period, out.refill_period);
        assert_memory_equal(&in.rates, &out.rates, sizeof(in.rates));
        assert_memory_equal(&in.usage, &out.usage, sizeof(in.usage));
        assert_int_equal(in.group_is_old, out.group_is_old);
        assert_true(span_equal(keys.sealed, keys_in.sealed));
        assert_int_equal(keys.has_old, keys_in.has_old);
        if (keys.has_old) {
            assert_memory_equal(keys.old_hash, keys_in.old_hash, sizeof(keys.old_hash));
            assert_int_equal(keys.old_until_unix_s, keys_in.old_until_unix_s);
        }
        free_record(record);
    }
}

/* Every beginning of a record, and one with more behind it. */
static void test_tokens_of_other_lengths_are_refused(void **state)
{
    (void)state;
    struct random random = {22};
    for (int i = 0; i < 20; i++) {
        struct token token = random_token(&random);
        struct record_keys keys = random_keys(&random);
        struct span record = encode(&token, &keys);
        for (size_t len = 0; len < record.len; len++) {
            char *cut = heap_copy((struct span){record.at, len});
            require(!record_decode_token((struct span){cut, len}, &token, &keys), "%zu of %zu", len,
                    record.len);
            free(cut);
        }
        char *longer = malloc(record.len + 1);
        assert_non_null(longer);
        memcpy(longer, record.at, record.len);
        longer[record.len] = '\0';
        assert_false(record_decode_token((struct span){longer, record.len + 1}, &token, &keys));
        free(longer);
        free_record(record);
    }
}

static void test_other_versions_are_refused(void **state)
{
    (void)state;
    struct token token = {.status = TOKEN_ENABLED, .refill_day = 1};
    unsigned char bytes[RECORD_TOKEN_LEN_MAX], user_bytes[RECORD_USER_LEN_MAX];
    struct record_keys keys = {.sealed = own_sealed, .has_old = true};
    struct record_user user = {
        .created_unix_s = 1, .role = USER_ROLE_USER, .account.unlimited_quota = true};
    size_t len = record_encode_token(&token, &keys, bytes);
    size_t user_len = record_encode_user(ID, &user, user_bytes);
    token.user_id = ID;
    for (unsigned version = 0; version < 256; version++) {
        bytes[0] = user_bytes[0] = (unsigned char)version;
        seal(CHECKSUM_TOKEN, bytes, len - CHECKSUM_LEN);
        seal(CHECKSUM_USER, user_bytes, user_len - CHECKSUM_LEN);
        require(record_decode_token((struct span){(char *)bytes, len}, &token, &keys) ==
                    (version == 3),
                "token of version %u", version);
        require(record_decode_user(ID, (struct span){(char *)user_bytes, user_len}, &user) ==
                    (version == 2),
                "user of version %u", version);
    }
}

/* The form on disk, byte by byte: stores of today are to be read tomorrow. */
static void test_the_form_of_a_token(void **state)
{
    (void)state;
    struct token token = {
        .name = SPAN("NAME"),
        .status = TOKEN_DISABLED,
        .remain_quota = 0x0102030405060708,
        .used_quota = 2,
        .model_limits_enabled = true,
        .model_limits = SPAN("mm"),
        .allow_ips = SPAN("1"),
        .group = SPAN("ggg"),
        .group_is_old = true,
        .refill_day = 1,
        .expired_unix_s = -1,
        .created_unix_s = 0x1122,
        .accessed_unix_s = 4,
    };
    static char sealed[SEAL_KEY_LEN_MAX];
    memset(sealed, 'S', sizeof(sealed));
    struct record_keys keys = {
        .sealed = {sealed, SEAL_KEY_LEN}, .has_old = false, .old_until_unix_s = 0x0304};
    memset(keys.old_hash, 'O', sizeof(keys.old_hash));
    struct span record = encode(&token, &keys);
    static const char head[] = "\x03\x05"
                               "\x08\x07\x06\x05\x04\x03\x02\x01"
                               "\x02\0\0\0\0\0\0\0"
                               "\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF"
                               "\x22\x11\0\0\0\0\0\0"
                               "\x04\0\0\0\0\0\0";
    static const char tail[] = "\x04\0\x03\x02\0\x01\0NAMEgggmm1";
    assert_int_equal(record.len, sizeof(head) + SEAL_KEY_LEN + sizeof(tail) - 1 + CHECKSUM_LEN);
    assert_memory_equal(record.at, head, sizeof(head));
    assert_memory_equal(record.at + sizeof(head), sealed, SEAL_KEY_LEN);
    assert_memory_equal(record.at + sizeof(head) + SEAL_KEY_LEN, tail, sizeof(tail) - 1);
    free_record(record);

    token.status = TOKEN_ENABLED;
    token.unlimited_quota = true;
    token.model_limits_enabled = false;
    record = encode(&token, &keys);
    assert_int_equal(record.at[1], 2);
    free_record(record);

    keys.has_old = true; /* it comes last, so that records without one are as they were */
    record = encode(&token, &keys);
    assert_int_equal(record.at[1], 10);
    static const char old[] = "OOOOOOOOOOOOOOOO\x04\x03\0\0\0\0\0";
    assert_int_equal(record.len,
                     sizeof(head) + SEAL_KEY_LEN + sizeof(tail) - 1 + sizeof(old) + CHECKSUM_LEN);
    assert_memory_equal(record.at + record.len - CHECKSUM_LEN - sizeof(old), old, sizeof(old));
    assert_memory_equal(record.at + sizeof(head) + SEAL_KEY_LEN, tail, sizeof(tail) - 1);
    free_record(record);

    keys.sealed.len = SEAL_KEY_LEN_MAX; /* a foreign key */
    record = encode(&token, &keys);
    assert_int_equal(record.at[0], 4);
    assert_memory_equal(record.at + sizeof(head), "\x1B\x01", 2);
    assert_memory_equal(record.at + sizeof(head) + 2, sealed, SEAL_KEY_LEN_MAX);
    assert_memory_equal(record.at + sizeof(head) + 2 + SEAL_KEY_LEN_MAX, tail, sizeof(tail) - 1);
    free_record(record);
}

/* A token that needs no more than before is stored as before, byte by byte; version 5 has only the
 * blocks that it needs. */
static void test_the_blocks_of_a_token(void **state)
{
    (void)state;
    enum { FLAGS = 1, OLD_GROUP = 16, LIMITS = 32, RATES = 64, USAGE = 128 };
    struct token old = {.refill_day = 1, .group = SPAN("")}, token;
    struct record_keys keys = {.sealed = own_sealed}, found;
    const struct {
        struct token token;
        size_t len; /* more than without */
        int flags;
    } rows[] = {
        {{.refill_day = 1, .group = SPAN("g")}, 2 + 1, 0},
        {{.refill_day = 1, .group = SPAN("g"), .group_is_old = true, .rpm_limit = 1},
         2 + 1 + 56,
         OLD_GROUP | LIMITS},
        {{.refill_day = 1, .rpm_limit = 1}, 2 + 56, LIMITS},
        {{.refill_day = 31}, 2 + 56, LIMITS},
        {{.refill_day = 1, .refill_interval = TOKEN_REFILL_DAY}, 2 + 56, LIMITS},
        {{.refill_day = 1, .rates.units_full_ns = 1}, 2 + 16, RATES},
        {{.refill_day = 1, .usage.day = 1}, 2 + 32, USAGE},
    };
    struct span record = encode(&old, &keys);
    size_t len = record.len;
    assert_int_equal(record.at[0], 3);
    free_record(record);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        record = encode(&rows[i].token, &keys);
        unsigned char *bytes = (unsigned char *)(uintptr_t)record.at;
        require(bytes[0] == 5 && bytes[FLAGS] == rows[i].flags && record.len == len + rows[i].len,
                "row %zu: version %d, flags %d, %zu bytes more", i, bytes[0], bytes[FLAGS],
                record.len - len);
        token = (struct token){.id = 0};
        assert_true(record_decode_token(record, &token, &found));
        /* A block of zeros is not there. */
        memset(bytes + RECORD_TOKEN_SEALED_AT, 0, rows[i].len - 2 - rows[i].token.group.len);
        if (rows[i].flags & LIMITS)
            put_little64(bytes + RECORD_TOKEN_SEALED_AT + 5 * 8, 1); /* refill_day */
        checksum_put((struct checksum_context){CHECKSUM_TOKEN, 0, 0}, bytes,
                     record.len - CHECKSUM_LEN);
        require(record_decode_token(record, &token, &found) == (rows[i].flags == 0), "row %zu", i);
        free_record(record);
    }
}

/* A record of version 2, as the program before wrote it: one byte is the name's length. */
static void test_a_token_of_the_version_before(void **state)
{
    (void)state;
    enum { AT_NAME_LEN = RECORD_TOKEN_LENGTHS_AT };
    struct token in = {.name = SPAN("NAME"),
                       .group = SPAN("ggg"),
                       .group_is_old = true,
                       .refill_day = 1,
                       .used_quota = 7},
                 out = in;
    struct record_keys keys = {.sealed = own_sealed, .has_old = true, .old_until_unix_s = 5};
    struct span record = encode(&in, &keys);
    unsigned char *bytes = (unsigned char *)(uintptr_t)record.at;
    bytes[0] = 2;
    memmove(bytes + AT_NAME_LEN + 1, bytes + AT_NAME_LEN + 2, record.len - AT_NAME_LEN - 2);
    size_t len = checksum_put((struct checksum_context){CHECKSUM_TOKEN, 0, 0}, bytes,
                              record.len - CHECKSUM_LEN - 1);
    assert_true(record_decode_token((struct span){record.at, len}, &out, &keys));
    assert_true(span_equal(out.name, in.name) && span_equal(out.group, in.group));
    assert_int_equal(out.used_quota, 7);
    assert_int_equal(keys.old_until_unix_s, 5);
    free_record(record);
}

/* What is longer than the limits was not made by record_encode_token, and decoded it
 * would not fit RECORD_TOKEN_LEN_MAX again: an update of it would write past the end. */
static void test_tokens_over_the_limits_are_refused(void **state)
{
    (void)state;
    static const size_t lengths[][4] = {
        {NAME_LEN_MAX + 1, 0, 0, 0},
        {0, TOKEN_GROUP_LEN_MAX + 1, 0, 0},
        {0, 0, TOKEN_MODEL_LIMITS_LEN_MAX + 1, 0},
        {0, 0, 0, TOKEN_ALLOW_IPS_LEN_MAX + 1},
        {0, 0, 65535, 65535},
    };
    for (size_t i = 0; i < COUNT_OF(lengths); i++) {
        const size_t *len = lengths[i];
        size_t record_len = RECORD_TOKEN_TEXTS_AT + len[0] + len[1] + len[2] + len[3];
        unsigned char *record = calloc(1, record_len + CHECKSUM_LEN);
        assert_non_null(record);
        record[0] = 3;
        unsigned char *at = record + RECORD_TOKEN_LENGTHS_AT;
        put_little16(at, len[0]);
        at[2] = (unsigned char)len[1];
        put_little16(at + 3, len[2]);
        put_little16(at + 5, len[3]);
        struct token token = {.user_id = ID};
        struct record_keys keys;
        record_len = seal(CHECKSUM_TOKEN, record, record_len);
        bool decoded =
            record_decode_token((struct span){(char *)record, record_len}, &token, &keys);
        free(record);
        require(!decoded, "row %zu", i);
    }
}

/* ---- users ---- */

static void test_users_come_back(void **state)
{
    (void)state;
    struct random random = {23};
    for (int i = 0; i < 2000; i++) {
        struct record_user in = {.name = random_text(&random, STORE_USER_NAME_LEN_MAX),
                                 .group = random_text(&random, TOKEN_GROUP_LEN_MAX),
                                 .disabled = random_below(&random, 2),
                                 .deleted = random_below(&random, 2),
                                 .created_unix_s = random_number(&random),
                                 .role =
                                     random_below(&random, 2) ? USER_ROLE_ADMIN : USER_ROLE_USER,
                                 .account.quota = random_number(&random),
                                 .account.unlimited_quota = random_below(&random, 2),
                                 .account.deleted_used_quota = random_number(&random),
                                 .account.request_count = random_number(&random)};
        if (random_below(&random, 2)) {
            in.account.used_quota = random_number(&random);
            in.account.rpm_limit = random_number(&random);
            in.account.tpm_limit = random_number(&random);
            in.account.max_tokens = random_number(&random);
            in.account.rates = (struct token_rates){random_number(&random), random_number(&random)};
            in.account.usage = (struct token_usage){random_number(&random), random_number(&random),
                                                    random_number(&random), random_number(&random)};
        }
        struct record_user out;
        unsigned char bytes[RECORD_USER_LEN_MAX];
        random_bytes(&random, in.access_hash, sizeof(in.access_hash));
        size_t len = record_encode_user(ID, &in, bytes);
        assert_true(len <= sizeof(bytes));
        for (size_t cut = 0; cut <= len; cut++) {
            char *copy = heap_copy((struct span){(char *)bytes, cut});
            bool decoded = record_decode_user(ID, (struct span){copy, cut}, &out);
            require(decoded == (cut == len), "%zu of %zu", cut, len);
            if (decoded) {
                assert_true(span_equal(in.name, out.name));
                assert_true(span_equal(in.group, out.group));
            }
            free(copy);
        }
        assert_int_equal(in.disabled, out.disabled);
        assert_int_equal(in.deleted, out.deleted);
        assert_int_equal(in.created_unix_s, out.created_unix_s);
        assert_int_equal(in.role, out.role);
        assert_int_equal(in.account.used_quota, out.account.used_quota);
        assert_int_equal(in.account.rpm_limit, out.account.rpm_limit);
        assert_int_equal(in.account.tpm_limit, out.account.tpm_limit);
        assert_int_equal(in.account.max_tokens, out.account.max_tokens);
        assert_memory_equal(&in.account.rates, &out.account.rates, sizeof(in.account.rates));
        assert_memory_equal(&in.account.usage, &out.account.usage, sizeof(in.account.usage));
        assert_int_equal(in.account.quota, out.account.quota);
        assert_int_equal(in.account.unlimited_quota, out.account.unlimited_quota);
        assert_int_equal(in.account.deleted_used_quota, out.account.deleted_used_quota);
        assert_int_equal(in.account.request_count, out.account.request_count);
        assert_memory_equal(in.access_hash, out.access_hash, sizeof(in.access_hash));
    }
}

static void test_the_form_of_a_user(void **state)
{
    (void)state;
    struct record_user user = {.name = SPAN("NAME"),
                               .group = SPAN("ggg"),
                               .disabled = true,
                               .created_unix_s = 0x0102,
                               .role = USER_ROLE_ROOT,
                               .account.quota = 5,
                               .account.unlimited_quota = false,
                               .account.deleted_used_quota = 6,
                               .account.request_count = 7};
    unsigned char bytes[RECORD_USER_LEN_MAX];
    memset(user.access_hash, 'H', sizeof(user.access_hash));
    size_t len = record_encode_user(ID, &user, bytes);
    static const char expected[] = "\x03\x05\x02\x01\0\0\0\0\0\0"
                                   "HHHHHHHHHHHHHHHHHHHHHHHHHHHHHHHH"
                                   "\x64\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0"
                                   "\x06\0\0\0\0\0\0\0\x07\0\0\0\0\0\0\0"
                                   "\x04\x03NAMEggg";
    assert_int_equal(len, sizeof(expected) - 1 + CHECKSUM_LEN);
    assert_memory_equal(bytes, expected, sizeof(expected) - 1);
}

/* As it was before there was more of users. */
static void test_the_form_of_a_user_without_more(void **state)
{
    (void)state;
    struct record_user user = {.name = SPAN("NAME"),
                               .group = SPAN("ggg"),
                               .disabled = true,
                               .created_unix_s = 0x0102,
                               .role = USER_ROLE_USER,
                               .account.unlimited_quota = true};
    struct record_user read = {
        .account.quota = 5, .account.deleted_used_quota = 6, .account.request_count = 7};
    unsigned char bytes[RECORD_USER_LEN_MAX];
    memset(user.access_hash, 'H', sizeof(user.access_hash));
    size_t len = record_encode_user(ID, &user, bytes);
    static const char expected[] = "\x02\x01\x02\x01\0\0\0\0\0\0"
                                   "HHHHHHHHHHHHHHHHHHHHHHHHHHHHHHHH"
                                   "\x04\x03NAMEggg";
    assert_int_equal(len, sizeof(expected) - 1 + CHECKSUM_LEN);
    assert_memory_equal(bytes, expected, sizeof(expected) - 1);
    assert_true(record_decode_user(ID, (struct span){(char *)bytes, len}, &read));
    assert_true(read.disabled && !read.deleted && read.account.unlimited_quota);
    assert_int_equal(read.role, USER_ROLE_USER);
    assert_int_equal(
        read.account.quota | read.account.deleted_used_quota | read.account.request_count, 0);
    bytes[1] |= 4; /* a flag of version 3 */
    len = seal(CHECKSUM_USER, bytes, len - CHECKSUM_LEN);
    assert_false(record_decode_user(ID, (struct span){(char *)bytes, len}, &read));
}

static void test_users_over_the_limits_are_refused(void **state)
{
    (void)state;
    enum { AT_NAME_LEN = 2 + 8 + SEAL_CREDENTIAL_HASH_LEN };
    for (size_t which = 0; which < 2; which++) {
        unsigned char bytes[AT_NAME_LEN + 2 + 65 + CHECKSUM_LEN] = {2};
        struct record_user user;
        for (size_t len = 64; len < 66; len++) {
            bytes[AT_NAME_LEN + which] = (unsigned char)len;
            size_t record_len = seal(CHECKSUM_USER, bytes, AT_NAME_LEN + 2 + len);
            assert_int_equal(
                record_decode_user(ID, (struct span){(char *)bytes, record_len}, &user), len == 64);
        }
    }
}

/* ---- reservations and gateways ---- */

static void test_reservations_come_back(void **state)
{
    (void)state;
    struct random random = {24};
    for (int i = 0; i < 2000; i++) {
        struct record_reservation in = {.gateway_id = random_number(&random),
                                        .user_id = random_number(&random),
                                        .token_id = random_number(&random),
                                        .units.reserved = random_number(&random),
                                        .units.from_remain = random_below(&random, 2),
                                        .units.from_balance = random_below(&random, 2),
                                        .units.day = random_number(&random),
                                        .units.refill_period = random_number(&random),
                                        .created_s = random_number(&random),
                                        .due_s = random_number(&random),
                                        .ended = random_below(&random, 2),
                                        .units.amount = random_number(&random),
                                        .units.shortfall = random_number(&random),
                                        .remain_quota = random_number(&random),
                                        .unlimited_quota = random_below(&random, 2),
                                        .group = random_text(&random, TOKEN_GROUP_LEN_MAX)};
        struct record_reservation out;
        unsigned char bytes[RECORD_RESERVATION_LEN_MAX];
        size_t len = record_encode_reservation(ID, &in, bytes);
        assert_true(len <= sizeof(bytes));
        for (size_t cut = 0; cut <= len; cut++) {
            char *copy = heap_copy((struct span){(char *)bytes, cut});
            bool decoded = record_decode_reservation(ID, (struct span){copy, cut}, &out);
            require(decoded == (cut == len), "%zu of %zu", cut, len);
            if (decoded)
                assert_true(span_equal(in.group, out.group));
            free(copy);
        }
        assert_int_equal(in.gateway_id, out.gateway_id);
        assert_int_equal(in.user_id, out.user_id);
        assert_int_equal(in.token_id, out.token_id);
        assert_int_equal(in.units.reserved, out.units.reserved);
        assert_int_equal(in.units.from_remain, out.units.from_remain);
        assert_int_equal(in.units.from_balance, out.units.from_balance);
        assert_int_equal(in.units.day, out.units.day);
        assert_int_equal(in.units.refill_period, out.units.refill_period);
        assert_int_equal(in.created_s, out.created_s);
        assert_int_equal(in.due_s, out.due_s);
        assert_int_equal(in.ended, out.ended);
        assert_int_equal(in.units.amount, out.units.amount);
        assert_int_equal(in.units.shortfall, out.units.shortfall);
        assert_int_equal(in.remain_quota, out.remain_quota);
        assert_int_equal(in.unlimited_quota, out.unlimited_quota);
    }
}

/* Without balance, day and period. */
static void test_a_reservation_of_the_version_before(void **state)
{
    (void)state;
    enum { AT_DAY = 2 + 9 * 8 };
    struct record_reservation in = {.units.reserved = 5, .remain_quota = 7, .group = SPAN("ggg")};
    struct record_reservation out = {.units = {.from_balance = true, .day = 9}};
    unsigned char bytes[RECORD_RESERVATION_LEN_MAX];
    size_t len = record_encode_reservation(ID, &in, bytes);
    bytes[0] = 2;
    memmove(bytes + AT_DAY, bytes + AT_DAY + 16, len - AT_DAY - 16);
    len = seal(CHECKSUM_RESERVATION, bytes, len - 16 - CHECKSUM_LEN);
    assert_true(record_decode_reservation(ID, (struct span){(char *)bytes, len}, &out));
    assert_true(out.units.reserved == 5 && out.remain_quota == 7 &&
                span_equal(out.group, in.group));
    assert_true(!out.units.from_balance && out.units.day == 0 && out.units.refill_period == 0);
    bytes[1] |= 8; /* from_balance */
    seal(CHECKSUM_RESERVATION, bytes, len - CHECKSUM_LEN);
    assert_false(record_decode_reservation(ID, (struct span){(char *)bytes, len}, &out));
}

/* Their beginnings, and what is under another key, are refused. */
static void test_groups_and_usage_come_back(void **state)
{
    (void)state;
    struct random random = {26};
    for (int i = 0; i < 500; i++) {
        struct span name = i % 2 ? SPAN("vip") : SPAN("default"),
                    key = SPAN("0123456789abcdef01234567");
        struct record_group in = {.description = random_text(&random, STORE_DESCRIPTION_LEN_MAX),
                                  .is_public = random_below(&random, 2),
                                  .ratio_millionths = random_number(&random)};
        struct record_usage usage = {.units = random_number(&random),
                                     .requests = random_number(&random)};
        struct record_group out;
        struct record_usage usage_out;
        unsigned char bytes[RECORD_GROUP_LEN_MAX];
        size_t len = record_encode_group(name, &in, bytes);
        assert_false(record_decode_group(SPAN("VIP"), (struct span){(char *)bytes, len}, &out));
        for (size_t cut = 0; cut <= len; cut++)
            require(record_decode_group(name, (struct span){(char *)bytes, cut}, &out) ==
                        (cut == len),
                    "%zu of %zu", cut, len);
        assert_true(span_equal(in.description, out.description));
        assert_true(in.is_public == out.is_public && in.ratio_millionths == out.ratio_millionths);
        len = record_encode_usage(key, &usage, bytes);
        for (size_t cut = 0; cut <= len; cut++)
            require(record_decode_usage(key, (struct span){(char *)bytes, cut}, &usage_out) ==
                        (cut == len),
                    "%zu of %zu", cut, len);
        assert_true(usage.units == usage_out.units && usage.requests == usage_out.requests);
        assert_int_equal(usage_out.token_id, get_big64((const unsigned char *)key.at + 8));
        len = record_encode_entry(key, bytes);
        assert_true(record_decode_entry(key, (struct span){(char *)bytes, len}));
        assert_false(record_decode_entry(name, (struct span){(char *)bytes, len}));
    }
}

static void test_audit_records_come_back(void **state)
{
    (void)state;
    struct random random = {27};
    static unsigned char bytes[RECORD_AUDIT_LEN_MAX];
    for (int i = 0; i < 200; i++) {
        struct store_audit out,
            in = {.id = ID,
                  .time_unix_s = random_number(&random),
                  .action = random_text(&random, STORE_AUDIT_TEXT_LEN_MAX),
                  .actor = {(enum store_actor_kind)random_below(&random, STORE_ACTOR_TOKENCTL + 1),
                            random_number(&random), random_text(&random, STORE_AUDIT_TEXT_LEN_MAX),
                            random_text(&random, STORE_AUDIT_TEXT_LEN_MAX)},
                  .user_id = random_number(&random),
                  .token_id = random_number(&random),
                  .changes = random_text(&random, 1000)};
        size_t len = record_encode_audit(&in, bytes);
        assert_true(len <= sizeof(bytes));
        for (size_t cut = 0; cut <= len; cut += 1 + (cut + 40 < len) * random_below(&random, 20))
            require(record_decode_audit(ID, (struct span){(char *)bytes, cut}, &out) ==
                        (cut == len),
                    "%zu of %zu", cut, len);
        assert_int_equal(in.time_unix_s, out.time_unix_s);
        assert_true(in.actor.kind == out.actor.kind && in.actor.id == out.actor.id);
        assert_true(in.user_id == out.user_id && in.token_id == out.token_id);
        assert_true(span_equal(in.action, out.action) && span_equal(in.changes, out.changes));
        assert_true(span_equal(in.actor.address, out.actor.address) &&
                    span_equal(in.actor.request_id, out.actor.request_id));
    }
}

static void test_gateways_come_back(void **state)
{
    (void)state;
    struct random random = {25};
    for (int i = 0; i < 2000; i++) {
        struct record_gateway in = {.name = random_text(&random, STORE_GATEWAY_NAME_LEN_MAX),
                                    .created_unix_s = random_number(&random)};
        struct record_gateway out;
        unsigned char bytes[RECORD_GATEWAY_LEN_MAX];
        random_bytes(&random, in.secret_hash, sizeof(in.secret_hash));
        size_t len = record_encode_gateway(ID, &in, bytes);
        assert_true(len <= sizeof(bytes));
        for (size_t cut = 0; cut <= len; cut++) {
            char *copy = heap_copy((struct span){(char *)bytes, cut});
            bool decoded = record_decode_gateway(ID, (struct span){copy, cut}, &out);
            require(decoded == (cut == len), "%zu of %zu", cut, len);
            if (decoded)
                assert_true(span_equal(in.name, out.name));
            free(copy);
        }
        assert_int_equal(in.created_unix_s, out.created_unix_s);
        assert_memory_equal(in.secret_hash, out.secret_hash, sizeof(in.secret_hash));
    }
}

/* Longer than what fits where the group or the name is copied to. */
static void test_texts_over_the_limits_are_refused(void **state)
{
    (void)state;
    unsigned char bytes[RECORD_RESERVATION_LEN_MAX + 1 + CHECKSUM_LEN];
    char text[65];
    memset(text, 'g', sizeof(text));
    struct record_reservation reservation = {.group = {text, 64}};
    struct record_gateway gateway = {.name = {text, 64}};
    size_t len = record_encode_reservation(ID, &reservation, bytes) - CHECKSUM_LEN;
    for (size_t more = 0; more < 2; more++) {
        bytes[len - 65] = (unsigned char)(64 + more);
        size_t sealed = seal(CHECKSUM_RESERVATION, bytes, len + more);
        assert_int_equal(
            record_decode_reservation(ID, (struct span){(char *)bytes, sealed}, &reservation),
            more == 0);
    }
    len = record_encode_gateway(ID, &gateway, bytes) - CHECKSUM_LEN;
    for (size_t more = 0; more < 2; more++) {
        bytes[len - 65] = (unsigned char)(64 + more);
        size_t sealed = seal(CHECKSUM_GATEWAY, bytes, len + more);
        assert_int_equal(record_decode_gateway(ID, (struct span){(char *)bytes, sealed}, &gateway),
                         more == 0);
    }
}

/* ---- bits that have changed, and records under another key ---- */

struct encoded {
    unsigned char bytes[RECORD_TOKEN_LEN_MAX];
    size_t len;
};

static bool decodes(enum checksum_kind kind, int64_t id, const struct encoded *record)
{
    struct span span = {(const char *)record->bytes, record->len};
    struct token token = {.user_id = id, .id = 7};
    struct record_keys keys;
    struct record_user user;
    struct record_reservation reservation;
    struct record_gateway gateway;
    switch (kind) {
    case CHECKSUM_TOKEN:
        return record_decode_token(span, &token, &keys);
    case CHECKSUM_USER:
        return record_decode_user(id, span, &user);
    case CHECKSUM_RESERVATION:
        return record_decode_reservation(id, span, &reservation);
    case CHECKSUM_GATEWAY:
        return record_decode_gateway(id, span, &gateway);
    default:
        return false;
    }
}

static struct encoded encode_some(enum checksum_kind kind)
{
    struct encoded record = {.len = 0};
    struct record_keys keys = {.sealed = own_sealed, .has_old = true, .old_until_unix_s = 9};
    if (kind == CHECKSUM_TOKEN)
        record.len = record_encode_token(
            &(struct token){.user_id = ID, .id = 7, .name = SPAN("name"), .group = SPAN("group")},
            &keys, record.bytes);
    else if (kind == CHECKSUM_USER)
        record.len = record_encode_user(ID, &(struct record_user){.name = SPAN("u")}, record.bytes);
    else if (kind == CHECKSUM_RESERVATION)
        record.len = record_encode_reservation(
            ID, &(struct record_reservation){.units.reserved = 5, .group = SPAN("g")},
            record.bytes);
    else
        record.len =
            record_encode_gateway(ID, &(struct record_gateway){.name = SPAN("g")}, record.bytes);
    return record;
}

static void test_each_flipped_bit_is_noticed(void **state)
{
    (void)state;
    for (enum checksum_kind kind = CHECKSUM_TOKEN; kind <= CHECKSUM_RESERVATION; kind++) {
        struct encoded record = encode_some(kind);
        assert_true(decodes(kind, ID, &record));
        for (size_t bit = 0; bit < record.len * 8; bit++) {
            record.bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
            require(!decodes(kind, ID, &record), "kind %d, bit %zu", (int)kind, bit);
            record.bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
        }
    }
}

static void test_records_in_another_place_are_noticed(void **state)
{
    (void)state;
    for (enum checksum_kind kind = CHECKSUM_TOKEN; kind <= CHECKSUM_RESERVATION; kind++) {
        struct encoded record = encode_some(kind);
        for (int64_t id = 0; id < 3 * ID; id++)
            require(decodes(kind, id, &record) == (id == ID), "kind %d, id %d", (int)kind, (int)id);
        for (enum checksum_kind other = CHECKSUM_TOKEN; other <= CHECKSUM_RESERVATION; other++)
            require(decodes(other, ID, &record) == (other == kind), "kind %d as %d", (int)kind,
                    (int)other);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tokens_come_back),
        cmocka_unit_test(test_tokens_of_other_lengths_are_refused),
        cmocka_unit_test(test_other_versions_are_refused),
        cmocka_unit_test(test_the_form_of_a_token),
        cmocka_unit_test(test_the_blocks_of_a_token),
        cmocka_unit_test(test_a_token_of_the_version_before),
        cmocka_unit_test(test_tokens_over_the_limits_are_refused),
        cmocka_unit_test(test_users_come_back),
        cmocka_unit_test(test_the_form_of_a_user),
        cmocka_unit_test(test_the_form_of_a_user_without_more),
        cmocka_unit_test(test_users_over_the_limits_are_refused),
        cmocka_unit_test(test_reservations_come_back),
        cmocka_unit_test(test_a_reservation_of_the_version_before),
        cmocka_unit_test(test_gateways_come_back),
        cmocka_unit_test(test_groups_and_usage_come_back),
        cmocka_unit_test(test_audit_records_come_back),
        cmocka_unit_test(test_texts_over_the_limits_are_refused),
        cmocka_unit_test(test_each_flipped_bit_is_noticed),
        cmocka_unit_test(test_records_in_another_place_are_noticed),
    };
    return cmocka_run_group_tests_name("record", tests, NULL, NULL);
}
