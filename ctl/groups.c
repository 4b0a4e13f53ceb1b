/* tokenctl group … and model … */

#include <stdio.h>
#include <time.h>

#include "base/number.h"
#include "base/text.h"
#include "ctl/commands.h"

/* ---- groups ---- */

/* The groups; where there are none, the one that exists from the start. */
struct group_list {
    store_visit_group *visit;
    void *context;
    bool any;
};

static void visit_group(void *context, const struct store_group *group)
{
    struct group_list *list = context;
    list->any = true;
    list->visit(list->context, group);
}

static enum store_error list_groups(struct ctl *ctl, bool *checked, store_visit_group *visit,
                                    void *context)
{
    const struct store_group first = {.name = "default", .ratio_millionths = STORE_RATIO_ONE};
    struct group_list list = {.visit = visit, .context = context};
    enum store_error error = store_group_list(ctl->reader, 0, checked, visit_group, &list);
    if (error == STORE_OK && !list.any)
        visit(context, &first);
    return error;
}

/* Finds a group by the name that *found has. */
struct group_search {
    struct store_group *group;
    bool found;
};

static void compare_group(void *context, const struct store_group *group)
{
    struct group_search *search = context;
    if (strcmp(search->group->name, group->name) != 0)
        return;
    *search->group = *group;
    search->found = true;
}

/* Whether there is the group that the argument names, and whether groups are checked. */
static enum store_error find_group(struct ctl *ctl, struct store_group *group, bool *found,
                                   bool *checked)
{
    struct group_search search = {.group = group};
    snprintf(group->name, sizeof(group->name), "%s", ctl->argument);
    enum store_error error = list_groups(ctl, checked, compare_group, &search);
    *found = search.found;
    return error;
}

/* Reads the options into the group. False with an error printed. */
static bool read_group(const struct ctl *ctl, struct store_group *group)
{
    const char *ratio = ctl->text[CTL_RATIO], *description = ctl->text[CTL_DESCRIPTION];
    if (ctl->text[CTL_PUBLIC] && ctl->text[CTL_PRIVATE]) {
        ctl_fail("--public and --private exclude each other");
        return false;
    }
    if (ctl->text[CTL_PUBLIC] || ctl->text[CTL_PRIVATE])
        group->is_public = ctl->text[CTL_PUBLIC];
    if (ratio && !number_parse_millionths(span_of(ratio), &group->ratio_millionths)) {
        ctl_fail("a ratio is a decimal number, 0 or more, such as 0.8");
        return false;
    }
    if (description &&
        (strlen(description) > STORE_DESCRIPTION_LEN_MAX || !text_is_utf8(span_of(description)) ||
         text_has_control(span_of(description)))) {
        ctl_fail("a description is up to 255 bytes of UTF-8 without control characters");
        return false;
    }
    if (description)
        snprintf(group->description, sizeof(group->description), "%s", description);
    return true;
}

static void print_group(struct ctl *ctl, const struct store_group *group)
{
    output_text(ctl, "name", span_of(group->name));
    output_bool(ctl, "public", group->is_public);
    output_millionths(ctl, "ratio", group->ratio_millionths);
    output_text(ctl, "description", span_of(group->description));
}

/* Does a write of groups or models. */
static enum store_error write_group(struct ctl *ctl, struct store_write *write)
{
    write->actor.kind = STORE_ACTOR_TOKENCTL;
    write->now_unix_s = (int64_t)time(NULL);
    return store_write(ctl->store, write);
}

/* add and set; checked: whether groups are checked afterwards. */
static int put_group(struct ctl *ctl, struct store_group *group, bool checked)
{
    struct store_write write = {.kind = STORE_GROUP_PUT, .group_put = {group, checked}};
    int status;
    if (!read_group(ctl, group) ||
        !ctl_may_stop(ctl, &(struct ctl_stop){.put = checked ? group : NULL}, &status))
        return CTL_FAILED;
    print_group(ctl, group);
    return ctl_end(ctl, write_group(ctl, &write));
}

/* Where groups are not checked, it may be one that is there: it has them checked from now on. */
int ctl_group_add(struct ctl *ctl)
{
    struct store_group group = {.ratio_millionths = STORE_RATIO_ONE};
    bool found = false, checked;
    if (!ctl_check_label("a group", ctl->argument))
        return CTL_FAILED;
    enum store_error error = find_group(ctl, &group, &found, &checked);
    if (found && checked)
        return ctl_fail("there is a group of this name: %s", ctl->argument);
    return error == STORE_OK ? put_group(ctl, &group, true) : ctl_end(ctl, error);
}

