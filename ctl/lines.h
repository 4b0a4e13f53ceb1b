#pragma once

#include "store/txn.h"

/* What tokenctl export writes and import reads: a JSON object a line.
 *
 *   first   {"format":1,"keys":"sealed","secret":"…","cipher":…}  keys: "clear" with --clear-keys;
 *           secret: seal_check_value, cipher: enum seal_cipher
 *   rows    {"kind":"ids"|…,…}, a kind of lines_kinds, in the order of store_export
 *   last    {"end":true,"lines":n}                                 n: of those before it
 *
 * Hashes and sealed keys are in hexadecimal. A member that an earlier version did not write may be
 * absent. */
enum { LINES_FORMAT = 1 };

/* Members of a token and of a user's account that are in a line where they are not 0; times are
 * Unix times. Columns: object, member, name. */
#define LINES_STATE(MEMBER, of)                                                                    \
    MEMBER(of, rates.requests_full_ns, "requests_full_ns")                                         \
    MEMBER(of, rates.units_full_ns, "units_full_ns")                                               \
    MEMBER(of, usage.day, "usage_day")                                                             \
    MEMBER(of, usage.units, "usage_units")                                                         \
    MEMBER(of, usage.requests, "usage_requests")                                                   \
    MEMBER(of, usage.dated_units, "dated_units")

/* import_row.c: the kinds of rows, by enum store_row_kind. */
extern const char *const lines_kinds[STORE_ROW_KINDS];
