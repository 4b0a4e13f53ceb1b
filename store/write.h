#ifndef STORE_WRITE_H
#define STORE_WRITE_H

#include "store/engine.h"
#include "store/record.h"

/* A write transaction under way. An operation checks everything before it changes
 * anything, so that one that is refused leaves nothing behind in a transaction it
 * shares with others. Results of LMDB's own are returned at once and end the whole
 * transaction; a refusal is put into the write's error. */
struct writer {
    struct store *store;
    MDB_txn *txn;
    MDB_cursor *ids_by_user;
    int64_t next_token_id; /* 0: not read yet */
    unsigned char record[RECORD_TOKEN_LEN_MAX];
};

int writer_create_tokens(struct writer *writer, struct store_write *write);
int writer_update_token(struct writer *writer, struct store_write *write);
int writer_delete_tokens(struct writer *writer, struct store_write *write);

/* Deletes one token with its index entries. MDB_NOTFOUND where there is none. */
int writer_delete_token(struct writer *writer, int64_t user_id, int64_t token_id);

/* A user that has not been deleted; MDB_NOTFOUND. The spans are valid until the
 * transaction's next change. */
int writer_get_user(struct writer *writer, int64_t user_id, struct record_user *user);

/* One transaction: begins it, calls work, which does everything by the writer and may
 * be called again where the map had to grow, and commits. work's result other than
 * MDB_SUCCESS aborts. */
typedef int writer_work(struct writer *writer, void *context);
enum store_error writer_run(struct store *store, writer_work *work, void *context);

#endif
