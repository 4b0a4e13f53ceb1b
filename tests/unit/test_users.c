#include "tests/unit/unit.h"

#include <inttypes.h>

#include "tests/unit/temporary.h"

static struct span access_span(const char access_token[static STORE_CREDENTIAL_LEN])
{
    return (struct span){access_token, STORE_CREDENTIAL_LEN};
}

static void open_store(struct temporary *temporary)
{
    temporary_create(temporary);
    temporary_open(temporary);
}

static void no_day(void *context, int64_t day, int64_t units, int64_t requests)
{
    fail_msg("%p: %" PRId64 ": %" PRId64 "/%" PRId64, context, day, units, requests);
}

static void test_add_and_get(void **state)
{
    (void)state;
    struct temporary temporary;
    open_store(&temporary);
    char longest[STORE_USER_NAME_LEN_MAX + 1] = "", access_token[STORE_CREDENTIAL_LEN];
    memset(longest, 'n', STORE_USER_NAME_LEN_MAX);
    static const char *const groups[] = {"default", "", "\xE7\xBB\x84"};
    const char *const names[] = {longest, "alice", "\xE7\xBB\x84"};
    for (size_t i = 0; i < COUNT_OF(groups); i++) {
        struct store_user in = {.disabled = true,
                                .token_count = 9,
                                .role = USER_ROLE_USER,
                                .account = {.unlimited_quota = true}},
                          out;
        snprintf(in.name, sizeof(in.name), "%s", names[i]);
        snprintf(in.group, sizeof(in.group), "%s", groups[i]);
        assert_int_equal(store_user_add(temporary.store, 12345, &in, access_token), STORE_OK);
        assert_int_equal(in.id, i + 1);
        assert_int_equal(store_user_get(temporary.reader, in.id, &out), STORE_OK);
        for (int which = 0; which < 2; which++, out = in) {
            assert_int_equal(out.id, i + 1);
            assert_string_equal(out.name, names[i]);
            assert_string_equal(out.group, groups[i]);
            assert_false(out.disabled);
            assert_int_equal(out.created_unix_s, 12345);
            assert_int_equal(out.token_count, 0);
        }
    }
    static const int64_t others[] = {0, 4, -1, INT64_MAX, INT64_MIN};
    for (size_t i = 0; i < COUNT_OF(others); i++) {
        struct store_user out;
        assert_int_equal(store_user_get(temporary.reader, others[i], &out), STORE_NO_USER);
        assert_int_equal(
            store_usage_read(temporary.reader, others[i], (int64_t)i % 2, 1, no_day, NULL),
            STORE_NO_USER);
    }
    temporary_check(&temporary);
    temporary_remove(&temporary);
}

/* The user of an access token; 0 where it is nobody's. */
static int64_t user_of(struct store_reader *reader, struct span access_token)
{
    int64_t id = 0;
    enum store_error error = store_user_authenticate(reader, access_token, &id);
    assert_int_equal(error, id != 0 ? STORE_OK : STORE_DENIED);
    return id;
}

static void test_authenticate(void **state)
{
    (void)state;
    struct temporary temporary;
    char alices[STORE_CREDENTIAL_LEN], bobs[STORE_CREDENTIAL_LEN];
    char wrong[STORE_CREDENTIAL_LEN + 1];
    open_store(&temporary);
    struct store_reader *reader = temporary.reader;
    int64_t alice = temporary_add_user(&temporary, alices);
    int64_t bob = temporary_add_user(&temporary, bobs);
    assert_memory_not_equal(alices, bobs, STORE_CREDENTIAL_LEN);
    assert_int_equal(user_of(reader, access_span(alices)), alice);
    assert_int_equal(user_of(reader, access_span(bobs)), bob);
    for (size_t at = 0; at < STORE_CREDENTIAL_LEN; at++) {
        memcpy(wrong, alices, STORE_CREDENTIAL_LEN);
        wrong[at] ^= 1;
        assert_int_equal(user_of(reader, access_span(wrong)), 0);
    }
    memcpy(wrong, alices, STORE_CREDENTIAL_LEN);
    wrong[STORE_CREDENTIAL_LEN] = '0';
    for (size_t len = 0; len <= sizeof(wrong); len++)
        assert_int_equal(user_of(reader, (struct span){wrong, len}),
                         len == STORE_CREDENTIAL_LEN ? alice : 0);
    temporary_remove(&temporary);
}

