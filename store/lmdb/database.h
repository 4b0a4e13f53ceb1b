#pragma once

#include <limits.h>
#include <pthread.h>
#include <sys/types.h>

#include <lmdb.h>

#include "base/bytes.h"
#include "store/engine.h"
#include "store/lmdb/checksum.h"
#include "store/txn.h"

/* Transactions, and the databases in them. LMDB's codes are translated here and nowhere else. */

static inline struct span span_of_bytes(const void *bytes, size_t len)
{
    return (struct span){bytes, len};
}

enum { IDS_DATABASE_FLAGS = MDB_DUPSORT | MDB_DUPFIXED | MDB_INTEGERDUP };

/* Columns: constant, name, flags to create and open it with. */
/* clang-format off */
#define DATABASES(DATABASE)                                                                        \
    DATABASE(META, "meta", 0) /* counters, schema version, cipher, the check value, by name */     \
    DATABASE(USERS, "users", 0) /* by id */                                                        \
    DATABASE(USER_INDEX, "user_index", 0) /* lookup.c */                                           \
    DATABASE(TOKENS, "tokens", 0) /* by user id and token id */                                    \
    DATABASE(IDS_BY_USER, "ids_by_user", IDS_DATABASE_FLAGS) /* ids.h */                           \
    DATABASE(TOKEN_BY_KEY, "token_by_key", 0) /* by the key's hash */                              \
    DATABASE(GATEWAYS, "gateways", 0) /* by id */                                                  \
    DATABASE(RESERVATIONS, "reservations", 0) /* by id */                                          \
    DATABASE(RESERVATIONS_BY_USER, "reservations_by_user", IDS_DATABASE_FLAGS) /* ids.h */         \
    DATABASE(RESERVATIONS_BY_TOKEN, "reservations_by_token", 0) /* those that have not ended, by   \
                                                          token id, store's time when due, id */   \
    DATABASE(ANSWERS, "answers", 0) /* answers.c */                                                \
    DATABASE(ANSWERS_BY_USER, "answers_by_user", 0)                                                \
    DATABASE(GROUPS, "groups", 0) /* by name */                                                    \
    DATABASE(GRANTS, "grants", 0) /* by user id and group */                                       \
    DATABASE(MODELS, "models", 0) /* by name */                                                    \
    DATABASE(USAGE, "usage", 0) /* by user id, token id, day */                                    \
    DATABASE(AUDIT, "audit", 0) /* by id: audit.c */                                               \
    DATABASE(AUDIT_BY_USER, "audit_by_user", IDS_DATABASE_FLAGS) /* ids.h */                       \
    DATABASE(AUDIT_RECENT, NULL, 0) /* by id; in the database of databases: audit.c */
/* clang-format on */

#define DATABASE_CONSTANT(constant, ...) DB_##constant,
enum database {
    DATABASES(DATABASE_CONSTANT) DATABASE_COUNT,
    DB_FREE_LIST = DATABASE_COUNT /* LMDB's own, whose handle is always 0: see check.c */
};

enum { CLOCK_BOOT_ID_LEN = 36 };

/* A slot for each loop and search thread, and for each CGI request. */
enum { READERS_MAX = 1024 };
struct lmdb_pids {
    size_t count;
    pid_t at[READERS_MAX];
};

struct lmdb_store {
    struct store base; /* first: a pointer to it is one to this */
    MDB_env *env;
    MDB_dbi dbis[DATABASE_COUNT + 1];
    /* Writers, in this order: the threads of this process by a mutex, processes by flock(2) on the
     * data file, held only while waiting, and on the folder. Only then is LMDB's own lock taken, a
     * robust mutex: glibc can lose its wake-up when a waiting process is killed, so none waits for
     * it. The first flock is for fairness: a process that has just written queues behind those that
     * wait. */
    pthread_mutex_t write_lock;
    int fairness_fd, folder_fd, data_fd; /* data_fd is LMDB's */
    /* The data file's name and identity: see transaction.c. */
    char data_path[PATH_MAX];
    dev_t data_dev;
    ino_t data_ino;
    size_t page_size; /* bytes */
    bool read_only;
    bool is_new; /* see struct store_options */
    unsigned char boot_id[CLOCK_BOOT_ID_LEN];
    int64_t purged_user_id; /* where the purge of idempotency records goes on */
    /* The first reader's transaction: the process is among the readers from when the state of the
     * secret's rotation is read. NULL once that reader has it. */
    _Atomic(MDB_txn *) first_reader;
    struct lmdb_pids old; /* those that had the store open at a generation of the rotation */
    int64_t old_generation;
};

