/* GET /:id; POST /:id/key and POST /batch/keys, which show keys also where answers mask them. */

#include "api/handlers.h"
#include "api/json_in.h"
#include "api/reply.h"
#include "api/token_json.h"

static enum api_step read_token(struct request *request, store_visit_token *append)
{
    reply_begin_data(request);
    enum store_error error =
        store_token_get(request->api->reader, request->user_id, request->path_id, append, request);
    if (error != STORE_OK)
        return reply_store_error(request, error);
    reply_end_data(request);
    return API_REPLIED;
}

enum api_step get_begin(struct request *request)
{
    return read_token(request, token_json_visit);
}

static void append_key(void *context, const struct token *token)
{
    struct request *request = context;
    buffer_append(&request->body, SPAN("{\"key\":"));
    buffer_append_json(&request->body, span_of(token->key));
    buffer_append(&request->body, SPAN("}"));
}

enum api_step key_begin(struct request *request)
{
    enum api_step step = read_token(request, append_key);
    request->revealed = &request->path_id;
    request->revealed_count = request->head.len == 0; /* no failure */
    return step;
}

/* ,"7":"sk-…" */
static void append_member(void *context, const struct token *token)
{
    struct buffer *body = &((struct request *)context)->body;
    buffer_append(body, body->at[body->len - 1] == '{' ? SPAN("\"") : SPAN(",\""));
    buffer_append_int(body, token->id);
    buffer_append(body, SPAN("\":"));
    buffer_append_json(body, span_of(token->key));
}

static bool occurs_before(const int64_t *ids, size_t at)
{
    for (size_t i = 0; i < at; i++)
        if (ids[i] == ids[at])
            return true;
    return false;
}

enum api_step keys_begin(struct request *request)
{
    if (!json_in_ids(request, API_REVEALED_MAX))
        return reply_invalid(request);
    reply_begin_data(request);
    buffer_append(&request->body, SPAN("{\"keys\":{"));
    size_t shown = 0;
    for (size_t i = 0; i < request->id_count && !request->body.failed; i++) {
        if (occurs_before(request->ids, i))
            continue;
        int64_t id = request->ids[i];
        enum store_error error =
            store_token_get(request->api->reader, request->user_id, id, append_member, request);
        if (error == STORE_OK)
            request->ids[shown++] = id; /* the ids before i have been dealt with */
        else if (error != STORE_NOT_FOUND)
            return reply_store_error(request, error);
    }
    request->revealed = request->ids;
    request->revealed_count = shown;
    buffer_append(&request->body, SPAN("}}"));
    reply_end_data(request);
    return API_REPLIED;
}