/* Names differ in more than the case of ASCII letters, and are free again after a deletion. */
static void test_names(void **state)
{
    (void)state;
    struct temporary temporary;
    char access_token[STORE_CREDENTIAL_LEN];
    struct store_user
        alice = {.name = "Alice", .role = USER_ROLE_USER, .account = {.unlimited_quota = true}},
        bob = {.name = "bob", .role = USER_ROLE_USER, .account = {.unlimited_quota = true}},
        again = {.name = "aLICE", .role = USER_ROLE_USER, .account = {.unlimited_quota = true}};
    int64_t id;
    open_store(&temporary);
    struct store *store = temporary.store;
    struct store_reader *reader = temporary.reader;
    assert_int_equal(store_user_add(store, 1, &alice, access_token), STORE_OK);
    assert_int_equal(store_user_add(store, 1, &again, access_token), STORE_NAME_TAKEN);
    assert_int_equal(store_user_add(store, 1, &bob, access_token), STORE_OK);
    assert_int_equal(bob.id, alice.id + 1); /* the refusal took no id */
    assert_int_equal(store_user_find(reader, SPAN("ALICE"), &id), STORE_OK);
    assert_int_equal(id, alice.id);
    static const char *const nobodys[] = {"", "alic", "alice2", "carol"};
    for (size_t i = 0; i < COUNT_OF(nobodys); i++)
        assert_int_equal(store_user_find(reader, span_of(nobodys[i]), &id), STORE_NO_USER);
    char longer[STORE_USER_NAME_LEN_MAX + 1];
    memset(longer, 'a', sizeof(longer));
    assert_int_equal(store_user_find(reader, (struct span){longer, sizeof(longer)}, &id),
                     STORE_NO_USER);

    const struct span stays = {NULL, 0};
    assert_int_equal(set_user(store, bob.id, SPAN("alice"), stays), STORE_NAME_TAKEN);
    assert_int_equal(set_user(store, alice.id, SPAN("ALICE"), SPAN("g")), STORE_OK);
    assert_int_equal(store_user_get(reader, alice.id, &alice), STORE_OK);
    assert_string_equal(alice.name, "ALICE");
    assert_string_equal(alice.group, "g");
    assert_int_equal(set_user(store, bob.id, SPAN("carol"), stays), STORE_OK);
    assert_int_equal(store_user_find(reader, SPAN("bob"), &id), STORE_NO_USER);
    assert_int_equal(store_user_find(reader, SPAN("carol"), &id), STORE_OK);
    assert_int_equal(id, bob.id);
    assert_int_equal(set_user(store, 99, SPAN("dave"), stays), STORE_NO_USER);
    assert_int_equal(user_of(reader, access_span(access_token)), bob.id); /* it stayed */
    assert_int_equal(store_user_delete(store, alice.id), STORE_OK);
    assert_int_equal(store_user_add(store, 1, &again, access_token), STORE_OK);
    temporary_check(&temporary);
    temporary_remove(&temporary);
}

