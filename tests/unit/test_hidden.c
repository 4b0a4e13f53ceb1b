/* A page of the data file whose head is damaged so that it hides its last entry: what is in it, or
 * below it, is an error, and never "not found". */

#include "tests/unit/temporary.h"

#include <fcntl.h>
#include <stdlib.h>

#include "store/layout.h"

enum { PAGE = 4096, USERS = 2, TOKENS = 600, OTHERS = 3 };

/* What is in the store: user 1's tokens have pages of ids, user 2's few ids are within a leaf. */
struct contents {
    char access_tokens[USERS][STORE_ACCESS_TOKEN_LEN];
    char gateway_secret[STORE_GATEWAY_SECRET_LEN];
    char keys[TOKENS + OTHERS][TOKEN_KEY_LEN];
    unsigned failed; /* reads that came to nothing because of the damage */
};

static int64_t owner_of(int64_t token_id)
{
    return token_id <= TOKENS ? 1 : 2;
}

static void take_key(void *context, const struct token *token)
{
    struct contents *contents = context;
    memcpy(contents->keys[token->id - 1], token->key, TOKEN_KEY_LEN);
}

static void fill(struct temporary *temporary, struct contents *contents)
{
    static const size_t counts[USERS] = {TOKENS, OTHERS};
    struct store_gateway gateway = {.name = "gateway"};
    int64_t first;
    temporary_create(temporary, 0, STORE_CIPHER_BEST);
    temporary_open(temporary);
    assert_int_equal(store_gateway_add(temporary->store, 0, &gateway, contents->gateway_secret),
                     STORE_OK);
    for (size_t i = 0; i < USERS; i++) {
        int64_t user_id = temporary_add_user(temporary, contents->access_tokens[i]);
        assert_int_equal(
            temporary_create_tokens(temporary->store, user_id, counts[i], 3, 0, &first), STORE_OK);
    }
    for (int64_t id = 1; id <= TOKENS + OTHERS; id++)
        assert_int_equal(store_token_get(temporary->reader, owner_of(id), id, take_key, contents),
                         STORE_OK);
    temporary_close(temporary);
}

/* ---- reading all of it ---- */

static bool has_failed(struct contents *contents, enum store_error error)
{
    if (error == STORE_OK)
        return false;
    assert_int_equal(error, STORE_CORRUPT);
    contents->failed++;
    return true;
}

static void ignore(void *context, const struct token *token)
{
    (void)context;
    (void)token;
}

static void read_token(const struct temporary *temporary, struct contents *contents, int64_t id)
{
    const char *key = contents->keys[id - 1];
    const struct token_use use = {.amount = 0};
    enum token_refusal refusal = TOKEN_REFUSED_UNKNOWN;
    struct store_use_answer answer;
    has_failed(contents, store_token_get(temporary->reader, owner_of(id), id, ignore, NULL));
    if (!has_failed(contents,
                    store_token_check_use(temporary->reader, key, &use, 0, &refusal, &answer))) {
        assert_int_equal(refusal, TOKEN_GOOD);
        assert_int_equal(answer.token_id, id);
        return;
    }
    struct store_write spend = {.kind = STORE_SPEND, .spend = {.use = use}};
    memcpy(spend.spend.key, key, TOKEN_KEY_LEN);
    assert_int_equal(store_write(temporary->store, &spend), STORE_CORRUPT);
}

struct listed {
    int64_t next_id;
    bool right;
};

static void take_next(void *context, const struct token *token)
{
    struct listed *listed = context;
    listed->right = listed->right && token->id == listed->next_id--;
}

