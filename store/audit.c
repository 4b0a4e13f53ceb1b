#include "store/audit.h"

#include "token/refill.h"

/* ---- values ---- */

/* A text of at most AUDIT_VALUE_LEN_MAX bytes, cut before a character (RFC 3629, section 3). */
static struct span cut(struct span text)
{
    if (text.len <= AUDIT_VALUE_LEN_MAX)
        return text;
    text.len = AUDIT_VALUE_LEN_MAX;
    while (text.len > 0 && ((unsigned char)text.at[text.len] & 0xC0) == 0x80)
        text.len--;
    return text;
}

static void append_value(struct buffer *changes, struct audit_value value)
{
    if (value.kind == AUDIT_TEXT)
        buffer_append_json(changes, cut(value.text));
    else if (value.kind == AUDIT_INT)
        buffer_append_int(changes, value.number);
    else if (value.kind == AUDIT_BOOL)
        buffer_append_bool(changes, SPAN(""), value.number != 0);
    else if (value.kind == AUDIT_RATIO)
        buffer_append_millionths(changes, value.number);
    else
        buffer_append(changes, SPAN("null"));
}

static void begin_field(struct buffer *changes, struct span name)
{
    buffer_append(changes, changes->len == 0 ? SPAN("{\"") : SPAN(",\""));
    buffer_append(changes, name);
    buffer_append(changes, SPAN("\":["));
}

void audit_append(struct buffer *changes, const char *name, struct audit_value before,
                  struct audit_value after)
{
    begin_field(changes, span_of(name));
    append_value(changes, before);
    buffer_append(changes, SPAN(","));
    append_value(changes, after);
    buffer_append(changes, SPAN("]"));
}

/* ---- what changes ---- */

/* The fields of something, of which the one before or the one after may be missing. */
struct sides {
    struct buffer *changes;
    bool is_new, is_deleted;
};

static void append_changed(const struct sides *sides, const char *name, struct audit_value before,
                           struct audit_value after)
{
    const struct audit_value none = {.kind = AUDIT_NONE};
    if (before.number != after.number || !span_equal(before.text, after.text))
        audit_append(sides->changes, name, sides->is_new ? none : before,
                     sides->is_deleted ? none : after);
}

static struct audit_value token_value(const struct token_field_rule *rule,
                                      const struct token *token)
{
    const void *member = token_field_at(rule, token);
    if (token_field_is_text(rule))
        return audit_text(token_field_text(rule, token));
    if (rule->kind == TOKEN_KIND_REFILL)
        return audit_text(token_refill_name(token->refill_interval));
    if (rule->kind == TOKEN_KIND_STATUS)
        return audit_int(token->status);
    if (rule->kind == TOKEN_KIND_BOOLEAN)
        return audit_bool(*(const bool *)member);
    return audit_int(*(const int64_t *)member);
}

void audit_append_token(struct buffer *changes, const struct token *before,
                        const struct token *after)
{
    const struct sides sides = {changes, !before, !after};
    const struct token none = token_default();
    for (size_t i = 0; i < TOKEN_FIELD_COUNT; i++) {
        const struct token_field_rule *rule = &token_field_rules[i];
        if (rule->set_by != TOKEN_SET_NEVER) /* the key is not */
            append_changed(&sides, rule->name.at, token_value(rule, before ? before : &none),
                           token_value(rule, after ? after : &none));
    }
}

