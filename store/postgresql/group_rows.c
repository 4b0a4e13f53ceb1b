/* The rows of a group, for the kinds of writes (store/txn.h). Users and tokens, which several
 * writes of a group may change, are sent with the commit; all other changes at once. */

#include <stdlib.h>

#include "base/bytes.h"
#include "store/postgresql/group.h"

static struct group *group_of(struct store_txn *txn)
{
    return (struct group *)txn;
}

static int64_t now_s(struct store_txn *txn)
{
    return group_of(txn)->now_s;
}

/* Reservations' ids: the second and a sequence that turns over, so that none is given out twice
 * also after a backup was put back. */
static enum store_error take_id(struct store_txn *txn, enum store_ids kind, int64_t *id)
{
    enum { YEAR_2026_UNIX_S = 1767225600, IDS_A_SECOND = 1 << 20 };
    struct group *group = group_of(txn);
    const struct pg_ids *ids = &group->connection->store->ids[kind];
    if (txn->ids[kind] >= (int64_t)ids->count)
        return store_txn_fail(txn, STORE_CORRUPT); /* the sequence gave fewer */
    *id = ids->at[txn->ids[kind]++];
    if (kind == STORE_IDS_RESERVATION && group->now_s > YEAR_2026_UNIX_S)
        *id += (group->now_s - YEAR_2026_UNIX_S) * IDS_A_SECOND;
    return STORE_OK;
}

/* ---- users ---- */

static enum store_error get_user(struct store_txn *txn, int64_t id, struct record_user *user)
{
    const struct group_row *row = group_find_id(group_of(txn), SET_USERS, id);
    if (!row || !row->exists)
        return STORE_NOT_FOUND;
    *user = row->user;
    return STORE_OK;
}

static void put_user(struct store_txn *txn, int64_t id, const struct record_user *user)
{
    struct group_row *row = group_add_id(group_of(txn), SET_USERS, id);
    if (!row)
        return;
    row->is_new |= !row->exists;
    row->exists = row->changed = true;
    row->user = *user;
    memmove(row->name, user->name.at, user->name.len);
    memmove(row->group, user->group.at, user->group.len);
    row->user.name.at = row->name;
    row->user.group.at = row->group;
}

static void delete_user(struct store_txn *txn, int64_t id)
{
    struct group_row *row = group_add_id(group_of(txn), SET_USERS, id);
    if (row) {
        row->exists = false;
        row->changed = true;
    }
}

static enum store_error find_user(struct store_txn *txn, struct span name, int64_t *id)
{
    char folded[STORE_USER_NAME_LEN_MAX];
    const struct group_row *row =
        pg_fold_name(name, folded) ? group_find(group_of(txn), SET_NAMES, folded, name.len) : NULL;
    if (!row || !row->exists)
        return STORE_NOT_FOUND;
    *id = row->user_id;
    return STORE_OK;
}

static void set_name(struct group *group, struct span name, int64_t user_id)
{
    char folded[STORE_USER_NAME_LEN_MAX] = "";
    pg_fold_name(name, folded);
    struct group_row *row = group_find(group, SET_NAMES, folded, name.len);
    struct pg_parameters parameters = {.count = 0};
    pg_bytes(&parameters, folded, name.len);
    if (user_id)
        pg_int(&parameters, user_id);
    group_send(group, user_id ? SQL_ADD_NAME : SQL_DELETE_NAME, &parameters);
    if (row) {
        row->exists = user_id != 0;
        row->user_id = user_id;
    }
}

static void index_user(struct store_txn *txn, int64_t id, const struct record_user *user)
{
    set_name(group_of(txn), user->name, id);
    group_send(group_of(txn), SQL_ADD_ACCESS,
               pg_int(pg_bytes(PG_PARAMETERS, user->access_hash, PG_ACCESS_KEY_LEN), id));
}

static void unindex_user(struct store_txn *txn, const struct record_user *user)
{
    set_name(group_of(txn), user->name, 0);
    group_send(group_of(txn), SQL_DELETE_ACCESS,
               pg_bytes(PG_PARAMETERS, user->access_hash, PG_ACCESS_KEY_LEN));
}

/* ---- tokens ---- */

static void count(struct store_txn *txn, int64_t user_id, int difference)
{
    struct group_row *row = group_find_id(group_of(txn), SET_USERS, user_id);
    if (!row)
        return;
    row->token_count += difference;
    row->changed = true;
}

