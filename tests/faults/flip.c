/* Flips single bits of a store's data file and reports how that ends:
 *
 *   flip FOLDER SEED COUNT [verbose]   makes a store in FOLDER, which must be empty
 *
 * COUNT bits in values (records and entries of the index of keys, with their checksums), COUNT bits
 * anywhere. Each is met by two children: one opens the store and checks it, one opens it and reads
 * everything. Prints the counts as JSON. Exit status 1 where a promise is broken:
 *   - a flip in a value is found by the check, and what is read is right or an error
 *   - the check ends: with a verdict, or by a signal, which its parent reports as damage */

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <lmdb.h>
#include <sodium.h>

#include "store/store.h"
#include "tests/hash_token.h"
#include "tests/unit/random.h"

enum { USERS = 3, TOKENS_MAX = 1400, NOW = 1000000, PAGE = 4096, WATCHDOG_S = 120 };

static struct store_options options;
static struct random randomness;

static struct {
    char access_tokens[USERS][STORE_CREDENTIAL_LEN];
    char gateway_secret[STORE_CREDENTIAL_LEN];
    struct {
        int64_t user_id, id;
        char key[TOKEN_KEY_LEN + 1];
    } tokens[TOKENS_MAX];
    size_t token_count;
} known;

__attribute__((noreturn)) static void die(const char *reason)
{
    fprintf(stderr, "flip: %s\n", reason);
    exit(2);
}

/* ---- the store ---- */

static void write_or_die(struct store *store, struct store_write write)
{
    if (store_write(store, &write) != STORE_OK)
        die(store_error_text(write.error));
    store_write_free(&write);
}

static struct span render(struct store_write *write)
{
    (void)write;
    return SPAN("{\"an\":\"answer\"}");
}

/* Some with more text than fits a page, some with an idempotency record. */
static void create_tokens(struct store *store, int64_t user_id, size_t count)
{
    static char models[6000];
    memset(models, 'm', sizeof(models));
    for (size_t i = 0; i < count; i++) {
        struct token token = token_default();
        char name[32];
        snprintf(name, sizeof(name), "token %zu", i);
        token.name = span_of(name);
        token.remain_quota = 1000000;
        token.model_limits = (struct span){models, i % 25 == 0 ? sizeof(models) : i % 60};
        token_key_generate(token.key);
        struct store_write write = {.kind = STORE_CREATE,
                                    .user_id = user_id,
                                    .now_unix_s = NOW,
                                    .create = {.tokens = &token, .count = 1}};
        if (i % 20 == 0)
            store_idempotency_init(&write.idempotency, SPAN("scope"), span_of(name), SPAN("r"),
                                   render);
        write_or_die(store, write);
        known.tokens[known.token_count].user_id = user_id;
        known.tokens[known.token_count].id = token.id;
        memcpy(known.tokens[known.token_count++].key, token.key, TOKEN_KEY_LEN + 1);
    }
}

/* Reservations, open and ended; old keys; free pages. */
static void use_tokens(struct store *store)
{
    for (size_t i = 0; i < 20; i++) {
        struct store_write write = {.kind = STORE_SPEND,
                                    .now_unix_s = NOW,
                                    .spend = {.use = {.amount = 7}, .gateway_id = 1, .ttl_s = 600}};
        memcpy(write.spend.key, known.tokens[i].key, TOKEN_KEY_LEN + 1);
        if (store_write(store, &write) != STORE_OK)
            die("reserve");
        if (i % 2)
            write_or_die(store, (struct store_write){
                                    .kind = STORE_SETTLE,
                                    .now_unix_s = NOW,
                                    .settle = {.gateway_id = 1,
                                               .reservation_id = write.spend.answer.reservation_id,
                                               .amount = 3}});
        struct store_write rotate = {.kind = STORE_ROTATE,
                                     .user_id = known.tokens[i].user_id,
                                     .now_unix_s = NOW,
                                     .rotate = {.token_id = known.tokens[i].id, .grace_s = 600}};
        token_key_generate(rotate.rotate.key);
        memcpy(known.tokens[i].key, rotate.rotate.key, TOKEN_KEY_LEN + 1);
        write_or_die(store, rotate);
    }
    for (size_t i = 50; i < 90; i++) {
        write_or_die(store, (struct store_write){.kind = STORE_DELETE,
                                                 .user_id = known.tokens[i].user_id,
                                                 .delete = {&known.tokens[i].id, 1, 0}});
        known.tokens[i] = known.tokens[--known.token_count];
    }
}

