/* Reads of every kind. */

#include "tests/postgresql/differential.h"

/* ---- users and gateways ---- */

static void print_user(const struct store_user *user)
{
    print_id(&users, user->id);
    print_text(span_of(user->name));
    print_text(span_of(user->group));
    fprintf(out, " %d %" PRId64 " tokens %" PRIu64 " role %d", user->disabled, user->created_unix_s,
            user->token_count, (int)user->role);
    const struct token_account *account = &user->account;
    fprintf(out, " quota %" PRId64 " %d used %" PRId64 " %" PRId64 " requests %" PRId64,
            account->quota, account->unlimited_quota, account->used_quota,
            account->deleted_used_quota, account->request_count);
    fprintf(out, " limits %" PRId64 " %" PRId64 " %" PRId64 ";", account->rpm_limit,
            account->tpm_limit, account->max_tokens);
}

static void visit_user(void *context, const struct store_user *user)
{
    (void)context;
    print_user(user);
}

static void authenticate(void)
{
    bool gateway = below(2);
    struct list *list = gateway ? &gateways : &users;
    size_t place = pick(list);
    char secret[STORE_CREDENTIAL_LEN];
    memset(secret, 'x', sizeof(secret));
    if (place != SIZE_MAX)
        memcpy(secret, list->items[place].secrets[side], sizeof(secret));
    struct span given = {secret, rarely() ? below(sizeof(secret)) : sizeof(secret)};
    int64_t id = 0;
    enum store_error error = gateway ? store_gateway_authenticate(reader(), given, &id)
                                     : store_user_authenticate(reader(), given, &id);
    fputs("authenticate", out);
    print_error_of(error);
    if (error == STORE_OK || error == STORE_USER_DISABLED)
        print_id(list, id);
}

static void find_user(void)
{
    static const struct span names[] = {
        SPAN("alice"),        SPAN("aLiCe"), SPAN("BOB"), SPAN("bob-2"),   SPAN("\xC3\xA9MILE"),
        SPAN("\xC3\x89MILE"), SPAN(""),      SPAN("C%"),  SPAN("carol-1"), SPAN("nobody")};
    static char too_long[STORE_USER_NAME_LEN_MAX + 1];
    struct span name = pick_odd(names[below(COUNT_OF(names))]);
    int64_t id = 0;
    memset(too_long, 'x', sizeof(too_long));
    if (rarely())
        name = (struct span){too_long, sizeof(too_long)};
    enum store_error error = store_user_find(reader(), name, &id);
    fputs("find user", out);
    print_text(name);
    print_error_of(error);
    if (error == STORE_OK)
        print_id(&users, id);
}

/* Where to go on from, or 0. */
static int64_t first_id(const struct list *list)
{
    int64_t id = below(2) ? 0 : pick_id(list);
    return id > 0 ? id : 0;
}

static void get_users(void)
{
    struct store_user user;
    int64_t id = pick_id(&users);
    enum store_error error = store_user_get(reader(), id, &user);
    fputs("user", out);
    print_id(&users, id);
    print_error_of(error);
    if (error == STORE_OK)
        print_user(&user);
    fputs("\nusers", out);
    for (id = first_id(&users); (error = store_user_next(reader(), id, &user)) == STORE_OK;
         id = user.id)
        print_user(&user);
    print_error_of(error);
}

static void get_gateways(void)
{
    struct store_gateway gateway = {.id = first_id(&gateways)};
    enum store_error error;
    fputs("gateways", out);
    while ((error = store_gateway_next(reader(), gateway.id, &gateway)) == STORE_OK) {
        print_id(&gateways, gateway.id);
        print_text(span_of(gateway.name));
        fprintf(out, " %" PRId64 ";", gateway.created_unix_s);
    }
    print_error_of(error);
}

static uint64_t pick_offset(void);

static void get_user_page(void)
{
    static const struct span keywords[] = {
        {NULL, 0}, SPAN("A"), SPAN("%b%"), SPAN("1"), SPAN("\xFF")};
    const struct span absent = {NULL, 0};
    const struct store_user_search search = {.keyword = keywords[below(COUNT_OF(keywords))],
                                             .group = below(2) ? absent : pick_group(),
                                             .offset = pick_offset(),
                                             .limit = pick_offset()};
    uint64_t total = 0;
    fputs("page of users", out);
    print_error_of(store_user_page(reader(), &search, &total, visit_user, NULL));
    fprintf(out, " total %" PRIu64, total);
}

/* ---- tokens ---- */

static uint64_t pick_offset(void)
{
    static const uint64_t offsets[] = {
        0, 0, 0, 1, 5, 1000, INT64_MAX, (uint64_t)INT64_MAX + 1, UINT64_MAX};
    return below(2) ? below(20) : offsets[below(COUNT_OF(offsets))];
}

static void get_token(void)
{
    size_t place = pick(&tokens);
    int64_t id = id_at(&tokens, place), user_id = pick_id(&users), owner_id = 0;
    if (place != SIZE_MAX && !rarely())
        user_id = id_at(&users, tokens.items[place].owner);
    fputs("token", out);
    print_error_of(store_token_get(reader(), user_id, id, print_token_and_key, NULL));
    print_error_of(store_token_get(reader(), user_id, id, NULL, NULL));
    enum store_error error = store_token_owner(reader(), id, &owner_id);
    print_error_of(error);
    if (error == STORE_OK)
        print_id(&users, owner_id);
}

