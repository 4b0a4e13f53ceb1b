/* A data file that was cut short or damaged: refused by name or found, never the end of the
 * process. What comes of random flips is in tests/faults. */

#include "tests/unit/raw.h"

#include <fcntl.h>
#include <sys/wait.h>

enum { PAGE = 4096, TOKENS = 150 };

enum outcome { WHOLE = 10, REFUSED, SOMETHING_ELSE };

static void ignore(void *context, const char *line)
{
    (void)context;
    (void)line;
}

static void count_token(void *context, const struct token *token)
{
    (void)token;
    ++*(uint64_t *)context;
}

/* In the child: whole means that every token is read and the check finds nothing. */
static enum outcome look(const struct temporary *temporary, uint64_t expected)
{
    struct store *store;
    struct store_reader *reader;
    char reason[STORE_REASON_SIZE] = "";
    uint64_t total = 0, seen = 0, found = 1;
    if (store_open(&temporary->options, &store, reason) != STORE_OK)
        return strstr(reason, "/store/data.mdb: is ") ? REFUSED : SOMETHING_ELSE;
    bool whole = store_reader_open(store, &reader) == STORE_OK &&
                 store_check(reader, ignore, NULL, &found) == STORE_OK && found == 0 &&
                 store_token_page(reader, 1, 0, 10000, &total, count_token, &seen) == STORE_OK &&
                 total == expected && seen == expected;
    return whole ? WHOLE : SOMETHING_ELSE;
}

/* A child may die of what is wrong with the file; this process must not. */
static int outcome(const struct temporary *temporary, uint64_t expected)
{
    int status;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        _exit((int)look(temporary, expected));
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

struct copy {
    struct folder_file path;
    unsigned char *bytes;
    size_t len;
};

/* Without what the file is ahead of its use. */
static struct copy copy_data(const struct temporary *temporary, size_t used)
{
    struct copy copy = {.path = folder_file(&temporary->folder, "store/data.mdb")};
    struct stat status = {0};
    int fd = open(copy.path.path, O_RDONLY);
    assert_true(fd >= 0 && fstat(fd, &status) == 0);
    assert_true(used > 0 && (size_t)status.st_size >= used);
    copy.len = used;
    copy.bytes = malloc(copy.len);
    assert_non_null(copy.bytes);
    assert_int_equal(read(fd, copy.bytes, copy.len), copy.len);
    close(fd);
    return copy;
}

/* Puts the first len bytes back. */
static void put_data(const struct copy *copy, size_t len)
{
    int fd = open(copy->path.path, O_WRONLY | O_TRUNC);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, copy->bytes, len), len);
    close(fd);
}

static size_t data_len(const struct copy *copy)
{
    struct stat status;
    assert_int_equal(stat(copy->path.path, &status), 0);
    return (size_t)status.st_size;
}

/* Pages that are new and free again in one commit, which LMDB then never writes. What the commit
 * itself needs comes before them, out of what an earlier one has freed. */
static void leave_free_pages(const struct temporary *temporary)
{
    struct raw raw;
    struct raw_bytes key = raw_text("for a moment"), value = {.len = sizeof(value.at)};
    for (int i = 0; i < 3; i++) {
        raw_open(&raw, temporary);
        raw_put(&raw, raw.meta, key, value);
        raw_delete(&raw, raw.meta, key, NULL);
        raw_commit(&raw);
    }
}

/* A user with tokens, some too long for a page; free_tail: the last pages in use are free.
 * Returns how many bytes are in use. */
static size_t fill(struct temporary *temporary, bool free_tail)
{
    char access_token[STORE_ACCESS_TOKEN_LEN];
    int64_t first;
    struct store_stat stat;
    temporary_create(temporary, 0, SEAL_CIPHER_BEST);
    temporary_open(temporary);
    assert_int_equal(temporary_add_user(temporary, access_token), 1);
    assert_int_equal(temporary_create_tokens(temporary->store, 1, TOKENS - 3, 10, 0, &first),
                     STORE_OK);
    assert_int_equal(temporary_create_tokens(temporary->store, 1, 3, 7000, 0, &first), STORE_OK);
    temporary_close(temporary);
    if (free_tail)
        leave_free_pages(temporary);
    temporary_open(temporary);
    assert_int_equal(store_stat(temporary->reader, &stat), STORE_OK);
    temporary_close(temporary);
    return stat.map_used_bytes;
}