void audit_append_user(struct buffer *changes, const struct record_user *before,
                       const struct record_user *after)
{
    const struct sides sides = {changes, !before, !after};
    const struct record_user none = {.account.unlimited_quota = true};
    const struct record_user *b = before ? before : &none, *a = after ? after : &none;
    append_changed(&sides, "username", audit_text(b->name), audit_text(a->name));
    append_changed(&sides, "group", audit_text(b->group), audit_text(a->group));
    append_changed(&sides, "role", audit_int(b->role), audit_int(a->role));
    append_changed(&sides, "status", audit_int(b->disabled ? TOKEN_DISABLED : TOKEN_ENABLED),
                   audit_int(a->disabled ? TOKEN_DISABLED : TOKEN_ENABLED));
    append_changed(&sides, "quota", audit_int(b->account.quota), audit_int(a->account.quota));
    append_changed(&sides, "unlimited_quota", audit_bool(b->account.unlimited_quota),
                   audit_bool(a->account.unlimited_quota));
    append_changed(&sides, "rpm_limit", audit_int(b->account.rpm_limit),
                   audit_int(a->account.rpm_limit));
    append_changed(&sides, "tpm_limit", audit_int(b->account.tpm_limit),
                   audit_int(a->account.tpm_limit));
    append_changed(&sides, "max_tokens", audit_int(b->account.max_tokens),
                   audit_int(a->account.max_tokens));
}

static struct audit_value ratio(const struct record_group *group)
{
    return (struct audit_value){.kind = AUDIT_RATIO, .number = group->ratio_millionths};
}

void audit_append_group(struct buffer *changes, const struct record_group *before,
                        const struct record_group *after)
{
    const struct sides sides = {changes, !before, !after};
    const struct record_group none = {.ratio_millionths = STORE_RATIO_ONE};
    const struct record_group *b = before ? before : &none, *a = after ? after : &none;
    append_changed(&sides, "description", audit_text(b->description), audit_text(a->description));
    append_changed(&sides, "public", audit_bool(b->is_public), audit_bool(a->is_public));
    append_changed(&sides, "ratio", ratio(b), ratio(a));
}

void audit_append_ids(struct buffer *changes, const struct audit_ids *ids, bool after)
{
    const struct audit_value none = {.kind = AUDIT_NONE}, count = audit_int((int64_t)ids->count);
    size_t listed = ids->count < AUDIT_IDS_MAX ? ids->count : AUDIT_IDS_MAX;
    begin_field(changes, SPAN("ids"));
    buffer_append(changes, after ? SPAN("null,[") : SPAN("["));
    for (size_t i = 0; i < listed; i++)
        buffer_append_number(changes, i > 0 ? SPAN(",") : SPAN(""), ids->listed[i]);
    buffer_append(changes, after ? SPAN("]]") : SPAN("],null]"));
    if (ids->count > listed)
        audit_append(changes, "count", after ? none : count, after ? count : none);
}

/* ---- records ---- */

/* At the time of the write: records are in the order of their times. */
enum store_error store_apply_reveal(struct store_txn *txn, struct store_write *write)
{
    for (size_t i = 0; i < write->reveal.count && txn->error == STORE_OK; i++) {
        const struct store_reveal *reveal = &write->reveal.reveals[i];
        const struct store_audit record = {.time_unix_s = txn->rows->wall_s(txn, write),
                                           .action = SPAN("token.reveal"),
                                           .actor = {.kind = STORE_ACTOR_USER,
                                                     .id = reveal->user_id,
                                                     .address = span_of(reveal->address),
                                                     .request_id = span_of(reveal->request_id)},
                                           .user_id = reveal->user_id,
                                           .token_id = reveal->token_id,
                                           .changes = SPAN("{}")};
        txn->rows->add_audit(txn, &record);
    }
    return txn->error;
}

void audit_record(struct store_txn *txn, const struct store_write *write, const char *action,
                  int64_t user_id, int64_t token_id, struct buffer *changes)
{
    buffer_append(changes, changes->len == 0 ? SPAN("{}") : SPAN("}"));
    if (changes->failed)
        store_txn_fail(txn, STORE_UNAVAILABLE);
    if (txn->error == STORE_OK && write->actor.kind != STORE_ACTOR_NONE)
        txn->rows->add_audit(txn,
                             &(struct store_audit){.time_unix_s = txn->rows->wall_s(txn, write),
                                                   .action = span_of(action),
                                                   .actor = write->actor,
                                                   .user_id = user_id,
                                                   .token_id = token_id,
                                                   .changes = buffer_span(changes)});
    buffer_free(changes);
}
