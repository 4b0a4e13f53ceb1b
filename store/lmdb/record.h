#pragma once

#include "store/lmdb/checksum.h"
#include "store/txn.h"

/* The values in the databases. The first byte is the layout's version (except of token_by_key,
 * usage and entries), the last ones are a checksum in the context of the value's key; integers are
 * little-endian.
 *
 * record_encode_X   writes a value; record has room for RECORD_X_LEN_MAX. Returns its length.
 * record_decode_X   reads one; the spans point into it. False if it is not what
 *                   record_encode_X has made for this key. */

enum {
    RECORD_NAME_LEN_MAX = 4 * TOKEN_NAME_CHARACTERS_MAX, /* UTF-8 */
    RECORD_OLD_KEY_LEN = SEAL_HASH_LEN + 8 + 2 + SEAL_KEY_LEN_MAX,
    /* Of a token with one of our keys: behind version, flags and integers. */
    RECORD_TOKEN_SEALED_AT = 2 + 5 * 8,
    RECORD_TOKEN_LENGTHS_AT = RECORD_TOKEN_SEALED_AT + SEAL_KEY_LEN,
    RECORD_TOKEN_TEXTS_AT = RECORD_TOKEN_LENGTHS_AT + 2 + 1 + 2 + 2,
    RECORD_TOKEN_LEN_MAX = RECORD_TOKEN_TEXTS_AT + 13 * 8 + 2 + SEAL_KEY_LEN_MAX - SEAL_KEY_LEN +
                           RECORD_NAME_LEN_MAX + TOKEN_GROUP_LEN_MAX + TOKEN_MODEL_LIMITS_LEN_MAX +
                           TOKEN_ALLOW_IPS_LEN_MAX + RECORD_OLD_KEY_LEN + CHECKSUM_LEN,
    RECORD_USER_LEN_MAX = 2 + 15 * 8 + SEAL_CREDENTIAL_HASH_LEN + 2 + STORE_USER_NAME_LEN_MAX +
                          TOKEN_GROUP_LEN_MAX + CHECKSUM_LEN,
    RECORD_GATEWAY_LEN_MAX =
        1 + 8 + SEAL_CREDENTIAL_HASH_LEN + 1 + STORE_GATEWAY_NAME_LEN_MAX + CHECKSUM_LEN,
    RECORD_RESERVATION_LEN_MAX = 2 + 11 * 8 + 1 + TOKEN_GROUP_LEN_MAX + CHECKSUM_LEN,
    RECORD_KEY_LEN_MAX = 3 * 8 + CHECKSUM_LEN,
    RECORD_GROUP_LEN_MAX = 2 + 8 + 1 + STORE_DESCRIPTION_LEN_MAX + CHECKSUM_LEN,
    RECORD_AUDIT_TEXTS_AT = 1 + 5 * 8 + 3 + 2,
    RECORD_AUDIT_LEN_MAX = RECORD_AUDIT_TEXTS_AT + 3 * STORE_AUDIT_TEXT_LEN_MAX +
                           STORE_AUDIT_CHANGES_LEN_MAX + CHECKSUM_LEN,
    RECORD_USAGE_KEY_LEN = 3 * 8,
    RECORD_USAGE_LEN = 2 * 8 + CHECKSUM_LEN
};

/* All of a token but its key. The ids, which are the record's key, are the caller's. */
size_t record_encode_token(const struct token *token, const struct record_keys *keys,
                           unsigned char *record);
bool record_decode_token(struct span record, struct token *token, struct record_keys *keys);

size_t record_encode_user(int64_t user_id, const struct record_user *user, unsigned char *record);
bool record_decode_user(int64_t user_id, struct span record, struct record_user *user);

size_t record_encode_gateway(int64_t id, const struct record_gateway *gateway,
                             unsigned char *record);
bool record_decode_gateway(int64_t id, struct span record, struct record_gateway *gateway);

size_t record_encode_reservation(int64_t id, const struct record_reservation *reservation,
                                 unsigned char *record);
bool record_decode_reservation(int64_t id, struct span record,
                               struct record_reservation *reservation);

size_t record_encode_key(const unsigned char hash[static SEAL_HASH_LEN],
                         const struct record_key *entry, unsigned char *record);
bool record_decode_key(const unsigned char hash[static SEAL_HASH_LEN], struct span record,
                       struct record_key *entry);

size_t record_encode_group(struct span name, const struct record_group *group,
                           unsigned char *record);
bool record_decode_group(struct span name, struct span record, struct record_group *group);

size_t record_encode_audit(const struct store_audit *audit, unsigned char *record);
bool record_decode_audit(int64_t id, struct span record, struct store_audit *audit);

/* The use on a day: the key is user, token (0: of the user) and day (0: of all older ones). */
struct record_usage {
    int64_t user_id, token_id, day; /* as in the key: read only */
    int64_t units, requests;
};
size_t record_encode_usage(struct span key, const struct record_usage *usage,
                           unsigned char *record);
bool record_decode_usage(struct span key, struct span record, struct record_usage *usage);

/* A grant, a model, an open reservation of a token: the value is only a checksum. */
size_t record_encode_entry(struct span key, unsigned char *record);
bool record_decode_entry(struct span key, struct span record);