static void test_cut_short(void **state)
{
    (void)state;
    struct temporary temporary;
    size_t whole = 0;
    size_t used = fill(&temporary, false);
    struct copy copy = copy_data(&temporary, used);
    for (size_t len = 0; len < copy.len; len += len < 3 * PAGE ? 512 : PAGE)
        for (size_t near = 0; near < 3; near++) {
            if (len + near < 1)
                continue;
            put_data(&copy, len + near - 1);
            int came = outcome(&temporary, TOKENS);
            require(came == REFUSED || came == WHOLE, "%zu of %zu bytes: %d", len + near - 1,
                    copy.len, came);
            whole += came == WHOLE;
            require(len > 2 * PAGE || came == REFUSED, "%zu bytes are no store", len + near - 1);
        }
    put_data(&copy, copy.len);
    assert_int_equal(outcome(&temporary, TOKENS), WHOLE);
    require(whole * 2 < copy.len / PAGE, "%zu are whole", whole);
    free(copy.bytes);
    temporary_remove(&temporary);
}

/* LMDB never writes a page that became free in the commit that it was new in: where nothing else
 * is missing the store is whole, and the file gets its length back. */
static void test_free_pages_missing_at_the_end(void **state)
{
    (void)state;
    struct temporary temporary;
    size_t whole = 0;
    size_t used = fill(&temporary, true);
    struct copy copy = copy_data(&temporary, used);
    size_t len = copy.len - PAGE;
    for (int came = WHOLE; came == WHOLE; len -= PAGE) {
        put_data(&copy, len);
        came = outcome(&temporary, TOKENS);
        require(came == REFUSED || came == WHOLE, "%zu of %zu bytes: %d", len, copy.len, came);
        require(data_len(&copy) == (came == WHOLE ? copy.len : len), "%zu of %zu bytes", len,
                copy.len);
        whole += came == WHOLE;
    }
    require(whole > 0, "no page at the end was free");
    free(copy.bytes);
    temporary_remove(&temporary);
}

/* Bits of what says where the trees begin, and of the pages' heads. */
static void test_flipped_bits_of_heads(void **state)
{
    (void)state;
    struct temporary temporary;
    size_t refused = 0;
    size_t used = fill(&temporary, true);
    struct copy copy = copy_data(&temporary, used);
    int fd = open(copy.path.path, O_RDWR);
    assert_true(fd >= 0);
    for (size_t page = 0; page < copy.len / PAGE; page++)
        for (size_t bit = page % 7; bit < (page < 2 ? 152 : 18) * 8; bit += page < 2 ? 3 : 41) {
            off_t at = (off_t)(page * PAGE + bit / 8);
            unsigned char byte = copy.bytes[at];
            byte ^= (unsigned char)(1 << bit % 8);
            assert_int_equal(pwrite(fd, &byte, 1, at), 1);
            int came = outcome(&temporary, TOKENS);
            assert_int_equal(pwrite(fd, &copy.bytes[at], 1, at), 1);
            require(came > 0, "page %zu, bit %zu: died", page, bit);
            refused += came != WHOLE;
        }
    require(refused > 300, "%zu", refused);
    close(fd);
    assert_int_equal(outcome(&temporary, TOKENS), WHOLE);
    free(copy.bytes);
    temporary_remove(&temporary);
}

