/* tokenctl user … and gateway … */

#include <stdio.h>
#include <time.h>

#include <sodium.h>

#include "base/text.h"
#include "ctl/commands.h"
#include "ctl/output.h"

/* Copies a name or a group: 1 to len_max bytes of UTF-8 without control characters. to has len_max
 * + 1 bytes. Returns false where from has another form. */
static bool copy_label(const char *from, size_t len_max, char *to)
{
    struct span text = span_of(from);
    if (text.len == 0 || text.len > len_max || !text_is_utf8(text) || text_has_control(text))
        return false;
    memcpy(to, from, text.len + 1);
    return true;
}

/* Prints a credential, which is shown once, as the row's last member. */
static int end_with_secret(struct output *output, const char *name, char *secret, size_t len)
{
    output_text(output, name, (struct span){secret, len});
    sodium_memzero(secret, len);
    output_end(output);
    return CTL_DONE;
}

/* ---- users ---- */

int ctl_user_add(struct ctl *ctl)
{
    struct store_user user = {.id = 0};
    char access_token[STORE_CREDENTIAL_LEN];
    if (!copy_label(ctl->argument, STORE_USER_NAME_LEN_MAX, user.name))
        return ctl_fail("a user's name is 1 to 64 bytes of UTF-8 without control characters");
    if (!copy_label(ctl->group ? ctl->group : "default", TOKEN_GROUP_LEN_MAX, user.group))
        return ctl_fail("a group is 1 to 64 bytes of UTF-8 without control characters");
    enum store_error error = store_user_add(ctl->store, (int64_t)time(NULL), &user, access_token);
    if (error != STORE_OK)
        return ctl_end(error);
    struct output output = {.json = ctl->json};
    output_int(&output, "id", user.id);
    output_text(&output, "name", span_of(user.name));
    output_text(&output, "group", span_of(user.group));
    return end_with_secret(&output, "access_token", access_token, sizeof(access_token));
}

static void print_user(const struct ctl *ctl, const struct store_user *user)
{
    struct output output = {.json = ctl->json};
    output_int(&output, "id", user->id);
    output_text(&output, "name", span_of(user->name));
    output_text(&output, "group", span_of(user->group));
    output_int(&output, "status", user->disabled ? TOKEN_DISABLED : TOKEN_ENABLED);
    output_int(&output, "tokens", (int64_t)user->token_count);
    output_int(&output, "created_time", user->created_unix_s);
    output_end(&output);
}

int ctl_user_list(struct ctl *ctl)
{
    struct store_user user = {.id = 0};
    enum store_error error;
    if (!ctl->json)
        printf("%-8s %-8s %-8s %-16s %s\n", "id", "status", "tokens", "group", "name");
    while ((error = store_user_next(ctl->reader, user.id, &user)) == STORE_OK) {
        if (ctl->json)
            print_user(ctl, &user);
        else
            printf("%-8lld %-8s %-8llu %-16s %s\n", (long long)user.id,
                   user.disabled ? "disabled" : "enabled", (unsigned long long)user.token_count,
                   user.group, user.name);
    }
    return ctl_end(error == STORE_NO_USER ? STORE_OK : error);
}

int ctl_user_show(struct ctl *ctl)
{
    struct store_user user;
    enum store_error error = store_user_get(ctl->reader, ctl->id, &user);
    if (error == STORE_OK)
        print_user(ctl, &user);
    return ctl_end(error);
}

int ctl_user_rotate(struct ctl *ctl)
{
    char access_token[STORE_CREDENTIAL_LEN];
    enum store_error error = store_user_rotate(ctl->store, ctl->id, access_token);
    if (error != STORE_OK)
        return ctl_end(error);
    struct output output = {.json = ctl->json};
    output_int(&output, "id", ctl->id);
    return end_with_secret(&output, "access_token", access_token, sizeof(access_token));
}

int ctl_user_disable(struct ctl *ctl)
{
    return ctl_end_change(ctl, ctl->id, "disabled",
                          store_user_set_disabled(ctl->store, ctl->id, true));
}

int ctl_user_enable(struct ctl *ctl)
{
    return ctl_end_change(ctl, ctl->id, "enabled",
                          store_user_set_disabled(ctl->store, ctl->id, false));
}

int ctl_user_delete(struct ctl *ctl)
{
    return ctl_end_change(ctl, ctl->id, "deleted", store_user_delete(ctl->store, ctl->id));
}

/* ---- gateways ---- */

int ctl_gateway_add(struct ctl *ctl)
{
    struct store_gateway gateway = {.id = 0};
    char secret[STORE_CREDENTIAL_LEN];
    if (!copy_label(ctl->argument, STORE_GATEWAY_NAME_LEN_MAX, gateway.name))
        return ctl_fail("a gateway's name is 1 to 64 bytes of UTF-8 without control characters");
    enum store_error error = store_gateway_add(ctl->store, (int64_t)time(NULL), &gateway, secret);
    if (error != STORE_OK)
        return ctl_end(error);
    struct output output = {.json = ctl->json};
    output_int(&output, "id", gateway.id);
    output_text(&output, "name", span_of(gateway.name));
    return end_with_secret(&output, "secret", secret, sizeof(secret));
}

static void print_gateway(const struct store_gateway *gateway)
{
    struct output output = {.json = true};
    output_int(&output, "id", gateway->id);
    output_text(&output, "name", span_of(gateway->name));
    output_int(&output, "created_time", gateway->created_unix_s);
    output_end(&output);
}

int ctl_gateway_list(struct ctl *ctl)
{
    struct store_gateway gateway = {.id = 0};
    enum store_error error;
    if (!ctl->json)
        printf("%-8s %-12s %s\n", "id", "created", "name");
    while ((error = store_gateway_next(ctl->reader, gateway.id, &gateway)) == STORE_OK) {
        if (ctl->json)
            print_gateway(&gateway);
        else
            printf("%-8lld %-12lld %s\n", (long long)gateway.id, (long long)gateway.created_unix_s,
                   gateway.name);
    }
    return ctl_end(error == STORE_NOT_FOUND ? STORE_OK : error);
}

int ctl_gateway_delete(struct ctl *ctl)
{
    enum store_error error = store_gateway_delete(ctl->store, ctl->id);
    if (error == STORE_NOT_FOUND)
        return ctl_fail("no such gateway");
    return ctl_end_change(ctl, ctl->id, "deleted", error);
}
