/* tokenctl user … */

#include <stdio.h>
#include <time.h>

#include <sodium.h>

#include "ctl/commands.h"
#include "ctl/output.h"

static void print_access_token(struct output *output, char token[static STORE_CREDENTIAL_LEN])
{
    output_text(output, "access_token", (struct span){token, STORE_CREDENTIAL_LEN});
    sodium_memzero(token, STORE_CREDENTIAL_LEN);
}

int ctl_user_add(struct ctl *ctl, char **arguments)
{
    struct store_user user = {.id = 0};
    if (!ctl_copy_label(arguments[0], STORE_USER_NAME_LEN_MAX, user.name))
        return ctl_fail("a user's name is 1 to 64 bytes of UTF-8 without control characters");
    if (!ctl_copy_label(ctl->group ? ctl->group : "default", TOKEN_GROUP_LEN_MAX, user.group))
        return ctl_fail("a group is 1 to 64 bytes of UTF-8 without control characters");
    char access_token[STORE_CREDENTIAL_LEN];
    enum store_error error = store_user_add(ctl->store, (int64_t)time(NULL), &user, access_token);
    if (error != STORE_OK)
        return ctl_fail_with(error);
    struct output output = {.json = ctl->json};
    output_int(&output, "id", user.id);
    output_text(&output, "name", span_of(user.name));
    output_text(&output, "group", span_of(user.group));
    print_access_token(&output, access_token);
    output_end(&output);
    return CTL_DONE;
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

int ctl_user_list(struct ctl *ctl, char **arguments)
{
    (void)arguments;
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
    return error == STORE_NO_USER ? CTL_DONE : ctl_fail_with(error);
}

int ctl_user_show(struct ctl *ctl, char **arguments)
{
    int64_t id;
    struct store_user user;
    if (!ctl_read_id(arguments[0], &id))
        return CTL_WRONG_USAGE;
    enum store_error error = store_user_get(ctl->reader, id, &user);
    if (error != STORE_OK)
        return ctl_fail_with(error);
    print_user(ctl, &user);
    return CTL_DONE;
}

int ctl_user_rotate(struct ctl *ctl, char **arguments)
{
    int64_t id;
    char access_token[STORE_CREDENTIAL_LEN];
    if (!ctl_read_id(arguments[0], &id))
        return CTL_WRONG_USAGE;
    enum store_error error = store_user_rotate(ctl->store, id, access_token);
    if (error != STORE_OK)
        return ctl_fail_with(error);
    struct output output = {.json = ctl->json};
    output_int(&output, "id", id);
    print_access_token(&output, access_token);
    output_end(&output);
    return CTL_DONE;
}

static int end_change(const struct ctl *ctl, int64_t id, const char *done, enum store_error error)
{
    if (error != STORE_OK)
        return ctl_fail_with(error);
    struct output output = {.json = ctl->json};
    output_int(&output, "id", id);
    output_bool(&output, done, true);
    output_end(&output);
    return CTL_DONE;
}

int ctl_user_disable(struct ctl *ctl, char **arguments)
{
    int64_t id;
    if (!ctl_read_id(arguments[0], &id))
        return CTL_WRONG_USAGE;
    return end_change(ctl, id, "disabled", store_user_set_disabled(ctl->store, id, true));
}

int ctl_user_enable(struct ctl *ctl, char **arguments)
{
    int64_t id;
    if (!ctl_read_id(arguments[0], &id))
        return CTL_WRONG_USAGE;
    return end_change(ctl, id, "enabled", store_user_set_disabled(ctl->store, id, false));
}

int ctl_user_delete(struct ctl *ctl, char **arguments)
{
    int64_t id;
    if (!ctl_read_id(arguments[0], &id))
        return CTL_WRONG_USAGE;
    return end_change(ctl, id, "deleted", store_user_delete(ctl->store, id));
}
