#include "store/postgresql/rows.h"

void pg_read_token(struct pg_row *row, struct token *token, struct pg_keys *keys)
{
    token->user_id = pg_next_int(row);
    token->id = pg_next_int(row);
    token->name = pg_next_text(row);
    token->group = pg_next_text(row);
    token->model_limits = pg_next_text(row);
    token->allow_ips = pg_next_text(row);
    token->status = pg_next_bool(row) ? TOKEN_DISABLED : TOKEN_ENABLED;
    token->unlimited_quota = pg_next_bool(row);
    token->model_limits_enabled = pg_next_bool(row);
    token->remain_quota = pg_next_int(row);
    token->used_quota = pg_next_int(row);
    token->expired_unix_s = pg_next_int(row);
    token->created_unix_s = pg_next_int(row);
    token->accessed_unix_s = pg_next_int(row);
    row->bad |= !pg_next_bytes(row, keys->keys.sealed, sizeof(keys->keys.sealed));
    row->bad |= !pg_next_bytes(row, keys->hash, sizeof(keys->hash));
    keys->keys.has_old = pg_next_bytes(row, keys->keys.old_hash, sizeof(keys->keys.old_hash));
    keys->keys.old_until_unix_s = pg_next_int(row);
    row->bad |= token->name.len > (size_t)4 * TOKEN_NAME_CHARACTERS_MAX ||
                token->group.len > TOKEN_GROUP_LEN_MAX;
}

void pg_bind_token(struct pg_parameters *parameters, const struct token *token,
                   const struct pg_keys *keys)
{
    pg_int(pg_int(parameters, token->user_id), token->id);
    pg_text(pg_text(parameters, token->name), token->group);
    pg_text(pg_text(parameters, token->model_limits), token->allow_ips);
    pg_bool(parameters, token->status == TOKEN_DISABLED);
    pg_bool(pg_bool(parameters, token->unlimited_quota), token->model_limits_enabled);
    pg_int(pg_int(parameters, token->remain_quota), token->used_quota);
    pg_int(parameters, token->expired_unix_s);
    pg_int(pg_int(parameters, token->created_unix_s), token->accessed_unix_s);
    pg_bytes(parameters, keys->keys.sealed, sizeof(keys->keys.sealed));
    pg_bytes(parameters, keys->hash, sizeof(keys->hash));
    if (keys->keys.has_old)
        pg_int(pg_bytes(parameters, keys->keys.old_hash, sizeof(keys->keys.old_hash)),
               keys->keys.old_until_unix_s);
    else
        pg_null(pg_null(parameters));
}

bool pg_has_key(const struct pg_keys *keys, const unsigned char hash[static SEAL_HASH_LEN],
                int64_t now_unix_s)
{
    return memcmp(hash, keys->hash, SEAL_HASH_LEN) == 0 ||
           (keys->keys.has_old && keys->keys.old_until_unix_s > now_unix_s &&
            memcmp(hash, keys->keys.old_hash, SEAL_HASH_LEN) == 0);
}

void pg_read_user(struct pg_row *row, int64_t *id, struct record_user *user, int64_t *token_count)
{
    *id = pg_next_int(row);
    user->name = pg_next_text(row);
    user->group = pg_next_text(row);
    user->disabled = pg_next_bool(row);
    user->deleted = pg_next_bool(row);
    user->created_unix_s = pg_next_int(row);
    row->bad |= !pg_next_bytes(row, user->access_hash, sizeof(user->access_hash));
    *token_count = pg_next_int(row);
    row->bad |= user->name.len > STORE_USER_NAME_LEN_MAX || user->group.len > TOKEN_GROUP_LEN_MAX;
}

void pg_bind_user(struct pg_parameters *parameters, int64_t id, const struct record_user *user,
                  int64_t token_count)
{
    pg_text(pg_text(pg_int(parameters, id), user->name), user->group);
    pg_int(pg_bool(pg_bool(parameters, user->disabled), user->deleted), user->created_unix_s);
    pg_int(pg_bytes(parameters, user->access_hash, sizeof(user->access_hash)), token_count);
}

void pg_read_reservation(struct pg_row *row, struct record_reservation *reservation)
{
    reservation->user_id = pg_next_int(row);
    pg_next_int(row); /* its id */
    reservation->token_id = pg_next_int(row);
    reservation->gateway_id = pg_next_int(row);
    reservation->units.reserved = pg_next_int(row);
    reservation->units.from_remain = pg_next_bool(row);
    reservation->units.amount = pg_next_int(row);
    reservation->units.shortfall = pg_next_int(row);
    reservation->created_s = pg_next_int(row);
    reservation->due_s = pg_next_int(row);
    reservation->ended = pg_next_bool(row);
    reservation->remain_quota = pg_next_int(row);
    reservation->unlimited_quota = pg_next_bool(row);
    reservation->group = pg_next_text(row);
    row->bad |= reservation->group.len > TOKEN_GROUP_LEN_MAX;
}

void pg_bind_reservation(struct pg_parameters *parameters, int64_t id,
                         const struct record_reservation *reservation)
{
    const struct token_reservation *units = &reservation->units;
    pg_int(pg_int(parameters, reservation->user_id), id);
    pg_int(pg_int(parameters, reservation->token_id), reservation->gateway_id);
    pg_bool(pg_int(parameters, units->reserved), units->from_remain);
    pg_int(pg_int(parameters, units->amount), units->shortfall);
    pg_int(pg_int(parameters, reservation->created_s), reservation->due_s);
    pg_int(pg_bool(parameters, reservation->ended), reservation->remain_quota);
    pg_text(pg_bool(parameters, reservation->unlimited_quota), reservation->group);
}

bool pg_fold_name(struct span name, char folded[static STORE_USER_NAME_LEN_MAX])
{
    if (name.len > STORE_USER_NAME_LEN_MAX)
        return false;
    for (size_t i = 0; i < name.len; i++) {
        bool is_upper = name.at[i] >= 'A' && name.at[i] <= 'Z';
        folded[i] = (char)(is_upper ? name.at[i] - 'A' + 'a' : name.at[i]);
    }
    return true;
}
