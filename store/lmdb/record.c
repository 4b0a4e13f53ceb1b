#include "store/lmdb/record.h"

#include "base/bytes.h"

enum {
    TOKEN_VERSION = 2,
    USER_VERSION = 2,
    RESERVATION_VERSION = 2,
    GATEWAY_VERSION = 2,
    NAME_LEN_MAX = 4 * TOKEN_NAME_CHARACTERS_MAX
};

enum token_flag {
    FLAG_DISABLED = 1 << 0,
    FLAG_UNLIMITED = 1 << 1,
    FLAG_MODELS = 1 << 2,
    FLAG_OLD_KEY = 1 << 3,
    FLAGS_TOKEN = FLAG_DISABLED | FLAG_UNLIMITED | FLAG_MODELS | FLAG_OLD_KEY
};

enum user_flag {
    FLAG_USER_DISABLED = 1 << 0,
    FLAG_USER_DELETED = 1 << 1,
    FLAGS_USER = FLAG_USER_DISABLED | FLAG_USER_DELETED
};

/* Offsets in a token's record. */
enum {
    AT_VERSION = 0,
    AT_FLAGS = 1,
    AT_REMAIN_QUOTA = 2,
    AT_USED_QUOTA = 10,
    AT_EXPIRED = 18,
    AT_CREATED = 26,
    AT_ACCESSED = 34,
    AT_SEALED = 42,
    AT_NAME_LEN = AT_SEALED + SEAL_KEY_LEN,
    AT_GROUP_LEN = AT_NAME_LEN + 1,
    AT_MODEL_LIMITS_LEN = AT_GROUP_LEN + 1,
    AT_ALLOW_IPS_LEN = AT_MODEL_LIMITS_LEN + 2,
    AT_TEXTS = AT_ALLOW_IPS_LEN + 2,
    OLD_KEY_LEN = SEAL_HASH_LEN + 8 /* after the texts, where there is one */
};

_Static_assert((int)AT_TEXTS == (int)RECORD_TOKEN_HEAD_LEN, "head");

static unsigned char *append(unsigned char *at, struct span text)
{
    if (text.len > 0)
        memcpy(at, text.at, text.len);
    return at + text.len;
}

/* Takes len bytes off the front of *rest, which has them. */
static struct span take(struct span *rest, size_t len)
{
    struct span taken = {rest->at, len};
    *rest = span_from(*rest, len);
    return taken;
}

static struct checksum_context token_place(const struct token *token)
{
    return (struct checksum_context){CHECKSUM_TOKEN, token->user_id, token->id};
}

size_t record_encode_token(const struct token *token, const struct record_keys *keys,
                           unsigned char *record)
{
    record[AT_VERSION] = TOKEN_VERSION;
    record[AT_FLAGS] = (unsigned char)((token->status == TOKEN_DISABLED ? FLAG_DISABLED : 0) |
                                       (token->unlimited_quota ? FLAG_UNLIMITED : 0) |
                                       (token->model_limits_enabled ? FLAG_MODELS : 0) |
                                       (keys->has_old ? FLAG_OLD_KEY : 0));
    put_little64(record + AT_REMAIN_QUOTA, token->remain_quota);
    put_little64(record + AT_USED_QUOTA, token->used_quota);
    put_little64(record + AT_EXPIRED, token->expired_unix_s);
    put_little64(record + AT_CREATED, token->created_unix_s);
    put_little64(record + AT_ACCESSED, token->accessed_unix_s);
    memcpy(record + AT_SEALED, keys->sealed, SEAL_KEY_LEN);
    record[AT_NAME_LEN] = (unsigned char)token->name.len;
    record[AT_GROUP_LEN] = (unsigned char)token->group.len;
    put_little16(record + AT_MODEL_LIMITS_LEN, token->model_limits.len);
    put_little16(record + AT_ALLOW_IPS_LEN, token->allow_ips.len);

    unsigned char *end = record + AT_TEXTS;
    end = append(end, token->name);
    end = append(end, token->group);
    end = append(end, token->model_limits);
    end = append(end, token->allow_ips);
    if (keys->has_old) {
        memcpy(end, keys->old_hash, SEAL_HASH_LEN);
        put_little64(end + SEAL_HASH_LEN, keys->old_until_unix_s);
        end += OLD_KEY_LEN;
    }
    return checksum_put(token_place(token), record, (size_t)(end - record));
}