/* Usage of another day than the reservations'; groups, models; a record of each of these. */
static void use_accounts(struct store *store)
{
    enum { NEXT_DAY = NOW + 24 * 3600 };
    static const struct store_group group = {.name = "other", .description = "text"};
    const struct store_actor actor = {.kind = STORE_ACTOR_TOKENCTL};
    for (size_t i = 0; i < 20; i++) {
        struct store_write write = {
            .kind = STORE_SPEND, .now_unix_s = NEXT_DAY, .spend.use.amount = 3};
        memcpy(write.spend.key, known.tokens[i].key, TOKEN_KEY_LEN + 1);
        write_or_die(store, write);
    }
    write_or_die(store, (struct store_write){.kind = STORE_GROUP_PUT,
                                             .now_unix_s = NOW,
                                             .actor = actor,
                                             .group_put = {&group, true}});
    for (int64_t user_id = 1; user_id <= USERS; user_id++)
        write_or_die(store, (struct store_write){.kind = STORE_GRANT,
                                                 .user_id = user_id,
                                                 .now_unix_s = NOW,
                                                 .actor = actor,
                                                 .grant = {SPAN("other"), true}});
    for (size_t i = 0; i < 30; i++) {
        char model[] = {'m', (char)('a' + (char)i)};
        write_or_die(store, (struct store_write){.kind = STORE_MODEL_PUT,
                                                 .now_unix_s = NOW,
                                                 .actor = actor,
                                                 .model_put = {{model, sizeof(model)}, true}});
    }
}

static void make_store(void)
{
    static const size_t tokens_of[USERS] = {1200, 40, 0}; /* ids in a tree, in a page, none */
    char reason[STORE_REASON_SIZE];
    struct store *store;
    struct store_gateway gateway = {.name = "gateway"};
    if (store_create(&options, (unsigned)-1, (unsigned)-1, reason) != STORE_OK ||
        store_open(&options, &store, reason) != STORE_OK)
        die(reason);
    if (store_gateway_add(store, NOW, &gateway, known.gateway_secret) != STORE_OK)
        die("gateway");
    for (int i = 0; i < USERS; i++) {
        struct store_user user = {.name = {'u', (char)('0' + i)},
                                  .group = "vip",
                                  .role = USER_ROLE_USER,
                                  .account = {.unlimited_quota = true}};
        if (store_user_add(store, NOW, &user, known.access_tokens[i]) != STORE_OK)
            die("user");
        create_tokens(store, user.id, tokens_of[i]);
    }
    use_tokens(store);
    use_accounts(store);
    store_close(store);
}

/* ---- reading all of it: the hash of each answer ---- */

enum { ANSWERS_MAX = 4096 };
static const uint64_t failed = 1, broken = 2, absent = 3; /* in place of a hash */

struct answers {
    uint64_t hashes[ANSWERS_MAX];
    size_t count;
    crypto_generichash_state hash; /* of the answer at hand */
};

static void begin_answer(struct answers *answers)
{
    crypto_generichash_init(&answers->hash, NULL, 0, crypto_generichash_BYTES);
}

static void end_answer(struct answers *answers, enum store_error error, int64_t number)
{
    unsigned char bytes[crypto_generichash_BYTES];
    uint64_t *hash = &answers->hashes[answers->count++];
    hash_bytes(&answers->hash, &number, sizeof(number));
    crypto_generichash_final(&answers->hash, bytes, sizeof(bytes));
    memcpy(hash, bytes, sizeof(*hash));
    if (store_is_failure(error))
        *hash = error == STORE_BROKEN ? broken : failed;
    else if (error != STORE_OK)
        *hash = absent;
    begin_answer(answers);
}

