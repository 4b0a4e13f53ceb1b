/* Copies of a store: one file, which is a data file without free pages. */

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "store/lmdb/engine.h"

/* Compacted, as only then LMDB takes no lock: writers go on. */
enum store_error lmdb_copy_out(struct store_reader *reader, int fd)
{
    struct lmdb_txn txn = {.store = (struct lmdb_store *)reader->store};
    return db_result(&txn.base, mdb_env_copyfd2(txn.store->env, fd, MDB_CP_COMPACT));
}

/* Reads to the end. Returns an errno. */
static int receive_file(int from, int to)
{
    enum { LEN = 256 * 1024 };
    ssize_t len = 1, written = 0;
    char *bytes = malloc(LEN);
    while (bytes && len > 0 && written >= 0) {
        len = read(from, bytes, LEN);
        for (ssize_t at = 0; at < len && written >= 0; at += written)
            written = write(to, bytes + at, (size_t)(len - at));
    }
    int error = bytes && len == 0 && written >= 0 && fsync(to) == 0 ? 0 : errno;
    free(bytes);
    return error;
}

/* Ids may have been given out since the copy was made. */
static enum store_error raise_counters(struct store *store)
{
    static const char *const counters[] = {META_NEXT_USER_ID, META_NEXT_TOKEN_ID};
    struct lmdb_txn txn;
    int64_t next;
    if (write_begin((struct lmdb_store *)store, &txn) != STORE_OK)
        return txn.base.error;
    for (size_t i = 0; i < sizeof(counters) / sizeof(counters[0]); i++)
        if (meta_get(&txn.base, counters[i], &next) == STORE_OK &&
            next < INT64_MAX - STORE_COPY_IDS)
            meta_put(&txn.base, counters[i], next + STORE_COPY_IDS);
    return write_end(&txn);
}

bool lmdb_copy_in(const struct store_options *options, struct seal *seal, int fd,
                  char reason[static STORE_REASON_SIZE])
{
    const char *folder = options->location;
    struct store *store;
    int folder_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int to = openat(folder_fd, "data.mdb", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    int error = to >= 0 ? receive_file(fd, to) : errno;
    if (error == 0 && fsync(folder_fd) != 0)
        error = errno;
    if (to >= 0)
        close(to);
    if (folder_fd >= 0)
        close(folder_fd);
    if (error != 0)
        return store_refuse(reason, folder, strerror(error));
    if (!lmdb_open(options, seal, &store, reason))
        return false;
    enum store_error raised = raise_counters(store);
    lmdb_close(store);
    return raised == STORE_OK || store_refuse(reason, folder, store_error_text(raised));
}
