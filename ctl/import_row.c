/* Lines of an export as rows. */

#include <json.h>
#include <sodium.h>

#include "api/json_in.h"
#include "api/token_json.h"
#include "base/text.h"
#include "ctl/import.h"
#include "ctl/lines.h"

const char *const lines_kinds[] = {"ids",   "gateway", "user",  "token", "reservation",
                                   "group", "grant",   "model", "usage", "audit"};

#define READ_STATE(of, member, name)                                                               \
    json_in_integer(request, name, INT64_MIN, INT64_MAX, &(of)->member) &&

static bool need(struct request *request, const char *name)
{
    return json_object_object_get(request->json, name) ||
           json_in_refuse(request, name, "is required");
}

static bool read_id(struct request *request, const char *name, int64_t *id)
{
    return json_in_required(request, name, 1, INT64_MAX - 1, id);
}

static bool refuse_hex(struct request *request, const char *name)
{
    return json_in_refuse(request, name, "must be hexadecimal digits, as many as it is long");
}

/* Up to size bytes. */
static bool read_bytes(struct request *request, const char *name, unsigned char *bytes, size_t size,
                       size_t *len)
{
    struct span text;
    if (!need(request, name) || !json_in_text(request, name, &text))
        return false;
    return (sodium_hex2bin(bytes, size, text.at, text.len, NULL, len, NULL) == 0 &&
            text.len == 2 * *len) ||
           refuse_hex(request, name);
}

static bool read_hex(struct request *request, const char *name, unsigned char *bytes, size_t len)
{
    size_t read;
    return read_bytes(request, name, bytes, len, &read) &&
           (read == len || refuse_hex(request, name));
}

/* A name or a group, as tokenctl user add takes them. */
static bool read_label(struct request *request, const char *name, struct span *text)
{
    enum { LEN_MAX = 64 };
    if (!need(request, name) || !json_in_text(request, name, text))
        return false;
    return (text->len >= 1 && text->len <= LEN_MAX && !text_has_control(*text)) ||
           json_in_refuse(request, name, "must be 1 to 64 bytes without control characters");
}

/* A text that may be empty. */
static bool read_text(struct request *request, const char *name, size_t len_max, struct span *text)
{
    *text = SPAN("");
    return json_in_text(request, name, text) &&
           (text->len <= len_max || json_in_refuse(request, name, "is too long"));
}

static bool read_bool(struct request *request, const char *name, bool *value)
{
    struct json_object *member = json_object_object_get(request->json, name);
    *value = json_object_get_boolean(member);
    return json_object_is_type(member, json_type_boolean) ||
           json_in_refuse(request, name, "must be true or false");
}

/* One that earlier versions did not write: false there. */
static bool read_new_bool(struct request *request, const char *name, bool *value)
{
    *value = false;
    return !json_object_object_get(request->json, name) || read_bool(request, name, value);
}

static bool read_ids(struct request *request, const struct import_source *source,
                     struct store_row *row)
{
    bool read = read_id(request, "user", &row->next_ids[STORE_IDS_USER]) &&
                read_id(request, "token", &row->next_ids[STORE_IDS_TOKEN]) &&
                read_id(request, "gateway", &row->next_ids[STORE_IDS_GATEWAY]) &&
                read_id(request, "reservation", &row->next_ids[STORE_IDS_RESERVATION]) &&
                read_bool(request, "foreign_keys", &row->foreign_keys) &&
                read_new_bool(request, "groups_checked", &row->groups_checked);
    if (read && row->next_ids[STORE_IDS_USER] < INT64_MAX - source->ids_raised)
        row->next_ids[STORE_IDS_USER] += source->ids_raised;
    if (read && row->next_ids[STORE_IDS_TOKEN] < INT64_MAX - source->ids_raised)
        row->next_ids[STORE_IDS_TOKEN] += source->ids_raised;
    return read;
}

