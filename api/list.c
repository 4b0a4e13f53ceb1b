/* GET /: a page of the user's tokens, newest first. With a filter or an order of its own it is a
 * search. */

#include "api/paging.h"
#include "api/query.h"
#include "api/reply.h"
#include "api/token_json.h"

struct listing {
    struct buffer *body;
    int64_t now_unix_s;
    bool mask_keys;
    bool started;
};

static void append_item(void *context, const struct token *token)
{
    struct listing *listing = context;
    if (listing->started)
        buffer_append(listing->body, SPAN(","));
    listing->started = true;
    token_json_append(listing->body, token, listing->now_unix_s, listing->mask_keys);
}

static bool has_parameter(struct span query, const char *name)
{
    char value[QUERY_VALUE_SIZE];
    return query_get(query, name, value).at != NULL;
}

static bool is_search(struct span query)
{
    return query.len > 0 && (has_parameter(query, "status") || has_parameter(query, "group") ||
                             has_parameter(query, "sort") || has_parameter(query, "order"));
}

enum api_step list_begin(struct api *api, struct api_call *call, struct api_reply *reply)
{
    struct paging paging;
    const char *wrong;
    if (is_search(call->request->query))
        return search_begin(api, call, reply);
    if (!paging_read(call->request->query, &paging, &wrong)) {
        paging_refuse(api, reply, wrong, "must be a decimal number");
        return API_REPLIED;
    }
    reply_begin_data(&reply->body);
    buffer_append(&reply->body, SPAN("{\"items\":["));
    struct listing listing = {&reply->body, call->now_unix_s, call->mask_keys, false};
    uint64_t total;
    enum store_error error = store_token_page(api->reader, call->user_id, paging.offset,
                                              (uint64_t)paging.size, &total, append_item, &listing);
    if (error == STORE_CORRUPT)
        reply_failure(api, reply, FAILURE_LIST, (struct span){NULL, 0});
    else if (error != STORE_OK)
        reply_store_error(api, reply, error);
    if (error != STORE_OK)
        return API_REPLIED;
    paging_append_end(&reply->body, total, &paging);
    reply_end_data(api, reply);
    return API_REPLIED;
}
