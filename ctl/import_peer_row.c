/* The columns of New API and One API, and what becomes of them. */

#include <stddef.h>
#include <stdio.h>
#include <time.h>

#include <json.h>

#include "api/json_in.h"
#include "base/text.h"
#include "ctl/import_peer_row.h"
#include "token/limits.h"

/* ---- columns ---- */

enum column_kind { INTEGER, FLAG, TEXT, IS_SET };

struct column {
    const char *name; /* NULL: the end */
    size_t offset;    /* of the member in struct peer_row */
    enum column_kind kind;
    bool required;
};

#define AT(member) offsetof(struct peer_row, member)

static const struct column user_columns[] = {
    {"id", AT(id), INTEGER, true},
    {"username", AT(name), TEXT, true},
    {"role", AT(role), INTEGER, true},
    {"status", AT(status), INTEGER, true},
    {"access_token", AT(secret), TEXT, true},
    {"quota", AT(quota), INTEGER, true},
    {"used_quota", AT(used_quota), INTEGER, true},
    {"request_count", AT(request_count), INTEGER, false},
    {"group", AT(group), TEXT, true},
    {"created_at", AT(created_unix_s), INTEGER, false},
    {"deleted_at", AT(is_deleted), IS_SET, false},
    {NULL, 0, INTEGER, false},
};

static const struct column token_columns[] = {
    {"id", AT(id), INTEGER, true},
    {"user_id", AT(user_id), INTEGER, true},
    {"key", AT(secret), TEXT, true},
    {"status", AT(status), INTEGER, true},
    {"name", AT(name), TEXT, true},
    {"created_time", AT(created_unix_s), INTEGER, true},
    {"accessed_time", AT(accessed_unix_s), INTEGER, true},
    {"expired_time", AT(expired_unix_s), INTEGER, true},
    {"remain_quota", AT(quota), INTEGER, true},
    {"unlimited_quota", AT(unlimited_quota), FLAG, true},
    {"used_quota", AT(used_quota), INTEGER, false},
    {"model_limits_enabled", AT(model_limits_enabled), FLAG, false},
    {"model_limits", AT(model_limits), TEXT, false},
    {"models", AT(models), TEXT, false},
    {"allow_ips", AT(allow_ips), TEXT, false},
    {"subnet", AT(subnet), TEXT, false},
    {"group", AT(group), TEXT, false},
    {"deleted_at", AT(is_deleted), IS_SET, false},
    {NULL, 0, INTEGER, false},
};

static const struct column *columns_of(const struct peer_row *row)
{
    return row->is_token ? token_columns : user_columns;
}

/* Whether a value says nothing. */
static bool is_empty(struct json_object *value)
{
    static const char *const nothing[] = {"", "0", "false", "null", "[]", "{}"};
    const char *text = json_object_is_type(value, json_type_string)
                           ? json_object_get_string(value)
                           : json_object_to_json_string_ext(value, JSON_C_TO_STRING_PLAIN);
    for (size_t i = 0; i < sizeof(nothing) / sizeof(nothing[0]); i++)
        if (strcmp(text, nothing[i]) == 0)
            return true;
    return false;
}

/* SQLite and MySQL have no booleans. */
static const char *read_flag(struct json_object *value, bool *flag)
{
    int64_t number = 0;
    if (json_object_is_type(value, json_type_boolean))
        number = json_object_get_boolean(value);
    else if (json_in_read_integer(value, &number) || number < 0 || number > 1)
        return "must be true or false, or 1 or 0";
    *flag = number == 1;
    return NULL;
}

static const char *read_value(enum column_kind kind, struct json_object *value, void *member)
{
    switch (kind) {
    case INTEGER:
        return json_in_read_integer(value, member);
    case FLAG:
        return read_flag(value, member);
    case TEXT:
        return json_in_read_text(value, member);
    case IS_SET: /* also by "" and 0: there it is compared with NULL */
        *(bool *)member = true;
        break;
    }
    return NULL;
}

static bool has(const struct request *request, const char *name)
{
    return json_object_object_get_ex(request->json, name, NULL);
}