static void take_token(void *context, const struct token *token)
{
    hash_token(&((struct answers *)context)->hash, token);
}

static void read_user(struct store_reader *reader, int64_t id, struct answers *answers)
{
    struct span access = {known.access_tokens[id - 1], STORE_CREDENTIAL_LEN};
    struct store_user user = {.id = 0};
    struct store_search search = {.user_id = id,
                                  .keyword = SPAN("1"),
                                  .sort = &token_field_rules[TOKEN_FIELD_NUMBER_NAME],
                                  .limit = 20};
    uint64_t total;
    int64_t found = 0;
    enum store_error authenticated = store_user_authenticate(reader, access, &found);
    end_answer(answers, authenticated, found);
    enum store_error error = store_user_next(reader, id - 1, &user);
    hash_bytes(&answers->hash, user.name, sizeof(user.name));
    hash_bytes(&answers->hash, user.group, sizeof(user.group));
    end_answer(answers, error, (int64_t)user.token_count);
    for (uint64_t offset = 0; offset <= 1200; offset += 20) {
        error = store_token_page(reader, id, offset, 20, &total, take_token, answers);
        end_answer(answers, error, (int64_t)total);
    }
    error = store_token_search(reader, &search, &total, take_token, answers);
    end_answer(answers, error, (int64_t)total);
}

static void read_key(struct store_reader *reader, const char *key, struct answers *answers)
{
    const struct token_use use = {.amount = 1};
    enum token_refusal refusal = TOKEN_GOOD;
    struct store_use_answer answer = {.token_id = 0};
    enum store_error error = store_token_check_use(reader, key, &use, NOW, &refusal, &answer);
    if (error == STORE_OK && refusal == TOKEN_REFUSED_UNKNOWN)
        error = STORE_NOT_FOUND;
    hash_bytes(&answers->hash, &answer.token_id, sizeof(answer.token_id));
    hash_bytes(&answers->hash, &refusal, sizeof(refusal));
    end_answer(answers, error, answer.remain_quota);
}

/* False where the store can't be opened. */
static bool read_all(struct answers *answers)
{
    char reason[STORE_REASON_SIZE];
    struct store *store;
    struct store_reader *reader;
    struct span secret = {known.gateway_secret, STORE_CREDENTIAL_LEN};
    int64_t gateway_id = 0;
    answers->count = 0;
    begin_answer(answers);
    if (store_open(&options, &store, reason) != STORE_OK)
        return false;
    if (store_reader_open(store, &reader) != STORE_OK)
        die("no reader");
    end_answer(answers, store_gateway_authenticate(reader, secret, &gateway_id), gateway_id);
    for (int64_t id = 1; id <= USERS; id++)
        read_user(reader, id, answers);
    for (size_t i = 0; i < known.token_count; i++) {
        end_answer(answers,
                   store_token_get(reader, known.tokens[i].user_id, known.tokens[i].id, take_token,
                                   answers),
                   0);
        read_key(reader, known.tokens[i].key, answers);
    }
    store_reader_close(reader);
    store_close(store);
    return true;
}

/* ---- outcomes ---- */

/* Of reads the worst of all. */
enum outcome { SOUND, FAILED, BROKEN, FOUND, REFUSED, ABSENT, WRONG, DIED, HUNG, OUTCOMES };

static const char *const names[OUTCOMES] = {"right",  "error", "broken", "found", "refused",
                                            "absent", "wrong", "died",   "hung"};

static void print_line(void *context, const char *line)
{
    if (*(bool *)context)
        printf("  %s\n", line);
}

static enum outcome check(bool verbose)
{
    char reason[STORE_REASON_SIZE];
    struct store *store;
    struct store_reader *reader;
    uint64_t found;
    if (store_open(&options, &store, reason) != STORE_OK)
        return REFUSED;
    if (store_reader_open(store, &reader) != STORE_OK)
        return FOUND;
    enum store_error error = store_check(reader, print_line, &verbose, &found);
    return error != STORE_OK || found > 0 ? FOUND : SOUND;
}

