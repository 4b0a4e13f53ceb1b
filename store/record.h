#ifndef STORE_RECORD_H
#define STORE_RECORD_H

#include "store/secret.h"
#include "store/store.h"

/* The bytes of a value in the databases "tokens" and "users". The first byte is the
 * layout's version; integers are little-endian. */

enum {
    RECORD_TOKEN_HEAD_LEN = 2 + 5 * 8 + SECRET_SEALED_LEN + 2 + 4,
    RECORD_TOKEN_LEN_MAX = RECORD_TOKEN_HEAD_LEN + 4 * TOKEN_NAME_CHARACTERS_MAX +
                           TOKEN_GROUP_LEN_MAX + TOKEN_MODEL_LIMITS_LEN_MAX +
                           TOKEN_ALLOW_IPS_LEN_MAX,
    RECORD_ACCESS_HASH_LEN = 32,
    RECORD_USER_LEN_MAX =
        2 + 8 + RECORD_ACCESS_HASH_LEN + 2 + STORE_USER_NAME_LEN_MAX + TOKEN_GROUP_LEN_MAX
};

/* Encodes all of a token but its key and ids, with the key as sealed already.
 * record has room for RECORD_TOKEN_LEN_MAX. Returns the length. */
size_t record_encode_token(const struct token *token,
                           const unsigned char sealed[static SECRET_SEALED_LEN],
                           unsigned char *record);

/* Decodes what record_encode_token made; ids and key are left alone. The spans and
 * *sealed point into record. False where it is not such a record. */
bool record_decode_token(struct span record, struct token *token, const unsigned char **sealed);

/* A user as stored. */
struct record_user {
    struct span name, group;
    bool disabled;
    bool deleted; /* gone for everybody; its tokens are being deleted */
    int64_t created_unix_s;
    unsigned char access_hash[RECORD_ACCESS_HASH_LEN];
};

/* The same for users. record has room for RECORD_USER_LEN_MAX. */
size_t record_encode_user(const struct record_user *user, unsigned char *record);
bool record_decode_user(struct span record, struct record_user *user);

#endif
