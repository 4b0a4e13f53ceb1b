#include "fcgi/access_times.h"

enum { SLOT_COUNT = 2 * ACCESS_TIMES_MAX };

void access_times_add(struct access_times *times, const struct store_access *used,
                      int64_t now_unix_s)
{
    if (times->count == ACCESS_TIMES_MAX)
        return;
    /* Ids are consecutive, so they spread over the slots without hashing. */
    size_t slot = (size_t)used->token_id % SLOT_COUNT;
    for (; times->slots[slot] != 0; slot = (slot + 1) % SLOT_COUNT)
        if (times->recorded[times->slots[slot] - 1].token_id == used->token_id)
            return;
    if (times->count == 0)
        times->first_unix_s = now_unix_s;
    times->recorded[times->count++] =
        (struct store_access){used->user_id, used->token_id, now_unix_s};
    times->slots[slot] = (uint16_t)times->count;
}

size_t access_times_take(struct access_times *times)
{
    size_t count = times->count;
    memcpy(times->taken, times->recorded, count * sizeof(times->taken[0]));
    memset(times->slots, 0, sizeof(times->slots));
    times->count = 0;
    return count;
}
