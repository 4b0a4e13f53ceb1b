/* Rows that come from another store. */

#include <stdlib.h>

#include "store/txn.h"

static void refuse_user(struct store_txn *txn, struct store_import *import, int64_t id)
{
    size_t count = import->refused_count + 1;
    int64_t *grown = reallocarray(import->refused_users, count, sizeof(*grown));
    if (!grown) {
        store_txn_fail(txn, STORE_UNAVAILABLE);
        return;
    }
    import->refused_users = grown;
    grown[import->refused_count++] = id;
}

/* What the file says of a user who was refused would be stored with another one. */
static bool is_refused(const struct store_import *import, int64_t user_id)
{
    return import->refused_count > 0 &&
           bsearch(&user_id, import->refused_users, import->refused_count, sizeof(user_id),
                   store_compare_ids);
}

void store_shift_rates(struct token_rates *rates, int64_t difference_s)
{
    int64_t *const times[] = {&rates->requests_full_ns, &rates->units_full_ns};
    for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++)
        if (*times[i] != 0 &&
            __builtin_add_overflow(*times[i], difference_s * 1000000000, times[i]))
            *times[i] = 0;
}

/* The store's time may be another than the clock's. */
static int64_t clock_difference_s(struct store_txn *txn, const struct store_import *import)
{
    return txn->rows->now_s(txn) - import->now_unix_s;
}

static const char *import_user(struct store_txn *txn, const struct store_import *import,
                               struct store_row *row)
{
    struct record_user user;
    int64_t id;
    if (txn->rows->get_user(txn, row->id, &user) == STORE_OK)
        return "a user with this id exists";
    if (txn->rows->find_user(txn, row->user.name, &id) == STORE_OK)
        return "another user has this name";
    if (record_user_has_access(&row->user) &&
        txn->rows->find_access(txn, row->user.access_hash, &id) == STORE_OK)
        return "another user has this access token";
    row->user.account.used_quota = row->user.account.deleted_used_quota; /* tokens add theirs */
    store_shift_rates(&row->user.account.rates, clock_difference_s(txn, import));
    txn->rows->put_user(txn, row->id, &row->user);
    txn->rows->index_user(txn, row->id, &row->user);
    txn->rows->raise_id(txn, STORE_IDS_USER, row->id + 1);
    return NULL;
}

static const char *import_gateway(struct store_txn *txn, const struct store_row *row)
{
    if (txn->rows->has_gateway(txn, row->id))
        return "a gateway with this id exists";
    txn->rows->add_gateway(txn, row->id, &row->gateway);
    txn->rows->raise_id(txn, STORE_IDS_GATEWAY, row->id + 1);
    return NULL;
}

/* Of an import once. */
static void note_foreign_keys(struct store_txn *txn, struct store_import *import)
{
    if (!import->foreign_keys)
        txn->rows->note_foreign_keys(txn);
    import->foreign_keys = true;
}

/* Counts what the token has used as its owner's. A token of the owner's group follows it: earlier
 * versions stored the group by its name. */
static const char *add_to_owner(struct store_txn *txn, struct token *token)
{
    struct record_user owner;
    if (txn->rows->get_user(txn, token->user_id, &owner) != STORE_OK)
        return "its user is not in the store";
    if (__builtin_add_overflow(owner.account.used_quota, token->used_quota,
                               &owner.account.used_quota))
        return "its user's tokens have used more than 64 bits hold";
    if (span_equal(token->group, owner.group))
        token->group = SPAN("");
    if (token->used_quota != 0)
        txn->rows->put_user(txn, token->user_id, &owner);
    return NULL;
}

