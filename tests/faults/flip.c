/* Flips single bits of a store's data file, and sees what comes of each:
 *
 *   flip FOLDER make            makes the store, in a new folder
 *   flip FOLDER SEED COUNT      flips COUNT bits, one after the other; prints a count a line
 *
 * Each flip is met by two children: one opens the store and checks it, as tokenctl check does, the
 * other opens it and reads all that there is. Where neither finds anything, a third one writes to
 * the store, which is then checked again. Exit status 1 where a read was wrong or writing did
 * damage and the check found nothing, or the check died. */

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sodium.h>

#include "sandbox/sandbox.h"
#include "store/lmdb/layout.h"
#include "store/store.h"
#include "tests/hash_token.h"
#include "token/key.h"
#include "base/random.h"

enum { USERS = 4, GATEWAYS = 2, TOKENS_MAX = 1400, SPENT = 40, NOW = 1000000, PAGE = 4096 };

/* What is known of the store from making it. */
struct known {
    char access_tokens[USERS][STORE_CREDENTIAL_LEN];
    char secrets[GATEWAYS][STORE_CREDENTIAL_LEN];
    struct {
        int64_t user_id, id;
        char key[TOKEN_KEY_LEN];
    } tokens[TOKENS_MAX];
    size_t token_count;
};

static struct store_options options;

static void die(const char *what)
{
    fprintf(stderr, "flip: %s\n", what);
    exit(2);
}

/* ---- making it ---- */

/* The first user's ids have a tree of several pages, the third has none. */
static const size_t tokens_of[USERS] = {1200, 40, 0, 3};

static void write_or_die(struct store *store, struct store_write *write)
{
    if (store_write(store, write) != STORE_OK)
        die(store_error_text(write->error));
    store_write_free(write);
}

static struct span render(struct store_write *write)
{
    (void)write;
    return SPAN("{\"an\":\"answer\"}");
}

/* Some have more text than a page holds. */
static void create_tokens(struct store *store, struct known *known, int64_t user_id, size_t count)
{
    static char models[6000];
    memset(models, 'm', sizeof(models));
    for (size_t i = 0; i < count; i++) {
        struct token token = token_default();
        char name[32];
        snprintf(name, sizeof(name), "token %zu", i);
        token.name = span_of(name);
        token.group = SPAN("vip");
        token.remain_quota = 1000000;
        token.model_limits = (struct span){models, i % 25 == 0 ? sizeof(models) : i % 60};
        token_key_generate(token.key);
        struct store_write write = {.kind = STORE_CREATE,
                                    .user_id = user_id,
                                    .now_unix_s = NOW,
                                    .create = {.tokens = &token, .count = 1}};
        if (i % 20 == 0)
            store_idempotency_init(&write.idempotency, SPAN("who"), span_of(name), SPAN("request"),
                                   render);
        write_or_die(store, &write);
        known->tokens[known->token_count].user_id = user_id;
        known->tokens[known->token_count].id = token.id;
        memcpy(known->tokens[known->token_count++].key, token.key, TOKEN_KEY_LEN);
    }
}

/* Uses, reservations, and those that have ended; old keys; and pages that are free again. */
static void use_tokens(struct store *store, struct known *known)
{
    for (size_t i = 0; i < SPENT; i++) {
        struct store_write write = {
            .kind = STORE_SPEND,
            .now_unix_s = NOW,
            .spend = {.use = {.amount = 7}, .gateway_id = 1, .ttl_s = i % 2 ? 600 : 0}};
        memcpy(write.spend.key, known->tokens[i].key, TOKEN_KEY_LEN);
        write_or_die(store, &write);
        int64_t reservation = write.spend.answer.reservation_id;
        if (i % 4 == 3)
            write_or_die(store, &(struct store_write){.kind = STORE_SETTLE,
                                                      .now_unix_s = NOW,
                                                      .settle = {1, reservation, 3, {0}}});
    }
    for (size_t i = 0; i < 10; i++) {
        struct store_write write = {.kind = STORE_ROTATE,
                                    .user_id = known->tokens[i].user_id,
                                    .now_unix_s = NOW,
                                    .rotate = {.token_id = known->tokens[i].id, .grace_s = 600}};
        token_key_generate(write.rotate.key);
        memcpy(known->tokens[i].key, write.rotate.key, TOKEN_KEY_LEN);
        write_or_die(store, &write);
    }
    for (size_t i = 0; i < 60; i += 2) { /* one of the first user's */
        known->token_count--;
        write_or_die(store, &(struct store_write){.kind = STORE_DELETE,
                                                  .user_id = 1,
                                                  .now_unix_s = NOW,
                                                  .delete = {&known->tokens[i + 50].id, 1, 0}});
        known->tokens[i + 50] = known->tokens[known->token_count];
    }
}

