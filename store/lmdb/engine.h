#ifndef STORE_LMDB_ENGINE_H
#define STORE_LMDB_ENGINE_H

#include <pthread.h>
#include <stdatomic.h>

#include <lmdb.h>

#include "store/lmdb/checksum.h"
#include "seal/key_pool.h"
#include "seal/seal.h"
#include "store/store.h"

/* What the files of this room share: the LMDB environment and transactions that
 * survive the map's growth. Results are LMDB's unless the type says otherwise.
 *
 * LMDB's data file is mapped whole. When a write meets the map's end, the writer
 * maps more (engine_grow); other processes then meet MDB_MAP_RESIZED and follow.
 * No transaction of the process may be open meanwhile: each holds map_lock for
 * reading, and remapping takes it for writing. */

enum { DATABASES_MAX = 16 }; /* of other versions too */

struct store {
    MDB_env *env;
    MDB_dbi main; /* the database of databases */
    MDB_dbi meta, users, tokens, ids_by_user, token_by_key, gateways, reservations, repeats;
    const char *names[DATABASES_MAX + 2]; /* by their handles, of which LMDB has two of its own */
    pthread_rwlock_t map_lock;
    _Atomic(const unsigned char *) map; /* the data file; NULL where that is not known */
    size_t page_size;                   /* its, in bytes; after opening it stays */
    /* Before LMDB's own lock, which is a robust mutex in shared memory, each writer takes
     * these: one among the threads of the process, and flocks among processes. glibc's robust mutex
     * can lose a wake-up when a process that waits for it is killed, and then the others wait for
     * ever; so nobody ever waits for it. Of the flocks, the turnstile is held only while waiting
     * for the folder's: who has just written queues behind who waits already. */
    pthread_mutex_t write_lock;
    int fairness_fd; /* of data.mdb */
    int folder_fd;
    atomic_int remapping; /* threads that wait to remap: long readers give way */
    struct seal *secret;
    atomic_bool broken; /* see store_is_broken */
};

/* What has been looked at and need not be again. */
struct engine_whole {
    const unsigned char *leaf; /* of one snapshot */
    /* Users' ids, of any snapshot, each in a place by its root's page: a page that is in use is
     * never changed, and one that is used again will hardly have as many. */
    struct {
        uint64_t root, entries;
    } ids[64];
};

struct store_reader {
    struct store *store;
    MDB_txn *txn; /* reset between operations: an open one would keep pages from reuse */
    MDB_cursor *tokens, *ids_by_user, *users, *gateways;
    struct engine_whole whole;
    struct key_pool *fresh_keys; /* NULL: none asked for yet */
};

/* One transaction of reads. After MDB_SUCCESS the caller ends it. */
int engine_begin_read(struct store_reader *reader);
void engine_end_read(struct store_reader *reader);

/* One transaction of writes; waits for the other processes' writers. After
 * MDB_SUCCESS the caller commits or aborts it, in the same thread. The transaction
 * is gone after either, also where the commit failed. */
int engine_begin_write(struct store *store, MDB_txn **txn);
int engine_commit_write(struct store *store, MDB_txn *txn);
void engine_abort_write(struct store *store, MDB_txn *txn);

/* After MDB_MAP_FULL, with no transaction open in this thread: doubles the map.
 * STORE_FULL where the address space has no room. */
enum store_error engine_grow(struct store *store);

/* After MDB_MAP_RESIZED, with no transaction open in this thread: follows another
 * process that has grown the map. */
int engine_adopt_map(struct store *store);

/* Whether the pages are whole that lead to a key, there or not: see whole_path. Of a
 * transaction of writes, as they were before it. */
bool engine_path_is_whole(const struct store *store, MDB_txn *txn, MDB_dbi dbi, const MDB_val *key);

/* For one who reads key after key: whether the leaf page is whole in which LMDB has found this one.
 * Each is looked at once, before LMDB goes on in it: a damaged one could end the process. One that
 * this transaction has written counts as whole. */
bool engine_leaf_is_whole(const struct store *store, const MDB_val *key,
                          struct engine_whole *whole);

/* Whether the pages of a user's ids are whole, and as many ids in them as is said where LMDB has
 * found the key, in a leaf that is whole. A step for each 500 ids, the first time. */
bool engine_ids_are_whole(const struct store *store, const MDB_val *key,
                          struct engine_whole *whole);

/* Translates LMDB's codes, once for the whole room, and remembers the one that
 * leaves the environment unusable. */
enum store_error engine_error(struct store *store, int rc);

/* Keys. */
enum { ID_KEY_LEN = 8, TOKEN_ID_KEY_LEN = 16, META_VALUE_LEN = 8 + CHECKSUM_LEN };
MDB_val engine_id_key(unsigned char bytes[static ID_KEY_LEN], int64_t id);
MDB_val engine_token_key(unsigned char bytes[static TOKEN_ID_KEY_LEN], int64_t user_id,
                         int64_t token_id);

static inline struct span engine_span(const MDB_val *value)
{
    return (struct span){value->mv_data, value->mv_size};
}

/* Counters in the database "meta": the next id to give out. */
#define META_NEXT_USER_ID        "next_user_id"
#define META_NEXT_TOKEN_ID       "next_token_id"
#define META_NEXT_GATEWAY_ID     "next_gateway_id"
#define META_NEXT_RESERVATION_ID "next_reservation_id"

/* Values of "meta" by name. MDB_CORRUPTED where there is none or its checksum is not right. */
struct checksum_context engine_meta_place(const char *name);
int engine_meta_get(MDB_txn *txn, MDB_dbi meta, const char *name, int64_t *value);
int engine_meta_put(MDB_txn *txn, MDB_dbi meta, const char *name, int64_t value);

/* Takes the next id off a counter. */
int engine_meta_take(MDB_txn *txn, MDB_dbi meta, const char *name, int64_t *id);

#endif
