#include "store/lmdb/ids.h"

/* MDB_INTEGERDUP compares values as size_t in the machine's own order. */
_Static_assert(sizeof(int64_t) == sizeof(size_t), "a 64-bit machine is needed");

static int64_t id_in_page(struct span page, uint64_t index)
{
    int64_t id;
    memcpy(&id, page.at + index * sizeof(id), sizeof(id));
    return id;
}

/* Counts, and leaves the cursor on the smallest id, which is in *value. */
static enum store_error count_at(struct store_txn *txn, MDB_cursor *cursor, struct span key,
                                 struct span *value, uint64_t *count)
{
    size_t duplicates;
    *count = 0;
    *value = (struct span){NULL, 0};
    enum store_error error = db_cursor_get(txn, cursor, &key, value, MDB_SET);
    if (error == STORE_OK)
        error = db_result(txn, mdb_cursor_count(cursor, &duplicates));
    if (error == STORE_OK)
        *count = duplicates;
    return error;
}

/* MDB_GET_MULTIPLE returns the page that the cursor is on. But after MDB_LAST_DUP it succeeds
 * without a value, as the cursor counts as past the end: the last id is searched for first. */
static enum store_error get_last_page(struct store_txn *txn, MDB_cursor *cursor, struct span key,
                                      struct span *page)
{
    int64_t id;
    enum store_error error = db_cursor_get(txn, cursor, &key, page, MDB_LAST_DUP);
    if (error != STORE_OK)
        return error;
    id = id_in_page(*page, 0);
    *page = span_of_bytes(&id, sizeof(id));
    error = db_cursor_get(txn, cursor, &key, page, MDB_GET_BOTH);
    return error == STORE_OK ? db_cursor_get(txn, cursor, &key, page, MDB_GET_MULTIPLE) : error;
}

/* The id at a distance from the smallest one (or from the greatest). */
static enum store_error step_to(struct store_txn *txn, MDB_cursor *cursor, struct span key,
                                bool from_greatest, uint64_t distance, int64_t *id)
{
    struct span page = {NULL, 0};
    enum store_error error = from_greatest
                                 ? get_last_page(txn, cursor, key, &page)
                                 : db_cursor_get(txn, cursor, &key, &page, MDB_GET_MULTIPLE);
    while (error == STORE_OK && distance >= page.len / sizeof(*id)) {
        distance -= page.len / sizeof(*id);
        error = db_cursor_get(txn, cursor, &key, &page,
                              from_greatest ? MDB_PREV_MULTIPLE : MDB_NEXT_MULTIPLE);
    }
    if (error == STORE_OK)
        *id = id_in_page(page, from_greatest ? page.len / sizeof(*id) - 1 - distance : distance);
    return db_expect(txn, error);
}

enum store_error ids_find(struct store_txn *txn, enum database index, int64_t user_id,
                          uint64_t rank, uint64_t *count, int64_t *id)
{
    struct span key = ID_KEY(user_id), value;
    MDB_cursor *cursor = db_cursor_open(txn, index);
    if (!cursor)
        return txn->error;
    enum store_error error = count_at(txn, cursor, key, &value, count);
    if (error == STORE_OK && rank >= *count)
        error = STORE_NOT_FOUND;
    if (error == STORE_OK && *count == 1) /* not in a page of its own */
        *id = id_in_page(value, 0);
    else if (error == STORE_OK)
        error = rank < *count / 2 ? step_to(txn, cursor, key, true, rank, id)
                                  : step_to(txn, cursor, key, false, *count - 1 - rank, id);
    mdb_cursor_close(cursor);
    return error;
}

enum store_error ids_count(struct store_txn *txn, enum database index, int64_t user_id,
                           uint64_t *count)
{
    int64_t none;
    enum store_error error = ids_find(txn, index, user_id, UINT64_MAX, count, &none);
    return error == STORE_NOT_FOUND ? STORE_OK : error;
}

enum store_error ids_before(struct store_txn *txn, enum database index, int64_t user_id,
                            int64_t *id)
{
    struct span key = ID_KEY(user_id), value = span_of_bytes(id, sizeof(*id));
    MDB_cursor *cursor = db_cursor_open(txn, index);
    if (!cursor)
        return txn->error;
    enum store_error error = db_cursor_get(txn, cursor, &key, &value, MDB_GET_BOTH_RANGE);
    if (error == STORE_OK)
        error = db_cursor_get(txn, cursor, &key, &value, MDB_PREV_DUP);
    else if (error == STORE_NOT_FOUND && /* all are below */
             (error = db_cursor_get(txn, cursor, &key, &value, MDB_SET)) == STORE_OK)
        error = db_cursor_get(txn, cursor, &key, &value, MDB_LAST_DUP);
    if (error == STORE_OK)
        *id = id_in_page(value, 0);
    mdb_cursor_close(cursor);
    return error;
}

enum store_error ids_check(struct store_txn *txn, enum database index, int64_t user_id, int64_t id)
{
    struct span key = ID_KEY(user_id), value = span_of_bytes(&id, sizeof(id));
    return db_seek(txn, index, &key, &value, MDB_GET_BOTH);
}

enum store_error ids_put(struct store_txn *txn, enum database index, int64_t user_id, int64_t id)
{
    return db_put(txn, index, ID_KEY(user_id), span_of_bytes(&id, sizeof(id)), 0);
}

/* MDB_APPENDDUP fills pages completely; a plain put would split them in halves. By key and value,
 * as mdb_cursor_del has open bugs in MDB_DUPSORT databases. */
enum store_error ids_append(struct store_txn *txn, enum database index, int64_t user_id, int64_t id)
{
    return db_put(txn, index, ID_KEY(user_id), span_of_bytes(&id, sizeof(id)), MDB_APPENDDUP);
}

enum store_error ids_delete(struct store_txn *txn, enum database index, int64_t user_id, int64_t id)
{
    MDB_val key = {ID_KEY_LEN, &(uint64_t){htobe64((uint64_t)user_id)}}, value = {sizeof(id), &id};
    if (txn->error != STORE_OK)
        return txn->error;
    return db_result(txn,
                     mdb_del(lmdb_of(txn)->mdb, lmdb_of(txn)->store->dbis[index], &key, &value));
}
