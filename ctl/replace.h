#pragma once

#include "ctl/commands.h"

/* A store that is made beside the path in TOKEN_STORE and renamed to it when it is complete. A
 * store at the path is replaced only if it is empty, and still is at that moment. */

/* In the child, as the store's owner: fills the folder ctl->options.location with a store, of the
 * bytes that come from ctl->parent_fd. It opens all that it needs, and enters the sandbox. Returns
 * the exit status; CTL_FAILED with an error printed.
 *
 *   full    the store at the path, if that has users or gateways: nothing is replaced then, and the
 *           bytes may be imported into this one; NULL: none
 *   reader  of the store at the path, empty or full; NULL: there is none */
typedef int replace_fill(struct ctl *ctl, struct store *full, struct store_reader *reader);

/* Whether a store has neither users nor gateways, and so may be replaced. */
bool replace_is_empty(struct store_reader *reader);

/* Makes a store of a file, in a child that runs fill.
 *   fd    the file, read to its end
 *   len   its bytes, for the progress only; 0: not known
 * Returns the exit status; CTL_FAILED with an error printed. */
int replace_run(struct ctl *ctl, replace_fill *fill, int fd, uint64_t len);
