/* POST /api/token/find: whose key is it? For administrators; the key is never answered. */

#include "api/handlers.h"
#include "api/json_in.h"
#include "api/reply.h"
#include "base/calendar.h"
#include "token/refill.h"

static void append_owner(void *context, const struct store_use_view *view)
{
    struct request *request = context;
    struct buffer *body = &request->body;
    struct token token = *view->token;
    token_refill(&token, calendar_day(request->now_unix_s));
    buffer_append_number(body, SPAN("{\"user_id\":"), token.user_id);
    buffer_append_number(body, SPAN(",\"token_id\":"), token.id);
    buffer_append(body, SPAN(",\"name\":"));
    buffer_append_json(body, token.name);
    buffer_append_number(body, SPAN(",\"status\":"), token_status_at(&token, request->now_unix_s));
    buffer_append(body, SPAN("}"));
}

enum api_step find_begin(struct request *request)
{
    struct span text = {NULL, 0};
    struct store_reader *reader = request->api->reader;
    char key[TOKEN_KEY_SIZE];
    if (!json_in_parse(request, false) || !json_in_text(request, "key", &text))
        return reply_invalid(request);
    if (!text.at)
        return reply_invalid_field(request, "key", "is required");
    reply_begin_data(request);
    enum store_error error = store_key_read(reader, text, key);
    if (error == STORE_OK)
        error = store_token_find(reader, key, request->now_unix_s, append_owner, request);
    explicit_bzero(key, sizeof(key));
    if (error != STORE_OK)
        return reply_store_error(request, error);
    reply_end_data(request);
    return API_REPLIED;
}
