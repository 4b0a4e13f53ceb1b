#ifndef STORE_LMDB_IDS_H
#define STORE_LMDB_IDS_H

#include <stdint.h>

#include <lmdb.h>

/* The index "ids_by_user": a user's token ids in order, with their number in O(1) and
 * a step over about 500 ids at a time. LMDB 0.9.24's page-wise operations have traps
 * (see ids.c); this is the only place that uses them.
 *
 * Results are LMDB's. */

/* The flags to create the database with. */
extern const unsigned ids_database_flags;

/* How many ids the user has; 0 where there are none. */
int ids_count(MDB_cursor *cursor, int64_t user_id, uint64_t *count);

/* The id in a value, or the first in a page of them. */
int64_t ids_first(const MDB_val *value);

/* Of the ids, newest first, the one that has rank greater ones before it, and the one limit - 1
 * behind it. count is what ids_count said in the same transaction; rank + limit is at most that,
 * limit at least 1. MDB_CORRUPTED where the head of a page on the way is damaged. */
int ids_at_ranks(MDB_cursor *cursor, int64_t user_id, uint64_t count, uint64_t rank, uint64_t limit,
                 int64_t *newest, int64_t *oldest);

/* Adds an id that is greater than all the user has. */
int ids_append(MDB_txn *txn, MDB_dbi ids_by_user, int64_t user_id, int64_t id);

/* MDB_NOTFOUND where the id is not there. */
int ids_delete(MDB_txn *txn, MDB_dbi ids_by_user, int64_t user_id, int64_t id);

#endif
