#pragma once

#include "store/store.h"

/* A complete store, as a copy of its pages or as rows. */

/* Whether the store of a location has copies (store_copy_out). */
bool store_has_copies(const char *location);

/* Writes a copy of the store, of one snapshot, to a file, pipe or socket. Writers go on meanwhile.
 */
enum store_error store_copy_out(struct store_reader *reader, int fd);

/* Makes a store of a copy, which it reads from fd to the end, in the empty folder at the location,
 * with the secret that exists. The next ids of users and tokens become greater by STORE_COPY_IDS:
 * some may have been given out after the copy was made. STORE_REFUSED with one line in reason; the
 * folder may have files in it then. */
enum { STORE_COPY_IDS = 1000000 };
enum store_error store_copy_in(const struct store_options *options, int fd,
                               char reason[static STORE_REASON_SIZE]);

/* Visits all rows (store/txn.h) in one snapshot: the next ids, gateways, users, each with its
 * tokens behind it, and open reservations, each kind by id. Keys are sealed, times of reservations
 * in Unix seconds. A row's spans are valid during the visit. STORE_UNAVAILABLE if visit returns
 * false.
 *   now_unix_s   the time by this machine's clock, for the times of reservations */
struct store_row;
typedef bool store_visit_row(void *context, const struct store_row *row);
enum store_error store_export(struct store_reader *reader, int64_t now_unix_s,
                              store_visit_row *visit, void *context);

/* The source of an import: *rows and *count are the next rows, which are the caller's and stay
 * until the next call; *count is 0 at the end. Before that call each row's member refused is set.
 * False refuses the import. */
typedef bool store_take_rows(void *context, struct store_row **rows, size_t *count);

/* Imports rows, with keys in clear, in one transaction, while no other process writes. Users, the
 * tokens of a user, and reservations are each in the order of ids, and a user is before its tokens
 * and reservations. A row that is refused (struct store_row) is left out, and the others are
 * imported unless take returns false: STORE_REFUSED. After an error nothing is imported; only a
 * store that is new (struct store_options) may have some of the rows. */
enum store_error store_import(struct store *store, int64_t now_unix_s, store_take_rows *take,
                              void *context);