static bool read_gateway(struct request *request, struct store_row *row)
{
    struct record_gateway *gateway = &row->gateway;
    return read_id(request, "id", &row->id) && read_label(request, "name", &gateway->name) &&
           json_in_required(request, "created_time", 0, INT64_MAX, &gateway->created_unix_s) &&
           read_hex(request, "secret_hash", gateway->secret_hash, sizeof(gateway->secret_hash));
}

/* A user without an access token has no access_hash. */
static bool read_access(struct request *request, struct record_user *user)
{
    if (!json_object_object_get(request->json, "access_hash"))
        return true;
    return read_hex(request, "access_hash", user->access_hash, sizeof(user->access_hash)) &&
           (record_user_has_access(user) ||
            json_in_refuse(request, "access_hash", "is of no access token"));
}

static bool read_limit(struct request *request, enum token_field_number number, int64_t *limit)
{
    const struct token_field_rule *rule = &token_field_rules[number];
    return json_in_integer(request, rule->name.at, rule->min, rule->max, limit);
}

/* used_quota is that of the tokens in lines behind it, beside deleted_used_quota. */
static bool read_account(struct request *request, struct token_account *account)
{
    bool read = json_in_required(request, "quota", 0, INT64_MAX, &account->quota) &&
                read_bool(request, "unlimited_quota", &account->unlimited_quota) &&
                json_in_required(request, "deleted_used_quota", 0, INT64_MAX,
                                 &account->deleted_used_quota) &&
                json_in_required(request, "request_count", 0, INT64_MAX, &account->request_count) &&
                read_limit(request, TOKEN_FIELD_NUMBER_RPM_LIMIT, &account->rpm_limit) &&
                read_limit(request, TOKEN_FIELD_NUMBER_TPM_LIMIT, &account->tpm_limit) &&
                json_in_integer(request, "max_tokens", 0, INT64_MAX, &account->max_tokens);
    return read && LINES_STATE(READ_STATE, account) true;
}

static bool read_user(struct request *request, struct store_row *row)
{
    struct record_user *user = &row->user;
    int64_t status, role;
    bool read = read_id(request, "id", &row->id) && read_label(request, "name", &user->name) &&
                read_label(request, "group", &user->group) &&
                json_in_required(request, "status", TOKEN_ENABLED, TOKEN_DISABLED, &status) &&
                json_in_required(request, "created_time", 0, INT64_MAX, &user->created_unix_s) &&
                json_in_required(request, "role", USER_ROLE_USER, USER_ROLE_ROOT, &role) &&
                read_account(request, &user->account) && read_access(request, user);
    if (!read)
        return false;
    user->disabled = status == TOKEN_DISABLED;
    user->role = (enum user_role)role;
    if (record_user_problem(user))
        return json_in_refuse(request, "role", "must be 1, 10 or 100");
    return !text_is_digits(user->name) || json_in_refuse(request, "name", "is a number: ids are");
}

static bool unseal(struct request *request, const struct import_source *source, const char *name,
                   const struct token *token, char key[static TOKEN_KEY_SIZE])
{
    unsigned char sealed[SEAL_KEY_LEN_MAX];
    size_t len;
    return read_bytes(request, name, sealed, sizeof(sealed), &len) &&
           (unseal_key(source->seal, token->user_id, token->id,
                       (struct span){(const char *)sealed, len}, key) ||
            json_in_refuse(request, name, "can't be unsealed"));
}

/* Keys of any form are kept, also malformed ones (token/key.h). */
static bool read_key(struct request *request, const struct import_source *source, bool is_old,
                     const struct token *token, char key[static TOKEN_KEY_SIZE])
{
    const char *name = is_old ? "old_key" : "key";
    struct span text;
    if (source->is_sealed)
        return unseal(request, source, is_old ? "sealed_old_key" : "sealed_key", token, key);
    if (!need(request, name) || !json_in_text(request, name, &text))
        return false;
    if (!span_starts_with(text, SPAN("sk-")) || text.len > TOKEN_KEY_LEN_MAX)
        return json_in_refuse(request, name, "must be sk- and up to 255 bytes");
    token_key_set(key, span_from(text, TOKEN_KEY_PREFIX_LEN));
    return true;
}

