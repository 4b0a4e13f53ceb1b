/* The rotation of the secret (store/secret.h). */

#include "store/lmdb/rotation.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "store/lmdb/engine.h"
#include "store/lmdb/lookup.h"

/* ---- its state: in META_CHECK, and the rest in META_ROTATION ---- */

enum { AT_GENERATION = SEAL_CHECK_LEN, AT_PHASE = AT_GENERATION + 8, ROTATION_LEN = AT_PHASE + 8 };

enum store_error rotation_get(struct store_txn *txn, struct seal_rotation *rotation)
{
    unsigned char bytes[ROTATION_LEN] = {0};
    if (meta_get_bytes(txn, META_CHECK, rotation->check, SEAL_CHECK_LEN) == STORE_OK)
        meta_get_bytes(txn, META_ROTATION, bytes, sizeof(bytes));
    memcpy(rotation->next_check, bytes, SEAL_CHECK_LEN);
    rotation->generation = get_little64(bytes + AT_GENERATION);
    rotation->phase = get_little64(bytes + AT_PHASE);
    return txn->error;
}

int64_t rotation_generation(struct store_txn *txn)
{
    struct seal_rotation rotation = {.generation = 0};
    rotation_get(txn, &rotation);
    return rotation.generation;
}

void rotation_put(struct store_txn *txn, const struct seal_rotation *rotation)
{
    unsigned char bytes[ROTATION_LEN];
    memcpy(bytes, rotation->next_check, SEAL_CHECK_LEN);
    put_little64(bytes + AT_GENERATION, rotation->generation);
    put_little64(bytes + AT_PHASE, rotation->phase);
    meta_put_bytes(txn, META_CHECK, rotation->check, SEAL_CHECK_LEN);
    meta_put_bytes(txn, META_ROTATION, bytes, sizeof(bytes));
}

void rotation_start(struct store_txn *txn)
{
    struct seal_rotation rotation = {.generation = 1, .phase = SEAL_SETTLED};
    memcpy(rotation.check, seal_check_value(txn->seal), SEAL_CHECK_LEN);
    rotation_put(txn, &rotation);
}

enum store_error rotation_follow(struct store_txn *txn)
{
    struct store *store = &lmdb_of(txn)->store->base;
    struct seal_rotation rotation;
    if (rotation_get(txn, &rotation) != STORE_OK ||
        rotation.generation == atomic_load(&store->generation) || !store_follow(store, &rotation))
        return txn->error;
    atomic_store(&store->broken, true);
    return store_txn_fail(txn, STORE_BROKEN);
}

enum store_error lmdb_rotation_get(struct store_reader *reader, struct seal_rotation *rotation)
{
    struct store_txn *txn = read_begin(reader);
    rotation_get(txn, rotation);
    read_end(txn);
    return txn->error;
}

/* ---- the processes that had the store open when the secret was announced ---- */

static bool has_pid(const struct lmdb_pids *pids, pid_t pid)
{
    for (size_t i = 0; i < pids->count; i++)
        if (pids->at[i] == pid)
            return true;
    return false;
}

/* Of a line of mdb_reader_list: see stat.c. */
static int note_pid(const char *line, void *context)
{
    struct lmdb_pids *pids = context;
    char *end;
    pid_t pid = (pid_t)strtol(line, &end, 10);
    if (end != line && pid != getpid() && !has_pid(pids, pid) && pids->count < READERS_MAX)
        pids->at[pids->count++] = pid;
    return 0;
}

enum store_error lmdb_laggards_visit(struct store_reader *reader,
                                     const struct seal_rotation *rotation, store_report *report,
                                     void *context, uint64_t *found)
{
    struct lmdb_store *store = (struct lmdb_store *)reader->store;
    struct lmdb_pids now = {.count = 0};
    char line[128];
    int dead;
    mdb_reader_check(store->env, &dead);
    mdb_reader_list(store->env, note_pid, &now); /* fails where note_pid does */
    if (store->old_generation != rotation->generation) {
        store->old_generation = rotation->generation;
        store->old = now;
    }
    for (size_t i = 0; i < store->old.count; i++) {
        if (!has_pid(&now, store->old.at[i]))
            continue;
        ++*found;
        snprintf(line, sizeof(line), "process %d has the store open with the old secret only",
                 (int)store->old.at[i]);
        report(context, line);
    }
    return STORE_OK;
}

/* ---- what is sealed ---- */

static void list_tokens(struct store_txn *txn, const struct store_sealed *after,
                        struct store_sealed *items, size_t max, size_t *count)
{
    struct span key = TOKEN_ID_KEY(after->user_id, after->token_id + 1), value = {NULL, 0};
    MDB_cursor *cursor = db_cursor_open(txn, DB_TOKENS);
    for (MDB_cursor_op op = MDB_SET_RANGE;
         cursor && *count < max && db_cursor_get(txn, cursor, &key, &value, op) == STORE_OK;
         op = MDB_NEXT) {
        const unsigned char *ids = (const unsigned char *)key.at;
        if (key.len != TOKEN_KEY_ID_LEN) {
            db_corrupt(txn);
            break;
        }
        items[(*count)++] =
            (struct store_sealed){.user_id = get_big64(ids), .token_id = get_big64(ids + 8)};
    }
    mdb_cursor_close(cursor);
}

static void list_answers(struct store_txn *txn, const struct store_sealed *after,
                         struct store_sealed *items, size_t max, size_t *count)
{
    struct span key = span_of_bytes(after->hash, STORE_HASH_LEN), value = {NULL, 0};
    MDB_cursor *cursor = db_cursor_open(txn, DB_ANSWERS);
    for (MDB_cursor_op op = MDB_SET_RANGE;
         cursor && *count < max && db_cursor_get(txn, cursor, &key, &value, op) == STORE_OK;
         op = MDB_NEXT) {
        if (key.len != STORE_HASH_LEN) {
            db_corrupt(txn);
            break;
        }
        if (memcmp(key.at, after->hash, STORE_HASH_LEN) == 0)
            continue;
        items[*count] = (struct store_sealed){.is_answer = true};
        memcpy(items[(*count)++].hash, key.at, STORE_HASH_LEN);
    }
    mdb_cursor_close(cursor);
}

enum store_error lmdb_sealed_list(struct store_reader *reader, const struct store_sealed *after,
                                  struct store_sealed *items, size_t *count)
{
    struct store_txn *txn = read_begin(reader);
    size_t max = *count;
    *count = 0;
    if (!after->is_answer)
        list_tokens(txn, after, items, max, count);
    if (*count == 0)
        list_answers(txn, after, items, max, count);
    read_end(txn);
    return txn->error;
}