static void save(const struct known *known, const char *name)
{
    FILE *file = fopen(name, "w");
    if (!file || fwrite(known, sizeof(*known), 1, file) != 1 || fclose(file) != 0)
        die("can't be saved");
}

static void make(const char *name)
{
    static struct known known;
    char reason[STORE_REASON_SIZE];
    struct store *store;
    if (store_create(&options, (unsigned)-1, (unsigned)-1, reason) != STORE_OK ||
        store_open(&options, &store, reason) != STORE_OK)
        die(reason);
    for (int i = 0; i < GATEWAYS; i++) {
        struct store_gateway gateway = {.name = "gateway"};
        if (store_gateway_add(store, NOW, &gateway, known.secrets[i]) != STORE_OK)
            die("gateway");
    }
    for (int i = 0; i < USERS; i++) {
        struct store_user user = {.name = "user", .group = "vip"};
        if (store_user_add(store, NOW, &user, known.access_tokens[i]) != STORE_OK)
            die("user");
        create_tokens(store, &known, user.id, tokens_of[i]);
    }
    use_tokens(store, &known);
    store_close(store);
    save(&known, name);
}

/* ---- reading all of it ---- */

struct reading {
    crypto_generichash_state hash;
    uint64_t count, failed;
};

static void take(struct reading *reading, const void *bytes, size_t len)
{
    hash_bytes(&reading->hash, bytes, len);
}

static void take_number(struct reading *reading, int64_t number)
{
    take(reading, &number, sizeof(number));
}

static void take_token(void *context, const struct token *token)
{
    struct reading *reading = context;
    reading->count++;
    hash_token(&reading->hash, token);
}

enum { ANSWERS_MAX = 8192 };

/* What came of each read: its hash, or that it was refused. */
struct answers {
    uint64_t hashes[ANSWERS_MAX];
    size_t count;
};

static const uint64_t refused = 1, absent = 2;

static void end_reading(struct answers *answers, struct reading *reading, enum store_error error)
{
    uint64_t hash;
    unsigned char bytes[crypto_generichash_BYTES];
    take_number(reading, error);
    crypto_generichash_final(&reading->hash, bytes, sizeof(bytes));
    memcpy(&hash, bytes, sizeof(hash));
    bool fails = error == STORE_CORRUPT || error == STORE_BROKEN || error == STORE_UNAVAILABLE;
    bool is_absent = error == STORE_NOT_FOUND || error == STORE_NO_USER || error == STORE_DENIED;
    if (answers->count < ANSWERS_MAX)
        answers->hashes[answers->count++] = fails ? refused : is_absent ? absent : hash;
    *reading = (struct reading){.count = 0};
    crypto_generichash_init(&reading->hash, NULL, 0, sizeof(bytes));
}

static void read_users(struct store_reader *reader, const struct known *known,
                       struct answers *answers, struct reading *reading)
{
    for (int64_t id = 1; id <= USERS; id++) {
        struct span access = {known->access_tokens[id - 1], STORE_CREDENTIAL_LEN};
        end_reading(answers, reading, store_user_authenticate(reader, id, access));
        struct store_user user = {.id = 0};
        enum store_error error = store_user_next(reader, id - 1, &user);
        take_number(reading, user.id);
        take_number(reading, (int64_t)user.token_count);
        take(reading, user.name, sizeof(user.name));
        take(reading, user.group, sizeof(user.group));
        end_reading(answers, reading, error);
    }
    for (int i = 0; i < GATEWAYS; i++) {
        int64_t id;
        struct span secret = {known->secrets[i], STORE_CREDENTIAL_LEN};
        enum store_error error = store_gateway_authenticate(reader, secret, &id);
        take_number(reading, id);
        end_reading(answers, reading, error);
    }
}

