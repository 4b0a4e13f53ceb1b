/* The second engine without nginx and worker, beside a plain service with as many connections.
 *
 *   direct KIND THREADS SECONDS LOCATION SECRET USERS_FILE TOKEN_ID
 *
 *   get           authenticates the first user and gets its token, as the worker's event loops do
 *   get-plain     the same by SELECTs, one after the other
 *   spend         a unit of each user's key in turn, in groups of 64, as the worker's commit thread
 *   spend-plain   the same in a transaction each: BEGIN, SELECT FOR UPDATE, UPDATE, COMMIT
 *
 * Each thread has a connection. bench/load wrote USERS_FILE and the file of keys beside it. Prints
 * one JSON line: how many operations, and in what time. */

#include <libpq-fe.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "store/store.h"

enum { THREADS_MAX = 64, GROUP_SIZE = 64, KEYS_MAX = 1000, COLUMN_SIZE = 128 };

struct direct {
    const char *location, *token_id;
    void (*run)(struct direct *direct);
    struct store *store;
    double seconds;
    pthread_barrier_t ready; /* all threads are connected */
    char access_token[STORE_CREDENTIAL_LEN + 1], keys[KEYS_MAX][TOKEN_KEY_LEN + 1];
    char access_hash[COLUMN_SIZE], key_hashes[KEYS_MAX][COLUMN_SIZE];
    size_t key_count;
    atomic_size_t turn, count;
};

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Until when a thread runs, once all are connected. */
static double begin(struct direct *direct)
{
    pthread_barrier_wait(&direct->ready);
    return now_s() + direct->seconds;
}

static void require(bool done, const char *what)
{
    if (done)
        return;
    fprintf(stderr, "direct: %s\n", what);
    exit(1);
}

/* ---- through store.h ---- */

static void get(struct direct *direct)
{
    struct store_reader *reader;
    int64_t user_id, token_id = strtoll(direct->token_id, NULL, 10);
    struct span access_token = span_of(direct->access_token);
    enum store_error error = store_reader_open(direct->store, &reader);
    if (error == STORE_OK) /* the first connects */
        error = store_user_authenticate(reader, access_token, &user_id);
    for (double end_s = begin(direct); now_s() < end_s && error == STORE_OK; direct->count++) {
        error = store_user_authenticate(reader, access_token, &user_id);
        if (error == STORE_OK)
            error = store_token_get(reader, user_id, token_id, NULL, NULL);
    }
    require(error == STORE_OK, store_error_text(error));
    store_reader_close(reader);
}

static void spend(struct direct *direct)
{
    struct store_write writes[GROUP_SIZE];
    for (double end_s = begin(direct); now_s() < end_s;) {
        for (size_t i = 0; i < GROUP_SIZE; i++) {
            writes[i] = (struct store_write){.kind = STORE_SPEND,
                                             .now_unix_s = (int64_t)time(NULL),
                                             .spend = {.use = {.amount = 1}},
                                             .next = i + 1 < GROUP_SIZE ? &writes[i + 1] : NULL};
            memcpy(writes[i].spend.key, direct->keys[direct->turn++ % direct->key_count],
                   TOKEN_KEY_LEN);
        }
        store_write_all(direct->store, writes);
        for (size_t i = 0; i < GROUP_SIZE; i++)
            require(writes[i].error == STORE_OK && writes[i].spend.refusal == TOKEN_GOOD,
                    store_error_text(writes[i].error));
        direct->count += GROUP_SIZE;
    }
}

/* ---- by libpq alone ---- */

static PGconn *connect_plain(const struct direct *direct)
{
    PGconn *pg = PQconnectdb(direct->location);
    require(PQstatus(pg) == CONNECTION_OK, PQerrorMessage(pg));
    return pg;
}

static void prepare(PGconn *pg, const char *const *statements)
{
    for (; *statements; statements++) {
        PGresult *result = PQprepare(pg, *statements, *statements, 0, NULL);
        require(PQresultStatus(result) == PGRES_COMMAND_OK, PQerrorMessage(pg));
        PQclear(result);
    }
}

/* Runs a prepared statement, and keeps the first columns of its one row. */
static void run(PGconn *pg, const char *statement, const char *const *parameters, int count,
                char (*columns)[COLUMN_SIZE], int column_count)
{
    PGresult *result = PQexecPrepared(pg, statement, count, parameters, NULL, NULL, 0);
    bool done = PQresultStatus(result) == PGRES_COMMAND_OK || PQntuples(result) == 1;
    require(done, *PQerrorMessage(pg) ? PQerrorMessage(pg) : "a row is missing");
    for (int i = 0; i < column_count; i++)
        snprintf(columns[i], COLUMN_SIZE, "%s", PQgetvalue(result, 0, i));
    PQclear(result);
}

