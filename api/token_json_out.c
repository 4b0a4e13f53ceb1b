/* The answers are the hot path: they are written straight, with one reservation a
 * token, and not by building objects of a library first (json-c: five times slower). */

#include "api/token_json.h"

#define FIELD_INT(name, value)  at = write_int(write_text(at, SPAN(",\"" name "\":")), value)
#define FIELD_TEXT(name, value) at = write_json(write_text(at, SPAN(",\"" name "\":")), value)
#define FIELD_BOOL(name, value)                                                                    \
    at = write_text(at, (value) ? SPAN(",\"" name "\":true") : SPAN(",\"" name "\":false"))

/* All the names, punctuation, booleans, numbers and the key. */
enum { FIXED_LEN_MAX = 512 };

/* A key has nothing to escape. */
static char *write_key(char *at, const char key[static TOKEN_KEY_LEN])
{
    *at++ = '"';
    at = write_text(at, (struct span){key, TOKEN_KEY_LEN});
    *at++ = '"';
    return at;
}

/* "sk-" and the first 4 of the 48 characters, and the last 4. */
static char *write_masked_key(char *at, const char key[static TOKEN_KEY_LEN])
{
    at = write_text(at, SPAN("\""));
    at = write_text(at, (struct span){key, TOKEN_KEY_PREFIX_LEN + 4});
    at = write_text(at, SPAN("**********"));
    at = write_text(at, (struct span){key + TOKEN_KEY_LEN - 4, 4});
    return write_text(at, SPAN("\""));
}

size_t token_json_len_max(const struct token *token)
{
    return FIXED_LEN_MAX + JSON_ESCAPE_LEN_MAX * (token->name.len + token->model_limits.len +
                                                  token->allow_ips.len + token->group.len);
}

void token_json_append(struct buffer *buffer, const struct token *token, int64_t now_unix_s,
                       bool mask_key)
{
    char *at = buffer_reserve(buffer, token_json_len_max(token));
    if (!at)
        return;
    at = write_int(write_text(at, SPAN("{\"id\":")), token->id);
    FIELD_INT("user_id", token->user_id);
    FIELD_TEXT("name", token->name);
    at = write_text(at, SPAN(",\"key\":"));
    at = mask_key ? write_masked_key(at, token->key) : write_key(at, token->key);
    FIELD_INT("status", token_status_at(token, now_unix_s));
    FIELD_INT("remain_quota", token->remain_quota);
    FIELD_INT("used_quota", token->used_quota);
    FIELD_BOOL("unlimited_quota", token->unlimited_quota);
    FIELD_BOOL("model_limits_enabled", token->model_limits_enabled);
    FIELD_TEXT("model_limits", token->model_limits);
    FIELD_TEXT("allow_ips", token->allow_ips);
    FIELD_TEXT("group", token->group);
    FIELD_INT("expired_time", token->expired_unix_s);
    FIELD_INT("created_time", token->created_unix_s);
    FIELD_INT("accessed_time", token->accessed_unix_s);
    *at++ = '}';
    buffer->len = (size_t)(at - buffer->at);
}
