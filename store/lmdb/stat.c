/* The store's figures and health. */

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "store/lmdb/engine.h"

struct reader_count {
    uint64_t count;
    pid_t left_out;
};

/* mdb_reader_list prints a heading, then a line for each slot that begins with the pid. */
static int count_reader(const char *line, void *context)
{
    struct reader_count *readers = context;
    char *end;
    long pid = strtol(line, &end, 10);
    readers->count += end != line && pid != readers->left_out;
    return 0;
}

uint64_t count_readers(const struct lmdb_store *store, pid_t left_out)
{
    struct reader_count readers = {0, left_out};
    mdb_reader_list(store->env, count_reader, &readers); /* fails where count_reader does */
    return readers.count;
}

enum store_error lmdb_stat(struct store_reader *reader, store_visit_figure *visit, void *context)
{
    MDB_envinfo info;
    struct stat file;
    struct store_txn *txn = read_begin(reader);
    const struct lmdb_store *store = lmdb_of(txn)->store;
    uint64_t users = db_count(txn, DB_USERS), tokens = db_count(txn, DB_TOKENS);
    read_end(txn);
    mdb_env_info(store->env, &info); /* fails only without an environment */
    if (txn->error == STORE_OK && fstat(store->data_fd, &file) != 0)
        db_result(txn, errno);
    if (txn->error != STORE_OK)
        return txn->error;
    visit(context, "users", users);
    visit(context, "tokens", tokens);
    visit(context, "bytes", (uint64_t)file.st_size);
    visit(context, "map_bytes", info.me_mapsize);
    visit(context, "map_used_bytes", (info.me_last_pgno + 1) * store->page_size);
    visit(context, "readers", count_readers(store, 0));
    return STORE_OK;
}

enum store_error lmdb_check_health(struct store_reader *reader, char *reason)
{
    int64_t version;
    struct store_txn *txn = read_begin(reader);
    const struct lmdb_store *store = lmdb_of(txn)->store;
    meta_get(txn, META_SCHEMA, &version);
    read_end(txn);
    if (txn->error == STORE_OK && !data_is_in_place(store))
        db_result(txn, MDB_PANIC);
    if (txn->error == STORE_OK && !has_room(store))
        store_txn_fail(txn, STORE_FULL);
    *reason = '\0'; /* the error says all */
    return txn->error;
}