static enum outcome compare(const struct answers *expected)
{
    static struct answers answers;
    enum outcome worst = SOUND;
    if (!read_all(&answers))
        return REFUSED;
    for (size_t i = 0; i < expected->count; i++) {
        uint64_t hash = answers.hashes[i];
        enum outcome outcome = hash == expected->hashes[i] ? SOUND
                               : hash == failed            ? FAILED
                               : hash == broken            ? BROKEN
                               : hash == absent            ? ABSENT
                                                           : WRONG;
        worst = outcome > worst ? outcome : worst;
    }
    return worst;
}

/* Checks where expected is NULL, in a child. */
static enum outcome run(const struct answers *expected, bool verbose)
{
    enum { EXIT_BASE = 10 }; /* a sanitizer ends with 1 */
    int status;
    fflush(stdout);
    pid_t child = fork();
    if (child < 0)
        die("fork");
    if (child == 0) {
        setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
        alarm(WATCHDOG_S);
        int outcome = (int)(expected ? compare(expected) : check(verbose));
        fflush(stdout);
        _exit(EXIT_BASE + outcome);
    }
    if (waitpid(child, &status, 0) != child)
        die("waitpid");
    if (WIFEXITED(status) && WEXITSTATUS(status) >= EXIT_BASE)
        return (enum outcome)(WEXITSTATUS(status) - EXIT_BASE);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM ? HUNG : DIED;
}

/* ---- flips ---- */

static struct {
    unsigned char *bytes; /* shared with the file */
    size_t used, size;
} data;

static void map_data(const char *path)
{
    struct stat status;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &status) != 0)
        die("the data file can't be opened");
    data.size = (size_t)status.st_size;
    data.bytes = mmap(NULL, data.size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (data.bytes == MAP_FAILED)
        die("mmap");
    close(fd);
}

/* Values, copied through LMDB's API, and the bytes in use. */
struct value {
    unsigned char *bytes;
    size_t len;
};
static struct value values[4 * TOKENS_MAX];
static size_t value_count, first_count; /* the first: of meta and users, of which there are few */

static void take_values(MDB_txn *txn, const char *database)
{
    MDB_dbi dbi;
    MDB_cursor *cursor;
    MDB_val key, value;
    if (mdb_dbi_open(txn, database, 0, &dbi) != 0 || mdb_cursor_open(txn, dbi, &cursor) != 0)
        die(database ? database : "the database of databases");
    while (mdb_cursor_get(cursor, &key, &value, MDB_NEXT) == 0) {
        if (!database && *(const char *)key.mv_data != '\0')
            continue; /* the name of a database: else it is a recent audit record */
        struct value *copy = &values[value_count++];
        *copy = (struct value){malloc(value.mv_size), value.mv_size};
        if (!copy->bytes)
            die("out of memory");
        memcpy(copy->bytes, value.mv_data, value.mv_size);
    }
    mdb_cursor_close(cursor);
}

static void list_values(void)
{
    static const char *const databases[] = {
        "meta",       "users",        "tokens",  "gateways", "token_by_key",
        "user_index", "reservations", "answers", "groups",   "grants",
        "models",     "usage",        "audit",   NULL,       "reservations_by_token"};
    MDB_env *env;
    MDB_txn *txn;
    MDB_envinfo info;
    if (mdb_env_create(&env) != 0 || mdb_env_set_maxdbs(env, 24) != 0 ||
        mdb_env_open(env, options.location, MDB_RDONLY, 0600) != 0 ||
        mdb_txn_begin(env, NULL, MDB_RDONLY, &txn) != 0 || mdb_env_info(env, &info) != 0)
        die("LMDB");
    data.used = (info.me_last_pgno + 1) * PAGE;
    for (size_t i = 0; i < sizeof(databases) / sizeof(databases[0]); i++) {
        take_values(txn, databases[i]);
        if (i == 1)
            first_count = value_count;
    }
    mdb_txn_abort(txn);
    mdb_env_close(env);
}

