#pragma once

#include "store/store.h"

/* All of a store: as a copy of its pages, and as rows. */

/* Whether the store of a location has copies (store_copy_out). */
bool store_has_copies(const char *location);

/* Writes a copy of the store, of one snapshot, to a file, pipe or socket. Writers go on meanwhile.
 */
enum store_error store_copy_out(struct store_reader *reader, int fd);

/* Makes a store of a copy, which it reads from fd to the end, in the empty folder at the location,
 * with the secret that exists. The next ids of users and tokens become greater by STORE_COPY_IDS:
 * some may have been given out after the copy was made. STORE_REFUSED; the folder may have files in
 * it then. */
enum { STORE_COPY_IDS = 1000000 };
enum store_error store_copy_in(const struct store_options *options, int fd,
                               char reason[static STORE_REASON_SIZE]);

/* Visits all rows (store/txn.h) in one snapshot: the next ids, gateways, users, each with its
 * tokens behind it, and open reservations, each kind by id. Keys are sealed, times of reservations
 * in Unix seconds. STORE_UNAVAILABLE if visit returns false. */
struct store_row;
typedef bool store_visit_row(void *context, const struct store_row *row);
enum store_error store_export(struct store_reader *reader, int64_t now_unix_s,
                              store_visit_row *visit, void *context);

/* Imports rows, with keys in clear, in one transaction, while no other process writes: users, their
 * tokens and their reservations each in the order of ids, a user before what it has. take returns
 * some of them, and each time has the last ones' results in them; none (*count 0) at their end.
 * STORE_REFUSED, with nothing imported, if it returns false; a store that is new may have some. */
typedef bool store_take_rows(void *context, struct store_row **rows, size_t *count);
enum store_error store_import(struct store *store, int64_t now_unix_s, store_take_rows *take,
                              void *context);
