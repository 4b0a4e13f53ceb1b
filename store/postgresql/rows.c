/* The rows of a group, for the kinds of writes (store/txn.h). */

#include "base/text.h"
#include "store/postgresql/group.h"

/* A row by a hash, which is shorter in some tables. */
static struct pg_row hashed(const unsigned char *hash, size_t len)
{
    struct pg_row row = {.id = 0};
    memcpy(row.hash, hash, len);
    return row;
}

/* The same by a user's name, which was checked. */
static struct pg_row named(struct span name, char folded[static STORE_USER_NAME_LEN_MAX])
{
    text_fold(name, folded);
    return (struct pg_row){.name = {folded, name.len}};
}

/* ---- what a write needs ---- */

static void need_tokens(struct group *group, int64_t user_id, const int64_t *ids, size_t count)
{
    for (size_t i = 0; i < count; i++)
        group_need(group, PG_TOKENS, PG_ROW(.user_id = user_id, .id = ids[i]), true);
}

static void need_name(struct group *group, struct span name)
{
    char folded[STORE_USER_NAME_LEN_MAX];
    struct pg_row row = named(name, folded);
    if (name.at)
        group_need(group, PG_NAMES, &row, true);
}

void group_need_found(struct group *group, const struct group_row *found)
{
    int64_t user_id = found->row.user_id;
    group_need(group, PG_USERS, PG_ROW(.user_id = user_id), false);
    need_tokens(group, user_id, &found->row.token_id, 1);
    if (found->table == PG_FOUND)
        group_need(group, PG_RESERVATIONS, PG_ROW(.user_id = user_id, .id = found->row.id), true);
    if (found->reserves)
        group_need(group, PG_PLACES, PG_ROW(.user_id = user_id), false);
}

/* Whose the key is may be known since an earlier group. */
static void need_hash(struct group *group, const struct store_write *write,
                      const struct seal_secret *secret, enum pg_table table)
{
    unsigned char hash[SEAL_HASH_LEN];
    seal_hash_key_with(secret, write->spend.key, hash);
    const struct pg_known *known = pg_known(group->connection->store->known, hash);
    struct pg_row key = hashed(hash, sizeof(hash));
    struct group_row *row = group_need(group, table, &key, false);
    if (!row)
        return;
    row->reserves |= write->spend.ttl_s > 0;
    row->remembered = memcmp(known->hash, hash, sizeof(hash)) == 0;
    row->wanted = !row->remembered;
    group->looks_up |= row->wanted;
    if (row->wanted)
        return;
    row->stored = row->exists = true;
    row->row.user_id = known->user_id;
    row->row.token_id = known->token_id;
    group_need_found(group, row);
}

/* In the order of seal_list, a statement each. */
static void need_key(struct group *group, const struct store_write *write)
{
    const struct seal_secret *secrets[SEAL_SECRETS_MAX];
    unsigned count = seal_list(group->txn.seal, secrets);
    for (unsigned i = 0; i < count; i++)
        need_hash(group, write, secrets[i], i + 1 < count ? PG_OLD_KEYS : PG_KEYS);
    group->ids_needed[STORE_IDS_RESERVATION] += write->spend.ttl_s > 0;
}

void group_need_write(struct group *group, const struct store_write *write)
{
    const struct store_idempotency *idempotency = &write->idempotency;
    int64_t user_id = write->user_id;
    enum store_write_kind kind = write->kind;
    size_t *ids = group->ids_needed;
    ids[STORE_IDS_USER] += kind == STORE_USER_ADD;
    ids[STORE_IDS_TOKEN] += kind == STORE_CREATE ? write->create.count : 0;
    ids[STORE_IDS_GATEWAY] += kind == STORE_GATEWAY_ADD;
    if (user_id != 0)
        group_need(group, PG_USERS, PG_ROW(.user_id = user_id),
                   kind == STORE_CREATE || kind == STORE_DELETE || kind >= STORE_USER_ADD);
    if (kind == STORE_UPDATE)
        need_tokens(group, user_id, &write->update.token_id, 1);
    else if (kind == STORE_ROTATE)
        need_tokens(group, user_id, &write->rotate.token_id, 1);
    else if (kind == STORE_SET_STATUS)
        need_tokens(group, user_id, write->set_status.ids, write->set_status.id_count);
    else if (kind == STORE_DELETE)
        need_tokens(group, user_id, write->delete.ids, write->delete.id_count);
    else if (kind == STORE_SPEND)
        need_key(group, write);
    else if (kind == STORE_SETTLE)
        group_need(group, PG_FOUND, PG_ROW(.id = write->settle.reservation_id), false);
    else if (kind == STORE_USER_ADD)
        need_name(group, span_of(write->user_add.user->name));
    else if (kind == STORE_USER_CHANGE)
        need_name(group, write->user_change.name);
    else if (kind == STORE_GATEWAY_DELETE)
        group_need(group, PG_GATEWAYS, PG_ROW(.id = write->gateway_delete.gateway_id), true);
    for (size_t i = 0; kind == STORE_RESEAL && i < write->reseal.count; i++) {
        const struct store_sealed *item = &write->reseal.items[i];
        const struct pg_row answer = hashed(item->hash, STORE_HASH_LEN);
        if (item->is_answer)
            group_need(group, PG_IDEMPOTENCY, &answer, true);
        else
            need_tokens(group, item->user_id, &item->token_id, 1);
    }
    for (size_t i = 0; kind == STORE_ACCESS && i < write->access.count; i++)
        need_tokens(group, write->access.times[i].user_id, &write->access.times[i].token_id, 1);
    group->looks_up |= kind == STORE_SETTLE;
    if (idempotency->wanted) {
        struct pg_row key = hashed(idempotency->key_hash, STORE_HASH_LEN);
        group_need(group, PG_IDEMPOTENCY, &key, true);
    }
    if (idempotency->wanted && idempotency->user_id != 0)
        group_need(group, PG_KEPT, PG_ROW(.user_id = idempotency->user_id), false);
    if (kind == STORE_FORGET)
        group_need(group, PG_KEPT, PG_ROW(.user_id = user_id), false);
}

