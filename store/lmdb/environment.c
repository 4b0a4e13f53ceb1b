/* Creating, opening and closing a store. */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <linux/magic.h>
#include "base/path.h"
#include "store/lmdb/clock.h"
#include "store/lmdb/engine.h"
#include "store/lmdb/rotation.h"
#include "store/lmdb/rows.h"

static const uint64_t map_size_default = UINT64_C(64) << 30;

/* ---- the file system ---- */

/* LMDB needs a memory map that all processes share, and locks in it: no file system over a network
 * or in user space keeps that promise (lmdb.h, "Caveats"). */
static const struct {
    unsigned long magic;
    const char *name;
} unsafe_file_systems[] = {
    {NFS_SUPER_MAGIC, "NFS"},   {FUSE_SUPER_MAGIC, "FUSE"}, {SMB_SUPER_MAGIC, "SMB"},
    {CIFS_SUPER_MAGIC, "CIFS"}, {SMB2_SUPER_MAGIC, "SMB2"}, {V9FS_MAGIC, "9P"},
    {CEPH_SUPER_MAGIC, "Ceph"}, {AFS_SUPER_MAGIC, "AFS"},   {AFS_FS_MAGIC, "AFS"},
    {CODA_SUPER_MAGIC, "Coda"}, {0x786F4256, "vboxsf"},     {0x0BD00BD0, "Lustre"},
};

static bool check_file_system(const char *path, char reason[static STORE_REASON_SIZE])
{
    struct statfs status;
    if (statfs(path, &status) != 0)
        return store_refuse(reason, path, strerror(errno));
    for (size_t i = 0; i < sizeof(unsafe_file_systems) / sizeof(unsafe_file_systems[0]); i++) {
        if ((unsigned long)status.f_type != unsafe_file_systems[i].magic)
            continue;
        snprintf(reason, STORE_REASON_SIZE,
                 "%s: is on %s, where a memory-mapped store is not safe; use a local file system",
                 path, unsafe_file_systems[i].name);
        return false;
    }
    return true;
}

/* ---- files ---- */

static const char *const store_files[] = {"data.mdb", "lock.mdb"};

/* Root's commands must leave no file behind that the folder's owner can't use. */
static bool give_files_to(const struct lmdb_store *store, uid_t owner, gid_t group)
{
    for (size_t i = 0; i < sizeof(store_files) / sizeof(store_files[0]); i++)
        if (fchownat(store->folder_fd, store_files[i], owner, group, AT_SYMLINK_NOFOLLOW) != 0)
            return false;
    return true;
}

/* ---- the environment ---- */

static bool has_address_space(size_t size)
{
    void *probe = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return probe != MAP_FAILED && munmap(probe, size) == 0;
}

/* One map, large from the start (lmdb.h, mdb_env_set_mapsize): the file grows only as used. Where
 * the address space is limited (RLIMIT_AS), the largest half, quarter … that fits, and room for the
 * file to double. */
static size_t choose_map_size(uint64_t wanted, off_t file_size)
{
    enum { SIZE_MIN = 1024 * 1024 };
    size_t size = wanted ? wanted : map_size_default;
    while (!has_address_space(size) && size / 2 >= 2 * (size_t)file_size && size > SIZE_MIN)
        size /= 2;
    return size & ~(size_t)65535; /* a multiple of any page size */
}

