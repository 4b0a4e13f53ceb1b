/* Damage to what LMDB goes by, of which it notices nothing: a page that hides its last entry, an
 * entry that leads to an older one, a user's ids that are counted wrongly or are another's. What is
 * met of it is an error, and never a wrong answer. */

#include "tests/unit/temporary.h"

#include <fcntl.h>
#include <stdlib.h>

#include "store/lmdb/layout.h"

enum { PAGE = 4096, USERS = 3, TOKENS = 600, OTHERS = 3 };

/* User 1's tokens have pages of ids, user 2's few ids are within a leaf, user 3 has none. */
static const uint64_t counts[USERS] = {TOKENS, OTHERS, 0};
static const int64_t last_ids[USERS] = {TOKENS, TOKENS + OTHERS, 0};

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
    struct store_gateway gateway = {.name = "gateway"};
    int64_t first;
    temporary_create(temporary, 0, SEAL_CIPHER_BEST);
    temporary_open(temporary);
    assert_int_equal(store_gateway_add(temporary->store, 0, &gateway, contents->gateway_secret),
                     STORE_OK);
    for (size_t i = 0; i < USERS; i++) {
        int64_t user_id = temporary_add_user(temporary, contents->access_tokens[i]);
        if (counts[i] > 0)
            assert_int_equal(
                temporary_create_tokens(temporary->store, user_id, counts[i], 3, 0, &first),
                STORE_OK);
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
    const uint64_t count = counts[user_id - 1];
    const int64_t last = last_ids[user_id - 1];
    uint64_t total;
    for (uint64_t offset = 0; offset <= count; offset += 50) { /* with one past the end */
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
    if (!has_failed(contents,
                    store_token_page(temporary->reader, user_id, 1000, 50, &total, ignore, NULL)))
        assert_int_equal(total, count);
}

/* The user has more tokens than may be, and is told so. */
static void create_one_more(const struct temporary *temporary, struct contents *contents,
                            int64_t user_id)
{
    struct token token = token_default();
    token_key_generate(token.key);
    struct store_write create = {.kind = STORE_CREATE,
                                 .user_id = user_id,
                                 .create = {.tokens = &token, .count = 1, .max_per_user = 2}};
    enum store_error error = store_write(temporary->store, &create);
    if (error != STORE_LIMIT)
        has_failed(contents, error);
    assert_int_not_equal(error, STORE_OK);
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
        if (!has_failed(contents, store_user_next(temporary->reader, id - 1, &user))) {
            assert_int_equal(user.id, id);
            assert_int_equal(user.token_count, counts[id - 1]);
        }
        read_list(temporary, contents, id);
        if (counts[id - 1] > 0)
            create_one_more(temporary, contents, id);
    }
    for (int64_t id = 1; id <= TOKENS + OTHERS; id++)
        read_token(temporary, contents, id);
}

/* ---- damage ---- */

/* Changes a page, or doesn't and returns false where there is nothing to change. */
typedef bool page_damage(unsigned char *page, const void *what);

/* Leaves what LMDB needs to go on: it takes a branch with one child for a mistake of its own. */
static bool hide_last_entry(unsigned char *page, const void *what)
{
    (void)what;
    unsigned flags = (unsigned)get_little16(page + AT_FLAGS);
    size_t lower = get_little16(page + AT_LOWER), count = (lower - PAGE_HEAD) / 2;
    if ((flags != PAGE_LEAF && flags != (PAGE_LEAF | PAGE_LEAF2) && flags != PAGE_BRANCH) ||
        lower <= PAGE_HEAD || count < (flags == PAGE_BRANCH ? 3 : 2))
        return false;
    put_little16(page + AT_LOWER, lower - 2);
    return true;
}

/* Where the page says that a leaf's entry of the key and the flags is; NULL where there is none. */
static unsigned char *find_entry(unsigned char *page, const void *key, size_t key_len,
                                 unsigned flags)
{
    if (get_little16(page + AT_FLAGS) != PAGE_LEAF)
        return NULL;
    size_t lower = get_little16(page + AT_LOWER);
    for (size_t pointer = PAGE_HEAD; pointer < lower; pointer += 2) {
        const unsigned char *entry = page + get_little16(page + pointer);
        if (get_little16(entry + 4) == flags && get_little16(entry + 6) == key_len &&
            memcmp(entry + NODE_HEAD, key, key_len) == 0)
            return page + pointer;
    }
    return NULL;
}

