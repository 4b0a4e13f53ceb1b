/* store/record.h: what can be decoded is encoded to the same bytes, and fits the room for it.
 * The first byte says what the rest is a record of: t, u, r, g, n (a group) or a (audit). */

#include "tests/fuzz/fuzz.h"

#include "store/lmdb/record.h"

static size_t code_token(struct span record, unsigned char *out)
{
    struct token token = {0};
    struct record_keys keys = {0};
    if (!record_decode_token(record, &token, &keys))
        return 0;
    require(token.status == TOKEN_ENABLED || token.status == TOKEN_DISABLED, "status");
    require(token.name.len <= RECORD_NAME_LEN_MAX && token.group.len <= TOKEN_GROUP_LEN_MAX &&
                token.model_limits.len <= TOKEN_MODEL_LIMITS_LEN_MAX &&
                token.allow_ips.len <= TOKEN_ALLOW_IPS_LEN_MAX,
            "beyond the limits");
    size_t len = record_encode_token(&token, &keys, out);
    return (unsigned char)record.at[0] == out[0] ? len
                                                 : 0; /* older versions are written as newer ones */
}

static size_t code_user(struct span record, unsigned char *out)
{
    struct record_user user = {0};
    if (!record_decode_user(0, record, &user))
        return 0;
    require(user.name.len <= STORE_USER_NAME_LEN_MAX && user.group.len <= TOKEN_GROUP_LEN_MAX,
            "beyond the limits");
    size_t len = record_encode_user(0, &user, out);
    return (unsigned char)record.at[0] == out[0] ? len
                                                 : 0; /* version 3 may be without need of it */
}

static size_t code_reservation(struct span record, unsigned char *out)
{
    struct record_reservation reservation = {0};
    if (!record_decode_reservation(0, record, &reservation))
        return 0;
    size_t len = record_encode_reservation(0, &reservation, out);
    return (unsigned char)record.at[0] == out[0] ? len : 0; /* version 2 is written as 3 */
}

static size_t code_gateway(struct span record, unsigned char *out)
{
    struct record_gateway gateway = {0};
    return record_decode_gateway(0, record, &gateway) ? record_encode_gateway(0, &gateway, out) : 0;
}

static size_t code_group(struct span record, unsigned char *out)
{
    struct record_group group = {0};
    return record_decode_group(SPAN(""), record, &group)
               ? record_encode_group(SPAN(""), &group, out)
               : 0;
}

static size_t code_audit(struct span record, unsigned char *out)
{
    struct store_audit audit = {0};
    return record_decode_audit(0, record, &audit) ? record_encode_audit(&audit, out) : 0;
}

static const struct {
    char letter;
    enum checksum_kind kind;
    size_t size;
    /* Decodes and encodes; 0 where it is no record. */
    size_t (*code)(struct span record, unsigned char *out);
} kinds[] = {
    {'t', CHECKSUM_TOKEN, RECORD_TOKEN_LEN_MAX, code_token},
    {'u', CHECKSUM_USER, RECORD_USER_LEN_MAX, code_user},
    {'r', CHECKSUM_RESERVATION, RECORD_RESERVATION_LEN_MAX, code_reservation},
    {'g', CHECKSUM_GATEWAY, RECORD_GATEWAY_LEN_MAX, code_gateway},
    {'n', CHECKSUM_GROUP, RECORD_GROUP_LEN_MAX, code_group},
    {'a', CHECKSUM_AUDIT, RECORD_AUDIT_LEN_MAX, code_audit},
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    for (size_t i = 0; i < COUNT_OF(kinds) && size > 0; i++) {
        if (data[0] != (uint8_t)kinds[i].letter)
            continue;
        /* Its checksum is added: no fuzzer would guess it. */
        unsigned char *sealed = malloc(size + CHECKSUM_LEN);
        require(sealed, "no memory");
        memcpy(sealed, data + 1, size - 1);
        size_t sealed_len =
            checksum_put((struct checksum_context){kinds[i].kind, 0, 0}, sealed, size - 1);
        struct span record = fuzz_copy(fuzz_input(sealed, sealed_len));
        free(sealed);
        unsigned char *out = malloc(kinds[i].size); /* a sanitizer sees a byte too many */
        require(out, "no memory");
        size_t len = kinds[i].code(record, out);
        require(len == 0 || span_equal(record, (struct span){(char *)out, len}),
                "a record of %zu bytes, another of %zu", record.len, len);
        free(out);
        fuzz_free(record);
    }
    return 0;
}
