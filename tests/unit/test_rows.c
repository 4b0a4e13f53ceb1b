/* Rows of accounts in LMDB: usage by day, groups, open reservations, tokens that follow. */

#include "tests/unit/temporary.h"

#include <inttypes.h>

#include "store/lmdb/engine.h"
#include "store/lmdb/rows.h"

static void open_store(struct temporary *temporary)
{
    char access_token[STORE_CREDENTIAL_LEN];
    int64_t first;
    temporary_create_folder(temporary, 0);
    temporary_open(temporary);
    for (int64_t id = 1; id <= 2; id++) {
        temporary_add_user(temporary, access_token);
        assert_int_equal(temporary_create_tokens(temporary->store, id, 3, 0, 0, &first), STORE_OK);
    }
}

static struct store_txn *begin(struct temporary *temporary, struct lmdb_txn *txn)
{
    assert_int_equal(write_begin((struct lmdb_store *)temporary->store, txn), STORE_OK);
    txn->base.rows = &lmdb_rows;
    return &txn->base;
}

static void end(struct lmdb_txn *txn)
{
    assert_int_equal(write_end(txn), STORE_OK);
}

struct days {
    char text[1024];
};

static void visit_day(void *context, int64_t day, int64_t units, int64_t requests)
{
    struct days *days = context;
    size_t len = strlen(days->text);
    snprintf(days->text + len, sizeof(days->text) - len, "%" PRId64 ":%" PRId64 "/%" PRId64 " ",
             day, units, requests);
}

static void expect_days(struct temporary *temporary, int64_t token_id, int64_t first_day,
                        const char *expected)
{
    struct days days = {.text = ""};
    assert_int_equal(store_usage_read(temporary->reader, 1, token_id, first_day, visit_day, &days),
                     STORE_OK);
    assert_string_equal(days.text, expected);
}

static void put_usage(struct store_txn *txn, int64_t token_id, struct token_usage usage)
{
    struct token token;
    struct record_keys keys;
    assert_int_equal(txn->rows->get_token(txn, 1, token_id, &token, &keys), STORE_OK);
    token.usage = usage;
    txn->rows->put_token(txn, &token, &keys);
}

static void test_usage(void **state)
{
    (void)state;
    struct temporary temporary;
    struct lmdb_txn lmdb;
    open_store(&temporary);
    expect_days(&temporary, 0, 0, "");
    struct store_txn *txn = begin(&temporary, &lmdb);
    const struct store_rows *rows = txn->rows;
    for (int64_t day = 100; day < 105; day++)
        for (int64_t token_id = 0; token_id <= 3; token_id++)
            rows->add_usage(txn, 1, token_id, day, token_id * 10, 2);
    rows->add_usage(txn, 1, 1, 102, -3, -1);
    put_usage(txn, 1, (struct token_usage){.day = 103, .units = 5, .requests = 1});
    put_usage(txn, 2, (struct token_usage){.day = 110, .units = 7, .requests = 3});
    end(&lmdb);
    expect_days(&temporary, 1, 0, "100:10/2 101:10/2 102:7/1 103:15/3 104:10/2 ");
    expect_days(&temporary, 2, 104, "104:20/2 110:7/3 ");
    expect_days(&temporary, 2, 105, "110:7/3 ");
    expect_days(&temporary, 2, 111, "");
    expect_days(&temporary, 0, 103, "103:0/2 104:0/2 ");
    txn = begin(&temporary, &lmdb);
    rows->fold_usage(txn, 1, 1, 102);
    rows->fold_usage(txn, 1, 3, 1000);
    rows->delete_usage(txn, 1, 2);
    put_usage(txn, 3, (struct token_usage){.day = 90, .units = 1});
    end(&lmdb);
    expect_days(&temporary, 1, 0, "102:7/1 103:15/3 104:10/2 ");
    expect_days(&temporary, 2, 0, "110:7/3 ");
    expect_days(&temporary, 3, 0, "90:1/0 ");
    txn = begin(&temporary, &lmdb);
    rows->add_usage(txn, 1, 3, 0, 0, 0);
    rows->delete_user(txn, 1);
    assert_int_equal(db_count(txn, DB_USAGE), 0);
    lmdb.base.error = STORE_NOT_FOUND; /* its tokens are left: as it was */
    write_end(&lmdb);
    temporary_remove(&temporary);
}

static void visit_group(void *context, const struct store_group *group)
{
    struct days *names = context;
    strcat(strcat(names->text, group->name), " ");
}