/* At a value's every occurrence: free pages may hold copies of it. */
static void flip_value(const struct value *value, size_t bit, bool back)
{
    unsigned char *from = data.bytes, *end = data.bytes + data.used;
    size_t found = 0;
    unsigned char sought[8192 + 4096];
    memcpy(sought, value->bytes, value->len);
    sought[bit / 8] ^= (unsigned char)(back << bit % 8);
    while ((from = memmem(from, (size_t)(end - from), sought, value->len)) != NULL) {
        from[bit / 8] ^= (unsigned char)(1U << bit % 8);
        from += value->len;
        found++;
    }
    if (found == 0)
        die("a value is not in the file");
}

static struct {
    size_t checks[2][OUTCOMES], reads[2][OUTCOMES], unnoticed;
} counts;

/* Whether the promises are kept. */
static bool try_flip(bool in_value, const struct value *value, const struct answers *expected,
                     bool verbose)
{
    size_t bit = random_below(&randomness, 8 * (in_value ? value->len : data.used));
    if (!in_value &&
        random_below(&randomness, 2)) /* near a page's beginning, where LMDB's own are */
        bit = bit / (8 * PAGE) * (8 * PAGE) + random_below(&randomness, 8 * 64);
    if (in_value)
        flip_value(value, bit, false);
    else
        data.bytes[bit / 8] ^= (unsigned char)(1U << bit % 8);
    enum outcome checked = run(NULL, verbose), read = run(expected, verbose);
    if (in_value)
        flip_value(value, bit, true);
    else
        data.bytes[bit / 8] ^= (unsigned char)(1U << bit % 8);
    counts.checks[!in_value][checked]++;
    counts.reads[!in_value][read]++;
    counts.unnoticed += checked == SOUND && read != SOUND;
    bool kept = in_value ? (checked == FOUND || checked == REFUSED) &&
                               (read == SOUND || read == FAILED || read == REFUSED)
                         : checked != HUNG;
    if (!kept || verbose)
        printf("%s, bit %zu (length %zu): check %s, reads %s\n", in_value ? "value" : "anywhere",
               bit, in_value ? value->len : data.used, names[checked], names[read]);
    return kept;
}

static void print_counts(const char *name, const size_t *of)
{
    printf("\"%s\":{", name);
    const char *comma = "";
    for (int i = 0; i < OUTCOMES; i++)
        if (of[i] > 0) {
            printf("%s\"%s\":%zu", comma, names[i], of[i]);
            comma = ",";
        }
    printf("}");
}

static int flip_many(size_t count, bool verbose)
{
    static struct answers expected;
    bool kept = true;
    if (!read_all(&expected) || run(NULL, true) != SOUND || run(&expected, true) != SOUND)
        die("the store is not right before any flip");
    for (size_t i = 0; i < first_count; i++) /* a random choice seldom has them */
        kept &= try_flip(true, &values[i], &expected, verbose);
    for (size_t i = 0; i < 2 * count; i++)
        kept &=
            try_flip(i % 2, &values[random_below(&randomness, value_count)], &expected, verbose);
    if (run(NULL, true) != SOUND || run(&expected, true) != SOUND)
        die("the store is not right after all flips");
    printf("{");
    for (int i = 0; i < 2; i++) {
        printf(i == 0 ? "\"value\":{" : "},\"anywhere\":{");
        print_counts("check", counts.checks[i]);
        printf(",");
        print_counts("reads", counts.reads[i]);
    }
    printf("},\"unnoticed\":%zu}\n", counts.unnoticed);
    return kept ? 0 : 1;
}

int main(int argc, char **argv)
{
    char store_path[256], secret_path[256], data_path[280];
    if (argc < 4 || sodium_init() < 0)
        return 2;
    snprintf(store_path, sizeof(store_path), "%s/store", argv[1]);
    snprintf(secret_path, sizeof(secret_path), "%s/secret", argv[1]);
    snprintf(data_path, sizeof(data_path), "%s/data.mdb", store_path);
    options = (struct store_options){
        .location = store_path, .secret_path = secret_path, .audit_days = 90};
    randomness.state = strtoull(argv[2], NULL, 10);
    make_store();
    list_values();
    map_data(data_path);
    return flip_many(strtoull(argv[3], NULL, 10), argc > 4);
}