/* A transaction. After its first failure each operation in it does nothing and returns that, so
 * that several puts need one check. */
struct lmdb_txn {
    struct store_txn base; /* first */
    struct lmdb_store *store;
    MDB_txn *mdb;
    int64_t now_s, now_ns;               /* the store's time (clock.h); 0: not read yet */
    int64_t now_unix_s;                  /* the write's */
    int64_t stored_ids[STORE_IDS_COUNT]; /* the next ids, without those taken; 0: not read yet */
    int64_t ended_id;                    /* the reservation that get_places has found */
    int64_t owner_id; /* of a read: whose group is kept in owner_group; 0: none */
    struct span owner_group;
    size_t taken; /* bytes that its writes take, about: see txn_take_room */
    size_t room;  /* and that all of them may take */
};

static inline struct lmdb_txn *lmdb_of(struct store_txn *txn)
{
    return (struct lmdb_txn *)txn;
}

/* One reader's transaction; reset between operations, as an open one keeps pages from reuse. */
struct lmdb_reader {
    struct store_reader base; /* first */
    struct lmdb_txn txn;
};

/* Begins a transaction of reads, on the reader's snapshot of now. Never NULL: if it could not be
 * begun, its error says why, and operations in it return that. The caller ends it in any case. */
struct store_txn *read_begin(struct store_reader *reader);
void read_end(struct store_txn *txn);

/* Whether the data file is still the one under its name: writes to a file that was removed or
 * replaced would be acknowledged and lost. */
bool data_is_in_place(const struct lmdb_store *store);

/* Begins the transaction of writes; waits for the writers before. Returns its error; after STORE_OK
 * the caller ends it, in the same thread. */
enum store_error write_begin(struct lmdb_store *store, struct lmdb_txn *txn);

/* Commits it durably or, if the transaction has an error, aborts it. Returns the error. */
enum store_error write_end(struct lmdb_txn *txn);

/* Whether a write may take need more bytes: the disk and the map have them beside a reserve, which
 * is for writes that free some. */
bool txn_take_room(struct store_txn *txn, size_t need);

/* The room that the next write should find: many tokens' with long texts, less in a small map. */
size_t room_of_next(const struct lmdb_store *store);

/* Whether txn_take_room will find that, for all that can be known without writing. Waits for no
 * writer. */
bool has_room(const struct lmdb_store *store);

/* LMDB reads keys and values only; its struct has no const. */
static inline MDB_val db_val(struct span span)
{
    return (MDB_val){span.len, (void *)(uintptr_t)span.at};
}

/* Translates LMDB's code: STORE_OK, STORE_NOT_FOUND or a failure, which the transaction keeps. */
enum store_error db_result(struct store_txn *txn, int rc);

/* Notes damage that was found in this transaction; returns STORE_CORRUPT. */
enum store_error db_corrupt(struct store_txn *txn);

/* For what must be there: makes STORE_NOT_FOUND damage. Returns the error. */
enum store_error db_expect(struct store_txn *txn, enum store_error error);

/* The value of a key; it lies in LMDB's pages and is valid until the transaction's next change or
 * its end. STORE_NOT_FOUND. */
enum store_error db_get(struct store_txn *txn, enum database database, struct span key,
                        struct span *value);

/* Stores a value.
 *   flags   of mdb_put; with MDB_NOOVERWRITE or MDB_APPENDDUP STORE_CORRUPT if the key exists or
 *           the value is out of order */
