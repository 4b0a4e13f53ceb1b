/* The records of groups, audit and usage. */

#include "store/lmdb/codec.h"

/* ---- groups and audit records ---- */

static void code_group(struct codec *codec, void *value)
{
    struct record_group *group = value;
    bool *const flags[] = {&group->is_public};
    code_version(codec, 1, 1, 1);
    code_flags(codec, flags, 1);
    code_int(codec, &group->ratio_millionths);
    code_length(codec, &group->description, 1, STORE_DESCRIPTION_LEN_MAX);
    code_text(codec, &group->description);
}

size_t record_encode_group(struct span name, const struct record_group *group,
                           unsigned char *record)
{
    struct record_group copy = *group;
    return encode(checksum_context_of(CHECKSUM_GROUP, name), code_group, &copy, record);
}

bool record_decode_group(struct span name, struct span record, struct record_group *group)
{
    return decode(checksum_context_of(CHECKSUM_GROUP, name), code_group, group, record);
}

static void code_audit(struct codec *codec, void *value)
{
    struct store_audit *audit = value;
    int64_t kind = codec->reading ? STORE_ACTOR_NONE : audit->actor.kind;
    struct span *const texts[] = {&audit->action, &audit->actor.address, &audit->actor.request_id};
    code_version(codec, 1, 1, 1);
    code_int(codec, &audit->time_unix_s);
    code_int(codec, &kind);
    code_int(codec, &audit->actor.id);
    code_int(codec, &audit->user_id);
    code_int(codec, &audit->token_id);
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        code_length(codec, texts[i], 1, STORE_AUDIT_TEXT_LEN_MAX);
    code_length(codec, &audit->changes, 2, STORE_AUDIT_CHANGES_LEN_MAX);
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        code_text(codec, texts[i]);
    code_text(codec, &audit->changes);
    codec->bad |= kind < STORE_ACTOR_NONE || kind > STORE_ACTOR_TOKENCTL;
    audit->actor.kind = codec->bad ? STORE_ACTOR_NONE : (enum store_actor_kind)kind;
}

size_t record_encode_audit(const struct store_audit *audit, unsigned char *record)
{
    struct store_audit copy = *audit;
    return encode((struct checksum_context){CHECKSUM_AUDIT, audit->id, 0}, code_audit, &copy,
                  record);
}

bool record_decode_audit(int64_t id, struct span record, struct store_audit *audit)
{
    audit->id = id;
    return decode((struct checksum_context){CHECKSUM_AUDIT, id, 0}, code_audit, audit, record);
}

/* ---- usage, and entries whose key says all ---- */

size_t record_encode_usage(struct span key, const struct record_usage *usage, unsigned char *record)
{
    put_little64(record, usage->units);
    put_little64(record + 8, usage->requests);
    return checksum_put(checksum_context_of(CHECKSUM_USAGE, key), record, 16);
}

bool record_decode_usage(struct span key, struct span record, struct record_usage *usage)
{
    const unsigned char *ids = (const unsigned char *)key.at;
    const unsigned char *bytes = (const unsigned char *)record.at;
    if (key.len != RECORD_USAGE_KEY_LEN ||
        !checksum_take(checksum_context_of(CHECKSUM_USAGE, key), &record) || record.len != 16)
        return false;
    *usage = (struct record_usage){
        .user_id = get_big64(ids),
        .token_id = get_big64(ids + 8),
        .day = get_big64(ids + 16),
        .units = get_little64(bytes),
        .requests = get_little64(bytes + 8),
    };
    return true;
}

size_t record_encode_entry(struct span key, unsigned char *record)
{
    return checksum_put(checksum_context_of(CHECKSUM_ENTRY, key), record, 0);
}

bool record_decode_entry(struct span key, struct span record)
{
    return checksum_take(checksum_context_of(CHECKSUM_ENTRY, key), &record) && record.len == 0;
}
