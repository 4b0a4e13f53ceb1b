/* The store's figures. */

#include <errno.h>
#include <sys/stat.h>

#include "store/lmdb/engine.h"

/* mdb_reader_list prints a heading, then a line for each slot that begins with the pid. */
static int count_reader(const char *line, void *context)
{
    uint64_t *readers = context;
    while (*line == ' ')
        line++;
    if (*line >= '0' && *line <= '9')
        ++*readers;
    return 0;
}

enum store_error lmdb_stat(struct store_reader *reader, store_visit_figure *visit, void *context)
{
    MDB_stat users = {.ms_entries = 0}, tokens = users;
    MDB_envinfo info;
    struct stat file;
    uint64_t readers = 0;
    struct txn *txn = read_begin(reader);
    const struct lmdb_store *store = txn->store;
    if (txn->error == STORE_OK)
        db_result(txn, mdb_stat(txn->mdb, store->dbis[DB_USERS], &users));
    if (txn->error == STORE_OK)
        db_result(txn, mdb_stat(txn->mdb, store->dbis[DB_TOKENS], &tokens));
    read_end(txn);
    if (txn->error == STORE_OK)
        db_result(txn, mdb_env_info(store->env, &info));
    if (txn->error == STORE_OK && fstat(store->data_fd, &file) != 0)
        db_result(txn, errno);
    if (txn->error == STORE_OK && mdb_reader_list(store->env, count_reader, &readers) < 0)
        db_result(txn, EIO);
    if (txn->error != STORE_OK)
        return txn->error;
    visit(context, "users", users.ms_entries);
    visit(context, "tokens", tokens.ms_entries);
    visit(context, "bytes", (uint64_t)file.st_size);
    visit(context, "map_bytes", info.me_mapsize);
    visit(context, "map_used_bytes", (info.me_last_pgno + 1) * users.ms_psize);
    visit(context, "readers", readers);
    return STORE_OK;
}
