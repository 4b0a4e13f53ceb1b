#include "store/lmdb/record.h"

#include "base/bytes.h"

/* One description of each layout, for both directions: it writes the members' values or reads
 * them. Reading beyond the end of a record makes it bad and yields zeros and empty texts. */
struct codec {
    bool reading, bad;
    unsigned char *out; /* where writing goes on */
    struct span in;     /* left to be read */
};

static inline void code_bytes(struct codec *codec, void *bytes, size_t len)
{
    if (!codec->reading) {
        memcpy(codec->out, bytes, len);
        codec->out += len;
    } else if (len <= codec->in.len) {
        memcpy(bytes, codec->in.at, len);
        codec->in = span_from(codec->in, len);
    } else {
        memset(bytes, 0, len);
        codec->bad = true;
    }
}

static inline void code_int(struct codec *codec, int64_t *value)
{
    unsigned char bytes[8];
    if (!codec->reading)
        put_little64(bytes, *value);
    code_bytes(codec, bytes, sizeof(bytes));
    *value = get_little64(bytes);
}

/* A layout's version: the one to be written; all from the oldest to the newest can be read. Returns
 * it. */
static unsigned code_version(struct codec *codec, unsigned char oldest, unsigned char newest,
                             unsigned char version)
{
    code_bytes(codec, &version, 1);
    codec->bad |= version < oldest || version > newest;
    return version;
}

/* The count first bits of a byte; the others are 0. */
static inline void code_flags(struct codec *codec, bool *const flags[], size_t count)
{
    unsigned char byte = 0;
    for (size_t i = 0; !codec->reading && i < count; i++)
        byte = (unsigned char)(byte | *flags[i] << i);
    code_bytes(codec, &byte, 1);
    for (size_t i = 0; i < count; i++)
        *flags[i] = byte >> i & 1;
    codec->bad |= byte >> count != 0;
}

/* The length of a text, in one byte or two; the text comes later in the record. */
static inline void code_length(struct codec *codec, struct span *text, size_t size, size_t len_max)
{
    unsigned char bytes[2];
    if (!codec->reading)
        put_little16(bytes, text->len);
    code_bytes(codec, bytes, size);
    text->len = size == 1 ? bytes[0] : get_little16(bytes);
    codec->bad |= text->len > len_max; /* it would not fit where records are made */
}

static void code_text(struct codec *codec, struct span *text)
{
    if (!codec->reading) {
        codec->out = mempcpy(codec->out, text->len > 0 ? text->at : "", text->len);
    } else if (text->len <= codec->in.len) {
        text->at = codec->in.at;
        codec->in = span_from(codec->in, text->len);
    } else {
        *text = SPAN("");
        codec->bad = true;
    }
}

/* Writes or reads a record's members; the value is of the type that the function is for. */
typedef void code_value(struct codec *codec, void *value);

static size_t encode(struct checksum_context context, code_value *code, void *value,
                     unsigned char *record)
{
    struct codec codec = {.out = record};
    code(&codec, value);
    return checksum_put(context, record, (size_t)(codec.out - record));
}

static bool decode(struct checksum_context context, code_value *code, void *value,
                   struct span record)
{
    bool intact = checksum_take(context, &record);
    struct codec codec = {.reading = true, .bad = !intact, .in = record};
    code(&codec, value);
    return !codec.bad && codec.in.len == 0;
}

/* ---- tokens ---- */

static struct checksum_context token_context(const struct token *token)
{
    return (struct checksum_context){CHECKSUM_TOKEN, token->user_id, token->id};
}

struct token_parts {
    struct token *token;
    struct record_keys *keys;
};

