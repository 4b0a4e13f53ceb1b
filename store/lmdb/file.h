#ifndef STORE_LMDB_FILE_H
#define STORE_LMDB_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <lmdb.h>

/* The data file as LMDB 0.9 lays it out, read without LMDB: that maps the file and trusts each
 * page number and offset in it, so that a file that was cut short or damaged ends the process
 * instead of being refused. Nothing here trusts what it reads. */

/* Called with one line for each thing that is off. */
typedef void file_report(void *context, const char *line);

/* Before LMDB opens the file: its length, and the two pages that say where the last two commits'
 * trees begin. Returns NULL, or what is off (a static text). */
const char *file_check_head(int fd);

/* For a snapshot: the file's length, and the pages that are read whenever a store is opened. A file
 * whose end is missing is good where nothing was ever written there: LMDB may leave pages at the
 * end free; it is then made longer. Costs a few reads, and where the file is short one of the list
 * of free pages. *wrong is NULL, or what is off (a static text). EAGAIN: others have
 * committed, begin another transaction. */
int file_check_snapshot(MDB_env *env, MDB_txn *txn, const char **wrong);

/* Every page of a snapshot: each has to be what leads to it says, to be used once and not
 * free, with its keys in order; and every count has to be right. LMDB's error where that
 * could not be done; EAGAIN as above. */
int file_check_pages(MDB_env *env, MDB_txn *txn, file_report *report, void *context);

#endif
