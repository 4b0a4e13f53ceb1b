/* GET /search, and GET / with filters: all of the user's tokens are looked at, away from
 * the thread that others wait for. */

#include <stdlib.h>
#include <string.h>

#include "base/number.h"
#include "api/paging.h"
#include "api/query.h"
#include "api/reply.h"
#include "api/token_json.h"

static const struct {
    const char *name;
    enum store_sort sort;
} sorts[] = {
    {"id", STORE_SORT_ID},
    {"name", STORE_SORT_NAME},
    {"created_time", STORE_SORT_CREATED},
    {"expired_time", STORE_SORT_EXPIRED},
    {"accessed_time", STORE_SORT_ACCESSED},
    {"remain_quota", STORE_SORT_REMAIN_QUOTA},
    {"used_quota", STORE_SORT_USED_QUOTA},
};

/* A parameter's value, in the call's text: the search outlives the request. */
static struct span get_text(struct api_call *call, const char *name)
{
    char value[QUERY_VALUE_SIZE]; /* may be a key */
    struct span text = query_get(call->request->query, name, value);
    if (!text.at)
        return text;
    text.at = memcpy(call->text + call->text_len, text.at, text.len);
    call->text_len += text.len;
    explicit_bzero(value, sizeof(value));
    return text;
}

static bool read_status(struct span text, enum token_status *status)
{
    int64_t number;
    if (text.len == 0)
        return true;
    if (!number_parse(text, &number) || number < TOKEN_ENABLED || number > TOKEN_EXHAUSTED)
        return false;
    *status = (enum token_status)number;
    return true;
}

static bool read_sort(struct span text, enum store_sort *sort)
{
    for (size_t i = 0; i < sizeof(sorts) / sizeof(sorts[0]); i++) {
        if (text.len > 0 && !span_equal(text, span_of(sorts[i].name)))
            continue;
        *sort = sorts[i].sort;
        return true;
    }
    return false;
}

static bool read_order(struct span text, bool *ascending)
{
    *ascending = span_equal(text, SPAN("asc"));
    return *ascending || text.len == 0 || span_equal(text, SPAN("desc"));
}

/* What is wrong and with which parameter; NULL where nothing is. */
static const char *read_search(struct api_call *call, const char **parameter)
{
    struct store_search *search = &call->search;
    bool is_search_route = span_equal(call->path, SPAN("/search"));
    search->user_id = call->user_id;
    search->now_unix_s = call->now_unix_s;
    if (is_search_route) {
        search->keyword = get_text(call, "keyword");
        search->key = get_text(call, "token");
    }
    search->group = get_text(call, "group");
    if (search->group.len == 0)
        search->group.at = NULL;
    *parameter = "status";
    if (!read_status(get_text(call, "status"), &search->status))
        return "must be 1, 2, 3 or 4";
    *parameter = "sort";
    if (!read_sort(get_text(call, "sort"), &search->sort))
        return "must be id, name, created_time, expired_time, accessed_time, remain_quota or "
               "used_quota";
    *parameter = "order";
    return read_order(get_text(call, "order"), &search->ascending) ? NULL : "must be asc or desc";
}

enum {
    SEARCH_TEXTS_MAX = 6,
    SHORT_COUNT_MAX = 500 /* tokens that are looked at in no time, less than 0.1 ms */
};

/* So that who has few tokens need not wait for the searches of those who have many. */
static bool is_short(struct api *api, const struct api_call *call)
{
    uint64_t total;
    return store_token_page(api->reader, call->user_id, 0, 0, &total, NULL, NULL) == STORE_OK &&
           total <= SHORT_COUNT_MAX;
}

static void append_found(void *context, const struct token *token)
{
    struct api_call *call = context;
    if (call->found_any)
        buffer_append(&call->found, SPAN(","));
    call->found_any = true;
    token_json_append(&call->found, token, call->now_unix_s, call->mask_keys);
}

void api_search(struct api_call *call, struct store_reader *reader)
{
    call->search_error =
        store_token_search(reader, &call->search, &call->total, append_found, call);
}

void search_finish(struct api *api, struct api_call *call, struct api_reply *reply)
{
    struct paging paging = {.page = call->page, .size = (int64_t)call->search.limit};
    if (call->search_error == STORE_CORRUPT) {
        reply_failure(api, reply, FAILURE_LIST, (struct span){NULL, 0});
        return;
    }
    if (call->search_error != STORE_OK || call->found.failed) {
        reply_store_error(api, reply, call->found.failed ? STORE_UNAVAILABLE : call->search_error);
        return;
    }
    reply_begin_data(&reply->body);
    buffer_append(&reply->body, SPAN("{\"items\":["));
    buffer_append(&reply->body, (struct span){call->found.at, call->found.len});
    paging_append_end(&reply->body, call->total, &paging);
    reply_end_data(api, reply);
}

enum api_step search_begin(struct api *api, struct api_call *call, struct api_reply *reply)
{
    struct paging paging;
    const char *parameter, *wrong;
    if (!paging_read(call->request->query, &paging, &parameter)) {
        paging_refuse(api, reply, parameter, "must be a decimal number");
        return API_REPLIED;
    }
    call->text = malloc((size_t)SEARCH_TEXTS_MAX * QUERY_VALUE_SIZE);
    if (!call->text) {
        reply_store_error(api, reply, STORE_UNAVAILABLE);
        return API_REPLIED;
    }
    wrong = read_search(call, &parameter);
    if (wrong) {
        paging_refuse(api, reply, parameter, wrong);
        return API_REPLIED;
    }
    call->page = paging.page;
    call->search.offset = paging.offset;
    call->search.limit = (uint64_t)paging.size;
    if (!is_short(api, call))
        return API_SEARCHES;
    api_search(call, api->reader);
    search_finish(api, call, reply);
    return API_REPLIED;
}
