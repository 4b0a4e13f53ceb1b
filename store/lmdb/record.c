/* The records of tokens, users, gateways and reservations. */

#include "store/lmdb/codec.h"

/* ---- tokens ---- */

static struct checksum_context token_context(const struct token *token)
{
    return (struct checksum_context){CHECKSUM_TOKEN, token->user_id, token->id};
}

struct token_parts {
    struct token *token;
    struct record_keys *keys;
};

/* The parts of a record that most tokens do not have: only in version 5. */
struct token_blocks {
    bool limits, rates, usage;
};

static struct token_blocks blocks_of(const struct token *token)
{
    const struct token_usage *usage = &token->usage;
    return (struct token_blocks){
        .limits = token->rpm_limit != 0 || token->tpm_limit != 0 ||
                  token->max_parallel_requests != 0 || token->refill_amount != 0 ||
                  token->refill_interval != TOKEN_REFILL_NONE || token->refill_day != 1 ||
                  token->refill_period != 0,
        .rates = token->rates.requests_full_ns != 0 || token->rates.units_full_ns != 0,
        .usage =
            usage->day != 0 || usage->units != 0 || usage->requests != 0 || usage->dated_units != 0,
    };
}

static void clear_blocks(struct token *token)
{
    enum { FROM = offsetof(struct token, rpm_limit), TO = offsetof(struct token, group_is_old) };
    memset((char *)token + FROM, 0, TO - FROM);
    token->refill_day = 1;
}

static void code_rates(struct codec *codec, struct token_rates *rates)
{
    code_int(codec, &rates->requests_full_ns);
    code_int(codec, &rates->units_full_ns);
}

static void code_usage(struct codec *codec, struct token_usage *usage)
{
    code_int(codec, &usage->day);
    code_int(codec, &usage->units);
    code_int(codec, &usage->requests);
    code_int(codec, &usage->dated_units);
}

static void code_blocks(struct codec *codec, struct token *token, struct token_blocks blocks)
{
    if (codec->reading)
        clear_blocks(token);
    if (blocks.limits) {
        int64_t interval = token->refill_interval;
        code_int(codec, &token->rpm_limit);
        code_int(codec, &token->tpm_limit);
        code_int(codec, &token->max_parallel_requests);
        code_int(codec, &token->refill_amount);
        code_int(codec, &interval);
        code_int(codec, &token->refill_day);
        code_int(codec, &token->refill_period);
        codec->bad |= interval < TOKEN_REFILL_NONE || interval > TOKEN_REFILL_MONTH;
        token->refill_interval = codec->bad ? TOKEN_REFILL_NONE : (enum token_refill)interval;
    }
    if (blocks.rates)
        code_rates(codec, &token->rates);
    if (blocks.usage)
        code_usage(codec, &token->usage);
}

/* What was read as version 5 would be written as that again. */
static bool is_version_5(const struct token *token, struct token_blocks blocks)
{
    struct token_blocks needed = blocks_of(token);
    return blocks.limits == needed.limits && blocks.rates == needed.rates &&
           blocks.usage == needed.usage && (!token->group_is_old || token->group.len > 0) &&
           (blocks.limits || blocks.rates || blocks.usage ||
            (token->group.len > 0 && !token->group_is_old));
}

/* Begins a record: 3: longer names; 4: a sealed key of another length than ours, or an old one; 5:
 * limits, refill, rates, usage, and a group that is not the owner's by its name. Returns which. */
static unsigned code_token_version(struct codec *codec, const struct token_parts *parts,
                                   struct token_blocks blocks)
{
    if (codec->reading) /* the members are not set yet */
        return code_version(codec, 2, 5, 0);
    const struct token *token = parts->token;
    const struct record_keys *keys = parts->keys;
    bool is_3 = keys->sealed.len == SEAL_KEY_LEN && (!keys->has_old || keys->old_sealed.len == 0);
    bool is_5 = blocks.limits || blocks.rates || blocks.usage ||
                (token->group.len > 0 && !token->group_is_old);
    return code_version(codec, 2, 5, is_5 ? 5 : is_3 ? 3 : 4);
}

static void code_token_texts(struct codec *codec, struct token *token, unsigned version)
{
    code_length(codec, &token->name, version == 2 ? 1 : 2, RECORD_NAME_LEN_MAX);
    code_length(codec, &token->group, 1, TOKEN_GROUP_LEN_MAX);
    code_length(codec, &token->model_limits, 2, TOKEN_MODEL_LIMITS_LEN_MAX);
    code_length(codec, &token->allow_ips, 2, TOKEN_ALLOW_IPS_LEN_MAX);
    code_text(codec, &token->name);
    code_text(codec, &token->group);
    code_text(codec, &token->model_limits);
    code_text(codec, &token->allow_ips);
}

