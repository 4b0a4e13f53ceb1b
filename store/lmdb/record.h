#ifndef STORE_LMDB_RECORD_H
#define STORE_LMDB_RECORD_H

#include "store/lmdb/checksum.h"
#include "seal/seal.h"
#include "store/store.h"

/* The bytes of a value in the databases "tokens", "users", "reservations" and "gateways". The
 * first byte is the layout's version, the last are a checksum that is bound to the value's
 * key; integers are little-endian. */

enum {
    RECORD_TOKEN_HEAD_LEN = 2 + 5 * 8 + SEAL_KEY_LEN + 2 + 4,
    RECORD_TOKEN_LEN_MAX = RECORD_TOKEN_HEAD_LEN + 4 * TOKEN_NAME_CHARACTERS_MAX +
                           TOKEN_GROUP_LEN_MAX + TOKEN_MODEL_LIMITS_LEN_MAX +
                           TOKEN_ALLOW_IPS_LEN_MAX + SEAL_HASH_LEN + 8 + CHECKSUM_LEN,
    RECORD_ACCESS_HASH_LEN = 32,
    RECORD_USER_LEN_MAX = 2 + 8 + RECORD_ACCESS_HASH_LEN + 2 + STORE_USER_NAME_LEN_MAX +
                          TOKEN_GROUP_LEN_MAX + CHECKSUM_LEN
};

/* A token's keys as stored. */
struct record_keys {
    unsigned char sealed[SEAL_KEY_LEN];
    bool has_old; /* the key before the last rotation, in its grace or after it */
    unsigned char old_hash[SEAL_HASH_LEN];
    int64_t old_until_unix_s;
};

/* Encodes all of a token but its key; its ids go into the checksum only. record has room
 * for RECORD_TOKEN_LEN_MAX. Returns the length. */
size_t record_encode_token(const struct token *token, const struct record_keys *keys,
                           unsigned char *record);

/* Decodes what record_encode_token made of the token whose ids *token has; these and its key
 * are left alone. The spans point into record. False where it is not that record. */
bool record_decode_token(struct span record, struct token *token, struct record_keys *keys);

/* A user as stored. */
struct record_user {
    struct span name, group;
    bool disabled;
    bool deleted; /* gone for everybody; its tokens are being deleted */
    int64_t created_unix_s;
    unsigned char access_hash[RECORD_ACCESS_HASH_LEN];
};

/* The same for users. record has room for RECORD_USER_LEN_MAX. */
size_t record_encode_user(int64_t user_id, const struct record_user *user, unsigned char *record);
bool record_decode_user(int64_t user_id, struct span record, struct record_user *user);

/* A reservation. Once it has ended it keeps the answer that a repeat gets. */
struct record_reservation {
    int64_t gateway_id, user_id, token_id;
    int64_t reserved; /* what it took when it was made */
    bool from_remain; /* the token was finite then */
    int64_t created_unix_s, due_unix_s;
    bool ended;
    int64_t amount; /* what it took in the end */
    int64_t shortfall;
    int64_t remain_quota; /* the token's, after that */
    bool unlimited_quota;
    struct span group;
};

enum { RECORD_RESERVATION_LEN_MAX = 2 + 9 * 8 + 1 + TOKEN_GROUP_LEN_MAX + CHECKSUM_LEN };

size_t record_encode_reservation(int64_t id, const struct record_reservation *reservation,
                                 unsigned char *record);
bool record_decode_reservation(int64_t id, struct span record,
                               struct record_reservation *reservation);

/* A gateway. */
struct record_gateway {
    struct span name;
    int64_t created_unix_s;
    unsigned char secret_hash[RECORD_ACCESS_HASH_LEN];
};

enum {
    RECORD_GATEWAY_LEN_MAX =
        1 + 8 + RECORD_ACCESS_HASH_LEN + 1 + STORE_GATEWAY_NAME_LEN_MAX + CHECKSUM_LEN
};

size_t record_encode_gateway(int64_t id, const struct record_gateway *gateway,
                             unsigned char *record);
bool record_decode_gateway(int64_t id, struct span record, struct record_gateway *gateway);

#endif