enum peer_read peer_row_read(struct request *request, struct peer_row *row)
{
    /* Vouchers have keys and users too, channels keys, logs names of users. */
    bool is_user = has(request, "username") && !has(request, "user_id");
    *row = (struct peer_row){.is_token = has(request, "key") && has(request, "user_id") &&
                                         !has(request, "redeemed_time")};
    if (!row->is_token && !is_user)
        return PEER_READ_OTHER;
    for (const struct column *column = columns_of(row); column->name; column++) {
        struct json_object *value = NULL;
        const char *wrong = NULL;
        if (!json_object_object_get_ex(request->json, column->name, &value) && column->required)
            wrong = "is required";
        else if (value) /* a number that is NULL counts as 0 there, too */
            wrong = read_value(column->kind, value, (char *)row + column->offset);
        if (wrong) {
            json_in_refuse(request, column->name, wrong);
            return PEER_READ_BAD;
        }
    }
    bool is_fit = row->id >= 1 && row->id < INT64_MAX;
    if (!is_fit)
        json_in_refuse(request, "id", "is out of range");
    else if (row->is_token && text_trim(row->secret, SPAN(" ")).len > TOKEN_KEY_PLAIN_LEN_MAX)
        is_fit = json_in_refuse(request, "key", "must be at most 255 bytes");
    return is_fit ? PEER_READ_ROW : PEER_READ_BAD;
}

void peer_row_count_lost(const struct request *request, const struct peer_row *row,
                         struct json_object *counts)
{
    json_object_object_foreach(request->json, name, value)
    {
        const struct column *column = columns_of(row);
        char text[64];
        while (column->name && strcmp(column->name, name) != 0)
            column++;
        if (column->name || is_empty(value))
            continue;
        snprintf(text, sizeof(text), "%s.%s", row->is_token ? "tokens" : "users", name);
        struct json_object *count = json_object_object_get(counts, text);
        if (count)
            json_object_int_inc(count, 1);
        else
            json_object_object_add(counts, text, json_object_new_int64(1));
    }
}

/* ---- values ---- */

static void note(struct peer_notes *notes, const char *text)
{
    if (notes->count < PEER_NOTES_MAX)
        notes->texts[notes->count++] = text;
}

static int64_t at_least(int64_t min, int64_t number)
{
    return number < min ? min : number;
}

static void note_negative(const struct peer_row *row, struct peer_notes *notes)
{
    if (row->quota < 0 || row->used_quota < 0)
        note(notes, "a quota is negative and becomes 0");
}

/* What all of a row's texts take in the form that they have here. */
static bool reserve_texts(struct request *request)
{
    enum {
        MORE = 64 + TOKEN_GROUP_LEN_MAX
    }; /* an id in a name, sk-, the list that lets nobody in */
    return buffer_reserve(&request->text, request->input.body.len + MORE) ||
           json_in_refuse_for_memory(request);
}

/* As much of a text as fits, blanks in place of control characters. */
static struct span fit(struct request *request, struct span text, size_t len_max,
                       size_t characters_max)
{
    char *begin = request->text.at + request->text.len, *end = begin;
    for (size_t len; (len = text_utf8_sequence(text)) > 0; text = span_from(text, len)) {
        struct span character = {text.at, len};
        if ((size_t)(end - begin) + len > len_max || characters_max-- == 0)
            break;
        end = write_text(end, text_has_control(character) ? SPAN(" ") : character);
    }
    request->text.len += (size_t)(end - begin);
    return (struct span){begin, (size_t)(end - begin)};
}

/* ---- users ---- */

static struct span fit_user_name(struct request *request, const struct peer_row *row,
                                 bool id_in_name)
{
    enum { ID_LEN = 1 + INT_LEN_MAX };
    struct span name = fit(request, row->name.len > 0 ? row->name : SPAN("user"),
                           STORE_USER_NAME_LEN_MAX - (id_in_name ? ID_LEN : 0), SIZE_MAX);
    if (id_in_name) {
        buffer_append_number(&request->text, SPAN("-"), row->id);
        name.len = (size_t)(request->text.at + request->text.len - name.at);
    }
    return name;
}