static void code_token(struct codec *codec, void *value)
{
    const struct token_parts *parts = value;
    struct token *token = parts->token;
    struct record_keys *keys = parts->keys;
    bool disabled = !codec->reading && token->status == TOKEN_DISABLED;
    bool *const flags[] = {&disabled, &token->unlimited_quota, &token->model_limits_enabled,
                           &keys->has_old};
    /* 3: longer names; 4: a sealed key of another length than ours, which are written as 3 unless
     * there is an old one */
    bool is_3 = !codec->reading && /* when read they are not set yet */
                keys->sealed.len == SEAL_KEY_LEN && (!keys->has_old || keys->old_sealed.len == 0);
    unsigned version = code_version(codec, 2, 4, is_3 ? 3 : 4);
    code_flags(codec, flags, sizeof(flags) / sizeof(flags[0]));
    code_int(codec, &token->remain_quota);
    code_int(codec, &token->used_quota);
    code_int(codec, &token->expired_unix_s);
    code_int(codec, &token->created_unix_s);
    code_int(codec, &token->accessed_unix_s);
    keys->sealed.len = codec->reading ? SEAL_KEY_LEN : keys->sealed.len;
    if (version == 4)
        code_length(codec, &keys->sealed, 2, SEAL_KEY_LEN_MAX);
    code_text(codec, &keys->sealed);
    code_length(codec, &token->name, version == 2 ? 1 : 2, RECORD_NAME_LEN_MAX);
    code_length(codec, &token->group, 1, TOKEN_GROUP_LEN_MAX);
    code_length(codec, &token->model_limits, 2, TOKEN_MODEL_LIMITS_LEN_MAX);
    code_length(codec, &token->allow_ips, 2, TOKEN_ALLOW_IPS_LEN_MAX);
    code_text(codec, &token->name);
    code_text(codec, &token->group);
    code_text(codec, &token->model_limits);
    code_text(codec, &token->allow_ips);
    if (keys->has_old) {
        code_bytes(codec, keys->old_hash, sizeof(keys->old_hash));
        code_int(codec, &keys->old_until_unix_s);
    }
    keys->old_sealed.len = codec->reading || !keys->has_old ? 0 : keys->old_sealed.len;
    if (version == 4 && keys->has_old)
        code_length(codec, &keys->old_sealed, 2, SEAL_KEY_LEN_MAX);
    code_text(codec, &keys->old_sealed);
    token->status = disabled ? TOKEN_DISABLED : TOKEN_ENABLED;
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
    /* Until they are stored. */
    memset((char *)token + offsetof(struct token, rpm_limit), 0,
           offsetof(struct token, key) - offsetof(struct token, rpm_limit));
    token->refill_day = 1;
    return decode(token_context(token), code_token, &(struct token_parts){token, keys}, record);
}

/* ---- users ---- */

static void code_user(struct codec *codec, void *value)
{
    struct record_user *user = value;
    int64_t role = codec->reading ? USER_ROLE_USER : user->role;
    bool is_limited = !codec->reading && !user->account.unlimited_quota;
    bool has_more = !codec->reading &&
                    (is_limited || role != USER_ROLE_USER || user->account.quota != 0 ||
                     user->account.deleted_used_quota != 0 || user->account.request_count != 0);
    bool *const flags[] = {&user->disabled, &user->deleted, &is_limited};
    /* 3: role, quotas, request_count; those of most users, without them, are written as 2 */
    unsigned version = code_version(codec, 2, 3, has_more ? 3 : 2);
    code_flags(codec, flags, sizeof(flags) / sizeof(flags[0]));
    code_int(codec, &user->created_unix_s);
    code_bytes(codec, user->access_hash, sizeof(user->access_hash));
    if (version == 3) {
        code_int(codec, &role);
        code_int(codec, &user->account.quota);
        code_int(codec, &user->account.deleted_used_quota);
        code_int(codec, &user->account.request_count);
        codec->bad |= role < 0 || role > USER_ROLE_ROOT;
    } else {
        codec->bad |= is_limited;
        user->account.quota = user->account.deleted_used_quota = user->account.request_count = 0;
    }
    user->account.unlimited_quota = !is_limited;
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
    bool *const flags[] = {&reservation->units.from_remain, &reservation->ended,
                           &reservation->unlimited_quota};
    code_version(codec, 2, 2, 2);
    code_flags(codec, flags, sizeof(flags) / sizeof(flags[0]));
    code_int(codec, &reservation->gateway_id);
    code_int(codec, &reservation->user_id);
    code_int(codec, &reservation->token_id);
    code_int(codec, &reservation->units.reserved);
    code_int(codec, &reservation->created_s);
    code_int(codec, &reservation->due_s);
    code_int(codec, &reservation->units.amount);
    code_int(codec, &reservation->units.shortfall);
    code_int(codec, &reservation->remain_quota);
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