static uint64_t count_tokens(struct store_txn *txn, int64_t user_id)
{
    const struct group_row *row = group_find_id(group_of(txn), SET_USERS, user_id);
    return row && row->token_count > 0 ? (uint64_t)row->token_count : 0;
}

static enum store_error get_token(struct store_txn *txn, int64_t user_id, int64_t token_id,
                                  struct token *token, struct record_keys *keys)
{
    const struct group_row *row = group_find_token(group_of(txn), user_id, token_id);
    if (!row || !row->exists)
        return STORE_NOT_FOUND;
    *token = row->token;
    *keys = row->keys.keys;
    return STORE_OK;
}

static void set_token(struct group_row *row, const struct token *token,
                      const struct record_keys *keys)
{
    row->exists = row->changed = true;
    row->token = *token;
    row->keys.keys = *keys;
}

/* Whether tokens differ in nothing but what a use changes: their texts are the same bytes. */
static bool is_use(const struct token *from, const struct token *to)
{
    return from->name.at == to->name.at && from->group.at == to->group.at &&
           from->model_limits.at == to->model_limits.at && from->allow_ips.at == to->allow_ips.at &&
           from->status == to->status && from->unlimited_quota == to->unlimited_quota &&
           from->model_limits_enabled == to->model_limits_enabled &&
           from->expired_unix_s == to->expired_unix_s;
}

static void put_token(struct store_txn *txn, const struct token *token,
                      const struct record_keys *keys)
{
    struct group_row *row = group_find_token(group_of(txn), token->user_id, token->id);
    row->all |= !is_use(&row->token, token) ||
                memcmp(row->keys.keys.sealed, keys->sealed, sizeof(keys->sealed)) != 0;
    set_token(row, token, keys);
}

static void add_token(struct store_txn *txn, const struct token *token,
                      const struct record_keys *keys)
{
    struct group_row *row = group_add_token(group_of(txn), token->user_id, token->id);
    if (!row)
        return;
    row->is_new = true;
    set_token(row, token, keys);
    count(txn, token->user_id, 1);
}

static void delete_token(struct store_txn *txn, int64_t user_id, int64_t token_id)
{
    struct group_row *row = group_find_token(group_of(txn), user_id, token_id);
    row->exists = false;
    row->changed = true;
    count(txn, user_id, -1);
}

/* Of those that were fetched for it: see SQL_LOCK_TOKENS. */
static enum store_error first_token(struct store_txn *txn, int64_t user_id, int64_t *token_id)
{
    const struct group_set *tokens = &group_of(txn)->sets[SET_TOKENS];
    for (size_t i = 0; i < tokens->sorted; i++) {
        const struct group_row *row = &tokens->rows[i];
        if (row->exists && row->token.user_id == user_id) {
            *token_id = row->token.id;
            return STORE_OK;
        }
    }
    return STORE_NOT_FOUND;
}

/* ---- keys ---- */

static enum store_error get_key(struct store_txn *txn,
                                const unsigned char hash[static SEAL_HASH_LEN],
                                struct record_key *entry)
{
    const struct group_row *found = group_find(group_of(txn), SET_KEYS, hash, SEAL_HASH_LEN);
    if (!found || !found->exists)
        return STORE_NOT_FOUND;
    const struct group_row *row = group_find_token(group_of(txn), found->user_id, found->token_id);
    if (!row || !row->exists)
        return STORE_NOT_FOUND;
    const struct pg_keys *keys = &row->keys;
    bool is_present = memcmp(hash, keys->hash, SEAL_HASH_LEN) == 0;
    if (!is_present &&
        (!keys->keys.has_old || memcmp(hash, keys->keys.old_hash, SEAL_HASH_LEN) != 0))
        return STORE_NOT_FOUND; /* replaced since it was looked up */
    *entry = (struct record_key){found->user_id, found->token_id,
                                 is_present ? 0 : keys->keys.old_until_unix_s};
    return STORE_OK;
}

/* An old key's end is in the token's row only. */
static void put_key(struct store_txn *txn, const unsigned char hash[static SEAL_HASH_LEN],
                    const struct record_key *entry)
{
    if (entry->until_unix_s != 0)
        return;
    struct group_row *found = group_find(group_of(txn), SET_KEYS, hash, SEAL_HASH_LEN);
    struct group_row *row = group_find_token(group_of(txn), entry->user_id, entry->token_id);
    if (row)
        memcpy(row->keys.hash, hash, SEAL_HASH_LEN);
    if (found) {
        found->exists = true;
        found->user_id = entry->user_id;
        found->token_id = entry->token_id;
    }
    group_send(group_of(txn), SQL_ADD_KEY,
               pg_int(pg_int(pg_bytes(PG_PARAMETERS, hash, SEAL_HASH_LEN), entry->user_id),
                      entry->token_id));
}

