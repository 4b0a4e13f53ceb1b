#include "store/lmdb/record.h"

#include "base/bytes.h"

enum { TOKEN_VERSION = 2, USER_VERSION = 2, RESERVATION_VERSION = 2, GATEWAY_VERSION = 2 };

/* ---- writing, from the front ---- */

static unsigned char *put_byte(unsigned char *at, size_t value)
{
    *at = (unsigned char)value;
    return at + 1;
}

static unsigned char *put_length(unsigned char *at, size_t value)
{
    put_little16(at, value);
    return at + 2;
}

static unsigned char *put_int(unsigned char *at, int64_t value)
{
    put_little64(at, value);
    return at + 8;
}

static unsigned char *put_bytes(unsigned char *at, const void *bytes, size_t len)
{
    if (len > 0)
        memcpy(at, bytes, len);
    return at + len;
}

static unsigned char *put_text(unsigned char *at, struct span text)
{
    return put_bytes(at, text.at, text.len);
}

/* ---- reading, off the front: what a record is too short for is 0 or empty, and it is bad ---- */

struct input {
    struct span rest;
    bool bad;
};

static struct span take(struct input *in, size_t len)
{
    if (len > in->rest.len) {
        in->bad = true;
        return SPAN("");
    }
    struct span taken = {in->rest.at, len};
    in->rest = span_from(in->rest, len);
    return taken;
}

static size_t take_byte(struct input *in)
{
    struct span bytes = take(in, 1);
    return bytes.len ? (unsigned char)bytes.at[0] : 0;
}

static size_t take_length(struct input *in)
{
    struct span bytes = take(in, 2);
    return bytes.len ? get_little16((const unsigned char *)bytes.at) : 0;
}

static int64_t take_int(struct input *in)
{
    struct span bytes = take(in, 8);
    return bytes.len ? get_little64((const unsigned char *)bytes.at) : 0;
}

static void take_bytes(struct input *in, unsigned char *to, size_t len)
{
    struct span bytes = take(in, len);
    memcpy(to, bytes.at, bytes.len);
}

/* A text that must fit where records are made. */
static struct span take_text(struct input *in, size_t len, size_t len_max)
{
    in->bad |= len > len_max;
    return take(in, len);
}

/* Takes the checksum and, where there is one, the version. */
static struct input begin_input(struct checksum_context context, struct span record,
                                unsigned version)
{
    bool intact = checksum_take(context, &record);
    struct input in = {.rest = record, .bad = !intact};
    if (version != 0)
        in.bad |= take_byte(&in) != version;
    return in;
}

static unsigned take_flags(struct input *in, unsigned known)
{
    unsigned flags = (unsigned)take_byte(in);
    in->bad |= (flags & ~known) != 0;
    return flags;
}

static bool is_complete(const struct input *in)
{
    return !in->bad && in->rest.len == 0;
}

static unsigned flag_if(bool condition, unsigned flag)
{
    return condition ? flag : 0;
}

/* ---- tokens ---- */

enum {
    TOKEN_FLAG_DISABLED = 1 << 0,
    TOKEN_FLAG_UNLIMITED = 1 << 1,
    TOKEN_FLAG_MODELS = 1 << 2,
    TOKEN_FLAG_OLD_KEY = 1 << 3,
    TOKEN_FLAGS =
        TOKEN_FLAG_DISABLED | TOKEN_FLAG_UNLIMITED | TOKEN_FLAG_MODELS | TOKEN_FLAG_OLD_KEY
};

static struct checksum_context token_context(const struct token *token)
{
    return (struct checksum_context){CHECKSUM_TOKEN, token->user_id, token->id};
}

