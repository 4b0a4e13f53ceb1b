#ifndef API_ACCESS_TIMES_H
#define API_ACCESS_TIMES_H

#include <stdbool.h>
#include <stdint.h>

#include "store/store.h"

/* Tokens that were used and whose accessed_time is not on disk yet: noted in memory, and
 * written many at a time. One that dies with its process is noted by the next use. */

enum { ACCESS_TIMES_MAX = 4096 };

struct access_times {
    struct store_access *noted; /* ACCESS_TIMES_MAX, and as many that are being written */
    size_t count;
    int64_t first_unix_s; /* when the first was noted */
    uint16_t *slots;      /* by a hash of the token id: 1 + its place in noted, or 0 */
};

/* False where there is no memory. */
bool access_times_init(struct access_times *touches);
void access_times_free(struct access_times *touches);

/* Notes a use, once for each token. One that finds no room is left to a later use. */
void access_times_note(struct access_times *touches, const struct store_use_answer *answer,
                       int64_t now_unix_s);

/* Takes all that is noted: they stay in *taken until the next time. Returns how many. */
size_t access_times_take(struct access_times *touches, struct store_access **taken);

#endif
