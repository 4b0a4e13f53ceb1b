#include "store/lmdb/engine.h"

#include <errno.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/bytes.h"
#include "store/lmdb/whole.h"

static enum store_error translate(int rc)
{
    switch (rc) {
    case MDB_SUCCESS:
        return STORE_OK;
    case MDB_NOTFOUND:
        return STORE_NOT_FOUND;
    case MDB_MAP_FULL:
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return STORE_FULL;
    case ENOMEM:
    case EAGAIN:
    case MDB_READERS_FULL:
    case MDB_TXN_FULL:
        return STORE_UNAVAILABLE;
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_BAD_VALSIZE:
    case MDB_INCOMPATIBLE:
    case MDB_KEYEXIST:
        return STORE_CORRUPT;
    default: /* MDB_PANIC and EIO among them */
        return STORE_BROKEN;
    }
}

enum store_error engine_error(struct store *store, int rc)
{
    enum store_error error = translate(rc);
    if (error == STORE_BROKEN)
        atomic_store(&store->broken, true);
    return error;
}

bool store_is_broken(const struct store *store)
{
    return atomic_load(&store->broken);
}

const char *store_error_text(enum store_error error)
{
    static const char *const texts[] = {
        [STORE_OK] = "done",
        [STORE_NOT_FOUND] = "no such token",
        [STORE_NO_USER] = "no such user",
        [STORE_DENIED] = "the access token is not this user's",
        [STORE_USER_DISABLED] = "the user is disabled",
        [STORE_LIMIT] = "the user has the most tokens allowed",
        [STORE_IDEMPOTENCY_MISMATCH] = "the repeat key has been used with another request",
        [STORE_NO_RESERVATION] = "no such reservation",
        [STORE_ENABLE_EXPIRED] = "the token has expired",
        [STORE_ENABLE_EXHAUSTED] = "the token's quota is exhausted",
        [STORE_FULL] = "no room for the store to grow",
        [STORE_UNAVAILABLE] = "out of memory or reader slots",
        [STORE_CORRUPT] = "the store is damaged: run tokenctl check",
        [STORE_BROKEN] = "the store's engine has failed",
        [STORE_REFUSED] = "refused",
    };
    return texts[error];
}

static void lock_map(struct store *store)
{
    atomic_fetch_add(&store->remapping, 1);
    pthread_rwlock_wrlock(&store->map_lock);
    atomic_fetch_sub(&store->remapping, 1);
}

static MDB_val text_key(const char *name)
{
    return (MDB_val){strlen(name), (void *)(uintptr_t)name}; /* LMDB only reads it */
}

/* What is kept of a database, in a transaction of writes as it was before it. */
static bool get_tree(const struct store *store, MDB_txn *txn, MDB_dbi dbi, MDB_val *record,
                     struct database *tree)
{
    MDB_val name = text_key(store->names[dbi]);
    if (mdb_get(txn, store->main, &name, record) != MDB_SUCCESS || record->mv_size != DATABASE_LEN)
        return false;
    *tree = get_database(record->mv_data);
    return true;
}

/* Finds out where the data file is mapped, which LMDB doesn't tell: by the page that it has found a
 * value in. "meta" is a single page, unchanged when a transaction begins. The map begins at a page
 * of the system's, which may be smaller. */
static void find_map(struct store *store, MDB_txn *txn)
{
    MDB_val key = text_key(META_NEXT_TOKEN_ID), value;
    struct database meta;
    if (store->map || !store->names[store->meta] || /* it is being made */
        !get_tree(store, txn, store->meta, &value, &meta) || meta.depth != 1 ||
        mdb_get(txn, store->meta, &key, &value) != MDB_SUCCESS)
        return;
    size_t step = (size_t)sysconf(_SC_PAGESIZE);
    const unsigned char *page = value.mv_data;
    page -= (uintptr_t)page % step;
    for (size_t i = 0; i < store->page_size; i += step, page -= step)
        if (get_number(page) == meta.root && get_little16(page + AT_FLAGS) == PAGE_LEAF) {
            store->map = page - meta.root * store->page_size;
            return;
        }
}

