#pragma once

#include "tests/unit/raw.h"

#include "store/lmdb/record.h"

/* A store of two users, 1 with the tokens 1 to 3, 2 with the tokens 4 to 6, and damage to plant in
 * it: to user 1's token 2. */

static char access_tokens[2][STORE_CREDENTIAL_LEN];

static inline void fill_store(struct temporary *temporary)
{
    int64_t first;
    temporary_create_folder(temporary, 0);
    temporary_open(temporary);
    for (int64_t user_id = 1; user_id <= 2; user_id++) {
        assert_int_equal(temporary_add_user(temporary, access_tokens[user_id - 1]), user_id);
        assert_int_equal(temporary_create_tokens(temporary->store, user_id, 3, 3, 0, &first),
                         STORE_OK);
        assert_int_equal(first, 3 * user_id - 2);
    }
    temporary_check(temporary);
    temporary_close(temporary);
}

static inline void change_token(struct raw *raw, void change(struct raw_bytes *record))
{
    struct raw_bytes key = raw_token_key(1, 2), record = raw_get(raw, raw->tokens, key);
    change(&record);
    raw_seal(&record, CHECKSUM_TOKEN, 1, 2);
    raw_put(raw, raw->tokens, key, record);
}

static inline void token_with_a_changed_quota(struct raw *raw)
{
    struct raw_bytes key = raw_token_key(1, 2), record = raw_get(raw, raw->tokens, key);
    record.at[2] ^= 1;
    raw_put(raw, raw->tokens, key, record);
}

static inline void remove_token(struct raw *raw)
{
    raw_delete(raw, raw->tokens, raw_token_key(1, 2), NULL);
}

static inline void other_version(struct raw_bytes *record)
{
    record->at[0] = 200;
}

static inline void token_of_another_version(struct raw *raw)
{
    change_token(raw, other_version);
}

static inline void cut_short(struct raw_bytes *record)
{
    record->len--;
}

static inline void token_cut_short(struct raw *raw)
{
    change_token(raw, cut_short);
}

static inline void flip_seal(struct raw_bytes *record)
{
    record->at[RECORD_TOKEN_SEALED_AT + 20] ^= 4;
}

static inline void token_with_a_flipped_bit(struct raw *raw)
{
    change_token(raw, flip_seal);
}

static inline void id_too_many(struct raw *raw)
{
    int64_t id = 99;
    raw_put(raw, raw->ids_by_user, raw_user_key(1), raw_bytes(&id, sizeof(id)));
}