static void test_disable_and_enable(void **state)
{
    (void)state;
    struct temporary temporary;
    char access_token[STORE_CREDENTIAL_LEN], others[STORE_CREDENTIAL_LEN];
    struct store_user user;
    int64_t first;
    open_store(&temporary);
    int64_t id = temporary_add_user(&temporary, access_token);
    temporary_add_user(&temporary, others);
    for (int i = 0; i < 2; i++) { /* twice is no error */
        assert_int_equal(set_user_disabled(temporary.store, id, true), STORE_OK);
        assert_int_equal(store_user_get(temporary.reader, id, &user), STORE_OK);
        assert_true(user.disabled);
    }
    int64_t found = 0;
    assert_int_equal(store_user_authenticate(temporary.reader, access_span(access_token), &found),
                     STORE_USER_DISABLED);
    assert_int_equal(found, id);
    assert_int_equal(temporary_create_tokens(temporary.store, id, 1, 0, 0, &first),
                     STORE_USER_DISABLED);
    assert_int_equal(set_user_disabled(temporary.store, id, false), STORE_OK);
    assert_int_equal(user_of(temporary.reader, access_span(access_token)), id);
    assert_int_equal(temporary_create_tokens(temporary.store, id, 1, 0, 0, &first), STORE_OK);
    assert_int_equal(set_user_disabled(temporary.store, 99, true), STORE_NO_USER);
    temporary_check(&temporary);
    temporary_remove(&temporary);
}

static void test_rotate(void **state)
{
    (void)state;
    struct temporary temporary;
    char old[STORE_CREDENTIAL_LEN], new[STORE_CREDENTIAL_LEN];
    struct store_user before, after;
    open_store(&temporary);
    int64_t id = temporary_add_user(&temporary, old);
    assert_int_equal(store_user_get(temporary.reader, id, &before), STORE_OK);
    assert_int_equal(store_user_rotate(temporary.store, id, new), STORE_OK);
    assert_int_equal(user_of(temporary.reader, access_span(old)), 0);
    assert_int_equal(user_of(temporary.reader, access_span(new)), id);
    assert_int_equal(store_user_get(temporary.reader, id, &after), STORE_OK);
    assert_string_equal(before.name, after.name);
    assert_string_equal(before.group, after.group);
    assert_int_equal(before.created_unix_s, after.created_unix_s);
    assert_int_equal(store_user_rotate(temporary.store, 99, new), STORE_NO_USER);
    temporary_check(&temporary);
    temporary_remove(&temporary);
}

static void test_next(void **state)
{
    (void)state;
    struct temporary temporary;
    char access_token[STORE_CREDENTIAL_LEN];
    struct store_user user;
    open_store(&temporary);
    assert_int_equal(store_user_next(temporary.reader, 0, &user), STORE_NO_USER);
    for (int i = 0; i < 5; i++)
        temporary_add_user(&temporary, access_token);
    assert_int_equal(store_user_delete(temporary.store, 2), STORE_OK);
    assert_int_equal(store_user_delete(temporary.store, 5), STORE_OK);
    static const struct {
        int64_t after_id, id; /* 0: none */
    } rows[] = {{-1, 1}, {0, 1}, {1, 3}, {2, 3}, {3, 4}, {4, 0}, {5, 0}, {INT64_MAX, 0}};
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        enum store_error error = store_user_next(temporary.reader, rows[i].after_id, &user);
        require(error == (rows[i].id ? STORE_OK : STORE_NO_USER), "row %zu", i);
        require(!rows[i].id || user.id == rows[i].id, "row %zu", i);
    }
    temporary_add_user(&temporary, access_token); /* the ids go on, also after the last is gone */
    assert_int_equal(store_user_next(temporary.reader, 4, &user), STORE_OK);
    assert_int_equal(user.id, 6);
    temporary_remove(&temporary);
}