static void visit_grant(void *context, int64_t user_id, struct span group)
{
    struct days *names = context;
    size_t len = strlen(names->text);
    snprintf(names->text + len, sizeof(names->text) - len, "%" PRId64 ":%.*s ", user_id,
             (int)group.len, group.at);
}

static void expect_groups(struct temporary *temporary, int64_t user_id, const char *groups,
                          const char *grants)
{
    struct days found = {.text = ""}, granted = {.text = ""};
    bool checked;
    assert_int_equal(store_group_list(temporary->reader, user_id, &checked, visit_group, &found),
                     STORE_OK);
    assert_string_equal(found.text, groups);
    assert_int_equal(store_grant_list(temporary->reader, user_id, visit_grant, &granted), STORE_OK);
    assert_string_equal(granted.text, grants);
}

static void test_groups(void **state)
{
    (void)state;
    static const char *const names[] = {"b", "a", "ab"};
    struct temporary temporary;
    struct lmdb_txn lmdb;
    struct record_group found;
    open_store(&temporary);
    struct store_txn *txn = begin(&temporary, &lmdb);
    const struct store_rows *rows = txn->rows;
    char longest[TOKEN_GROUP_LEN_MAX];
    memset(longest, 'z', sizeof(longest));
    struct span long_name = {longest, sizeof(longest)};
    rows->check_groups(txn, true);
    assert_false(rows->groups_checked(txn)); /* there are none */
    for (size_t i = 0; i < COUNT_OF(names); i++)
        rows->put_group(txn, span_of(names[i]),
                        &(struct record_group){.description = SPAN("text"), .is_public = i == 0});
    rows->put_group(txn, long_name, &(struct record_group){.description = SPAN("")});
    assert_true(rows->groups_checked(txn));
    rows->put_grant(txn, 1, SPAN("a"), true);
    rows->put_grant(txn, 1, long_name, true);
    rows->put_grant(txn, 2, SPAN("a"), true);
    rows->put_grant(txn, 2, SPAN("ab"), true);
    rows->put_grant(txn, 2, SPAN("b"), false); /* not there */
    assert_true(rows->has_grant(txn, 2, SPAN("ab")));
    assert_false(rows->has_grant(txn, 1, SPAN("ab")));
    assert_int_equal(rows->get_group(txn, SPAN(""), &found), STORE_NOT_FOUND);
    assert_int_equal(rows->delete_group(txn, SPAN("c")), STORE_NOT_FOUND);
    end(&lmdb);
    expect_groups(&temporary, 2, "a ab b ", "2:a 2:ab ");
    temporary_check(&temporary);
    txn = begin(&temporary, &lmdb);
    assert_int_equal(rows->delete_group(txn, SPAN("a")), STORE_OK);
    assert_int_equal(rows->delete_group(txn, long_name), STORE_OK);
    end(&lmdb);
    expect_groups(&temporary, 0, "ab b ", "2:ab ");
    expect_groups(&temporary, 1, "b ", "");
    temporary_check(&temporary);
    assert_int_equal(store_user_delete(temporary.store, 2), STORE_OK);
    expect_groups(&temporary, 0, "ab b ", "");
    temporary_check(&temporary);
    temporary_remove(&temporary);
}

/* By due time, those of the token only. */
static void test_open_reservations(void **state)
{
    (void)state;
    struct temporary temporary;
    struct lmdb_txn lmdb;
    open_store(&temporary);
    struct store_txn *txn = begin(&temporary, &lmdb);
    const struct store_rows *rows = txn->rows;
    int64_t due_s = 0, now_s = rows->now_s(txn), id;
    struct record_reservation reservation = {.user_id = 1, .group = SPAN("")};
    assert_int_equal(rows->now_ns(txn) / 1000000000, now_s);
    for (int64_t i = -5; i < 10; i++) {
        assert_int_equal(rows->take_id(txn, STORE_IDS_RESERVATION, &id), STORE_OK);
        reservation.token_id = 1 + (i & 1);
        reservation.due_s = now_s + 9 - i;
        rows->put_reservation(txn, id, &reservation);
    }
    assert_int_equal(rows->count_open(txn, 1, 1, 100, &due_s), 7); /* due in 1, 3, … 13 */
    assert_int_equal(due_s, now_s + 1);
    assert_int_equal(rows->count_open(txn, 1, 2, 100, &due_s), 7); /* in 2, … 14 */
    assert_int_equal(due_s, now_s + 2);
    assert_int_equal(rows->count_open(txn, 1, 1, 3, &due_s), 3);
    assert_int_equal(rows->count_open(txn, 1, 3, 100, &due_s), 0);
    reservation.ended = true; /* the last one is due now */
    rows->put_reservation(txn, id, &reservation);
    assert_int_equal(db_count(txn, DB_RESERVATIONS_BY_TOKEN), 14);
    rows_store_ids(txn);
    end(&lmdb);
    temporary_check(&temporary);
    temporary_remove(&temporary);
}