static void delete_key(struct store_txn *txn, const unsigned char hash[static SEAL_HASH_LEN])
{
    struct group_row *found = group_find(group_of(txn), SET_KEYS, hash, SEAL_HASH_LEN);
    if (found)
        found->exists = false;
    group_send(group_of(txn), SQL_DELETE_KEY, pg_bytes(PG_PARAMETERS, hash, SEAL_HASH_LEN));
}

/* ---- reservations and gateways ---- */

static enum store_error get_reservation(struct store_txn *txn, int64_t id,
                                        struct record_reservation *reservation)
{
    const struct group_row *found = group_find_id(group_of(txn), SET_FOUND, id), *row = NULL;
    if (found && found->exists)
        row = group_find_reservation(group_of(txn), found->user_id, id);
    if (!row || !row->exists)
        return STORE_NOT_FOUND;
    *reservation = row->reservation;
    return STORE_OK;
}

/* A new one is not looked for in its group: nobody knows its id yet. */
static void put_reservation(struct store_txn *txn, int64_t id,
                            const struct record_reservation *reservation)
{
    struct group_row *row = group_find_reservation(group_of(txn), reservation->user_id, id);
    struct pg_parameters parameters = {.count = 0};
    if (row && row->exists) {
        row->reservation = *reservation;
        pg_int(pg_int(&parameters, reservation->user_id), id);
        pg_int(pg_int(&parameters, reservation->units.amount), reservation->units.shortfall);
        pg_bool(pg_int(&parameters, reservation->remain_quota), reservation->unlimited_quota);
        group_send(group_of(txn), SQL_END_RESERVATION, &parameters);
    } else {
        struct group_row *places = group_find_id(group_of(txn), SET_PLACES, reservation->user_id);
        if (places)
            places->places.count++;
        pg_bind_reservation(&parameters, id, reservation);
        group_send(group_of(txn), SQL_ADD_RESERVATION, &parameters);
    }
}

static void get_places(struct store_txn *txn, int64_t user_id, struct store_places *places)
{
    const struct group_row *row = group_find_id(group_of(txn), SET_PLACES, user_id);
    if (row)
        *places = row->places;
}

static void drop_reservation(struct store_txn *txn, int64_t user_id)
{
    struct group *group = group_of(txn);
    struct group_row *row = group_find_id(group, SET_PLACES, user_id);
    row->places.count--;
    row->places.ended_count--;
    group_send(group, SQL_DROP_RESERVATION, pg_int(pg_int(PG_PARAMETERS, user_id), group->now_s));
}

static void add_gateway(struct store_txn *txn, int64_t id, const struct record_gateway *gateway)
{
    struct pg_parameters parameters = {.count = 0};
    pg_int(pg_text(pg_int(&parameters, id), gateway->name), gateway->created_unix_s);
    pg_bytes(&parameters, gateway->secret_hash, sizeof(gateway->secret_hash));
    group_send(group_of(txn), SQL_ADD_GATEWAY, &parameters);
}

static enum store_error delete_gateway(struct store_txn *txn, int64_t id)
{
    struct group_row *row = group_find_id(group_of(txn), SET_GATEWAYS, id);
    if (!row || !row->exists)
        return STORE_NOT_FOUND;
    row->exists = false;
    group_send(group_of(txn), SQL_DELETE_GATEWAY, pg_int(PG_PARAMETERS, id));
    return STORE_OK;
}

/* ---- answers ---- */

static enum store_error get_answer(struct store_txn *txn,
                                   const unsigned char key_hash[static STORE_HASH_LEN],
                                   struct record_answer *answer)
{
    const struct group_row *row = group_find(group_of(txn), SET_ANSWERS, key_hash, STORE_HASH_LEN);
    if (!row || !row->exists)
        return STORE_NOT_FOUND;
    *answer = row->answer;
    return STORE_OK;
}