static void need_import_key(struct group *group, const unsigned char hash[static SEAL_HASH_LEN])
{
    const struct pg_row key = hashed(hash, SEAL_HASH_LEN);
    group_need(group, PG_KEYS, &key, false);
}

void group_need_row(struct group *group, const struct store_row *row)
{
    unsigned char hash[SEAL_HASH_LEN];
    if (row->kind == STORE_ROW_USER) {
        const struct pg_row access = hashed(row->user.access_hash, PG_LOOK_UP_LEN);
        group_need(group, PG_USERS, PG_ROW(.user_id = row->id), false);
        if (record_user_has_access(&row->user))
            group_need(group, PG_ACCESS, &access, false);
        need_name(group, row->user.name);
    } else if (row->kind == STORE_ROW_TOKEN) {
        seal_hash_key(group->txn.seal, row->token.key, hash);
        need_import_key(group, hash);
        if (row->keys.has_old)
            need_import_key(group, row->keys.old_hash);
        group_need(group, PG_USERS, PG_ROW(.user_id = row->token.user_id), false);
    } else if (row->kind == STORE_ROW_GATEWAY) {
        group_need(group, PG_GATEWAYS, PG_ROW(.id = row->id), true);
    } else if (row->kind == STORE_ROW_RESERVATION) {
        group_need(group, PG_FOUND, PG_ROW(.id = row->id), false);
    }
}

/* ---- time and ids ---- */

static int64_t now_s(struct store_txn *txn)
{
    return ((struct group *)txn)->meta.now_s;
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
    group_delete(txn, PG_USERS, PG_ROW(.user_id = id));
}

static enum store_error find_user(struct store_txn *txn, struct span name, int64_t *id)
{
    char folded[STORE_USER_NAME_LEN_MAX];
    struct pg_row key = named(name, folded);
    const struct group_row *row = group_find(txn, PG_NAMES, &key);
    *id = row->row.user_id;
    return row->exists ? STORE_OK : STORE_NOT_FOUND;
}

static void index_user(struct store_txn *txn, int64_t id, const struct record_user *user)
{
    char folded[STORE_USER_NAME_LEN_MAX];
    struct pg_row name = named(user->name, folded),
                  access = hashed(user->access_hash, PG_LOOK_UP_LEN);
    name.user_id = access.user_id = id;
    group_put(txn, PG_NAMES, &name);
    if (record_user_has_access(user))
        group_put(txn, PG_ACCESS, &access);
}

static void unindex_user(struct store_txn *txn, const struct record_user *user)
{
    char folded[STORE_USER_NAME_LEN_MAX];
    struct pg_row name = named(user->name, folded),
                  access = hashed(user->access_hash, PG_LOOK_UP_LEN);
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
    const struct pg_row key = hashed(hash, SEAL_HASH_LEN);
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
    struct pg_row key = hashed(hash, SEAL_HASH_LEN), row;
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
    const struct pg_row key = hashed(hash, SEAL_HASH_LEN);
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

/* A new one is not looked for in its group: nobody knows its id yet. */
static void put_reservation(struct store_txn *txn, int64_t id,
                            const struct record_reservation *reservation)
{
    int64_t user_id = reservation->user_id;
    if (!reservation->ended)
        group_find(txn, PG_PLACES, PG_ROW(.user_id = user_id))->row.places.count++;
    group_put(txn, PG_RESERVATIONS,
              PG_ROW(.user_id = user_id, .id = id, .reservation = *reservation));
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
    const struct pg_row key = hashed(key_hash, STORE_HASH_LEN);
    const struct group_row *row = group_find(txn, PG_IDEMPOTENCY, &key);
    *answer = row->row.answer;
    return row->exists ? STORE_OK : STORE_NOT_FOUND;
}

static void put_answer(struct store_txn *txn, const unsigned char key_hash[static STORE_HASH_LEN],
                       const struct record_answer *answer)
{
    struct pg_row row = hashed(key_hash, STORE_HASH_LEN);
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
    const struct pg_row key = hashed(key_hash, STORE_HASH_LEN);
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
    const struct pg_row key = hashed(hash, PG_LOOK_UP_LEN);
    const struct group_row *row = group_find(txn, PG_ACCESS, &key);
    *id = row->row.user_id;
    return row->exists ? STORE_OK : STORE_NOT_FOUND;
}

static bool has_gateway(struct store_txn *txn, int64_t id)
{
    return group_find(txn, PG_GATEWAYS, PG_ROW(.id = id))->exists;
}

/* take_room is absent: the server says when its disk is full. */
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
    .put_rotation = put_rotation,
    .note_foreign_keys = note_foreign_keys,
    .raise_id = raise_id,
    .find_access = find_access,
    .has_gateway = has_gateway,
};