/* The file as far as it is mapped and in use; false where it is not known where. */
static bool get_map(const struct store *store, struct page_map *map)
{
    MDB_envinfo info;
    map->at = store->map;
    if (!map->at || mdb_env_info(store->env, &info) != MDB_SUCCESS)
        return false;
    map->page_size = store->page_size;
    map->page_count = info.me_mapsize / store->page_size;
    if (info.me_last_pgno < map->page_count)
        map->page_count = info.me_last_pgno + 1;
    return true;
}

/* The number of the page that LMDB has found something in; false where it is one that this
 * transaction has written, which is not in the map. */
static bool get_page_number(const struct page_map *map, const MDB_val *found, uint64_t *number)
{
    *number = ((uintptr_t)found->mv_data - (uintptr_t)map->at) / map->page_size;
    return *number < map->page_count;
}

bool engine_leaf_is_whole(const struct store *store, const MDB_val *key, struct engine_whole *whole)
{
    struct page_map map;
    uint64_t number;
    if ((uintptr_t)key->mv_data - (uintptr_t)whole->leaf < store->page_size ||
        !get_map(store, &map) || !get_page_number(&map, key, &number))
        return true;
    if (!whole_leaf(&map, number))
        return false;
    whole->leaf = map.at + number * map.page_size;
    return true;
}

bool engine_ids_are_whole(const struct store *store, const MDB_val *key, struct engine_whole *whole)
{
    struct page_map map;
    struct database tree;
    uint64_t number;
    if (!whole_get_ids(engine_span(key), &tree))
        return true;
    size_t place = tree.root % (sizeof(whole->ids) / sizeof(whole->ids[0]));
    if (whole->ids[place].root == tree.root && whole->ids[place].entries == tree.entries)
        return true;
    if (!get_map(store, &map) || !get_page_number(&map, key, &number))
        return true;
    if (!whole_ids(&map, &tree))
        return false;
    whole->ids[place].root = tree.root;
    whole->ids[place].entries = tree.entries;
    return true;
}

bool engine_path_is_whole(const struct store *store, MDB_txn *txn, MDB_dbi dbi, const MDB_val *key)
{
    struct page_map map;
    struct database tree;
    MDB_val record;
    uint64_t number;
    if (!get_map(store, &map))
        return true;
    return get_tree(store, txn, dbi, &record, &tree) &&
           (!get_page_number(&map, &record, &number) || whole_leaf(&map, number)) &&
           whole_path(&map, &tree, engine_span(key));
}

int engine_adopt_map(struct store *store)
{
    lock_map(store);
    store->map = NULL;
    int rc = mdb_env_set_mapsize(store->env, 0);
    if (rc != MDB_SUCCESS) { /* the old map is gone already: nothing may touch it again */
        atomic_store(&store->broken, true);
        rc = MDB_PANIC;
    }
    pthread_rwlock_unlock(&store->map_lock);
    return rc;
}

int engine_begin_read(struct store_reader *reader)
{
    struct store *store = reader->store;
    reader->whole.leaf = NULL;
    for (;;) {
        pthread_rwlock_rdlock(&store->map_lock);
        int rc = store_is_broken(store) ? MDB_PANIC : mdb_txn_renew(reader->txn);
        if (rc == MDB_SUCCESS) {
            find_map(store, reader->txn);
            return rc;
        }
        pthread_rwlock_unlock(&store->map_lock);
        if (rc != MDB_MAP_RESIZED)
            return rc;
        rc = engine_adopt_map(store);
        if (rc != MDB_SUCCESS)
            return rc;
    }
}

void engine_end_read(struct store_reader *reader)
{
    mdb_txn_reset(reader->txn);
    pthread_rwlock_unlock(&reader->store->map_lock);
}

