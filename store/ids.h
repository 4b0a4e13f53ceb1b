#ifndef STORE_IDS_H
#define STORE_IDS_H

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

/* The id with that many greater ones before it, newest first: rank 0 is the
 * greatest. count is what ids_count said in the same transaction; rank is below it. */
int ids_at_rank(MDB_cursor *cursor, int64_t user_id, uint64_t count, uint64_t rank, int64_t *id);

/* Adds an id that is greater than all the user has. */
int ids_append(MDB_txn *txn, MDB_dbi ids_by_user, int64_t user_id, int64_t id);

/* MDB_NOTFOUND where the id is not there. */
int ids_delete(MDB_txn *txn, MDB_dbi ids_by_user, int64_t user_id, int64_t id);

#endif