static void read_pages(struct store_reader *reader, int64_t user_id, struct answers *answers,
                       struct reading *reading)
{
    for (uint64_t offset = 0; offset <= tokens_of[user_id - 1]; offset += 20) {
        uint64_t total;
        enum store_error error =
            store_token_page(reader, user_id, offset, 20, &total, take_token, reading);
        take_number(reading, (int64_t)total);
        end_reading(answers, reading, error);
    }
    uint64_t total;
    enum store_error error =
        store_token_page(reader, user_id, 2 * TOKENS_MAX, 20, &total, take_token, reading);
    take_number(reading, (int64_t)total);
    end_reading(answers, reading, error);
    struct store_search search = {.user_id = user_id,
                                  .now_unix_s = NOW,
                                  .keyword = SPAN("1"),
                                  .sort = STORE_SORT_USED_QUOTA,
                                  .limit = 20};
    error = store_token_search(reader, &search, &total, take_token, reading);
    take_number(reading, (int64_t)total);
    end_reading(answers, reading, error);
}

static void read_all(struct store *store, const struct known *known, struct answers *answers)
{
    struct store_reader *reader;
    struct reading reading = {.count = 0};
    crypto_generichash_init(&reading.hash, NULL, 0, crypto_generichash_BYTES);
    answers->count = 0;
    if (store_reader_open(store, &reader) != STORE_OK)
        return;
    read_users(reader, known, answers, &reading);
    for (int64_t user_id = 1; user_id <= USERS; user_id++)
        read_pages(reader, user_id, answers, &reading);
    for (size_t i = 0; i < known->token_count; i++) {
        end_reading(answers, &reading,
                    store_token_get(reader, known->tokens[i].user_id, known->tokens[i].id,
                                    take_token, &reading));
        enum token_refusal refusal = TOKEN_GOOD;
        struct store_use_answer answer = {.token_id = 0};
        struct token_use use = {.amount = 1};
        enum store_error error =
            store_token_check_use(reader, known->tokens[i].key, &use, NOW, &refusal, &answer);
        take_number(&reading, refusal);
        take_number(&reading, answer.token_id);
        take_number(&reading, answer.remain_quota);
        bool unknown = error == STORE_OK && refusal == TOKEN_REFUSED_UNKNOWN;
        end_reading(answers, &reading, unknown ? STORE_NOT_FOUND : error);
    }
    store_reader_close(reader);
}

/* ---- what comes of a flip ---- */

enum outcome { REFUSED = 10, SOUND, FOUND, RIGHT, FAILED, ABSENT, WRONG, DIED };

static void ignore(void *context, const char *line)
{
    if (*(bool *)context)
        printf("  %s\n", line);
}

static int check(bool verbose)
{
    struct store *store;
    struct store_reader *reader;
    char reason[STORE_REASON_SIZE];
    uint64_t found;
    if (store_open(&options, &store, reason) != STORE_OK) {
        if (verbose)
            printf("  %s\n", reason);
        return strstr(reason, options.location) || strstr(reason, options.secret_path) ? REFUSED : DIED;
    }
    if (store_reader_open(store, &reader) != STORE_OK)
        return FOUND;
    return store_check(reader, ignore, &verbose, &found) != STORE_OK || found > 0 ? FOUND : SOUND;
}

static int compare(const struct known *known, const struct answers *expected)
{
    static struct answers answers;
    struct store *store;
    char reason[STORE_REASON_SIZE];
    if (store_open(&options, &store, reason) != STORE_OK)
        return REFUSED;
    read_all(store, known, &answers);
    int worst = RIGHT;
    for (size_t i = 0; i < expected->count; i++) {
        int came = WRONG;
        if (i >= answers.count || answers.hashes[i] == refused)
            came = FAILED;
        else if (answers.hashes[i] == expected->hashes[i])
            came = RIGHT;
        else if (answers.hashes[i] == absent)
            came = ABSENT;
        worst = came > worst ? came : worst;
    }
    return worst;
}

/* On a store whose flip nobody has noticed: new pages, free ones used again, some freed. */
static int write_some(const struct known *known)
{
    static struct known more;
    struct store *store;
    char reason[STORE_REASON_SIZE];
    if (store_open(&options, &store, reason) != STORE_OK)
        return REFUSED;
    more = *known;
    for (int i = 0; i < 3; i++) {
        more.token_count = known->token_count;
        create_tokens(store, &more, 2, 8);
        write_or_die(store,
                     &(struct store_write){.kind = STORE_DELETE,
                                           .user_id = 2,
                                           .now_unix_s = NOW,
                                           .delete = {&more.tokens[known->token_count].id, 1, 0}});
    }
    store_close(store);
    return check(true);
}

