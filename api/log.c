/* Audit records, newest first: GET /api/log/self, of the user's own; GET /api/log/, of all, for
 * administrators. */

#include "api/handlers.h"
#include "api/json_in.h"
#include "api/query.h"
#include "api/reply.h"
#include "base/number.h"

enum { COUNT_DEFAULT = 20, COUNT_MAX = 100 };

/* ---- the answer ---- */

static void append_text(struct buffer *body, struct span label, struct span text)
{
    buffer_append(body, label);
    buffer_append_json(body, text);
}

/* The one after the page shows only that there is one. */
static void append_record(void *context, const struct store_audit *record)
{
    struct request *request = context;
    struct buffer *body = &request->body;
    if (++request->total == request->audit.limit)
        return;
    buffer_append(body, request->total > 1 ? SPAN(",") : SPAN(""));
    buffer_append_number(body, SPAN("{\"id\":"), record->id);
    buffer_append_number(body, SPAN(",\"time\":"), record->time_unix_s);
    append_text(body, SPAN(",\"action\":"), record->action);
    append_text(body, SPAN(",\"actor\":{\"kind\":"),
                span_of(store_actor_names[record->actor.kind]));
    buffer_append_number(body, SPAN(",\"id\":"), record->actor.id);
    buffer_append_number(body, SPAN("},\"user_id\":"), record->user_id);
    buffer_append_number(body, SPAN(",\"token_id\":"), record->token_id);
    append_text(body, SPAN(",\"address\":"), record->actor.address);
    append_text(body, SPAN(",\"request_id\":"), record->actor.request_id);
    buffer_append(body, SPAN(",\"changes\":"));
    buffer_append(body, record->changes.len > 0 ? record->changes : SPAN("{}"));
    buffer_append(body, SPAN("}"));
    request->audit.before_id = record->id; /* for the next page */
}

static void search_records(struct request *request, struct store_reader *reader)
{
    const struct store_audit_search search = request->audit;
    reply_begin_data(request);
    buffer_append(&request->body, SPAN("{\"items\":["));
    request->search_error = store_audit_read(reader, &search, append_record, request);
}

void log_render(struct request *request)
{
    struct buffer *body = &request->body;
    if (request->search_error != STORE_OK) {
        reply_store_error(request, request->search_error);
        return;
    }
    if (request->total == request->audit.limit) {
        buffer_append_number(body, SPAN("],\"next\":\""), request->audit.before_id);
        buffer_append(body, SPAN("\"}"));
    } else {
        buffer_append(body, SPAN("],\"next\":null}"));
    }
    reply_end_data(request);
}

/* ---- parameters ---- */

/* Reads an id; absent or empty: it stays 0. Returns false with request->invalid set. */
static bool read_id(struct request *request, const char *name, int64_t *id)
{
    char value[QUERY_VALUE_SIZE];
    struct span text = query_get(request->input.query, name, value);
    return text.len == 0 || (number_parse(text, id) && *id > 0) ||
           json_in_refuse(request, name, "must be one of an answer");
}

/* "admin", "admin:5" or "5". */
static bool read_actor(struct request *request)
{
    char value[QUERY_VALUE_SIZE];
    struct span rest = query_get(request->input.query, "actor", value);
    struct store_audit_search *search = &request->audit;
    struct span kind = rest.len > 0 && is_digit(rest.at[0]) ? SPAN("") : span_cut(&rest, ':');
    for (unsigned i = STORE_ACTOR_USER; i <= STORE_ACTOR_TOKENCTL; i++)
        if (span_equal(kind, span_of(store_actor_names[i])))
            search->actor_kind = (enum store_actor_kind)i;
    if ((kind.len == 0 || search->actor_kind != STORE_ACTOR_NONE) &&
        (rest.len == 0 || (number_parse(rest, &search->actor_id) && search->actor_id > 0)))
        return true;
    return json_in_refuse(request, "actor",
                          "must be user, admin, gateway or tokenctl, an id, or both as admin:5");
}

/* The text of an action lies in request->text. */
static bool read_rest(struct request *request)
{
    struct store_audit_search *search = &request->audit;
    int64_t size = COUNT_DEFAULT;
    char value[QUERY_VALUE_SIZE];
    char *text = buffer_reserve(&request->text, QUERY_VALUE_SIZE);
    if (!text)
        return json_in_refuse_for_memory(request);
    search->action = query_get(request->input.query, "action", text);
    if (search->action.len == 0)
        search->action.at = NULL;
    request->text.len += search->action.len;
    number_parse(query_get(request->input.query, "size", value), &size);
    size = size < 1 ? COUNT_DEFAULT : size > COUNT_MAX ? COUNT_MAX : size;
    search->limit = (uint64_t)size + 1;
    return read_id(request, "token_id", &search->token_id) &&
           read_id(request, "before", &search->before_id);
}

/* A filter may have to read all records. */
static enum api_step begin(struct request *request)
{
    const struct store_audit_search *search = &request->audit;
    request->do_search = search_records;
    if (search->action.at || search->token_id || search->actor_kind || search->actor_id)
        return API_SEARCHES;
    search_records(request, request->api->reader);
    log_render(request);
    return API_REPLIED;
}

enum api_step log_self_begin(struct request *request)
{
    if (!read_rest(request))
        return reply_invalid(request);
    request->audit.user_id = request->user_id;
    return begin(request);
}

enum api_step log_begin(struct request *request)
{
    if (!read_rest(request) || !read_actor(request) ||
        !read_id(request, "user_id", &request->audit.user_id))
        return reply_invalid(request);
    return begin(request);
}