static int start_environment(const struct store_options *options, struct lmdb_store *store)
{
    struct stat data = {.st_size = 0};
    struct statfs system;
    MDB_stat pages;
    int dead;
    unsigned flags = options->is_copy  ? MDB_NOSUBDIR | MDB_NOLOCK
                     : options->is_new ? MDB_NOSYNC
                                       : 0;
    store->is_new = options->is_new;
    store->read_only =
        options->is_copy || (options->may_be_read_only && statfs(options->location, &system) == 0 &&
                             (system.f_flags & ST_RDONLY) != 0);
    stat(store->data_path, &data); /* absent where the store is being created */
    int rc = mdb_env_create(&store->env);
    if (rc != MDB_SUCCESS)
        return rc;
    /* These fail only in an environment that is open. */
    mdb_env_set_maxdbs(store->env, DATABASE_COUNT + 1); /* one more while it is upgraded */
    mdb_env_set_maxreaders(store->env, READERS_MAX);
    mdb_env_set_mapsize(store->env, choose_map_size(options->size_max, data.st_size));
    rc = mdb_env_open(store->env, options->location,
                      MDB_NOTLS | flags | (store->read_only ? MDB_RDONLY : 0), 0600);
    if (rc == MDB_SUCCESS)
        rc = mdb_reader_check(store->env, &dead);
    if (rc != MDB_SUCCESS)
        return rc;
    mdb_env_get_fd(store->env, &store->data_fd);
    mdb_env_stat(store->env, &pages);
    store->page_size = pages.ms_psize;
    if (options->is_copy)
        return MDB_SUCCESS;
    store->folder_fd = open(options->location, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    store->fairness_fd = open(store->data_path, O_RDONLY | O_CLOEXEC);
    if (store->folder_fd < 0 || store->fairness_fd < 0 || fstat(store->data_fd, &data) != 0)
        return errno;
    store->data_dev = data.st_dev;
    store->data_ino = data.st_ino;
    return MDB_SUCCESS;
}

static bool open_environment(const struct store_options *options, struct lmdb_store *store,
                             char reason[static STORE_REASON_SIZE])
{
    int rc = start_environment(options, store);
    return rc == MDB_SUCCESS || store_refuse(reason, options->location, mdb_strerror(rc));
}

#define DATABASE_TO_OPEN(constant, ...) {__VA_ARGS__},

/* Opens the databases, or makes (MDB_CREATE) those that are missing. Returns the transaction's
 * error. */
static enum store_error open_databases(struct store_txn *txn, unsigned flags)
{
    static const struct {
        const char *name;
        unsigned flags;
    } databases[DATABASE_COUNT] = {DATABASES(DATABASE_TO_OPEN)};
    for (size_t i = 0; i < DATABASE_COUNT && txn->error == STORE_OK; i++)
        db_expect(txn, db_result(txn, mdb_dbi_open(lmdb_of(txn)->mdb, databases[i].name,
                                                   databases[i].flags | flags,
                                                   &lmdb_of(txn)->store->dbis[i])));
    return txn->error;
}

/* A store, not opened yet. NULL with a reason. */
static struct lmdb_store *new_store(const struct store_options *options, struct seal *seal,
                                    char reason[static STORE_REASON_SIZE])
{
    struct lmdb_store *store = calloc(1, sizeof(*store));
    if (!store) {
        store_refuse(reason, options->location, strerror(errno));
        return NULL;
    }
    store->base = (struct store){.engine = &store_lmdb_engine, .seal = seal};
    store->folder_fd = store->fairness_fd = -1;
    pthread_mutex_init(&store->write_lock, NULL);
    clock_read_boot_id(store->boot_id);
    snprintf(store->data_path, PATH_MAX, "%s%s%s", options->location, options->is_copy ? "" : "/",
             options->is_copy ? "" : store_files[0]);
    return store;
}

void lmdb_close(struct store *base)
{
    struct lmdb_store *store = (struct lmdb_store *)base;
    mdb_txn_abort(store->first_reader);
    if (store->env)
        mdb_env_close(store->env);
    if (store->folder_fd >= 0)
        close(store->folder_fd);
    if (store->fairness_fd >= 0)
        close(store->fairness_fd);
    pthread_mutex_destroy(&store->write_lock);
    free(store);
}

enum store_error lmdb_maintain(struct store *base)
{
    struct lmdb_txn txn = {.store = (struct lmdb_store *)base};
    int dead;
    db_result(&txn.base, mdb_reader_check(txn.store->env, &dead));
    pthread_mutex_lock(&txn.store->write_lock);
    if (!data_is_in_place(txn.store)) /* the reads of an idle worker would be of the old one */
        db_result(&txn.base, MDB_PANIC);
    else if (db_result(&txn.base, mdb_txn_begin(txn.store->env, NULL, MDB_RDONLY, &txn.mdb)) ==
             STORE_OK) {
        rotation_follow(&txn.base);
        mdb_txn_abort(txn.mdb);
    }
    pthread_mutex_unlock(&txn.store->write_lock);
    store_settle(base);
    return txn.base.error;
}

/* ---- creating ---- */

static enum store_error write_first_records(struct lmdb_store *store)
{
    struct lmdb_txn txn;
    if (write_begin(store, &txn) != STORE_OK)
        return txn.base.error;
    open_databases(&txn.base, MDB_CREATE);
    meta_put(&txn.base, META_SCHEMA, SCHEMA_VERSION);
    meta_put(&txn.base, META_CIPHER, seal_get_cipher(store->base.seal));
    meta_put(&txn.base, META_FOREIGN_KEYS, 0);
    meta_put(&txn.base, META_GROUPS, 0);
    for (size_t i = 0; i < STORE_IDS_COUNT; i++)
        meta_put(&txn.base, meta_counters[i], 1);
    rotation_start(&txn.base);
    clock_start(&txn.base);
    return write_end(&txn);
}

bool fill_folder(const struct store_options *options, struct seal *seal, unsigned owner_uid,
                 unsigned owner_gid, char reason[static STORE_REASON_SIZE])
{
    const char *folder = options->location;
    struct lmdb_store *store = new_store(options, seal, reason);
    if (!store)
        return false;
    bool filled = open_environment(options, store, reason);
    enum store_error error = filled ? write_first_records(store) : STORE_OK;
    if (error != STORE_OK)
        filled = store_refuse(reason, folder, store_error_text(error));
    if (filled && geteuid() == 0 && owner_uid != (uid_t)-1 &&
        (!give_files_to(store, owner_uid, owner_gid) ||
         fchown(store->folder_fd, owner_uid, owner_gid) != 0))
        filled = store_refuse(reason, folder, strerror(errno));
    lmdb_close(&store->base);
    return filled;
}

static void remove_folder(const char *folder)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (size_t i = 0; fd >= 0 && i < sizeof(store_files) / sizeof(store_files[0]); i++)
        unlinkat(fd, store_files[i], 0);
    if (fd >= 0)
        close(fd);
    rmdir(folder);
}

