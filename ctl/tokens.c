/* tokenctl token …: never prints a key. */

#include <stdio.h>
#include <time.h>

#include "base/calendar.h"
#include "base/number.h"
#include "base/text.h"
#include "ctl/commands.h"
#include "token/refill.h"

static void add_field(struct ctl *ctl, const struct token_field_rule *rule,
                      const struct token *token)
{
    const void *member = token_field_at(rule, token);
    const char *name = rule->name.at;
    if (token_field_is_text(rule))
        output_text(ctl, name, token_field_text(rule, token));
    else if (rule->kind == TOKEN_KIND_STATUS)
        output_int(ctl, name, token_status_at(token, (int64_t)time(NULL)));
    else if (rule->kind == TOKEN_KIND_REFILL)
        output_text(ctl, name, token_refill_name(token->refill_interval));
    else if (rule->kind == TOKEN_KIND_INTEGER)
        output_int(ctl, name, *(const int64_t *)member);
    else if (rule->kind == TOKEN_KIND_BOOLEAN)
        output_bool(ctl, name, *(const bool *)member);
}

static void print_token(void *context, const struct token *stored)
{
    struct ctl *ctl = context;
    struct token token = *stored;
    token_refill(&token, calendar_day((int64_t)time(NULL)));
    for (size_t i = 0; i < TOKEN_FIELD_COUNT; i++)
        add_field(ctl, &token_field_rules[i], &token);
    ctl_end(ctl, STORE_OK);
}

static void print_row(void *context, const struct token *stored)
{
    int64_t now_unix_s = (int64_t)time(NULL);
    struct token token = *stored;
    if (((const struct ctl *)context)->text[CTL_JSON]) {
        print_token(context, stored);
        return;
    }
    token_refill(&token, calendar_day(now_unix_s));
    printf("%-12lld %-7d %-20lld %-20lld %.*s\n", (long long)token.id,
           (int)token_status_at(&token, now_unix_s), (long long)token.remain_quota,
           (long long)token.used_quota, (int)token.name.len, token.name.at);
}

int ctl_token_list(struct ctl *ctl)
{
    enum { PAGE_SIZE = 1000 };
    struct store_user user;
    enum store_error error = store_user_get(ctl->reader, ctl->id, &user);
    if (error == STORE_OK && !ctl->text[CTL_JSON])
        printf("%-12s %-7s %-20s %-20s %s\n", "id", "status", "remain_quota", "used_quota", "name");
    uint64_t total = 1;
    for (uint64_t offset = 0; error == STORE_OK && offset < total; offset += PAGE_SIZE)
        error = store_token_page(ctl->reader, ctl->id, offset, PAGE_SIZE, &total, print_row, ctl);
    return ctl_end(ctl, error);
}

int ctl_token_show(struct ctl *ctl)
{
    int64_t user_id;
    enum store_error error = store_token_owner(ctl->reader, ctl->id, &user_id);
    if (error == STORE_OK)
        error = store_token_get(ctl->reader, user_id, ctl->id, print_token, ctl);
    return ctl_end(ctl, error);
}

/* Does a write of the token. */
static enum store_error write_token(struct ctl *ctl, struct store_write *write)
{
    write->by_administrator = true;
    write->actor.kind = STORE_ACTOR_TOKENCTL;
    write->now_unix_s = (int64_t)time(NULL);
    enum store_error error = store_token_owner(ctl->reader, ctl->id, &write->user_id);
    return error == STORE_OK ? store_write(ctl->store, write) : error;
}

/* Updates the token by the patch that *write holds. */
static int update(struct ctl *ctl, const char *change, struct store_write *write)
{
    write->kind = STORE_UPDATE;
    write->update.token_id = ctl->id;
    enum store_error error = write_token(ctl, write);
    store_write_free(write);
    return ctl_end_change(ctl, change, error);
}

int ctl_token_disable(struct ctl *ctl)
{
    struct store_write write = {
        .update.patch = {.fields = TOKEN_FIELD_STATUS, .value.status = TOKEN_DISABLED}};
    return update(ctl, "disabled", &write);
}

int ctl_token_enable(struct ctl *ctl)
{
    struct store_write write = {
        .update.patch = {.fields = TOKEN_FIELD_STATUS, .value.status = TOKEN_ENABLED}};
    return update(ctl, "enabled", &write);
}

