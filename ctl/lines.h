#pragma once

#include "store/txn.h"

/* What tokenctl export writes and import reads: a JSON object a line.
 *
 *   first   {"format":1,"keys":"sealed","secret":"…","cipher":…}  keys: "clear" with --clear-keys;
 *           secret: seal_check_value, cipher: enum seal_cipher
 *   rows    {"kind":"ids"|"gateway"|"user"|"token"|"reservation",…}, in the order of store_export
 *   last    {"end":true,"lines":n}                                 n: of those before it
 *
 * Hashes and sealed keys are in hexadecimal. */
enum { LINES_FORMAT = 1 };

/* import_row.c: the kinds of rows, by enum store_row_kind. */
extern const char *const lines_kinds[STORE_ROW_KINDS];
