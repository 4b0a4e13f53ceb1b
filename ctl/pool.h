#pragma once

#include "base/buffer.h"
#include "store/store.h"

/* Asks the pool for a path by a GET without credentials, as a web server does. Waits some seconds
 * at most.
 *
 *   socket   TOKEN_SOCKET: a Unix socket's path, or HOST:PORT on this machine
 *   path     such as "/healthz", of at most 127 bytes
 *   answer   gets the answer, up to 1 MiB; the caller frees it
 *   body     lies in answer
 *   reason   if the result is 0: a line that begins with "no permission to ask" where the caller
 * may not connect, and says otherwise that the pool does not answer
 *
 * Result: the HTTP status, or 0. */
int pool_ask(const char *socket, const char *path, struct buffer *answer, struct span *body,
             char reason[static STORE_REASON_SIZE]);
