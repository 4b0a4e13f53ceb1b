/* What writes need: the rows that a group fetches for them. */

#include "store/postgresql/group.h"

void group_need_user(struct group *group, int64_t id, bool locked)
{
    struct group_row *row = group_append(group, SET_USERS, group_ids(id, 0).at, 8);
    if (row)
        row->locked = locked;
}

void group_need_tokens(struct group *group, int64_t user_id, const int64_t *ids, size_t count)
{
    for (size_t i = 0; i < count; i++)
        group_append(group, SET_TOKENS, group_ids(user_id, ids[i]).at, 16);
}

static void need_name(struct group *group, struct span name)
{
    char folded[STORE_USER_NAME_LEN_MAX];
    if (name.at && pg_fold_name(name, folded))
        group_append(group, SET_NAMES, folded, name.len);
}

static void need_key(struct group *group, const struct store_write *write)
{
    unsigned char hash[SEAL_HASH_LEN];
    seal_hash_key(group->txn.seal, write->spend.key, hash);
    struct group_row *row = group_append(group, SET_KEYS, hash, sizeof(hash));
    if (row)
        row->all = write->spend.ttl_s > 0;
    group->ids_needed[STORE_IDS_RESERVATION] += write->spend.ttl_s > 0;
}

static void need_accounts(struct group *group, const struct store_write *write)
{
    switch (write->kind) {
    case STORE_USER_ADD:
        need_name(group, span_of(write->user_add.user->name));
        group->ids_needed[STORE_IDS_USER]++;
        break;
    case STORE_USER_CHANGE:
        group_need_user(group, write->user_id, true);
        need_name(group, write->user_change.name);
        break;
    case STORE_USER_DELETE:
        group_need_user(group, write->user_id, true);
        break;
    case STORE_FORGET:
        group_need_user(group, write->user_id, false);
        group_append(group, SET_KEPT, group_ids(write->user_id, 0).at, 8);
        break;
    case STORE_GATEWAY_ADD:
        group->ids_needed[STORE_IDS_GATEWAY]++;
        break;
    case STORE_GATEWAY_DELETE:
        group_append(group, SET_GATEWAYS, group_ids(write->gateway_delete.gateway_id, 0).at, 8);
        break;
    default:
        group->purge |= write->kind == STORE_PURGE;
    }
}

void group_need(struct group *group, const struct store_write *write)
{
    bool counted = write->kind == STORE_CREATE || write->kind == STORE_DELETE;
    if (write->kind <= STORE_ROTATE)
        group_need_user(group, write->user_id, counted);
    if (write->kind == STORE_CREATE)
        group->ids_needed[STORE_IDS_TOKEN] += write->create.count;
    else if (write->kind == STORE_UPDATE)
        group_need_tokens(group, write->user_id, &write->update.token_id, 1);
    else if (write->kind == STORE_ROTATE)
        group_need_tokens(group, write->user_id, &write->rotate.token_id, 1);
    else if (write->kind == STORE_SET_STATUS)
        group_need_tokens(group, write->user_id, write->set_status.ids, write->set_status.id_count);
    else if (write->kind == STORE_DELETE)
        group_need_tokens(group, write->user_id, write->delete.ids, write->delete.id_count);
    else if (write->kind == STORE_SPEND)
        need_key(group, write);
    else if (write->kind == STORE_SETTLE)
        group_append(group, SET_FOUND, group_ids(write->settle.reservation_id, 0).at, 8);
    else if (write->kind == STORE_ACCESS)
        for (size_t i = 0; i < write->access.count; i++)
            group_need_tokens(group, write->access.times[i].user_id,
                              &write->access.times[i].token_id, 1);
    else
        need_accounts(group, write);
    if (write->idempotency.wanted)
        group_append(group, SET_ANSWERS, write->idempotency.key_hash, STORE_HASH_LEN);
    if (write->idempotency.wanted && write->idempotency.user_id != 0)
        group_append(group, SET_KEPT, group_ids(write->idempotency.user_id, 0).at, 8);
}
