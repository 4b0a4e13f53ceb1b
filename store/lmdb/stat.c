/* A store's figures. */

#include <errno.h>
#include <sys/stat.h>

#include "store/lmdb/engine.h"

/* mdb_reader_list prints a heading, then a line a slot that begins with the pid. */
static int count_reader(const char *line, void *context)
{
    uint64_t *readers = context;
    while (*line == ' ')
        line++;
    if (*line >= '0' && *line <= '9')
        ++*readers;
    return 0;
}

static int read_stat(struct store_reader *reader, struct store_stat *stat)
{
    const struct store *store = reader->store;
    MDB_stat users, tokens;
    MDB_envinfo info;
    struct stat file;
    mdb_filehandle_t fd;
    int rc = mdb_stat(reader->txn, store->users, &users);
    if (rc == MDB_SUCCESS)
        rc = mdb_stat(reader->txn, store->tokens, &tokens);
    if (rc == MDB_SUCCESS)
        rc = mdb_env_info(store->env, &info);
    if (rc == MDB_SUCCESS)
        rc = mdb_env_get_fd(store->env, &fd);
    if (rc == MDB_SUCCESS && fstat(fd, &file) != 0)
        rc = errno;
    if (rc != MDB_SUCCESS)
        return rc;
    *stat = (struct store_stat){.users = users.ms_entries,
                                .tokens = tokens.ms_entries,
                                .bytes = (uint64_t)file.st_size,
                                .map_bytes = info.me_mapsize,
                                .map_used_bytes = (info.me_last_pgno + 1) * users.ms_psize};
    return mdb_reader_list(store->env, count_reader, &stat->readers) < 0 ? EIO : MDB_SUCCESS;
}

enum store_error store_stat(struct store_reader *reader, struct store_stat *stat)
{
    int rc = engine_begin_read(reader);
    if (rc != MDB_SUCCESS)
        return engine_error(reader->store, rc);
    rc = read_stat(reader, stat);
    engine_end_read(reader);
    return engine_error(reader->store, rc);
}