/* A token that was rotated before the store's schema had old_sealed (LMDB's version 5, PostgreSQL's
 * 2) has only the hash of its old key, which is of no use under another secret. */
static bool read_old_key(struct request *request, struct import_source *source,
                         struct store_row *row)
{
    struct record_keys *keys = &row->keys;
    row->old_key[0] = '\0';
    if (!json_object_object_get(request->json, "old_key_hash"))
        return true;
    if (!read_hex(request, "old_key_hash", keys->old_hash, sizeof(keys->old_hash)) ||
        !json_in_required(request, "old_key_until", 1, INT64_MAX, &keys->old_until_unix_s))
        return false;
    bool has_key =
        json_object_object_get(request->json, source->is_sealed ? "sealed_old_key" : "old_key");
    keys->has_old = has_key || source->has_same_secret;
    source->old_keys_left_out += !keys->has_old;
    if (!has_key)
        return true;
    if (!read_key(request, source, true, &row->token, row->old_key))
        return false;
    seal_hash_key(source->seal, row->old_key, keys->old_hash);
    return true;
}

static bool read_token(struct request *request, struct import_source *source, struct store_row *row)
{
    const unsigned all = ((1U << TOKEN_FIELD_COUNT) - 1) & ~(unsigned)TOKEN_FIELD_KEY;
    struct token_patch patch = {.value = token_default()};
    if (!read_id(request, "id", &row->id) || !token_json_read(request, request->json, all, &patch))
        return false;
    /* Exports of the versions before have no more. A status that is computed is no field. */
    for (size_t i = 0; i < TOKEN_FIELD_NUMBER_RPM_LIMIT; i++)
        if (all & token_field_rules[i].field && !need(request, token_field_rules[i].name.at))
            return false;
    row->token = patch.value;
    return json_in_integer(request, "refill_period", INT64_MIN, INT64_MAX,
                           &row->token.refill_period) &&
           LINES_STATE(READ_STATE, &row->token)
               read_key(request, source, false, &row->token, row->token.key) &&
           read_old_key(request, source, row);
}

static bool read_reservation(struct request *request, struct store_row *row)
{
    struct record_reservation *reservation = &row->reservation;
    bool read = read_id(request, "id", &row->id) &&
                read_id(request, "gateway_id", &reservation->gateway_id) &&
                read_id(request, "user_id", &reservation->user_id) &&
                read_id(request, "token_id", &reservation->token_id) &&
                json_in_required(request, "reserved", 0, INT64_MAX, &reservation->units.reserved) &&
                json_in_required(request, "created_time", 0, INT64_MAX, &reservation->created_s) &&
                json_in_required(request, "due_time", 0, INT64_MAX, &reservation->due_s) &&
                read_bool(request, "from_remain", &reservation->units.from_remain) &&
                read_new_bool(request, "from_balance", &reservation->units.from_balance) &&
                json_in_integer(request, "day", 0, INT64_MAX, &reservation->units.day) &&
                json_in_integer(request, "refill_period", INT64_MIN, INT64_MAX,
                                &reservation->units.refill_period) &&
                need(request, "group") && json_in_text(request, "group", &reservation->group);
    if (!read)
        return false;
    if (reservation->group.len > TOKEN_GROUP_LEN_MAX)
        return json_in_refuse(request, "group", "must be at most 64 bytes");
    reservation->units.amount = reservation->units.reserved;
    return true;
}

static bool read_group(struct request *request, struct store_row *row)
{
    return read_label(request, "name", &row->name) &&
           read_text(request, "description", STORE_DESCRIPTION_LEN_MAX, &row->group.description) &&
           read_bool(request, "public", &row->group.is_public) &&
           json_in_required(request, "ratio_millionths", 0, INT64_MAX,
                            &row->group.ratio_millionths);
}

static bool read_model(struct request *request, struct store_row *row)
{
    return need(request, "name") && read_text(request, "name", STORE_MODEL_LEN_MAX, &row->name) &&
           (row->name.len > 0 || json_in_refuse(request, "name", "is empty"));
}

