/* The rows of a group, for the kinds of writes (store/txn.h). */

#include "store/postgresql/group.h"

/* ---- time and ids ---- */

static int64_t now_s(struct store_txn *txn)
{
    return ((struct group *)txn)->meta.now_s;
}

static int64_t now_ns(struct store_txn *txn)
{
    return ((struct group *)txn)->meta.now_ns;
}

static int64_t wall_s(struct store_txn *txn, const struct store_write *write)
{
    (void)write; /* workers' clocks differ */
    return now_s(txn);
}

static enum store_error take_id(struct store_txn *txn, enum store_ids kind, int64_t *id)
{
    const struct pg_ids *ids = &((struct group *)txn)->connection->store->ids[kind];
    if ((size_t)txn->ids[kind] >= ids->count)
        return store_txn_fail(txn, STORE_CORRUPT); /* the sequence gave fewer */
    *id = ids->at[txn->ids[kind]++];
    return STORE_OK;
}

/* ---- users ---- */

static enum store_error get_user(struct store_txn *txn, int64_t id, struct record_user *user)
{
    const struct group_row *row = group_find(txn, PG_USERS, PG_ROW(.user_id = id));
    *user = row->row.user;
    return row->exists ? STORE_OK : STORE_NOT_FOUND;
}

static void put_user(struct store_txn *txn, int64_t id, const struct record_user *user)
{
    struct pg_row row = {.user_id = id, .user = *user};
    row.count = group_find(txn, PG_USERS, &row)->row.count;
    group_put(txn, PG_USERS, &row);
}

static void delete_user(struct store_txn *txn, int64_t id)
{
    struct group *group = (struct group *)txn;
    group_delete(txn, PG_USERS, PG_ROW(.user_id = id));
    group_send(group, PG_DELETE_GRANTS_OF, pg_int(PG_PARAMETERS, id));
    group_send(group, PG_DELETE_USAGE_OF, pg_int(PG_PARAMETERS, id));
}

static enum store_error find_user(struct store_txn *txn, struct span name, int64_t *id)
{
    char folded[STORE_USER_NAME_LEN_MAX];
    struct pg_row key = group_named(name, folded);
    const struct group_row *row = group_find(txn, PG_NAMES, &key);
    *id = row->row.user_id;
    return row->exists ? STORE_OK : STORE_NOT_FOUND;
}

static void index_user(struct store_txn *txn, int64_t id, const struct record_user *user)
{
    char folded[STORE_USER_NAME_LEN_MAX];
    struct pg_row name = group_named(user->name, folded),
                  access = group_hashed(user->access_hash, PG_LOOK_UP_LEN);
    name.user_id = access.user_id = id;
    group_put(txn, PG_NAMES, &name);
    if (record_user_has_access(user))
        group_put(txn, PG_ACCESS, &access);
}

static void unindex_user(struct store_txn *txn, const struct record_user *user)
{
    char folded[STORE_USER_NAME_LEN_MAX];
    struct pg_row name = group_named(user->name, folded),
                  access = group_hashed(user->access_hash, PG_LOOK_UP_LEN);
    group_delete(txn, PG_NAMES, &name);
    if (record_user_has_access(user))
        group_delete(txn, PG_ACCESS, &access);
}

/* ---- tokens ---- */

static enum store_error get_token(struct store_txn *txn, int64_t user_id, int64_t token_id,
                                  struct token *token, struct record_keys *keys)
{
    const struct group_row *row =
        group_find(txn, PG_TOKENS, PG_ROW(.user_id = user_id, .id = token_id));
    *token = row->row.token;
    token->user_id = user_id;
    token->id = token_id;
    *keys = row->row.keys;
    return row->exists ? STORE_OK : STORE_NOT_FOUND;
}

/* put_key stores the hash of a new key. */
static void put_token(struct store_txn *txn, const struct token *token,
                      const struct record_keys *keys)
{
    struct pg_row row = {
        .user_id = token->user_id, .id = token->id, .token = *token, .keys = *keys};
    memcpy(row.hash, group_find(txn, PG_TOKENS, &row)->row.hash, sizeof(row.hash));
    group_put(txn, PG_TOKENS, &row);
}

