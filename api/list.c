/* GET /: a page of the user's tokens, newest first; with a filter or an order it is a search. GET
 * and POST /search, with its parameters in the query or the body. A search reads all of the user's
 * tokens, in another thread than the event loop's. */

#include <json.h>

#include "api/api.h"
#include "api/handlers.h"
#include "api/json_in.h"
#include "api/query.h"
#include "api/reply.h"
#include "api/token_json.h"
#include "base/number.h"
#include "base/text.h"

/* ---- parameters in the body ---- */

static struct span get_member(const struct request *request, const char *name)
{
    return span_of(json_object_get_string(json_object_object_get(request->json, name)));
}

/* ---- a page ---- */

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

enum { PAGE_SIZE_DEFAULT = 20, PAGE_SIZE_MAX = 100 };

/* The page size's names; the last that is there counts. */
static const char *const size_names[] = {"ps", "page_size", "size"};

static void read_number(const struct request *request, const char *name, int64_t *number)
{
    int64_t parsed;
    if (!request->json)
        query_get_number(request->input.query, name, number);
    else if (number_parse(get_member(request, name), &parsed))
        *number = parsed;
}

/* Reads p and size into request->page and request->search. */
static void read_paging(struct request *request)
{
    struct store_search *search = &request->search;
    int64_t page = 1, size = PAGE_SIZE_DEFAULT;
    read_number(request, "p", &page);
    for (size_t i = 0; i < COUNT_OF(size_names); i++)
        read_number(request, size_names[i], &size);
    if (size < 1)
        size = PAGE_SIZE_DEFAULT;
    request->page = page < 1 ? 1 : page;
    search->limit = (uint64_t)(size < PAGE_SIZE_MAX ? size : PAGE_SIZE_MAX);
    if (__builtin_mul_overflow((uint64_t)request->page - 1, search->limit, &search->offset))
        search->offset = UINT64_MAX; /* beyond every end */
}

static void begin_page(struct request *request)
{
    reply_begin_data(request);
    buffer_append(&request->body, SPAN("{\"items\":["));
}

static void end_page(struct request *request)
{
    struct buffer *body = &request->body;
    buffer_append_number(body, SPAN("],\"total\":"), (int64_t)request->total);
    buffer_append_number(body, SPAN(",\"page\":"), request->page);
    buffer_append_number(body, SPAN(",\"page_size\":"), (int64_t)request->search.limit);
    buffer_append(body, SPAN("}"));
    reply_end_data(request);
}

static enum api_step reply_error(struct request *request, enum store_error error)
{
    return error == STORE_CORRUPT ? reply_failure(request, 500, "Failed to retrieve token list")
                                  : reply_store_error(request, error);
}

static bool is_search(struct span query)
{
    static const char *const names[] = {"status", "group", "sort", "order"};
    char value[QUERY_VALUE_SIZE];
    for (size_t i = 0; query.len > 0 && i < COUNT_OF(names); i++)
        if (query_get(query, names[i], value).at)
            return true;
    return false;
}

static enum api_step reply_page(struct request *request)
{
    read_paging(request);
    begin_page(request);
    enum store_error error =
        store_token_page(request->api->reader, request->user_id, request->search.offset,
                         request->search.limit, &request->total, token_json_visit, request);
    if (error != STORE_OK)
        return reply_error(request, error);
    end_page(request);
    return API_REPLIED;
}

/* ---- a search ---- */

enum {
    SEARCH_TEXTS_MAX = 6,
    SHORT_COUNT_MAX = 500 /* tokens that are searched in less than 0.1 ms */
};

/* What parameters choose from, by the number of the choice; "" is the default's. */
static const char *const statuses[] = {"", "1", "2", "3", "4"}; /* by enum token_status */
static const char *const orders[] = {"desc", "asc", "remain_quota", "used_quota"};

/* A parameter's value; that of a query is decoded into request->text, where SEARCH_TEXTS_MAX of
 * them have been reserved. */
static struct span get_text(struct request *request, const char *name)
{
    struct buffer *text = &request->text;
    if (request->json)
        return get_member(request, name);
    struct span value = query_get(request->input.query, name, text->at + text->len);
    text->len += value.len;
    return value;
}

/* Reads the number of a parameter's choice; the first where the parameter is absent or empty. */
static bool read_choice(struct request *request, const char *name, const char *const *choices,
                        size_t count, unsigned *choice)
{
    struct span text = get_text(request, name);
    *choice = 0;
    while (text.len > 0 && *choice < count && !span_equal(text, span_of(choices[*choice])))
        ++*choice;
    return *choice < count;
}

