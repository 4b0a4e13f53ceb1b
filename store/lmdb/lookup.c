#include "store/lmdb/lookup.h"

#include "base/bytes.h"
#include "store/lmdb/ids.h"

/* ---- what is not found ---- */

/* What is looked for, and how its neighbours are checked. */
struct absence {
    MDB_txn *txn;
    MDB_dbi dbi;
    const MDB_val *key;
    lookup_check *check;
    const void *context;
};

static int check_neighbour(const struct absence *absence, const MDB_val *key, const MDB_val *value,
                           bool is_after)
{
    int order = mdb_cmp(absence->txn, absence->dbi, key, absence->key);
    if (key->mv_size != absence->key->mv_size || (is_after ? order <= 0 : order >= 0))
        return MDB_CORRUPTED;
    return absence->check(absence->context, key, value);
}

static int check_neighbours(const struct absence *absence, MDB_cursor *cursor)
{
    MDB_val key = *absence->key, value;
    int rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    bool is_last = rc == MDB_NOTFOUND;
    if (rc == MDB_SUCCESS)
        rc = check_neighbour(absence, &key, &value, true);
    if (rc == MDB_SUCCESS || is_last)
        rc = mdb_cursor_get(cursor, &key, &value, is_last ? MDB_LAST : MDB_PREV);
    if (rc == MDB_SUCCESS)
        rc = check_neighbour(absence, &key, &value, false);
    return rc == MDB_SUCCESS ? MDB_NOTFOUND : rc;
}

int lookup_absent(const struct store *store, MDB_txn *txn, MDB_dbi dbi, const MDB_val *key,
                  lookup_check *check, const void *context)
{
    const struct absence absence = {txn, dbi, key, check, context};
    MDB_cursor *cursor;
    if (!engine_path_is_whole(store, txn, dbi, key))
        return MDB_CORRUPTED;
    int rc = mdb_cursor_open(txn, dbi, &cursor);
    if (rc != MDB_SUCCESS)
        return rc;
    rc = check_neighbours(&absence, cursor);
    mdb_cursor_close(cursor);
    return rc;
}

static int check_checksum(const void *context, const MDB_val *key, const MDB_val *value)
{
    const enum checksum_kind *kind = context;
    struct checksum_context place = {*kind, get_big64(key->mv_data), 0};
    struct span rest = engine_span(value);
    if (key->mv_size > ID_KEY_LEN)
        place.b = get_big64((const unsigned char *)key->mv_data + ID_KEY_LEN);
    return checksum_take(place, &rest) ? MDB_SUCCESS : MDB_CORRUPTED;
}

int lookup_get(const struct store *store, MDB_txn *txn, MDB_dbi dbi, enum checksum_kind kind,
               MDB_val *key, MDB_val *value)
{
    int rc = mdb_get(txn, dbi, key, value);
    return rc == MDB_NOTFOUND ? lookup_absent(store, txn, dbi, key, check_checksum, &kind) : rc;
}

static int check_nothing(const void *context, const MDB_val *key, const MDB_val *value)
{
    (void)context;
    (void)key;
    (void)value;
    return MDB_SUCCESS;
}

int lookup_from(const struct store *store, MDB_cursor *cursor, enum checksum_kind kind,
                MDB_val *key, MDB_val *value)
{
    MDB_val wanted = *key;
    int rc = mdb_cursor_get(cursor, key, value, MDB_SET_RANGE);
    if (rc != MDB_NOTFOUND &&
        (rc != MDB_SUCCESS || span_equal(engine_span(key), engine_span(&wanted))))
        return rc;
    int absent = lookup_absent(store, mdb_cursor_txn(cursor), mdb_cursor_dbi(cursor), &wanted,
                               check_checksum, &kind);
    return absent == MDB_NOTFOUND ? rc : absent;
}

static int check_is_of_another(const void *user_id, const MDB_val *key, const MDB_val *record)
{
    (void)record;
    return get_big64(key->mv_data) == *(const int64_t *)user_id ? MDB_CORRUPTED : MDB_SUCCESS;
}