bool lmdb_create(const struct store_options *options, struct seal *seal, unsigned owner_uid,
                 unsigned owner_gid, bool *perhaps, char reason[static STORE_REASON_SIZE])
{
    const char *folder = options->location;
    struct stat status;
    *perhaps = false;
    if (lstat(folder, &status) == 0)
        return store_refuse(reason, folder, "exists already");
    if (strlen(folder) + sizeof("/data.mdb") > PATH_MAX)
        return store_refuse(reason, folder, strerror(ENAMETOOLONG));
    if (!path_make_parents(folder) || mkdir(folder, 0700) != 0)
        return store_refuse(reason, folder, strerror(errno));
    if (check_file_system(folder, reason) &&
        fill_folder(options, seal, owner_uid, owner_gid, reason) &&
        (path_sync_parent(folder) || store_refuse(reason, folder, strerror(errno))))
        return true;
    remove_folder(folder);
    return false;
}

/* ---- opening ---- */

/* Before the other databases are opened: another version may have others. Values had no checksum
 * before version 3. */
static bool check_schema(struct store_txn *txn, const char *folder,
                         char reason[static STORE_REASON_SIZE], int64_t *version)
{
    enum store_error error = db_result(
        txn, mdb_dbi_open(lmdb_of(txn)->mdb, "meta", 0, &lmdb_of(txn)->store->dbis[DB_META]));
    if (error == STORE_NOT_FOUND)
        return store_refuse(reason, folder, "is not a store of this program");
    if (error != STORE_OK || meta_get(txn, META_SCHEMA, version) != STORE_OK)
        return store_refuse(reason, folder,
                            "its schema version can't be read: it is damaged or of an old version");
    if (*version >= SCHEMA_VERSION_OLDEST && *version <= SCHEMA_VERSION)
        return true;
    snprintf(reason, STORE_REASON_SIZE,
             "%s: was made by another version: it has schema version %" PRId64
             ", this program knows version %d",
             folder, *version, SCHEMA_VERSION);
    return false;
}