/* The field that a search sorts by; NULL for the id, the default. */
static bool read_sort(struct request *request, const struct token_field_rule **sort)
{
    enum {
        SORTABLE = TOKEN_FIELD_ID | TOKEN_FIELD_NAME | TOKEN_FIELD_CREATED | TOKEN_FIELD_EXPIRED |
                   TOKEN_FIELD_ACCESSED | TOKEN_FIELD_REMAIN_QUOTA | TOKEN_FIELD_USED_QUOTA
    };
    struct span name = get_text(request, "sort");
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

/* Returns what is wrong with which parameter, or NULL. */
static const char *read_search(struct request *request, bool by_text, const char **parameter)
{
    struct store_search *search = &request->search;
    read_paging(request);
    search->user_id = request->user_id;
    search->now_unix_s = request->now_unix_s;
    if (by_text) {
        search->keyword = get_text(request, "keyword");
        search->key = get_text(request, "token");
    }
    search->group = get_text(request, "group");
    if (search->group.len == 0)
        search->group.at = NULL;
    unsigned status, order;
    *parameter = "status";
    if (!read_choice(request, *parameter, statuses, COUNT_OF(statuses), &status))
        return "must be 1, 2, 3 or 4";
    *parameter = "sort";
    if (!read_sort(request, &search->sort))
        return "must be id, name, created_time, expired_time, accessed_time, remain_quota or "
               "used_quota";
    *parameter = "order";
    if (!read_choice(request, *parameter, orders, COUNT_OF(orders), &order))
        return "must be asc or desc";
    if (order > 1) /* One API's: descending by it */
        search->sort = &token_field_rules[order == 2 ? TOKEN_FIELD_NUMBER_REMAIN_QUOTA
                                                     : TOKEN_FIELD_NUMBER_USED_QUOTA];
    search->status = (enum token_status)status;
    search->ascending = order == 1;
    return NULL;
}

/* A user with few tokens does not wait for the searches of others. */
static bool is_short(struct request *request)
{
    uint64_t total;
    return store_token_page(request->api->reader, request->user_id, 0, 0, &total, NULL, NULL) ==
               STORE_OK &&
           total <= SHORT_COUNT_MAX;
}

void api_search(struct request *request, struct store_reader *reader)
{
    begin_page(request);
    request->search_error =
        store_token_search(reader, &request->search, &request->total, token_json_visit, request);
}

void search_render(struct request *request)
{
    if (request->search_error != STORE_OK)
        reply_error(request, request->search_error);
    else
        end_page(request);
}

static enum api_step begin(struct request *request, bool by_text)
{
    const char *parameter;
    if (!buffer_reserve(&request->text, (size_t)SEARCH_TEXTS_MAX * QUERY_VALUE_SIZE))
        return reply_store_error(request, STORE_UNAVAILABLE);
    const char *wrong = read_search(request, by_text, &parameter);
    if (wrong)
        return reply_invalid_field(request, parameter, wrong);
    if (!is_short(request))
        return API_SEARCHES;
    api_search(request, request->api->reader);
    search_render(request);
    return API_REPLIED;
}

enum api_step list_begin(struct request *request)
{
    return is_search(request->input.query) ? begin(request, false) : reply_page(request);
}

enum api_step search_begin(struct request *request)
{
    return begin(request, true);
}

/* Whether the body's parameters are what get_member expects. */
static bool check_members(struct request *request)
{
    static const char *const numbers[] = {"p", "size", "page_size", "ps", "status"};
    static const char *const texts[] = {"keyword", "token", "group", "sort", "order"};
    int64_t number;
    for (size_t i = 0; i < COUNT_OF(numbers); i++) {
        if (!json_in_integer(request, numbers[i], INT64_MIN, INT64_MAX, &number))
            return false;
        if (json_object_object_get(request->json, numbers[i]) &&
            !get_member(request, numbers[i]).at) /* json-c keeps a number's text */
            return json_in_refuse_for_memory(request);
    }
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        struct span text = {NULL, 0};
        if (!json_in_text(request, texts[i], &text))
            return false;
        if (text_count_characters(text) > QUERY_VALUE_SIZE) /* a long pattern takes long */
            return json_in_refuse(request, texts[i], "must be at most 1024 characters");
    }
    return true;
}

enum api_step search_body_begin(struct request *request)
{
    if (!json_in_parse(request, false) || !check_members(request))
        return reply_invalid(request);
    return begin(request, true);
}
