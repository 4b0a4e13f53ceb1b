#pragma once

#include "store/store.h"

/* Last uses of tokens that are not stored yet: collected in memory and written many at a time.
 * Those that are lost with their process are recorded by the next use. */

enum {
    ACCESS_TIMES_MAX = 4096,
    ACCESS_TIMES_FRESH_S = 20 /* a stored last use that is newer needs no write */
};

/* Empty if zeroed. */
struct access_times {
    struct store_access recorded[ACCESS_TIMES_MAX], taken[ACCESS_TIMES_MAX];
    size_t count;                         /* recorded */
    int64_t first_unix_s;                 /* when the first was recorded */
    uint16_t slots[2 * ACCESS_TIMES_MAX]; /* by token id: 1 + index into recorded; 0: empty */
};

/* Whether a use now, of a token whose last use is stored as used->accessed_unix_s, has to be
 * recorded. */
static inline bool access_times_need(const struct store_access *used, int64_t now_unix_s)
{
    return now_unix_s - used->accessed_unix_s >= ACCESS_TIMES_FRESH_S;
}

/* Records a use, once for each token; ignored if the table is full. */
void access_times_add(struct access_times *times, const struct store_access *used,
                      int64_t now_unix_s);

/* Moves what is recorded to times->taken, and returns how many there are. */
size_t access_times_take(struct access_times *times);
