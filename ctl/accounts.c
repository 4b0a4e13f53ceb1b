/* tokenctl user … and gateway … */

#include <stdio.h>
#include <time.h>

#include <sodium.h>

#include "base/number.h"
#include "base/text.h"
#include "ctl/commands.h"

bool ctl_check_label(const char *what, const char *label)
{
    enum { LEN_MAX = 64 };
    _Static_assert((int)STORE_USER_NAME_LEN_MAX == LEN_MAX && (int)TOKEN_GROUP_LEN_MAX == LEN_MAX &&
                       (int)STORE_GATEWAY_NAME_LEN_MAX == LEN_MAX,
                   "limits");
    struct span text = span_of(label);
    if (!label ||
        (text.len >= 1 && text.len <= LEN_MAX && text_is_utf8(text) && !text_has_control(text)))
        return true;
    ctl_fail("%s is 1 to 64 bytes of UTF-8 without control characters", what);
    return false;
}

/* The same of a user's. */
static bool check_labels(const struct ctl *ctl, const char *name)
{
    if (!ctl_check_label("a user's name", name) ||
        !ctl_check_label("a group", ctl->text[CTL_GROUP]))
        return false;
    if (!name || !text_is_digits(span_of(name)))
        return true;
    ctl_fail("a user's name is not a number: ids are");
    return false;
}

/* Ends a command with a credential, which is shown once, or with an error. */
static int end_with_secret(struct ctl *ctl, const char *name,
                           char secret[static STORE_CREDENTIAL_LEN], enum store_error error)
{
    output_text(ctl, name, (struct span){secret, STORE_CREDENTIAL_LEN});
    sodium_memzero(secret, STORE_CREDENTIAL_LEN);
    return ctl_end(ctl, error);
}

/* ---- users ---- */

static bool read_role(const char *text, enum user_role *role)
{
    static const struct {
        const char *name;
        enum user_role role;
    } roles[] = {{"user", USER_ROLE_USER}, {"admin", USER_ROLE_ADMIN}, {"root", USER_ROLE_ROOT}};
    int64_t number = 0;
    number_parse(span_of(text), &number);
    for (size_t i = 0; i < sizeof(roles) / sizeof(roles[0]); i++)
        if (strcmp(text, roles[i].name) == 0 || number == roles[i].role) {
            *role = roles[i].role;
            return true;
        }
    ctl_fail("a role is user, admin or root, or 1, 10 or 100");
    return false;
}

/* A number sets the quota, one with a sign is added to it. */
static bool read_quota(const char *text, struct store_user_patch *patch)
{
    bool adds = text[0] == '+' || text[0] == '-';
    int64_t *number = adds ? &patch->add_quota : &patch->value.account.quota;
    if (strcmp(text, "unlimited") == 0) {
        patch->fields |= STORE_USER_UNLIMITED;
        patch->value.account.unlimited_quota = true;
        return true;
    }
    if (!number_parse(span_of(text + (text[0] == '+')), number) ||
        (text[0] == '+' && *number < 0)) {
        ctl_fail("a quota is a number, +N, -N or unlimited");
        return false;
    }
    patch->fields |= adds ? 0 : STORE_USER_QUOTA;
    return true;
}

static bool read_limits(const struct ctl *ctl, struct store_user_patch *patch)
{
    struct token_account *account = &patch->value.account;
    const struct {
        const char *name;
        enum ctl_option option;
        enum store_user_field field;
        int64_t *number, max;
    } limits[] = {
        {"--rpm-limit", CTL_RPM_LIMIT, STORE_USER_RPM_LIMIT, &account->rpm_limit,
         token_field_rules[TOKEN_FIELD_NUMBER_RPM_LIMIT].max},
        {"--tpm-limit", CTL_TPM_LIMIT, STORE_USER_TPM_LIMIT, &account->tpm_limit,
         token_field_rules[TOKEN_FIELD_NUMBER_TPM_LIMIT].max},
        {"--max-tokens", CTL_MAX_TOKENS, STORE_USER_MAX_TOKENS, &account->max_tokens, INT64_MAX},
    };
    for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
        int64_t number = ctl->number[limits[i].option];
        if (!ctl->text[limits[i].option])
            continue;
        if (number < 0 || number > limits[i].max) {
            ctl_fail("%s is 0 to %lld", limits[i].name, (long long)limits[i].max);
            return false;
        }
        patch->fields |= limits[i].field;
        *limits[i].number = number;
    }
    return true;
}