static const char *import_token(struct store_txn *txn, struct store_import *import,
                                struct store_row *row)
{
    struct token *token = &row->token;
    struct record_keys *keys = &row->keys;
    struct record_key entry = {.user_id = token->user_id, .token_id = token->id}, found;
    unsigned char hash[SEAL_HASH_LEN], sealed[SEAL_KEY_LEN_MAX], old_sealed[SEAL_KEY_LEN_MAX];
    seal_hash_key(txn->seal, token->key, hash);
    if (txn->rows->get_key(txn, hash, &found) == STORE_OK)
        return "another token has this key";
    if (keys->has_old && (memcmp(keys->old_hash, hash, SEAL_HASH_LEN) == 0 ||
                          txn->rows->get_key(txn, keys->old_hash, &found) == STORE_OK))
        return "another token has its old key";
    if (is_refused(import, token->user_id))
        return NULL;
    const char *refused = add_to_owner(txn, token);
    if (refused)
        return refused;
    store_shift_rates(&token->rates, clock_difference_s(txn, import));
    if (token_key_form(span_of(token->key)) != TOKEN_KEY_OWN)
        note_foreign_keys(txn, import);
    keys->sealed = seal_key(txn->seal, token->user_id, token->id, token->key, sealed);
    keys->old_sealed =
        keys->has_old && row->old_key[0]
            ? seal_key(txn->seal, token->user_id, token->id, row->old_key, old_sealed)
            : SPAN("");
    txn->rows->add_token(txn, token, keys);
    txn->rows->put_key(txn, hash, &entry);
    entry.until_unix_s = keys->old_until_unix_s;
    if (keys->has_old)
        txn->rows->put_key(txn, keys->old_hash, &entry);
    txn->rows->raise_id(txn, STORE_IDS_TOKEN, token->id + 1);
    return NULL;
}

static const char *import_reservation(struct store_txn *txn, const struct store_import *import,
                                      struct store_row *row)
{
    struct record_reservation found;
    int64_t difference_s = clock_difference_s(txn, import);
    if (txn->rows->get_reservation(txn, row->id, &found) == STORE_OK)
        return "a reservation with this id exists";
    if (is_refused(import, row->reservation.user_id))
        return NULL;
    row->reservation.created_s += difference_s;
    row->reservation.due_s += difference_s;
    txn->rows->put_reservation(txn, row->id, &row->reservation);
    txn->rows->raise_id(txn, STORE_IDS_RESERVATION, row->id + 1);
    return NULL;
}

static const char *import_usage(struct store_txn *txn, const struct store_import *import,
                                const struct store_row *row)
{
    int64_t user_id = row->usage.user_id, token_id = row->usage.token_id;
    struct token token;
    struct record_keys keys;
    if (is_refused(import, user_id))
        return NULL;
    if (token_id != 0 && txn->rows->get_token(txn, user_id, token_id, &token, &keys) != STORE_OK)
        return "its token is not in the store";
    txn->rows->add_usage(txn, user_id, token_id, row->usage.day, row->usage.units,
                         row->usage.requests);
    return NULL;
}

static void import_ids(struct store_txn *txn, struct store_import *import,
                       const struct store_row *row)
{
    for (unsigned kind = 0; kind < STORE_IDS_COUNT; kind++)
        txn->rows->raise_id(txn, kind, row->next_ids[kind]);
    if (row->foreign_keys) /* also an old key, of which only the hash is known */
        note_foreign_keys(txn, import);
    if (row->groups_checked)
        txn->rows->check_groups(txn, true);
}

enum store_error store_import_row(struct store_txn *txn, struct store_import *import,
                                  struct store_row *row)
{
    row->refused = NULL;
    switch (row->kind) {
    case STORE_ROW_IDS:
        import_ids(txn, import, row);
        break;
    case STORE_ROW_USER:
        row->refused = import_user(txn, import, row);
        if (row->refused)
            refuse_user(txn, import, row->id);
        break;
    case STORE_ROW_GATEWAY:
        row->refused = import_gateway(txn, row);
        break;
    case STORE_ROW_TOKEN:
        row->refused = import_token(txn, import, row);
        break;
    case STORE_ROW_RESERVATION:
        row->refused = import_reservation(txn, import, row);
        break;
    case STORE_ROW_GROUP:
        txn->rows->put_group(txn, row->name, &row->group);
        break;
    case STORE_ROW_GRANT:
        if (!is_refused(import, row->grant.user_id))
            txn->rows->put_grant(txn, row->grant.user_id, row->grant.group, true);
        break;
    case STORE_ROW_MODEL:
        txn->rows->put_model(txn, row->name, true);
        break;
    case STORE_ROW_USAGE:
        row->refused = import_usage(txn, import, row);
        break;
    case STORE_ROW_AUDIT:
        if (row->audit.id == 0)
            txn->rows->add_audit(txn, &row->audit);
        else
            txn->rows->import_audit(txn, &row->audit);
        break;
    }
    return txn->error;
}