static int lock_file(int fd)
{
    int rc;
    do {
        rc = flock(fd, LOCK_EX) == 0 ? MDB_SUCCESS : errno;
    } while (rc == EINTR);
    return rc;
}

static int lock_writers(struct store *store)
{
    pthread_mutex_lock(&store->write_lock);
    int rc = lock_file(store->fairness_fd);
    if (rc == MDB_SUCCESS) {
        rc = lock_file(store->folder_fd);
        flock(store->fairness_fd, LOCK_UN); /* of a lock that is held: can't fail */
    }
    if (rc != MDB_SUCCESS)
        pthread_mutex_unlock(&store->write_lock);
    return rc;
}

static void unlock_writers(struct store *store)
{
    flock(store->folder_fd, LOCK_UN);
    pthread_mutex_unlock(&store->write_lock);
}

static int begin_write(struct store *store, MDB_txn **txn)
{
    for (;;) {
        pthread_rwlock_rdlock(&store->map_lock);
        int rc = store_is_broken(store) ? MDB_PANIC : mdb_txn_begin(store->env, NULL, 0, txn);
        if (rc == MDB_SUCCESS) {
            find_map(store, *txn);
            return rc;
        }
        pthread_rwlock_unlock(&store->map_lock);
        if (rc != MDB_MAP_RESIZED)
            return rc;
        rc = engine_adopt_map(store);
        if (rc != MDB_SUCCESS)
            return rc;
    }
}

/* Where a commit makes the file longer, its sync has to write the file system's journal too. So the
 * file is made longer beforehand, seldom and by much, with zeros that are written: space that is
 * only allocated costs the journal once more. In a write transaction, when nobody else adds to the
 * file; what is in it stays as it is. Where it fails, the commit finds out by itself.
 *
 * How long the file is, lseek tells: fstat also asks for its times, after which Linux (since 6.13)
 * notes another time with the next write, and the sync has to write that too. */
static void extend_file(struct store *store)
{
    enum { ZEROS_LEN = 64 * 1024, STEPS_MAX = 16 };
    static unsigned char zeros[ZEROS_LEN]; /* of the page of zeros: no memory of its own */
    struct iovec parts[STEPS_MAX];
    MDB_envinfo info;
    int fd;
    if (mdb_env_info(store->env, &info) != MDB_SUCCESS ||
        mdb_env_get_fd(store->env, &fd) != MDB_SUCCESS)
        return;
    off_t end = lseek(fd, 0, SEEK_END); /* LMDB sets the position before each use of it */
    size_t used = (info.me_last_pgno + 1) * store->page_size, size = (size_t)end;
    size_t steps = used / 16 / ZEROS_LEN + 1; /* a small store stays small */
    if (steps > STEPS_MAX)
        steps = STEPS_MAX;
    if (end < 0 || size > used + steps * ZEROS_LEN / 4 ||
        size + steps * ZEROS_LEN > info.me_mapsize)
        return;
    for (size_t i = 0; i < steps; i++)
        parts[i] = (struct iovec){zeros, ZEROS_LEN};
    (void)!pwritev(fd, parts, (int)steps, end);
}

int engine_begin_write(struct store *store, MDB_txn **txn)
{
    int rc = lock_writers(store);
    if (rc != MDB_SUCCESS)
        return rc;
    rc = begin_write(store, txn);
    if (rc == MDB_SUCCESS)
        extend_file(store);
    else
        unlock_writers(store);
    return rc;
}

/* Where the last write of a commit fails, which says where its trees begin, LMDB takes back the
 * commit's number and leaves the rest: a number whose trees are another's. As it was before is
 * better, or opening would find damage (file_check_snapshot). */