static void add_count(struct store_txn *txn, int64_t user_id, int difference)
{
    struct pg_row row = group_find(txn, PG_USERS, PG_ROW(.user_id = user_id))->row;
    row.count += difference;
    group_put(txn, PG_USERS, &row);
}

static void add_token(struct store_txn *txn, const struct token *token,
                      const struct record_keys *keys)
{
    put_token(txn, token, keys);
    add_count(txn, token->user_id, 1);
}

static void delete_token(struct store_txn *txn, int64_t user_id, int64_t token_id)
{
    group_delete(txn, PG_TOKENS, PG_ROW(.user_id = user_id, .id = token_id));
    add_count(txn, user_id, -1);
}

/* Of those that were fetched for it. */
static enum store_error first_token(struct store_txn *txn, int64_t user_id, int64_t *token_id)
{
    const struct group_row *row = ((struct group *)txn)->tokens;
    while (row && (!row->exists || row->row.user_id != user_id))
        row = row->next;
    *token_id = row ? row->row.id : 0;
    return row ? STORE_OK : STORE_NOT_FOUND;
}

static void follow_owner(struct store_txn *txn, int64_t user_id, struct span group)
{
    group_send((struct group *)txn, PG_FOLLOW_OWNER,
               pg_span(pg_int(PG_PARAMETERS, user_id), group));
    for (struct group_row *row = ((struct group *)txn)->tokens; row; row = row->next) {
        struct token *token = &row->row.token;
        if (row->row.user_id == user_id && token->group_is_old && span_equal(token->group, group))
            token->group = SPAN("");
    }
}

static uint64_t count_tokens(struct store_txn *txn, int64_t user_id)
{
    return (uint64_t)group_find(txn, PG_USERS, PG_ROW(.user_id = user_id))->row.count;
}

/* The token says itself which keys it has: one may have been replaced since it was looked up. */
static enum store_error get_key(struct store_txn *txn,
                                const unsigned char hash[static SEAL_HASH_LEN],
                                struct record_key *entry)
{
    struct pg_connection *connection = ((struct group *)txn)->connection;
    struct pg_known *known = pg_known(connection->store->known, hash);
    const struct pg_row key = group_hashed(hash, SEAL_HASH_LEN);
    const struct seal_secret *secrets[SEAL_SECRETS_MAX];
    const struct group_row *found = group_find(txn, PG_KEYS, &key);
    if (!found->exists)
        found = group_find(txn, PG_OLD_KEYS, &key);
    int64_t user_id = found->row.user_id, token_id = found->row.token_id;
    const struct group_row *row =
        group_find(txn, PG_TOKENS, PG_ROW(.user_id = user_id, .id = token_id));
    *entry = (struct record_key){user_id, token_id, 0};
    if (found->exists && row->exists && pg_has_key(&row->row, hash, &entry->until_unix_s)) {
        *known = (struct pg_known){.user_id = user_id, .token_id = token_id};
        memcpy(known->hash, hash, SEAL_HASH_LEN);
        return STORE_OK;
    }
    if (!found->exists || (!found->remembered && seal_list(txn->seal, secrets) == 1))
        return STORE_NOT_FOUND;
    memset(connection->store->known, 0, sizeof(connection->store->known)); /* look them up then */
    connection->repeat = true;
    return store_txn_fail(txn, STORE_UNAVAILABLE);
}

/* An old key's end is in the token's row only; the entry is there since it was the present one. */
static void put_key(struct store_txn *txn, const unsigned char hash[static SEAL_HASH_LEN],
                    const struct record_key *entry)
{
    struct pg_row key = group_hashed(hash, SEAL_HASH_LEN), row;
    key.user_id = entry->user_id;
    key.token_id = entry->token_id;
    row = group_find(txn, PG_TOKENS, PG_ROW(.user_id = key.user_id, .id = key.token_id))->row;
    if (entry->until_unix_s != 0 && memcmp(row.hash, hash, SEAL_HASH_LEN) == 0)
        return;
    group_put(txn, PG_KEYS, &key);
    if (entry->until_unix_s != 0)
        return;
    memcpy(row.hash, hash, SEAL_HASH_LEN);
    group_put(txn, PG_TOKENS, &row);
}

static void delete_key(struct store_txn *txn, const unsigned char hash[static SEAL_HASH_LEN])
{
    const struct pg_row key = group_hashed(hash, SEAL_HASH_LEN);
    group_delete(txn, PG_KEYS, &key);
}

