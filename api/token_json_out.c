/* A token in answers: the hot path. It is written straight into the buffer, with one buffer_reserve
 * per token; a tree of json-c objects costs five times as much. */

#include "api/token_json.h"
#include "base/calendar.h"
#include "token/refill.h"

/* A line of code for each field of the table; a loop over it makes a list of 20 dearer (see
 * docs/performance.md). */
#define WRITE_INTEGER(name, value) at = write_int(write_text(at, name), value);
#define WRITE_STATUS(name, value)                                                                  \
    at = write_int(write_text(at, name), token_status_at(token, now_unix_s));
#define WRITE_BOOLEAN(name, value)                                                                 \
    at = write_text(at, name);                                                                     \
    at = write_text(at, (value) ? SPAN("true") : SPAN("false"));
#define WRITE_KEY(name, value)                                                                     \
    at = write_text(at, name);                                                                     \
    at = write_key(at, value, mask_key);
#define WRITE_REFILL(name, value)    at = write_json(write_text(at, name), token_refill_name(value));
#define WRITE_NAME(name, value)      at = write_json(write_text(at, name), value);
#define WRITE_TEXT(name, value)      WRITE_NAME(name, value)
#define WRITE_MODELS(name, value)    WRITE_NAME(name, value)
#define WRITE_ADDRESSES(name, value) WRITE_NAME(name, value)

#define WRITE_FIELD(constant, name, member, kind, ...)                                             \
    WRITE_##kind(SPAN(",\"" #name "\":"), token->member)

/* The most bytes that a field takes beside the escaped bytes of its text: name, punctuation, and
 * the longest number. */
enum { FIELD_LEN_MAX = 32 + INT_LEN_MAX };

static char *write_key(char *at, const char *key, bool masked)
{
    char mask[TOKEN_KEY_MASK_LEN_MAX];
    return write_json(at, masked ? token_key_mask(key, mask) : span_of(key));
}

size_t token_json_len_max(const struct token *token)
{
    size_t len = TOKEN_FIELD_COUNT * FIELD_LEN_MAX + TOKEN_KEY_LEN_MAX * JSON_ESCAPE_LEN_MAX;
    for (size_t i = 0; i < TOKEN_FIELD_COUNT; i++)
        if (token_field_is_text(&token_field_rules[i]))
            len += JSON_ESCAPE_LEN_MAX * token_field_text(&token_field_rules[i], token).len;
    return len;
}

void token_json_append(struct buffer *buffer, const struct token *token, int64_t now_unix_s,
                       bool mask_key)
{
    char *begin = buffer_reserve(buffer, token_json_len_max(token)), *at = begin;
    struct token refilled;
    if (!at)
        return;
    if (token->refill_interval != TOKEN_REFILL_NONE) {
        refilled = *token;
        token_refill(&refilled, calendar_day(now_unix_s));
        token = &refilled;
    }
    TOKEN_FIELDS(WRITE_FIELD)
    *begin = '{'; /* for the comma before the first */
    at = write_text(at, SPAN("}"));
    buffer->len = (size_t)(at - buffer->at);
}

void token_json_visit(void *context, const struct token *token)
{
    struct request *request = context;
    struct buffer *body = &request->body;
    if (body->len > 0 && body->at[body->len - 1] == '}')
        buffer_append(body, SPAN(","));
    token_json_append(body, token, request->now_unix_s, request_masks_keys(request));
}