/* Where the index has no ids of a user's, there must be no records either. */
static int check_no_tokens(const struct store *store, MDB_txn *txn, int64_t user_id)
{
    unsigned char id_bytes[ID_KEY_LEN], token_bytes[TOKEN_ID_KEY_LEN];
    MDB_val id_key = engine_id_key(id_bytes, user_id);
    MDB_val token_key = engine_token_key(token_bytes, user_id, 0);
    int rc = lookup_absent(store, txn, store->ids_by_user, &id_key, check_nothing, NULL);
    if (rc == MDB_NOTFOUND)
        rc = lookup_absent(store, txn, store->tokens, &token_key, check_is_of_another, &user_id);
    return rc == MDB_NOTFOUND ? MDB_SUCCESS : rc;
}

int lookup_count_ids(const struct store *store, MDB_cursor *ids_by_user, int64_t user_id,
                     struct engine_whole *whole, uint64_t *count)
{
    MDB_val key, value;
    int rc = ids_count(ids_by_user, user_id, count);
    if (rc != MDB_SUCCESS)
        return rc;
    if (*count == 0)
        return check_no_tokens(store, mdb_cursor_txn(ids_by_user), user_id);
    rc = mdb_cursor_get(ids_by_user, &key, &value, MDB_GET_CURRENT);
    return rc == MDB_SUCCESS && !engine_leaf_is_whole(store, &key, whole) ? MDB_CORRUPTED : rc;
}

int lookup_count_tokens(struct store_reader *reader, int64_t user_id, uint64_t *count)
{
    int rc = mdb_cursor_renew(reader->txn, reader->ids_by_user);
    return rc == MDB_SUCCESS ? lookup_count_ids(reader->store, reader->ids_by_user, user_id,
                                                &reader->whole, count)
                             : rc;
}

int lookup_check_ids(const struct store *store, MDB_cursor *ids_by_user, struct engine_whole *whole)
{
    MDB_val key, id;
    int rc = mdb_cursor_get(ids_by_user, &key, &id, MDB_GET_CURRENT);
    return rc == MDB_SUCCESS && !engine_ids_are_whole(store, &key, whole) ? MDB_CORRUPTED : rc;
}

/* ---- users and tokens ---- */

int lookup_user(MDB_txn *txn, const struct store *store, int64_t user_id, struct record_user *user)
{
    unsigned char key_bytes[ID_KEY_LEN];
    MDB_val key = engine_id_key(key_bytes, user_id), record;
    int rc = lookup_get(store, txn, store->users, CHECKSUM_USER, &key, &record);
    if (rc != MDB_SUCCESS)
        return rc;
    if (!record_decode_user(user_id, engine_span(&record), user))
        return MDB_CORRUPTED;
    return user->deleted ? MDB_NOTFOUND : MDB_SUCCESS;
}

/* Where a token's record is not found, its user's index has to agree that there is none: if not, a
 * page of either is damaged, and "not found" would be a wrong answer. */
static int check_index(MDB_txn *txn, const struct store *store, int64_t user_id, int64_t token_id)
{
    MDB_cursor *cursor;
    unsigned char key_bytes[ID_KEY_LEN];
    MDB_val key = engine_id_key(key_bytes, user_id), value = {sizeof(token_id), &token_id};
    int rc = mdb_cursor_open(txn, store->ids_by_user, &cursor);
    if (rc != MDB_SUCCESS)
        return rc;
    rc = mdb_cursor_get(cursor, &key, &value, MDB_GET_BOTH);
    mdb_cursor_close(cursor);
    return rc == MDB_SUCCESS ? MDB_CORRUPTED : rc;
}

int lookup_token(MDB_txn *txn, const struct store *store, int64_t user_id, int64_t token_id,
                 struct token *token, struct record_keys *keys)
{
    unsigned char key_bytes[TOKEN_ID_KEY_LEN];
    MDB_val key = engine_token_key(key_bytes, user_id, token_id), record;
    int rc = lookup_get(store, txn, store->tokens, CHECKSUM_TOKEN, &key, &record);
    token->user_id = user_id;
    token->id = token_id;
    if (rc == MDB_NOTFOUND)
        return check_index(txn, store, user_id, token_id);
    if (rc == MDB_SUCCESS && !record_decode_token(engine_span(&record), token, keys))
        return MDB_CORRUPTED;
    return rc;
}

