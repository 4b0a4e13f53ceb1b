#ifndef STORE_LMDB_WRITER_H
#define STORE_LMDB_WRITER_H

#include "store/lmdb/engine.h"
#include "store/lmdb/record.h"

/* A write transaction under way. Whoever works in it checks everything before it
 * changes anything, so that a refused operation leaves nothing behind in a
 * transaction that it shares with others. Results are LMDB's; any but MDB_SUCCESS ends
 * the whole transaction. */
struct writer {
    struct store *store;
    MDB_txn *txn;
    MDB_cursor *ids_by_user;
    struct engine_whole whole; /* of what was there before */
    int64_t next_token_id;     /* 0: not read yet */
    unsigned char record[RECORD_TOKEN_LEN_MAX];
};

/* One transaction: begins it, calls work, which does everything by the writer and may
 * be called again where the map had to grow, and commits. */
typedef int writer_work(struct writer *writer, void *context);
enum store_error writer_run(struct store *store, writer_work *work, void *context);

/* A user that has not been deleted; MDB_NOTFOUND. The spans are valid until the
 * transaction's next change. */
int writer_get_user(struct writer *writer, int64_t user_id, struct record_user *user);

#endif