/* The options that are numbers, and their fields. */
static void read_numbers(const struct ctl *ctl, struct token_patch *patch)
{
    const struct {
        enum ctl_option option;
        enum token_field field;
        int64_t *member;
    } numbers[] = {
        {CTL_EXPIRES, TOKEN_FIELD_EXPIRED, &patch->value.expired_unix_s},
        {CTL_RPM_LIMIT, TOKEN_FIELD_RPM_LIMIT, &patch->value.rpm_limit},
        {CTL_TPM_LIMIT, TOKEN_FIELD_TPM_LIMIT, &patch->value.tpm_limit},
        {CTL_MAX_PARALLEL, TOKEN_FIELD_MAX_PARALLEL_REQUESTS, &patch->value.max_parallel_requests},
        {CTL_REFILL_AMOUNT, TOKEN_FIELD_REFILL_AMOUNT, &patch->value.refill_amount},
        {CTL_REFILL_DAY, TOKEN_FIELD_REFILL_DAY, &patch->value.refill_day},
    };
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
        if (ctl->text[numbers[i].option]) {
            patch->fields |= numbers[i].field;
            *numbers[i].member = ctl->number[numbers[i].option];
        }
}

/* Returns what is wrong, or NULL. */
static const char *read_texts(const struct ctl *ctl, struct token_patch *patch)
{
    const char *quota = ctl->text[CTL_QUOTA], *interval = ctl->text[CTL_REFILL_INTERVAL];
    struct token *value = &patch->value;
    patch->name_max = ctl->settings.name_max;
    if (ctl->text[CTL_NAME]) {
        patch->fields |= TOKEN_FIELD_NAME;
        value->name = span_of(ctl->text[CTL_NAME]);
    }
    if (ctl->text[CTL_GROUP]) {
        patch->fields |= TOKEN_FIELD_GROUP;
        value->group = span_of(ctl->text[CTL_GROUP]);
    }
    if (!text_is_utf8(value->name) || !text_is_utf8(value->group))
        return "a name or group is UTF-8";
    if (interval) {
        patch->fields |= TOKEN_FIELD_REFILL_INTERVAL;
        if (!token_refill_read(span_of(interval), &value->refill_interval))
            return "--refill-interval is none, day, week or month";
    }
    if (!quota)
        return NULL;
    patch->fields |= TOKEN_FIELD_UNLIMITED_QUOTA;
    value->unlimited_quota = strcmp(quota, "unlimited") == 0;
    if (value->unlimited_quota)
        return NULL;
    patch->fields |= TOKEN_FIELD_REMAIN_QUOTA;
    if (ctl->text[CTL_ADD_QUOTA])
        return "--add-quota and --quota exclude each other";
    return number_parse(span_of(quota), &value->remain_quota) ? NULL
                                                              : "a quota is a number or unlimited";
}

int ctl_token_set(struct ctl *ctl)
{
    struct store_write write = {.update.patch.add_quota = ctl->number[CTL_ADD_QUOTA]};
    struct token_patch *patch = &write.update.patch;
    struct validation_error fault;
    const char *wrong = read_texts(ctl, patch);
    read_numbers(ctl, patch);
    if (wrong)
        return ctl_fail("%s", wrong);
    if (!token_patch_check(patch, &fault))
        return fault.field.at == token_field_rules[TOKEN_FIELD_NUMBER_EXPIRED].name.at
                   ? ctl_fail("a time of expiry is 0 or more, or -1 for never")
                   : ctl_fail("%.*s %s", (int)fault.field.len, fault.field.at, fault.text);
    return update(ctl, "set", &write);
}

int ctl_token_delete(struct ctl *ctl)
{
    struct store_write write = {.kind = STORE_DELETE, .delete = {.ids = &ctl->id, .id_count = 1}};
    enum store_error error = write_token(ctl, &write);
    if (error == STORE_OK && write.delete.deleted_count == 0)
        error = STORE_NOT_FOUND;
    return ctl_end_change(ctl, "deleted", error);
}

/* "-" reads the key from standard input: other users see a process's arguments. */
static struct span read_key(const char *argument, char line[static TOKEN_KEY_SIZE])
{
    if (strcmp(argument, "-") != 0)
        return span_of(argument);
    if (!fgets(line, TOKEN_KEY_SIZE, stdin))
        return SPAN("");
    return (struct span){line, strcspn(line, "\r\n")};
}

static void print_use(void *context, const struct store_use_view *view)
{
    print_token(context, view->token);
}

int ctl_token_find(struct ctl *ctl)
{
    char line[TOKEN_KEY_SIZE], key[TOKEN_KEY_SIZE];
    enum store_error error = store_key_read(ctl->reader, read_key(ctl->argument, line), key);
    if (error == STORE_NOT_FOUND)
        return ctl_fail("not a valid key: wrong format or checksum");
    if (error == STORE_OK)
        error = store_token_find(ctl->reader, key, (int64_t)time(NULL), print_use, ctl);
    if (error == STORE_NOT_FOUND)
        return ctl_fail("nobody has this key");
    return ctl_end(ctl, error);
}