/* The options of a user. False with an error printed. */
static bool read_patch(const struct ctl *ctl, const char *name, struct store_user_patch *patch)
{
    const char *group = ctl->text[CTL_GROUP], *role = ctl->text[CTL_ROLE];
    if (!check_labels(ctl, name))
        return false;
    if (name) {
        patch->fields |= STORE_USER_NAME;
        memcpy(patch->value.name, name, strlen(name) + 1);
    }
    if (group) {
        patch->fields |= STORE_USER_GROUP;
        memcpy(patch->value.group, group, strlen(group) + 1);
    }
    patch->fields |= role ? STORE_USER_ROLE : 0;
    patch->add_quota = ctl->number[CTL_ADD_QUOTA];
    if (ctl->text[CTL_QUOTA] && ctl->text[CTL_ADD_QUOTA]) {
        ctl_fail("--add-quota and --quota exclude each other");
        return false;
    }
    if ((role && !read_role(role, &patch->value.role)) ||
        (ctl->text[CTL_QUOTA] && !read_quota(ctl->text[CTL_QUOTA], patch)))
        return false;
    if (patch->fields & STORE_USER_QUOTA && patch->value.account.quota < 0) {
        ctl_fail("a quota is 0 or more");
        return false;
    }
    if (ctl->text[CTL_UNLIMITED]) {
        patch->fields |= STORE_USER_UNLIMITED;
        patch->value.account.unlimited_quota = true;
    }
    return read_limits(ctl, patch);
}

int ctl_user_add(struct ctl *ctl)
{
    struct store_user_patch patch = {.value = {.group = "default", .role = USER_ROLE_USER}};
    struct store_user *user = &patch.value;
    char access_token[STORE_CREDENTIAL_LEN] = "";
    if (!read_patch(ctl, ctl->argument, &patch))
        return CTL_FAILED;
    if (patch.add_quota != 0)
        return ctl_fail("a new user has no quota to add to: give --quota N");
    if (!(patch.fields & STORE_USER_UNLIMITED))
        user->account.unlimited_quota = !(patch.fields & STORE_USER_QUOTA);
    enum store_error error = store_user_add(ctl->store, (int64_t)time(NULL), user, access_token);
    output_int(ctl, "id", user->id);
    output_text(ctl, "name", span_of(user->name));
    output_text(ctl, "group", span_of(user->group));
    return end_with_secret(ctl, "access_token", access_token, error);
}

static void add_grant(void *context, int64_t user_id, struct span group)
{
    struct buffer *groups = context;
    (void)user_id;
    buffer_append(groups, groups->len > 0 ? SPAN(",") : SPAN(""));
    buffer_append(groups, group);
}

static void print_user(struct ctl *ctl, const struct store_user *user, struct span granted)
{
    const struct token_account *account = &user->account;
    output_int(ctl, "id", user->id);
    output_text(ctl, "name", span_of(user->name));
    output_text(ctl, "group", span_of(user->group));
    output_int(ctl, "role", user->role);
    output_int(ctl, "status", user->disabled ? TOKEN_DISABLED : TOKEN_ENABLED);
    output_int(ctl, "tokens", (int64_t)user->token_count);
    output_int(ctl, "created_time", user->created_unix_s);
    output_int(ctl, "quota", account->quota);
    output_int(ctl, "used_quota", account->used_quota);
    output_bool(ctl, "unlimited_quota", account->unlimited_quota);
    output_int(ctl, "request_count", account->request_count);
    output_int(ctl, "rpm_limit", account->rpm_limit);
    output_int(ctl, "tpm_limit", account->tpm_limit);
    output_int(ctl, "max_tokens", account->max_tokens);
    if (granted.len > 0)
        output_text(ctl, "granted_groups", granted);
    ctl_end(ctl, STORE_OK);
}

int ctl_user_list(struct ctl *ctl)
{
    struct store_user user = {.id = 0};
    enum store_error error;
    if (!ctl->text[CTL_JSON])
        printf("%-8s %-5s %-8s %-8s %-20s %-20s %-16s %s\n", "id", "role", "status", "tokens",
               "quota", "used_quota", "group", "name");
    while ((error = store_user_next(ctl->reader, user.id, &user)) == STORE_OK) {
        char quota[INT_LEN_MAX + 1] = "unlimited";
        if (!user.account.unlimited_quota)
            snprintf(quota, sizeof(quota), "%lld", (long long)user.account.quota);
        if (ctl->text[CTL_JSON])
            print_user(ctl, &user, SPAN(""));
        else
            printf("%-8lld %-5d %-8s %-8llu %-20s %-20lld %-16s %s\n", (long long)user.id,
                   (int)user.role, user.disabled ? "disabled" : "enabled",
                   (unsigned long long)user.token_count, quota, (long long)user.account.used_quota,
                   user.group, user.name);
    }
    return ctl_end(ctl, error == STORE_NO_USER ? STORE_OK : error);
}

