/* GET /: a page of the user's tokens, newest first; with a filter or an order it is a search. GET
 * and POST /search, with its parameters in the query or the body. A search reads all of the user's
 * tokens, in another thread than the event loop's. */

#include "api/api.h"
#include "api/handlers.h"
#include "api/json_in.h"
#include "api/page.h"
#include "api/reply.h"
#include "api/token_json.h"

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

/* ---- a search ---- */

enum { SHORT_COUNT_MAX = 500 /* tokens that are searched in less than 0.1 ms */ };

/* What parameters choose from, by the number of the choice; "" is the default's. */
static const char *const statuses[] = {"", "1", "2", "3", "4"}; /* by enum token_status */
static const char *const orders[] = {"desc", "asc", "remain_quota", "used_quota"};

/* Finds the number of a choice; the first where the parameter is absent or empty. */
static bool find_choice(struct span text, const char *const *choices, size_t count,
                        unsigned *choice)
{
    *choice = 0;
    while (text.len > 0 && *choice < count && !span_equal(text, span_of(choices[*choice])))
        ++*choice;
    return *choice < count;
}

/* The field that a search sorts by; NULL for the id, the default. */
static bool find_sort(struct span name, const struct token_field_rule **sort)
{
    enum {
        SORTABLE = TOKEN_FIELD_ID | TOKEN_FIELD_NAME | TOKEN_FIELD_CREATED | TOKEN_FIELD_EXPIRED |
                   TOKEN_FIELD_ACCESSED | TOKEN_FIELD_REMAIN_QUOTA | TOKEN_FIELD_USED_QUOTA
    };
    *sort = NULL;
    for (size_t i = 0; i < TOKEN_FIELD_COUNT; i++) {
        const struct token_field_rule *rule = &token_field_rules[i];
        if (rule->field & SORTABLE && span_equal(name, rule->name)) {
            *sort = rule->field == TOKEN_FIELD_ID ? NULL : rule;
            return true;
        }
    }
    return name.len == 0;
}

/* Returns false with request->invalid set. */
static bool set_search(struct request *request, const struct span *values)
{
    struct store_search *search = &request->search;
    unsigned status, order;
    if (!find_choice(values[PAGE_STATUS], statuses, COUNT_OF(statuses), &status))
        return json_in_refuse(request, "status", "must be 1, 2, 3 or 4");
    if (!find_sort(values[PAGE_SORT], &search->sort))
        return json_in_refuse(request, "sort",
                              "must be id, name, created_time, expired_time, accessed_time, "
                              "remain_quota or used_quota");
    if (!find_choice(values[PAGE_ORDER], orders, COUNT_OF(orders), &order))
        return json_in_refuse(request, "order", "must be asc or desc");
    if (order > 1) /* One API's: descending by it */
        search->sort = &token_field_rules[order == 2 ? TOKEN_FIELD_NUMBER_REMAIN_QUOTA
                                                     : TOKEN_FIELD_NUMBER_USED_QUOTA];
    search->user_id = request->user_id;
    search->now_unix_s = request->now_unix_s;
    search->keyword = values[PAGE_KEYWORD];
    search->key = values[PAGE_KEY];
    search->group = values[PAGE_GROUP].len > 0 ? values[PAGE_GROUP] : (struct span){NULL, 0};
    search->status = (enum token_status)status;
    search->ascending = order == 1;
    return true;
}

/* A user with few tokens does not wait for the searches of others. */
static bool is_short(struct request *request)
{
    uint64_t total;
    return store_token_page(request->api->reader, request->user_id, 0, 0, &total, NULL, NULL) ==
               STORE_OK &&
           total <= SHORT_COUNT_MAX;
}

static void search(struct request *request, struct store_reader *reader)
{
    page_begin(request);
    request->search_error =
        store_token_search(reader, &request->search, &request->total, token_json_visit, request);
}

static enum api_step begin(struct request *request, const struct span *values)
{
    page_set(request, values);
    if (!set_search(request, values))
        return reply_invalid(request);
    request->do_search = search;
    if (request_is_for_other(request) && request->search.key.len > 0)
        return reply_store_error(request, STORE_FORBIDDEN);
    if (!is_short(request))
        return API_SEARCHES;
    api_search(request, request->api->reader);
    page_render(request);
    return API_REPLIED;
}

enum api_step list_begin(struct request *request)
{
    struct span values[PAGE_PARAMETERS] = {{NULL, 0}};
    if (!page_read_query(request, values))
        return reply_invalid(request);
    values[PAGE_KEYWORD] = values[PAGE_KEY] = (struct span){NULL, 0}; /* of /search only */
    if (values[PAGE_STATUS].at || values[PAGE_GROUP].at || values[PAGE_SORT].at ||
        values[PAGE_ORDER].at)
        return begin(request, values);
    page_set(request, values);
    page_begin(request);
    request->search_error =
        store_token_page(request->api->reader, request->user_id, request->search.offset,
                         request->search.limit, &request->total, token_json_visit, request);
    page_render(request);
    return API_REPLIED;
}

enum api_step search_begin(struct request *request)
{
    struct span values[PAGE_PARAMETERS] = {{NULL, 0}};
    bool in_body = span_equal(request->input.method, SPAN("POST"));
    if (!(in_body ? page_read_body : page_read_query)(request, values))
        return reply_invalid(request);
    return begin(request, values);
}