size_t record_encode_token(const struct token *token, const struct record_keys *keys,
                           unsigned char *record)
{
    unsigned char *at = put_byte(record, TOKEN_VERSION);
    at = put_byte(at, flag_if(token->status == TOKEN_DISABLED, TOKEN_FLAG_DISABLED) |
                          flag_if(token->unlimited_quota, TOKEN_FLAG_UNLIMITED) |
                          flag_if(token->model_limits_enabled, TOKEN_FLAG_MODELS) |
                          flag_if(keys->has_old, TOKEN_FLAG_OLD_KEY));
    at = put_int(at, token->remain_quota);
    at = put_int(at, token->used_quota);
    at = put_int(at, token->expired_unix_s);
    at = put_int(at, token->created_unix_s);
    at = put_int(at, token->accessed_unix_s);
    at = put_bytes(at, keys->sealed, SEAL_KEY_LEN);
    at = put_byte(at, token->name.len);
    at = put_byte(at, token->group.len);
    at = put_length(at, token->model_limits.len);
    at = put_length(at, token->allow_ips.len);
    at = put_text(at, token->name);
    at = put_text(at, token->group);
    at = put_text(at, token->model_limits);
    at = put_text(at, token->allow_ips);
    if (keys->has_old) {
        at = put_bytes(at, keys->old_hash, SEAL_HASH_LEN);
        at = put_int(at, keys->old_until_unix_s);
    }
    return checksum_put(token_context(token), record, (size_t)(at - record));
}

bool record_decode_token(struct span record, struct token *token, struct record_keys *keys)
{
    struct input in = begin_input(token_context(token), record, TOKEN_VERSION);
    unsigned flags = take_flags(&in, TOKEN_FLAGS);
    token->status = flags & TOKEN_FLAG_DISABLED ? TOKEN_DISABLED : TOKEN_ENABLED;
    token->unlimited_quota = flags & TOKEN_FLAG_UNLIMITED;
    token->model_limits_enabled = flags & TOKEN_FLAG_MODELS;
    token->remain_quota = take_int(&in);
    token->used_quota = take_int(&in);
    token->expired_unix_s = take_int(&in);
    token->created_unix_s = take_int(&in);
    token->accessed_unix_s = take_int(&in);
    take_bytes(&in, keys->sealed, SEAL_KEY_LEN);
    size_t name_len = take_byte(&in), group_len = take_byte(&in);
    size_t models_len = take_length(&in), ips_len = take_length(&in);
    token->name = take_text(&in, name_len, RECORD_NAME_LEN_MAX);
    token->group = take_text(&in, group_len, TOKEN_GROUP_LEN_MAX);
    token->model_limits = take_text(&in, models_len, TOKEN_MODEL_LIMITS_LEN_MAX);
    token->allow_ips = take_text(&in, ips_len, TOKEN_ALLOW_IPS_LEN_MAX);
    keys->has_old = flags & TOKEN_FLAG_OLD_KEY;
    if (keys->has_old) {
        take_bytes(&in, keys->old_hash, SEAL_HASH_LEN);
        keys->old_until_unix_s = take_int(&in);
    }
    return is_complete(&in);
}

/* ---- users and gateways ---- */

enum {
    USER_FLAG_DISABLED = 1 << 0,
    USER_FLAG_DELETED = 1 << 1,
    USER_FLAGS = USER_FLAG_DISABLED | USER_FLAG_DELETED
};

size_t record_encode_user(int64_t user_id, const struct record_user *user, unsigned char *record)
{
    unsigned char *at = put_byte(record, USER_VERSION);
    at = put_byte(at, flag_if(user->disabled, USER_FLAG_DISABLED) |
                          flag_if(user->deleted, USER_FLAG_DELETED));
    at = put_int(at, user->created_unix_s);
    at = put_bytes(at, user->access_hash, SEAL_CREDENTIAL_HASH_LEN);
    at = put_byte(at, user->name.len);
    at = put_byte(at, user->group.len);
    at = put_text(at, user->name);
    at = put_text(at, user->group);
    return checksum_put((struct checksum_context){CHECKSUM_USER, user_id, 0}, record,
                        (size_t)(at - record));
}

bool record_decode_user(int64_t user_id, struct span record, struct record_user *user)
{
    struct input in =
        begin_input((struct checksum_context){CHECKSUM_USER, user_id, 0}, record, USER_VERSION);
    unsigned flags = take_flags(&in, USER_FLAGS);
    user->disabled = flags & USER_FLAG_DISABLED;
    user->deleted = flags & USER_FLAG_DELETED;
    user->created_unix_s = take_int(&in);
    take_bytes(&in, user->access_hash, SEAL_CREDENTIAL_HASH_LEN);
    size_t name_len = take_byte(&in), group_len = take_byte(&in);
    user->name = take_text(&in, name_len, STORE_USER_NAME_LEN_MAX);
    user->group = take_text(&in, group_len, TOKEN_GROUP_LEN_MAX);
    return is_complete(&in);
}

