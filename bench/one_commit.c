/* The service without group commit: a commit for every write. Linked in place of
 * fcgi/commit_thread.c. */

#define BATCH_ITEMS_MAX 1
#include "fcgi/commit_thread.c" /* NOLINT(bugprone-suspicious-include) */