/* What came of the store with one byte of its file changed, and changed back. */
static int outcome_with(const struct temporary *temporary, const struct copy *copy, size_t at,
                        unsigned char byte)
{
    int fd = open(copy->path.path, O_WRONLY);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, &byte, 1, (off_t)at), 1);
    int came = outcome(temporary, TOKENS);
    assert_int_equal(pwrite(fd, &copy->bytes[at], 1, (off_t)at), 1);
    close(fd);
    return came;
}

static uint64_t number_at(const struct copy *copy, size_t at)
{
    uint64_t number;
    memcpy(&number, copy->bytes + at, sizeof(number));
    return number;
}

/* Opening follows what the databases' own entries say: their flags, 4 bytes before their names. */
static void test_flipped_flags_of_databases(void **state)
{
    (void)state;
    static const char *const names[] = {"users",    "tokens",       "ids_by_user", "token_by_key",
                                        "gateways", "reservations", "repeats"};
    struct temporary temporary;
    size_t refused = 0;
    size_t used = fill(&temporary, false);
    struct copy copy = copy_data(&temporary, used);
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        const unsigned char *end = copy.bytes + copy.len, *at = copy.bytes;
        size_t len = strlen(names[i]);
        while ((at = memmem(at, (size_t)(end - at), names[i], len)) != NULL) {
            for (unsigned bit = 1; bit <= 4; bit <<= 1) {
                int came = outcome_with(&temporary, &copy, (size_t)(at - 4 - copy.bytes),
                                        (unsigned char)(at[-4] ^ bit));
                require(came > 0, "%s, bit %u: died", names[i], bit);
                refused += came == REFUSED;
            }
            at += len;
        }
    }
    require(refused >= 3 * COUNT_OF(names), "%zu refused", refused);
    assert_int_equal(outcome(&temporary, TOKENS), WHOLE);
    free(copy.bytes);
    temporary_remove(&temporary);
}

enum {
    META_FREE_FLAGS = 44,
    META_FREE_ROOT = 80,
    META_MAIN_FLAGS = 92,
    META_MAIN_ROOT = 128,
    META_TXN_ID = 144
};

/* LMDB goes by them when it writes: a reader sees nothing of it. */
static void test_flipped_flags_of_the_file(void **state)
{
    (void)state;
    static const size_t flags[] = {META_FREE_FLAGS, META_MAIN_FLAGS};
    struct temporary temporary;
    size_t used = fill(&temporary, true);
    struct copy copy = copy_data(&temporary, used);
    for (size_t page = 0; page < 2; page++)
        for (size_t i = 0; i < COUNT_OF(flags); i++)
            for (unsigned bit = 1; bit <= 0x80; bit <<= 1) {
                size_t at = page * PAGE + flags[i];
                int came =
                    outcome_with(&temporary, &copy, at, (unsigned char)(copy.bytes[at] ^ bit));
                require(came == REFUSED, "page %zu, byte %zu, bit %u: %d", page, flags[i], bit,
                        came);
                at++;
                came = outcome_with(&temporary, &copy, at, (unsigned char)(copy.bytes[at] ^ bit));
                bool of_mdb_copy = i == 0 && bit == MDB_NOSUBDIR >> 8;
                require(came == (of_mdb_copy ? WHOLE : REFUSED), "page %zu, byte %zu, bit %u: %d",
                        page, flags[i] + 1, bit, came);
            }
    assert_int_equal(outcome(&temporary, TOKENS), WHOLE);
    free(copy.bytes);
    temporary_remove(&temporary);
}

/* The page that a root in the last commit's page of roots leads to. */
static size_t root_page(const struct copy *copy, size_t at_root)
{
    size_t meta = number_at(copy, META_TXN_ID) > number_at(copy, PAGE + META_TXN_ID) ? 0 : PAGE;
    size_t page = number_at(copy, meta + at_root) * PAGE;
    assert_true(page > 0 && page < copy->len);
    return page;
}

static size_t first_node(const struct copy *copy, size_t page)
{
    enum { PAGE_HEAD = 16 };
    return page + (size_t)(number_at(copy, page + PAGE_HEAD) & 0xFFFF);
}

