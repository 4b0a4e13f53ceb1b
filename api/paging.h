#ifndef API_PAGING_H
#define API_PAGING_H

#include "api/call.h"

/* What GET / and GET /search share: p and size, and the page object. */

struct paging {
    int64_t page;    /* from 1 */
    int64_t size;    /* tokens a page */
    uint64_t offset; /* tokens before the page */
};

/* Reads p and size. False with *wrong set to the parameter that is no decimal int64. */
bool paging_read(struct span query, struct paging *paging, const char **wrong);

/* Answers 400 for a parameter. */
void paging_refuse(const struct api *api, struct api_reply *reply, const char *parameter,
                   const char *text);

/* The page object's rest, after its items. */
void paging_append_end(struct buffer *body, uint64_t total, const struct paging *paging);

#endif
