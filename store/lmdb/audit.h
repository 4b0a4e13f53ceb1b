#pragma once

#include "store/lmdb/database.h"

/* Audit records, as rows (store/txn.h). The last few are in DB_AUDIT_RECENT, which is LMDB's
 * database of databases: each commit writes its page anyway. Before they fill it all of them move
 * to DB_AUDIT and DB_AUDIT_BY_USER. Their ids are greater than those in DB_AUDIT. Its other keys
 * are names, which come after ids. */

/* Whether a key of DB_AUDIT_RECENT is an id: no name begins with a zero. */
static inline bool audit_is_id(struct span key)
{
    return key.len == ID_KEY_LEN && key.at[0] == '\0';
}

void audit_rows_add(struct store_txn *txn, const struct store_audit *record);
void audit_rows_import(struct store_txn *txn, const struct store_audit *record);

/* Deletes up to max records that are too old; returns whether others are left. */
bool audit_rows_purge(struct store_txn *txn, size_t max);

/* The record with the greatest id below *id in DB_AUDIT or DB_AUDIT_RECENT; *id becomes its. The
 * record's member id and spans are set. STORE_NOT_FOUND. */
enum store_error audit_rows_before(struct store_txn *txn, enum database database, int64_t *id,
                                   struct store_audit *record);
