#ifndef STORE_ROW_H
#define STORE_ROW_H

#include "seal/seal.h"
#include "store/store.h"
#include "token/use.h"

/* What engines store, beside struct token. */

/* A token's keys as stored. */
struct record_keys {
    unsigned char sealed[SEAL_KEY_LEN];
    bool has_old; /* the key before the last rotation, in its grace or after it */
    unsigned char old_hash[SEAL_HASH_LEN];
    int64_t old_until_unix_s;
};

struct record_user {
    struct span name, group;
    bool disabled;
    bool deleted; /* does not exist any more; its tokens are being deleted */
    int64_t created_unix_s;
    unsigned char access_hash[SEAL_CREDENTIAL_HASH_LEN];
};

struct record_gateway {
    struct span name;
    int64_t created_unix_s;
    unsigned char secret_hash[SEAL_CREDENTIAL_HASH_LEN];
};

/* A reservation. Once it has ended it keeps the answer for repetitions. */
struct record_reservation {
    int64_t gateway_id, user_id, token_id;
    struct token_reservation units;
    int64_t created_s, due_s; /* of the store's time */
    bool ended;
    int64_t remain_quota; /* the token's, after that */
    bool unlimited_quota;
    struct span group;
};

/* An entry of "token_by_key", under the hash of a key. */
struct record_key {
    int64_t user_id, token_id;
    int64_t until_unix_s; /* 0: the token's present key; else an old one, valid until then */
};

#endif
