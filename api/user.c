/* /api/user/…: what administrators do with users. The transaction of a write checks their rights
 * again. */

#include <json.h>

#include "api/auth.h"
#include "api/handlers.h"
#include "api/json_in.h"
#include "api/page.h"
#include "api/reply.h"
#include "api/user_json.h"

/* ---- reading ---- */

static void search(struct request *request, struct store_reader *reader)
{
    const struct store_user_search search = {.keyword = request->search.keyword,
                                             .group = request->search.group,
                                             .offset = request->search.offset,
                                             .limit = request->search.limit};
    page_begin(request);
    request->search_error =
        store_user_page(reader, &search, &request->total, user_json_visit, request);
}

/* GET /, a page, and GET /search, with its filters. */
enum api_step users_begin(struct request *request)
{
    struct span values[PAGE_PARAMETERS] = {{NULL, 0}};
    if (!page_read_query(request, values))
        return reply_invalid(request);
    page_set(request, values);
    if (span_equal(request->path, SPAN("/search"))) {
        request->search.keyword = values[PAGE_KEYWORD];
        if (values[PAGE_GROUP].len > 0)
            request->search.group = values[PAGE_GROUP];
    }
    request->do_search = search;
    return API_SEARCHES;
}

enum api_step user_get_begin(struct request *request)
{
    if (!auth_act_on(request, request->path_id))
        return API_REPLIED;
    reply_begin_data(request);
    user_json_append(request, &request->user, true);
    reply_end_data(request);
    return API_REPLIED;
}

/* ---- adding ---- */

/* The role that a request gives a user: administrators are made by root, a root by nobody, and
 * nobody changes his own. */
static bool may_give_role(const struct request *request, enum user_role role)
{
    return role == request->user.role ||
           (request->caller_role == USER_ROLE_ROOT && role != USER_ROLE_ROOT &&
            request->user.id != request->caller_id);
}

enum api_step user_add_begin(struct request *request)
{
    struct store_user_patch patch = {.value = {.group = "default", .role = USER_ROLE_USER}};
    if (!json_in_parse(request, false) || !user_json_read(request, &patch))
        return reply_invalid(request);
    if (!(patch.fields & STORE_USER_NAME))
        return reply_invalid_field(request, "username", "is required");
    if (!(patch.fields & STORE_USER_UNLIMITED))
        patch.value.account.unlimited_quota = !(patch.fields & STORE_USER_QUOTA);
    request->user = (struct store_user){.role = USER_ROLE_USER};
    if (!may_give_role(request, patch.value.role))
        return reply_store_error(request, STORE_FORBIDDEN);
    request->user = patch.value;
    request->write.kind = STORE_USER_ADD;
    request->write.user_add.user = &request->user;
    store_draw_credential(request->access_token, request->write.user_add.access_hash);
    return API_WRITES;
}

static void append_access_token(struct request *request, struct span label)
{
    buffer_append(&request->body, label);
    buffer_append_json(&request->body, (struct span){request->access_token, STORE_CREDENTIAL_LEN});
    buffer_append(&request->body, SPAN("}"));
}

void user_add_render(struct request *request)
{
    reply_begin_data(request);
    buffer_append_number(&request->body, SPAN("{\"id\":"), request->user.id);
    append_access_token(request, SPAN(",\"access_token\":"));
    reply_end_data(request);
}

/* ---- changing ---- */

/* Prepares a new access token for the user; told: else the user has none afterwards. */
static enum api_step begin_rotation(struct request *request, bool told)
{
    if (told)
        store_draw_credential(request->access_token, request->access_hash);
    request->write.kind = STORE_USER_CHANGE;
    request->write.user_change.access_hash = request->access_hash;
    return API_WRITES;
}

/* POST /self/rotate */
enum api_step self_rotate_begin(struct request *request)
{
    return begin_rotation(request, true);
}

static enum api_step begin_delete(struct request *request)
{
    enum { TOKENS_MAX = 1000 }; /* of a commit: other writes wait for it */
    request->write.kind = STORE_USER_DELETE;
    request->write.step.max = TOKENS_MAX;
    return API_WRITES;
}

enum api_step user_delete_begin(struct request *request)
{
    return auth_act_on(request, request->path_id) ? begin_delete(request) : API_REPLIED;
}

/* Reads the body's id, and makes that user the one that the request is about. */
static bool read_user(struct request *request)
{
    int64_t id;
    if (!json_in_parse(request, false) ||
        !json_in_required(request, "id", INT64_MIN, INT64_MAX, &id)) {
        reply_invalid(request);
        return false;
    }
    return auth_act_on(request, id);
}

static enum api_step begin_change(struct request *request, const struct store_user_patch *patch)
{
    if (patch->fields & STORE_USER_ROLE && !may_give_role(request, patch->value.role))
        return reply_store_error(request, STORE_FORBIDDEN);
    request->write.kind = STORE_USER_CHANGE;
    request->write.user_change.patch = *patch;
    return API_WRITES;
}

/* PUT /: members that are absent stay. */
enum api_step user_update_begin(struct request *request)
{
    struct store_user_patch patch = {.fields = 0};
    if (!read_user(request))
        return API_REPLIED;
    if (!user_json_read(request, &patch) ||
        !json_in_integer(request, "add_quota", INT64_MIN, INT64_MAX, &patch.add_quota))
        return reply_invalid(request);
    if (patch.fields & STORE_USER_QUOTA && json_object_object_get(request->json, "add_quota"))
        return reply_invalid_field(request, "add_quota", "must not be beside quota");
    return begin_change(request, &patch);
}

/* POST /manage */
enum api_step user_manage_begin(struct request *request)
{
    static const struct {
        const char *name;
        struct store_user_patch patch;
    } actions[] = {
        {"enable", {.fields = STORE_USER_STATUS}},
        {"disable", {.fields = STORE_USER_STATUS, .value = {.disabled = true}}},
        {"promote", {.fields = STORE_USER_ROLE, .value = {.role = USER_ROLE_ADMIN}}},
        {"demote", {.fields = STORE_USER_ROLE, .value = {.role = USER_ROLE_USER}}},
    };
    struct span action = SPAN("");
    if (!read_user(request))
        return API_REPLIED;
    if (!json_in_text(request, "action", &action))
        return reply_invalid(request);
    if (span_equal(action, SPAN("delete")))
        return begin_delete(request);
    if (span_equal(action, SPAN("rotate"))) /* only root is told the new one */
        return begin_rotation(request, request->caller_role == USER_ROLE_ROOT);
    for (size_t i = 0; i < sizeof(actions) / sizeof(actions[0]); i++)
        if (span_equal(action, span_of(actions[i].name)))
            return begin_change(request, &actions[i].patch);
    return reply_invalid_field(request, "action",
                               "must be enable, disable, delete, promote, demote or rotate");
}

/* The user after the change; nothing of one that was deleted, or has no access token any more. */
void user_change_render(struct request *request)
{
    const struct store_write *write = &request->write;
    struct store_user *user = &request->user;
    bool is_rotation = write->kind == STORE_USER_CHANGE && write->user_change.access_hash;
    if (is_rotation && request->access_token[0]) {
        reply_begin_data(request);
        append_access_token(request, SPAN("{\"access_token\":"));
    } else if (write->kind == STORE_USER_CHANGE && !is_rotation &&
               store_user_get(request->api->reader, request->user_id, user) == STORE_OK) {
        reply_begin_data(request);
        user_json_append(request, user, true);
    } else {
        buffer_append(&request->body, SPAN("{\"success\":true,\"message\":\"\""));
    }
    reply_end_data(request);
}