static bool check_secret(struct store_txn *txn, const char *folder, int64_t version,
                         char reason[static STORE_REASON_SIZE])
{
    struct seal_rotation rotation = {.phase = SEAL_SETTLED};
    int64_t cipher;
    struct store *store = &lmdb_of(txn)->store->base;
    struct seal *seal = store->seal;
    if ((version == SCHEMA_VERSION
             ? rotation_get(txn, &rotation)
             : meta_get_bytes(txn, META_CHECK, rotation.check, SEAL_CHECK_LEN)) != STORE_OK ||
        meta_get(txn, META_CIPHER, &cipher) != STORE_OK)
        return store_refuse(
            reason, folder,
            "is damaged: its cipher or check value can't be read; restore a backup");
    const char *wrong = store_follow(store, &rotation);
    if (wrong)
        return store_refuse(reason, folder, wrong);
    if (cipher != SEAL_CIPHER_CHACHA20_POLY1305 && cipher != SEAL_CIPHER_AES256_GCM)
        return store_refuse(reason, folder, "is damaged: its cipher is unknown; restore a backup");
    if (!seal_use_cipher(seal, (enum seal_cipher)cipher))
        return store_refuse(
            reason, folder,
            "its keys are sealed with AES-256-GCM, which this CPU does not support");
    return true;
}

static bool begin_reading(struct lmdb_txn *txn, const char *folder,
                          char reason[static STORE_REASON_SIZE])
{
    int rc = mdb_txn_begin(txn->store->env, NULL, MDB_RDONLY, &txn->mdb);
    /* The first transaction locks a byte of lock.mdb that stands for this process's pid. */
    if (rc == EAGAIN || rc == EACCES)
        return store_refuse(
            reason, folder,
            "another process with the same pid has it open (in another container?): "
            "let the containers share a pid namespace");
    return rc == MDB_SUCCESS || store_refuse(reason, folder, mdb_strerror(rc));
}

/* A commit keeps the database handles; an abort would close them. */
static bool end_reading(struct lmdb_txn *txn, const char *folder,
                        char reason[static STORE_REASON_SIZE])
{
    int rc = mdb_txn_commit(txn->mdb);
    return rc == MDB_SUCCESS || store_refuse(reason, folder, mdb_strerror(rc));
}

static bool upgrade(struct lmdb_store *store, const char *folder,
                    char reason[static STORE_REASON_SIZE])
{
    struct lmdb_txn txn;
    if (store->read_only)
        return store_refuse(reason, folder,
                            "has an older schema version, and is on a read-only file system: copy "
                            "it to where it can be upgraded");
    reason[0] = '\0';
    upgrade_wait(store);
    if (write_begin(store, &txn) == STORE_OK) {
        if (open_databases(&txn.base, MDB_CREATE) == STORE_OK)
            upgrade_store(&txn.base, folder, reason);
        write_end(&txn);
    }
    if (txn.base.error != STORE_OK && reason[0] == '\0')
        store_refuse(reason, folder, store_error_text(txn.base.error));
    return txn.base.error == STORE_OK;
}

static bool check_databases(struct lmdb_store *store, const char *folder,
                            char reason[static STORE_REASON_SIZE])
{
    struct lmdb_txn txn = {.store = store};
    int64_t version = SCHEMA_VERSION;
    if (!begin_reading(&txn, folder, reason))
        return false;
    bool good = check_schema(&txn.base, folder, reason, &version) &&
                check_secret(&txn.base, folder, version, reason);
    if (!end_reading(&txn, folder, reason) || !good ||
        (version < SCHEMA_VERSION && !upgrade(store, folder, reason)) ||
        !begin_reading(&txn, folder, reason))
        return false;
    good =
        open_databases(&txn.base, 0) == STORE_OK ||
        store_refuse(reason, folder, "is damaged: its databases can't be opened; restore a backup");
    if (!end_reading(&txn, folder, reason) || !good || !begin_reading(&txn, folder, reason))
        return false;
    store->first_reader = txn.mdb;
    good = check_secret(&txn.base, folder, SCHEMA_VERSION, reason);
    mdb_txn_reset(txn.mdb);
    return good;
}

static const char no_store[] = STORE_MISSING "; mount or restore it, or run tokenctl init";