/* The hashes that the access token and the keys have here. */
static void read_hashes(struct direct *direct)
{
    static const char *const statements[] = {
        "SELECT hash FROM access_hashes ORDER BY user_id LIMIT 1",
        "SELECT key_hash FROM tokens WHERE unlimited_quota ORDER BY user_id",
    };
    PGconn *pg = connect_plain(direct);
    PGresult *access = PQexec(pg, statements[0]), *keys = PQexec(pg, statements[1]);
    require(PQntuples(access) == 1 && PQntuples(keys) >= (int)direct->key_count,
            "rows are missing");
    snprintf(direct->access_hash, COLUMN_SIZE, "%s", PQgetvalue(access, 0, 0));
    for (size_t i = 0; i < direct->key_count; i++)
        snprintf(direct->key_hashes[i], COLUMN_SIZE, "%s", PQgetvalue(keys, (int)i, 0));
    PQclear(access);
    PQclear(keys);
    PQfinish(pg);
}

static void get_plain(struct direct *direct)
{
    static const char *const statements[] = {
        "SELECT user_id FROM access_hashes WHERE hash = $1",
        "SELECT * FROM users WHERE user_id = $1",
        "SELECT * FROM tokens WHERE user_id = $1 AND id = $2",
        NULL,
    };
    char user_id[1][COLUMN_SIZE];
    PGconn *pg = connect_plain(direct);
    prepare(pg, statements);
    for (double end_s = begin(direct); now_s() < end_s; direct->count++) {
        run(pg, statements[0], (const char *[]){direct->access_hash}, 1, user_id, 1);
        run(pg, statements[1], (const char *[]){user_id[0]}, 1, NULL, 0);
        run(pg, statements[2], (const char *[]){user_id[0], direct->token_id}, 2, NULL, 0);
    }
    PQfinish(pg);
}

static void spend_plain(struct direct *direct)
{
    static const char *const statements[] = {
        "BEGIN",
        "SELECT t.user_id, t.id, t.* FROM keys k JOIN tokens t ON t.user_id = k.user_id"
        " AND t.id = k.token_id WHERE k.hash = $1 FOR UPDATE OF t",
        "UPDATE tokens SET used_quota = used_quota + 1, accessed_unix_s = $3"
        " WHERE user_id = $1 AND id = $2",
        "COMMIT",
        NULL,
    };
    char row[2][COLUMN_SIZE], now[32];
    PGconn *pg = connect_plain(direct);
    prepare(pg, statements);
    for (double end_s = begin(direct); now_s() < end_s; direct->count++) {
        const char *hash = direct->key_hashes[direct->turn++ % direct->key_count];
        snprintf(now, sizeof(now), "%lld", (long long)time(NULL));
        run(pg, statements[0], NULL, 0, NULL, 0);
        run(pg, statements[1], (const char *[]){hash}, 1, row, 2);
        run(pg, statements[2], (const char *[]){row[0], row[1], now}, 3, NULL, 0);
        run(pg, statements[3], NULL, 0, NULL, 0);
    }
    PQfinish(pg);
}

/* ---- main ---- */

static void read_files(struct direct *direct, const char *users_path)
{
    char path[4096], line[128];
    FILE *users = fopen(users_path, "r");
    require(users && fscanf(users, "%*d %48s", direct->access_token) == 1, users_path);
    fclose(users);
    snprintf(path, sizeof(path), "%s.keys", users_path);
    FILE *keys = fopen(path, "r");
    require(keys != NULL, path);
    while (direct->key_count < KEYS_MAX && fgets(line, sizeof(line), keys))
        memcpy(direct->keys[direct->key_count++], line, TOKEN_KEY_LEN);
    fclose(keys);
    require(direct->key_count > 0, path);
}

static void *run_thread(void *context)
{
    struct direct *direct = context;
    direct->run(direct);
    return NULL;
}

int main(int argc, char **argv)
{
    static struct direct direct;
    static const struct {
        const char *name;
        void (*run)(struct direct *direct);
    } kinds[] = {
        {"get", get}, {"get-plain", get_plain}, {"spend", spend}, {"spend-plain", spend_plain}};
    pthread_t threads[THREADS_MAX];
    char reason[STORE_REASON_SIZE] = "usage: direct KIND THREADS SECONDS LOCATION SECRET USERS_FILE"
                                     " TOKEN_ID";
    require(argc == 8, reason);
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (strcmp(argv[1], kinds[i].name) == 0)
            direct.run = kinds[i].run;
    size_t thread_count = strtoul(argv[2], NULL, 10);
    require(direct.run && thread_count > 0 && thread_count <= THREADS_MAX, reason);
    const struct store_options options = {.location = argv[4], .secret_path = argv[5]};
    direct.location = argv[4];
    direct.token_id = argv[7];
    read_files(&direct, argv[6]);
    read_hashes(&direct);
    require(store_open(&options, &direct.store, reason) == STORE_OK, reason);
    direct.seconds = strtod(argv[3], NULL);
    pthread_barrier_init(&direct.ready, NULL, (unsigned)thread_count);
    for (size_t i = 0; i < thread_count; i++)
        require(pthread_create(&threads[i], NULL, run_thread, &direct) == 0, "no thread");
    for (size_t i = 0; i < thread_count; i++)
        pthread_join(threads[i], NULL);
    printf("{\"requests\":%zu,\"seconds\":%.3f}\n", (size_t)direct.count, direct.seconds);
    store_close(direct.store);
    return 0;
}