static void read_list(const struct temporary *temporary, struct contents *contents, int64_t user_id)
{
    const uint64_t count = user_id == 1 ? TOKENS : OTHERS;
    const int64_t last = user_id == 1 ? TOKENS : TOKENS + OTHERS;
    uint64_t total;
    for (uint64_t offset = 0; offset < count; offset += 50) {
        uint64_t expected = count - offset < 50 ? count - offset : 50;
        struct listed listed = {last - (int64_t)offset, true};
        if (has_failed(contents, store_token_page(temporary->reader, user_id, offset, 50, &total,
                                                  take_next, &listed)))
            continue;
        assert_int_equal(total, count);
        assert_int_equal(last - (int64_t)offset - listed.next_id, expected);
        assert_true(listed.right);
    }
    const struct store_search search = {.user_id = user_id, .keyword = SPAN("name"), .limit = 1};
    if (!has_failed(contents, store_token_search(temporary->reader, &search, &total, ignore, NULL)))
        assert_int_equal(total, count);
}

static void read_all(const struct temporary *temporary, struct contents *contents)
{
    struct store_user user = {.id = 0};
    struct span secret = {contents->gateway_secret, STORE_GATEWAY_SECRET_LEN};
    int64_t gateway_id;
    has_failed(contents, store_gateway_authenticate(temporary->reader, secret, &gateway_id));
    for (int64_t id = 1; id <= USERS; id++) {
        struct span access = {contents->access_tokens[id - 1], STORE_ACCESS_TOKEN_LEN};
        has_failed(contents, store_user_authenticate(temporary->reader, id, access));
        if (!has_failed(contents, store_user_next(temporary->reader, id - 1, &user)))
            assert_int_equal(user.id, id);
        read_list(temporary, contents, id);
    }
    for (int64_t id = 1; id <= TOKENS + OTHERS; id++)
        read_token(temporary, contents, id);
}

/* ---- hiding ---- */

/* Leaves what LMDB needs to go on: it takes a branch with one child for a mistake of its own. */
static bool hides_an_entry(unsigned char *page)
{
    unsigned flags = (unsigned)get_little16(page + AT_FLAGS);
    size_t lower = get_little16(page + AT_LOWER), count = (lower - PAGE_HEAD) / 2;
    if ((flags != PAGE_LEAF && flags != (PAGE_LEAF | PAGE_LEAF2) && flags != PAGE_BRANCH) ||
        lower <= PAGE_HEAD || count < (flags == PAGE_BRANCH ? 3 : 2))
        return false;
    put_little16(page + AT_LOWER, lower - 2);
    return true;
}

static void test_each_page(void **state)
{
    (void)state;
    static struct contents contents;
    struct temporary temporary;
    struct stat status;
    unsigned pages = 0;
    fill(&temporary, &contents);
    struct folder_file data = folder_file(&temporary.folder, "store/data.mdb");
    int fd = open(data.path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &status), 0);
    for (off_t at = 2 * PAGE; at < status.st_size; at += PAGE) {
        unsigned char whole[PAGE], damaged[PAGE];
        char reason[STORE_REASON_SIZE];
        assert_int_equal(pread(fd, whole, PAGE, at), PAGE);
        memcpy(damaged, whole, PAGE);
        if (!hides_an_entry(damaged))
            continue;
        assert_int_equal(pwrite(fd, damaged, PAGE, at), PAGE);
        contents.failed = 0;
        if (store_open(&temporary.options, &temporary.store, reason) == STORE_OK) {
            assert_int_equal(store_reader_open(temporary.store, &temporary.reader), STORE_OK);
            read_all(&temporary, &contents);
            assert_false(store_is_broken(temporary.store));
            temporary_close(&temporary);
            pages += contents.failed > 0;
        }
        assert_int_equal(pwrite(fd, whole, PAGE, at), PAGE);
    }
    close(fd);
    require(pages > 30, "only %u pages were met", pages);
    temporary_open(&temporary);
    contents.failed = 0;
    read_all(&temporary, &contents);
    assert_int_equal(contents.failed, 0);
    temporary_check(&temporary);
    temporary_remove(&temporary);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_each_page)};
    return cmocka_run_group_tests_name("hidden", tests, NULL, NULL);
}