static int run(int what, bool verbose, const struct known *known, const struct answers *expected)
{
    fflush(stdout);
    pid_t child = fork();
    if (child < 0)
        die("fork");
    if (child == 0) {
        struct rlimit none = {0, 0}, memory = {(rlim_t)4 << 30, (rlim_t)4 << 30};
        setrlimit(RLIMIT_CORE, &none);
        if (sandbox_is_possible()) /* a sanitizer maps far more */
            setrlimit(RLIMIT_AS, &memory);
        alarm(20); /* a loop of pages is an end too */
        int outcome = what == 0   ? check(verbose)
                      : what == 1 ? compare(known, expected)
                                  : write_some(known);
        fflush(stdout);
        _exit(outcome);
    }
    int status;
    if (waitpid(child, &status, 0) != child)
        die("waitpid");
    bool ended = WIFEXITED(status) && WEXITSTATUS(status) >= REFUSED;
    return ended ? WEXITSTATUS(status) : DIED; /* a sanitizer exits with 1 */
}

/* ---- the flips ---- */

/* The data file as it was before anything was written. */
struct copy {
    int fd;
    unsigned char *bytes;
    size_t len;
};

static void take_copy(struct copy *copy, const char *data)
{
    struct stat status;
    copy->fd = open(data, O_RDWR | O_CLOEXEC);
    if (copy->fd < 0 || fstat(copy->fd, &status) != 0)
        die("the data file can't be opened");
    copy->len = (size_t)status.st_size;
    copy->bytes = malloc(copy->len);
    if (!copy->bytes || pread(copy->fd, copy->bytes, copy->len, 0) != (ssize_t)copy->len)
        die("the data file can't be read");
}

/* Behind them the file is only ahead of its use. */
static uint64_t used_bytes(struct store *store)
{
    struct store_reader *reader;
    struct store_stat stat;
    if (store_reader_open(store, &reader) != STORE_OK || store_stat(reader, &stat) != STORE_OK)
        die("the store can't be read");
    store_reader_close(reader);
    return stat.map_used_bytes;
}

static void drop_copy(struct copy *copy)
{
    free(copy->bytes);
    close(copy->fd);
}

static void put_back(const struct copy *copy)
{
    if (pwrite(copy->fd, copy->bytes, copy->len, 0) != (ssize_t)copy->len ||
        ftruncate(copy->fd, (off_t)copy->len) != 0)
        die("the data file can't be written");
}

static uint64_t state;

static uint64_t next_number(uint64_t below)
{
    state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (state >> 33) % below;
}

/* A byte that LMDB goes by: of a page's head, of where its entries are, of an entry's head or key,
 * of what is said of a tree or a page within the page. */
static size_t choose_in_page(const unsigned char *page)
{
    unsigned flags = (unsigned)get_little16(page + AT_FLAGS);
    size_t count = ((size_t)get_little16(page + AT_LOWER) - PAGE_HEAD) / 2;
    uint64_t kind = next_number(4);
    if (kind == 0 || (flags != PAGE_BRANCH && flags != PAGE_LEAF) || count == 0 ||
        count > PAGE / NODE_HEAD)
        return next_number(PAGE_HEAD);
    size_t pointer = PAGE_HEAD + 2 * next_number(count), at = get_little16(page + pointer);
    if (kind == 1 || at > PAGE - NODE_HEAD)
        return pointer + next_number(2);
    size_t len = NODE_HEAD + get_little16(page + at + 6);
    if (flags == PAGE_LEAF && get_little16(page + at + 4) & (NODE_DATABASE | NODE_DUPLICATES))
        len += DATABASE_LEN;
    at += next_number(len);
    return at < PAGE ? at : PAGE - 1;
}

/* A third of them anywhere, the rest where LMDB finds its way. */
static uint64_t choose(const struct copy *copy, uint64_t size)
{
    uint64_t kind = next_number(12);
    if (kind < 4)
        return next_number(size);
    if (kind == 4)
        return next_number(2) * PAGE + next_number(160);
    uint64_t page = next_number(size / PAGE) * PAGE;
    return page + choose_in_page(copy->bytes + page);
}

