#include "api/paging.h"

#include "api/query.h"
#include "api/token_json.h"

enum { PAGE_SIZE_DEFAULT = 20, PAGE_SIZE_MAX = 100 };

/* The names that clients of the family use for the page size. */
static const char *const size_names[] = {"size", "page_size", "ps"};

bool paging_read(struct span query, struct paging *paging, const char **wrong)
{
    *paging = (struct paging){.page = 1, .size = PAGE_SIZE_DEFAULT};
    *wrong = "p";
    if (!query_get_number(query, "p", &paging->page))
        return false;
    for (size_t i = sizeof(size_names) / sizeof(size_names[0]); i-- > 0;) {
        *wrong = size_names[i]; /* backwards: the first name counts */
        if (!query_get_number(query, size_names[i], &paging->size))
            return false;
    }
    if (paging->page < 1)
        paging->page = 1;
    if (paging->size < 1)
        paging->size = PAGE_SIZE_DEFAULT;
    if (paging->size > PAGE_SIZE_MAX)
        paging->size = PAGE_SIZE_MAX;
    if (__builtin_mul_overflow((uint64_t)paging->page - 1, (uint64_t)paging->size, &paging->offset))
        paging->offset = UINT64_MAX; /* past any end */
    return true;
}

void paging_refuse(const struct api *api, struct api_reply *reply, const char *parameter,
                   const char *text)
{
    struct json_refusal refusal = {.field = span_of(parameter), .text = text, .element_index = -1};
    token_json_refuse(api, reply, &refusal);
}

void paging_append_end(struct buffer *body, uint64_t total, const struct paging *paging)
{
    buffer_append(body, SPAN("],\"total\":"));
    buffer_append_int(body, (int64_t)total);
    buffer_append(body, SPAN(",\"page\":"));
    buffer_append_int(body, paging->page);
    buffer_append(body, SPAN(",\"page_size\":"));
    buffer_append_int(body, paging->size);
    buffer_append(body, SPAN("}"));
}