static void code_old_key(struct codec *codec, struct record_keys *keys, unsigned version)
{
    if (keys->has_old) {
        code_bytes(codec, keys->old_hash, sizeof(keys->old_hash));
        code_int(codec, &keys->old_until_unix_s);
    }
    keys->old_sealed.len = codec->reading || !keys->has_old ? 0 : keys->old_sealed.len;
    if (version >= 4 && keys->has_old)
        code_length(codec, &keys->old_sealed, 2, SEAL_KEY_LEN_MAX);
    code_text(codec, &keys->old_sealed);
}

static void code_token(struct codec *codec, void *value)
{
    const struct token_parts *parts = value;
    struct token *token = parts->token;
    struct record_keys *keys = parts->keys;
    struct token_blocks blocks = {false, false, false};
    bool disabled = false, group_is_old = false;
    if (!codec->reading) {
        blocks = blocks_of(token);
        disabled = token->status == TOKEN_DISABLED;
        group_is_old = token->group_is_old && token->group.len > 0;
    }
    bool *const flags[] = {&disabled,
                           &token->unlimited_quota,
                           &token->model_limits_enabled,
                           &keys->has_old,
                           &group_is_old,
                           &blocks.limits,
                           &blocks.rates,
                           &blocks.usage};
    unsigned version = code_token_version(codec, parts, blocks);
    code_flags(codec, flags, version == 5 ? 8 : 4);
    code_int(codec, &token->remain_quota);
    code_int(codec, &token->used_quota);
    code_int(codec, &token->expired_unix_s);
    code_int(codec, &token->created_unix_s);
    code_int(codec, &token->accessed_unix_s);
    code_blocks(codec, token, blocks);
    keys->sealed.len = codec->reading ? SEAL_KEY_LEN : keys->sealed.len;
    if (version >= 4)
        code_length(codec, &keys->sealed, 2, SEAL_KEY_LEN_MAX);
    code_text(codec, &keys->sealed);
    code_token_texts(codec, token, version);
    code_old_key(codec, keys, version);
    token->status = disabled ? TOKEN_DISABLED : TOKEN_ENABLED;
    token->group_is_old = version == 5 ? group_is_old : token->group.len > 0;
    codec->bad |= codec->reading && version == 5 && !is_version_5(token, blocks);
}

size_t record_encode_token(const struct token *token, const struct record_keys *keys,
                           unsigned char *record)
{
    struct token token_copy;
    struct record_keys keys_copy = *keys;
    memcpy(&token_copy, token, offsetof(struct token, key));
    return encode(token_context(token), code_token, &(struct token_parts){&token_copy, &keys_copy},
                  record);
}

bool record_decode_token(struct span record, struct token *token, struct record_keys *keys)
{
    return decode(token_context(token), code_token, &(struct token_parts){token, keys}, record);
}

/* ---- users ---- */

/* What version 4 has more than version 3. */
static void code_account(struct codec *codec, struct token_account *account)
{
    code_int(codec, &account->used_quota);
    code_int(codec, &account->rpm_limit);
    code_int(codec, &account->tpm_limit);
    code_int(codec, &account->max_tokens);
    code_rates(codec, &account->rates);
    code_usage(codec, &account->usage);
}

static bool is_account_used(const struct token_account *account)
{
    return account->used_quota != 0 || account->rpm_limit != 0 || account->tpm_limit != 0 ||
           account->max_tokens != 0 || account->rates.requests_full_ns != 0 ||
           account->rates.units_full_ns != 0 || account->usage.day != 0 ||
           account->usage.dated_units != 0;
}

/* 3: role, quota, deleted_used_quota, request_count; 4: the rest of an account. Those of most users
 * without use are written as 2. */
static unsigned code_user_version(struct codec *codec, const struct record_user *user)
{
    if (codec->reading) /* the members are not set yet */
        return code_version(codec, 2, 4, 0);
    const struct token_account *account = &user->account;
    bool is_3 = !account->unlimited_quota || user->role != USER_ROLE_USER || account->quota != 0 ||
                account->deleted_used_quota != 0 || account->request_count != 0;
    return code_version(codec, 2, 4, is_account_used(account) ? 4 : is_3 ? 3 : 2);
}

static void code_user(struct codec *codec, void *value)
{
    struct record_user *user = value;
    struct token_account *account = &user->account;
    int64_t role = codec->reading ? USER_ROLE_USER : user->role;
    bool is_limited = !codec->reading && !account->unlimited_quota;
    bool *const flags[] = {&user->disabled, &user->deleted, &is_limited};
    unsigned version = code_user_version(codec, user);
    code_flags(codec, flags, sizeof(flags) / sizeof(flags[0]));
    code_int(codec, &user->created_unix_s);
    code_bytes(codec, user->access_hash, sizeof(user->access_hash));
    if (codec->reading)
        *account = (struct token_account){.quota = 0};
    if (version >= 3) {
        code_int(codec, &role);
        code_int(codec, &account->quota);
        code_int(codec, &account->deleted_used_quota);
        code_int(codec, &account->request_count);
        codec->bad |= role < 0 || role > USER_ROLE_ROOT;
    }
    if (version >= 4)
        code_account(codec, account);
    codec->bad |= version == 2 && is_limited;
    account->unlimited_quota = !is_limited;
    user->role = (enum user_role)role;
    code_length(codec, &user->name, 1, STORE_USER_NAME_LEN_MAX);
    code_length(codec, &user->group, 1, TOKEN_GROUP_LEN_MAX);
    code_text(codec, &user->name);
    code_text(codec, &user->group);
}

