/* GET /: a page of the user's tokens, newest first. */

#include "api/call.h"
#include "api/query.h"
#include "api/reply.h"
#include "api/token_json.h"

enum { PAGE_SIZE_DEFAULT = 20, PAGE_SIZE_MAX = 100 };

/* The names that clients of the family use for the page size. */
static const char *const size_names[] = {"size", "page_size", "ps"};

static bool read_paging(struct span query, int64_t *page, int64_t *size, const char **wrong)
{
    *page = 1;
    *size = PAGE_SIZE_DEFAULT;
    *wrong = "p";
    if (!query_get_number(query, "p", page))
        return false;
    for (size_t i = sizeof(size_names) / sizeof(size_names[0]); i-- > 0;) {
        *wrong = size_names[i]; /* backwards: the first name counts */
        if (!query_get_number(query, size_names[i], size))
            return false;
    }
    if (*page < 1)
        *page = 1;
    if (*size < 1)
        *size = PAGE_SIZE_DEFAULT;
    if (*size > PAGE_SIZE_MAX)
        *size = PAGE_SIZE_MAX;
    return true;
}

struct listing {
    struct buffer *body;
    int64_t now_unix_s;
    bool started;
};

static void append_item(void *context, const struct token *token)
{
    struct listing *listing = context;
    if (listing->started)
        buffer_append(listing->body, SPAN(","));
    listing->started = true;
    token_json_append(listing->body, token, listing->now_unix_s);
}

bool list_begin(struct api *api, struct api_call *call, struct api_reply *reply)
{
    int64_t page, size;
    const char *wrong;
    if (!read_paging(call->request->query, &page, &size, &wrong)) {
        struct json_refusal refusal = {span_of(wrong), "must be a decimal number", -1, false};
        token_json_refuse(api, reply, &refusal);
        return false;
    }
    reply_begin_data(reply);
    buffer_append(&reply->body, SPAN("{\"items\":["));
    struct listing listing = {&reply->body, call->now_unix_s, false};
    uint64_t total, offset;
    if (__builtin_mul_overflow((uint64_t)page - 1, (uint64_t)size, &offset))
        offset = UINT64_MAX; /* past any end */
    enum store_error error = store_token_page(api->reader, call->user_id, offset, (uint64_t)size,
                                              &total, append_item, &listing);
    if (error == STORE_CORRUPT) {
        reply_failure(api, reply, FAILURE_LIST, (struct span){NULL, 0});
        return false;
    }
    if (error != STORE_OK) {
        reply_store_error(api, reply, error);
        return false;
    }
    buffer_append(&reply->body, SPAN("],\"total\":"));
    buffer_append_int(&reply->body, (int64_t)total);
    buffer_append(&reply->body, SPAN(",\"page\":"));
    buffer_append_int(&reply->body, page);
    buffer_append(&reply->body, SPAN(",\"page_size\":"));
    buffer_append_int(&reply->body, size);
    buffer_append(&reply->body, SPAN("}"));
    reply_end_data(api, reply);
    return false;
}
