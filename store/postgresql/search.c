/* Searches: the server filters and sorts. Keys are sealed there, and it takes no keyword that is
 * not UTF-8: a search for such is done here, over a stream of the rows. */

#include "store/postgresql/engine.h"
#include "token/match.h"

struct search_pass {
    const struct store_search *search;
    uint64_t *total;
    store_visit_token *visit;
    void *context;
};

/* A store_visit_token: of a stream, those that match. */
static void visit_match(void *context, const struct token *token)
{
    const struct search_pass *pass = context;
    const struct store_search *search = pass->search;
    if ((search->key.len > 0 && !match_key(token->key, search->key)) ||
        !match_name(token->name, search->keyword))
        return;
    if (*pass->total >= search->offset && *pass->total - search->offset < search->limit)
        pass->visit(pass->context, token);
    ++*pass->total;
}

static enum store_error visit_row(struct store_reader *reader, struct pg_values *values,
                                  struct search_pass *pass, bool streams)
{
    int64_t total = pg_next_int(values);
    if (!streams)
        *pass->total = (uint64_t)total;
    if (PQgetisnull(values->result, 0, values->column)) /* no token in the page */
        return STORE_OK;
    return streams ? pg_visit_token(reader, values, visit_match, pass)
                   : pg_visit_token(reader, values, pass->visit, pass->context);
}

enum store_error postgresql_token_search(struct store_reader *reader,
                                         const struct store_search *search, uint64_t *total,
                                         store_visit_token *visit, void *context)
{
    const struct span none = {NULL, 0};
    bool is_text = pg_is_text(search->keyword), streams = search->key.len > 0 || !is_text;
    struct search_pass pass = {search, total, visit, context};
    struct pg_values values;
    struct pg_parameters *parameters =
        pg_int(pg_int(PG_PARAMETERS, search->user_id), search->now_unix_s);
    if (!pg_is_text(search->group))
        return STORE_OK;
    pg_span(parameters, is_text && search->keyword.len > 0 ? search->keyword : none);
    pg_int(pg_span(parameters, search->group), search->status);
    pg_int(pg_int(parameters, streams ? 0 : pg_clamp(search->offset)),
           streams ? INT64_MAX : pg_clamp(search->limit));
    pg_span(parameters, search->sort ? search->sort->name : SPAN("id"));
    pg_int(parameters, search->ascending ? 1 : -1);
    enum store_error error = pg_read(reader, PG_SEARCH, parameters, &values);
    while (error == STORE_OK) {
        error = visit_row(reader, &values, &pass, streams);
        error = error == STORE_OK ? pg_next(reader, &values) : error;
    }
    return error == STORE_NOT_FOUND ? STORE_OK : error;
}