int lookup_check_owner(const struct store *store, MDB_cursor *ids_by_user, int64_t user_id,
                       struct engine_whole *whole)
{
    MDB_val key, id;
    struct token token;
    struct record_keys keys;
    int rc = lookup_check_ids(store, ids_by_user, whole);
    if (rc == MDB_SUCCESS)
        rc = mdb_cursor_get(ids_by_user, &key, &id, MDB_GET_CURRENT);
    if (rc == MDB_SUCCESS)
        rc = lookup_token(mdb_cursor_txn(ids_by_user), store, user_id, ids_first(&id), &token,
                          &keys);
    return rc == MDB_NOTFOUND ? MDB_CORRUPTED : rc;
}

/* ---- keys ---- */

static struct checksum_context key_place(const unsigned char hash[static SEAL_HASH_LEN])
{
    return (struct checksum_context){CHECKSUM_KEY, get_big64(hash), get_big64(hash + 8)};
}

size_t lookup_encode_key(const unsigned char hash[static SEAL_HASH_LEN],
                         const struct lookup_key *entry,
                         unsigned char bytes[static LOOKUP_KEY_LEN_MAX])
{
    size_t len = 16;
    put_big64(bytes, entry->user_id);
    put_big64(bytes + 8, entry->token_id);
    if (entry->until_unix_s != 0) {
        put_big64(bytes + len, entry->until_unix_s);
        len += 8;
    }
    return checksum_put(key_place(hash), bytes, len);
}

bool lookup_decode_key(const unsigned char hash[static SEAL_HASH_LEN], const MDB_val *value,
                       struct lookup_key *entry)
{
    struct span rest = engine_span(value);
    const unsigned char *bytes = value->mv_data;
    if ((rest.len != LOOKUP_KEY_LEN && rest.len != LOOKUP_KEY_LEN_MAX) ||
        !checksum_take(key_place(hash), &rest))
        return false;
    entry->user_id = get_big64(bytes);
    entry->token_id = get_big64(bytes + 8);
    entry->until_unix_s = rest.len > 16 ? get_big64(bytes + 16) : 0;
    return true;
}

int lookup_by_key(MDB_txn *txn, const struct store *store, const char key[static TOKEN_KEY_LEN],
                  int64_t now_unix_s, struct token *token, struct record_keys *keys,
                  struct record_user *owner)
{
    unsigned char hash[SEAL_HASH_LEN];
    struct lookup_key entry;
    seal_hash_key(store->secret, key, hash);
    MDB_val hash_key = {sizeof(hash), hash}, value;
    int rc = lookup_get(store, txn, store->token_by_key, CHECKSUM_KEY, &hash_key, &value);
    if (rc != MDB_SUCCESS)
        return rc;
    if (!lookup_decode_key(hash, &value, &entry))
        return MDB_CORRUPTED;
    if (entry.until_unix_s != 0 && entry.until_unix_s <= now_unix_s)
        return MDB_NOTFOUND;
    rc = lookup_user(txn, store, entry.user_id, owner);
    if (rc != MDB_SUCCESS)
        return rc;
    rc = lookup_token(txn, store, entry.user_id, entry.token_id, token, keys);
    return rc == MDB_NOTFOUND ? MDB_CORRUPTED : rc;
}

int lookup_check_use(MDB_txn *txn, const struct store *store, const char key[static TOKEN_KEY_LEN],
                     const struct token_use *use, int64_t now_unix_s, struct token *token,
                     struct record_keys *keys, enum token_refusal *refusal)
{
    struct record_user owner;
    int rc = lookup_by_key(txn, store, key, now_unix_s, token, keys, &owner);
    if (rc == MDB_NOTFOUND)
        *refusal = TOKEN_REFUSED_UNKNOWN;
    else if (rc == MDB_SUCCESS)
        *refusal = owner.disabled ? TOKEN_REFUSED_USER : token_use_check(token, use, now_unix_s);
    return rc == MDB_NOTFOUND ? MDB_SUCCESS : rc;
}

void lookup_fill_answer(const struct token *token, struct store_use_answer *answer)
{
    *answer = (struct store_use_answer){.token_id = token->id,
                                        .user_id = token->user_id,
                                        .remain_quota = token->remain_quota,
                                        .unlimited_quota = token->unlimited_quota,
                                        .group_len = token->group.len,
                                        .accessed_unix_s = token->accessed_unix_s};
    memcpy(answer->group, token->group.at, token->group.len);
}
