#include "token/patch.h"

#include "base/text.h"
#include "token/refill.h"

/* A number's value or a text's length, as the field's limits count it. */
static int64_t measure(const struct token_field_rule *rule, const struct token *value)
{
    if (rule->kind == TOKEN_KIND_NAME)
        return (int64_t)text_count_characters(token_field_text(rule, value));
    if (token_field_is_text(rule))
        return (int64_t)token_field_text(rule, value).len;
    if (rule->kind == TOKEN_KIND_INTEGER)
        return *(const int64_t *)token_field_at(rule, value);
    if (rule->kind == TOKEN_KIND_STATUS)
        return value->status;
    if (rule->kind == TOKEN_KIND_REFILL)
        return value->refill_interval;
    return rule->min; /* no limits */
}

static bool check_field(const struct token_field_rule *rule, const struct token *value,
                        struct validation_error *error)
{
    int64_t number = measure(rule, value);
    error->field = rule->name;
    if (token_field_is_text(rule) && text_has_control(token_field_text(rule, value))) {
        error->text = "must not have control characters";
        return false;
    }
    if (number >= rule->min && number <= rule->max)
        return true;
    error->text = rule->message;
    if (rule->kind == TOKEN_KIND_NAME)
        error->code = VALIDATION_NAME_TOO_LONG;
    return false;
}

bool token_patch_check(const struct token_patch *patch, struct validation_error *error)
{
    for (size_t i = 0; i < TOKEN_FIELD_COUNT; i++)
        if (patch->fields & token_field_rules[i].field &&
            !check_field(&token_field_rules[i], &patch->value, error))
            return false;
    return true;
}

static void copy_fields(const struct token_patch *patch, struct token *token)
{
    for (size_t i = 0; i < TOKEN_FIELD_COUNT; i++) {
        const struct token_field_rule *rule = &token_field_rules[i];
        bool ignored = rule->kind == TOKEN_KIND_STATUS && patch->value.status > TOKEN_DISABLED;
        if (patch->fields & rule->field && !ignored)
            memcpy((char *)token + rule->offset, token_field_at(rule, &patch->value), rule->size);
    }
}

/* Brings the remain_quota of changed, which the patch has set, up to date with token. */
static enum token_error change_quota(const struct token_patch *patch, const struct token *token,
                                     struct token *changed)
{
    int64_t more = patch->add_quota;
    bool is_finite = !token->unlimited_quota && !changed->unlimited_quota;
    bool has_refill = token->refill_interval || changed->refill_interval;
    /* Else not only spends have changed it. */
    bool as_read = patch->fields & TOKEN_FIELD_USED_QUOTA && is_finite && !has_refill;
    if (as_read)
        more = patch->value.used_quota - token->used_quota;
    changed->used_quota = token->used_quota;
    if (__builtin_add_overflow(changed->remain_quota, more, &changed->remain_quota))
        return TOKEN_QUOTA_TOO_HIGH;
    if (changed->remain_quota >= 0)
        return TOKEN_OK;
    changed->remain_quota = 0;
    return as_read ? TOKEN_OK : TOKEN_QUOTA_TOO_LOW;
}

enum token_error token_patch_apply(const struct token_patch *patch, int64_t now_unix_s, int64_t day,
                                   struct token *token)
{
    token_refill(token, day);
    struct token changed = *token;
    if (patch->fields & TOKEN_FIELD_NAME && !span_equal(patch->value.name, token->name) &&
        text_count_characters(patch->value.name) > patch->name_max)
        return TOKEN_NAME_TOO_LONG;
    copy_fields(patch, &changed);
    token_refill_start(&changed, day);
    enum token_error error = change_quota(patch, token, &changed);
    if (error != TOKEN_OK)
        return error;
    bool enables = patch->fields & TOKEN_FIELD_STATUS && patch->value.status == TOKEN_ENABLED &&
                   token_status_at(token, now_unix_s) != TOKEN_ENABLED;
    enum token_status status = token_status_at(&changed, now_unix_s);
    if (enables && status == TOKEN_EXPIRED)
        return TOKEN_ENABLE_EXPIRED;
    if (enables && status == TOKEN_EXHAUSTED)
        return TOKEN_ENABLE_EXHAUSTED;
    *token = changed;
    return TOKEN_OK;
}
