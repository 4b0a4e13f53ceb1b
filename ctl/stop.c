/* The tokens that a change of groups or grants stops. */

#include <stdlib.h>
#include <time.h>

#include "base/text.h"
#include "ctl/commands.h"
#include "store/txn.h"

struct grant {
    int64_t user_id;
    char group[TOKEN_GROUP_LEN_MAX + 1];
};

/* What rights depend on before a change, and the tokens that lose theirs. */
struct stop_count {
    const struct ctl_stop *stop;
    bool checked;
    struct store_group *groups;
    struct grant *grants;
    size_t group_count, grant_count;
    char own_group[TOKEN_GROUP_LEN_MAX + 1]; /* of the user whose tokens are visited */
    int64_t tokens;
};

/* Has room for another element in an array; the process ends if there is no memory. */
static void *grow(void *array, size_t count, size_t size)
{
    array = reallocarray(array, count + 1, size);
    if (!array)
        exit(ctl_fail("out of memory"));
    return array;
}

static void take_group(void *context, const struct store_group *group)
{
    struct stop_count *count = context;
    count->groups = grow(count->groups, count->group_count, sizeof(*group));
    count->groups[count->group_count++] = *group;
}

static void take_grant(void *context, int64_t user_id, struct span group)
{
    struct stop_count *count = context;
    struct grant grant = {.user_id = user_id};
    memcpy(grant.group, group.at, group.len);
    count->grants = grow(count->grants, count->grant_count, sizeof(grant));
    count->grants[count->grant_count++] = grant;
}

static bool is_name(const char *name, struct span group)
{
    return name && span_equal(span_of(name), group);
}

static bool has_grant(const struct stop_count *count, int64_t user_id, struct span group)
{
    for (size_t i = 0; i < count->grant_count; i++)
        if (count->grants[i].user_id == user_id && is_name(count->grants[i].group, group))
            return true;
    return false;
}

/* Whether a user may use a group that is not its own, as store_find_right says; after: the change.
 */
static bool is_allowed(const struct stop_count *count, int64_t user_id, struct span group,
                       bool after)
{
    const struct ctl_stop *stop = count->stop;
    const struct store_group *found = after ? stop->put : NULL;
    if (!count->checked && !(after && stop->put))
        return true;
    if (found && !is_name(found->name, group))
        found = NULL;
    for (size_t i = 0; !found && i < count->group_count; i++)
        if (is_name(count->groups[i].name, group))
            found = &count->groups[i];
    if (!found || (after && is_name(stop->deleted, group)))
        return false;
    bool is_revoked = after && stop->user_id == user_id && is_name(stop->revoked, group);
    return found->is_public || (has_grant(count, user_id, group) && !is_revoked);
}

/* Tokens without a group of their own, as exports have them, follow their owners. */
static void visit_token(struct stop_count *count, const struct token *token)
{
    const struct ctl_stop *stop = count->stop;
    struct span group = token->group, own = span_of(count->own_group), next = own;
    if (stop->group && stop->user_id == token->user_id)
        next = span_of(stop->group);
    bool is_own = group.len == 0 || span_equal(group, own);
    if (group.len == 0 || span_equal(group, next) || (is_own && token->group_is_old))
        return;
    count->tokens += (is_own || is_allowed(count, token->user_id, group, false)) &&
                     !is_allowed(count, token->user_id, group, true);
}

static bool visit_row(void *context, const struct store_row *row)
{
    struct stop_count *count = context;
    if (row->kind == STORE_ROW_USER) {
        memcpy(count->own_group, row->user.group.at, row->user.group.len);
        count->own_group[row->user.group.len] = '\0';
    } else if (row->kind == STORE_ROW_TOKEN) {
        visit_token(count, &row->token);
    }
    return true;
}

bool ctl_may_stop(struct ctl *ctl, const struct ctl_stop *stop, int *status)
{
    struct stop_count count = {.stop = stop};
    enum store_error error = store_group_list(ctl->reader, 0, &count.checked, take_group, &count);
    if (error == STORE_OK)
        error = store_grant_list(ctl->reader, 0, take_grant, &count);
    if (error == STORE_OK && (count.checked || stop->put))
        error = store_export(ctl->reader, (int64_t)time(NULL), visit_row, &count);
    free(count.groups);
    free(count.grants);
    *status = CTL_FAILED;
    if (error != STORE_OK)
        *status = ctl_end(ctl, error);
    else if (count.tokens > 0 && !ctl->text[CTL_YES])
        ctl_fail("%lld tokens would stop working: add --yes to go on", (long long)count.tokens);
    else
        output_int(ctl, "stopped_tokens", count.tokens);
    return error == STORE_OK && (count.tokens == 0 || ctl->text[CTL_YES]);
}
