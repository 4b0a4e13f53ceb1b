#pragma once

#include "ctl/import.h"

/* Users and tokens of New API or One API, as JSON objects or arrays of them, in any order. */

/* Makes such rows the source of an import: ctl->text[CTL_FROM] names the system. It opens a
 * temporary file: to be called before the sandbox is entered. False with a reason. import_peer_end
 * frees all in any case, also without a begin. */
bool import_peer_begin(struct import *import, char reason[static STORE_REASON_SIZE]);
void import_peer_end(struct import *import);

/* Reads all of the input into the temporary file; before the store's transaction, as the input may
 * come slowly. False after import_fail. */
bool import_peer_read(struct import *import);