static void flip(int fd, uint64_t at, int bit)
{
    unsigned char byte;
    if (pread(fd, &byte, 1, (off_t)at) != 1)
        die("read");
    byte ^= (unsigned char)(1 << bit);
    if (pwrite(fd, &byte, 1, (off_t)at) != 1)
        die("write");
}

static struct {
    uint64_t refused, found, harmless, unseen_by_reads, failed_reads, absent_but_found;
    uint64_t wrong_but_found;
    uint64_t reads_died, check_died, wrong, writes_damage;
} counts;

static void count(int checked, int read)
{
    counts.refused += checked == REFUSED;
    counts.found += checked == FOUND;
    counts.harmless += checked == SOUND && read == RIGHT;
    counts.unseen_by_reads += checked == FOUND && read == RIGHT;
    counts.failed_reads += checked == FOUND && read == FAILED;
    counts.absent_but_found += checked == FOUND && read == ABSENT;
    counts.wrong_but_found += checked == FOUND && read == WRONG;
    counts.reads_died += read == DIED;
    counts.check_died += checked == DIED;
    counts.wrong += checked == SOUND && read != RIGHT;
}

static int flip_many(const char *data, const struct known *known, uint64_t flips, bool verbose)
{
    static struct answers expected;
    char reason[STORE_REASON_SIZE];
    struct store *store;
    struct copy copy;
    take_copy(&copy, data);
    if (store_open(&options, &store, reason) != STORE_OK)
        die("the store can't be opened");
    read_all(store, known, &expected);
    const uint64_t used = used_bytes(store);
    store_close(store);
    if (run(0, true, known, &expected) != SOUND || run(1, false, known, &expected) != RIGHT)
        die("the store is not right before any flip");
    for (uint64_t i = 0; i < flips; i++) {
        uint64_t at = choose(&copy, used);
        int bit = (int)next_number(8);
        flip(copy.fd, at, bit);
        int checked = run(0, verbose, known, &expected), read = run(1, false, known, &expected);
        int after = checked == SOUND && read == RIGHT ? run(2, false, known, &expected) : SOUND;
        put_back(&copy);
        count(checked, read);
        counts.writes_damage += after != SOUND;
        if (after != SOUND)
            printf("after writing: %d\n", after);
        if (verbose || checked == DIED || (checked == SOUND && read != RIGHT) || after != SOUND)
            printf("page %" PRIu64 " byte %" PRIu64 " bit %d: check %d, reads %d\n", at / PAGE,
                   at % PAGE, bit, checked, read);
    }
    if (run(0, true, known, &expected) != SOUND || run(1, false, known, &expected) != RIGHT)
        die("the store is not right after all flips");
    drop_copy(&copy);
    return counts.wrong == 0 && counts.check_died == 0 && counts.writes_damage == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    char store_path[256], secret_path[256], data[280], known_path[256];
    static struct known known;
    if (argc < 3 || sodium_init() < 0)
        return 2;
    snprintf(store_path, sizeof(store_path), "%s/store", argv[1]);
    snprintf(secret_path, sizeof(secret_path), "%s/secret", argv[1]);
    snprintf(known_path, sizeof(known_path), "%s/known", argv[1]);
    snprintf(data, sizeof(data), "%s/data.mdb", store_path);
    options = (struct store_options){.location = store_path, .secret_path = secret_path};
    if (strcmp(argv[2], "make") == 0) {
        make(known_path);
        return 0;
    }
    FILE *file = fopen(known_path, "r");
    if (!file || fread(&known, sizeof(known), 1, file) != 1 || argc < 4)
        return 2;
    fclose(file);
    state = strtoull(argv[2], NULL, 10);
    int result = flip_many(data, &known, strtoull(argv[3], NULL, 10), argc > 4);
    printf("refused %" PRIu64 "\nfound %" PRIu64 "\nharmless %" PRIu64 "\n", counts.refused,
           counts.found, counts.harmless);
    printf("found_reads_right %" PRIu64 "\nfound_reads_fail %" PRIu64
           "\nfound_reads_absent %" PRIu64 "\nfound_reads_wrong %" PRIu64 "\n",
           counts.unseen_by_reads, counts.failed_reads, counts.absent_but_found,
           counts.wrong_but_found);
    printf("reads_died %" PRIu64 "\ncheck_died %" PRIu64 "\nwrong %" PRIu64
           "\nwrites_damage %" PRIu64 "\n",
           counts.reads_died, counts.check_died, counts.wrong, counts.writes_damage);
    return result;
}