static void get_page(void)
{
    uint64_t total = 77, offset = pick_offset(), limit = pick_offset();
    int64_t user_id = pick_id(&users);
    fprintf(out, "page from %" PRIu64 " of %" PRIu64, offset, limit);
    print_id(&users, user_id);
    print_error_of(
        store_token_page(reader(), user_id, offset, limit, &total, print_token_and_key, NULL));
    fprintf(out, " total %" PRIu64, total);
}

static struct span pick_key_part(void)
{
    static const struct span parts[] = {SPAN(""),     SPAN("sk-"), SPAN("sk-sk-"), SPAN("\xFF"),
                                        SPAN("sk-a"), SPAN("A"),   SPAN("sk")};
    if (below(2))
        return parts[below(COUNT_OF(parts))];
    size_t from = below(2) ? TOKEN_KEY_PREFIX_LEN : 0;
    return (struct span){pick_key() + from, 1 + below(TOKEN_KEY_LEN - from)};
}

static const struct token_field_rule *pick_sort(void)
{
    static const enum token_field_number fields[] = {
        TOKEN_FIELD_NUMBER_NAME,       TOKEN_FIELD_NUMBER_REMAIN_QUOTA,
        TOKEN_FIELD_NUMBER_USED_QUOTA, TOKEN_FIELD_NUMBER_MODEL_LIMITS,
        TOKEN_FIELD_NUMBER_ALLOW_IPS,  TOKEN_FIELD_NUMBER_GROUP,
        TOKEN_FIELD_NUMBER_EXPIRED,    TOKEN_FIELD_NUMBER_CREATED,
        TOKEN_FIELD_NUMBER_ACCESSED};
    size_t which = below(COUNT_OF(fields) + 1);
    return which < COUNT_OF(fields) ? &token_field_rules[fields[which]] : NULL;
}

static struct span pick_keyword(void)
{
    static const struct span keywords[] = {
        SPAN("%"),         SPAN("a%"),   SPAN("%B%"),   SPAN("_"),     SPAN("\\"),
        SPAN("%_%"),       SPAN("prod"), SPAN("%\\%"),  SPAN("%%b%%"), SPAN("P%2"),
        SPAN("T\xC3\xA9"), SPAN("I"),    SPAN("%\xBB%")};
    return pick_odd(below(2) ? pick_name() : keywords[below(COUNT_OF(keywords))]);
}

static void search_tokens(void)
{
    const struct span absent = {NULL, 0};
    uint64_t total = 77;
    struct store_search search = {.user_id = pick_id(&users),
                                  .now_unix_s = time_s,
                                  .keyword = below(2) ? pick_keyword() : absent,
                                  .key = below(5) ? absent : pick_key_part(),
                                  .group = below(3) ? absent : pick_odd(pick_group()),
                                  .status = below(3) ? 0 : (enum token_status)(1 + below(4)),
                                  .sort = pick_sort(),
                                  .ascending = below(2),
                                  .offset = below(2) ? 0 : pick_offset(),
                                  .limit = pick_offset()};
    fputs("search", out);
    print_id(&users, search.user_id);
    print_text(search.keyword);
    print_text(search.key);
    print_text(search.group);
    fprintf(out, " by %d %d from %" PRIu64 " of %" PRIu64 " status %d:",
            search.sort ? (int)search.sort->field : 0, search.ascending, search.offset,
            search.limit, (int)search.status);
    print_error_of(store_token_search(reader(), &search, &total, print_token_and_key, NULL));
    fprintf(out, " total %" PRIu64, total);
}

static void print_use_view(void *context, const struct store_use_view *view)
{
    print_token(context, view->token);
    fprintf(out, " %d", view->owner_disabled);
}

static void use_key(void)
{
    const char *key = pick_key();
    struct token_use use = pick_use();
    struct buffer models = {NULL, 0, 0, false};
    struct store_use_answer answer = {.models = below(2) ? &models : NULL};
    enum token_refusal refusal = TOKEN_GOOD;
    fputs("use", out);
    print_error_of(store_token_check_use(reader(), key, &use, time_s, &refusal, &answer));
    fprintf(out, " refusal %d", (int)refusal);
    if (refusal == TOKEN_GOOD) {
        print_use(&answer);
        fprintf(out, " %" PRId64, answer.accessed_unix_s);
    }
    print_error_of(store_token_find(reader(), key, time_s, print_use_view, NULL));
    buffer_free(&models);
}

static void print_figure(void *context, const char *name, uint64_t value)
{
    (void)context;
    if (strcmp(name, "users") == 0 || strcmp(name, "tokens") == 0)
        fprintf(out, " %s %" PRIu64, name, value);
}

static void print_finding(void *context, const char *line)
{
    (void)context;
    fprintf(out, " %s;", line);
}

static void look_at_all(void)
{
    uint64_t found = 77;
    fputs("figures", out);
    print_error_of(store_stat(reader(), print_figure, NULL));
    print_error_of(store_check(reader(), print_finding, NULL, &found));
    fprintf(out, " found %" PRIu64, found);
    assert_int_equal(found, 0);
}

void read_some(void)
{
    static void (*const reads[])(void) = {authenticate,  find_user,     get_users, get_gateways,
                                          get_user_page, read_site,     read_site, get_token,
                                          get_token,     get_page,      use_key,   search_tokens,
                                          search_tokens, search_tokens, use_key};
    if (below(150) == 0)
        look_at_all();
    else
        reads[below(COUNT_OF(reads))]();
}
