#include "api/page.h"

#include <json.h>

#include "api/json_in.h"
#include "api/query.h"
#include "api/reply.h"
#include "base/number.h"
#include "base/text.h"

/* ---- parameters ---- */

static const char *const names[PAGE_PARAMETERS] = {
    "p", "ps", "page_size", "size", "status", "keyword", "token", "group", "sort", "order"};

bool page_read_query(struct request *request, struct span values[static PAGE_PARAMETERS])
{
    struct buffer *text = &request->text;
    if (request->input.query.len == 0)
        return true;
    if (!buffer_reserve(text, (size_t)PAGE_PARAMETERS * QUERY_VALUE_SIZE))
        return json_in_refuse_for_memory(request);
    for (size_t i = 0; i < PAGE_PARAMETERS; i++) {
        values[i] = query_get(request->input.query, names[i], text->at + text->len);
        text->len += values[i].len;
    }
    return true;
}

bool page_read_body(struct request *request, struct span values[static PAGE_PARAMETERS])
{
    int64_t number;
    if (!json_in_parse(request, false))
        return false;
    for (size_t i = 0; i < PAGE_PARAMETERS; i++) {
        struct json_object *member = json_object_object_get(request->json, names[i]);
        if (!(i <= PAGE_STATUS ? json_in_integer(request, names[i], INT64_MIN, INT64_MAX, &number)
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

enum { COUNT_DEFAULT = 20, COUNT_MAX = 100 };

void page_set(struct request *request, const struct span *values)
{
    struct store_search *search = &request->search;
    int64_t page = 1, size = COUNT_DEFAULT;
    number_parse(values[PAGE_NUMBER], &page);
    for (size_t i = PAGE_PS; i <= PAGE_SIZE; i++) /* its names: the last that is there counts */
        number_parse(values[i], &size);
    if (size < 1)
        size = COUNT_DEFAULT;
    request->page = page < 1 ? 1 : page;
    search->limit = (uint64_t)(size < COUNT_MAX ? size : COUNT_MAX);
    if (__builtin_mul_overflow((uint64_t)request->page - 1, search->limit, &search->offset))
        search->offset = UINT64_MAX; /* beyond every end */
}

void page_begin(struct request *request)
{
    reply_begin_data(request);
    buffer_append(&request->body, SPAN("{\"items\":["));
}

void page_render(struct request *request)
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
