#include "api/user_json.h"

#include <json.h>

#include "api/json_in.h"
#include "base/text.h"

void user_json_append(struct request *request, const struct store_user *user,
                      bool for_administrator)
{
    const struct token_account *account = &user->account;
    struct buffer *body = &request->body;
    int64_t token_limit = account->max_tokens > 0 ? account->max_tokens
                                                  : (int64_t)request->api->settings->max_per_user;
    buffer_append_number(body, SPAN("{\"id\":"), user->id);
    buffer_append(body, SPAN(",\"username\":"));
    buffer_append_json(body, span_of(user->name));
    buffer_append(body, SPAN(",\"display_name\":"));
    buffer_append_json(body, span_of(user->name));
    buffer_append(body, SPAN(",\"group\":"));
    buffer_append_json(body, span_of(user->group));
    buffer_append_number(body, SPAN(",\"role\":"), user->role);
    buffer_append_number(body, SPAN(",\"status\":"),
                         user->disabled ? TOKEN_DISABLED : TOKEN_ENABLED);
    buffer_append_number(body, SPAN(",\"quota\":"), account->quota);
    buffer_append_number(body, SPAN(",\"used_quota\":"), account->used_quota);
    buffer_append_bool(body, SPAN(",\"unlimited_quota\":"), account->unlimited_quota);
    buffer_append_number(body, SPAN(",\"request_count\":"), account->request_count);
    buffer_append_number(body, SPAN(",\"token_count\":"), (int64_t)user->token_count);
    buffer_append_number(body, SPAN(",\"token_limit\":"), token_limit);
    if (for_administrator) {
        buffer_append_number(body, SPAN(",\"created_time\":"), user->created_unix_s);
        buffer_append_number(body, SPAN(",\"rpm_limit\":"), account->rpm_limit);
        buffer_append_number(body, SPAN(",\"tpm_limit\":"), account->tpm_limit);
        buffer_append_number(body, SPAN(",\"max_tokens\":"), account->max_tokens);
    }
    buffer_append(body, SPAN("}"));
}

void user_json_visit(void *context, const struct store_user *user)
{
    struct request *request = context;
    struct buffer *body = &request->body;
    if (body->len > 0 && body->at[body->len - 1] == '}')
        buffer_append(body, SPAN(","));
    user_json_append(request, user, true);
}

/* ---- reading ---- */

#define MEMBER(name) offsetof(struct store_user, name)

/* Where max is 0 the member is a text of up to STORE_USER_NAME_LEN_MAX bytes, else an integer. */
static const struct {
    const char *name;
    enum store_user_field field;
    size_t offset;
    int64_t max; /* from 0 on */
    const char *message;
} members[] = {
    {"username", STORE_USER_NAME, MEMBER(name), 0, NULL},
    {"group", STORE_USER_GROUP, MEMBER(group), 0, NULL},
    {"quota", STORE_USER_QUOTA, MEMBER(account.quota), INT64_MAX, "must be 0 or more"},
    {"rpm_limit", STORE_USER_RPM_LIMIT, MEMBER(account.rpm_limit), 1000000, "must be 0 to 1000000"},
    {"tpm_limit", STORE_USER_TPM_LIMIT, MEMBER(account.tpm_limit), 1000000000000000,
     "must be 0 to 1000000000000000"},
    {"max_tokens", STORE_USER_MAX_TOKENS, MEMBER(account.max_tokens), INT64_MAX,
     "must be 0 or more"},
};
_Static_assert((int)STORE_USER_NAME_LEN_MAX == (int)TOKEN_GROUP_LEN_MAX, "texts");

/* Returns NULL, or what is wrong. */
static const char *read_text(struct json_object *value, char *member)
{
    struct span text;
    const char *wrong = json_in_read_text(value, &text);
    if (wrong)
        return wrong;
    if (text.len < 1 || text.len > STORE_USER_NAME_LEN_MAX || text_has_control(text))
        return "must be 1 to 64 bytes without control characters";
    *(char *)mempcpy(member, text.at, text.len) = '\0';
    return NULL;
}

static const char *read_member(struct json_object *value, size_t i, struct store_user *user)
{
    char *member = (char *)user + members[i].offset;
    if (members[i].max == 0)
        return read_text(value, member);
    int64_t number;
    const char *wrong = json_in_read_integer(value, &number);
    if (!wrong && (number < 0 || number > members[i].max))
        wrong = members[i].message;
    if (!wrong)
        memcpy(member, &number, sizeof(number));
    return wrong;
}

static bool read_role(struct request *request, struct store_user_patch *patch)
{
    int64_t role = 0;
    if (!json_object_object_get(request->json, "role"))
        return true;
    if (!json_in_integer(request, "role", INT64_MIN, INT64_MAX, &role))
        return false;
    if (role != USER_ROLE_USER && role != USER_ROLE_ADMIN && role != USER_ROLE_ROOT)
        return json_in_refuse(request, "role", "must be 1, 10 or 100");
    patch->fields |= STORE_USER_ROLE;
    patch->value.role = (enum user_role)role;
    return true;
}

bool user_json_read(struct request *request, struct store_user_patch *patch)
{
    struct store_user *user = &patch->value;
    for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
        struct json_object *value = json_object_object_get(request->json, members[i].name);
        const char *wrong = value ? read_member(value, i, user) : NULL;
        if (wrong)
            return json_in_refuse(request, members[i].name, wrong);
        patch->fields |= value ? members[i].field : 0;
    }
    if (patch->fields & STORE_USER_NAME && text_is_digits(span_of(user->name)))
        return json_in_refuse(request, "username", "must not be a number: ids are");
    struct json_object *unlimited = json_object_object_get(request->json, "unlimited_quota");
    if (unlimited) {
        if (!json_object_is_type(unlimited, json_type_boolean))
            return json_in_refuse(request, "unlimited_quota", "must be true or false");
        user->account.unlimited_quota = json_object_get_boolean(unlimited);
        patch->fields |= STORE_USER_UNLIMITED;
    }
    return read_role(request, patch);
}
