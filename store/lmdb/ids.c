#include "store/lmdb/ids.h"

#include <stdbool.h>
#include <string.h>

#include "base/bytes.h"
#include "store/lmdb/layout.h"
#include "store/lmdb/whole.h"

/* MDB_INTEGERDUP compares values as size_t in the machine's own order. */
_Static_assert(sizeof(int64_t) == sizeof(size_t), "a 64-bit machine is needed");

const unsigned ids_database_flags = MDB_DUPSORT | MDB_DUPFIXED | MDB_INTEGERDUP;

int ids_count(MDB_cursor *cursor, int64_t user_id, uint64_t *count)
{
    unsigned char key_bytes[8];
    put_big64(key_bytes, user_id);
    MDB_val key = {sizeof(key_bytes), key_bytes}, value;
    *count = 0;
    int rc = mdb_cursor_get(cursor, &key, &value, MDB_SET);
    if (rc == MDB_NOTFOUND)
        return MDB_SUCCESS;
    if (rc != MDB_SUCCESS)
        return rc;
    size_t duplicates;
    rc = mdb_cursor_count(cursor, &duplicates);
    if (rc == MDB_SUCCESS)
        *count = duplicates;
    return rc;
}

static int64_t id_in_page(const MDB_val *page, uint64_t index)
{
    int64_t id;
    memcpy(&id, (const char *)page->mv_data + index * sizeof(id), sizeof(id));
    return id;
}

int64_t ids_first(const MDB_val *value)
{
    return id_in_page(value, 0);
}

/* MDB_GET_MULTIPLE returns the whole page that the cursor stands on, not the rest of
 * it from there. But after MDB_LAST_DUP it succeeds and leaves the value untouched, as
 * the cursor counts as past the end; so the last id, once known, is searched for. */
static int last_page(MDB_cursor *cursor, MDB_val *key, MDB_val *page)
{
    int64_t id;
    int rc = mdb_cursor_get(cursor, key, page, MDB_LAST_DUP);
    if (rc != MDB_SUCCESS)
        return rc;
    id = ids_first(page);
    *page = (MDB_val){sizeof(id), &id};
    rc = mdb_cursor_get(cursor, key, page, MDB_GET_BOTH);
    return rc == MDB_SUCCESS ? mdb_cursor_get(cursor, key, page, MDB_GET_MULTIPLE) : rc;
}

static int first_page(MDB_cursor *cursor, MDB_val *key, MDB_val *page)
{
    int rc = mdb_cursor_get(cursor, key, page, MDB_FIRST_DUP);
    return rc == MDB_SUCCESS ? mdb_cursor_get(cursor, key, page, MDB_GET_MULTIPLE) : rc;
}

static int check_head(size_t page_size, const MDB_val *page)
{
    const unsigned char *head = (const unsigned char *)page->mv_data - PAGE_HEAD;
    return whole_ids_head(head, page_size) ? MDB_SUCCESS : MDB_CORRUPTED;
}

/* Steps from the page at hand to the one that has the id at that distance; what is
 * left of the distance is within it. */
static int step_pages(MDB_cursor *cursor, MDB_cursor_op step, uint64_t *distance, MDB_val *page)
{
    MDB_val key;
    MDB_stat stat;
    int rc = mdb_env_stat(mdb_txn_env(mdb_cursor_txn(cursor)), &stat);
    if (rc == MDB_SUCCESS)
        rc = check_head(stat.ms_psize, page);
    while (rc == MDB_SUCCESS && *distance >= page->mv_size / sizeof(int64_t)) {
        *distance -= page->mv_size / sizeof(int64_t);
        rc = mdb_cursor_get(cursor, &key, page, step);
        if (rc == MDB_SUCCESS)
            rc = check_head(stat.ms_psize, page);
    }
    return rc;
}

/* The id at a distance from the page's newer or older end, in it or in one further on. */
static int step_to_id(MDB_cursor *cursor, bool from_newest, uint64_t *distance, MDB_val *page,
                      int64_t *id)
{
    int rc =
        step_pages(cursor, from_newest ? MDB_PREV_MULTIPLE : MDB_NEXT_MULTIPLE, distance, page);
    if (rc == MDB_SUCCESS)
        *id =
            id_in_page(page, from_newest ? page->mv_size / sizeof(*id) - 1 - *distance : *distance);
    return rc;
}

int ids_at_ranks(MDB_cursor *cursor, int64_t user_id, uint64_t count, uint64_t rank, uint64_t limit,
                 int64_t *newest, int64_t *oldest)
{
    unsigned char key_bytes[8];
    put_big64(key_bytes, user_id);
    MDB_val key = {sizeof(key_bytes), key_bytes}, value;
    int rc = mdb_cursor_get(cursor, &key, &value, MDB_SET);
    if (rc != MDB_SUCCESS)
        return rc;
    if (count == 1) { /* kept without a page of its own: MDB_GET_MULTIPLE would not set value */
        *newest = *oldest = ids_first(&value);
        return MDB_SUCCESS;
    }
    bool from_newest = rank < count / 2;
    uint64_t distance = from_newest ? rank : count - limit - rank;
    rc = from_newest ? last_page(cursor, &key, &value) : first_page(cursor, &key, &value);
    if (rc == MDB_SUCCESS)
        rc = step_to_id(cursor, from_newest, &distance, &value, from_newest ? newest : oldest);
    distance += limit - 1;
    if (rc == MDB_SUCCESS)
        rc = step_to_id(cursor, from_newest, &distance, &value, from_newest ? oldest : newest);
    return rc;
}

/* MDB_APPENDDUP fills pages whole; a plain put would split them in halves. */
int ids_append(MDB_txn *txn, MDB_dbi ids_by_user, int64_t user_id, int64_t id)
{
    unsigned char key_bytes[8];
    put_big64(key_bytes, user_id);
    MDB_val key = {sizeof(key_bytes), key_bytes}, value = {sizeof(id), &id};
    return mdb_put(txn, ids_by_user, &key, &value, MDB_APPENDDUP);
}

/* By key and value: mdb_cursor_del has open bugs in MDB_DUPSORT databases. */
int ids_delete(MDB_txn *txn, MDB_dbi ids_by_user, int64_t user_id, int64_t id)
{
    unsigned char key_bytes[8];
    put_big64(key_bytes, user_id);
    MDB_val key = {sizeof(key_bytes), key_bytes}, value = {sizeof(id), &id};
    return mdb_del(txn, ids_by_user, &key, &value);
}
