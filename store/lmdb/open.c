/* Creating, opening and closing a store. */

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <linux/magic.h>
#include <sodium.h>

#include "base/bytes.h"
#include "store/lmdb/engine.h"
#include "store/lmdb/file.h"
#include "store/lmdb/ids.h"

enum {
    SCHEMA_VERSION = 3,
    READERS_MAX = 1024 /* a slot a loop thread, and one a CGI request under way */
};
static const size_t initial_map_size = (size_t)16 << 20;

#define META_SCHEMA "schema"
#define META_CIPHER "cipher"
#define META_CHECK  "secret_check"

static enum store_error refuse(char reason[static STORE_REASON_SIZE], const char *path,
                               const char *why)
{
    snprintf(reason, STORE_REASON_SIZE, "%s: %s", path, why);
    return STORE_REFUSED;
}

/* ---- the file system ---- */

/* LMDB needs memory maps that all processes share and locks in them: no file
 * system over a network or in user space keeps that promise (lmdb.h, "Caveats"). */
static const struct {
    unsigned long magic;
    const char *name;
} unsafe_file_systems[] = {
    {NFS_SUPER_MAGIC, "NFS"},   {FUSE_SUPER_MAGIC, "FUSE"}, {SMB_SUPER_MAGIC, "SMB"},
    {CIFS_SUPER_MAGIC, "CIFS"}, {SMB2_SUPER_MAGIC, "SMB2"}, {V9FS_MAGIC, "9P"},
    {CEPH_SUPER_MAGIC, "Ceph"}, {AFS_SUPER_MAGIC, "AFS"},   {AFS_FS_MAGIC, "AFS"},
    {CODA_SUPER_MAGIC, "Coda"}, {0x786F4256, "vboxsf"},     {0x0BD00BD0, "Lustre"},
};

static enum store_error check_file_system(const char *path, char reason[static STORE_REASON_SIZE])
{
    struct statfs status;
    if (statfs(path, &status) != 0)
        return refuse(reason, path, strerror(errno));
    for (size_t i = 0; i < sizeof(unsafe_file_systems) / sizeof(unsafe_file_systems[0]); i++) {
        if ((unsigned long)status.f_type != unsafe_file_systems[i].magic)
            continue;
        snprintf(reason, STORE_REASON_SIZE,
                 "%s: is on %s, where a memory-mapped store is not safe; use a local file system",
                 path, unsafe_file_systems[i].name);
        return STORE_REFUSED;
    }
    return STORE_OK;
}

/* ---- folders ---- */

/* Makes the missing folders above path. */
static bool make_parents(const char *path)
{
    char parent[PATH_MAX];
    size_t len = strlen(path);
    if (len >= sizeof(parent)) {
        errno = ENAMETOOLONG;
        return false;
    }
    for (size_t i = 1; i < len; i++) {
        if (path[i] != '/')
            continue;
        memcpy(parent, path, i);
        parent[i] = '\0';
        if (mkdir(parent, 0755) != 0 && errno != EEXIST)
            return false;
    }
    return true;
}