bool record_decode_token(struct span record, struct token *token, struct record_keys *keys)
{
    const unsigned char *bytes = (const unsigned char *)record.at;
    if (!checksum_take(token_place(token), &record) || record.len < AT_TEXTS ||
        bytes[AT_VERSION] != TOKEN_VERSION || bytes[AT_FLAGS] & ~(unsigned)FLAGS_TOKEN)
        return false;
    size_t name_len = bytes[AT_NAME_LEN], group_len = bytes[AT_GROUP_LEN];
    size_t models_len = get_little16(bytes + AT_MODEL_LIMITS_LEN);
    size_t ips_len = get_little16(bytes + AT_ALLOW_IPS_LEN);
    if (name_len > NAME_LEN_MAX || group_len > TOKEN_GROUP_LEN_MAX ||
        models_len > TOKEN_MODEL_LIMITS_LEN_MAX || ips_len > TOKEN_ALLOW_IPS_LEN_MAX)
        return false; /* it would not fit where records are made */
    unsigned flags = bytes[AT_FLAGS];
    keys->has_old = flags & FLAG_OLD_KEY;
    if (record.len !=
        AT_TEXTS + name_len + group_len + models_len + ips_len + (keys->has_old ? OLD_KEY_LEN : 0))
        return false;

    token->status = flags & FLAG_DISABLED ? TOKEN_DISABLED : TOKEN_ENABLED;
    token->unlimited_quota = flags & FLAG_UNLIMITED;
    token->model_limits_enabled = flags & FLAG_MODELS;
    token->remain_quota = get_little64(bytes + AT_REMAIN_QUOTA);
    token->used_quota = get_little64(bytes + AT_USED_QUOTA);
    token->expired_unix_s = get_little64(bytes + AT_EXPIRED);
    token->created_unix_s = get_little64(bytes + AT_CREATED);
    token->accessed_unix_s = get_little64(bytes + AT_ACCESSED);
    memcpy(keys->sealed, bytes + AT_SEALED, SEAL_KEY_LEN);

    struct span rest = span_from(record, AT_TEXTS);
    token->name = take(&rest, name_len);
    token->group = take(&rest, group_len);
    token->model_limits = take(&rest, models_len);
    token->allow_ips = take(&rest, ips_len);
    if (keys->has_old) {
        const unsigned char *old = (const unsigned char *)rest.at;
        memcpy(keys->old_hash, old, SEAL_HASH_LEN);
        keys->old_until_unix_s = get_little64(old + SEAL_HASH_LEN);
    }
    return true;
}

/* Offsets in a user's record. */
enum {
    AT_USER_CREATED = 2,
    AT_USER_ACCESS_HASH = 10,
    AT_USER_NAME_LEN = AT_USER_ACCESS_HASH + RECORD_ACCESS_HASH_LEN,
    AT_USER_GROUP_LEN = AT_USER_NAME_LEN + 1,
    AT_USER_TEXTS = AT_USER_GROUP_LEN + 1
};

static struct checksum_context user_place(int64_t user_id)
{
    return (struct checksum_context){CHECKSUM_USER, user_id, 0};
}

size_t record_encode_user(int64_t user_id, const struct record_user *user, unsigned char *record)
{
    record[AT_VERSION] = USER_VERSION;
    record[AT_FLAGS] = (unsigned char)((user->disabled ? FLAG_USER_DISABLED : 0) |
                                       (user->deleted ? FLAG_USER_DELETED : 0));
    put_little64(record + AT_USER_CREATED, user->created_unix_s);
    memcpy(record + AT_USER_ACCESS_HASH, user->access_hash, RECORD_ACCESS_HASH_LEN);
    record[AT_USER_NAME_LEN] = (unsigned char)user->name.len;
    record[AT_USER_GROUP_LEN] = (unsigned char)user->group.len;
    unsigned char *end = append(record + AT_USER_TEXTS, user->name);
    end = append(end, user->group);
    return checksum_put(user_place(user_id), record, (size_t)(end - record));
}

bool record_decode_user(int64_t user_id, struct span record, struct record_user *user)
{
    const unsigned char *bytes = (const unsigned char *)record.at;
    if (!checksum_take(user_place(user_id), &record) || record.len < AT_USER_TEXTS ||
        bytes[AT_VERSION] != USER_VERSION || bytes[AT_FLAGS] & ~(unsigned)FLAGS_USER)
        return false;
    size_t name_len = bytes[AT_USER_NAME_LEN], group_len = bytes[AT_USER_GROUP_LEN];
    if (name_len > STORE_USER_NAME_LEN_MAX || group_len > TOKEN_GROUP_LEN_MAX ||
        record.len != AT_USER_TEXTS + name_len + group_len)
        return false;
    user->disabled = bytes[AT_FLAGS] & FLAG_USER_DISABLED;
    user->deleted = bytes[AT_FLAGS] & FLAG_USER_DELETED;
    user->created_unix_s = get_little64(bytes + AT_USER_CREATED);
    memcpy(user->access_hash, bytes + AT_USER_ACCESS_HASH, RECORD_ACCESS_HASH_LEN);
    struct span rest = span_from(record, AT_USER_TEXTS);
    user->name = take(&rest, name_len);
    user->group = take(&rest, group_len);
    return true;
}

enum reservation_flag {
    FLAG_FROM_REMAIN = 1 << 0,
    FLAG_ENDED = 1 << 1,
    FLAG_UNLIMITED_NOW = 1 << 2,
    FLAGS_RESERVATION = FLAG_FROM_REMAIN | FLAG_ENDED | FLAG_UNLIMITED_NOW
};

