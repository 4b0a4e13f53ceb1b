#include "store/record.h"

#include "store/bytes.h"

enum { TOKEN_VERSION = 1, USER_VERSION = 1, NAME_LEN_MAX = 4 * TOKEN_NAME_CHARACTERS_MAX };

enum token_flag { FLAG_DISABLED = 1 << 0, FLAG_UNLIMITED = 1 << 1, FLAG_MODELS = 1 << 2 };

enum user_flag { FLAG_USER_DISABLED = 1 << 0, FLAG_USER_DELETED = 1 << 1 };

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
    AT_NAME_LEN = AT_SEALED + SECRET_SEALED_LEN,
    AT_GROUP_LEN = AT_NAME_LEN + 1,
    AT_MODEL_LIMITS_LEN = AT_GROUP_LEN + 1,
    AT_ALLOW_IPS_LEN = AT_MODEL_LIMITS_LEN + 2,
    AT_TEXTS = AT_ALLOW_IPS_LEN + 2
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

size_t record_encode_token(const struct token *token,
                           const unsigned char sealed[static SECRET_SEALED_LEN],
                           unsigned char *record)
{
    record[AT_VERSION] = TOKEN_VERSION;
    record[AT_FLAGS] = (unsigned char)((token->status == TOKEN_DISABLED ? FLAG_DISABLED : 0) |
                                       (token->unlimited_quota ? FLAG_UNLIMITED : 0) |
                                       (token->model_limits_enabled ? FLAG_MODELS : 0));
    put_little64(record + AT_REMAIN_QUOTA, token->remain_quota);
    put_little64(record + AT_USED_QUOTA, token->used_quota);
    put_little64(record + AT_EXPIRED, token->expired_unix_s);
    put_little64(record + AT_CREATED, token->created_unix_s);
    put_little64(record + AT_ACCESSED, token->accessed_unix_s);
    memcpy(record + AT_SEALED, sealed, SECRET_SEALED_LEN);
    record[AT_NAME_LEN] = (unsigned char)token->name.len;
    record[AT_GROUP_LEN] = (unsigned char)token->group.len;
    put_little16(record + AT_MODEL_LIMITS_LEN, token->model_limits.len);
    put_little16(record + AT_ALLOW_IPS_LEN, token->allow_ips.len);

    unsigned char *end = record + AT_TEXTS;
    end = append(end, token->name);
    end = append(end, token->group);
    end = append(end, token->model_limits);
    end = append(end, token->allow_ips);
    return (size_t)(end - record);
}

bool record_decode_token(struct span record, struct token *token, const unsigned char **sealed)
{
    const unsigned char *bytes = (const unsigned char *)record.at;
    if (record.len < AT_TEXTS || bytes[AT_VERSION] != TOKEN_VERSION)
        return false;
    size_t name_len = bytes[AT_NAME_LEN], group_len = bytes[AT_GROUP_LEN];
    size_t models_len = get_little16(bytes + AT_MODEL_LIMITS_LEN);
    size_t ips_len = get_little16(bytes + AT_ALLOW_IPS_LEN);
    if (name_len > NAME_LEN_MAX || group_len > TOKEN_GROUP_LEN_MAX ||
        models_len > TOKEN_MODEL_LIMITS_LEN_MAX || ips_len > TOKEN_ALLOW_IPS_LEN_MAX)
        return false; /* it would not fit where records are made */
    if (record.len != AT_TEXTS + name_len + group_len + models_len + ips_len)
        return false;

    unsigned flags = bytes[AT_FLAGS];
    token->status = flags & FLAG_DISABLED ? TOKEN_DISABLED : TOKEN_ENABLED;
    token->unlimited_quota = flags & FLAG_UNLIMITED;
    token->model_limits_enabled = flags & FLAG_MODELS;
    token->remain_quota = get_little64(bytes + AT_REMAIN_QUOTA);
    token->used_quota = get_little64(bytes + AT_USED_QUOTA);
    token->expired_unix_s = get_little64(bytes + AT_EXPIRED);
    token->created_unix_s = get_little64(bytes + AT_CREATED);
    token->accessed_unix_s = get_little64(bytes + AT_ACCESSED);
    *sealed = bytes + AT_SEALED;

    struct span rest = span_from(record, AT_TEXTS);
    token->name = take(&rest, name_len);
    token->group = take(&rest, group_len);
    token->model_limits = take(&rest, models_len);
    token->allow_ips = take(&rest, ips_len);
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

size_t record_encode_user(const struct record_user *user, unsigned char *record)
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
    return (size_t)(end - record);
}

bool record_decode_user(struct span record, struct record_user *user)
{
    const unsigned char *bytes = (const unsigned char *)record.at;
    if (record.len < AT_USER_TEXTS || bytes[AT_VERSION] != USER_VERSION)
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
