#pragma once

#include "ctl/import.h"

/* Users and tokens of New API or One API, as JSON objects or arrays of them, in any order. */

/* Makes them the source of an import, by ctl->text[CTL_FROM]; before the sandbox is entered. False
 * with a reason. import_peer_end frees what it has made, and may always be called. */
bool import_peer_begin(struct import *import, char reason[static STORE_REASON_SIZE]);
void import_peer_end(struct import *import);

/* Reads all of the input; before the store's transaction, as it may come slowly. False after
 * import_fail. */
bool import_peer_read(struct import *import);
