#include "store/lmdb/database.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/clock.h"

/* ---- reading ---- */

struct store_txn *read_begin(struct store_reader *reader)
{
    struct store_txn *txn = &((struct lmdb_reader *)reader)->txn.base;
    txn->error = STORE_OK;
    lmdb_of(txn)->owner_id = 0;
    if (atomic_load(&reader->store->broken))
        txn->error = STORE_BROKEN;
    else
        db_result(txn, mdb_txn_renew(lmdb_of(txn)->mdb));
    return txn;
}

void read_end(struct store_txn *txn)
{
    mdb_txn_reset(lmdb_of(txn)->mdb);
}

/* ---- the writers' locks ---- */

/* until_ms 0: waits as long as it takes. flock(2) has no time-out: with one it is asked again and
 * again. EAGAIN after that. */
static int lock_file(int fd, int64_t until_ms)
{
    enum { INTERVAL_MS = 1 };
    while (flock(fd, until_ms == 0 ? LOCK_EX : LOCK_EX | LOCK_NB) != 0) {
        if (errno != EINTR && (errno != EWOULDBLOCK || clock_ms() >= until_ms))
            return errno;
        poll(NULL, 0, INTERVAL_MS);
    }
    return 0;
}

static int lock_writers(struct lmdb_store *store)
{
    int64_t wait_ms = store->base.write_wait_ms, until_ms = wait_ms > 0 ? clock_ms() + wait_ms : 0;
    pthread_mutex_lock(&store->write_lock);
    int rc = lock_file(store->fairness_fd, until_ms);
    if (rc == 0) {
        rc = lock_file(store->folder_fd, until_ms);
        flock(store->fairness_fd, LOCK_UN); /* held: can't fail */
    }
    if (rc != 0)
        pthread_mutex_unlock(&store->write_lock);
    return rc;
}

static void unlock_writers(struct lmdb_store *store)
{
    flock(store->folder_fd, LOCK_UN);
    pthread_mutex_unlock(&store->write_lock);
}

/* ---- the data file ---- */

/* statx without times: once they have been read, Linux (6.13 and later) stores a new time with the
 * next write, which makes its sync slower. */
bool data_is_in_place(const struct lmdb_store *store)
{
    struct statx named, open_file;
    if (statx(AT_FDCWD, store->data_path, AT_EMPTY_PATH, STATX_INO, &named) == 0)
        return named.stx_ino == store->data_ino &&
               makedev(named.stx_dev_major, named.stx_dev_minor) == store->data_dev;
    if (errno == ENOENT || errno == ENOTDIR)
        return false;
    /* Once root's rights are dropped, the path to the folder may be inaccessible. */
    return statx(store->data_fd, "", AT_EMPTY_PATH, STATX_NLINK, &open_file) != 0 ||
           open_file.stx_nlink > 0;
}

/* The size of the pages on the list of free pages, LMDB's database 0, as far as it is wanted. */
static size_t count_free(const struct lmdb_store *store, size_t wanted)
{
    MDB_txn *txn;
    MDB_cursor *cursor;
    MDB_val key, pages;
    size_t len = 0;
    if (mdb_txn_begin(store->env, NULL, MDB_RDONLY, &txn) != MDB_SUCCESS)
        return 0;
    if (mdb_cursor_open(txn, 0, &cursor) == MDB_SUCCESS) {
        while (len < wanted && mdb_cursor_get(cursor, &key, &pages, MDB_NEXT) == MDB_SUCCESS)
            len +=
                (size_t)get_little64(pages.mv_data) * store->page_size; /* their number is first */
        mdb_cursor_close(cursor);
    }
    mdb_txn_abort(txn);
    return len;
}

enum { ZEROS_LEN = 64 * 1024, STEPS_MAX = 16, RESERVE_LEN = 128 * 1024 };

/* By how much the data file becomes longer at once, in pieces of ZEROS_LEN: a small store stays
 * small. */
static size_t count_steps(size_t used)
{
    size_t steps = used / 16 / ZEROS_LEN + 1;
    return steps < STEPS_MAX ? steps : STEPS_MAX;
}

/* Finds out what writes may take, at least need bytes if there are so many. Beyond that a reserve
 * is kept, so that deletes and purges go on if the disk or the map is full.
 *
 * Makes the data file longer ahead of commits, rarely, in large steps, by writing zeros: a commit
 * that makes it longer has to write the file system's journal too (docs/performance.md). In a write
 * transaction, when nobody else writes to the file. */