/* Makes a new name in the folder of path durable. */
static bool sync_parent(const char *path)
{
    char parent[PATH_MAX];
    snprintf(parent, sizeof(parent), "%s", path);
    char *slash = strrchr(parent, '/');
    if (slash == parent)
        slash++;
    if (slash)
        *slash = '\0';
    int fd = open(slash ? parent : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool synced = fsync(fd) == 0;
    return close(fd) == 0 && synced;
}

static bool path_exists(const char *path)
{
    struct stat status;
    return lstat(path, &status) == 0;
}

static bool file_in_store(const char *store_path, const char *name, char file[static PATH_MAX])
{
    int len = snprintf(file, PATH_MAX, "%s/%s", store_path, name);
    return len > 0 && len < PATH_MAX;
}

static const char *const store_files[] = {"data.mdb", "lock.mdb"};

/* Root's commands must leave no file behind that the folder's owner can't use. */
static bool give_to(const char *store_path, uid_t owner, gid_t group)
{
    for (size_t i = 0; i < sizeof(store_files) / sizeof(store_files[0]); i++) {
        char file[PATH_MAX];
        if (!file_in_store(store_path, store_files[i], file) || lchown(file, owner, group) != 0)
            return false;
    }
    return true;
}

/* ---- the environment ---- */

static enum store_error open_environment(const struct store_options *options, struct store *store,
                                         char reason[static STORE_REASON_SIZE])
{
    store->folder_fd = open(options->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (store->folder_fd < 0)
        return refuse(reason, options->path, strerror(errno));
    int rc = mdb_env_create(&store->env);
    if (rc == MDB_SUCCESS)
        rc = mdb_env_set_maxdbs(store->env, DATABASES_MAX);
    if (rc == MDB_SUCCESS)
        rc = mdb_env_set_maxreaders(store->env, READERS_MAX);
    if (rc == MDB_SUCCESS && options->map_size > 0)
        rc = mdb_env_set_mapsize(store->env, options->map_size);
    if (rc == MDB_SUCCESS)
        rc = mdb_env_open(store->env, options->path, MDB_NOTLS, 0600);
    MDB_stat stat;
    if (rc == MDB_SUCCESS)
        rc = mdb_env_stat(store->env, &stat);
    if (rc == MDB_SUCCESS)
        store->page_size = stat.ms_psize;
    char data[PATH_MAX];
    if (rc == MDB_SUCCESS && file_in_store(options->path, "data.mdb", data))
        store->fairness_fd = open(data, O_RDONLY | O_CLOEXEC);
    if (rc == MDB_SUCCESS && store->fairness_fd < 0)
        rc = errno;
    int dead;
    if (rc == MDB_SUCCESS)
        rc = mdb_reader_check(store->env, &dead);
    return rc == MDB_SUCCESS ? STORE_OK : refuse(reason, options->path, mdb_strerror(rc));
}

static int open_database(struct store *store, MDB_txn *txn, const char *name, unsigned flags,
                         MDB_dbi *dbi)
{
    int rc = mdb_dbi_open(txn, name, flags, dbi);
    if (rc == MDB_SUCCESS)
        store->names[*dbi] = name;
    return rc;
}

static int open_databases(struct store *store, MDB_txn *txn, unsigned flags)
{
    const struct {
        const char *name;
        MDB_dbi *dbi;
        unsigned flags;
    } databases[] = {
        {NULL, &store->main, 0},
        {"meta", &store->meta, flags},
        {"users", &store->users, flags},
        {"tokens", &store->tokens, flags},
        {"ids_by_user", &store->ids_by_user, flags | ids_database_flags},
        {"token_by_key", &store->token_by_key, flags},
        {"gateways", &store->gateways, flags},
        {"reservations", &store->reservations, flags},
        {"repeats", &store->repeats, flags},
    };
    int rc = MDB_SUCCESS;
    for (size_t i = 0; rc == MDB_SUCCESS && i < sizeof(databases) / sizeof(databases[0]); i++)
        rc = open_database(store, txn, databases[i].name, databases[i].flags, databases[i].dbi);
    return rc;
}

static struct store *store_new(void)
{
    struct store *store = calloc(1, sizeof(*store));
    if (!store)
        return NULL;
    /* Readers who come without pause must not keep a thread from remapping. None takes it twice. */
    pthread_rwlockattr_t writers_first;
    pthread_rwlockattr_init(&writers_first);
    pthread_rwlockattr_setkind_np(&writers_first, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&store->map_lock, &writers_first); /* no error is possible so far */
    pthread_rwlockattr_destroy(&writers_first);
    pthread_mutex_init(&store->write_lock, NULL);
    store->folder_fd = store->fairness_fd = -1;
    return store;
}

void store_close(struct store *store)
{
    if (!store)
        return;
    if (store->env)
        mdb_env_close(store->env);
    seal_close(store->secret);
    pthread_rwlock_destroy(&store->map_lock);
    pthread_mutex_destroy(&store->write_lock);
    if (store->folder_fd >= 0)
        close(store->folder_fd);
    if (store->fairness_fd >= 0)
        close(store->fairness_fd);
    free(store);
}

/* ---- creating ---- */

static int put_check(struct store *store, MDB_txn *txn)
{
    unsigned char check[SEAL_CHECK_LEN + CHECKSUM_LEN];
    seal_check_value(store->secret, check);
    checksum_put(engine_meta_place(META_CHECK), check, SEAL_CHECK_LEN);
    char name[] = META_CHECK;
    MDB_val key = {strlen(name), name}, value = {sizeof(check), check};
    return mdb_put(txn, store->meta, &key, &value, 0);
}

static int put_first_ids(struct store *store, MDB_txn *txn)
{
    static const char *const counters[] = {META_NEXT_USER_ID, META_NEXT_TOKEN_ID,
                                           META_NEXT_GATEWAY_ID, META_NEXT_RESERVATION_ID};
    int rc = MDB_SUCCESS;
    for (size_t i = 0; rc == MDB_SUCCESS && i < sizeof(counters) / sizeof(counters[0]); i++)
        rc = engine_meta_put(txn, store->meta, counters[i], 1);
    return rc;
}

static int write_first_records(struct store *store, enum seal_cipher cipher)
{
    MDB_txn *txn;
    int rc = engine_begin_write(store, &txn);
    if (rc != MDB_SUCCESS)
        return rc;
    rc = open_databases(store, txn, MDB_CREATE);
    if (rc == MDB_SUCCESS)
        rc = engine_meta_put(txn, store->meta, META_SCHEMA, SCHEMA_VERSION);
    if (rc == MDB_SUCCESS)
        rc = engine_meta_put(txn, store->meta, META_CIPHER, cipher);
    if (rc == MDB_SUCCESS)
        rc = put_first_ids(store, txn);
    if (rc == MDB_SUCCESS)
        rc = put_check(store, txn);
    if (rc == MDB_SUCCESS)
        return engine_commit_write(store, txn);
    engine_abort_write(store, txn);
    return rc;
}

/* In the folder and with the secret that exist already. */
static enum store_error fill_folder(const struct store_options *options,
                                    char reason[static STORE_REASON_SIZE])
{
    struct store_options sized = *options;
    if (sized.map_size == 0)
        sized.map_size = initial_map_size;
    struct store *store = store_new();
    if (!store)
        return refuse(reason, options->path, strerror(ENOMEM));
    enum store_error error = seal_open(options->secret_path, &store->secret, reason);
    if (error == STORE_OK)
        error = open_environment(&sized, store, reason);
    if (error == STORE_OK) {
        enum seal_cipher cipher =
            options->cipher == SEAL_CIPHER_BEST ? seal_best_cipher() : options->cipher;
        int rc = write_first_records(store, cipher);
        if (rc != MDB_SUCCESS)
            error = refuse(reason, options->path, mdb_strerror(rc));
    }
    store_close(store);
    return error;
}

static void remove_folder(const char *store_path)
{
    for (size_t i = 0; i < sizeof(store_files) / sizeof(store_files[0]); i++) {
        char file[PATH_MAX];
        if (file_in_store(store_path, store_files[i], file))
            unlink(file);
    }
    rmdir(store_path);
}

static enum store_error make_folder(const struct store_options *options, unsigned owner_uid,
                                    unsigned owner_gid, char reason[static STORE_REASON_SIZE])
{
    if (!make_parents(options->path) || mkdir(options->path, 0700) != 0)
        return refuse(reason, options->path, strerror(errno));
    enum store_error error = check_file_system(options->path, reason);
    if (error == STORE_OK)
        error = fill_folder(options, reason);
    if (error == STORE_OK && geteuid() == 0 && owner_uid != (uid_t)-1 &&
        (!give_to(options->path, owner_uid, owner_gid) ||
         lchown(options->path, owner_uid, owner_gid) != 0 ||
         lchown(options->secret_path, owner_uid, owner_gid) != 0))
        error = refuse(reason, options->path, strerror(errno));
    if (error == STORE_OK && (!sync_parent(options->path) || !sync_parent(options->secret_path)))
        error = refuse(reason, options->path, strerror(errno));
    if (error != STORE_OK)
        remove_folder(options->path);
    return error;
}

enum store_error store_create(const struct store_options *options, unsigned owner_uid,
                              unsigned owner_gid, char reason[static STORE_REASON_SIZE])
{
    if (sodium_init() < 0)
        return refuse(reason, "libsodium", "could not be initialized");
    if (path_exists(options->path))
        return refuse(reason, options->path, "exists already");
    if (!make_parents(options->secret_path))
        return refuse(reason, options->secret_path, strerror(errno));
    enum store_error error = seal_create_file(options->secret_path, reason);
    if (error != STORE_OK)
        return error;
    error = make_folder(options, owner_uid, owner_gid, reason);
    if (error != STORE_OK)
        unlink(options->secret_path);
    return error;
}

/* ---- opening ---- */

/* The schema's version; values had no checksum before version 3. */
static int get_schema(const struct store *store, MDB_txn *txn, int64_t *schema)
{
    char name[] = META_SCHEMA;
    MDB_val key = {strlen(name), name}, value;
    int rc = mdb_get(txn, store->meta, &key, &value);
    if (rc != MDB_SUCCESS || value.mv_size != 8)
        return rc == MDB_SUCCESS ? engine_meta_get(txn, store->meta, META_SCHEMA, schema) : rc;
    *schema = get_little64(value.mv_data);
    return *schema < SCHEMA_VERSION ? MDB_SUCCESS : MDB_CORRUPTED;
}

/* Before the other databases are opened: another version may have others. */
static enum store_error check_schema(const struct store_options *options, struct store *store,
                                     MDB_txn *txn, char reason[static STORE_REASON_SIZE])
{
    int64_t schema;
    int rc = mdb_dbi_open(txn, "meta", 0, &store->meta);
    if (rc == MDB_SUCCESS)
        rc = get_schema(store, txn, &schema);
    if (rc != MDB_SUCCESS)
        return refuse(reason, options->path,
                      rc == MDB_NOTFOUND ? "is not a store of this program"
                                         : "is damaged: its schema version can't be read");
    if (schema == SCHEMA_VERSION)
        return STORE_OK;
    snprintf(reason, STORE_REASON_SIZE,
             "%s: was made by another version: it has schema version %lld, this program knows "
             "version %d",
             options->path, (long long)schema, SCHEMA_VERSION);
    return STORE_REFUSED;
}

static enum store_error check_cipher(const struct store_options *options, struct store *store,
                                     MDB_txn *txn, char reason[static STORE_REASON_SIZE])
{
    int64_t cipher;
    int rc = engine_meta_get(txn, store->meta, META_CIPHER, &cipher);
    if (rc == MDB_SUCCESS && cipher != SEAL_CIPHER_CHACHA20_POLY1305 &&
        cipher != SEAL_CIPHER_AES256_GCM)
        rc = MDB_CORRUPTED;
    if (rc != MDB_SUCCESS)
        return refuse(reason, options->path,
                      rc == MDB_CORRUPTED ? "is damaged: its cipher can't be read"
                                          : mdb_strerror(rc));
    if (!seal_use_cipher(store->secret, (enum seal_cipher)cipher))
        return refuse(reason, options->path,
                      "its keys are sealed with AES-256-GCM, which this processor has not got");
    return STORE_OK;
}

static enum store_error check_secret(const struct store_options *options, struct store *store,
                                     MDB_txn *txn, char reason[static STORE_REASON_SIZE])
{
    unsigned char check[SEAL_CHECK_LEN];
    seal_check_value(store->secret, check);
    char name[] = META_CHECK;
    MDB_val key = {strlen(name), name}, value;
    int rc = mdb_get(txn, store->meta, &key, &value);
    if (rc != MDB_SUCCESS && rc != MDB_NOTFOUND)
        return refuse(reason, options->path, mdb_strerror(rc));
    struct span rest = rc == MDB_SUCCESS ? engine_span(&value) : SPAN("");
    if (!checksum_take(engine_meta_place(META_CHECK), &rest) || rest.len != sizeof(check))
        return refuse(reason, options->path,
                      "is damaged: what tells its secret from others can't be read");
    if (sodium_memcmp(rest.at, check, sizeof(check)) != 0)
        return refuse(reason, options->secret_path, "is not the secret of this store");
    return STORE_OK;
}

static int begin_first_read(struct store *store, MDB_txn **txn)
{
    int rc;
    while ((rc = mdb_txn_begin(store->env, NULL, MDB_RDONLY, txn)) == MDB_MAP_RESIZED) {
        rc = mdb_env_set_mapsize(store->env, 0); /* grown since the line that opened it */
        if (rc != MDB_SUCCESS)
            break;
    }
    return rc;
}

/* A transaction whose snapshot is whole, as far as opening depends on it. */
static enum store_error begin_checked(const struct store_options *options, struct store *store,
                                      MDB_txn **txn, char reason[static STORE_REASON_SIZE])
{
    const char *wrong = NULL;
    int rc = EAGAIN;
    for (int attempt = 0; rc == EAGAIN && attempt < 100; attempt++) {
        rc = begin_first_read(store, txn);
        if (rc != MDB_SUCCESS)
            return refuse(reason, options->path, mdb_strerror(rc));
        rc = file_check_snapshot(store->env, *txn, &wrong);
        if (rc != MDB_SUCCESS || wrong)
            mdb_txn_abort(*txn);
    }
    if (rc == MDB_SUCCESS && !wrong)
        return STORE_OK;
    char data[PATH_MAX];
    file_in_store(options->path, "data.mdb", data);
    return refuse(reason, data, wrong ? wrong : mdb_strerror(rc));
}

static enum store_error open_and_check_databases(const struct store_options *options,
                                                 struct store *store,
                                                 char reason[static STORE_REASON_SIZE])
{
    MDB_txn *txn;
    int rc;
    enum store_error error = begin_checked(options, store, &txn, reason);
    if (error != STORE_OK)
        return error;
    error = check_schema(options, store, txn, reason);
    if (error == STORE_OK && (rc = open_databases(store, txn, 0)) != MDB_SUCCESS)
        error = refuse(reason, options->path, mdb_strerror(rc));
    if (error == STORE_OK)
        error = check_secret(options, store, txn, reason);
    if (error == STORE_OK)
        error = check_cipher(options, store, txn, reason);
    rc = mdb_txn_commit(txn); /* keeps the database handles, an abort would close them */
    if (error == STORE_OK && rc != MDB_SUCCESS)
        error = refuse(reason, options->path, mdb_strerror(rc));
    return error;
}

static enum store_error check_folder(const char *path, struct stat *folder,
                                     char reason[static STORE_REASON_SIZE])
{
    char data[PATH_MAX];
    if (stat(path, folder) != 0)
        return refuse(reason, path,
                      errno == ENOENT ? "there is no store; run tokenctl init" : strerror(errno));
    if (!file_in_store(path, "data.mdb", data))
        return refuse(reason, path, strerror(ENAMETOOLONG));
    /* LMDB would make an empty environment where there is none, or an empty file */
    int fd = open(data, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return refuse(reason, data,
                      errno == ENOENT ? "there is no store; run tokenctl init" : strerror(errno));
    const char *wrong = file_check_head(fd);
    close(fd);
    return wrong ? refuse(reason, data, wrong) : check_file_system(path, reason);
}

enum store_error store_open(const struct store_options *options, struct store **out,
                            char reason[static STORE_REASON_SIZE])
{
    *out = NULL;
    if (sodium_init() < 0)
        return refuse(reason, "libsodium", "could not be initialized");
    struct stat folder;
    enum store_error error = check_folder(options->path, &folder, reason);
    if (error != STORE_OK)
        return error;
    struct store *store = store_new();
    if (!store)
        return refuse(reason, options->path, strerror(ENOMEM));
    error = seal_open(options->secret_path, &store->secret, reason);
    if (error == STORE_OK)
        error = open_environment(options, store, reason);
    if (error == STORE_OK)
        error = open_and_check_databases(options, store, reason);
    if (error == STORE_OK && geteuid() == 0 && folder.st_uid != 0 &&
        !give_to(options->path, folder.st_uid, folder.st_gid))
        error = refuse(reason, options->path, strerror(errno));
    if (error == STORE_OK)
        *out = store;
    else
        store_close(store);
    return error;
}