static int commit(struct store *store, MDB_txn *txn)
{
    unsigned char before[PAGE_HEAD + META_LEN];
    uint64_t at = (mdb_txn_id(txn) & 1) * store->page_size;
    int fd, rc = mdb_env_get_fd(store->env, &fd);
    if (rc == MDB_SUCCESS && !read_at(fd, before, sizeof(before), at))
        rc = EIO;
    if (rc != MDB_SUCCESS) {
        mdb_txn_abort(txn);
        return rc;
    }
    errno = 0;
    rc = mdb_txn_commit(txn);
    /* LMDB says EIO also where a write was cut short by the disk's end, when no call has failed. */
    if (rc == EIO && errno != EIO)
        rc = ENOSPC;
    if (rc != MDB_SUCCESS)
        (void)!pwrite(fd, before, sizeof(before), (off_t)at);
    return rc;
}

int engine_commit_write(struct store *store, MDB_txn *txn)
{
    int rc = commit(store, txn);
    pthread_rwlock_unlock(&store->map_lock);
    unlock_writers(store);
    return rc;
}

void engine_abort_write(struct store *store, MDB_txn *txn)
{
    mdb_txn_abort(txn);
    pthread_rwlock_unlock(&store->map_lock);
    unlock_writers(store);
}

/* Whether the address space has room. mdb_env_set_mapsize unmaps before it maps, so
 * that a failure there would leave the process with no map at all. */
static bool has_address_space(size_t size)
{
    void *probe = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return probe != MAP_FAILED && munmap(probe, size) == 0;
}

enum store_error engine_grow(struct store *store)
{
    MDB_envinfo info;
    enum store_error error = STORE_FULL;
    lock_map(store);
    store->map = NULL;
    mdb_env_info(store->env, &info);
    if (info.me_mapsize <= SIZE_MAX / 2 && has_address_space(info.me_mapsize * 2))
        error = engine_error(store, mdb_env_set_mapsize(store->env, info.me_mapsize * 2));
    pthread_rwlock_unlock(&store->map_lock);
    return error;
}

MDB_val engine_id_key(unsigned char bytes[static ID_KEY_LEN], int64_t id)
{
    put_big64(bytes, id);
    return (MDB_val){ID_KEY_LEN, bytes};
}

MDB_val engine_token_key(unsigned char bytes[static TOKEN_ID_KEY_LEN], int64_t user_id,
                         int64_t token_id)
{
    put_big64(bytes, user_id);
    put_big64(bytes + 8, token_id);
    return (MDB_val){TOKEN_ID_KEY_LEN, bytes};
}

struct checksum_context engine_meta_place(const char *name)
{
    size_t len = strlen(name);
    struct checksum_context place = {CHECKSUM_META, 0, (int64_t)len};
    for (size_t i = 0; i < len; i++)
        place.a = (int64_t)((uint64_t)place.a * 31 + (unsigned char)name[i]);
    return place;
}

int engine_meta_get(MDB_txn *txn, MDB_dbi meta, const char *name, int64_t *value)
{
    MDB_val key = text_key(name), data;
    int rc = mdb_get(txn, meta, &key, &data);
    if (rc != MDB_SUCCESS)
        return rc == MDB_NOTFOUND ? MDB_CORRUPTED : rc;
    struct span rest = engine_span(&data);
    if (rest.len != META_VALUE_LEN || !checksum_take(engine_meta_place(name), &rest))
        return MDB_CORRUPTED;
    *value = get_little64(data.mv_data);
    return MDB_SUCCESS;
}

int engine_meta_put(MDB_txn *txn, MDB_dbi meta, const char *name, int64_t value)
{
    unsigned char bytes[META_VALUE_LEN];
    put_little64(bytes, value);
    checksum_put(engine_meta_place(name), bytes, sizeof(bytes) - CHECKSUM_LEN);
    MDB_val key = text_key(name), data = {sizeof(bytes), bytes};
    return mdb_put(txn, meta, &key, &data, 0);
}

int engine_meta_take(MDB_txn *txn, MDB_dbi meta, const char *name, int64_t *id)
{
    int rc = engine_meta_get(txn, meta, name, id);
    if (rc == MDB_SUCCESS && *id == INT64_MAX)
        return ENOSPC;
    return rc == MDB_SUCCESS ? engine_meta_put(txn, meta, name, *id + 1) : rc;
}