bool peer_row_to_user(struct request *request, const struct peer_row *row, bool id_in_name,
                      int64_t tokens_used, struct store_row *out, struct peer_notes *notes)
{
    enum { ENABLED = 1 };
    struct record_user *user = &out->user;
    struct span access_token = text_trim(row->secret, SPAN(" "));
    bool is_known =
        row->role == USER_ROLE_USER || row->role == USER_ROLE_ADMIN || row->role == USER_ROLE_ROOT;
    *out = (struct store_row){.kind = STORE_ROW_USER, .id = row->id};
    if (!reserve_texts(request))
        return false;
    user->name = fit_user_name(request, row, id_in_name);
    user->group = fit(request, row->group.len > 0 ? row->group : SPAN("default"),
                      TOKEN_GROUP_LEN_MAX, SIZE_MAX);
    user->disabled = row->status != ENABLED;
    user->created_unix_s = at_least(0, row->created_unix_s);
    user->role = is_known ? (enum user_role)row->role : USER_ROLE_USER;
    user->account.quota = at_least(0, row->quota);
    user->account.request_count = at_least(0, row->request_count);
    user->account.deleted_used_quota = at_least(0, at_least(0, row->used_quota) - tokens_used);
    if (access_token.len > 0)
        seal_hash_credential(access_token, user->access_hash);
    if (id_in_name)
        note(
            notes,
            "-ID is appended to the name, which is a number or another user's but for letter case");
    else if (!span_equal(user->name, row->name))
        note(notes, "the name is cut to 64 bytes, or had control characters");
    if (row->group.len > 0 && !span_equal(user->group, row->group))
        note(notes, "the group is cut to 64 bytes, or had control characters");
    if (!is_known)
        note(notes, "the role is not known and becomes 1");
    note_negative(row, notes);
    if (row->used_quota < tokens_used)
        note(notes, "used_quota is less than that of the tokens, which counts");
    return true;
}

/* ---- tokens ---- */

static void disable(struct token *token, struct peer_notes *notes, const char *text)
{
    token->status = TOKEN_DISABLED;
    note(notes, text);
}

static bool ends_with(struct span text, struct span end)
{
    return text.len >= end.len && span_equal(span_from(text, text.len - end.len), end);
}

/* Whether an item of a list means here what it means there. */
typedef bool is_good_item(struct span item);

static bool is_good_address(struct span item)
{
    char same[64];
    size_t len;
    return item.len <= sizeof(same) && !memchr(item.at, ',', item.len) &&
           limits_normalize_ips(item, same, &len) && span_equal((struct span){same, len}, item);
}

/* Here a * at the end stands for any characters; there it does so in two kinds of names only. */
static bool is_good_model(struct span item)
{
    const struct span gizmo = SPAN("-gizmo-*"), thinking = SPAN("-thinking-*");
    return item.at[item.len - 1] != '*' || ends_with(item, gizmo) || ends_with(item, thinking);
}

struct list {
    struct span items; /* the good ones, with commas */
    size_t bad_count;
};

static struct list keep_good(struct request *request, struct span text, char separator,
                             is_good_item *is_good, size_t len_max)
{
    char *begin = request->text.at + request->text.len, *end = begin;
    struct list list = {.bad_count = 0};
    while (text.len > 0) {
        struct span item = text_trim(span_cut(&text, separator), SPAN(" \t\r\n,"));
        size_t len = (size_t)(end - begin) + (end > begin);
        if (item.len == 0)
            continue;
        if (!is_good(item) || text_has_control(item) || len + item.len > len_max) {
            list.bad_count++;
            continue;
        }
        if (end > begin)
            *end++ = ',';
        end = write_text(end, item);
    }
    list.items = (struct span){begin, (size_t)(end - begin)};
    request->text.len += list.items.len;
    return list;
}

static void set_models(struct request *request, const struct peer_row *row, struct token *token,
                       struct peer_notes *notes)
{
    bool is_one_api = !row->model_limits_enabled && row->models.len > 0;
    struct list list = keep_good(request, is_one_api ? row->models : row->model_limits, ',',
                                 is_good_model, TOKEN_MODEL_LIMITS_LEN_MAX);
    token->model_limits = list.items;
    token->model_limits_enabled = row->model_limits_enabled || is_one_api;
    if (list.bad_count > 0 && list.items.len == 0 && token->model_limits_enabled)
        disable(token, notes, "is disabled: none of its models can be kept");
    else if (list.bad_count > 0)
        note(notes, "some of its models can't be kept and are dropped");
}