int ctl_group_set(struct ctl *ctl)
{
    struct store_group group;
    bool found = false, checked;
    if (!ctl_check_label("a group", ctl->argument))
        return CTL_FAILED;
    enum store_error error = find_group(ctl, &group, &found, &checked);
    if (error == STORE_OK && !found)
        return ctl_fail("%s: %s", store_error_text(STORE_NO_GROUP), ctl->argument);
    return error == STORE_OK ? put_group(ctl, &group, checked) : ctl_end(ctl, error);
}

static void list_group(void *context, const struct store_group *group)
{
    struct ctl *ctl = context;
    struct buffer ratio = {0};
    if (ctl->text[CTL_JSON]) {
        print_group(ctl, group);
        ctl_end(ctl, STORE_OK);
        return;
    }
    buffer_append_millionths(&ratio, group->ratio_millionths);
    printf("%-24s %-7s %-10.*s %s\n", group->name, group->is_public ? "public" : "", (int)ratio.len,
           ratio.at, group->description);
    buffer_free(&ratio);
}

int ctl_group_list(struct ctl *ctl)
{
    bool checked = false;
    if (!ctl->text[CTL_JSON])
        printf("%-24s %-7s %-10s %s\n", "name", "", "ratio", "description");
    enum store_error error = list_groups(ctl, &checked, list_group, ctl);
    if (error == STORE_OK && !checked && !ctl->text[CTL_JSON])
        puts("groups are not checked");
    return ctl_end(ctl, error);
}

/* Ends a change of groups or models: prints the name and what was done, or the error. */
static int end_named(struct ctl *ctl, const char *change, enum store_error error)
{
    output_text(ctl, "name", span_of(ctl->argument));
    output_bool(ctl, change, true);
    if (error == STORE_NO_USER)
        ctl->argument = ctl->second;
    return ctl_end(ctl, error);
}

int ctl_group_delete(struct ctl *ctl)
{
    struct store_write write = {.kind = STORE_GROUP_DELETE, .group_delete = span_of(ctl->argument)};
    int status;
    if (!ctl_may_stop(ctl, &(struct ctl_stop){.deleted = ctl->argument}, &status))
        return status;
    return end_named(ctl, "deleted", write_group(ctl, &write));
}

int ctl_group_off(struct ctl *ctl)
{
    struct store_write write = {.kind = STORE_GROUPS_CHECK, .groups_check = false};
    output_bool(ctl, "checked", false);
    return ctl_end(ctl, write_group(ctl, &write));
}

static enum store_error grant(struct ctl *ctl, bool granted)
{
    struct store_write write = {.kind = STORE_GRANT,
                                .user_id = ctl->id,
                                .grant = {.group = span_of(ctl->argument), .granted = granted}};
    return write_group(ctl, &write);
}

int ctl_group_grant(struct ctl *ctl)
{
    return end_named(ctl, "granted", grant(ctl, true));
}

int ctl_group_revoke(struct ctl *ctl)
{
    const struct ctl_stop stop = {.user_id = ctl->id, .revoked = ctl->argument};
    int status;
    if (!ctl_may_stop(ctl, &stop, &status))
        return status;
    return end_named(ctl, "revoked", grant(ctl, false));
}

/* ---- models ---- */

static void print_model(void *context, struct span name)
{
    struct ctl *ctl = context;
    if (!ctl->text[CTL_JSON]) {
        printf("%.*s\n", (int)name.len, name.at);
        return;
    }
    output_text(ctl, "name", name);
    ctl_end(ctl, STORE_OK);
}

int ctl_model_list(struct ctl *ctl)
{
    return ctl_end(ctl, store_model_list(ctl->reader, print_model, ctl));
}

struct model_search {
    struct span name;
    bool found;
};

static void compare_model(void *context, struct span name)
{
    struct model_search *search = context;
    search->found |= span_equal(search->name, name);
}

/* Lists a model, or lists it no longer; what is so already stays, and is no change. */
static int put_model(struct ctl *ctl, const char *change, bool listed)
{
    struct model_search search = {.name = span_of(ctl->argument)};
    struct store_write write = {.kind = STORE_MODEL_PUT,
                                .model_put = {.name = search.name, .listed = listed}};
    if (search.name.len < 1 || search.name.len > STORE_MODEL_LEN_MAX ||
        !text_is_utf8(search.name) || text_has_control(search.name))
        return ctl_fail("a model is 1 to 255 bytes of UTF-8 without control characters");
    enum store_error error = store_model_list(ctl->reader, compare_model, &search);
    if (error == STORE_OK && !listed && !search.found)
        return ctl_fail("no such model: %s", ctl->argument);
    if (error == STORE_OK && search.found != listed)
        error = write_group(ctl, &write);
    return end_named(ctl, change, error);
}

int ctl_model_add(struct ctl *ctl)
{
    return put_model(ctl, "added", true);
}

int ctl_model_delete(struct ctl *ctl)
{
    return put_model(ctl, "deleted", false);
}
