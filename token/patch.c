#include "token/patch.h"

#include "base/text.h"

static enum token_error check_texts(const struct token_patch *patch)
{
    const struct token *value = &patch->value;
    if (patch->fields & TOKEN_FIELD_NAME) {
        if (text_has_control(value->name))
            return TOKEN_NAME_CONTROL;
        if (text_count_characters(value->name) > TOKEN_NAME_CHARACTERS_MAX)
            return TOKEN_NAME_TOO_LONG;
    }
    if (patch->fields & TOKEN_FIELD_GROUP) {
        if (text_has_control(value->group))
            return TOKEN_GROUP_CONTROL;
        if (value->group.len > TOKEN_GROUP_LEN_MAX)
            return TOKEN_GROUP_TOO_LONG;
    }
    if (patch->fields & TOKEN_FIELD_MODEL_LIMITS) {
        if (text_has_control(value->model_limits))
            return TOKEN_MODEL_LIMITS_CONTROL;
        if (value->model_limits.len > TOKEN_MODEL_LIMITS_LEN_MAX)
            return TOKEN_MODEL_LIMITS_TOO_LONG;
    }
    if (patch->fields & TOKEN_FIELD_ALLOW_IPS && value->allow_ips.len > TOKEN_ALLOW_IPS_LEN_MAX)
        return TOKEN_ALLOW_IPS_TOO_LONG;
    return TOKEN_OK;
}

enum token_error token_patch_check(const struct token_patch *patch)
{
    const struct token *value = &patch->value;
    if (patch->fields & TOKEN_FIELD_STATUS &&
        (value->status < TOKEN_ENABLED || value->status > TOKEN_EXHAUSTED))
        return TOKEN_STATUS_INVALID;
    if (patch->fields & TOKEN_FIELD_REMAIN_QUOTA && value->remain_quota < 0)
        return TOKEN_REMAIN_QUOTA_NEGATIVE;
    if (patch->fields & TOKEN_FIELD_EXPIRED && value->expired_unix_s < 0 &&
        value->expired_unix_s != TOKEN_NEVER_EXPIRES)
        return TOKEN_EXPIRED_TIME_NEGATIVE;
    return check_texts(patch);
}

static void copy_fields(const struct token_patch *patch, struct token *token)
{
    const struct token *value = &patch->value;
    if (patch->fields & TOKEN_FIELD_NAME)
        token->name = value->name;
    if (patch->fields & TOKEN_FIELD_STATUS &&
        (value->status == TOKEN_ENABLED || value->status == TOKEN_DISABLED))
        token->status = value->status;
    if (patch->fields & TOKEN_FIELD_REMAIN_QUOTA)
        token->remain_quota = value->remain_quota;
    if (patch->fields & TOKEN_FIELD_UNLIMITED_QUOTA)
        token->unlimited_quota = value->unlimited_quota;
    if (patch->fields & TOKEN_FIELD_MODEL_LIMITS_ENABLED)
        token->model_limits_enabled = value->model_limits_enabled;
    if (patch->fields & TOKEN_FIELD_MODEL_LIMITS)
        token->model_limits = value->model_limits;
    if (patch->fields & TOKEN_FIELD_ALLOW_IPS)
        token->allow_ips = value->allow_ips;
    if (patch->fields & TOKEN_FIELD_GROUP)
        token->group = value->group;
    if (patch->fields & TOKEN_FIELD_EXPIRED)
        token->expired_unix_s = value->expired_unix_s;
}

enum token_error token_patch_apply(const struct token_patch *patch, int64_t now_unix_s,
                                   struct token *token)
{
    struct token changed = *token;
    copy_fields(patch, &changed);

    bool enables = patch->fields & TOKEN_FIELD_STATUS && patch->value.status == TOKEN_ENABLED &&
                   token_status_at(token, now_unix_s) != TOKEN_ENABLED;
    if (enables) {
        enum token_status status = token_status_at(&changed, now_unix_s);
        if (status == TOKEN_EXPIRED)
            return TOKEN_ENABLE_EXPIRED;
        if (status == TOKEN_EXHAUSTED)
            return TOKEN_ENABLE_EXHAUSTED;
    }
    *token = changed;
    return TOKEN_OK;
}

/* clang-format off */
static const struct {
    const char *field, *text;
} errors[] = {
    [TOKEN_OK] = {"", ""},
    [TOKEN_NAME_TOO_LONG] = {"name", "must be at most 30 characters"},
    [TOKEN_NAME_CONTROL] = {"name", "must not have control characters"},
    [TOKEN_STATUS_INVALID] = {"status", "must be 1 (enabled) or 2 (disabled)"},
    [TOKEN_REMAIN_QUOTA_NEGATIVE] = {"remain_quota", "must be 0 or more"},
    [TOKEN_MODEL_LIMITS_CONTROL] = {"model_limits", "must not have control characters"},
    [TOKEN_MODEL_LIMITS_TOO_LONG] = {"model_limits", "must be at most 8192 bytes"},
    [TOKEN_ALLOW_IPS_TOO_LONG] = {"allow_ips", "must be at most 8192 bytes"},
    [TOKEN_GROUP_CONTROL] = {"group", "must not have control characters"},
    [TOKEN_GROUP_TOO_LONG] = {"group", "must be at most 64 bytes"},
    [TOKEN_EXPIRED_TIME_NEGATIVE] = {"expired_time", "must be 0 or more, or -1 for never"},
    [TOKEN_ENABLE_EXPIRED] = {"status", "the token has expired"},
    [TOKEN_ENABLE_EXHAUSTED] = {"status", "the token's quota is exhausted"},
};
/* clang-format on */

const char *token_error_field(enum token_error error)
{
    return errors[error].field;
}

const char *token_error_text(enum token_error error)
{
    return errors[error].text;
}