enum store_error db_put(struct store_txn *txn, enum database database, struct span key,
                        struct span value, unsigned flags);

/* Stores a value of len bytes, in place of the one before, which the caller writes to the place
 * that is returned, before the next change. NULL after a failure. */
unsigned char *db_reserve(struct store_txn *txn, enum database database, struct span key,
                          size_t len);

/* STORE_NOT_FOUND if there is none. */
enum store_error db_delete(struct store_txn *txn, enum database database, struct span key);

/* Deletes all entries whose keys begin with a prefix. Keys have up to DB_KEY_LEN_MAX bytes, as
 * LMDB's default is. */
enum { DB_KEY_LEN_MAX = 511 };
void db_delete_all(struct store_txn *txn, enum database database, struct span prefix);

/* The number of entries; 0 after a failure. */
uint64_t db_count(struct store_txn *txn, enum database database);

/* A cursor; the caller closes it with mdb_cursor_close before the transaction ends. NULL, with the
 * transaction's error set, if it can't be opened. */
MDB_cursor *db_cursor_open(struct store_txn *txn, enum database database);

/* mdb_cursor_get. *key is read by the operations that search (MDB_SET_RANGE …). STORE_NOT_FOUND. */
enum store_error db_cursor_get(struct store_txn *txn, MDB_cursor *cursor, struct span *key,
                               struct span *value, MDB_cursor_op op);

/* One cursor operation, as db_cursor_get with a cursor of its own. */
enum store_error db_seek(struct store_txn *txn, enum database database, struct span *key,
                         struct span *value, MDB_cursor_op op);

/* Keys: big-endian ids, which sort as numbers (they are never negative). The span's bytes live as
 * long as the block around it. */
enum { ID_KEY_LEN = 8, TOKEN_KEY_ID_LEN = 16, THREE_IDS_KEY_LEN = 24 };
#define ID_KEY(id) span_of_bytes((uint64_t[]){htobe64((uint64_t)(id))}, ID_KEY_LEN)
#define TOKEN_ID_KEY(user_id, token_id)                                                            \
    span_of_bytes((uint64_t[]){htobe64((uint64_t)(user_id)), htobe64((uint64_t)(token_id))},       \
                  TOKEN_KEY_ID_LEN)

#define THREE_IDS_KEY(a, b, c)                                                                     \
    span_of_bytes(                                                                                 \
        (uint64_t[]){htobe64((uint64_t)(a)), htobe64((uint64_t)(b)), htobe64((uint64_t)(c))},      \
        THREE_IDS_KEY_LEN)

/* Numbers in DB_META. STORE_CORRUPT if there is none. */
#define META_SCHEMA              "schema"
#define META_CIPHER              "cipher"
#define META_CHECK               "secret_check"
#define META_ROTATION            "rotation"
#define META_TIME                "time"
#define META_FOREIGN_KEYS        "foreign_keys"   /* 1: some tokens have, or had, foreign keys */
#define META_GROUPS              "groups_checked" /* 1: if there are groups, they are */
#define META_NEXT_USER_ID        "next_user_id"
#define META_NEXT_TOKEN_ID       "next_token_id"
#define META_NEXT_GATEWAY_ID     "next_gateway_id"
#define META_NEXT_RESERVATION_ID "next_reservation_id"
extern const char *const meta_counters[STORE_IDS_COUNT]; /* the last four, in this order */
enum store_error meta_get(struct store_txn *txn, const char *name, int64_t *value);
enum store_error meta_put(struct store_txn *txn, const char *name, int64_t value);

/* Other values, of up to META_LEN_MAX bytes; the numbers are stored so too. */
enum { META_LEN_MAX = 64 };
enum store_error meta_get_bytes(struct store_txn *txn, const char *name, unsigned char *bytes,
                                size_t len);
enum store_error meta_put_bytes(struct store_txn *txn, const char *name, const unsigned char *bytes,
                                size_t len);