/* ---- reservations and gateways ---- */

static enum store_error get_reservation(struct store_txn *txn, int64_t id,
                                        struct record_reservation *reservation)
{
    int64_t user_id = group_find(txn, PG_FOUND, PG_ROW(.id = id))->row.user_id;
    const struct group_row *row =
        group_find(txn, PG_RESERVATIONS, PG_ROW(.user_id = user_id, .id = id));
    *reservation = row->row.reservation;
    reservation->user_id = user_id;
    return row->exists ? STORE_OK : STORE_NOT_FOUND;
}

/* One that was made or has ended, in what is open of its token. */
static void count_change(struct store_txn *txn, const struct record_reservation *reservation)
{
    struct group_row *open = group_find(
        txn, PG_OPEN, PG_ROW(.user_id = reservation->user_id, .token_id = reservation->token_id));
    int64_t due_s = reservation->due_s;
    if (!open->exists || due_s <= now_s(txn))
        return;
    if (reservation->ended)
        open->row.count--;
    else if (open->row.count++ == 0 || due_s < open->row.due_s)
        open->row.due_s = due_s;
}

/* A new one is not looked for in its group: nobody knows its id yet. */
static void put_reservation(struct store_txn *txn, int64_t id,
                            const struct record_reservation *reservation)
{
    int64_t user_id = reservation->user_id;
    const struct pg_row *row = PG_ROW(.user_id = user_id, .id = id, .reservation = *reservation);
    if (!reservation->ended)
        group_find(txn, PG_PLACES, row)->row.places.count++;
    group_put(txn, PG_RESERVATIONS, row);
    count_change(txn, reservation);
}

static uint64_t count_open(struct store_txn *txn, int64_t user_id, int64_t token_id, uint64_t max,
                           int64_t *due_s)
{
    const struct pg_row *open =
        &group_find(txn, PG_OPEN, PG_ROW(.user_id = user_id, .token_id = token_id))->row;
    uint64_t count = (uint64_t)open->count;
    *due_s = open->due_s;
    return count < max ? count : max;
}

static void get_places(struct store_txn *txn, int64_t user_id, struct store_places *places)
{
    *places = group_find(txn, PG_PLACES, PG_ROW(.user_id = user_id))->row.places;
}

static void drop_reservation(struct store_txn *txn, int64_t user_id)
{
    struct store_places *places =
        &group_find(txn, PG_PLACES, PG_ROW(.user_id = user_id))->row.places;
    places->count--;
    places->ended_count--;
    group_send((struct group *)txn, PG_DROP_RESERVATION, pg_int(PG_PARAMETERS, user_id));
}

static void add_gateway(struct store_txn *txn, int64_t id, const struct record_gateway *gateway)
{
    group_put(txn, PG_GATEWAYS, PG_ROW(.id = id, .gateway = *gateway));
}

static enum store_error delete_gateway(struct store_txn *txn, int64_t id)
{
    if (!group_find(txn, PG_GATEWAYS, PG_ROW(.id = id))->exists)
        return STORE_NOT_FOUND;
    group_delete(txn, PG_GATEWAYS, PG_ROW(.id = id));
    return STORE_OK;
}

/* ---- answers ---- */

static enum store_error get_answer(struct store_txn *txn,
                                   const unsigned char key_hash[static STORE_HASH_LEN],
                                   struct record_answer *answer)
{
    const struct pg_row key = group_hashed(key_hash, STORE_HASH_LEN);
    const struct group_row *row = group_find(txn, PG_IDEMPOTENCY, &key);
    *answer = row->row.answer;
    return row->exists ? STORE_OK : STORE_NOT_FOUND;
}

static void put_answer(struct store_txn *txn, const unsigned char key_hash[static STORE_HASH_LEN],
                       const struct record_answer *answer)
{
    struct pg_row row = group_hashed(key_hash, STORE_HASH_LEN);
    struct group_row *found = group_find(txn, PG_KEPT, PG_ROW(.user_id = answer->user_id));
    struct store_kept *kept = &found->row.kept;
    row.answer = *answer;
    group_put(txn, PG_IDEMPOTENCY, &row);
    if (!found->exists)
        return;
    kept->oldest_s = kept->count++ ? kept->oldest_s : answer->created_s;
    kept->len += answer->sealed.len - SEAL_OVERHEAD_LEN;
}

