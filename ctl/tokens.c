/* tokenctl token …: never prints a key. */

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "ctl/commands.h"
#include "ctl/output.h"

static void print_token(void *context, const struct token *token)
{
    const struct ctl *ctl = context;
    struct output output = {.json = ctl->json};
    output_int(&output, "id", token->id);
    output_int(&output, "user_id", token->user_id);
    output_text(&output, "name", token->name);
    output_int(&output, "status", token_status_at(token, (int64_t)time(NULL)));
    output_int(&output, "remain_quota", token->remain_quota);
    output_int(&output, "used_quota", token->used_quota);
    output_bool(&output, "unlimited_quota", token->unlimited_quota);
    output_bool(&output, "model_limits_enabled", token->model_limits_enabled);
    output_text(&output, "model_limits", token->model_limits);
    output_text(&output, "allow_ips", token->allow_ips);
    output_text(&output, "group", token->group);
    output_int(&output, "expired_time", token->expired_unix_s);
    output_int(&output, "created_time", token->created_unix_s);
    output_int(&output, "accessed_time", token->accessed_unix_s);
    output_end(&output);
}

static void print_row(void *context, const struct token *token)
{
    const struct ctl *ctl = context;
    if (ctl->json) {
        print_token(context, token);
        return;
    }
    printf("%-12lld %-7d %-20lld %-20lld %.*s\n", (long long)token->id,
           (int)token_status_at(token, (int64_t)time(NULL)), (long long)token->remain_quota,
           (long long)token->used_quota, (int)token->name.len, token->name.at);
}

int ctl_token_list(struct ctl *ctl, char **arguments)
{
    enum { AT_ONCE = 1000 };
    int64_t user_id;
    struct store_user user;
    if (!ctl_read_id(arguments[0], &user_id))
        return CTL_WRONG_USAGE;
    enum store_error error = store_user_get(ctl->reader, user_id, &user);
    if (error == STORE_OK && !ctl->json)
        printf("%-12s %-7s %-20s %-20s %s\n", "id", "status", "remain_quota", "used_quota", "name");
    uint64_t total = 1;
    for (uint64_t offset = 0; error == STORE_OK && offset < total; offset += AT_ONCE)
        error = store_token_page(ctl->reader, user_id, offset, AT_ONCE, &total, print_row, ctl);
    return error == STORE_OK ? CTL_DONE : ctl_fail_with(error);
}

int ctl_token_show(struct ctl *ctl, char **arguments)
{
    int64_t id, user_id;
    if (!ctl_read_id(arguments[0], &id))
        return CTL_WRONG_USAGE;
    enum store_error error = store_token_owner(ctl->reader, id, &user_id);
    if (error == STORE_OK)
        error = store_token_get(ctl->reader, user_id, id, print_token, ctl);
    return error == STORE_OK ? CTL_DONE : ctl_fail_with(error);
}

int ctl_token_disable(struct ctl *ctl, char **arguments)
{
    int64_t id;
    struct store_write write = {
        .kind = STORE_UPDATE, .by_administrator = true, .now_unix_s = (int64_t)time(NULL)};
    if (!ctl_read_id(arguments[0], &id))
        return CTL_WRONG_USAGE;
    write.update.token_id = id;
    write.update.patch.fields = TOKEN_FIELD_STATUS;
    write.update.patch.value.status = TOKEN_DISABLED;
    enum store_error error = store_token_owner(ctl->reader, id, &write.user_id);
    if (error == STORE_OK)
        error = store_write(ctl->store, &write);
    store_write_free(&write);
    if (error != STORE_OK)
        return ctl_fail_with(error);
    struct output output = {.json = ctl->json};
    output_int(&output, "id", id);
    output_bool(&output, "disabled", true);
    output_end(&output);
    return CTL_DONE;
}

/* "-" reads the key from standard input: others can see a process's arguments. */
static struct span read_key(const char *argument, char line[static 128])
{
    if (strcmp(argument, "-") != 0)
        return span_of(argument);
    if (!fgets(line, 128, stdin))
        return SPAN("");
    return (struct span){line, strcspn(line, "\r\n")};
}

int ctl_token_find(struct ctl *ctl, char **arguments)
{
    char line[128];
    bool owner_disabled;
    struct span key = read_key(arguments[0], line);
    if (!token_key_is_well_formed(key))
        return ctl_fail("this is no key of ours: it has not the form of one");
    enum store_error error = store_token_find(ctl->reader, key.at, (int64_t)time(NULL),
                                              &owner_disabled, print_token, ctl);
    if (error == STORE_NOT_FOUND)
        return ctl_fail("nobody has this key");
    return error == STORE_OK ? CTL_DONE : ctl_fail_with(error);
}