size_t record_encode_user(int64_t user_id, const struct record_user *user, unsigned char *record)
{
    struct record_user copy = *user;
    return encode((struct checksum_context){CHECKSUM_USER, user_id, 0}, code_user, &copy, record);
}

bool record_decode_user(int64_t user_id, struct span record, struct record_user *user)
{
    return decode((struct checksum_context){CHECKSUM_USER, user_id, 0}, code_user, user, record);
}

/* ---- gateways ---- */

static void code_gateway(struct codec *codec, void *value)
{
    struct record_gateway *gateway = value;
    code_version(codec, 2, 2, 2);
    code_int(codec, &gateway->created_unix_s);
    code_bytes(codec, gateway->secret_hash, sizeof(gateway->secret_hash));
    code_length(codec, &gateway->name, 1, STORE_GATEWAY_NAME_LEN_MAX);
    code_text(codec, &gateway->name);
}

size_t record_encode_gateway(int64_t id, const struct record_gateway *gateway,
                             unsigned char *record)
{
    struct record_gateway copy = *gateway;
    return encode((struct checksum_context){CHECKSUM_GATEWAY, id, 0}, code_gateway, &copy, record);
}

bool record_decode_gateway(int64_t id, struct span record, struct record_gateway *gateway)
{
    return decode((struct checksum_context){CHECKSUM_GATEWAY, id, 0}, code_gateway, gateway,
                  record);
}

/* ---- reservations ---- */

static void code_reservation(struct codec *codec, void *value)
{
    struct record_reservation *reservation = value;
    struct token_reservation *units = &reservation->units;
    bool from_balance = !codec->reading && units->from_balance;
    bool *const flags[] = {&units->from_remain, &reservation->ended, &reservation->unlimited_quota,
                           &from_balance};
    unsigned version = code_version(codec, 2, 3, 3); /* 3: the owner's balance, days */
    code_flags(codec, flags, version == 2 ? 3 : 4);
    code_int(codec, &reservation->gateway_id);
    code_int(codec, &reservation->user_id);
    code_int(codec, &reservation->token_id);
    code_int(codec, &units->reserved);
    code_int(codec, &reservation->created_s);
    code_int(codec, &reservation->due_s);
    code_int(codec, &units->amount);
    code_int(codec, &units->shortfall);
    code_int(codec, &reservation->remain_quota);
    units->from_balance = from_balance;
    if (version >= 3) {
        code_int(codec, &units->day);
        code_int(codec, &units->refill_period);
    } else {
        units->day = units->refill_period = 0;
    }
    code_length(codec, &reservation->group, 1, TOKEN_GROUP_LEN_MAX);
    code_text(codec, &reservation->group);
}

size_t record_encode_reservation(int64_t id, const struct record_reservation *reservation,
                                 unsigned char *record)
{
    struct record_reservation copy = *reservation;
    return encode((struct checksum_context){CHECKSUM_RESERVATION, id, 0}, code_reservation, &copy,
                  record);
}

bool record_decode_reservation(int64_t id, struct span record,
                               struct record_reservation *reservation)
{
    return decode((struct checksum_context){CHECKSUM_RESERVATION, id, 0}, code_reservation,
                  reservation, record);
}

/* ---- token_by_key ---- */

static struct checksum_context key_context(const unsigned char hash[static SEAL_HASH_LEN])
{
    return (struct checksum_context){CHECKSUM_KEY, get_big64(hash), get_big64(hash + 8)};
}

/* Its integers are big-endian, as in keys. */
size_t record_encode_key(const unsigned char hash[static SEAL_HASH_LEN],
                         const struct record_key *entry, unsigned char *record)
{
    put_big64(record, entry->user_id);
    put_big64(record + 8, entry->token_id);
    put_big64(record + 16, entry->until_unix_s);
    return checksum_put(key_context(hash), record, entry->until_unix_s != 0 ? 24 : 16);
}

bool record_decode_key(const unsigned char hash[static SEAL_HASH_LEN], struct span record,
                       struct record_key *entry)
{
    const unsigned char *bytes = (const unsigned char *)record.at;
    if (!checksum_take(key_context(hash), &record) || (record.len != 16 && record.len != 24))
        return false;
    entry->user_id = get_big64(bytes);
    entry->token_id = get_big64(bytes + 8);
    entry->until_unix_s = record.len == 24 ? get_big64(bytes + 16) : 0;
    return true;
}
