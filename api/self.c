/* What a user asks about itself: GET /api/user/self and /api/user/self/groups; and GET
 * /api/user/models. */

#include "api/handlers.h"
#include "api/reply.h"
#include "api/user_json.h"

enum api_step self_begin(struct request *request)
{
    struct store_user *user = &request->user;
    enum store_error error = store_user_get(request->api->reader, request->user_id, user);
    if (error != STORE_OK)
        return reply_store_error(request, error);
    reply_begin_data(request);
    user_json_append(request, user, false);
    reply_end_data(request);
    return API_REPLIED;
}

/* ---- groups ---- */

/* A group's ratio as a decimal fraction: 0.8, 1. */
static void append_ratio(struct buffer *body, int64_t millionths)
{
    char digits[] = "000000";
    size_t len = strlen(digits);
    int64_t rest = millionths % STORE_RATIO_ONE;
    for (size_t i = len; i > 0; i--, rest /= 10)
        digits[i - 1] = (char)('0' + rest % 10);
    while (len > 0 && digits[len - 1] == '0')
        len--;
    buffer_append_int(body, millionths / STORE_RATIO_ONE);
    buffer_append(body, len > 0 ? SPAN(".") : SPAN(""));
    buffer_append(body, (struct span){digits, len});
}

struct groups {
    struct request *request;
    bool has_own;
};

static void append_group(void *context, const struct store_group *group)
{
    struct groups *groups = context;
    struct buffer *body = &groups->request->body;
    groups->has_own =
        groups->has_own || span_equal(span_of(group->name), span_of(groups->request->user.group));
    buffer_append(body, body->at && body->at[body->len - 1] == '}' ? SPAN(",") : SPAN(""));
    buffer_append_json(body, span_of(group->name));
    buffer_append(body, SPAN(":{\"desc\":"));
    buffer_append_json(body, span_of(group->description));
    buffer_append(body, SPAN(",\"ratio\":"));
    append_ratio(body, group->ratio_millionths);
    buffer_append(body, SPAN("}"));
}

/* The user's own group is usable also where it is none of the table. */
enum api_step self_groups_begin(struct request *request)
{
    struct groups groups = {.request = request};
    struct store_group own = {.ratio_millionths = STORE_RATIO_ONE};
    struct store_reader *reader = request->api->reader;
    bool checked;
    enum store_error error = store_user_get(reader, request->user_id, &request->user);
    reply_begin_data(request);
    buffer_append(&request->body, SPAN("{"));
    if (error == STORE_OK)
        error = store_group_list(reader, request->user_id, &checked, append_group, &groups);
    if (error != STORE_OK)
        return reply_store_error(request, error);
    memcpy(own.name, request->user.group, sizeof(own.name));
    if (!groups.has_own)
        append_group(&groups, &own);
    buffer_append(&request->body, SPAN("}"));
    reply_end_data(request);
    return API_REPLIED;
}

/* ---- models ---- */

static void append_model(void *context, struct span name)
{
    struct buffer *body = context;
    buffer_append(body, body->at && body->at[body->len - 1] == '"' ? SPAN(",") : SPAN(""));
    buffer_append_json(body, name);
}

enum api_step models_begin(struct request *request)
{
    reply_begin_data(request);
    buffer_append(&request->body, SPAN("["));
    enum store_error error = store_model_list(request->api->reader, append_model, &request->body);
    if (error != STORE_OK)
        return reply_store_error(request, error);
    buffer_append(&request->body, SPAN("]"));
    reply_end_data(request);
    return API_REPLIED;
}