/* Offsets in a reservation's record. */
enum { AT_NUMBERS = 2, NUMBER_COUNT = 9, AT_GROUP = AT_NUMBERS + NUMBER_COUNT * 8 };

static struct checksum_context reservation_place(int64_t id)
{
    return (struct checksum_context){CHECKSUM_RESERVATION, id, 0};
}

size_t record_encode_reservation(int64_t id, const struct record_reservation *reservation,
                                 unsigned char *record)
{
    const int64_t numbers[NUMBER_COUNT] = {
        reservation->gateway_id, reservation->user_id,        reservation->token_id,
        reservation->reserved,   reservation->created_unix_s, reservation->due_unix_s,
        reservation->amount,     reservation->shortfall,      reservation->remain_quota};
    record[AT_VERSION] = RESERVATION_VERSION;
    record[AT_FLAGS] = (unsigned char)((reservation->from_remain ? FLAG_FROM_REMAIN : 0) |
                                       (reservation->ended ? FLAG_ENDED : 0) |
                                       (reservation->unlimited_quota ? FLAG_UNLIMITED_NOW : 0));
    for (size_t i = 0; i < NUMBER_COUNT; i++)
        put_little64(record + AT_NUMBERS + i * 8, numbers[i]);
    record[AT_GROUP] = (unsigned char)reservation->group.len;
    unsigned char *end = append(record + AT_GROUP + 1, reservation->group);
    return checksum_put(reservation_place(id), record, (size_t)(end - record));
}

bool record_decode_reservation(int64_t id, struct span record,
                               struct record_reservation *reservation)
{
    const unsigned char *bytes = (const unsigned char *)record.at;
    if (!checksum_take(reservation_place(id), &record) || record.len < AT_GROUP + 1 ||
        bytes[AT_VERSION] != RESERVATION_VERSION ||
        bytes[AT_FLAGS] & ~(unsigned)FLAGS_RESERVATION || bytes[AT_GROUP] > TOKEN_GROUP_LEN_MAX ||
        record.len != AT_GROUP + 1 + (size_t)bytes[AT_GROUP])
        return false;
    int64_t *const numbers[NUMBER_COUNT] = {
        &reservation->gateway_id, &reservation->user_id,        &reservation->token_id,
        &reservation->reserved,   &reservation->created_unix_s, &reservation->due_unix_s,
        &reservation->amount,     &reservation->shortfall,      &reservation->remain_quota};
    for (size_t i = 0; i < NUMBER_COUNT; i++)
        *numbers[i] = get_little64(bytes + AT_NUMBERS + i * 8);
    reservation->from_remain = bytes[AT_FLAGS] & FLAG_FROM_REMAIN;
    reservation->ended = bytes[AT_FLAGS] & FLAG_ENDED;
    reservation->unlimited_quota = bytes[AT_FLAGS] & FLAG_UNLIMITED_NOW;
    reservation->group = span_from(record, AT_GROUP + 1);
    return true;
}

/* Offsets in a gateway's record. */
enum {
    AT_GATEWAY_CREATED = 1,
    AT_GATEWAY_HASH = 9,
    AT_GATEWAY_NAME_LEN = AT_GATEWAY_HASH + RECORD_ACCESS_HASH_LEN,
    AT_GATEWAY_NAME = AT_GATEWAY_NAME_LEN + 1
};

static struct checksum_context gateway_place(int64_t id)
{
    return (struct checksum_context){CHECKSUM_GATEWAY, id, 0};
}

size_t record_encode_gateway(int64_t id, const struct record_gateway *gateway,
                             unsigned char *record)
{
    record[AT_VERSION] = GATEWAY_VERSION;
    put_little64(record + AT_GATEWAY_CREATED, gateway->created_unix_s);
    memcpy(record + AT_GATEWAY_HASH, gateway->secret_hash, RECORD_ACCESS_HASH_LEN);
    record[AT_GATEWAY_NAME_LEN] = (unsigned char)gateway->name.len;
    unsigned char *end = append(record + AT_GATEWAY_NAME, gateway->name);
    return checksum_put(gateway_place(id), record, (size_t)(end - record));
}

bool record_decode_gateway(int64_t id, struct span record, struct record_gateway *gateway)
{
    const unsigned char *bytes = (const unsigned char *)record.at;
    if (!checksum_take(gateway_place(id), &record) || record.len < AT_GATEWAY_NAME ||
        bytes[AT_VERSION] != GATEWAY_VERSION ||
        bytes[AT_GATEWAY_NAME_LEN] > STORE_GATEWAY_NAME_LEN_MAX ||
        record.len != AT_GATEWAY_NAME + (size_t)bytes[AT_GATEWAY_NAME_LEN])
        return false;
    gateway->created_unix_s = get_little64(bytes + AT_GATEWAY_CREATED);
    memcpy(gateway->secret_hash, bytes + AT_GATEWAY_HASH, RECORD_ACCESS_HASH_LEN);
    gateway->name = span_from(record, AT_GATEWAY_NAME);
    return true;
}
