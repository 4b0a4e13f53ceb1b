#pragma once

#include "api/request.h"

/* Lists: their parameters, and the page {"items":[…],"total":n,"page":p,"page_size":size}. */

/* Those up to PAGE_STATUS are numbers in a body, the others texts. */
enum page_parameter {
    PAGE_NUMBER,
    PAGE_PS,
    PAGE_PAGE_SIZE,
    PAGE_SIZE,
    PAGE_STATUS,
    PAGE_KEYWORD,
    PAGE_KEY,
    PAGE_GROUP,
    PAGE_SORT,
    PAGE_ORDER,
    PAGE_PARAMETERS
};

/* Read the parameters that are there, as text; return false with request->invalid set. Those of a
 * query are decoded into request->text. */
bool page_read_query(struct request *request, struct span values[static PAGE_PARAMETERS]);
bool page_read_body(struct request *request, struct span values[static PAGE_PARAMETERS]);

/* Sets request->page, and limit and offset of request->search. */
void page_set(struct request *request, const struct span *values);

/* Begins the answer; its items follow. */
void page_begin(struct request *request);

/* A route_render: ends a page that was read, or replies the error. */
void page_render(struct request *request);