/* LMDB opens its files by their names and follows links: a file that another account has planted
 * would be written. Returns what is wrong with a file, or NULL; of a missing lock.mdb nothing. */
static const char *check_file(int folder_fd, const char *name, uid_t owner)
{
    struct stat status;
    bool is_data = name == store_files[0];
    if (fstatat(folder_fd, name, &status, AT_SYMLINK_NOFOLLOW) != 0)
        return errno != ENOENT ? strerror(errno) : is_data ? no_store : NULL;
    if (!S_ISREG(status.st_mode) || status.st_nlink != 1)
        return "is a link or no regular file: not opened";
    if (status.st_uid != owner)
        return "belongs to another account than its folder: not opened";
    if (faccessat(folder_fd, name, R_OK | W_OK, AT_EACCESS) != 0 && errno != EROFS)
        return strerror(errno);
    return is_data && status.st_size < 2 * sysconf(_SC_PAGESIZE) /* LMDB would make a new one */
               ? "is cut short: its first two pages are missing; restore a backup"
               : NULL;
}

static bool check_files(const char *folder, struct stat *status,
                        char reason[static STORE_REASON_SIZE])
{
    char path[PATH_MAX];
    const char *wrong = NULL;
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, status) != 0)
        return store_refuse(reason, folder, errno == ENOENT ? no_store : strerror(errno));
    for (size_t i = 0; !wrong && i < sizeof(store_files) / sizeof(store_files[0]); i++) {
        snprintf(path, sizeof(path), "%s/%s", folder, store_files[i]);
        wrong = check_file(fd, store_files[i], status->st_uid);
    }
    close(fd);
    return wrong ? store_refuse(reason, path, wrong) : check_file_system(folder, reason);
}

bool lmdb_open(const struct store_options *options, struct seal *seal, struct store **out,
               char reason[static STORE_REASON_SIZE])
{
    const char *folder = options->location;
    struct stat status = {.st_uid = 0};
    struct lmdb_store *store = new_store(options, seal, reason);
    if (!store)
        return false;
    bool opened =
        (!options->is_new || fill_folder(options, seal, (unsigned)-1, (unsigned)-1, reason)) &&
        (options->is_copy || check_files(folder, &status, reason)) &&
        open_environment(options, store, reason) && check_databases(store, folder, reason);
    if (opened && geteuid() == 0 && status.st_uid != 0 &&
        !give_files_to(store, status.st_uid, status.st_gid))
        opened = store_refuse(reason, folder, strerror(errno));
    if (opened)
        *out = &store->base;
    else
        lmdb_close(&store->base);
    return opened;
}

/* ---- readers ---- */

enum store_error lmdb_reader_open(struct store *base, struct store_reader **out)
{
    int dead;
    struct lmdb_reader *reader = calloc(1, sizeof(*reader));
    if (!reader)
        return STORE_UNAVAILABLE;
    reader->base.store = base;
    struct lmdb_txn *txn = &reader->txn;
    *txn = (struct lmdb_txn){.base = {.rows = &lmdb_rows, .seal = base->seal},
                             .store = (struct lmdb_store *)base};
    txn->mdb = atomic_exchange(&txn->store->first_reader, NULL);
    int rc = txn->mdb ? MDB_SUCCESS : mdb_txn_begin(txn->store->env, NULL, MDB_RDONLY, &txn->mdb);
    /* The slots of dead processes are freed only where none is left. */
    if (rc == MDB_READERS_FULL && mdb_reader_check(txn->store->env, &dead) == MDB_SUCCESS)
        rc = mdb_txn_begin(txn->store->env, NULL, MDB_RDONLY, &txn->mdb);
    enum store_error error = db_result(&txn->base, rc);
    if (error != STORE_OK) {
        free(reader);
        return error;
    }
    mdb_txn_reset(txn->mdb); /* also if it is */
    *out = &reader->base;
    return STORE_OK;
}

void lmdb_reader_close(struct store_reader *base)
{
    struct lmdb_reader *reader = (struct lmdb_reader *)base;
    mdb_txn_abort(reader->txn.mdb);
    free(reader);
}