int ctl_user_show(struct ctl *ctl)
{
    struct store_user user;
    enum store_error error = store_user_get(ctl->reader, ctl->id, &user);
    struct buffer granted = {0};
    if (error == STORE_OK)
        error = store_grant_list(ctl->reader, ctl->id, add_grant, &granted);
    if (error == STORE_OK)
        print_user(ctl, &user, buffer_span(&granted));
    buffer_free(&granted);
    return ctl_end(ctl, error);
}

int ctl_user_set(struct ctl *ctl)
{
    struct store_user_patch patch = {.fields = 0};
    int status = CTL_FAILED;
    if (!read_patch(ctl, ctl->text[CTL_NAME], &patch) ||
        (ctl->text[CTL_GROUP] &&
         !ctl_may_stop(ctl, &(struct ctl_stop){.user_id = ctl->id, .group = patch.value.group},
                       &status)))
        return status;
    enum store_error error = store_user_change(ctl->store, ctl->id, &patch);
    if (error == STORE_QUOTA_TOO_LOW)
        return ctl_fail("the user has less quota left than that");
    if (error == STORE_QUOTA_TOO_HIGH)
        return ctl_fail("the user's quota would be out of range");
    return ctl_end_change(ctl, "set", error);
}

int ctl_user_rotate(struct ctl *ctl)
{
    char access_token[STORE_CREDENTIAL_LEN] = "";
    enum store_error error = store_user_rotate(ctl->store, ctl->id, access_token);
    output_int(ctl, "id", ctl->id);
    return end_with_secret(ctl, "access_token", access_token, error);
}

static enum store_error set_disabled(struct ctl *ctl, bool disabled)
{
    const struct store_user_patch patch = {.fields = STORE_USER_STATUS,
                                           .value = {.disabled = disabled}};
    return store_user_change(ctl->store, ctl->id, &patch);
}

int ctl_user_disable(struct ctl *ctl)
{
    return ctl_end_change(ctl, "disabled", set_disabled(ctl, true));
}

int ctl_user_enable(struct ctl *ctl)
{
    return ctl_end_change(ctl, "enabled", set_disabled(ctl, false));
}

int ctl_user_delete(struct ctl *ctl)
{
    return ctl_end_change(ctl, "deleted", store_user_delete(ctl->store, ctl->id));
}

int ctl_idempotency_purge(struct ctl *ctl)
{
    uint64_t count = 0;
    enum store_error error = store_user_forget(ctl->store, ctl->id, &count);
    output_int(ctl, "id", ctl->id);
    output_int(ctl, "purged", (int64_t)count);
    return ctl_end(ctl, error);
}

/* ---- gateways ---- */

int ctl_gateway_add(struct ctl *ctl)
{
    struct store_gateway gateway = {.id = 0};
    char secret[STORE_CREDENTIAL_LEN] = "";
    if (!ctl_check_label("a gateway's name", ctl->argument))
        return CTL_FAILED;
    memcpy(gateway.name, ctl->argument, strlen(ctl->argument) + 1);
    enum store_error error = store_gateway_add(ctl->store, (int64_t)time(NULL), &gateway, secret);
    output_int(ctl, "id", gateway.id);
    output_text(ctl, "name", span_of(gateway.name));
    return end_with_secret(ctl, "secret", secret, error);
}

int ctl_gateway_list(struct ctl *ctl)
{
    struct store_gateway gateway = {.id = 0};
    enum store_error error;
    if (!ctl->text[CTL_JSON])
        printf("%-8s %-12s %s\n", "id", "created", "name");
    while ((error = store_gateway_next(ctl->reader, gateway.id, &gateway)) == STORE_OK) {
        if (!ctl->text[CTL_JSON]) {
            printf("%-8lld %-12lld %s\n", (long long)gateway.id, (long long)gateway.created_unix_s,
                   gateway.name);
            continue;
        }
        output_int(ctl, "id", gateway.id);
        output_text(ctl, "name", span_of(gateway.name));
        output_int(ctl, "created_time", gateway.created_unix_s);
        ctl_end(ctl, STORE_OK);
    }
    return ctl_end(ctl, error == STORE_NOT_FOUND ? STORE_OK : error);
}

int ctl_gateway_delete(struct ctl *ctl)
{
    enum store_error error = store_gateway_delete(ctl->store, ctl->id);
    if (error == STORE_NOT_FOUND)
        return ctl_fail("no such gateway: %s", ctl->argument);
    return ctl_end_change(ctl, "deleted", error);
}
