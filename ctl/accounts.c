/* tokenctl user … and gateway … */

#include <stdio.h>
#include <time.h>

#include <sodium.h>

#include "base/text.h"
#include "ctl/commands.h"

/* Whether a name or a group, where it is given, may be stored; else says what it has to be. */
static bool check_label(const char *what, const char *label)
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
    if (!check_label("a user's name", name) || !check_label("a group", ctl->text[CTL_GROUP]))
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

int ctl_user_add(struct ctl *ctl)
{
    struct store_user user = {
        .group = "default", .role = USER_ROLE_USER, .account = {.unlimited_quota = true}};
    char access_token[STORE_CREDENTIAL_LEN] = "";
    if (!check_labels(ctl, ctl->argument))
        return CTL_FAILED;
    memcpy(user.name, ctl->argument, strlen(ctl->argument) + 1);
    if (ctl->text[CTL_GROUP])
        memcpy(user.group, ctl->text[CTL_GROUP], strlen(ctl->text[CTL_GROUP]) + 1);
    enum store_error error = store_user_add(ctl->store, (int64_t)time(NULL), &user, access_token);
    output_int(ctl, "id", user.id);
    output_text(ctl, "name", span_of(user.name));
    output_text(ctl, "group", span_of(user.group));
    return end_with_secret(ctl, "access_token", access_token, error);
}

static void print_user(struct ctl *ctl, const struct store_user *user)
{
    output_int(ctl, "id", user->id);
    output_text(ctl, "name", span_of(user->name));
    output_text(ctl, "group", span_of(user->group));
    output_int(ctl, "role", user->role);
    output_int(ctl, "status", user->disabled ? TOKEN_DISABLED : TOKEN_ENABLED);
    output_int(ctl, "tokens", (int64_t)user->token_count);
    output_int(ctl, "created_time", user->created_unix_s);
    ctl_end(ctl, STORE_OK);
}

int ctl_user_list(struct ctl *ctl)
{
    struct store_user user = {.id = 0};
    enum store_error error;
    if (!ctl->text[CTL_JSON])
        printf("%-8s %-5s %-8s %-8s %-16s %s\n", "id", "role", "status", "tokens", "group", "name");
    while ((error = store_user_next(ctl->reader, user.id, &user)) == STORE_OK) {
        if (ctl->text[CTL_JSON])
            print_user(ctl, &user);
        else
            printf("%-8lld %-5d %-8s %-8llu %-16s %s\n", (long long)user.id, (int)user.role,
                   user.disabled ? "disabled" : "enabled", (unsigned long long)user.token_count,
                   user.group, user.name);
    }
    return ctl_end(ctl, error == STORE_NO_USER ? STORE_OK : error);
}

int ctl_user_show(struct ctl *ctl)
{
    struct store_user user;
    enum store_error error = store_user_get(ctl->reader, ctl->id, &user);
    if (error == STORE_OK)
        print_user(ctl, &user);
    return ctl_end(ctl, error);
}

int ctl_user_set(struct ctl *ctl)
{
    if (!check_labels(ctl, ctl->text[CTL_NAME]))
        return CTL_FAILED;
    struct store_user_patch patch = {.fields = 0};
    if (ctl->text[CTL_NAME]) {
        patch.fields |= STORE_USER_NAME;
        memcpy(patch.value.name, ctl->text[CTL_NAME], strlen(ctl->text[CTL_NAME]));
    }
    if (ctl->text[CTL_GROUP]) {
        patch.fields |= STORE_USER_GROUP;
        memcpy(patch.value.group, ctl->text[CTL_GROUP], strlen(ctl->text[CTL_GROUP]));
    }
    return ctl_end_change(ctl, "set", store_user_change(ctl->store, ctl->id, &patch));
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
    if (!check_label("a gateway's name", ctl->argument))
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
