/* Which rows the kinds of writes need. */

#include "store/postgresql/group.h"

static void need_tokens(struct group *group, int64_t user_id, const int64_t *ids, size_t count)
{
    for (size_t i = 0; i < count; i++)
        group_need(group, PG_TOKENS, PG_ROW(.user_id = user_id, .id = ids[i]), true);
}

static void need_name(struct group *group, struct span name)
{
    char folded[STORE_USER_NAME_LEN_MAX];
    struct pg_row row = group_named(name, folded);
    if (name.at)
        group_need(group, PG_NAMES, &row, true);
}

void group_need_found(struct group *group, const struct group_row *found)
{
    int64_t user_id = found->row.user_id;
    group_need(group, PG_USERS, PG_ROW(.user_id = user_id), true);
    need_tokens(group, user_id, &found->row.token_id, 1);
    if (found->table == PG_FOUND)
        group_need(group, PG_RESERVATIONS, PG_ROW(.user_id = user_id, .id = found->row.id), true);
    if (!found->reserves)
        return;
    group_need(group, PG_PLACES, PG_ROW(.user_id = user_id), false);
    group_need(group, PG_OPEN, PG_ROW(.user_id = user_id, .token_id = found->row.token_id), false);
}

/* Whose the key is may be known since an earlier group. */
static void need_hash(struct group *group, const struct store_write *write,
                      const struct seal_secret *secret, enum pg_table table)
{
    unsigned char hash[SEAL_HASH_LEN];
    seal_hash_key_with(secret, write->spend.key, hash);
    const struct pg_known *known = pg_known(group->connection->store->known, hash);
    struct pg_row key = group_hashed(hash, sizeof(hash));
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

static void need_answer(struct group *group, const unsigned char hash[static STORE_HASH_LEN])
{
    const struct pg_row answer = group_hashed(hash, STORE_HASH_LEN);
    group_need(group, PG_IDEMPOTENCY, &answer, true);
}

static void need_idempotency(struct group *group, const struct store_idempotency *idempotency)
{
    need_answer(group, idempotency->key_hash);
    if (idempotency->user_id != 0)
        group_need(group, PG_KEPT, PG_ROW(.user_id = idempotency->user_id), false);
}

static void need_sealed(struct group *group, const struct store_sealed *item)
{
    if (item->is_answer)
        need_answer(group, item->hash);
    else
        need_tokens(group, item->user_id, &item->token_id, 1);
}

void group_need_write(struct group *group, const struct store_write *write)
{
    int64_t user_id = write->user_id;
    enum store_write_kind kind = write->kind;
    size_t *ids = group->ids_needed;
    ids[STORE_IDS_USER] += kind == STORE_USER_ADD;
    ids[STORE_IDS_TOKEN] += kind == STORE_CREATE ? write->create.count : 0;
    ids[STORE_IDS_GATEWAY] += kind == STORE_GATEWAY_ADD;
    if (user_id != 0)
        group_need(group, PG_USERS, PG_ROW(.user_id = user_id),
                   kind == STORE_CREATE || kind == STORE_DELETE || kind >= STORE_USER_ADD);
    if (write->actor.kind == STORE_ACTOR_ADMIN)
        group_need(group, PG_USERS, PG_ROW(.user_id = write->actor.id), false);
    group->updates |= kind == STORE_UPDATE;
    group->wants_groups |= kind >= STORE_GROUP_PUT && kind <= STORE_GRANT;
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
    else if (kind == STORE_USER_CHANGE && write->user_change.patch.fields & STORE_USER_NAME)
        need_name(group, span_of(write->user_change.patch.value.name));
    else if (kind == STORE_GATEWAY_DELETE)
        group_need(group, PG_GATEWAYS, PG_ROW(.id = write->gateway_delete.gateway_id), true);
    else if (kind == STORE_FORGET)
        group_need(group, PG_KEPT, PG_ROW(.user_id = user_id), false);
    for (size_t i = 0; kind == STORE_RESEAL && i < write->reseal.count; i++)
        need_sealed(group, &write->reseal.items[i]);
    for (size_t i = 0; kind == STORE_ACCESS && i < write->access.count; i++)
        need_tokens(group, write->access.times[i].user_id, &write->access.times[i].token_id, 1);
    group->looks_up |= kind == STORE_SETTLE;
    if (write->idempotency.wanted)
        need_idempotency(group, &write->idempotency);
}

static void need_import_key(struct group *group, const unsigned char hash[static SEAL_HASH_LEN])
{
    const struct pg_row key = group_hashed(hash, SEAL_HASH_LEN);
    group_need(group, PG_KEYS, &key, false);
}

void group_need_row(struct group *group, const struct store_row *row)
{
    unsigned char hash[SEAL_HASH_LEN];
    if (row->kind == STORE_ROW_USER) {
        const struct pg_row access = group_hashed(row->user.access_hash, PG_LOOK_UP_LEN);
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
    } else if (row->kind == STORE_ROW_USAGE && row->usage.token_id != 0) {
        need_tokens(group, row->usage.user_id, &row->usage.token_id, 1);
    }
}