/* The entry of a database leads to one of when it was empty, which lies in the page's gap. */
static bool lead_to_empty(unsigned char *page, const void *what)
{
    const char *name = what;
    size_t head = NODE_HEAD + strlen(name), upper = get_little16(page + AT_UPPER);
    size_t gap = (upper - head - DATABASE_LEN) & ~(size_t)1;
    unsigned char *pointer = find_entry(page, name, strlen(name), NODE_DATABASE);
    if (!pointer)
        return false;
    memcpy(page + gap, page + get_little16(pointer), head + DATABASE_LEN);
    memset(page + gap + head + 6, 0, DATABASE_LEN - 6);
    memset(page + gap + head + 40, 255, 8); /* no root */
    put_little16(pointer, gap);
    return true;
}

/* User 1's ids are one more than there are, or as many less as what says. */
static bool miscount_ids(unsigned char *page, const void *what)
{
    static const unsigned char user[8] = {0, 0, 0, 0, 0, 0, 0, 1};
    unsigned char *pointer = find_entry(page, user, sizeof(user), NODE_DATABASE | NODE_DUPLICATES);
    if (pointer)
        page[get_little16(pointer) + NODE_HEAD + sizeof(user) + 32] ^= *(const unsigned char *)what;
    return pointer;
}

/* User 2's ids become user 3's. */
static bool change_user(unsigned char *page, const void *what)
{
    (void)what;
    static const unsigned char user[8] = {0, 0, 0, 0, 0, 0, 0, 2};
    unsigned char *pointer = find_entry(page, user, sizeof(user), NODE_DUPLICATES);
    if (pointer)
        page[get_little16(pointer) + NODE_HEAD + sizeof(user) - 1] ^= 1;
    return pointer;
}

/* Opening may refuse already. */
static void read_damaged(struct temporary *temporary, struct contents *contents)
{
    char reason[STORE_REASON_SIZE];
    contents->failed = 0;
    if (store_open(&temporary->options, &temporary->store, reason) != STORE_OK) {
        contents->failed = 1;
        return;
    }
    assert_int_equal(store_reader_open(temporary->store, &temporary->reader), STORE_OK);
    read_all(temporary, contents);
    assert_false(store_is_broken(temporary->store));
    temporary_close(temporary);
}

/* Does the damage to one page after the other. Returns how many are met. */
static unsigned damage_each_page(struct temporary *temporary, struct contents *contents, int fd,
                                 page_damage *damage, const void *what)
{
    struct stat status;
    unsigned pages = 0;
    assert_int_equal(fstat(fd, &status), 0);
    for (off_t at = 2 * PAGE; at < status.st_size; at += PAGE) {
        unsigned char whole[PAGE], damaged[PAGE];
        assert_int_equal(pread(fd, whole, PAGE, at), PAGE);
        memcpy(damaged, whole, PAGE);
        if (!damage(damaged, what))
            continue;
        assert_int_equal(pwrite(fd, damaged, PAGE, at), PAGE);
        read_damaged(temporary, contents);
        pages += contents->failed > 0;
        assert_int_equal(pwrite(fd, whole, PAGE, at), PAGE);
        /* and where it comes while the store is in use */
        temporary_open(temporary);
        assert_int_equal(pwrite(fd, damaged, PAGE, at), PAGE);
        read_all(temporary, contents);
        temporary_close(temporary);
        assert_int_equal(pwrite(fd, whole, PAGE, at), PAGE);
    }
    return pages;
}

static void test_each_page(void **state)
{
    (void)state;
    static const char *const databases[] = {"users", "tokens", "ids_by_user", "token_by_key",
                                            "gateways"};
    static const unsigned char bits[] = {1, 4, 64, 128};
    static struct contents contents;
    struct temporary temporary;
    fill(&temporary, &contents);
    struct folder_file data = folder_file(&temporary.folder, "store/data.mdb");
    int fd = open(data.path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    unsigned pages = damage_each_page(&temporary, &contents, fd, hide_last_entry, NULL);
    require(pages > 30, "only %u pages were met", pages);
    for (size_t i = 0; i < sizeof(databases) / sizeof(databases[0]); i++)
        require(damage_each_page(&temporary, &contents, fd, lead_to_empty, databases[i]) > 0,
                "%s: not met", databases[i]);
    for (size_t i = 0; i < sizeof(bits); i++)
        assert_int_equal(damage_each_page(&temporary, &contents, fd, miscount_ids, &bits[i]), 1);
    assert_int_equal(damage_each_page(&temporary, &contents, fd, change_user, NULL), 1);
    close(fd);
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