/* Of more tokens than one commit deletes; the neighbours keep theirs. */
static void test_delete_many_tokens(void **state)
{
    (void)state;
    enum { MANY = 20500 };
    struct temporary temporary;
    char access_token[3][STORE_CREDENTIAL_LEN];
    struct store_user user;
    int64_t first;
    open_store(&temporary);
    for (int i = 0; i < 3; i++)
        temporary_add_user(&temporary, access_token[i]);
    for (size_t i = 0; i < MANY / 500; i++)
        for (int64_t id = 1; id <= 3; id++)
            assert_int_equal(
                temporary_create_tokens(temporary.store, id, id == 2 ? 500 : 3, 0, 0, &first),
                STORE_OK);
    assert_int_equal(store_user_get(temporary.reader, 2, &user), STORE_OK);
    assert_int_equal(user.token_count, MANY);
    assert_int_equal(store_user_delete(temporary.store, 2), STORE_OK);

    assert_int_equal(store_user_get(temporary.reader, 2, &user), STORE_NO_USER);
    assert_int_equal(user_of(temporary.reader, access_span(access_token[1])), 0);
    assert_int_equal(temporary_create_tokens(temporary.store, 2, 1, 0, 0, &first), STORE_NO_USER);
    assert_int_equal(temporary_count(temporary.reader, 1), MANY / 500 * 3);
    assert_int_equal(temporary_count(temporary.reader, 2), 0);
    assert_int_equal(temporary_count(temporary.reader, 3), MANY / 500 * 3);
    assert_int_equal(temporary_stat(temporary.reader, "tokens"), MANY / 500 * 6);
    assert_int_equal(temporary_stat(temporary.reader, "users"), 2);
    temporary_check(&temporary);
    assert_int_equal(store_user_delete(temporary.store, 2), STORE_NO_USER);
    temporary_remove(&temporary);
}

/* A deletion that was cut off after its first commit: the user is gone for everybody, and another
 * call deletes the rest. */
static void test_delete_that_was_cut_off(void **state)
{
    (void)state;
    enum { MANY = 2500 };
    struct temporary temporary;
    char access_token[STORE_CREDENTIAL_LEN], new[STORE_CREDENTIAL_LEN];
    struct store_user user;
    int64_t first;
    open_store(&temporary);
    int64_t id = temporary_add_user(&temporary, access_token);
    assert_int_equal(temporary_create_tokens(temporary.store, id, MANY, 0, 0, &first), STORE_OK);
    struct store_write write = {.kind = STORE_USER_DELETE, .user_id = id, .step.max = 1000};
    assert_int_equal(store_write(temporary.store, &write), STORE_OK);
    assert_true(write.step.more);
    uint64_t left = temporary_stat(temporary.reader, "tokens");
    assert_true(left > 0 && left < MANY);

    assert_int_equal(store_user_get(temporary.reader, id, &user), STORE_NO_USER);
    assert_int_equal(store_user_next(temporary.reader, 0, &user), STORE_NO_USER);
    assert_int_equal(user_of(temporary.reader, access_span(access_token)), 0);
    assert_int_equal(store_user_rotate(temporary.store, id, new), STORE_NO_USER);
    assert_int_equal(set_user_disabled(temporary.store, id, false), STORE_NO_USER);
    assert_int_equal(temporary_create_tokens(temporary.store, id, 1, 0, 0, &first), STORE_NO_USER);
    temporary_check(&temporary);
    assert_int_equal(store_user_delete(temporary.store, id), STORE_OK);
    assert_int_equal(temporary_stat(temporary.reader, "tokens"), 0);
    assert_int_equal(temporary_stat(temporary.reader, "users"), 0);
    assert_int_equal(store_user_delete(temporary.store, id), STORE_NO_USER);
    temporary_check(&temporary);
    temporary_remove(&temporary);
}

/* ---- administrators ---- */

static int64_t add_role(struct temporary *temporary, enum user_role role)
{
    char access_token[STORE_CREDENTIAL_LEN];
    const struct store_user_patch patch = {.fields = STORE_USER_ROLE, .value.role = role};
    int64_t id = temporary_add_user(temporary, access_token);
    assert_int_equal(store_user_change(temporary->store, id, &patch), STORE_OK);
    return id;
}