/* The index of a user's ids: what is left in a page within a page is only asked for by a write. */
/* One of them makes the last commit but one the last, with a number that would do as well. */
static void test_flipped_numbers_of_commits(void **state)
{
    (void)state;
    struct temporary temporary;
    size_t used = fill(&temporary, true);
    struct copy copy = copy_data(&temporary, used);
    for (size_t page = 0; page < 2; page++)
        for (unsigned bit = 0; bit < 64; bit++) {
            size_t at = page * PAGE + META_TXN_ID + bit / 8;
            int came = outcome_with(&temporary, &copy, at,
                                    (unsigned char)(copy.bytes[at] ^ (1U << bit % 8)));
            require(came == REFUSED, "page %zu, bit %u: %d", page, bit, came);
        }
    assert_int_equal(outcome(&temporary, TOKENS), WHOLE);
    free(copy.bytes);
    temporary_remove(&temporary);
}

static void test_wrong_room_for_ids(void **state)
{
    (void)state;
    enum { ROOT = 40, UPPER = 14, NODE_HEAD = 8, DUPLICATES = 4 };
    static const char name[] = "ids_by_user";
    struct temporary temporary;
    size_t used = fill(&temporary, true);
    struct copy copy = copy_data(&temporary, used);
    size_t main_page = root_page(&copy, META_MAIN_ROOT);
    const unsigned char *database = memmem(copy.bytes + main_page, PAGE, name, strlen(name));
    assert_non_null(database);
    size_t at_root = (size_t)(database - copy.bytes) + strlen(name) + ROOT;
    size_t node = first_node(&copy, number_at(&copy, at_root) * PAGE);
    uint64_t head = number_at(&copy, node);
    assert_int_equal(head >> 32 & 0xFFFF, DUPLICATES);
    size_t at = node + NODE_HEAD + (size_t)(head >> 48) + UPPER;
    for (unsigned bit = 0; bit < 16; bit++) {
        size_t byte = at + bit / 8;
        int came = outcome_with(&temporary, &copy, byte,
                                (unsigned char)(copy.bytes[byte] ^ (1U << bit % 8)));
        require(came == SOMETHING_ELSE, "bit %u: %d", bit, came);
    }
    assert_int_equal(outcome(&temporary, TOKENS), WHOLE);
    free(copy.bytes);
    temporary_remove(&temporary);
}

/* An entry of the free list that is too short for its own count (a sanitizer sees what is read), or
 * whose length is not the one it was written with: LMDB reads on, and writes by what it finds. */
static void test_wrong_length_in_the_free_list(void **state)
{
    (void)state;
    struct temporary temporary;
    size_t used = fill(&temporary, true);
    struct copy copy = copy_data(&temporary, used);
    size_t node = first_node(&copy, root_page(&copy, META_FREE_ROOT));
    assert_int_equal(copy.bytes[node + 1], 0); /* the length is less than 256 */
    for (unsigned len = 0; len < 256; len++) {
        if (((len + 1) & ~1U) == ((copy.bytes[node] + 1U) & ~1U))
            continue; /* nothing reads the odd byte */
        int came = outcome_with(&temporary, &copy, node, (unsigned char)len);
        require(came == REFUSED || came == SOMETHING_ELSE, "%u bytes: %d", len, came);
    }
    assert_int_equal(outcome(&temporary, TOKENS), WHOLE);
    free(copy.bytes);
    temporary_remove(&temporary);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cut_short),
        cmocka_unit_test(test_free_pages_missing_at_the_end),
        cmocka_unit_test(test_flipped_bits_of_heads),
        cmocka_unit_test(test_flipped_flags_of_databases),
        cmocka_unit_test(test_flipped_flags_of_the_file),
        cmocka_unit_test(test_flipped_numbers_of_commits),
        cmocka_unit_test(test_wrong_room_for_ids),
        cmocka_unit_test(test_wrong_length_in_the_free_list),
    };
    return cmocka_run_group_tests_name("file", tests, NULL, NULL);
}
