#pragma once

#include "store/lmdb/database.h"

/* The store's time: no setting of the clock moves it. Within a boot it advances by
 * CLOCK_BOOTTIME, over boots by the difference of the wall clock, if that is 0 to 30 days, else not
 * at all. Idempotency records, reservations and rates go by it. */

/* The wall clock, in seconds. */
int64_t clock_wall(void);

/* Reads the id of this boot, before the sandbox is entered. Without /proc it is zeros, and each
 * boot looks like the one before. */
void clock_read_boot_id(unsigned char boot_id[static CLOCK_BOOT_ID_LEN]);

/* Starts the time of a store, at the wall clock's. */
void clock_start(struct store_txn *txn);

/* Stores the time anew, which does not change. */
void clock_save(struct store_txn *txn);

/* The time in seconds and in nanoseconds, in any transaction, which does not change. 0 if the
 * transaction has failed. */
int64_t clock_read(struct store_txn *txn);
int64_t clock_read_ns(struct store_txn *txn);

/* The time in seconds; it stays the same in a transaction, which must be one of writes: a change of
 * it may be stored. 0 if the transaction has failed. clock_now_ns: the same moment in nanoseconds.
 */
int64_t clock_now(struct store_txn *txn);
int64_t clock_now_ns(struct store_txn *txn);
