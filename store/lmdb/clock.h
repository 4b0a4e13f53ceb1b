#pragma once

#include "store/lmdb/database.h"

/* The store's time, in seconds: no setting of the clock moves it. Within a boot it advances by
 * CLOCK_BOOTTIME, over boots by the difference of the wall clock, if that is 0 to 30 days, else not
 * at all. Idempotency records and reservations go by it. */

/* Reads the id of this boot, before the sandbox is entered. Without /proc it is zeros, and each
 * boot looks like the one before. */
void clock_read_boot_id(unsigned char boot_id[static CLOCK_BOOT_ID_LEN]);

/* Starts the time of a store, at the wall clock's. */
void clock_start(struct store_txn *txn);

/* The time, in any transaction, which does not change. 0 if the transaction has failed. */
int64_t clock_read(struct store_txn *txn);

/* The time; it stays the same in a transaction, which must be one of writes: a change of it may be
 * stored. 0 if the transaction has failed. */
int64_t clock_now(struct store_txn *txn);
