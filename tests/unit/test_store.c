#include "tests/unit/unit.h"

#include <inttypes.h>

#include "base/calendar.h"
#include "tests/unit/fake_clock.h"
#include "tests/unit/random.h"
#include "tests/unit/temporary.h"
#include "tests/unit/token_same.h"

/* ---- a plain model of what the store has to hold ---- */

enum { USERS = 4, TOKENS_MAX = 12000, NOW = 1700000000 };

struct model_user {
    int64_t id;
    struct token tokens[TOKENS_MAX]; /* by id, upwards; the texts are static */
    size_t count;
};

struct model {
    struct temporary temporary;
    struct random random;
    struct model_user users[USERS];
    int64_t last_id; /* ever given out */
    char long_text[TOKEN_MODEL_LIMITS_LEN_MAX];
};

static struct model *open_model(uint64_t seed)
{
    struct model *model = calloc(1, sizeof(*model));
    char access_token[STORE_CREDENTIAL_LEN];
    assert_non_null(model);
    model->random.state = seed;
    memset(model->long_text, 'x', sizeof(model->long_text));
    temporary_create(&model->temporary);
    temporary_open(&model->temporary);
    for (size_t i = 0; i < USERS; i++)
        model->users[i].id = temporary_add_user(&model->temporary, access_token);
    return model;
}

static void close_model(struct model *model)
{
    temporary_remove(&model->temporary);
    free(model);
}

static size_t below(struct model *model, size_t limit)
{
    return random_below(&model->random, limit);
}