static void check_shown(void *context, const struct token *token)
{
    assert_true(span_equal(token->group, span_of(context)));
}

/* Tokens that have the owner's group by its name follow when it changes; others do not. */
static void test_followers(void **state)
{
    (void)state;
    struct temporary temporary;
    struct lmdb_txn lmdb;
    struct token token;
    struct record_keys keys;
    uint64_t total;
    char vip[] = "vip";
    open_store(&temporary);
    struct store_txn *txn = begin(&temporary, &lmdb);
    const struct store_rows *rows = txn->rows;
    static const struct span groups[] = {SPAN("vip"), SPAN("vip"), SPAN("other")};
    for (int64_t id = 1; id <= 3; id++) {
        assert_int_equal(rows->get_token(txn, 1, id, &token, &keys), STORE_OK);
        token.group = groups[id - 1];
        token.group_is_old = id != 1;
        rows->put_token(txn, &token, &keys);
    }
    rows->follow_owner(txn, 1, SPAN("vip"));
    static const struct span stored[] = {SPAN("vip"), SPAN(""), SPAN("other")};
    for (int64_t id = 1; id <= 3; id++) {
        assert_int_equal(rows->get_token(txn, 1, id, &token, &keys), STORE_OK);
        assert_true(span_equal(token.group, stored[id - 1]));
        assert_int_equal(token.group_is_old, id == 3);
    }
    end(&lmdb);
    assert_int_equal(store_token_get(temporary.reader, 1, 2, check_shown, vip), STORE_OK);
    assert_int_equal(store_token_page(temporary.reader, 2, 0, 3, &total, check_shown, vip),
                     STORE_OK);
    struct store_search search = {.user_id = 1, .group = SPAN("vip"), .limit = 10};
    assert_int_equal(store_token_search(temporary.reader, &search, &total, check_shown, vip),
                     STORE_OK);
    assert_int_equal(total, 2);
    temporary_remove(&temporary);
}

struct ids {
    size_t count;
    int64_t at[16];
};

static void visit_user(void *context, const struct store_user *user)
{
    struct ids *ids = context;
    ids->at[ids->count++] = user->id;
}

static void test_user_pages(void **state)
{
    (void)state;
    struct temporary temporary;
    char access_token[STORE_CREDENTIAL_LEN];
    temporary_create_folder(&temporary, 0);
    temporary_open(&temporary);
    for (int i = 0; i < 12; i++) {
        struct store_user user = {.name = {'u', 's', (char)('a' + i)},
                                  .group = "vip",
                                  .role = USER_ROLE_USER,
                                  .account.unlimited_quota = true};
        assert_int_equal(store_user_add(temporary.store, 1, &user, access_token), STORE_OK);
    }
    assert_int_equal(store_user_delete(temporary.store, 5), STORE_OK);
    const struct {
        struct store_user_search search;
        uint64_t total;
        struct ids ids;
    } rows[] = {
        {{.limit = 3}, 11, {3, {12, 11, 10}}},
        {{.offset = 7, .limit = 3}, 11, {3, {4, 3, 2}}},
        {{.offset = 20, .limit = 3}, 11, {0, {0}}},
        {{.offset = UINT64_MAX, .limit = UINT64_MAX}, 11, {0, {0}}},
        {{.keyword = SPAN("12"), .limit = 3}, 1, {1, {12}}},
        {{.keyword = SPAN("US"), .group = SPAN("vip"), .limit = 1}, 11, {1, {12}}},
        {{.group = SPAN("none"), .limit = 1}, 0, {0, {0}}},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct ids ids = {.count = 0};
        uint64_t total;
        assert_int_equal(
            store_user_page(temporary.reader, &rows[i].search, &total, visit_user, &ids), STORE_OK);
        require(total == rows[i].total && ids.count == rows[i].ids.count &&
                    memcmp(ids.at, rows[i].ids.at, ids.count * sizeof(ids.at[0])) == 0,
                "row %zu", i);
    }
    temporary_remove(&temporary);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_usage),
        cmocka_unit_test(test_groups),
        cmocka_unit_test(test_open_reservations),
        cmocka_unit_test(test_followers),
        cmocka_unit_test(test_user_pages),
    };
    return cmocka_run_group_tests_name("rows", tests, NULL, NULL);
}