static void put_answer(struct store_txn *txn, const unsigned char key_hash[static STORE_HASH_LEN],
                       const struct record_answer *answer)
{
    struct group *group = group_of(txn);
    struct group_row *row = group_find(group, SET_ANSWERS, key_hash, STORE_HASH_LEN);
    struct group_row *kept = group_find_id(group, SET_KEPT, answer->user_id);
    struct span sealed = answer->sealed;
    char *copy = malloc(sealed.len);
    struct pg_parameters parameters = {.count = 0};
    if (!copy) {
        store_txn_fail(txn, STORE_UNAVAILABLE);
        return;
    }
    pg_int(pg_bytes(&parameters, key_hash, STORE_HASH_LEN), answer->user_id);
    pg_bytes(pg_int(&parameters, answer->created_s), answer->request_hash, STORE_HASH_LEN);
    /* Not an upsert: of two groups with one key the second has to fail. */
    group_send(group, SQL_ADD_ANSWER, pg_text(&parameters, sealed));
    row->exists = row->is_new = true;
    row->answer = *answer;
    row->answer.sealed.at = memcpy(copy, sealed.at, sealed.len);
    if (kept) {
        kept->kept.oldest_s = kept->kept.count++ ? kept->kept.oldest_s : answer->created_s;
        kept->answer_count++;
        kept->kept.len += sealed.len - SEAL_OVERHEAD_LEN;
    }
}

static void delete_answer(struct store_txn *txn,
                          const unsigned char key_hash[static STORE_HASH_LEN],
                          const struct record_answer *answer)
{
    (void)answer;
    group_find(group_of(txn), SET_ANSWERS, key_hash, STORE_HASH_LEN)->exists = false;
    group_send(group_of(txn), SQL_DELETE_ANSWER, pg_bytes(PG_PARAMETERS, key_hash, STORE_HASH_LEN));
}

static void get_kept(struct store_txn *txn, int64_t user_id, struct store_kept *kept)
{
    const struct group_row *row = group_find_id(group_of(txn), SET_KEPT, user_id);
    if (row)
        *kept = row->kept;
}

static enum store_error forget(struct store_txn *txn, struct store_write *write)
{
    struct group *group = group_of(txn);
    struct group_row *kept = group_find_id(group, SET_KEPT, write->user_id);
    struct group_set *answers = &group->sets[SET_ANSWERS];
    write->step.count += kept->answer_count;
    write->step.more = false;
    kept->kept = (struct store_kept){0, 0, 0};
    kept->answer_count = 0;
    for (size_t i = 0; i < answers->count; i++)
        answers->rows[i].exists &= answers->rows[i].answer.user_id != write->user_id;
    group_send(group, SQL_FORGET_ANSWERS, pg_int(PG_PARAMETERS, write->user_id));
    return txn->error;
}

/* Purges the rows of a time up to the end of what is expired, but of a short time only: others wait
 * for it. Returns whether others are left. */
static bool purge_step(struct group *group, enum statement statement, int64_t oldest_s)
{
    enum { STEP_S = 600 };
    int64_t end_s = group->now_s - STORE_IDEMPOTENCY_S;
    if (oldest_s == 0 || oldest_s > end_s)
        return false;
    bool more = oldest_s + STEP_S < end_s;
    group_send(group, statement, pg_int(PG_PARAMETERS, more ? oldest_s + STEP_S : end_s));
    return more;
}

static enum store_error purge(struct store_txn *txn, struct store_write *write)
{
    struct group *group = group_of(txn);
    bool more = purge_step(group, SQL_PURGE_RESERVATIONS, group->oldest_due_s);
    more |= purge_step(group, SQL_PURGE_ANSWERS, group->oldest_answer_s);
    group_send(group, SQL_PURGE_COMMITS, PG_PARAMETERS);
    write->step.more = more;
    return txn->error;
}

const struct store_rows group_rows = {
    .now_s = now_s,
    .take_id = take_id,
    .get_user = get_user,
    .put_user = put_user,
    .delete_user = delete_user,
    .find_user = find_user,
    .index_user = index_user,
    .unindex_user = unindex_user,
    .get_token = get_token,
    .put_token = put_token,
    .add_token = add_token,
    .delete_token = delete_token,
    .first_token = first_token,
    .count_tokens = count_tokens,
    .get_key = get_key,
    .put_key = put_key,
    .delete_key = delete_key,
    .get_reservation = get_reservation,
    .put_reservation = put_reservation,
    .get_places = get_places,
    .drop_reservation = drop_reservation,
    .add_gateway = add_gateway,
    .delete_gateway = delete_gateway,
    .get_answer = get_answer,
    .put_answer = put_answer,
    .delete_answer = delete_answer,
    .get_kept = get_kept,
    .purge = purge,
    .forget = forget,
};