static bool read_usage(struct request *request, struct store_row *row)
{
    return read_id(request, "user_id", &row->usage.user_id) &&
           json_in_required(request, "token_id", 0, INT64_MAX, &row->usage.token_id) &&
           json_in_required(request, "day", 0, INT64_MAX, &row->usage.day) &&
           json_in_required(request, "units", INT64_MIN, INT64_MAX, &row->usage.units) &&
           json_in_required(request, "requests", INT64_MIN, INT64_MAX, &row->usage.requests);
}

static bool read_actor(struct request *request, struct store_actor *actor)
{
    struct span kind;
    if (!need(request, "actor") || !json_in_text(request, "actor", &kind))
        return false;
    unsigned number = 0;
    while (number < STORE_ACTOR_KINDS && !span_equal(kind, span_of(store_actor_names[number])))
        number++;
    actor->kind = (enum store_actor_kind)number;
    return (number < STORE_ACTOR_KINDS ||
            json_in_refuse(request, "actor", "is not known to this version")) &&
           json_in_integer(request, "actor_id", 0, INT64_MAX, &actor->id) &&
           read_text(request, "address", STORE_AUDIT_TEXT_LEN_MAX, &actor->address) &&
           read_text(request, "request_id", STORE_AUDIT_TEXT_LEN_MAX, &actor->request_id);
}

/* It becomes part of answers as it is. */
static bool read_changes(struct request *request, struct span *changes)
{
    struct request parsed = {.json = NULL};
    if (!read_text(request, "changes", STORE_AUDIT_CHANGES_LEN_MAX, changes))
        return false;
    parsed.input.body = *changes;
    bool is_object = changes->len == 0 || json_in_parse(&parsed, false);
    json_in_clear(&parsed);
    buffer_free(&parsed.body);
    return is_object || json_in_refuse(request, "changes", "must be a JSON object, as a text");
}

static bool read_audit(struct request *request, struct store_row *row)
{
    const int64_t id_max = INT64_C(1) << 54; /* half of what LMDB stores: ids to come are greater */
    struct store_audit *audit = &row->audit;
    bool read = json_in_required(request, "id", 1, id_max, &row->id) && need(request, "action") &&
                json_in_required(request, "time", 0, INT64_MAX, &audit->time_unix_s) &&
                read_text(request, "action", STORE_AUDIT_TEXT_LEN_MAX, &audit->action) &&
                json_in_integer(request, "user_id", 0, INT64_MAX, &audit->user_id) &&
                json_in_integer(request, "token_id", 0, INT64_MAX, &audit->token_id) &&
                read_changes(request, &audit->changes) && read_actor(request, &audit->actor);
    audit->id = row->id;
    return read;
}

bool import_read_row(struct request *request, struct import_source *source, struct store_row *row)
{
    struct span name;
    if (!need(request, "kind") || !json_in_text(request, "kind", &name))
        return false;
    size_t kind = 0;
    while (kind < STORE_ROW_KINDS && !span_equal(name, span_of(lines_kinds[kind])))
        kind++;
    row->kind = (enum store_row_kind)kind;
    switch (row->kind) {
    case STORE_ROW_IDS:
        return read_ids(request, source, row);
    case STORE_ROW_GATEWAY:
        return read_gateway(request, row);
    case STORE_ROW_USER:
        return read_user(request, row);
    case STORE_ROW_TOKEN:
        return read_token(request, source, row);
    case STORE_ROW_RESERVATION:
        return read_reservation(request, row);
    case STORE_ROW_GROUP:
        return read_group(request, row);
    case STORE_ROW_GRANT:
        return read_id(request, "user_id", &row->grant.user_id) &&
               read_label(request, "group", &row->grant.group);
    case STORE_ROW_MODEL:
        return read_model(request, row);
    case STORE_ROW_USAGE:
        return read_usage(request, row);
    case STORE_ROW_AUDIT:
        return read_audit(request, row);
    }
    return json_in_refuse(request, "kind", "is not known to this version");
}
