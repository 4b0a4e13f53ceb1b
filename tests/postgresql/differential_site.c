/* What administrators define, balances of users aside: groups, models; and what they see: usage by
 * day, audit records. */

#include "tests/postgresql/differential.h"

/* ---- writes ---- */

static struct span pick_model(void)
{
    static const struct span models[] = {SPAN("gpt-4"), SPAN("claude-3"), SPAN("a%"),
                                         SPAN("GPT-4")};
    return models[below(COUNT_OF(models))];
}

static struct span pick_group_name(void)
{
    struct span name = pick_group();
    return name.len > 0 ? name : SPAN("default");
}

/* A group that is put: valid in the write's commit. */
static const struct store_group *pick_group_to_put(void)
{
    static const char *const descriptions[] = {"", "for \"all\"", "\xC3\xA9t\xC3\xA9"};
    static struct store_group group;
    struct span name = pick_group_name();
    group =
        (struct store_group){.is_public = below(2), .ratio_millionths = (int64_t)below(3000000)};
    memcpy(group.name, name.at, name.len);
    strcpy(group.description, descriptions[below(COUNT_OF(descriptions))]);
    return &group;
}

void change_site(void)
{
    static const enum store_write_kind kinds[] = {
        STORE_GROUP_PUT, STORE_GROUP_PUT, STORE_GROUP_DELETE, STORE_GROUPS_CHECK,
        STORE_GRANT,     STORE_GRANT,     STORE_GRANT,        STORE_MODEL_PUT};
    struct store_write write = {
        .kind = kinds[below(COUNT_OF(kinds))], .now_unix_s = time_s, .actor = pick_actor()};
    if (write.kind == STORE_GROUP_PUT) {
        write.group_put.group = pick_group_to_put();
        write.group_put.begins_checks = below(2);
    } else if (write.kind == STORE_GROUP_DELETE) {
        write.group_delete = pick_group_name();
    } else if (write.kind == STORE_GROUPS_CHECK) {
        write.groups_check = rarely();
    } else if (write.kind == STORE_GRANT) {
        write.user_id = pick_id(&users);
        write.grant.group = pick_group_name();
        write.grant.granted = below(3);
    } else {
        write.model_put.name = pick_model();
        write.model_put.listed = below(3);
    }
    fprintf(out, "site %d", (int)write.kind);
    print_error_of(store_write(store(), &write));
}

/* ---- reads ---- */

static void print_group(void *context, const struct store_group *group)
{
    (void)context;
    print_text(span_of(group->name));
    print_text(span_of(group->description));
    fprintf(out, " %d %" PRId64 ";", group->is_public, group->ratio_millionths);
}

static void print_grant(void *context, int64_t user_id, struct span group)
{
    (void)context;
    print_id(&users, user_id);
    print_text(group);
}

static void print_model(void *context, struct span name)
{
    (void)context;
    print_text(name);
}

static void list_groups(void)
{
    int64_t user_id = below(2) ? 0 : pick_id(&users);
    bool checked = false;
    fputs("groups", out);
    enum store_error error = store_group_list(reader(), user_id, &checked, print_group, NULL);
    print_error_of(error);
    fprintf(out, " checked %d, grants", error == STORE_OK && checked);
    print_error_of(store_grant_list(reader(), user_id, print_grant, NULL));
    print_error_of(store_model_list(reader(), print_model, NULL));
}

static void print_day(void *context, int64_t day, int64_t units, int64_t requests)
{
    (void)context;
    fprintf(out, " %" PRId64 ": %" PRId64 " %" PRId64 ";", day, units, requests);
}

static void read_usage(void)
{
    size_t place = pick(&tokens);
    bool is_own = place != SIZE_MAX && !rarely();
    int64_t user_id = is_own ? id_at(&users, tokens.items[place].owner) : pick_id(&users);
    int64_t token_id = below(2) ? 0 : id_at(&tokens, place);
    int64_t first_day = time_s / (24 * 3600) - (int64_t)below(40);
    fputs("usage", out);
    print_id(&users, user_id);
    print_error_of(store_usage_read(reader(), user_id, token_id, first_day, print_day, NULL));
}

static int64_t last_audit_ids[SIDES];

/* Ids may be in the text of changes. */
static void print_record(void *context, const struct store_audit *record)
{
    (void)context;
    last_audit_ids[side] = record->id;
    fprintf(out, "\n  %" PRId64, record->time_unix_s);
    print_text(record->action);
    fprintf(out, " by %d", (int)record->actor.kind);
    print_id(record->actor.kind == STORE_ACTOR_GATEWAY ? &gateways : &users, record->actor.id);
    print_text(record->actor.address);
    print_text(record->actor.request_id);
    print_id(&users, record->user_id);
    print_id(&tokens, record->token_id);
    if (!memmem(record->changes.at, record->changes.len, "\"id", 3))
        print_text(record->changes);
}

static void read_audit(void)
{
    static const struct span actions[] = {
        {NULL, 0}, {NULL, 0}, SPAN("token.*"), SPAN("user.update"), SPAN("group.*")};
    struct store_audit_search search = {.user_id = below(2) ? 0 : pick_id(&users),
                                        .token_id = below(4) ? 0 : pick_id(&tokens),
                                        .action = actions[below(COUNT_OF(actions))],
                                        .before_id = below(2) ? 0 : last_audit_ids[side],
                                        .limit = 1 + below(20)};
    fputs("audit", out);
    print_error_of(store_audit_read(reader(), &search, print_record, NULL));
}

void read_site(void)
{
    static void (*const reads[])(void) = {list_groups, read_usage, read_usage, read_audit};
    reads[below(COUNT_OF(reads))]();
}
