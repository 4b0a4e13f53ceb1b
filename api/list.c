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

/* ---- parameters ---- */

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

/* Those up to STATUS are numbers in a body, the others texts. */
enum parameter { PAGE, PS, PAGE_SIZE, SIZE, STATUS, KEYWORD, KEY, GROUP, SORT, ORDER, PARAMETERS };

static const char *const names[PARAMETERS] = {"p",       "ps",    "page_size", "size", "status",
                                              "keyword", "token", "group",     "sort", "order"};

/* Read the parameters that are there, as text; return false with request->invalid set. Those of a
 * query are decoded into request->text. */
static bool read_query(struct request *request, struct span values[static PARAMETERS])
{
    struct buffer *text = &request->text;
    if (request->input.query.len == 0)
        return true;
    if (!buffer_reserve(text, (size_t)PARAMETERS * QUERY_VALUE_SIZE))
        return json_in_refuse_for_memory(request);
    for (size_t i = 0; i < PARAMETERS; i++) {
        values[i] = query_get(request->input.query, names[i], text->at + text->len);
        text->len += values[i].len;
    }
    return true;
}

static bool read_body(struct request *request, struct span values[static PARAMETERS])
{
    int64_t number;
    if (!json_in_parse(request, false))
        return false;
    for (size_t i = 0; i < PARAMETERS; i++) {
        struct json_object *member = json_object_object_get(request->json, names[i]);
        if (!(i <= STATUS ? json_in_integer(request, names[i], INT64_MIN, INT64_MAX, &number)
                          : json_in_text(request, names[i], &values[i])))
            return false;
        values[i] = span_of(json_object_get_string(member)); /* json-c keeps a number's text */
        if (member && !values[i].at)
            return json_in_refuse_for_memory(request);
        if (text_count_characters(values[i]) > QUERY_VALUE_SIZE) /* a long pattern takes long */
            return json_in_refuse(request, names[i], "must be at most 1024 characters");
    }
    return true;
}

/* ---- a page ---- */

enum { PAGE_SIZE_DEFAULT = 20, PAGE_SIZE_MAX = 100 };

static void set_page(struct request *request, const struct span *values)
{
    struct store_search *search = &request->search;
    int64_t page = 1, size = PAGE_SIZE_DEFAULT;
    number_parse(values[PAGE], &page);
    for (size_t i = PS; i <= SIZE; i++) /* its names: the last that is there counts */
        number_parse(values[i], &size);
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

/* Ends a page that was read, or replies the error. */
void search_render(struct request *request)
{
    struct buffer *body = &request->body;
    if (request->search_error == STORE_CORRUPT) {
        reply_failure(request, 500, "Failed to retrieve token list");
    } else if (request->search_error != STORE_OK) {
        reply_store_error(request, request->search_error);
    } else {
        buffer_append_number(body, SPAN("],\"total\":"), (int64_t)request->total);
        buffer_append_number(body, SPAN(",\"page\":"), request->page);
        buffer_append_number(body, SPAN(",\"page_size\":"), (int64_t)request->search.limit);
        buffer_append(body, SPAN("}"));
        reply_end_data(request);
    }
}

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
    if (!find_choice(values[STATUS], statuses, COUNT_OF(statuses), &status))
        return json_in_refuse(request, "status", "must be 1, 2, 3 or 4");
    if (!find_sort(values[SORT], &search->sort))
        return json_in_refuse(request, "sort",
                              "must be id, name, created_time, expired_time, accessed_time, "
                              "remain_quota or used_quota");
    if (!find_choice(values[ORDER], orders, COUNT_OF(orders), &order))
        return json_in_refuse(request, "order", "must be asc or desc");
    if (order > 1) /* One API's: descending by it */
        search->sort = &token_field_rules[order == 2 ? TOKEN_FIELD_NUMBER_REMAIN_QUOTA
                                                     : TOKEN_FIELD_NUMBER_USED_QUOTA];
    search->user_id = request->user_id;
    search->now_unix_s = request->now_unix_s;
    search->keyword = values[KEYWORD];
    search->key = values[KEY];
    search->group = values[GROUP].len > 0 ? values[GROUP] : (struct span){NULL, 0};
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

void api_search(struct request *request, struct store_reader *reader)
{
    begin_page(request);
    request->search_error =
        store_token_search(reader, &request->search, &request->total, token_json_visit, request);
}

static enum api_step begin(struct request *request, const struct span *values)
{
    set_page(request, values);
    if (!set_search(request, values))
        return reply_invalid(request);
    if (!is_short(request))
        return API_SEARCHES;
    api_search(request, request->api->reader);
    search_render(request);
    return API_REPLIED;
}

enum api_step list_begin(struct request *request)
{
    struct span values[PARAMETERS] = {{NULL, 0}};
    if (!read_query(request, values))
        return reply_invalid(request);
    values[KEYWORD] = values[KEY] = (struct span){NULL, 0}; /* of /search only */
    if (values[STATUS].at || values[GROUP].at || values[SORT].at || values[ORDER].at)
        return begin(request, values);
    set_page(request, values);
    begin_page(request);
    request->search_error =
        store_token_page(request->api->reader, request->user_id, request->search.offset,
                         request->search.limit, &request->total, token_json_visit, request);
    search_render(request);
    return API_REPLIED;
}

enum api_step search_begin(struct request *request)
{
    struct span values[PARAMETERS] = {{NULL, 0}};
    bool in_body = span_equal(request->input.method, SPAN("POST"));
    if (!(in_body ? read_body : read_query)(request, values))
        return reply_invalid(request);
    return begin(request, values);
}