static void find_room(struct lmdb_txn *txn, size_t need)
{
    static unsigned char zeros[ZEROS_LEN]; /* never written: one page of memory */
    const struct lmdb_store *store = txn->store;
    struct iovec parts[STEPS_MAX];
    MDB_envinfo info;
    mdb_env_info(store->env, &info);                /* fails only without an environment */
    off_t end = lseek(store->data_fd, 0, SEEK_END); /* not fstat: see is_in_place */
    size_t used = (info.me_last_pgno + 1) * store->page_size, size = end > 0 ? (size_t)end : 0;
    size_t steps = count_steps(used);
    for (size_t i = 0; i < steps; i++)
        parts[i] = (struct iovec){zeros, ZEROS_LEN};
    size_t len = steps * ZEROS_LEN, wanted = used + RESERVE_LEN + need;
    while (size <= wanted + len / 4 && size + len <= info.me_mapsize &&
           pwritev(store->data_fd, parts, (int)steps, (off_t)size) == (ssize_t)len)
        size += len;
    if (size < wanted)
        size += count_free(store, wanted - size);
    txn->room = size > used + RESERVE_LEN ? size - used - RESERVE_LEN : 0;
}

bool txn_take_room(struct store_txn *base, size_t need)
{
    struct lmdb_txn *txn = lmdb_of(base);
    if (txn->taken + need > txn->room)
        find_room(txn, txn->taken + need);
    if (txn->taken + need > txn->room)
        return false;
    txn->taken += need;
    return true;
}

size_t room_of_next(const struct lmdb_store *store)
{
    enum { WRITE_LEN = 256 * 1024, PARTS = 8 };
    MDB_envinfo info;
    mdb_env_info(store->env, &info);
    return info.me_mapsize / PARTS < WRITE_LEN ? info.me_mapsize / PARTS : WRITE_LEN;
}

bool has_room(const struct lmdb_store *store)
{
    MDB_envinfo info;
    struct statvfs disk;
    mdb_env_info(store->env, &info);
    off_t end = lseek(store->data_fd, 0, SEEK_END);
    if (end < 0 || fstatvfs(store->data_fd, &disk) != 0 || disk.f_flag & ST_RDONLY)
        return false;
    size_t used = (info.me_last_pgno + 1) * store->page_size;
    size_t step = count_steps(used) * ZEROS_LEN, wanted = used + RESERVE_LEN + room_of_next(store);
    size_t size = (size_t)end, more = 0;
    if (info.me_mapsize > size)
        more = (info.me_mapsize - size) / step * step; /* as find_room takes it */
    if (disk.f_bavail < more / disk.f_frsize)
        more = disk.f_bavail * disk.f_frsize;
    size += more;
    return size >= wanted || count_free(store, wanted - size) >= wanted - size;
}

/* ---- writing ---- */

enum store_error write_begin(struct lmdb_store *store, struct lmdb_txn *txn)
{
    *txn = (struct lmdb_txn){.base = {.seal = store->base.seal}, .store = store};
    if (db_result(&txn->base, lock_writers(store)) != STORE_OK)
        return txn->base.error;
    if (atomic_load(&store->base.broken) || !data_is_in_place(store))
        db_result(&txn->base, MDB_PANIC);
    else
        db_result(&txn->base, mdb_txn_begin(store->env, NULL, 0, &txn->mdb));
    if (txn->base.error == STORE_OK)
        find_room(txn, 0);
    else
        unlock_writers(store);
    return txn->base.error;
}

/* After a commit that failed: LMDB begins no transaction once the write of its meta page has. */
static bool is_broken(struct lmdb_txn *txn)
{
    int rc = mdb_txn_begin(txn->store->env, NULL, MDB_RDONLY, &txn->mdb);
    if (rc == MDB_SUCCESS)
        mdb_txn_abort(txn->mdb);
    else if (rc == MDB_PANIC)
        atomic_store(&txn->store->base.broken, true);
    return atomic_load(&txn->store->base.broken);
}

enum store_error write_end(struct lmdb_txn *txn)
{
    if (txn->base.error != STORE_OK) {
        mdb_txn_abort(txn->mdb);
    } else {
        errno = 0;
        int rc = mdb_txn_commit(txn->mdb);
        /* LMDB returns EIO also for a write that the end of the disk has cut short. */
        db_result(&txn->base, rc == EIO && errno != EIO ? ENOSPC : rc);
        if (rc != MDB_SUCCESS && is_broken(txn)) /* the page that says what holds may be written */
            txn->base.error = STORE_UNKNOWN;
    }
    unlock_writers(txn->store);
    return txn->base.error;
}