static void delete_answer(struct store_txn *txn,
                          const unsigned char key_hash[static STORE_HASH_LEN],
                          const struct record_answer *answer)
{
    const struct pg_row key = group_hashed(key_hash, STORE_HASH_LEN);
    (void)answer; /* KEPT does not count what has expired */
    group_delete(txn, PG_IDEMPOTENCY, &key);
}

static void get_kept(struct store_txn *txn, int64_t user_id, struct store_kept *kept)
{
    *kept = group_find(txn, PG_KEPT, PG_ROW(.user_id = user_id))->row.kept;
}

/* It has been done when the group was fetched. */
static enum store_error purge(struct store_txn *txn, struct store_write *write)
{
    (void)write;
    return txn->error;
}

static enum store_error forget(struct store_txn *txn, struct store_write *write)
{
    uint64_t max = write->step.max,
             count =
                 (uint64_t)group_find(txn, PG_KEPT, PG_ROW(.user_id = write->user_id))->row.count;
    group_send((struct group *)txn, PG_FORGET,
               pg_int(pg_int(PG_PARAMETERS, write->user_id), (int64_t)max));
    write->step.more = count > max;
    write->step.count = count < max ? count : max;
    return txn->error;
}

static int64_t generation(struct store_txn *txn)
{
    return ((struct group *)txn)->meta.secret_generation;
}

static void put_rotation(struct store_txn *txn, const struct seal_rotation *rotation)
{
    struct pg_parameters *parameters =
        pg_int(pg_int(PG_PARAMETERS, rotation->generation), rotation->phase);
    pg_span(parameters, (struct span){(const char *)rotation->check, SEAL_CHECK_LEN});
    pg_span(parameters, (struct span){(const char *)rotation->next_check, SEAL_CHECK_LEN});
    group_send((struct group *)txn, PG_PUT_ROTATION, parameters);
}

/* ---- imports ---- */

static void raise_id(struct store_txn *txn, enum store_ids kind, int64_t next)
{
    int64_t *raised = &((struct group *)txn)->raised[kind];
    *raised = *raised < next ? next : *raised;
}

static void note_foreign_keys(struct store_txn *txn)
{
    group_send((struct group *)txn, PG_NOTE_FOREIGN_KEYS, PG_PARAMETERS);
}

static enum store_error find_access(struct store_txn *txn,
                                    const unsigned char hash[static SEAL_CREDENTIAL_HASH_LEN],
                                    int64_t *id)
{
    const struct pg_row key = group_hashed(hash, PG_LOOK_UP_LEN);
    const struct group_row *row = group_find(txn, PG_ACCESS, &key);
    *id = row->row.user_id;
    return row->exists ? STORE_OK : STORE_NOT_FOUND;
}

static bool has_gateway(struct store_txn *txn, int64_t id)
{
    return group_find(txn, PG_GATEWAYS, PG_ROW(.id = id))->exists;
}

/* take_room is absent: the server says when its disk is full. */
const struct store_rows group_rows = {.now_s = now_s,
                                      .now_ns = now_ns,
                                      .wall_s = wall_s,
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
                                      .follow_owner = follow_owner,
                                      .get_key = get_key,
                                      .put_key = put_key,
                                      .delete_key = delete_key,
                                      .get_reservation = get_reservation,
                                      .put_reservation = put_reservation,
                                      .get_places = get_places,
                                      .drop_reservation = drop_reservation,
                                      .count_open = count_open,
                                      .add_gateway = add_gateway,
                                      .delete_gateway = delete_gateway,
                                      .get_answer = get_answer,
                                      .put_answer = put_answer,
                                      .delete_answer = delete_answer,
                                      .get_kept = get_kept,
                                      .purge = purge,
                                      .forget = forget,
                                      .generation = generation,
                                      .put_rotation = put_rotation,
                                      .note_foreign_keys = note_foreign_keys,
                                      .raise_id = raise_id,
                                      .find_access = find_access,
                                      .has_gateway = has_gateway,
#define GROUP_ROWS_MEMBER(name) .name = group_rows_##name,
                                      GROUP_ROWS(GROUP_ROWS_MEMBER)};