static void set_addresses(struct request *request, const struct peer_row *row, struct token *token,
                          struct peer_notes *notes)
{
    bool is_one_api = row->allow_ips.len == 0;
    struct list list = keep_good(request, is_one_api ? row->subnet : row->allow_ips,
                                 is_one_api ? ',' : '\n', is_good_address, TOKEN_ALLOW_IPS_LEN_MAX);
    token->allow_ips = list.items;
    if (list.items.len == 0 && (list.bad_count > 0 || (is_one_api && row->subnet.len > 0))) {
        token->allow_ips = SPAN("0.0.0.0/32"); /* nobody's: enabled again, it must not be open */
        disable(token, notes, "is disabled: none of its addresses is valid");
    } else if (list.bad_count > 0) {
        note(notes, "some of its addresses are invalid and are dropped");
    }
}

/* One without a group follows its owner. */
static void set_group(const struct request *request, const struct peer_row *row,
                      struct token *token, struct peer_notes *notes)
{
    struct json_object *auto_groups = json_object_object_get(request->json, "auto_groups");
    if (row->group.len > TOKEN_GROUP_LEN_MAX || text_has_control(row->group))
        disable(token, notes, "is disabled: its group is above 64 bytes or has control characters");
    else if (row->group.len > 0)
        token->group = row->group;
    if (span_equal(row->group, SPAN("auto")) && !is_empty(auto_groups))
        disable(token, notes, "is disabled: its list of automatic groups can't be kept");
}

static void set_key(const struct peer_row *row, struct token *token, struct peer_notes *notes)
{
    token_key_set(token->key, text_trim(row->secret, SPAN(" ")));
    if (token_key_form(span_of(token->key)) == TOKEN_KEY_MALFORMED)
        disable(token, notes, "is disabled: its key is not 16 to 128 of 0-9, A-Z, a-z and _");
}

static void set_status(const struct peer_row *row, struct token *token, struct peer_notes *notes)
{
    enum {
        ENABLED = 1,
        DISABLED = 2,
        EXPIRED = 3,
        EXHAUSTED = 4
    }; /* the last two: computed here */
    bool is_computed = row->status == EXPIRED || row->status == EXHAUSTED;
    token->status = row->status == ENABLED || is_computed ? TOKEN_ENABLED : TOKEN_DISABLED;
    if (is_computed && token_status_at(token, (int64_t)time(NULL)) == TOKEN_ENABLED)
        note(notes, "is enabled: its status was expired or exhausted, its time and quota are not");
    else if (token->status == TOKEN_DISABLED && row->status != DISABLED)
        note(notes, "is disabled: its status is not known");
}

bool peer_row_to_token(struct request *request, const struct peer_row *row, struct store_row *out,
                       struct peer_notes *notes)
{
    struct token *token = &out->token;
    *out = (struct store_row){.kind = STORE_ROW_TOKEN, .id = row->id};
    if (!reserve_texts(request))
        return false;
    *token = token_default();
    token->id = row->id;
    token->user_id = row->user_id;
    token->name = fit(request, row->name, SIZE_MAX, TOKEN_NAME_CHARACTERS_MAX);
    token->remain_quota = at_least(0, row->quota);
    token->used_quota = at_least(0, row->used_quota);
    token->unlimited_quota = row->unlimited_quota;
    token->expired_unix_s = row->expired_unix_s < TOKEN_NEVER_EXPIRES ? 0 : row->expired_unix_s;
    token->created_unix_s = at_least(0, row->created_unix_s);
    token->accessed_unix_s = at_least(0, row->accessed_unix_s);
    if (!span_equal(token->name, row->name))
        note(notes, "the name is cut to 255 characters, or had control characters");
    note_negative(row, notes);
    if (row->expired_unix_s < TOKEN_NEVER_EXPIRES)
        note(notes, "expired_time is below -1 and becomes 0: it is expired");
    set_status(row, token, notes);
    set_group(request, row, token, notes);
    set_models(request, row, token, notes);
    set_addresses(request, row, token, notes);
    set_key(row, token, notes);
    return true;
}
