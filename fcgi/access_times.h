#ifndef FCGI_ACCESS_TIMES_H
#define FCGI_ACCESS_TIMES_H

#include <stdbool.h>
#include <stdint.h>

#include "store/store.h"

/* Last uses of tokens that are not stored yet: collected in memory and written many at a time.
 * Those that are lost with their process are recorded by the next use. */

enum {
    ACCESS_TIMES_MAX = 4096,
    ACCESS_TIMES_FRESH_S = 20 /* a stored last use that is newer needs no write */
};

struct access_times {
    struct store_access *recorded; /* ACCESS_TIMES_MAX, and as many that are being written */
    size_t count;
    int64_t first_unix_s; /* when the first was recorded */
    uint16_t *slots;      /* by a hash of the token id: 1 + index into recorded; 0: empty */
};

/* False if memory is short; to be freed in any case. */
bool access_times_init(struct access_times *times);
void access_times_free(struct access_times *times);

/* Whether a use now, of a token whose last use is stored as used->accessed_unix_s, has to be
 * recorded. */
static inline bool access_times_need(const struct store_access *used, int64_t now_unix_s)
{
    return now_unix_s - used->accessed_unix_s >= ACCESS_TIMES_FRESH_S;
}

/* Records a use, once for each token; ignored if the table is full. */
void access_times_add(struct access_times *times, const struct store_access *used,
                      int64_t now_unix_s);

/* Empties the table. *taken: what was in it, valid until the next take. Returns how many. */
size_t access_times_take(struct access_times *times, struct store_access **taken);

#endif
