#pragma once

#include "ctl/commands.h"

/* A store that is made beside the one that TOKEN_STORE names, and takes its place when it is
 * complete: if there is none, or it is empty, and stays empty until then. */

/* In the child, as the store's owner: makes the store in the folder that ctl->options name, of what
 * comes from ctl->parent_fd. It opens what it needs, and enters the sandbox. Returns the exit
 * status, with an error printed.
 *
 *   full    the store that is there, if it has users or gateways: the work may be done in that one
 *           instead; NULL: it takes the place of whatever is there */
typedef int replace_fill(struct ctl *ctl, struct store *full, struct store_reader *reader);

/* Whether a store has neither users nor gateways. */
bool replace_is_empty(struct store_reader *reader);

/* Sends the file to the child; len bytes, 0: not known. Returns the exit status, with an error
 * printed. */
int replace_run(struct ctl *ctl, replace_fill *fill, int fd, uint64_t len);