static struct token *find(struct model_user *user, int64_t id)
{
    size_t low = 0, high = user->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (user->tokens[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low < user->count && user->tokens[low].id == id ? &user->tokens[low] : NULL;
}

static void forget(struct model_user *user, const struct token *token)
{
    size_t index = (size_t)(token - user->tokens);
    user->count--;
    memmove(user->tokens + index, user->tokens + index + 1,
            (user->count - index) * sizeof(user->tokens[0]));
}

/* ---- random writes ---- */

static struct span pick_text(struct model *model, struct span otherwise)
{
    static const struct span texts[] = {SPAN(""), SPAN("a"), SPAN("name \"x\" \\"),
                                        SPAN("\xE4\xBB\xA4\xE7\x89\x8C"), SPAN("gpt-4,gpt-4o")};
    size_t which = below(model, COUNT_OF(texts) + 1);
    return which < COUNT_OF(texts) ? texts[which] : otherwise;
}

static void fill_token(struct model *model, struct token *token)
{
    static const int64_t expiries[] = {-1, 0, NOW - 1, NOW, NOW + 1, INT64_MAX};
    static const int64_t quotas[] = {0, 1, 500, INT64_MAX};
    *token = token_default();
    token->name = pick_text(model, SPAN("\xF0\x9F\x98\x80\xF0\x9F\x98\x80"));
    token->status = below(model, 2) ? TOKEN_ENABLED : TOKEN_DISABLED;
    token->remain_quota = quotas[below(model, COUNT_OF(quotas))];
    token->unlimited_quota = below(model, 2);
    token->model_limits_enabled = below(model, 2);
    token->model_limits =
        pick_text(model, (struct span){model->long_text, below(model, 8) ? 40 : 8192});
    token->allow_ips = pick_text(model, SPAN("10.0.0.0/8,::1"));
    if (below(model, 2))
        token->group = pick_text(model, SPAN("group"));
    token->expired_unix_s = expiries[below(model, COUNT_OF(expiries))];
    if (below(model, 4) == 0) {
        token->rpm_limit = (int64_t)below(model, 1000001);
        token->tpm_limit = (int64_t)below(model, 3);
        token->max_parallel_requests = (int64_t)below(model, 1001);
        token->refill_amount = quotas[below(model, COUNT_OF(quotas))];
        token->refill_interval = (enum token_refill)below(model, TOKEN_REFILL_MONTH + 1);
        token->refill_day = 1 + (int64_t)below(model, 31);
        token->refill_period = calendar_day(NOW) - (int64_t)below(model, 40);
    }
    token_key_generate(token->key);
}

/* An id of the user's, of another's, or nobody's. */
static int64_t pick_id(struct model *model, struct model_user *user)
{
    if (below(model, 8) == 0)
        user = &model->users[below(model, USERS)];
    if (user->count == 0 || below(model, 10) == 0) {
        static const int64_t nobodys[] = {0, -1, INT64_MIN, INT64_MAX};
        size_t which = below(model, COUNT_OF(nobodys) + 1);
        return which < COUNT_OF(nobodys) ? nobodys[which]
                                         : 1 + (int64_t)below(model, (size_t)model->last_id + 3);
    }
    return user->tokens[below(model, user->count)].id;
}

enum { BATCH_MAX = 8, CREATE_MAX = 60, DELETE_MAX = 40 };

/* Writes with what they point to. */
struct batch {
    struct store_write writes[BATCH_MAX];
    struct token tokens[BATCH_MAX][CREATE_MAX];
    int64_t ids[BATCH_MAX][DELETE_MAX];
    size_t count;
};

static void fill_write(struct model *model, struct batch *batch, size_t i, bool growing)
{
    struct store_write *write = &batch->writes[i];
    struct model_user *user = &model->users[below(model, USERS)];
    *write = (struct store_write){.user_id = user->id, .now_unix_s = NOW};
    if (below(model, 25) == 0)
        write->user_id = 1000; /* no such user */
    size_t kind = below(model, 10);
    if (kind < (growing ? 5U : 2U)) {
        write->kind = STORE_CREATE;
        write->create.tokens = batch->tokens[i];
        write->create.count = 1 + below(model, growing ? CREATE_MAX : 5);
        write->create.max_per_user =
            below(model, 6) ? 0 : user->count + below(model, (size_t)2 * CREATE_MAX);
        for (size_t n = 0; n < write->create.count; n++)
            fill_token(model, &batch->tokens[i][n]);
    } else if (kind < 8) {
        struct token value;
        fill_token(model, &value);
        if (below(model, 3) == 0)
            value.status = below(model, 2) ? TOKEN_EXPIRED : TOKEN_EXHAUSTED;
        if (!value.group.at)
            value.group = SPAN("");
        write->kind = STORE_UPDATE;
        write->update.token_id = pick_id(model, user);
        write->update.patch =
            (struct token_patch){.fields = (unsigned)below(model, 1 << TOKEN_FIELD_COUNT) &
                                           token_fields_set_by(TOKEN_SET_UPDATE),
                                 .name_max = TOKEN_NAME_CHARACTERS_MAX,
                                 .value = value};
    } else {
        write->kind = STORE_DELETE;
        write->delete.ids = batch->ids[i];
        write->delete.id_count = 1 + below(model, growing ? 6 : DELETE_MAX);
        for (size_t n = 0; n < write->delete.id_count; n++)
            batch->ids[i][n] =
                n > 0 && below(model, 6) == 0 ? batch->ids[i][n - 1] : pick_id(model, user);
    }
}

/* ---- what has to come of them ---- */

static void expect_create(struct model *model, struct model_user *user,
                          const struct store_write *write)
{
    uint64_t max = write->create.max_per_user;
    if (max > 0 && user->count + write->create.count > max) {
        assert_int_equal(write->error, STORE_LIMIT);
        return;
    }
    assert_int_equal(write->error, STORE_OK);
    for (size_t i = 0; i < write->create.count; i++) {
        struct token token = write->create.tokens[i];
        assert_true(token.id > model->last_id); /* unique, never again, upwards */
        assert_int_equal(token.user_id, user->id);
        assert_int_equal(token.created_unix_s, NOW);
        assert_int_equal(token.accessed_unix_s, NOW);
        assert_int_equal(token.used_quota, 0);
        model->last_id = token.id;
        if (token.group.at == write->owner_group) {
            assert_span_equal(token.group, SPAN("vip"));
            token.group = SPAN("vip");
        }
        assert_true(user->count < TOKENS_MAX);
        user->tokens[user->count++] = token;
    }
}

static void expect_update(struct model_user *user, const struct store_write *write)
{
    struct token *token = find(user, write->update.token_id);
    if (!token) {
        assert_int_equal(write->error, STORE_NOT_FOUND);
        return;
    }
    static const enum store_error errors[] = {
        [TOKEN_OK] = STORE_OK,
        [TOKEN_ENABLE_EXPIRED] = STORE_ENABLE_EXPIRED,
        [TOKEN_ENABLE_EXHAUSTED] = STORE_ENABLE_EXHAUSTED,
        [TOKEN_QUOTA_TOO_LOW] = STORE_QUOTA_TOO_LOW,
        [TOKEN_QUOTA_TOO_HIGH] = STORE_QUOTA_TOO_HIGH,
        [TOKEN_NAME_TOO_LONG] = STORE_NAME_TOO_LONG,
    };
    struct token changed = *token;
    enum token_error error =
        token_patch_apply(&write->update.patch, NOW, calendar_day(NOW), &changed);
    assert_int_equal(write->error, errors[error]);
    if (error != TOKEN_OK)
        return;
    if (changed.group.len == 0) /* the owner's is shown */
        changed.group = SPAN("vip");
    assert_true(token_same(&write->token, &changed));
    *token = changed;
}

static void expect_delete(struct model_user *user, const struct store_write *write)
{
    size_t deleted = 0;
    for (size_t i = 0; i < write->delete.id_count; i++) {
        struct token *token = find(user, write->delete.ids[i]);
        if (!token)
            continue;
        forget(user, token);
        deleted++;
    }
    assert_int_equal(write->error, STORE_OK);
    assert_int_equal(write->delete.deleted_count, deleted);
}

static void expect(struct model *model, const struct store_write *write)
{
    for (size_t i = 0; i < USERS; i++) {
        if (model->users[i].id != write->user_id)
            continue;
        if (write->kind == STORE_CREATE)
            expect_create(model, &model->users[i], write);
        else if (write->kind == STORE_UPDATE)
            expect_update(&model->users[i], write);
        else
            expect_delete(&model->users[i], write);
        return;
    }
    assert_int_equal(write->error, STORE_NO_USER);
}

/* ---- reading beside the model ---- */

struct expectation {
    const struct token *next; /* downwards */
    size_t left;
};

static void visit(void *context, const struct token *token)
{
    struct expectation *expectation = context;
    assert_true(expectation->left > 0);
    struct token expected = *expectation->next;
    if (expected.group.len == 0) /* the owner's is shown */
        expected.group = SPAN("vip");
    require(token_same(token, &expected), "token %" PRId64 " is not token %" PRId64, token->id,
            expected.id);
    expectation->next--;
    expectation->left--;
}

static void check_page(struct model *model, struct model_user *user, uint64_t offset,
                       uint64_t limit)
{
    uint64_t total = 77, left = offset < user->count ? user->count - offset : 0;
    struct expectation expectation = {NULL, left < limit ? left : limit};
    if (expectation.left > 0)
        expectation.next = &user->tokens[user->count - 1 - offset];
    assert_int_equal(store_token_page(model->temporary.reader, user->id, offset, limit, &total,
                                      visit, &expectation),
                     STORE_OK);
    require(total == user->count, "%" PRIu64 " of %zu", total, user->count);
    assert_int_equal(expectation.left, 0);
}

static void check_get(struct model *model, struct model_user *user, int64_t id)
{
    const struct token *token = find(user, id);
    struct expectation expectation = {token, token ? 1 : 0};
    enum store_error error =
        store_token_get(model->temporary.reader, user->id, id, visit, &expectation);
    assert_int_equal(error, token ? STORE_OK : STORE_NOT_FOUND);
    assert_int_equal(expectation.left, 0);
}

static void check_some(struct model *model)
{
    for (size_t i = 0; i < USERS; i++) {
        struct model_user *user = &model->users[i];
        check_page(model, user, 0, 20);
        check_page(model, user, below(model, user->count + 3), below(model, 130));
        check_page(model, user, user->count > 0 ? user->count - 1 : 0, 100);
        check_get(model, user, pick_id(model, user));
        check_get(model, user, pick_id(model, &model->users[below(model, USERS)]));
    }
    check_page(model, &model->users[0], UINT64_MAX, UINT64_MAX);
    check_page(model, &model->users[0], 1, UINT64_MAX);
}

static void check_all(struct model *model)
{
    uint64_t total = 0;
    for (size_t i = 0; i < USERS; i++) {
        struct model_user *user = &model->users[i];
        struct store_user shown;
        check_page(model, user, 0, UINT64_MAX);
        assert_int_equal(store_user_get(model->temporary.reader, user->id, &shown), STORE_OK);
        assert_int_equal(shown.token_count, user->count);
        total += user->count;
    }
    assert_int_equal(temporary_stat(model->temporary.reader, "tokens"), total);
    assert_int_equal(temporary_stat(model->temporary.reader, "users"), USERS);
    temporary_check(&model->temporary);
}

/* ---- steps ---- */

static void step(struct model *model, struct batch *batch, bool growing)
{
    batch->count = 1 + below(model, BATCH_MAX);
    for (size_t i = 0; i < batch->count; i++)
        fill_write(model, batch, i, growing);
    assert_int_equal(temporary_commit(model->temporary.store, batch->writes, batch->count),
                     STORE_OK);
    for (size_t i = 0; i < batch->count; i++)
        expect(model, &batch->writes[i]);
    for (size_t i = 0; i < batch->count; i++)
        store_write_free(&batch->writes[i]);
    check_some(model);
}

static void run_model(uint64_t seed, int steps)
{
    struct model *model = open_model(seed);
    struct batch *batch = malloc(sizeof(*batch));
    assert_non_null(batch);
    for (int i = 0; i < steps; i++) {
        step(model, batch, i % 150 < 90);
        if (i % 60 == 59)
            check_all(model);
        if (i % 150 == 149) {
            temporary_close(&model->temporary);
            temporary_open(&model->temporary);
            check_all(model);
        }
    }
    free(batch);
    close_model(model);
}

static void test_random_writes(void **state)
{
    (void)state;
    fake_clocks_needed();
    fake_database_clock(NOW); /* by which tokens expire, and periods of refills begin */
    run_model(1, temporary_steps(700));
    run_model(2, temporary_steps(250));
}

/* ---- commits of several writes ---- */

static void test_refused_writes_leave_nothing(void **state)
{
    (void)state;
    struct model *model = open_model(3);
    struct batch *batch = calloc(1, sizeof(*batch));
    assert_non_null(batch);
    struct model_user *user = &model->users[0], *other = &model->users[1];
    const int64_t strangers[] = {1, 1, 2};
    int64_t first;
    assert_int_equal(set_user_disabled(model->temporary.store, model->users[3].id, true), STORE_OK);
    assert_int_equal(
        temporary_create_tokens(model->temporary.store, model->users[2].id, 2, 0, 0, &first),
        STORE_OK);
    assert_int_equal(first, 1);
    struct store_write *writes = batch->writes;
    batch->count = 8;
    for (size_t i = 0; i < batch->count; i++)
        writes[i] = (struct store_write){.kind = STORE_CREATE,
                                         .user_id = user->id,
                                         .now_unix_s = NOW,
                                         .error = (enum store_error)99,
                                         .create = {.tokens = batch->tokens[i], .count = 2}};
    for (size_t i = 0; i < batch->count; i++)
        for (size_t n = 0; n < 2; n++)
            fill_token(model, &batch->tokens[i][n]);
    writes[1].user_id = 1000;               /* no such user */
    writes[2].create.max_per_user = 3;      /* two are there already */
    writes[3].user_id = model->users[3].id; /* disabled */
    writes[4].kind = STORE_UPDATE;
    writes[4].update.token_id = 1; /* a stranger's */
    writes[4].update.patch =
        (struct token_patch){.fields = TOKEN_FIELD_GROUP, .value = token_default()};
    writes[4].text = NULL;
    writes[5].kind = STORE_DELETE;
    writes[5].delete.ids = strangers;
    writes[5].delete.id_count = COUNT_OF(strangers);
    writes[6].user_id = other->id;
    writes[7].create.max_per_user = 4;
    assert_int_equal(temporary_commit(model->temporary.store, batch->writes, batch->count),
                     STORE_OK);
    static const enum store_error errors[] = {
        STORE_OK,        STORE_NO_USER, STORE_LIMIT, STORE_USER_DISABLED,
        STORE_NOT_FOUND, STORE_OK,      STORE_OK,    STORE_OK};
    for (size_t i = 0; i < batch->count; i++)
        require(writes[i].error == errors[i], "write %zu: %s", i,
                store_error_text(writes[i].error));
    assert_int_equal(writes[5].delete.deleted_count, 0);
    struct store_reader *reader = model->temporary.reader;
    assert_int_equal(temporary_count(reader, user->id), 4);
    assert_int_equal(temporary_count(reader, other->id), 2);
    assert_int_equal(temporary_count(reader, model->users[2].id), 2);
    assert_int_equal(temporary_count(reader, model->users[3].id), 0);
    temporary_check(&model->temporary);
    free(batch);
    close_model(model);
}

static size_t take_calls;

static struct store_write *take_nothing(void *context)
{
    (void)context;
    take_calls++;
    return NULL;
}

static void test_a_commit_of_nothing(void **state)
{
    (void)state;
    struct model *model = open_model(4);
    take_calls = 0;
    assert_int_equal(store_commit(model->temporary.store, take_nothing, NULL), STORE_OK);
    assert_int_equal(take_calls, 1);
    temporary_check(&model->temporary);
    close_model(model);
}

enum { LATE = 3 };

/* One after the other, as if each came while the one before it was done. */
static struct store_write *take_next(void *context)
{
    struct store_write *writes = context;
    if (take_calls == LATE)
        return NULL;
    writes[take_calls].next = NULL;
    return &writes[take_calls++];
}

static void test_writes_taken_one_by_one(void **state)
{
    (void)state;
    struct model *model = open_model(5);
    struct token tokens[LATE];
    struct store_write writes[LATE];
    for (size_t i = 0; i < LATE; i++) {
        tokens[i] = token_default();
        token_key_generate(tokens[i].key);
        writes[i] = (struct store_write){.kind = STORE_CREATE,
                                         .user_id = model->users[0].id,
                                         .create = {.tokens = &tokens[i], .count = 1}};
    }
    take_calls = 0;
    assert_int_equal(store_commit(model->temporary.store, take_next, writes), STORE_OK);
    assert_int_equal(take_calls, LATE);
    for (size_t i = 0; i < LATE; i++)
        assert_int_equal(writes[i].error, STORE_OK);
    assert_int_equal(temporary_count(model->temporary.reader, model->users[0].id), LATE);
    temporary_check(&model->temporary);
    close_model(model);
}

/* A write sees those before it in the same commit. */
static void test_writes_of_a_commit_go_in_order(void **state)
{
    (void)state;
    struct model *model = open_model(5);
    struct batch *batch = calloc(1, sizeof(*batch));
    assert_non_null(batch);
    const int64_t id = 1;
    struct store_write *writes = batch->writes;
    for (size_t i = 0; i < 4; i++)
        writes[i] = (struct store_write){.user_id = model->users[0].id, .now_unix_s = NOW};
    batch->count = 4;
    fill_token(model, &batch->tokens[0][0]);
    writes[0].kind = STORE_CREATE;
    writes[0].create.tokens = batch->tokens[0];
    writes[0].create.count = 1;
    writes[1].kind = STORE_UPDATE;
    writes[1].update.token_id = id;
    writes[1].update.patch.fields = TOKEN_FIELD_NAME;
    writes[1].update.patch.value.name = SPAN("changed");
    writes[1].update.patch.name_max = TOKEN_NAME_CHARACTERS_MAX;
    writes[2].kind = STORE_DELETE;
    writes[2].delete.ids = &id;
    writes[2].delete.id_count = 1;
    writes[3] = writes[1];
    assert_int_equal(temporary_commit(model->temporary.store, batch->writes, batch->count),
                     STORE_OK);
    assert_int_equal(writes[0].error, STORE_OK);
    assert_int_equal(writes[1].error, STORE_OK);
    assert_span_equal(writes[1].token.name, SPAN("changed"));
    assert_int_equal(writes[2].delete.deleted_count, 1);
    assert_int_equal(writes[3].error, STORE_NOT_FOUND);
    store_write_free(&writes[1]);
    assert_int_equal(temporary_count(model->temporary.reader, model->users[0].id), 0);
    temporary_check(&model->temporary);
    free(batch);
    close_model(model);
}

/* ---- limits ---- */

static void test_max_per_user(void **state)
{
    (void)state;
    static const struct {
        size_t count;
        uint64_t max;
        enum store_error error;
        uint64_t held; /* afterwards */
    } rows[] = {
        {5, 4, STORE_LIMIT, 0},       {4, 4, STORE_OK, 4},
        {1, 4, STORE_LIMIT, 4},       {1, 5, STORE_OK, 5},
        {2, 6, STORE_LIMIT, 5},       {1, 1, STORE_LIMIT, 5}, /* lowered since */
        {1, 5, STORE_LIMIT, 5},       {3, 0, STORE_OK, 8},    /* none */
        {1, UINT64_MAX, STORE_OK, 9},
    };
    struct model *model = open_model(6);
    int64_t user_id = model->users[1].id, first;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        enum store_error error = temporary_create_tokens(model->temporary.store, user_id,
                                                         rows[i].count, 0, rows[i].max, &first);
        require(error == rows[i].error, "row %zu: %s", i, store_error_text(error));
        assert_int_equal(temporary_count(model->temporary.reader, user_id), rows[i].held);
    }
    /* another user's are not counted */
    assert_int_equal(
        temporary_create_tokens(model->temporary.store, model->users[0].id, 4, 0, 4, &first),
        STORE_OK);
    close_model(model);
}

/* Ids go on where they were, whatever was deleted or refused, also after a restart. */
static void test_ids_are_never_reused(void **state)
{
    (void)state;
    struct model *model = open_model(7);
    struct temporary *temporary = &model->temporary;
    int64_t last = 0, first = 0;
    for (int i = 0; i < 12; i++) {
        int64_t user_id = model->users[i % USERS].id;
        assert_int_equal(temporary_create_tokens(temporary->store, user_id, 3, 0, 0, &first),
                         STORE_OK);
        assert_true(first > last);
        last = first + 2;
        const int64_t ids[] = {first, first + 1, first + 2};
        struct store_write write = {.kind = STORE_DELETE,
                                    .user_id = user_id,
                                    .delete = {.ids = ids, .id_count = COUNT_OF(ids)}};
        assert_int_equal(store_write(temporary->store, &write), STORE_OK);
        assert_int_equal(write.delete.deleted_count, 3);
        if (i % 4 == 3) {
            temporary_close(temporary);
            temporary_open(temporary);
        }
    }
    temporary_check(temporary);
    close_model(model);
}

/* ---- the status of many ---- */

static enum store_error set_status(struct store *store, int64_t user_id, enum token_status status,
                                   int64_t *ids, /* NOLINT(readability-non-const-parameter) */
                                   size_t count, struct store_write *write)
{
    static int64_t refused[8];
    *write = (struct store_write){
        .kind = STORE_SET_STATUS,
        .user_id = user_id,
        .now_unix_s = NOW,
        .set_status = {.ids = ids, .id_count = count, .status = status, .refused = refused}};
    return store_write(store, write);
}

static void take_status(void *context, const struct token *token)
{
    *(enum token_status *)context = token_status_at(token, NOW);
}

static enum token_status status_of(struct store_reader *reader, int64_t user_id, int64_t id)
{
    enum token_status status = 0;
    assert_int_equal(store_token_get(reader, user_id, id, take_status, &status), STORE_OK);
    return status;
}

static void test_status_of_many(void **state)
{
    (void)state;
    struct temporary temporary;
    struct store_write write;
    struct token tokens[4];
    int64_t others_id;
    char access_token[STORE_CREDENTIAL_LEN];
    temporary_create(&temporary);
    temporary_open(&temporary);
    struct store *store = temporary.store;
    int64_t user_id = temporary_add_user(&temporary, access_token);
    int64_t other_id = temporary_add_user(&temporary, access_token);
    assert_int_equal(temporary_create_tokens(store, other_id, 1, 0, 0, &others_id), STORE_OK);
    for (size_t i = 0; i < COUNT_OF(tokens); i++) {
        tokens[i] = token_default();
        tokens[i].unlimited_quota = i != 1; /* exhausted */
        tokens[i].expired_unix_s = i == 2 ? NOW - 1 : TOKEN_NEVER_EXPIRES;
        token_key_generate(tokens[i].key);
    }
    struct store_write create = {.kind = STORE_CREATE,
                                 .user_id = user_id,
                                 .now_unix_s = NOW,
                                 .create = {.tokens = tokens, .count = COUNT_OF(tokens)}};
    assert_int_equal(store_write(store, &create), STORE_OK);
    int64_t a = tokens[0].id, exhausted = tokens[1].id, expired = tokens[2].id, b = tokens[3].id;
    int64_t ids[] = {b, expired, others_id, a, exhausted, b, 99999, expired};

    assert_int_equal(
        set_status(store, user_id, TOKEN_DISABLED, (int64_t[]){b, b, others_id}, 3, &write),
        STORE_OK);
    assert_int_equal(write.set_status.set_count, 1);
    assert_int_equal(write.set_status.refused_count, 0);
    assert_int_equal(status_of(temporary.reader, user_id, b), TOKEN_DISABLED);
    assert_int_equal(status_of(temporary.reader, other_id, others_id), TOKEN_ENABLED);

    assert_int_equal(set_status(store, user_id, TOKEN_ENABLED, ids, COUNT_OF(ids), &write),
                     STORE_OK);
    assert_int_equal(write.set_status.set_count, 2); /* a had it before */
    assert_int_equal(write.set_status.refused_count, 2);
    assert_int_equal(write.set_status.refused[0], exhausted);
    assert_int_equal(write.set_status.refused[1], expired);
    assert_int_equal(status_of(temporary.reader, user_id, b), TOKEN_ENABLED);

    assert_int_equal(set_status(store, user_id, TOKEN_DISABLED, ids, COUNT_OF(ids), &write),
                     STORE_OK);
    assert_int_equal(write.set_status.set_count, 4);
    assert_int_equal(write.set_status.refused_count, 0);
    assert_int_equal(status_of(temporary.reader, user_id, expired), TOKEN_DISABLED);
    assert_int_equal(set_user_disabled(store, user_id, true), STORE_OK);
    assert_int_equal(set_status(store, user_id, TOKEN_ENABLED, ids, 2, &write),
                     STORE_USER_DISABLED);
    assert_int_equal(set_status(store, 1000, TOKEN_ENABLED, ids, 2, &write), STORE_NO_USER);
    temporary_check(&temporary);
    temporary_remove(&temporary);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_writes),
        cmocka_unit_test(test_refused_writes_leave_nothing),
        cmocka_unit_test(test_a_commit_of_nothing),
        cmocka_unit_test(test_writes_taken_one_by_one),
        cmocka_unit_test(test_writes_of_a_commit_go_in_order),
        cmocka_unit_test(test_max_per_user),
        cmocka_unit_test(test_status_of_many),
        cmocka_unit_test(test_ids_are_never_reused),
    };
    return cmocka_run_group_tests_name("store", tests, NULL, NULL);
}