static enum store_error change_as(struct temporary *temporary, int64_t actor, int64_t user_id,
                                  const struct store_user_patch *patch,
                                  const unsigned char *access_hash)
{
    struct store_write write = {.kind = STORE_USER_CHANGE,
                                .user_id = user_id,
                                .now_unix_s = 1000,
                                .actor = {.kind = STORE_ACTOR_ADMIN, .id = actor},
                                .user_change = {.access_hash = access_hash, .patch = *patch}};
    return store_write(temporary->store, &write);
}

/* Checked in the transaction: the role may have changed since the request was let in. */
static void test_rights_of_administrators(void **state)
{
    (void)state;
    enum { USER, OTHER, ADMIN, ADMIN2, ROOT, ROOT2, COUNT };
    static const enum user_role roles[COUNT] = {USER_ROLE_USER,  USER_ROLE_USER, USER_ROLE_ADMIN,
                                                USER_ROLE_ADMIN, USER_ROLE_ROOT, USER_ROLE_ROOT};
    struct temporary temporary;
    int64_t ids[COUNT];
    unsigned char none[SEAL_CREDENTIAL_HASH_LEN] = {0}, hash[SEAL_CREDENTIAL_HASH_LEN] = {1};
    open_store(&temporary);
    for (size_t i = 0; i < COUNT; i++)
        ids[i] = add_role(&temporary, roles[i]);
    for (size_t a = 0; a < COUNT; a++)
        for (size_t u = 0; u < COUNT; u++) {
            bool may_act = roles[a] >= USER_ROLE_ADMIN && (a == u || roles[a] > roles[u]);
            struct store_user_patch patch = {.fields = STORE_USER_QUOTA, .value.account.quota = 1};
            require((change_as(&temporary, ids[a], ids[u], &patch, NULL) == STORE_OK) == may_act,
                    "%zu %zu", a, u);
            patch = (struct store_user_patch){.fields = 0};
            assert_true((change_as(&temporary, ids[a], ids[u], &patch, none) == STORE_OK) ==
                        may_act);
            bool may_give = may_act && roles[a] == USER_ROLE_ROOT;
            hash[1]++;
            assert_true((change_as(&temporary, ids[a], ids[u], &patch, hash) == STORE_OK) ==
                        may_give);
            for (size_t r = 0; r < COUNT; r++) {
                patch =
                    (struct store_user_patch){.fields = STORE_USER_ROLE, .value.role = roles[r]};
                bool stays = roles[r] == roles[u];
                bool may_set = may_act && (stays || (a != u && roles[a] > roles[r]));
                enum store_error error = change_as(&temporary, ids[a], ids[u], &patch, NULL);
                require(error == (may_set ? STORE_OK : STORE_FORBIDDEN), "%zu %zu %zu", a, u, r);
                patch.value.role = roles[u];
                store_user_change(temporary.store, ids[u], &patch);
            }
        }
    /* One who was disabled, or is no longer there. */
    struct store_user_patch patch = {.fields = STORE_USER_QUOTA};
    assert_int_equal(set_user_disabled(temporary.store, ids[ADMIN], true), STORE_OK);
    assert_int_equal(change_as(&temporary, ids[ADMIN], ids[USER], &patch, NULL), STORE_FORBIDDEN);
    assert_int_equal(store_user_delete(temporary.store, ids[ADMIN2]), STORE_OK);
    assert_int_equal(change_as(&temporary, ids[ADMIN2], ids[USER], &patch, NULL), STORE_FORBIDDEN);
    temporary_check(&temporary);
    temporary_remove(&temporary);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rights_of_administrators),
        cmocka_unit_test(test_add_and_get),
        cmocka_unit_test(test_authenticate),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_disable_and_enable),
        cmocka_unit_test(test_rotate),
        cmocka_unit_test(test_next),
        cmocka_unit_test(test_delete_many_tokens),
        cmocka_unit_test(test_delete_that_was_cut_off),
    };
    return cmocka_run_group_tests_name("users", tests, NULL, NULL);
}
