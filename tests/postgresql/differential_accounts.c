/* Users and gateways, and the upkeep of the store. */

#include "tests/postgresql/differential.h"

static const struct span user_names[] = {
    SPAN("alice"),
    SPAN("Alice"),
    SPAN("ALICE"),
    SPAN("bob"),
    SPAN("Bob-2"),
    SPAN("carol_1"),
    SPAN("c%"),
    SPAN("\xC3\xA9mile"),
    SPAN("\xC3\x89mile"),
    SPAN("dave"),
    SPAN("eve"),
    SPAN("x"),
    SPAN("sixty-four bytes: 8901234567890123456789012345678901234567890123")};

static struct span pick_user_name(void)
{
    return user_names[below(COUNT_OF(user_names))];
}

static void add_user(void)
{
    static const enum user_role roles[] = {USER_ROLE_USER, USER_ROLE_USER, USER_ROLE_ADMIN,
                                           USER_ROLE_ROOT};
    struct store_user user = {.role = roles[below(COUNT_OF(roles))], .account = pick_account()};
    char access_token[STORE_CREDENTIAL_LEN];
    struct span name = pick_user_name(), group = pick_group();
    memcpy(user.name, name.at, name.len);
    memcpy(user.group, group.at, group.len);
    enum store_error error = store_user_add(store(), time_s, &user, access_token);
    fputs("add user", out);
    print_text(name);
    print_error_of(error);
    if (error != STORE_OK)
        return;
    struct item *item = note(&users, user.id);
    memcpy(item->secrets[side], access_token, sizeof(access_token));
}

/* In how many steps is the engine's affair. */
static void purge(void)
{
    bool more = true;
    enum store_error error = STORE_OK;
    while (more && error == STORE_OK)
        error = store_purge(store(), &more);
    fputs("purge", out);
    print_error_of(error);
}

/* Of its balance and limits, by somebody. */
static void change_balance(void)
{
    enum {
        FIELDS = STORE_USER_QUOTA | STORE_USER_UNLIMITED | STORE_USER_RPM_LIMIT |
                 STORE_USER_TPM_LIMIT | STORE_USER_MAX_TOKENS
    };
    struct store_write write = {.kind = STORE_USER_CHANGE,
                                .user_id = pick_id(&users),
                                .now_unix_s = time_s,
                                .actor = pick_actor()};
    struct store_user_patch *patch = &write.user_change.patch;
    patch->fields = (unsigned)below(STORE_USER_MAX_TOKENS << 1) & FIELDS;
    patch->value.account = pick_account();
    if (!(patch->fields & STORE_USER_QUOTA) && below(2))
        patch->add_quota = below(2) ? pick_amount() : -pick_amount();
    fputs("balance of user", out);
    print_id(&users, write.user_id);
    print_error_of(store_write(store(), &write));
}

static void change_user(void)
{
    size_t place = pick(&users);
    int64_t id = id_at(&users, place);
    struct span name = below(2) ? pick_user_name() : (struct span){NULL, 0};
    struct span group = below(2) ? pick_group() : (struct span){NULL, 0};
    char access_token[STORE_CREDENTIAL_LEN];
    uint64_t count = 0;
    size_t kind = below(4);
    if (kind ==
        2) /* when expired answers go, and are not counted any more, is the engine's affair */
        purge();
    enum store_error error = kind == 0   ? set_user(store(), id, name, group)
                             : kind == 1 ? set_user_disabled(store(), id, below(4) == 0)
                             : kind == 2 ? store_user_forget(store(), id, &count)
                                         : store_user_rotate(store(), id, access_token);
    fprintf(out, "change %zu of user", kind);
    print_id(&users, id);
    print_error_of(error);
    fprintf(out, " %" PRIu64, count);
    if (kind == 3 && error == STORE_OK)
        memcpy(users.items[place].secrets[side], access_token, sizeof(access_token));
}

static void add_gateway(void)
{
    struct store_gateway gateway = {.name = "gateway"};
    char secret[STORE_CREDENTIAL_LEN];
    enum store_error error = store_gateway_add(store(), time_s, &gateway, secret);
    fputs("add gateway", out);
    print_error_of(error);
    if (error == STORE_OK)
        memcpy(note(&gateways, gateway.id)->secrets[side], secret, sizeof(secret));
}

static void delete_some(void)
{
    bool gateway = below(2);
    int64_t id = pick_id(gateway ? &gateways : &users);
    fputs("delete", out);
    print_id(gateway ? &gateways : &users, id);
    print_error_of(gateway ? store_gateway_delete(store(), id) : store_user_delete(store(), id));
}

void change_account(void)
{
    size_t kind = users.count < 3 ? 0 : gateways.count < 2 ? 1 : below(20);
    if (kind < 1 || (kind < 4 && users.count < 10))
        add_user();
    else if (kind < 5 && (gateways.count < 3 || rarely()))
        add_gateway();
    else if (kind < 6)
        delete_some();
    else if (kind < 8)
        purge();
    else if (kind < 14)
        change_balance();
    else
        change_user();
}