size_t record_encode_gateway(int64_t id, const struct record_gateway *gateway,
                             unsigned char *record)
{
    unsigned char *at = put_byte(record, GATEWAY_VERSION);
    at = put_int(at, gateway->created_unix_s);
    at = put_bytes(at, gateway->secret_hash, SEAL_CREDENTIAL_HASH_LEN);
    at = put_byte(at, gateway->name.len);
    at = put_text(at, gateway->name);
    return checksum_put((struct checksum_context){CHECKSUM_GATEWAY, id, 0}, record,
                        (size_t)(at - record));
}

bool record_decode_gateway(int64_t id, struct span record, struct record_gateway *gateway)
{
    struct input in =
        begin_input((struct checksum_context){CHECKSUM_GATEWAY, id, 0}, record, GATEWAY_VERSION);
    gateway->created_unix_s = take_int(&in);
    take_bytes(&in, gateway->secret_hash, SEAL_CREDENTIAL_HASH_LEN);
    size_t name_len = take_byte(&in);
    gateway->name = take_text(&in, name_len, STORE_GATEWAY_NAME_LEN_MAX);
    return is_complete(&in);
}

/* ---- reservations ---- */

enum {
    RESERVATION_FLAG_FROM_REMAIN = 1 << 0,
    RESERVATION_FLAG_ENDED = 1 << 1,
    RESERVATION_FLAG_UNLIMITED = 1 << 2,
    RESERVATION_FLAGS =
        RESERVATION_FLAG_FROM_REMAIN | RESERVATION_FLAG_ENDED | RESERVATION_FLAG_UNLIMITED
};

size_t record_encode_reservation(int64_t id, const struct record_reservation *reservation,
                                 unsigned char *record)
{
    unsigned char *at = put_byte(record, RESERVATION_VERSION);
    at = put_byte(at, flag_if(reservation->units.from_remain, RESERVATION_FLAG_FROM_REMAIN) |
                          flag_if(reservation->ended, RESERVATION_FLAG_ENDED) |
                          flag_if(reservation->unlimited_quota, RESERVATION_FLAG_UNLIMITED));
    at = put_int(at, reservation->gateway_id);
    at = put_int(at, reservation->user_id);
    at = put_int(at, reservation->token_id);
    at = put_int(at, reservation->units.reserved);
    at = put_int(at, reservation->created_unix_s);
    at = put_int(at, reservation->due_unix_s);
    at = put_int(at, reservation->units.amount);
    at = put_int(at, reservation->units.shortfall);
    at = put_int(at, reservation->remain_quota);
    at = put_byte(at, reservation->group.len);
    at = put_text(at, reservation->group);
    return checksum_put((struct checksum_context){CHECKSUM_RESERVATION, id, 0}, record,
                        (size_t)(at - record));
}

bool record_decode_reservation(int64_t id, struct span record,
                               struct record_reservation *reservation)
{
    struct input in = begin_input((struct checksum_context){CHECKSUM_RESERVATION, id, 0}, record,
                                  RESERVATION_VERSION);
    unsigned flags = take_flags(&in, RESERVATION_FLAGS);
    reservation->units.from_remain = flags & RESERVATION_FLAG_FROM_REMAIN;
    reservation->ended = flags & RESERVATION_FLAG_ENDED;
    reservation->unlimited_quota = flags & RESERVATION_FLAG_UNLIMITED;
    reservation->gateway_id = take_int(&in);
    reservation->user_id = take_int(&in);
    reservation->token_id = take_int(&in);
    reservation->units.reserved = take_int(&in);
    reservation->created_unix_s = take_int(&in);
    reservation->due_unix_s = take_int(&in);
    reservation->units.amount = take_int(&in);
    reservation->units.shortfall = take_int(&in);
    reservation->remain_quota = take_int(&in);
    size_t group_len = take_byte(&in);
    reservation->group = take_text(&in, group_len, TOKEN_GROUP_LEN_MAX);
    return is_complete(&in);
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
    size_t len = 16;
    put_big64(record, entry->user_id);
    put_big64(record + 8, entry->token_id);
    if (entry->until_unix_s != 0) {
        put_big64(record + len, entry->until_unix_s);
        len += 8;
    }
    return checksum_put(key_context(hash), record, len);
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
